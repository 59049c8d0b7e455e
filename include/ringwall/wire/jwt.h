/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/jwt.h - JSON Web Tokens and key sets as bytes: what they say, strictly read; whether a signature holds is tls/jws.h's
 *
 * Read are compact JWS (RFC 7515) with RS256 or ES256: any other algorithm, `none` and HMAC with it, is a verdict. Strict:
 * base64url without padding and with zero spare bits, JSON without duplicate keys or anything behind it, no `crit`, kid and exp and
 * sub mandatory, times as whole seconds. Keys that a token brings along (jwk, jku, x5c, x5u) are never looked at. */
#pragma once

#include <ringwall/base/arena.h>

enum {
    JWT_BYTES_MAX = 16 * 1024,
    JWT_AUDIENCE_MAX = 16,
    JWT_SIGNATURE_MAX = 512, /* RSA 4096 */
    JWT_LEEWAY_S = 60,       /* clocks differ */
    JWKS_BYTES_MAX = 256 * 1024,
    JWKS_KEYS_MAX = 64
};

/* Base64url (RFC 4648 section 5), unpadded, canonical. */
size_t base64url_bytes_max(size_t n_text);
bool base64url_decode(struct str text, uint8_t *to, size_t cap, size_t *ret_n) must_check; /* false: not canonical, or no room */
void base64url_add(struct growing *to, const void *bytes, size_t n);
size_t base64url_put(char *to, const void *bytes, size_t n); /* 4 characters for each 3 bytes, no NUL; returns how many */

enum jwt_algorithm { JWT_ALGORITHM_NONE = 0 /* nothing that we take */, JWT_RS256 = 1, JWT_ES256 = 2 };
#define JWT_VERDICTS(X) \
    X(OK, "well") \
    X(MALFORMED, "it is not a JSON Web Token") \
    X(ALGORITHM, "its algorithm is not RS256 or ES256") \
    X(NO_KEY, "it names a key that is not in the key set") \
    X(SIGNATURE, "its signature is wrong") \
    X(ISSUER, "its issuer is another one") \
    X(AUDIENCE, "its audience is another one") \
    X(EXPIRED, "it has expired") \
    X(NOT_YET, "it is not valid yet")
enum jwt_verdict {
#define JWT_VERDICT_ENUM(upper, text) JWT_##upper,
    JWT_VERDICTS(JWT_VERDICT_ENUM)
#undef JWT_VERDICT_ENUM
        _JWT_VERDICT_MAX
};
const char *jwt_verdict_text(enum jwt_verdict v);

struct jwt_object { /* a Kubernetes object that the token is bound to; empty: not there */
    struct str name, uid;
};
struct jwt {
    enum jwt_algorithm algorithm;
    struct str kid;
    struct str signed_part; /* header "." payload, as they came: points into the token */
    uint8_t signature[JWT_SIGNATURE_MAX];
    size_t n_signature;
    struct str claims; /* the payload's JSON text */
    struct str issuer, subject;
    struct str audience[JWT_AUDIENCE_MAX];
    size_t n_audience;
    int64_t expires_s, not_before_s, issued_s; /* the last two 0 when absent */
    struct {                                   /* claim kubernetes.io; empty strings when absent */
        struct str namespace;
        struct jwt_object pod, service_account, node;
    } kubernetes;
};
/* JWT_OK, JWT_MALFORMED or JWT_ALGORITHM; -ENOMEM. Nothing is proven by JWT_OK. `why` says more than the verdict. */
int jwt_consume(struct str token, struct arena *a, struct jwt *ret, char why[128]) must_check;

struct jwt_expected {
    struct str issuer;   /* empty: any */
    struct str audience; /* must be among the token's; empty: any */
    int64_t now_s;
};
/* The claims that need no key: issuer, audience, [nbf, exp) with JWT_LEEWAY_S either side. */
enum jwt_verdict jwt_check(const struct jwt *t, const struct jwt_expected *e);

/* A token to be signed with ES256: header and claims, up to the second dot (jws_sign in tls/jws.h adds the rest). */
struct jwt_claims {
    struct str kid, issuer /* may be empty */, subject;
    const struct str *audience;
    size_t n_audience;
    int64_t issued_s, expires_s;
};
void jwt_create(const struct jwt_claims *c, struct growing *to);

enum jwk_use { JWK_USE_ANY = 0, JWK_USE_SIG = 1, JWK_USE_JWT_SVID = 2 };
struct jwk { /* a public key; both kinds of numbers big-endian, unsigned */
    struct str kid;
    enum jwk_use use;
    enum jwt_algorithm algorithm; /* what it may verify: RSA keys JWT_RS256, P-256 keys JWT_ES256 */
    const uint8_t *n, *e;         /* RSA */
    size_t n_n, n_e;
    const uint8_t *x, *y; /* P-256, 32 bytes each */
};
struct jwks {
    const struct jwk *keys;
    size_t n_keys, n_skipped; /* skipped: of kinds, curves, uses or algorithms that we do not take */
};
/* 0 or 1: no key set, or one with a key that is malformed, too weak (RSA below 2048 bits), nameless, or named twice. */
int jwks_consume(struct str json, struct arena *a, struct jwks *ret, char why[128]) must_check;
const struct jwk *jwks_find(const struct jwks *set, struct str kid); /* NULL: none */
