/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel_end.c - a tunnel from its last new flow to its last byte: retire, end, flush, join */
#include <ringwall/base/check.h>

#include "access.h"
#include "hop.h"
#include "pod.h"
#include "tunnel_parts.h"
#include "worker.h"

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

void tunnel_say_goodbye(struct tunnel *t) {
    if (t->goaway_sent || !t->h2)
        return;
    t->goaway_sent = true;
    t->goaway_ns = worker_now(t->worker);
    h2_goaway(t->h2, tunnel_h2_error(t));
    if (t->barred && h2_drain_crossing(t->h2))
        h2_goaway(t->h2, H2_NO_ERROR);
    else if (t->state == TUNNEL_OPEN && h2_drain_crossing(t->h2))
        tunnel_look_at(t, t->goaway_ns + TUNNEL_CROSSING_NS);
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
        tunnel_look_at(t, worker_now(t->worker) + TUNNEL_CUT_NS);
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
        tunnel_look_at(t, worker_now(t->worker) + TUNNEL_LINGER_NS);
}

/* GOAWAY, alert and close_notify go out as far as the peer takes them. */
void tunnel_flush_step(struct tunnel *t) {
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

void tunnel_join_step(struct tunnel *t) {
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
