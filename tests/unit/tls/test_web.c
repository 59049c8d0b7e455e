/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a client talks only to the server that it meant, and a server knows which clients showed a good certificate.
 * Method: a table of names in certificates against hosts; pairs of sessions in memory, with every flaw of the pki as the client's.
 * (The end-to-end test `outside` has OpenSSL's and gRPC's own TLS as the other side.) */
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/web.h>

#include "cert_view.h"
#include "key_private.h"
#include "pki.h"
#include "unit.h"

static struct {
    struct pki pki;
    struct pki_node node;
    struct tls_key *key;
    struct tls_bundle *roots;
    struct buf_pool *pool;
} f;

static int group_setup(void **state) {
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    assert_int_equal(tls_key_generate(&f.key), 0);
    struct tls_der_list roots = {.items = &f.pki.root, .n = 1};
    assert_int_equal(tls_bundle_new(STR("roots"), &roots, NULL, &f.roots), 0);
    f.pool = buf_pool_new(64);
    return 0;
}

static int group_teardown(void **state) {
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    tls_key_free(f.key);
    tls_bundle_unref(f.roots);
    buf_pool_free(f.pool);
    return 0;
}

/* ------------------------------------------------ certificates of servers, good and bad */

struct server_cert {
    struct str dns, ip, uri; /* names, each at most once */
    const char *cn;
    bool is_ca, client_only, both_usages, no_eku, unknown_critical, no_san;
    unsigned key_usage; /* 0: none written */
    int64_t from, to;   /* 0: about now */
};

static void put_extension(struct der_out *o, uint8_t id, size_t mark) {
    uint8_t oid[] = {0x55, 0x1d, id};
    der_wrap(o, DER_OCTET_STRING, mark);
    der_put_bool(o, true);
    der_put_tagged(o, DER_OID, oid, sizeof(oid));
    der_wrap(o, DER_SEQUENCE, mark);
}

static void put_extensions(struct der_out *o, const struct server_cert *c) {
    static const uint8_t server[] = {0x2b, 6, 1, 5, 5, 7, 3, 1}, client[] = {0x2b, 6, 1, 5, 5, 7, 3, 2};
    size_t mark = o->n;
    if (!c->no_san) {
        if (c->uri.n)
            der_put_tagged(o, DER_CONTEXT(6), c->uri.at, c->uri.n);
        if (c->ip.n)
            der_put_tagged(o, DER_CONTEXT(7), c->ip.at, c->ip.n);
        if (c->dns.n)
            der_put_tagged(o, DER_CONTEXT(2), c->dns.at, c->dns.n);
        der_wrap(o, DER_SEQUENCE, mark);
        put_extension(o, 17, mark);
    }
    mark = o->n;
    if (c->is_ca)
        der_put_bool(o, true);
    der_wrap(o, DER_SEQUENCE, mark);
    put_extension(o, 19, mark);
    mark = o->n;
    if (!c->no_eku) {
        if (c->client_only || c->both_usages)
            der_put_tagged(o, DER_OID, client, sizeof(client));
        if (!c->client_only)
            der_put_tagged(o, DER_OID, server, sizeof(server));
        der_wrap(o, DER_SEQUENCE, mark);
        put_extension(o, 37, mark);
    }
    mark = o->n;
    if (c->key_usage) {
        der_put_flags(o, c->key_usage);
        put_extension(o, 15, mark);
    }
    mark = o->n;
    if (c->unknown_critical) {
        der_put_tagged(o, DER_NULL, NULL, 0);
        put_extension(o, 99, mark);
    }
    der_wrap(o, DER_SEQUENCE, 0);
    der_wrap(o, DER_CONTEXT_CONSTRUCTED(3), 0);
}

/* Signed by the node's certificate, which the root signed. */
static void make_server(const struct server_cert *c, int64_t now_s, struct tls_der_list *ret) {
    static const uint8_t cn[] = {0x55, 4, 3};
    uint8_t tbs[4096], whole[5120], serial[] = {0x41, 1, 2, 3}, signature[SIGNATURE_BYTES_MAX];
    struct der_out o = DER_OUT(tbs), w = DER_OUT(whole);
    struct cert_view authority;
    size_t mark, n;
    check(cert_view_read(f.node.cert.at, f.node.cert.n, &authority));
    put_extensions(&o, c);
    mark = o.n;
    der_put_der(&o, key_spki(f.key));
    der_wrap(&o, DER_SEQUENCE, mark);
    mark = o.n;
    if (c->cn) {
        der_put_tagged(&o, DER_UTF8_STRING, c->cn, strlen(c->cn));
        der_put_tagged(&o, DER_OID, cn, sizeof(cn));
        der_wrap(&o, DER_SEQUENCE, mark);
        der_wrap(&o, DER_SET, mark);
    }
    der_wrap(&o, DER_SEQUENCE, mark);
    mark = o.n;
    der_put_time(&o, now_s + (c->to ? c->to : PKI_TTL));
    der_put_time(&o, now_s + (c->from ? c->from : -TLS_BACKDATE_S));
    der_wrap(&o, DER_SEQUENCE, mark);
    der_put_der(&o, authority.subject);
    signature_kind_put(&o, key_signature_kind(f.node.key));
    der_put_natural(&o, serial, sizeof(serial));
    mark = o.n;
    der_put_small(&o, 2);
    der_wrap(&o, DER_CONTEXT_CONSTRUCTED(0), mark);
    der_wrap(&o, DER_SEQUENCE, 0);
    check(!o.full && key_sign(f.node.key, der_out_bytes(&o), signature, &n) == 0);
    der_put(&w, signature, n);
    der_put(&w, "\0", 1);
    der_wrap(&w, DER_BIT_STRING, 0);
    signature_kind_put(&w, key_signature_kind(f.node.key));
    der_put_der(&w, der_out_bytes(&o));
    der_wrap(&w, DER_SEQUENCE, 0);
    struct der made = der_out_bytes(&w);
    *ret = TLS_DER_LIST_NULL;
    check(!w.full && tls_der_list_add(ret, made.at, made.n) == 0 && tls_der_list_add(ret, f.node.cert.at, f.node.cert.n) == 0);
}

static enum tls_trust_verdict judge(const struct server_cert *c, struct str host) {
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    make_server(c, PKI_NOW, &chain);
    return tls_server_verify(f.roots, &chain, host, PKI_NOW);
}

static void test_names(void **state) {
    static const struct {
        struct str presented, host;
        bool matches;
    } rows[] = {
        {STR("istiod.istio-system.svc"), STR("istiod.istio-system.svc"), true},
        {STR("istiod.istio-system.svc"), STR("istiod.istio-system.svc."), true},
        {STR("ISTIOD.Istio-System.SVC"), STR("istiod.istio-system.svc"), true},
        {STR("istiod.istio-system.svc"), STR("istiod.istio-system.svc.cluster.local"), false},
        {STR("istiod.istio-system.svc.cluster.local"), STR("istiod.istio-system.svc"), false},
        {STR("xistiod.istio-system.svc"), STR("istiod.istio-system.svc"), false},
        {STR("istiod.istio-system.svc\0.evil.org"), STR("istiod.istio-system.svc"), false},
        {STR("istiod.istio-system.svc\0"), STR("istiod.istio-system.svc"), false},
        {STR("istiod.istio-system.svc "), STR("istiod.istio-system.svc"), false},
        {STR("istiod.istio-system.svc."), STR("istiod.istio-system.svc"), false},
        {STR("*.istio-system.svc"), STR("istiod.istio-system.svc"), true},
        {STR("*.istio-system.svc"), STR("istio-system.svc"), false},
        {STR("*.istio-system.svc"), STR("a.istiod.istio-system.svc"), false},
        {STR("*.istio-system.svc"), STR(".istio-system.svc"), false},
        {STR("*.svc"), STR("istiod.svc"), false},
        {STR("*"), STR("istiod"), false},
        {STR("i*.istio-system.svc"), STR("istiod.istio-system.svc"), false},
        {STR("istiod.*.svc"), STR("istiod.istio-system.svc"), false},
        {STR("*.*.svc"), STR("istiod.istio-system.svc"), false},
        {STR("10.0.0.1"), STR("10.0.0.1"), false}, /* an address is not a DNS name */
        {STR("ca"), STR("ca"), true},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        enum tls_trust_verdict v = judge(&(struct server_cert){.dns = rows[i].presented}, rows[i].host);
        if (v != (rows[i].matches ? TLS_TRUST_OK : TLS_TRUST_HOST))
            fail_msg("row %zu: %s", i, tls_trust_text(v));
    }
    assert_int_equal(judge(&(struct server_cert){.ip = STR("\x0a\0\0\1")}, STR("10.0.0.1")), TLS_TRUST_OK);
    assert_int_equal(judge(&(struct server_cert){.ip = STR("\x0a\0\0\1")}, STR("10.0.0.2")), TLS_TRUST_HOST);
    assert_int_equal(judge(&(struct server_cert){.ip = STR("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1")}, STR("2001:db8::1")),
                     TLS_TRUST_OK);
    assert_int_equal(judge(&(struct server_cert){.ip = STR("\x0a\0\0")}, STR("10.0.0.1")), TLS_TRUST_HOST);
}

static void test_leaves(void **state) {
    static const struct str host = STR("ca.example");
    static const struct {
        struct server_cert cert;
        enum tls_trust_verdict verdict;
    } rows[] = {
        {{.dns = STR("ca.example")}, TLS_TRUST_OK},
        {{.dns = STR("ca.example"), .no_eku = true}, TLS_TRUST_OK},
        {{.dns = STR("ca.example"), .key_usage = KEY_USAGE_DIGITAL_SIGNATURE}, TLS_TRUST_OK},
        {{.dns = STR("ca.example"), .key_usage = KEY_USAGE_KEY_ENCIPHERMENT}, TLS_TRUST_LEAF_USAGE},
        {{.dns = STR("ca.example"), .uri = STR("spiffe://cluster.local/ns/a/sa/b")}, TLS_TRUST_OK},
        {{.uri = STR("spiffe://cluster.local/ns/a/sa/b")}, TLS_TRUST_HOST}, /* a workload is no server */
        {{.uri = STR("https://ca.example")}, TLS_TRUST_HOST},
        {{.no_san = true, .cn = "ca.example"}, TLS_TRUST_HOST}, /* the CN names nobody */
        {{.dns = STR("other.example"), .cn = "ca.example"}, TLS_TRUST_HOST},
        {{.dns = STR("ca.example"), .is_ca = true}, TLS_TRUST_LEAF_IS_CA},
        {{.dns = STR("ca.example"), .client_only = true}, TLS_TRUST_LEAF_USAGE},
        {{.dns = STR("ca.example"), .unknown_critical = true}, TLS_TRUST_UNREADABLE},
        {{.dns = STR("ca.example"), .to = -1, .from = -3600}, TLS_TRUST_EXPIRED},
        {{.dns = STR("ca.example"), .from = 60}, TLS_TRUST_NOT_YET_VALID},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        enum tls_trust_verdict v = judge(&rows[i].cert, host);
        if (v != rows[i].verdict)
            fail_msg("row %zu: %s", i, tls_trust_text(v));
    }
}

static void test_chains(void **state) {
    static const struct server_cert c = {.dns = STR("ca.example")};
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL, none = TLS_DER_LIST_NULL;
    struct tls_bundle *others = NULL;
    struct pki other;
    make_server(&c, PKI_NOW, &chain);
    assert_int_equal(tls_server_verify(f.roots, &none, STR("ca.example"), PKI_NOW), TLS_TRUST_NONE);
    struct tls_der_list alone = {.items = chain.items, .n = 1};
    assert_int_equal(tls_server_verify(f.roots, &alone, STR("ca.example"), PKI_NOW), TLS_TRUST_NO_PATH);
    pki_init(&other, "cluster.local", PKI_NOW);
    assert_int_equal(tls_bundle_new(STR("roots"), &(struct tls_der_list){.items = &other.root, .n = 1}, NULL, &others), 0);
    assert_int_equal(tls_server_verify(others, &chain, STR("ca.example"), PKI_NOW), TLS_TRUST_NO_PATH);
    tls_bundle_unref(others);
    pki_deinit(&other);
    chain.items[0].at[chain.items[0].n - 1] ^= 1;
    assert_int_not_equal(tls_server_verify(f.roots, &chain, STR("ca.example"), PKI_NOW), TLS_TRUST_OK);
}

static void test_hosts(void **state) {
    static const char *const good[] = {"a", "ca.example", "ca.example.", "10.0.0.1", "2001:db8::1", "under_score.svc"};
    static const char *const bad[] = {"",     ".",        "a..b",  ".a",  "a b",   "-a.b",
                                      "a-.b", "ca:15012", "[::1]", "a/b", "*.a.b", "\xc3\xa4.de"};
    char label[260];
    for (size_t i = 0; i < array_size(good); i++)
        assert_true(tls_host_valid(str_of(good[i])));
    for (size_t i = 0; i < array_size(bad); i++)
        assert_false(tls_host_valid(str_of(bad[i])));
    memset(label, 'a', sizeof(label));
    assert_true(tls_host_valid((struct str){label, 63}));
    assert_false(tls_host_valid((struct str){label, 64}));
    for (size_t i = 50; i < sizeof(label); i += 50)
        label[i] = '.';
    assert_true(tls_host_valid((struct str){label, 253}));
    assert_false(tls_host_valid((struct str){label, 254}));
    struct tls_context *x = NULL;
    assert_int_equal(tls_web_client_new(f.roots, STR("a b"), &x), 1);
}

/* ------------------------------------------------ pairs in memory */

struct end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
};

static void end_init(struct end *e, struct tls_context *context, struct tls_trust *trust) {
    bufq_init(&e->in, f.pool);
    bufq_init(&e->out, f.pool);
    e->context = context;
    struct tls_session_options o = {.context = context, .trust = trust, .in = &e->in, .out = &e->out};
    assert_int_equal(tls_session_new(&o, &e->session), 0);
}

static void end_deinit(struct end *e) {
    tls_session_free(e->session);
    tls_context_unref(e->context);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
}

static struct tls_context *server_context(const struct server_cert *c) {
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_context *x = NULL;
    make_server(c, PKI_NOW, &chain);
    assert_int_equal(tls_web_server_new(f.key, &chain, &x), 0);
    return x;
}

static struct tls_context *client_context(const char *host) {
    struct tls_context *x = NULL;
    assert_int_equal(tls_web_client_new(f.roots, str_of(host), &x), 0);
    return x;
}

static void shake(struct end *client, struct end *server, int *ret_client, int *ret_server) {
    for (int i = 0; i < 10; i++) {
        *ret_client = tls_session_handshake(client->session, PKI_NOW);
        bufq_move(&server->in, &client->out);
        *ret_server = tls_session_handshake(server->session, PKI_NOW);
        bufq_move(&client->in, &server->out);
    }
}

static void test_nameless_client(void **state) {
    struct end client, server;
    int rc, rs;
    uint8_t got[16];
    size_t n = 0;
    end_init(&client, client_context("ca.example"), NULL);
    end_init(&server, server_context(&(struct server_cert){.dns = STR("ca.example")}), f.pki.trust);
    shake(&client, &server, &rc, &rs);
    if (rc || rs)
        print_error("client: %s; server: %s\n", tls_session_error(client.session), tls_session_error(server.session));
    assert_int_equal(rc, TLS_DONE);
    assert_int_equal(rs, TLS_DONE);
    assert_null(tls_session_peer(server.session));
    assert_null(tls_session_peer(client.session));
    assert_int_equal(tls_session_seal(client.session, (const uint8_t *)"hello", 5, &n), TLS_DONE);
    bufq_move(&server.in, &client.out);
    assert_int_equal(tls_session_open(server.session, got, sizeof(got), &n), TLS_DONE);
    assert_int_equal(n, 5);
    assert_memory_equal(got, "hello", 5);
    end_deinit(&client);
    end_deinit(&server);
}

/* Real CAs send what cert-chain.pem holds, the root too (facts/identity.md 1.5). */
static void test_root_in_chain(void **state) {
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_context *x = NULL;
    struct end client, server;
    int rc, rs;
    make_server(&(struct server_cert){.dns = STR("ca.example")}, PKI_NOW, &chain);
    assert_int_equal(tls_der_list_add(&chain, f.pki.root.at, f.pki.root.n), 0);
    assert_int_equal(tls_web_server_new(f.key, &chain, &x), 0);
    end_init(&client, client_context("ca.example"), NULL);
    end_init(&server, x, f.pki.trust);
    shake(&client, &server, &rc, &rs);
    if (rc || rs)
        print_error("client: %s; server: %s\n", tls_session_error(client.session), tls_session_error(server.session));
    assert_int_equal(rc, TLS_DONE);
    assert_int_equal(rs, TLS_DONE);
    end_deinit(&client);
    end_deinit(&server);
}

static void test_wrong_server(void **state) {
    static const struct {
        struct server_cert cert;
        enum tls_trust_verdict verdict;
    } rows[] = {
        {{.dns = STR("other.example")}, TLS_TRUST_HOST},
        {{.uri = STR("spiffe://cluster.local/ns/a/sa/b")}, TLS_TRUST_HOST},
        {{.dns = STR("ca.example"), .client_only = true}, TLS_TRUST_LEAF_USAGE},
        {{.dns = STR("ca.example"), .to = -1, .from = -3600}, TLS_TRUST_EXPIRED},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct end client, server;
        int rc, rs;
        end_init(&client, client_context("ca.example"), NULL);
        end_init(&server, server_context(&rows[i].cert), f.pki.trust);
        shake(&client, &server, &rc, &rs);
        assert_int_equal(rc, TLS_REFUSED);
        assert_int_equal(tls_session_trust(client.session), rows[i].verdict);
        assert_int_equal(rs, TLS_BROKEN); /* our alert reached it */
        end_deinit(&client);
        end_deinit(&server);
    }
}

/* The client is a workload; so that it goes on, the server's certificate has an identity beside the DNS name. */
static void test_clients_certificate(void **state) {
    static const struct server_cert cert = {.dns = STR("ca.example"),
                                            .uri = STR("spiffe://cluster.local/ns/ns/sa/server"),
                                            .both_usages = true,
                                            .key_usage = KEY_USAGE_DIGITAL_SIGNATURE};
    struct identity a = pki_identity("cluster.local", "ns", "client");
    unsigned n_played = 0;
    for (int flaw = 0; flaw < _PKI_FLAW_MAX; flaw++) {
        struct tls_credential *c = pki_credential(&f.pki, &f.node, &a, (enum pki_flaw)flaw, NULL);
        struct tls_context *x = NULL;
        if (tls_context_new(c, TLS_ROLE_CLIENT, &x) == 0) { /* else the library itself refuses to play it */
            struct end client, server;
            int rc, rs;
            end_init(&client, x, f.pki.trust);
            end_init(&server, server_context(&cert), f.pki.trust);
            shake(&client, &server, &rc, &rs);
            if (rs != (flaw == PKI_FLAWLESS ? TLS_DONE : TLS_REFUSED))
                fail_msg("%s: %d, %s", pki_flaw_name((enum pki_flaw)flaw), rs, tls_session_error(server.session));
            if (flaw == PKI_FLAWLESS)
                assert_true(identity_is(&tls_session_peer(server.session)->identity, &a));
            else
                assert_null(tls_session_peer(server.session));
            n_played++;
            end_deinit(&client);
            end_deinit(&server);
        }
        tls_credential_unref(c);
    }
    assert_true(n_played > 8);
    /* A good one, but the server trusts other roots now: refused, not let in as nameless. */
    struct pki other;
    struct end client, server;
    struct tls_credential *c = pki_credential(&f.pki, &f.node, &a, PKI_FLAWLESS, NULL);
    struct tls_context *x = NULL;
    int rc, rs;
    pki_init(&other, "cluster.local", PKI_NOW);
    assert_int_equal(tls_context_new(c, TLS_ROLE_CLIENT, &x), 0);
    end_init(&client, x, f.pki.trust);
    end_init(&server, server_context(&cert), other.trust);
    shake(&client, &server, &rc, &rs);
    assert_int_equal(rs, TLS_REFUSED);
    end_deinit(&client);
    end_deinit(&server);
    tls_credential_unref(c);
    pki_deinit(&other);
}

static void test_foreign_key(void **state) {
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL, none = TLS_DER_LIST_NULL;
    struct tls_context *x = NULL;
    make_server(&(struct server_cert){.dns = STR("ca.example")}, PKI_NOW, &chain);
    assert_int_equal(tls_web_server_new(f.node.key, &chain, &x), 1);
    assert_int_equal(tls_web_server_new(f.key, &none, &x), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),           cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_chains),          cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_nameless_client), cmocka_unit_test(test_wrong_server),
        cmocka_unit_test(test_root_in_chain),   cmocka_unit_test(test_clients_certificate),
        cmocka_unit_test(test_foreign_key),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
