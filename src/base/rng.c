/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/rng.c - see rng.h
 *
 * The seeded generator is xoshiro256** (Blackman and Vigna), its state filled by splitmix64, so that any seed, 0 too,
 * gives a good state. It is predictable by design: never use it where a guess would help an attacker. */
#include <errno.h>
#include <sys/random.h>

#include <ringwall/base/check.h>
#include <ringwall/base/rng.h>

void rng_secret(void *out, size_t n) {
    uint8_t *at = out;
    while (n > 0) {
        ssize_t r = getrandom(at, n, 0);
        if (r < 0 && errno == EINTR)
            continue;
        check(r > 0); /* a kernel without randomness: no key may be made */
        at += r;
        n -= (size_t)r;
    }
}

static uint64_t rotate_left(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

void rng_seed(struct rng *r, uint64_t seed) {
    for (unsigned i = 0; i < array_size(r->s); i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15ULL;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        r->s[i] = z ^ (z >> 31);
    }
}

void rng_seed_random(struct rng *r) {
    uint64_t seed;
    rng_secret(&seed, sizeof(seed));
    rng_seed(r, seed);
}

uint64_t rng_u64(struct rng *r) {
    uint64_t *s = r->s, result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound) {
    check(bound > 0);
    /* 2^64 mod bound values at the low end would make the first residues likelier: throw again. */
    uint64_t unfair = -bound % bound, x;
    do
        x = rng_u64(r);
    while (x < unfair);
    return x % bound;
}

double rng_unit(struct rng *r) { return (double)(rng_u64(r) >> 11) * 0x1.0p-53; }
