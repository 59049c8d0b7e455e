/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/explain.c - the same walk as authz_judge, told step by step
 *
 * Uses the matcher's own functions on the same compiled form, so what is told is what was done. It goes on after the
 * deciding policy: the reader also wants to know what else stood in the way. */
#include <ringwall/base/check.h>

#include "policy.h"

enum { WHY_BYTES = 1024, VALUES_SHOWN = 4 };

struct telling {
    authz_step_fn step;
    void *context;
    const struct peer_facts *facts;
};

static const char *field_name(const struct condition *c, enum clause_kind kind) {
    static const char *const plain[_FIELD_MAX] = {
        [FIELD_PRINCIPAL] = "principals", [FIELD_NAMESPACE] = "namespaces",          [FIELD_SERVICE_ACCOUNT] = "serviceAccounts",
        [FIELD_SOURCE_IP] = "ipBlocks",   [FIELD_DESTINATION_IP] = "destination.ip", [FIELD_DESTINATION_PORT] = "ports",
    };
    static const char *const negative[_FIELD_MAX] = {
        [FIELD_PRINCIPAL] = "notPrincipals",
        [FIELD_NAMESPACE] = "notNamespaces",
        [FIELD_SERVICE_ACCOUNT] = "notServiceAccounts",
        [FIELD_SOURCE_IP] = "notIpBlocks",
        [FIELD_DESTINATION_IP] = "not destination.ip",
        [FIELD_DESTINATION_PORT] = "notPorts",
    };
    static const char *const key[_FIELD_MAX] = {
        [FIELD_PRINCIPAL] = "source.principal",
        [FIELD_NAMESPACE] = "source.namespace",
        [FIELD_SERVICE_ACCOUNT] = "source.serviceAccount",
        [FIELD_SOURCE_IP] = "source.ip",
        [FIELD_DESTINATION_IP] = "destination.ip",
        [FIELD_DESTINATION_PORT] = "destination.port",
    };

    if (kind == CLAUSE_WHEN)
        return key[c->field];
    return c->negative ? negative[c->field] : plain[c->field];
}

static void add_value(const struct condition *c, uint32_t i, struct text *to) {
    char block[CIDR_TEXT];

    switch (c->field) {
    case FIELD_PRINCIPAL:
    case FIELD_NAMESPACE:
        text_addf(to, "%s" STR_FMT "%s", c->texts[i].kind == TEXT_SUFFIX || c->texts[i].kind == TEXT_PRESENT ? "*" : "",
                  STR_ARG(c->texts[i].text), c->texts[i].kind == TEXT_PREFIX ? "*" : "");
        return;
    case FIELD_SERVICE_ACCOUNT:
        text_addf(to, STR_FMT "/" STR_FMT, STR_ARG(c->accounts[i].ns), STR_ARG(c->accounts[i].sa));
        return;
    case FIELD_SOURCE_IP:
    case FIELD_DESTINATION_IP:
        text_add(to, cidr_format(&c->cidrs[i], block));
        return;
    case FIELD_DESTINATION_PORT:
        text_addf(to, "%u", (unsigned)c->ports[i]);
        return;
    case _FIELD_MAX:
        break;
    }
    unreachable_because("the compiler makes no such field");
}

/* What the peer has where the condition looks. */
static void add_fact(const struct condition *c, const struct peer_facts *f, struct text *to) {
    const struct addr *a = c->field == FIELD_SOURCE_IP ? f->source_ip : f->destination_ip;
    char addr[ADDR_TEXT];

    switch (c->field) {
    case FIELD_PRINCIPAL:
    case FIELD_NAMESPACE:
    case FIELD_SERVICE_ACCOUNT:
        if (f->identity)
            text_addf(to, "the peer is " STR_FMT, STR_ARG(f->principal));
        else
            text_add(to, STR("the peer has no identity"));
        return;
    case FIELD_SOURCE_IP:
    case FIELD_DESTINATION_IP:
        text_add(to, c->field == FIELD_SOURCE_IP ? STR("the source address is ") : STR("the destination address is "));
        text_add(to, a ? addr_format(a, addr) : STR("not known"));
        return;
    case FIELD_DESTINATION_PORT:
        text_addf(to, "the port is %u", (unsigned)f->port);
        return;
    case _FIELD_MAX:
        break;
    }
    unreachable_because("the compiler makes no such field");
}

static bool is_known(const struct condition *c, const struct peer_facts *f) {
    switch (c->field) {
    case FIELD_PRINCIPAL:
    case FIELD_NAMESPACE:
    case FIELD_SERVICE_ACCOUNT:
        return f->identity;
    case FIELD_SOURCE_IP:
        return f->source_ip;
    case FIELD_DESTINATION_IP:
        return f->destination_ip;
    case FIELD_DESTINATION_PORT:
    case _FIELD_MAX:
        break;
    }
    return true;
}

static const char *const clause_names[] = {[CLAUSE_TO] = "to", [CLAUSE_FROM] = "from", [CLAUSE_WHEN] = "when"};

/* "ports [80, 81]" */
static void add_condition(const struct condition *c, enum clause_kind kind, struct text *to) {
    text_addf(to, "%s%s [", kind == CLAUSE_WHEN && c->negative ? "not " : "", field_name(c, kind));
    for (uint32_t i = 0; i < c->n && i < VALUES_SHOWN; i++) {
        if (i)
            text_add(to, STR(", "));
        add_value(c, i, to);
    }
    if (c->n > VALUES_SHOWN)
        text_addf(to, ", and %u more", (unsigned)(c->n - VALUES_SHOWN));
    text_add(to, STR("]"));
}

static void say_miss(const struct clause *c, const struct peer_facts *f, bool denies, struct text *to) {
    const struct condition *miss = NULL;

    check(!match_holds(&c->matches[0], f, denies, &miss) && miss);
    text_addf(to, "%s: ", clause_names[c->kind]);
    add_condition(miss, c->kind, to);
    text_add(to, miss->negative && is_known(miss, f) ? STR(" rules it out: ") : STR(" does not match: "));
    add_fact(miss, f, to);
    if (c->n == 2)
        text_add(to, STR("; nor does the other entry"));
    else if (c->n > 2)
        text_addf(to, "; nor does any of the %u other entries", (unsigned)(c->n - 1));
}

/* The conditions of the entry that holds; one without any holds for what it left out. */
static void say_clause(const struct clause *c, const struct peer_facts *f, bool denies, struct text *to) {
    uint32_t i = 0;

    while (i + 1 < c->n && !match_holds(&c->matches[i], f, denies, NULL))
        i++;
    const struct match *m = &c->matches[i];
    text_addf(to, "%s: ", clause_names[c->kind]);
    for (uint32_t k = 0; k < m->n; k++) {
        if (k)
            text_add(to, STR(" and "));
        add_condition(&m->conditions[k], c->kind, to);
    }
    if (!m->n)
        text_add(to, STR("anything"));
}

static void say_match(const struct rule *r, const struct peer_facts *f, bool denies, struct text *to) {
    if (!r->n)
        text_add(to, STR("an empty rule matches everything"));
    for (uint32_t i = 0; i < r->n; i++) {
        if (i)
            text_add(to, STR(", "));
        say_clause(&r->clauses[i], f, denies, to);
    }
    if (r->assumes)
        text_add(to, STR(", with the fields that cannot be seen at this layer taken as true"));
}

static unsigned n_missed(const struct rule *r, const struct peer_facts *f, bool denies) {
    unsigned n = 0;

    for (uint32_t i = 0; i < r->n; i++) {
        bool any = false;
        for (uint32_t m = 0; m < r->clauses[i].n && !any; m++)
            any = match_holds(&r->clauses[i].matches[m], f, denies, NULL);
        n += !any;
    }
    return n;
}

static bool asks_source_ip(const struct rule *r) {
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t m = 0; m < r->clauses[i].n; m++)
            for (uint32_t k = 0; k < r->clauses[i].matches[m].n; k++)
                if (r->clauses[i].matches[m].conditions[k].field == FIELD_SOURCE_IP)
                    return true;
    return false;
}

static void tell_rule(const struct telling *t, const struct policy *p, int index) {
    char bytes[WHY_BYTES];
    struct text why = TEXT_OVER(bytes);
    const struct rule *r = index >= 0 ? &p->rules[index] : NULL;
    const struct clause *miss = NULL;
    bool matched = false;

    if (!r) {
        text_add(&why, STR("no rules, so it never matches"));
    } else if (r->never.n) {
        text_addf(&why, STR_FMT " cannot be seen at this layer, so this rule never matches", STR_ARG(r->never));
    } else {
        matched = rule_matches(r, t->facts, p->denies, &miss);
        if (matched)
            say_match(r, t->facts, p->denies, &why);
        else
            say_miss(miss, t->facts, p->denies, &why);
    }
    if (!p->enforced)
        text_add(&why, p->dry_run ? STR(" (dry-run: changes nothing)") : STR(" (AUDIT: changes nothing)"));
    t->step(t->context, &(struct authz_step){.ns = p->ns,
                                             .name = p->name,
                                             .kind = "AuthorizationPolicy",
                                             .action = p->action,
                                             .rule = index,
                                             .matched = matched,
                                             .asks_source_ip = r && p->enforced && !r->never.n && asks_source_ip(r),
                                             .n_parts = r && !r->never.n ? r->n : 0,
                                             .n_missed = r && !r->never.n ? n_missed(r, t->facts, p->denies) : 0,
                                             .at = r && r->at.file.n ? r->at : p->at,
                                             .why = bytes});
}

static void tell_policies(const struct telling *t, const struct policy_group *g, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        const struct policy *p = g->items[i];
        if (!p->n_rules)
            tell_rule(t, p, -1);
        for (uint32_t r = 0; r < p->n_rules; r++)
            tell_rule(t, p, (int)r);
    }
}

static void tell_mtls(const struct telling *t, const struct world *w, const struct authz_query *q) {
    char bytes[WHY_BYTES];
    struct text why = TEXT_OVER(bytes);
    struct mtls_effective m;

    authz_mtls(w, q->to, q->port, &m);
    text_addf(&why, "%s for port %u%s: ", mtls_mode_name(m.mode), (unsigned)q->port, m.name.n ? "" : " (the default)");
    if (t->facts->identity)
        text_add(&why, STR("the peer has an identity"));
    else
        text_add(&why,
                 m.mode == MTLS_STRICT ? STR("the peer has no identity, which STRICT refuses") : STR("plaintext is accepted"));
    t->step(t->context, &(struct authz_step){.ns = m.ns,
                                             .name = m.name,
                                             .kind = "PeerAuthentication",
                                             .action = POLICY_DENY,
                                             .rule = -1,
                                             .matched = m.mode == MTLS_STRICT && !t->facts->identity,
                                             .at = m.at,
                                             .why = bytes});
}

void authz_explain(const struct world *w, const struct authz_query *q, authz_step_fn step, void *context, struct verdict *ret) {
    const struct policy_table *table = q->to->policies;
    struct peer_facts facts;
    struct telling t = {.step = step, .context = context, .facts = &facts};

    peer_facts_init(&facts, q);
    tell_mtls(&t, w, q);
    for (unsigned pass = 0; pass < 3; pass++)
        for (unsigned i = 0; i < POLICY_GROUPS; i++) {
            const struct policy_group *g = table->groups[i];
            const uint32_t ends[] = {0, g->n_deny, g->n_deny + g->n_allow, g->n_deny + g->n_allow + g->n_watched};
            tell_policies(&t, g, ends[pass], ends[pass + 1]);
        }
    authz_judge(w, q, ret);
}

void verdict_format(const struct verdict *v, struct text *to) {
    if (v->name.n) {
        text_addf(to, "%s by %s " STR_FMT "/" STR_FMT, v->allow ? "allowed" : "denied", v->kind, STR_ARG(v->ns), STR_ARG(v->name));
        if (v->rule >= 0)
            text_addf(to, " rule %d", v->rule);
        if (v->at.file.n)
            text_addf(to, " at " STR_FMT ":%u", STR_ARG(v->at.file), v->at.line);
        if (v->reason == CLOSE_MTLS_REQUIRED)
            text_add(to, STR(": STRICT refuses plaintext"));
        return;
    }
    text_add(to, v->allow ? STR("allowed: nothing denies it, and no ALLOW policy applies")
                          : STR("denied: ALLOW policies exist, and none of them matches"));
    if (v->nearest.name.n)
        text_addf(to, "; the first is " STR_FMT "/" STR_FMT " at " STR_FMT ":%u", STR_ARG(v->nearest.ns), STR_ARG(v->nearest.name),
                  STR_ARG(v->nearest.at.file), v->nearest.at.line);
}
