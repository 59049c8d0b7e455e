/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/sim_ops.c - what the kernel would do for an op: begin it, serve it when the socket allows, cancel it */
#include <poll.h>

#include "sim_private.h"

static void go_on(struct ring_timer *t) {
    struct pending *p = container_of(t, struct pending, work);
    op_serve_recv(p->conn);
}

static bool waits(const struct pending *p) { return p && !p->ended && !ring_timer_armed(&p->work); }

/* --- receive --- */

/* As the ring that has no chunk for a buffer: the receive waits. Now and then the bytes lie in no chunk. */
static bool take_buffer(struct pending *p, size_t n, struct received *ret) {
    struct ring *r = p->ring;
    struct sim *s = r->sim;
    struct received got = {0};
    if (r->n_buffers_out == r->n_buffers || (!p->last_chance && sim_chance(s, s->faults.no_buffer)))
        return false;
    if (r->pool && !sim_chance(s, s->faults.no_chunk)) {
        ring_light(r);
        if (r->n_lit == 0)
            return false;
        got.chunk = r->lit[--r->n_lit];
        got.bytes = buf_chunk_bytes(got.chunk);
    } else {
        got.bytes = sim_alloc(n);
    }
    r->n_buffers_out++;
    *ret = got;
    return true;
}

static bool recv_some(struct pending *p, size_t readable) {
    struct sim *s = p->ring->sim;
    size_t n = min_of(readable, (size_t)p->ring->buffer_bytes);
    struct received got;
    if (sim_chance(s, s->faults.short_read))
        n = sim_size(s, 1, n);
    if (!take_buffer(p, n, &got)) {
        p->ring->stats.buffers_short++;
        if (!p->last_chance)
            sim_after(s, &p->work, sim_between(s, 50 * US, 2000 * US), go_on);
        return false;
    }
    n = conn_read(p->conn, got.bytes, n);
    bool more = p->multishot && !(p->last_chance && sim_chance(s, 0.5));
    ring_post(p, (int)n, got, more);
    return true;
}

void op_serve_recv(struct sim_conn *c) {
    struct pending *p = c->recv;
    for (unsigned left = SIM_TRIGGER_MAX; waits(p) && left; left--) {
        size_t n = conn_readable(c);
        if (n) {
            if (!recv_some(p, n))
                return;
            continue;
        }
        int error = conn_at_fin(c) ? 0 : conn_take_error(c);
        if (error)
            ring_post_result(p, error, false);
        else if (conn_at_fin(c) || c->reset)
            ring_post_result(p, 0, false);
        else if (!c->connected)
            ring_post_result(p, -ENOTCONN, false);
        return;
    }
    if (waits(p) && (conn_readable(c) || conn_at_fin(c) || c->reset)) /* its share is used up; an end behind it counts too */
        sim_after(c->sim, &p->work, sim_between(c->sim, 1 * US, 20 * US), go_on);
}

/* --- send --- */

void op_serve_send(struct sim_conn *c) {
    struct pending *p = c->send;
    if (!waits(p))
        return;
    struct sim *s = c->sim;
    int error = conn_take_error(c);
    if (error || c->tx_shut || !c->connected) {
        ring_post_result(p, error ? error : -EPIPE, false);
        return;
    }
    if (p->queue && p->queue->n_bytes < p->queue_bytes)
        sim_violation(s, "bytes were taken from the queue of a send on descriptor %d", p->fd);
    size_t total = 0;
    for (unsigned i = 0; i < p->n_iov; i++)
        total += p->iov[i].iov_len;
    size_t n = min_of(total, conn_room(c));
    if (!n && total)
        return;
    if (n && sim_chance(s, s->faults.short_send))
        n = sim_size(s, 1, n);
    if (op_bytes_digest(p) != p->digest)
        sim_violation(s, "bytes of a send on descriptor %d changed while it was under way", p->fd);
    size_t left = n;
    for (unsigned i = 0; left; i++) {
        size_t k = min_of(left, p->iov[i].iov_len);
        conn_push(c, p->iov[i].iov_base, k);
        left -= k;
    }
    ring_post_result(p, (int)n, false);
}

uint64_t op_bytes_digest(const struct pending *p) {
    uint64_t seed[2] = {3, p->n_iov};
    for (unsigned i = 0; i < p->n_iov; i++)
        seed[0] = hash_bytes(seed, p->iov[i].iov_base, p->iov[i].iov_len);
    return seed[0];
}

/* The pieces of a queue are those of the moment in which the kernel takes the entry. */
static void take_pieces(struct pending *p) {
    size_t n;
    if (!p->queue)
        return;
    if (p->queue->n_bytes < p->queue_bytes || bufq_peek(p->queue, &n) != p->queue_head)
        sim_violation(p->ring->sim, "bytes were taken from the queue of a send on descriptor %d", p->fd);
    p->n_iov = bufq_iov(p->queue, p->iov, RING_PIECES_MAX);
    p->digest = op_bytes_digest(p);
}

/* --- connect, accept --- */

void op_serve_connect(struct sim_conn *c) {
    if (c->connect)
        ring_post_result(c->connect, c->dial_result, false);
}

void op_serve_accept(struct listener *l) {
    struct sim *s = l->sim;
    while (waits(l->accept) && !list_empty(&l->queue)) {
        struct pending *p = l->accept;
        if (!p->last_chance && sim_chance(s, s->faults.accept_fails)) {
            ring_post_result(p, -EMFILE, false);
            return;
        }
        struct sim_conn *c = list_entry(list_pop_front(&l->queue), struct sim_conn, queued);
        l->n_queued--;
        c->fd = sim_descriptor(s, c, NULL);
        sim_trace(s, "listener %d: accepted %d", l->fd, c->fd);
        ring_post_result(p, c->fd, !(p->last_chance && sim_chance(s, 0.5)));
    }
}

/* --- the end of a socket that nobody reads --- */

/* A change is told once; a watch that begins later hears of what is so already. */
void op_serve_hangup(struct sim_conn *c) {
    bool over = c->reset || (c->tx_shut && c->fin_arrived);
    if (!c->hangup || !over || c->told_hangup)
        return;
    c->told_hangup = true;
    ring_post_result(c->hangup, c->reset ? POLLERR | POLLHUP : POLLHUP, true);
}

/* --- begin, cancel --- */

/* Takes the slot of the socket for this kind of op. Two of a kind at once would interleave. */
static bool take_slot(struct pending *p, struct pending **slot, const char *what) {
    if (*slot) {
        sim_violation(p->ring->sim, "two %s at once on descriptor %d", what, p->fd);
        ring_post_result(p, -EBUSY, false);
        return false;
    }
    *slot = p;
    return true;
}

static void start_connect(struct pending *p) {
    struct sim_conn *c = p->conn;
    if (c->connected || c->dialling != DIAL_NONE) {
        ring_post_result(p, c->connected ? -EISCONN : -EALREADY, false);
        return;
    }
    if (take_slot(p, &c->connect, "connects"))
        conn_dial(c, &p->remote);
}

static void start_close(struct pending *p) {
    struct sim *s = p->ring->sim;
    if (p->listener) {
        listener_close(p->listener);
    } else {
        if (p->conn->n_ops > 1)
            sim_violation(s, "descriptor %d closed with %u ops under way", p->fd, p->conn->n_ops - 1);
        conn_close(p->conn);
        s->descriptors[p->fd - SIM_FD_BASE].closed = true;
        s->stats.n_open--;
    }
    ring_post_result(p, 0, false);
}

void op_start(struct pending *p) {
    p->started = true;
    bool right_kind = p->kind == RING_ACCEPT ? p->listener != NULL : p->conn != NULL;
    if (p->kind == RING_POLL)
        return; /* looked at in every turn */
    if (!right_kind && !(p->kind == RING_CLOSE && p->listener)) {
        ring_post_result(p, p->conn ? -EINVAL : p->listener ? -ENOTCONN : -EBADF, false);
        return;
    }
    switch (p->kind) {
    case RING_ACCEPT:
        if (take_slot(p, &p->listener->accept, "accepts"))
            op_serve_accept(p->listener);
        break;
    case RING_RECV:
        if (take_slot(p, &p->conn->recv, "receives"))
            op_serve_recv(p->conn);
        break;
    case RING_SEND:
        take_pieces(p);
        if (take_slot(p, &p->conn->send, "sends"))
            op_serve_send(p->conn);
        break;
    case RING_CONNECT:
        start_connect(p);
        break;
    case RING_HANGUP:
        if (take_slot(p, &p->conn->hangup, "watches")) {
            p->conn->told_hangup = false;
            op_serve_hangup(p->conn);
        }
        break;
    case RING_CLOSE:
        start_close(p);
        break;
    default:
        unreachable_because("no such op is started");
    }
}

void op_cancel(struct pending *p) {
    struct sim *s = p->ring->sim;
    if (p->ended)
        return;
    if (sim_chance(s, s->faults.result_wins)) {
        timer_heap_stop(&s->events, &p->work);
        p->last_chance = true;
        if (p->kind == RING_RECV && p->conn && p->conn->recv == p)
            op_serve_recv(p->conn);
        else if (p->kind == RING_SEND && p->conn && p->conn->send == p)
            op_serve_send(p->conn);
        else if (p->kind == RING_ACCEPT && p->listener && p->listener->accept == p)
            op_serve_accept(p->listener);
    }
    if (!p->ended)
        ring_post_result(p, -ECANCELED, false);
}
