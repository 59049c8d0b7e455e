/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/spec.h - what the files say, after syntax and before meaning: the input of world_build
 *
 * Plain structs; strings and arrays belong to whoever parsed (config keeps an arena a file). world_build copies all it
 * needs. "Absent" and "empty" differ where they differ for Istio: lists carry `present`. */
#pragma once

#include <ringwall/model/addr.h>
#include <ringwall/model/diag.h>

struct label {
    struct str key, value;
};
struct text_item {
    struct str text;
    struct origin at;
};
struct text_list { /* a list of strings in the file */
    bool present;
    struct text_item *items;
    size_t n;
};
struct selector {
    bool present; /* the key `selector` (or workloadSelector) was there */
    struct label *labels;
    size_t n;
    struct origin at;
};

/* AuthorizationPolicy (facts/identity.md 5.1). Every field of Istio is here, L7 ones too: their meaning at L4 is decided
 * by the compiler (facts/identity.md 5.4, issue 2 of the project). */
enum policy_action { POLICY_ALLOW, POLICY_DENY, POLICY_AUDIT, POLICY_CUSTOM };
struct source_spec {
    struct origin at;
    struct text_list principals, not_principals, namespaces, not_namespaces, service_accounts, not_service_accounts, ip_blocks,
        not_ip_blocks;
    struct text_list trust_domains, not_trust_domains;                                                   /* not implemented at L4 */
    struct text_list request_principals, not_request_principals, remote_ip_blocks, not_remote_ip_blocks; /* L7 */
};
struct operation_spec {
    struct origin at;
    struct text_list ports, not_ports;
    struct text_list hosts, not_hosts, methods, not_methods, paths, not_paths; /* L7 */
};
struct condition_spec {
    struct origin at;
    struct str key;
    struct text_list values, not_values;
};
struct rule_spec {
    struct origin at;
    struct source_spec *from;
    struct operation_spec *to;
    struct condition_spec *when;
    size_t n_from, n_to, n_when;
};
struct policy_spec {
    struct str ns, name;
    struct origin at; /* of metadata.name */
    enum policy_action action;
    struct selector selector;
    bool has_target_refs;
    bool dry_run; /* annotation istio.io/dry-run: "true" */
    struct rule_spec *rules;
    size_t n_rules;
};

enum mtls_mode { MTLS_UNSET, MTLS_DISABLE, MTLS_PERMISSIVE, MTLS_STRICT };
struct port_mode_spec {
    uint16_t port;
    enum mtls_mode mode;
    struct origin at;
};
struct peer_auth_spec {
    struct str ns, name;
    struct origin at;      /* of metadata.name */
    struct origin mode_at; /* of mtls.mode; file empty when absent */
    struct selector selector;
    enum mtls_mode mode;
    struct port_mode_spec *ports;
    size_t n_ports;
    bool has_created;
    int64_t created_s;
};

enum traffic_distribution {
    TRAFFIC_ANY,
    TRAFFIC_PREFER_CLOSE, /* nearest of region, zone, subzone; another when none is left there */
    TRAFFIC_PREFER_NODE,  /* the same, and the node before all */
    TRAFFIC_NODE_ONLY,    /* internalTrafficPolicy: Local */
};
enum mesh_label { MESH_LABEL_ABSENT, MESH_LABEL_AMBIENT, MESH_LABEL_NONE };
struct namespace_spec {
    struct str name;
    struct origin at;
    enum mesh_label mesh;
    struct str use_waypoint;                /* istio.io/use-waypoint; empty: none */
    enum traffic_distribution distribution; /* of its services that say nothing themselves */
};
struct named_port {
    struct str name;
    uint16_t port;
};
struct workload_spec { /* a Pod or a WorkloadEntry */
    struct str kind;   /* "Pod", "WorkloadEntry" */
    struct str ns, name, uid;
    struct origin at;
    struct str service_account; /* empty: default */
    struct str node;            /* empty: unknown */
    struct str network, cluster;
    struct addr *addrs;
    size_t n_addrs;
    struct label *labels; /* what selectors see */
    size_t n_labels;
    enum mesh_label mesh; /* the object's own istio.io/dataplane-mode */
    struct str use_waypoint;
    bool host_network, ready, terminating;
    struct named_port *ports;
    size_t n_ports;
    uint32_t weight; /* 0: 1 */
    struct str region, zone, subzone;
    struct str netns_path, cgroup_path;                                          /* annotations of the node's own; empty: none */
    struct str workload_name, workload_type, canonical_name, canonical_revision; /* telemetry */
};
struct service_port_spec {
    struct str name;
    uint16_t port, target_port; /* target 0: by name */
    struct str target_name;
};
struct service_endpoint_spec { /* EndpointSlice or inline ServiceEntry endpoint: by address or by pod */
    struct addr addr;
    struct str pod; /* targetRef name in the service's namespace; empty: by address */
    bool ready;
    struct service_port_spec *ports; /* slice ports: name and port */
    size_t n_ports;
    uint32_t weight;                                 /* 0: the workload's, else 1 */
    struct str node, region, zone, subzone, network; /* empty: the workload's, else unknown */
    struct str *for_zones;                           /* hints: whose clients it is meant for */
    size_t n_for_zones;
};
struct service_spec { /* Service or ServiceEntry */
    struct str kind;
    struct str ns, name;
    struct origin at;
    struct str *hosts; /* FQDNs; Service: one */
    size_t n_hosts;
    struct addr *vips;
    size_t n_vips;
    struct cidr *blocks; /* of addresses, shorter than one */
    size_t n_blocks;
    struct service_port_spec *ports;
    size_t n_ports;
    struct selector selector;
    bool has_slices; /* endpoints come from slices; else from the selector */
    struct service_endpoint_spec *endpoints;
    size_t n_endpoints;
    bool publish_not_ready;
    bool has_distribution; /* else the namespace's */
    enum traffic_distribution distribution;
    bool ignore_hints;                  /* topology-mode: Disabled */
    bool external;                      /* MESH_EXTERNAL */
    struct text_list subject_alt_names; /* who may answer for it beside its workloads' own identities */
    struct str use_waypoint;
};

/* The whole input. */
struct world_settings {
    struct str node, trust_domain, root_namespace, cluster, cluster_domain, network;
    struct str *trust_domain_aliases;
    size_t n_trust_domain_aliases;
};
struct world_input {
    struct world_settings settings;
    const struct namespace_spec **namespaces;
    const struct workload_spec **workloads;
    const struct service_spec **services;
    const struct policy_spec **policies;
    const struct peer_auth_spec **peer_auths;
    size_t n_namespaces, n_workloads, n_services, n_policies, n_peer_auths;
};
