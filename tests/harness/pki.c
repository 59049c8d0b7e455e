/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/harness/pki.c - see pki.h
 *
 * Flawed leaves are written with the room's own DER writer, since its issuing functions cannot be talked into them. */
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/rng.h>
#include <ringwall/tls/crl.h>

#include "cert_view.h"
#include "credential_private.h"
#include "key_private.h"
#include "pki.h"

static void init_library(void) {
    static bool done;
    if (!done)
        check(tls_library_init() == 0);
    done = true;
}

void pki_init(struct pki *p, const char *trust_domain, int64_t now_s) {
    init_library();
    *p = (struct pki){.now_s = now_s, .ttl_s = PKI_TTL};
    snprintf(p->trust_domain, sizeof(p->trust_domain), "%s", trust_domain);
    struct tls_ca_spec spec = {.trust_domain = str_of(p->trust_domain),
                               .path_len = -1,
                               .not_before = now_s - TLS_BACKDATE_S,
                               .not_after = now_s + 365 * 86400};
    check(tls_key_generate(&p->key) == 0 && tls_issue_root(p->key, &spec, &p->root) == 0);
    struct tls_der_list roots = {.items = &p->root, .n = 1};
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    check(tls_bundle_new(spec.trust_domain, &roots, NULL, &bundle) == 0);
    p->trust = tls_trust_new(&bundle, 1, 1);
    check(p->trust);
}

void pki_deinit(struct pki *p) {
    p->key = tls_key_free(p->key);
    p->trust = tls_trust_unref(p->trust);
    free(p->root.at);
    *p = (struct pki){0};
}

struct tls_trust *pki_trust_both(const struct pki *a, const struct pki *b) {
    struct tls_bundle *bundles[] = {a->trust->bundles[0], b->trust->bundles[0]};
    struct tls_trust *t = tls_trust_new(bundles, 2, 2);
    check(t);
    return t;
}

struct tls_trust *pki_trust_revoking(const struct pki *p, const struct tls_peer *const *revoked, size_t n, uint64_t generation) {
    struct tls_issuer issuer = {.key = p->key, .cert = p->root.at, .cert_n = p->root.n};
    struct tls_revoked items[8];
    struct tls_crl_spec spec = {
        .number = generation, .this_update = p->now_s, .next_update = p->now_s + 86400, .items = items, .n = n};
    struct tls_der_list roots = {.items = (struct tls_der *)(uintptr_t)&p->root, .n = 1}, crls = {.n = 1};
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    struct tls_der crl;
    check(n <= array_size(items));
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct tls_revoked){.serial_n = revoked[i]->serial_n, .at = p->now_s};
        memcpy(items[i].serial, revoked[i]->serial, revoked[i]->serial_n);
    }
    check(tls_crl_make(&issuer, &spec, &crl) == 0);
    crls.items = &crl;
    check(tls_bundle_new(str_of(p->trust_domain), &roots, &crls, &bundle) == 0);
    free(crl.at);
    struct tls_trust *t = tls_trust_new(&bundle, 1, generation);
    check(t);
    return t;
}

void pki_node_init(struct pki_node *n, const struct pki *p, const char *node) {
    struct tls_issuer issuer = {.key = p->key, .cert = p->root.at, .cert_n = p->root.n};
    struct tls_ca_spec spec = {.trust_domain = str_of(p->trust_domain),
                               .node = str_of(node),
                               .path_len = 0,
                               .not_before = p->now_s - TLS_BACKDATE_S,
                               .not_after = p->now_s + 30 * 86400};
    *n = (struct pki_node){0};
    check(tls_key_generate(&n->key) == 0 && tls_issue_ca(&issuer, n->key, &spec, &n->cert) == 0);
}

void pki_node_deinit(struct pki_node *n) {
    n->key = tls_key_free(n->key);
    free(n->cert.at);
    *n = (struct pki_node){0};
}

struct identity pki_identity(const char *trust_domain, const char *ns, const char *sa) {
    struct identity i;
    check(identity_make(str_of(trust_domain), str_of(ns), str_of(sa), &i));
    return i;
}

static const struct {
    const char *name;
    enum tls_trust_verdict verdict;
} flaws[_PKI_FLAW_MAX] = {
    [PKI_FLAWLESS] = {"flawless", TLS_TRUST_OK},
    [PKI_TWO_URIS] = {"two URIs", TLS_TRUST_URI_COUNT},
    [PKI_NO_URI] = {"no URI", TLS_TRUST_URI_COUNT},
    [PKI_NUL_IN_URI] = {"NUL in the URI", TLS_TRUST_NOT_SPIFFE},
    [PKI_URI_AS_DNS] = {"identity as a DNS name", TLS_TRUST_URI_COUNT},
    [PKI_URI_NOT_SPIFFE] = {"URI of another scheme", TLS_TRUST_NOT_SPIFFE},
    [PKI_CA_AS_LEAF] = {"CA as leaf", TLS_TRUST_LEAF_IS_CA},
    [PKI_MAY_SIGN] = {"leaf with keyCertSign", TLS_TRUST_LEAF_USAGE},
    [PKI_NO_KEY_USAGE] = {"no key usage", TLS_TRUST_LEAF_USAGE},
    [PKI_CLIENT_ONLY] = {"client usage only", TLS_TRUST_LEAF_USAGE},
    [PKI_SERVER_ONLY] = {"server usage only", TLS_TRUST_LEAF_USAGE},
    [PKI_EXPIRED] = {"expired", TLS_TRUST_EXPIRED},
    [PKI_NOT_YET_VALID] = {"not yet valid", TLS_TRUST_NOT_YET_VALID},
    [PKI_UNKNOWN_CRITICAL] = {"unknown critical extension", TLS_TRUST_UNREADABLE},
    [PKI_WRONG_SIGNATURE] = {"wrong signature", TLS_TRUST_SIGNATURE},
};

const char *pki_flaw_name(enum pki_flaw f) { return flaws[f].name; }
enum tls_trust_verdict pki_flaw_verdict(enum pki_flaw f) { return flaws[f].verdict; }

static void put_extension(struct der_out *o, const uint8_t *oid, size_t n_oid, bool critical, size_t mark) {
    der_wrap(o, DER_OCTET_STRING, mark);
    if (critical)
        der_put_bool(o, true);
    der_put_tagged(o, DER_OID, oid, n_oid);
    der_wrap(o, DER_SEQUENCE, mark);
}

static void put_san(struct der_out *o, const struct identity *identity, enum pki_flaw flaw) {
    static const uint8_t oid[] = {0x55, 0x1d, 17};
    struct str uri = identity_uri(identity);
    char broken[IDENTITY_TEXT_MAX + 16];
    size_t mark = o->n;
    if (flaw == PKI_TWO_URIS)
        der_put_tagged(o, DER_CONTEXT(6), "spiffe://cluster.local/ns/other/sa/other", 40);
    if (flaw == PKI_NO_URI || flaw == PKI_URI_AS_DNS)
        der_put_tagged(o, DER_CONTEXT(2), flaw == PKI_NO_URI ? "example.org" : uri.at, flaw == PKI_NO_URI ? 11 : uri.n);
    else if (flaw == PKI_URI_NOT_SPIFFE)
        der_put_tagged(o, DER_CONTEXT(6), "https://example.org", 19);
    else if (flaw == PKI_NUL_IN_URI) {
        memcpy(broken, uri.at, uri.n);
        memcpy(broken + uri.n, "\0-x", 3);
        der_put_tagged(o, DER_CONTEXT(6), broken, uri.n + 3);
    } else
        der_put_tagged(o, DER_CONTEXT(6), uri.at, uri.n);
    der_wrap(o, DER_SEQUENCE, mark);
    put_extension(o, oid, sizeof(oid), true, mark);
}

static void put_extensions(struct der_out *o, const struct identity *identity, const struct cert_view *issuer, enum pki_flaw flaw) {
    static const uint8_t server[] = {0x2b, 6, 1, 5, 5, 7, 3, 1}, client[] = {0x2b, 6, 1, 5, 5, 7, 3, 2};
    static const uint8_t basic[] = {0x55, 0x1d, 19}, usage[] = {0x55, 0x1d, 15}, extended[] = {0x55, 0x1d, 37};
    static const uint8_t unknown[] = {0x2a, 3, 4, 5, 6}, authority[] = {0x55, 0x1d, 35};
    size_t mark;
    put_san(o, identity, flaw);
    mark = o->n;
    if (issuer->x.ski.n) {
        der_put_tagged(o, DER_CONTEXT(0), issuer->x.ski.at, issuer->x.ski.n);
        der_wrap(o, DER_SEQUENCE, mark);
        put_extension(o, authority, sizeof(authority), false, mark);
    }
    mark = o->n;
    if (flaw == PKI_CA_AS_LEAF)
        der_put_bool(o, true);
    der_wrap(o, DER_SEQUENCE, mark);
    put_extension(o, basic, sizeof(basic), true, mark);
    mark = o->n;
    if (flaw != PKI_SERVER_ONLY)
        der_put_tagged(o, DER_OID, client, sizeof(client));
    if (flaw != PKI_CLIENT_ONLY)
        der_put_tagged(o, DER_OID, server, sizeof(server));
    der_wrap(o, DER_SEQUENCE, mark);
    put_extension(o, extended, sizeof(extended), false, mark);
    mark = o->n;
    if (flaw != PKI_NO_KEY_USAGE) {
        der_put_flags(o, 1U << 0 | 1U << 2 | (flaw == PKI_MAY_SIGN || flaw == PKI_CA_AS_LEAF ? 1U << 5 : 0));
        put_extension(o, usage, sizeof(usage), true, mark);
    }
    mark = o->n;
    if (flaw == PKI_UNKNOWN_CRITICAL) {
        der_put_tagged(o, DER_NULL, NULL, 0);
        put_extension(o, unknown, sizeof(unknown), true, mark);
    }
    der_wrap(o, DER_SEQUENCE, 0);
    der_wrap(o, DER_CONTEXT_CONSTRUCTED(3), 0);
}

static struct tls_der write_leaf(const struct pki *p, const struct tls_key *signing, const struct tls_der *issuer,
                                 const struct tls_key *key, const struct identity *identity, enum pki_flaw flaw) {
    uint8_t tbs[4096], whole[5120], serial[16], signature[SIGNATURE_BYTES_MAX];
    struct der_out o = DER_OUT(tbs), w = DER_OUT(whole);
    int64_t from = p->now_s - TLS_BACKDATE_S, to = p->now_s + p->ttl_s;
    struct cert_view authority;
    size_t mark, n;
    check(cert_view_read(issuer->at, issuer->n, &authority));
    if (flaw == PKI_EXPIRED) {
        from -= 2 * PKI_TTL;
        to = p->now_s - 1;
    } else if (flaw == PKI_NOT_YET_VALID)
        from = p->now_s + 60;
    put_extensions(&o, identity, &authority, flaw);
    mark = o.n;
    der_put_der(&o, key_spki(key));
    der_wrap(&o, DER_SEQUENCE, mark);
    der_put_tagged(&o, DER_SEQUENCE, NULL, 0);
    mark = o.n;
    der_put_time(&o, to);
    der_put_time(&o, from);
    der_wrap(&o, DER_SEQUENCE, mark);
    der_put_der(&o, authority.subject);
    signature_kind_put(&o, key_signature_kind(signing));
    rng_secret(serial, sizeof(serial));
    serial[0] &= 0x7f;
    der_put_natural(&o, serial, sizeof(serial));
    mark = o.n;
    der_put_small(&o, 2);
    der_wrap(&o, DER_CONTEXT_CONSTRUCTED(0), mark);
    der_wrap(&o, DER_SEQUENCE, 0);
    check(!o.full && key_sign(signing, der_out_bytes(&o), signature, &n) == 0);
    if (flaw == PKI_WRONG_SIGNATURE)
        signature[n - 1] ^= 1;
    der_put(&w, signature, n);
    der_put(&w, "\0", 1);
    der_wrap(&w, DER_BIT_STRING, 0);
    signature_kind_put(&w, key_signature_kind(signing));
    der_put_der(&w, der_out_bytes(&o));
    der_wrap(&w, DER_SEQUENCE, 0);
    struct der made = der_out_bytes(&w);
    struct tls_der leaf = {.at = malloc(made.n), .n = made.n};
    check(!w.full && leaf.at);
    memcpy(leaf.at, made.at, made.n);
    return leaf;
}

void pki_leaf(const struct pki *p, const struct pki_node *node, const struct identity *identity, enum pki_flaw flaw,
              struct tls_key **ret_key, struct tls_der_list *ret_chain) {
    struct tls_key *key = NULL;
    check(tls_key_generate(&key) == 0);
    struct tls_der leaf = write_leaf(p, node ? node->key : p->key, node ? &node->cert : &p->root, key, identity, flaw);
    *ret_chain = TLS_DER_LIST_NULL;
    check(tls_der_list_add(ret_chain, leaf.at, leaf.n) == 0);
    if (node)
        check(tls_der_list_add(ret_chain, node->cert.at, node->cert.n) == 0);
    free(leaf.at);
    *ret_key = key;
}

struct tls_credential *pki_credential(const struct pki *p, const struct pki_node *node, const struct identity *identity,
                                      enum pki_flaw flaw, struct tls_trust *trust) {
    struct tls_credential_spec spec = {.identity = identity, .trust = trust ? trust : p->trust, .generation = 1};
    struct tls_credential *c = NULL;
    struct tls_peer self = {0};
    const char *why = NULL;
    pki_leaf(p, node, identity, flaw, &spec.key, &spec.chain);
    if (flaw == PKI_FLAWLESS && !trust) {
        check(tls_credential_new(&spec, p->now_s, &c, &why) == 0);
        return c;
    }
    self.identity = *identity;
    self.chain_not_after = p->now_s + p->ttl_s;
    self.leaf_not_before = p->now_s - TLS_BACKDATE_S;
    check(credential_assemble(&spec, &self, &c) == 0);
    return c;
}
