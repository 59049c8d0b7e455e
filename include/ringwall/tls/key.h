/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/key.h - private keys (P-256 made here; P-256, P-384, RSA >= 2048 read) and random seeds for them
 *
 * Key bytes live in base/secret memory. A key object is immutable and may be read by several threads. */
#pragma once

#include <ringwall/base/secret.h>
#include <ringwall/base/str.h>

struct tls_key; /* DER held in secret memory */
enum tls_key_verdict { TLS_KEY_OK = 0, TLS_KEY_MALFORMED = 1, TLS_KEY_UNSUPPORTED = 2 /* kind or size */ };

int tls_library_init(void) must_check; /* once, before threads: wolfSSL's own start */
void tls_library_cleanup(void);

int tls_key_generate(struct tls_key **ret) must_check;                 /* P-256 */
int tls_key_from_pem(struct str pem, struct tls_key **ret) must_check; /* SEC1, PKCS#1 or PKCS#8, unencrypted; verdicts above */
int tls_key_to_pem(const struct tls_key *k, struct secret *ret_pem) must_check; /* PKCS#8 */
int tls_key_to_der(const struct tls_key *k, struct secret *ret_der) must_check; /* PKCS#8 */
struct tls_key *tls_key_free(struct tls_key *k);
DEFINE_FREEP(struct tls_key, tls_key_free)
const char *tls_key_kind(const struct tls_key *k); /* "P-256", "P-384", "RSA-2048", ... */
