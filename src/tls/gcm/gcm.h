/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/gcm.h - AES-GCM with 128- and 256-bit keys, 12-byte nonces and 16-byte tags (private to the room)
 *
 * Three paths give the same bytes: wolfCrypt's, and our own for CPUs with VAES and VPCLMULQDQ, on vectors of 256 bits or of 512.
 * Whoever makes a key says which; gcm_path_best() is the fastest one on this CPU, which can do all that stand before it.
 * Time depends on the path and on lengths, never on keys, nonces or bytes. A key is used by one thread at a time.
 * `to` may be `from` (in place), or must not overlap it; neither may overlap the tag or the associated data.
 * Nonces are the caller's: one must never come twice with a key. */
#pragma once

#include <ringwall/base/defs.h>

enum gcm_path { GCM_WOLFCRYPT, GCM_VAES, GCM_VAES_512 };
enum { GCM_PATHS = GCM_VAES_512 + 1 };

enum { GCM_NONCE_BYTES = 12, GCM_TAG_BYTES = 16, GCM_BLOCK_BYTES = 16, GCM_ROUNDS_MAX = 14, GCM_POWERS = 16 };
/* What fits the 32-bit counter is more; no caller of ours comes near. */
enum { GCM_TEXT_BYTES_MAX = 1 << 30 };

struct gcm_key {
    enum gcm_path path;
    unsigned rounds;                                         /* 10 or 14; 0: no key */
    uint8_t round_keys[GCM_ROUNDS_MAX + 1][GCM_BLOCK_BYTES]; /* not GCM_WOLFCRYPT's, as the powers */
    /* H^16 first and H^1 last, byte-reversed and divided by x (vaes_work.h says why); then zeros, so that the last block of a
     * vector that is not full has idle neighbours. */
    uint8_t powers[GCM_POWERS + 3][GCM_BLOCK_BYTES];
    void *wolfcrypt; /* GCM_WOLFCRYPT only: its Aes */
};
#define GCM_KEY_NULL ((struct gcm_key){0})

enum gcm_path gcm_path_best(void);
bool gcm_path_usable(enum gcm_path path); /* this CPU can do it, be it slow */
/* Which path sessions take that are made from now on: the best one, unless a test or a benchmark chose. */
enum gcm_path gcm_path_now(void);
void gcm_path_force(enum gcm_path path);
const char *gcm_path_text(enum gcm_path path);

/* key_n is 16 or 32. A path that this CPU cannot do is the caller's mistake. -ENOMEM; what was in k is not looked at. */
int gcm_key_init(struct gcm_key *k, enum gcm_path path, const uint8_t *key, size_t key_n) must_check;
void gcm_key_deinit(struct gcm_key *k); /* wipes */

void gcm_seal(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n, const uint8_t *from,
              size_t n, uint8_t *to, uint8_t ret_tag[GCM_TAG_BYTES]);
/* false: not what was sealed; the n bytes of `to` are wiped. */
bool gcm_open(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n, const uint8_t *from,
              size_t n, uint8_t *to, const uint8_t tag[GCM_TAG_BYTES]) must_check;

/* The same for a text that lies in pieces, any of them empty; `to` is in one, and overlaps none of them. Our own paths work
 * straight from the pieces; wolfCrypt's joins them in `to` first. */
struct iovec;
void gcm_seal_pieces(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n,
                     const struct iovec *pieces, unsigned n_pieces, uint8_t *to, uint8_t ret_tag[GCM_TAG_BYTES]);
bool gcm_open_pieces(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n,
                     const struct iovec *pieces, unsigned n_pieces, uint8_t *to, const uint8_t tag[GCM_TAG_BYTES]) must_check;
