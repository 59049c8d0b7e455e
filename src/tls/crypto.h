/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/crypto.h - public keys, signatures and random bytes of wolfCrypt behind our own types (private to the room)
 *
 * What we take: ECDSA on P-256 and P-384 with SHA-256 or SHA-384; RSA 2048..4096 PKCS#1 v1.5 with SHA-256, -384, -512.
 * A signature algorithm counts only with a key of its kind, and the digest has the length which the algorithm names. */
#pragma once

#include "der.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 4096, SIGNATURE_BYTES_MAX = RSA_BITS_MAX / 8, KEY_ID_BYTES = 20 };

enum key_kind { KEY_UNSUPPORTED, KEY_P256, KEY_P384, KEY_RSA };
/* Borrows the bytes that it was read from. */
struct public_key {
    enum key_kind kind;
    unsigned bits;
    struct der bytes;             /* what subjectPublicKey holds */
    struct der point;             /* EC: 04 x y */
    struct der modulus, exponent; /* RSA */
};
/* From the body of a SubjectPublicKeyInfo. A well-formed key of another kind gives KEY_UNSUPPORTED. */
bool public_key_read(struct der spki, struct public_key *ret) must_check;
bool public_key_valid(const struct public_key *k);                         /* the point is on its curve */
const char *public_key_name(const struct public_key *k);                   /* "P-256", "RSA-2048", "unsupported" */
void public_key_id(const struct public_key *k, uint8_t ret[KEY_ID_BYTES]); /* RFC 7093 method 1 */

enum signature_kind {
    SIGNATURE_UNSUPPORTED,
    SIGNATURE_ECDSA_SHA256,
    SIGNATURE_ECDSA_SHA384,
    SIGNATURE_RSA_SHA256,
    SIGNATURE_RSA_SHA384,
    SIGNATURE_RSA_SHA512,
    _SIGNATURE_KIND_MAX
};
enum signature_kind signature_kind_read(struct der algorithm); /* body of an AlgorithmIdentifier */
void signature_kind_put(struct der_out *o, enum signature_kind kind);
bool signature_check(const struct public_key *k, enum signature_kind kind, struct der message, struct der signature);

/* The same for a message that was hashed before. */
bool signature_check_hash(const struct public_key *k, enum signature_kind kind, struct der hash, struct der signature);

enum { DIGEST_BYTES_MAX = 64 };
bool digest(enum signature_kind kind, struct der message, uint8_t ret[DIGEST_BYTES_MAX], size_t *ret_n) must_check;
bool digest_sha256(struct der a, struct der b, uint8_t ret[32]) must_check; /* of a then b */
