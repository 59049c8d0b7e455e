/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/vaes.c - which widths this CPU is for, the key schedule for all, and vaes_work.h on 256-bit vectors, without AVX-512 */
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <string.h>

#include <ringwall/base/check.h>

#define VAES __attribute__((target("vaes,vpclmulqdq,avx2,aes,pclmul")))
#define VAES_INLINE VAES __attribute__((always_inline)) static inline

/* Two blocks, one a lane. A block is 16 bytes as they lie; in_each: the same one in all lanes. */
typedef __m256i vector;

VAES_INLINE vector nothing(void) { return _mm256_setzero_si256(); }
VAES_INLINE vector load_vector(const void *at) { return _mm256_loadu_si256(at); }
VAES_INLINE void store_vector(void *at, vector a) { _mm256_storeu_si256(at, a); }
VAES_INLINE vector in_each(__m128i block) { return _mm256_broadcastsi128_si256(block); }
VAES_INLINE vector load_each(const void *at) { return in_each(_mm_loadu_si128(at)); }
VAES_INLINE vector only_low(__m128i block) { return _mm256_zextsi128_si256(block); }
VAES_INLINE __m128i lanes_added(vector a) { return _mm256_castsi256_si128(a) ^ _mm256_extracti128_si256(a, 1); }

/* The first n of a vector's bytes, n less than its size: no byte beyond them is touched in memory. */
VAES_INLINE vector only_first(vector a, size_t n) {
    static const uint8_t masks[2 * sizeof(a)] = {[0 ... sizeof(a) - 1] = 0xff};
    return a & load_vector(masks + sizeof(a) - n);
}
/* Not optimised away. */
VAES_INLINE void part_wipe(uint8_t part[sizeof(vector)]) {
    store_vector(part, nothing());
    __asm__ volatile("" : : "r"(part) : "memory");
}
VAES_INLINE vector load_part(const void *at, size_t n) {
    uint8_t part[sizeof(vector)] = {0};
    memcpy(part, at, n);
    vector a = load_vector(part);
    part_wipe(part);
    return a;
}
VAES_INLINE void store_part(void *at, size_t n, vector a) {
    uint8_t part[sizeof(vector)];
    store_vector(part, a);
    memcpy(at, part, n);
    part_wipe(part);
}

VAES_INLINE vector added(vector a, vector b, vector c) { return a ^ b ^ c; }
#define product(a, b, halves) _mm256_clmulepi64_epi128(a, b, halves)
VAES_INLINE vector halves_up(vector a) { return _mm256_bslli_epi128(a, 8); }
VAES_INLINE vector halves_down(vector a) { return _mm256_bsrli_epi128(a, 8); }
VAES_INLINE vector halves_swapped(vector a) { return _mm256_shuffle_epi32(a, 0x4e); }
VAES_INLINE vector each_reversed(vector a) {
    return _mm256_shuffle_epi8(a, in_each(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}

/* Numbers of blocks, reversed: the ones after `start`, and as many after those. */
VAES_INLINE vector counters_from(__m128i start) {
    return _mm256_add_epi32(in_each(start), _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 1));
}
VAES_INLINE vector counters_after(vector counters) { return _mm256_add_epi32(counters, in_each(_mm_set_epi32(0, 0, 0, 2))); }
VAES_INLINE vector aes_round(vector a, vector key) { return _mm256_aesenc_epi128(a, key); }
VAES_INLINE vector aes_last(vector a, vector key) { return _mm256_aesenclast_epi128(a, key); }

#include "vaes_work.h"

/* ---- the choice ---- */

enum { FEATURES_1_ECX = bit_AES | bit_PCLMUL | bit_OSXSAVE | bit_AVX };
#define FEATURES_512 ((unsigned)(bit_AVX512F | bit_AVX512BW | bit_AVX512VL))
enum { XCR0_256 = 0x06, XCR0_512 = 0xe6 }; /* SSE and YMM; masks and all of ZMM too */

enum { HAS_256 = 1, HAS_512 = 2, WANTS_512 = 4, KNOWN = 8 };

/* Intel's CPUs whose clock 512-bit vectors slow, by model: Skylake-X and what came of it, Ice Lake, Tiger Lake. */
bool vaes_512_slows(const char vendor[12], unsigned signature) {
    static const uint8_t models[] = {0x55, 0x6a, 0x6c, 0x7d, 0x7e, 0x8c, 0x8d, 0x9d};
    unsigned family = signature >> 8 & 0xf, model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
    return !memcmp(vendor, "GenuineIntel", 12) && family == 6 && memchr(models, (int)model, sizeof(models));
}

static int ask_cpu(void) {
    unsigned a, b, c, d, signature, xcr0, xcr0_high;
    char vendor[12];
    if (!__get_cpuid(0, &a, &b, &c, &d))
        return 0;
    memcpy(vendor, (unsigned[]){b, d, c}, sizeof(vendor));
    if (!__get_cpuid(1, &signature, &b, &c, &d) || (c & FEATURES_1_ECX) != FEATURES_1_ECX)
        return 0;
    __asm__("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
    if ((xcr0 & XCR0_256) != XCR0_256 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    if (!(b & bit_AVX2) || !(c & bit_VAES) || !(c & bit_VPCLMULQDQ))
        return 0;
    if ((xcr0 & XCR0_512) != XCR0_512 || (b & FEATURES_512) != FEATURES_512)
        return HAS_256;
    return HAS_256 | HAS_512 | (vaes_512_slows(vendor, signature) ? 0 : WANTS_512);
}

/* Asked once: in a virtual machine the instruction costs a trip to the host. */
static int ask(void) {
    static _Atomic int known;
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (!answer) {
        answer = ask_cpu() | KNOWN;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer;
}

bool vaes_usable(void) { return ask() & HAS_256; }
bool vaes_512_usable(void) { return ask() & HAS_512; }
bool vaes_512_faster(void) { return ask() & WANTS_512; }

/* ---- keys ---- */

VAES_INLINE __m128i multiply(__m128i a, __m128i b) {
    struct sum s = {nothing(), nothing(), nothing()};
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

/* ---- texts ---- */

VAES void vaes_256_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                        size_t n, uint8_t *to, uint8_t *ret_tag) {
    work_seal(k, nonce, aad, aad_n, pieces, n, to, ret_tag);
}

VAES bool vaes_256_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                        size_t n, uint8_t *to, const uint8_t *tag) {
    return work_open(k, nonce, aad, aad_n, pieces, n, to, tag);
}
