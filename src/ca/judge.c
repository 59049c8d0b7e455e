/* SPDX-License-Identifier: GPL-3.0-or-later
 * judge.c - who may have which certificate (DESIGN rules 3 and 4, facts/identity.md 1.4, 1.5)
 *
 * The certificate says the identity that was asked for and found to be the caller's to ask for; the CSR gives the public
 * key and nothing else. The words of a refusal go to the asker's log and to the record; a door tells outsiders less. */
#include <errno.h>
#include <stdlib.h>

#include "authority.h"

struct judgement refuse(enum ca_code code, const char *fmt, ...) {
    struct judgement j = {.code = code};
    struct text t = {.at = j.why, .cap = sizeof(j.why)};
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    return j;
}

static struct judgement parse_identity(const struct authority *a, struct str text, struct identity *ret) {
    if (!identity_parse(text, ret))
        return refuse(CA_INVALID_ARGUMENT, "the identity is not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
    if (!str_is(identity_td(ret), a->trust_domain))
        return refuse(CA_PERMISSION_DENIED, "the identity is of another trust domain than this CA's");
    return JUDGED_OK;
}

static bool world_has_identity(const struct world *w, const struct identity *identity) {
    for (size_t i = 0; i < world_n_workloads(w); i++)
        if (identity_is(world_workload_at(w, i)->identity, identity))
            return true;
    return false;
}

/* Renewal only, and only of who is still known: a leaf is no token for ever (facts/identity.md 1.2). */
static struct judgement judge_certificate(const struct authority *a, const struct ca_request *q, struct caller *ret) {
    if (!a->o->client_certificates)
        return refuse(CA_UNAUTHENTICATED, "client certificates are no proof here (ca.clientCertificates is off)");
    struct judgement j = parse_identity(a, q->caller_identity, &ret->own);
    if (j.code != CA_OK)
        return refuse(CA_UNAUTHENTICATED, "the client certificate: %s", j.why);
    if (!a->world)
        return refuse(CA_UNAVAILABLE, "no valid configuration yet: it is not known which workloads there are");
    if (!world_has_identity(a->world, &ret->own))
        return refuse(CA_UNAUTHENTICATED, "no workload of the client certificate's identity is known any more");
    return JUDGED_OK;
}

struct judgement judge_caller(const struct authority *a, const struct ca_request *q, struct arena *arena, int64_t now_s,
                              struct caller *ret) {
    *ret = (struct caller){.peer = q->caller_peer};
    switch (q->caller) {
    case CA_CALLER_NODE:
        *ret = (struct caller){.kind = "node", .node = q->caller_node, .peer = q->caller_peer};
        return str_is(q->caller_node, a->node) ? JUDGED_OK : refuse(CA_UNAUTHENTICATED, "the caller is another node");
    case CA_CALLER_TOKEN:
        ret->kind = "token";
        return judge_token(a, q, arena, now_s, ret);
    case CA_CALLER_CERTIFICATE:
        ret->kind = "certificate";
        ret->subject = q->caller_identity;
        return judge_certificate(a, q, ret);
    case CA_CALLER_UNSPECIFIED:
        break;
    }
    return refuse(CA_UNAUTHENTICATED, "the caller is not known");
}

struct judgement judge_identity(const struct authority *a, const struct ca_request *q, const struct caller *c,
                                struct identity *ret) {
    bool own = !identity_is_none(&c->own);
    if (own && (q->identity.n == 0 || str_is(q->identity, identity_uri(&c->own)))) {
        *ret = c->own;
        return JUDGED_OK;
    }
    struct str node = own ? c->acts_for : c->node;
    struct judgement j = parse_identity(a, q->identity, ret);
    if (j.code != CA_OK)
        return j;
    if (node.n == 0)
        return refuse(CA_PERMISSION_DENIED, "the caller may have its own identity only");
    if (!a->world)
        return refuse(CA_UNAVAILABLE, "no valid configuration yet: it is not known which workloads are on this node");
    if (!world_node_has_identity(a->world, node, ret))
        return refuse(CA_PERMISSION_DENIED, own ? "no workload of this identity is on the caller's node"
                                                : "no workload of this identity is on this node");
    return JUDGED_OK;
}

struct judgement judge_csr(const struct ca_request *q, const struct identity *identity, struct tls_csr **ret) {
    struct tls_der der = {0};
    if (tls_pem_to_der(q->csr_pem, "CERTIFICATE REQUEST", &der) != 0)
        return refuse(CA_INVALID_ARGUMENT, "the CSR is not PEM");
    int r = tls_csr_read(der.at, der.n, identity, ret);
    free(der.at);
    switch (r) {
    case TLS_CSR_OK:
        return JUDGED_OK;
    case TLS_CSR_SIGNATURE:
        return refuse(CA_INVALID_ARGUMENT, "the CSR is not signed by its own key");
    case TLS_CSR_KEY:
        return refuse(CA_INVALID_ARGUMENT, "the CSR's key is too small or of a kind that is not accepted");
    case TLS_CSR_SAN:
        return refuse(CA_INVALID_ARGUMENT, "the CSR names something else than the identity asked for");
    case TLS_CSR_MALFORMED:
        return refuse(CA_INVALID_ARGUMENT, "the CSR cannot be read");
    default:
        return refuse(CA_INTERNAL, "the CSR could not be checked");
    }
}
