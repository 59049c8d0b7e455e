/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/pool.c - see pool.h
 *
 * The free list and the generations live in a table beside the objects, so trimming may drop whole pages of free
 * objects and still no generation comes twice. Of an empty pool the table may go too: what its generations had reached is kept as
 * one number to count on from. The list is last-in first-out for warm caches; trimming sorts it by
 * address, so that the pool draws together at its low end. */
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/base/pool.h>

#include "region.h"
#include "sanitize.h"

enum { POOL_ALIGN = 64, POOL_POISON = 0xdb, POOL_TRIM_BYTES_MIN = 64 * 1024 };

static const uint32_t NO_SLOT = UINT32_MAX;

struct slot {
    uint32_t generation; /* from the pool's `generations`; odd: acquired, even: free */
    uint32_t next_free;
};

struct pool {
    uint8_t *objects;
    struct slot *slots;
    size_t object_bytes, stride;
    size_t n_max, n_used;
    size_t n_touched;                    /* slots [n_touched, n_max) hold no memory */
    size_t n_resident;                   /* at most so many slots held memory when pool_trim_unused looked last */
    size_t n_peak;                       /* used at once since then */
    uint32_t generations, n_generations; /* an even number to count on from; how far a slot has come */
    uint32_t first_free;                 /* among the touched ones */
    uint32_t magic;
};

struct pool *pool_new(uint32_t magic, size_t object_bytes, size_t n_max) {
    check(magic != 0 && object_bytes > sizeof(struct pooled) && object_bytes < SIZE_MAX / 4 && n_max > 0);
    size_t stride = (object_bytes + POOL_ALIGN - 1) / POOL_ALIGN * POOL_ALIGN, n_bytes;
    if (n_max >= NO_SLOT || __builtin_mul_overflow(stride, n_max, &n_bytes))
        return NULL;
    cleanup(pool_freep) struct pool *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    *p = (struct pool){.object_bytes = object_bytes, .stride = stride, .n_max = n_max, .first_free = NO_SLOT, .magic = magic};
    p->objects = region_map(n_bytes);
    p->slots = p->objects ? region_map(n_max * sizeof(*p->slots)) : NULL;
    return p->slots ? take_ptr(p) : NULL;
}

struct pool *pool_free(struct pool *p) {
    if (!p)
        return NULL;
    check(p->n_used == 0);
    if (p->objects)
        sanitize_unpoison(p->objects, p->stride * p->n_touched);
    region_unmap(p->objects, p->stride * p->n_max);
    region_unmap(p->slots, p->n_max * sizeof(*p->slots));
    free(p);
    return NULL;
}

static uint8_t *object_at(const struct pool *p, size_t i) { return p->objects + p->stride * i; }

void *pool_acquire(struct pool *p) {
    uint32_t i = p->first_free;
    if (i != NO_SLOT)
        p->first_free = p->slots[i].next_free;
    else if (p->n_touched < p->n_max)
        i = (uint32_t)p->n_touched++;
    else
        return NULL;
    struct slot *slot = &p->slots[i];
    check(slot->generation % 2 == 0);
    uint8_t *object = object_at(p, i);
    sanitize_unpoison(object, p->object_bytes);
    memset(object, 0, p->object_bytes);
    sanitize_poison(object + p->object_bytes, p->stride - p->object_bytes);
    *(struct pooled *)object = (struct pooled){.magic = p->magic, .generation = p->generations + ++slot->generation};
    p->n_peak = max_of(p->n_peak, ++p->n_used);
    return object;
}

void pool_release(struct pool *p, void *object) {
    if (!object)
        return;
    size_t offset = (size_t)((uint8_t *)object - p->objects), i = offset / p->stride;
    check((uint8_t *)object >= p->objects && i < p->n_touched && offset % p->stride == 0);
    struct pooled *pooled = object;
    struct slot *slot = &p->slots[i];
    check(pooled->magic == p->magic && pooled->generation == p->generations + slot->generation && slot->generation % 2 == 1);
    p->n_generations = max_of(p->n_generations, ++slot->generation);
    slot->next_free = p->first_free;
    p->first_free = (uint32_t)i;
    pooled->magic = ~p->magic;
    size_t n_behind = p->object_bytes - sizeof(*pooled);
    memset(pooled + 1, POOL_POISON, n_behind);
    sanitize_poison(pooled + 1, n_behind);
    p->n_used--;
}

size_t pool_used(const struct pool *p) { return p->n_used; }
size_t pool_max(const struct pool *p) { return p->n_max; }

/* No object, no generation to be told from. */
static void pool_forget(struct pool *p) {
    p->generations += p->n_generations;
    p->n_generations = 0;
    region_discard(p->slots, p->n_max * sizeof(*p->slots));
}

void pool_trim(struct pool *p) {
    while (p->n_touched > 0 && p->slots[p->n_touched - 1].generation % 2 == 0) {
        p->n_touched--;
        sanitize_unpoison(object_at(p, p->n_touched), p->stride);
    }
    region_discard(object_at(p, p->n_touched), p->stride * (p->n_max - p->n_touched));
    p->first_free = NO_SLOT;
    size_t run_end = p->n_touched; /* [i, run_end) are free */
    for (size_t i = p->n_touched; i-- > 0;) {
        if (p->slots[i].generation % 2 == 1) {
            region_discard(object_at(p, i + 1), p->stride * (run_end - i - 1));
            run_end = i;
            continue;
        }
        p->slots[i].next_free = p->first_free;
        p->first_free = (uint32_t)i;
    }
    region_discard(p->objects, p->stride * run_end);
    if (p->n_touched == 0)
        pool_forget(p);
    p->n_resident = p->n_used;
}

/* The list of free ones being last-in first-out, as many slots hold memory as were used at once since the last trim. */
bool pool_trim_unused(struct pool *p) {
    p->n_resident = max_of(p->n_resident, p->n_peak);
    size_t n_unused = p->n_resident - p->n_peak;
    p->n_peak = p->n_used;
    if (n_unused < p->n_resident / 4 || n_unused * p->stride < POOL_TRIM_BYTES_MIN)
        return false;
    pool_trim(p);
    return true;
}
