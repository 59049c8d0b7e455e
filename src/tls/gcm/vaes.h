/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/vaes.h - the path GCM_VAES (gcm.h), by CPU: vaes.c on x86-64, vaes_none.c elsewhere */
#pragma once

#include "gcm.h"

bool vaes_usable(void); /* the CPU has it and the kernel saves the registers */
void vaes_expand(struct gcm_key *k, const uint8_t *key, size_t key_n);
/* Text in pieces (gcm.h), of n bytes together. */
void vaes_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
               size_t n, uint8_t *to, uint8_t *ret_tag);
/* false: another tag; writes `to` in any case. */
bool vaes_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const struct iovec *pieces,
               size_t n, uint8_t *to, const uint8_t *tag) must_check;
