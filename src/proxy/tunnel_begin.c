/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel_begin.c - a tunnel from its socket to its first flow: connect or accept, certificate, handshake, HTTP/2 */
#include <errno.h>

#include <ringwall/base/check.h>

#include "access.h"
#include "credentials.h"
#include "hop.h"
#include "pod.h"
#include "tunnel_parts.h"
#include "ways.h"
#include "worker.h"

static bool tunnel_covers(void *context, struct str node, const struct identity *identity) {
    const struct world *world = worker_world(context);
    return world && world_node_has_identity(world, node, identity);
}

/* ---- making one ---- */

static struct tunnel *tunnel_acquire(struct pod *pod, int fd, bool server) {
    struct worker *w = pod->worker;
    struct tunnel *t = pool_acquire(w->tunnels);
    if (!t)
        return NULL;
    t->state = TUNNEL_NEW;
    t->server = server;
    t->worker = w;
    t->pod = pod;
    t->fd = fd;
    t->id = ++w->next_tunnel;
    t->n_streams_max = TUNNEL_FLOWS_MAX;
    t->trust_judged = w->trust ? w->trust->generation : 0;
    t->began_ns = t->heard_ns = t->idle_ns = worker_now(w);
    list_init(&t->legs);
    bufq_init(&t->in, w->buffers);
    bufq_init(&t->out, w->buffers);
    bufq_init(&t->plain, w->buffers);
    list_push_back(&w->tunnels_all, &t->in_worker);
    pod->n_tunnels++;
    return t;
}

static void tunnel_begin_handshake(struct tunnel *t, struct tls_context *context) {
    t->credential_generation = tls_credential_generation(tls_context_credential(context));
    struct tls_session_options o = {.context = context,
                                    .trust = t->worker->trust,
                                    .in = &t->in,
                                    .out = &t->out,
                                    .covers = tunnel_covers,
                                    .covers_context = t->worker};
    if (tls_session_new(&o, &t->tls)) {
        tunnel_end(t, CLOSE_LIMIT, "no memory for a TLS session");
        return;
    }
    tunnel_set_state(t, TUNNEL_HANDSHAKE);
    tunnel_listen(t);
    tunnel_touch(t);
}

static void tunnel_connected(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct tunnel *t = container_of(op, struct tunnel, control);
    if (t->state != TUNNEL_CONNECT) {
        tunnel_touch(t);
        return;
    }
    if (n < 0) {
        tunnel_end(t,
                   n == -ECONNREFUSED ? CLOSE_CONNECT_REFUSED
                   : n == -ETIMEDOUT  ? CLOSE_CONNECT_TIMEOUT
                                      : CLOSE_CONNECT_FAILED,
                   strerrorname_np(-n));
        return;
    }
    if (ring_socket_local(t->worker->ring, t->fd, &t->local) < 0)
        t->local = ENDPOINT_NULL; /* only the report shows it */
    struct tls_context *context = credentials_context(t->pod->slot, TLS_ROLE_CLIENT);
    if (!context)
        tunnel_end(t, CLOSE_NO_IDENTITY, "the certificate went away while connecting");
    else
        tunnel_begin_handshake(t, context);
}

struct tunnel *tunnel_connect(struct hop *hop, struct tls_context *context, enum close_reason *ret_why) {
    struct worker *w = hop->worker;
    cleanup_fd int fd = -1;
    bool v6 = !addr_is_v4(&hop->key.addr);
    struct ring_socket_spec spec = {.netns_fd = hop->pod->netns_fd, .v6 = v6, .unpaced = true};
    int r = ring_socket(w->ring, &spec, &fd);
    if (r < 0) {
        *ret_why = r == -EMFILE || r == -ENFILE ? CLOSE_LIMIT : CLOSE_CONNECT_FAILED;
        return NULL;
    }
    bool over_share = pod_over_share(hop->pod, hop->pod->n_tunnels, w->tunnels);
    struct tunnel *t = over_share ? NULL : tunnel_acquire(hop->pod, fd, false);
    if (!t) {
        *ret_why = over_share ? CLOSE_POD_LIMIT : CLOSE_LIMIT;
        return NULL;
    }
    take_fd(fd);
    t->hop = hop;
    list_push_front(&hop->tunnels, &t->in_hop);
    hop->n_tunnels++;
    t->expected = hop->identity;
    t->credential_generation = tls_credential_generation(tls_context_credential(context));
    t->peer = (struct endpoint){.addr = hop->key.addr, .port = w->options.ports[2]};
    tunnel_set_state(t, TUNNEL_CONNECT);
    ring_connect(w->ring, &t->control, t->fd, &t->peer, v6, tunnel_connected);
    return t;
}

void tunnel_serve(struct tunnel *t) {
    struct tls_context *context = credentials_context(t->pod->slot, TLS_ROLE_SERVER);
    if (context) {
        list_unlink(&t->parked);
        tunnel_begin_handshake(t, context);
        return;
    }
    if (t->state != TUNNEL_PARKED) {
        tunnel_set_state(t, TUNNEL_PARKED);
        list_push_back(&t->pod->slot->tunnels, &t->parked);
    }
    credentials_ask(t->pod->slot);
}

void tunnel_accepted(struct pod *pod, int fd) {
    struct worker *w = pod->worker;
    struct endpoint peer = ENDPOINT_NULL, local = ENDPOINT_NULL;
    if (ring_socket_peer(w->ring, fd, &peer) < 0 || ring_socket_local(w->ring, fd, &local) < 0) {
        socket_reject(w, fd); /* gone before we looked */
        return;
    }
    if (!sources_allow(w->sources, &peer.addr, worker_now(w))) {
        counter_add(&w->options.stats->handshakes_limited, 1);
        socket_reject(w, fd);
        return;
    }
    bool over_share = pod_over_share(pod, pod->n_tunnels, w->tunnels);
    struct tunnel *t = pod->gone || over_share ? NULL : tunnel_acquire(pod, fd, true);
    if (!t) {
        access_turned_away(w, STATS_INBOUND, &peer, pod->gone ? CLOSE_WORKLOAD_GONE : over_share ? CLOSE_POD_LIMIT : CLOSE_LIMIT);
        socket_reject(w, fd);
        return;
    }
    t->peer = peer;
    t->local = local;
    tunnel_serve(t);
}

/* ---- handshake ---- */

static bool tunnel_make_h2(struct tunnel *t) {
    struct h2_shared *shared = &t->worker->h2;
    int r = t->server ? h2_server_new(&tunnel_server_callbacks, t, shared, &t->h2)
                      : h2_client_new(&tunnel_client_callbacks, t, shared, &t->h2);
    return r == 0;
}

/* The workload itself answered, or one whose name a waiting flow's service allows. Each flow is asked again by itself. */
static bool tunnel_is_welcome(struct tunnel *t) {
    if (t->server || identity_is(&t->peer_identity, &t->expected))
        return true;
    list_for_each (it, &t->legs) {
        struct leg *l = list_entry(it, struct leg, stream.link);
        if (!l->closing && hop_admits(t->hop, leg_flow(l), &t->peer_identity) == CLOSE_NONE)
            return true;
    }
    return false;
}

/* The trust may have changed while the handshake ran, and a new credential may have come. False: the tunnel was ended. */
static bool tunnel_is_up_to_date(struct tunnel *t) {
    struct worker *w = t->worker;
    enum tls_trust_verdict v;
    bool ours;
    if (tls_session_peer(t->tls)->trust_generation != w->trust->generation && trust_judge(w, t->tls, &ours, &v) != CLOSE_NONE) {
        char why[TRUST_WHY_BYTES];
        trust_explain(t->tls, ours, v, why);
        tunnel_end(t, ours ? CLOSE_CERT_REVOKED : CLOSE_PEER_UNTRUSTED, why);
        return false;
    }
    const struct tls_credential *now = t->pod->slot->credential;
    if (t->server && (!now || tls_credential_generation(now) != t->credential_generation))
        tunnel_retire(t);
    return true;
}

static void tunnel_opened(struct tunnel *t) {
    const struct tls_peer *peer = tls_session_peer(t->tls);
    check(peer);
    t->peer_identity = peer->identity;
    if (!tunnel_is_up_to_date(t))
        return;
    t->cert_end_s = min_of(peer->chain_not_after, tls_credential_not_after(tls_session_credential(t->tls)));
    counter_add(&t->worker->options.stats->handshakes, 1);
    if (!tunnel_is_welcome(t)) {
        if (t->hop)
            t->hop->refused = t->peer_identity;
        tunnel_end(t, CLOSE_PEER_WRONG_IDENTITY, peer->identity.text);
        return;
    }
    if (!tunnel_make_h2(t)) {
        tunnel_end(t, CLOSE_LIMIT, "no memory for HTTP/2");
        return;
    }
    t->opened_ns = t->idle_ns = worker_now(t->worker);
    tunnel_set_state(t, TUNNEL_OPEN);
    ring_socket_fit_distance(t->worker->ring, t->fd);
    tunnel_log(t, "open");
    if (t->hop)
        hop_tunnel_opened(t->hop);
    if (!t->server)
        list_for_each (it, &t->legs) {
            struct leg *l = list_entry(it, struct leg, stream.link);
            if (!l->closing && l->stream.id == 0)
                outbound_tunnel_open(leg_flow(l), t);
        }
    tunnel_read(t);
}

void tunnel_handshake(struct tunnel *t) {
    struct worker *w = t->worker;
    if (w->handshake_budget == 0) { /* public-key work is spread over turns, so that open tunnels keep moving */
        list_push_back(&w->deferred_tunnels, &t->touched);
        return;
    }
    w->handshake_budget--;
    char why[TRUST_WHY_BYTES];
    int r = tls_session_handshake(t->tls, clock_wall_s());
    switch (r) {
    case TLS_WANT_INPUT:
        break;
    case TLS_WANT_OUTPUT:
        tunnel_stuck(t);
        break;
    case TLS_DONE:
        tunnel_opened(t);
        break;
    case TLS_REFUSED:
        tunnel_end(t, CLOSE_PEER_UNTRUSTED, tls_session_refusal(t->tls, why, sizeof(why)));
        break;
    default:
        tunnel_end(t, CLOSE_TLS_FAILED, r < 0 ? strerrorname_np(-r) : tls_session_error(t->tls));
    }
    if (t->peer_ended && (t->state == TUNNEL_HANDSHAKE || t->state == TUNNEL_OPEN))
        tunnel_end(t, t->state == TUNNEL_OPEN ? CLOSE_TUNNEL_LOST : CLOSE_TLS_FAILED, "connection closed without close_notify");
    if (t->state == TUNNEL_HANDSHAKE)
        tunnel_send(t);
}
