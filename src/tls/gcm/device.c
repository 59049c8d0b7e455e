/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/gcm/device.c - see device.h */
#include <errno.h>
#include <stdatomic.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/cryptocb.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "device.h"

enum { DEVICE = 0x5257 }; /* any number but the library's "none" */

struct gcm_session {
    struct gcm_key seal, open;
};

static _Atomic int path_now = GCM_WOLFCRYPT;
static _Thread_local struct gcm_session *entered;
static _Thread_local uint64_t n_records;

static const struct gcm_key *key_of(struct gcm_key *k, const Aes *aes) {
    const uint8_t *raw = (const uint8_t *)aes->devKey;
    size_t n = (size_t)aes->keylen;
    if (gcm_key_is(k, raw, n))
        return k;
    gcm_key_deinit(k);
    return (n == 16 || n == 32) && gcm_key_init(k, GCM_VAES, raw, n) == 0 ? k : NULL;
}

static int take(struct wc_CryptoInfo *info) {
    const struct gcm_key *k;
    if (info->cipher.enc) {
        const __typeof__(info->cipher.aesgcm_enc) *e = &info->cipher.aesgcm_enc;
        if (e->ivSz != GCM_NONCE_BYTES || e->authTagSz != GCM_TAG_BYTES || !(k = key_of(&entered->seal, e->aes)))
            return CRYPTOCB_UNAVAILABLE;
        n_records++;
        gcm_seal(k, e->iv, e->authIn, e->authInSz, e->in, e->sz, e->out, e->authTag);
        return 0;
    }
    const __typeof__(info->cipher.aesgcm_dec) *d = &info->cipher.aesgcm_dec;
    if (d->ivSz != GCM_NONCE_BYTES || d->authTagSz != GCM_TAG_BYTES || !(k = key_of(&entered->open, d->aes)))
        return CRYPTOCB_UNAVAILABLE;
    n_records++;
    return gcm_open(k, d->iv, d->authIn, d->authInSz, d->in, d->sz, d->out, d->authTag) ? 0 : AES_GCM_AUTH_E;
}

/* Asked for every hash, signature and block as well: says no to them at once. */
static int asked(int device, struct wc_CryptoInfo *info, void *unused) {
    if (!entered || info->algo_type != WC_ALGO_TYPE_CIPHER || info->cipher.type != WC_CIPHER_AES_GCM)
        return CRYPTOCB_UNAVAILABLE;
    return take(info);
}

int gcm_device_register(void) {
    if (gcm_path_best() != GCM_VAES)
        return 0;
    if (wc_CryptoCb_RegisterDevice(DEVICE, asked, NULL) != 0)
        return err_origin(-ENOTRECOVERABLE);
    gcm_device_force(GCM_VAES);
    return 0;
}

enum gcm_path gcm_device_path(void) { return (enum gcm_path)atomic_load_explicit(&path_now, memory_order_relaxed); }

void gcm_device_force(enum gcm_path path) {
    check(path == GCM_WOLFCRYPT || gcm_path_best() == path);
    atomic_store_explicit(&path_now, path, memory_order_relaxed);
}

uint64_t gcm_device_records(void) { return n_records; }

struct gcm_session *gcm_session_new(void *ssl) {
    if (gcm_device_path() != GCM_VAES)
        return NULL;
    struct gcm_session *s = wolfSSL_Malloc(sizeof(*s)); /* counted with what the library holds */
    if (!s)
        return NULL;
    *s = (struct gcm_session){0};
    if (wolfSSL_SetDevId(ssl, DEVICE) != WOLFSSL_SUCCESS)
        return gcm_session_free(s);
    return s;
}

struct gcm_session *gcm_session_free(struct gcm_session *s) {
    if (s) {
        gcm_key_deinit(&s->seal);
        gcm_key_deinit(&s->open);
        wolfSSL_Free(s);
    }
    return NULL;
}

struct gcm_session *gcm_session_enter(struct gcm_session *s) {
    check(!entered);
    entered = s;
    return s;
}

void gcm_session_leave(struct gcm_session **s) { entered = NULL; }
