/* SPDX-License-Identifier: GPL-3.0-or-later
 * play.c - see play.h */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "play.h"

void play_ca_init(struct play_ca *p, struct str trust_domain, int64_t not_before, int64_t not_after) {
    *p = (struct play_ca){0};
    struct tls_ca_spec spec = {.trust_domain = trust_domain, .path_len = -1, .not_before = not_before, .not_after = not_after};
    check(tls_key_generate(&p->key) == 0);
    check(tls_issue_root(p->key, &spec, &p->root) == 0);
    check(tls_der_to_pem(&p->root, "CERTIFICATE", &p->root_pem) == 0);
}

void play_ca_deinit(struct play_ca *p) {
    tls_key_free(p->key);
    free(p->root.at);
    growing_deinit(&p->root_pem);
}

static void sign(struct play_ca *p, const struct ca_request *q, int64_t now_s, struct growing *leaf_pem) {
    struct tls_der der, leaf;
    struct tls_csr *csr;
    struct identity identity;
    check(identity_parse(q->identity, &identity));
    check(tls_pem_to_der(q->csr_pem, "CERTIFICATE REQUEST", &der) == 0);
    check(tls_csr_read(der.at, der.n, &identity, &csr) == 0);
    struct tls_issuer by = {.key = p->key, .cert = p->root.at, .cert_n = p->root.n};
    check(tls_issue_leaf(&by, csr, &identity, now_s, q->validity_s, &leaf) == 0);
    check(tls_der_to_pem(&leaf, "CERTIFICATE", leaf_pem) == 0);
    tls_csr_free(csr);
    free(der.at);
    free(leaf.at);
    p->n_signed++;
}

void play_ca_answer(struct play_ca *p, const uint8_t *request, size_t n, int64_t now_s, uint8_t **ret, size_t *ret_n) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct growing leaf_pem cleanup(growing_deinit) = GROWING_NULL;
    struct ca_request q;
    check(pb_consume_ca_request(request, n, &arena, &q) == 0);
    struct ca_response a = {.kind = q.kind, .id = q.id};
    struct str root = {(const char *)p->root.at, p->root.n};
    struct ca_bundle bundle = {.trust_domain = STR("cluster.local"), .roots = &root, .n_roots = 1};
    if (q.kind == CA_MESSAGE_SIGN) {
        sign(p, &q, now_s, &leaf_pem);
        a.chain[0] = (struct str){leaf_pem.at, leaf_pem.n};
        a.chain[1] = (struct str){p->root_pem.at, p->root_pem.n};
        a.n_chain = 2;
    } else {
        a.generation = 1;
        a.bundles = &bundle;
        a.n_bundles = 1;
    }
    check(pb_create_ca_response(&a, ret, ret_n) == 0);
}
