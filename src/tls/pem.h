/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/pem.h - blocks of a PEM text (private to the room)
 *
 * Text between blocks is skipped, as is usual in files that people make. Inside a block only base64 and line ends are
 * taken, so an encrypted key with headers is malformed. */
#pragma once

#include <ringwall/base/str.h>

struct pem_block {
    struct str label;  /* "CERTIFICATE" */
    struct str base64; /* between the two lines */
};
enum pem_verdict { PEM_BLOCK, PEM_END, PEM_MALFORMED };
enum pem_verdict pem_next(struct str *rest, struct pem_block *ret);
static inline size_t pem_bytes_max(const struct pem_block *b) { return b->base64.n / 4 * 3 + 3; }
bool pem_decode(const struct pem_block *b, uint8_t *to, size_t cap, size_t *ret_n) must_check; /* cap >= pem_bytes_max */

size_t pem_text_max(const char *label, size_t n); /* bytes that pem_encode needs, final NUL included */
bool pem_encode(const char *label, const uint8_t *bytes, size_t n, char *to, size_t cap, size_t *ret_n) must_check;
