/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/build.h - what the steps of world_build share
 *
 * One arena lives as long as the world, the scratch arena as long as the build. Strings and label sets are interned:
 * equal ones are one pointer, so selectors compare pointers. Running out of memory sets `failed` and goes on with
 * nulls; the build looks at it before anything is used. A world with a diagnosed error is thrown away. */
#pragma once

#include <ringwall/base/arena.h>
#include <ringwall/base/map.h>

#include "policy.h"
#include "snapshot.h"

struct ns_info { /* a namespace that anything mentions */
    struct map_node node;
    struct str name;
    const struct namespace_spec *spec; /* NULL: not declared */
    const struct policy_group *group;  /* of its namespace-wide policies */
    const struct peer_auth *peer_auth; /* the namespace-wide one */
    struct policy **wide;              /* namespace-wide policies, in order */
    size_t n_wide, cap_wide;
    size_t n_workloads;
    bool inhabited; /* some workload is in it; known before the workloads are built */
};

/* Objects with a label selector, found by their rarest label, so that binding never compares everything with
 * everything. Scope NULL is "any namespace". */
struct selected_by { /* one object's place in the index */
    struct selected_by *next;
    const struct label *labels;
    size_t n_labels;
    uint32_t object;
};
struct selector_index {
    struct map by_label;
};

struct builder {
    const struct world_input *input;
    struct world *world;
    struct diag_list *diags;
    struct arena scratch;
    struct map strings, blobs, namespaces, tables;
    const struct policy_spec **policy_specs; /* as sorted: same index as the world's policies */
    struct selector_index policy_index, peer_auth_index, service_index;
    struct map_node *spare_node; /* of a string that turned out to be known */
    struct str *memo;            /* BUILD_MEMO strings interned lately */
    struct ns_info *last_ns;
    bool failed;
};
enum { BUILD_MEMO = 4096 };

/* All of these set b->failed and give a null when memory is out. */
void *build_alloc(struct builder *b, size_t size, size_t n);            /* the world's; NULL also for n == 0 */
void *build_scratch(struct builder *b, size_t size, size_t n);          /* dies with the build */
struct str build_str(struct builder *b, struct str s);                  /* interned */
const void *build_blob(struct builder *b, const void *bytes, size_t n); /* interned; content is bytes without padding */
struct origin build_origin(struct builder *b, const struct origin *at);
const struct label *build_labels(struct builder *b, const struct label *labels, size_t n); /* interned, sorted by key */
struct ns_info *build_ns(struct builder *b, struct str name);
bool build_is_root_ns(const struct builder *b, struct str ns);
/* Neither declared nor of any workload, though the files have such; then also what to say of it. */
bool build_ns_unknown(struct builder *b, struct str ns);
void build_say_ns_unknown(struct builder *b, struct str ns, struct text *to);

/* Two rounds: every selector is counted, then filed under its rarest label. Scope is an interned name's pointer. */
void selector_index_count(struct builder *b, struct selector_index *x, const char *scope, const struct label *labels, size_t n);
void selector_index_add(struct builder *b, struct selector_index *x, const char *scope, const struct label *labels, size_t n,
                        uint32_t object);
/* Calls `hit` for each object of this scope whose labels are all among `have`, once each. */
void selector_index_find(const struct selector_index *x, const char *scope, const struct label *have, size_t n_have,
                         void (*hit)(void *context, uint32_t object), void *context);

/* The steps, in order. */
void build_policies(struct builder *b);
void build_peer_auths(struct builder *b);
void build_workloads(struct builder *b);
void build_services(struct builder *b);
void build_unbound_warnings(struct builder *b);
void build_port_warnings(struct builder *b);

const struct policy_table *build_policy_table(struct builder *b, struct ns_info *ns, const struct label *labels, size_t n_labels);
bool build_policy_has_ports(const struct policy_spec *s);
const struct policy_table *build_table_at(const struct map_node *node); /* of b->tables */
void build_policy_rules(struct builder *b, const struct policy_spec *spec, struct policy *p);
struct str build_waypoint(struct builder *b, struct str own, const struct ns_info *ns); /* own or the namespace's; "none" is none */
void build_check_selector(struct builder *b, const struct selector *s, const struct origin *object);
void build_service_vips(struct builder *b, const struct service *v);
void build_service_names(struct builder *b, const struct service_spec *s, struct service_inside *in);
const struct peer_auth *build_peer_auth_for(struct builder *b, struct ns_info *ns, const struct label *labels, size_t n_labels);
