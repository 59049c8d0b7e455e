/* SPDX-License-Identifier: GPL-3.0-or-later
 * answer.c - from a judged request to its encoded answer, with its line in the record first */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/tls/hash.h>

#include "authority.h"
#include "hex.h"

/* A request whose certificate is being made. The strings are copies. */
struct pending {
    struct list link;
    struct provider_job job;
    struct authority *a;
    struct arena arena;
    struct caller caller;
    struct mailbox *reply; /* a reference; may be NULL */
    enum ca_message_kind kind;
    uint64_t id;
    struct tls_csr *csr;
};

static const struct {
    enum ca_code code;
    const char *name;
} code_names[] = {{CA_OK, "OK"},
                  {CA_UNKNOWN, "UNKNOWN"},
                  {CA_INVALID_ARGUMENT, "INVALID_ARGUMENT"},
                  {CA_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"},
                  {CA_NOT_FOUND, "NOT_FOUND"},
                  {CA_PERMISSION_DENIED, "PERMISSION_DENIED"},
                  {CA_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"},
                  {CA_FAILED_PRECONDITION, "FAILED_PRECONDITION"},
                  {CA_UNIMPLEMENTED, "UNIMPLEMENTED"},
                  {CA_INTERNAL, "INTERNAL"},
                  {CA_UNAVAILABLE, "UNAVAILABLE"},
                  {CA_UNAUTHENTICATED, "UNAUTHENTICATED"}};

const char *ca_code_name(enum ca_code c) {
    for (size_t i = 0; i < array_size(code_names); i++)
        if (code_names[i].code == c)
            return code_names[i].name;
    return "UNKNOWN";
}

static const char *what_of(enum ca_message_kind kind) {
    return kind == CA_MESSAGE_SIGN     ? "certificate"
           : kind == CA_MESSAGE_SERVER ? "server"
           : kind == CA_MESSAGE_JWT    ? "jwt"
                                       : "bundle";
}

void hold_answer(struct authority *a, const struct ca_response *p, struct mailbox *reply, bool gives) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    check(a->n_held < CA_HELD_MAX);
    if (!reply || pb_create_ca_response(p, &bytes, &n) != 0)
        return; /* no memory for an answer: the asker's deadline covers it */
    a->held[a->n_held++] = (struct held){mailbox_ref(reply), bytes, n, gives, p->kind, p->id};
}

static void count_refusal(struct authority *a, const struct judgement *j) {
    struct ca_stats *s = a->stats;
    if (j->code == CA_UNAUTHENTICATED)
        counter_add(&s->authentication_failed, 1);
    else if (j->code == CA_PERMISSION_DENIED)
        counter_add(&s->identity_refused, 1);
    else if (j->code == CA_INVALID_ARGUMENT)
        counter_add(&s->csr_malformed, 1);
    else
        counter_add(&s->sign_failed, 1);
}

void answer_refusal(struct authority *a, const struct ca_request *q, const struct caller *c, struct mailbox *reply, int64_t now_s,
                    const struct judgement *j) {
    struct ca_response p = {.kind = q->kind, .id = q->id, .code = j->code, .message = str_of(j->why)};
    struct audit_entry e = {.event = "refused",
                            .what = what_of(q->kind),
                            .caller = c && c->kind ? c->kind : "unknown",
                            .node = c ? c->node : STR_NULL,
                            .subject = c ? c->subject : STR_NULL,
                            .peer = c ? c->peer : STR_NULL,
                            .identity = q->identity,
                            .code = ca_code_name(j->code),
                            .text = str_of(j->why)};
    count_refusal(a, j);
    if (a->audit && audit_add(a->audit, now_s, &e) != 0)
        counter_add(&a->stats->audit_failed, 1); /* refused already: nothing more to withhold */
    hold_answer(a, &p, reply, false);
}

/* One PEM text for each certificate, in the arena. */
static int add_pem(struct arena *arena, const struct tls_der *der, size_t n, struct str *ret) {
    struct tls_der_list list = {.items = (struct tls_der *)der, .n = n};
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    int r = tls_certs_to_pem(&list, &pem);
    if (r != 0 || pem.failed)
        return err_origin(r < 0 ? r : -ENOMEM);
    bool ok = true;
    *ret = arena_str(arena, (struct str){pem.at, pem.n}, &ok);
    return ok ? 0 : err_origin(-ENOMEM);
}

/* facts/identity.md 1.1: leaf, intermediates one by one, then all roots in one last element. */
int fill_chain(const struct authority *a, struct arena *arena, const struct tls_der_list *chain, struct ca_response *p) {
    const struct tls_der_list *roots, *crls;
    int r = 0;
    a->ops->trust(a->provider, &roots, &crls);
    for (size_t i = 0; r == 0 && i < chain->n && p->n_chain < PB_CHAIN_MAX - 1; i++)
        r = add_pem(arena, &chain->items[i], 1, &p->chain[p->n_chain++]);
    if (r == 0)
        r = add_pem(arena, roots->items, roots->n, &p->chain[p->n_chain++]);
    return err_trace(r);
}

static struct str *borrow_list(struct arena *arena, const struct tls_der_list *l, size_t n) {
    struct str *to = arena_array(arena, struct str, n + 1);
    for (size_t i = 0; to && i < n; i++)
        to[i] = (struct str){(const char *)l->items[i].at, l->items[i].n};
    return to;
}

static bool borrow_bundle(struct arena *arena, struct str trust_domain, const struct tls_der_list *roots,
                          const struct tls_der_list *crls, struct ca_bundle *ret) {
    *ret = (struct ca_bundle){.trust_domain = trust_domain,
                              .n_roots = min_of(roots->n, (size_t)PB_ROOTS_MAX),
                              .n_crls = min_of(crls->n, (size_t)PB_CRLS_MAX)};
    ret->roots = borrow_list(arena, roots, ret->n_roots);
    ret->crls = borrow_list(arena, crls, ret->n_crls);
    return ret->roots && ret->crls;
}

void answer_bundle(struct authority *a, struct mailbox *reply, uint64_t id) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    const struct tls_der_list *roots, *crls;
    struct ca_bundle *all = arena_array(&arena, struct ca_bundle, a->o->n_bundles + 1);
    size_t n = 0;
    a->ops->trust(a->provider, &roots, &crls);
    bool ok = all && borrow_bundle(&arena, a->trust_domain, roots, crls, &all[n++]);
    for (size_t i = 0; ok && i < a->o->n_bundles && n < PB_BUNDLES_MAX; i++)
        if (!str_is(a->o->bundles[i].trust_domain, a->trust_domain))
            ok = borrow_bundle(&arena, a->o->bundles[i].trust_domain, &a->foreign[i].roots, &a->foreign[i].crls, &all[n++]);
    if (!ok)
        return; /* no memory: a watcher is told again at the next change, an asker has its deadline */
    struct ca_response p = {.kind = CA_MESSAGE_BUNDLE,
                            .id = id,
                            .generation = a->generation,
                            .bundles = all,
                            .n_bundles = n,
                            .jwks = {a->jwks_own.at, a->jwks_own.n}};
    hold_answer(a, &p, reply, false);
}

static void pending_free(struct pending *p) {
    list_unlink(&p->link);
    p->a->n_pending--;
    tls_csr_free(p->csr);
    if (p->reply)
        mailbox_unref(p->reply);
    arena_deinit(&p->arena);
    free(p);
}

/* What a provider made, looked at before anybody sees it: it says the identity that was authorised and no other. */
static struct judgement check_made(const struct pending *p, const struct provider_answer *m, struct tls_cert_facts *ret) {
    if (m->code != CA_OK)
        return refuse(m->code, "%s", m->why);
    if (m->chain.n == 0 || tls_cert_read(m->chain.items[0].at, m->chain.items[0].n, ret) != 0)
        return refuse(CA_INTERNAL, "the certificate made cannot be read");
    bool said = p->job.kind == PROVIDER_SERVER ||
                (ret->n_uri_san == 1 && ret->uri_is_identity && identity_is(&ret->identity, &p->job.identity));
    if (!said || ret->is_ca)
        return refuse(CA_INTERNAL, "the certificate made is not the one that was asked for");
    return JUDGED_OK;
}

static struct judgement record_issue(struct pending *p, const struct provider_answer *m, const struct tls_cert_facts *facts,
                                     int64_t now_s) {
    char serial[2 * TLS_SERIAL_MAX + 1], by[SHA256_HEX] = "";
    hex_format(facts->serial, facts->serial_n, serial);
    if (m->chain.n > 1)
        tls_sha256_hex(m->chain.items[1].at, m->chain.items[1].n, by);
    struct str name = p->job.n_names ? p->job.names[0] : STR_NULL;
    struct audit_entry e = {.event = "issued",
                            .what = what_of(p->kind),
                            .caller = p->caller.kind,
                            .node = p->caller.node,
                            .subject = p->caller.subject,
                            .peer = p->caller.peer,
                            .identity = p->job.kind == PROVIDER_LEAF ? identity_uri(&p->job.identity) : name,
                            .serial_hex = serial,
                            .issuer_hex = by,
                            .not_before = facts->not_before,
                            .not_after = facts->not_after};
    if (p->a->audit && audit_add(p->a->audit, now_s, &e) != 0)
        return refuse(CA_INTERNAL, "the audit log cannot be written: nothing is signed until it can");
    return JUDGED_OK;
}

static void finish(struct pending *p, struct provider_answer *m, int64_t now_s) {
    struct authority *a = p->a;
    struct ca_request q = {.kind = p->kind, .id = p->id};
    struct ca_response response = {.kind = p->kind, .id = p->id};
    struct tls_cert_facts facts;
    struct judgement j = check_made(p, m, &facts);
    if (a->changed) /* new roots reach every asker before a leaf below them does */
        watchers_tell(a, now_s);
    if (a->n_held == CA_HELD_MAX)
        authority_flush(a);
    if (j.code == CA_OK && fill_chain(a, &p->arena, &m->chain, &response) != 0)
        j = refuse(CA_INTERNAL, "no memory for the answer");
    if (j.code == CA_OK)
        j = record_issue(p, m, &facts, now_s);
    if (j.code == CA_OK) {
        counter_add(&a->stats->issued, 1);
        hold_answer(a, &response, p->reply, true);
    } else {
        q.identity = p->job.kind == PROVIDER_LEAF ? identity_uri(&p->job.identity) : STR_NULL;
        answer_refusal(a, &q, &p->caller, p->reply, now_s, &j);
    }
    tls_der_list_deinit(&m->chain);
    pending_free(p);
}

void authority_answered(void *context, struct provider_job *job, struct provider_answer *m) {
    struct authority *a = context;
    finish(container_of(job, struct pending, job), m, a->now_s);
}

static struct pending *pending_new(struct authority *a, const struct ca_request *q, const struct caller *c, struct mailbox *reply) {
    struct pending *p = a->n_pending < CA_PENDING_MAX ? calloc(1, sizeof(*p)) : NULL;
    if (!p)
        return NULL;
    bool ok = true;
    *p = (struct pending){.a = a, .caller = *c, .kind = q->kind, .id = q->id, .arena = ARENA_NULL};
    p->reply = reply ? mailbox_ref(reply) : NULL;
    p->caller.node = arena_str(&p->arena, c->node, &ok);
    p->caller.subject = arena_str(&p->arena, c->subject, &ok);
    p->caller.peer = arena_str(&p->arena, c->peer, &ok);
    p->job.csr_pem = arena_str(&p->arena, q->csr_pem, &ok);
    list_push_back(&a->pending, &p->link);
    a->n_pending++;
    if (ok)
        return p;
    pending_free(p);
    return NULL;
}

static struct judgement judge_ttl(const struct authority *a, const struct ca_request *q, int64_t *ret_ttl_s) {
    if (q->validity_s > a->o->ttl_max_s)
        return refuse(CA_INVALID_ARGUMENT, "the validity asked for is longer than this CA gives");
    *ret_ttl_s = q->validity_s > 0 ? q->validity_s : a->o->ttl_default_s;
    return JUDGED_OK;
}

static struct judgement judge_server(const struct authority *a, const struct caller *c) {
    if (strcmp(c->kind, "node") != 0)
        return refuse(CA_PERMISSION_DENIED, "only this node's own doors may have a server certificate");
    if (a->o->n_server_names == 0)
        return refuse(CA_FAILED_PRECONDITION, "no server names are configured (ca.serverNames)");
    return JUDGED_OK;
}

void answer_sign(struct authority *a, const struct ca_request *q, struct arena *arena, struct mailbox *reply, int64_t now_s) {
    struct caller caller;
    struct identity identity = IDENTITY_NULL;
    cleanup(tls_csr_freep) struct tls_csr *csr = NULL;
    bool server = q->kind == CA_MESSAGE_SERVER;
    int64_t ttl_s = 0;
    counter_add(&a->stats->csr, 1);
    struct judgement j = judge_caller(a, q, arena, now_s, &caller);
    if (j.code == CA_OK)
        j = server ? judge_server(a, &caller) : judge_identity(a, q, &caller, &identity);
    if (j.code == CA_OK)
        j = judge_ttl(a, q, &ttl_s);
    if (j.code == CA_OK)
        j = judge_csr(q, server ? NULL : &identity, &csr);
    struct pending *p = j.code == CA_OK ? pending_new(a, q, &caller, reply) : NULL;
    if (j.code == CA_OK && !p)
        j = refuse(CA_RESOURCE_EXHAUSTED, "too many requests wait for their certificate");
    if (j.code != CA_OK) {
        answer_refusal(a, q, &caller, reply, now_s, &j);
        return;
    }
    p->csr = take_ptr(csr);
    p->job.csr = p->csr;
    p->job.kind = server ? PROVIDER_SERVER : PROVIDER_LEAF;
    p->job.identity = identity;
    p->job.names = a->o->server_names;
    p->job.n_names = server ? a->o->n_server_names : 0;
    p->job.ttl_s = ttl_s;
    struct provider_answer m = {0};
    if (a->ops->sign(a->provider, &p->job, now_s, &m) == PROVIDER_NOW)
        finish(p, &m, now_s);
}
