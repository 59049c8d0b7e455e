/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a credential is only made of what belongs together and would be trusted; it takes what it is given, then only.
 * Method: each wrong combination once. */
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

static void test_good(void **state) {
    struct tls_credential_spec spec = {.identity = &f.id, .trust = f.pki.trust, .generation = 3};
    struct tls_credential *c = NULL;
    const char *why = NULL;
    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &spec.key, &spec.chain);
    assert_int_equal(tls_credential_new(&spec, PKI_NOW, &c, &why), 0);
    assert_null(spec.key);
    assert_null(spec.chain.items);
    assert_null(why);
    assert_true(identity_is(tls_credential_identity(c), &f.id));
    assert_int_equal(tls_credential_chain(c)->n, 2);
    assert_int_equal(tls_credential_generation(c), 3);
    assert_int_equal(tls_credential_not_before(c), PKI_NOW - TLS_BACKDATE_S);
    assert_int_equal(tls_credential_not_after(c), PKI_NOW + PKI_TTL);
    assert_ptr_equal(tls_credential_ref(c), c);
    assert_null(tls_credential_unref(c));
    assert_true(identity_is(tls_credential_identity(c), &f.id));
    assert_null(tls_credential_unref(c));
    assert_null(tls_credential_unref(NULL));
}

static void expect_refused(struct tls_credential_spec *spec, int64_t now_s, const char *why_expected) {
    struct tls_credential *c = NULL;
    const char *why = NULL;
    struct tls_key *key = spec->key;
    assert_int_equal(tls_credential_new(spec, now_s, &c, &why), 1);
    assert_null(c);
    assert_string_equal(why, why_expected);
    assert_ptr_equal(spec->key, key); /* still the caller's */
    tls_key_free(spec->key);
    tls_der_list_deinit(&spec->chain);
}

static void test_refused(void **state) {
    struct identity other = pki_identity("cluster.local", "ns", "other");
    struct tls_credential_spec spec = {.identity = &other, .trust = f.pki.trust};
    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &spec.key, &spec.chain);
    expect_refused(&spec, PKI_NOW, "certificate is another identity's");

    spec.identity = &f.id;
    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &spec.key, &spec.chain);
    tls_key_free(spec.key);
    assert_int_equal(tls_key_generate(&spec.key), 0);
    expect_refused(&spec, PKI_NOW, "certificate does not belong to the private key");

    pki_leaf(&f.pki, &f.node, &f.id, PKI_FLAWLESS, &spec.key, &spec.chain);
    expect_refused(&spec, PKI_NOW + PKI_TTL + 1, tls_trust_text(TLS_TRUST_EXPIRED));

    for (int flaw = PKI_FLAWLESS + 1; flaw < _PKI_FLAW_MAX; flaw++) {
        pki_leaf(&f.pki, &f.node, &f.id, flaw, &spec.key, &spec.chain);
        expect_refused(&spec, PKI_NOW, tls_trust_text(pki_flaw_verdict(flaw)));
    }

    struct pki stranger;
    pki_init(&stranger, "cluster.local", PKI_NOW);
    pki_leaf(&stranger, NULL, &f.id, PKI_FLAWLESS, &spec.key, &spec.chain);
    expect_refused(&spec, PKI_NOW, tls_trust_text(TLS_TRUST_NO_PATH));
    pki_deinit(&stranger);

    assert_int_equal(tls_key_generate(&spec.key), 0);
    expect_refused(&spec, PKI_NOW, tls_trust_text(TLS_TRUST_NONE));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
