/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: public keys and signature algorithms are read strictly, and one never stands for another.
 * Method: tables of encodings; signatures tried with every algorithm. */
#include "crypto.h"
#include "key_private.h"
#include "unit.h"

static int group_setup(void **state) { return tls_library_init(); }

static void put_spki(struct der_out *o, const uint8_t *algorithm, size_t n_algorithm, const uint8_t *bits, size_t n_bits) {
    o->n = 0;
    der_put(o, bits, n_bits);
    der_put(o, "\0", 1);
    der_wrap(o, DER_BIT_STRING, 0);
    der_put_tagged(o, DER_SEQUENCE, algorithm, n_algorithm);
}

static void test_ec_points(void **state) {
    static const uint8_t p256[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                                   0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    uint8_t buffer[256], point[67];
    struct der_out o = DER_OUT(buffer);
    struct public_key k;
    struct tls_key *key = NULL;
    assert_int_equal(tls_key_generate(&key), 0);
    memcpy(point, key->public.point.at, 65);
    put_spki(&o, p256, sizeof(p256), point, 65);
    assert_true(public_key_read(der_out_bytes(&o), &k) && k.kind == KEY_P256 && public_key_valid(&k));
    point[64] ^= 1; /* off the curve */
    put_spki(&o, p256, sizeof(p256), point, 65);
    assert_true(public_key_read(der_out_bytes(&o), &k) && !public_key_valid(&k));
    memset(point + 1, 0, 64);
    put_spki(&o, p256, sizeof(p256), point, 65);
    assert_true(public_key_read(der_out_bytes(&o), &k) && !public_key_valid(&k));
    put_spki(&o, p256, sizeof(p256), point, 64);
    assert_false(public_key_read(der_out_bytes(&o), &k));
    put_spki(&o, p256, sizeof(p256), point, 66);
    assert_false(public_key_read(der_out_bytes(&o), &k));
    point[0] = 2; /* compressed */
    put_spki(&o, p256, sizeof(p256), point, 65);
    assert_false(public_key_read(der_out_bytes(&o), &k));
    put_spki(&o, p256, 9, point, 65); /* no curve named */
    assert_false(public_key_read(der_out_bytes(&o), &k));
    tls_key_free(key);
}

static void test_rsa_sizes(void **state) {
    static const uint8_t rsa[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
    static const struct {
        unsigned bits;
        uint8_t exponent[5];
        size_t n_exponent;
        bool readable;
        enum key_kind kind;
    } rows[] = {
        {2048, {1, 0, 1}, 3, true, KEY_RSA},
        {4096, {3}, 1, true, KEY_RSA},
        {2047, {1, 0, 1}, 3, true, KEY_UNSUPPORTED},
        {1024, {1, 0, 1}, 3, true, KEY_UNSUPPORTED},
        {4097, {1, 0, 1}, 3, true, KEY_UNSUPPORTED},
        {8192, {1, 0, 1}, 3, true, KEY_UNSUPPORTED},
        {2048, {1}, 1, false, KEY_RSA},
        {2048, {2}, 1, false, KEY_RSA},
        {2048, {0}, 1, false, KEY_RSA},
        {2048, {1, 0, 0, 0, 1}, 5, false, KEY_RSA},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        uint8_t modulus[1024 + 1] = {0}, bits[2048], buffer[2200];
        struct der_out b = DER_OUT(bits), o = DER_OUT(buffer);
        struct public_key k = {0};
        size_t n = (rows[i].bits + 7) / 8;
        modulus[0] = (uint8_t)(1U << (rows[i].bits + 7) % 8);
        modulus[n - 1] |= 1;
        der_put_natural(&b, rows[i].exponent, rows[i].n_exponent);
        der_put_natural(&b, modulus, n);
        der_wrap(&b, DER_SEQUENCE, 0);
        struct der made = der_out_bytes(&b);
        put_spki(&o, rsa, sizeof(rsa), made.at, made.n);
        bool readable = public_key_read(der_out_bytes(&o), &k);
        if (readable != rows[i].readable || (readable && (k.kind != rows[i].kind || k.bits != rows[i].bits)))
            fail_msg("row %zu: %d, %u bits", i, readable, k.bits);
    }
}

static void test_algorithms(void **state) {
    static const struct {
        uint8_t bytes[20];
        size_t n;
        enum signature_kind kind;
    } rows[] = {
        {{0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}, 10, SIGNATURE_ECDSA_SHA256},
        {{0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3}, 10, SIGNATURE_ECDSA_SHA384},
        {{0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2, 5, 0}, 12, SIGNATURE_UNSUPPORTED},
        {{0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}, 9, SIGNATURE_UNSUPPORTED}, /* with SHA-1 */
        {{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0}, 13, SIGNATURE_RSA_SHA256},
        {{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}, 11, SIGNATURE_RSA_SHA256},
        {{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0, 5, 0}, 15, SIGNATURE_UNSUPPORTED},
        {{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5, 5, 0}, 13, SIGNATURE_UNSUPPORTED},  /* SHA-1 */
        {{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10, 5, 0}, 13, SIGNATURE_UNSUPPORTED}, /* PSS */
        {{0x06, 3, 0x2b, 0x65, 0x70}, 5, SIGNATURE_UNSUPPORTED},                                    /* Ed25519 */
        {{0}, 0, SIGNATURE_UNSUPPORTED},
    };
    for (size_t i = 0; i < array_size(rows); i++)
        assert_int_equal(signature_kind_read((struct der){rows[i].bytes, rows[i].n}), rows[i].kind);
}

static void test_kinds_do_not_mix(void **state) {
    struct tls_key *key = NULL, *other = NULL;
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t n;
    struct der message = {(const uint8_t *)"m", 1};
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_key_generate(&other), 0);
    assert_int_equal(key_sign(key, message, signature, &n), 0);
    for (int kind = SIGNATURE_UNSUPPORTED; kind <= _SIGNATURE_KIND_MAX; kind++)
        assert_int_equal(signature_check(&key->public, (enum signature_kind)kind, message, (struct der){signature, n}),
                         kind == SIGNATURE_ECDSA_SHA256);
    assert_false(signature_check(&other->public, SIGNATURE_ECDSA_SHA256, message, (struct der){signature, n}));
    assert_false(signature_check(&key->public, SIGNATURE_ECDSA_SHA256, message, (struct der){signature, n - 1}));
    assert_false(signature_check(&key->public, SIGNATURE_ECDSA_SHA256, message, (struct der){signature, 0}));
    /* r = s = 0, which some have taken */
    assert_false(signature_check(&key->public, SIGNATURE_ECDSA_SHA256, message,
                                 (struct der){(const uint8_t *)"\x30\x06\x02\x01\x00\x02\x01\x00", 8}));
    struct public_key none = key->public;
    none.kind = KEY_UNSUPPORTED;
    assert_false(signature_check(&none, SIGNATURE_ECDSA_SHA256, message, (struct der){signature, n}));
    tls_key_free(key);
    tls_key_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ec_points),
        cmocka_unit_test(test_rsa_sizes),
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_kinds_do_not_mix),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
