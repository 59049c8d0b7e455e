/* SPDX-License-Identifier: GPL-3.0-or-later
 * facts.c - names packed one behind the other; a value that is set again is appended, the old one is simply lost */
#include "facts.h"

#include <stdarg.h>

#include <ringwall/base/check.h>

void facts_clear(struct facts *f) {
    memset(f->items, 0, sizeof(f->items));
    f->used = 0;
}

void facts_copy(struct facts *to, const struct facts *from) {
    memcpy(to->items, from->items, sizeof(to->items));
    to->used = from->used;
    memcpy(to->text, from->text, from->used);
}

void facts_set(struct facts *f, enum fact which, struct str s) {
    check(which < _FACT_MAX);
    if (str_is(facts_get(f, which), s))
        return;
    size_t n = min_of(s.n, (size_t)(FACTS_BYTES - f->used));
    if (n)
        memcpy(f->text + f->used, s.at, n);
    f->items[which].at = f->used;
    f->items[which].n = (uint16_t)n;
    f->used = (uint16_t)(f->used + n);
}

void facts_setf(struct facts *f, enum fact which, const char *fmt, ...) {
    char line[256];
    struct text t = TEXT_OVER(line);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    facts_set(f, which, text_str(&t));
}

struct str facts_get(const struct facts *f, enum fact which) {
    check(which < _FACT_MAX);
    return (struct str){f->text + f->items[which].at, f->items[which].n};
}
