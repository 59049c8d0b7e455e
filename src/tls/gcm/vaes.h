/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/vaes.h - the paths GCM_VAES and GCM_VAES_512 (gcm.h), by CPU: vaes.c and vaes_512.c on x86-64, vaes_none.c elsewhere */
#pragma once

#include "gcm.h"

/* The CPU has it and the kernel saves the registers. Who can do 512 bits can do 256. */
bool vaes_usable(void);
bool vaes_512_usable(void);
bool vaes_512_faster(void); /* usable, and not on a CPU that it slows down */
/* vendor and signature are what CPUID says in leaves 0 (EBX, EDX, ECX) and 1 (EAX). */
bool vaes_512_slows(const char vendor[12], unsigned signature);

void vaes_expand(struct gcm_key *k, const uint8_t *key, size_t key_n); /* for both */

/* Text in pieces (gcm.h), of n bytes together. Opening: false: another tag; writes `to` in any case. */
typedef void vaes_seal_fn(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
                          const struct iovec *pieces, size_t n, uint8_t *to, uint8_t *ret_tag);
typedef bool vaes_open_fn(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
                          const struct iovec *pieces, size_t n, uint8_t *to, const uint8_t *tag);
vaes_seal_fn vaes_256_seal, vaes_512_seal;
vaes_open_fn vaes_256_open, vaes_512_open;
