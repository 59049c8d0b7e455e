/* SPDX-License-Identifier: GPL-3.0-or-later
 * outbound.c - a captured connection of a local workload: where was it going, and how does it get there
 *
 * accept -> original destination -> route -> (park for a certificate) -> tunnel and CONNECT, or plain connect, or refuse.
 * Every refusal is a reset to the application, one log line and one counter. Nothing of the world is kept between turns:
 * a flow that waited is routed again. */
#include <errno.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/hbone.h>

#include "access.h"
#include "credentials.h"
#include "ejected.h"
#include "hop.h"
#include "pod.h"
#include "relay.h"
#include "ways.h"
#include "worker.h"

/* Which workload dialled, and what. CLOSE_NONE, or why it cannot be told. The kernel names the workload by the cgroup of
 * the process; it must live in the network namespace whose listener accepted (DESIGN rule 2). */
static enum close_reason outbound_origin(struct pod *listener_pod, const struct endpoint *client, struct pod **ret_pod,
                                         struct endpoint *ret_dst) {
    struct worker *w = listener_pod->worker;
    struct capture_origin origin;
    if (w->options.origdst(w->options.origdst_context, listener_pod->netns_cookie, client, &origin))
        return CLOSE_NO_ORIGIN;
    struct pod *pod = pod_find(w, origin.workload_id);
    if (!pod || pod->netns_cookie != listener_pod->netns_cookie)
        return CLOSE_UNKNOWN_WORKLOAD;
    *ret_pod = pod;
    *ret_dst = origin.dst;
    return CLOSE_NONE;
}

/* Through the rewritten loopback destination the peer's address is loopback too; the workload's own is what people know. */
static struct endpoint outbound_source(const struct pod *pod, const struct endpoint *client, const struct endpoint *dst) {
    struct endpoint src = *client;
    if (addr_is_loopback(&client->addr))
        for (size_t i = 0; i < pod->n_addrs; i++)
            if (addr_is_v4(&pod->addrs[i]) == addr_is_v4(&dst->addr)) {
                src.addr = pod->addrs[i];
                break;
            }
    return src;
}

void outbound_accepted(struct pod *listener_pod, int fd) {
    struct worker *w = listener_pod->worker;
    struct endpoint client = ENDPOINT_NULL, dst = ENDPOINT_NULL;
    struct pod *pod = listener_pod;
    if (ring_socket_peer(w->ring, fd, &client) < 0) { /* gone before we looked: nobody to tell */
        socket_reject(w, fd);
        return;
    }
    enum close_reason why = outbound_origin(listener_pod, &client, &pod, &dst);
    client = outbound_source(pod, &client, &dst);
    enum close_reason full;
    struct flow *f = flow_acquire(w, pod, FLOW_OUTBOUND, &full);
    if (!f) {
        access_turned_away(w, STATS_OUTBOUND, &client, full);
        socket_reject(w, fd);
        return;
    }
    leg_tcp_init(&f->legs[LEG_CLIENT], fd, true);
    f->src = client;
    f->asked = dst;
    if (why != CLOSE_NONE)
        flow_refuse(f, why);
    else
        outbound_go(f);
}

/* An attempt may take long only when there is no other: with another endpoint it is left early, and comes back to a slow one
 * once all were tried, each round with more patience. */
static void outbound_be_patient(struct flow *f, uint64_t patience_ns) {
    if (f->by_service)
        flow_be_patient(f, patience_ns << min_of(2 * f->notes->n_rounds, 8));
}

static void outbound_plain(struct flow *f) {
    struct worker *w = f->worker;
    cleanup_fd int fd = -1;
    struct ring_socket_spec spec = {.netns_fd = f->pod->netns_fd, .v6 = !addr_is_v4(&f->target.addr)};
    int r = ring_socket(w->ring, &spec, &fd);
    if (r < 0) {
        facts_set(flow_facts(f), FACT_DETAIL, str_of(strerrorname_np(-r)));
        flow_refuse(f, r == -EMFILE || r == -ENFILE ? CLOSE_LIMIT : CLOSE_CONNECT_FAILED);
        return;
    }
    f->hop = f->target;
    leg_tcp_init(&f->legs[LEG_SERVER], take_fd(fd), false);
    flow_set_state(f, FLOW_WAIT_CONNECT);
    outbound_be_patient(f, TUNNEL_PATIENCE_NS);
    leg_connect(&f->legs[LEG_SERVER], &f->target, spec.v6);
}

static void outbound_park(struct flow *f) {
    struct credential_slot *slot = f->pod->slot;
    if (f->state != FLOW_PARKED) {
        flow_set_state(f, FLOW_PARKED);
        counter_add(&f->worker->options.stats->flows_parked, 1);
    }
    list_push_back(&slot->flows, &f->waiting);
    credentials_ask(slot);
}

static void outbound_names(struct flow *f, const struct workload *source, const struct route *route) {
    facts_clear(flow_facts(f));
    flow_take_workload(f, source, true);
    flow_take_workload(f, route->workload, false);
    f->by_service = route->service;
    if (route->service)
        facts_set(flow_facts(f), FACT_DST_SERVICE, route->service->host);
}

static bool outbound_is_ejected(void *context, const struct endpoint *e) {
    const struct flow *f = context;
    return ejected_is(f->worker->ejected, e, worker_now(f->worker)) || hop_in_trouble(f, &e->addr);
}

void outbound_go(struct flow *f) {
    struct worker *w = f->worker;
    check(f->legs[LEG_SERVER].kind == LEG_NONE);
    const struct world *world = worker_world(w);
    if (!world) {
        flow_refuse(f, CLOSE_NO_WORLD);
        return;
    }
    const struct workload *source = world_workload_by_uid(world, pod_uid(f->pod));
    if (f->pod->gone || !source) {
        flow_refuse(f, f->pod->gone ? CLOSE_WORKLOAD_GONE : CLOSE_UNKNOWN_WORKLOAD);
        return;
    }
    struct route route;
    f->notes->tried.is_ejected = outbound_is_ejected;
    f->notes->tried.context = f;
    route_outbound(world, source, &f->asked, w->options.ports, &f->notes->tried, &w->rng, &route);
    outbound_names(f, source, &route);
    f->target = f->hop = route.target;
    f->mtls = route.kind == ROUTE_TUNNEL;
    switch (route.kind) {
    case ROUTE_REFUSE:
        flow_refuse(f, route.reason);
        return;
    case ROUTE_PLAIN:
        outbound_plain(f);
        return;
    case ROUTE_TUNNEL:
        break;
    }
    if (!route.workload) {
        flow_refuse(f, CLOSE_INTERNAL);
        return;
    }
    if (!credentials_valid(f->pod->slot)) {
        outbound_park(f);
        return;
    }
    f->hop.port = w->options.ports[2];
    enum close_reason why = hop_take(f, world, route.workload);
    if (why != CLOSE_NONE)
        outbound_failed(f, why);
    else if (f->state == FLOW_WAIT_TUNNEL && f->legs[LEG_SERVER].kind != LEG_NONE)
        outbound_be_patient(f, TUNNEL_PATIENCE_NS);
}

/* Does the failure speak against the endpoint, and not against the request or ourselves? A 401 is final. */
static bool outbound_blames_endpoint(const struct flow *f, enum close_reason why) {
    switch (why) {
    case CLOSE_TUNNEL_LOST:
    case CLOSE_CONNECT_REFUSED:
    case CLOSE_CONNECT_TIMEOUT:
    case CLOSE_CONNECT_FAILED:
    case CLOSE_HANDSHAKE_TIMEOUT:
    case CLOSE_TLS_FAILED:
    case CLOSE_PEER_UNTRUSTED:
    case CLOSE_PEER_WRONG_IDENTITY:
        return true;
    default:
        return f->peer_status == HBONE_UNAVAILABLE;
    }
}

/* The route as it would be without the endpoints tried. A workload that was dialled itself has no other. */
static bool outbound_has_another(struct flow *f) {
    struct worker *w = f->worker;
    const struct world *world = worker_world(w);
    const struct workload *source = world ? world_workload_by_uid(world, pod_uid(f->pod)) : NULL;
    if (!source || f->notes->tried.n == array_size(f->notes->tried.items))
        return false;
    struct route_tried tried = f->notes->tried;
    tried.items[tried.n++] = f->target;
    struct route route;
    route_outbound(world, source, &f->asked, w->options.ports, &tried, &w->rng, &route);
    return route.kind != ROUTE_REFUSE && route.service;
}

/* All were tried and some of them were only slow: those may be asked again. */
static bool outbound_next_round(struct flow *f) {
    if (!f->notes->slow)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < f->notes->tried.n; i++)
        if (!(f->notes->slow & (1u << i)))
            f->notes->tried.items[n++] = f->notes->tried.items[i];
    f->notes->tried.n = n;
    f->notes->slow = 0;
    f->notes->n_rounds++;
    return true;
}

_Static_assert(array_size(((struct notes *)0)->tried.items) <= 8, "a bit of `slow` for each");
/* Gives the present endpoint up, for now when it is only slow. False: there is nothing else. */
static bool outbound_next_endpoint(struct flow *f) {
    bool another = outbound_has_another(f);
    if (!another && !outbound_next_round(f))
        return false;
    f->notes->n_tunnels_lost = 0;
    if (!another && f->hurried)
        return true;
    f->notes->slow |= (uint8_t)((unsigned)f->hurried << f->notes->tried.n);
    f->notes->tried.items[f->notes->tried.n++] = f->target;
    return true;
}

static bool outbound_time_left(const struct flow *f) {
    return !f->worker->draining && worker_now(f->worker) - f->began_ns < FLOW_TRIES_NS;
}

/* Its tunnel was given up by ourselves, for a newer certificate or another world: no loss that counts. */
static bool outbound_is_unasked(const struct flow *f) {
    const struct leg *l = &f->legs[LEG_SERVER];
    return leg_is_stream(l) && l->stream.unasked;
}

/* A tunnel that broke, or a request refused before it was looked at, is nothing against the address: at first. */
static bool outbound_is_mishap(const struct flow *f, enum close_reason why) {
    return why == CLOSE_TUNNEL_LOST && (outbound_is_unasked(f) || f->notes->n_tunnels_lost + 1 < FLOW_TUNNELS_MAX);
}

/* Only before the first byte; the application's own bytes are still in its socket. */
static bool outbound_may_retry(struct flow *f, enum close_reason why) {
    if (!outbound_time_left(f) || !outbound_blames_endpoint(f, why))
        return false;
    if (outbound_is_mishap(f, why)) {
        f->notes->n_tunnels_lost += !outbound_is_unasked(f);
        return true;
    }
    return outbound_next_endpoint(f);
}

/* An attempt that was made, and failed. */
static void outbound_note_failure(struct flow *f, enum close_reason why) {
    struct worker *w = f->worker;
    if (!f->by_service || outbound_is_mishap(f, why) || f->legs[LEG_SERVER].kind == LEG_NONE || !outbound_blames_endpoint(f, why))
        return;
    if (ejected_failed(w->ejected, &f->target, worker_now(w)))
        counter_add(&w->options.stats->endpoints_ejected, 1);
}

void outbound_reached(struct flow *f) { ejected_succeeded(f->worker->ejected, &f->target); }

static void outbound_drop_server(struct flow *f) {
    struct leg *l = &f->legs[LEG_SERVER];
    if (leg_is_tcp(l)) {
        check(!ring_op_busy(&l->tcp.recv) && !ring_op_busy(&l->tcp.send));
        socket_reject(f->worker, l->tcp.fd);
        l->kind = LEG_NONE;
    } else if (leg_is_stream(l)) {
        if (l->stream.tunnel && l->stream.id && !l->stream.gone)
            h2_stream_reset(l->stream.tunnel->h2, l->stream.id, H2_CANCEL);
        leg_detach(l);
    }
    bufq_deinit(&l->out);
    l->read_ended = l->failed = false;
    l->error = 0;
    f->peer_status = 0;
}

void outbound_failed(struct flow *f, enum close_reason why) {
    list_unlink(&f->waiting);
    outbound_note_failure(f, why);
    if (!outbound_may_retry(f, why)) {
        if (why == CLOSE_NO_IDENTITY && f->pod->slot && f->pod->slot->why[0])
            facts_set(flow_facts(f), FACT_DETAIL, str_of(f->pod->slot->why));
        flow_end(f, why, why == CLOSE_TUNNEL_LOST || f->legs[LEG_SERVER].failed ? CLOSED_BY_PEER : CLOSED_BY_US, true);
        return;
    }
    counter_add(&f->worker->options.stats->flows_retried, 1);
    outbound_drop_server(f);
    outbound_go(f);
}

/* The tunnel goes on opening, for others. */
bool outbound_too_slow(struct flow *f) {
    struct worker *w = f->worker;
    if (!outbound_time_left(f) || (!outbound_has_another(f) && !f->notes->slow))
        return false;
    w->trouble_until_ns = max_of(w->trouble_until_ns, worker_now(w) + CONNECT_NS + HANDSHAKE_NS);
    f->hurried = true;
    if (f->state == FLOW_WAIT_CONNECT) /* flow_connected hears of it */
        ring_cancel(w->ring, &f->legs[LEG_SERVER].tcp.send);
    else
        outbound_failed(f, CLOSE_CONNECT_TIMEOUT);
    return true;
}

static void outbound_trace(struct worker *w, char *out, size_t n_hex) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n_hex; i++)
        out[i] = hex[rng_below(&w->rng, 16)];
    out[n_hex] = 0;
}

void outbound_tunnel_open(struct flow *f, struct tunnel *t) {
    struct leg *l = &f->legs[LEG_SERVER];
    check(leg_is_stream(l) && l->stream.tunnel == t && l->stream.id == 0);
    if (l->failed)
        return;
    enum close_reason why = hop_admits(t->hop, f, &t->peer_identity);
    if (why != CLOSE_NONE) {
        if (why == CLOSE_PEER_WRONG_IDENTITY)
            facts_set(flow_facts(f), FACT_DETAIL, str_of(t->peer_identity.text));
        leg_fail(l, why, 0);
        return;
    }
    const struct world *world = worker_world(f->worker);
    const struct workload *source = world ? world_workload_by_uid(world, pod_uid(f->pod)) : NULL;
    struct hbone_connect c = {.address = f->target, .client = f->src, .service = facts_get(&f->notes->facts, FACT_DST_SERVICE)};
    if (source) {
        c.cluster = source->cluster;
        c.ns = source->ns;
        c.workload = workload_shown_name(source);
        c.workload_type = source->about->workload_type;
        c.canonical = source->about->canonical_name;
        c.revision = source->about->canonical_revision;
        c.region = source->about->region;
        c.zone = source->about->zone;
    }
    if (!f->trace_id[0])
        outbound_trace(f->worker, f->trace_id, 32);
    memcpy(c.trace_id, f->trace_id, sizeof(c.trace_id));
    outbound_trace(f->worker, c.span_id, 16);
    struct hbone_headers h;
    hbone_create_connect(&c, &h);
    int r = h2_connect(t->h2, h.items, h.n, l, &l->stream.id);
    if (r) { /* the peer allows fewer streams, drains, or the ids are used up: another tunnel */
        l->stream.id = 0;
        tunnel_retire(t);
        leg_fail(l, r < 0 ? CLOSE_INTERNAL : CLOSE_TUNNEL_LOST, 0);
        return;
    }
    f->hop = t->peer;
    flow_set_state(f, FLOW_WAIT_REPLY);
    outbound_be_patient(f, REPLY_PATIENCE_NS);
    tunnel_touch(t);
}

void outbound_replied(struct flow *f, const struct h2_header *headers, size_t n) {
    struct hbone_response response;
    hbone_consume_response(headers, n, &response);
    if (f->state != FLOW_WAIT_REPLY)
        return;
    if (response.status == HBONE_OK) {
        f->legs[LEG_SERVER].stream.answered = true;
        outbound_reached(f);
        relay_begin(f);
        return;
    }
    f->peer_status = response.status;
    facts_setf(flow_facts(f), FACT_DETAIL, "http status: %u%s%s", response.status, response.reason[0] ? " " : "", response.reason);
    enum close_reason why = response.reason[0] ? close_reason_of_word(response.reason) : CLOSE_PEER_REFUSED;
    if (why == CLOSE_NONE || why == CLOSE_FINISHED)
        why = CLOSE_PEER_REFUSED;
    if (response.status == HBONE_UNAVAILABLE) /* flow_step asks for another endpoint: not in here, HTTP/2 is at work */
        leg_fail(&f->legs[LEG_SERVER], why, 0);
    else
        flow_end(f, why, CLOSED_BY_PEER, true);
}
