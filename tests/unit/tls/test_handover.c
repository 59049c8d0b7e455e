/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: sessions whose records are our own from the handshake's end on are the library's equals: nothing is lost, sealed twice or
 * kept between the library that shakes hands and the code that carries.
 * Method: our session against a WOLFSSL object used directly, in memory; both roles, suites and paths of the cipher; flights whose
 * bytes are joined or changed with the secrets that the peer tells. test_interop does it with OpenSSL. */
#include <malloc.h>
#include <string.h>
#include <sys/uio.h>
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/base/check.h>
#include <ringwall/base/rng.h>

#include "gcm/gcm.h"
#include "pki.h"
#include "record.h"
#include "session_private.h"
#include "unit.h"

enum { POOL_CHUNKS = 64, TEXT_MAX = 100 * 1024 };

/* Of the library's own; in no public header. */
int SendAlert(WOLFSSL *ssl, int severity, int type);

static struct {
    struct pki pki;
    struct pki_node node;
    struct identity id;
    struct tls_credential *credential;
    struct buf_pool *pool;
    uint8_t text[TEXT_MAX], got[TEXT_MAX];
} f;

/* The library as a peer, without anything of ours around it, and what it tells of its secrets. */
struct peer {
    WOLFSSL_CTX *ctx;
    WOLFSSL *ssl;
    struct bufq in, out;
    size_t secret_n;
    uint8_t secrets[EXPORTER_SECRET + 1][RECORD_SECRET_MAX];
};
struct lab {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
    struct peer peer;
};

static int group_setup(void **state) {
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    f.id = pki_identity("cluster.local", "ns", "sa");
    f.credential = pki_credential(&f.pki, &f.node, &f.id, PKI_FLAWLESS, NULL);
    f.pool = buf_pool_new(POOL_CHUNKS);
    for (size_t i = 0; i < TEXT_MAX; i++)
        f.text[i] = (uint8_t)(i * 131 + i / 251);
    return f.pool ? 0 : -1;
}

static int group_teardown(void **state) {
    tls_credential_unref(f.credential);
    buf_pool_free(f.pool);
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    return 0;
}

static int peer_receive(WOLFSSL *ssl, char *to, int n, void *peer) {
    size_t n_read = bufq_read(&((struct peer *)peer)->in, to, (size_t)n);
    return n_read ? (int)n_read : WOLFSSL_CBIO_ERR_WANT_READ;
}
static int peer_send(WOLFSSL *ssl, char *bytes, int n, void *peer) {
    assert_int_equal(bufq_append(&((struct peer *)peer)->out, bytes, (size_t)n), 0);
    return n;
}
static int peer_secret(WOLFSSL *ssl, int id, const unsigned char *secret, int n, void *peer) {
    struct peer *p = peer;
    p->secret_n = (size_t)n;
    memcpy(p->secrets[id], secret, p->secret_n);
    return 0;
}
static int peer_believes(int opinion, WOLFSSL_X509_STORE_CTX *store) { return 1; }

static void peer_init(struct peer *p, bool is_client, const char *suite) {
    static char alpn[] = "h2";
    struct tls_key *key = NULL;
    struct tls_der_list chain;
    *p = (struct peer){.ctx = wolfSSL_CTX_new(is_client ? wolfTLSv1_3_client_method() : wolfTLSv1_3_server_method())};
    bufq_init(&p->in, f.pool);
    bufq_init(&p->out, f.pool);
    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &key, &chain);
    assert_int_equal(context_load(p->ctx, &chain, key), 0);
    tls_der_list_deinit(&chain);
    tls_key_free(key);
    assert_int_equal(wolfSSL_CTX_set_cipher_list(p->ctx, suite), WOLFSSL_SUCCESS);
    wolfSSL_CTX_set_verify(p->ctx, WOLFSSL_VERIFY_PEER, peer_believes);
    wolfSSL_CTX_SetIORecv(p->ctx, peer_receive);
    wolfSSL_CTX_SetIOSend(p->ctx, peer_send);
    p->ssl = wolfSSL_new(p->ctx);
    assert_non_null(p->ssl);
    assert_int_equal(wolfSSL_UseALPN(p->ssl, alpn, 2, WOLFSSL_ALPN_FAILED_ON_MISMATCH), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_set_tls13_secret_cb(p->ssl, peer_secret, p), WOLFSSL_SUCCESS);
    wolfSSL_SetIOReadCtx(p->ssl, p);
    wolfSSL_SetIOWriteCtx(p->ssl, p);
}

static void lab_init(struct lab *l, enum tls_role role, bool aes_128, int path) {
    bufq_init(&l->in, f.pool);
    bufq_init(&l->out, f.pool);
    assert_int_equal(tls_context_new(f.credential, role, &l->context), 0);
    struct tls_session_options o = {.context = l->context, .trust = f.pki.trust, .in = &l->in, .out = &l->out};
    gcm_path_force((enum gcm_path)path);
    assert_int_equal(tls_session_new(&o, &l->session), 0);
    peer_init(&l->peer, role == TLS_ROLE_SERVER, aes_128 ? "TLS13-AES128-GCM-SHA256" : "TLS13-AES256-GCM-SHA384");
}

static void lab_deinit(struct lab *l) {
    l->session = tls_session_free(l->session);
    tls_context_unref(l->context);
    wolfSSL_free(l->peer.ssl);
    wolfSSL_CTX_free(l->peer.ctx);
    bufq_deinit(&l->in);
    bufq_deinit(&l->out);
    bufq_deinit(&l->peer.in);
    bufq_deinit(&l->peer.out);
    gcm_path_force(gcm_path_best());
    assert_int_equal(buf_pool_used(f.pool), 0);
}

static bool has(int path) { return gcm_path_usable((enum gcm_path)path); }

static int peer_shake(struct lab *l) {
    bufq_move(&l->peer.in, &l->out);
    int r = wolfSSL_negotiate(l->peer.ssl);
    return r == WOLFSSL_SUCCESS ? 0 : wolfSSL_get_error(l->peer.ssl, r);
}

/* Until both are done. The peer's last flight stays in its queue when it is the client. */
static void lab_shake(struct lab *l) {
    int ours = TLS_WANT_INPUT, theirs = WOLFSSL_ERROR_WANT_READ;
    for (int i = 0; i < 6 && (ours || theirs); i++) {
        if (ours)
            ours = tls_session_handshake(l->session, PKI_NOW);
        if (theirs)
            theirs = peer_shake(l);
        if (ours)
            bufq_move(&l->in, &l->peer.out);
    }
    if (ours || theirs)
        fail_msg("ours: %d, %s; the library's: %d", ours, tls_session_error(l->session), theirs);
    bufq_move(&l->peer.in, &l->out);
}

static void peer_write(struct lab *l, size_t from, size_t n) {
    assert_int_equal(wolfSSL_write(l->peer.ssl, f.text + from, (int)n), n);
    bufq_move(&l->in, &l->peer.out);
}

static void peer_expect(struct lab *l, size_t from, size_t n) {
    size_t n_got = 0;
    bufq_move(&l->peer.in, &l->out);
    while (n_got < n) {
        int r = wolfSSL_read(l->peer.ssl, f.got + n_got, (int)(TEXT_MAX - n_got));
        if (r <= 0)
            fail_msg("after %zu of %zu the library reads %d", n_got, n, wolfSSL_get_error(l->peer.ssl, r));
        n_got += (size_t)r;
    }
    assert_int_equal(n_got, n);
    assert_memory_equal(f.got, f.text + from, n);
    bufq_move(&l->in, &l->peer.out); /* answers */
}

static void we_expect(struct lab *l, size_t from, size_t n) {
    size_t n_got = 0, n_now = 0;
    while (n_got < n) {
        struct buf_chunk *chunk;
        const uint8_t *at = f.got + n_got;
        int r = n % 2 ? tls_session_open(l->session, f.got + n_got, TEXT_MAX - n_got, &n_now)
                      : tls_session_open_record(l->session, &chunk, &at, &n_now);
        if (!r && n % 2 == 0)
            memcpy(f.got + n_got, at, n_now);
        if (r)
            fail_msg("after %zu of %zu: %d, %s", n_got, n, r, tls_session_error(l->session));
        n_got += n_now;
    }
    assert_memory_equal(f.got, f.text + from, n);
    assert_int_equal(tls_session_open(l->session, f.got, TEXT_MAX, &n_now), TLS_WANT_INPUT);
}

static void we_write(struct lab *l, size_t from, size_t n, bool by_queue) {
    size_t n_taken;
    if (!by_queue) {
        assert_int_equal(tls_session_seal(l->session, f.text + from, n, &n_taken), TLS_DONE);
        return;
    }
    struct bufq plain;
    bufq_init(&plain, f.pool);
    assert_int_equal(bufq_append(&plain, f.text + from, n), 0);
    assert_int_equal(tls_session_seal_queue(l->session, &plain, SIZE_MAX), TLS_DONE);
    assert_int_equal(plain.n_bytes, 0);
}

static void for_all(void (*each)(struct lab *l, struct rng *rng)) {
    struct rng rng;
    uint64_t seed;
    rng_secret(&seed, sizeof(seed));
    print_message("seed %#llx\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int variant = 0; variant < 8; variant++)
        if (has(variant & 1)) {
            struct lab l;
            lab_init(&l, variant & 2 ? TLS_ROLE_CLIENT : TLS_ROLE_SERVER, variant & 4, variant & 1);
            lab_shake(&l);
            assert_string_equal(tls_session_suite(l.session), variant & 4 ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384");
            assert_int_equal(l.out.n_bytes, 0); /* no ticket */
            each(&l, &rng);
            lab_deinit(&l);
        }
}

static void carry(struct lab *l, struct rng *rng) {
    for (int i = 0; i < 200; i++) {
        size_t n = 1 + rng_below(rng, i % 10 ? 3000 : 60000), from = rng_below(rng, TEXT_MAX - n);
        if (rng_below(rng, 2)) {
            we_write(l, from, n, rng_below(rng, 2));
            peer_expect(l, from, n);
        } else {
            peer_write(l, from, n);
            we_expect(l, from, n);
        }
    }
}
static void test_carry(void **state) { for_all(carry); }

/* Keys change on both sides, asked for and not, while both talk. */
static void update_keys(struct lab *l, struct rng *rng) {
    session_limit(l->session, 1 + rng_below(rng, 4));
    for (int i = 0; i < 100; i++) {
        if (rng_below(rng, 3) == 0) {
            assert_int_equal(wolfSSL_update_keys(l->peer.ssl), WOLFSSL_SUCCESS);
            if (rng_below(rng, 2)) /* again before we answered: then it does not ask */
                assert_int_equal(wolfSSL_update_keys(l->peer.ssl), WOLFSSL_SUCCESS);
        }
        size_t n = 1 + rng_below(rng, 20000), from = rng_below(rng, TEXT_MAX - n);
        peer_write(l, from, n);
        we_expect(l, from, n);
        we_write(l, from, n, rng_below(rng, 2));
        peer_expect(l, from, n);
    }
}
static void test_update_keys(void **state) { for_all(update_keys); }

static void close_both(struct lab *l, struct rng *rng) {
    size_t n;
    we_write(l, 0, 10, false);
    assert_int_equal(tls_session_close(l->session), TLS_DONE);
    peer_expect(l, 0, 10);
    int r = wolfSSL_read(l->peer.ssl, f.got, 10);
    assert_int_equal(wolfSSL_get_error(l->peer.ssl, r), WOLFSSL_ERROR_ZERO_RETURN);
    assert_true(wolfSSL_shutdown(l->peer.ssl) >= 0);
    bufq_move(&l->in, &l->peer.out);
    assert_int_equal(tls_session_open(l->session, f.got, 10, &n), TLS_CLOSED);
}
static void test_close(void **state) { for_all(close_both); }

static void alerts(struct lab *l, struct rng *rng) {
    static const struct {
        int code;
        const char *text;
    } rows[] = {{10, "peer's alert: unexpected message"}, {20, "peer's alert: bad record"}, {49, "peer's alert: access denied"}};
    size_t n, i = rng_below(rng, array_size(rows));
    ignore_result(SendAlert(l->peer.ssl, 2, rows[i].code)); /* what it sent is looked at */
    bufq_move(&l->in, &l->peer.out);
    assert_int_equal(tls_session_open(l->session, f.got, 10, &n), TLS_BROKEN);
    assert_string_equal(tls_session_error(l->session), rows[i].text);
    assert_int_equal(tls_session_handshake(l->session, PKI_NOW), TLS_BROKEN);
    assert_int_equal(l->out.n_bytes, 0);
}
static void test_alerts(void **state) { for_all(alerts); }

/* The library understands why we broke it off. */
static void break_off(struct lab *l, struct rng *rng) {
    WOLFSSL_ALERT_HISTORY history;
    uint8_t record[100];
    size_t n;
    assert_int_equal(wolfSSL_write(l->peer.ssl, f.text, 10), 10);
    size_t n_record = bufq_read(&l->peer.out, record, sizeof(record));
    record[5 + rng_below(rng, n_record - 5)] ^= 1;
    assert_int_equal(bufq_append(&l->in, record, n_record), 0);
    assert_int_equal(tls_session_open(l->session, f.got, 10, &n), TLS_BROKEN);
    assert_string_equal(tls_session_error(l->session), "record does not decrypt");
    bufq_move(&l->peer.in, &l->out);
    assert_true(wolfSSL_read(l->peer.ssl, f.got, 10) < 0);
    assert_int_equal(wolfSSL_get_alert_history(l->peer.ssl, &history), WOLFSSL_SUCCESS);
    assert_int_equal(history.last_rx.code, 20);
}
static void test_break_off(void **state) { for_all(break_off); }

/* ---- the moment of the handover ---- */

/* A client's first data, and a KeyUpdate after it, in the same bytes as its Finished. */
static void test_data_behind_finished_of_client(void **state) {
    struct lab l;
    lab_init(&l, TLS_ROLE_SERVER, false, (int)gcm_path_best());
    assert_int_equal(peer_shake(&l), WOLFSSL_ERROR_WANT_READ);
    bufq_move(&l.in, &l.peer.out);
    assert_int_equal(tls_session_handshake(l.session, PKI_NOW), TLS_WANT_INPUT);
    assert_int_equal(peer_shake(&l), 0);
    assert_int_equal(wolfSSL_write(l.peer.ssl, f.text, 40000), 40000);
    assert_int_equal(wolfSSL_update_keys(l.peer.ssl), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_write(l.peer.ssl, f.text + 40000, 5), 5);
    bufq_move(&l.in, &l.peer.out);
    assert_int_equal(tls_session_handshake(l.session, PKI_NOW), TLS_DONE);
    assert_int_equal(l.out.n_bytes, 0);
    we_expect(&l, 0, 40005);
    we_write(&l, 7, 100, true);
    peer_expect(&l, 7, 100);
    lab_deinit(&l);
}

/* A server may talk before it has seen our Finished: made by hand with its secret. */
static void test_data_behind_finished_of_server(void **state) {
    struct lab l;
    struct record_way way;
    uint8_t record[100 + RECORD_OVERHEAD];
    lab_init(&l, TLS_ROLE_CLIENT, false, (int)gcm_path_best());
    assert_int_equal(tls_session_handshake(l.session, PKI_NOW), TLS_WANT_INPUT);
    assert_int_equal(peer_shake(&l), WOLFSSL_ERROR_WANT_READ);
    assert_int_equal(record_way_begin(&way, GCM_WOLFCRYPT, l.peer.secrets[SERVER_TRAFFIC_SECRET], l.peer.secret_n), 0);
    for (int i = 0; i < 3; i++) {
        struct iovec pieces[2] = {{.iov_base = f.text + 100 * i, .iov_len = 100}};
        record_seal(&way, RECORD_DATA, pieces, 1, 100, record);
        assert_int_equal(bufq_append(&l.peer.out, record, sizeof(record)), 0);
    }
    record_way_end(&way);
    bufq_move(&l.in, &l.peer.out);
    assert_int_equal(tls_session_handshake(l.session, PKI_NOW), TLS_DONE);
    we_expect(&l, 0, 300);
    assert_int_equal(peer_shake(&l), 0);
    we_write(&l, 50, 100, false);
    peer_expect(&l, 50, 100);
    lab_deinit(&l);
}

/* The last record of what waits in q, decrypted with the secret of the handshake, with a message added, and sealed again under the
 * same number. n_before: encrypted records before it. */
static void add_message(struct bufq *q, const struct peer *p, int secret, const uint8_t *message, size_t n_message) {
    static uint8_t bytes[64 * 1024], inner[RECORD_BODY_MAX];
    size_t n = bufq_read(q, bytes, sizeof(bytes)), at = 0, n_body = 0, n_text = 0;
    uint64_t n_before = 0;
    uint8_t type;
    struct record_way way;
    for (;; at += 5 + n_body) {
        n_body = (size_t)bytes[at + 3] << 8 | bytes[at + 4];
        if (at + 5 + n_body == n)
            break;
        n_before += bytes[at] == RECORD_DATA;
    }
    assert_int_equal(record_way_begin(&way, GCM_WOLFCRYPT, p->secrets[secret], p->secret_n), 0);
    way.n_records = n_before;
    struct iovec pieces[3] = {{.iov_base = bytes + at + 5, .iov_len = n_body - GCM_TAG_BYTES}};
    assert_true(record_open(&way, bytes + at, pieces, 1, bytes + at + 5 + n_body - GCM_TAG_BYTES, inner, &type, &n_text));
    assert_int_equal(type, RECORD_HANDSHAKE);
    way.n_records = n_before;
    pieces[0] = (struct iovec){.iov_base = inner, .iov_len = n_text};
    pieces[1] = (struct iovec){.iov_base = (void *)(uintptr_t)message, .iov_len = n_message};
    record_seal(&way, RECORD_HANDSHAKE, pieces, 2, n_text + n_message, bytes + at);
    record_way_end(&way);
    assert_int_equal(bufq_append(q, bytes, at + n_text + n_message + RECORD_OVERHEAD), 0);
}

/* A KeyUpdate in the record of the Finished: were the library to answer it, two records would be sealed under one number. */
static void test_update_behind_finished(void **state) {
    for (int variant = 0; variant < 4; variant++) {
        bool as_server = variant & 1, requested = variant & 2;
        uint8_t update[] = {24, 0, 0, 1, requested};
        struct lab l;
        lab_init(&l, as_server ? TLS_ROLE_SERVER : TLS_ROLE_CLIENT, false, (int)gcm_path_best());
        if (as_server) {
            assert_int_equal(peer_shake(&l), WOLFSSL_ERROR_WANT_READ);
            bufq_move(&l.in, &l.peer.out);
            assert_int_equal(tls_session_handshake(l.session, PKI_NOW), TLS_WANT_INPUT);
            assert_int_equal(peer_shake(&l), 0);
        } else {
            assert_int_equal(tls_session_handshake(l.session, PKI_NOW), TLS_WANT_INPUT);
            assert_int_equal(peer_shake(&l), WOLFSSL_ERROR_WANT_READ);
        }
        int secret = as_server ? CLIENT_HANDSHAKE_TRAFFIC_SECRET : SERVER_HANDSHAKE_TRAFFIC_SECRET;
        add_message(&l.peer.out, &l.peer, secret, update, sizeof(update));
        bufq_move(&l.in, &l.peer.out);
        assert_int_equal(tls_session_handshake(l.session, PKI_NOW), TLS_BROKEN);
        assert_string_equal(tls_session_error(l.session), "handshake message out of order");
        lab_deinit(&l);
    }
}

/* ---- what an open session costs ---- */

static void test_size(void **state) {
    enum { SESSIONS = 50 };
    static struct lab labs[SESSIONS];
    for (int path = 0; path < GCM_PATHS; path++) {
        if (!has(path))
            continue;
        for (int i = 0; i < SESSIONS; i++) {
            lab_init(&labs[i], i % 2 ? TLS_ROLE_CLIENT : TLS_ROLE_SERVER, false, path);
            lab_shake(&labs[i]);
        }
        size_t library = tls_memory_used(), heap = mallinfo2().uordblks;
        for (int i = 0; i < SESSIONS; i++) /* the context is the worker's */
            labs[i].session = tls_session_free(labs[i].session);
        library -= tls_memory_used();
        heap -= mallinfo2().uordblks;
        print_message("an open session, %s: %zu bytes counted as the library's, %zu of malloc in all\n",
                      gcm_path_text((enum gcm_path)path), library / SESSIONS, heap / SESSIONS);
        if (path != GCM_WOLFCRYPT)
            assert_true(library / SESSIONS < 1600);
        for (int i = 0; i < SESSIONS; i++)
            lab_deinit(&labs[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_carry),
        cmocka_unit_test(test_update_keys),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_break_off),
        cmocka_unit_test(test_data_behind_finished_of_client),
        cmocka_unit_test(test_data_behind_finished_of_server),
        cmocka_unit_test(test_update_behind_finished),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
