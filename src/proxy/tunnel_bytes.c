/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel_bytes.c - the way of bytes through a tunnel: socket, TLS, HTTP/2, and back
 *
 * Reading never stops while a tunnel lives: what a peer may send is bounded by stream windows, so a stopped reader holds
 * only its own stream. Writing is drained from HTTP/2 only while the ciphertext queue is below its mark. */
#include <errno.h>

#include <ringwall/base/check.h>

#include "tunnel_parts.h"
#include "worker.h"

/* ---- bytes out ---- */

static void tunnel_sent(struct ring_op *op, int n, const uint8_t *bytes, bool more);

void tunnel_send(struct tunnel *t) {
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

void tunnel_stuck(struct tunnel *t) { t->stuck = t->worker->some_stuck = true; }

bool tunnel_drain(struct tunnel *t) {
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

void tunnel_read(struct tunnel *t) {
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

static void tunnel_received(struct ring_op *op, int n, const uint8_t *bytes, bool more);

void tunnel_listen(struct tunnel *t) { ring_recv(t->worker->ring, &t->recv, t->fd, true, tunnel_received); }

/* After the end was said nothing counts but that the peer ends too: to close a socket that is still sent to would
 * reset it, and take our last bytes with it. One that sends on and on is reset. */
static void tunnel_received_late(struct tunnel *t, int n, bool more) {
    t->n_late += (uint32_t)max_of(n, 0);
    if ((n < 0 && n != -ECANCELED) || t->n_late > TUNNEL_LATE_BYTES)
        t->socket_lost = true;
    else if (n > 0 && !more)
        tunnel_listen(t);
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
        tunnel_listen(t);
}
