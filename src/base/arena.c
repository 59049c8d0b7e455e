/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/arena.c - see arena.h
 *
 * Chunks come from calloc and double up to a limit, so a small file costs little and a large one few calls. What does
 * not fit gets a chunk of its own. With AddressSanitizer every allocation is its own chunk, so an overrun is seen. */
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/arena.h>
#include <ringwall/base/check.h>

#include "sanitize.h"

enum { ARENA_ALIGN = 16, ARENA_CHUNK_BYTES_MIN = 1024, ARENA_CHUNK_BYTES_MAX = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *before;
    size_t used, cap;
    _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

static struct arena_chunk *chunk_new(struct arena *a, size_t n) {
    size_t cap = a->last ? min_of(a->last->cap * 2, (size_t)ARENA_CHUNK_BYTES_MAX) : (size_t)ARENA_CHUNK_BYTES_MIN;
#ifdef RINGWALL_ASAN
    cap = 0;
#endif
    cap = max_of(cap, n);
    struct arena_chunk *c = calloc(1, sizeof(*c) + cap);
    if (!c)
        return NULL;
    c->cap = cap;
    c->before = a->last;
    a->last = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t n) {
    if (n > SIZE_MAX / 2)
        return NULL;
    size_t rounded = max_of((n + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN, (size_t)ARENA_ALIGN);
    if (a->bytes_max && (a->bytes > a->bytes_max || rounded > a->bytes_max - a->bytes))
        return NULL;
    struct arena_chunk *c = a->last;
    if (!c || c->cap - c->used < rounded)
        c = chunk_new(a, rounded);
    if (!c)
        return NULL;
    void *at = c->bytes + c->used;
    c->used += rounded;
    a->bytes += rounded;
    sanitize_poison((uint8_t *)at + n, rounded - n);
    return at;
}

void *arena_alloc_array(struct arena *a, size_t size, size_t count) {
    size_t n;
    return __builtin_mul_overflow(size, count, &n) ? NULL : arena_alloc(a, n);
}

struct str arena_str(struct arena *a, struct str s, bool *ok) {
    char *at = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (!at) {
        *ok = false;
        return STR_NULL;
    }
    if (s.n)
        memcpy(at, s.at, s.n);
    return (struct str){.at = at, .n = s.n};
}

struct str arena_strf(struct arena *a, bool *ok, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *at = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (!at) {
        *ok = false;
        return STR_NULL;
    }
    va_start(ap, fmt);
    check(vsnprintf(at, (size_t)n + 1, fmt, ap) == n);
    va_end(ap);
    return (struct str){.at = at, .n = (size_t)n};
}

void arena_deinit(struct arena *a) {
    while (a->last) {
        struct arena_chunk *c = a->last;
        a->last = c->before;
        sanitize_unpoison(c->bytes, c->cap);
        free(c);
    }
    a->bytes = 0;
}
