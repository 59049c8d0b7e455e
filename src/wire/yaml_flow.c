/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_flow.c - see yaml_flow.h
 *
 * JSON is a subset of YAML's flow style, and the tree is the same that libfyaml's events give (a test compares them). The
 * reader keeps no state beside the tree's own stack and two flags. */
#include <errno.h>

#include "yaml_flow.h"
#include "yaml_scalar.h"

struct json {
    struct tree *tree;
    struct str left; /* not read yet */
    uint32_t line, column;
    struct growing scratch; /* a string that had to be put together */
};
static void json_deinit(struct json *j) { growing_deinit(&j->scratch); }

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool yaml_is_flow(struct str text) {
    while (text.n && is_space(text.at[0]))
        text = (struct str){text.at + 1, text.n - 1};
    return text.n && (text.at[0] == '{' || text.at[0] == '[');
}

static struct place place_of(const struct json *j) { return (struct place){j->line, j->column}; }

/* Places count characters, as the library's do. */
static void skip(struct json *j, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char c = j->left.at[i];
        if (c == '\n' || (c == '\r' && !(i + 1 < j->left.n && j->left.at[i + 1] == '\n'))) {
            j->line++;
            j->column = 1;
        } else if (c != '\r' && ((unsigned char)c & 0xc0) != 0x80) {
            j->column++;
        }
    }
    j->left = (struct str){j->left.at + n, j->left.n - n};
}

static char next(struct json *j) {
    size_t n = 0;
    while (n < j->left.n && is_space(j->left.at[n]))
        n++;
    skip(j, n);
    return j->left.n ? j->left.at[0] : 0;
}

static int no_json(struct json *j) {
    return tree_refuse(j->tree, place_of(j),
                       "no JSON: a text this long that begins with a bracket must be JSON; write YAML in lines instead");
}

static int read_string(struct json *j) {
    struct place at = place_of(j);
    struct str source = {j->left.at + 1, 0}, text;
    int v;

    for (;; source.n++) {
        if (source.n + 1 >= j->left.n || (unsigned char)source.at[source.n] < 0x20)
            return no_json(j);
        if (source.at[source.n] == '"')
            break;
        if (source.at[source.n] == '\\' && (source.n + 2 >= j->left.n || !memchr("\"\\/bfnrtu", source.at[++source.n], 9)))
            return no_json(j); /* YAML has more escapes, that of a line's end among them */
    }
    v = yaml_quoted_text(source, true, &j->scratch, &text);
    if (v)
        return v < 0 ? v : tree_refuse(j->tree, at, "unknown escape in double quotes: write \\\\ for a backslash");
    if (text.n && !str_is_utf8(text))
        return tree_refuse(j->tree, at, "escape for a control character: a value holds text only");
    skip(j, source.n + 2);
    return tree_scalar(j->tree, at, text, true);
}

static size_t n_digits(struct str s, size_t at) {
    size_t n = 0;
    while (at + n < s.n && s.at[at + n] >= '0' && s.at[at + n] <= '9')
        n++;
    return n;
}

/* Bytes of the number that the text begins with, by RFC 8259; 0: none. */
static size_t number_bytes(struct str s) {
    size_t at = s.n && s.at[0] == '-' ? 1 : 0, n = n_digits(s, at);

    if (n == 0 || (n > 1 && s.at[at] == '0'))
        return 0;
    at += n;
    if (at < s.n && s.at[at] == '.') {
        n = n_digits(s, at + 1);
        if (n == 0)
            return 0;
        at += 1 + n;
    }
    if (at < s.n && (s.at[at] | 0x20) == 'e') {
        size_t sign = at + 1 < s.n && (s.at[at + 1] == '-' || s.at[at + 1] == '+') ? 1 : 0;
        n = n_digits(s, at + 1 + sign);
        if (n == 0)
            return 0;
        at += 1 + sign + n;
    }
    return at;
}

static int read_word(struct json *j) {
    static const struct str words[] = {STR("true"), STR("false"), STR("null")};
    struct place at = place_of(j);
    size_t n = number_bytes(j->left);

    for (size_t i = 0; i < array_size(words); i++)
        if (str_has_prefix(j->left, words[i]))
            n = words[i].n;
    bool ends = n < j->left.n && (is_space(j->left.at[n]) || strchr(",]}", j->left.at[n]));
    if (n == 0 || !ends)
        return no_json(j);
    struct str text = {j->left.at, n};
    skip(j, n);
    return tree_scalar(j->tree, at, text, false);
}

static int read_value(struct json *j, char c, bool *ret_opened) {
    *ret_opened = c == '{' || c == '[';
    if (*ret_opened) {
        struct place at = place_of(j);
        skip(j, 1);
        return tree_begun(j->tree, at, c == '{' ? YAML_MAPPING : YAML_SEQUENCE);
    }
    return c == '"' ? read_string(j) : read_word(j);
}

static int read_key(struct json *j, char c) {
    if (c != '"')
        return no_json(j);
    int v = read_string(j);
    if (v)
        return v;
    if (next(j) != ':')
        return no_json(j);
    skip(j, 1);
    return 0;
}

int yaml_json_read(struct tree *t, struct str text) {
    cleanup(json_deinit) struct json j = {.tree = t, .left = text, .line = 1, .column = 1};
    bool comma_wanted = false, comma_seen = false; /* before the next element; right before this one */
    int v = 0;

    tree_document_begun(t);
    while (v == 0 && (t->depth || !t->root)) {
        const struct tree_level *l = tree_level(t);
        char c = next(&j);
        bool key = tree_wants_key(t), list = l && l->node->kind == YAML_SEQUENCE;
        if (l && !comma_seen && (key || list) && c == (list ? ']' : '}')) {
            skip(&j, 1);
            v = tree_ended(t);
            comma_wanted = true;
        } else if (comma_wanted) {
            if (c != ',')
                return no_json(&j);
            skip(&j, 1);
            comma_wanted = false;
            comma_seen = true;
        } else if (key) {
            v = read_key(&j, c);
            comma_seen = false;
        } else {
            bool opened;
            v = read_value(&j, c, &opened);
            comma_wanted = !opened;
            comma_seen = false;
        }
    }
    return v == 0 && next(&j) ? no_json(&j) : v; /* a second document would follow */
}

struct scan {
    size_t depth, begin; /* of the flow collection that is open; where it begins in the text */
    size_t indent;       /* of the line that it began on */
    struct place at;
    char quote; /* inside quotes: which; 0: none */
};

static void scan_char(struct scan *s, struct str text, size_t i, size_t line_begin, size_t indent, struct place at) {
    char c = text.at[i], before = i ? text.at[i - 1] : '\n';
    bool token = is_space(before) || strchr("[{,:", before);

    if (s->quote) {
        if (c == s->quote && !(c == '"' && before == '\\'))
            s->quote = 0;
    } else if (s->depth && (c == '"' || c == '\'') && token) {
        s->quote = c;
    } else if (c == '[' || c == '{') {
        bool first = i == line_begin + indent, value = i > 1 && is_space(before) && strchr(":-", text.at[i - 2]);
        if (s->depth == 0 && !first && !value)
            return; /* inside plain text */
        if (s->depth++ == 0) {
            s->begin = i;
            s->indent = indent;
            s->at = at;
        }
    } else if (s->depth && (c == ']' || c == '}')) {
        s->depth--;
    }
}

bool yaml_flow_is_long(struct str text, size_t n_max, struct place *ret) {
    struct scan s = {0};
    uint32_t line = 1;
    for (size_t at = 0; at < text.n; line++) {
        const char *found = memchr(text.at + at, '\n', text.n - at);
        size_t end = found ? (size_t)(found - text.at) : text.n, indent = 0;
        while (at + indent < end && text.at[at + indent] == ' ')
            indent++;
        /* What stands no further right than the line that opened a bracket is no part of it, whatever was open. */
        bool blank = at + indent == end || text.at[at + indent] == '\r';
        if (s.depth && !blank && indent <= s.indent && !strchr("]}", text.at[at + indent]))
            s = (struct scan){0};
        for (size_t i = at; i < end; i++) {
            scan_char(&s, text, i, at, indent, (struct place){line, (uint32_t)(i - at) + 1});
            if (s.depth && i - s.begin > n_max) {
                *ret = s.at;
                return true;
            }
        }
        at = end + 1;
    }
    return false;
}
