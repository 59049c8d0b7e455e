/* SPDX-License-Identifier: GPL-3.0-or-later
 * leg.c - sockets and streams behind one face: read, write, fail, close
 *
 * Invariant: a TCP leg's `out` is only consumed by its send's callback, so bytes given to the kernel stay in place. */
#include "leg.h"

#include <errno.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/hbone.h>

#include "flow.h"
#include "relay.h"
#include "tunnel.h"
#include "worker.h"

struct flow *leg_flow(struct leg *l) {
    return container_of(l - l->index, struct flow, legs[0]);
}

static struct ring *leg_ring(struct leg *l) { return leg_flow(l)->worker->ring; }

void leg_tcp_init(struct leg *l, int fd, bool connected) {
    check(l->kind == LEG_NONE && fd >= 0);
    l->kind = LEG_TCP;
    l->tcp.fd = fd;
    l->tcp.connected = connected;
    l->tcp.closed = false;
    l->tcp.recv = l->tcp.send = RING_OP_NULL;
    /* Until its end is known to be orderly: a daemon that is killed must not make a cut stream look whole. */
    ring_socket_abort_on_close(leg_ring(l), fd, true);
}

void leg_stream_init(struct leg *l, struct tunnel *t) {
    check(l->kind == LEG_NONE);
    l->kind = LEG_STREAM;
    memset(&l->stream, 0, sizeof(l->stream));
    l->stream.tunnel = t;
    list_push_back(&t->legs, &l->stream.link);
    t->n_legs++;
    t->n_flows_total++;
}

void leg_detach(struct leg *l) {
    if (!leg_is_stream(l))
        return;
    struct tunnel *t = take_ptr(l->stream.tunnel);
    if (t) {
        if (l->stream.id && !l->stream.gone)
            h2_stream_forget(t->h2, l->stream.id);
        list_unlink(&l->stream.link);
        check(t->n_legs > 0);
        t->n_legs--;
        tunnel_leg_gone(t);
    }
    l->kind = LEG_NONE;
}

void leg_fail(struct leg *l, enum close_reason why, int error) {
    if (!l->failed) {
        l->failed = true;
        l->failure = why;
        l->error = error;
    }
    flow_touch(leg_flow(l));
}

static void leg_socket_failed(struct leg *l, int error) {
    leg_fail(l, l->index == LEG_CLIENT ? CLOSE_CLIENT_RESET : CLOSE_SERVER_RESET, error);
}

static void leg_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct leg *l = container_of(op, struct leg, tcp.recv);
    if (l->closing) {
        flow_touch(leg_flow(l));
        return;
    }
    if (n > 0)
        relay_arrived(l, ring_received_chunk(leg_ring(l)), bytes, (size_t)n);
    else if (n == 0) {
        /* The kernel tells a reset once; when the send heard of it, the receive says end of stream. That is no end. */
        l->read_ended = !l->failed;
        flow_touch(leg_flow(l));
    } else if (n != -ECANCELED) /* cancelled: by ourselves, to slow the application down */
        leg_socket_failed(l, -n);
    if (!more)
        flow_touch(leg_flow(l)); /* arms it again, if it is still wanted */
}

void leg_read_update(struct leg *l) {
    if (!leg_is_tcp(l) || l->closing || !l->tcp.connected || l->read_ended)
        return;
    bool wanted = l->reading && !l->failed;
    if (!wanted)
        ring_cancel(leg_ring(l), &l->tcp.recv);
    else if (!ring_op_busy(&l->tcp.recv))
        ring_recv(leg_ring(l), &l->tcp.recv, l->tcp.fd, true, leg_received);
}

/* When we ended too, it is over in good order, and the kernel's business. */
static void leg_hung_up(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct leg *l = container_of(op, struct leg, tcp.recv);
    if (!l->closing && n > 0 && !l->write_ended && l->tcp.send.kind != RING_SHUTDOWN)
        leg_socket_failed(l, ECONNRESET);
    flow_touch(leg_flow(l));
}

void leg_watch(struct leg *l) {
    if (leg_is_tcp(l) && l->read_ended && !l->write_ended && !l->failed && !l->closing && !ring_op_busy(&l->tcp.recv))
        ring_watch_hangup(leg_ring(l), &l->tcp.recv, l->tcp.fd, leg_hung_up);
}

static void leg_sent(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct leg *l = container_of(op, struct leg, tcp.send);
    if (l->closing) {
        flow_touch(leg_flow(l));
        return;
    }
    if (n <= 0) {
        leg_socket_failed(l, n < 0 ? -n : EPIPE);
        return;
    }
    check((size_t)n <= l->out.n_bytes);
    bufq_consume(&l->out, (size_t)n);
    relay_sent(l, (size_t)n);
    leg_write(l);
}

static void leg_shut(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct leg *l = container_of(op, struct leg, tcp.send);
    if (!l->closing && n < 0)
        leg_socket_failed(l, -n);
    else if (!l->closing)
        l->write_ended = true;
    flow_touch(leg_flow(l));
}

static void leg_write_socket(struct leg *l) {
    if (!l->tcp.connected || ring_op_busy(&l->tcp.send) || l->write_ended)
        return;
    if (l->out.n_bytes) {
        ring_send_queue(leg_ring(l), &l->tcp.send, l->tcp.fd, &l->out, leg_sent);
    } else if (l->end_wanted)
        ring_shutdown_write(leg_ring(l), &l->tcp.send, l->tcp.fd, leg_shut);
}

void leg_write(struct leg *l) {
    if (l->closing || l->failed)
        return;
    if (leg_is_tcp(l))
        leg_write_socket(l);
    else if (leg_is_stream(l) && l->stream.answered && !l->stream.gone && !l->stream.awake && !l->write_ended &&
             (l->out.n_bytes || l->end_wanted)) {
        l->stream.awake = true;
        h2_stream_ready(l->stream.tunnel->h2, l->stream.id);
        tunnel_touch(l->stream.tunnel);
    }
}

static void leg_connected(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct leg *l = container_of(op, struct leg, tcp.send);
    struct flow *f = leg_flow(l);
    if (l->closing) {
        flow_touch(f);
        return;
    }
    l->tcp.connected = n >= 0;
    flow_connected(f, l, n);
}

void leg_connect(struct leg *l, const struct endpoint *to, bool as_v6) {
    check(leg_is_tcp(l) && !l->tcp.connected);
    ring_connect(leg_ring(l), &l->tcp.send, l->tcp.fd, to, as_v6, leg_connected);
}

/* What a stream gets when its flow ends: the refusal that its request still waits for, or a reset, or nothing when both
 * directions are over. */
static void leg_close_stream(struct leg *l, bool abort) {
    struct tunnel *t = l->stream.tunnel;
    struct flow *f = leg_flow(l);
    if (!t || !l->stream.id || l->stream.gone)
        return;
    if (t->server && !l->stream.answered) {
        struct hbone_headers h;
        unsigned status = close_reason_status(f->reason);
        hbone_create_response(status ? (enum hbone_status)status : HBONE_UNAVAILABLE, close_reason_word(f->reason), &h);
        ignore_result(h2_refuse(t->h2, l->stream.id, h.items, h.n)); /* gone meanwhile: nobody waits for the answer */
    } else if (abort || !l->read_ended || !l->write_ended) {
        /* RFC 9113 8.5: a TCP reset is CONNECT_ERROR; a request given up before its answer is CANCEL. */
        h2_stream_reset(t->h2, l->stream.id, l->stream.answered ? H2_CONNECT_ERROR : H2_CANCEL);
    }
    tunnel_touch(t);
}

void leg_close(struct leg *l, bool abort) {
    if (l->closing)
        return;
    l->closing = true;
    l->aborting = abort;
    if (leg_is_stream(l)) {
        leg_close_stream(l, abort);
    } else if (leg_is_tcp(l)) {
        struct ring *r = leg_ring(l);
        ring_cancel(r, &l->tcp.recv);
        ring_cancel(r, &l->tcp.send);
    }
    flow_touch(leg_flow(l));
}

static void leg_socket_closed(struct ring_op *op, int n unused_arg, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct leg *l = container_of(op, struct leg, tcp.send);
    l->tcp.closed = true;
    flow_touch(leg_flow(l));
}

bool leg_closed(struct leg *l) {
    check(l->closing);
    if (leg_is_tcp(l)) {
        if (ring_op_busy(&l->tcp.recv) || ring_op_busy(&l->tcp.send))
            return false;
        bufq_deinit(&l->out);
        if (!l->tcp.closed) {
            if (!l->aborting)
                ring_socket_abort_on_close(leg_ring(l), l->tcp.fd, false);
            ring_close(leg_ring(l), &l->tcp.send, l->tcp.fd, leg_socket_closed);
            return false;
        }
        l->kind = LEG_NONE;
    } else {
        bufq_deinit(&l->out);
        leg_detach(l);
    }
    return true;
}
