/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/join.c - see join.h
 *
 * The specs of a file are shared by all loads, so what a load changes in one (its endpoints, its locality, whether it is
 * captured here) is changed in a copy that lives as long as the load. */
#include <errno.h>

#include <ringwall/base/arena.h>
#include <ringwall/base/err.h>
#include <ringwall/base/map.h>

#include "join.h"
#include "lint.h"

struct entry { /* an object under its kind, namespace and name */
    struct map_node node;
    const struct object *object;
    struct service_spec *service; /* a Service's copy once a slice was found; NULL: none */
    size_t n_endpoints;           /* of its slices */
};
struct join {
    const struct mesh_options *o;
    struct diag_list *diags;
    struct arena arena;
    struct map names;
    struct entry *entries;
    size_t n_entries;
    struct world_input input;
    bool has_nodes, has_slices, has_accounts;
    struct map running; /* accounts that workloads run as: "namespace/account", and "namespace/" for each namespace */
};

static void join_deinit(struct join *j) {
    map_deinit(&j->names);
    map_deinit(&j->running);
    arena_deinit(&j->arena);
}

/* Kind, namespace and name in a row; a "/" is in none of them. Written by hand: every object of every load comes by. */
static size_t put_key(char *to, enum object_kind kind, struct str ns, struct str name) {
    size_t n = 0;
    to[n++] = (char)('A' + (int)kind);
    if (ns.n)
        memcpy(to + n, ns.at, ns.n);
    n += ns.n;
    to[n++] = '/';
    if (name.n)
        memcpy(to + n, name.at, name.n);
    return n + name.n;
}

static struct entry *find(struct join *j, enum object_kind kind, struct str ns, struct str name) {
    char key[600];
    if (ns.n + name.n + 2 > sizeof(key)) /* no object has such a name */
        return NULL;
    struct map_node *n = map_find(&j->names, key, put_key(key, kind, ns, name));
    return n ? map_entry(n, struct entry, node) : NULL;
}

static int index_objects(struct join *j, const struct manifest *const *manifests, size_t n) {
    size_t n_objects = 0;
    for (size_t i = 0; i < n; i++)
        n_objects += manifests[i]->n_objects;
    j->entries = arena_array(&j->arena, struct entry, n_objects);
    if (!j->entries || map_init(&j->names, n_objects))
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < n; i++)
        for (const struct object *o = manifests[i]->first; o; o = o->next) {
            char *key = arena_alloc(&j->arena, o->ns.n + o->name.n + 2);
            struct entry *e = &j->entries[j->n_entries];
            e->object = o;
            if (!key)
                return err_origin(-ENOMEM);
            size_t n_key = put_key(key, o->kind, o->ns, o->name);
            int r = map_insert(&j->names, &e->node, key, n_key);
            if (r == 0) {
                j->n_entries++;
                continue;
            }
            const struct object *first = map_entry(map_find(&j->names, key, n_key), struct entry, node)->object;
            diag_addf(j->diags, DIAG_ERROR, &o->at,
                      "%s " STR_FMT "%s" STR_FMT " is given twice, first at " STR_FMT ":%u: remove one of them",
                      object_kind_name(o->kind), STR_ARG(o->ns), o->ns.n ? "/" : "", STR_ARG(o->name), STR_ARG(first->at.file),
                      first->at.line);
            *e = (struct entry){0};
        }
    return 0;
}

/* A notice a kind, however many objects and files. */
static int tell_skipped(struct join *j, const struct manifest *const *manifests, size_t n) {
    struct skipped *all = NULL;
    for (size_t i = 0; i < n; i++)
        for (const struct skipped *s = manifests[i]->skipped; s; s = s->next) {
            struct skipped **at = &all;
            while (*at && !(str_is((*at)->kind, s->kind) && str_is((*at)->api_version, s->api_version)))
                at = &(*at)->next;
            if (*at) {
                (*at)->n += s->n;
                continue;
            }
            *at = arena_alloc(&j->arena, sizeof(**at));
            if (!*at)
                return err_origin(-ENOMEM);
            **at = *s;
            (*at)->next = NULL;
        }
    for (const struct skipped *s = all; s; s = s->next) {
        if (s->api_version.n == 0)
            diag_addf(j->diags, DIAG_WARNING, &s->at, "kind " STR_FMT " has no effect at L4: %zu accepted and ignored",
                      STR_ARG(s->kind), s->n);
        else
            diag_addf(j->diags, DIAG_WARNING, &s->at, "kind " STR_FMT " (" STR_FMT ") is none that we read: %zu skipped",
                      STR_ARG(s->kind), STR_ARG(s->api_version), s->n);
    }
    return 0;
}

/* The namespace's label counts where the workload has none. */
static enum mesh_label label_of(struct join *j, const struct workload_spec *w) {
    if (w->mesh != MESH_LABEL_ABSENT)
        return w->mesh;
    struct entry *e = find(j, OBJECT_NAMESPACE, STR_NULL, w->ns);
    return e && e->object->spec ? ((const struct namespace_spec *)e->object->spec)->mesh : MESH_LABEL_ABSENT;
}

/* `enrol` rules capture on this node only: what others are is told by their labels. */
static enum mesh_label enrolled_as(struct join *j, const struct workload_spec *w) {
    bool local = w->node.n && str_is(w->node, j->o->settings->node);
    if (!local || j->o->enrol == MESH_ENROL_LABEL)
        return w->mesh;
    if (j->o->enrol == MESH_ENROL_NONE)
        return MESH_LABEL_NONE;
    return label_of(j, w) == MESH_LABEL_NONE ? MESH_LABEL_NONE : MESH_LABEL_AMBIENT;
}

static const struct workload_spec *join_workload(struct join *j, const struct workload_spec *w) {
    enum mesh_label mesh = enrolled_as(j, w);
    const struct node_spec *node = NULL;
    if (j->has_nodes && w->node.n && w->region.n == 0) {
        struct entry *e = find(j, OBJECT_NODE, STR_NULL, w->node);
        node = e ? e->object->spec : NULL;
    }
    if (mesh == w->mesh && !node)
        return w;
    struct workload_spec *copy = arena_alloc(&j->arena, sizeof(*copy));
    if (!copy)
        return NULL;
    *copy = *w;
    copy->mesh = mesh;
    if (node) {
        copy->region = node->region;
        copy->zone = node->zone;
    }
    return copy;
}

/* Counts the endpoints of each Service, makes room for them in a copy of it, and fills them in: three looks at the slices. */
static int join_slices(struct join *j) {
    enum { COUNT, FILL, _LOOKS };
    for (int look = COUNT; look < _LOOKS; look++)
        for (size_t i = 0; i < j->n_entries; i++) {
            const struct object *o = j->entries[i].object;
            const struct slice_spec *slice = o->spec;
            if (o->kind != OBJECT_ENDPOINT_SLICE || !slice)
                continue;
            struct entry *e = find(j, OBJECT_SERVICE, o->ns, slice->service);
            if (!e && look == COUNT)
                diag_addf(j->diags, DIAG_WARNING, &o->at,
                          "EndpointSlice " STR_FMT "/" STR_FMT " belongs to Service \"" STR_FMT
                          "\", which is in no file: it is ignored",
                          STR_ARG(o->ns), STR_ARG(o->name), STR_ARG(slice->service));
            if (!e || !e->object->spec)
                continue;
            if (look == COUNT) {
                e->n_endpoints += slice->n_endpoints;
                continue;
            }
            if (!e->service) {
                e->service = arena_alloc(&j->arena, sizeof(*e->service));
                if (!e->service)
                    return err_origin(-ENOMEM);
                *e->service = *(const struct service_spec *)e->object->spec;
                e->service->has_slices = true;
                e->service->endpoints = arena_array(&j->arena, struct service_endpoint_spec, e->n_endpoints);
                if (!e->service->endpoints)
                    return err_origin(-ENOMEM);
            }
            for (size_t k = 0; k < slice->n_endpoints; k++)
                e->service->endpoints[e->service->n_endpoints++] = slice->endpoints[k];
        }
    return 0;
}

struct running {
    struct map_node node;
    struct str ns, name;
};

static int add_running(struct join *j, struct str ns, struct str name) {
    char key[600];
    if (ns.n + name.n + 2 > sizeof(key)) /* no object has such a name */
        return 0;
    size_t n = put_key(key, OBJECT_SERVICE_ACCOUNT, ns, name);
    if (map_find(&j->running, key, n))
        return 0;
    struct running *r = arena_alloc(&j->arena, sizeof(*r));
    char *kept = r ? arena_alloc(&j->arena, n) : NULL;
    if (!kept)
        return err_origin(-ENOMEM);
    memcpy(kept, key, n);
    r->ns = ns;
    r->name = name;
    return map_insert(&j->running, &r->node, kept, n);
}

static int collect_running(struct join *j) {
    struct str last = STR_NULL;
    if (map_init(&j->running, j->input.n_workloads))
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < j->input.n_workloads; i++) {
        const struct workload_spec *w = j->input.workloads[i];
        int r = add_running(j, w->ns, w->service_account.n ? w->service_account : STR("default"));
        if (r == 0 && !str_is(last, w->ns))
            r = add_running(j, w->ns, STR_NULL);
        if (r)
            return r;
        last = w->ns;
    }
    return 0;
}

static bool is_running(struct join *j, struct str ns, struct str name) {
    char key[600];
    return ns.n + name.n + 2 <= sizeof(key) && map_find(&j->running, key, put_key(key, OBJECT_SERVICE_ACCOUNT, ns, name));
}

static void take_nearer(struct str name, struct str other, size_t *best, struct str *near) {
    size_t d = str_distance(name, other);
    if (other.n == 0 || d >= *best)
        return;
    *best = d;
    *near = other;
}

/* Only for what is told, and no more is told than a list of diagnostics holds. */
static struct str near_account(struct join *j, bool listed, struct str ns, struct str name) {
    struct str near = STR_NULL;
    size_t best = name.n > 4 ? 3 : 2, cursor = 0;
    if (j->diags->n >= DIAG_MAX)
        return near;
    for (size_t i = 0; listed && i < j->n_entries; i++) {
        const struct object *o = j->entries[i].object;
        if (o->kind == OBJECT_SERVICE_ACCOUNT && str_is(o->ns, ns))
            take_nearer(name, o->name, &best, &near);
    }
    for (struct map_node *n = NULL; !listed && (n = map_next(&j->running, &cursor, n));) {
        const struct running *r = map_entry(n, struct running, node);
        if (str_is(r->ns, ns))
            take_nearer(name, r->name, &best, &near);
    }
    return near;
}

/* Every namespace of a cluster has the account "default": when it is listed, the others are too. */
static enum lint_account look_account(void *context, struct str ns, struct str name, struct str *ret_near) {
    struct join *j = context;
    bool listed = j->has_accounts && find(j, OBJECT_SERVICE_ACCOUNT, ns, STR("default"));
    if (listed ? find(j, OBJECT_SERVICE_ACCOUNT, ns, name) != NULL : is_running(j, ns, name))
        return LINT_THERE;
    if (!listed && !is_running(j, ns, STR_NULL))
        return LINT_UNKNOWN;
    *ret_near = near_account(j, listed, ns, name);
    return listed ? LINT_NOT_LISTED : LINT_NOT_RUN;
}

static int make_arrays(struct join *j) {
    size_t n[_OBJECT_KIND_MAX] = {0};
    struct world_input *in = &j->input;
    for (size_t i = 0; i < j->n_entries; i++)
        n[j->entries[i].object->kind]++;
    j->has_nodes = n[OBJECT_NODE] > 0;
    j->has_slices = n[OBJECT_ENDPOINT_SLICE] > 0;
    j->has_accounts = n[OBJECT_SERVICE_ACCOUNT] > 0;
    in->namespaces = arena_array(&j->arena, const struct namespace_spec *, n[OBJECT_NAMESPACE]);
    in->workloads = arena_array(&j->arena, const struct workload_spec *, n[OBJECT_POD] + n[OBJECT_WORKLOAD_ENTRY]);
    in->services = arena_array(&j->arena, const struct service_spec *, n[OBJECT_SERVICE] + n[OBJECT_SERVICE_ENTRY]);
    in->policies = arena_array(&j->arena, const struct policy_spec *, n[OBJECT_AUTHORIZATION_POLICY]);
    in->peer_auths = arena_array(&j->arena, const struct peer_auth_spec *, n[OBJECT_PEER_AUTHENTICATION]);
    bool all = in->namespaces && in->workloads && in->services && in->policies && in->peer_auths;
    return all ? 0 : err_origin(-ENOMEM);
}

static int fill_arrays(struct join *j) {
    struct world_input *in = &j->input;
    for (size_t i = 0; i < j->n_entries; i++) {
        struct entry *e = &j->entries[i];
        const void *spec = e->object->spec;
        if (!spec)
            continue;
        switch (e->object->kind) {
        case OBJECT_NAMESPACE:
            in->namespaces[in->n_namespaces++] = spec;
            break;
        case OBJECT_POD:
        case OBJECT_WORKLOAD_ENTRY:
            in->workloads[in->n_workloads] = join_workload(j, spec);
            if (!in->workloads[in->n_workloads++])
                return err_origin(-ENOMEM);
            break;
        case OBJECT_SERVICE:
        case OBJECT_SERVICE_ENTRY:
            in->services[in->n_services++] = e->service ? e->service : spec;
            break;
        case OBJECT_AUTHORIZATION_POLICY:
            in->policies[in->n_policies++] = spec;
            break;
        case OBJECT_PEER_AUTHENTICATION:
            in->peer_auths[in->n_peer_auths++] = spec;
            break;
        default: /* told elsewhere, or read for its metadata only */
            break;
        }
    }
    int r = in->n_policies ? collect_running(j) : 0;
    for (size_t i = 0; r == 0 && i < in->n_policies; i++)
        lint_accounts(in->policies[i], j->o->settings, look_account, j, j->diags);
    return r;
}

int join_build(const struct manifest *const *manifests, size_t n, const struct mesh_options *o, uint64_t number,
               struct diag_list *diags, struct world **ret) {
    cleanup(join_deinit) struct join j = {.o = o, .diags = diags, .input = {.settings = *o->settings}};
    size_t n_errors = diags->n_errors;
    int r = index_objects(&j, manifests, n);
    if (r == 0)
        r = tell_skipped(&j, manifests, n);
    if (r == 0)
        r = make_arrays(&j);
    if (r == 0 && j.has_slices)
        r = join_slices(&j);
    if (r == 0)
        r = fill_arrays(&j);
    if (r)
        return err_trace(r);
    if (diags->n_errors > n_errors)
        return 1;
    return err_trace(world_build(&j.input, number, diags, ret));
}
