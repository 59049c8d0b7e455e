/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: our requests are what other CAs expect; a foreign request gives its key and nothing else, and only if its owner
 * made it and asks for no other name.
 * Method: round trip, openssl as the other side both ways, every byte changed. */
#include <ringwall/base/io.h>

#include "csr.h"
#include "key_private.h"
#include "pki.h"
#include "unit.h"

static int group_setup(void **state) { return tls_library_init(); }

static void test_round_trip(void **state) {
    struct identity id = pki_identity("cluster.local", "ns", "sa"), other = pki_identity("cluster.local", "ns", "other");
    struct tls_key *key = NULL;
    struct tls_der der;
    struct tls_csr *csr = NULL;
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_csr_make(key, &id, &der), 0);
    assert_int_equal(tls_csr_read(der.at, der.n, &id, &csr), TLS_CSR_OK);
    assert_true(der_is(key_spki(key), (struct der){csr->spki, csr->n}));
    assert_null(tls_csr_free(csr));
    csr = NULL;
    assert_int_equal(tls_csr_read(der.at, der.n, &other, &csr), TLS_CSR_SAN);
    for (size_t i = 0; i < der.n; i++) {
        der.at[i] ^= 0x04;
        int r = tls_csr_read(der.at, der.n, &id, &csr);
        if (r == TLS_CSR_OK)
            fail_msg("byte %zu may change", i);
        assert_true(r > 0);
        der.at[i] ^= 0x04;
    }
    for (size_t n = 0; n < der.n; n++)
        assert_int_equal(tls_csr_read(der.at, n, &id, &csr), TLS_CSR_MALFORMED);
    assert_null(csr);
    assert_null(tls_csr_free(NULL));
    free(der.at);
    tls_key_free(key);
}

static size_t run(const char *command, char *to, size_t cap) {
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(to, 1, cap - 1, p);
    to[n] = '\0';
    pclose(p);
    return n;
}

static void test_openssl_reads_ours(void **state) {
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    struct tls_key *key = NULL;
    struct tls_der der;
    char dir[256], path[300], command[800], text[8192];
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_csr_make(key, &id, &der), 0);
    unit_directory(dir);
    snprintf(path, sizeof(path), "%s/csr", dir);
    assert_int_equal(io_write_file(path, der.at, der.n, 0600), 0);
    snprintf(command, sizeof(command), "openssl req -inform DER -in %s -noout -verify -text 2>&1; rm -r %s", path, dir);
    run(command, text, sizeof(text));
    assert_non_null(strstr(text, "verify OK"));
    assert_non_null(strstr(text, "URI:spiffe://cluster.local/ns/ns/sa/sa"));
    assert_non_null(strstr(text, "X509v3 Subject Alternative Name: critical"));
    assert_non_null(strstr(text, "Subject: \n"));
    free(der.at);
    tls_key_free(key);
}

static void test_foreign(void **state) {
#define SAN_SA "URI:spiffe://cluster.local/ns/ns/sa/sa"
    static const struct {
        const char *options;
        int verdict;
    } rows[] = {
        {"-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj / -addext subjectAltName=critical," SAN_SA, TLS_CSR_OK},
        {"-newkey ec -pkeyopt ec_paramgen_curve:P-384 -subj /O=x/CN=y -sha384 -addext subjectAltName=" SAN_SA, TLS_CSR_OK},
        {"-newkey rsa:2048 -subj /CN=anything", TLS_CSR_OK}, /* no name asked for: the CA writes its own */
        {"-newkey rsa:4096 -sha512 -subj /CN=anything -addext keyUsage=keyCertSign -addext basicConstraints=CA:TRUE", TLS_CSR_OK},
        {"-newkey rsa:1024 -subj /CN=x", TLS_CSR_KEY},
        {"-newkey ec -pkeyopt ec_paramgen_curve:P-521 -subj /CN=x", TLS_CSR_KEY},
        {"-newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -subj /CN=x", TLS_CSR_KEY},
        {"-newkey ed25519 -subj /CN=x", TLS_CSR_KEY},
        {"-newkey rsa:2048 -sha1 -subj /CN=x", TLS_CSR_SIGNATURE},
        {"-newkey rsa:2048 -subj /CN=x -addext subjectAltName=URI:spiffe://cluster.local/ns/ns/sa/admin", TLS_CSR_SAN},
        {"-newkey rsa:2048 -subj /CN=x -addext subjectAltName=" SAN_SA ",URI:spiffe://cluster.local/ns/ns/sa/admin", TLS_CSR_SAN},
        {"-newkey rsa:2048 -subj /CN=x -addext subjectAltName=" SAN_SA ",DNS:example.org", TLS_CSR_SAN},
        {"-newkey rsa:2048 -subj /CN=x -addext subjectAltName=DNS:spiffe", TLS_CSR_SAN},
    };
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    for (size_t i = 0; i < array_size(rows); i++) {
        static char text[16384];
        char command[600];
        struct tls_der der = {0};
        struct tls_csr *csr = NULL;
        snprintf(command, sizeof(command), "openssl req -new -nodes -keyout /dev/null %s 2>/dev/null", rows[i].options);
        size_t n = run(command, text, sizeof(text));
        assert_int_equal(tls_pem_to_der((struct str){text, n}, "CERTIFICATE REQUEST", &der), 0);
        int r = tls_csr_read(der.at, der.n, &id, &csr);
        if (r != rows[i].verdict)
            fail_msg("%s: %d", rows[i].options, r);
        tls_csr_free(csr);
        free(der.at);
    }
}

static void test_pem(void **state) {
    struct tls_der der = {0};
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    uint8_t bytes[] = {1, 2, 3};
    assert_int_equal(tls_der_to_pem(&(struct tls_der){.at = bytes, .n = 3}, "A", &pem), 0);
    assert_int_equal(tls_der_to_pem(&(struct tls_der){.at = bytes, .n = 2}, "B", &pem), 0);
    assert_int_equal(tls_pem_to_der((struct str){pem.at, pem.n}, "B", &der), 0);
    assert_int_equal(der.n, 2);
    free(der.at);
    assert_int_equal(tls_pem_to_der((struct str){pem.at, pem.n}, "C", &der), 1);
    assert_int_equal(tls_pem_to_der(STR_NULL, "A", &der), 1);
    assert_int_equal(tls_pem_to_der(STR("-----BEGIN A-----\n*\n-----END A-----"), "A", &der), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_openssl_reads_ours),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_pem),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
