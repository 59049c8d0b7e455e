/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/authz.c - the one matcher: data path, explain and every command ask here
 *
 * What is not known never helps a peer in: without an identity every identity condition of an ALLOW is false, also a
 * negative one, while in DENY a negative one is true (facts/identity.md 9.2 #3); without an address the IP conditions
 * fail in ALLOW and hold in DENY. No allocation, no loop without a bound set by the compiled policies. */
#include <ringwall/base/check.h>

#include "policy.h"
#include "snapshot.h"

void peer_facts_init(struct peer_facts *f, const struct authz_query *q) {
    *f = (struct peer_facts){.port = q->port};
    if (q->source && !identity_is_none(q->source)) {
        f->identity = q->source;
        f->principal = identity_principal(q->source);
    }
    if (!addr_is_none(&q->source_ip))
        f->source_ip = &q->source_ip;
    if (!addr_is_none(&q->destination_ip))
        f->destination_ip = &q->destination_ip;
    else if (q->to->n_addrs)
        f->destination_ip = &q->to->addrs[0];
}

static bool text_matches(const struct text_match *m, struct str s) {
    switch (m->kind) {
    case TEXT_EXACT:
        return str_is(s, m->text);
    case TEXT_PREFIX:
        return str_has_prefix(s, m->text);
    case TEXT_SUFFIX:
        return str_has_suffix(s, m->text);
    case TEXT_PRESENT:
        return s.n > 0;
    }
    unreachable_because("every text kind is listed");
}

static bool any_text(const struct condition *c, struct str s) {
    for (uint32_t i = 0; i < c->n; i++)
        if (text_matches(&c->texts[i], s))
            return true;
    return false;
}

static bool any_account(const struct condition *c, const struct identity *who) {
    for (uint32_t i = 0; i < c->n; i++)
        if (str_is(c->accounts[i].sa, identity_sa(who)) && str_is(c->accounts[i].ns, identity_ns(who)))
            return true;
    return false;
}

static bool any_cidr(const struct condition *c, const struct addr *a) {
    for (uint32_t i = 0; i < c->n; i++)
        if (cidr_has(&c->cidrs[i], a))
            return true;
    return false;
}

static bool any_port(const struct condition *c, uint16_t port) {
    for (uint32_t i = 0; i < c->n; i++)
        if (c->ports[i] == port)
            return true;
    return false;
}

bool condition_holds(const struct condition *c, const struct peer_facts *f, bool denies) {
    const struct addr *a;
    bool hit = false;

    switch (c->field) {
    case FIELD_PRINCIPAL:
    case FIELD_NAMESPACE:
    case FIELD_SERVICE_ACCOUNT:
        if (!f->identity)
            return denies && c->negative;
        if (c->field == FIELD_PRINCIPAL)
            hit = any_text(c, f->principal);
        else if (c->field == FIELD_NAMESPACE)
            hit = any_text(c, identity_ns(f->identity));
        else
            hit = any_account(c, f->identity);
        break;
    case FIELD_SOURCE_IP:
    case FIELD_DESTINATION_IP:
        a = c->field == FIELD_SOURCE_IP ? f->source_ip : f->destination_ip;
        if (!a)
            return denies;
        hit = any_cidr(c, a);
        break;
    case FIELD_DESTINATION_PORT:
        hit = any_port(c, f->port);
        break;
    case _FIELD_MAX:
        unreachable_because("the compiler makes no such field");
    }
    return hit != c->negative;
}

bool match_holds(const struct match *m, const struct peer_facts *f, bool denies, const struct condition **miss) {
    for (uint32_t i = 0; i < m->n; i++)
        if (!condition_holds(&m->conditions[i], f, denies)) {
            if (miss)
                *miss = &m->conditions[i];
            return false;
        }
    return true;
}

static bool clause_holds(const struct clause *c, const struct peer_facts *f, bool denies) {
    for (uint32_t i = 0; i < c->n; i++)
        if (match_holds(&c->matches[i], f, denies, NULL))
            return true;
    return false;
}

bool rule_matches(const struct rule *r, const struct peer_facts *f, bool denies, const struct clause **miss) {
    if (r->never.n)
        return false;
    for (uint32_t i = 0; i < r->n; i++)
        if (!clause_holds(&r->clauses[i], f, denies)) {
            if (miss)
                *miss = &r->clauses[i];
            return false;
        }
    return true;
}

static const struct rule *matching_rule(const struct policy *p, const struct peer_facts *f) {
    for (uint32_t i = 0; i < p->n_rules; i++)
        if (rule_matches(&p->rules[i], f, p->denies, NULL))
            return &p->rules[i];
    return NULL;
}

static void decided_by(struct verdict *v, const struct policy *p, const struct rule *r) {
    v->kind = "AuthorizationPolicy";
    v->ns = p->ns;
    v->name = p->name;
    v->rule = (int)(r - p->rules);
    v->at = r->at.file.n ? r->at : p->at;
}

/* The first policy of items[from..to) of each group that matches decides. */
static bool decide(const struct policy_table *t, const struct peer_facts *f, bool deny, struct verdict *v) {
    for (unsigned g = 0; g < POLICY_GROUPS; g++) {
        const struct policy_group *group = t->groups[g];
        uint32_t from = deny ? 0 : group->n_deny, to = deny ? group->n_deny : group->n_deny + group->n_allow;
        for (uint32_t i = from; i < to; i++) {
            const struct rule *r = matching_rule(group->items[i], f);
            if (!r)
                continue;
            decided_by(v, group->items[i], r);
            return true;
        }
    }
    return false;
}

/* For people: which policy would have had to allow it? */
static void name_nearest(const struct policy_table *t, struct verdict *v) {
    for (unsigned g = 0; g < POLICY_GROUPS; g++) {
        const struct policy_group *group = t->groups[g];
        if (!group->n_allow)
            continue;
        const struct policy *p = group->items[group->n_deny];
        v->nearest.ns = p->ns;
        v->nearest.name = p->name;
        v->nearest.rule = p->n_rules ? 0 : -1;
        v->nearest.at = p->n_rules && p->rules[0].at.file.n ? p->rules[0].at : p->at;
        return;
    }
}

enum mtls_mode policy_table_mode(const struct policy_table *t, uint16_t port, const struct peer_auth **ret_by,
                                 const struct origin **ret_at) {
    const struct peer_auth *p = t->ports_by;

    for (size_t i = 0; p && i < p->n_ports; i++)
        if (p->ports[i].port == port && p->ports[i].mode != MTLS_UNSET) {
            *ret_by = p;
            *ret_at = &p->ports[i].at;
            return p->ports[i].mode;
        }
    *ret_by = t->mode_by;
    *ret_at = t->mode_by ? &t->mode_by->mode_at : NULL;
    return t->mode;
}

void authz_mtls(const struct world *w, const struct workload *to, uint16_t port, struct mtls_effective *ret) {
    const struct peer_auth *by;
    const struct origin *at;

    *ret = (struct mtls_effective){.mode = policy_table_mode(to->policies, port, &by, &at)};
    if (!by)
        return;
    ret->ns = by->ns;
    ret->name = by->name;
    ret->at = at->file.n ? *at : by->at;
}

bool authz_mtls_port(const struct workload *to, size_t i, uint16_t *ret_port, struct mtls_effective *ret) {
    const struct peer_auth *p = to->policies->ports_by;

    for (size_t k = 0; p && k < p->n_ports; k++) {
        if (p->ports[k].mode == MTLS_UNSET || i-- > 0)
            continue;
        *ret_port = p->ports[k].port;
        *ret = (struct mtls_effective){.mode = p->ports[k].mode, .ns = p->ns, .name = p->name, .at = p->ports[k].at};
        return true;
    }
    return false;
}

void authz_judge(const struct world *w, const struct authz_query *q, struct verdict *ret) {
    const struct policy_table *t = q->to->policies;
    struct verdict v = {.rule = -1, .allow_policies = t->has_allow, .nearest.rule = -1};
    struct mtls_effective mtls;
    struct peer_facts f;

    peer_facts_init(&f, q);
    authz_mtls(w, q->to, q->port, &mtls);
    v.mtls = mtls.mode;
    if (mtls.mode == MTLS_STRICT && !f.identity) {
        v.reason = CLOSE_MTLS_REQUIRED;
        v.kind = "PeerAuthentication";
        v.ns = mtls.ns;
        v.name = mtls.name;
        v.at = mtls.at;
    } else if (decide(t, &f, true, &v)) {
        v.reason = CLOSE_POLICY_DENIED;
    } else if (!t->has_allow || decide(t, &f, false, &v)) {
        v.allow = true;
        v.reason = CLOSE_NONE;
    } else {
        v.reason = CLOSE_POLICY_DENIED;
        name_nearest(t, &v);
    }
    *ret = v;
}
