/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_scalar.c - quoted values, undone by YAML 1.2's sections 7.3.1 and 7.3.2
 *
 * libfyaml finds where a quoted value begins and ends, and gives a text for it; but release 0.7.12 gives a wrong text where
 * two quotes stand for one twice in a row, and cuts one short where a line that ends with a backslash is followed by an
 * empty line. So the text is made here, from the source. */
#include <errno.h>

#include "yaml_scalar.h"

struct quoted {
    struct str left; /* not read yet */
    struct growing *out;
    size_t solid; /* bytes of out that the end of a line does not trim */
};

static bool is_blank(char c) { return c == ' ' || c == '\t'; }
static bool is_break(char c) { return c == '\n' || c == '\r'; }

static void skip(struct quoted *q, size_t n) { q->left = (struct str){q->left.at + n, q->left.n - n}; }

static void put(struct quoted *q, struct str s) {
    growing_add(q->out, s);
    q->solid = q->out->n;
}

static void skip_break(struct quoted *q) { skip(q, q->left.n > 1 && q->left.at[0] == '\r' && q->left.at[1] == '\n' ? 2 : 1); }

/* At a line's end: takes it, the empty lines behind it and the indentation of the next. A line's end is a blank, unless it is
 * escaped; each empty line is a line feed instead. */
static void fold(struct quoted *q, bool escaped) {
    unsigned n_empty = 0;

    if (!escaped)
        q->out->n = q->solid;
    skip_break(q);
    while (q->left.n && (is_blank(q->left.at[0]) || is_break(q->left.at[0]))) {
        if (is_blank(q->left.at[0])) {
            skip(q, 1);
            continue;
        }
        put(q, STR("\n"));
        n_empty++;
        skip_break(q);
    }
    if (n_empty == 0 && !escaped)
        put(q, STR(" "));
}

static bool hex(struct quoted *q, size_t digits, uint32_t *ret) {
    uint32_t value = 0;

    if (q->left.n < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        char c = q->left.at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

        if (digit < 0)
            return false;
        value = value << 4 | (uint32_t)digit;
    }
    skip(q, digits);
    *ret = value;
    return true;
}

static bool put_code(struct quoted *q, uint32_t code) {
    char bytes[4];
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0x00, 0xc0, 0xe0, 0xf0};

    if (code > 0x10ffff || (code & 0xfffff800) == 0xd800)
        return false;
    for (size_t i = n; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(leads[n] | code);
    put(q, (struct str){bytes, n});
    return true;
}

/* JSON writes what is beyond 16 bits as two surrogates. */
static bool escaped_code(struct quoted *q, size_t digits) {
    uint32_t code, low;

    if (!hex(q, digits, &code))
        return false;
    if (digits == 4 && (code & 0xfffffc00) == 0xd800 && q->left.n >= 6 && q->left.at[0] == '\\' && q->left.at[1] == 'u') {
        skip(q, 2);
        if (!hex(q, 4, &low) || (low & 0xfffffc00) != 0xdc00)
            return false;
        code = 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
    }
    return put_code(q, code);
}

static bool escape(struct quoted *q) {
    static const struct {
        char letter;
        uint16_t code;
    } letters[] = {{'0', 0},   {'a', 7},     {'b', 8},    {'t', 9},    {'\t', 9},     {'n', 10},
                   {'v', 11},  {'f', 12},    {'r', 13},   {'e', 0x1b}, {' ', ' '},    {'"', '"'},
                   {'/', '/'}, {'\\', '\\'}, {'N', 0x85}, {'_', 0xa0}, {'L', 0x2028}, {'P', 0x2029}};
    char c;

    skip(q, 1); /* the backslash */
    if (q->left.n == 0)
        return false;
    c = q->left.at[0];
    if (is_break(c)) {
        fold(q, true);
        return true;
    }
    skip(q, 1);
    if (c == 'x' || c == 'u' || c == 'U')
        return escaped_code(q, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    for (size_t i = 0; i < array_size(letters); i++)
        if (letters[i].letter == c)
            return put_code(q, letters[i].code);
    return false;
}

/* How many bytes from here stand for themselves, and hold no blank at their end. */
static size_t plain_run(struct str s, char special) {
    size_t n = 0;

    while (n < s.n && s.at[n] != special && !is_break(s.at[n]) && !is_blank(s.at[n]))
        n++;
    return n;
}

int yaml_quoted_text(struct str source, bool double_quoted, struct growing *scratch, struct str *ret) {
    char special = double_quoted ? '\\' : '\'';
    struct quoted q = {.left = source, .out = scratch};

    if (!source.n ||
        (!memchr(source.at, special, source.n) && !memchr(source.at, '\n', source.n) && !memchr(source.at, '\r', source.n))) {
        *ret = source;
        return 0;
    }
    scratch->n = 0;
    while (q.left.n) {
        size_t n = plain_run(q.left, special);

        if (n) {
            put(&q, (struct str){q.left.at, n});
            skip(&q, n);
        } else if (is_blank(q.left.at[0])) {
            growing_add(scratch, (struct str){q.left.at, 1}); /* not solid yet */
            skip(&q, 1);
        } else if (is_break(q.left.at[0])) {
            fold(&q, false);
        } else if (double_quoted) {
            if (!escape(&q))
                return 1;
        } else {
            put(&q, STR("'"));
            skip(&q, min_of(q.left.n, (size_t)2));
        }
        if (scratch->failed)
            return -ENOMEM;
    }
    *ret = (struct str){scratch->at, scratch->n};
    return 0;
}
