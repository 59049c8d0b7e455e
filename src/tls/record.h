/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/record.h - TLS 1.3 records of one direction under its traffic secret (RFC 8446 5.2, 5.3, 7.2, 7.3; private to the room)
 *
 * Keys come from a traffic secret, the nonce from a count that begins at 0 with each of them, so no nonce comes twice with a key
 * unless a secret is begun with twice. What the bytes of a record mean is channel.h's. */
#pragma once

#include "gcm/gcm.h"

enum {
    RECORD_HEADER_BYTES = 5,
    RECORD_PLAIN_MAX = 1 << 14,
    RECORD_BODY_MAX = RECORD_PLAIN_MAX + 256,                  /* what may stand behind a header */
    RECORD_INNER_MAX = RECORD_PLAIN_MAX + 1,                   /* content, type and padding */
    RECORD_OVERHEAD = RECORD_HEADER_BYTES + 1 + GCM_TAG_BYTES, /* of what we seal */
    RECORD_PIECES_MAX = 32,
    RECORD_SECRET_MAX = 48,
};
enum record_type { RECORD_CHANGE_CIPHER_SPEC = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };
enum record_suite { RECORD_AES_128_GCM_SHA256 = 0x1301, RECORD_AES_256_GCM_SHA384 = 0x1302 };

struct record_way {
    struct gcm_key key;
    uint64_t n_records; /* under this key: the next one's number */
    uint8_t iv[GCM_NONCE_BYTES];
    uint8_t secret_n, secret[RECORD_SECRET_MAX];
};
#define RECORD_WAY_NULL ((struct record_way){0})

size_t record_secret_bytes(enum record_suite suite); /* 0: no suite of ours */
/* The secret decides: 32 bytes for AES-128 with SHA-256, 48 for AES-256 with SHA-384. -ENOMEM, -ENOTRECOVERABLE. */
int record_way_begin(struct record_way *w, enum gcm_path path, const uint8_t *secret, size_t secret_n) must_check;
int record_way_update(struct record_way *w) must_check; /* to the next secret, as a KeyUpdate does */
void record_way_end(struct record_way *w);              /* wipes */

/* Into n + RECORD_OVERHEAD bytes at `to`, with n what the pieces hold, RECORD_PLAIN_MAX at most. There is room for one more piece
 * behind the last: the content's type goes there. */
struct iovec;
void record_seal(struct record_way *w, enum record_type type, struct iovec *pieces, unsigned n_pieces, size_t n, uint8_t *to);
/* false: bad tag. Pieces: the body without the tag; as many bytes at `to`, which overlaps none of them or is the only one.
 * *ret_type and *ret_n: the content's type, 0 if there is none, and its length. */
bool record_open(struct record_way *w, const uint8_t header[RECORD_HEADER_BYTES], const struct iovec *pieces, unsigned n_pieces,
                 const uint8_t tag[GCM_TAG_BYTES], uint8_t *to, uint8_t *ret_type, size_t *ret_n) must_check;
