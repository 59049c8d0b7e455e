/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/arena.h - bump allocation for things that die together (a parsed file, a world); bounded; heap behind it */
#pragma once

#include <ringwall/base/str.h>

struct arena_chunk;
struct arena {
    struct arena_chunk *last; /* NULL: nothing allocated */
    size_t bytes;             /* handed out so far, with what alignment skipped */
    size_t bytes_held;        /* taken from the heap for that */
    size_t bytes_max;         /* 0: no bound */
};
#define ARENA_NULL ((struct arena){0})

void *arena_alloc(struct arena *a, size_t n);                       /* zeroed, 16-aligned; NULL: bound or memory */
void *arena_alloc_aligned(struct arena *a, size_t n, size_t align); /* a power of two, 16 at most */
struct str arena_str(struct arena *a, struct str s, bool *ok);      /* copy, NUL added behind; clears *ok on failure */
struct str arena_strf(struct arena *a, bool *ok, const char *fmt, ...) printf_like(3, 4);
void arena_deinit(struct arena *a);
/* As arena_alloc, NULL too when the product overflows. Aligned as much as a type of this size may need, which is the largest
 * power of two that divides it: bytes stand side by side. */
void *arena_alloc_array(struct arena *a, size_t size, size_t count);
#define arena_array(a, type, count) ((type *)arena_alloc_array((a), sizeof(type), (count)))
