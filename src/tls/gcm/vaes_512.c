/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/vaes_512.c - vaes_work.h on AVX-512's vectors of four blocks. vaes.c says what each function is, and on which CPUs */
#include <immintrin.h>

#define VAES __attribute__((target("avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,avx2,aes,pclmul")))
#define VAES_INLINE VAES __attribute__((always_inline)) static inline

typedef __m512i vector;

VAES_INLINE vector nothing(void) { return _mm512_setzero_si512(); }
VAES_INLINE vector load_vector(const void *at) { return _mm512_loadu_si512(at); }
VAES_INLINE void store_vector(void *at, vector a) { _mm512_storeu_si512(at, a); }
VAES_INLINE vector in_each(__m128i block) { return _mm512_broadcast_i32x4(block); }
VAES_INLINE vector load_each(const void *at) { return in_each(_mm_loadu_si128(at)); }
VAES_INLINE vector only_low(__m128i block) { return _mm512_zextsi128_si512(block); }

VAES_INLINE __m128i lanes_added(vector a) {
    __m256i two = _mm512_castsi512_si256(a) ^ _mm512_extracti64x4_epi64(a, 1);
    return _mm256_castsi256_si128(two) ^ _mm256_extracti128_si256(two, 1);
}

/* The first n of a vector's bytes, n less than its size: no byte beyond them is touched in memory. */
VAES_INLINE __mmask64 first_bytes(size_t n) { return ((__mmask64)1 << n) - 1; }
VAES_INLINE vector load_part(const void *at, size_t n) { return _mm512_maskz_loadu_epi8(first_bytes(n), at); }
VAES_INLINE void store_part(void *at, size_t n, vector a) { _mm512_mask_storeu_epi8(at, first_bytes(n), a); }
VAES_INLINE vector only_first(vector a, size_t n) { return _mm512_maskz_mov_epi8(first_bytes(n), a); }

VAES_INLINE vector added(vector a, vector b, vector c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
#define product(a, b, halves) _mm512_clmulepi64_epi128(a, b, halves)
VAES_INLINE vector halves_up(vector a) { return _mm512_bslli_epi128(a, 8); }
VAES_INLINE vector halves_down(vector a) { return _mm512_bsrli_epi128(a, 8); }
VAES_INLINE vector halves_swapped(vector a) { return _mm512_shuffle_epi32(a, _MM_PERM_BADC); }
VAES_INLINE vector each_reversed(vector a) {
    return _mm512_shuffle_epi8(a, in_each(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}

VAES_INLINE vector counters_from(__m128i start) {
    return _mm512_add_epi32(in_each(start), _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1));
}
VAES_INLINE vector counters_after(vector counters) { return _mm512_add_epi32(counters, in_each(_mm_set_epi32(0, 0, 0, 4))); }
VAES_INLINE vector aes_round(vector a, vector key) { return _mm512_aesenc_epi128(a, key); }
VAES_INLINE vector aes_last(vector a, vector key) { return _mm512_aesenclast_epi128(a, key); }

#include "vaes_work.h"

VAES void vaes_512_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                        size_t n, uint8_t *to, uint8_t *ret_tag) {
    work_seal(k, nonce, aad, aad_n, pieces, n, to, ret_tag);
}

VAES bool vaes_512_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                        size_t n, uint8_t *to, const uint8_t *tag) {
    return work_open(k, nonce, aad, aad_n, pieces, n, to, tag);
}
