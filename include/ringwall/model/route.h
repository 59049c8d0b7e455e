/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/route.h - where a captured connection goes (facts/ztunnel.md 3.3, with our refusals)
 *
 * Never plaintext to a mesh workload unless its PeerAuthentication for that port is DISABLE (DESIGN rule 1). */
#pragma once

#include <ringwall/base/rng.h>
#include <ringwall/model/close_reason.h>
#include <ringwall/model/world.h>

enum route_kind { ROUTE_TUNNEL, ROUTE_PLAIN, ROUTE_REFUSE };
struct route {
    enum route_kind kind;
    enum close_reason reason;        /* REFUSE: why */
    struct endpoint target;          /* TUNNEL: :authority (workload ip:port); PLAIN: where to connect */
    const struct workload *workload; /* destination; NULL: outside the mesh's knowledge */
    const struct service *service;   /* when a service was dialled */
    bool named;                      /* TUNNEL: the service has names of its own, see route_accepts_identity */
};
/* What the caller knows of endpoints that the world does not. */
struct route_tried {
    struct endpoint items[8]; /* not to be taken again */
    size_t n;
    /* Passed over while there is another endpoint, never all of them; asked once for each. May be NULL. */
    bool (*is_ejected)(void *context, const struct endpoint *e);
    void *context;
};
/* `ports`: the proxy's own three, refused as destinations on mesh workloads and loopback. `tried` may be NULL. An address of a
 * service is one of its endpoints: of those not ejected the nearest, as the service's distribution says, by weight. */
void route_outbound(const struct world *w, const struct workload *source, const struct endpoint *dialled, const uint16_t ports[3],
                    const struct route_tried *tried, struct rng *rng, struct route *ret);

/* Secure naming: may `peer` answer for the workload `uid`, to which a connection to `dialled` was routed? The workload's own
 * identity always may, in our trust domain or an alias; so may the identities of the dialled service's subjectAltNames,
 * while the workload is one of its endpoints. Everything is by value and the world of now is asked: a workload that is gone has
 * nobody to answer for it. Unless route.named, only the workload's own identity can be the answer. */
bool route_accepts_identity(const struct world *w, struct str network, const struct endpoint *dialled, struct str uid,
                            const struct identity *peer);
