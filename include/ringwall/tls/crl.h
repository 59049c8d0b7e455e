/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/crl.h - certificate revocation lists: RFC 5280 section 5, version 2, full lists of one issuer
 *
 * Read strictly from DER. Refused: version 1, delta lists and lists with an issuing distribution point (partial or indirect
 * ones), unknown critical extensions, more than TLS_CRL_BYTES_MAX or TLS_CRL_ENTRIES_MAX. Signatures by P-256, P-384 and RSA
 * keys of issuers that may sign lists (cRLSign).
 * How lists count, in the chain walk and for open tunnels:
 * - Every certificate below the root is looked up in the list of its own issuer: leaves in a node's or an intermediate's,
 *   nodes and intermediates in the root's.
 * - No list of an issuer: nothing of that issuer is revoked. Lists are optional, and most meshes have none.
 * - A list past its nextUpdate, or before its thisUpdate, still counts: what it revokes stays revoked. An old list can miss
 *   newer revocations, so the identity thread warns of it, but nobody is refused for its age: that would take the mesh
 *   down with the machine that renews the list (Envoy's way), and ignoring it would undo revocations (ztunnel's way).
 * - Several lists of one issuer: the one with the highest number counts, without numbers the latest thisUpdate.
 * - A list that bears a root's name must be signed by a root, else the whole bundle is refused, and the last good one stays in
 *   force. An intermediate's is checked when a chain shows the intermediate's certificate; one
 *   that it did not sign does not count. */
#pragma once

#include <ringwall/tls/issue.h>

enum { TLS_CRL_BYTES_MAX = 8 * 1024 * 1024, TLS_CRL_ENTRIES_MAX = 100000, TLS_CRLS_MAX = 64 };

struct tls_crl_facts {
    char issuer[TLS_NAME_MAX]; /* "O=cluster.local" */
    bool has_number;
    uint64_t number;                  /* UINT64_MAX when it is larger */
    int64_t this_update, next_update; /* seconds since 1970; next_update 0: not written */
    size_t n_revoked;
};
/* 0, or 1: cannot be used; *ret_why (static text) says what is wrong. */
int tls_crl_read(const uint8_t *der, size_t n, struct tls_crl_facts *ret, const char **ret_why) must_check;
/* Every X509 CRL block of a PEM text, each of them readable, in order; or one list in DER. An empty text gives no list.
 * 0; 1: malformed, or more than n_max. */
int tls_crls_from_pem(struct str pem, size_t n_max, struct tls_der_list *ret) must_check;
/* Did this CA certificate sign the list, and may it? */
bool tls_crl_signed_by(const uint8_t *crl, size_t n, const uint8_t *issuer, size_t issuer_n);

struct tls_revoked {
    uint8_t serial[TLS_SERIAL_MAX]; /* big-endian, without leading zeros */
    uint8_t serial_n;
    int64_t at; /* seconds since 1970 */
};
/* Its entries, sorted by serial; *ret is the caller's to free (NULL when there are none). 0; 1: cannot be used. */
int tls_crl_entries(const uint8_t *der, size_t n, struct tls_revoked **ret, size_t *ret_n) must_check;

struct tls_crl_spec {
    uint64_t number;
    int64_t this_update, next_update;
    const struct tls_revoked *items; /* any order; a serial that stands twice is written once, with the earlier date */
    size_t n;
};
/* 1: more than TLS_CRL_ENTRIES_MAX entries, or the issuer's certificate may not sign lists. */
int tls_crl_make(const struct tls_issuer *issuer, const struct tls_crl_spec *spec, struct tls_der *ret) must_check;

/* The lists of a bundle, for logs and status. */
size_t tls_bundle_n_crls(const struct tls_bundle *b);
const struct tls_crl_facts *tls_bundle_crl(const struct tls_bundle *b, size_t i);
