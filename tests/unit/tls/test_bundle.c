/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a bundle holds CA certificates of one valid trust domain and lives as long as anybody needs it.
 * Method: good and bad lists; references dropped in every order, also by several threads. */
#include <pthread.h>

#include "pki.h"
#include "unit.h"

static struct pki pki;

static int group_setup(void **state) {
    pki_init(&pki, "cluster.local", PKI_NOW);
    return 0;
}

static int group_teardown(void **state) {
    pki_deinit(&pki);
    return 0;
}

static void test_lists(void **state) {
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    struct tls_der_list leaf, none = TLS_DER_LIST_NULL, roots = {.items = &pki.root, .n = 1};
    struct tls_der many[TLS_BUNDLE_MAX + 1], broken = {.at = pki.root.at, .n = pki.root.n - 1};
    struct tls_key *key = NULL;
    struct tls_bundle *b = NULL;
    pki_leaf(&pki, NULL, &id, PKI_FLAWLESS, &key, &leaf);
    for (size_t i = 0; i < array_size(many); i++)
        many[i] = pki.root;
    const struct {
        struct str trust_domain;
        const struct tls_der_list *roots;
        int verdict;
    } rows[] = {
        {STR("cluster.local"), &roots, 0},
        {STR("Cluster.local"), &roots, 1},
        {STR(""), &roots, 1},
        {STR("cluster.local"), &none, 1},
        {STR("cluster.local"), &leaf, 1},
        {STR("cluster.local"), &(struct tls_der_list){.items = &broken, .n = 1}, 1},
        {STR("cluster.local"), &(struct tls_der_list){.items = many, .n = TLS_BUNDLE_MAX}, 0},
        {STR("cluster.local"), &(struct tls_der_list){.items = many, .n = TLS_BUNDLE_MAX + 1}, 1},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        assert_int_equal(tls_bundle_new(rows[i].trust_domain, rows[i].roots, NULL, &b), rows[i].verdict);
        if (rows[i].verdict)
            continue;
        assert_true(str_is(tls_bundle_trust_domain(b), rows[i].trust_domain));
        assert_int_equal(tls_bundle_roots(b)->n, rows[i].roots->n);
        assert_ptr_not_equal(tls_bundle_roots(b)->items[0].at, pki.root.at);
        b = tls_bundle_unref(b);
        assert_null(b);
    }
    assert_null(tls_bundle_unref(NULL));
    assert_null(tls_trust_unref(NULL));
    tls_der_list_deinit(&leaf);
    tls_key_free(key);
}

static void *ref_and_unref(void *trust) {
    for (int i = 0; i < 10000; i++)
        tls_trust_unref(tls_trust_ref(trust));
    return NULL;
}

static void test_references(void **state) {
    struct tls_der_list roots = {.items = &pki.root, .n = 1};
    struct tls_bundle *b = NULL;
    pthread_t threads[3];
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, NULL, &b), 0);
    struct tls_trust *t = tls_trust_new(&b, 1, 7);
    assert_int_equal(t->generation, 7);
    assert_ptr_equal(t->bundles[0], b);
    b = tls_bundle_unref(b);
    for (size_t i = 0; i < array_size(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, t), 0);
    for (size_t i = 0; i < array_size(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(str_is(tls_bundle_trust_domain(t->bundles[0]), STR("cluster.local")));
    tls_trust_unref(t);
    t = tls_trust_new(NULL, 0, 1);
    assert_int_equal(t->n, 0);
    tls_trust_unref(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists), cmocka_unit_test(test_references)};
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
