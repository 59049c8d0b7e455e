/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/vaes_none.c - see vaes.h: a CPU of another kind */
#include <ringwall/base/check.h>

#include "vaes.h"

bool vaes_usable(void) { return false; }
bool vaes_512_usable(void) { return false; }
bool vaes_512_faster(void) { return false; }
bool vaes_512_slows(const char vendor[12], unsigned signature) { return false; }

void vaes_expand(struct gcm_key *k, const uint8_t *key, size_t key_n) { unreachable_because("no VAES on this CPU"); }

void vaes_256_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                   size_t n, uint8_t *to, uint8_t *ret_tag) {
    unreachable_because("no VAES on this CPU");
}
bool vaes_256_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                   size_t n, uint8_t *to, const uint8_t *tag) {
    unreachable_because("no VAES on this CPU");
}
void vaes_512_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                   size_t n, uint8_t *to, uint8_t *ret_tag) {
    unreachable_because("no VAES on this CPU");
}
bool vaes_512_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
                   size_t n, uint8_t *to, const uint8_t *tag) {
    unreachable_because("no VAES on this CPU");
}
