/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/issue.h - certificate requests and certificates made here
 *
 * Leaf profile: facts/identity.md 1.5 and 11: v3, random positive 127-bit serial, empty subject, one critical URI SAN, key
 * usage digitalSignature + keyEncipherment critical, EKU serverAuth + clientAuth, cA false critical, AKI when the issuer
 * has an SKI, notBefore two minutes back, notAfter at most the issuer's, no session of the library kept. */
#pragma once

#include <ringwall/tls/cert.h>

enum { TLS_BACKDATE_S = 120 };

/* PKCS#10, empty subject, one critical SAN extension with the URI; DER. identity NULL: without any name. */
int tls_csr_make(const struct tls_key *key, const struct identity *identity, struct tls_der *ret) must_check;
enum tls_csr_verdict {
    TLS_CSR_OK = 0,
    TLS_CSR_MALFORMED = 1,
    TLS_CSR_SIGNATURE = 2, /* not signed by its own key */
    TLS_CSR_KEY = 3,       /* RSA < 2048 or a curve we refuse */
    TLS_CSR_SAN = 4,       /* carries a SAN other than exactly one URI equal to the expected one */
};
struct tls_csr; /* checked request: its public key */
/* expected NULL: what names it carries does not matter. */
int tls_csr_read(const uint8_t *der, size_t n, const struct identity *expected, struct tls_csr **ret) must_check;
bool tls_csr_matches(const struct tls_csr *c, const uint8_t *cert, size_t n); /* the certificate is for the same key */
struct tls_csr *tls_csr_free(struct tls_csr *c);
DEFINE_FREEP(struct tls_csr, tls_csr_free)
int tls_der_to_pem(const struct tls_der *der, const char *label, struct growing *to) must_check; /* appends one block */
int tls_pem_to_der(struct str pem, const char *label, struct tls_der *ret) must_check; /* first block of that label; 1: none */

struct tls_issuer {
    const struct tls_key *key;
    const uint8_t *cert; /* DER of the signing certificate */
    size_t cert_n;
};
/* Signs with the issuer's key. now_s is wall time; ttl_s > 0. 1: the issuer's certificate is over. */
int tls_issue_leaf(const struct tls_issuer *issuer, const struct tls_csr *csr, const struct identity *identity, int64_t now_s,
                   int64_t ttl_s, struct tls_der *ret) must_check;

/* A TLS server's leaf: DNS names, or addresses where a name is one; serverAuth only. 1: as above, or a name cannot be written. */
int tls_issue_server(const struct tls_issuer *issuer, const struct tls_csr *csr, const struct str *names, size_t n_names,
                     int64_t now_s, int64_t ttl_s, struct tls_der *ret) must_check;

struct tls_ca_spec {
    struct str trust_domain; /* subject O */
    struct str node;         /* subject CN; empty for a root */
    int path_len;            /* -1: none written */
    int64_t not_before, not_after;
};
int tls_issue_root(const struct tls_key *key, const struct tls_ca_spec *spec, struct tls_der *ret) must_check;
/* A node's signing certificate: CA, path length as given, no nameConstraints, keyCertSign + cRLSign. */
int tls_issue_ca(const struct tls_issuer *issuer, const struct tls_key *subject_key, const struct tls_ca_spec *spec,
                 struct tls_der *ret) must_check;
