/* SPDX-License-Identifier: GPL-3.0-or-later
 * outside_source.c - what one source of callers may do before anybody is believed: handshakes, and calls that are refused
 *
 * A fixed table, so that no number of sources costs memory; two sources of one place forget each other's past, in their
 * favour. */
#include <ringwall/base/clock.h>

#include "outside.h"

/* An IPv6 host may choose among 2^64 addresses, so its network is the source. */
struct addr outside_source_of(const struct addr *a) {
    struct addr s = *a;
    if (!addr_is_v4(a))
        memset(s.bytes + 8, 0, 8);
    return s;
}

static void bucket_fill(struct outside_bucket *b, unsigned per_s, unsigned most, uint64_t now_ns) {
    uint64_t step = NS_PER_S / per_s, fresh = (now_ns - b->filled_ns) / step;
    b->filled_ns += fresh * step;
    b->tokens = (unsigned)min_of(b->tokens + fresh, (uint64_t)most);
}

struct outside_source *outside_source_find(struct outside *o, const struct addr *a) {
    enum { HANDSHAKES_MOST = 2 * OUTSIDE_HANDSHAKES_S_MAX, REFUSALS_MOST = 5 * OUTSIDE_REFUSALS_S_MAX };
    uint64_t hash = 1469598103934665603ULL, now = doors_now(o->doors);
    for (size_t i = 0; i < sizeof(a->bytes); i++)
        hash = (hash ^ a->bytes[i]) * 1099511628211ULL;
    struct outside_source *s = &o->sources[(hash ^ hash >> 32) % OUTSIDE_SOURCES];
    if (!addr_is(&s->addr, a))
        *s = (struct outside_source){.addr = *a, .handshakes = {now, HANDSHAKES_MOST}, .refusals = {now, REFUSALS_MOST}};
    bucket_fill(&s->handshakes, OUTSIDE_HANDSHAKES_S_MAX, HANDSHAKES_MOST, now);
    bucket_fill(&s->refusals, OUTSIDE_REFUSALS_S_MAX, REFUSALS_MOST, now);
    return s;
}

bool outside_bucket_take(struct outside_bucket *b) {
    if (b->tokens == 0)
        return false;
    b->tokens--;
    return true;
}
