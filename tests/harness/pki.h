/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/harness/pki.h - a mesh's keys and certificates in memory, good ones and bad ones
 *
 * A pki is one trust domain with its root. Under it, node signing certificates and leaves. All functions assert: a test
 * that cannot make its certificates fails. Call tls_library_init() before. */
#pragma once

#include <ringwall/tls/credential.h>
#include <ringwall/tls/issue.h>

enum { PKI_NOW = 1900000000 }; /* seconds; leaves are valid about it, PKI_TTL forth, TLS_BACKDATE_S back */
enum { PKI_TTL = 3600 };

struct pki {
    char trust_domain[64];
    int64_t now_s, ttl_s; /* of leaves made from now on; PKI_TTL at first */
    struct tls_key *key;
    struct tls_der root;
    struct tls_trust *trust; /* this root alone */
};
void pki_init(struct pki *p, const char *trust_domain, int64_t now_s);
void pki_deinit(struct pki *p);
struct tls_trust *pki_trust_both(const struct pki *a, const struct pki *b); /* of two trust domains */

/* The root with its list, which names the serials of these leaves. */
struct tls_trust *pki_trust_revoking(const struct pki *p, const struct tls_peer *const *revoked, size_t n, uint64_t generation);

struct pki_node {
    struct tls_key *key;
    struct tls_der cert;
};
void pki_node_init(struct pki_node *n, const struct pki *p, const char *node);
void pki_node_deinit(struct pki_node *n);

struct identity pki_identity(const char *trust_domain, const char *ns, const char *sa);

enum pki_flaw {
    PKI_FLAWLESS,
    PKI_TWO_URIS,
    PKI_NO_URI,
    PKI_NUL_IN_URI,
    PKI_URI_AS_DNS,     /* the identity's text as a DNS name */
    PKI_URI_NOT_SPIFFE, /* https://example.org */
    PKI_CA_AS_LEAF,
    PKI_MAY_SIGN, /* keyCertSign without cA */
    PKI_NO_KEY_USAGE,
    PKI_CLIENT_ONLY,
    PKI_SERVER_ONLY,
    PKI_EXPIRED,
    PKI_NOT_YET_VALID,
    PKI_UNKNOWN_CRITICAL,
    PKI_WRONG_SIGNATURE,
    _PKI_FLAW_MAX
};
const char *pki_flaw_name(enum pki_flaw f);
enum tls_trust_verdict pki_flaw_verdict(enum pki_flaw f); /* what tls_chain_verify must say of it */

/* A leaf and its chain; signed by `node`, or by the root when NULL. */
void pki_leaf(const struct pki *p, const struct pki_node *node, const struct identity *identity, enum pki_flaw flaw,
              struct tls_key **ret_key, struct tls_der_list *ret_chain);
/* A credential around it which trusts `trust` (NULL: the pki's own root); a flawed one is put together unchecked. */
struct tls_credential *pki_credential(const struct pki *p, const struct pki_node *node, const struct identity *identity,
                                      enum pki_flaw flaw, struct tls_trust *trust);
