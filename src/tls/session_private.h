/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/session_private.h - what a context's callbacks and a session share (private to the room) */
#pragma once

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/tls/session.h>

struct tls_web; /* web.h */
struct tls_context {
    unsigned n_refs; /* one worker: no atomics */
    enum tls_role role;
    struct tls_credential *credential; /* NULL: a web session's */
    struct tls_web *web;               /* NULL: a session of the mesh */
    WOLFSSL_CTX *ctx;
    size_t stack_bytes; /* wiped after each step of a handshake */
};
/* Settings without a certificate. insist: a peer that shows none is refused. */
int context_new(enum tls_role role, bool insist, struct tls_context **ret) must_check;
int context_load(WOLFSSL_CTX *ctx, const struct tls_der_list *chain, const struct tls_key *key) must_check;
int context_show(struct tls_context *x, const struct tls_der_list *chain, const struct tls_key *key) must_check; /* gives it them */

/* Called by the library, with the session as their context. */
int session_receive(WOLFSSL *ssl, char *to, int n, void *session);
int session_send(WOLFSSL *ssl, char *bytes, int n, void *session);
int session_judge(int library_opinion, WOLFSSL_X509_STORE_CTX *store);

void session_limit(struct tls_session *s, uint64_t key_records); /* for tests, of an open one: KeyUpdates come sooner */

/* Static texts for what the library or the peer said. */
const char *library_error_text(int error);
const char *alert_text(int code);
