/* SPDX-License-Identifier: GPL-3.0-or-later
 * sources.c - token buckets in a two-way table */
#include "sources.h"

#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/map.h>

struct source {
    struct addr addr;
    uint64_t at_ns; /* when `left` was right; 0: free place */
    uint64_t left;  /* tokens, in billionths */
};
struct sources {
    size_t n_slots;
    uint32_t per_s;
    uint64_t seed[2];
    struct source slots[];
};

struct sources *sources_new(size_t n_slots, uint32_t per_s, uint64_t seed) {
    check(n_slots >= 2 && (n_slots & (n_slots - 1)) == 0);
    struct sources *s = calloc(1, sizeof(*s) + n_slots * sizeof(s->slots[0]));
    if (!s)
        return NULL;
    s->n_slots = n_slots;
    s->per_s = per_s;
    s->seed[0] = seed;
    s->seed[1] = ~seed;
    return s;
}

struct sources *sources_free(struct sources *s) {
    free(s);
    return NULL;
}

static struct source *source_of(struct sources *s, const struct addr *a, uint64_t now_ns) {
    struct source *pair = &s->slots[hash_bytes(s->seed, a, sizeof(*a)) & (s->n_slots - 1) & ~(size_t)1];
    for (size_t i = 0; i < 2; i++)
        if (pair[i].at_ns && addr_is(&pair[i].addr, a))
            return &pair[i];
    struct source *older = pair[0].at_ns <= pair[1].at_ns ? &pair[0] : &pair[1];
    *older = (struct source){.addr = *a, .at_ns = now_ns, .left = 2ULL * s->per_s * NS_PER_S};
    return older;
}

bool sources_allow(struct sources *s, const struct addr *a, uint64_t now_ns) {
    if (s->per_s == 0)
        return true;
    struct source *x = source_of(s, a, now_ns);
    uint64_t burst = 2ULL * s->per_s * NS_PER_S;
    uint64_t passed = min_of(now_ns - x->at_ns, 2 * NS_PER_S);
    x->left = min_of(x->left + passed * s->per_s, burst);
    x->at_ns = now_ns;
    if (x->left < NS_PER_S)
        return false;
    x->left -= NS_PER_S;
    return true;
}
