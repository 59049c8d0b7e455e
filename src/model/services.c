/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/services.c - services: their virtual addresses, and the endpoints behind them
 *
 * An endpoint that a slice names by pod counts only while that pod is known and still has the address: a slice that is
 * older than the inventory must not lead one pod's traffic to the next owner of its address. */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "build.h"

static int compare_specs(const void *x, const void *y) {
    const struct service_spec *a = *(const struct service_spec *const *)x, *c = *(const struct service_spec *const *)y;
    int r = str_compare(a->ns, c->ns);
    if (!r)
        r = str_compare(a->name, c->name);
    return r ? r : str_compare(a->kind, c->kind);
}

struct hit { /* a workload that a service's selector picked */
    struct hit *next;
    const struct workload *workload;
};
struct hits {
    struct hit *first, **end;
    size_t n;
};
struct collecting {
    struct builder *b;
    struct hits *by_service;
    const struct workload *workload;
};

static void collect(void *context, uint32_t object) {
    struct collecting *c = context;
    struct hits *to = &c->by_service[object];
    struct hit *h = build_scratch(c->b, sizeof(*h), 1);

    if (!h)
        return;
    h->workload = c->workload;
    *(to->end ? to->end : &to->first) = h;
    to->end = &h->next;
    to->n++;
}

static const struct service_port_spec *copy_ports(struct builder *b, const struct service_port_spec *ports, size_t n) {
    cleanup_free struct service_port_spec *copy = n ? calloc(n, sizeof(*copy)) : NULL; /* zeroed: interned as bytes */

    b->failed |= n && !copy;
    for (size_t i = 0; copy && i < n; i++) {
        copy[i].name = build_str(b, ports[i].name);
        copy[i].port = ports[i].port;
        copy[i].target_port = ports[i].target_port;
        copy[i].target_name = build_str(b, ports[i].target_name);
    }
    return build_blob(b, copy, copy ? n * sizeof(*copy) : 0);
}

static bool has_addr(const struct workload *w, const struct addr *a) {
    for (size_t i = 0; i < w->n_addrs; i++)
        if (addr_is(&w->addrs[i], a))
            return true;
    return false;
}

static void place_hints(struct builder *b, const struct service_endpoint_spec *e, struct place *p) {
    cleanup_free struct str *zones = e->n_for_zones ? calloc(e->n_for_zones, sizeof(*zones)) : NULL;

    b->failed |= e->n_for_zones && !zones;
    for (size_t i = 0; zones && i < e->n_for_zones; i++)
        zones[i] = build_str(b, e->for_zones[i]);
    p->for_zones = build_blob(b, zones, zones ? e->n_for_zones * sizeof(*zones) : 0);
    p->n_for_zones = p->for_zones ? e->n_for_zones : 0;
}

/* What the slice or entry leaves out, the workload tells. */
static const struct place *place_of(struct builder *b, const struct workload *w, const struct service_endpoint_spec *e) {
    struct place p;

    memset(&p, 0, sizeof(p)); /* interned as bytes */
    p.region = w && w->about->region.n ? w->about->region : build_str(b, e->region);
    p.zone = w && w->about->zone.n ? w->about->zone : build_str(b, e->zone);
    p.subzone = w && w->about->subzone.n ? w->about->subzone : build_str(b, e->subzone);
    p.node = w && w->node.n ? w->node : build_str(b, e->node);
    p.network = w ? w->network : e->network.n ? build_str(b, e->network) : b->world->settings.network;
    place_hints(b, e, &p);
    return build_blob(b, &p, sizeof(p));
}

/* False: the slice is behind the inventory, or names nothing. */
static bool find_endpoint(struct builder *b, const struct service_spec *s, const struct service_endpoint_spec *e,
                          struct service_endpoint *ret) {
    bool addressed = !addr_is_none(&e->addr);

    if (e->pod.n) {
        ret->workload = world_workload_by_name(b->world, s->ns, e->pod);
        if (!ret->workload || (addressed && !has_addr(ret->workload, &e->addr)))
            return false;
    } else if (addressed) {
        ret->workload = world_workload_by_addr(b->world, e->network.n ? e->network : b->world->settings.network, &e->addr);
    } else {
        return false;
    }
    ret->addr = e->addr;
    return true;
}

static struct service_endpoint *endpoints_of_slices(struct builder *b, const struct service_spec *s, size_t *ret_n) {
    struct service_endpoint *all = build_alloc(b, sizeof(*all), s->n_endpoints);
    size_t n = 0, n_stale = 0;

    for (size_t i = 0; all && i < s->n_endpoints; i++) {
        const struct service_endpoint_spec *e = &s->endpoints[i];
        if (!find_endpoint(b, s, e, &all[n])) {
            all[n] = (struct service_endpoint){0};
            n_stale++;
            continue;
        }
        const struct workload *w = all[n].workload;
        all[n].ports = copy_ports(b, e->ports, e->n_ports);
        all[n].n_ports = all[n].ports ? (uint32_t)e->n_ports : 0;
        all[n].weight = e->weight ? e->weight : w ? w->weight : 1;
        all[n].place = place_of(b, w, e);
        all[n].ready = s->publish_not_ready || (e->ready && !(w && w->terminating));
        n++;
    }
    if (n_stale)
        diag_addf(b->diags, DIAG_WARNING, &s->at,
                  "%zu endpoint%s of " STR_FMT " " STR_FMT "/" STR_FMT
                  " name%s a pod that is not given or has another address; they get no "
                  "traffic until slices and pods agree",
                  n_stale, n_stale == 1 ? "" : "s", STR_ARG(s->kind), STR_ARG(s->ns), STR_ARG(s->name), n_stale == 1 ? "s" : "");
    *ret_n = n;
    return all;
}

static struct service_endpoint *endpoints_of_selector(struct builder *b, const struct service_spec *s, const struct hits *hits,
                                                      size_t *ret_n) {
    static const struct service_endpoint_spec nothing = {0};
    struct service_endpoint *all = build_alloc(b, sizeof(*all), hits->n);
    size_t n = 0;

    for (const struct hit *h = all ? hits->first : NULL; h; h = h->next)
        all[n++] = (struct service_endpoint){.place = place_of(b, h->workload, &nothing),
                                             .workload = h->workload,
                                             .weight = h->workload->weight,
                                             .ready = s->publish_not_ready || (h->workload->ready && !h->workload->terminating)};
    *ret_n = n;
    return all;
}

static int compare_endpoints(const void *x, const void *y) {
    const struct service_endpoint *a = x, *c = y;
    if (a->ready != c->ready)
        return a->ready ? -1 : 1;
    uint32_t i = a->workload ? a->workload->index : UINT32_MAX, j = c->workload ? c->workload->index : UINT32_MAX;
    if (i != j)
        return i < j ? -1 : 1;
    return memcmp(&a->addr, &c->addr, sizeof(a->addr));
}

static const struct cidr *copy_blocks(struct builder *b, const struct service_spec *s) {
    struct cidr *blocks = build_alloc(b, sizeof(*blocks), s->n_blocks);

    if (blocks)
        memcpy(blocks, s->blocks, s->n_blocks * sizeof(*blocks));
    return blocks;
}

/* Hints are a plan for all of a service's endpoints: one without them, and they are out of date. */
static void set_distribution(struct builder *b, const struct service_spec *s, size_t n, struct service_inside *in) {
    const struct ns_info *ns = build_ns(b, s->ns);
    size_t n_ready = 0, n_hinted = 0;

    in->distribution = s->has_distribution ? s->distribution : ns && ns->spec ? ns->spec->distribution : TRAFFIC_ANY;
    for (size_t i = 0; i < n && in->endpoints[i].ready && !b->failed; i++) {
        n_ready++;
        n_hinted += in->endpoints[i].place->n_for_zones > 0;
    }
    in->hinted = !s->ignore_hints && n_ready && n_hinted == n_ready;
}

static void fill(struct builder *b, const struct service_spec *s, const struct hits *hits, struct service *v,
                 struct service_inside *in) {
    struct addr *vips = build_alloc(b, sizeof(*vips), s->n_vips);
    struct service_endpoint *all;
    size_t n = 0;

    v->kind = build_str(b, s->kind);
    v->ns = build_str(b, s->ns);
    v->name = build_str(b, s->name);
    v->host = s->n_hosts ? build_str(b, s->hosts[0]) : STR_NULL;
    v->at = build_origin(b, &s->at);
    for (size_t i = 0; vips && i < s->n_vips; i++)
        if (!addr_is_none(&s->vips[i]))
            vips[v->n_vips++] = s->vips[i];
    v->vips = vips;
    v->blocks = copy_blocks(b, s);
    v->n_blocks = v->blocks ? s->n_blocks : 0;
    v->ports = copy_ports(b, s->ports, s->n_ports);
    v->n_ports = v->ports ? s->n_ports : 0;
    v->external = s->external;
    v->use_waypoint = build_waypoint(b, s->use_waypoint, build_ns(b, s->ns));
    all = s->has_slices ? endpoints_of_slices(b, s, &n) : endpoints_of_selector(b, s, hits, &n);
    if (n)
        qsort(all, n, sizeof(*all), compare_endpoints);
    in->endpoints = all;
    set_distribution(b, s, n, in);
    in->from_slices = s->has_slices && str_is(s->kind, STR("Service"));
    build_service_names(b, s, in);
    v->n_endpoints = n;
    for (size_t i = 0; i < n; i++)
        v->n_ready += all[i].ready;
}

/* Which workloads each selector picks: one pass over the workloads for all services. */
static struct hits *pick_workloads(struct builder *b, const struct service_spec **sorted, size_t n) {
    struct hits *by_service = build_scratch(b, sizeof(*by_service), n);
    struct selector_index *x = &b->service_index;

    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; by_service && i < n; i++) {
            const struct selector *s = &sorted[i]->selector;
            const struct label *labels = sorted[i]->has_slices ? NULL : build_labels(b, s->labels, s->n);
            const struct ns_info *ns = build_ns(b, sorted[i]->ns);
            if (!labels || !ns)
                continue;
            if (round == 0)
                selector_index_count(b, x, ns->name.at, labels, s->n);
            else
                selector_index_add(b, x, ns->name.at, labels, s->n, (uint32_t)i);
        }
    for (size_t i = 0; by_service && i < b->world->n_workloads && !b->failed; i++) {
        const struct workload *w = &b->world->workloads[i];
        const struct ns_info *ns = build_ns(b, w->ns);
        struct collecting c = {.b = b, .by_service = by_service, .workload = w};
        if (ns)
            selector_index_find(x, ns->name.at, w->labels, w->n_labels, collect, &c);
    }
    return by_service;
}

void build_services(struct builder *b) {
    size_t n = b->input->n_services;
    const struct service_spec **sorted = build_scratch(b, sizeof(void *), n);
    struct world *w = b->world;

    w->services = build_alloc(b, sizeof(*w->services), n);
    w->service_insides = build_alloc(b, sizeof(*w->service_insides), n);
    if (!n || !sorted || !w->services || !w->service_insides)
        return;
    memcpy(sorted, b->input->services, n * sizeof(void *));
    qsort(sorted, n, sizeof(void *), compare_specs);
    w->n_services = n;
    struct hits *by_service = pick_workloads(b, sorted, n);
    for (size_t i = 0; i < n && !b->failed; i++) {
        const struct service_spec *s = sorted[i];
        w->services[i].index = (uint32_t)i;
        if (i && !compare_specs(&sorted[i - 1], &sorted[i])) {
            diag_addf(b->diags, DIAG_ERROR, &s->at,
                      STR_FMT " " STR_FMT "/" STR_FMT " is given twice: also at " STR_FMT ":%u; remove or rename one",
                      STR_ARG(s->kind), STR_ARG(s->ns), STR_ARG(s->name), STR_ARG(sorted[i - 1]->at.file), sorted[i - 1]->at.line);
            continue;
        }
        fill(b, s, &by_service[i], &w->services[i], &w->service_insides[i]);
        build_service_vips(b, &w->services[i]);
    }
}

uint16_t service_target_port(const struct service_endpoint *e, const struct service_port_spec *port, bool from_slices) {
    const struct workload *w = e->workload;

    for (uint32_t i = 0; i < e->n_ports; i++)
        if (str_is(e->ports[i].name, port->name))
            return e->ports[i].port;
    if (e->n_ports && from_slices)
        return 0; /* a slice lists every port that its endpoints have */
    for (size_t i = 0; w && str_is(w->kind, STR("WorkloadEntry")) && i < w->n_ports; i++)
        if (str_is(w->ports[i].name, port->name))
            return w->ports[i].port;
    if (port->target_port)
        return port->target_port;
    if (!port->target_name.n)
        return port->port;
    for (size_t i = 0; w && i < w->n_ports; i++)
        if (str_is(w->ports[i].name, port->target_name))
            return w->ports[i].port;
    return 0;
}

size_t world_n_services(const struct world *w) { return w->n_services; }

const struct service *world_service_at(const struct world *w, size_t i) {
    check(i < w->n_services);
    return &w->services[i];
}
