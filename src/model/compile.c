/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/compile.c - an AuthorizationPolicy's rules into clauses, matches and conditions, closed where in doubt
 *
 * A field that this layer cannot check (HTTP, trust domains) keeps an ALLOW rule from ever matching, and is left out of
 * a DENY, CUSTOM or AUDIT rule, where leaving out means "true". Either way a warning names the field. */
#include "compile.h"

enum { RULES_MAX = 512, FROM_MAX = 512 };

struct named_list {
    const char *name;
    enum list_kind kind;
    bool negative;
    const struct text_list *list;
};

struct compiling {
    struct builder *b;
    const struct policy_spec *spec;
    struct rule *rule;
    size_t n_conditions;
};

static void beyond_this_layer(struct compiling *c, const struct named_list *l, const struct origin *at) {
    const char *sort = l->kind == LIST_TRUST_DOMAINS ? "not supported yet" : "an HTTP field, and TCP is all that is seen here";

    if (c->spec->action == POLICY_ALLOW) {
        if (!c->rule->never.n)
            c->rule->never = build_str(c->b, str_of(l->name));
        diag_addf(c->b->diags, DIAG_WARNING, at,
                  "%s is %s: this ALLOW rule never matches; remove the field, or attach the policy to a waypoint with targetRefs",
                  l->name, sort);
        return;
    }
    c->rule->assumes = true;
    diag_addf(c->b->diags, DIAG_WARNING, at,
              "%s is %s: it counts as true, so this %s rule matches more than it says; remove the field, or attach the policy to a "
              "waypoint "
              "with targetRefs",
              l->name, sort, policy_action_name(c->spec->action));
}

static bool refused_in_custom(const struct named_list *l) {
    return l->kind == LIST_PRINCIPALS || l->kind == LIST_NAMESPACES || l->kind == LIST_ACCOUNTS || l->kind == LIST_TRUST_DOMAINS ||
           str_has_prefix(str_of(l->name), STR("request.auth.")) || str_fold_is(str_of(l->name), STR("requestPrincipals")) ||
           str_fold_is(str_of(l->name), STR("notRequestPrincipals"));
}

/* Adds the list's condition to `to`, at most one. Returns whether the list says anything. */
static bool add_list(struct compiling *c, const struct named_list *l, const struct origin *owner, struct condition *conditions,
                     struct match *to) {
    if (!l->list->n) {
        if (l->list->present)
            diag_addf(c->b->diags, DIAG_WARNING, owner,
                      "%s is an empty list, which means no condition at all; remove it or fill it", l->name);
        return false;
    }
    const struct origin *at = &l->list->items[0].at;
    if (c->spec->action == POLICY_CUSTOM && refused_in_custom(l)) {
        diag_addf(c->b->diags, DIAG_ERROR, at, "%s cannot be used in a CUSTOM policy; move it to an ALLOW or DENY policy", l->name);
        return true;
    }
    if (!list_check(c->b, c->spec, l->name, l->kind, l->list))
        return true;
    if (l->kind == LIST_TRUST_DOMAINS || l->kind == LIST_REMOTE_IPS || l->kind == LIST_HTTP) {
        beyond_this_layer(c, l, at);
        return true;
    }
    conditions[to->n].negative = l->negative;
    list_condition(c->b, c->spec, l->kind, l->list, &conditions[to->n]);
    to->n += conditions[to->n].n > 0;
    c->n_conditions++;
    return true;
}

/* Returns how many lists said anything. */
static unsigned fill_match(struct compiling *c, const struct named_list *lists, unsigned n_lists, const struct origin *at,
                           struct match *to) {
    struct condition found[16] = {0}, *conditions;
    unsigned n_said = 0;

    for (unsigned i = 0; i < n_lists; i++)
        n_said += add_list(c, &lists[i], at, found, to);
    conditions = build_alloc(c->b, sizeof(*conditions), to->n);
    if (conditions)
        memcpy(conditions, found, to->n * sizeof(*conditions));
    to->conditions = conditions;
    return n_said;
}

static bool is_identity_field(enum match_field f) {
    return f == FIELD_PRINCIPAL || f == FIELD_NAMESPACE || f == FIELD_SERVICE_ACCOUNT;
}

/* facts/identity.md 9.2 #3: the matcher keeps such peers out; the author should know that. */
static void warn_negative_only(struct compiling *c, const struct match *m, const struct origin *at) {
    bool negative = false;

    if (c->spec->action != POLICY_ALLOW)
        return;
    for (uint32_t i = 0; i < m->n; i++) {
        if (!is_identity_field(m->conditions[i].field))
            continue;
        if (!m->conditions[i].negative)
            return;
        negative = true;
    }
    if (negative)
        diag_addf(c->b->diags, DIAG_WARNING, at,
                  "only identities to be left out are named: peers without an identity (plaintext) are not admitted by this rule; "
                  "add principals: [\"*\"] to say so");
}

static void compile_source(struct compiling *c, const struct source_spec *s, struct match *to) {
    const struct named_list lists[] = {
        {"principals", LIST_PRINCIPALS, false, &s->principals},
        {"notPrincipals", LIST_PRINCIPALS, true, &s->not_principals},
        {"namespaces", LIST_NAMESPACES, false, &s->namespaces},
        {"notNamespaces", LIST_NAMESPACES, true, &s->not_namespaces},
        {"serviceAccounts", LIST_ACCOUNTS, false, &s->service_accounts},
        {"notServiceAccounts", LIST_ACCOUNTS, true, &s->not_service_accounts},
        {"ipBlocks", LIST_SOURCE_IPS, false, &s->ip_blocks},
        {"notIpBlocks", LIST_SOURCE_IPS, true, &s->not_ip_blocks},
        {"trustDomains", LIST_TRUST_DOMAINS, false, &s->trust_domains},
        {"notTrustDomains", LIST_TRUST_DOMAINS, true, &s->not_trust_domains},
        {"requestPrincipals", LIST_HTTP, false, &s->request_principals},
        {"notRequestPrincipals", LIST_HTTP, true, &s->not_request_principals},
        {"remoteIpBlocks", LIST_REMOTE_IPS, false, &s->remote_ip_blocks},
        {"notRemoteIpBlocks", LIST_REMOTE_IPS, true, &s->not_remote_ip_blocks},
    };

    if (!fill_match(c, lists, array_size(lists), &s->at, to))
        diag_addf(c->b->diags, DIAG_ERROR, &s->at, "this source has no field set; name one, or remove `from` to mean everyone");
    if ((s->service_accounts.n || s->not_service_accounts.n) &&
        (s->principals.n || s->not_principals.n || s->namespaces.n || s->not_namespaces.n))
        diag_addf(
            c->b->diags, DIAG_ERROR, &s->at,
            "serviceAccounts cannot stand with principals or namespaces in one source; write two sources, or principals alone");
    warn_negative_only(c, to, &s->at);
}

static void compile_operation(struct compiling *c, const struct operation_spec *o, struct match *to) {
    const struct named_list lists[] = {
        {"ports", LIST_PORTS, false, &o->ports},    {"notPorts", LIST_PORTS, true, &o->not_ports},
        {"hosts", LIST_HTTP, false, &o->hosts},     {"notHosts", LIST_HTTP, true, &o->not_hosts},
        {"methods", LIST_HTTP, false, &o->methods}, {"notMethods", LIST_HTTP, true, &o->not_methods},
        {"paths", LIST_HTTP, false, &o->paths},     {"notPaths", LIST_HTTP, true, &o->not_paths},
    };

    if (!fill_match(c, lists, array_size(lists), &o->at, to))
        diag_addf(c->b->diags, DIAG_ERROR, &o->at, "this operation has no field set; name one, or remove `to` to mean every port");
}

struct when_key {
    const char *key;
    enum list_kind kind;
    bool in_brackets; /* the key goes on with [name] */
};
static const struct when_key when_keys[] = {
    {"source.ip", LIST_SOURCE_IPS, false},
    {"source.namespace", LIST_NAMESPACES, false},
    {"source.principal", LIST_PRINCIPALS, false},
    {"source.serviceAccount", LIST_ACCOUNTS, false},
    {"destination.ip", LIST_DESTINATION_IPS, false},
    {"destination.port", LIST_PORTS, false},
    {"source.trustDomain", LIST_TRUST_DOMAINS, false},
    {"remote.ip", LIST_REMOTE_IPS, false},
    {"request.auth.principal", LIST_HTTP, false},
    {"request.auth.audiences", LIST_HTTP, false},
    {"request.auth.presenter", LIST_HTTP, false},
    {"connection.sni", LIST_HTTP, false},
    {"request.headers", LIST_HTTP, true},
    {"request.auth.claims", LIST_HTTP, true},
};
static const struct {
    const char *key, *instead;
} refused_keys[] = {
    {"destination.namespace", "put the policy into that namespace"},
    {"destination.labels", "use the policy's selector"},
    {"destination.name", "use the policy's selector"},
    {"destination.user", "use the policy's selector"},
};

/* "[a]" or "[a][b]", each name not empty. */
static bool brackets_valid(struct str s) {
    if (!s.n)
        return false;
    while (s.n) {
        const char *end = memchr(s.at, ']', s.n);
        if (s.at[0] != '[' || !end || end == s.at + 1)
            return false;
        size_t n = (size_t)(end - s.at) + 1;
        s = (struct str){s.at + n, s.n - n};
    }
    return true;
}

static bool find_key(struct str key, enum list_kind *ret) {
    for (size_t i = 0; i < array_size(when_keys); i++) {
        struct str k = str_of(when_keys[i].key);
        struct str behind = str_has_prefix(key, k) ? (struct str){key.at + k.n, key.n - k.n} : STR_NULL;
        if (when_keys[i].in_brackets ? brackets_valid(behind) : str_is(key, k)) {
            *ret = when_keys[i].kind;
            return true;
        }
    }
    *ret = LIST_HTTP;
    return str_has_prefix(key, STR("experimental.envoy.filters.")) && key.n > sizeof("experimental.envoy.filters.") - 1;
}

static void say_unknown_key(struct compiling *c, const struct condition_spec *w) {
    const char *nearest = NULL;
    size_t best = 4;

    for (size_t i = 0; i < array_size(refused_keys); i++)
        if (str_has_prefix(w->key, str_of(refused_keys[i].key))) {
            diag_addf(c->b->diags, DIAG_ERROR, &w->at, "when: key " STR_FMT " is not supported; %s", STR_ARG(w->key),
                      refused_keys[i].instead);
            return;
        }
    for (size_t i = 0; i < array_size(when_keys); i++) {
        size_t d = str_distance(w->key, str_of(when_keys[i].key));
        if (d < best) {
            best = d;
            nearest = when_keys[i].key;
        }
    }
    if (!w->key.n)
        diag_addf(c->b->diags, DIAG_ERROR, &w->at, "when: a condition needs a key, for example source.ip");
    else if (nearest)
        diag_addf(c->b->diags, DIAG_ERROR, &w->at, "when: unknown key \"" STR_FMT "\"; did you mean %s?", STR_ARG(w->key), nearest);
    else
        diag_addf(c->b->diags, DIAG_ERROR, &w->at,
                  "when: unknown key \"" STR_FMT "\"; write source.ip, source.namespace, source.principal, source.serviceAccount, "
                  "destination.ip or destination.port",
                  STR_ARG(w->key));
}

static void compile_when(struct compiling *c, const struct condition_spec *w, struct match *to) {
    enum list_kind kind;

    if (!find_key(w->key, &kind)) {
        say_unknown_key(c, w);
        return;
    }
    struct str key = build_str(c->b, w->key); /* interned strings end in a zero */
    const struct named_list lists[] = {
        {key.at ? key.at : "", kind, false, &w->values},
        {key.at ? key.at : "", kind, true, &w->not_values},
    };
    if (!fill_match(c, lists, array_size(lists), &w->at, to))
        diag_addf(c->b->diags, DIAG_ERROR, &w->at, "when: " STR_FMT " needs values or notValues", STR_ARG(w->key));
    warn_negative_only(c, to, &w->at);
}

static struct match *add_clause(struct compiling *c, struct clause *clauses, enum clause_kind kind, size_t n_matches) {
    struct match *m = build_alloc(c->b, sizeof(*m), n_matches);

    if (m)
        clauses[c->rule->n++] = (struct clause){.matches = m, .n = (uint32_t)n_matches, .kind = kind};
    return m;
}

static void compile_rule(struct compiling *c, const struct rule_spec *r) {
    struct clause *clauses = build_alloc(c->b, sizeof(*clauses), (r->n_to > 0) + (r->n_from > 0) + r->n_when);
    struct match *m;

    c->rule->at = build_origin(c->b, &r->at);
    c->rule->clauses = clauses;
    c->n_conditions = 0;
    if (r->n_from > FROM_MAX)
        diag_addf(c->b->diags, DIAG_ERROR, &r->at, "a rule has %zu sources, at most %d are allowed; split it", r->n_from,
                  (int)FROM_MAX);
    if (!clauses)
        return;
    m = r->n_to ? add_clause(c, clauses, CLAUSE_TO, r->n_to) : NULL;
    for (size_t i = 0; m && i < r->n_to; i++)
        compile_operation(c, &r->to[i], &m[i]);
    m = r->n_from ? add_clause(c, clauses, CLAUSE_FROM, r->n_from) : NULL;
    for (size_t i = 0; m && i < r->n_from; i++)
        compile_source(c, &r->from[i], &m[i]);
    for (size_t i = 0; i < r->n_when; i++) {
        m = add_clause(c, clauses, CLAUSE_WHEN, 1);
        if (m)
            compile_when(c, &r->when[i], m);
    }
    if (c->spec->action == POLICY_DENY && c->rule->assumes && !c->n_conditions)
        diag_addf(c->b->diags, DIAG_WARNING, &r->at,
                  "this DENY rule has HTTP conditions only: it denies every TCP connection to its workloads; add ports, or attach "
                  "the policy to a "
                  "waypoint with targetRefs");
}

void build_policy_rules(struct builder *b, const struct policy_spec *spec, struct policy *p) {
    struct rule *rules = build_alloc(b, sizeof(*rules), spec->n_rules);
    struct compiling c = {.b = b, .spec = spec};

    if (!spec->n_rules && (spec->action == POLICY_DENY || spec->action == POLICY_CUSTOM))
        diag_addf(b->diags, DIAG_ERROR, &spec->at, "a %s policy without rules never matches; write rules: [{}] to match everything",
                  policy_action_name(spec->action));
    if (spec->n_rules > RULES_MAX)
        diag_addf(b->diags, DIAG_ERROR, &spec->at, "%zu rules, at most %d are allowed; split the policy", spec->n_rules,
                  (int)RULES_MAX);
    for (size_t i = 0; rules && i < spec->n_rules; i++) {
        c.rule = &rules[i];
        compile_rule(&c, &spec->rules[i]);
    }
    p->rules = rules;
    p->n_rules = rules ? (uint32_t)spec->n_rules : 0;
}
