/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/web.c - contexts of web sessions; session.c runs them */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/tls/web.h>

#include "session_private.h"
#include "web.h"

struct tls_web *web_free(struct tls_web *w) {
    if (!w)
        return NULL;
    tls_bundle_unref(w->roots);
    free(w);
    return NULL;
}

bool web_say_host(const struct tls_web *w, WOLFSSL *ssl) {
    if (!w->roots || w->host_is_address)
        return true;
    return wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, w->host, (unsigned short)strlen(w->host)) == WOLFSSL_SUCCESS;
}

static int web_context_new(enum tls_role role, struct tls_context **ret) {
    cleanup(tls_context_unrefp) struct tls_context *x = NULL;
    /* A client's certificate is asked for, not insisted on: who shows none has another proof, inside. */
    int r = context_new(role, role == TLS_ROLE_CLIENT, &x);
    if (r)
        return err_trace(r);
    x->web = calloc(1, sizeof(*x->web));
    if (!x->web)
        return err_origin(-ENOMEM);
    *ret = take_ptr(x);
    return 0;
}

int tls_web_server_new(const struct tls_key *key, const struct tls_der_list *chain, struct tls_context **ret) {
    cleanup(tls_context_unrefp) struct tls_context *x = NULL;
    if (chain->n == 0 || !tls_cert_matches_key(chain->items[0].at, chain->items[0].n, key))
        return 1;
    int r = web_context_new(TLS_ROLE_SERVER, &x);
    if (!r)
        r = context_show(x, chain, key);
    if (r)
        return err_trace(r);
    *ret = take_ptr(x);
    return 0;
}

int tls_web_client_new(struct tls_bundle *roots, struct str host, struct tls_context **ret) {
    cleanup(tls_context_unrefp) struct tls_context *x = NULL;
    uint8_t address[16];
    size_t n;
    if (!tls_host_valid(host))
        return 1;
    int r = web_context_new(TLS_ROLE_CLIENT, &x);
    if (r)
        return err_trace(r);
    host = web_host_trim(host);
    x->web->roots = tls_bundle_ref(roots);
    x->web->host_is_address = web_host_address(host, address, &n);
    snprintf(x->web->host, sizeof(x->web->host), STR_FMT, STR_ARG(host));
    *ret = take_ptr(x);
    return 0;
}

int tls_web_client_show(struct tls_context *x, const struct tls_credential *c) {
    check(x->web && x->web->roots);
    return err_trace(context_show(x, tls_credential_chain(c), tls_credential_key(c)));
}
