/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/jws.h - signatures of JSON Web Tokens: RS256 and ES256 verified, ES256 made
 *
 * The key decides the algorithm, not the token: a token whose header says another one than its key's is refused, so neither `none`
 * nor HMAC with a public key can pass. */
#pragma once

#include <ringwall/tls/key.h>
#include <ringwall/wire/jwt.h>

enum { JWS_KID_MAX = 44 };

/* JWT_OK, JWT_NO_KEY, JWT_ALGORITHM or JWT_SIGNATURE. */
enum jwt_verdict jws_verify(const struct jwt *t, const struct jwks *set);
/* jwt_consume, jws_verify and jwt_check in that order: JWT_OK only if all hold. -ENOMEM. */
int jws_accept(struct str token, const struct jwks *set, const struct jwt_expected *e, struct arena *a, struct jwt *ret,
               char why[128]) must_check;
/* Appends "." and the signature to what jwt_create made. The key is P-256. */
int jws_sign(const struct tls_key *key, struct growing *token) must_check;
/* The key's RFC 7638 thumbprint, base64url: a kid that follows from the key. P-256 only. */
void jws_kid(const struct tls_key *key, char ret[JWS_KID_MAX]);
/* One JWK (a JSON object) of a P-256 key; use: "sig" or "jwt-svid". */
void jws_add_jwk(const struct tls_key *key, struct str kid, const char *use, struct growing *to);
