/* SPDX-License-Identifier: GPL-3.0-or-later
 * sign.c - who may have which certificate (DESIGN rules 3 and 4, facts/identity.md 1.4, 1.5)
 *
 * The certificate says the identity that was asked for and found to be the caller's to ask for; the CSR gives the public
 * key and nothing else. Refusals tell the asker, which is this node's own identity thread, the reason in words. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/err.h>

#include "sign.h"

/* Verdict of one request: CA_OK, or a code and the words for it. */
struct judgement {
    enum ca_code code;
    const char *why;
};
#define REFUSE(c, w) ((struct judgement){.code = (c), .why = (w)})
#define JUDGED_OK ((struct judgement){.code = CA_OK})

static struct judgement judge_caller(const struct signer *s, const struct world *world, const struct ca_request *q,
                                     struct identity *ret) {
    if (q->caller != CA_CALLER_NODE)
        return REFUSE(CA_UNAUTHENTICATED, "the caller is not known");
    if (!str_is(q->caller_node, s->node))
        return REFUSE(CA_UNAUTHENTICATED, "the caller is another node");
    if (!identity_parse(q->identity, ret))
        return REFUSE(CA_INVALID_ARGUMENT, "the identity is not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
    if (!str_is(identity_td(ret), s->trust_domain))
        return REFUSE(CA_PERMISSION_DENIED, "the identity is of another trust domain than this CA's");
    if (!world)
        return REFUSE(CA_UNAVAILABLE, "no valid configuration yet: it is not known which workloads are on this node");
    if (!world_node_has_identity(world, s->node, ret))
        return REFUSE(CA_PERMISSION_DENIED, "no workload of this identity is on this node");
    return JUDGED_OK;
}

static struct judgement judge_csr(const struct ca_request *q, const struct identity *identity, struct tls_csr **ret) {
    struct tls_der der = {0};
    if (tls_pem_to_der(q->csr_pem, "CERTIFICATE REQUEST", &der) != 0)
        return REFUSE(CA_INVALID_ARGUMENT, "the CSR is not PEM");
    int r = tls_csr_read(der.at, der.n, identity, ret);
    free(der.at);
    switch (r) {
    case TLS_CSR_OK:
        return JUDGED_OK;
    case TLS_CSR_SIGNATURE:
        return REFUSE(CA_INVALID_ARGUMENT, "the CSR is not signed by its own key");
    case TLS_CSR_KEY:
        return REFUSE(CA_INVALID_ARGUMENT, "the CSR's key is too small or of a kind that is not accepted");
    case TLS_CSR_SAN:
        return REFUSE(CA_INVALID_ARGUMENT, "the CSR names something else than the identity asked for");
    case TLS_CSR_MALFORMED:
        return REFUSE(CA_INVALID_ARGUMENT, "the CSR cannot be read");
    default:
        return REFUSE(CA_INTERNAL, "the CSR could not be checked");
    }
}

static struct judgement judge_ttl(const struct signer *s, const struct ca_request *q, int64_t *ret_ttl_s) {
    if (q->validity_s > s->ttl_max_s)
        return REFUSE(CA_INVALID_ARGUMENT, "the validity asked for is longer than this CA gives");
    *ret_ttl_s = q->validity_s > 0 ? q->validity_s : s->ttl_default_s;
    return JUDGED_OK;
}

static void hex_of(const uint8_t *bytes, size_t n, char *to) {
    for (size_t i = 0; i < n; i++)
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

/* The record is written before anybody sees the certificate. */
static struct judgement record_issue(struct signer *s, const struct ca_request *q, const struct tls_der *leaf, int64_t now_s) {
    struct tls_cert_facts facts;
    if (tls_cert_read(leaf->at, leaf->n, &facts) != 0)
        return REFUSE(CA_INTERNAL, "the certificate made here cannot be read");
    char serial[2 * TLS_SERIAL_MAX + 1] = "";
    hex_of(facts.serial, facts.serial_n, serial);
    struct audit_entry e = {.issued = true,
                            .caller = q->caller_node,
                            .identity = q->identity,
                            .serial_hex = serial,
                            .not_before = facts.not_before,
                            .not_after = facts.not_after};
    if (s->audit && audit_write(s->audit, now_s, &e) != 0)
        return REFUSE(CA_INTERNAL, "the audit log cannot be written: nothing is signed until it can (is the disk full?)");
    s->n_issued++;
    return JUDGED_OK;
}

static struct judgement issue(struct signer *s, const struct world *world, const struct ca_request *q, int64_t now_s,
                              struct tls_der *ret) {
    struct identity identity;
    cleanup(tls_csr_freep) struct tls_csr *csr = NULL;
    int64_t ttl_s = 0;
    struct judgement j = judge_caller(s, world, q, &identity);
    if (j.code == CA_OK)
        j = judge_ttl(s, q, &ttl_s);
    if (j.code == CA_OK)
        j = judge_csr(q, &identity, &csr);
    if (j.code != CA_OK)
        return j;
    struct tls_issuer by = {.key = s->dir.key, .cert = s->dir.cert.items[0].at, .cert_n = s->dir.cert.items[0].n};
    int r = tls_issue_leaf(&by, csr, &identity, now_s, ttl_s, ret);
    if (r > 0)
        return REFUSE(CA_INTERNAL, "this CA's signing certificate has expired: issue a new one (ringwallctl ca issue-node)");
    if (r < 0)
        return REFUSE(CA_INTERNAL, "signing failed");
    return record_issue(s, q, ret, now_s);
}

/* One PEM text for each certificate, in the arena. */
static int add_pem(struct arena *a, const struct tls_der *der, size_t n, struct str *ret) {
    struct tls_der_list list = {.items = (struct tls_der *)der, .n = n};
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    int r = tls_certs_to_pem(&list, &pem);
    if (r != 0 || pem.failed)
        return err_origin(r < 0 ? r : -ENOMEM);
    bool ok = true;
    *ret = arena_str(a, (struct str){pem.at, pem.n}, &ok);
    return ok ? 0 : err_origin(-ENOMEM);
}

/* facts/identity.md 1.1: leaf, intermediates one by one, then all roots in one last element. */
static int fill_chain(const struct signer *s, struct arena *a, const struct tls_der *leaf, struct ca_response *p) {
    int r = add_pem(a, leaf, 1, &p->chain[p->n_chain++]);
    for (size_t i = 0; r == 0 && i < s->dir.chain.n && p->n_chain < PB_CHAIN_MAX - 1; i++)
        r = add_pem(a, &s->dir.chain.items[i], 1, &p->chain[p->n_chain++]);
    if (r == 0)
        r = add_pem(a, s->dir.roots.items, s->dir.roots.n, &p->chain[p->n_chain++]);
    return err_trace(r);
}

static int answer_sign(struct signer *s, const struct world *world, const struct ca_request *q, struct arena *a, int64_t now_s,
                       struct ca_response *p) {
    struct tls_der leaf = {0};
    struct judgement j = issue(s, world, q, now_s, &leaf);
    int r = 0;
    if (j.code == CA_OK)
        r = fill_chain(s, a, &leaf, p);
    else {
        p->code = j.code;
        p->message = str_of(j.why);
        s->n_refused++;
        struct audit_entry e = {.caller = q->caller_node, .identity = q->identity, .reason = j.why};
        if (s->audit)
            ignore_result(audit_write(s->audit, now_s, &e)); /* refused already: nothing more to withhold */
    }
    free(leaf.at);
    return r;
}

static int answer_bundle(const struct signer *s, struct arena *a, struct ca_response *p) {
    struct ca_bundle *own = arena_alloc(a, sizeof(*own));
    size_t n = min_of(s->dir.roots.n, (size_t)PB_ROOTS_MAX);
    struct str *roots = arena_array(a, struct str, n);
    if (!own || !roots)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < n; i++)
        roots[i] = (struct str){(const char *)s->dir.roots.items[i].at, s->dir.roots.items[i].n};
    *own = (struct ca_bundle){.trust_domain = s->trust_domain, .roots = roots, .n_roots = n};
    p->bundles = own;
    p->n_bundles = 1;
    return 0;
}

int signer_answer(struct signer *s, const struct world *world, const uint8_t *bytes, size_t n, int64_t now_s, uint8_t **ret,
                  size_t *ret_n) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct ca_request q = {0};
    struct ca_response p = {.kind = CA_MESSAGE_SIGN};
    int r = pb_consume_ca_request(bytes, n, &arena, &q);
    if (r < 0)
        return err_trace(r);
    if (r == PB_MALFORMED) {
        p.code = CA_INVALID_ARGUMENT;
        p.message = STR("the request cannot be read");
        s->n_refused++;
        return pb_create_ca_response(&p, ret, ret_n);
    }
    p.kind = q.kind;
    p.id = q.id;
    if (q.kind == CA_MESSAGE_SIGN)
        r = answer_sign(s, world, &q, &arena, now_s, &p);
    else if (q.kind == CA_MESSAGE_BUNDLE)
        r = answer_bundle(s, &arena, &p);
    else
        p.code = CA_UNIMPLEMENTED;
    return r < 0 ? err_trace(r) : pb_create_ca_response(&p, ret, ret_n);
}
