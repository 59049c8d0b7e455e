/* SPDX-License-Identifier: GPL-3.0-or-later
 * hist.c - see hist.h */
#include "hist.h"

static unsigned bucket_of(uint64_t value) {
    if (value >> HIST_SUB_BITS == 0)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
    return (shift + 1u) * (1u << HIST_SUB_BITS) + (unsigned)((value >> shift) - (1u << HIST_SUB_BITS));
}

static uint64_t upper_end(unsigned bucket) {
    unsigned block = bucket >> HIST_SUB_BITS, place = bucket & ((1u << HIST_SUB_BITS) - 1);
    if (block == 0)
        return bucket;
    return ((((uint64_t)1 << HIST_SUB_BITS) + place + 1) << (block - 1)) - 1;
}

void hist_add(struct hist *h, uint64_t value) {
    h->counts[bucket_of(value)]++;
    h->n++;
    h->sum += (double)value;
    h->most = max_of(h->most, value);
}

void hist_merge(struct hist *to, const struct hist *from) {
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        to->counts[i] += from->counts[i];
    to->n += from->n;
    to->sum += from->sum;
    to->most = max_of(to->most, from->most);
}

uint64_t hist_quantile(const struct hist *h, double share) {
    uint64_t rank = (uint64_t)((double)h->n * share + 0.5), seen = 0;
    rank = min_of(max_of(rank, (uint64_t)1), h->n);
    for (unsigned i = 0; h->n > 0 && i < HIST_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= rank)
            return min_of(upper_end(i), h->most);
    }
    return 0;
}
