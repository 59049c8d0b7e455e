/* SPDX-License-Identifier: GPL-3.0-or-later
 * judge.c - after a new world, policy is asked again for every open flow; those now denied are reset
 *
 * flows_all is ordered by the world that judged each flow, oldest first: a judged flow goes to the back, so a pass needs no
 * cursor and may be spread over turns, with flows coming and going. */
#include <ringwall/base/check.h>
#include <ringwall/base/rng.h>

#include "flow.h"
#include "hop.h"
#include "pod.h"
#include "tunnel.h"
#include "worker.h"

/* Plaintext may go on only while its destination may still be reached in plaintext (DESIGN rule 1). A tunnel's flow is
 * judged at its far end. */
static enum close_reason judge_outbound(struct flow *f, const struct world *world) {
    const struct workload *source = world_workload_by_uid(world, pod_uid(f->pod));
    if (!source)
        return CLOSE_WORKLOAD_GONE;
    if (f->mtls || f->legs[LEG_SERVER].kind != LEG_TCP)
        return CLOSE_NONE;
    struct route route;
    route_outbound(world, source, &f->target, f->worker->options.ports, NULL, &f->worker->rng, &route);
    return route.kind == ROUTE_PLAIN ? CLOSE_NONE : CLOSE_POLICY_CHANGED;
}

static enum close_reason judge_inbound(struct flow *f, const struct world *world) {
    const struct workload *to = world_workload_by_uid(world, pod_uid(f->pod));
    if (!to)
        return CLOSE_WORKLOAD_GONE;
    const struct tunnel *t = leg_is_stream(&f->legs[LEG_CLIENT]) ? f->legs[LEG_CLIENT].stream.tunnel : NULL;
    struct authz_query query = {.to = to,
                                .source = t ? &t->peer_identity : NULL,
                                .source_ip = f->src.addr,
                                .destination_ip = f->target.addr,
                                .port = f->target.port};
    struct verdict verdict;
    authz_judge(world, &query, &verdict);
    if (verdict.allow)
        return CLOSE_NONE;
    flow_take_verdict(f, &verdict);
    return CLOSE_POLICY_CHANGED;
}

static void judge_flow(struct flow *f, const struct world *world) {
    f->judged = world_number(world);
    if (f->state == FLOW_ENDING)
        return;
    enum close_reason why = f->kind == FLOW_OUTBOUND ? judge_outbound(f, world) : judge_inbound(f, world);
    counter_add(&f->worker->options.stats->flows_rejudged, 1);
    if (why != CLOSE_NONE)
        flow_refuse(f, why);
}

void judge_step(struct worker *w) {
    const struct world *world = w->judging ? worker_world(w) : NULL;
    if (!world)
        return;
    uint64_t number = world_number(world);
    for (unsigned i = 0; i < JUDGE_PER_TURN; i++) {
        struct list *n = list_first(&w->flows_all);
        struct flow *f = n ? list_entry(n, struct flow, in_worker) : NULL;
        if (!f || f->judged == number) {
            w->judging = false;
            return;
        }
        list_unlink(n);
        list_push_back(&w->flows_all, n);
        judge_flow(f, world);
    }
}

/* An inbound tunnel whose node lost its right to this identity (DESIGN rule 3) gets no new request through. */
static void judge_tunnels(struct worker *w, const struct world *world) {
    list_for_each (it, &w->tunnels_all) {
        struct tunnel *t = list_entry(it, struct tunnel, in_worker);
        const struct tls_peer *peer = t->state == TUNNEL_OPEN ? tls_session_peer(t->tls) : NULL;
        if (peer && peer->issuing_node[0] && !world_node_has_identity(world, str_of(peer->issuing_node), &peer->identity))
            tunnel_retire(t);
    }
}

void judge_begin(struct worker *w, const struct world *world) {
    w->judging = true;
    hops_check(w, world);
    judge_tunnels(w, world);
}
