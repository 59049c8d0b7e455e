/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: of a key set the keys that we can use are taken, others passed over, and a wrong or weak one makes the set wrong with a
 * reason. Method: tables of keys; numbers at their bounds; every cut and changed byte. */
#include <errno.h>

#include <ringwall/wire/jwt.h>

#include "unit.h"

#define X "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" /* 32 bytes, 0 to 31 */
#define EC "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"" X "\",\"y\":\"" X "\"}"

/* A modulus of so many bytes: 0x80.. (or `first`) and odd. */
static void add_rsa(struct growing *g, size_t n_modulus, uint8_t first, uint8_t last, const char *e, const char *more) {
    uint8_t modulus[600];
    memset(modulus, 0x55, sizeof(modulus));
    modulus[0] = first;
    modulus[n_modulus - 1] = last;
    growing_addf(g, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\",\"e\":\"%s\"%s,\"n\":\"", e, more);
    base64url_add(g, modulus, n_modulus);
    growing_add(g, STR("\"}]}"));
}

static int consume(struct str json, struct jwks *ret, struct arena *a) {
    char why[128];
    int v = jwks_consume(json, a, ret, why);
    assert_int_equal(v == 0, why[0] == '\0');
    return v;
}

static void rsa_keys(void **state) {
    static const struct {
        size_t n;
        uint8_t first, last;
        const char *e, *more;
        int verdict;
        size_t n_keys;
    } table[] = {
        {256, 0x80, 1, "AQAB", "", 0, 1},
        {256, 0x80, 1, "Aw", "", 0, 1}, /* 3 */
        {512, 0xff, 1, "AQAB", ",\"use\":\"sig\"", 0, 1},
        {256, 0x80, 1, "AQAB", ",\"alg\":\"RS256\",\"key_ops\":[\"verify\"]", 0, 1},
        {256, 0x80, 1, "AQAB", ",\"use\":\"jwt-svid\"", 0, 1},
        {256, 0x80, 1, "AQAB", ",\"use\":\"enc\"", 0, 0},
        {256, 0x80, 1, "AQAB", ",\"use\":7", 0, 0},
        {256, 0x80, 1, "AQAB", ",\"use\":\"x509-svid\"", 0, 0},
        {256, 0x80, 1, "AQAB", ",\"alg\":\"RS512\"", 0, 0},
        {256, 0x80, 1, "AQAB", ",\"alg\":\"HS256\"", 0, 0},
        {256, 0x80, 1, "AQAB", ",\"key_ops\":[\"sign\"]", 0, 0},
        {256, 0x80, 1, "AQAB", ",\"d\":\"AAAA\"", 1, 0}, /* a private key */
        {256, 0x7f, 1, "AQAB", "", 1, 0},                /* 2047 bits */
        {255, 0xff, 1, "AQAB", "", 1, 0},
        {128, 0xff, 1, "AQAB", "", 1, 0},
        {513, 0x80, 1, "AQAB", "", 1, 0},
        {257, 0x00, 1, "AQAB", "", 1, 0},    /* a leading zero */
        {256, 0x80, 2, "AQAB", "", 1, 0},    /* even */
        {256, 0x80, 1, "AQ", "", 1, 0},      /* 1: signs nothing */
        {256, 0x80, 1, "Ag", "", 1, 0},      /* 2 */
        {256, 0x80, 1, "AA", "", 1, 0},      /* 0 */
        {256, 0x80, 1, "AAEAAQ", "", 1, 0},  /* a leading zero */
        {256, 0x80, 1, "AQAAAAE", "", 1, 0}, /* 2^32 + 1 */
        {256, 0x80, 1, "", "", 1, 0},
        {256, 0x80, 1, "AQAB=", "", 1, 0},
        {256, 0x80, 1, "AQA", "", 1, 0}, /* spare bits; even too */
    };
    for (size_t i = 0; i < array_size(table); i++) {
        struct growing g cleanup(growing_deinit) = GROWING_NULL;
        struct arena a = ARENA_NULL;
        struct jwks set = {0};
        add_rsa(&g, table[i].n, table[i].first, table[i].last, table[i].e, table[i].more);
        assert_int_equal(consume((struct str){g.at, g.n}, &set, &a), table[i].verdict);
        assert_int_equal(set.n_keys, table[i].n_keys);
        assert_int_equal(set.n_skipped, table[i].verdict == 0 && table[i].n_keys == 0);
        if (set.n_keys) {
            assert_true(set.keys[0].algorithm == JWT_RS256 && set.keys[0].n_n == table[i].n && set.keys[0].n[0] == table[i].first);
            assert_ptr_equal(jwks_find(&set, STR("r")), &set.keys[0]);
            assert_null(jwks_find(&set, STR("R")));
            assert_null(jwks_find(&set, STR("")));
        }
        arena_deinit(&a);
    }
}

static void sets(void **state) {
    static const struct {
        const char *json;
        int verdict;
        size_t n_keys, n_skipped;
    } table[] = {
        {"{\"keys\":[]}", 0, 0, 0},
        {"{\"keys\":[" EC "],\"spiffe_sequence\":1,\"spiffe_refresh_hint\":300}", 0, 1, 0},
        {"{\"keys\":[" EC "," EC "]}", 1, 0, 0}, /* the same name */
        {"{\"keys\":[{\"kty\":\"oct\",\"kid\":\"e\",\"k\":\"AAAA\"}," EC "]}", 0, 1, 1},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}", 0, 0, 1},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":\"a\"}]}", 0, 0, 1},
        {"{\"keys\":[{\"kty\":\"EC\",\"kid\":\"a\"}]}", 0, 0, 1},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"alg\":\"ES512\"}]}", 0, 0, 1},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\"}]}", 1, 0, 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"x\":\"" X "\",\"y\":\"AAAA\"}]}", 1, 0, 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"x\":\"" X "\",\"y\":\"AA" X "\"}]}", 1, 0, 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" X "\"}]}", 1, 0, 0}, /* nameless */
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"d\":\"" X "\",\"x\":\"" X "\",\"y\":\"" X "\"}]}", 1, 0, 0},
        {"{\"keys\":[{}]}", 1, 0, 0},
        {"{\"keys\":[7]}", 1, 0, 0},
        {"{\"keys\":[[]]}", 1, 0, 0},
        {"{\"keys\":{}}", 1, 0, 0},
        {"{}", 1, 0, 0},
        {"[]", 1, 0, 0},
        {"", 1, 0, 0},
        {"{\"keys\":[],\"keys\":[" EC "]}", 1, 0, 0},
        {"{\"keys\":[]} trailing", 1, 0, 0},
    };
    for (size_t i = 0; i < array_size(table); i++) {
        struct arena a = ARENA_NULL;
        struct jwks set = {0};
        assert_int_equal(consume(str_of(table[i].json), &set, &a), table[i].verdict);
        assert_int_equal(set.n_keys, table[i].n_keys);
        assert_int_equal(set.n_skipped, table[i].n_skipped);
        for (size_t k = 0; k < set.n_keys; k++)
            assert_true(set.keys[k].algorithm == JWT_ES256 && set.keys[k].x[31] == 31 && set.keys[k].y[1] == 1);
        arena_deinit(&a);
    }
}

static void bounds(void **state) {
    struct arena a = ARENA_NULL;
    struct jwks set = {0};
    char why[128];
    for (size_t n = JWKS_KEYS_MAX; n < JWKS_KEYS_MAX + 2; n++) {
        struct growing g cleanup(growing_deinit) = GROWING_NULL;
        growing_add(&g, STR("{\"keys\":["));
        for (size_t i = 0; i < n; i++)
            growing_addf(&g, "%s{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"%zu\",\"x\":\"" X "\",\"y\":\"" X "\"}", i ? "," : "",
                         i);
        growing_add(&g, STR("]}"));
        assert_int_equal(consume((struct str){g.at, g.n}, &set, &a), n > JWKS_KEYS_MAX);
    }
    assert_int_equal(set.n_keys, JWKS_KEYS_MAX);
    char *big = malloc(JWKS_BYTES_MAX + 1);
    memset(big, ' ', JWKS_BYTES_MAX + 1);
    assert_int_equal(consume((struct str){big, JWKS_BYTES_MAX + 1}, &set, &a), 1);
    free(big);
    arena_deinit(&a);
    struct arena small = {.bytes_max = 200};
    assert_int_equal(jwks_consume(STR("{\"keys\":[" EC "]}"), &small, &set, why), -ENOMEM);
    arena_deinit(&small);
}

static void damage_never_harms(void **state) {
    static const char well[] = "{\"keys\":[" EC "]}";
    for (size_t at = 0; at < sizeof(well) - 1; at++)
        for (unsigned bit = 0; bit < 9; bit++) {
            struct arena a = ARENA_NULL;
            struct jwks set;
            size_t n = bit == 8 ? at : sizeof(well) - 1;
            char *copy = malloc(n + 1);
            memcpy(copy, well, n);
            if (bit < 8)
                copy[at] ^= (char)(1u << bit);
            assert_in_range(consume((struct str){copy, n}, &set, &a), 0, 1);
            free(copy);
            arena_deinit(&a);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rsa_keys),
        cmocka_unit_test(sets),
        cmocka_unit_test(bounds),
        cmocka_unit_test(damage_never_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
