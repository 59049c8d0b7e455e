/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a certificate's facts are what it says, whoever made it; lists and PEM texts keep order and bounds; changed
 * bytes never crash the reader.
 * Method: certificates of ours and of openssl; every byte of one changed in turn. */
#include "cert_view.h"
#include "pki.h"
#include "unit.h"

static struct pki pki;
static struct pki_node node;

static int group_setup(void **state) {
    pki_init(&pki, "cluster.local", PKI_NOW);
    pki_node_init(&node, &pki, "node-1");
    return 0;
}

static int group_teardown(void **state) {
    pki_node_deinit(&node);
    pki_deinit(&pki);
    return 0;
}

static void test_facts(void **state) {
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    struct tls_key *key = NULL;
    struct tls_der_list chain;
    struct tls_cert_facts f;
    pki_leaf(&pki, &node, &id, PKI_FLAWLESS, &key, &chain);
    assert_int_equal(tls_cert_read(chain.items[0].at, chain.items[0].n, &f), 0);
    assert_true(f.uri_is_identity && identity_is(&f.identity, &id));
    assert_string_equal(f.uri, "spiffe://cluster.local/ns/ns/sa/sa");
    assert_int_equal(f.n_uri_san, 1);
    assert_false(f.is_ca || f.key_cert_sign || f.crl_sign || f.has_path_len);
    assert_true(f.has_key_usage && f.digital_signature && f.has_eku && f.server_auth && f.client_auth);
    assert_string_equal(f.subject, "");
    assert_string_equal(f.issuer, "O=cluster.local, CN=node-1");
    assert_string_equal(f.issuer_cn, "node-1");
    assert_string_equal(f.key_kind, "P-256");
    assert_int_equal(f.not_before, PKI_NOW - TLS_BACKDATE_S);
    assert_int_equal(f.not_after, PKI_NOW + PKI_TTL);
    assert_true(f.serial_n > 0 && f.serial_n <= TLS_SERIAL_MAX);

    assert_int_equal(tls_cert_read(node.cert.at, node.cert.n, &f), 0);
    assert_true(f.is_ca && f.has_path_len && f.path_len == 0 && f.key_cert_sign && f.crl_sign && !f.has_eku);
    assert_string_equal(f.subject_cn, "node-1");
    assert_string_equal(f.subject_o, "cluster.local");
    assert_string_equal(f.issuer_cn, "");

    assert_true(tls_cert_signed_by(chain.items[0].at, chain.items[0].n, node.cert.at, node.cert.n));
    assert_true(tls_cert_signed_by(node.cert.at, node.cert.n, pki.root.at, pki.root.n));
    assert_false(tls_cert_signed_by(chain.items[0].at, chain.items[0].n, pki.root.at, pki.root.n));
    assert_false(tls_cert_signed_by(chain.items[0].at, chain.items[0].n, chain.items[0].at, chain.items[0].n));
    assert_true(tls_cert_matches_key(chain.items[0].at, chain.items[0].n, key));
    assert_false(tls_cert_matches_key(node.cert.at, node.cert.n, key));
    tls_der_list_deinit(&chain);
    tls_key_free(key);
}

static void test_nul_and_many(void **state) {
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    for (int flaw = 0; flaw < _PKI_FLAW_MAX; flaw++) {
        struct tls_key *key = NULL;
        struct tls_der_list chain;
        struct tls_cert_facts f;
        pki_leaf(&pki, NULL, &id, flaw, &key, &chain);
        assert_int_equal(tls_cert_read(chain.items[0].at, chain.items[0].n, &f), 0);
        unsigned n_uri = flaw == PKI_TWO_URIS ? 2 : flaw == PKI_NO_URI || flaw == PKI_URI_AS_DNS ? 0 : 1;
        assert_int_equal(f.n_uri_san, n_uri);
        bool is_identity = n_uri > 0 && flaw != PKI_NUL_IN_URI && flaw != PKI_URI_NOT_SPIFFE;
        assert_int_equal(f.uri_is_identity, is_identity);
        if (flaw == PKI_NUL_IN_URI)
            assert_string_equal(f.uri, "spiffe://cluster.local/ns/ns/sa/sa?-x");
        tls_der_list_deinit(&chain);
        tls_key_free(key);
    }
}

static void test_pem(void **state) {
    struct tls_der_list two cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL, back cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    assert_int_equal(tls_der_list_add(&two, node.cert.at, node.cert.n), 0);
    assert_int_equal(tls_der_list_add(&two, pki.root.at, pki.root.n), 0);
    growing_add(&pem, STR("a comment\n"));
    assert_int_equal(tls_certs_to_pem(&two, &pem), 0);
    growing_add(&pem, STR("-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n"));
    struct str text = {pem.at, pem.n};
    assert_int_equal(tls_certs_from_pem(text, 1, &back), 1);
    assert_int_equal(tls_certs_from_pem(text, 2, &back), 0);
    assert_int_equal(back.n, 2);
    assert_int_equal(back.items[0].n, node.cert.n);
    assert_memory_equal(back.items[1].at, pki.root.at, pki.root.n);
    static const char *const bad[] = {"", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                                      "-----BEGIN CERTIFICATE-----\nMIIB", "-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n"};
    struct tls_der_list none = TLS_DER_LIST_NULL;
    for (size_t i = 0; i < array_size(bad); i++)
        assert_int_equal(tls_certs_from_pem(str_of(bad[i]), 9, &none), 1);
    assert_int_equal(tls_certs_from_pem((struct str){text.at, text.n / 3}, 9, &none), 1);
    assert_null(none.items);
}

/* Version 1, RSA, names of other kinds: what other programs write. */
static void test_foreign(void **state) {
    static const struct {
        const char *options;
        bool readable;
        const char *kind, *subject;
    } rows[] = {
        {"-newkey rsa:2048 -subj '/C=DE/O=Istio/CN=Root CA'", true, "RSA-2048", "C=DE, O=Istio, CN=Root CA"},
        {"-newkey ec -pkeyopt ec_paramgen_curve:P-384 -subj /O=x/OU=y/L=z", true, "P-384", "O=x, OU=y, L=z"},
        {"-newkey ed25519 -subj /O=x", true, "unsupported", "O=x"},
        {"-newkey rsa:2048 -subj /CN=x -sha512 -addext nameConstraints=critical,permitted\\;URI:cluster.local", true, "RSA-2048",
         "CN=x"},
        {"-newkey rsa:1024 -subj /CN=weak", true, "unsupported", "CN=weak"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        char command[400];
        static char text[16384];
        struct tls_der_list l = TLS_DER_LIST_NULL;
        struct tls_cert_facts f;
        snprintf(command, sizeof(command), "openssl req -x509 -nodes -days 10 -keyout /dev/null %s 2>/dev/null", rows[i].options);
        FILE *p = popen(command, "r");
        size_t n = fread(text, 1, sizeof(text), p);
        pclose(p);
        assert_int_equal(tls_certs_from_pem((struct str){text, n}, 1, &l), 0);
        assert_int_equal(tls_cert_read(l.items[0].at, l.items[0].n, &f), 0);
        assert_string_equal(f.key_kind, rows[i].kind);
        assert_string_equal(f.subject, rows[i].subject);
        assert_true(f.is_ca);
        assert_int_equal(tls_cert_signed_by(l.items[0].at, l.items[0].n, l.items[0].at, l.items[0].n),
                         strcmp(rows[i].kind, "unsupported") != 0);
        tls_der_list_deinit(&l);
    }
}

static void test_changed_bytes(void **state) {
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    struct tls_key *key = NULL;
    struct tls_der_list chain;
    struct tls_cert_facts f;
    pki_leaf(&pki, &node, &id, PKI_FLAWLESS, &key, &chain);
    struct tls_der *leaf = &chain.items[0];
    for (size_t i = 0; i < leaf->n; i++)
        for (unsigned change = 1; change < 256; change += 37) {
            leaf->at[i] ^= (uint8_t)change;
            int r = tls_cert_read(leaf->at, leaf->n, &f);
            assert_true(r == 0 || r == 1);
            assert_false(tls_cert_signed_by(leaf->at, leaf->n, node.cert.at, node.cert.n));
            leaf->at[i] ^= (uint8_t)change;
        }
    for (size_t n = 0; n < leaf->n; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* so that a sanitizer sees a read behind it */
        memcpy(cut, leaf->at, n);
        assert_int_equal(tls_cert_read(cut, n, &f), 1);
        free(cut);
    }
    tls_der_list_deinit(&chain);
    tls_key_free(key);
}

static void test_lists(void **state) {
    struct tls_der_list l = TLS_DER_LIST_NULL, copy = TLS_DER_LIST_NULL;
    assert_int_equal(tls_der_list_copy(&copy, &l), 0);
    assert_int_equal(copy.n, 0);
    assert_int_equal(tls_der_list_add(&l, (const uint8_t *)"ab", 2), 0);
    assert_int_equal(tls_der_list_copy(&copy, &l), 0);
    tls_der_list_deinit(&l);
    assert_null(l.items);
    assert_memory_equal(copy.items[0].at, "ab", 2);
    tls_der_list_deinit(&copy);
    tls_der_list_deinit(&copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),   cmocka_unit_test(test_nul_and_many),  cmocka_unit_test(test_pem),
        cmocka_unit_test(test_foreign), cmocka_unit_test(test_changed_bytes), cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
