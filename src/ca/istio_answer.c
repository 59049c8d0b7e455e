/* SPDX-License-Identifier: GPL-3.0-or-later
 * istio_answer.c - see istio_answer.h */
#include "istio_answer.h"

#include <string.h>

#include <ringwall/tls/credential.h>
#include <ringwall/wire/istio_ca.h>

void istio_answer_deinit(struct istio_answer *a) {
    tls_der_list_deinit(&a->chain);
    tls_der_list_deinit(&a->roots);
}

static bool is_listed(const struct tls_der_list *l, const struct tls_der *c) {
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].n == c->n && !memcmp(l->items[i].at, c->at, c->n))
            return true;
    return false;
}

/* Leaf and intermediates; roots that the other CA sends among them are left out (facts/identity.md 1.5). */
static const char *read_chain(const struct istio_ca_response *m, struct tls_der_list *ret_roots, struct tls_der_list *ret_chain) {
    if (m->n_chain < 2)
        return "its answer holds no root certificate";
    if (tls_certs_from_pem(m->chain[m->n_chain - 1], TLS_BUNDLE_MAX, ret_roots) != 0)
        return "the roots in its answer cannot be read";
    for (size_t i = 0; i + 1 < m->n_chain; i++) {
        struct tls_der_list part cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        if (tls_certs_from_pem(m->chain[i], TLS_CHAIN_MAX, &part) != 0)
            return "a certificate in its answer cannot be read";
        for (size_t k = 0; k < part.n; k++)
            if ((ret_chain->n == 0 || !is_listed(ret_roots, &part.items[k])) &&
                tls_der_list_add(ret_chain, part.items[k].at, part.items[k].n) != 0)
                return "no memory for its answer";
    }
    return NULL;
}

static const char *judge(const struct istio_answer *a, struct str trust_domain, const struct identity *asked,
                         const struct tls_csr *csr, int64_t now_s, struct tls_peer *ret) {
    cleanup(tls_bundle_unrefp) struct tls_bundle *bundle = NULL;
    cleanup(tls_trust_unrefp) struct tls_trust *trust = NULL;
    if (tls_bundle_new(trust_domain, &a->roots, NULL, &bundle) != 0)
        return "a root in its answer is no CA certificate";
    trust = tls_trust_new(&bundle, 1, 1);
    if (!trust)
        return "no memory for its answer";
    enum tls_trust_verdict v = tls_chain_verify(trust, &a->chain, TLS_ROLE_SERVER, now_s, NULL, NULL, ret);
    if (v != TLS_TRUST_OK)
        return tls_trust_text(v);
    if (!identity_is(&ret->identity, asked))
        return "its certificate is for another identity than was asked for";
    if (!tls_csr_matches(csr, a->chain.items[0].at, a->chain.items[0].n))
        return "its certificate is for another key than ours";
    return NULL;
}

const char *istio_answer_read(const uint8_t *bytes, size_t n, struct str trust_domain, const struct identity *asked,
                              const struct tls_csr *csr, int64_t now_s, struct istio_answer *ret) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct istio_answer a cleanup(istio_answer_deinit) = ISTIO_ANSWER_NULL;
    struct istio_ca_response m = {0};
    struct tls_peer peer;
    if (istio_ca_consume_response(bytes, n, &arena, &m) != PB_OK)
        return "its answer cannot be read";
    const char *why = read_chain(&m, &a.roots, &a.chain);
    if (!why)
        why = judge(&a, trust_domain, asked, csr, now_s, &peer);
    if (why)
        return why;
    a.not_after_s = peer.chain_not_after;
    *ret = a;
    a = ISTIO_ANSWER_NULL;
    return NULL;
}
