/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/mini_relay.c - see mini_relay.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

#include "mini_relay.h"

enum { HIGH = 16 * 1024, LOW = 4 * 1024, QUEUE_MAX = 512 * 1024, ACCEPT_PAUSE_MS = 10, CONNECT_S = 10 };

struct relay;
struct leg {
    struct relay *relay;
    struct leg *other;
    struct ring_op recv, send, control;
    int fd;
    bool fin_in, shut, closed;
    uint8_t *queue; /* QUEUE_MAX bytes towards this leg's socket */
    size_t at, n;
    size_t sending;
    struct iovec iov[2];
};
struct relay {
    struct list all;
    struct mini *mini;
    struct leg legs[2];
    struct ring_timer patience;
    bool connected, broken;
};
struct mini {
    struct ring *ring;
    int listen_fd;
    struct endpoint to;
    struct ring_op accept;
    struct ring_timer again;
    bool stopping;
    struct list relays;
    struct mini_stats stats;
};

static void step(struct relay *r);

static bool leg_busy(const struct leg *l) { return ring_op_busy(&l->recv) || ring_op_busy(&l->send) || ring_op_busy(&l->control); }

static void received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct leg *l = container_of(op, struct leg, recv), *to = l->other;
    struct relay *r = l->relay;
    if (n > 0) {
        check(bytes && to->n + (size_t)n <= QUEUE_MAX && !l->fin_in);
        if (to->at + to->n + (size_t)n > QUEUE_MAX && !to->sending) {
            memmove(to->queue, to->queue + to->at, to->n);
            to->at = 0;
        }
        check(to->at + to->n + (size_t)n <= QUEUE_MAX);
        memcpy(to->queue + to->at + to->n, bytes, (size_t)n);
        to->n += (size_t)n;
        r->mini->stats.queue_bytes_max = max_of(r->mini->stats.queue_bytes_max, to->n);
    } else if (n == 0) {
        check(!more);
        l->fin_in = true;
    } else if (n != -ECANCELED) {
        r->broken = true;
    }
    step(r);
}

static void sent(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct leg *l = container_of(op, struct leg, send);
    check(!more);
    l->sending = 0;
    if (n >= 0) {
        check((size_t)n <= l->n);
        l->at = l->n == (size_t)n ? 0 : l->at + (size_t)n;
        l->n -= (size_t)n;
    } else if (n != -ECANCELED) {
        l->relay->broken = true;
    }
    step(l->relay);
}

static void controlled(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct leg *l = container_of(op, struct leg, control);
    if (n < 0)
        l->relay->broken = true;
    step(l->relay);
}

static void closed(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct leg *l = container_of(op, struct leg, control);
    struct relay *r = l->relay;
    check(n == 0 && !more);
    l->closed = true;
    if (!r->legs[0].closed || !r->legs[1].closed)
        return;
    struct mini *m = r->mini;
    *(r->broken ? &m->stats.n_ended_broken : &m->stats.n_ended_orderly) += 1;
    ring_timer_stop(m->ring, &r->patience);
    list_unlink(&r->all);
    free(r->legs[0].queue);
    free(r->legs[1].queue);
    memset(r, 0xdb, sizeof(*r));
    free(r);
}

static void end(struct relay *r) {
    for (unsigned i = 0; i < 2; i++) {
        struct leg *l = &r->legs[i];
        if (r->broken) {
            ring_cancel(r->mini->ring, &l->recv);
            ring_cancel(r->mini->ring, &l->send);
            ring_cancel(r->mini->ring, &l->control);
        }
    }
    if (leg_busy(&r->legs[0]) || leg_busy(&r->legs[1]))
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct leg *l = &r->legs[i];
        if (r->broken)
            ring_socket_abort_on_close(r->mini->ring, l->fd, true);
        ring_close(r->mini->ring, &l->control, l->fd, closed);
    }
}

static void step_leg(struct leg *l) {
    struct ring *ring = l->relay->mini->ring;
    struct leg *to = l->other;
    if (!ring_op_busy(&l->recv) && !l->fin_in && to->n < LOW)
        ring_recv(ring, &l->recv, l->fd, true, received);
    else if (to->n > HIGH)
        ring_cancel(ring, &l->recv);
    if (!ring_op_busy(&l->send) && l->n) {
        size_t half = l->n / 2;
        l->iov[0] = (struct iovec){l->queue + l->at, half};
        l->iov[1] = (struct iovec){l->queue + l->at + half, l->n - half};
        l->sending = l->n;
        ring_send(ring, &l->send, l->fd, l->iov, 2, sent);
    } else if (!l->n && to->fin_in && !l->shut && !ring_op_busy(&l->send)) {
        l->shut = true;
        ring_shutdown_write(ring, &l->control, l->fd, controlled);
    }
}

static void step(struct relay *r) {
    bool over = r->legs[0].shut && r->legs[1].shut && !leg_busy(&r->legs[0]) && !leg_busy(&r->legs[1]);
    if (r->broken || over) {
        end(r);
    } else if (r->connected) {
        step_leg(&r->legs[0]);
        step_leg(&r->legs[1]);
    }
}

static void connected(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct leg *l = container_of(op, struct leg, control);
    ring_timer_stop(l->relay->mini->ring, &l->relay->patience);
    l->relay->connected = n == 0;
    l->relay->broken = l->relay->broken || n < 0;
    step(l->relay);
}

static void impatient(struct ring_timer *t) {
    struct relay *r = container_of(t, struct relay, patience);
    r->broken = true;
    step(r);
}

static void begin(struct mini *m, int fd) {
    struct ring_socket_spec spec = {.netns_fd = -1};
    int out = -1;
    m->stats.n_accepted++;
    if (ring_socket(m->ring, &spec, &out) < 0) {
        m->stats.n_no_socket++;
        ring_socket_abort_on_close(m->ring, fd, true);
        fd_close(fd);
        return;
    }
    struct relay *r = calloc(1, sizeof(*r));
    check(r);
    r->mini = m;
    list_push_back(&m->relays, &r->all);
    for (unsigned i = 0; i < 2; i++) {
        r->legs[i] = (struct leg){.relay = r, .other = &r->legs[1 - i], .fd = i ? out : fd, .queue = malloc(QUEUE_MAX)};
        check(r->legs[i].queue);
    }
    ring_socket_tune(m->ring, fd);
    ring_timer_start(m->ring, &r->patience, ring_now_ns(m->ring) + CONNECT_S * NS_PER_S, impatient);
    ring_connect(m->ring, &r->legs[1].control, out, &m->to, false, connected);
}

static void accepted(struct ring_op *op, int n, const uint8_t *bytes, bool more);
static void accept_again(struct ring_timer *t) {
    struct mini *m = container_of(t, struct mini, again);
    ring_accept(m->ring, &m->accept, m->listen_fd, accepted);
}
static void accepted(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct mini *m = container_of(op, struct mini, accept);
    if (n >= 0)
        begin(m, n);
    else if (n != -ECANCELED)
        m->stats.n_accept_errors++;
    if (!more && !m->stopping)
        ring_timer_start(m->ring, &m->again, ring_now_ns(m->ring) + ACCEPT_PAUSE_MS * NS_PER_MS, accept_again);
}

struct mini *mini_new(struct ring *r, int listen_fd, const struct endpoint *to) {
    struct mini *m = calloc(1, sizeof(*m));
    check(m);
    *m = (struct mini){.ring = r, .listen_fd = listen_fd, .to = *to};
    list_init(&m->relays);
    ring_accept(r, &m->accept, listen_fd, accepted);
    return m;
}

void mini_stop(struct mini *m) {
    m->stopping = true;
    ring_timer_stop(m->ring, &m->again);
    ring_cancel(m->ring, &m->accept);
}
bool mini_stopped(const struct mini *m) { return m->stopping && !ring_op_busy(&m->accept) && list_empty(&m->relays); }
struct mini_stats mini_stats(const struct mini *m) {
    return m->stats;
}
struct mini *mini_free(struct mini *m) {
    if (m)
        check(mini_stopped(m));
    free(m);
    return NULL;
}
