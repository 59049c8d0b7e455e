/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/mtls.c - PeerAuthentication: what was given, and which one holds for a workload (facts/identity.md 5.5)
 *
 * PERMISSIVE, then the mesh's, then the namespace's, then the workload's mode, each only if it is not UNSET; then the
 * port's. On one level the oldest object wins, then the smaller name; one without a creation time is the youngest. */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "build.h"

const char *mtls_mode_name(enum mtls_mode m) {
    switch (m) {
    case MTLS_UNSET:
        return "UNSET";
    case MTLS_DISABLE:
        return "DISABLE";
    case MTLS_PERMISSIVE:
        return "PERMISSIVE";
    case MTLS_STRICT:
        return "STRICT";
    }
    unreachable_because("every mode is listed");
}

static int compare_specs(const void *x, const void *y) {
    const struct peer_auth_spec *a = *(const struct peer_auth_spec *const *)x, *c = *(const struct peer_auth_spec *const *)y;
    int r = str_compare(a->ns, c->ns);
    return r ? r : str_compare(a->name, c->name);
}

static int compare_age(const void *x, const void *y) {
    const struct peer_auth_spec *a = *(const struct peer_auth_spec *const *)x, *c = *(const struct peer_auth_spec *const *)y;
    if (a->has_created != c->has_created)
        return a->has_created ? -1 : 1;
    if (a->has_created && a->created_s != c->created_s)
        return a->created_s < c->created_s ? -1 : 1;
    int r = str_compare(a->name, c->name);
    return r ? r : str_compare(a->ns, c->ns);
}

static void check_spec(struct builder *b, const struct peer_auth_spec *s) {
    char bytes[512];
    struct text t = TEXT_OVER(bytes);

    build_check_selector(b, &s->selector, &s->at);
    for (size_t i = 0; i < s->n_ports; i++) {
        if (s->ports[i].port == 0)
            diag_addf(b->diags, DIAG_ERROR, &s->ports[i].at,
                      "portLevelMtls: port 0 does not exist; write a workload port from 1 to 65535");
        if (!s->selector.n) {
            diag_addf(b->diags, DIAG_ERROR, &s->ports[i].at,
                      "portLevelMtls needs a selector: ports belong to workloads; add selector.matchLabels");
            break;
        }
    }
    if (s->selector.n && build_is_root_ns(b, s->ns))
        diag_addf(b->diags, DIAG_WARNING, &s->selector.at,
                  "PeerAuthentication " STR_FMT "/" STR_FMT " has no effect: one with a selector is ignored in the root namespace; "
                  "move it to the workloads' namespace",
                  STR_ARG(s->ns), STR_ARG(s->name));
    if (build_is_root_ns(b, s->ns) || !build_ns_unknown(b, s->ns)) /* the root namespace is for the whole mesh */
        return;
    build_say_ns_unknown(b, s->ns, &t);
    diag_addf(b->diags, DIAG_WARNING, &s->at, "this PeerAuthentication selects nothing: %s", bytes);
}

static void compile(struct builder *b, const struct peer_auth_spec *s, struct peer_auth *p) {
    struct port_mode_spec *ports = build_alloc(b, sizeof(*ports), s->n_ports);

    p->ns = build_str(b, s->ns);
    p->name = build_str(b, s->name);
    p->at = build_origin(b, &s->at);
    p->mode_at = build_origin(b, &s->mode_at);
    p->mode = s->mode;
    p->labels = build_labels(b, s->selector.labels, s->selector.n);
    p->n_labels = p->labels ? s->selector.n : 0;
    for (size_t i = 0; ports && i < s->n_ports; i++)
        ports[i] =
            (struct port_mode_spec){.port = s->ports[i].port, .mode = s->ports[i].mode, .at = build_origin(b, &s->ports[i].at)};
    p->ports = ports;
    p->n_ports = ports ? s->n_ports : 0;
}

/* Of two on one level the older holds; the other is told to be without effect. */
static const struct peer_auth *older(struct builder *b, const struct peer_auth *a, const struct peer_auth *c) {
    if (!a)
        return c;
    const struct peer_auth *first = a->age_rank < c->age_rank ? a : c, *second = first == a ? c : a;
    diag_addf(b->diags, DIAG_WARNING, &second->at,
              "PeerAuthentication " STR_FMT "/" STR_FMT " has no effect: " STR_FMT "/" STR_FMT " (" STR_FMT
              ":%u) is older and covers the "
              "whole namespace too; keep one of them",
              STR_ARG(second->ns), STR_ARG(second->name), STR_ARG(first->ns), STR_ARG(first->name), STR_ARG(first->at.file),
              first->at.line);
    return first;
}

void build_peer_auths(struct builder *b) {
    size_t n = b->input->n_peer_auths;
    struct peer_auth *all = build_alloc(b, sizeof(*all), n);
    const struct peer_auth_spec **by_name = build_scratch(b, sizeof(void *), n), **by_age = build_scratch(b, sizeof(void *), n);

    if (!n || !all || !by_name || !by_age)
        return;
    memcpy(by_name, b->input->peer_auths, n * sizeof(void *));
    qsort(by_name, n, sizeof(void *), compare_specs);
    memcpy(by_age, by_name, n * sizeof(void *));
    qsort(by_age, n, sizeof(void *), compare_age);
    b->world->peer_auths = all;
    b->world->n_peer_auths = n;
    for (size_t i = 0; i < n; i++) {
        const struct peer_auth_spec *s = by_name[i];
        if (i && !compare_specs(&by_name[i - 1], &by_name[i]))
            diag_addf(b->diags, DIAG_ERROR, &s->at,
                      "PeerAuthentication " STR_FMT "/" STR_FMT " is given twice: also at " STR_FMT ":%u; remove or rename one",
                      STR_ARG(s->ns), STR_ARG(s->name), STR_ARG(by_name[i - 1]->at.file), by_name[i - 1]->at.line);
        check_spec(b, s);
        compile(b, s, &all[i]);
        all[i].index = (uint32_t)i;
        selector_index_count(b, &b->peer_auth_index, all[i].ns.at, all[i].labels, all[i].n_labels);
    }
    if (b->failed)
        return;
    for (size_t rank = 0; rank < n; rank++) {
        const struct peer_auth_spec **at = bsearch(&by_age[rank], by_name, n, sizeof(void *), compare_specs);
        all[at - by_name].age_rank = rank;
    }
    for (size_t i = 0; i < n && !b->failed; i++) {
        struct ns_info *ns = build_ns(b, all[i].ns);
        if (all[i].n_labels)
            selector_index_add(b, &b->peer_auth_index, all[i].ns.at, all[i].labels, all[i].n_labels, all[i].index);
        else if (ns)
            ns->peer_auth = older(b, ns->peer_auth, &all[i]);
    }
}

struct oldest {
    struct peer_auth *all;
    const struct peer_auth *found;
};

static void take_older(void *context, uint32_t object) {
    struct oldest *o = context;
    o->all[object].n_bound++;
    if (!o->found || o->all[object].age_rank < o->found->age_rank)
        o->found = &o->all[object];
}

const struct peer_auth *build_peer_auth_for(struct builder *b, struct ns_info *ns, const struct label *labels, size_t n_labels) {
    struct oldest o = {.all = b->world->peer_auths};

    if (!build_is_root_ns(b, ns->name))
        selector_index_find(&b->peer_auth_index, ns->name.at, labels, n_labels, take_older, &o);
    return o.found;
}
