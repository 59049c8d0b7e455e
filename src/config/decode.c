/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/decode.c - see decode.h
 *
 * Plain scalars are typed by the core schema of YAML 1.2, so `off` is a string and `true` is not. What the user wrote is
 * quoted back cut to QUOTE_MAX bytes: a text of a megabyte in the wrong place must not become a log line. */
#include <stdio.h>
#include <stdlib.h>

#include "decode.h"

enum { QUOTE_MAX = 80 };
#define QUOTE_ARG(s) (int)min_of((s).n, (size_t)QUOTE_MAX), (s).at ? (s).at : ""

static bool is_one_of(struct str s, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_is(s, str_of(words[i])))
            return true;
    return false;
}

static size_t n_digits(struct str s, size_t at) {
    size_t n = 0;
    while (at + n < s.n && s.at[at + n] >= '0' && s.at[at + n] <= '9')
        n++;
    return n;
}

static bool is_based(struct str s) {
    bool hex = str_has_prefix(s, STR("0x")), octal = str_has_prefix(s, STR("0o"));
    if ((!hex && !octal) || s.n == 2)
        return false;
    for (size_t i = 2; i < s.n; i++) {
        char c = s.at[i];
        bool digit = c >= '0' && c <= (hex ? '9' : '7'), letter = hex && ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
        if (!digit && !letter)
            return false;
    }
    return true;
}

static enum scalar_type number_type(struct str s) {
    size_t at = s.n && (s.at[0] == '-' || s.at[0] == '+') ? 1 : 0;
    size_t n_whole = n_digits(s, at), n_part = 0;
    at += n_whole;
    if (n_whole && at == s.n)
        return SCALAR_INT;
    if (at < s.n && s.at[at] == '.') {
        n_part = n_digits(s, at + 1);
        at += 1 + n_part;
    }
    if (n_whole + n_part == 0)
        return SCALAR_STRING;
    if (at < s.n && (s.at[at] | 0x20) == 'e') {
        size_t sign = at + 1 < s.n && (s.at[at + 1] == '-' || s.at[at + 1] == '+') ? 1 : 0;
        size_t n_exponent = n_digits(s, at + 1 + sign);
        if (!n_exponent)
            return SCALAR_STRING;
        at += 1 + sign + n_exponent;
    }
    return at == s.n ? SCALAR_FLOAT : SCALAR_STRING;
}

enum scalar_type scalar_type_of(const struct yaml_node *n) {
    static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    static const char *const floats[] = {".inf", ".Inf", ".INF", "+.inf", "-.inf", ".nan", ".NaN", ".NAN"};
    if (n->quoted)
        return SCALAR_STRING;
    if (yaml_is_null(n))
        return SCALAR_NULL;
    if (is_one_of(n->scalar, bools, array_size(bools)))
        return SCALAR_BOOL;
    if (is_based(n->scalar))
        return SCALAR_INT;
    if (is_one_of(n->scalar, floats, array_size(floats)))
        return SCALAR_FLOAT;
    return number_type(n->scalar);
}

struct origin decode_at(const struct decode *d, const struct yaml_node *n) {
    return (struct origin){.file = d->file, .line = n ? n->line : 0, .column = n ? n->column : 0};
}

struct origin decode_key_at(const struct decode *d, const struct yaml_node *n) {
    if (!n || !n->key_line)
        return decode_at(d, n);
    return (struct origin){.file = d->file, .line = n->key_line, .column = n->key_column};
}

static void say(struct decode *d, enum diag_severity severity, const struct origin *at, const char *fmt, va_list ap) {
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0) {
        d->failed = true;
        return;
    }
    if (d->what.n)
        diag_addf(d->diags, severity, at, STR_FMT ": %s", STR_ARG(d->what), text);
    else
        diag_addf(d->diags, severity, at, "%s", text);
    free(text);
}

#define DEFINE_SAY(name, severity, place) \
    void name(struct decode *d, const struct yaml_node *n, const char *fmt, ...) { \
        struct origin at = place(d, n); \
        va_list ap; \
        va_start(ap, fmt); \
        say(d, severity, &at, fmt, ap); \
        va_end(ap); \
    }
DEFINE_SAY(decode_errorf, DIAG_ERROR, decode_at)
DEFINE_SAY(decode_warnf, DIAG_WARNING, decode_at)
DEFINE_SAY(decode_key_errorf, DIAG_ERROR, decode_key_at)
DEFINE_SAY(decode_key_warnf, DIAG_WARNING, decode_key_at)

void *decode_alloc(struct decode *d, size_t size, size_t n) {
    void *at = arena_alloc_array(d->arena, size, n);
    if (!at)
        d->failed = true;
    return at;
}

struct str decode_copy(struct decode *d, struct str s) {
    bool ok = true;
    struct str copy = arena_str(d->arena, s, &ok);
    if (!ok)
        d->failed = true;
    return copy;
}

static const char *found_name(const struct yaml_node *n) {
    static const char *const names[] = {"empty", "true or false", "a number", "a number", "a string"};
    if (n->kind == YAML_SEQUENCE)
        return "a list";
    if (n->kind == YAML_MAPPING)
        return "a mapping";
    return names[scalar_type_of(n)];
}

bool decode_mapping(struct decode *d, const struct yaml_node *n, const char *name) {
    if (n->kind == YAML_MAPPING)
        return true;
    if (yaml_is_null(n))
        decode_errorf(d, n, "%s is empty: write its keys indented below it, or {} to set none", name);
    else
        decode_errorf(d, n, "%s must be a mapping, not %s: write \"key: value\" lines indented below it", name, found_name(n));
    return false;
}

bool decode_sequence(struct decode *d, const struct yaml_node *n, const char *name) {
    if (n->kind == YAML_SEQUENCE)
        return true;
    if (yaml_is_null(n))
        decode_errorf(d, n, "%s is empty: write a list, or remove the key", name);
    else
        decode_errorf(d, n, "%s must be a list, not %s: begin each element with \"- \", or write [a, b]", name, found_name(n));
    return false;
}

bool decode_str(struct decode *d, const struct yaml_node *n, const char *name, struct str *ret) {
    if (n->kind == YAML_SCALAR && scalar_type_of(n) == SCALAR_STRING) {
        struct str copy = decode_copy(d, n->scalar);
        if (d->failed)
            return false;
        *ret = copy;
        return true;
    }
    if (n->kind != YAML_SCALAR)
        decode_errorf(d, n, "%s must be a string, not %s", name, found_name(n));
    else if (yaml_is_null(n))
        decode_errorf(d, n, "%s is empty: write a string, or remove the key", name);
    else
        decode_errorf(d, n, "%s must be a string, not %s: write \"%.*s\" in quotes", name, found_name(n), QUOTE_ARG(n->scalar));
    return false;
}

bool decode_u64(struct decode *d, const struct yaml_node *n, const char *name, uint64_t min, uint64_t max, uint64_t *ret) {
    uint64_t value;
    if (n->kind != YAML_SCALAR || scalar_type_of(n) != SCALAR_INT) {
        bool quoted = n->kind == YAML_SCALAR && n->quoted && str_u64(n->scalar, max, &value);
        decode_errorf(d, n, "%s must be a whole number, not %s: write a number from %llu to %llu%s", name, found_name(n),
                      (unsigned long long)min, (unsigned long long)max, quoted ? ", without quotes" : "");
        return false;
    }
    bool octal = n->scalar.n > 1 && n->scalar.at[0] == '0'; /* 010 is 8 for some readers and 10 for others */
    if (octal || !str_u64(n->scalar, max, &value) || value < min) {
        decode_errorf(d, n, "%s is \"%.*s\": write a decimal number from %llu to %llu", name, QUOTE_ARG(n->scalar),
                      (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *ret = value;
    return true;
}

bool decode_bool(struct decode *d, const struct yaml_node *n, const char *name, bool *ret) {
    if (n->kind != YAML_SCALAR || scalar_type_of(n) != SCALAR_BOOL) {
        decode_errorf(d, n, "%s must be true or false, not %s%s", name, found_name(n),
                      n->kind == YAML_SCALAR && n->quoted ? ": write it without quotes" : "");
        return false;
    }
    *ret = (n->scalar.at[0] | 0x20) == 't';
    return true;
}

void words_format(struct text *to, const char *const *words, size_t n_words) {
    for (size_t i = 0; i < n_words; i++)
        text_addf(to, "%s%s", i == 0 ? "" : i + 1 == n_words ? " or " : ", ", words[i]);
}

/* Edits from s to word; letters of the other case all together count as one ("alow" for ALLOW). */
static size_t word_distance(struct str s, struct str word) {
    char upper[64];
    size_t distance = str_distance(s, word);
    if (str_fold_is(s, word))
        return 0;
    if (s.n > sizeof(upper))
        return distance;
    for (size_t i = 0; i < s.n; i++)
        upper[i] = s.at[i] >= 'a' && s.at[i] <= 'z' ? (char)(s.at[i] - 'a' + 'A') : s.at[i];
    return min_of(distance, str_distance((struct str){upper, s.n}, word) + 1);
}

const char *nearest_word(struct str s, const char *const *words, size_t n_words) {
    const char *best = NULL;
    size_t best_distance = max_of(s.n / 3, (size_t)2) + 1;
    for (size_t i = 0; i < n_words; i++) {
        struct str word = str_of(words[i]);
        size_t distance = word_distance(s, word);
        if (min_of(s.n, word.n) >= 3 && (str_has_prefix(s, word) || str_has_prefix(word, s)))
            distance = min_of(distance, (size_t)2);          /* "warning" for warn */
        if (distance < best_distance && distance < word.n) { /* a word with nothing in common is not near */
            best = words[i];
            best_distance = distance;
        }
    }
    return best;
}

bool decode_enum(struct decode *d, const struct yaml_node *n, const char *name, const char *const *words, size_t n_words,
                 unsigned *ret) {
    char all[256] = "";
    struct text list = TEXT_OVER(all);
    if (n->kind == YAML_SCALAR)
        for (unsigned i = 0; i < n_words; i++)
            if (str_is(n->scalar, str_of(words[i]))) {
                *ret = i;
                return true;
            }
    words_format(&list, words, n_words);
    if (n->kind != YAML_SCALAR || yaml_is_null(n)) {
        decode_errorf(d, n, "%s must be one word, not %s: write %s", name, found_name(n), all);
        return false;
    }
    const char *near = nearest_word(n->scalar, words, n_words);
    if (near)
        decode_errorf(d, n, "%s is \"%.*s\": did you mean %s? Write %s", name, QUOTE_ARG(n->scalar), near, all);
    else
        decode_errorf(d, n, "%s is \"%.*s\": write %s", name, QUOTE_ARG(n->scalar), all);
    return false;
}

bool decode_text_list(struct decode *d, const struct yaml_node *n, const char *name, struct text_list *ret) {
    if (!n)
        return true;
    if (!decode_sequence(d, n, name))
        return false;
    if (n->n_children == 0) {
        decode_key_warnf(d, n, "%s is an empty list and sets no condition: remove the key, or list values", name);
        return true;
    }
    struct text_list list = {.present = true, .items = decode_array(d, struct text_item, n->n_children)};
    bool good = list.items;
    yaml_for_each(it, n) {
        struct text_item item = {.at = decode_at(d, it)};
        if (d->failed)
            return false;
        if (it->kind == YAML_SCALAR && !yaml_is_null(it) && it->scalar.n == 0) {
            decode_errorf(d, it, "%s has an empty string: write a value, or remove it from the list", name);
            good = false;
        } else if (decode_str(d, it, name, &item.text)) {
            list.items[list.n++] = item;
        } else {
            good = false;
        }
    }
    if (good)
        *ret = list;
    return good;
}

bool decode_labels(struct decode *d, const struct yaml_node *n, const char *name, struct label **ret, size_t *ret_n) {
    if (yaml_is_null(n))
        return true;
    if (!decode_mapping(d, n, name))
        return false;
    struct label *labels = decode_array(d, struct label, n->n_children);
    size_t n_labels = 0;
    bool good = labels;
    yaml_for_each(it, n) {
        struct label label = {.key = decode_copy(d, it->key)};
        char called[QUOTE_MAX * 2];
        if (d->failed)
            return false;
        snprintf(called, sizeof(called), "%s \"%.*s\"", name, QUOTE_ARG(it->key));
        if (decode_str(d, it, called, &label.value))
            labels[n_labels++] = label;
        else
            good = false;
    }
    if (!good)
        return false;
    *ret = labels;
    *ret_n = n_labels;
    return true;
}

struct str label_value(const struct label *labels, size_t n, struct str key) {
    for (size_t i = 0; i < n; i++)
        if (str_is(labels[i].key, key))
            return labels[i].value;
    return STR_NULL;
}

bool decode_keys(struct decode *d, const struct yaml_node *mapping, const char *name, const char *const *known, size_t n_known) {
    bool good = true;
    yaml_for_each(it, mapping) {
        if (is_one_of(it->key, known, n_known))
            continue;
        good = false;
        const char *near = nearest_word(it->key, known, n_known);
        if (near) {
            decode_key_errorf(d, it, "unknown key \"%.*s\" in %s: did you mean \"%s\"?", QUOTE_ARG(it->key), name, near);
            continue;
        }
        char all[512] = "";
        struct text list = TEXT_OVER(all);
        words_format(&list, known, n_known);
        decode_key_errorf(d, it, "unknown key \"%.*s\" in %s: remove it, or write one of %s", QUOTE_ARG(it->key), name, all);
    }
    return good;
}
