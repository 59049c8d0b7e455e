/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the walk trusts exactly what DESIGN rule 3 trusts, and names the reason for everything else.
 * Method: chains built in memory, one thing wrong with each; authorities that our issuing would not make come from
 * openssl. */
#include <ringwall/base/io.h>

#include "pki.h"
#include "unit.h"

static struct {
    struct pki pki;
    struct pki_node node;
    struct identity id;
} f;

static int group_setup(void **state) {
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    f.id = pki_identity("cluster.local", "ns", "sa");
    return 0;
}

static int group_teardown(void **state) {
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    return 0;
}

static enum tls_trust_verdict verify_at(const struct tls_trust *trust, const struct tls_der_list *chain, int64_t now_s,
                                        struct tls_peer *ret) {
    return tls_chain_verify(trust, chain, TLS_ROLE_CLIENT, now_s, NULL, NULL, ret);
}

static void expect(const struct tls_trust *trust, const struct tls_der_list *chain, enum tls_trust_verdict verdict) {
    struct tls_peer peer;
    enum tls_trust_verdict seen = verify_at(trust, chain, PKI_NOW, &peer);
    if (seen != verdict)
        fail_msg("'%s', not '%s'", tls_trust_text(seen), tls_trust_text(verdict));
}

static void make(const struct pki *p, const struct pki_node *node, const struct identity *id, enum pki_flaw flaw,
                 struct tls_der_list *ret) {
    struct tls_key *key = NULL;
    pki_leaf(p, node, id, flaw, &key, ret);
    tls_key_free(key);
}

static void test_flaws(void **state) {
    for (int under_node = 0; under_node < 2; under_node++)
        for (int flaw = 0; flaw < _PKI_FLAW_MAX; flaw++)
            for (int again = 0; again < 2; again++) { /* a remembered signature changes nothing */
                struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
                make(&f.pki, under_node ? &f.node : NULL, &f.id, flaw, &chain);
                expect(f.pki.trust, &chain, pki_flaw_verdict(flaw));
                expect(f.pki.trust, &chain, pki_flaw_verdict(flaw));
            }
}

static void test_peer(void **state) {
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_peer peer;
    make(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &chain);
    assert_int_equal(verify_at(f.pki.trust, &chain, PKI_NOW, &peer), TLS_TRUST_OK);
    assert_true(identity_is(&peer.identity, &f.id));
    assert_string_equal(peer.issuing_node, "node-1");
    assert_int_equal(peer.chain_not_after, PKI_NOW + PKI_TTL);
    assert_int_equal(verify_at(f.pki.trust, &chain, PKI_NOW + PKI_TTL, &peer), TLS_TRUST_OK);
    assert_int_equal(verify_at(f.pki.trust, &chain, PKI_NOW + PKI_TTL + 1, &peer), TLS_TRUST_EXPIRED);
    assert_int_equal(verify_at(f.pki.trust, &chain, PKI_NOW - TLS_BACKDATE_S, &peer), TLS_TRUST_OK);
    assert_int_equal(verify_at(f.pki.trust, &chain, PKI_NOW - TLS_BACKDATE_S - 1, &peer), TLS_TRUST_NOT_YET_VALID);
}

static void test_shapes(void **state) {
    struct tls_der_list none = TLS_DER_LIST_NULL, chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    expect(f.pki.trust, &none, TLS_TRUST_NONE);
    make(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &chain);
    expect(NULL, &chain, TLS_TRUST_TRUST_DOMAIN);
    struct tls_der_list leaf_only = {.items = chain.items, .n = 1};
    expect(f.pki.trust, &leaf_only, TLS_TRUST_NO_PATH);
    struct tls_der items[8];
    for (size_t i = 0; i < array_size(items); i++)
        items[i] = chain.items[i > 0];
    expect(f.pki.trust, &(struct tls_der_list){.items = items, .n = TLS_CHAIN_MAX}, TLS_TRUST_OK);
    expect(f.pki.trust, &(struct tls_der_list){.items = items, .n = TLS_CHAIN_MAX + 1}, TLS_TRUST_CHAIN_TOO_LONG);
    items[0] = chain.items[1];
    expect(f.pki.trust, &(struct tls_der_list){.items = items, .n = 2}, TLS_TRUST_URI_COUNT);
    /* The root at the end is neither needed nor harmful; junk is not taken. */
    items[0] = chain.items[0];
    items[2] = f.pki.root;
    expect(f.pki.trust, &(struct tls_der_list){.items = items, .n = 3}, TLS_TRUST_OK);
    items[2] = (struct tls_der){.at = items[0].at, .n = 20};
    expect(f.pki.trust, &(struct tls_der_list){.items = items, .n = 3}, TLS_TRUST_UNREADABLE);
    /* Out of order: the next certificate must be the issuer. */
    items[1] = f.pki.root;
    items[2] = chain.items[1];
    expect(f.pki.trust, &(struct tls_der_list){.items = items, .n = 3}, TLS_TRUST_NO_PATH);
}

/* A leaf's key must not sign others: the classic mistake. */
static void test_leaf_as_issuer(void **state) {
    struct tls_key *key = NULL;
    struct tls_der_list signer, chain;
    pki_leaf(&f.pki, NULL, &f.id, PKI_FLAWLESS, &key, &signer);
    struct pki_node fake = {.key = key, .cert = signer.items[0]};
    make(&f.pki, &fake, &f.id, PKI_FLAWLESS, &chain);
    /* Its subject is empty, and so is the issuer's name in the new leaf: names fit, the signature is right. */
    expect(f.pki.trust, &chain, TLS_TRUST_ISSUER_NOT_CA);
    tls_der_list_deinit(&chain);
    tls_der_list_deinit(&signer);
    tls_key_free(key);
}

static struct pki_node issue_under(const struct pki_node *issuer, const char *td, const char *cn, int path_len, int64_t from,
                                   int64_t to) {
    struct pki_node n = {0};
    struct tls_issuer i = {.key = issuer->key, .cert = issuer->cert.at, .cert_n = issuer->cert.n};
    struct tls_ca_spec spec = {
        .trust_domain = str_of(td), .node = str_of(cn), .path_len = path_len, .not_before = from, .not_after = to};
    assert_int_equal(tls_key_generate(&n.key), 0);
    assert_int_equal(tls_issue_ca(&i, n.key, &spec, &n.cert), 0);
    return n;
}

static void chain_of(struct tls_der_list *ret, const struct pki_node *last, const struct pki_node *before,
                     const struct identity *id) {
    make(&f.pki, last, id, PKI_FLAWLESS, ret);
    if (before)
        assert_int_equal(tls_der_list_add(ret, before->cert.at, before->cert.n), 0);
}

static void test_path_length_and_times(void **state) {
    struct pki_node root = {.key = f.pki.key, .cert = f.pki.root};
    const int64_t from = PKI_NOW - 1000, to = PKI_NOW + 1000000;
    const struct {
        int path_len, path_len_below;
        int64_t from, to;
        enum tls_trust_verdict verdict;
    } rows[] = {
        {-1, -1, from, to, TLS_TRUST_OK},
        {1, 0, from, to, TLS_TRUST_OK},
        {1, -1, from, to, TLS_TRUST_OK},
        {0, 0, from, to, TLS_TRUST_PATH_LEN},
        {0, -1, from, to, TLS_TRUST_PATH_LEN},
        {1, 0, from, PKI_NOW - 1, TLS_TRUST_EXPIRED},
        {1, 0, PKI_NOW + 1, to, TLS_TRUST_NOT_YET_VALID},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct pki_node upper = issue_under(&root, "cluster.local", "", rows[i].path_len, rows[i].from, rows[i].to);
        struct pki_node lower = issue_under(&upper, "cluster.local", "", rows[i].path_len_below, from, to);
        struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        chain_of(&chain, &lower, &upper, &f.id);
        expect(f.pki.trust, &chain, rows[i].verdict);
        pki_node_deinit(&upper);
        pki_node_deinit(&lower);
    }
}

struct asked {
    unsigned n;
    char node[64];
    bool answer;
    const struct identity *who; /* NULL: the fixture's */
};
static bool covers(void *context, struct str node, const struct identity *identity) {
    struct asked *a = context;
    a->n++;
    snprintf(a->node, sizeof(a->node), STR_FMT, STR_ARG(node));
    assert_true(identity_is(identity, a->who ? a->who : &f.id));
    return a->answer;
}

static void test_node_issuer(void **state) {
    struct pki_node root = {.key = f.pki.key, .cert = f.pki.root};
    const int64_t from = PKI_NOW - 1000, to = PKI_NOW + 1000000;
    static const char long_name[] = "a-node-whose-name-is-longer-than-a-common-name-of-x509-may-ever-be-it-seems";
    const struct {
        const char *o, *cn;
        int path_len;
        bool asked;
        enum tls_trust_verdict if_not;
    } rows[] = {
        {"cluster.local", "node-1", 0, true, TLS_TRUST_NODE_ISSUER},
        {"cluster.local", "node-1", 1, false, TLS_TRUST_OK}, /* may issue further: a shared intermediate */
        {"cluster.local", "node-1", -1, false, TLS_TRUST_OK},
        {"Istio", "Intermediate CA", 0, false, TLS_TRUST_OK}, /* plugged-in CA of istio's tooling */
        {"cluster.local", "", 0, false, TLS_TRUST_OK},
        {"cluster.local", long_name, 0, false, TLS_TRUST_NODE_ISSUER}, /* a node, but which one? */
    };
    for (size_t i = 0; i < array_size(rows); i++)
        for (int answer = 0; answer < 2; answer++) {
            struct pki_node n = issue_under(&root, rows[i].o, rows[i].cn, rows[i].path_len, from, to);
            struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
            struct asked a = {.answer = answer};
            struct tls_peer peer;
            chain_of(&chain, &n, NULL, &f.id);
            enum tls_trust_verdict v = tls_chain_verify(f.pki.trust, &chain, TLS_ROLE_SERVER, PKI_NOW, covers, &a, &peer);
            assert_int_equal(v, answer && rows[i].asked ? TLS_TRUST_OK : rows[i].if_not);
            assert_int_equal(a.n, rows[i].asked);
            if (a.n)
                assert_string_equal(a.node, rows[i].cn);
            pki_node_deinit(&n);
        }
    /* A root's own leaves ask nobody. */
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct asked a = {0};
    struct tls_peer peer;
    make(&f.pki, NULL, &f.id, PKI_FLAWLESS, &chain);
    assert_int_equal(tls_chain_verify(f.pki.trust, &chain, TLS_ROLE_SERVER, PKI_NOW, covers, &a, &peer), TLS_TRUST_OK);
    assert_int_equal(a.n, 0);
    assert_string_equal(peer.issuing_node, "");
}

static void test_trust_domains(void **state) {
    struct pki other;
    pki_init(&other, "other.mesh", PKI_NOW);
    struct tls_trust *both = pki_trust_both(&f.pki, &other);
    struct identity x = pki_identity("other.mesh", "ns", "sa");
    struct tls_der_list own, foreign, mixed, mixed_under_node;
    make(&f.pki, NULL, &f.id, PKI_FLAWLESS, &own);
    make(&other, NULL, &x, PKI_FLAWLESS, &foreign);
    make(&f.pki, NULL, &x, PKI_FLAWLESS, &mixed);
    make(&f.pki, &f.node, &x, PKI_FLAWLESS, &mixed_under_node);
    expect(both, &own, TLS_TRUST_OK);
    expect(both, &foreign, TLS_TRUST_OK);
    expect(f.pki.trust, &foreign, TLS_TRUST_TRUST_DOMAIN);
    expect(both, &mixed, TLS_TRUST_NO_PATH);
    expect(both, &mixed_under_node, TLS_TRUST_NO_PATH);
    tls_der_list_deinit(&own);
    tls_der_list_deinit(&foreign);
    tls_der_list_deinit(&mixed);
    tls_der_list_deinit(&mixed_under_node);
    tls_trust_unref(both);
    pki_deinit(&other);
}

/* An alias of our trust domain has our roots: a node stays a node under the other name, whose identities are asked about. */
static void test_domains_that_share_roots(void **state) {
    struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_bundle *bundles[2] = {NULL, NULL};
    struct identity x = pki_identity("old.mesh", "ns", "sa");
    assert_int_equal(tls_der_list_add(&roots, f.pki.root.at, f.pki.root.n), 0);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, NULL, &bundles[0]), 0);
    assert_int_equal(tls_bundle_new(STR("old.mesh"), &roots, NULL, &bundles[1]), 0);
    struct tls_trust trust = {.bundles = bundles, .n = 2};
    for (int answer = 0; answer < 2; answer++) {
        struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        struct asked a = {.answer = answer, .who = &x};
        struct tls_peer peer;
        make(&f.pki, &f.node, &x, PKI_FLAWLESS, &chain);
        enum tls_trust_verdict v = tls_chain_verify(&trust, &chain, TLS_ROLE_SERVER, PKI_NOW, covers, &a, &peer);
        assert_int_equal(v, answer ? TLS_TRUST_OK : TLS_TRUST_NODE_ISSUER);
        assert_int_equal(a.n, 1);
        assert_string_equal(a.node, "node-1");
        if (answer) {
            assert_true(identity_is(&peer.identity, &x));
            assert_string_equal(peer.issuing_node, "node-1");
        }
    }
    for (int i = 0; i < 2; i++)
        tls_bundle_unref(bundles[i]);
}

/* Roots of one name with different keys, and one key with an old and a new certificate (facts/identity.md 1.6). */
static void test_many_roots(void **state) {
    struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL,
                              chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_ca_spec old = {.trust_domain = STR("cluster.local"), .path_len = -1, .not_before = 1, .not_after = PKI_NOW - 10};
    struct tls_der expired;
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    assert_int_equal(tls_issue_root(f.pki.key, &old, &expired), 0);
    assert_int_equal(tls_der_list_add(&roots, expired.at, expired.n), 0);
    make(&f.pki, NULL, &f.id, PKI_FLAWLESS, &chain);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, NULL, &bundle), 0);
    struct tls_trust trust = {.bundles = &bundle, .n = 1};
    expect(&trust, &chain, TLS_TRUST_EXPIRED);

    for (int i = 0; i < 10; i++) {
        struct pki stranger;
        pki_init(&stranger, "cluster.local", PKI_NOW);
        assert_int_equal(tls_der_list_add(&roots, stranger.root.at, stranger.root.n), 0);
        pki_deinit(&stranger);
    }
    assert_int_equal(tls_der_list_add(&roots, f.pki.root.at, f.pki.root.n), 0);
    cleanup(tls_bundle_unrefp) struct tls_bundle *more = NULL;
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, NULL, &more), 0);
    trust.bundles = &more;
    expect(&trust, &chain, TLS_TRUST_OK);
    free(expired.at);
}

/* ------------------------------------------------ authorities of openssl's making */

static void shell(const char *dir, const char *command) {
    char all[2048];
    snprintf(all, sizeof(all), "cd %s && (%s) 2>/dev/null", dir, command);
    if (system(all) != 0)
        fail_msg("%s", command);
}

static struct pki_node load(const char *dir, const char *name) {
    struct pki_node n = {0};
    char path[300], *text = NULL;
    size_t n_text;
    struct tls_der_list l;
    snprintf(path, sizeof(path), "%s/%s.pem", dir, name);
    assert_int_equal(io_read_file(path, 1 << 16, &text, &n_text), 0);
    assert_int_equal(tls_certs_from_pem((struct str){text, n_text}, 1, &l), 0);
    n.cert = l.items[0];
    free(l.items);
    free(text);
    snprintf(path, sizeof(path), "%s/%s.key", dir, name);
    assert_int_equal(io_read_file(path, 1 << 16, &text, &n_text), 0);
    assert_int_equal(tls_key_from_pem((struct str){text, n_text}, &n.key), 0);
    free(text);
    return n;
}

static void test_foreign_authorities(void **state) {
    static const struct {
        const char *extensions;
        enum tls_trust_verdict verdict;
    } rows[] = {
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign", TLS_TRUST_OK},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,digitalSignature", TLS_TRUST_ISSUER_NOT_CA},
        {"basicConstraints=critical,CA:TRUE", TLS_TRUST_ISSUER_NOT_CA},
        {"basicConstraints=critical,CA:FALSE\\nkeyUsage=critical,keyCertSign", TLS_TRUST_ISSUER_NOT_CA},
        {"keyUsage=critical,keyCertSign", TLS_TRUST_ISSUER_NOT_CA},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign\\n1.2.3.4=critical,DER:0500", TLS_TRUST_UNREADABLE},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nnameConstraints=critical,permitted;URI:cluster.local",
         TLS_TRUST_OK},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nnameConstraints=critical,permitted;URI:.local", TLS_TRUST_OK},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nnameConstraints=critical,permitted;URI:.cluster.local",
         TLS_TRUST_CONSTRAINT},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nnameConstraints=permitted;URI:other.mesh",
         TLS_TRUST_CONSTRAINT},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nnameConstraints=permitted;URI:other.mesh,permitted;URI:"
         "cluster.local",
         TLS_TRUST_OK},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nnameConstraints=excluded;URI:cluster.local",
         TLS_TRUST_CONSTRAINT},
        {"basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nnameConstraints=permitted;DNS:example.org", TLS_TRUST_OK},
    };
    char dir[256], command[1500];
    unit_directory(dir);
    shell(dir, "openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 8000 -subj /O=RootCA -sha384 && "
               "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout mid.key -out mid.csr -subj /O=Mid");
    struct pki_node root = load(dir, "root");
    struct tls_der_list roots = {.items = &root.cert, .n = 1};
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, NULL, &bundle), 0);
    struct tls_trust trust = {.bundles = &bundle, .n = 1};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        snprintf(
            command, sizeof(command),
            "printf '%s' > ext && openssl x509 -req -in mid.csr -CA root.pem -CAkey root.key -set_serial %zu -days 8000 -sha512 "
            "-extfile ext -out mid.pem",
            rows[i].extensions, i + 1);
        shell(dir, command);
        struct pki_node mid = load(dir, "mid");
        make(&f.pki, &mid, &f.id, PKI_FLAWLESS, &chain);
        struct tls_peer peer;
        enum tls_trust_verdict v = verify_at(&trust, &chain, PKI_NOW, &peer);
        if (v != rows[i].verdict)
            fail_msg("%s: %s", rows[i].extensions, tls_trust_text(v));
        pki_node_deinit(&mid);
    }
    pki_node_deinit(&root);
    shell(dir, "rm -rf \"$PWD\"");
}

static void test_texts(void **state) {
    for (int v = 0; v < _TLS_TRUST_MAX; v++)
        assert_true(strlen(tls_trust_text(v)) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flaws),
        cmocka_unit_test(test_peer),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_leaf_as_issuer),
        cmocka_unit_test(test_node_issuer),
        cmocka_unit_test(test_path_length_and_times),
        cmocka_unit_test(test_domains_that_share_roots),
        cmocka_unit_test(test_many_roots),
        cmocka_unit_test(test_trust_domains),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_foreign_authorities),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
