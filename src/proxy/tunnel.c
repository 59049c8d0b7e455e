/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel.c - the life of a tunnel: connect, handshake, carry, flush, join
 *
 * Reading never stops while a tunnel lives: what a peer may send is bounded by stream windows, so a stopped reader holds
 * only its own stream. Writing is drained from HTTP/2 only while the ciphertext queue is below its mark. */
#include "tunnel.h"

#include <errno.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>
#include <ringwall/base/log.h>

#include "access.h"
#include "credentials.h"
#include "hop.h"
#include "pod.h"
#include "ways.h"
#include "worker.h"

static const struct {
    const char *word;
    uint64_t limit_ns;
    uint32_t next;
} states[_TUNNEL_STATE_MAX] = {
#define TUNNEL_STATE(name, word, limit, next) [TUNNEL_##name] = {word, limit, next},
#include "tunnel_state.h"
#undef TUNNEL_STATE
};

const char *tunnel_state_word(enum tunnel_state s) { return states[s].word; }

static void tunnel_timer_fired(struct ring_timer *timer);

static void tunnel_set_state(struct tunnel *t, enum tunnel_state next) {
    check(states[t->state].next & (1u << next));
    t->state = (uint8_t)next;
    uint64_t limit = next == TUNNEL_OPEN ? TUNNEL_TICK_NS : states[next].limit_ns;
    if (limit)
        ring_timer_start(t->worker->ring, &t->timer, worker_now(t->worker) + limit, tunnel_timer_fired);
    else
        ring_timer_stop(t->worker->ring, &t->timer);
}

void tunnel_touch(struct tunnel *t) {
    check_pooled(t, TUNNEL_MAGIC);
    if (!list_linked(&t->touched))
        list_push_back(&t->worker->touched_tunnels, &t->touched);
}

const struct identity *tunnel_own_identity(const struct tunnel *t) { return t->pod->slot ? &t->pod->slot->identity : NULL; }

bool tunnel_expired(const struct tunnel *t, int64_t now_s) { return t->state == TUNNEL_OPEN && t->cert_end_s <= now_s; }

bool tunnel_may_take(const struct tunnel *t) {
    bool alive = t->state == TUNNEL_CONNECT || t->state == TUNNEL_HANDSHAKE || t->state == TUNNEL_OPEN;
    return alive && !t->retired && t->n_legs < t->n_streams_max && !tunnel_expired(t, clock_wall_s());
}

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

static void tunnel_received(struct ring_op *op, int n, const uint8_t *bytes, bool more);

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
    ring_recv(t->worker->ring, &t->recv, t->fd, true, tunnel_received);
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

/* Server: with a credential the handshake begins; without one the connection waits for it. */
static void tunnel_serve(struct tunnel *t) {
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

/* ---- bytes out ---- */

static void tunnel_sent(struct ring_op *op, int n, const uint8_t *bytes, bool more);

static void tunnel_send(struct tunnel *t) {
    if (ring_op_busy(&t->send) || t->out.n_bytes == 0 || t->socket_lost)
        return;
    ring_send_queue(t->worker->ring, &t->send, t->fd, &t->out, tunnel_sent);
}

static void tunnel_sent(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct tunnel *t = container_of(op, struct tunnel, send);
    tunnel_touch(t);
    if (t->state == TUNNEL_JOIN)
        return;
    if (n <= 0) {
        t->socket_lost = true;
        tunnel_end(t, CLOSE_TUNNEL_LOST, n < 0 ? strerrorname_np(-n) : "nothing could be sent");
        return;
    }
    check((size_t)n <= t->out.n_bytes);
    bufq_consume(&t->out, (size_t)n);
    t->n_out += (uint64_t)n;
    /* A full send buffer moved on: the peer takes bytes, though its answer to a PING may wait behind them for long. */
    if (t->out.n_bytes)
        t->heard_ns = worker_now(t->worker);
    tunnel_send(t);
}

/* It goes on when the worker has buffers again (worker_unstick). */
static void tunnel_stuck(struct tunnel *t) { t->stuck = t->worker->some_stuck = true; }

/* HTTP/2 -> TLS -> the socket's queue, up to its mark. False: TLS is broken. */
static bool tunnel_drain(struct tunnel *t) {
    for (;;) {
        int r = t->plain.n_bytes ? tls_session_seal_queue(t->tls, &t->plain, TUNNEL_OUT_HIGH) : TLS_DONE;
        if (r != TLS_DONE && r != TLS_WANT_OUTPUT)
            return false;
        if (r == TLS_WANT_OUTPUT || !t->h2 || t->out.n_bytes >= TUNNEL_OUT_HIGH ||
            h2_drain(t->h2, &t->plain, TUNNEL_DRAIN_BYTES) == 0)
            break;
    }
    tunnel_send(t);
    if (t->out.n_bytes == 0 && worker_pressed(t->worker) && (t->plain.n_bytes || (t->h2 && h2_wants_send(t->h2))))
        tunnel_stuck(t);
    return true;
}

/* ---- bytes in ---- */

/* Decrypts what came and feeds HTTP/2. */
static void tunnel_read(struct tunnel *t) {
    struct worker *w = t->worker;
    while (t->state == TUNNEL_OPEN) {
        const uint8_t *bytes;
        size_t n;
        int r = tls_session_open_record(t->tls, &t->reading, &bytes, &n);
        if (r == TLS_WANT_OUTPUT)
            tunnel_stuck(t);
        if (r == TLS_WANT_INPUT || r == TLS_WANT_OUTPUT)
            break;
        if (r == TLS_CLOSED) {
            tunnel_end(t, CLOSE_TUNNEL_LOST, "closed by the peer");
            break;
        }
        if (r != TLS_DONE) {
            tunnel_end(t, CLOSE_TLS_FAILED, r < 0 ? strerrorname_np(-r) : tls_session_error(t->tls));
            break;
        }
        r = h2_feed(t->h2, bytes, n, worker_now(w));
        if (r) {
            tunnel_end(t,
                       r < 0           ? CLOSE_LIMIT
                       : r == H2_FLOOD ? CLOSE_FLOOD
                                       : CLOSE_PROTOCOL_ERROR,
                       r < 0           ? "no memory for HTTP/2"
                       : r == H2_FLOOD ? "too many frames"
                                       : "HTTP/2 error");
            break;
        }
    }
    t->reading = NULL;
    if (t->state == TUNNEL_OPEN && t->out.n_bytes > TUNNEL_OUT_MAX)
        tunnel_end(t, CLOSE_FLOOD, "answers asked for and not read");
    tunnel_touch(t);
}

/* After the end was said nothing counts but that the peer ends too: to close a socket that is still sent to would
 * reset it, and take our last bytes with it. */
static void tunnel_received_late(struct tunnel *t, int n, bool more) {
    if (n < 0 && n != -ECANCELED)
        t->socket_lost = true;
    else if (n > 0 && !more)
        ring_recv(t->worker->ring, &t->recv, t->fd, true, tunnel_received);
}

static void tunnel_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct tunnel *t = container_of(op, struct tunnel, recv);
    tunnel_touch(t);
    t->peer_ended = t->peer_ended || n == 0;
    if (t->state == TUNNEL_FLUSH) {
        tunnel_received_late(t, n, more);
        return;
    }
    if (t->state != TUNNEL_HANDSHAKE && t->state != TUNNEL_OPEN)
        return;
    /* What came before the end may complete the handshake: the step judges it first, then that nothing more comes. */
    if (n == 0 && t->state == TUNNEL_HANDSHAKE && t->in.n_bytes)
        return;
    if (n <= 0) {
        if (n == 0 || n != -ECANCELED) {
            t->socket_lost = n < 0;
            tunnel_end(t, t->state == TUNNEL_OPEN ? CLOSE_TUNNEL_LOST : CLOSE_TLS_FAILED,
                       n ? strerrorname_np(-n) : "connection closed without close_notify");
        }
        return;
    }
    t->heard_ns = worker_now(t->worker);
    t->n_in += (uint64_t)n;
    if (bufq_append_shared(&t->in, ring_received_chunk(t->worker->ring), bytes, (size_t)n)) {
        tunnel_end(t, CLOSE_LIMIT, "out of buffers");
        return;
    }
    if (t->state == TUNNEL_OPEN)
        tunnel_read(t);
    else if (t->in.n_bytes > TUNNEL_IN_MAX)
        tunnel_end(t, CLOSE_TLS_FAILED, "too many bytes before the end of the handshake");
    if (!more && (t->state == TUNNEL_HANDSHAKE || t->state == TUNNEL_OPEN))
        ring_recv(t->worker->ring, &t->recv, t->fd, true, tunnel_received);
}

/* ---- handshake ---- */

static void tunnel_log(const struct tunnel *t, const char *what) {
    char peer[ENDPOINT_TEXT];
    if (log_get_level() < LOG_DEBUG)
        return;
    struct str addr = endpoint_format(&t->peer, peer);
    log_debug("tunnel", "%s tunnel %llu " STR_FMT " %s: %s%s%s, %u flows", t->server ? "inbound" : "outbound",
              (unsigned long long)t->id, STR_ARG(addr), t->peer_identity.text, what, t->why[0] ? ": " : "", t->why, t->n_legs);
}

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

static void tunnel_handshake(struct tunnel *t) {
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

/* ---- ending ---- */

void tunnel_retire(struct tunnel *t) {
    if (t->retired)
        return;
    t->retired = true;
    if (t->hop)
        hop_tunnel_left(t->hop, t);
    tunnel_touch(t);
}

void tunnel_bar(struct tunnel *t) {
    t->barred = true;
    if (t->goaway_sent && h2_drain_crossing(t->h2))
        h2_goaway(t->h2, H2_NO_ERROR);
    tunnel_retire(t);
    tunnel_touch(t);
}

/* Flows go to a hop's first tunnel that has room: the others are there for a crowd. */
static bool tunnel_is_spare(const struct tunnel *t) {
    const struct list *first = t->hop ? list_first(&t->hop->tunnels) : NULL;
    return first && first != &t->in_hop && list_entry(first, struct tunnel, in_hop)->state == TUNNEL_OPEN;
}

void tunnel_leg_gone(struct tunnel *t) {
    if (t->n_legs == 0) {
        t->idle_ns = worker_now(t->worker);
        uint64_t look_ns = t->idle_ns + TUNNEL_SPARE_NS;
        if (t->state == TUNNEL_OPEN && t->timer.due_ns > look_ns && tunnel_is_spare(t))
            ring_timer_start(t->worker->ring, &t->timer, look_ns, tunnel_timer_fired);
    }
    tunnel_touch(t);
}

static void tunnel_count_failure(struct tunnel *t) {
    if (t->state != TUNNEL_HANDSHAKE)
        return;
    counter_add(&t->worker->options.stats->handshakes_failed, 1);
    if (t->server)
        access_handshake_failed(t);
}

/* Of an open tunnel: is this what its flows end with, or is their tunnel just lost? */
static bool tunnel_says_why(const struct tunnel *t) {
    switch (t->reason) {
    case CLOSE_DRAIN:
    case CLOSE_WORKLOAD_GONE:
    case CLOSE_CERT_EXPIRED:
    case CLOSE_CERT_REVOKED:
    case CLOSE_TRUST_CHANGED:
        return true;
    default:
        return false;
    }
}

/* Its flows learn that their stream is gone; the HTTP/2 session learns that nobody listens any more. */
static void tunnel_fail_legs(struct tunnel *t, bool was_open) {
    list_for_each (it, &t->legs) {
        struct leg *l = list_entry(it, struct leg, stream.link);
        if (l->stream.id && !l->stream.gone)
            h2_stream_forget(t->h2, l->stream.id);
        l->stream.gone = true;
        if (l->closing || (l->read_ended && l->write_ended)) /* the stream was over; its last bytes are still on their way */
            continue;
        if (t->why[0])
            facts_set(flow_facts(leg_flow(l)), FACT_DETAIL, str_of(t->why));
        leg_fail(l, was_open && !tunnel_says_why(t) ? CLOSE_TUNNEL_LOST : t->reason, 0);
    }
}

void tunnel_end(struct tunnel *t, enum close_reason reason, const char *why) {
    if (t->state == TUNNEL_FLUSH || t->state == TUNNEL_JOIN)
        return;
    t->reason = reason;
    if (why && why[0]) {
        struct text text = TEXT_OVER(t->why);
        text_add(&text, str_of(why));
    }
    tunnel_count_failure(t);
    tunnel_log(t, close_reason_word(reason));
    bool was_open = t->state == TUNNEL_OPEN;
    if (t->hop) {
        if (!was_open && reason != CLOSE_DRAIN && reason != CLOSE_WORKLOAD_GONE)
            hop_tunnel_failed(t->hop, reason);
        hop_tunnel_left(t->hop, t);
    }
    t->retired = true;
    list_unlink(&t->parked);
    tunnel_fail_legs(t, was_open);
    tunnel_set_state(t, t->tls && !t->socket_lost ? TUNNEL_FLUSH : TUNNEL_JOIN);
    tunnel_touch(t);
}

static uint32_t tunnel_h2_error(const struct tunnel *t) {
    switch (t->reason) {
    case CLOSE_PROTOCOL_ERROR:
        return H2_PROTOCOL_ERROR;
    case CLOSE_FLOOD:
        return H2_ENHANCE_YOUR_CALM;
    case CLOSE_INTERNAL:
    case CLOSE_LIMIT:
        return H2_INTERNAL_ERROR;
    default:
        return H2_NO_ERROR;
    }
}

static void tunnel_say_goodbye(struct tunnel *t) {
    if (t->goaway_sent || !t->h2)
        return;
    t->goaway_sent = true;
    t->goaway_ns = worker_now(t->worker);
    h2_goaway(t->h2, tunnel_h2_error(t));
    if (t->barred && h2_drain_crossing(t->h2))
        h2_goaway(t->h2, H2_NO_ERROR);
    else if (t->state == TUNNEL_OPEN && h2_drain_crossing(t->h2))
        ring_timer_start(t->worker->ring, &t->timer, t->goaway_ns + TUNNEL_CROSSING_NS, tunnel_timer_fired);
}

static void tunnel_shut(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct tunnel *t = container_of(op, struct tunnel, control);
    if (n < 0)
        t->socket_lost = true;
    tunnel_touch(t);
}

void tunnel_cut(struct tunnel *t) {
    tunnel_end(t, CLOSE_DRAIN, NULL);
    if (t->state == TUNNEL_FLUSH)
        ring_timer_start(t->worker->ring, &t->timer, worker_now(t->worker) + TUNNEL_CUT_NS, tunnel_timer_fired);
}

/* All is said: FIN, then the peer may take its time to read it and to end as well. */
static void tunnel_linger(struct tunnel *t) {
    struct ring *r = t->worker->ring;
    if (t->shut || ring_op_busy(&t->send) || ring_op_busy(&t->control))
        return;
    t->shut = true;
    ring_shutdown_write(r, &t->control, t->fd, tunnel_shut);
    bool orderly = t->reason == CLOSE_FINISHED || t->reason == CLOSE_IDLE || t->reason == CLOSE_DRAIN;
    bool carried_lately = worker_now(t->worker) - t->idle_ns < TUNNEL_LINGER_NS; /* else nothing is on its way any more */
    if (orderly && carried_lately && !t->worker->drain_passed)
        ring_timer_start(r, &t->timer, worker_now(t->worker) + TUNNEL_LINGER_NS, tunnel_timer_fired);
}

/* GOAWAY, alert and close_notify go out as far as the peer takes them. */
static void tunnel_flush_step(struct tunnel *t) {
    tunnel_say_goodbye(t);
    bool sound = tunnel_drain(t);
    if (sound && t->plain.n_bytes == 0 && t->out.n_bytes < TUNNEL_OUT_HIGH && !t->close_sent) {
        t->close_sent = true;
        if (t->h2)
            ignore_result(tls_session_close(t->tls)); /* a broken session has nothing to say */
    }
    tunnel_send(t);
    bool said = (t->close_sent || !sound) && t->out.n_bytes == 0;
    if (t->socket_lost || (said && t->peer_ended)) {
        tunnel_set_state(t, TUNNEL_JOIN);
        tunnel_touch(t);
    } else if (said)
        tunnel_linger(t);
}

static void tunnel_socket_closed(struct ring_op *op, int n unused_arg, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct tunnel *t = container_of(op, struct tunnel, control);
    t->closed = true;
    tunnel_touch(t);
}

static void tunnel_release(struct tunnel *t) {
    struct worker *w = t->worker;
    struct pod *pod = t->pod;
    ring_timer_stop(w->ring, &t->timer);
    t->h2 = h2_free(t->h2);
    t->tls = tls_session_free(t->tls);
    bufq_deinit(&t->in);
    bufq_deinit(&t->out);
    bufq_deinit(&t->plain);
    list_unlink(&t->in_worker);
    list_unlink(&t->touched);
    list_unlink(&t->parked);
    pool_release(w->tunnels, t);
    check(pod->n_tunnels > 0);
    pod->n_tunnels--;
    pod_settle(pod);
}

static void tunnel_join_step(struct tunnel *t) {
    struct ring *r = t->worker->ring;
    ring_cancel(r, &t->recv);
    ring_cancel(r, &t->send);
    if (!t->closed)
        ring_cancel(r, &t->control);
    if (ring_op_busy(&t->recv) || ring_op_busy(&t->send) || ring_op_busy(&t->control))
        return;
    if (!t->closed)
        ring_close(r, &t->control, t->fd, tunnel_socket_closed);
    else if (t->n_legs == 0)
        tunnel_release(t);
}

/* ---- time ---- */

static uint64_t tunnel_crossing_rest(struct tunnel *t) {
    uint64_t passed_ns = worker_now(t->worker) - t->goaway_ns;
    if (passed_ns < TUNNEL_CROSSING_NS)
        return TUNNEL_CROSSING_NS - passed_ns;
    h2_goaway(t->h2, H2_NO_ERROR);
    tunnel_touch(t);
    return TUNNEL_TICK_NS;
}

static void tunnel_tick(struct tunnel *t) {
    struct worker *w = t->worker;
    uint64_t now = worker_now(w);
    uint64_t idle_max = tunnel_is_spare(t) ? TUNNEL_SPARE_NS
                        : !t->server       ? TUNNEL_IDLE_NS
                        : t->had_request   ? PEER_IDLE_NS
                                           : FIRST_REQUEST_NS;
    int64_t past_s = clock_wall_s() - t->cert_end_s;
    if (past_s >= TUNNEL_PAST_CERT_S) {
        tunnel_end(t, CLOSE_CERT_EXPIRED, NULL);
        return;
    }
    if (past_s >= 0)
        tunnel_retire(t);
    if (t->n_legs == 0 && now - t->idle_ns >= idle_max) {
        tunnel_end(t, CLOSE_IDLE, NULL);
        return;
    }
    bool asked = t->ping_ns > t->heard_ns;
    if (asked && now - t->ping_ns >= TUNNEL_DEAD_NS) {
        t->socket_lost = true;
        tunnel_end(t, CLOSE_TUNNEL_LOST, "no answer to PING");
    } else if (!asked && now - t->heard_ns >= TUNNEL_TICK_NS) {
        t->ping_ns = now;
        h2_ping(t->h2, now);
        tunnel_touch(t);
    }
    /* Silence is counted from the last byte heard; at the latest the next tick looks at the other limits. */
    uint64_t silent_ns = now - max_of(t->heard_ns, t->ping_ns);
    uint64_t rest_ns = silent_ns < TUNNEL_TICK_NS ? TUNNEL_TICK_NS - silent_ns : TUNNEL_TICK_NS;
    if (h2_drain_crossing(t->h2)) /* a peer may not put it off for ever */
        rest_ns = min_of(rest_ns, tunnel_crossing_rest(t));
    if (past_s < 0) /* a GOAWAY on time spares the peer a refused request */
        rest_ns = min_of(rest_ns, (uint64_t)min_of(-past_s, (int64_t)3600) * NS_PER_S);
    ring_timer_start(w->ring, &t->timer, now + rest_ns, tunnel_timer_fired);
}

static void tunnel_timer_fired(struct ring_timer *timer) {
    struct tunnel *t = container_of(timer, struct tunnel, timer);
    switch ((enum tunnel_state)t->state) {
    case TUNNEL_PARKED:
        tunnel_end(t, CLOSE_NO_IDENTITY, t->pod->slot->why);
        break;
    case TUNNEL_CONNECT:
        tunnel_end(t, CLOSE_CONNECT_TIMEOUT, "the peer node did not accept in time");
        break;
    case TUNNEL_HANDSHAKE:
        tunnel_end(t, CLOSE_HANDSHAKE_TIMEOUT, "the handshake did not end in time");
        break;
    case TUNNEL_OPEN:
        tunnel_tick(t);
        break;
    case TUNNEL_FLUSH:
        tunnel_set_state(t, TUNNEL_JOIN);
        tunnel_touch(t);
        break;
    case TUNNEL_NEW:
    case TUNNEL_JOIN:
    case _TUNNEL_STATE_MAX:
        break;
    }
}

/* ---- the one step ---- */

/* Flows whose streams are over go by themselves, and their last bytes must get out: that is no loss. */
static bool tunnel_has_stream(const struct tunnel *t) {
    list_for_each (it, &t->legs)
        if (!list_entry(it, struct leg, stream.link)->stream.gone)
            return true;
    return false;
}

/* Not by its step: what finds no buffer again would be stepped again at once, for ever. */
void tunnel_unstick(struct tunnel *t) {
    t->stuck = false;
    if (t->state == TUNNEL_OPEN)
        tunnel_read(t);
    tunnel_touch(t);
}

static void tunnel_open_step(struct tunnel *t) {
    if (t->retired && (t->server || t->n_legs == 0))
        tunnel_say_goodbye(t);
    if (!tunnel_drain(t)) {
        tunnel_end(t, CLOSE_TLS_FAILED, tls_session_error(t->tls));
        return;
    }
    /* What the peer asked for before it heard is carried: a rotation loses no request. */
    if (t->n_legs == 0 && h2_drain_crossing(t->h2))
        return;
    /* Its last flows' last bytes may take their time; FLUSH would not wait for a slow reader. */
    if (t->n_legs == 0 && (t->out.n_bytes || t->plain.n_bytes))
        return;
    if (t->n_legs == 0 && (t->retired || h2_finished(t->h2)))
        tunnel_end(t, t->worker->draining ? CLOSE_DRAIN : CLOSE_FINISHED, NULL);
    else if (h2_finished(t->h2) && tunnel_has_stream(t))
        tunnel_end(t, CLOSE_TUNNEL_LOST, "HTTP/2 session over"); /* a flood of resets that we were made to send, too */
}

void tunnel_step(struct tunnel *t) {
    check_pooled(t, TUNNEL_MAGIC);
    switch ((enum tunnel_state)t->state) {
    case TUNNEL_NEW:
    case TUNNEL_CONNECT:
        break;
    case TUNNEL_PARKED:
        tunnel_serve(t);
        break;
    case TUNNEL_HANDSHAKE:
        tunnel_handshake(t);
        break;
    case TUNNEL_OPEN:
        tunnel_open_step(t);
        break;
    case TUNNEL_FLUSH:
        tunnel_flush_step(t);
        break;
    case TUNNEL_JOIN:
        tunnel_join_step(t);
        break;
    case _TUNNEL_STATE_MAX:
        unreachable_because("no such state");
    }
}
