/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/world.c - build a world in one go, or not at all
 *
 * Errors are collected to the end, so that a user sees all of them at once; a set with any error gives no world. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/err.h>

#include "build.h"

static void builder_deinit(struct builder *b) {
    map_deinit(&b->strings);
    map_deinit(&b->blobs);
    map_deinit(&b->namespaces);
    map_deinit(&b->tables);
    map_deinit(&b->policy_index.by_label);
    map_deinit(&b->peer_auth_index.by_label);
    map_deinit(&b->service_index.by_label);
    arena_deinit(&b->scratch);
}

static int builder_maps_init(struct builder *b) {
    const struct world_input *in = b->input;
    struct world *w = b->world;
    size_t n_objects = in->n_workloads + in->n_policies + in->n_services;
    const struct {
        struct map *map;
        size_t n;
    } kept[] = {{&w->by_addr, in->n_workloads},
                {&w->by_uid, in->n_workloads},
                {&w->by_vip, in->n_services},
                {&w->identities, 0},
                {&w->networks, 0},
                {&b->strings, n_objects * 2},
                {&b->blobs, n_objects * 2},
                {&b->tables, in->n_workloads},
                {&b->namespaces, 0},
                {&b->policy_index.by_label, in->n_policies},
                {&b->peer_auth_index.by_label, 0},
                {&b->service_index.by_label, in->n_services}};
    int r;

    for (size_t i = 0; i < array_size(kept); i++) {
        r = map_init(kept[i].map, kept[i].n);
        if (r)
            return err_trace(r);
    }
    return 0;
}

static void copy_settings(struct builder *b) {
    const struct world_settings *from = &b->input->settings;
    struct world_settings *to = &b->world->settings;
    struct str *aliases = build_alloc(b, sizeof(*aliases), from->n_trust_domain_aliases);

    to->node = build_str(b, from->node);
    to->trust_domain = build_str(b, from->trust_domain.n ? from->trust_domain : STR("cluster.local"));
    to->root_namespace = build_str(b, from->root_namespace.n ? from->root_namespace : STR("istio-system"));
    to->cluster = build_str(b, from->cluster);
    to->cluster_domain = build_str(b, from->cluster_domain);
    to->network = build_str(b, from->network);
    if (!trust_domain_valid(to->trust_domain))
        diag_addf(b->diags, DIAG_ERROR, NULL, "trustDomain \"" STR_FMT "\" is not valid; use a-z, 0-9, '.', '_' and '-'",
                  STR_ARG(to->trust_domain));
    for (size_t i = 0; aliases && i < from->n_trust_domain_aliases; i++) {
        struct str alias = from->trust_domain_aliases[i];
        bool known = str_is(alias, to->trust_domain);
        for (size_t j = 0; j < to->n_trust_domain_aliases; j++)
            known |= str_is(alias, aliases[j]);
        if (!trust_domain_valid(alias))
            diag_addf(b->diags, DIAG_ERROR, NULL,
                      "trustDomainAliases: \"" STR_FMT "\" is not valid; use a-z, 0-9, '.', '_' and '-'", STR_ARG(alias));
        if (!known)
            aliases[to->n_trust_domain_aliases++] = build_str(b, alias);
    }
    to->trust_domain_aliases = aliases;
}

static void declare_namespaces(struct builder *b) {
    for (size_t i = 0; i < b->input->n_namespaces && !b->failed; i++) {
        const struct namespace_spec *s = b->input->namespaces[i];
        struct ns_info *ns = build_ns(b, s->name);
        if (ns && ns->spec)
            diag_addf(b->diags, DIAG_ERROR, &s->at, "Namespace " STR_FMT " is given twice: also at " STR_FMT ":%u; remove one",
                      STR_ARG(s->name), STR_ARG(ns->spec->at.file), ns->spec->at.line);
        else if (ns)
            ns->spec = s;
    }
    for (size_t i = 0; i < b->input->n_workloads && !b->failed; i++) {
        struct ns_info *ns = build_ns(b, b->input->workloads[i]->ns);
        if (ns)
            ns->inhabited = true;
    }
}

static void run_steps(struct builder *b) {
    static void (*const steps[])(struct builder *) = {copy_settings,          declare_namespaces, build_policies,
                                                      build_peer_auths,       build_workloads,    build_services,
                                                      build_unbound_warnings, build_port_warnings};

    b->memo = build_scratch(b, sizeof(*b->memo), BUILD_MEMO);
    for (size_t i = 0; i < array_size(steps) && !b->failed; i++)
        steps[i](b);
}

int world_build(const struct world_input *input, uint64_t number, struct diag_list *diags, struct world **ret) {
    cleanup(world_freep) struct world *w = calloc(1, sizeof(*w));
    struct builder b = {.input = input, .world = w, .diags = diags};
    size_t n_errors = diags->n_errors;
    int r;

    if (!w)
        return err_origin(-ENOMEM);
    w->number = number;
    r = builder_maps_init(&b);
    if (!r)
        run_steps(&b);
    if (!r && b.failed)
        r = err_origin(-ENOMEM);
    builder_deinit(&b);
    if (r)
        return err_trace(r);
    if (diags->n_errors > n_errors)
        return 1;
    *ret = take_ptr(w);
    return 0;
}

struct world *world_free(struct world *w) {
    if (!w)
        return NULL;
    map_deinit(&w->by_addr);
    map_deinit(&w->by_uid);
    map_deinit(&w->by_vip);
    map_deinit(&w->networks);
    map_deinit(&w->identities);
    arena_deinit(&w->arena);
    free(w);
    return NULL;
}

uint64_t world_number(const struct world *w) { return w->number; }
const struct world_settings *world_get_settings(const struct world *w) { return &w->settings; }

size_t world_bytes(const struct world *w) {
    const struct map *maps[] = {&w->by_addr, &w->by_uid, &w->by_vip, &w->networks, &w->identities};
    size_t n = sizeof(*w) + w->arena.bytes_held;

    for (size_t i = 0; i < array_size(maps); i++)
        n += maps[i]->n_buckets * sizeof(*maps[i]->buckets);
    return n;
}
