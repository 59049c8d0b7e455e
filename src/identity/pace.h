/* SPDX-License-Identifier: GPL-3.0-or-later
 * pace.h - renewals spread over time, so that a CA never meets a herd; pure, time is given
 *
 * Two means. Lives differ: of many first certificates asked for at once, those beyond PACE_TOGETHER ask for a shorter life,
 * down to half, so that they are not all due together a day later. And permits: a renewal whose credential has time left
 * takes one, and permits come at PACE_FACTOR times the mean rate at which this many identities renew; so what piled up
 * while a CA was away is worked off evenly. Whoever has no valid credential, or hardly any time left, needs no permit. */
#pragma once

#include <ringwall/base/rng.h>

enum {
    PACE_FACTOR = 4,        /* permits come at so many times the mean rate of renewals */
    PACE_STEP_MAX_S = 60,   /* at least a permit a minute: the few identities of a small node are no herd */
    PACE_BURST = 8,         /* permits that may be taken at once after a quiet time: as many as the CA is asked in parallel */
    PACE_TOGETHER = 32,     /* first certificates within a window that ask for the whole life */
    PACE_WINDOW_PARTS = 20, /* of a life: that window */
    PACE_REST_PARTS = 50,   /* of a life: with less left than this a renewal waits for no permit */
};

struct pace {
    uint64_t next_ns;              /* monotonic: when the next permit would come, were none taken in advance */
    int64_t window_s, n_in_window; /* first certificates: wall time at which the window began */
};

/* The mean time between two renewals of n identities whose credentials live life_s and are renewed at `share` of it. */
uint64_t pace_interval_ns(size_t n, int64_t life_s, double share);
/* Counts a request that needed no permit, so that the others wait for it: the CA's load is the sum. */
void pace_charge(struct pace *p, uint64_t now_ns, uint64_t mean_interval_ns);
/* Takes a permit when there is one. */
bool pace_take(struct pace *p, uint64_t now_ns, uint64_t mean_interval_ns);
/* When the next permit comes: at most now_ns if there is one. */
uint64_t pace_ready_ns(const struct pace *p, uint64_t mean_interval_ns);
/* The life to ask for with a first certificate. */
uint32_t pace_first_life(struct pace *p, struct rng *rng, int64_t wall_s, uint32_t life_s);
/* Has a credential with rest_s of its life_s left no time to wait? */
bool pace_is_urgent(int64_t rest_s, int64_t life_s);
