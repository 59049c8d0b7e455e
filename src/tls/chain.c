/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/chain.c - whom do we trust: the walk from a leaf to a root of its own trust domain
 *
 * DESIGN rule 3 and facts/identity.md 4.2. The chain is taken in the order in which TLS asks for it (RFC 8446 4.4.2): the
 * issuer of a certificate is a root, or the very next certificate. Nothing is searched, so the work is bounded by
 * chain length x roots of that name, and no peer can make us try paths.
 * A good signature stays good for ever, so each thread remembers those it has seen (remembered.h); times, usages, names and
 * revocation are judged anew for every peer. */
#include <ringwall/base/check.h>

#include "chain.h"
#include "remembered.h"

const char *tls_trust_text(enum tls_trust_verdict v) {
    static const char *const texts[] = {
#define TLS_TRUST_TEXT(upper, text) [TLS_TRUST_##upper] = text,
        TLS_TRUSTS(TLS_TRUST_TEXT)
#undef TLS_TRUST_TEXT
    };
    check(v >= 0 && v < _TLS_TRUST_MAX);
    return texts[v];
}

static bool signed_by(const struct cert_view *c, const struct cert_view *issuer) {
    return remembered_check(&issuer->key, c->signature_kind, c->whole, c->tbs, c->signature);
}

static bool time_ok(const struct cert_view *c, int64_t now_s, enum tls_trust_verdict *why) {
    if (now_s < c->not_before)
        *why = TLS_TRUST_NOT_YET_VALID;
    else if (now_s > c->not_after)
        *why = TLS_TRUST_EXPIRED;
    else
        return true;
    return false;
}

static bool host_matches(struct str host, struct str constraint) {
    if (constraint.n && constraint.at[0] == '.')
        return host.n > constraint.n && str_fold_is((struct str){host.at + host.n - constraint.n, constraint.n}, constraint);
    return str_fold_is(host, constraint);
}

/* A DNS constraint holds for its own name and for all below it. */
static bool domain_matches(struct str name, struct str constraint) {
    if (constraint.n && constraint.at[0] == '.')
        constraint = (struct str){constraint.at + 1, constraint.n - 1};
    if (constraint.n == 0 || str_fold_is(name, constraint))
        return true;
    return name.n > constraint.n && name.at[name.n - constraint.n - 1] == '.' &&
           str_fold_is((struct str){name.at + name.n - constraint.n, constraint.n}, constraint);
}

/* An IP constraint is an address and a mask of the same length. */
static bool address_matches(struct str address, struct str constraint) {
    if (constraint.n != 2 * address.n)
        return false;
    for (size_t i = 0; i < address.n; i++)
        if ((address.at[i] ^ constraint.at[i]) & constraint.at[address.n + i])
            return false;
    return true;
}

static bool name_matches(const struct chain_name *name, struct str constraint) {
    switch (name->tag) {
    case DER_CONTEXT(2):
        return domain_matches(name->value, constraint);
    case DER_CONTEXT(7):
        return address_matches(name->value, constraint);
    default:
        return host_matches(name->value, constraint);
    }
}

/* One list of subtrees; only those of the name's own type say something about it. */
static bool subtrees_read(struct der list, const struct chain_name *name, bool *ret_any, bool *ret_match) {
    struct der subtree;
    struct der_item base;
    while (list.n) {
        if (!der_take(&list, DER_SEQUENCE, &subtree) || !der_next(&subtree, &base) || subtree.n)
            return false;
        if (base.tag != name->tag)
            continue;
        *ret_any = true;
        *ret_match |= name_matches(name, (struct str){(const char *)base.body.at, base.body.n});
    }
    return true;
}

/* RFC 5280 4.2.1.10; of a URI the host part counts, which is the trust domain. */
static bool constraints_allow(const struct cert_view *issuer, const struct chain_name *name) {
    struct der rest = issuer->x.constraints, list;
    bool any = false, match = false, excluded_any = false, excluded = false;
    if (!issuer->x.has_constraints)
        return true;
    if (der_peek(&rest, DER_CONTEXT_CONSTRUCTED(0)) &&
        (!der_take(&rest, DER_CONTEXT_CONSTRUCTED(0), &list) || !subtrees_read(list, name, &any, &match)))
        return false;
    if (der_peek(&rest, DER_CONTEXT_CONSTRUCTED(1)) &&
        (!der_take(&rest, DER_CONTEXT_CONSTRUCTED(1), &list) || !subtrees_read(list, name, &excluded_any, &excluded)))
        return false;
    return rest.n == 0 && (!any || match) && !excluded;
}

/* May `issuer` have signed certificates with n_between CA certificates between it and the leaf? */
static bool issuer_ok(const struct cert_view *issuer, bool is_root, unsigned n_between, const struct chain_name *name,
                      int64_t now_s, enum tls_trust_verdict *why) {
    if (issuer->x.unknown_critical)
        *why = TLS_TRUST_UNREADABLE;
    else if (!issuer->x.is_ca || (issuer->x.has_key_usage ? !(issuer->x.key_usage & KEY_USAGE_CERT_SIGN) : !is_root))
        *why = TLS_TRUST_ISSUER_NOT_CA;
    else if (issuer->x.has_path_len && n_between > issuer->x.path_len)
        *why = TLS_TRUST_PATH_LEN;
    else if (!constraints_allow(issuer, name))
        *why = TLS_TRUST_CONSTRAINT;
    else
        return time_ok(issuer, now_s, why);
    return false;
}

static bool names_issuer(const struct cert_view *c, const struct cert_view *issuer) {
    if (!der_is(c->issuer, issuer->subject))
        return false;
    /* Key identifiers only spare us signatures that cannot fit. */
    return c->x.aki.n == 0 || issuer->x.ski.n == 0 || der_is(c->x.aki, issuer->x.ski);
}

static enum tls_trust_verdict leaf_ok(const struct cert_view *leaf, struct identity *ret_identity) {
    if (leaf->n_uri != 1)
        return TLS_TRUST_URI_COUNT;
    if (!identity_parse(leaf->uri, ret_identity))
        return TLS_TRUST_NOT_SPIFFE;
    if (leaf->x.is_ca)
        return TLS_TRUST_LEAF_IS_CA;
    if (!(leaf->x.key_usage & KEY_USAGE_DIGITAL_SIGNATURE) || leaf->x.key_usage & (KEY_USAGE_CERT_SIGN | KEY_USAGE_CRL_SIGN))
        return TLS_TRUST_LEAF_USAGE;
    /* Both, whichever the peer's role is: an identity that may only dial or only be dialled is not one of this mesh. */
    if (!leaf->x.server_auth || !leaf->x.client_auth)
        return TLS_TRUST_LEAF_USAGE;
    if (leaf->key.kind == KEY_UNSUPPORTED || leaf->x.unknown_critical)
        return TLS_TRUST_UNREADABLE;
    return TLS_TRUST_OK;
}

/* Is certs[i] signed by a root? Several may have the name, of different keys or times. */
static bool root_found(struct walk *w, size_t i, enum tls_trust_verdict *why) {
    for (size_t k = 0; k < w->bundle->roots.n; k++) {
        const struct cert_view *root = &w->bundle->views[k];
        if (!names_issuer(&w->certs[i], root))
            continue;
        if (!signed_by(&w->certs[i], root)) {
            *why = TLS_TRUST_SIGNATURE;
            continue;
        }
        if (!issuer_ok(root, true, (unsigned)i, &w->name, w->now_s, why))
            continue;
        w->not_after = min_of(w->not_after, root->not_after);
        w->root = root;
        w->n_path = i + 1;
        w->ends_at_root = i == 0;
        return true;
    }
    return false;
}

enum tls_trust_verdict chain_walk(struct walk *w) {
    enum tls_trust_verdict why = TLS_TRUST_NO_PATH;
    if (!time_ok(&w->certs[0], w->now_s, &why))
        return why;
    w->not_after = w->certs[0].not_after;
    for (size_t i = 0;; i++) {
        if (root_found(w, i, &why))
            return chain_revoked(w);
        if (i + 1 >= w->n || !names_issuer(&w->certs[i], &w->certs[i + 1]))
            return why;
        const struct cert_view *issuer = &w->certs[i + 1];
        if (!signed_by(&w->certs[i], issuer))
            return TLS_TRUST_SIGNATURE;
        if (!issuer_ok(issuer, false, (unsigned)i, &w->name, w->now_s, &why))
            return why;
        w->not_after = min_of(w->not_after, issuer->not_after);
        why = TLS_TRUST_NO_PATH;
    }
}

enum tls_trust_verdict chain_read(const struct tls_der_list *chain, struct walk *w) {
    if (chain->n == 0)
        return TLS_TRUST_NONE;
    if (chain->n > TLS_CHAIN_MAX)
        return TLS_TRUST_CHAIN_TOO_LONG;
    for (w->n = 0; w->n < chain->n; w->n++)
        if (!cert_view_read(chain->items[w->n].at, chain->items[w->n].n, &w->certs[w->n]))
            return TLS_TRUST_UNREADABLE;
    return TLS_TRUST_OK;
}

/* Two trust domains may have the same roots (an alias uses ours): a node of the one is a node in the other too, never an
 * authority that may sign for everybody. */
static bool root_is_also_of(const struct tls_trust *trust, struct str trust_domain, const struct cert_view *root) {
    const struct tls_bundle *b = bundle_of(trust, trust_domain);

    for (size_t k = 0; b && k < b->roots.n; k++)
        if (der_is(b->views[k].whole, root->whole))
            return true;
    return false;
}

/* The node whose signing certificate issued the leaf. False: it is a node's, but its name cannot be read. */
static bool issuing_node(const struct tls_trust *trust, const struct walk *w, char to[64]) {
    char organisation[TLS_NAME_MAX];
    const struct cert_view *issuer = &w->certs[1];
    to[0] = '\0';
    if (w->ends_at_root || !issuer->x.has_path_len || issuer->x.path_len != 0)
        return true;
    if (!name_attribute(issuer->subject, NAME_O, organisation, sizeof(organisation)) ||
        !root_is_also_of(trust, str_of(organisation), w->root) || !name_has(issuer->subject, NAME_CN))
        return true;
    return name_attribute(issuer->subject, NAME_CN, to, 64);
}

enum tls_trust_verdict tls_chain_verify(const struct tls_trust *trust, const struct tls_der_list *chain, enum tls_role role,
                                        int64_t now_s, tls_node_covers_fn covers, void *covers_context, struct tls_peer *ret) {
    struct walk w = {.now_s = now_s};
    char node[64];
    (void)role; /* both usages are asked for, see leaf_ok */
    enum tls_trust_verdict v = chain_read(chain, &w);
    if (v == TLS_TRUST_OK)
        v = leaf_ok(&w.certs[0], &w.identity);
    if (v != TLS_TRUST_OK)
        return v;
    w.name = (struct chain_name){DER_CONTEXT(6), identity_td(&w.identity)};
    w.bundle = bundle_of(trust, identity_td(&w.identity));
    if (!w.bundle)
        return TLS_TRUST_TRUST_DOMAIN;
    v = chain_walk(&w);
    if (v != TLS_TRUST_OK)
        return v;
    if (!issuing_node(trust, &w, node) || (node[0] && covers && !covers(covers_context, str_of(node), &w.identity)))
        return TLS_TRUST_NODE_ISSUER;
    struct tls_cert_facts leaf;
    check(tls_cert_read(chain->items[0].at, chain->items[0].n, &leaf) == 0);
    ret->serial_n = (uint8_t)leaf.serial_n;
    memcpy(ret->serial, leaf.serial, leaf.serial_n);
    ret->leaf_not_before = leaf.not_before;
    memcpy(ret->key_kind, leaf.key_kind, sizeof(ret->key_kind));
    ret->identity = w.identity;
    memcpy(ret->issuing_node, node, sizeof(node));
    ret->chain_not_after = w.not_after;
    chain_prints(&w, ret);
    ret->trust_generation = trust->generation;
    return TLS_TRUST_OK;
}
