/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/gcm.c - see gcm.h: the choice of a path, and wolfCrypt's */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/secret.h>

#include "gcm.h"
#include "vaes.h"

/* Our own paths. */
static const struct {
    bool (*usable)(void);
    vaes_seal_fn *seal;
    vaes_open_fn *open;
} own[GCM_PATHS] = {
    [GCM_VAES] = {vaes_usable, vaes_256_seal, vaes_256_open},
    [GCM_VAES_512] = {vaes_512_usable, vaes_512_seal, vaes_512_open},
};

bool gcm_path_usable(enum gcm_path path) { return path == GCM_WOLFCRYPT || own[path].usable(); }

enum gcm_path gcm_path_best(void) { return vaes_512_faster() ? GCM_VAES_512 : vaes_usable() ? GCM_VAES : GCM_WOLFCRYPT; }

enum { NOT_FORCED = -1 };
static _Atomic int forced = NOT_FORCED;

enum gcm_path gcm_path_now(void) {
    int path = atomic_load_explicit(&forced, memory_order_relaxed);
    return path == NOT_FORCED ? gcm_path_best() : (enum gcm_path)path;
}

void gcm_path_force(enum gcm_path path) {
    check(gcm_path_usable(path));
    atomic_store_explicit(&forced, (int)path, memory_order_relaxed);
}

const char *gcm_path_text(enum gcm_path path) {
    static const char *const texts[GCM_PATHS] = {"AES-GCM of wolfCrypt", "AES-GCM with VAES", "AES-GCM with VAES on 512 bits"};
    return texts[path];
}

static int wolfcrypt_init(struct gcm_key *k, const uint8_t *key, size_t key_n) {
    Aes *aes = wolfSSL_Malloc(sizeof(*aes));
    if (!aes)
        return err_origin(-ENOMEM);
    if (wc_AesInit(aes, NULL, INVALID_DEVID) != 0) {
        wolfSSL_Free(aes);
        return err_origin(-ENOTRECOVERABLE);
    }
    k->wolfcrypt = aes;
    if (wc_AesGcmSetKey(aes, key, (word32)key_n) != 0) {
        gcm_key_deinit(k);
        return err_origin(-ENOTRECOVERABLE);
    }
    return 0;
}

int gcm_key_init(struct gcm_key *k, enum gcm_path path, const uint8_t *key, size_t key_n) {
    check(key_n == 16 || key_n == 32);
    check(gcm_path_usable(path));
    *k = (struct gcm_key){.path = path, .rounds = (unsigned)key_n / 4 + 6};
    if (path == GCM_WOLFCRYPT)
        return wolfcrypt_init(k, key, key_n);
    vaes_expand(k, key, key_n);
    return 0;
}

void gcm_key_deinit(struct gcm_key *k) {
    if (k->wolfcrypt) {
        wc_AesFree(k->wolfcrypt);
        secret_wipe(k->wolfcrypt, sizeof(Aes));
        wolfSSL_Free(k->wolfcrypt);
    }
    secret_wipe(k, sizeof(*k));
}

/* wolfCrypt's code for AVX2 reads a whole block where a nonce of 12 bytes stands: room for that. */
struct roomy_nonce {
    uint8_t at[GCM_BLOCK_BYTES];
};
static struct roomy_nonce roomy(const uint8_t nonce[GCM_NONCE_BYTES]) {
    struct roomy_nonce r = {0};
    memcpy(r.at, nonce, GCM_NONCE_BYTES);
    return r;
}

static void wolfcrypt_seal(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const uint8_t *from,
                           size_t n, uint8_t *to, uint8_t *ret_tag) {
    check(wc_AesGcmEncrypt(k->wolfcrypt, to, from, (word32)n, roomy(nonce).at, GCM_NONCE_BYTES, ret_tag, GCM_TAG_BYTES, aad,
                           (word32)aad_n) == 0);
}

static bool wolfcrypt_open(const struct gcm_key *k, const uint8_t *nonce, const uint8_t *aad, size_t aad_n, const uint8_t *from,
                           size_t n, uint8_t *to, const uint8_t *tag) {
    return wc_AesGcmDecrypt(k->wolfcrypt, to, from, (word32)n, roomy(nonce).at, GCM_NONCE_BYTES, tag, GCM_TAG_BYTES, aad,
                            (word32)aad_n) == 0;
}

static size_t joint_n(const struct iovec *pieces, unsigned n_pieces) {
    size_t n = 0;
    for (unsigned i = 0; i < n_pieces; i++) {
        check(pieces[i].iov_len <= GCM_TEXT_BYTES_MAX - n);
        n += pieces[i].iov_len;
    }
    return n;
}

static void join(const struct iovec *pieces, unsigned n_pieces, uint8_t *to) {
    for (unsigned i = 0; i < n_pieces; to += pieces[i++].iov_len)
        if (pieces[i].iov_len)
            memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
}

static struct iovec piece_of(const uint8_t *from, size_t n) {
    return (struct iovec){.iov_base = (void *)(uintptr_t)from, .iov_len = n};
}

void gcm_seal(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n, const uint8_t *from,
              size_t n, uint8_t *to, uint8_t ret_tag[GCM_TAG_BYTES]) {
    check(k->rounds && n <= GCM_TEXT_BYTES_MAX && aad_n <= GCM_TEXT_BYTES_MAX);
    struct iovec piece = piece_of(from, n);
    if (k->path == GCM_WOLFCRYPT)
        wolfcrypt_seal(k, nonce, aad, aad_n, from, n, to, ret_tag);
    else
        own[k->path].seal(k, nonce, aad, aad_n, &piece, n, to, ret_tag);
}

bool gcm_open(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n, const uint8_t *from,
              size_t n, uint8_t *to, const uint8_t tag[GCM_TAG_BYTES]) {
    check(k->rounds && n <= GCM_TEXT_BYTES_MAX && aad_n <= GCM_TEXT_BYTES_MAX);
    struct iovec piece = piece_of(from, n);
    bool same = k->path == GCM_WOLFCRYPT ? wolfcrypt_open(k, nonce, aad, aad_n, from, n, to, tag)
                                         : own[k->path].open(k, nonce, aad, aad_n, &piece, n, to, tag);
    if (!same)
        secret_wipe(to, n);
    return same;
}

void gcm_seal_pieces(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n,
                     const struct iovec *pieces, unsigned n_pieces, uint8_t *to, uint8_t ret_tag[GCM_TAG_BYTES]) {
    size_t n = joint_n(pieces, n_pieces);
    check(k->rounds && aad_n <= GCM_TEXT_BYTES_MAX);
    if (k->path == GCM_WOLFCRYPT) {
        join(pieces, n_pieces, to);
        wolfcrypt_seal(k, nonce, aad, aad_n, to, n, to, ret_tag);
    } else
        own[k->path].seal(k, nonce, aad, aad_n, pieces, n, to, ret_tag);
}

bool gcm_open_pieces(const struct gcm_key *k, const uint8_t nonce[GCM_NONCE_BYTES], const uint8_t *aad, size_t aad_n,
                     const struct iovec *pieces, unsigned n_pieces, uint8_t *to, const uint8_t tag[GCM_TAG_BYTES]) {
    size_t n = joint_n(pieces, n_pieces);
    check(k->rounds && aad_n <= GCM_TEXT_BYTES_MAX);
    bool same;
    if (k->path == GCM_WOLFCRYPT) {
        join(pieces, n_pieces, to);
        same = wolfcrypt_open(k, nonce, aad, aad_n, to, n, to, tag);
    } else
        same = own[k->path].open(k, nonce, aad, aad_n, pieces, n, to, tag);
    if (!same)
        secret_wipe(to, n);
    return same;
}
