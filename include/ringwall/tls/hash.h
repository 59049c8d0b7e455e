/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/hash.h - SHA-256, for chains of records and for naming certificates */
#pragma once

#include <ringwall/base/defs.h>

enum { SHA256_BYTES = 32, SHA256_HEX = 65 /* with NUL */ };
/* Aborts when the library cannot hash: that is a broken build, no state of the world. */
void tls_sha256(const void *bytes, size_t n, uint8_t ret[SHA256_BYTES]);
void tls_sha256_hex(const void *bytes, size_t n, char ret[SHA256_HEX]); /* small letters */
