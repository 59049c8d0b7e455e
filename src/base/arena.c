/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/arena.c - see arena.h
 *
 * Chunks come from calloc and double up to a limit, so a small file costs little and a large one few calls; with their
 * head they are a power of two, which is what the heap has places for. What is larger than that gets a chunk of its own,
 * behind the last one, which goes on being filled. With AddressSanitizer every allocation is its own chunk, so an overrun
 * is seen. */
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/arena.h>
#include <ringwall/base/check.h>

#include "sanitize.h" /* RINGWALL_ASAN */

enum { ARENA_ALIGN = 16, ARENA_CHUNK_BYTES_MIN = 1024, ARENA_CHUNK_BYTES_MAX = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *before;
    size_t used, cap;
    _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

static struct arena_chunk *chunk_new(struct arena *a, size_t n) {
    size_t whole =
        a->last ? min_of((a->last->cap + sizeof(*a->last)) * 2, (size_t)ARENA_CHUNK_BYTES_MAX) : (size_t)ARENA_CHUNK_BYTES_MIN;
#ifdef RINGWALL_ASAN
    whole = 0;
#endif
    bool alone = whole < sizeof(struct arena_chunk) + n;
    whole = max_of(whole, sizeof(struct arena_chunk) + n);
    struct arena_chunk *c = calloc(1, whole);
    if (!c)
        return NULL;
    c->cap = whole - sizeof(*c);
    a->bytes_held += whole;
    if (alone && a->last) {
        c->before = a->last->before;
        a->last->before = c;
    } else {
        c->before = a->last;
        a->last = c;
    }
    return c;
}

void *arena_alloc_aligned(struct arena *a, size_t n, size_t align) {
    check(align && align <= ARENA_ALIGN && !(align & (align - 1)));
    if (n > SIZE_MAX / 2)
        return NULL;
    size_t wanted = max_of(n, (size_t)1); /* every allocation is a place of its own */
    struct arena_chunk *c = a->last;
    size_t skip = c ? -c->used & (align - 1) : 0;
    if (!c || c->cap - c->used < skip || c->cap - c->used - skip < wanted) {
        c = NULL;
        skip = 0;
    }
    if (a->bytes_max && (a->bytes > a->bytes_max || skip + wanted > a->bytes_max - a->bytes))
        return NULL;
    if (!c)
        c = chunk_new(a, wanted);
    if (!c)
        return NULL;
    void *at = c->bytes + c->used + skip;
    c->used += skip + wanted;
    a->bytes += skip + wanted;
    return at;
}

void *arena_alloc(struct arena *a, size_t n) { return arena_alloc_aligned(a, n, ARENA_ALIGN); }

void *arena_alloc_array(struct arena *a, size_t size, size_t count) {
    size_t n, align = size & -size; /* a type's size is a multiple of its alignment */
    if (__builtin_mul_overflow(size, count, &n))
        return NULL;
    return arena_alloc_aligned(a, n, align && align < ARENA_ALIGN ? align : ARENA_ALIGN);
}

struct str arena_str(struct arena *a, struct str s, bool *ok) {
    char *at = s.n < SIZE_MAX ? arena_alloc_aligned(a, s.n + 1, 1) : NULL;
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
    char *at = n >= 0 ? arena_alloc_aligned(a, (size_t)n + 1, 1) : NULL;
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
        free(c);
    }
    a->bytes = a->bytes_held = 0;
}
