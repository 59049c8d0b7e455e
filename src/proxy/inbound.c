/* SPDX-License-Identifier: GPL-3.0-or-later
 * inbound.c - a CONNECT of an authenticated peer: is it for this workload, may it, and then to the application
 *
 * The peer's identity comes from its certificate and its address from the tunnel's socket; what the request says about
 * its sender is for nobody's trust (facts/ztunnel.md 2.4, 3.1). */
#include <errno.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/hbone.h>

#include "access.h"
#include "pod.h"
#include "relay.h"
#include "ways.h"
#include "worker.h"

/* As the client: bound to its address, so that the application sees who is calling. A workload that calls itself keeps
 * the kernel's choice: nobody can bind to the far end's own tuple. */
void application_connect(struct flow *f, const struct addr *from) {
    struct worker *w = f->worker;
    cleanup_fd int fd = -1;
    struct endpoint bind_to = {.addr = *from};
    bool bindable = addr_is_v4(from) == addr_is_v4(&f->target.addr) && !addr_is(from, &f->target.addr) && !addr_is_none(from);
    struct ring_socket_spec spec = {.netns_fd = f->pod->netns_fd,
                                    .v6 = !addr_is_v4(&f->target.addr),
                                    .bind_to = bindable ? &bind_to : NULL,
                                    .to_application = true};
    int r = ring_socket(w->ring, &spec, &fd);
    if (r < 0) {
        facts_set(flow_facts(f), FACT_DETAIL, str_of(strerrorname_np(-r)));
        flow_refuse(f, r == -EMFILE || r == -ENFILE ? CLOSE_LIMIT : CLOSE_CONNECT_FAILED);
        return;
    }
    leg_tcp_init(&f->legs[LEG_SERVER], take_fd(fd), false);
    flow_set_state(f, FLOW_WAIT_CONNECT);
    leg_connect(&f->legs[LEG_SERVER], &f->target, spec.v6);
}

/* Everything that can be said against the request before policy is asked. */
static enum close_reason inbound_check(const struct flow *f, const struct tunnel *t, const struct hbone_request *q) {
    const struct worker *w = f->worker;
    if (w->draining)
        return CLOSE_DRAIN;
    if (f->pod->gone)
        return CLOSE_WORKLOAD_GONE;
    if (!q->has_address)
        return CLOSE_UNKNOWN_WORKLOAD; /* a host name: we are nobody's gateway */
    /* The very address that was connected to, which is the pod's: another of its family could not keep the source's address. */
    if (!addr_is(&q->address.addr, &t->local.addr) || !pod_has_addr(f->pod, &q->address.addr))
        return CLOSE_WRONG_ADDRESS;
    for (size_t i = 0; i < array_size(w->options.ports); i++)
        if (q->address.port == w->options.ports[i])
            return CLOSE_LOOP;
    return CLOSE_NONE;
}

static enum close_reason inbound_judge(struct flow *f, const struct tunnel *t) {
    const struct world *world = worker_world(f->worker);
    if (!world)
        return CLOSE_NO_WORLD;
    const struct workload *to = world_workload_by_uid(world, pod_uid(f->pod));
    if (!to)
        return CLOSE_UNKNOWN_WORKLOAD;
    const struct workload *from = world_workload_by_addr(world, worker_network(world), &f->src.addr);
    if (from && world_same_identity(world, from->identity, &t->peer_identity))
        flow_take_workload(f, from, true);
    flow_take_workload(f, to, false);
    struct authz_query query = {
        .to = to, .source = &t->peer_identity, .source_ip = f->src.addr, .destination_ip = f->target.addr, .port = f->target.port};
    struct verdict verdict;
    authz_judge(world, &query, &verdict);
    flow_take_verdict(f, &verdict);
    dry_run_watch(f, &query, &verdict);
    f->judged = world_number(world);
    return verdict.allow ? CLOSE_NONE : verdict.reason;
}

/* No flow to hold it: still an answer, still a count. */
static void inbound_overloaded(struct tunnel *t, int32_t id, enum close_reason why) {
    struct hbone_headers h;
    hbone_create_response(HBONE_UNAVAILABLE, close_reason_word(why), &h);
    ignore_result(h2_refuse(t->h2, id, h.items, h.n)); /* gone meanwhile: nobody waits for the answer */
    access_turned_away(t->worker, STATS_INBOUND, &t->peer, why);
}

void inbound_requested(struct tunnel *t, int32_t id, const struct h2_header *headers, size_t n, bool end_stream) {
    enum close_reason why;
    struct flow *f = flow_acquire(t->worker, t->pod, FLOW_INBOUND, &why);
    if (!f) {
        inbound_overloaded(t, id, why);
        return;
    }
    struct leg *client = &f->legs[LEG_CLIENT];
    leg_stream_init(client, t);
    client->stream.id = id;
    h2_stream_attach(t->h2, id, client);
    client->read_ended = end_stream;
    f->mtls = true;
    f->src = t->peer;
    f->hop = t->local;

    struct hbone_request request;
    int verdict = hbone_consume_request(headers, n, &request);
    if (verdict) {
        facts_set(flow_facts(f), FACT_DETAIL, str_of(hbone_verdict_text(verdict)));
        flow_refuse(f, CLOSE_BAD_REQUEST);
        return;
    }
    f->asked = f->target = request.address;
    memcpy(f->trace_id, request.trace_id, sizeof(f->trace_id));
    facts_set(flow_facts(f), FACT_DST_SERVICE, str_of(request.service_hint));
    why = inbound_check(f, t, &request);
    if (why == CLOSE_NONE)
        why = inbound_judge(f, t);
    if (why != CLOSE_NONE) {
        flow_refuse(f, why);
        return;
    }
    application_connect(f, &t->peer.addr);
}

void inbound_connected(struct flow *f) {
    struct leg *client = &f->legs[LEG_CLIENT];
    struct tunnel *t = client->stream.tunnel;
    if (client->failed || client->stream.gone) {
        flow_touch(f);
        return;
    }
    struct hbone_headers h;
    hbone_create_response(HBONE_OK, NULL, &h);
    if (h2_accept(t->h2, client->stream.id, h.items, h.n, client)) {
        leg_fail(client, CLOSE_PEER_RESET, 0);
        return;
    }
    client->stream.answered = true;
    tunnel_touch(t);
    relay_begin(f);
}
