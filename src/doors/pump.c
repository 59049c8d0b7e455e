/* SPDX-License-Identifier: GPL-3.0-or-later
 * pump.c - see pump.h */
#include "pump.h"

#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

static void pump_received(struct ring_op *op, int n, const uint8_t *bytes, bool more);

int pump_start(struct pump *p, struct ring *ring, int fd, const struct pump_machine *m, void *owner) {
    *p = (struct pump){.ring = ring, .fd = fd, .machine = m, .owner = owner, .heard_ns = ring_now_ns(ring)};
    int r = secret_new(&p->out, PUMP_OUT_BYTES);
    if (r < 0) {
        p->fd = fd_close(p->fd);
        return err_trace(r);
    }
    ring_recv(ring, &p->recv, fd, true, pump_received);
    return 0;
}

/* Closed, once the kernel has let go of both operations. */
static void pump_settle(struct pump *p) {
    if (!p->closing || p->is_gone || ring_op_busy(&p->recv) || ring_op_busy(&p->send))
        return;
    p->is_gone = true;
    p->fd = fd_close(p->fd);
    secret_deinit(&p->out);
    p->machine->gone(p->owner);
}

void pump_close(struct pump *p) {
    if (p->closing)
        return;
    p->closing = true;
    ring_cancel(p->ring, &p->recv);
    ring_cancel(p->ring, &p->send);
    pump_settle(p);
}

static void pump_sent(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct pump *p = container_of(op, struct pump, send);
    if (n > 0) {
        check((size_t)n <= p->out_n - p->out_at);
        p->out_at += (size_t)n;
        p->send_ns = ring_now_ns(p->ring);
    }
    if (n <= 0 || p->closing) {
        pump_close(p);
        pump_settle(p);
        return;
    }
    pump_flush(p);
}

static void pump_send(struct pump *p) {
    p->sending = (struct iovec){p->out.at + p->out_at, p->out_n - p->out_at};
    ring_send(p->ring, &p->send, p->fd, &p->sending, 1, pump_sent);
}

void pump_flush(struct pump *p) {
    if (p->closing || p->inside || ring_op_busy(&p->send))
        return;
    if (p->out_at < p->out_n) {
        pump_send(p);
        return;
    }
    secret_wipe(p->out.at, p->out_n);
    p->out_at = 0;
    p->inside = true;
    p->out_n = p->machine->drain(p->owner, p->out.at, p->out.n);
    p->inside = false;
    if (p->out_n > 0) {
        p->send_ns = ring_now_ns(p->ring);
        pump_send(p);
    } else if (p->last_words || p->machine->finished(p->owner)) {
        pump_close(p);
    }
}

static void pump_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct pump *p = container_of(op, struct pump, recv);
    if (n > 0 && !p->closing && !p->last_words) {
        p->heard_ns = ring_now_ns(p->ring);
        p->inside = true;
        p->last_words = p->machine->feed(p->owner, bytes, (size_t)n, p->heard_ns) != 0;
        p->inside = false;
    }
    if (n <= 0)
        pump_close(p);
    else if (!more && !p->closing)
        ring_recv(p->ring, &p->recv, p->fd, true, pump_received);
    pump_flush(p);
    pump_settle(p);
}

uint64_t pump_stalled_ns(const struct pump *p, uint64_t now_ns) {
    return ring_op_busy(&p->send) && now_ns > p->send_ns ? now_ns - p->send_ns : 0;
}
