/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/revoke.c - is a certificate revoked, now in a handshake or later while its tunnel is open (tls/crl.h says by which list)
 *
 * A list's signature is checked once for a bundle when its issuer is a root. Other issuers are known only from the chains
 * that peers show; what was signed once stays signed, so each thread remembers some (by hash of contents and issuer key). */
#include <ringwall/base/check.h>

#include "bundle.h"
#include "chain.h"
#include "revoke.h"

uint64_t print_of(struct der bytes) {
    uint8_t hash[32];
    uint64_t print;
    if (!bytes.n)
        return 0;
    check(digest_sha256(bytes, (struct der){0}, hash));
    memcpy(&print, hash, sizeof(print));
    return print ? print : 1;
}

void anchor_print(const struct cert_view *root, uint8_t ret[16]) {
    uint8_t hash[32];
    check(digest_sha256(root->subject, root->key.bytes, hash));
    memcpy(ret, hash, 16);
}

bool crl_is_of(const struct crl *c, const struct cert_view *issuer) {
    if (!der_is(c->view.issuer, issuer->subject))
        return false;
    return c->view.aki.n == 0 || issuer->x.ski.n == 0 || der_is(c->view.aki, issuer->x.ski);
}

enum { SEEN_LISTS = 64 };
static _Thread_local uint8_t seen_lists[SEEN_LISTS][32];

bool crl_signed_by(const struct crl *c, const struct cert_view *issuer) {
    static const uint8_t none[32];
    uint8_t id[32];
    if (issuer->x.has_key_usage && !(issuer->x.key_usage & KEY_USAGE_CRL_SIGN))
        return false;
    bool hashed = digest_sha256((struct der){c->hash, c->hash_n}, issuer->key.bytes, id) && memcmp(id, none, sizeof(id)) != 0;
    uint8_t *slot = seen_lists[id[0] % SEEN_LISTS];
    if (hashed && !memcmp(slot, id, sizeof(id)))
        return true;
    if (!signature_check_hash(&issuer->key, c->view.signature_kind, (struct der){c->hash, c->hash_n}, c->view.signature))
        return false;
    if (hashed)
        memcpy(slot, id, sizeof(id));
    return true;
}

/* Which of two lists of one issuer is the later one. */
static bool is_newer(const struct crl *a, const struct crl *b) {
    int order = serial_compare(a->view.number, b->view.number); /* none is less than any */
    return order ? order > 0 : a->view.this_update > b->view.this_update;
}

bool bundle_revokes(const struct tls_bundle *b, const struct cert_view *c, const struct cert_view *issuer) {
    const struct crl *counts = NULL;
    for (size_t i = 0; i < b->crls.n; i++) {
        const struct crl *l = &b->lists[i];
        if (crl_is_of(l, issuer) && (!counts || is_newer(l, counts)) && crl_signed_by(l, issuer))
            counts = l;
    }
    return counts && crl_lists(counts, c->serial);
}

static const struct cert_view *issuer_of(const struct walk *w, size_t i) { return i + 1 < w->n_path ? &w->certs[i + 1] : w->root; }

enum tls_trust_verdict chain_revoked(const struct walk *w) {
    for (size_t i = 0; i < w->n_path && w->bundle->crls.n; i++)
        if (bundle_revokes(w->bundle, &w->certs[i], issuer_of(w, i)))
            return i == 0 ? TLS_TRUST_REVOKED : TLS_TRUST_ISSUER_REVOKED;
    return TLS_TRUST_OK;
}

void chain_prints(const struct walk *w, struct tls_peer *to) {
    to->n_prints = (unsigned)w->n_path;
    for (size_t i = 0; i < w->n_path; i++) {
        const struct cert_view *c = &w->certs[i];
        struct tls_cert_print *p = &to->prints[i];
        *p = (struct tls_cert_print){
            .issuer = print_of(c->issuer), .issuer_key = print_of(issuer_of(w, i)->x.ski), .serial_n = (uint8_t)c->serial.n};
        memcpy(p->serial, c->serial.at, c->serial.n);
    }
    anchor_print(w->root, to->anchor);
}

static bool print_revoked(const struct tls_bundle *b, const struct tls_cert_print *p) {
    const struct crl *counts = NULL;
    for (size_t i = 0; i < b->crls.n; i++) {
        const struct crl *l = &b->lists[i];
        bool same_key = !l->issuer_key || !p->issuer_key || l->issuer_key == p->issuer_key;
        if (l->issuer == p->issuer && same_key && (!counts || is_newer(l, counts)))
            counts = l;
    }
    return counts && crl_lists(counts, (struct der){p->serial, p->serial_n});
}

enum tls_trust_verdict tls_peer_recheck(const struct tls_peer *peer, const struct tls_trust *trust) {
    const struct tls_bundle *b = bundle_of(trust, identity_td(&peer->identity));
    bool anchored = false;
    if (!b)
        return TLS_TRUST_TRUST_DOMAIN;
    for (size_t i = 0; i < b->roots.n && !anchored; i++)
        anchored = !memcmp(b->anchors[i], peer->anchor, sizeof(peer->anchor));
    if (!anchored)
        return TLS_TRUST_NO_PATH;
    for (size_t i = 0; i < peer->n_prints && b->crls.n; i++)
        if (print_revoked(b, &peer->prints[i]))
            return i == 0 ? TLS_TRUST_REVOKED : TLS_TRUST_ISSUER_REVOKED;
    return TLS_TRUST_OK;
}
