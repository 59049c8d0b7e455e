/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/hash.c - see tls/hash.h */
#include <ringwall/base/check.h>
#include <ringwall/tls/hash.h>

#include "crypto.h"

void tls_sha256(const void *bytes, size_t n, uint8_t ret[SHA256_BYTES]) {
    check(digest_sha256((struct der){bytes, n}, (struct der){0}, ret));
}

void tls_sha256_hex(const void *bytes, size_t n, char ret[SHA256_HEX]) {
    uint8_t hash[SHA256_BYTES];
    tls_sha256(bytes, n, hash);
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        ret[2 * i] = "0123456789abcdef"[hash[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
    ret[2 * SHA256_BYTES] = '\0';
}
