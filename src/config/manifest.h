/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/manifest.h - one manifest file: its text to the objects that we take, each with its place
 *
 * Documents and `List` items are dispatched by apiVersion and kind. A manifest owns all it says in one arena, its
 * diagnostics too, so that a file that did not change costs nothing at the next load and still tells its warnings. */
#pragma once

#include <ringwall/base/arena.h>
#include <ringwall/model/diag.h>
#include <ringwall/model/spec.h>

enum object_kind {
    OBJECT_NAMESPACE,
    OBJECT_NODE,
    OBJECT_SERVICE_ACCOUNT,
    OBJECT_POD,
    OBJECT_SERVICE,
    OBJECT_ENDPOINT_SLICE,
    OBJECT_WORKLOAD_ENTRY,
    OBJECT_SERVICE_ENTRY,
    OBJECT_GATEWAY,
    OBJECT_AUTHORIZATION_POLICY,
    OBJECT_PEER_AUTHENTICATION,
    OBJECT_REQUEST_AUTHENTICATION,
    _OBJECT_KIND_MAX
};
const char *object_kind_name(enum object_kind k);

/* What the spec of an object is:
 * NAMESPACE namespace_spec, NODE node_spec, POD and WORKLOAD_ENTRY workload_spec, SERVICE and SERVICE_ENTRY service_spec,
 * ENDPOINT_SLICE slice_spec, AUTHORIZATION_POLICY policy_spec, PEER_AUTHENTICATION peer_auth_spec, else NULL. NULL also
 * for a Pod that has ended and a Service without an address of its own. */
struct object {
    struct object *next;
    enum object_kind kind;
    struct str ns, name;
    struct origin at; /* of metadata.name */
    const void *spec;
};
struct node_spec {
    struct str region, zone;
};
struct slice_spec {
    struct str service; /* in the slice's namespace */
    struct service_endpoint_spec *endpoints;
    size_t n_endpoints;
};
struct skipped { /* a kind that we do not take, or take without effect */
    struct skipped *next;
    struct str kind, api_version;
    struct origin at; /* the first one */
    size_t n;
};

struct manifest {
    struct arena arena;
    struct diag_list diags;
    struct object *first;
    struct skipped *skipped;
    size_t n_objects;
};
#define MANIFEST_NULL ((struct manifest){0})

/* `path` is how diagnostics name the file. Errors go to m->diags. `m` is MANIFEST_NULL before. -ENOMEM, else 0. */
int manifest_parse(struct manifest *m, struct str path, struct str text, struct str cluster_domain) must_check;
void manifest_deinit(struct manifest *m);
