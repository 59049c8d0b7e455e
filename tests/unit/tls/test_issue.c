/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the certificates that we issue have the profile of facts/identity.md 1.5 and 11, to the byte where it matters.
 * Method: openssl prints them; facts and times are compared; many serials are looked at. */
#include <errno.h>

#include <ringwall/base/io.h>

#include "cert_view.h"
#include "pki.h"
#include "unit.h"

static struct {
    struct pki pki;
    struct pki_node node;
    struct identity id;
    struct tls_csr *csr;
    char dir[256];
} f;

static int group_setup(void **state) {
    struct tls_key *key = NULL;
    struct tls_der der;
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    f.id = pki_identity("cluster.local", "ns", "sa");
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_csr_make(key, &f.id, &der), 0);
    assert_int_equal(tls_csr_read(der.at, der.n, &f.id, &f.csr), 0);
    free(der.at);
    tls_key_free(key);
    unit_directory(f.dir);
    return 0;
}

static int group_teardown(void **state) {
    char command[300];
    snprintf(command, sizeof(command), "rm -rf %s", f.dir);
    assert_int_equal(system(command), 0);
    tls_csr_free(f.csr);
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    return 0;
}

static struct tls_issuer issuer_node(void) {
    return (struct tls_issuer){.key = f.node.key, .cert = f.node.cert.at, .cert_n = f.node.cert.n};
}

static const char *printed(const struct tls_der *cert, const char *more) {
    static char text[16384];
    char path[300], command[600];
    snprintf(path, sizeof(path), "%s/cert", f.dir);
    assert_int_equal(io_write_file(path, cert->at, cert->n, 0600), 0);
    snprintf(command, sizeof(command), "openssl x509 -inform DER -in %s -noout -text %s 2>&1", path, more);
    FILE *p = popen(command, "r");
    size_t n = fread(text, 1, sizeof(text) - 1, p);
    text[n] = '\0';
    pclose(p);
    return text;
}

static void expect_all(const char *text, const char *const *wanted) {
    const char *at = text; /* in this order */
    for (; *wanted; wanted++) {
        at = strstr(at, *wanted);
        if (!at)
            fail_msg("no '%s' in: %s", *wanted, text);
    }
}

static void test_leaf(void **state) {
    struct tls_issuer i = issuer_node();
    struct tls_der leaf;
    assert_int_equal(tls_issue_leaf(&i, f.csr, &f.id, PKI_NOW, 3600, &leaf), 0);
    const char *text = printed(&leaf, "");
    expect_all(text, (const char *const[]){"Version: 3 (0x2)", "ecdsa-with-SHA256", "Issuer: O = cluster.local, CN = node-1",
                                           "Subject: \n", "NIST CURVE: P-256", "X509v3 extensions:", "X509v3 Key Usage: critical",
                                           "Digital Signature, Key Encipherment\n", "X509v3 Extended Key Usage: \n",
                                           "TLS Web Server Authentication, TLS Web Client Authentication\n",
                                           "X509v3 Basic Constraints: critical", "CA:FALSE", "X509v3 Authority Key Identifier: \n",
                                           "X509v3 Subject Alternative Name: critical", "URI:spiffe://cluster.local/ns/ns/sa/sa\n",
                                           NULL});
    assert_null(strstr(text, "Subject Key Identifier"));
    struct tls_cert_facts facts;
    assert_int_equal(tls_cert_read(leaf.at, leaf.n, &facts), 0);
    assert_int_equal(facts.not_before, PKI_NOW - 120);
    assert_int_equal(facts.not_after, PKI_NOW + 3600);
    free(leaf.at);
}

static void test_serials(void **state) {
    struct tls_issuer i = issuer_node();
    uint8_t seen[50][TLS_SERIAL_MAX];
    for (size_t k = 0; k < array_size(seen); k++) {
        struct tls_der leaf;
        struct tls_cert_facts facts;
        assert_int_equal(tls_issue_leaf(&i, f.csr, &f.id, PKI_NOW, 3600, &leaf), 0);
        assert_int_equal(tls_cert_read(leaf.at, leaf.n, &facts), 0);
        assert_int_equal(facts.serial_n, 16);
        assert_true(!(facts.serial[0] & 0x80) && facts.serial[0] != 0);
        memcpy(seen[k], facts.serial, sizeof(seen[k]));
        for (size_t m = 0; m < k; m++)
            assert_memory_not_equal(seen[m], seen[k], 16);
        free(leaf.at);
    }
}

static void test_times(void **state) {
    struct tls_issuer i = issuer_node();
    struct tls_cert_facts own, facts;
    struct tls_der leaf;
    assert_int_equal(tls_cert_read(f.node.cert.at, f.node.cert.n, &own), 0);
    const struct {
        int64_t now_s, ttl_s, not_after; /* 0: refused */
    } rows[] = {
        {PKI_NOW, 1, PKI_NOW + 1},
        {PKI_NOW, INT64_MAX, own.not_after},
        {own.not_after - 10, 10, own.not_after},
        {own.not_after - 10, 11, own.not_after},
        {own.not_after - 1, 3600, own.not_after},
        {own.not_after, 3600, 0},
        {own.not_after + 1, 3600, 0},
    };
    for (size_t k = 0; k < array_size(rows); k++) {
        int r = tls_issue_leaf(&i, f.csr, &f.id, rows[k].now_s, rows[k].ttl_s, &leaf);
        assert_int_equal(r, rows[k].not_after ? 0 : 1);
        if (r)
            continue;
        assert_int_equal(tls_cert_read(leaf.at, leaf.n, &facts), 0);
        assert_int_equal(facts.not_after, rows[k].not_after);
        free(leaf.at);
    }
}

static void test_authorities(void **state) {
    expect_all(printed(&f.pki.root, ""),
               (const char *const[]){"Version: 3", "Issuer: O = cluster.local\n", "Subject: O = cluster.local\n",
                                     "X509v3 Key Usage: critical", "Certificate Sign, CRL Sign\n",
                                     "X509v3 Basic Constraints: critical", "CA:TRUE\n", "X509v3 Subject Key Identifier: \n", NULL});
    expect_all(printed(&f.node.cert, ""),
               (const char *const[]){"Version: 3", "Issuer: O = cluster.local\n", "Subject: O = cluster.local, CN = node-1\n",
                                     "X509v3 Key Usage: critical", "Certificate Sign, CRL Sign\n",
                                     "X509v3 Basic Constraints: critical", "CA:TRUE, pathlen:0\n",
                                     "X509v3 Subject Key Identifier: \n", "X509v3 Authority Key Identifier: \n", NULL});
    assert_null(strstr(printed(&f.node.cert, ""), "Name Constraints"));
    struct cert_view root, node;
    assert_true(cert_view_read(f.pki.root.at, f.pki.root.n, &root) && cert_view_read(f.node.cert.at, f.node.cert.n, &node));
    assert_true(der_is(root.x.ski, node.x.aki) && root.x.ski.n == KEY_ID_BYTES);

    /* Never longer than its issuer. */
    struct tls_issuer i = {.key = f.pki.key, .cert = f.pki.root.at, .cert_n = f.pki.root.n};
    struct tls_ca_spec spec = {
        .trust_domain = STR("cluster.local"), .node = STR("n"), .not_before = PKI_NOW, .not_after = INT32_MAX * 2LL};
    struct tls_der cert;
    assert_int_equal(tls_issue_ca(&i, f.node.key, &spec, &cert), 0);
    assert_true(cert_view_read(cert.at, cert.n, &node));
    assert_int_equal(node.not_after, root.not_after);
    free(cert.at);
}

/* A signing certificate that is none, or another key's, is our own mistake. */
static void test_wrong_issuer(void **state) {
    struct tls_der leaf = {0};
    struct tls_issuer i = {.key = f.pki.key, .cert = f.node.cert.at, .cert_n = f.node.cert.n};
    assert_int_equal(tls_issue_leaf(&i, f.csr, &f.id, PKI_NOW, 3600, &leaf), -EINVAL);
    i = issuer_node();
    assert_int_equal(tls_issue_leaf(&i, f.csr, &f.id, PKI_NOW, 3600, &leaf), 0);
    struct tls_issuer by_leaf = {.key = f.node.key, .cert = leaf.at, .cert_n = leaf.n};
    struct tls_der second = {0};
    assert_int_equal(tls_issue_leaf(&by_leaf, f.csr, &f.id, PKI_NOW, 3600, &second), -EINVAL);
    assert_null(second.at);
    free(leaf.at);
}

/* The other stack agrees with the chain as a whole. */
static void test_openssl_verifies(void **state) {
    char path[300], command[900];
    struct tls_issuer i = issuer_node();
    struct tls_der leaf;
    assert_int_equal(tls_issue_leaf(&i, f.csr, &f.id, PKI_NOW, 3600, &leaf), 0);
    const struct {
        const char *name;
        const struct tls_der *der;
    } files[] = {{"root", &f.pki.root}, {"node", &f.node.cert}, {"leaf", &leaf}};
    for (size_t k = 0; k < array_size(files); k++) {
        struct growing pem cleanup(growing_deinit) = GROWING_NULL;
        assert_int_equal(tls_der_to_pem(files[k].der, "CERTIFICATE", &pem), 0);
        snprintf(path, sizeof(path), "%s/%s.pem", f.dir, files[k].name);
        assert_int_equal(io_write_file(path, pem.at, pem.n, 0600), 0);
    }
    snprintf(command, sizeof(command),
             "cd %s && openssl verify -x509_strict -attime %d -purpose sslserver -CAfile root.pem -untrusted node.pem leaf.pem "
             ">/dev/null && "
             "openssl verify -attime %d -purpose sslclient -CAfile root.pem -untrusted node.pem leaf.pem >/dev/null",
             f.dir, PKI_NOW, PKI_NOW);
    assert_int_equal(system(command), 0);
    free(leaf.at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf),        cmocka_unit_test(test_serials),      cmocka_unit_test(test_times),
        cmocka_unit_test(test_authorities), cmocka_unit_test(test_wrong_issuer), cmocka_unit_test(test_openssl_verifies),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
