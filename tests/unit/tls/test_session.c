/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a session is open only when both sides trust each other, and then it carries bytes, ends and closes truthfully.
 * Method: a client and a server in memory, their queues crossed by hand, with every flaw of the pki on either side. */
#include <ringwall/base/check.h>
#include <ringwall/tls/session.h>

#include "pki.h"
#include "unit.h"

enum { POOL_CHUNKS = 64 };

struct end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
};
struct pair {
    struct buf_pool *pool;
    struct end client, server;
};

static void end_init(struct end *e, struct buf_pool *pool, struct tls_credential *c, struct tls_trust *trust, enum tls_role role,
                     tls_node_covers_fn covers) {
    bufq_init(&e->in, pool);
    bufq_init(&e->out, pool);
    if (tls_context_new(c, role, &e->context) != 0)
        return;
    struct tls_session_options o = {.context = e->context, .trust = trust, .in = &e->in, .out = &e->out, .covers = covers};
    assert_int_equal(tls_session_new(&o, &e->session), 0);
}

static void end_deinit(struct end *e) {
    e->session = tls_session_free(e->session);
    e->context = tls_context_unref(e->context);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
}

struct fixture {
    struct pki pki;
    struct pki_node node;
    struct identity a, b;
};
static struct fixture f;

/* Takes the references of both credentials; trust: whom the side believes, NULL: the pki's root. */
static void pair_init_between(struct pair *p, struct tls_credential *client, struct tls_trust *client_trust,
                              struct tls_credential *server, struct tls_trust *server_trust, tls_node_covers_fn covers) {
    p->pool = buf_pool_new(POOL_CHUNKS);
    assert_non_null(p->pool);
    end_init(&p->client, p->pool, client, client_trust ? client_trust : f.pki.trust, TLS_ROLE_CLIENT, covers);
    end_init(&p->server, p->pool, server, server_trust ? server_trust : f.pki.trust, TLS_ROLE_SERVER, covers);
    tls_credential_unref(client);
    tls_credential_unref(server);
}

static void pair_init(struct pair *p, struct tls_credential *client, struct tls_credential *server, tls_node_covers_fn covers) {
    pair_init_between(p, client, NULL, server, NULL, covers);
}

static void pair_deinit(struct pair *p) {
    end_deinit(&p->client);
    end_deinit(&p->server);
    buf_pool_free(p->pool);
}

static void cross(struct pair *p) {
    bufq_move(&p->server.in, &p->client.out);
    bufq_move(&p->client.in, &p->server.out);
}

/* Runs until nobody wants to go on. */
static void shake(struct pair *p, int64_t now_s, int *ret_client, int *ret_server) {
    *ret_client = *ret_server = TLS_WANT_INPUT;
    for (int i = 0; i < 10; i++) {
        *ret_client = tls_session_handshake(p->client.session, now_s);
        cross(p);
        *ret_server = tls_session_handshake(p->server.session, now_s);
        cross(p);
    }
}

static int group_setup(void **state) {
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    f.a = pki_identity("cluster.local", "ns", "client");
    f.b = pki_identity("cluster.local", "ns", "server");
    return 0;
}

static int group_teardown(void **state) {
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    return 0;
}

static void pair_flawless(struct pair *p) {
    int client, server;
    pair_init(p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
              pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
    shake(p, PKI_NOW, &client, &server);
    if (client || server)
        print_error("client: %s; server: %s\n", tls_session_error(p->client.session), tls_session_error(p->server.session));
    assert_int_equal(client, TLS_DONE);
    assert_int_equal(server, TLS_DONE);
}

static void test_handshake(void **state) {
    struct pair p;
    pair_flawless(&p);
    const struct tls_peer *of_client = tls_session_peer(p.client.session), *of_server = tls_session_peer(p.server.session);
    assert_true(identity_is(&of_client->identity, &f.b));
    assert_true(identity_is(&of_server->identity, &f.a));
    assert_string_equal(of_server->issuing_node, "node-1");
    assert_int_equal(of_server->chain_not_after, PKI_NOW + PKI_TTL);
    assert_string_equal(tls_session_suite(p.client.session), "TLS_AES_256_GCM_SHA384");
    assert_string_equal(tls_session_suite(p.server.session), "TLS_AES_256_GCM_SHA384");
    assert_int_equal(tls_session_trust(p.server.session), TLS_TRUST_OK);
    pair_deinit(&p);
}

/* The body of an extension of a ClientHello record; NULL: it is not there. */
static const uint8_t *hello_extension(const uint8_t *at, size_t n, unsigned type, size_t *ret_n) {
    size_t i = 5 + 4 + 2 + 32; /* record, message, version, random */
    assert_true(n > i && at[0] == 22 && at[5] == 1);
    i += 1u + at[i];                            /* session id */
    i += 2u + ((size_t)at[i] << 8 | at[i + 1]); /* suites */
    i += 1u + at[i];                            /* compression */
    for (i += 2; i + 4 <= n;) {
        size_t length = (size_t)at[i + 2] << 8 | at[i + 3];
        assert_true(i + 4 + length <= n);
        if (((unsigned)at[i] << 8 | at[i + 1]) == type) {
            *ret_n = length;
            return at + i + 4;
        }
        i += 4 + length;
    }
    return NULL;
}

static void test_hello_names_nobody(void **state) {
    enum { SERVER_NAME = 0, ALPN = 16, VERSIONS = 43 };
    static const uint8_t h2_only[] = {0, 3, 2, 'h', '2'}, tls13_only[] = {2, 3, 4};
    struct pair p;
    uint8_t hello[4096];
    size_t length = 0;
    pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
              pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
    assert_int_equal(tls_session_handshake(p.client.session, PKI_NOW), TLS_WANT_INPUT);
    size_t n = bufq_read(&p.client.out, hello, sizeof(hello));
    assert_null(hello_extension(hello, n, SERVER_NAME, &length));
    const uint8_t *alpn = hello_extension(hello, n, ALPN, &length);
    assert_non_null(alpn);
    assert_int_equal(length, sizeof(h2_only));
    assert_memory_equal(alpn, h2_only, sizeof(h2_only));
    const uint8_t *versions = hello_extension(hello, n, VERSIONS, &length);
    assert_non_null(versions);
    assert_int_equal(length, sizeof(tls13_only));
    assert_memory_equal(versions, tls13_only, sizeof(tls13_only));
    pair_deinit(&p);
}

static bool covers_nobody(void *context, struct str node, const struct identity *identity) { return false; }
static bool covers_node_1(void *context, struct str node, const struct identity *identity) { return str_is(node, STR("node-1")); }

static void expect_refused(struct pair *p, bool by_server, enum tls_trust_verdict verdict, const char *name) {
    int client, server;
    shake(p, PKI_NOW, &client, &server);
    struct tls_session *judge = by_server ? p->server.session : p->client.session;
    struct tls_session *refused = by_server ? p->client.session : p->server.session;
    int of_judge = by_server ? server : client, of_refused = by_server ? client : server;
    enum tls_trust_verdict seen = tls_session_trust(judge);
    /* The library's own parser comes first and may not get as far as we do. */
    if (seen != verdict && seen != TLS_TRUST_UNREADABLE)
        fail_msg("%s: %s, not %s", name, tls_trust_text(seen), tls_trust_text(verdict));
    assert_int_equal(of_judge, TLS_REFUSED);
    assert_string_equal(tls_session_error(judge), tls_trust_text(seen));
    assert_null(tls_session_peer(judge));
    /* A client has finished its side when the server refuses it: the alert meets it at its next read. */
    uint8_t byte;
    size_t n;
    if (of_refused == TLS_DONE)
        of_refused = tls_session_open(refused, &byte, 1, &n);
    assert_int_equal(of_refused, TLS_BROKEN);
    if (strncmp(tls_session_error(refused), "peer's alert: ", 14) != 0)
        fail_msg("%s: the refused side sees '%s'", name, tls_session_error(refused));
    assert_int_equal(tls_session_handshake(judge, PKI_NOW), TLS_REFUSED);
    assert_int_equal(tls_session_open(judge, &byte, 1, &n), TLS_REFUSED);
    assert_int_equal(tls_session_seal(judge, &byte, 1, &n), TLS_REFUSED);
    struct bufq plain;
    struct buf_chunk *chunk;
    const uint8_t *at;
    bufq_init(&plain, p->pool);
    assert_int_equal(tls_session_open_record(judge, &chunk, &at, &n), TLS_REFUSED);
    assert_int_equal(tls_session_seal_queue(judge, &plain, 1), TLS_REFUSED);
    assert_int_equal(tls_session_close(judge), TLS_REFUSED);
}

static void test_flaws(void **state) {
    for (int by_server = 0; by_server < 2; by_server++)
        for (int flaw = PKI_FLAWLESS + 1; flaw < _PKI_FLAW_MAX; flaw++) {
            struct pair p;
            pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, by_server ? flaw : PKI_FLAWLESS, NULL),
                      pki_credential(&f.pki, &f.node, &f.b, by_server ? PKI_FLAWLESS : flaw, NULL), NULL);
            /* Some the library does not load as its own; test_interop shows them with another stack. */
            if (p.client.session && p.server.session)
                expect_refused(&p, by_server, pki_flaw_verdict(flaw), pki_flaw_name(flaw));
            else
                assert_true(flaw == PKI_NUL_IN_URI || flaw == PKI_MAY_SIGN || flaw == PKI_UNKNOWN_CRITICAL);
            pair_deinit(&p);
        }
}

static void test_alerts_say_why(void **state) {
    static const struct {
        enum pki_flaw flaw;
        const char *alert;
    } rows[] = {{PKI_EXPIRED, "peer's alert: certificate expired or not yet valid"},
                {PKI_TWO_URIS, "peer's alert: bad certificate"}};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct pair p;
        int client, server;
        uint8_t byte;
        size_t n;
        pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, rows[i].flaw, NULL),
                  pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
        shake(&p, PKI_NOW, &client, &server);
        assert_int_equal(tls_session_open(p.client.session, &byte, 1, &n), TLS_BROKEN);
        assert_string_equal(tls_session_error(p.client.session), rows[i].alert);
        pair_deinit(&p);
    }
}

static void test_foreign_roots(void **state) {
    struct pki same_name, other;
    pki_init(&same_name, "cluster.local", PKI_NOW);
    pki_init(&other, "other.mesh", PKI_NOW);
    struct identity x = pki_identity("other.mesh", "ns", "client");
    struct tls_trust *both = pki_trust_both(&f.pki, &other);
    struct pair p;

    /* Another root of our trust domain's name: the names fit, so its signature is tried. */
    pair_init(&p, pki_credential(&same_name, NULL, &f.a, PKI_FLAWLESS, f.pki.trust),
              pki_credential(&f.pki, NULL, &f.b, PKI_FLAWLESS, NULL), NULL);
    expect_refused(&p, true, TLS_TRUST_NO_PATH, "foreign root");
    pair_deinit(&p);

    pair_init_between(&p, pki_credential(&other, NULL, &x, PKI_FLAWLESS, both), both,
                      pki_credential(&f.pki, NULL, &f.b, PKI_FLAWLESS, NULL), NULL, NULL);
    expect_refused(&p, true, TLS_TRUST_TRUST_DOMAIN, "unknown trust domain");
    pair_deinit(&p);

    /* A root of one trust domain says nothing about another one, though both are trusted. */
    pair_init_between(&p, pki_credential(&f.pki, NULL, &x, PKI_FLAWLESS, both), both,
                      pki_credential(&f.pki, NULL, &f.b, PKI_FLAWLESS, both), both, NULL);
    expect_refused(&p, true, TLS_TRUST_NO_PATH, "trust domain of another root");
    pair_deinit(&p);

    int client, server;
    pair_init_between(&p, pki_credential(&other, NULL, &x, PKI_FLAWLESS, both), both,
                      pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, both), both, NULL);
    shake(&p, PKI_NOW, &client, &server);
    assert_int_equal(client | server, TLS_DONE);
    assert_string_equal(tls_session_peer(p.server.session)->issuing_node, "");
    pair_deinit(&p);

    tls_trust_unref(both);
    pki_deinit(&other);
    pki_deinit(&same_name);
}

/* The library keeps nothing of a generation of bundles, nor of the chains that peers showed under it. */
static void test_generations_leave_nothing(void **state) {
    struct tls_credential *a = pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
                          *b = pki_credential(&f.pki, NULL, &f.b, PKI_FLAWLESS, NULL);
    size_t settled = 0;
    for (uint64_t generation = 2; generation < 60; generation++) {
        struct tls_trust *trust = tls_trust_new(f.pki.trust->bundles, 1, generation);
        struct pair p;
        int client, server;
        assert_non_null(trust);
        pair_init_between(&p, tls_credential_ref(a), trust, tls_credential_ref(b), trust, NULL);
        shake(&p, PKI_NOW, &client, &server);
        assert_int_equal(client | server, TLS_DONE);
        assert_int_equal(tls_session_peer(p.server.session)->trust_generation, generation);
        pair_deinit(&p);
        tls_trust_unref(trust);
        if (generation == 10)
            settled = tls_memory_used();
    }
    assert_true(tls_memory_used() <= settled);
    tls_credential_unref(a);
    tls_credential_unref(b);
}

static void test_node_must_cover(void **state) {
    struct pair p;
    int client, server;
    pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL), pki_credential(&f.pki, NULL, &f.b, PKI_FLAWLESS, NULL),
              covers_nobody);
    expect_refused(&p, true, TLS_TRUST_NODE_ISSUER, "node does not cover");
    pair_deinit(&p);
    pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL), pki_credential(&f.pki, NULL, &f.b, PKI_FLAWLESS, NULL),
              covers_node_1);
    shake(&p, PKI_NOW, &client, &server);
    assert_int_equal(client | server, TLS_DONE);
    pair_deinit(&p);
}

/* The handshake's time is the caller's, not the machine's. */
static void test_time_is_given(void **state) {
    struct pair p;
    int client, server;
    pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
              pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
    shake(&p, PKI_NOW + PKI_TTL + 1, &client, &server);
    assert_int_equal(client, TLS_REFUSED);
    assert_int_equal(tls_session_trust(p.client.session), TLS_TRUST_EXPIRED);
    pair_deinit(&p);
}

/* One byte at a time, in both directions: nothing depends on where the network cuts. */
static void test_one_byte_at_a_time(void **state) {
    struct pair p;
    int client = TLS_WANT_INPUT, server = TLS_WANT_INPUT;
    pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
              pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
    for (int i = 0; i < 20000 && (client || server); i++) {
        uint8_t byte;
        if (client == TLS_WANT_INPUT)
            client = tls_session_handshake(p.client.session, PKI_NOW);
        if (server == TLS_WANT_INPUT)
            server = tls_session_handshake(p.server.session, PKI_NOW);
        if (bufq_read(&p.client.out, &byte, 1))
            assert_int_equal(bufq_append(&p.server.in, &byte, 1), 0);
        if (bufq_read(&p.server.out, &byte, 1))
            assert_int_equal(bufq_append(&p.client.in, &byte, 1), 0);
    }
    assert_int_equal(client, TLS_DONE);
    assert_int_equal(server, TLS_DONE);
    pair_deinit(&p);
}

static uint8_t pattern(size_t at) { return (uint8_t)(at * 131 + at / 251); }

/* n bytes from one end to the other, in pieces of at most `piece`. */
static void carry(struct pair *p, struct end *from, struct end *to, size_t n, size_t piece) {
    static uint8_t bytes[70000];
    size_t n_sent = 0, n_got = 0;
    while (n_got < n) {
        size_t n_now = min_of(min_of(piece, sizeof(bytes)), n - n_sent), n_taken = 0;
        for (size_t i = 0; i < n_now; i++)
            bytes[i] = pattern(n_sent + i);
        if (n_now) {
            int r = tls_session_seal(from->session, bytes, n_now, &n_taken);
            assert_true(r == TLS_DONE || r == TLS_WANT_OUTPUT);
            assert_true((r == TLS_DONE) == (n_taken == n_now));
        }
        n_sent += n_taken;
        bufq_move(&to->in, &from->out);
        for (;;) {
            size_t n_opened = 0;
            int r = tls_session_open(to->session, bytes, sizeof(bytes), &n_opened);
            if (r == TLS_WANT_INPUT)
                break;
            assert_int_equal(r, TLS_DONE);
            for (size_t i = 0; i < n_opened; i++)
                if (bytes[i] != pattern(n_got + i))
                    fail_msg("byte %zu is wrong", n_got + i);
            n_got += n_opened;
        }
    }
    assert_int_equal(n_got, n);
}

static void test_bytes(void **state) {
    static const size_t sizes[] = {1, 2, 16383, 16384, 16385, 1 << 20};
    static const size_t pieces[] = {1, 100, 16384, 16385, 65536};
    struct pair p;
    pair_flawless(&p);
    for (size_t i = 0; i < array_size(sizes); i++)
        for (size_t k = 0; k < array_size(pieces); k++) {
            if (sizes[i] / pieces[k] > 20000)
                continue;
            carry(&p, &p.client, &p.server, sizes[i], pieces[k]);
            carry(&p, &p.server, &p.client, sizes[i], pieces[k]);
        }
    assert_int_equal(buf_pool_used(p.pool), 0);
    pair_deinit(&p);
}

/* When the pool is empty nothing is taken, and nothing is lost once there is room again. */
static void test_no_room(void **state) {
    struct pair p;
    struct bufq hog;
    static uint8_t bytes[BUF_CHUNK_BYTES];
    size_t n = 99;
    pair_flawless(&p);
    bufq_init(&hog, p.pool);
    while (bufq_append(&hog, bytes, sizeof(bytes)) == 0)
        ;
    assert_int_equal(tls_session_seal(p.client.session, bytes, 5, &n), TLS_WANT_OUTPUT);
    assert_int_equal(n, 0);
    assert_int_equal(tls_session_close(p.client.session), TLS_WANT_OUTPUT);
    assert_int_equal(tls_session_open(p.client.session, bytes, sizeof(bytes), &n), TLS_WANT_INPUT); /* needs none */
    bufq_consume(&hog, 2 * BUF_CHUNK_BYTES);
    assert_int_equal(tls_session_seal(p.client.session, bytes, sizeof(bytes), &n), TLS_DONE);
    assert_int_equal(n, sizeof(bytes));
    bufq_deinit(&hog);
    bufq_deinit(&p.client.out);
    pair_deinit(&p);
}

/* The handshake's flight stays in the library until there is room. */
static void test_no_room_in_handshake(void **state) {
    struct pair p;
    struct bufq hog;
    static uint8_t bytes[BUF_CHUNK_BYTES];
    int client = TLS_WANT_INPUT, server = TLS_WANT_INPUT;
    struct buf_pool *tiny = buf_pool_new(1);
    pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
              pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
    bufq_init(&p.client.out, tiny);
    bufq_init(&p.server.out, tiny);
    bufq_init(&hog, tiny);
    for (int i = 0; i < 10; i++) {
        struct end *end = i % 2 ? &p.server : &p.client, *other = i % 2 ? &p.client : &p.server;
        int *verdict = i % 2 ? &server : &client;
        assert_int_equal(bufq_append(&hog, bytes, 1), 0);
        *verdict = tls_session_handshake(end->session, PKI_NOW);
        if (i < 3)
            assert_int_equal(*verdict, TLS_WANT_OUTPUT);
        if (i == 0)
            assert_int_equal(tls_session_handshake(end->session, PKI_NOW), TLS_WANT_OUTPUT);
        bufq_deinit(&hog);
        *verdict = tls_session_handshake(end->session, PKI_NOW);
        size_t n = bufq_read(&end->out, bytes, sizeof(bytes));
        assert_int_equal(bufq_append(&other->in, bytes, n), 0);
    }
    assert_int_equal(client, TLS_DONE);
    assert_int_equal(server, TLS_DONE);
    pair_deinit(&p);
    buf_pool_free(tiny);
}

static void test_close(void **state) {
    struct pair p;
    uint8_t bytes[64];
    size_t n;
    pair_flawless(&p);
    assert_int_equal(tls_session_seal(p.client.session, (const uint8_t *)"last", 4, &n), TLS_DONE);
    assert_int_equal(tls_session_close(p.client.session), TLS_DONE);
    assert_int_equal(tls_session_close(p.client.session), TLS_DONE);
    assert_int_equal(tls_session_seal(p.client.session, (const uint8_t *)"more", 4, &n), TLS_BROKEN);
    cross(&p);
    assert_int_equal(tls_session_open(p.server.session, bytes, sizeof(bytes), &n), TLS_DONE);
    assert_int_equal(n, 4);
    assert_int_equal(tls_session_open(p.server.session, bytes, sizeof(bytes), &n), TLS_CLOSED);
    assert_int_equal(tls_session_open(p.server.session, bytes, sizeof(bytes), &n), TLS_CLOSED);
    /* The other direction goes on until it is closed too. */
    assert_int_equal(tls_session_seal(p.server.session, (const uint8_t *)"answer", 6, &n), TLS_DONE);
    assert_int_equal(tls_session_close(p.server.session), TLS_DONE);
    cross(&p);
    assert_int_equal(tls_session_open(p.client.session, bytes, sizeof(bytes), &n), TLS_DONE);
    assert_memory_equal(bytes, "answer", 6);
    assert_int_equal(tls_session_open(p.client.session, bytes, sizeof(bytes), &n), TLS_CLOSED);
    pair_deinit(&p);
}

/* A stream that is cut is no end of the stream, wherever it is cut. */
static void test_cut(void **state) {
    struct pair p;
    uint8_t bytes[256], record[256];
    size_t n;
    pair_flawless(&p);
    assert_int_equal(tls_session_seal(p.client.session, (const uint8_t *)"half a record", 13, &n), TLS_DONE);
    size_t n_record = bufq_read(&p.client.out, record, sizeof(record));
    for (size_t i = 0; i < n_record - 1; i++) {
        assert_int_equal(bufq_append(&p.server.in, record + i, 1), 0);
        assert_int_equal(tls_session_open(p.server.session, bytes, sizeof(bytes), &n), TLS_WANT_INPUT);
    }
    pair_deinit(&p);
}

static void test_changed_bytes(void **state) {
    for (size_t at = 0; at < 30; at++) {
        struct pair p;
        uint8_t bytes[256], record[256];
        size_t n;
        pair_flawless(&p);
        assert_int_equal(tls_session_seal(p.client.session, (const uint8_t *)"a record", 8, &n), TLS_DONE);
        size_t n_record = bufq_read(&p.client.out, record, sizeof(record));
        assert_true(n_record == 30);
        record[at] ^= 0x10;
        assert_int_equal(bufq_append(&p.server.in, record, n_record), 0);
        int r = tls_session_open(p.server.session, bytes, sizeof(bytes), &n);
        /* A changed length may make it wait for more. */
        assert_true(r == TLS_BROKEN || (r == TLS_WANT_INPUT && (at == 3 || at == 4)));
        assert_int_not_equal(tls_session_error(p.server.session)[0] == '\0', r == TLS_BROKEN);
        pair_deinit(&p);
    }
}

static void test_no_tls(void **state) {
    static const char *const texts[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                                        "\x16\x03\x01\xff\xff", "\x80\x2e\x01\x00\x02", "\x15\x03\x03\x00\x02\x02\x28"};
    for (size_t i = 0; i < array_size(texts); i++) {
        struct pair p;
        uint8_t zeros[64] = {0};
        pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
                  pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
        assert_int_equal(bufq_append(&p.server.in, texts[i], strlen(texts[i])), 0);
        assert_int_equal(bufq_append(&p.server.in, zeros, sizeof(zeros)), 0);
        int r = tls_session_handshake(p.server.session, PKI_NOW);
        if (r != TLS_BROKEN)
            fail_msg("text %zu: %d", i, r);
        assert_string_not_equal(tls_session_error(p.server.session), "");
        pair_deinit(&p);
    }
}

static void test_before_handshake(void **state) {
    struct pair p;
    uint8_t byte = 0;
    size_t n;
    pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
              pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
    assert_int_equal(tls_session_open(p.client.session, &byte, 1, &n), TLS_WANT_INPUT);
    assert_int_equal(tls_session_seal(p.client.session, &byte, 1, &n), TLS_BROKEN);
    assert_int_equal(tls_session_close(p.client.session), TLS_BROKEN);
    struct bufq plain;
    struct buf_chunk *chunk;
    const uint8_t *at;
    bufq_init(&plain, p.pool);
    assert_int_equal(tls_session_open_record(p.client.session, &chunk, &at, &n), TLS_WANT_INPUT);
    assert_int_equal(tls_session_seal_queue(p.client.session, &plain, 1), TLS_BROKEN);
    assert_null(tls_session_peer(p.client.session));
    assert_int_equal(bufq_append(&p.client.out, &byte, 1), 0);
    pair_deinit(&p);
}

static void test_memory(void **state) {
    struct pair p;
    size_t before = tls_memory_used();
    for (int i = 0; i < 20; i++) {
        pair_flawless(&p);
        pair_deinit(&p);
    }
    assert_in_range(tls_memory_used(), 0, before + 64);

    struct tls_session *s = NULL;
    pair_flawless(&p);
    struct tls_session_options o = {.context = p.client.context, .trust = f.pki.trust, .in = &p.client.in, .out = &p.client.out};
    tls_memory_limit(tls_memory_used());
    assert_int_equal(tls_session_new(&o, &s), 1);
    assert_null(s);
    carry(&p, &p.client, &p.server, 10000, 100); /* what is open goes on, within an eighth more */
    tls_memory_limit(SIZE_MAX);
    assert_int_equal(tls_session_new(&o, &s), 0);
    tls_session_free(s);
    pair_deinit(&p);
}

/* A handshake that runs out of memory at any point is refused, never half open. */
static void test_memory_runs_out(void **state) {
    bool done = false;
    for (size_t room = 0; !done && room < (1 << 20); room += 3000) {
        struct pair p;
        int client, server;
        pair_init(&p, pki_credential(&f.pki, &f.node, &f.a, PKI_FLAWLESS, NULL),
                  pki_credential(&f.pki, &f.node, &f.b, PKI_FLAWLESS, NULL), NULL);
        tls_memory_limit((tls_memory_used() + room) / 9 * 8);
        shake(&p, PKI_NOW, &client, &server);
        tls_memory_limit(SIZE_MAX);
        done = client == TLS_DONE && server == TLS_DONE;
        if (client == TLS_DONE)
            assert_non_null(tls_session_peer(p.client.session));
        if (server == TLS_DONE)
            assert_non_null(tls_session_peer(p.server.session));
        pair_deinit(&p);
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_hello_names_nobody),
        cmocka_unit_test(test_flaws),
        cmocka_unit_test(test_alerts_say_why),
        cmocka_unit_test(test_foreign_roots),
        cmocka_unit_test(test_generations_leave_nothing),
        cmocka_unit_test(test_node_must_cover),
        cmocka_unit_test(test_time_is_given),
        cmocka_unit_test(test_one_byte_at_a_time),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_room_in_handshake),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_changed_bytes),
        cmocka_unit_test(test_no_tls),
        cmocka_unit_test(test_before_handshake),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
