/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: keys are made, written and read back; files of other programs are read in their three forms; weak, foreign and
 * broken ones are refused by name; keys of several threads sign at once.
 * Method: openssl makes the foreign keys; each signature is checked with the public half. */
#include <ringwall/base/thread.h>

#include "key_private.h"
#include "pki.h"
#include "unit.h"

static int group_setup(void **state) { return tls_library_init(); }

static bool signs(const struct tls_key *k) {
    struct der message = {(const uint8_t *)"message", 7}, other = {(const uint8_t *)"massage", 7};
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t n;
    if (key_sign(k, message, signature, &n) != 0)
        return false;
    struct der s = {signature, n};
    enum signature_kind kind = key_signature_kind(k);
    assert_false(signature_check(&k->public, kind, other, s));
    signature[n / 2] ^= 1;
    assert_false(signature_check(&k->public, kind, message, s));
    signature[n / 2] ^= 1;
    return signature_check(&k->public, kind, message, s);
}

static void test_generate(void **state) {
    struct tls_key *a = NULL, *b = NULL, *back = NULL;
    struct secret pem;
    assert_int_equal(tls_key_generate(&a), 0);
    assert_int_equal(tls_key_generate(&b), 0);
    assert_string_equal(tls_key_kind(a), "P-256");
    assert_true(signs(a));
    assert_false(der_is(a->public.bytes, b->public.bytes));
    assert_int_equal(tls_key_to_pem(a, &pem), 0);
    struct str text = {(const char *)pem.at, pem.n};
    assert_true(str_has_prefix(text, STR("-----BEGIN PRIVATE KEY-----\n")));
    assert_int_equal(tls_key_from_pem(text, &back), 0);
    assert_true(der_is(a->public.bytes, back->public.bytes));
    assert_true(signs(back));
    secret_deinit(&pem);
    assert_null(tls_key_free(a));
    tls_key_free(b);
    tls_key_free(back);
    assert_null(tls_key_free(NULL));
}

static size_t run(const char *command, char *to, size_t cap) {
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(to, 1, cap - 1, p);
    to[n] = '\0';
    pclose(p);
    return n;
}

static void test_foreign(void **state) {
    static const struct {
        const char *command;
        int verdict;
        const char *kind;
    } rows[] = {
        {"openssl ecparam -name prime256v1 -genkey", 0, "P-256"}, /* EC PARAMETERS block, then SEC1 */
        {"openssl ecparam -name secp384r1 -genkey -noout", 0, "P-384"},
        {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", 0, "P-256"},
        {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", 0, "P-384"},
        {"openssl genrsa 2048", 0, "RSA-2048"},
        {"openssl genrsa -traditional 2048", 0, "RSA-2048"},
        {"openssl genrsa -traditional 3072", 0, "RSA-3072"},
        {"openssl ec -in /dev/stdin -no_public", -1, ""}, /* replaced below */
        {"openssl genrsa 1024", TLS_KEY_UNSUPPORTED, ""},
        {"openssl genrsa -traditional 1024", TLS_KEY_UNSUPPORTED, ""},
        {"openssl ecparam -name secp521r1 -genkey -noout", TLS_KEY_UNSUPPORTED, ""},
        {"openssl ecparam -name secp256k1 -genkey -noout", TLS_KEY_UNSUPPORTED, ""},
        {"openssl genpkey -algorithm ED25519", TLS_KEY_UNSUPPORTED, ""},
        {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:x", TLS_KEY_UNSUPPORTED, ""},
        {"openssl genrsa -traditional -aes256 -passout pass:x 2048", TLS_KEY_MALFORMED, ""},
    };
    static char text[16384];
    for (size_t i = 0; i < array_size(rows); i++) {
        struct tls_key *k = NULL;
        char command[300];
        int verdict = rows[i].verdict;
        snprintf(command, sizeof(command), "%s 2>/dev/null", rows[i].command);
        if (verdict == -1) /* a private half alone: the public one is computed */
            snprintf(command, sizeof(command),
                     "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -no_public 2>/dev/null");
        size_t n = run(command, text, sizeof(text));
        assert_true(n > 0);
        int r = tls_key_from_pem((struct str){text, n}, &k);
        if (r != (verdict == -1 ? 0 : verdict))
            fail_msg("%s: %d", command, r);
        if (r)
            continue;
        if (verdict == 0)
            assert_string_equal(tls_key_kind(k), rows[i].kind);
        assert_true(signs(k));
        struct secret pem;
        struct tls_key *back = NULL;
        assert_int_equal(tls_key_to_pem(k, &pem), 0);
        assert_int_equal(tls_key_from_pem((struct str){(const char *)pem.at, pem.n}, &back), 0);
        assert_true(der_is(back->public.bytes, k->public.bytes));
        secret_deinit(&pem);
        tls_key_free(back);
        tls_key_free(k);
    }
}

static void test_broken(void **state) {
    static const char *const texts[] = {
        "",
        "no key",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    };
    for (size_t i = 0; i < array_size(texts); i++) {
        struct tls_key *k = NULL;
        assert_int_equal(tls_key_from_pem(str_of(texts[i]), &k), TLS_KEY_MALFORMED);
        assert_null(k);
    }
    /* A good file with one byte changed is either refused or a key whose halves match. */
    static char text[4096];
    size_t n = run("openssl ecparam -name prime256v1 -genkey -noout", text, sizeof(text));
    unsigned n_taken = 0;
    for (size_t i = 31; i + 30 < n; i++) {
        struct tls_key *k = NULL;
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        int r = tls_key_from_pem((struct str){text, n}, &k);
        text[i] = was;
        assert_true(r >= 0);
        if (r == 0) {
            assert_true(signs(k));
            n_taken++;
        }
        tls_key_free(k);
    }
    assert_true(n_taken < 4); /* bits that base64 or DER does not use */
}

static void *sign_much(void *key) {
    for (int i = 0; i < 50; i++)
        if (!signs(key))
            return NULL;
    return key;
}

static void test_threads(void **state) {
    struct tls_key *k = NULL;
    pthread_t threads[4];
    assert_int_equal(tls_key_generate(&k), 0);
    for (size_t i = 0; i < array_size(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_much, k), 0);
    for (size_t i = 0; i < array_size(threads); i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, k);
    }
    tls_key_free(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
