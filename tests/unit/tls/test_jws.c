/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a token passes only with the key that its kid names, under that key's own algorithm; every known trick is refused; what we
 * sign another implementation verifies, and the other way round. Method: tokens made with openssl (RSA, P-256) and by us; each
 * attack by itself; every changed bit of a token. */
#include <ringwall/base/io.h>
#include <ringwall/tls/jws.h>

#include "der.h"
#include "key_private.h"
#include "pki.h"
#include "unit.h"

enum { NOW = 1700000000 };

static struct {
    char dir[256];
    struct tls_key *key, *other, *rsa;
    char kid[JWS_KID_MAX];
    struct growing set; /* ours, another P-256 key, an RSA key */
} f;

static struct tls_key *openssl_key(const char *algorithm, const char *name) {
    char command[1024];
    struct tls_key *key = NULL;
    char *pem = NULL;
    size_t n;
    snprintf(command, sizeof(command), "openssl genpkey -quiet %s -out %s/%s.pem 2>%s/log", algorithm, f.dir, name, f.dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), "%s/%s.pem", f.dir, name);
    assert_int_equal(io_read_file(command, 1 << 16, &pem, &n), 0);
    int r = tls_key_from_pem((struct str){pem, n}, &key);
    free(pem);
    assert_true(r == TLS_KEY_OK || r == TLS_KEY_UNSUPPORTED);
    return key;
}

static void add_rsa_jwk(struct growing *to, const struct tls_key *key, const char *kid) {
    growing_addf(to, "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"", kid);
    base64url_add(to, key->public.modulus.at, key->public.modulus.n);
    growing_add(to, STR("\",\"e\":\""));
    base64url_add(to, key->public.exponent.at, key->public.exponent.n);
    growing_add(to, STR("\"}"));
}

static int make(void **state) {
    unit_directory(f.dir);
    assert_int_equal(tls_library_init(), 0);
    assert_int_equal(tls_key_generate(&f.key), 0);
    f.other = openssl_key("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "ec");
    f.rsa = openssl_key("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "rsa");
    assert_non_null(f.other);
    assert_non_null(f.rsa);
    jws_kid(f.key, f.kid);
    growing_add(&f.set, STR("{\"keys\":["));
    jws_add_jwk(f.key, str_of(f.kid), "jwt-svid", &f.set);
    growing_add(&f.set, STR(","));
    jws_add_jwk(f.other, STR("other"), "sig", &f.set);
    growing_add(&f.set, STR(","));
    add_rsa_jwk(&f.set, f.rsa, "rsa");
    growing_add(&f.set, STR("]}"));
    return 0;
}

static int unmake(void **state) {
    char command[512];
    tls_key_free(f.key);
    tls_key_free(f.other);
    tls_key_free(f.rsa);
    growing_deinit(&f.set);
    snprintf(command, sizeof(command), "rm -rf %s", f.dir);
    return system(command);
}

static struct growing unsigned_token(const char *header, const char *claims) {
    struct growing g = GROWING_NULL;
    base64url_add(&g, header, strlen(header));
    growing_add(&g, STR("."));
    base64url_add(&g, claims, strlen(claims));
    return g;
}

#define CLAIMS "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":[\"a\"],\"exp\":1700000300}"

/* With a tls_key: RSA keys make RS256, P-256 keys ES256. */
static struct growing token(const struct tls_key *key, const char *header, const char *claims) {
    struct growing g = unsigned_token(header, claims);
    if (key->public.kind == KEY_P256) {
        assert_int_equal(jws_sign(key, &g), 0);
        return g;
    }
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t n;
    assert_int_equal(key_sign(key, (struct der){(const uint8_t *)g.at, g.n}, signature, &n), 0);
    growing_add(&g, STR("."));
    base64url_add(&g, signature, n);
    return g;
}

static int judge(struct str token, const char *set) {
    struct arena a = ARENA_NULL;
    struct jwks keys;
    struct jwt t;
    struct jwt_expected e = {STR("i"), STR("a"), NOW};
    char why[128];
    assert_int_equal(jwks_consume(set ? str_of(set) : (struct str){f.set.at, f.set.n}, &a, &keys, why), 0);
    int v = jws_accept(token, &keys, &e, &a, &t, why);
    assert_int_equal(why[0] == '\0', v == JWT_OK);
    if (v == JWT_OK)
        assert_true(str_is(t.subject, STR("s")));
    arena_deinit(&a);
    return v;
}

static int judge_made(const struct tls_key *key, const char *header, const char *claims) {
    struct growing g cleanup(growing_deinit) = token(key, header, claims);
    return judge((struct str){g.at, g.n}, NULL);
}

static void good_tokens_pass(void **state) {
    char header[128];
    snprintf(header, sizeof(header), "{\"alg\":\"ES256\",\"kid\":\"%s\"}", f.kid);
    for (int i = 0; i < 64; i++) /* r and s of every length */
        assert_int_equal(judge_made(f.key, header, CLAIMS), JWT_OK);
    assert_int_equal(judge_made(f.other, "{\"alg\":\"ES256\",\"kid\":\"other\"}", CLAIMS), JWT_OK);
    assert_int_equal(judge_made(f.rsa, "{\"alg\":\"RS256\",\"kid\":\"rsa\"}", CLAIMS), JWT_OK);
}

static void wrong_ones_have_their_verdict(void **state) {
    static const char good[] = "{\"alg\":\"ES256\",\"kid\":\"other\"}";
    static const struct {
        const char *claims;
        int verdict;
    } table[] = {
        {"{\"iss\":\"j\",\"sub\":\"s\",\"aud\":\"a\",\"exp\":1700000300}", JWT_ISSUER},
        {"{\"sub\":\"s\",\"aud\":\"a\",\"exp\":1700000300}", JWT_ISSUER},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"b\",\"exp\":1700000300}", JWT_AUDIENCE},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"exp\":1700000300}", JWT_AUDIENCE},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\",\"exp\":1699999000}", JWT_EXPIRED},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\",\"exp\":1700000300,\"nbf\":1700000100}", JWT_NOT_YET},
        {"{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", JWT_MALFORMED},
    };
    for (size_t i = 0; i < array_size(table); i++)
        assert_int_equal(judge_made(f.other, good, table[i].claims), table[i].verdict);
    assert_int_equal(judge_made(f.other, "{\"alg\":\"ES256\",\"kid\":\"nobody\"}", CLAIMS), JWT_NO_KEY);
    assert_int_equal(judge_made(f.key, good, CLAIMS), JWT_SIGNATURE);                                    /* another's name */
    assert_int_equal(judge_made(f.other, "{\"alg\":\"ES256\",\"kid\":\"rsa\"}", CLAIMS), JWT_ALGORITHM); /* another kind of key */
    assert_int_equal(judge_made(f.rsa, "{\"alg\":\"RS256\",\"kid\":\"other\"}", CLAIMS), JWT_ALGORITHM);
    /* A wrong signature is what is told, whatever the claims say: they are nobody's. */
    assert_int_equal(judge_made(f.key, good, table[4].claims), JWT_SIGNATURE);
}

/* The public key as PEM and DER is what a confused verifier would take as the HMAC's key; here no HMAC is ever computed. */
static void none_and_hmac_are_refused(void **state) {
    static const char *const headers[] = {"{\"alg\":\"none\",\"kid\":\"rsa\"}", "{\"alg\":\"HS256\",\"kid\":\"rsa\"}",
                                          "{\"alg\":\"NONE\",\"kid\":\"other\"}", "{\"alg\":\"HS384\",\"kid\":\"other\"}"};
    static const char *const signatures[] = {".", ".AA", ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < array_size(headers); i++)
        for (size_t k = 0; k < array_size(signatures); k++) {
            struct growing g cleanup(growing_deinit) = unsigned_token(headers[i], CLAIMS);
            growing_add(&g, str_of(signatures[k]));
            assert_int_equal(judge((struct str){g.at, g.n}, NULL), JWT_ALGORITHM);
        }
    /* made by openssl with the public key's PEM as the secret */
    char command[2048], *mac = NULL;
    size_t n;
    struct growing g cleanup(growing_deinit) = unsigned_token("{\"alg\":\"HS256\",\"kid\":\"rsa\"}", CLAIMS);
    snprintf(command, sizeof(command),
             "openssl pkey -in %s/rsa.pem -pubout -out %s/pub.pem && printf %%s '%s' | openssl dgst -sha256 -mac HMAC -macopt "
             "\"hexkey:$(od -An -vtx1 %s/pub.pem | tr -d ' \\n')\" -binary -out %s/mac",
             f.dir, f.dir, g.at, f.dir, f.dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), "%s/mac", f.dir);
    assert_int_equal(io_read_file(command, 100, &mac, &n), 0);
    assert_int_equal(n, 32);
    growing_add(&g, STR("."));
    base64url_add(&g, mac, n);
    free(mac);
    assert_int_equal(judge((struct str){g.at, g.n}, NULL), JWT_ALGORITHM);
}

static int judge_signature(const char *header, const uint8_t *signature, size_t n) {
    struct growing g cleanup(growing_deinit) = unsigned_token(header, CLAIMS);
    growing_add(&g, STR("."));
    base64url_add(&g, signature, n);
    return judge((struct str){g.at, g.n}, NULL);
}

static void impossible_signatures_are_refused(void **state) {
    static const char ec[] = "{\"alg\":\"ES256\",\"kid\":\"other\"}", rsa[] = "{\"alg\":\"RS256\",\"kid\":\"rsa\"}";
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                      0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    uint8_t zero[64] = {0}, one[32] = {[31] = 1}, all[512], pair[64];
    memset(all, 0xff, sizeof(all));
    const uint8_t *const numbers[] = {zero, one, order, all};
    for (size_t r = 0; r < array_size(numbers); r++)
        for (size_t s = 0; s < array_size(numbers); s++) { /* (0, 0) was CVE-2022-21449 */
            memcpy(pair, numbers[r], 32);
            memcpy(pair + 32, numbers[s], 32);
            assert_int_equal(judge_signature(ec, pair, 64), JWT_SIGNATURE);
        }
    for (size_t n = 1; n < 130; n++)
        assert_int_equal(judge_signature(ec, all, n), JWT_SIGNATURE);
    assert_int_equal(judge_signature(rsa, all, 256), JWT_SIGNATURE);
    assert_int_equal(judge_signature(rsa, all, 255), JWT_SIGNATURE);
    assert_int_equal(judge_signature(rsa, all, 512), JWT_SIGNATURE);
    uint8_t nothing[256] = {0}, small[256] = {[255] = 1};
    assert_int_equal(judge_signature(rsa, nothing, 256), JWT_SIGNATURE);
    assert_int_equal(judge_signature(rsa, small, 256), JWT_SIGNATURE);
    /* A DER signature where r and s belong. */
    struct growing g cleanup(growing_deinit) = unsigned_token(ec, CLAIMS);
    uint8_t der[SIGNATURE_BYTES_MAX];
    size_t n;
    assert_int_equal(key_sign(f.other, (struct der){(const uint8_t *)g.at, g.n}, der, &n), 0);
    assert_int_equal(judge_signature(ec, der, n), JWT_SIGNATURE);
}

static void a_point_off_the_curve_verifies_nothing(void **state) {
    struct growing set cleanup(growing_deinit) = GROWING_NULL,
                       g cleanup(growing_deinit) = token(f.other, "{\"alg\":\"ES256\",\"kid\":\"x\"}", CLAIMS);
    uint8_t x[32], y[32];
    static const int changes[][2] = {{0, 1}, {31, 1}};
    for (size_t i = 0; i < array_size(changes) + 1; i++) {
        memcpy(x, f.other->public.point.at + 1, 32);
        memcpy(y, f.other->public.point.at + 33, 32);
        if (i < array_size(changes))
            y[changes[i][0]] ^= (uint8_t)changes[i][1];
        else
            memset(x, 0, 32), memset(y, 0, 32);
        growing_add(&set, STR("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"x\",\"x\":\""));
        base64url_add(&set, x, 32);
        growing_add(&set, STR("\",\"y\":\""));
        base64url_add(&set, y, 32);
        growing_add(&set, STR("\"}]}"));
        assert_int_equal(judge((struct str){g.at, g.n}, set.at), JWT_SIGNATURE);
        growing_deinit(&set);
        set = GROWING_NULL;
    }
}

static void every_changed_bit_is_noticed(void **state) {
    static const char *const headers[] = {"{\"alg\":\"ES256\",\"kid\":\"other\"}", "{\"alg\":\"RS256\",\"kid\":\"rsa\"}"};
    for (size_t i = 0; i < array_size(headers); i++) {
        struct growing g cleanup(growing_deinit) = token(i ? f.rsa : f.other, headers[i], CLAIMS);
        for (size_t at = 0; at < g.n; at += i ? 3 : 1) {
            char kept = g.at[at];
            g.at[at] ^= (char)(1u << (at % 7));
            assert_int_not_equal(judge((struct str){g.at, g.n}, NULL), JWT_OK);
            g.at[at] = kept;
        }
        assert_int_equal(judge((struct str){g.at, g.n}, NULL), JWT_OK);
        assert_int_equal(judge((struct str){g.at, g.n - 1}, NULL) == JWT_OK, false);
    }
}

static void weak_keys_are_not_taken(void **state) {
    struct growing set cleanup(growing_deinit) = GROWING_NULL;
    struct arena a = ARENA_NULL;
    struct jwks keys;
    char why[128];
    assert_null(openssl_key("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "small"));
    struct public_key thin = f.rsa->public;
    thin.modulus.n /= 2;
    struct tls_key half = {.public = thin};
    growing_add(&set, STR("{\"keys\":["));
    add_rsa_jwk(&set, &half, "thin");
    growing_add(&set, STR("]}"));
    assert_int_equal(jwks_consume((struct str){set.at, set.n}, &a, &keys, why), 1);
    assert_non_null(strstr(why, "2048"));
    arena_deinit(&a);
}

static void openssl_agrees(void **state) {
    char command[4096], *signature = NULL;
    size_t n;
    /* theirs: RS256 by openssl */
    struct growing g cleanup(growing_deinit) = unsigned_token("{\"alg\":\"RS256\",\"kid\":\"rsa\"}", CLAIMS);
    snprintf(command, sizeof(command), "printf %%s '%s' | openssl dgst -sha256 -sign %s/rsa.pem -out %s/sig", g.at, f.dir, f.dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), "%s/sig", f.dir);
    assert_int_equal(io_read_file(command, 1000, &signature, &n), 0);
    growing_add(&g, STR("."));
    base64url_add(&g, signature, n);
    free(signature);
    assert_int_equal(judge((struct str){g.at, g.n}, NULL), JWT_OK);
    /* ours: ES256, verified by openssl once r and s are DER */
    struct growing ours cleanup(growing_deinit) = token(f.other, "{\"alg\":\"ES256\",\"kid\":\"other\"}", CLAIMS);
    char *dot = strrchr(ours.at, '.');
    uint8_t raw[64], buffer[80];
    assert_true(base64url_decode(str_of(dot + 1), raw, sizeof(raw), &n) && n == 64);
    struct der_out o = DER_OUT(buffer);
    der_put_natural(&o, raw + 32, 32);
    der_put_natural(&o, raw, 32);
    der_wrap(&o, DER_SEQUENCE, 0);
    struct der der = der_out_bytes(&o);
    snprintf(command, sizeof(command), "%s/ours", f.dir);
    assert_int_equal(io_write_file(command, der.at, der.n, 0600), 0);
    snprintf(
        command, sizeof(command),
        "openssl pkey -in %s/ec.pem -pubout -out %s/ecpub.pem && printf %%s '%.*s' | openssl dgst -sha256 -verify %s/ecpub.pem "
        "-signature %s/ours >%s/log",
        f.dir, f.dir, (int)(dot - ours.at), ours.at, f.dir, f.dir, f.dir);
    assert_int_equal(system(command), 0);
}

static void the_kid_is_the_thumbprint(void **state) {
    char command[1024], *text = NULL, kid[JWS_KID_MAX];
    struct growing x cleanup(growing_deinit) = GROWING_NULL, y cleanup(growing_deinit) = GROWING_NULL,
                     hash cleanup(growing_deinit) = GROWING_NULL;
    size_t n;
    jws_kid(f.other, kid);
    assert_int_equal(strlen(kid), 43);
    base64url_add(&x, f.other->public.point.at + 1, 32);
    base64url_add(&y, f.other->public.point.at + 33, 32);
    snprintf(
        command, sizeof(command),
        "printf %%s '{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}' | openssl dgst -sha256 -binary -out %s/hash",
        x.at, y.at, f.dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), "%s/hash", f.dir);
    assert_int_equal(io_read_file(command, 100, &text, &n), 0);
    base64url_add(&hash, text, n);
    free(text);
    assert_string_equal(hash.at, kid);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_tokens_pass),
        cmocka_unit_test(wrong_ones_have_their_verdict),
        cmocka_unit_test(none_and_hmac_are_refused),
        cmocka_unit_test(impossible_signatures_are_refused),
        cmocka_unit_test(a_point_off_the_curve_verifies_nothing),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(weak_keys_are_not_taken),
        cmocka_unit_test(openssl_agrees),
        cmocka_unit_test(the_kid_is_the_thumbprint),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
