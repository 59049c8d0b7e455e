/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/session.c - see tls/session.h
 *
 * The library makes the handshake. It reads and writes through session_receive and session_send, which move bytes from `in` and to
 * `out`, and never waits. At the handshake's end `channel` goes on with the traffic secrets, and the library's object is freed.
 * Who the peer is decides session_judge, in the middle of the handshake: on a refusal the right alert goes out and the library
 * gives up, so no peer ever gets a Finished from us whom we do not trust.
 *
 * Invariant: state OPEN implies that session_judge trusted the peer (or it is a web session's client and showed no
 * certificate), that both sides chose "h2", and TLS 1.3. Every way out of HANDSHAKE goes through advance(), which checks the
 * three again.
 * Invariant: at that point the library has neither sealed nor opened anything under the application's keys: no tickets, no early
 * data; it reads record by record, and refuses messages behind a Finished in its record (test_handover). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/secret.h>
#include <ringwall/tls/web.h>

#include "cert_view.h"
#include "channel.h"
#include "library.h"
#include "session_private.h"
#include "web.h"

/* Alerts of RFC 8446 6.2 that we choose ourselves. */
enum {
    ALERT_BAD_CERTIFICATE = 42,
    ALERT_REVOKED = 44,
    ALERT_EXPIRED = 45,
    ALERT_UNKNOWN_CA = 48,
    ALERT_HANDSHAKE_FAILURE = 40,
    ALERT_NO_ALPN = 120
};
enum { ALERT_LEVEL_FATAL = 2 };

/* The library sends alerts of its own choice only. This is its own function for sending one, exported in the static
 * archive but in no public header; when it goes away in a later release the link fails and says so. */
int SendAlert(WOLFSSL *ssl, int severity, int type);

enum session_state { SESSION_HANDSHAKE, SESSION_OPEN, SESSION_FAILED };

struct tls_session {
    enum session_state state;
    enum tls_session_verdict failure; /* when FAILED */
    const char *error;
    struct tls_context *context;
    struct tls_trust *trust_in_force; /* NULL once the peer was judged */
    WOLFSSL *ssl;                     /* while in HANDSHAKE */
    struct channel *channel;          /* from the traffic secrets on, until FAILED */
    unsigned suite;                   /* when OPEN */
    struct bufq *in, *out;
    tls_node_covers_fn covers;
    void *covers_context;
    int64_t now_s;
    bool judged, trusted;
    bool muted; /* our last alert is out: nothing goes after it */
    enum tls_trust_verdict trust;
    uint8_t refused_n, refused[TLS_SERIAL_MAX]; /* serial of a leaf that was refused */
    struct tls_peer *peer;                      /* once trusted */
};

int session_receive(WOLFSSL *ssl, char *to, int n, void *session) {
    (void)ssl;
    struct tls_session *s = session;
    size_t n_read = n > 0 ? bufq_read(s->in, to, (size_t)n) : 0;
    return n_read ? (int)n_read : WOLFSSL_CBIO_ERR_WANT_READ;
}

int session_send(WOLFSSL *ssl, char *bytes, int n, void *session) {
    (void)ssl;
    struct tls_session *s = session;
    if (s->muted || n <= 0)
        return n;
    return bufq_append(s->out, bytes, (size_t)n) == 0 ? n : WOLFSSL_CBIO_ERR_WANT_WRITE; /* it waits in the library */
}

/* The handshake's own secrets pass here too, and are the library's business. */
static int session_secret(WOLFSSL *ssl, int id, const unsigned char *secret, int n, void *session) {
    (void)ssl;
    struct tls_session *s = session;
    if (id != CLIENT_TRAFFIC_SECRET && id != SERVER_TRAFFIC_SECRET)
        return 0;
    if (!s->channel)
        s->channel = channel_new(s->context->role == TLS_ROLE_CLIENT, s->in, s->out);
    return s->channel && channel_secret(s->channel, id == CLIENT_TRAFFIC_SECRET, secret, (size_t)n) ? 0 : MEMORY_E;
}

static void send_alert(struct tls_session *s, int code) {
    if (s->muted)
        return;
    ignore_result(SendAlert(s->ssl, ALERT_LEVEL_FATAL, code)); /* no room: the peer sees the connection close instead */
    s->muted = true;
}

static int trust_alert(enum tls_trust_verdict v) {
    switch (v) {
    case TLS_TRUST_EXPIRED:
    case TLS_TRUST_NOT_YET_VALID:
        return ALERT_EXPIRED;
    case TLS_TRUST_REVOKED:
    case TLS_TRUST_ISSUER_REVOKED:
        return ALERT_REVOKED;
    case TLS_TRUST_TRUST_DOMAIN:
    case TLS_TRUST_NO_PATH:
    case TLS_TRUST_ISSUER_NOT_CA:
    case TLS_TRUST_PATH_LEN:
        return ALERT_UNKNOWN_CA;
    default:
        return ALERT_BAD_CERTIFICATE;
    }
}

static bool alpn_is_h2(const struct tls_session *s) {
    char *name = NULL;
    word16 n = 0;
    return wolfSSL_ALPN_GetProtocol(s->ssl, &name, &n) == WOLFSSL_SUCCESS && name && str_is((struct str){name, n}, STR("h2"));
}

/* What the library may think of the certificates when we trust them: it knows no roots, and its clock is not ours. */
static bool library_opinion_expected(int error) {
    return error == 0 || error == ASN_NO_SIGNER_E || error == ASN_SELF_SIGNED_E || error == ASN_BEFORE_DATE_E ||
           error == ASN_AFTER_DATE_E;
}

/* Whoever looks for the reason of a refusal finds the certificate by its serial. */
static void keep_serial(struct tls_session *s, const struct tls_der *leaf) {
    struct cert_view v;
    if (!cert_view_read(leaf->at, leaf->n, &v))
        return;
    s->refused_n = (uint8_t)v.serial.n;
    memcpy(s->refused, v.serial.at, v.serial.n);
}

static enum tls_trust_verdict judge_chain(struct tls_session *s, const WOLFSSL_X509_STORE_CTX *store) {
    struct tls_der items[TLS_CHAIN_MAX];
    struct tls_der_list chain = {.items = items, .n = (size_t)max_of(store->totalCerts, 0)};
    if (chain.n > TLS_CHAIN_MAX)
        return TLS_TRUST_CHAIN_TOO_LONG;
    for (size_t i = 0; i < chain.n; i++)
        items[i] = (struct tls_der){.at = store->certs[i].buffer, .n = store->certs[i].length};
    struct tls_peer *peer cleanup_free = calloc(1, sizeof(*peer));
    if (!peer)
        return TLS_TRUST_UNREADABLE;
    enum tls_role role = s->context->role == TLS_ROLE_SERVER ? TLS_ROLE_CLIENT : TLS_ROLE_SERVER;
    const struct tls_web *web = s->context->web;
    bool by_host = web && web->roots; /* a web client: its peer has no identity */
    enum tls_trust_verdict v =
        by_host ? tls_server_verify(web->roots, &chain, str_of(web->host), s->now_s)
                : tls_chain_verify(s->trust_in_force, &chain, role, s->now_s, s->covers, s->covers_context, peer);
    /* The leaf's key is used as the library read it: it must have been able to. For an issuer any complaint but "no
     * signer" (which is not reported) ends it, since the library would keep an issuer that it was told to accept. */
    if (v == TLS_TRUST_OK && (store->error_depth != 0 || !library_opinion_expected(store->error)))
        return TLS_TRUST_UNREADABLE;
    if (v == TLS_TRUST_OK && !by_host)
        s->peer = take_ptr(peer);
    if (v == TLS_TRUST_REVOKED || v == TLS_TRUST_ISSUER_REVOKED)
        keep_serial(s, &items[0]);
    return v;
}

int session_judge(int library_opinion, WOLFSSL_X509_STORE_CTX *store) {
    (void)library_opinion;
    struct tls_session *s = store->userCtx;
    if (s->state != SESSION_HANDSHAKE || s->judged) {
        s->trusted = false; /* a second certificate is never asked for */
        return 0;
    }
    s->judged = true;
    if (!alpn_is_h2(s)) {
        s->error = "ALPN: no h2";
        send_alert(s, ALERT_NO_ALPN);
        return 0;
    }
    /* A web server lets in who shows no certificate. */
    bool nameless = store->totalCerts == 0 && s->context->web && !s->context->web->roots;
    s->trust = nameless ? TLS_TRUST_OK : judge_chain(s, store);
    s->trust_in_force = tls_trust_unref(s->trust_in_force);
    s->trusted = s->trust == TLS_TRUST_OK;
    if (!s->trusted)
        send_alert(s, trust_alert(s->trust));
    return s->trusted;
}

int tls_session_new(const struct tls_session_options *o, struct tls_session **ret) {
    static char alpn[] = "h2";
    if (!library_memory_left())
        return 1;
    cleanup(tls_session_freep) struct tls_session *s = calloc(1, sizeof(*s));
    if (!s)
        return 1;
    s->in = o->in;
    s->out = o->out;
    s->covers = o->covers;
    s->covers_context = o->covers_context;
    s->context = tls_context_ref(o->context);
    s->trust_in_force = o->trust ? tls_trust_ref(o->trust) : NULL; /* none: a mesh peer is trusted by nobody */
    s->ssl = wolfSSL_new(o->context->ctx);
    if (!s->ssl || wolfSSL_UseALPN(s->ssl, alpn, sizeof(alpn) - 1, WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS)
        return 1;
    if (s->context->web && !web_say_host(s->context->web, s->ssl))
        return 1;
    if (wolfSSL_set_tls13_secret_cb(s->ssl, session_secret, s) != WOLFSSL_SUCCESS)
        return 1;
    wolfSSL_SetIOReadCtx(s->ssl, s);
    wolfSSL_SetIOWriteCtx(s->ssl, s);
    wolfSSL_SetCertCbCtx(s->ssl, s);
    *ret = take_ptr(s);
    return 0;
}

struct tls_session *tls_session_free(struct tls_session *s) {
    if (!s)
        return NULL;
    s->muted = true; /* freeing writes nothing */
    wolfSSL_free(s->ssl);
    channel_free(s->channel);
    tls_context_unref(s->context);
    tls_trust_unref(s->trust_in_force);
    free(s->peer);
    free(s);
    return NULL;
}

/* Errors of the library's own parser: it could not read the certificates at all, so it did not ask us. */
static bool certificate_error(int error) {
    return (error <= ASN_PARSE_E && error >= ASN_ECC_KEY_E) || (error <= ASN_COUNTRY_SIZE_E && error >= ASN_PATHLEN_INV_E) ||
           (error <= ASN_DEPTH_E && error >= ASN_LEN_E) || error == ASN_NAME_INVALID_E || error == KEYUSAGE_E ||
           error == EXTKEYUSAGE_E || error == MAX_CHAIN_ERROR;
}

/* A handshake that came to nothing. */
static int fail(struct tls_session *s, int error) {
    WOLFSSL_ALERT_HISTORY alerts = {0};
    wolfSSL_get_alert_history(s->ssl, &alerts);
    bool sent = alerts.last_tx.level == ALERT_LEVEL_FATAL, received = alerts.last_rx.level == ALERT_LEVEL_FATAL;
    s->state = SESSION_FAILED;
    s->failure = TLS_BROKEN;
    if (s->judged && !s->trusted && s->trust != TLS_TRUST_OK) {
        s->failure = TLS_REFUSED;
        s->error = tls_trust_text(s->trust);
    } else if (error == NO_PEER_CERT) {
        s->failure = TLS_REFUSED;
        s->trust = TLS_TRUST_NONE;
        s->error = s->context->role == TLS_ROLE_SERVER ? "no client certificate" : "no server certificate";
    } else if (!s->judged && !received && certificate_error(error)) {
        s->failure = TLS_REFUSED;
        s->trust = error == MAX_CHAIN_ERROR ? TLS_TRUST_CHAIN_TOO_LONG : TLS_TRUST_UNREADABLE;
        s->error = tls_trust_text(s->trust);
        if (!sent)
            send_alert(s, ALERT_BAD_CERTIFICATE);
    } else if (!s->error)
        s->error = received ? alert_text(alerts.last_rx.code) : library_error_text(error);
    if (!sent && !received)
        send_alert(s, ALERT_HANDSHAKE_FAILURE);
    s->muted = true;
    s->channel = channel_free(s->channel);
    return (int)s->failure;
}

/* The session is ours from here on, and the library's object has nothing to do. */
static int advance(struct tls_session *s) {
    s->error = "handshake ended without our consent";
    if (!s->trusted || !alpn_is_h2(s) || wolfSSL_GetVersion(s->ssl) != WOLFSSL_TLSV1_3 || !s->channel)
        return fail(s, 0);
    s->suite = wolfSSL_get_current_cipher_suite(s->ssl);
    int r = channel_begin(s->channel, (enum record_suite)s->suite, gcm_path_now());
    if (r) {
        s->error = r == -ENOMEM ? library_error_text(MEMORY_E) : "no keys for the suite";
        return fail(s, 0);
    }
    s->error = NULL;
    wolfSSL_free(s->ssl);
    s->ssl = NULL;
    s->state = SESSION_OPEN;
    return TLS_DONE;
}

int tls_session_handshake(struct tls_session *s, int64_t now_s) {
    if (s->state != SESSION_HANDSHAKE)
        return s->state == SESSION_OPEN ? TLS_DONE : (int)s->failure;
    s->now_s = now_s;
    int r = wolfSSL_negotiate(s->ssl);
    secret_wipe_stack(s->context->stack_bytes); /* it signs */
    if (r == WOLFSSL_SUCCESS)
        return advance(s);
    int error = wolfSSL_get_error(s->ssl, r);
    if (error == WOLFSSL_ERROR_WANT_READ)
        return TLS_WANT_INPUT;
    if (error == WOLFSSL_ERROR_WANT_WRITE)
        return TLS_WANT_OUTPUT;
    return fail(s, error);
}

/* What the channel said; a broken one is gone with its keys. */
static int carried(struct tls_session *s, int r) {
    const char *error = r == TLS_BROKEN ? channel_error(s->channel) : NULL;
    if (error) {
        s->state = SESSION_FAILED;
        s->failure = TLS_BROKEN;
        s->error = error;
        s->channel = channel_free(s->channel);
    }
    return r;
}

int tls_session_open(struct tls_session *s, uint8_t *to, size_t cap, size_t *ret_n) {
    check(cap > 0);
    if (s->state != SESSION_OPEN)
        return s->state == SESSION_FAILED ? (int)s->failure : TLS_WANT_INPUT;
    return carried(s, channel_open(s->channel, to, cap, ret_n));
}

int tls_session_open_record(struct tls_session *s, struct buf_chunk **ret_chunk, const uint8_t **ret_at, size_t *ret_n) {
    if (s->state != SESSION_OPEN)
        return s->state == SESSION_FAILED ? (int)s->failure : TLS_WANT_INPUT;
    return carried(s, channel_open_record(s->channel, ret_chunk, ret_at, ret_n));
}

int tls_session_seal(struct tls_session *s, const uint8_t *bytes, size_t n, size_t *ret_taken) {
    if (s->state != SESSION_OPEN)
        return s->state == SESSION_FAILED ? (int)s->failure : TLS_BROKEN;
    return carried(s, channel_seal(s->channel, bytes, n, ret_taken));
}

int tls_session_seal_queue(struct tls_session *s, struct bufq *plain, size_t out_max) {
    if (s->state != SESSION_OPEN)
        return s->state == SESSION_FAILED ? (int)s->failure : TLS_BROKEN;
    return carried(s, channel_seal_queue(s->channel, plain, out_max));
}

int tls_session_close(struct tls_session *s) {
    if (s->state != SESSION_OPEN)
        return s->state == SESSION_FAILED ? (int)s->failure : TLS_BROKEN;
    return carried(s, channel_close(s->channel));
}

void session_limit(struct tls_session *s, uint64_t key_records) { channel_limit(s->channel, key_records); }

struct tls_credential *tls_session_credential(const struct tls_session *s) {
    return s->context->credential;
}
const struct tls_peer *tls_session_peer(const struct tls_session *s) { return s->state == SESSION_OPEN ? s->peer : NULL; }
enum tls_trust_verdict tls_session_trust(const struct tls_session *s) { return s->trust; }

const char *tls_session_refusal(const struct tls_session *s, char *to, size_t cap) {
    char serial[2 * TLS_SERIAL_MAX + 1];
    snprintf(to, cap, "%s%s%s", tls_trust_text(s->trust), s->refused_n ? ", serial " : "",
             tls_serial_text(s->refused, s->refused_n, serial));
    return to;
}

const char *tls_session_error(const struct tls_session *s) { return s->error ? s->error : ""; }

const char *tls_session_suite(const struct tls_session *s) {
    switch (s->suite) {
    case RECORD_AES_256_GCM_SHA384:
        return "TLS_AES_256_GCM_SHA384";
    case RECORD_AES_128_GCM_SHA256:
        return "TLS_AES_128_GCM_SHA256";
    default:
        return NULL;
    }
}
