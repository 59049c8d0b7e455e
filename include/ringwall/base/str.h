/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/str.h - length-carrying strings (never NUL-terminated by contract) and a bounded text builder */
#pragma once

#include <stdarg.h>
#include <string.h>

#include <ringwall/base/defs.h>

struct str {
    const char *at; /* may be NULL when n == 0 */
    size_t n;
};
#define STR_NULL ((struct str){0})
#define STR(literal) ((struct str){.at = (literal), .n = sizeof(literal) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).at ? (s).at : ""

static inline struct str str_of(const char *z) { return (struct str){.at = z, .n = z ? strlen(z) : 0}; }
static inline bool str_is(struct str a, struct str b) { return a.n == b.n && (a.n == 0 || !memcmp(a.at, b.at, a.n)); }
static inline bool str_has_prefix(struct str s, struct str p) { return s.n >= p.n && (p.n == 0 || !memcmp(s.at, p.at, p.n)); }
static inline bool str_has_suffix(struct str s, struct str p) {
    return s.n >= p.n && (p.n == 0 || !memcmp(s.at + s.n - p.n, p.at, p.n));
}
int str_compare(struct str a, struct str b); /* byte order, as memcmp */
/* Takes what is before the next `at`. False when rest->at is NULL: the last piece leaves STR_NULL behind, so "a," has
 * two pieces, the second empty, and "" (not STR_NULL) has one. */
bool str_split(struct str *rest, char at, struct str *ret_head);
bool str_u64(struct str s, uint64_t max, uint64_t *ret); /* decimal, no sign, no leading blanks */
char *str_dup(struct str s);                             /* NUL-terminated heap copy; NULL: no memory */
bool str_is_utf8(struct str s);                          /* well-formed, no NUL, no C0 controls but \t \n \r */
size_t str_utf8_unit(struct str s);                      /* bytes of the well-formed UTF-8 sequence that s begins with; 0: none */
bool str_fold_is(struct str a, struct str b);            /* ASCII case-insensitive */
size_t str_distance(struct str a, struct str b);         /* edit distance, for "did you mean"; n capped at 64 */

/* Text builder over caller's memory: never overflows; `full` says that text was cut. Always NUL-terminated. */
struct text {
    char *at;
    size_t n;
    size_t cap; /* at least 1 */
    bool full;
};
/* For an array of automatic storage: ends it at once, so that it can be read before anything was added. */
#define TEXT_OVER(array) ((struct text){.at = ((array)[0] = 0, (array)), .cap = sizeof(array)})
void text_add(struct text *t, struct str s);
void text_addf(struct text *t, const char *fmt, ...) printf_like(2, 3);
void text_addv(struct text *t, const char *fmt, va_list ap);
static inline struct str text_str(const struct text *t) { return (struct str){.at = t->at, .n = t->n}; }

/* Growing text for control threads (heap). */
struct growing {
    char *at; /* NUL-terminated once anything was added */
    size_t n, cap;
    bool failed; /* out of memory happened: content is incomplete */
};
#define GROWING_NULL ((struct growing){0})
void growing_add(struct growing *g, struct str s);
void growing_addf(struct growing *g, const char *fmt, ...) printf_like(2, 3);
void growing_deinit(struct growing *g);
