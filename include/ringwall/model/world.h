/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/world.h - one immutable, validated snapshot of everything the files say (DESIGN 2)
 *
 * Built by one thread, read by all after publication. Pointers into a world are valid until the reader's next quiet
 * point (base/publish.h): no flow keeps one across loop turns. */
#pragma once

#include <ringwall/model/identity.h>
#include <ringwall/model/spec.h>

struct world;
struct policy_table; /* what applies to one workload, compiled; see authz.h */
struct service;

struct workload_about { /* what people and telemetry want to know; one for all workloads that have it alike */
    struct str region, zone, subzone, netns_path, cgroup_path, workload_type, canonical_name, canonical_revision;
    struct str workload_name; /* empty: its own */
};

struct workload {
    const struct identity *identity; /* never NULL; one for all workloads of a service account */
    const struct policy_table *policies;
    const struct addr *addrs;
    size_t n_addrs;
    const struct workload_about *about; /* never NULL */
    struct str kind, ns, name, uid, node, network, cluster;
    struct origin at;
    const struct label *labels;
    size_t n_labels;
    uint32_t weight;
    bool enrolled;     /* in the mesh: captured on its own node, and speaks HBONE to others */
    bool host_network; /* not found by address, never enrolled */
    bool ready, terminating;
    bool local;              /* its node is ours */
    bool hbone;              /* peers open tunnels to it: enrolled, and not DISABLE for every port */
    struct str use_waypoint; /* of the workload or its namespace; empty: none */
    const struct named_port *ports;
    size_t n_ports;
    uint32_t index;      /* in this world */
    enum mtls_mode mode; /* effective PeerAuthentication without ports; authz_mtls tells the object */
};

/* Of the Deployment or whatever owns it; a workload that nothing owns goes by its own name. */
static inline struct str workload_shown_name(const struct workload *w) {
    return w->about->workload_name.n ? w->about->workload_name : w->name;
}

/* Semantic errors and warnings go to `diags`; with any error the world is not built: returns 1. 0: built; -ENOMEM. */
int world_build(const struct world_input *input, uint64_t number, struct diag_list *diags, struct world **ret) must_check;
struct world *world_free(struct world *w);
DEFINE_FREEP(struct world, world_free)

uint64_t world_number(const struct world *w);
const struct world_settings *world_get_settings(const struct world *w);
size_t world_bytes(const struct world *w);
size_t world_n_workloads(const struct world *w);
const struct workload *world_workload_at(const struct world *w, size_t i);
const struct workload *world_workload_by_addr(const struct world *w, struct str network,
                                              const struct addr *a); /* never host-network ones */
const struct workload *world_workload_by_uid(const struct world *w, struct str uid);
const struct workload *world_workload_by_name(const struct world *w, struct str ns, struct str name);
/* One identity, our trust domain and its aliases taken as one. None is never the same as anything. */
bool world_same_identity(const struct world *w, const struct identity *a, const struct identity *b);
/* Is a workload of this identity, in our trust domain or an alias of it, placed on this node? (DESIGN rule 3; also the CA's
 * node authorisation) */
bool world_node_has_identity(const struct world *w, struct str node, const struct identity *identity);

struct service {
    struct str kind, ns, name, host; /* first host */
    struct origin at;
    const struct addr *vips;
    size_t n_vips;
    const struct cidr *blocks; /* of addresses, shorter than one */
    size_t n_blocks;
    const struct service_port_spec *ports;
    size_t n_ports;
    size_t n_endpoints, n_ready;
    bool external;
    struct str use_waypoint;
    uint32_t index;
};
size_t world_n_services(const struct world *w);
const struct service *world_service_at(const struct world *w, size_t i);
const struct service *world_service_by_vip(const struct world *w, struct str network, const struct addr *a);
/* Somebody says `port` of a workload that, for all that is known, has no such port: does a service have it and lead to this
 * workload? Then the workload's own port behind it; else 0. For texts: walks all endpoints. */
uint16_t world_port_behind(const struct world *w, const struct workload *to, uint16_t port, const struct service **ret_service);

/* For tables and dumps. */
struct policy_view {
    struct str ns, name;
    struct origin at;
    enum policy_action action;
    enum { POLICY_SCOPE_MESH, POLICY_SCOPE_NAMESPACE, POLICY_SCOPE_SELECTOR } scope;
    bool dry_run, for_l7;    /* targetRefs: not ours */
    size_t n_rules, n_bound; /* workloads it applies to */
};
size_t world_n_policies(const struct world *w);
void world_policy_at(const struct world *w, size_t i, struct policy_view *ret);
/* A policy's rules as compiled, part by part: a RULE, CLAUSE, MATCH and LIST begin, hold others and end. Names of lists and of
 * values' forms are those of facts/ztunnel.md 10.3. */
struct policy_part {
    enum { POLICY_RULE, POLICY_CLAUSE, POLICY_MATCH, POLICY_LIST, POLICY_TEXT, POLICY_ACCOUNT, POLICY_PORT, POLICY_BLOCK } kind;
    bool end;
    const char *name;    /* LIST: "notPrincipals"; TEXT: "Prefix"; else NULL */
    struct str text, ns; /* TEXT, BLOCK, and ACCOUNT with its namespace; live until the next part */
    uint16_t port;       /* PORT */
    struct origin at;    /* RULE */
    struct str never;    /* RULE: the field that keeps it from ever matching; empty: it may match */
    bool assumes;        /* RULE: fields that cannot be seen at this layer are left out, as true */
};
typedef void (*policy_part_fn)(void *context, const struct policy_part *part);
void world_policy_rules(const struct world *w, size_t i, policy_part_fn fn, void *context);
struct peer_auth_view {
    struct str ns, name;
    struct origin at;
    enum mtls_mode mode;
    size_t n_ports;
};
size_t world_n_peer_auths(const struct world *w);
void world_peer_auth_at(const struct world *w, size_t i, struct peer_auth_view *ret);
const char *mtls_mode_name(enum mtls_mode m); /* "STRICT" */
const char *policy_action_name(enum policy_action a);
