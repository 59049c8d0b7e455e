/* SPDX-License-Identifier: GPL-3.0-or-later
 * pace.c - see pace.h; permits are counted as a time (the generic cell rate algorithm), so nothing has to be refilled */
#include <ringwall/base/clock.h>

#include "pace.h"

uint64_t pace_interval_ns(size_t n, int64_t life_s, double share) {
    if (n == 0 || life_s <= 0)
        return 0;
    return (uint64_t)((double)life_s * share * (double)NS_PER_S / (double)n);
}

static uint64_t step_ns(uint64_t mean_interval_ns) {
    return min_of(mean_interval_ns / PACE_FACTOR, (uint64_t)PACE_STEP_MAX_S * NS_PER_S);
}

uint64_t pace_ready_ns(const struct pace *p, uint64_t mean_interval_ns) {
    uint64_t step = step_ns(mean_interval_ns), ahead = step * (PACE_BURST - 1);
    return p->next_ns > ahead ? p->next_ns - ahead : 0;
}

/* What was taken in advance counts for no more than two bursts: many identities may have come since, and the first
 * certificates of a thousand must not hold their renewals for a day. */
static void bound_debt(struct pace *p, uint64_t now_ns, uint64_t step) {
    p->next_ns = min_of(p->next_ns, now_ns + 2 * step * PACE_BURST);
}

void pace_charge(struct pace *p, uint64_t now_ns, uint64_t mean_interval_ns) {
    uint64_t step = step_ns(mean_interval_ns);
    p->next_ns = max_of(p->next_ns, now_ns) + step;
    bound_debt(p, now_ns, step);
}

bool pace_take(struct pace *p, uint64_t now_ns, uint64_t mean_interval_ns) {
    uint64_t step = step_ns(mean_interval_ns);
    bound_debt(p, now_ns, step);
    if (pace_ready_ns(p, mean_interval_ns) > now_ns)
        return false;
    p->next_ns = max_of(p->next_ns, now_ns) + step;
    return true;
}

uint32_t pace_first_life(struct pace *p, struct rng *rng, int64_t wall_s, uint32_t life_s) {
    int64_t window = life_s / PACE_WINDOW_PARTS;
    if (wall_s < p->window_s || wall_s >= p->window_s + window) { /* a new window, or a clock that jumped back */
        p->window_s = wall_s;
        p->n_in_window = 0;
    }
    p->n_in_window++;
    return p->n_in_window <= PACE_TOGETHER ? life_s : life_s - (uint32_t)rng_below(rng, life_s / 2 + 1);
}

bool pace_is_urgent(int64_t rest_s, int64_t life_s) { return rest_s < life_s / PACE_REST_PARTS; }
