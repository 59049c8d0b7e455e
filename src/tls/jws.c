/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/jws.c - see tls/jws.h
 *
 * A JWS signature of ES256 is r and s as 32 bytes each; inside the room signatures are DER. */
#include <errno.h>
#include <stdio.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/tls/jws.h>
#include <ringwall/wire/json.h>

#include "key_private.h"

enum { P256_BYTES = 32, POINT_BYTES = 1 + 2 * P256_BYTES };

static bool all_zero(const uint8_t *bytes, size_t n) {
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= bytes[i];
    return !any;
}

static bool verify_rs256(const struct jwt *t, const struct jwk *k) {
    unsigned bits = (unsigned)k->n_n * 8;
    struct public_key key = {
        .kind = KEY_RSA, .bits = bits, .modulus = {k->n, k->n_n}, .exponent = {k->e, k->n_e}}; /* sizes: jwks_consume */
    struct der message = {(const uint8_t *)t->signed_part.at, t->signed_part.n};
    return signature_check(&key, SIGNATURE_RSA_SHA256, message, (struct der){t->signature, t->n_signature});
}

static bool verify_es256(const struct jwt *t, const struct jwk *k) {
    uint8_t point[POINT_BYTES] = {4}, buffer[2 * (P256_BYTES + 3) + 8];
    const uint8_t *r = t->signature, *s = t->signature + P256_BYTES;
    if (t->n_signature != 2 * P256_BYTES || all_zero(r, P256_BYTES) || all_zero(s, P256_BYTES))
        return false;
    memcpy(point + 1, k->x, P256_BYTES);
    memcpy(point + 1 + P256_BYTES, k->y, P256_BYTES);
    struct public_key key = {.kind = KEY_P256, .bits = 256, .bytes = {point, POINT_BYTES}, .point = {point, POINT_BYTES}};
    if (!public_key_valid(&key))
        return false;
    struct der_out o = DER_OUT(buffer);
    der_put_natural(&o, s, P256_BYTES);
    der_put_natural(&o, r, P256_BYTES);
    der_wrap(&o, DER_SEQUENCE, 0);
    check(!o.full);
    struct der message = {(const uint8_t *)t->signed_part.at, t->signed_part.n};
    return signature_check(&key, SIGNATURE_ECDSA_SHA256, message, der_out_bytes(&o));
}

enum jwt_verdict jws_verify(const struct jwt *t, const struct jwks *set) {
    const struct jwk *k = jwks_find(set, t->kid);
    if (!k)
        return JWT_NO_KEY;
    if (k->algorithm != t->algorithm)
        return JWT_ALGORITHM;
    switch (k->algorithm) {
    case JWT_RS256:
        return verify_rs256(t, k) ? JWT_OK : JWT_SIGNATURE;
    case JWT_ES256:
        return verify_es256(t, k) ? JWT_OK : JWT_SIGNATURE;
    case JWT_ALGORITHM_NONE:
        break;
    }
    return JWT_ALGORITHM;
}

int jws_accept(struct str token, const struct jwks *set, const struct jwt_expected *e, struct arena *a, struct jwt *ret,
               char why[128]) {
    int v = jwt_consume(token, a, ret, why);
    if (v < 0)
        return err_origin(v);
    if (v != JWT_OK)
        return v;
    v = (int)jws_verify(ret, set);
    if (v == JWT_OK)
        v = (int)jwt_check(ret, e);
    if (v != JWT_OK)
        snprintf(why, 128, "%s", jwt_verdict_text((enum jwt_verdict)v));
    return v;
}

/* 1..32 bytes to the right end of 32. */
static bool put_fixed(struct der number, uint8_t to[P256_BYTES]) {
    if (number.n > P256_BYTES)
        return false;
    memset(to, 0, P256_BYTES);
    memcpy(to + P256_BYTES - number.n, number.at, number.n);
    return true;
}

int jws_sign(const struct tls_key *key, struct growing *token) {
    uint8_t der_bytes[SIGNATURE_BYTES_MAX], raw[2 * P256_BYTES];
    struct der message = {(const uint8_t *)token->at, token->n}, sequence, r_part, s_part;
    size_t n;
    check(key->public.kind == KEY_P256);
    if (token->failed)
        return err_origin(-ENOMEM);
    int r = key_sign(key, message, der_bytes, &n);
    if (r)
        return err_trace(r);
    struct der signature = {der_bytes, n};
    if (!der_take(&signature, DER_SEQUENCE, &sequence) || !der_take_natural(&sequence, &r_part) ||
        !der_take_natural(&sequence, &s_part) || !put_fixed(r_part, raw) || !put_fixed(s_part, raw + P256_BYTES))
        return err_origin(-ENOTRECOVERABLE);
    growing_add(token, STR("."));
    base64url_add(token, raw, sizeof(raw));
    return token->failed ? err_origin(-ENOMEM) : 0;
}

enum { COORDINATE_TEXT = 43 };

static struct str coordinate(const struct tls_key *key, unsigned which, char to[COORDINATE_TEXT + 1]) {
    check(key->public.kind == KEY_P256 && key->public.point.n == POINT_BYTES);
    return (struct str){to, base64url_put(to, key->public.point.at + 1 + which * P256_BYTES, P256_BYTES)};
}

void jws_kid(const struct tls_key *key, char ret[JWS_KID_MAX]) {
    char x[COORDINATE_TEXT + 1], y[COORDINATE_TEXT + 1], bytes[160];
    struct text text = TEXT_OVER(bytes);
    uint8_t hash[32];
    /* RFC 7638 section 3: the required members, in this order, without blanks. */
    text_addf(&text, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"" STR_FMT "\",\"y\":\"" STR_FMT "\"}",
              STR_ARG(coordinate(key, 0, x)), STR_ARG(coordinate(key, 1, y)));
    check(!text.full && digest_sha256((struct der){(const uint8_t *)text.at, text.n}, (struct der){0}, hash));
    ret[base64url_put(ret, hash, sizeof(hash))] = '\0';
}

void jws_add_jwk(const struct tls_key *key, struct str kid, const char *use, struct growing *to) {
    char x[COORDINATE_TEXT + 1], y[COORDINATE_TEXT + 1];
    struct json_writer w;
    json_begin(&w, to, false);
    json_object(&w, NULL);
    json_z(&w, "alg", "ES256");
    json_z(&w, "crv", "P-256");
    json_str(&w, "kid", kid);
    json_z(&w, "kty", "EC");
    json_z(&w, "use", use);
    json_str(&w, "x", coordinate(key, 0, x));
    json_str(&w, "y", coordinate(key, 1, y));
    json_end(&w);
}
