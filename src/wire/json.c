/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/json.c - JSON written piece by piece, and read through jansson
 *
 * Written text is well-formed whatever the strings hold: bytes that are not UTF-8 become U+FFFD. Read text is bounded in
 * size and depth before jansson sees it, because jansson recurses. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h> /* before json.h, which renames three words that both have */

#include <ringwall/base/check.h>
#include <ringwall/wire/json.h>

#include "library.h"

static void add_escape(struct growing *g, uint8_t c) {
    static const char named[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = memchr(named, c, sizeof(named) - 1);

    if (at)
        growing_add(g, (struct str){(char[]){'\\', letters[at - named]}, 2});
    else
        growing_addf(g, "\\u%04x", c);
}

static void add_quoted(struct growing *g, struct str s) {
    size_t plain = 0, i = 0;

    growing_add(g, STR("\""));
    while (i < s.n) {
        uint8_t c = (uint8_t)s.at[i];
        bool special = c < 0x20 || c == '"' || c == '\\' || c == 0x7f;
        size_t step = special ? 0 : str_utf8_unit((struct str){s.at + i, s.n - i});

        if (step) {
            i += step;
            continue;
        }
        if (i > plain)
            growing_add(g, (struct str){s.at + plain, i - plain});
        if (special)
            add_escape(g, c);
        else
            growing_add(g, STR("\xef\xbf\xbd"));
        plain = ++i;
    }
    if (s.n > plain)
        growing_add(g, (struct str){s.at + plain, s.n - plain});
    growing_add(g, STR("\""));
}

static void new_line(struct json_writer *w) {
    if (!w->pretty)
        return;
    growing_add(w->to, STR("\n"));
    for (unsigned i = 0; i < w->depth; i++)
        growing_add(w->to, STR("  "));
}

/* What stands before any value: comma, line, key. */
static void lead_in(struct json_writer *w, const char *key) {
    if (w->depth == 0) {
        check(!key);
        return;
    }
    check(w->array[w->depth - 1] == !key);
    if (w->comma[w->depth - 1])
        growing_add(w->to, STR(","));
    w->comma[w->depth - 1] = true;
    new_line(w);
    if (!key)
        return;
    add_quoted(w->to, str_of(key));
    growing_add(w->to, w->pretty ? STR(": ") : STR(":"));
}

static void open_level(struct json_writer *w, const char *key, bool array) {
    check(w->depth < JSON_DEPTH_MAX);
    lead_in(w, key);
    growing_add(w->to, array ? STR("[") : STR("{"));
    w->array[w->depth] = array;
    w->comma[w->depth] = false;
    w->depth++;
}

void json_begin(struct json_writer *w, struct growing *to, bool pretty) { *w = (struct json_writer){.to = to, .pretty = pretty}; }
void json_object(struct json_writer *w, const char *key) { open_level(w, key, false); }
void json_array(struct json_writer *w, const char *key) { open_level(w, key, true); }

void json_end(struct json_writer *w) {
    check(w->depth > 0);
    w->depth--;
    if (w->comma[w->depth])
        new_line(w);
    growing_add(w->to, w->array[w->depth] ? STR("]") : STR("}"));
    if (w->depth == 0 && w->pretty)
        growing_add(w->to, STR("\n"));
}

void json_str(struct json_writer *w, const char *key, struct str s) {
    lead_in(w, key);
    add_quoted(w->to, s);
}

void json_z(struct json_writer *w, const char *key, const char *z) {
    if (z)
        json_str(w, key, str_of(z));
    else
        json_null(w, key);
}

void json_strf(struct json_writer *w, const char *key, const char *fmt, ...) {
    cleanup_free char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        text = NULL; /* undefined after a failure */
        w->to->failed = true;
        json_null(w, key);
        return;
    }
    json_str(w, key, (struct str){text, (size_t)n});
}

void json_u64(struct json_writer *w, const char *key, uint64_t v) {
    lead_in(w, key);
    growing_addf(w->to, "%" PRIu64, v);
}

void json_i64(struct json_writer *w, const char *key, int64_t v) {
    lead_in(w, key);
    growing_addf(w->to, "%" PRId64, v);
}

void json_bool(struct json_writer *w, const char *key, bool v) {
    lead_in(w, key);
    growing_add(w->to, v ? STR("true") : STR("false"));
}

void json_null(struct json_writer *w, const char *key) {
    lead_in(w, key);
    growing_add(w->to, STR("null"));
}

void json_raw(struct json_writer *w, const char *key, struct str json) {
    lead_in(w, key);
    growing_add(w->to, json);
}

/* Depth of brackets outside strings; what is malformed is left to jansson. */
static bool too_deep(struct str text) {
    unsigned depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.at[i];

        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

struct json *json_read(struct str text, char why[128]) {
    json_error_t error;
    json_t *root;

    if (text.n > JSON_READ_MAX) {
        snprintf(why, 128, "JSON text is larger than %u MiB", JSON_READ_MAX / 1024 / 1024);
        return NULL;
    }
    if (too_deep(text)) {
        snprintf(why, 128, "JSON is nested deeper than %d levels", JSON_DEPTH_MAX);
        return NULL;
    }
    root = json_loadb(text.n ? text.at : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root)
        snprintf(why, 128, "line %d, column %d: %.80s", error.line, error.column, error.text);
    return (struct json *)root;
}

/* jansson's readers take const nodes, but for its iterators, which change nothing either. */
static const json_t *node_of(const struct json *n) { return (const json_t *)n; }

void json_free(struct json *root) { json_decref((json_t *)root); }
const struct json *json_get(const struct json *object, const char *key) {
    return (const struct json *)json_object_get(node_of(object), key);
}
size_t json_count(const struct json *array) { return json_array_size(node_of(array)); }
const struct json *json_at(const struct json *array, size_t i) { return (const struct json *)json_array_get(node_of(array), i); }

struct str json_text(const struct json *n) {
    if (!json_is_string(node_of(n)))
        return STR_NULL;
    return (struct str){.at = json_string_value(node_of(n)), .n = json_string_length(node_of(n))};
}

bool json_number(const struct json *n, int64_t *ret) {
    if (!json_is_integer(node_of(n)))
        return false;
    *ret = json_integer_value(node_of(n));
    return true;
}

bool json_truth(const struct json *n) { return json_is_true(node_of(n)); }

enum json_kind json_kind(const struct json *n) {
    if (!n)
        return JSON_IS_ABSENT;
    switch (json_typeof(node_of(n))) {
    case JSON_OBJECT:
        return JSON_IS_OBJECT;
    case JSON_ARRAY:
        return JSON_IS_ARRAY;
    case JSON_STRING:
        return JSON_IS_TEXT;
    case JSON_INTEGER:
        return JSON_IS_INTEGER;
    case JSON_REAL:
        return JSON_IS_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_IS_BOOL;
    case JSON_NULL:
        return JSON_IS_NULL;
    }
    return JSON_IS_ABSENT;
}

double json_double(const struct json *n) { return json_number_value(node_of(n)); }

bool json_member(const struct json *object, void **cursor, struct str *ret_key, const struct json **ret_value) {
    json_t *o = (json_t *)(uintptr_t)object;
    void *at = *cursor ? json_object_iter_next(o, *cursor) : json_object_iter(o);

    if (!at)
        return false;
    *cursor = at;
    *ret_key = str_of(json_object_iter_key(at)); /* jansson takes no NUL in a key */
    *ret_value = (const struct json *)json_object_iter_value(at);
    return true;
}

char *json_dump(const struct json *n) { return n ? json_dumps(node_of(n), JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL; }

const char *json_library_version(void) { return jansson_version_str(); }
