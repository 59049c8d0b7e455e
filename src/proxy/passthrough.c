/* SPDX-License-Identifier: GPL-3.0-or-later
 * passthrough.c - plaintext that came to a workload's own port: no identity, the same policy (facts/ztunnel.md 3.2)
 *
 * The accepted socket's local address is the original destination. STRICT refuses here; the client then sees a reset. */
#include <ringwall/base/check.h>

#include "access.h"
#include "pod.h"
#include "ways.h"
#include "worker.h"

static enum close_reason passthrough_judge(struct flow *f) {
    struct worker *w = f->worker;
    for (size_t i = 0; i < array_size(w->options.ports); i++)
        if (f->target.port == w->options.ports[i])
            return CLOSE_LOOP;
    if (f->pod->gone)
        return CLOSE_WORKLOAD_GONE;
    const struct world *world = worker_world(w);
    if (!world)
        return CLOSE_NO_WORLD;
    const struct workload *to = world_workload_by_uid(world, pod_uid(f->pod));
    if (!to)
        return CLOSE_UNKNOWN_WORKLOAD;
    flow_take_workload(f, world_workload_by_addr(world, worker_network(world), &f->src.addr), true);
    flow_take_workload(f, to, false);
    struct authz_query query = {.to = to, .source_ip = f->src.addr, .destination_ip = f->target.addr, .port = f->target.port};
    struct verdict verdict;
    authz_judge(world, &query, &verdict);
    flow_take_verdict(f, &verdict);
    dry_run_watch(f, &query, &verdict);
    f->judged = world_number(world);
    return verdict.allow ? CLOSE_NONE : verdict.reason;
}

void passthrough_accepted(struct pod *pod, int fd) {
    struct worker *w = pod->worker;
    struct endpoint client = ENDPOINT_NULL, local = ENDPOINT_NULL;
    if (ring_socket_peer(w->ring, fd, &client) < 0 || ring_socket_local(w->ring, fd, &local) < 0) {
        socket_reject(w, fd); /* gone before we looked */
        return;
    }
    enum close_reason why;
    struct flow *f = flow_acquire(w, pod, FLOW_PASSTHROUGH, &why);
    if (!f) {
        access_turned_away(w, STATS_INBOUND, &client, why);
        socket_reject(w, fd);
        return;
    }
    leg_tcp_init(&f->legs[LEG_CLIENT], fd, true);
    f->src = client;
    f->asked = f->target = f->hop = local;
    why = passthrough_judge(f);
    if (why != CLOSE_NONE)
        flow_refuse(f, why);
    else
        application_connect(f, &client.addr);
}
