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

static void end_init(struct end *e, struct buf_pool *pool, struct tls_credential *c, enum tls_role role,
                     tls_node_covers_fn covers) {
    bufq_init(&e->in, pool);
    bufq_init(&e->out, pool);
    assert_int_equal(tls_context_new(c, role, &e->context), 0);
    struct tls_session_options o = {.context = e->context, .in = &e->in, .out = &e->out, .covers = covers};
    assert_int_equal(tls_session_new(&o, &e->session), 0);
}

static void end_deinit(struct end *e) {
    e->session = tls_session_free(e->session);
    e->context = tls_context_unref(e->context);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
}

/* Takes the references of both credentials. */
static void pair_init(struct pair *p, struct tls_credential *client, struct tls_credential *server, tls_node_covers_fn covers) {
    p->pool = buf_pool_new(POOL_CHUNKS);
    assert_non_null(p->pool);
    end_init(&p->client, p->pool, client, TLS_ROLE_CLIENT, covers);
    end_init(&p->server, p->pool, server, TLS_ROLE_SERVER, covers);
    tls_credential_unref(client);
    tls_credential_unref(server);
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

struct fixture {
    struct pki pki;
    struct pki_node node;
    struct identity a, b;
};
static struct fixture f;

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_handshake)};
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
