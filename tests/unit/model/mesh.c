/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/model/mesh.c - see mesh.h; text that it does not understand fails the test */
#include "mesh.h"

#include "unit.h"

#include <ringwall/base/check.h>

static struct origin here(const struct mesh *m, uint32_t column) {
    return (struct origin){.file = str_of(m->file), .line = m->line, .column = column};
}

static struct str keep(struct mesh *m, struct str s) {
    bool ok = true;
    s = arena_str(&m->arena, s, &ok);
    assert_true(ok);
    return s;
}

/* Appends one pointer to an array of pointers in the input. */
static void push(struct mesh *m, void *array, size_t *n, const void *item) {
    const void **old;
    memcpy(&old, array, sizeof(old));
    if ((*n & (*n - 1)) == 0) { /* a power of two, or 0: full */
        const void **grown = arena_array(&m->arena, const void *, *n ? *n * 2 : 1);
        assert_non_null(grown);
        if (*n)
            memcpy(grown, old, *n * sizeof(*grown));
        memcpy(array, &grown, sizeof(grown));
        old = grown;
    }
    old[(*n)++] = item;
}

static bool word_next(struct str *rest, char at, struct str *ret) {
    do {
        if (!str_split(rest, at, ret))
            return false;
    } while (!ret->n);
    return true;
}

static size_t n_pieces(struct str s, char at) {
    size_t n = 1;
    for (size_t i = 0; i < s.n; i++)
        n += s.at[i] == at;
    return n;
}

static bool key_value(struct str word, const char *key, struct str *ret) {
    struct str k = str_of(key);
    if (!str_has_prefix(word, k) || word.n <= k.n || word.at[k.n] != '=')
        return false;
    *ret = (struct str){word.at + k.n + 1, word.n - k.n - 1};
    return true;
}

static uint64_t number(struct str s) {
    uint64_t n;
    assert_true(str_u64(s, UINT32_MAX, &n));
    return n;
}

static struct text_list list_of(struct mesh *m, struct str s) {
    struct text_list l = {.present = true};
    struct str piece;

    if (!s.n)
        return l;
    l.items = arena_array(&m->arena, struct text_item, n_pieces(s, ','));
    assert_non_null(l.items);
    while (str_split(&s, ',', &piece))
        l.items[l.n++] = (struct text_item){.text = str_is(piece, STR("''")) ? STR("") : keep(m, piece), .at = here(m, 5)};
    return l;
}

static struct label *labels_of(struct mesh *m, struct str s, size_t *ret_n) {
    struct label *labels = arena_array(&m->arena, struct label, n_pieces(s, ','));
    struct str piece, key;
    size_t n = 0;

    assert_non_null(labels);
    while (word_next(&s, ',', &piece)) {
        assert_true(str_split(&piece, ':', &key));
        labels[n++] = (struct label){.key = keep(m, key), .value = keep(m, piece)};
    }
    *ret_n = n;
    return labels;
}

static struct addr *addrs_of(struct mesh *m, struct str s, size_t *ret_n) {
    struct addr *addrs = arena_array(&m->arena, struct addr, n_pieces(s, ','));
    struct str piece;
    size_t n = 0;

    assert_non_null(addrs);
    while (word_next(&s, ',', &piece))
        assert_true(addr_parse(piece, &addrs[n++]));
    *ret_n = n;
    return addrs;
}

static struct service_port_spec *ports_of(struct mesh *m, struct str s, size_t *ret_n) {
    struct service_port_spec *ports = arena_array(&m->arena, struct service_port_spec, n_pieces(s, ','));
    struct str piece, word;
    size_t n = 0;

    assert_non_null(ports);
    while (word_next(&s, ',', &piece)) {
        struct service_port_spec *p = &ports[n++];
        assert_true(str_split(&piece, ':', &word));
        p->name = keep(m, word);
        assert_true(str_split(&piece, ':', &word));
        p->port = (uint16_t)number(word);
        if (piece.n && piece.at[0] == '=')
            p->target_name = keep(m, (struct str){piece.at + 1, piece.n - 1});
        else if (piece.n)
            p->target_port = (uint16_t)number(piece);
    }
    *ret_n = n;
    return ports;
}

static void name_of(struct mesh *m, struct str *rest, struct str *ret_ns, struct str *ret_name) {
    struct str word;
    assert_true(word_next(rest, ' ', &word));
    assert_true(str_split(&word, '/', ret_ns));
    *ret_ns = keep(m, *ret_ns);
    *ret_name = keep(m, word);
}

static bool mesh_label(struct str word, enum mesh_label *ret) {
    if (str_is(word, STR("ambient")))
        *ret = MESH_LABEL_AMBIENT;
    else if (str_is(word, STR("none")))
        *ret = MESH_LABEL_NONE;
    else
        return false;
    return true;
}

static enum traffic_distribution distribution(struct str word) {
    return str_is(word, STR("close")) ? TRAFFIC_PREFER_CLOSE : str_is(word, STR("node")) ? TRAFFIC_PREFER_NODE : TRAFFIC_ANY;
}

static void add_ns(struct mesh *m, struct str rest) {
    struct namespace_spec *s = arena_array(&m->arena, struct namespace_spec, 1);
    struct str word, v;

    assert_non_null(s);
    assert_true(word_next(&rest, ' ', &word));
    s->name = keep(m, word);
    s->at = here(m, 1);
    while (word_next(&rest, ' ', &word)) {
        if (key_value(word, "waypoint", &v))
            s->use_waypoint = keep(m, v);
        else if (key_value(word, "prefer", &v))
            s->distribution = distribution(v);
        else
            assert_true(mesh_label(word, &s->mesh));
    }
    push(m, &m->input.namespaces, &m->input.n_namespaces, s);
}

static void pod_ports(struct mesh *m, struct str v, struct workload_spec *s) {
    size_t n;
    struct service_port_spec *ports = ports_of(m, v, &n);
    s->ports = arena_array(&m->arena, struct named_port, n);
    assert_non_null(s->ports);
    for (size_t i = 0; i < n; i++)
        s->ports[i] = (struct named_port){.name = ports[i].name, .port = ports[i].port};
    s->n_ports = n;
}

/* region/zone/subzone, each may be empty */
static void place_of(struct mesh *m, struct str v, struct str *ret_region, struct str *ret_zone, struct str *ret_subzone) {
    struct str *parts[] = {ret_region, ret_zone, ret_subzone}, part;
    for (size_t i = 0; i < array_size(parts) && str_split(&v, '/', &part); i++)
        *parts[i] = keep(m, part);
}

static void add_workload(struct mesh *m, struct str rest, struct str kind) {
    struct workload_spec *s = arena_array(&m->arena, struct workload_spec, 1);
    struct str word, v;

    assert_non_null(s);
    s->kind = kind;
    s->at = here(m, 1);
    s->ready = true;
    name_of(m, &rest, &s->ns, &s->name);
    while (word_next(&rest, ' ', &word)) {
        if (key_value(word, "ip", &v))
            s->addrs = addrs_of(m, v, &s->n_addrs);
        else if (key_value(word, "sa", &v))
            s->service_account = keep(m, v);
        else if (key_value(word, "node", &v))
            s->node = keep(m, v);
        else if (key_value(word, "labels", &v))
            s->labels = labels_of(m, v, &s->n_labels);
        else if (key_value(word, "ports", &v))
            pod_ports(m, v, s);
        else if (key_value(word, "uid", &v))
            s->uid = keep(m, v);
        else if (key_value(word, "network", &v))
            s->network = keep(m, v);
        else if (key_value(word, "weight", &v))
            s->weight = (uint32_t)number(v);
        else if (key_value(word, "waypoint", &v))
            s->use_waypoint = keep(m, v);
        else if (key_value(word, "at", &v))
            place_of(m, v, &s->region, &s->zone, &s->subzone);
        else if (str_is(word, STR("host")))
            s->host_network = true;
        else if (str_is(word, STR("unready")))
            s->ready = false;
        else if (str_is(word, STR("dying")))
            s->terminating = true;
        else
            assert_true(mesh_label(word, &s->mesh));
    }
    push(m, &m->input.workloads, &m->input.n_workloads, s);
}

static enum policy_action action_of(struct str s) {
    for (int a = POLICY_ALLOW; a <= POLICY_CUSTOM; a++)
        if (str_is(s, str_of(policy_action_name((enum policy_action)a))))
            return (enum policy_action)a;
    fail_msg("no such action: " STR_FMT, STR_ARG(s));
    return POLICY_ALLOW;
}

static void selector_of(struct mesh *m, struct str v, struct selector *ret) {
    ret->present = true;
    ret->labels = labels_of(m, v, &ret->n);
    ret->at = here(m, 3);
}

static void add_policy(struct mesh *m, struct str rest) {
    struct policy_spec *s = arena_array(&m->arena, struct policy_spec, 1);
    struct str word, v;

    assert_non_null(s);
    assert_true(word_next(&rest, ' ', &word));
    s->action = action_of(word);
    s->at = here(m, 1);
    name_of(m, &rest, &s->ns, &s->name);
    while (word_next(&rest, ' ', &word)) {
        if (key_value(word, "selector", &v))
            selector_of(m, v, &s->selector);
        else if (str_is(word, STR("dry")))
            s->dry_run = true;
        else if (str_is(word, STR("refs")))
            s->has_target_refs = true;
        else
            fail_msg("policy: " STR_FMT, STR_ARG(word));
    }
    m->policy = s;
    push(m, &m->input.policies, &m->input.n_policies, s);
}

static struct text_list *field_of(struct str name, const struct text_list *const *fields, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_is(name, str_of(names[i])))
            return (struct text_list *)(uintptr_t)fields[i];
    fail_msg("no such field: " STR_FMT, STR_ARG(name));
    return NULL;
}

static void add_source(struct mesh *m, struct rule_spec *r, struct str rest) {
    struct source_spec *s = &r->from[r->n_from++];
    static const char *const names[] = {"principals",      "notPrincipals",      "namespaces",        "notNamespaces",
                                        "serviceAccounts", "notServiceAccounts", "ipBlocks",          "notIpBlocks",
                                        "trustDomains",    "notTrustDomains",    "requestPrincipals", "notRequestPrincipals",
                                        "remoteIpBlocks",  "notRemoteIpBlocks"};
    const struct text_list *const fields[] = {&s->principals,        &s->not_principals,      &s->namespaces,
                                              &s->not_namespaces,    &s->service_accounts,    &s->not_service_accounts,
                                              &s->ip_blocks,         &s->not_ip_blocks,       &s->trust_domains,
                                              &s->not_trust_domains, &s->request_principals,  &s->not_request_principals,
                                              &s->remote_ip_blocks,  &s->not_remote_ip_blocks};
    struct str word, name;

    s->at = here(m, 3);
    while (word_next(&rest, ' ', &word)) {
        assert_true(str_split(&word, '=', &name));
        *field_of(name, fields, names, array_size(names)) = list_of(m, word);
    }
}

static void add_operation(struct mesh *m, struct rule_spec *r, struct str rest) {
    struct operation_spec *o = &r->to[r->n_to++];
    static const char *const names[] = {"ports", "notPorts", "hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"};
    const struct text_list *const fields[] = {&o->ports,   &o->not_ports,   &o->hosts, &o->not_hosts,
                                              &o->methods, &o->not_methods, &o->paths, &o->not_paths};
    struct str word, name;

    o->at = here(m, 3);
    while (word_next(&rest, ' ', &word)) {
        assert_true(str_split(&word, '=', &name));
        *field_of(name, fields, names, array_size(names)) = list_of(m, word);
    }
}

/* "key=a,b" and "key!=c" of one key are one condition. */
static void add_when(struct mesh *m, struct rule_spec *r, struct str rest) {
    struct str word, name;

    while (word_next(&rest, ' ', &word)) {
        assert_true(str_split(&word, '=', &name));
        bool negative = name.n && name.at[name.n - 1] == '!';
        name.n -= negative;
        struct condition_spec *c =
            r->n_when && str_is(r->when[r->n_when - 1].key, name) ? &r->when[r->n_when - 1] : &r->when[r->n_when++];
        c->key = keep(m, name);
        c->at = here(m, 3);
        *(negative ? &c->not_values : &c->values) = list_of(m, word);
    }
}

static void add_rule(struct mesh *m, struct str rest) {
    struct rule_spec *rules = arena_array(&m->arena, struct rule_spec, m->policy->n_rules + 1), *r;
    size_t n = n_pieces(rest, '|');
    struct str part, word;

    assert_non_null(rules);
    if (m->policy->n_rules)
        memcpy(rules, m->policy->rules, m->policy->n_rules * sizeof(*rules));
    m->policy->rules = rules;
    r = &rules[m->policy->n_rules++];
    r->at = here(m, 1);
    r->from = arena_array(&m->arena, struct source_spec, n);
    r->to = arena_array(&m->arena, struct operation_spec, n);
    r->when = arena_array(&m->arena, struct condition_spec, n_pieces(rest, ' ') + 1);
    assert_true(r->from && r->to && r->when);
    while (str_split(&rest, '|', &part)) {
        if (!word_next(&part, ' ', &word))
            continue;
        if (str_is(word, STR("from")))
            add_source(m, r, part);
        else if (str_is(word, STR("to")))
            add_operation(m, r, part);
        else if (str_is(word, STR("when")))
            add_when(m, r, part);
        else
            fail_msg("rule: " STR_FMT, STR_ARG(word));
    }
}

static bool mode_of(struct str s, enum mtls_mode *ret) {
    for (int i = MTLS_UNSET; i <= MTLS_STRICT; i++)
        if (str_is(s, str_of(mtls_mode_name((enum mtls_mode)i)))) {
            *ret = (enum mtls_mode)i;
            return true;
        }
    return false;
}

static void add_auth(struct mesh *m, struct str rest) {
    struct peer_auth_spec *s = arena_array(&m->arena, struct peer_auth_spec, 1);
    struct str word, v, port;

    assert_non_null(s);
    s->at = here(m, 1);
    name_of(m, &rest, &s->ns, &s->name);
    s->ports = arena_array(&m->arena, struct port_mode_spec, n_pieces(rest, ' '));
    assert_non_null(s->ports);
    while (word_next(&rest, ' ', &word)) {
        if (key_value(word, "selector", &v)) {
            selector_of(m, v, &s->selector);
        } else if (key_value(word, "created", &v)) {
            s->has_created = true;
            s->created_s = (int64_t)number(v);
        } else if (key_value(word, "port", &v)) {
            assert_true(str_split(&v, ':', &port));
            s->ports[s->n_ports].port = (uint16_t)number(port);
            s->ports[s->n_ports].at = here(m, 7);
            assert_true(mode_of(v, &s->ports[s->n_ports++].mode));
        } else {
            assert_true(mode_of(word, &s->mode));
            s->mode_at = here(m, 5);
        }
    }
    push(m, &m->input.peer_auths, &m->input.n_peer_auths, s);
}

static void vips_of(struct mesh *m, struct str v, struct service_spec *s) {
    struct str one;
    s->vips = arena_array(&m->arena, struct addr, n_pieces(v, ','));
    s->blocks = arena_array(&m->arena, struct cidr, n_pieces(v, ','));
    assert_true(s->vips && s->blocks);
    while (word_next(&v, ',', &one)) {
        struct cidr c;
        bool host_bits;
        assert_true(cidr_parse(one, &c, &host_bits) && !host_bits);
        if (c.bits == 128)
            s->vips[s->n_vips++] = c.addr;
        else
            s->blocks[s->n_blocks++] = c;
    }
}

static void add_service(struct mesh *m, struct str rest, struct str kind) {
    struct service_spec *s = arena_array(&m->arena, struct service_spec, 1);
    struct str word, v;

    assert_non_null(s);
    s->kind = kind;
    s->at = here(m, 1);
    name_of(m, &rest, &s->ns, &s->name);
    while (word_next(&rest, ' ', &word)) {
        if (key_value(word, "vip", &v))
            vips_of(m, v, s);
        else if (key_value(word, "ports", &v))
            s->ports = ports_of(m, v, &s->n_ports);
        else if (key_value(word, "selector", &v))
            selector_of(m, v, &s->selector);
        else if (key_value(word, "waypoint", &v))
            s->use_waypoint = keep(m, v);
        else if (key_value(word, "names", &v))
            s->subject_alt_names = list_of(m, v);
        else if (key_value(word, "prefer", &v))
            s->has_distribution = true, s->distribution = distribution(v);
        else if (str_is(word, STR("local")))
            s->has_distribution = true, s->distribution = TRAFFIC_NODE_ONLY;
        else if (str_is(word, STR("nohints")))
            s->ignore_hints = true;
        else if (str_is(word, STR("external")))
            s->external = true;
        else if (str_is(word, STR("notready")))
            s->publish_not_ready = true;
        else
            fail_msg("service: " STR_FMT, STR_ARG(word));
    }
    m->service = s;
    push(m, &m->input.services, &m->input.n_services, s);
}

static void zones_of(struct mesh *m, struct str v, struct service_endpoint_spec *e) {
    struct str one;
    e->for_zones = arena_array(&m->arena, struct str, n_pieces(v, ','));
    assert_non_null(e->for_zones);
    while (word_next(&v, ',', &one))
        e->for_zones[e->n_for_zones++] = keep(m, one);
}

static void add_slice(struct mesh *m, struct str rest) {
    struct service_spec *s = m->service;
    struct service_endpoint_spec *all = arena_array(&m->arena, struct service_endpoint_spec, s->n_endpoints + 1), *e;
    struct str word, v;

    assert_non_null(all);
    if (s->n_endpoints)
        memcpy(all, s->endpoints, s->n_endpoints * sizeof(*all));
    s->endpoints = all;
    s->has_slices = true;
    e = &all[s->n_endpoints++];
    e->ready = true;
    while (word_next(&rest, ' ', &word)) {
        if (key_value(word, "pod", &v))
            e->pod = keep(m, v);
        else if (key_value(word, "ip", &v))
            assert_true(addr_parse(v, &e->addr));
        else if (key_value(word, "ports", &v))
            e->ports = ports_of(m, v, &e->n_ports);
        else if (key_value(word, "at", &v))
            place_of(m, v, &e->region, &e->zone, &e->subzone);
        else if (key_value(word, "node", &v))
            e->node = keep(m, v);
        else if (key_value(word, "network", &v))
            e->network = keep(m, v);
        else if (key_value(word, "weight", &v))
            e->weight = (uint32_t)number(v);
        else if (key_value(word, "zones", &v))
            zones_of(m, v, e);
        else if (str_is(word, STR("unready")))
            e->ready = false;
        else
            fail_msg("slice: " STR_FMT, STR_ARG(word));
    }
}

static void add_setting(struct mesh *m, struct str word, struct str rest) {
    struct world_settings *s = &m->input.settings;
    struct str value;

    assert_true(word_next(&rest, ' ', &value));
    value = keep(m, value);
    if (str_is(word, STR("node"))) {
        s->node = value;
    } else if (str_is(word, STR("domain"))) {
        s->trust_domain = value;
    } else if (str_is(word, STR("root"))) {
        s->root_namespace = value;
    } else if (str_is(word, STR("network"))) {
        s->network = value;
    } else if (str_is(word, STR("alias"))) {
        struct str *all = arena_array(&m->arena, struct str, s->n_trust_domain_aliases + 1);
        assert_non_null(all);
        if (s->n_trust_domain_aliases)
            memcpy(all, s->trust_domain_aliases, s->n_trust_domain_aliases * sizeof(*all));
        all[s->n_trust_domain_aliases++] = value;
        s->trust_domain_aliases = all;
    } else {
        fail_msg("no such line: " STR_FMT, STR_ARG(word));
    }
}

static void add_line(struct mesh *m, struct str rest) {
    struct str word;

    if (!word_next(&rest, ' ', &word) || word.at[0] == '#')
        return;
    if (str_is(word, STR("ns")))
        add_ns(m, rest);
    else if (str_is(word, STR("pod")))
        add_workload(m, rest, STR("Pod"));
    else if (str_is(word, STR("entry")))
        add_workload(m, rest, STR("WorkloadEntry"));
    else if (str_is(word, STR("policy")))
        add_policy(m, rest);
    else if (str_is(word, STR("rule")))
        add_rule(m, rest);
    else if (str_is(word, STR("auth")))
        add_auth(m, rest);
    else if (str_is(word, STR("service")))
        add_service(m, rest, STR("Service"));
    else if (str_is(word, STR("external-entry")))
        add_service(m, rest, STR("ServiceEntry"));
    else if (str_is(word, STR("slice")))
        add_slice(m, rest);
    else
        add_setting(m, word, rest);
}

void mesh_init(struct mesh *m) {
    *m = (struct mesh){.file = "mesh"};
    m->input.settings = (struct world_settings){.node = STR("node-1"),
                                                .trust_domain = STR("cluster.local"),
                                                .root_namespace = STR("istio-system"),
                                                .cluster = STR("Kubernetes")};
}

void mesh_add(struct mesh *m, const char *text) {
    struct str rest = str_of(text), line;
    while (str_split(&rest, '\n', &line)) {
        m->line++;
        add_line(m, line);
    }
}

void mesh_addf(struct mesh *m, const char *fmt, ...) {
    char text[1024];
    struct text t = TEXT_OVER(text);
    va_list ap;

    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    assert_false(t.full);
    mesh_add(m, text);
}

int mesh_build(struct mesh *m) {
    m->world = world_free(m->world);
    diag_list_deinit(&m->diags);
    return world_build(&m->input, 1, &m->diags, &m->world);
}

void mesh_deinit(struct mesh *m) {
    m->world = world_free(m->world);
    diag_list_deinit(&m->diags);
    arena_deinit(&m->arena);
}

void mesh_make(struct mesh *m, const char *text) {
    mesh_init(m);
    mesh_add(m, text);
    int r = mesh_build(m);
    for (size_t i = 0; r && i < m->diags.n; i++)
        print_error("line %u: %s\n", m->diags.items[i].line, m->diags.items[i].text);
    assert_int_equal(r, 0);
}

struct addr mesh_addr(const char *text) {
    struct addr a;
    assert_true(addr_parse(str_of(text), &a));
    return a;
}

const struct workload *mesh_workload(struct mesh *m, const char *ns, const char *name) {
    const struct workload *w = world_workload_by_name(m->world, str_of(ns), str_of(name));
    assert_non_null(w);
    return w;
}

void mesh_query(struct mesh *m, const char *text, struct authz_query *ret, struct identity *ret_source) {
    struct str rest = str_of(text), word, v, ns;
    char uri[IDENTITY_TEXT_MAX + 1];
    struct text t = TEXT_OVER(uri);

    *ret = (struct authz_query){.port = 80};
    while (word_next(&rest, ' ', &word)) {
        if (key_value(word, "to", &v)) {
            assert_true(str_split(&v, '/', &ns));
            ret->to = world_workload_by_name(m->world, ns, v);
        } else if (key_value(word, "port", &v)) {
            ret->port = (uint16_t)number(v);
        } else if (key_value(word, "ip", &v)) {
            assert_true(addr_parse(v, &ret->source_ip));
        } else if (key_value(word, "dst", &v)) {
            assert_true(addr_parse(v, &ret->destination_ip));
        } else if (key_value(word, "from", &v)) {
            text_add(&t, STR("spiffe://"));
            text_add(&t, v);
            assert_true(identity_parse(text_str(&t), ret_source));
            ret->source = ret_source;
        } else {
            fail_msg("query: " STR_FMT, STR_ARG(word));
        }
    }
    assert_non_null(ret->to);
}

struct verdict mesh_ask(struct mesh *m, const char *text) {
    struct authz_query q;
    struct identity source;
    struct verdict v;

    mesh_query(m, text, &q, &source);
    authz_judge(m->world, &q, &v);
    return v;
}

bool mesh_says(const struct mesh *m, enum diag_severity severity, uint32_t line, const char *part) {
    for (size_t i = 0; i < m->diags.n; i++)
        if (m->diags.items[i].severity == severity && (!line || m->diags.items[i].line == line) &&
            strstr(m->diags.items[i].text, part))
            return true;
    return false;
}
