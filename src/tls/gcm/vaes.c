/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/vaes.c - AES-GCM on 256-bit vectors: VAES for the blocks, VPCLMULQDQ for the hash, no AVX-512
 *
 * Text is worked on in batches of 16 blocks, eight vectors of two. One pass encrypts a batch's counters, mixes them with the
 * text, and hashes 16 blocks of ciphertext between the rounds: the batch at hand when opening, the one before when sealing.
 * The hash of 16 blocks is the sum of each times its own power of H, so it takes one reduction.
 *
 * GCM numbers bits from the wrong end: a block, its bytes reversed, is a polynomial whose x^0 is the highest bit. The carry-less
 * product of two such numbers has 255 bits and stands one bit too low, that is, it is divided by x. The powers are kept divided
 * by x (mod x^128 + x^7 + x^2 + x + 1) beforehand, and (a * h/x) standing so is a * h. A reduction adds what stands at x^128 and
 * above back at 1 + x + x^2 + x^7 of its place: 64 bits at a time by a product with POLYNOMIAL, which is x + x^2 + x^7 seen as
 * above, and a swap of halves, which is the 1.
 *
 * No table is indexed and no branch taken by key or text. Round keys and powers are read where they lie; key stream is in
 * registers only; the last bytes of a text, and batches that two pieces share, pass through buffers on the stack, which are wiped.
 * What the compiler leaves in registers and spill slots (a hash under way, the mask of a tag) is not. */
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>
#include <ringwall/base/secret.h>

#include "vaes.h"

#define VAES __attribute__((target("vaes,vpclmulqdq,avx2,aes,pclmul")))
#define VAES_INLINE VAES __attribute__((always_inline)) static inline

enum {
    BLOCK = GCM_BLOCK_BYTES,
    VECTOR = 2 * BLOCK,
    VECTORS = 8,
    BATCH = VECTORS * VECTOR,
};
_Static_assert(BATCH / BLOCK == GCM_POWERS, "a power for each block of a batch");

#define POLYNOMIAL ((long long)0xc200000000000000ULL)

enum { FEATURES_1_ECX = bit_AES | bit_PCLMUL | bit_OSXSAVE | bit_AVX, XCR0_SSE_AND_YMM = 6 };

static bool ask_cpu(void) {
    unsigned a, b, c, d, xcr0, xcr0_high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & FEATURES_1_ECX) != FEATURES_1_ECX)
        return false;
    __asm__("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
    if ((xcr0 & XCR0_SSE_AND_YMM) != XCR0_SSE_AND_YMM || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    return (b & bit_AVX2) && (c & bit_VAES) && (c & bit_VPCLMULQDQ);
}

/* Asked once: in a virtual machine the instruction costs a trip to the host. */
bool vaes_usable(void) {
    enum { UNKNOWN, NO, YES };
    static _Atomic int known;
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == UNKNOWN) {
        answer = ask_cpu() ? YES : NO;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == YES;
}

VAES_INLINE __m128i load(const void *at) { return _mm_loadu_si128(at); }
VAES_INLINE __m256i load_two(const void *at) { return _mm256_loadu_si256(at); }
VAES_INLINE void store(void *at, __m128i block) { _mm_storeu_si128(at, block); }
VAES_INLINE void store_two(void *at, __m256i blocks) { _mm256_storeu_si256(at, blocks); }
VAES_INLINE __m256i load_twice(const void *at) { return _mm256_broadcastsi128_si256(load(at)); }
VAES_INLINE __m256i only_low(__m128i block) { return _mm256_zextsi128_si256(block); }

VAES_INLINE __m128i reversed(__m128i block) {
    return _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
VAES_INLINE __m256i both_reversed(__m256i blocks) {
    return _mm256_shuffle_epi8(blocks, _mm256_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, //
                                                       0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* Sums of products, in two lanes, before reduction. middle stands 64 bits above low and 64 below high. */
struct sum {
    __m256i low, middle, high;
};

VAES_INLINE void sum_add(struct sum *s, __m256i a, __m256i b) {
    s->low ^= _mm256_clmulepi64_epi128(a, b, 0x00);
    s->middle ^= _mm256_clmulepi64_epi128(a, b, 0x01);
    s->high ^= _mm256_clmulepi64_epi128(a, b, 0x11);
    s->middle ^= _mm256_clmulepi64_epi128(a, b, 0x10);
}

VAES_INLINE __m128i lanes_added(__m256i a) { return _mm256_castsi256_si128(a) ^ _mm256_extracti128_si256(a, 1); }

VAES_INLINE __m128i reduce(const struct sum *s) {
    __m128i polynomial = _mm_set_epi64x(0, POLYNOMIAL), middle = lanes_added(s->middle);
    __m128i low = lanes_added(s->low) ^ _mm_slli_si128(middle, 8), high = lanes_added(s->high) ^ _mm_srli_si128(middle, 8);
    low = _mm_shuffle_epi32(low, 0x4e) ^ _mm_clmulepi64_si128(low, polynomial, 0x00);
    return high ^ _mm_shuffle_epi32(low, 0x4e) ^ _mm_clmulepi64_si128(low, polynomial, 0x00);
}

VAES_INLINE __m128i multiply(__m128i a, __m128i b) {
    struct sum s = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    sum_add(&s, only_low(a), only_low(b));
    return reduce(&s);
}

/* Key schedule (FIPS 197 5.2). `made` is what aeskeygenassist gives for the word before: its highest word, rotated and with the
 * round's constant, or its third, without. */
VAES_INLINE __m128i next_key(__m128i key, __m128i made) {
    key ^= _mm_slli_si128(key, 4);
    key ^= _mm_slli_si128(key, 8);
    return key ^ made;
}
#define MADE_ROTATED(key, constant) _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, constant), 0xff)
#define MADE_PLAIN(key) _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, 0), 0xaa)

VAES static void expand_128(uint8_t to[][BLOCK], const uint8_t *key) {
    __m128i k = load(key);
    store(to[0], k);
#define ROUND_KEY(i, constant) store(to[i], k = next_key(k, MADE_ROTATED(k, constant)))
    ROUND_KEY(1, 0x01);
    ROUND_KEY(2, 0x02);
    ROUND_KEY(3, 0x04);
    ROUND_KEY(4, 0x08);
    ROUND_KEY(5, 0x10);
    ROUND_KEY(6, 0x20);
    ROUND_KEY(7, 0x40);
    ROUND_KEY(8, 0x80);
    ROUND_KEY(9, 0x1b);
    ROUND_KEY(10, 0x36);
#undef ROUND_KEY
}

VAES static void expand_256(uint8_t to[][BLOCK], const uint8_t *key) {
    __m128i even = load(key), odd = load(key + BLOCK);
    store(to[0], even);
    store(to[1], odd);
#define ROUND_KEYS(i, constant) \
    store(to[i], even = next_key(even, MADE_ROTATED(odd, constant))); \
    if (i < GCM_ROUNDS_MAX) \
    store(to[i + (i < GCM_ROUNDS_MAX)], odd = next_key(odd, MADE_PLAIN(even)))
    ROUND_KEYS(2, 0x01);
    ROUND_KEYS(4, 0x02);
    ROUND_KEYS(6, 0x04);
    ROUND_KEYS(8, 0x08);
    ROUND_KEYS(10, 0x10);
    ROUND_KEYS(12, 0x20);
    ROUND_KEYS(14, 0x40);
#undef ROUND_KEYS
}

VAES_INLINE __m128i encrypt_block(const struct gcm_key *k, unsigned rounds, __m128i block) {
    block ^= load(k->round_keys[0]);
    for (unsigned i = 1; i < rounds; i++)
        block = _mm_aesenc_si128(block, load(k->round_keys[i]));
    return _mm_aesenclast_si128(block, load(k->round_keys[rounds]));
}

VAES_INLINE __m128i divided_by_x(__m128i a) {
    __m128i inverse = _mm_set_epi64x(POLYNOMIAL, 1);                                             /* x^127 + x^6 + x + 1 */
    __m128i odd = _mm_srai_epi32(_mm_shuffle_epi32(a, 0xff), 31), carry = _mm_srli_epi64(a, 63); /* odd: had an x^0 */
    return (_mm_slli_epi64(a, 1) | _mm_slli_si128(carry, 8)) ^ (odd & inverse);
}

VAES void vaes_expand(struct gcm_key *k, const uint8_t *key, size_t key_n) {
    if (key_n == 16)
        expand_128(k->round_keys, key);
    else
        expand_256(k->round_keys, key);
    __m128i h = divided_by_x(reversed(encrypt_block(k, k->rounds, _mm_setzero_si128()))), power = h;
    store(k->powers[GCM_POWERS - 1], h);
    for (int i = GCM_POWERS - 2; i >= 0; i--)
        store(k->powers[i], power = multiply(power, h));
}

/* The hash under way: what is summed up, and the value that the first block of the next sum takes along. */
struct hash {
    struct sum sum;
    __m256i before;
};

VAES_INLINE void hash_begin(struct hash *h, __m128i before) {
    h->sum = (struct sum){_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    h->before = only_low(before);
}

VAES_INLINE void hash_add(struct hash *h, __m256i blocks, const uint8_t *power) {
    sum_add(&h->sum, both_reversed(blocks) ^ h->before, load_two(power));
    h->before = _mm256_setzero_si256();
}

/* Bytes of at most a batch, padded with zeros, of which power belongs to the first block. */
VAES_INLINE void hash_bytes(struct hash *h, const uint8_t *at, size_t n, const uint8_t *power) {
    for (; n >= VECTOR; at += VECTOR, n -= VECTOR, power += VECTOR)
        hash_add(h, load_two(at), power);
    if (n) {
        uint8_t padded[VECTOR] = {0};
        memcpy(padded, at, n);
        hash_add(h, load_two(padded), power);
    }
}

VAES_INLINE size_t blocks_of(size_t n) { return (n + BLOCK - 1) / BLOCK; }

/* The associated data; when `more` blocks follow in the same sum, and it still fits, that is left open. */
VAES_INLINE void hash_aad(struct hash *h, const struct gcm_key *k, const uint8_t *at, size_t n, size_t more) {
    hash_begin(h, _mm_setzero_si128());
    while (n) {
        size_t n_now = min_of(n, (size_t)BATCH), n_blocks = blocks_of(n_now);
        bool open = more && n_blocks + more <= GCM_POWERS && n_now == n;
        hash_bytes(h, at, n_now, k->powers[GCM_POWERS - n_blocks - (open ? more : 0)]);
        if (!open)
            hash_begin(h, reduce(&h->sum));
        at += n_now;
        n -= n_now;
    }
}

/* Eight vectors by name: an array of them would be kept in memory. */
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)

/* Left alone, gcc computes products long before it adds them, has too few registers, and puts them on the stack. */
#define KEEP_ORDER \
    __asm__ volatile("" \
                     : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5), "+x"(s6), "+x"(s7), "+x"(h.sum.low), \
                       "+x"(h.sum.middle), "+x"(h.sum.high) \
                     : \
                     : "memory");

/* One batch at `from` into `to`; when hashing, the batch at `hashed` joins the hash's value on the way. */
VAES_INLINE void batch(const struct gcm_key *k, unsigned rounds, __m256i *counters, const uint8_t *from, uint8_t *to, bool hashing,
                       const uint8_t *hashed, __m128i *value) {
    const __m256i two = _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2);
    __m256i counter = *counters, key = load_twice(k->round_keys[0]);
    struct hash h;
    hash_begin(&h, *value);
#define START(i) \
    __m256i s##i = both_reversed(counter) ^ key; \
    counter = _mm256_add_epi32(counter, two);
#define ROUND(i) s##i = _mm256_aesenc_epi128(s##i, key);
#define HASH(i) \
    key = load_twice(k->round_keys[1 + i]); \
    EACH(ROUND) \
    if (hashing) \
        hash_add(&h, load_two(hashed + i * VECTOR), k->powers[2 * i]); \
    KEEP_ORDER
#define LAST(i) s##i = _mm256_aesenclast_epi128(s##i, key ^ load_two(from + i * VECTOR));
#define STORE(i) store_two(to + i * VECTOR, s##i);
    EACH(START)
    *counters = counter;
    HASH(0)
    HASH(1)
    HASH(2)
    HASH(3)
    HASH(4)
    HASH(5)
    HASH(6)
    HASH(7)
    if (hashing)
        *value = reduce(&h.sum);
    for (unsigned i = 1 + VECTORS; i < rounds; i++) {
        key = load_twice(k->round_keys[i]);
        EACH(ROUND)
    }
    key = load_twice(k->round_keys[rounds]);
    EACH(LAST)
    EACH(STORE)
#undef START
#undef ROUND
#undef HASH
#undef LAST
#undef STORE
}

/* Where a text's rest stands: what is left of it, and the power of its next block. */
struct rest {
    const uint8_t *from;
    uint8_t *to;
    size_t n;
    const uint8_t *power;
    struct hash *hash;
};

VAES_INLINE void rest_whole(struct rest *r, bool seal, __m256i stream) {
    __m256i text = load_two(r->from), other = text ^ stream;
    store_two(r->to, other);
    hash_add(r->hash, seal ? other : text, r->power);
    r->from += VECTOR;
    r->to += VECTOR;
    r->power += VECTOR;
    r->n -= VECTOR;
}

/* The last bytes, less than a vector of them. */
VAES_INLINE void rest_part(struct rest *r, bool seal, __m256i stream) {
    static const uint8_t masks[2 * VECTOR] = {[0 ... VECTOR - 1] = 0xff};
    uint8_t part[VECTOR] = {0};
    memcpy(part, r->from, r->n);
    __m256i text = load_two(part), other = (text ^ stream) & load_two(masks + VECTOR - r->n);
    store_two(part, other);
    memcpy(r->to, part, r->n);
    store_two(part, _mm256_setzero_si256());
    __asm__ volatile("" : : "r"(part) : "memory"); /* the wipe is not optimised away */
    hash_add(r->hash, seal ? other : text, r->power);
    r->n = 0;
}

/* Up to four vectors of the rest. */
VAES_INLINE void rest_half(const struct gcm_key *k, unsigned rounds, __m256i *counters, bool seal, struct rest *r) {
    const __m256i two = _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2);
    __m256i counter = *counters, key = load_twice(k->round_keys[0]);
    __m256i a = both_reversed(counter) ^ key, b = both_reversed(counter = _mm256_add_epi32(counter, two)) ^ key;
    __m256i c = both_reversed(counter = _mm256_add_epi32(counter, two)) ^ key;
    __m256i d = both_reversed(counter = _mm256_add_epi32(counter, two)) ^ key;
    *counters = _mm256_add_epi32(counter, two);
    for (unsigned i = 1; i < rounds; i++) {
        key = load_twice(k->round_keys[i]);
        a = _mm256_aesenc_epi128(a, key);
        b = _mm256_aesenc_epi128(b, key);
        c = _mm256_aesenc_epi128(c, key);
        d = _mm256_aesenc_epi128(d, key);
    }
    key = load_twice(k->round_keys[rounds]);
    a = _mm256_aesenclast_epi128(a, key);
    b = _mm256_aesenclast_epi128(b, key);
    c = _mm256_aesenclast_epi128(c, key);
    d = _mm256_aesenclast_epi128(d, key);
    if (r->n >= VECTOR) {
        rest_whole(r, seal, a);
        a = b;
    }
    if (r->n >= VECTOR) {
        rest_whole(r, seal, a);
        a = c;
    }
    if (r->n >= VECTOR) {
        rest_whole(r, seal, a);
        a = d;
    }
    if (r->n >= VECTOR)
        rest_whole(r, seal, a);
    else if (r->n)
        rest_part(r, seal, a);
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
    __m256i counters = _mm256_add_epi32(_mm256_broadcastsi128_si256(reversed(start)), _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 1));
    struct cursor cursor = {pieces, 0};
    bool joined = false;
    size_t n_whole = n - n % BATCH, n_rest = n % BATCH;
    /* The rest, and the block of lengths behind it, are one sum; in a short text with the associated data before it as well. */
    size_t n_last = blocks_of(n_rest) + (blocks_of(n_rest) < GCM_POWERS);
    struct hash h;
    hash_aad(&h, k, aad, aad_n, n_whole ? 0 : n_last);
    if (n_whole) {
        __m128i value = _mm256_castsi256_si128(h.before);
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
        if (seal) {
            hash_bytes(&h, to + n_whole - BATCH, BATCH, k->powers[0]);
            hash_begin(&h, reduce(&h.sum));
        }
    }
    struct rest r = {NULL, to + n_whole, n_rest, k->powers[GCM_POWERS - n_last], &h};
    if (r.n) {
        r.from = cursor_take(&cursor, r.n, joint, &n_rest);
        joined |= r.from == joint;
        rest_half(k, rounds, &counters, seal, &r);
    }
    if (r.n)
        rest_half(k, rounds, &counters, seal, &r);
    if (n_last == blocks_of(n % BATCH)) /* no power was left for the lengths */
        hash_begin(&h, reduce(&h.sum));
    __m128i bits = _mm_set_epi64x((long long)aad_n * 8, (long long)n * 8);
    sum_add(&h.sum, only_low(bits) ^ h.before, only_low(load(k->powers[GCM_POWERS - 1])));
    store(ret_tag, reversed(reduce(&h.sum)) ^ mask);
    if (seal && joined)
        secret_wipe(joint, sizeof(joint));
}

VAES void vaes_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                    size_t n, uint8_t *to, uint8_t *ret_tag) {
    if (k->rounds == 10)
        work(k, true, 10, nonce, aad, aad_n, pieces, n, to, ret_tag);
    else
        work(k, true, GCM_ROUNDS_MAX, nonce, aad, aad_n, pieces, n, to, ret_tag);
}

VAES bool vaes_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                    size_t n, uint8_t *to, const uint8_t *tag) {
    uint8_t expected[BLOCK];
    if (k->rounds == 10)
        work(k, false, 10, nonce, aad, aad_n, pieces, n, to, expected);
    else
        work(k, false, GCM_ROUNDS_MAX, nonce, aad, aad_n, pieces, n, to, expected);
    __m128i difference = load(expected) ^ load(tag);
    return _mm_testz_si128(difference, difference);
}
