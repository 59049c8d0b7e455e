/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds.h - the kinds of objects that we take, one decoder each (kinds/)
 *
 * A decoder gets the object's metadata, already read, and its root; it returns the spec in the arena, or NULL after an
 * error was said or when the object has nothing for us. */
#pragma once

#include "decode.h"
#include "manifest.h"

struct object_meta {
    struct str ns, name, uid;
    struct origin at;       /* of metadata.name */
    struct yaml_node *node; /* metadata itself */
    struct label *labels, *annotations;
    size_t n_labels, n_annotations;
    struct yaml_node *labels_node, *annotations_node; /* NULL: absent */
    bool has_created, deleted;
    int64_t created_s;
    struct str cluster_domain;
};
typedef const void *(*kind_decode_fn)(struct decode *d, const struct object_meta *m, struct yaml_node *root);

const void *decode_namespace(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_node(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_pod(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_service(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_endpoint_slice(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_workload_entry(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_service_entry(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_authorization_policy(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_peer_authentication(struct decode *d, const struct object_meta *m, struct yaml_node *root);
const void *decode_request_authentication(struct decode *d, const struct object_meta *m, struct yaml_node *root);

/* Pieces that several kinds share (kinds/common.c). */
struct str meta_label(const struct object_meta *m, const char *key);
struct str meta_annotation(const struct object_meta *m, const char *key);
const struct yaml_node *meta_annotation_node(const struct object_meta *m, const char *key); /* NULL: absent */
enum mesh_label meta_mesh_label(struct decode *d, const struct object_meta *m);
struct str meta_waypoint(const struct object_meta *m);
bool decode_selector(struct decode *d, struct yaml_node *spec, const char *key, const char *labels_key, struct selector *ret);
/* Which endpoints are preferred: spec.trafficDistribution and internalTrafficPolicy (`spec` NULL: it has none), and where the
 * first is absent Istio's annotation; also the annotation that rules hints */
bool decode_distribution(struct decode *d, const struct object_meta *m, const struct yaml_node *spec, struct service_spec *s);
/* Istio's annotation, on a Namespace too. False: absent, or a word without meaning here, which was told. */
bool meta_distribution(struct decode *d, const struct object_meta *m, enum traffic_distribution *ret);
/* selector, targetRef and targetRefs of a policy; also that there is only one of them */
bool decode_attachment(struct decode *d, struct yaml_node *spec, struct selector *ret, bool *ret_has_target_refs);
bool decode_port(struct decode *d, const struct yaml_node *n, const char *name, uint16_t *ret); /* 1..65535 */
bool decode_addr(struct decode *d, const struct yaml_node *n, const char *name, struct addr *ret);
/* spec of one of the kinds where it must be there; NULL was said */
struct yaml_node *decode_spec(struct decode *d, struct yaml_node *root);
bool is_dns_name(struct str s);  /* RFC 1123 subdomain: 253 of [a-z0-9.-], labels of 63 */
bool is_dns_label(struct str s); /* 63 of [a-z0-9-] */
/* What a WorkloadEntry and an inline endpoint of a ServiceEntry have in common. */
struct entry_body {
    struct str address; /* as written; empty: absent */
    struct addr addr;   /* none: no IP */
    struct named_port *ports;
    struct label *labels;
    size_t n_ports, n_labels;
    struct str network, region, zone, subzone, service_account;
    uint32_t weight;
};
bool decode_entry_body(struct decode *d, const struct yaml_node *spec, const char *name, struct entry_body *ret);
/* Telemetry names of a workload from its labels; `name` is the fallback. */
void workload_canonical(const struct label *labels, size_t n, struct str name, struct workload_spec *to);
/* Conditions list: is there type=`type` with status True; *ret_present says that the list is there. */
bool decode_condition(struct decode *d, const struct yaml_node *status, const char *type, bool *ret_present, bool *ret_true);
