/* SPDX-License-Identifier: GPL-3.0-or-later
 * token.c - callers from outside the process: a Kubernetes service account token, verified offline (facts/identity.md 1.3, 1.4)
 *
 * No key set, no issuer or no audience configured: nobody is believed, there is no fallback. What an offline check cannot
 * see (a pod that was deleted) is bounded by the token's own end and by the world: who asks for others must be a pod that
 * the world knows under the same name, uid and account. */
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/io.h>

#include "authority.h"

void tokens_load(struct authority *a) {
    const char *path = a->o->jwt.jwks;
    cleanup_free char *text = NULL;
    size_t n = 0;
    if (a->jwks)
        arena_deinit(&a->jwks_arena);
    a->jwks = NULL;
    a->jwks_arena = ARENA_NULL;
    a->jwks_why[0] = '\0';
    if (!path || !path[0])
        return;
    struct jwks *set = arena_alloc(&a->jwks_arena, sizeof(*set));
    int r = io_read_file(path, JWKS_BYTES_MAX, &text, &n);
    if (r < 0)
        snprintf(a->jwks_why, sizeof(a->jwks_why), "cannot be read: %s", strerror(-r));
    else if (!set || jwks_consume((struct str){text, n}, &a->jwks_arena, set, a->jwks_why) != 0)
        set = NULL;
    if (r < 0 || !set) {
        arena_deinit(&a->jwks_arena);
        a->jwks_arena = ARENA_NULL;
        return;
    }
    a->jwks = set;
}

void tokens_tell(struct authority *a, int64_t now_s) {
    char text[CA_WHY_BYTES];
    if (a->jwks)
        snprintf(text, sizeof(text), "%s: %zu keys to verify tokens with", a->o->jwt.jwks, a->jwks->n_keys);
    else
        snprintf(text, sizeof(text), "%s: %s; no token is believed", a->o->jwt.jwks, a->jwks_why);
    authority_event(a, a->jwks ? "reload" : "keys-refused", text, now_s);
}

/* system:serviceaccount:NAMESPACE:ACCOUNT */
static bool read_subject(struct str subject, struct str *ret_ns, struct str *ret_sa) {
    struct str piece, rest = subject;
    return str_split(&rest, ':', &piece) && str_is(piece, STR("system")) && str_split(&rest, ':', &piece) &&
           str_is(piece, STR("serviceaccount")) && str_split(&rest, ':', ret_ns) && ret_ns->n && str_split(&rest, ':', ret_sa) &&
           ret_sa->n && !rest.at;
}

static bool is_node_account(const struct authority *a, struct str ns, struct str sa) {
    for (size_t i = 0; i < a->o->n_node_accounts; i++) {
        struct str rest = a->o->node_accounts[i], name;
        if (str_split(&rest, '/', &name) && str_is(name, ns) && str_is(rest, sa))
            return true;
    }
    return false;
}

/* The pod that the token is bound to, found in the world as the token says; its node is the one it may act for. */
static struct judgement find_node(const struct authority *a, const struct jwt *t, struct str ns, const struct identity *own,
                                  struct str *ret) {
    const struct jwt_object *pod = &t->kubernetes.pod, *node = &t->kubernetes.node;
    if (!pod->name.n || !pod->uid.n)
        return refuse(CA_UNAUTHENTICATED, "the token is bound to no pod, so it cannot speak for a node");
    if (!a->world)
        return refuse(CA_UNAVAILABLE, "no valid configuration yet: it is not known where the caller's pod is");
    const struct workload *w = world_workload_by_name(a->world, ns, pod->name);
    if (!w)
        return refuse(CA_UNAUTHENTICATED, "the caller's pod is not known (yet)");
    if (!str_is(w->uid, pod->uid))
        return refuse(CA_UNAUTHENTICATED, "the caller's pod was made anew since: its uid is another one");
    if (!identity_is(w->identity, own))
        return refuse(CA_UNAUTHENTICATED, "the caller's pod has another service account than the token");
    if (!w->node.n || (node->name.n && !str_is(node->name, w->node)))
        return refuse(CA_UNAUTHENTICATED, "the caller's pod is on another node than the token says");
    *ret = w->node;
    return JUDGED_OK;
}

struct judgement judge_token(const struct authority *a, const struct ca_request *q, struct arena *arena, int64_t now_s,
                             struct caller *ret) {
    if (!a->jwks)
        return refuse(CA_UNAUTHENTICATED, "no key set (ca.jwt.jwks) to verify tokens with%s%s", a->jwks_why[0] ? ": it " : "",
                      a->jwks_why);
    struct jwt_expected e = {.issuer = str_of(a->o->jwt.issuer), .audience = str_of(a->o->jwt.audience), .now_s = now_s};
    if (!e.issuer.n || !e.audience.n)
        return refuse(CA_UNAUTHENTICATED, "ca.jwt.issuer or ca.jwt.audience is not set, so no token is believed");
    char why[128] = "";
    struct jwt t;
    int r = jws_accept(q->caller_token, a->jwks, &e, arena, &t, why);
    if (r < 0)
        return refuse(CA_UNAVAILABLE, "no memory to verify the token");
    if (r != JWT_OK)
        return refuse(CA_UNAUTHENTICATED, "the token: %s", why[0] ? why : jwt_verdict_text(r));
    ret->subject = t.subject;
    struct str ns, sa;
    if (!read_subject(t.subject, &ns, &sa) || !identity_make(a->trust_domain, ns, sa, &ret->own))
        return refuse(CA_UNAUTHENTICATED, "the token's subject is no service account");
    if ((t.kubernetes.namespace.n && !str_is(t.kubernetes.namespace, ns)) ||
        (t.kubernetes.service_account.name.n && !str_is(t.kubernetes.service_account.name, sa)))
        return refuse(CA_UNAUTHENTICATED, "the token's subject and its kubernetes.io claims are not the same account");
    if (q->identity.n == 0 || str_is(q->identity, identity_uri(&ret->own)) || !is_node_account(a, ns, sa))
        return JUDGED_OK;
    return find_node(a, &t, ns, &ret->own, &ret->acts_for);
}
