/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/key_private.h - the inside of a private key: what signing and the library's contexts need of it */
#pragma once

#include <ringwall/tls/key.h>

#include "crypto.h"

struct tls_key {
    struct secret pkcs8;
    uint8_t *spki; /* body of the SubjectPublicKeyInfo */
    size_t spki_n;
    struct public_key public; /* borrows spki */
};

static inline struct der key_spki(const struct tls_key *k) { return (struct der){k->spki, k->spki_n}; }
enum signature_kind key_signature_kind(const struct tls_key *k); /* what this key signs with */
size_t key_stack_bytes(enum key_kind kind); /* how deep the library's stack may be in a handshake with such a key */
int key_sign(const struct tls_key *k, struct der message, uint8_t ret[SIGNATURE_BYTES_MAX], size_t *ret_n) must_check;
