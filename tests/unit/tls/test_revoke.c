/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a revoked certificate is refused wherever it stands in a chain, by the right list and only by it; an open tunnel's peer
 * is judged again by what was kept of it; and what is not revoked is left alone.
 * Method: chains and lists of the pki's, with every pairing of who is listed where; bundles that change under a peer. */
#include "bundle.h"
#include "pki.h"
#include "unit.h"

static struct {
    struct pki pki;
    struct pki_node node, other;
    struct identity id;
    struct tls_der_list direct, by_node; /* chains: of a root's leaf, and leaf and node */
} f;

static int group_setup(void **state) {
    struct tls_key *key;
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    pki_node_init(&f.other, &f.pki, "node-2");
    f.id = pki_identity("cluster.local", "ns", "sa");
    pki_leaf(&f.pki, NULL, &f.id, PKI_FLAWLESS, &key, &f.direct);
    tls_key_free(key);
    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &key, &f.by_node);
    tls_key_free(key);
    return 0;
}

static int group_teardown(void **state) {
    tls_der_list_deinit(&f.direct);
    tls_der_list_deinit(&f.by_node);
    pki_node_deinit(&f.node);
    pki_node_deinit(&f.other);
    pki_deinit(&f.pki);
    return 0;
}

/* Adds a list of `cert`, signed by `key`, that names the serial of `revoked` (NULL: nobody's). */
static void add_list(struct tls_der_list *to, const struct tls_key *key, const struct tls_der *cert, const struct tls_der *revoked,
                     uint64_t number, int64_t next_update) {
    struct tls_issuer issuer = {.key = key, .cert = cert->at, .cert_n = cert->n};
    struct tls_revoked item = {.at = PKI_NOW};
    struct tls_crl_spec spec = {
        .number = number, .this_update = PKI_NOW - 100, .next_update = next_update, .items = &item, .n = revoked ? 1 : 0};
    struct tls_cert_facts facts;
    struct tls_der crl;
    if (revoked) {
        assert_int_equal(tls_cert_read(revoked->at, revoked->n, &facts), 0);
        item.serial_n = (uint8_t)facts.serial_n;
        memcpy(item.serial, facts.serial, facts.serial_n);
    }
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    assert_int_equal(tls_der_list_add(to, crl.at, crl.n), 0);
    free(crl.at);
}

static struct tls_trust *trust_of(const struct tls_der *root, const struct tls_der_list *crls, uint64_t generation) {
    struct tls_der_list roots = {.items = (struct tls_der *)(uintptr_t)root, .n = 1};
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, crls, &bundle), 0);
    struct tls_trust *t = tls_trust_new(&bundle, 1, generation);
    assert_non_null(t);
    return t;
}

static enum tls_trust_verdict verify(const struct tls_trust *trust, const struct tls_der_list *chain, struct tls_peer *ret) {
    return tls_chain_verify(trust, chain, TLS_ROLE_CLIENT, PKI_NOW, NULL, NULL, ret);
}

/* Judged anew with a handshake, and again as the peer of a tunnel that opened before: both must say `verdict`. */
static void expect(const struct tls_der_list *chain, struct tls_der_list *crls, enum tls_trust_verdict verdict) {
    struct tls_peer before, now;
    struct tls_trust *trust = trust_of(&f.pki.root, crls, 2);
    assert_int_equal(verify(f.pki.trust, chain, &before), TLS_TRUST_OK);
    assert_int_equal(before.trust_generation, 1);
    assert_int_equal(verify(trust, chain, &now), verdict);
    assert_int_equal(tls_peer_recheck(&before, trust), verdict);
    tls_trust_unref(trust);
    tls_der_list_deinit(crls);
}

static void test_who_is_listed_where(void **state) {
    struct tls_der_list crls = TLS_DER_LIST_NULL;
    const struct tls_der *root = &f.pki.root, *leaf = &f.by_node.items[0], *alone = &f.direct.items[0];
    int64_t next = PKI_NOW + 100;

    expect(&f.by_node, &crls, TLS_TRUST_OK);
    add_list(&crls, f.pki.key, root, NULL, 1, next);
    expect(&f.by_node, &crls, TLS_TRUST_OK);
    add_list(&crls, f.pki.key, root, alone, 1, next);
    expect(&f.direct, &crls, TLS_TRUST_REVOKED);
    add_list(&crls, f.pki.key, root, &f.node.cert, 1, next);
    expect(&f.by_node, &crls, TLS_TRUST_ISSUER_REVOKED);
    add_list(&crls, f.pki.key, root, &f.node.cert, 1, next);
    expect(&f.direct, &crls, TLS_TRUST_OK);
    add_list(&crls, f.node.key, &f.node.cert, leaf, 1, next);
    expect(&f.by_node, &crls, TLS_TRUST_REVOKED);
    add_list(&crls, f.other.key, &f.other.cert, leaf, 1, next); /* another issuer's serial */
    expect(&f.by_node, &crls, TLS_TRUST_OK);
    add_list(&crls, f.pki.key, root, leaf, 1, next); /* the root did not issue it */
    expect(&f.by_node, &crls, TLS_TRUST_OK);
    add_list(&crls, f.other.key, &f.other.cert, NULL, 1, next);
    add_list(&crls, f.pki.key, root, NULL, 1, next);
    add_list(&crls, f.node.key, &f.node.cert, leaf, 1, next);
    expect(&f.by_node, &crls, TLS_TRUST_REVOKED);
}

static void test_age_and_number(void **state) {
    struct tls_der_list crls = TLS_DER_LIST_NULL;
    const struct tls_der *root = &f.pki.root, *leaf = &f.direct.items[0];
    add_list(&crls, f.pki.key, root, leaf, 1, PKI_NOW - 50); /* over: what it revokes stays revoked */
    expect(&f.direct, &crls, TLS_TRUST_REVOKED);
    add_list(&crls, f.pki.key, root, NULL, 1, PKI_NOW - 50); /* over, and nobody is refused for that */
    expect(&f.direct, &crls, TLS_TRUST_OK);
    add_list(&crls, f.pki.key, root, leaf, 9, PKI_NOW + 50);
    add_list(&crls, f.pki.key, root, NULL, 300, PKI_NOW + 50);
    expect(&f.direct, &crls, TLS_TRUST_OK);
    add_list(&crls, f.pki.key, root, leaf, 300, PKI_NOW + 50);
    add_list(&crls, f.pki.key, root, NULL, 9, PKI_NOW + 50);
    expect(&f.direct, &crls, TLS_TRUST_REVOKED);
}

static void test_forged(void **state) {
    struct pki thief;
    struct tls_der_list crls = TLS_DER_LIST_NULL, roots = {.items = &f.pki.root, .n = 1};
    struct tls_bundle *bundle = NULL;
    struct tls_peer peer;
    pki_init(&thief, "cluster.local", PKI_NOW);
    /* Another CA of our root's name: in the place of the root's list it would undo what that revokes. */
    add_list(&crls, thief.key, &thief.root, &f.direct.items[0], 9, PKI_NOW + 50);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, &crls, &bundle), 1);
    tls_der_list_deinit(&crls);

    /* The root's name and identifier, the thief's signature: not taken at all. */
    add_list(&crls, f.pki.key, &f.pki.root, NULL, 1009, PKI_NOW + 50);
    crls.items[0].at[crls.items[0].n - 1] ^= 1;
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, &crls, &bundle), 1);
    tls_der_list_deinit(&crls);

    /* A node's, with a broken signature: it does not count where its issuer is seen. */
    add_list(&crls, f.node.key, &f.node.cert, &f.by_node.items[0], 1010, PKI_NOW + 50);
    crls.items[0].at[crls.items[0].n - 1] ^= 1;
    struct tls_trust *trust = trust_of(&f.pki.root, &crls, 2);
    assert_int_equal(verify(trust, &f.by_node, &peer), TLS_TRUST_OK);
    tls_trust_unref(trust);
    tls_der_list_deinit(&crls);

    uint8_t junk[] = {0x30, 1, 2};
    assert_int_equal(tls_der_list_add(&crls, junk, sizeof(junk)), 0);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, &crls, &bundle), 1);
    tls_der_list_deinit(&crls);
    for (size_t i = 0; i <= TLS_CRLS_MAX; i++)
        add_list(&crls, f.pki.key, &f.pki.root, NULL, i, PKI_NOW);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, &crls, &bundle), 1);
    tls_der_list_deinit(&crls);
    pki_deinit(&thief);
}

static void test_anchors_come_and_go(void **state) {
    struct pki next, foreign;
    struct tls_peer peer;
    pki_init(&next, "cluster.local", PKI_NOW);
    pki_init(&foreign, "other.mesh", PKI_NOW);
    assert_int_equal(verify(f.pki.trust, &f.by_node, &peer), TLS_TRUST_OK);
    assert_int_equal(peer.n_prints, 2);

    struct tls_der both[] = {next.root, f.pki.root};
    struct tls_der_list roots = {.items = both, .n = 2};
    struct tls_bundle *bundle = NULL;
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, NULL, &bundle), 0);
    struct tls_trust *published = tls_trust_new(&bundle, 1, 2);
    assert_int_equal(tls_peer_recheck(&peer, published), TLS_TRUST_OK);
    assert_int_equal(tls_peer_recheck(&peer, next.trust), TLS_TRUST_NO_PATH); /* same name, another key */
    assert_int_equal(tls_peer_recheck(&peer, foreign.trust), TLS_TRUST_TRUST_DOMAIN);

    /* A root that is made anew with its old key is the same anchor. */
    struct tls_ca_spec spec = {
        .trust_domain = STR("cluster.local"), .path_len = -1, .not_before = PKI_NOW, .not_after = PKI_NOW + 86400};
    struct tls_der renewed;
    assert_int_equal(tls_issue_root(f.pki.key, &spec, &renewed), 0);
    struct tls_trust *trust = trust_of(&renewed, NULL, 3);
    assert_int_equal(tls_peer_recheck(&peer, trust), TLS_TRUST_OK);
    assert_int_equal(verify(trust, &f.by_node, &peer), TLS_TRUST_OK);
    tls_trust_unref(trust);
    free(renewed.at);
    tls_trust_unref(published);
    tls_bundle_unref(bundle);
    pki_deinit(&next);
    pki_deinit(&foreign);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_listed_where),
        cmocka_unit_test(test_age_and_number),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_anchors_come_and_go),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
