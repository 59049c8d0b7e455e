/* SPDX-License-Identifier: GPL-3.0-or-later
 * judge.c - after a new world, policy is asked again for every open flow; those now denied are reset
 *
 * flows_all is ordered by the world that judged each flow, oldest first: a judged flow goes to the back, so a pass needs no
 * cursor and may be spread over turns, with flows coming and going. The policy of a tunnel's flow is judged at its far end, and
 * who is at the far end here. */
#include <ringwall/base/check.h>
#include <ringwall/base/rng.h>

#include "flow.h"
#include "hop.h"
#include "pod.h"
#include "tunnel.h"
#include "worker.h"

static bool needs_waypoint(const struct world *world, const struct endpoint *asked, const struct workload *to) {
    const struct service *s = world_service_by_vip(world, worker_network(world), &asked->addr);
    return to->use_waypoint.n || (s && s->use_waypoint.n);
}

/* Policy is the far end's to judge; who is at the far end is ours. A tunnel belongs to one workload: a new owner of its
 * address gets none of its flows, and neither does a workload whose peer answered with what is its identity no more. That
 * plaintext would do by now (DISABLE, or outside the mesh) is nothing against a tunnel. */
static enum close_reason judge_tunnelled(struct flow *f, const struct world *world) {
    struct leg *l = &f->legs[LEG_SERVER];
    const struct tunnel *t = l->stream.tunnel;
    if (!t || l->stream.id == 0)
        return CLOSE_NONE; /* it is asked when it gets its stream, see hop_admits */
    const struct workload *to = world_workload_by_addr(world, worker_network(world), &f->target.addr);
    enum close_reason why = CLOSE_NONE;
    if (!to || hop_uid_hash(f->worker, to->uid) != t->uid_hash)
        why = CLOSE_WORKLOAD_GONE;
    else if (!route_accepts_identity(world, worker_network(world), &f->asked, to->uid, &t->peer_identity) ||
             needs_waypoint(world, &f->asked, to))
        why = CLOSE_POLICY_CHANGED;
    if (why == CLOSE_NONE || f->state != FLOW_WAIT_REPLY)
        return why;
    leg_fail(l, CLOSE_TUNNEL_LOST, 0); /* not a byte was carried: routed again */
    return CLOSE_NONE;
}

/* Plaintext may go on only while its destination may still be reached in plaintext (DESIGN rule 1). */
static enum close_reason judge_outbound(struct flow *f, const struct world *world) {
    const struct workload *source = world_workload_by_uid(world, pod_uid(f->pod));
    if (!source)
        return CLOSE_WORKLOAD_GONE;
    if (leg_is_stream(&f->legs[LEG_SERVER]))
        return judge_tunnelled(f, world);
    if (f->legs[LEG_SERVER].kind != LEG_TCP)
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
            tunnel_bar(t);
    }
}

void judge_begin(struct worker *w, const struct world *world) {
    w->judging = true;
    hops_check(w, world);
    judge_tunnels(w, world);
}
