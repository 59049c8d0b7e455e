/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/context.c - the library's settings for one credential and role, made once and shared by a worker's sessions
 *
 * The library gets no trust anchors: without them it can approve of nobody, so a peer is in only when session_judge says
 * so, and nothing that a peer sends can grow the library's store.
 * Groups are P-256, then P-384. X25519 is left out: the x86-64 code of this release does not fully reduce its result
 * (CVE-2026-10512; the last addition of curve25519_x64 and curve25519_avx2 may leave bit 255 set), so deploy/setup does not build
 * it. A peer that offers X25519 first is asked again (HelloRetryRequest), one round trip for a tunnel that then carries many flows.
 *
 * The library keeps a copy of the key for as long as the context lives, for it makes no server's session without one; library.c
 * sees to it that the copy, too, lies in secret memory.
 */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "credential_private.h"
#include "key_private.h"
#include "library.h"
#include "session_private.h"
#include "web.h"

static bool lend_key(WOLFSSL_CTX *ctx, const struct tls_key *key) {
    library_takes_key(true);
    bool taken =
        wolfSSL_CTX_use_PrivateKey_buffer(ctx, key->pkcs8.at, (long)key->pkcs8.n, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
    library_takes_key(false);
    secret_wipe_stack(SECRET_STACK_MAX);
    return taken;
}

int context_load(WOLFSSL_CTX *ctx, const struct tls_der_list *chain, const struct tls_key *key) {
    size_t n = 0;
    if (chain->n == 0 || !tls_cert_matches_key(chain->items[0].at, chain->items[0].n, key))
        return err_origin(-ENOTRECOVERABLE);
    for (size_t i = 0; i < chain->n; i++)
        n += chain->items[i].n;
    uint8_t *all cleanup_free = malloc(n);
    if (!all)
        return err_origin(-ENOMEM);
    n = 0;
    for (size_t i = 0; i < chain->n; i++) {
        memcpy(all + n, chain->items[i].at, chain->items[i].n);
        n += chain->items[i].n;
    }
    if (wolfSSL_CTX_use_certificate_chain_buffer_format(ctx, all, (long)n, WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS ||
        !lend_key(ctx, key))
        return err_origin(-ENOTRECOVERABLE);
    return 0;
}

int context_show(struct tls_context *x, const struct tls_der_list *chain, const struct tls_key *key) {
    x->stack_bytes = key_stack_bytes(key->public.kind);
    return err_trace(context_load(x->ctx, chain, key));
}

static int set_up(WOLFSSL_CTX *ctx, bool insist) {
    int groups[] = {WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};
    if (wolfSSL_CTX_set_cipher_list(ctx, "TLS13-AES256-GCM-SHA384:TLS13-AES128-GCM-SHA256") != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_groups(ctx, groups, array_size(groups)) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_SetMinRsaKey_Sz(ctx, RSA_BITS_MIN) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_SetMinEccKey_Sz(ctx, 256) != WOLFSSL_SUCCESS)
        return err_origin(-ENOTRECOVERABLE);
    wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER | (insist ? WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), session_judge);
    wolfSSL_CTX_SetIORecv(ctx, session_receive);
    wolfSSL_CTX_SetIOSend(ctx, session_send);
    return 0;
}

int context_new(enum tls_role role, bool insist, struct tls_context **ret) {
    cleanup(tls_context_unrefp) struct tls_context *x = calloc(1, sizeof(*x));
    if (!x)
        return err_origin(-ENOMEM);
    x->n_refs = 1;
    x->role = role;
    x->stack_bytes = key_stack_bytes(KEY_P256); /* the handshake's own */
    x->ctx = wolfSSL_CTX_new(role == TLS_ROLE_SERVER ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method());
    if (!x->ctx)
        return err_origin(-ENOMEM);
    int r = set_up(x->ctx, insist);
    if (r)
        return err_trace(r);
    *ret = take_ptr(x);
    return 0;
}

int tls_context_new(struct tls_credential *c, enum tls_role role, struct tls_context **ret) {
    cleanup(tls_context_unrefp) struct tls_context *x = NULL;
    int r = context_new(role, true, &x);
    if (!r)
        r = context_show(x, tls_credential_chain(c), tls_credential_key(c));
    if (r)
        return err_trace(r);
    x->credential = tls_credential_ref(c);
    *ret = take_ptr(x);
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *x) {
    check(x->n_refs > 0);
    x->n_refs++;
    return x;
}

struct tls_context *tls_context_unref(struct tls_context *x) {
    if (!x || --x->n_refs > 0)
        return NULL;
    wolfSSL_CTX_free(x->ctx); /* wipes its copy of the key */
    tls_credential_unref(x->credential);
    web_free(x->web);
    free(x);
    return NULL;
}

struct tls_credential *tls_context_credential(const struct tls_context *x) {
    return x->credential;
}
