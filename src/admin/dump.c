/* SPDX-License-Identifier: GPL-3.0-or-later
 * dump.c - what is known, as JSON: the world in the shapes of facts/ztunnel.md 10.3 with keys of our own beside them
 *
 * Reads the published world while the thread is online; copies all it needs into the text. */
#include <ringwall/base/check.h>
#include <ringwall/base/counter.h>
#include <ringwall/model/authz.h>

#include "private.h"

static void begin(struct json_writer *w, struct reply *r) {
    r->status = 200;
    r->type = "application/json";
    json_begin(w, &r->body, true);
}

void write_answer(struct json_writer *w, const char *key, struct str json) {
    if (json.n)
        json_raw(w, key, json);
    else
        json_null(w, key);
}

void write_missing(struct json_writer *w, const struct question *q) {
    char bytes[1024];
    struct text t = TEXT_OVER(bytes);
    question_missing(q, &t);
    if (t.n == 0)
        return;
    struct str rest = text_str(&t), name;
    json_array(w, "incomplete");
    while (str_split(&rest, ',', &name)) {
        while (name.n && name.at[0] == ' ')
            name = (struct str){name.at + 1, name.n - 1};
        json_str(w, NULL, name);
    }
    json_end(w);
}

static void write_at(struct json_writer *w, const struct origin *at) {
    if (at->file.n)
        json_strf(w, "at", STR_FMT ":%u", STR_ARG(at->file), at->line);
    else
        json_null(w, "at");
}

static void write_waypoint(struct json_writer *w, struct str waypoint) {
    if (!waypoint.n)
        return;
    json_object(w, "waypoint");
    json_str(w, "destination", waypoint);
    json_end(w);
}

static void write_locality(struct json_writer *w, const struct workload *k) {
    json_object(w, "locality");
    json_str(w, "region", k->about->region);
    json_str(w, "zone", k->about->zone);
    json_str(w, "subzone", k->about->subzone);
    json_end(w);
}

static void write_workload(struct json_writer *w, const struct world *world, const struct workload *k) {
    char addr[ADDR_TEXT];
    struct mtls_effective mtls;
    authz_mtls(world, k, 0, &mtls);
    json_object(w, NULL);
    json_str(w, "uid", k->uid);
    json_str(w, "kind", k->kind);
    json_str(w, "name", k->name);
    json_str(w, "namespace", k->ns);
    json_array(w, "workloadIps");
    for (size_t i = 0; i < k->n_addrs; i++)
        json_str(w, NULL, addr_format(&k->addrs[i], addr));
    json_end(w);
    json_str(w, "identity", identity_uri(k->identity));
    json_str(w, "serviceAccount", identity_sa(k->identity));
    json_str(w, "trustDomain", identity_td(k->identity));
    json_str(w, "network", k->network);
    json_str(w, "clusterId", k->cluster);
    json_str(w, "node", k->node);
    json_z(w, "protocol", k->hbone ? "HBONE" : "TCP");
    json_z(w, "networkMode", k->host_network ? "HostNetwork" : "Standard");
    json_z(w, "status", k->ready && !k->terminating ? "Healthy" : "Unhealthy");
    json_bool(w, "enrolled", k->enrolled);
    json_bool(w, "local", k->local);
    json_z(w, "mtlsMode", mtls_mode_name(mtls.mode));
    write_waypoint(w, k->use_waypoint);
    json_str(w, "workloadName", workload_shown_name(k));
    json_str(w, "workloadType", k->about->workload_type);
    json_str(w, "canonicalName", k->about->canonical_name);
    json_str(w, "canonicalRevision", k->about->canonical_revision);
    json_u64(w, "capacity", k->weight);
    write_locality(w, k);
    write_at(w, &k->at);
    json_end(w);
}

static void write_workloads(struct json_writer *w, const char *key, const struct world *world) {
    json_array(w, key);
    for (size_t i = 0; world && i < world_n_workloads(world); i++)
        write_workload(w, world, world_workload_at(world, i));
    json_end(w);
}

static bool port_seen(const struct service *s, size_t before) {
    for (size_t i = 0; i < before; i++)
        if (s->ports[i].port == s->ports[before].port)
            return true;
    return false;
}

static void write_ports(struct json_writer *w, const struct service *s) {
    json_object(w, "ports");
    for (size_t i = 0; i < s->n_ports; i++) {
        if (port_seen(s, i)) /* a key twice is no JSON to many readers */
            continue;
        char key[8];
        struct text t = TEXT_OVER(key);
        text_addf(&t, "%u", s->ports[i].port);
        json_u64(w, key, s->ports[i].target_port);
    }
    json_end(w);
    json_array(w, "portList");
    for (size_t i = 0; i < s->n_ports; i++) {
        const struct service_port_spec *p = &s->ports[i];
        if (p->target_port)
            json_strf(w, NULL, "%u:%u", p->port, p->target_port);
        else
            json_strf(w, NULL, "%u:" STR_FMT, p->port, STR_ARG(p->target_name));
    }
    json_end(w);
}

static void write_service(struct json_writer *w, const struct world *world, const struct service *s) {
    char addr[ADDR_TEXT], block[CIDR_TEXT];
    json_object(w, NULL);
    json_str(w, "kind", s->kind);
    json_str(w, "name", s->name);
    json_str(w, "namespace", s->ns);
    json_str(w, "hostname", s->host);
    json_array(w, "vips");
    for (size_t i = 0; i < s->n_vips; i++)
        json_strf(w, NULL, STR_FMT "/" STR_FMT, STR_ARG(world_get_settings(world)->network),
                  STR_ARG(addr_format(&s->vips[i], addr)));
    json_end(w);
    json_array(w, "cidrVips");
    for (size_t i = 0; i < s->n_blocks; i++) {
        json_object(w, NULL);
        json_str(w, "network", world_get_settings(world)->network);
        json_str(w, "cidr", cidr_format(&s->blocks[i], block));
        json_end(w);
    }
    json_end(w);
    write_ports(w, s);
    json_u64(w, "readyEndpoints", s->n_ready);
    json_u64(w, "allEndpoints", s->n_endpoints);
    json_bool(w, "external", s->external);
    write_waypoint(w, s->use_waypoint);
    write_at(w, &s->at);
    json_end(w);
}

static void write_services(struct json_writer *w, const char *key, const struct world *world) {
    json_array(w, key);
    for (size_t i = 0; world && i < world_n_services(world); i++)
        write_service(w, world, world_service_at(world, i));
    json_end(w);
}

static void write_part(void *context, const struct policy_part *p) {
    struct json_writer *w = context;
    if (p->end) {
        json_end(w);
        return;
    }
    switch (p->kind) {
    case POLICY_RULE:
    case POLICY_CLAUSE:
    case POLICY_LIST:
        json_array(w, p->name);
        return;
    case POLICY_MATCH:
        json_object(w, NULL);
        return;
    case POLICY_TEXT:
        json_object(w, NULL);
        if (p->text.n) {
            json_str(w, p->name, p->text);
        } else { /* Presence */
            json_array(w, p->name);
            json_end(w);
        }
        json_end(w);
        return;
    case POLICY_ACCOUNT:
        json_object(w, NULL);
        json_str(w, "namespace", p->ns);
        json_str(w, "serviceAccount", p->text);
        json_end(w);
        return;
    case POLICY_BLOCK:
        json_str(w, NULL, p->text);
        return;
    case POLICY_PORT:
        json_u64(w, NULL, p->port);
        return;
    }
    unreachable_because("every kind of part is listed");
}

/* What the rules' own shape has no place for, one for each. */
static void write_rule_note(void *context, const struct policy_part *p) {
    struct json_writer *w = context;
    if (p->kind != POLICY_RULE || p->end)
        return;
    json_object(w, NULL);
    write_at(w, &p->at);
    if (p->never.n)
        json_str(w, "neverMatchesBecauseOf", p->never);
    json_bool(w, "unseenFieldsCountAsTrue", p->assumes);
    json_end(w);
}

static void write_rules(struct json_writer *w, const struct world *world, size_t i) {
    json_array(w, "rules");
    world_policy_rules(world, i, write_part, w);
    json_end(w);
    json_array(w, "ruleNotes");
    world_policy_rules(world, i, write_rule_note, w);
    json_end(w);
}

static void write_policy(struct json_writer *w, const struct world *world, size_t i, bool with_rules) {
    static const char *const actions[] = {
        [POLICY_ALLOW] = "Allow", [POLICY_DENY] = "Deny", [POLICY_AUDIT] = "Audit", [POLICY_CUSTOM] = "Custom"};
    static const char *const scopes[] = {
        [POLICY_SCOPE_MESH] = "Global", [POLICY_SCOPE_NAMESPACE] = "Namespace", [POLICY_SCOPE_SELECTOR] = "WorkloadSelector"};
    struct policy_view view, *p = &view;
    world_policy_at(world, i, p);
    json_object(w, NULL);
    json_z(w, "kind", "AuthorizationPolicy");
    json_str(w, "name", p->name);
    json_str(w, "namespace", p->ns);
    json_z(w, "action", actions[p->action]);
    json_z(w, "scope", scopes[p->scope]);
    json_bool(w, "dryRun", p->dry_run);
    json_u64(w, "ruleCount", p->n_rules);
    json_u64(w, "workloads", p->n_bound);
    if (p->dry_run || p->for_l7)
        json_z(w, "note", p->for_l7 ? "has targetRefs: not for this layer" : "dry-run: changes nothing");
    if (with_rules)
        write_rules(w, world, i);
    write_at(w, &p->at);
    json_end(w);
}

static void write_policies(struct json_writer *w, const struct world *world, bool with_rules) {
    for (size_t i = 0; world && i < world_n_policies(world); i++)
        write_policy(w, world, i, with_rules);
}

static void write_peer_auths(struct json_writer *w, const struct world *world) {
    struct peer_auth_view p;
    for (size_t i = 0; world && i < world_n_peer_auths(world); i++) {
        world_peer_auth_at(world, i, &p);
        json_object(w, NULL);
        json_z(w, "kind", "PeerAuthentication");
        json_str(w, "name", p.name);
        json_str(w, "namespace", p.ns);
        json_z(w, "mode", mtls_mode_name(p.mode));
        json_u64(w, "portCount", p.n_ports);
        write_at(w, &p.at);
        json_end(w);
    }
}

void dump_workloads(const struct view *v, struct reply *r) {
    struct json_writer w;
    begin(&w, r);
    write_workloads(&w, NULL, v->world);
}

void dump_services(const struct view *v, struct reply *r) {
    struct json_writer w;
    begin(&w, r);
    write_services(&w, NULL, v->world);
}

void dump_policies(const struct view *v, struct reply *r) {
    struct json_writer w;
    begin(&w, r);
    json_array(&w, NULL);
    write_policies(&w, v->world, false);
    write_peer_auths(&w, v->world);
    json_end(&w);
}

static void write_world_number(struct json_writer *w, const struct world *world) {
    json_u64(w, "world", world ? world_number(world) : 0);
}

void dump_authentication(const struct view *v, struct reply *r) {
    struct json_writer w;
    begin(&w, r);
    json_object(&w, NULL);
    write_world_number(&w, v->world);
    json_array(&w, "peerAuthentications");
    write_peer_auths(&w, v->world);
    json_end(&w);
    json_array(&w, "workloads");
    for (size_t i = 0; v->world && i < world_n_workloads(v->world); i++) {
        const struct workload *k = world_workload_at(v->world, i);
        struct mtls_effective m;
        authz_mtls(v->world, k, 0, &m);
        json_object(&w, NULL);
        json_strf(&w, "workload", STR_FMT "/" STR_FMT, STR_ARG(k->ns), STR_ARG(k->name));
        json_z(&w, "mode", mtls_mode_name(m.mode));
        if (m.name.n)
            json_strf(&w, "policy", STR_FMT "/" STR_FMT, STR_ARG(m.ns), STR_ARG(m.name));
        else
            json_null(&w, "policy");
        write_at(&w, &m.at);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
}

void dump_authorization(const struct view *v, struct reply *r) {
    struct json_writer w;
    begin(&w, r);
    json_object(&w, NULL);
    write_world_number(&w, v->world);
    json_array(&w, "policies");
    write_policies(&w, v->world, true);
    json_end(&w);
    json_end(&w);
}

static void write_node_file(struct json_writer *w, const struct view *v) {
    write_answer(w, "config", v->options->config_json ? str_of(v->options->config_json) : STR_NULL);
}

void dump_config(const struct view *v, struct reply *r) {
    struct json_writer w;
    begin(&w, r);
    json_object(&w, NULL);
    write_world_number(&w, v->world);
    write_node_file(&w, v);
    write_answer(&w, "mesh", question_one(v->question, NEED_CONFIG));
    write_missing(&w, v->question);
    json_end(&w);
}

void dump_all(const struct view *v, struct reply *r) {
    struct json_writer w;
    struct growing flows cleanup(growing_deinit) = GROWING_NULL;
    begin(&w, r);
    json_object(&w, NULL);
    json_object(&w, "version");
    json_z(&w, "version", v->options->version);
    json_end(&w);
    json_z(&w, "node", v->options->node);
    write_world_number(&w, v->world);
    write_workloads(&w, "workloads", v->world);
    write_services(&w, "services", v->world);
    json_array(&w, "policies");
    write_policies(&w, v->world, true);
    json_end(&w);
    json_array(&w, "peerAuthentications");
    write_peer_auths(&w, v->world);
    json_end(&w);
    write_answer(&w, "certificates", question_one(v->question, NEED_CERTS));
    question_join(v->question, NEED_CONNECTIONS, &flows);
    write_answer(&w, "connections", flows.failed ? STR_NULL : (struct str){flows.at, flows.n});
    write_answer(&w, "capture", question_one(v->question, NEED_CAPTURE));
    write_answer(&w, "mesh", question_one(v->question, NEED_CONFIG));
    write_node_file(&w, v);
    write_missing(&w, v->question);
    json_end(&w);
}

static void write_workers(struct json_writer *w, const struct admin_options *o) {
    json_array(w, "workers");
    for (unsigned i = 0; i < o->n_workers; i++) {
        const struct worker_stats *s = &o->stats[i];
        json_object(w, NULL);
        json_u64(w, "worker", i);
        json_u64(w, "flowsOpen", counter_get(&s->flows_open));
        json_u64(w, "tunnelsOpen", counter_get(&s->tunnels_open));
        json_u64(w, "listeners", counter_get(&s->listeners));
        json_u64(w, "world", counter_get(&s->world_number));
        json_u64(w, "handshakes", counter_get(&s->handshakes));
        json_u64(w, "handshakesFailed", counter_get(&s->handshakes_failed));
        json_end(w);
    }
    json_end(w);
}

void dump_status(const struct view *v, struct reply *r) {
    struct json_writer w;
    char why[128] = "";
    begin(&w, r);
    json_object(&w, NULL);
    json_z(&w, "node", v->options->node);
    json_z(&w, "version", v->options->version);
    json_bool(&w, "ready", v->options->ready_fn(v->options->ready_context, why));
    json_z(&w, "why", why);
    write_world_number(&w, v->world);
    write_answer(&w, "config", question_one(v->question, NEED_CONFIG));
    write_answer(&w, "identity", question_one(v->question, NEED_IDENTITY));
    if (v->options->ca)
        write_answer(&w, "ca", question_one(v->question, NEED_CA));
    write_answer(&w, "capture", question_one(v->question, NEED_CAPTURE));
    write_workers(&w, v->options);
    write_missing(&w, v->question);
    json_end(&w);
}
