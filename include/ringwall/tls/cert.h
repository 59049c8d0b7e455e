/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/cert.h - certificates as bytes and as facts; lists of them; bundles; the chain walk that decides whom to trust
 *
 * All functions here take foreign bytes. Bounds: a certificate TLS_CERT_BYTES_MAX, a chain TLS_CHAIN_MAX, a bundle
 * TLS_BUNDLE_MAX roots (facts/identity.md 9.2 #28). The walk is our own (DESIGN 8): signature by signature, CA flag, key
 * usage, path length, validity, trust domain; then the leaf by DESIGN rule 3. */
#pragma once

#include <ringwall/model/identity.h>
#include <ringwall/tls/key.h>

enum { TLS_CERT_BYTES_MAX = 16 * 1024, TLS_CHAIN_MAX = 6, TLS_BUNDLE_MAX = 64, TLS_SERIAL_MAX = 20, TLS_NAME_MAX = 256 };

struct tls_der { /* owned bytes */
    uint8_t *at;
    size_t n;
};
struct tls_der_list {
    struct tls_der *items;
    size_t n;
};
#define TLS_DER_LIST_NULL ((struct tls_der_list){0})
void tls_der_list_deinit(struct tls_der_list *l);
int tls_der_list_add(struct tls_der_list *l, const uint8_t *der, size_t n) must_check;
int tls_der_list_copy(struct tls_der_list *ret, const struct tls_der_list *from) must_check;
/* Every CERTIFICATE block of a PEM text, in order. 0, or 1: malformed or more than n_max. */
int tls_certs_from_pem(struct str pem, size_t n_max, struct tls_der_list *ret) must_check;
int tls_certs_to_pem(const struct tls_der_list *l, struct growing *to) must_check;

/* What a certificate says. Strings are cut at their bound only where said; text is printable. */
struct tls_cert_facts {
    uint8_t serial[TLS_SERIAL_MAX];
    size_t serial_n;
    int64_t not_before, not_after; /* seconds since 1970 */
    bool is_ca, has_path_len;
    uint8_t path_len;
    bool has_key_usage, digital_signature, key_cert_sign, crl_sign;
    bool has_eku, server_auth, client_auth;
    unsigned n_uri_san;                               /* URI names in the SAN extension, counted by type */
    bool uri_is_identity;                             /* the first URI SAN parses as a mesh identity */
    struct identity identity;                         /* then this one */
    char uri[IDENTITY_TEXT_MAX + 1];                  /* the first URI SAN, cleaned for logs; may be cut */
    char subject[TLS_NAME_MAX], issuer[TLS_NAME_MAX]; /* "O=cluster.local, CN=node-1" */
    char subject_cn[64], subject_o[TLS_NAME_MAX];     /* empty when absent; a name with NUL or control bytes: empty */
    char issuer_cn[64], issuer_o[TLS_NAME_MAX];
    char key_kind[16];
};
/* A serial as `ca revoke` takes it, in hex; to: 2 * TLS_SERIAL_MAX + 1 bytes. Returns `to`. */
char *tls_serial_text(const uint8_t *serial, size_t n, char *to);
/* 0, or 1: not a certificate we can read (version 1, malformed, too large). */
int tls_cert_read(const uint8_t *der, size_t n, struct tls_cert_facts *ret) must_check;

/* Trust anchors of one trust domain and the revocation lists of its issuers. Immutable after it is made, shared by reference
 * count (any thread). Which lists count, and what a missing or an old one means: tls/crl.h. */
struct tls_bundle;
/* crls: DER each; NULL: none. 1: a root is no CA certificate, the list of roots is empty, or a revocation list cannot be used
 * (malformed, or it bears a root's name and that root did not sign it; tls_crl_read says more). */
int tls_bundle_new(struct str trust_domain, const struct tls_der_list *roots, const struct tls_der_list *crls,
                   struct tls_bundle **ret) must_check;
struct tls_bundle *tls_bundle_ref(struct tls_bundle *b);
struct tls_bundle *tls_bundle_unref(struct tls_bundle *b);
DEFINE_FREEP(struct tls_bundle, tls_bundle_unref)
struct str tls_bundle_trust_domain(const struct tls_bundle *b);
const struct tls_der_list *tls_bundle_roots(const struct tls_bundle *b);
const struct tls_der_list *tls_bundle_crls(const struct tls_bundle *b);

/* The bundles of all trust domains that we know. Immutable, shared. */
struct tls_trust {
    struct tls_bundle **bundles;
    size_t n;
    uint64_t generation;
};

enum tls_role { TLS_ROLE_CLIENT, TLS_ROLE_SERVER };
/* Why a peer's certificate is refused; each has a text, which logs and close reasons show. */
#define TLS_TRUSTS(X) \
    X(OK, "trusted") \
    X(NONE, "peer sent no certificate") \
    X(UNREADABLE, "certificate cannot be read") \
    X(CHAIN_TOO_LONG, "certificate chain is too long") \
    X(URI_COUNT, "certificate does not have exactly one URI name") \
    X(NOT_SPIFFE, "certificate's URI is no SPIFFE identity of a workload") \
    X(LEAF_IS_CA, "certificate is a CA's, not a workload's") \
    X(LEAF_USAGE, "certificate's key usage or extended key usage does not allow this") \
    X(TRUST_DOMAIN, "no trust bundle for the certificate's trust domain") \
    X(NOT_YET_VALID, "certificate is not valid yet") \
    X(EXPIRED, "certificate has expired") \
    X(NO_PATH, "certificate does not chain to a root of its trust domain") \
    X(ISSUER_NOT_CA, "a certificate in the chain is not allowed to sign others") \
    X(PATH_LEN, "chain is longer than an issuer's path length allows") \
    X(SIGNATURE, "a signature in the chain is wrong") \
    X(HOST, "certificate is not for this server name") \
    X(NODE_ISSUER, "the issuing node's certificate does not cover a workload of this identity") \
    X(CONSTRAINT, "an issuer's name constraints do not allow this identity") \
    X(REVOKED, "certificate is revoked") \
    X(ISSUER_REVOKED, "the certificate of its issuer is revoked")
enum tls_trust_verdict {
#define TLS_TRUST_ENUM(upper, text) TLS_TRUST_##upper,
    TLS_TRUSTS(TLS_TRUST_ENUM)
#undef TLS_TRUST_ENUM
        _TLS_TRUST_MAX
};
const char *tls_trust_text(enum tls_trust_verdict v);

/* What is kept of one certificate of a chain, enough to find it in a revocation list that comes later. */
struct tls_cert_print {
    uint64_t issuer, issuer_key; /* hashes of the issuer's name, and of its key identifier (0: none) */
    uint8_t serial_n, serial[TLS_SERIAL_MAX];
};
/* The facts of a peer after the walk. */
struct tls_peer {
    struct identity identity; /* the one URI SAN */
    /* Of the leaf: */
    uint8_t serial_n, serial[TLS_SERIAL_MAX];
    int64_t leaf_not_before;
    char key_kind[16];
    /* When the leaf was issued by a node's signing certificate (an intermediate with pathLen 0, subject O = trust
     * domain and CN = node name): that node. Empty when a root or a shared intermediate issued it. */
    char issuing_node[64];
    int64_t chain_not_after; /* the earliest end in the chain */
    /* For tls_peer_recheck: the walk's certificates, leaf first, without the root; the root's name and key; the trust's
     * generation that judged. */
    unsigned n_prints;
    struct tls_cert_print prints[TLS_CHAIN_MAX];
    uint8_t anchor[16];
    uint64_t trust_generation;
};
/* Asked for leaves of a node's signing certificate (DESIGN rule 3): does the world place this identity there? */
typedef bool (*tls_node_covers_fn)(void *context, struct str node, const struct identity *identity);

/* Walks leaf-first `chain` to a root of the leaf's trust domain. now_s is wall time. role is the *peer's* role. */
enum tls_trust_verdict tls_chain_verify(const struct tls_trust *trust, const struct tls_der_list *chain, enum tls_role role,
                                        int64_t now_s, tls_node_covers_fn covers, void *covers_context, struct tls_peer *ret);
/* Judges a peer again that was trusted before, by another generation of bundles: OK; TRUST_DOMAIN or NO_PATH when its trust
 * domain or its root is not trusted any more; REVOKED or ISSUER_REVOKED. Time is not judged, nor is a signature checked
 * anew: a revocation list whose issuer is no root is taken at its word here, since that issuer's key is not kept. */
enum tls_trust_verdict tls_peer_recheck(const struct tls_peer *peer, const struct tls_trust *trust);
/* Does `issuer` (a CA certificate) sign `cert`, by signature only? */
bool tls_cert_signed_by(const uint8_t *cert, size_t n, const uint8_t *issuer, size_t issuer_n);
bool tls_cert_matches_key(const uint8_t *cert, size_t n, const struct tls_key *key);
