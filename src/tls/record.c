/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/record.c - see record.h */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/secret.h>
#include <ringwall/base/str.h>

#include "record.h"

size_t record_secret_bytes(enum record_suite suite) {
    return suite == RECORD_AES_256_GCM_SHA384 ? 48 : suite == RECORD_AES_128_GCM_SHA256 ? 32 : 0;
}

/* HKDF-Expand-Label with an empty context. */
static bool expand(const uint8_t *secret, size_t secret_n, struct str label, uint8_t *to, size_t n) {
    static const uint8_t protocol[] = {'t', 'l', 's', '1', '3', ' '};
    int digest = secret_n == 48 ? WC_SHA384 : WC_SHA256;
    return wc_Tls13_HKDF_Expand_Label(to, (word32)n, secret, (word32)secret_n, protocol, sizeof(protocol), (const byte *)label.at,
                                      (word32)label.n, NULL, 0, digest) == 0;
}

int record_way_begin(struct record_way *w, enum gcm_path path, const uint8_t *secret, size_t secret_n) {
    check(secret_n == 32 || secret_n == 48);
    *w = (struct record_way){.secret_n = (uint8_t)secret_n};
    memcpy(w->secret, secret, secret_n);
    uint8_t key[32];
    size_t key_n = secret_n == 48 ? 32 : 16;
    int r = -ENOTRECOVERABLE;
    if (expand(w->secret, secret_n, STR("key"), key, key_n) && expand(w->secret, secret_n, STR("iv"), w->iv, sizeof(w->iv)))
        r = gcm_key_init(&w->key, path, key, key_n);
    secret_wipe(key, sizeof(key));
    if (r)
        record_way_end(w);
    return err_trace(r);
}

int record_way_update(struct record_way *w) {
    uint8_t next[RECORD_SECRET_MAX];
    size_t n = w->secret_n;
    enum gcm_path path = w->key.path;
    int r = expand(w->secret, n, STR("traffic upd"), next, n) ? 0 : err_origin(-ENOTRECOVERABLE);
    record_way_end(w);
    if (!r)
        r = record_way_begin(w, path, next, n);
    secret_wipe(next, sizeof(next));
    return err_trace(r);
}

void record_way_end(struct record_way *w) {
    gcm_key_deinit(&w->key);
    secret_wipe(w, sizeof(*w));
}

static void nonce_next(struct record_way *w, uint8_t ret[GCM_NONCE_BYTES]) {
    uint64_t number = __builtin_bswap64(w->n_records), low;
    memcpy(ret, w->iv, GCM_NONCE_BYTES);
    memcpy(&low, ret + GCM_NONCE_BYTES - sizeof(low), sizeof(low));
    low ^= number;
    memcpy(ret + GCM_NONCE_BYTES - sizeof(low), &low, sizeof(low));
    w->n_records++;
}

void record_seal(struct record_way *w, enum record_type type, struct iovec *pieces, unsigned n_pieces, size_t n, uint8_t *to) {
    check(n <= RECORD_PLAIN_MAX);
    uint8_t last = (uint8_t)type, nonce[GCM_NONCE_BYTES];
    size_t n_body = n + 1 + GCM_TAG_BYTES;
    pieces[n_pieces] = (struct iovec){.iov_base = &last, .iov_len = 1};
    memcpy(to, (uint8_t[]){RECORD_DATA, 3, 3, (uint8_t)(n_body >> 8), (uint8_t)n_body}, RECORD_HEADER_BYTES);
    nonce_next(w, nonce);
    uint8_t *body = to + RECORD_HEADER_BYTES;
    gcm_seal_pieces(&w->key, nonce, to, RECORD_HEADER_BYTES, pieces, n_pieces + 1, body, body + n + 1);
    pieces[n_pieces] = (struct iovec){0};
}

/* How much of it is not padding. It takes as long as the padding is: a peer that pads hides what it sends from those on the
 * path, and from them this time is as hidden as the rest of what we do with a record. */
static size_t without_padding(const uint8_t *at, size_t n) {
    for (uint64_t word; n >= sizeof(word); n -= sizeof(word)) {
        memcpy(&word, at + n - sizeof(word), sizeof(word));
        if (word)
            break;
    }
    while (n && !at[n - 1])
        n--;
    return n;
}

bool record_open(struct record_way *w, const uint8_t header[RECORD_HEADER_BYTES], const struct iovec *pieces, unsigned n_pieces,
                 const uint8_t tag[GCM_TAG_BYTES], uint8_t *to, uint8_t *ret_type, size_t *ret_n) {
    uint8_t nonce[GCM_NONCE_BYTES];
    size_t n = 0;
    for (unsigned i = 0; i < n_pieces; i++)
        n += pieces[i].iov_len;
    nonce_next(w, nonce);
    if (!(n_pieces == 1 ? gcm_open(&w->key, nonce, header, RECORD_HEADER_BYTES, pieces->iov_base, n, to, tag)
                        : gcm_open_pieces(&w->key, nonce, header, RECORD_HEADER_BYTES, pieces, n_pieces, to, tag)))
        return false;
    n = without_padding(to, n);
    *ret_type = n ? to[n - 1] : 0;
    *ret_n = n ? n - 1 : 0;
    return true;
}
