/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a peer whose signatures are remembered costs none, and is refused for every reason for which an unknown one is: its memory
 * never makes somebody trusted.
 * Method: a leaf of a node is verified until it is remembered (the count of checked signatures stands still), then everything
 * about it is changed in turn, one thing at a time: the clock, the lists, the bundles, the issuer, single bytes. */
#include "bundle.h"
#include "pki.h"
#include "remembered.h"
#include "unit.h"

static struct {
    struct pki pki;
    struct pki_node node;
    struct identity id;
    struct tls_der_list chain; /* leaf, node */
} f;

static int group_setup(void **state) {
    struct tls_key *key;
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    f.id = pki_identity("cluster.local", "ns", "sa");
    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &key, &f.chain);
    tls_key_free(key);
    return 0;
}

static int group_teardown(void **state) {
    tls_der_list_deinit(&f.chain);
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    return 0;
}

static bool covers_none(void *context, struct str node, const struct identity *identity) { return false; }

static enum tls_trust_verdict verify(const struct tls_trust *trust, const struct tls_der_list *chain, int64_t now_s) {
    struct tls_peer peer;
    return tls_chain_verify(trust, chain, TLS_ROLE_CLIENT, now_s, NULL, NULL, &peer);
}

/* Trusted, and without a signature being checked. */
static void expect_remembered(void) {
    assert_int_equal(verify(f.pki.trust, &f.chain, PKI_NOW), TLS_TRUST_OK);
    uint64_t before = remembered_misses();
    assert_int_equal(verify(f.pki.trust, &f.chain, PKI_NOW), TLS_TRUST_OK);
    assert_int_equal(remembered_misses(), before);
}

static void test_costs_nothing(void **state) {
    struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_key *key;
    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &key, &chain);
    tls_key_free(key);
    expect_remembered();
    uint64_t before = remembered_misses();
    assert_int_equal(verify(f.pki.trust, &chain, PKI_NOW), TLS_TRUST_OK);
    assert_int_equal(remembered_misses(), before + 1); /* its node is known from the other leaf */
}

static void test_time(void **state) {
    struct tls_peer peer;
    expect_remembered();
    assert_int_equal(tls_chain_verify(f.pki.trust, &f.chain, TLS_ROLE_CLIENT, PKI_NOW, NULL, NULL, &peer), TLS_TRUST_OK);
    assert_int_equal(verify(f.pki.trust, &f.chain, peer.chain_not_after), TLS_TRUST_OK);
    assert_int_equal(verify(f.pki.trust, &f.chain, peer.chain_not_after + 1), TLS_TRUST_EXPIRED);
    assert_int_equal(verify(f.pki.trust, &f.chain, peer.leaf_not_before - 1), TLS_TRUST_NOT_YET_VALID);
    expect_remembered();
}

static struct tls_trust *trust_of(const struct pki *p, const struct tls_der_list *crls) {
    struct tls_der_list roots = {.items = (struct tls_der *)(uintptr_t)&p->root, .n = 1};
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    assert_int_equal(tls_bundle_new(str_of(p->trust_domain), &roots, crls, &bundle), 0);
    struct tls_trust *t = tls_trust_new(&bundle, 1, 1); /* the generation that it was remembered under, of other contents */
    assert_non_null(t);
    return t;
}

/* Bundles with a list of `issuer`, which names certificate i of the chain. */
static struct tls_trust *trust_revoking(const struct tls_key *key, const struct tls_der *issuer, size_t i) {
    struct tls_issuer by = {.key = key, .cert = issuer->at, .cert_n = issuer->n};
    struct tls_der_list crls cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct tls_revoked item = {.at = PKI_NOW};
    struct tls_crl_spec spec = {.number = 1, .this_update = PKI_NOW - 100, .next_update = PKI_NOW + 100, .items = &item, .n = 1};
    struct tls_cert_facts facts;
    struct tls_der crl;
    assert_int_equal(tls_cert_read(f.chain.items[i].at, f.chain.items[i].n, &facts), 0);
    item.serial_n = (uint8_t)facts.serial_n;
    memcpy(item.serial, facts.serial, facts.serial_n);
    assert_int_equal(tls_crl_make(&by, &spec, &crl), 0);
    assert_int_equal(tls_der_list_add(&crls, crl.at, crl.n), 0);
    free(crl.at);
    return trust_of(&f.pki, &crls);
}

static void test_revoked(void **state) {
    cleanup(tls_trust_unrefp) struct tls_trust *leaf = trust_revoking(f.node.key, &f.node.cert, 0);
    cleanup(tls_trust_unrefp) struct tls_trust *node = trust_revoking(f.pki.key, &f.pki.root, 1);
    expect_remembered();
    assert_int_equal(verify(leaf, &f.chain, PKI_NOW), TLS_TRUST_REVOKED);
    assert_int_equal(verify(node, &f.chain, PKI_NOW), TLS_TRUST_ISSUER_REVOKED);
    expect_remembered();
}

/* Other bundles of the same generation: another root of the same name, another trust domain, the same root under another's name. */
static void test_other_bundles(void **state) {
    struct pki twin, foreign;
    pki_init(&twin, "cluster.local", PKI_NOW);
    pki_init(&foreign, "other.local", PKI_NOW);
    struct pki renamed = f.pki;
    snprintf(renamed.trust_domain, sizeof(renamed.trust_domain), "other.local");
    cleanup(tls_trust_unrefp) struct tls_trust *same_name = trust_of(&twin, NULL);
    cleanup(tls_trust_unrefp) struct tls_trust *elsewhere = trust_of(&foreign, NULL);
    cleanup(tls_trust_unrefp) struct tls_trust *as_other = trust_of(&renamed, NULL);
    expect_remembered();
    enum tls_trust_verdict v = verify(same_name, &f.chain, PKI_NOW);
    assert_true(v == TLS_TRUST_SIGNATURE || v == TLS_TRUST_NO_PATH);
    assert_int_equal(verify(elsewhere, &f.chain, PKI_NOW), TLS_TRUST_TRUST_DOMAIN);
    assert_int_equal(verify(as_other, &f.chain, PKI_NOW), TLS_TRUST_TRUST_DOMAIN);
    expect_remembered();
    pki_deinit(&foreign);
    pki_deinit(&twin);
}

/* The leaf behind other certificates than those that it was remembered with. */
static void test_other_chain(void **state) {
    struct pki_node twin, other;
    struct tls_der_list chains[4] = {TLS_DER_LIST_NULL, TLS_DER_LIST_NULL, TLS_DER_LIST_NULL, TLS_DER_LIST_NULL};
    const struct tls_der *issuers[] = {NULL, &twin.cert, &other.cert, &f.pki.root};
    pki_node_init(&twin, &f.pki, "node-1"); /* the same name, another key */
    pki_node_init(&other, &f.pki, "node-2");
    expect_remembered();
    for (size_t i = 0; i < array_size(chains); i++) {
        assert_int_equal(tls_der_list_add(&chains[i], f.chain.items[0].at, f.chain.items[0].n), 0);
        if (issuers[i])
            assert_int_equal(tls_der_list_add(&chains[i], issuers[i]->at, issuers[i]->n), 0);
        enum tls_trust_verdict v = verify(f.pki.trust, &chains[i], PKI_NOW);
        if (v != TLS_TRUST_SIGNATURE && v != TLS_TRUST_NO_PATH)
            fail_msg("chain %zu: %s", i, tls_trust_text(v));
        tls_der_list_deinit(&chains[i]);
    }
    expect_remembered();
    pki_node_deinit(&other);
    pki_node_deinit(&twin);
}

static void test_node_that_does_not_cover(void **state) {
    struct tls_peer peer;
    expect_remembered();
    assert_int_equal(tls_chain_verify(f.pki.trust, &f.chain, TLS_ROLE_CLIENT, PKI_NOW, covers_none, NULL, &peer),
                     TLS_TRUST_NODE_ISSUER);
    expect_remembered();
}

/* No byte of a remembered certificate may differ. */
static void test_single_bytes(void **state) {
    for (size_t i = 0; i < f.chain.n; i++) {
        struct tls_der_list chain cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        assert_int_equal(tls_der_list_copy(&chain, &f.chain), 0);
        for (size_t k = 0; k < chain.items[i].n; k++) {
            expect_remembered();
            chain.items[i].at[k] ^= 1;
            assert_int_not_equal(verify(f.pki.trust, &chain, PKI_NOW), TLS_TRUST_OK);
            assert_int_not_equal(verify(f.pki.trust, &chain, PKI_NOW), TLS_TRUST_OK); /* nor is a bad one learnt */
            chain.items[i].at[k] ^= 1;
        }
    }
}

/* The table itself: what was needed of late stays, and no more than its bound is kept. */
static void test_room(void **state) {
    enum { N = 2 * REMEMBERED_MAX };
    struct cert_view root;
    assert_true(cert_view_read(f.pki.root.at, f.pki.root.n, &root));
    expect_remembered();
    /* The root's own signature counts as often as its bytes have other bytes around them: each such whole is a place. */
    uint8_t *whole = malloc(root.whole.n + sizeof(uint32_t));
    memcpy(whole, root.whole.at, root.whole.n);
    uint64_t before = remembered_misses();
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < N; i++) {
            memcpy(whole + root.whole.n, &i, sizeof(i));
            struct der d = {whole, root.whole.n + sizeof(i)};
            assert_true(remembered_check(&root.key, root.signature_kind, d, root.tbs, root.signature));
            assert_true(remembered_check(&root.key, root.signature_kind, d, root.tbs, root.signature));
        }
    uint64_t misses = remembered_misses() - before;
    assert_in_range(misses, N + (N - REMEMBERED_MAX), 2 * N);
    before = remembered_misses();
    assert_int_equal(verify(f.pki.trust, &f.chain, PKI_NOW), TLS_TRUST_OK); /* was pushed out: checked again */
    assert_int_equal(remembered_misses(), before + 2);
    expect_remembered();
    free(whole);
}

/* A key of a curve that we do not take cannot borrow the memory of one that has the same bytes. */
static void test_unsupported_key(void **state) {
    struct cert_view root;
    assert_true(cert_view_read(f.pki.root.at, f.pki.root.n, &root));
    assert_true(remembered_check(&root.key, root.signature_kind, root.whole, root.tbs, root.signature));
    struct public_key other = root.key;
    other.kind = KEY_UNSUPPORTED;
    assert_false(remembered_check(&other, root.signature_kind, root.whole, root.tbs, root.signature));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_costs_nothing), cmocka_unit_test(test_time),        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_other_bundles), cmocka_unit_test(test_other_chain), cmocka_unit_test(test_node_that_does_not_cover),
        cmocka_unit_test(test_single_bytes),  cmocka_unit_test(test_room),        cmocka_unit_test(test_unsupported_key),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
