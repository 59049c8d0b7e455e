/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/vaes_work.h - AES-GCM by VAES and VPCLMULQDQ on vectors of any width
 *
 * Included by one source a width, which says before what a `vector` is and what is done to one (vaes.c has the list).
 *
 * Text is worked on in batches of eight vectors. One pass encrypts a batch's counters, mixes them with the text, and hashes as
 * much ciphertext between the rounds: the batch at hand when opening, the one before when sealing. The hash of 16 blocks is the
 * sum of each times its own power of H, so it takes one reduction; a batch has one such sum, or two. (More powers would spare the
 * second reduction, and cost memory in every session.)
 *
 * GCM numbers bits from the wrong end: a block, its bytes reversed, is a polynomial whose x^0 is the highest bit. The carry-less
 * product of two such numbers has 255 bits and stands one bit too low, that is, it is divided by x. The powers are kept divided
 * by x (mod x^128 + x^7 + x^2 + x + 1) beforehand, and (a * h/x) standing so is a * h. A reduction adds what stands at x^128 and
 * above back at 1 + x + x^2 + x^7 of its place: 64 bits at a time by a product with POLYNOMIAL, which is x + x^2 + x^7 seen as
 * above, and a swap of halves, which is the 1.
 *
 * No table is indexed and no branch taken by key or text. Round keys and powers are read where they lie; key stream is in
 * registers only; batches that two pieces share, and at 256 bits the last bytes of a text, pass through buffers on the stack, which
 * are wiped. What the compiler leaves in registers and spill slots (a hash under way, the mask of a tag) is not. */
#pragma once

#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/secret.h>

#include "vaes.h"

enum {
    BLOCK = GCM_BLOCK_BYTES,
    VECTOR = sizeof(vector),
    VECTORS = 8,
    BATCH = VECTORS * VECTOR,
    SUM = GCM_POWERS * BLOCK, /* as many bytes have a power for each of their blocks */
};
_Static_assert(BATCH % SUM == 0 && SUM % VECTOR == 0, "a batch is whole sums");

VAES_INLINE __m128i load(const void *at) { return _mm_loadu_si128(at); }
VAES_INLINE void store(void *at, __m128i block) { _mm_storeu_si128(at, block); }
VAES_INLINE __m128i reversed(__m128i block) {
    return _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
VAES_INLINE size_t blocks_of(size_t n) { return (n + BLOCK - 1) / BLOCK; }

VAES_INLINE __m128i encrypt_block(const struct gcm_key *k, unsigned rounds, __m128i block) {
    block ^= load(k->round_keys[0]);
    for (unsigned i = 1; i < rounds; i++)
        block = _mm_aesenc_si128(block, load(k->round_keys[i]));
    return _mm_aesenclast_si128(block, load(k->round_keys[rounds]));
}

/* ---- the hash ---- */

#define POLYNOMIAL ((long long)0xc200000000000000ULL)

/* Sums of products, in each lane, before reduction. middle stands 64 bits above low and 64 below high. */
struct sum {
    vector low, middle, high;
};

VAES_INLINE void sum_add(struct sum *s, vector a, vector b) {
    s->low ^= product(a, b, 0x00);
    s->middle = added(s->middle, product(a, b, 0x01), product(a, b, 0x10));
    s->high ^= product(a, b, 0x11);
}

VAES_INLINE __m128i reduce(const struct sum *s) {
    vector polynomial = in_each(_mm_set_epi64x(0, POLYNOMIAL));
    vector low = s->low ^ halves_up(s->middle), high = s->high ^ halves_down(s->middle);
    low = halves_swapped(low) ^ product(low, polynomial, 0x00);
    return lanes_added(added(high, halves_swapped(low), product(low, polynomial, 0x00)));
}

/* The hash under way: what is summed up, and the value that the first block of the next sum takes along. */
struct hash {
    struct sum sum;
    vector before;
};

VAES_INLINE void hash_begin(struct hash *h, __m128i before) {
    h->sum = (struct sum){nothing(), nothing(), nothing()};
    h->before = only_low(before);
}

VAES_INLINE void hash_add(struct hash *h, vector blocks, const uint8_t *power) {
    sum_add(&h->sum, each_reversed(blocks) ^ h->before, load_vector(power));
    h->before = nothing();
}

/* Bytes of at most a sum, padded with zeros, of which power belongs to the first block. */
VAES_INLINE void hash_bytes(struct hash *h, const uint8_t *at, size_t n, const uint8_t *power) {
    for (; n >= VECTOR; at += VECTOR, n -= VECTOR, power += VECTOR)
        hash_add(h, load_vector(at), power);
    if (n)
        hash_add(h, load_part(at, n), power);
}

/* The associated data; when `more` blocks follow in the same sum, and it still fits, that is left open. */
VAES_INLINE void hash_aad(struct hash *h, const struct gcm_key *k, const uint8_t *at, size_t n, size_t more) {
    hash_begin(h, _mm_setzero_si128());
    while (n) {
        size_t n_now = min_of(n, (size_t)SUM), n_blocks = blocks_of(n_now);
        bool open = more && n_blocks + more <= GCM_POWERS && n_now == n;
        hash_bytes(h, at, n_now, k->powers[GCM_POWERS - n_blocks - (open ? more : 0)]);
        if (!open)
            hash_begin(h, reduce(&h->sum));
        at += n_now;
        n -= n_now;
    }
}

/* ---- the cipher ---- */

/* Vectors on their way through the rounds, by name: an array of them would be kept in memory. */
struct four {
    vector a, b, c, d;
};

VAES_INLINE void four_start(struct four *s, vector *counters, vector key) {
    vector a = *counters, b = counters_after(a), c = counters_after(b), d = counters_after(c);
    *counters = counters_after(d);
    *s = (struct four){each_reversed(a) ^ key, each_reversed(b) ^ key, each_reversed(c) ^ key, each_reversed(d) ^ key};
}

VAES_INLINE void four_round(struct four *s, vector key) {
    s->a = aes_round(s->a, key);
    s->b = aes_round(s->b, key);
    s->c = aes_round(s->c, key);
    s->d = aes_round(s->d, key);
}

VAES_INLINE void four_last(struct four *s, vector a, vector b, vector c, vector d) {
    s->a = aes_last(s->a, a);
    s->b = aes_last(s->b, b);
    s->c = aes_last(s->c, c);
    s->d = aes_last(s->d, d);
}

/* The last round, which mixes with the text at `from` as well. */
VAES_INLINE void four_mix(struct four *s, vector key, const uint8_t *from, uint8_t *to) {
    four_last(s, key ^ load_vector(from), key ^ load_vector(from + VECTOR), key ^ load_vector(from + 2 * VECTOR),
              key ^ load_vector(from + 3 * VECTOR));
    store_vector(to, s->a);
    store_vector(to + VECTOR, s->b);
    store_vector(to + 2 * VECTOR, s->c);
    store_vector(to + 3 * VECTOR, s->d);
}

/* Left alone, gcc computes products long before it adds them, has too few registers, and puts them on the stack. */
VAES_INLINE void keep_order(struct four *s, struct four *t, struct sum *h) {
    __asm__ volatile(""
                     : "+v"(s->a), "+v"(s->b), "+v"(s->c), "+v"(s->d), "+v"(t->a), "+v"(t->b), "+v"(t->c), "+v"(t->d), "+v"(h->low),
                       "+v"(h->middle), "+v"(h->high)
                     :
                     : "memory");
}

/* One batch at `from` into `to`; when hashing, the batch at `hashed` joins the hash's value on the way. */
VAES_INLINE void batch(const struct gcm_key *k, unsigned rounds, vector *counters, const uint8_t *from, uint8_t *to, bool hashing,
                       const uint8_t *hashed, __m128i *value) {
    struct four s, t;
    struct hash h;
    vector key = load_each(k->round_keys[0]);
    hash_begin(&h, *value);
    four_start(&s, counters, key);
    four_start(&t, counters, key);
#pragma GCC unroll 8
    for (unsigned i = 0; i < VECTORS; i++) {
        key = load_each(k->round_keys[1 + i]);
        four_round(&s, key);
        four_round(&t, key);
        if (hashing)
            hash_add(&h, load_vector(hashed + i * VECTOR), k->powers[0] + i * VECTOR % SUM);
        keep_order(&s, &t, &h.sum);
        if (hashing && (i + 1) * VECTOR % SUM == 0)
            hash_begin(&h, reduce(&h.sum));
    }
    *value = lanes_added(h.before);
    for (unsigned i = 1 + VECTORS; i < rounds; i++) {
        key = load_each(k->round_keys[i]);
        four_round(&s, key);
        four_round(&t, key);
    }
    key = load_each(k->round_keys[rounds]);
    four_mix(&s, key, from, to);
    four_mix(&t, key, from + BATCH / 2, to + BATCH / 2);
}

/* The power of the first of n blocks that are left: they end with H^1 in this sum, or in a later one. */
VAES_INLINE const uint8_t *sum_begin(const struct gcm_key *k, size_t n) {
    return k->powers[GCM_POWERS - min_of(n, (size_t)GCM_POWERS)];
}

/* Where a text's rest stands: what is left of it, and the power of its next block. */
struct rest {
    const uint8_t *from;
    uint8_t *to;
    size_t n;
    const uint8_t *power;
    struct hash *hash;
};

VAES_INLINE void rest_vector(struct rest *r, bool seal, vector stream) {
    if (r->n >= VECTOR) {
        vector text = load_vector(r->from), other = text ^ stream;
        store_vector(r->to, other);
        hash_add(r->hash, seal ? other : text, r->power);
        r->from += VECTOR;
        r->to += VECTOR;
        r->power += VECTOR;
        r->n -= VECTOR;
    } else if (r->n) {
        vector text = load_part(r->from, r->n), other = only_first(text ^ stream, r->n);
        store_part(r->to, r->n, other);
        hash_add(r->hash, seal ? other : text, r->power);
        r->power += blocks_of(r->n) * BLOCK;
        r->n = 0;
    }
}

/* Up to four vectors of the rest. The sum, when it has come to the last power, is closed, and the next one begun. */
VAES_INLINE void rest_four(const struct gcm_key *k, unsigned rounds, vector *counters, bool seal, struct rest *r) {
    struct four s;
    four_start(&s, counters, load_each(k->round_keys[0]));
    for (unsigned i = 1; i < rounds; i++)
        four_round(&s, load_each(k->round_keys[i]));
    vector key = load_each(k->round_keys[rounds]);
    four_last(&s, key, key, key, key);
    rest_vector(r, seal, s.a);
    rest_vector(r, seal, s.b);
    rest_vector(r, seal, s.c);
    rest_vector(r, seal, s.d);
    if (r->power == k->powers[GCM_POWERS]) {
        hash_begin(r->hash, reduce(&r->hash->sum));
        r->power = sum_begin(k, blocks_of(r->n) + 1);
    }
}

/* Where the text stands that is to be worked on: in pieces, one behind the other. */
struct cursor {
    const struct iovec *piece;
    size_t at;
};

static void cursor_copy(struct cursor *c, uint8_t *to, size_t n) {
    while (n) {
        size_t n_now = min_of(n, c->piece->iov_len - c->at);
        if (n_now)
            memcpy(to, (const uint8_t *)c->piece->iov_base + c->at, n_now);
        to += n_now;
        n -= n_now;
        c->at += n_now;
        if (n) {
            c->piece++;
            c->at = 0;
        }
    }
}

/* The next bytes, n at most (a multiple of a batch, or less than one): as they lie, in whole batches or all of them, where a
 * piece has so many; else one batch or the last bytes, put together in `joint`. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n, uint8_t joint[BATCH], size_t *ret_n) {
    while (c->at == c->piece->iov_len) {
        c->piece++;
        c->at = 0;
    }
    const uint8_t *at = (const uint8_t *)c->piece->iov_base + c->at;
    size_t n_piece = c->piece->iov_len - c->at, n_now = n_piece >= n ? n : n_piece - n_piece % BATCH;
    if (n_now) {
        c->at += n_now;
        *ret_n = n_now;
        return at;
    }
    *ret_n = min_of(n, (size_t)BATCH);
    cursor_copy(c, joint, *ret_n);
    return joint;
}

/* Both directions: they differ in whether what is hashed stands before or behind the cipher. n is what the pieces hold. */
VAES_INLINE void work(const struct gcm_key *k, bool seal, unsigned rounds, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
                      const struct iovec *pieces, size_t n, uint8_t *to, uint8_t *ret_tag) {
    uint8_t first[BLOCK] = {[BLOCK - 1] = 1}, joint[BATCH];
    memcpy(first, nonce, GCM_NONCE_BYTES);
    __m128i start = load(first), mask = encrypt_block(k, rounds, start);
    vector counters = counters_from(reversed(start));
    struct cursor cursor = {pieces, 0};
    bool joined = false;
    size_t n_whole = n - n % BATCH, n_rest = n % BATCH;
    size_t n_last = blocks_of(n_rest) + 1; /* the rest, and the block of lengths behind it */
    struct hash h;
    hash_aad(&h, k, aad, aad_n, n_whole ? 0 : n_last);
    if (n_whole) {
        __m128i value = lanes_added(h.before);
        for (size_t done = 0, n_run; done < n_whole; done += n_run) {
            const uint8_t *from = cursor_take(&cursor, n_whole - done, joint, &n_run);
            joined |= from == joint;
            size_t at = 0;
            if (seal && done == 0) {
                batch(k, rounds, &counters, from, to, false, NULL, &value);
                at = BATCH;
            }
            for (; at < n_run; at += BATCH)
                batch(k, rounds, &counters, from + at, to + done + at, true, seal ? to + done + at - BATCH : from + at, &value);
        }
        hash_begin(&h, value);
        for (size_t at = seal ? n_whole - BATCH : n_whole; at < n_whole; at += SUM) {
            hash_bytes(&h, to + at, SUM, k->powers[0]);
            hash_begin(&h, reduce(&h.sum));
        }
    }
    struct rest r = {NULL, to + n_whole, n_rest, sum_begin(k, n_last), &h};
    if (r.n) {
        r.from = cursor_take(&cursor, r.n, joint, &n_rest);
        joined |= r.from == joint;
    }
    while (r.n)
        rest_four(k, rounds, &counters, seal, &r);
    __m128i bits = _mm_set_epi64x((long long)aad_n * 8, (long long)n * 8);
    sum_add(&h.sum, only_low(bits) ^ h.before, only_low(load(k->powers[GCM_POWERS - 1])));
    store(ret_tag, reversed(reduce(&h.sum)) ^ mask);
    if (seal && joined)
        secret_wipe(joint, sizeof(joint));
}

VAES_INLINE void work_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
                           const struct iovec *pieces, size_t n, uint8_t *to, uint8_t *ret_tag) {
    if (k->rounds == 10)
        work(k, true, 10, nonce, aad, aad_n, pieces, n, to, ret_tag);
    else
        work(k, true, GCM_ROUNDS_MAX, nonce, aad, aad_n, pieces, n, to, ret_tag);
}

VAES_INLINE bool work_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
                           const struct iovec *pieces, size_t n, uint8_t *to, const uint8_t *tag) {
    uint8_t expected[BLOCK];
    if (k->rounds == 10)
        work(k, false, 10, nonce, aad, aad_n, pieces, n, to, expected);
    else
        work(k, false, GCM_ROUNDS_MAX, nonce, aad, aad_n, pieces, n, to, expected);
    __m128i difference = load(expected) ^ load(tag);
    return _mm_testz_si128(difference, difference);
}
