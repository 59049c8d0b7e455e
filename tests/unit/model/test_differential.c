/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the compiled matcher decides what the files say: same verdict, same deciding object and rule. Method: random
 * meshes and questions, each also answered by a second evaluator that reads the specs as they stand, one sentence of
 * the rules at a time, and shares no code with the first. The seed is printed when they differ; RINGWALL_SEED and
 * RINGWALL_CASES choose another walk. */
#include <arpa/inet.h>

#include <ringwall/base/rng.h>

#include "mesh.h"
#include "unit.h"

#ifdef RINGWALL_CHECK_SLOW /* a sanitizer costs ten times */
enum { CASES = 100000 };
#else
enum { CASES = 1000000 };
#endif
enum { ASKS_A_WORLD = 50 };

/* ---- the naive evaluator ---- */

struct question {
    const struct workload_spec *to;
    const char *peer; /* "td/ns/x/sa/y"; NULL: none */
    char td[32], ns[32], sa[32];
    const char *source_ip; /* NULL: not known */
    const char *destination_ip;
    uint16_t port;
};
struct answer {
    bool allow;
    const char *kind;
    struct str ns, name;
    int rule;
    enum mtls_mode mtls;
};

static bool star_match(const char *pattern, const char *s) {
    size_t n = strlen(pattern), have = strlen(s);
    if (!strcmp(pattern, "*"))
        return have > 0;
    if (pattern[0] == '*')
        return have >= n - 1 && !strcmp(s + have - (n - 1), pattern + 1);
    if (n && pattern[n - 1] == '*')
        return !strncmp(s, pattern, n - 1);
    return !strcmp(pattern, s);
}

static bool principal_match(const struct world_settings *w, const char *pattern, const char *peer) {
    const char *slash = strchr(pattern, '/');
    char td[128] = "", spelled[256];
    size_t n_domains = 1 + w->n_trust_domain_aliases;
    bool ours = false;

    if (slash)
        snprintf(td, sizeof(td), "%.*s", (int)(slash - pattern), pattern);
    for (size_t i = 0; slash && i < n_domains; i++) {
        struct str d = i ? w->trust_domain_aliases[i - 1] : w->trust_domain;
        char domain[128];
        snprintf(domain, sizeof(domain), STR_FMT, STR_ARG(d));
        ours |= !strcmp(td, "cluster.local") || (strcmp(td, "*") && td[0] && star_match(td, domain) && td[strlen(td) - 1] != '*');
    }
    if (!ours)
        return star_match(pattern, peer);
    if (td[0] == '*' && star_match(pattern, peer))
        return true;
    for (size_t i = 0; i < n_domains; i++) {
        struct str d = i ? w->trust_domain_aliases[i - 1] : w->trust_domain;
        snprintf(spelled, sizeof(spelled), STR_FMT "%s", STR_ARG(d), slash);
        if (td[0] == '*' ? !strcmp(spelled, peer) : star_match(spelled, peer))
            return true;
    }
    return false;
}

static bool ip_match(const char *block, const char *ip) {
    char head[64];
    unsigned char a[16], b[16];
    const char *slash = strchr(block, '/');
    int family = strchr(block, ':') ? AF_INET6 : AF_INET;

    snprintf(head, sizeof(head), "%.*s", slash ? (int)(slash - block) : (int)strlen(block), block);
    if (family != (strchr(ip, ':') ? AF_INET6 : AF_INET))
        return false;
    int bits = slash ? atoi(slash + 1) : family == AF_INET ? 32 : 128;
    assert_int_equal(inet_pton(family, head, a), 1);
    assert_int_equal(inet_pton(family, ip, b), 1);
    for (int i = 0; i < bits; i++)
        if ((a[i / 8] >> (7 - i % 8) & 1) != (b[i / 8] >> (7 - i % 8) & 1))
            return false;
    return true;
}

enum naive_field { N_PRINCIPAL, N_NAMESPACE, N_ACCOUNT, N_SOURCE_IP, N_DESTINATION_IP, N_PORT, N_UNSEEN };

static bool value_match(const struct mesh *m, const struct policy_spec *p, enum naive_field f, const char *value,
                        const struct question *q) {
    char account[512];
    switch (f) {
    case N_PRINCIPAL:
        return principal_match(&m->input.settings, value, q->peer);
    case N_NAMESPACE:
        return star_match(value, q->ns);
    case N_ACCOUNT:
        if (strchr(value, '/'))
            snprintf(account, sizeof(account), "%s", value);
        else
            snprintf(account, sizeof(account), STR_FMT "/%s", STR_ARG(p->ns), value);
        return !strncmp(account, q->ns, strlen(q->ns)) && account[strlen(q->ns)] == '/' &&
               !strcmp(account + strlen(q->ns) + 1, q->sa);
    case N_SOURCE_IP:
        return ip_match(value, q->source_ip);
    case N_DESTINATION_IP:
        return ip_match(value, q->destination_ip);
    case N_PORT:
        return atoi(value) == q->port;
    case N_UNSEEN:
        break;
    }
    return false;
}

/* One list of one source, operation or condition. */
static bool list_holds(const struct mesh *m, const struct policy_spec *p, enum naive_field f, const struct text_list *l,
                       bool negative, const struct question *q) {
    bool deny = p->action != POLICY_ALLOW, any = false;

    if (!l->n)
        return true;
    if (f == N_UNSEEN)
        return deny;
    if (f <= N_ACCOUNT && !q->peer)
        return negative && deny;
    if ((f == N_SOURCE_IP && !q->source_ip) || (f == N_DESTINATION_IP && !q->destination_ip))
        return deny;
    for (size_t i = 0; i < l->n; i++) {
        char value[256];
        snprintf(value, sizeof(value), STR_FMT, STR_ARG(l->items[i].text));
        any |= value_match(m, p, f, value, q);
    }
    return any != negative;
}

static bool source_holds(const struct mesh *m, const struct policy_spec *p, const struct source_spec *s, const struct question *q) {
    return list_holds(m, p, N_PRINCIPAL, &s->principals, false, q) && list_holds(m, p, N_PRINCIPAL, &s->not_principals, true, q) &&
           list_holds(m, p, N_NAMESPACE, &s->namespaces, false, q) && list_holds(m, p, N_NAMESPACE, &s->not_namespaces, true, q) &&
           list_holds(m, p, N_ACCOUNT, &s->service_accounts, false, q) &&
           list_holds(m, p, N_ACCOUNT, &s->not_service_accounts, true, q) &&
           list_holds(m, p, N_SOURCE_IP, &s->ip_blocks, false, q) && list_holds(m, p, N_SOURCE_IP, &s->not_ip_blocks, true, q);
}

static bool source_unseen(const struct source_spec *s) {
    return s->trust_domains.n || s->not_trust_domains.n || s->request_principals.n || s->not_request_principals.n ||
           s->remote_ip_blocks.n || s->not_remote_ip_blocks.n;
}

static bool operation_unseen(const struct operation_spec *o) {
    return o->hosts.n || o->not_hosts.n || o->methods.n || o->not_methods.n || o->paths.n || o->not_paths.n;
}

static enum naive_field field_of_key(struct str key) {
    static const char *const keys[] = {"source.principal", "source.namespace", "source.serviceAccount",
                                       "source.ip",        "destination.ip",   "destination.port"};
    for (int i = 0; i < N_UNSEEN; i++)
        if (str_is(key, str_of(keys[i])))
            return (enum naive_field)i;
    return N_UNSEEN;
}

static bool rule_holds(const struct mesh *m, const struct policy_spec *p, const struct rule_spec *r, const struct question *q) {
    bool from = !r->n_from, to = !r->n_to, unseen = false;

    for (size_t i = 0; i < r->n_from; i++) {
        from |= source_holds(m, p, &r->from[i], q);
        unseen |= source_unseen(&r->from[i]);
    }
    for (size_t i = 0; i < r->n_to; i++) {
        to |= list_holds(m, p, N_PORT, &r->to[i].ports, false, q) && list_holds(m, p, N_PORT, &r->to[i].not_ports, true, q);
        unseen |= operation_unseen(&r->to[i]);
    }
    for (size_t i = 0; i < r->n_when; i++) {
        enum naive_field f = field_of_key(r->when[i].key);
        unseen |= f == N_UNSEEN;
        if (!list_holds(m, p, f, &r->when[i].values, false, q) || !list_holds(m, p, f, &r->when[i].not_values, true, q))
            return false;
    }
    return from && to && !(unseen && p->action == POLICY_ALLOW);
}

static bool selector_holds(const struct selector *s, const struct workload_spec *w) {
    for (size_t i = 0; i < s->n; i++) {
        bool has = false;
        for (size_t j = 0; j < w->n_labels; j++)
            has |= str_is(s->labels[i].key, w->labels[j].key) && str_is(s->labels[i].value, w->labels[j].value);
        if (!has)
            return false;
    }
    return true;
}

/* 0 mesh, 1 namespace, 2 selector, -1: does not apply */
static int scope_of(const struct mesh *m, const struct policy_spec *p, const struct workload_spec *w) {
    bool root = str_is(p->ns, m->input.settings.root_namespace);
    if (p->dry_run || p->has_target_refs || p->action == POLICY_AUDIT || (!root && !str_is(p->ns, w->ns)) ||
        !selector_holds(&p->selector, w))
        return -1;
    return p->selector.n ? 2 : root ? 0 : 1;
}

/* The first policy with this action and scope, by namespace and name, that has a matching rule. */
static bool naive_find(const struct mesh *m, enum policy_action action, int scope, const struct question *q, struct answer *ret) {
    const struct policy_spec *best = NULL;
    int rule = -1;

    for (size_t i = 0; i < m->input.n_policies; i++) {
        const struct policy_spec *p = m->input.policies[i];
        if (p->action != action || scope_of(m, p, q->to) != scope)
            continue;
        if (best && (str_compare(p->ns, best->ns) > 0 || (str_is(p->ns, best->ns) && str_compare(p->name, best->name) > 0)))
            continue;
        for (size_t r = 0; r < p->n_rules; r++)
            if (rule_holds(m, p, &p->rules[r], q)) {
                best = p;
                rule = (int)r;
                break;
            }
    }
    if (!best)
        return false;
    ret->kind = "AuthorizationPolicy";
    ret->ns = best->ns;
    ret->name = best->name;
    ret->rule = rule;
    return true;
}

static bool is_older(const struct peer_auth_spec *a, const struct peer_auth_spec *b) {
    if (a->has_created != b->has_created)
        return a->has_created;
    if (a->has_created && a->created_s != b->created_s)
        return a->created_s < b->created_s;
    return str_compare(a->name, b->name) < 0;
}

static const struct peer_auth_spec *naive_level(const struct mesh *m, const struct workload_spec *w, int level) {
    const struct peer_auth_spec *best = NULL;

    for (size_t i = 0; i < m->input.n_peer_auths; i++) {
        const struct peer_auth_spec *p = m->input.peer_auths[i];
        bool root = str_is(p->ns, m->input.settings.root_namespace), own = str_is(p->ns, w->ns);
        bool here = level == 0   ? root && !p->selector.n
                    : level == 1 ? own && !root && !p->selector.n
                                 : own && !root && p->selector.n;
        if (here && selector_holds(&p->selector, w) && (!best || is_older(p, best)))
            best = p;
    }
    return best;
}

static enum mtls_mode naive_mode(const struct mesh *m, const struct question *q, struct answer *ret) {
    enum mtls_mode mode = MTLS_PERMISSIVE;
    const struct peer_auth_spec *by = NULL, *p = NULL;

    for (int level = 0; level < 3; level++) {
        p = naive_level(m, q->to, level);
        if (p && p->mode != MTLS_UNSET) {
            mode = p->mode;
            by = p;
        }
    }
    for (size_t i = 0; p && i < p->n_ports; i++)
        if (p->ports[i].port == q->port && p->ports[i].mode != MTLS_UNSET) {
            mode = p->ports[i].mode;
            by = p;
        }
    if (mode == MTLS_STRICT && !q->peer) {
        ret->kind = "PeerAuthentication";
        ret->ns = by->ns;
        ret->name = by->name;
    }
    return mode;
}

static void naive_judge(const struct mesh *m, const struct question *q, struct answer *ret) {
    static const enum policy_action deny_actions[] = {POLICY_DENY, POLICY_CUSTOM};
    bool some_allow = false;

    *ret = (struct answer){.rule = -1};
    ret->mtls = naive_mode(m, q, ret);
    if (ret->kind)
        return;
    for (int scope = 0; scope < 3; scope++)
        for (int a = 0; a < 2; a++)
            if (naive_find(m, deny_actions[a], scope, q, ret))
                return;
    for (size_t i = 0; i < m->input.n_policies; i++)
        some_allow |= m->input.policies[i]->action == POLICY_ALLOW && scope_of(m, m->input.policies[i], q->to) >= 0;
    ret->allow = !some_allow;
    for (int scope = 0; scope < 3 && !ret->allow; scope++)
        ret->allow = naive_find(m, POLICY_ALLOW, scope, q, ret);
}

/* ---- random meshes and questions ---- */

#define PICK(rng, list) (list)[rng_below((rng), array_size(list))]

static const char *const namespaces[] = {"a", "b", "ab", "istio-system"};
static const char *const accounts[] = {"x", "y", "x.y"};
static const char *const domains[] = {"corp", "old", "cluster.local", "far", "notold"};
static const char *const source_ips[] = {"10.0.0.1", "10.0.1.1", "10.1.0.1", "2001:db8::1", "2001:db8:1::1"};
static const char *const label_sets[] = {"", " labels=app:web", " labels=app:web,v:1", " labels=app:db", " labels=v:1,tier:x"};
static const char *const selectors[] = {" selector=app:web", " selector=v:1",    " selector=v:1,app:web",
                                        " selector=app:db",  " selector=tier:x", " selector=app:no"};
static const char *const principals[] = {"*",
                                         "corp/ns/a/sa/x",
                                         "old/ns/a/sa/x",
                                         "cluster.local/ns/b/sa/y",
                                         "far/ns/a/sa/x",
                                         "*/ns/a/sa/x",
                                         "*/sa/x.y",
                                         "*old/ns/a/sa/x",
                                         "corp/ns/a*",
                                         "cluster.local/*",
                                         "co*",
                                         "*x",
                                         "old/ns/ab/*",
                                         "spiffe://corp/ns/a/sa/x",
                                         "corp/ns/*/sa/x",
                                         "x/ns/a",
                                         "*none/ns/a/sa/x"};
static const char *const ns_patterns[] = {"a", "b", "ab", "a*", "*b", "*", "no"};
static const char *const account_patterns[] = {"a/x", "b/y", "x", "ab/x.y", "a/x.y"};
static const char *const blocks[] = {"10.0.0.1", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/48", "2001:db8::1"};
static const char *const ports[] = {"80", "81", "443"};

static void add_list(struct rng *rng, struct text *t, const char *field, const char *const *values, size_t n_values, bool *any) {
    text_addf(t, " %s=%s", field, values[rng_below(rng, n_values)]);
    for (uint64_t more = rng_below(rng, 3); more > 1; more--)
        text_addf(t, ",%s", values[rng_below(rng, n_values)]);
    *any = true;
}
#define MAYBE(odds, field, values) \
    do { \
        if (rng_below(rng, (odds)) == 0) \
            add_list(rng, t, (field), (values), array_size(values), &any); \
    } while (0)

static void random_source(struct rng *rng, struct text *t, bool custom) {
    static const char *const l7[] = {"requestPrincipals", "notRequestPrincipals", "trustDomains", "notTrustDomains"};
    bool any = false;

    text_add(t, STR(" | from"));
    if (custom) {
        add_list(rng, t, "ipBlocks", blocks, array_size(blocks), &any);
        return;
    }
    while (!any) {
        if (rng_below(rng, 4) == 0) {
            MAYBE(2, "serviceAccounts", account_patterns);
            MAYBE(3, "notServiceAccounts", account_patterns);
        } else {
            MAYBE(3, "principals", principals);
            MAYBE(5, "notPrincipals", principals);
            MAYBE(4, "namespaces", ns_patterns);
            MAYBE(5, "notNamespaces", ns_patterns);
        }
        MAYBE(6, "ipBlocks", blocks);
        MAYBE(8, "notIpBlocks", blocks);
        MAYBE(40, PICK(rng, l7), ns_patterns);
    }
}

static void random_when(struct rng *rng, struct text *t, bool custom) {
    bool any = false;
    text_add(t, STR(" | when"));
    while (!any) {
        if (!custom) {
            MAYBE(5, "source.principal", principals);
            MAYBE(8, "source.principal!", principals);
            MAYBE(5, "source.namespace", ns_patterns);
            MAYBE(8, "source.namespace!", ns_patterns);
            MAYBE(8, "source.serviceAccount", account_patterns);
            MAYBE(9, "source.serviceAccount!", account_patterns);
            MAYBE(40, "source.trustDomain", ns_patterns);
        }
        MAYBE(8, "source.ip", blocks);
        MAYBE(9, "source.ip!", blocks);
        MAYBE(8, "destination.ip", blocks);
        MAYBE(9, "destination.ip!", blocks);
        MAYBE(6, "destination.port", ports);
        MAYBE(8, "destination.port!", ports);
        MAYBE(60, "connection.sni", ns_patterns);
    }
}

static void random_rule(struct mesh *m, struct rng *rng, bool custom) {
    char bytes[1024];
    struct text over = TEXT_OVER(bytes), *t = &over;
    bool any = false;

    text_add(t, STR("rule"));
    for (uint64_t n = rng_below(rng, 3); n; n--)
        random_source(rng, t, custom);
    for (uint64_t n = rng_below(rng, 4) / 2; n; n--) {
        text_add(t, STR(" | to"));
        add_list(rng, t, rng_below(rng, 4) ? "ports" : "notPorts", ports, array_size(ports), &any);
        MAYBE(20, "methods", ns_patterns);
    }
    if (rng_below(rng, 3) == 0)
        random_when(rng, t, custom);
    assert_false(t->full);
    mesh_add(m, bytes);
}

static void random_policy(struct mesh *m, struct rng *rng, unsigned i) {
    static const char *const actions[] = {"ALLOW", "ALLOW", "ALLOW", "DENY", "DENY", "CUSTOM", "AUDIT"};
    const char *action = PICK(rng, actions), *selector = rng_below(rng, 2) ? PICK(rng, selectors) : "";
    bool deny = action[0] == 'D' || action[0] == 'C';
    bool refs = !selector[0] && rng_below(rng, 20) == 0;

    mesh_addf(m, "policy %s %s/p%u%s%s%s", action, PICK(rng, namespaces), (i * 7) % 31, selector, rng_below(rng, 12) ? "" : " dry",
              refs ? " refs" : "");
    for (uint64_t n = deny + rng_below(rng, 3); n; n--)
        random_rule(m, rng, action[0] == 'C');
}

static void random_auth(struct mesh *m, struct rng *rng, unsigned i) {
    static const char *const port_modes[] = {"UNSET", "DISABLE", "PERMISSIVE", "STRICT"};
    static const char *const modes[] = {"", " UNSET", " DISABLE", " PERMISSIVE", " STRICT", " STRICT"};
    char created[32] = "", by_port[64] = "";
    const char *selector = rng_below(rng, 2) ? PICK(rng, selectors) : "";

    if (rng_below(rng, 3))
        snprintf(created, sizeof(created), " created=%u", (unsigned)rng_below(rng, 3));
    if (selector[0] && rng_below(rng, 2))
        snprintf(by_port, sizeof(by_port), " port=80:%s port=81:%s", PICK(rng, port_modes), PICK(rng, port_modes));
    mesh_addf(m, "auth %s/q%u%s%s%s%s", PICK(rng, namespaces), (i * 5) % 11, PICK(rng, modes), selector, created, by_port);
}

static void random_mesh(struct mesh *m, struct rng *rng) {
    mesh_init(m);
    mesh_add(m, "domain corp");
    for (uint64_t i = rng_below(rng, 3); i; i--)
        mesh_add(m, i == 1 ? "alias old" : "alias older");
    for (unsigned i = 0; i < 10; i++)
        mesh_addf(m, "pod %s/w%u ip=10.0.0.%u%s", PICK(rng, namespaces), i, i + 1, PICK(rng, label_sets));
    mesh_addf(m, "pod a/v6 ip=2001:db8::1%s", PICK(rng, label_sets));
    mesh_addf(m, "pod a/nowhere%s", PICK(rng, label_sets));
    for (unsigned i = 0, n = (unsigned)rng_below(rng, 12); i < n; i++)
        random_policy(m, rng, i);
    for (unsigned i = 0, n = (unsigned)rng_below(rng, 8); i < n; i++)
        random_auth(m, rng, i);
}

static void random_question(struct mesh *m, struct rng *rng, struct question *q, char peer[192]) {
    *q =
        (struct question){.to = m->input.workloads[rng_below(rng, m->input.n_workloads)], .port = (uint16_t)atoi(PICK(rng, ports))};
    if (rng_below(rng, 4)) {
        snprintf(q->td, sizeof(q->td), "%s", PICK(rng, domains));
        snprintf(q->ns, sizeof(q->ns), "%s", PICK(rng, namespaces));
        snprintf(q->sa, sizeof(q->sa), "%s", PICK(rng, accounts));
        snprintf(peer, 192, "%s/ns/%s/sa/%s", q->td, q->ns, q->sa);
        q->peer = peer;
    }
    if (rng_below(rng, 6))
        q->source_ip = PICK(rng, source_ips);
    if (rng_below(rng, 4) == 0)
        q->destination_ip = PICK(rng, source_ips);
}

static bool same(const struct answer *a, const struct verdict *v) {
    return a->allow == v->allow && a->mtls == v->mtls && a->rule == v->rule && !a->kind == !v->kind &&
           (!a->kind || !strcmp(a->kind, v->kind)) && str_is(a->ns, v->ns) && str_is(a->name, v->name);
}

static struct answer ask_both(struct mesh *m, struct question *q, uint64_t seed, size_t asked) {
    struct authz_query query = {.to = world_workload_by_name(m->world, q->to->ns, q->to->name), .port = q->port};
    struct identity id;
    struct verdict v;
    struct answer a;
    char own[ADDR_TEXT];

    assert_non_null(query.to);
    if (q->peer) {
        assert_true(identity_make(str_of(q->td), str_of(q->ns), str_of(q->sa), &id));
        query.source = &id;
    }
    if (q->source_ip)
        query.source_ip = mesh_addr(q->source_ip);
    if (q->destination_ip) {
        query.destination_ip = mesh_addr(q->destination_ip);
    } else if (q->to->n_addrs) {
        addr_format(&q->to->addrs[0], own);
        q->destination_ip = own;
    }
    authz_judge(m->world, &query, &v);
    naive_judge(m, q, &a);
    if (!same(&a, &v))
        fail_msg("seed %llu, question %zu: to " STR_FMT "/" STR_FMT ":%u from %s ip %s: compiled %s by " STR_FMT "/" STR_FMT
                 " rule %d, naive %s by " STR_FMT "/" STR_FMT " rule %d",
                 (unsigned long long)seed, asked, STR_ARG(q->to->ns), STR_ARG(q->to->name), q->port, q->peer ? q->peer : "-",
                 q->source_ip ? q->source_ip : "-", v.allow ? "allow" : "deny", STR_ARG(v.ns), STR_ARG(v.name), v.rule,
                 a.allow ? "allow" : "deny", STR_ARG(a.ns), STR_ARG(a.name), a.rule);
    return a;
}

static uint64_t from_environment(const char *name, uint64_t otherwise) {
    const char *z = getenv(name);
    uint64_t n;
    return z && str_u64(str_of(z), UINT64_MAX, &n) ? n : otherwise;
}

static void compiled_and_naive_agree(void **state) {
    uint64_t seed = from_environment("RINGWALL_SEED", 20260901), n_cases = from_environment("RINGWALL_CASES", CASES);
    size_t n_denied = 0, n_decided = 0;

    for (uint64_t done = 0; done < n_cases; seed++) {
        struct rng rng;
        struct mesh m;
        rng_seed(&rng, seed);
        random_mesh(&m, &rng);
        if (mesh_build(&m))
            fail_msg("seed %llu: %s", (unsigned long long)seed, m.diags.items[0].text);
        for (size_t i = 0; i < ASKS_A_WORLD && done < n_cases; i++, done++) {
            struct question q;
            char peer[192];
            random_question(&m, &rng, &q, peer);
            struct answer a = ask_both(&m, &q, seed, i);
            n_denied += !a.allow;
            n_decided += a.rule >= 0;
        }
        mesh_deinit(&m);
    }
    /* A walk that meets one answer only would prove nothing. */
    assert_in_range(n_denied, n_cases / 10, n_cases - n_cases / 10);
    assert_in_range(n_decided, n_cases / 10, n_cases);
}

static void forget(void *context, const struct authz_watched *hit) {}

/* What a dry run promises is what the same mesh says once its policies are in force. */
static void dry_run_tells_the_verdict_that_would_be(void **state) {
    uint64_t seed = from_environment("RINGWALL_SEED", 20260901), n_cases = from_environment("RINGWALL_CASES", CASES) / 10;
    size_t n_changed = 0, n_watched = 0;

    for (uint64_t done = 0; done < n_cases; seed++) {
        cleanup(world_freep) struct world *enforced = NULL;
        struct rng rng;
        struct mesh m;
        rng_seed(&rng, seed);
        random_mesh(&m, &rng);
        assert_int_equal(mesh_build(&m), 0);
        for (size_t i = 0; i < m.input.n_policies; i++)
            ((struct policy_spec *)(uintptr_t)m.input.policies[i])->dry_run = false;
        assert_int_equal(world_build(&m.input, 2, &m.diags, &enforced), 0);
        for (size_t i = 0; i < ASKS_A_WORLD && done < n_cases; i++, done++) {
            struct authz_query a = {.source = NULL};
            struct identity id;
            struct question q;
            struct verdict now, then;
            char peer[192];
            bool allow;
            random_question(&m, &rng, &q, peer);
            a.to = world_workload_by_name(m.world, q.to->ns, q.to->name);
            a.port = q.port;
            if (q.peer) {
                assert_true(identity_make(str_of(q.td), str_of(q.ns), str_of(q.sa), &id));
                a.source = &id;
            }
            if (q.source_ip)
                a.source_ip = mesh_addr(q.source_ip);
            authz_judge(m.world, &a, &now);
            if (!authz_dry_run(&a, &now, forget, NULL, &allow))
                allow = now.allow;
            else
                n_watched++;
            a.to = world_workload_by_name(enforced, q.to->ns, q.to->name);
            authz_judge(enforced, &a, &then);
            if (allow != then.allow)
                fail_msg("seed %llu, question %zu: to " STR_FMT "/" STR_FMT ": now %d, dry run %d, enforced %d",
                         (unsigned long long)seed, i, STR_ARG(q.to->ns), STR_ARG(q.to->name), now.allow, allow, then.allow);
            n_changed += now.allow != then.allow;
        }
        mesh_deinit(&m);
    }
    assert_in_range(n_watched, n_cases / 100, n_cases);
    assert_in_range(n_changed, n_cases / 1000, n_watched);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(compiled_and_naive_agree),
                                       cmocka_unit_test(dry_run_tells_the_verdict_that_would_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
