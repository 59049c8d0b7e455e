/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/revoke.h - a revocation list taken apart, and the question whether a certificate is on one (private to the room) */
#pragma once

#include <ringwall/tls/crl.h>

#include "cert_view.h"

/* A list as read, borrowing its bytes. */
struct crl_view {
    struct der whole, tbs; /* both with tag and length */
    struct der issuer;     /* Name, with tag and length */
    struct der aki;        /* key identifier; empty when there is none */
    struct der number;     /* empty: none */
    struct der revoked;    /* contents of the list of entries, all of them checked */
    size_t n_revoked;
    int64_t this_update, next_update;
    enum signature_kind signature_kind;
    struct der signature;
};
/* False: cannot be used, and why. */
bool crl_view_read(const uint8_t *der, size_t n, struct crl_view *ret, const char **ret_why) must_check;
/* The next entry of view.revoked, which was checked. */
bool crl_step(struct der *revoked, struct der *ret_serial, int64_t *ret_at) must_check;
int serial_compare(struct der a, struct der b);

/* A list made ready for questions. */
struct crl {
    struct crl_view view;
    struct tls_crl_facts facts;
    uint8_t hash[DIGEST_BYTES_MAX]; /* of tbs: a long list is hashed once, not at each handshake */
    size_t hash_n;
    uint32_t *serials;           /* where the serials stand in view.revoked, sorted by their value */
    uint64_t issuer, issuer_key; /* as in struct tls_cert_print; key 0: any key of that name */
};
int crl_init(struct crl *c, const struct tls_der *der, const char **ret_why) must_check; /* 0, or 1: cannot be used */
void crl_deinit(struct crl *c);
bool crl_is_of(const struct crl *c, const struct cert_view *issuer); /* by name and key identifier */
bool crl_signed_by(const struct crl *c, const struct cert_view *issuer);
bool crl_lists(const struct crl *c, struct der serial);

/* Hash of a Name or a key identifier for tls_cert_print; 0 for no bytes. */
uint64_t print_of(struct der bytes);
void anchor_print(const struct cert_view *root, uint8_t ret[16]);

struct tls_bundle;
struct walk;
bool bundle_revokes(const struct tls_bundle *b, const struct cert_view *c, const struct cert_view *issuer);
/* Of a chain that was walked: OK, REVOKED or ISSUER_REVOKED. */
enum tls_trust_verdict chain_revoked(const struct walk *w);
void chain_prints(const struct walk *w, struct tls_peer *to);
