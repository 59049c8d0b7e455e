/* SPDX-License-Identifier: GPL-3.0-or-later
 * ejected.c - failures in a row in a two-way table */
#include "ejected.h"

#include <stdlib.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/base/map.h>

struct slot {
    struct endpoint at;
    unsigned n_failures; /* in a row; 0: free place */
    uint64_t failed_ns;  /* the last one */
    uint64_t until_ns;   /* ejected until then */
};
struct ejected {
    size_t n_slots, n_used;
    uint64_t seed[2];
    struct slot slots[];
};

struct ejected *ejected_new(size_t n_slots, uint64_t seed) {
    check(n_slots >= 2 && (n_slots & (n_slots - 1)) == 0);
    struct ejected *e = calloc(1, sizeof(*e) + n_slots * sizeof(e->slots[0]));
    if (!e)
        return NULL;
    e->n_slots = n_slots;
    e->seed[0] = seed;
    e->seed[1] = ~seed;
    return e;
}

struct ejected *ejected_free(struct ejected *e) {
    free(e);
    return NULL;
}

static size_t pair_of(const struct ejected *e, const struct endpoint *at) {
    uint8_t key[sizeof(at->addr) + sizeof(at->port)];
    memcpy(key, &at->addr, sizeof(at->addr));
    memcpy(key + sizeof(at->addr), &at->port, sizeof(at->port));
    return hash_bytes(e->seed, key, sizeof(key)) & (e->n_slots - 1) & ~(size_t)1;
}

/* SIZE_MAX: it has no place. Nothing is hashed while nothing failed, which is nearly always. */
static size_t find(const struct ejected *e, const struct endpoint *at) {
    size_t pair = e->n_used ? pair_of(e, at) : 0;
    for (size_t i = pair; e->n_used && i < pair + 2; i++)
        if (e->slots[i].n_failures && endpoint_is(&e->slots[i].at, at))
            return i;
    return SIZE_MAX;
}

static struct slot *take(struct ejected *e, const struct endpoint *at) {
    struct slot *s = &e->slots[pair_of(e, at)];
    if (s[0].n_failures && (!s[1].n_failures || s[1].failed_ns < s[0].failed_ns))
        s++;
    e->n_used += s->n_failures == 0;
    *s = (struct slot){.at = *at};
    return s;
}

bool ejected_failed(struct ejected *e, const struct endpoint *at, uint64_t now_ns) {
    size_t i = find(e, at);
    struct slot *s = i == SIZE_MAX ? take(e, at) : &e->slots[i];
    if (s->n_failures && now_ns - s->failed_ns >= EJECTED_FORGET_NS)
        s->n_failures = 0;
    s->failed_ns = now_ns;
    if (now_ns < s->until_ns) /* an attempt from before, or there was no other endpoint: not again for the same trouble */
        return false;
    s->n_failures++;
    if (s->n_failures < EJECTED_FAILURES)
        return false;
    unsigned doublings = min_of(s->n_failures - EJECTED_FAILURES, (unsigned)EJECTED_DOUBLINGS_MAX);
    s->until_ns = now_ns + (EJECTED_NS << doublings);
    return true;
}

void ejected_succeeded(struct ejected *e, const struct endpoint *at) {
    size_t i = find(e, at);
    if (i == SIZE_MAX)
        return;
    e->slots[i] = (struct slot){.n_failures = 0};
    e->n_used--;
}

bool ejected_is(const struct ejected *e, const struct endpoint *at, uint64_t now_ns) {
    size_t i = find(e, at);
    return i != SIZE_MAX && now_ns < e->slots[i].until_ns;
}
