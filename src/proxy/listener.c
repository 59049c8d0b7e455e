/* SPDX-License-Identifier: GPL-3.0-or-later
 * listener.c - accept, and hand the socket to the way it came by
 *
 * Without descriptors or memory accepting pauses for a moment and is counted: a loop that fails at once would eat the
 * CPU that could free something. */
#include <errno.h>
#include <unistd.h>

#include <ringwall/base/check.h>

#include "pod.h"
#include "tunnel.h"
#include "ways.h"
#include "worker.h"

/* A descriptor that nobody wants, until its close is done. */
struct reject {
    struct pooled pooled;
    struct worker *worker;
    struct ring_op op;
};

static void rejected(struct ring_op *op, int n unused_arg, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct reject *x = container_of(op, struct reject, op);
    pool_release(x->worker->rejects, x);
}

void socket_reject(struct worker *w, int fd) {
    ring_socket_abort_on_close(w->ring, fd, true);
    struct reject *x = pool_acquire(w->rejects);
    if (!x) { /* more than one turn can bring: better a system call here than a descriptor lost */
        close(fd);
        return;
    }
    x->worker = w;
    ring_close(w->ring, &x->op, fd, rejected);
}

static void listener_take(struct listener *l, int fd) {
    struct worker *w = l->pod->worker;
    if (l->closing || w->draining) {
        socket_reject(w, fd);
        return;
    }
    switch (l->kind) {
    case CAPTURE_OUTBOUND4:
    case CAPTURE_OUTBOUND6:
        outbound_accepted(l->pod, fd);
        break;
    case CAPTURE_INBOUND:
        passthrough_accepted(l->pod, fd);
        break;
    case CAPTURE_HBONE:
        tunnel_accepted(l->pod, fd);
        break;
    case _CAPTURE_LISTENER_MAX:
        unreachable_because("no such listener");
    }
}

static void listener_closed(struct ring_op *op, int n unused_arg, const uint8_t *bytes unused_arg, bool more unused_arg) {
    struct listener *l = container_of(op, struct listener, close);
    l->fd = -1;
    pod_settle(l->pod);
}

static void listener_close(struct listener *l) {
    if (l->fd >= 0 && !ring_op_busy(&l->accept) && !ring_op_busy(&l->close))
        ring_close(l->pod->worker->ring, &l->close, l->fd, listener_closed);
}

static void listener_pause_over(struct ring_timer *t) { listener_start(container_of(t, struct listener, pause)); }

static void listener_accepted(struct ring_op *op, int n, const uint8_t *bytes unused_arg, bool more) {
    struct listener *l = container_of(op, struct listener, accept);
    struct worker *w = l->pod->worker;
    if (n >= 0)
        listener_take(l, n);
    else if (!l->closing)
        counter_add(&w->options.stats->accept_failed, 1);
    if (more)
        return;
    if (l->closing)
        listener_close(l);
    else if (n >= 0 || n == -ECONNABORTED || n == -EINTR)
        listener_start(l);
    else
        ring_timer_start(w->ring, &l->pause, worker_now(w) + ACCEPT_PAUSE_NS, listener_pause_over);
}

void listener_start(struct listener *l) {
    if (l->fd >= 0 && !l->closing && !ring_op_busy(&l->accept))
        ring_accept(l->pod->worker->ring, &l->accept, l->fd, listener_accepted);
}

void listener_stop(struct listener *l) {
    struct ring *r = l->pod->worker->ring;
    l->closing = true;
    ring_timer_stop(r, &l->pause);
    ring_cancel(r, &l->accept);
    listener_close(l);
}

bool listener_idle(const struct listener *l) { return l->fd < 0 && !ring_op_busy(&l->accept) && !ring_op_busy(&l->close); }
