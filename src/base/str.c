/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/str.c - see str.h */
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/str.h>

int str_compare(struct str a, struct str b) {
    size_t n = min_of(a.n, b.n);
    int r = n ? memcmp(a.at, b.at, n) : 0;
    return r ? r : (a.n > b.n) - (a.n < b.n);
}

bool str_split(struct str *rest, char at, struct str *ret_head) {
    if (!rest->at)
        return false;
    const char *found = rest->n ? memchr(rest->at, at, rest->n) : NULL;
    if (!found) {
        *ret_head = *rest;
        *rest = STR_NULL;
        return true;
    }
    *ret_head = (struct str){.at = rest->at, .n = (size_t)(found - rest->at)};
    *rest = (struct str){.at = found + 1, .n = rest->n - ret_head->n - 1};
    return true;
}

bool str_u64(struct str s, uint64_t max, uint64_t *ret) {
    uint64_t value = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) || __builtin_add_overflow(value, (uint64_t)(s.at[i] - '0'), &value))
            return false;
    }
    if (s.n == 0 || value > max)
        return false;
    *ret = value;
    return true;
}

char *str_dup(struct str s) {
    char *copy = s.n < SIZE_MAX ? malloc(s.n + 1) : NULL;
    if (!copy)
        return NULL;
    if (s.n)
        memcpy(copy, s.at, s.n);
    copy[s.n] = 0;
    return copy;
}

size_t str_utf8_unit(struct str s) {
    const uint8_t *b = (const uint8_t *)s.at;
    if (s.n == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    size_t n = b[0] >= 0xc2 && b[0] <= 0xdf ? 2 : (b[0] & 0xf0) == 0xe0 ? 3 : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4 : 0;
    if (n == 0 || s.n < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates and what lies past U+10FFFF all show in the second byte. */
    bool wrong = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf0 && b[1] < 0x90) ||
                 (b[0] == 0xf4 && b[1] > 0x8f);
    return wrong ? 0 : n;
}

bool str_is_utf8(struct str s) {
    while (s.n > 0) {
        size_t n = str_utf8_unit(s);
        unsigned char c = (unsigned char)s.at[0];
        if (n == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r'))
            return false;
        s.at += n;
        s.n -= n;
    }
    return true;
}

static char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

bool str_fold_is(struct str a, struct str b) {
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (fold(a.at[i]) != fold(b.at[i]))
            return false;
    return true;
}

size_t str_distance(struct str a, struct str b) {
    enum { N_MAX = 64 };
    size_t row[N_MAX + 1]; /* distances of a's first i bytes to every beginning of b */
    a.n = min_of(a.n, (size_t)N_MAX);
    b.n = min_of(b.n, (size_t)N_MAX);
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t above = row[j], replaced = diagonal + (a.at[i - 1] != b.at[j - 1]);
            row[j] = min_of(replaced, min_of(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b.n];
}

void text_add(struct text *t, struct str s) {
    check(t->cap > 0 && t->n < t->cap);
    size_t n = min_of(s.n, t->cap - 1 - t->n);
    if (n)
        memcpy(t->at + t->n, s.at, n);
    t->n += n;
    t->at[t->n] = 0;
    t->full |= n < s.n;
}

void text_addv(struct text *t, const char *fmt, va_list ap) {
    check(t->cap > 0 && t->n < t->cap);
    size_t n_left = t->cap - t->n;
    int n = vsnprintf(t->at + t->n, n_left, fmt, ap);
    bool cut = n < 0 || (size_t)n >= n_left;
    t->n += cut ? (n < 0 ? 0 : n_left - 1) : (size_t)n;
    t->at[t->n] = 0;
    t->full |= cut;
}

void text_addf(struct text *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    text_addv(t, fmt, ap);
    va_end(ap);
}

/* Space for n more bytes and the NUL. */
static bool growing_reserve(struct growing *g, size_t n) {
    enum { GROWING_BYTES_MIN = 256 };
    size_t n_wanted;
    if (g->failed || __builtin_add_overflow(g->n, n, &n_wanted) || n_wanted > SIZE_MAX / 4) {
        g->failed = true;
        return false;
    }
    if (n_wanted < g->cap)
        return true;
    size_t cap = max_of(g->cap * 2, (size_t)GROWING_BYTES_MIN);
    cap = max_of(cap, n_wanted + 1);
    char *at = realloc(g->at, cap);
    if (!at) {
        g->failed = true;
        return false;
    }
    g->at = at;
    g->cap = cap;
    return true;
}

void growing_add(struct growing *g, struct str s) {
    if (!growing_reserve(g, s.n))
        return;
    if (s.n)
        memcpy(g->at + g->n, s.at, s.n);
    g->n += s.n;
    g->at[g->n] = 0;
}

void growing_addf(struct growing *g, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        g->failed = true;
    if (n < 0 || !growing_reserve(g, (size_t)n))
        return;
    va_start(ap, fmt);
    check(vsnprintf(g->at + g->n, (size_t)n + 1, fmt, ap) == n);
    va_end(ap);
    g->n += (size_t)n;
}

void growing_deinit(struct growing *g) {
    free(g->at);
    *g = GROWING_NULL;
}
