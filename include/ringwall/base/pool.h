/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/pool.h - fixed number of equal objects, reserved as address space at start, touched on first use
 *
 * Pooled objects begin with a struct pooled. Release poisons the object (keeping the pooled header), so a stale
 * pointer crashes in tests; the generation tells a re-used slot from the one that a late completion meant.
 * Memory of slots that were never used costs nothing; pool_trim returns the pages of free ones, and of an empty pool
 * everything. Single owner. */
#pragma once

#include <ringwall/base/defs.h>

struct pool;
struct pooled {
    uint32_t magic;      /* the pool's magic while acquired, its complement while free */
    uint32_t generation; /* odd while acquired; never the same twice until it wraps */
};

struct pool *pool_new(uint32_t magic, size_t object_bytes, size_t n_max); /* NULL: out of address space */
struct pool *pool_free(struct pool *p);                                   /* all objects must be back */
DEFINE_FREEP(struct pool, pool_free)
void *pool_acquire(struct pool *p); /* zeroed behind the header; NULL: pool is at its bound */
void pool_release(struct pool *p, void *object);
size_t pool_used(const struct pool *p);
size_t pool_max(const struct pool *p);
void pool_trim(struct pool *p); /* gives free pages back to the kernel */
/* For a slow clock: trims when a good part of the memory was not needed since the last call. True: it did. */
bool pool_trim_unused(struct pool *p);
#define check_pooled(o, m) check((o)->pooled.magic == (m))
