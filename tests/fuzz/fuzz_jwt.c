/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: a JSON Web Token. The bytes are read as a token; and as "header NUL claims" that are encoded here, so that the JSON behind
 * the base64 is reached. No token of a fuzzer is ever accepted: it knows no key. */
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/tls/jws.h>

static void judge(struct str token, const struct jwks *set) {
    struct arena a = {.bytes_max = 1024 * 1024};
    struct jwt_expected e = {.issuer = STR("i"), .audience = STR("a"), .now_s = 1700000000};
    struct jwt t;
    char why[128];
    int v = jws_accept(token, set, &e, &a, &t, why);

    check(v != JWT_OK && v >= 0 && v < _JWT_VERDICT_MAX && why[0]);
    if (jwt_consume(token, &a, &t, why) == JWT_OK)
        check(t.algorithm != JWT_ALGORITHM_NONE && t.kid.n && t.subject.n && t.n_audience <= JWT_AUDIENCE_MAX && t.n_signature &&
              t.expires_s >= 0 && t.signed_part.n < token.n);
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    /* The key of RFC 7515 A.3, under the names "k" (P-256). */
    static const char keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\","
                               "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                               "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
    struct str input = {(const char *)bytes, n};
    const uint8_t *nul = n ? memchr(bytes, 0, n) : NULL;
    struct growing made = GROWING_NULL;
    struct arena a = ARENA_NULL;
    struct jwks set;
    char why[128];

    check(jwks_consume(STR(keys), &a, &set, why) == 0 && set.n_keys == 1);
    judge(input, &set);
    if (nul) {
        base64url_add(&made, bytes, (size_t)(nul - bytes));
        growing_add(&made, STR("."));
        base64url_add(&made, nul + 1, n - (size_t)(nul - bytes) - 1);
        growing_add(&made, STR(".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"));
        judge((struct str){made.at, made.n}, &set);
    }
    growing_deinit(&made);
    arena_deinit(&a);
    return 0;
}
