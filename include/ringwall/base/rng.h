/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/rng.h - two sources that must not be confused: the kernel's for secrets, a seeded one for jitter and choice */
#pragma once

#include <ringwall/base/defs.h>

void rng_secret(void *out, size_t n); /* getrandom; aborts when the kernel has none */

struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
void rng_seed_random(struct rng *r);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t bound); /* bound > 0; unbiased */
double rng_unit(struct rng *r);                    /* [0, 1) */
