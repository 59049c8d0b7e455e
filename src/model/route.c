/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/route.c - one decision a connection: tunnel, plain or refuse
 *
 * A workload's address comes before a service's. Plaintext goes only to what is outside the mesh, or where the port's
 * PeerAuthentication is DISABLE; whatever is in the mesh and cannot be reached by a tunnel is refused. */
#include <ringwall/base/check.h>
#include <ringwall/model/route.h>

#include "snapshot.h"

static void refuse(struct route *r, enum close_reason why) {
    r->kind = ROUTE_REFUSE;
    r->reason = why;
}

static bool is_own_port(uint16_t port, const uint16_t ports[3]) {
    return port && (port == ports[0] || port == ports[1] || port == ports[2]);
}

static bool was_tried(const struct route_tried *tried, const struct endpoint *e) {
    for (size_t i = 0; tried && i < tried->n; i++)
        if (endpoint_is(&tried->items[i], e))
            return true;
    return false;
}

/* target is set; how to get there? */
static void choose_way(struct route *r, const uint16_t ports[3]) {
    const struct peer_auth *by;
    const struct origin *at;

    if (addr_is_loopback(&r->target.addr) && is_own_port(r->target.port, ports)) {
        refuse(r, CLOSE_LOOP);
        return;
    }
    if (!r->workload || !r->workload->enrolled) {
        r->kind = ROUTE_PLAIN;
        return;
    }
    if (is_own_port(r->target.port, ports)) {
        refuse(r, CLOSE_LOOP);
        return;
    }
    bool plain = policy_table_mode(r->workload->policies, r->target.port, &by, &at) == MTLS_DISABLE;
    r->kind = plain ? ROUTE_PLAIN : ROUTE_TUNNEL;
}

static const struct service_port_spec *find_port(const struct service *s, uint16_t port) {
    for (size_t i = 0; i < s->n_ports; i++)
        if (s->ports[i].port == port)
            return &s->ports[i];
    return NULL;
}

struct choosing {
    const struct service_inside *inside;
    const struct service_port_spec *port;
    const struct workload *source;
    const struct endpoint *dialled;
    const struct route_tried *tried;
    bool saw_waypoint;
};

/* Where this endpoint would be dialled; false: it cannot take this connection. */
static bool reach(struct choosing *c, const struct service_endpoint *e, struct endpoint *ret) {
    const struct workload *w = e->workload;
    bool v4 = addr_is_v4(&c->dialled->addr);
    struct endpoint to = {.addr = e->addr, .port = service_target_port(e, c->port, c->inside->from_slices)};

    if (!to.port || !str_is(e->place->network, c->source->network))
        return false;
    for (size_t i = 0; addr_is_none(&e->addr) && w && i < w->n_addrs; i++)
        if (addr_is_none(&to.addr) || (addr_is_v4(&w->addrs[i]) == v4 && addr_is_v4(&to.addr) != v4))
            to.addr = w->addrs[i];
    if (addr_is_none(&to.addr) || was_tried(c->tried, &to))
        return false;
    if (w && w->use_waypoint.n) {
        c->saw_waypoint = true;
        return false;
    }
    *ret = to;
    return true;
}

static bool meant_for(const struct place *p, struct str zone) {
    for (size_t i = 0; zone.n && i < p->n_for_zones; i++)
        if (str_is(p->for_zones[i], zone))
            return true;
    return false;
}

/* How near an endpoint is: scopes from wide to narrow, up to the first that differs. What is unknown tells nothing. */
static unsigned nearness(const struct choosing *c, const struct place *p) {
    const struct workload *w = c->source;
    const struct str ours[] = {w->about->region, w->about->zone, w->about->subzone, w->node},
                     theirs[] = {p->region, p->zone, p->subzone, p->node};
    unsigned n = c->inside->distribution == TRAFFIC_PREFER_NODE ? 4 : 3, near = 0;

    if (c->inside->hinted && c->inside->distribution == TRAFFIC_ANY)
        return meant_for(p, ours[1]);
    if (c->inside->distribution != TRAFFIC_PREFER_CLOSE && c->inside->distribution != TRAFFIC_PREFER_NODE)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        if (!ours[i].n || !theirs[i].n)
            continue;
        if (!str_is(ours[i], theirs[i]))
            break;
        near = i + 1;
    }
    return near;
}

/* Every endpoint is looked at once: among the best seen so far each takes the place with the chance that its weight
 * has of theirs, and a better one takes it from them all. */
static bool choose_endpoint(struct choosing *c, size_t n_ready, struct rng *rng, struct route *r) {
    enum { NOT_EJECTED = 8 };
    const struct route_tried *t = c->tried;
    uint64_t total = 0;
    unsigned best = 0;

    for (size_t i = 0; i < n_ready; i++) {
        const struct service_endpoint *e = &c->inside->endpoints[i];
        struct endpoint to;
        if (c->inside->distribution == TRAFFIC_NODE_ONLY && !(e->place->node.n && str_is(e->place->node, c->source->node)))
            continue;
        if (!reach(c, e, &to))
            continue;
        unsigned rank = nearness(c, e->place) + (t && t->is_ejected && t->is_ejected(t->context, &to) ? 0 : NOT_EJECTED);
        if (rank < best)
            continue;
        total = (rank > best ? 0 : total) + e->weight;
        best = rank;
        if (rng_below(rng, total) >= e->weight)
            continue;
        r->target = to;
        r->workload = e->workload;
        r->named = c->inside->n_names > 0;
    }
    return total > 0;
}

static void route_service(const struct world *w, const struct workload *source, const struct endpoint *dialled,
                          const uint16_t ports[3], const struct route_tried *tried, struct rng *rng, struct route *r) {
    const struct service *s = r->service;
    struct choosing c = {.inside = &w->service_insides[s->index],
                         .port = find_port(s, dialled->port),
                         .source = source,
                         .dialled = dialled,
                         .tried = tried};

    if (s->use_waypoint.n) {
        refuse(r, CLOSE_WAYPOINT);
        return;
    }
    if (s->external && !s->n_endpoints) { /* a name for something outside: the address dialled is the real one */
        r->target = *dialled;
        choose_way(r, ports);
        return;
    }
    if (c.port && choose_endpoint(&c, s->n_ready, rng, r))
        choose_way(r, ports);
    else
        refuse(r, c.saw_waypoint ? CLOSE_WAYPOINT : CLOSE_NO_ENDPOINT);
}

void route_outbound(const struct world *w, const struct workload *source, const struct endpoint *dialled, const uint16_t ports[3],
                    const struct route_tried *tried, struct rng *rng, struct route *ret) {
    struct route r = {.target = *dialled};

    if (addr_is_none(&dialled->addr) || !dialled->port) {
        refuse(&r, CLOSE_NO_ORIGIN);
        *ret = r;
        return;
    }
    r.workload = world_workload_by_addr(w, source->network, &dialled->addr);
    if (r.workload) {
        if (r.workload->use_waypoint.n)
            refuse(&r, CLOSE_WAYPOINT);
        else if (was_tried(tried, dialled))
            refuse(&r, CLOSE_NO_ENDPOINT);
        else
            choose_way(&r, ports);
        *ret = r;
        return;
    }
    r.service = world_service_by_vip(w, source->network, &dialled->addr);
    if (r.service)
        route_service(w, source, dialled, ports, tried, rng, &r);
    else
        choose_way(&r, ports);
    *ret = r;
}
