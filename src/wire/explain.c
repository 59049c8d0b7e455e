/* SPDX-License-Identifier: GPL-3.0-or-later
 * explain.c - see wire/explain.h */
#include <ringwall/wire/explain.h>

enum { NEAR_DISTANCE = 4, REASON_BYTES = 1024 };

const struct workload *explain_find(const struct world *w, struct str to, struct addr *ret_addr) {
    struct str rest = to, ns;
    *ret_addr = ADDR_NULL;
    if (addr_parse(to, ret_addr))
        return world_workload_by_addr(w, world_get_settings(w)->network, ret_addr);
    if (!str_split(&rest, '/', &ns) || !rest.at)
        return NULL;
    return world_workload_by_name(w, ns, rest);
}

bool explain_nearest(const struct world *w, struct str to, struct text *ret) {
    const struct workload *near = NULL;
    size_t best = NEAR_DISTANCE;
    for (size_t i = 0; i < world_n_workloads(w); i++) {
        const struct workload *k = world_workload_at(w, i);
        char bytes[512];
        struct text full = TEXT_OVER(bytes);
        text_addf(&full, STR_FMT "/" STR_FMT, STR_ARG(k->ns), STR_ARG(k->name));
        /* A name without its namespace is the usual slip. */
        size_t d = str_is(to, k->name) ? 0 : str_distance(to, text_str(&full));
        if (d < best) {
            best = d;
            near = k;
        }
    }
    if (near)
        text_addf(ret, STR_FMT "/" STR_FMT, STR_ARG(near->ns), STR_ARG(near->name));
    return near != NULL;
}

static void write_object(struct json_writer *to, const char *key, struct str ns, struct str name) {
    if (name.n)
        json_strf(to, key, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    else
        json_null(to, key);
}

static void write_at(struct json_writer *to, const struct origin *at) {
    if (at->file.n)
        json_strf(to, "at", STR_FMT ":%u", STR_ARG(at->file), at->line);
    else
        json_null(to, "at");
}

static void write_rule(struct json_writer *to, int rule) {
    if (rule >= 0)
        json_i64(to, "rule", rule);
    else
        json_null(to, "rule");
}

struct walk {
    struct json_writer *to;
    const struct verdict *verdict;
    bool asks_source_ip;
};

static bool decides(const struct verdict *v, const struct authz_step *s) {
    return v->kind && s->matched && !strcmp(v->kind, s->kind) && v->rule == s->rule && str_is(v->ns, s->ns) &&
           str_is(v->name, s->name);
}

static void write_step(void *context, const struct authz_step *s) {
    struct walk *walk = context;
    struct json_writer *to = walk->to;
    json_object(to, NULL);
    json_z(to, "kind", s->kind);
    write_object(to, "policy", s->ns, s->name);
    if (!strcmp(s->kind, "AuthorizationPolicy"))
        json_z(to, "action", policy_action_name(s->action));
    write_rule(to, s->rule);
    json_bool(to, "matched", s->matched);
    if (s->n_parts) {
        json_u64(to, "parts", s->n_parts);
        json_u64(to, "missed", s->n_missed);
    }
    json_bool(to, "decides", decides(walk->verdict, s));
    write_at(to, &s->at);
    json_z(to, "why", s->why);
    json_end(to);
    walk->asks_source_ip = walk->asks_source_ip || s->asks_source_ip;
}

static void write_question(struct json_writer *to, const struct authz_query *q) {
    char addr[ADDR_TEXT];
    if (q->source && !identity_is_none(q->source))
        json_str(to, "source", identity_uri(q->source));
    else
        json_null(to, "source");
    if (addr_is_none(&q->source_ip))
        json_null(to, "sourceIp");
    else
        json_str(to, "sourceIp", addr_format(&q->source_ip, addr));
    write_object(to, "to", q->to->ns, q->to->name);
    json_u64(to, "port", q->port);
}

/* A service's port where the workload's is meant is the commonest slip, and its answer is about nothing. */
static void write_port_behind(struct json_writer *to, const struct world *w, const struct workload *workload, uint16_t port) {
    const struct service *s = NULL;
    uint16_t own = port ? world_port_behind(w, workload, port, &s) : 0;
    if (!own)
        return;
    json_object(to, "servicePort");
    json_str(to, "kind", s->kind);
    write_object(to, "service", s->ns, s->name);
    json_u64(to, "ask", own);
    json_end(to);
}

void explain_authz(struct json_writer *to, const struct world *w, const struct authz_query *q, struct verdict *ret) {
    char bytes[REASON_BYTES];
    struct text reason = TEXT_OVER(bytes);
    authz_judge(w, q, ret);
    verdict_format(ret, &reason);
    json_object(to, NULL);
    json_z(to, "verdict", ret->allow ? "allow" : "deny");
    json_str(to, "reason", text_str(&reason));
    json_z(to, "code", ret->allow ? "allowed" : close_reason_word(ret->reason));
    json_z(to, "kind", ret->kind);
    write_object(to, "policy", ret->ns, ret->name);
    write_rule(to, ret->rule);
    write_at(to, &ret->at);
    json_z(to, "mtls", mtls_mode_name(ret->mtls));
    json_bool(to, "enrolled", q->to->enrolled);
    write_question(to, q);
    write_port_behind(to, w, q->to, q->port);
    json_array(to, "walk");
    struct verdict again;
    struct walk walk = {.to = to, .verdict = ret};
    authz_explain(w, q, write_step, &walk, &again);
    json_end(to);
    json_bool(to, "asksSourceIp", walk.asks_source_ip);
    json_end(to);
}

static void write_port_modes(struct json_writer *to, const struct workload *workload) {
    struct mtls_effective m;
    uint16_t port;
    json_array(to, "ports");
    for (size_t i = 0; authz_mtls_port(workload, i, &port, &m); i++) {
        json_object(to, NULL);
        json_u64(to, "port", port);
        json_z(to, "mode", mtls_mode_name(m.mode));
        write_at(to, &m.at);
        json_end(to);
    }
    json_end(to);
}

void explain_tls(struct json_writer *to, const struct world *w, const struct workload *workload, uint16_t port) {
    struct mtls_effective m;
    authz_mtls(w, workload, port, &m);
    json_object(to, NULL);
    json_z(to, "mode", mtls_mode_name(m.mode));
    write_object(to, "policy", m.ns, m.name);
    write_at(to, &m.at);
    write_object(to, "to", workload->ns, workload->name);
    json_bool(to, "enrolled", workload->enrolled);
    if (port)
        json_u64(to, "port", port);
    else
        write_port_modes(to, workload);
    write_port_behind(to, w, workload, port);
    json_end(to);
}
