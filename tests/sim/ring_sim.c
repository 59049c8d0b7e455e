/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/ring_sim.c - ring.h over the simulation: submissions, completions, the turn
 *
 * Time passes in ring_turn only: a little in each, and up to the next thing that happens anywhere when the ring waits. A wait
 * also ends when another ring has something to do, so a test may drive several rings by turns in any order. */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "sim_private.h"

enum { TURN_NS_MIN = 200, TURN_NS_MAX = 5000, WAIT_S_MAX = 60, JUMP_MONO_S = 20, JUMP_WALL_S = 3600 };

static struct ring *good(struct ring *r) {
    check(r && r->magic == SIM_RING_MAGIC && r->sim == sim_here());
    return r;
}

int ring_new(const struct ring_options *o, struct ring **ret, char why[256]) {
    check(o->n_recv_buffers && o->recv_buffer_bytes && why && (!o->pool || o->recv_buffer_bytes <= BUF_CHUNK_BYTES));
    struct ring *r = sim_alloc(sizeof(*r));
    *r = (struct ring){.magic = SIM_RING_MAGIC,
                       .sim = sim_here(),
                       .n_buffers = o->n_recv_buffers,
                       .buffer_bytes = o->recv_buffer_bytes,
                       .pool = o->pool};
    check(timer_heap_init(&r->timers) == 0);
    list_init(&r->pendings);
    list_init(&r->completions);
    r->now_ns = r->sim->now_ns;
    ring_light(r);
    list_push_back(&r->sim->rings, &r->all);
    *ret = r;
    return 0;
}

static void pending_free(struct pending *p) {
    struct sim *s = p->ring->sim;
    timer_heap_stop(&s->events, &p->work);
    timer_heap_stop(&s->events, &p->cancel);
    list_unlink(&p->all);
    p->ring->n_busy--;
    if (p->conn)
        p->conn->n_ops--;
    if (p->listener)
        p->listener->n_ops--;
    free(p);
}

void ring_light(struct ring *r) {
    while (r->pool && r->n_lit < RING_SIM_LIT && (r->lit[r->n_lit] = buf_chunk_acquire(r->pool)))
        r->n_lit++;
}

/* What nobody keeps is the ring's again. */
static void give_back(struct ring *r, struct buf_chunk *chunk) {
    if (buf_chunk_is_shared(chunk) || r->n_lit == RING_SIM_LIT)
        buf_chunk_unref(chunk);
    else
        r->lit[r->n_lit++] = chunk;
}

static void completion_free(struct ring *r, struct completion *c) {
    if (c->bytes && !(c->chunk && buf_chunk_is_shared(c->chunk)))
        memset(c->bytes, 0xdb, (size_t)c->n); /* whoever kept the pointer will see */
    if (c->bytes)
        r->n_buffers_out--;
    if (c->chunk)
        give_back(r, c->chunk);
    else
        free(c->bytes);
    free(c);
}

struct ring *ring_free(struct ring *r) {
    if (!r)
        return NULL;
    struct sim *s = good(r)->sim;
    if (r->n_busy)
        sim_violation(s, "a ring was freed with %zu ops in flight", r->n_busy);
    for (struct list *n; (n = list_pop_front(&r->completions));)
        completion_free(r, list_entry(n, struct completion, link));
    list_for_each_safe (it, &r->pendings) {
        struct pending *p = list_entry(it, struct pending, all);
        if (!p->ended)
            ring_post_result(p, -ECANCELED, false);
        pending_free(p);
    }
    for (struct list *n; (n = list_pop_front(&r->completions));)
        completion_free(r, list_entry(n, struct completion, link));
    while (r->n_lit)
        buf_chunk_unref(r->lit[--r->n_lit]);
    timer_heap_deinit(&r->timers);
    list_unlink(&r->all);
    r->magic = 0;
    free(r);
    return NULL;
}

/* --- completions --- */

void ring_post(struct pending *p, int n, struct received received, bool more) {
    struct ring *r = p->ring;
    struct sim *s = r->sim;
    check(!p->ended);
    if (!more) {
        p->ended = true;
        timer_heap_stop(&s->events, &p->work);
        struct sim_conn *c = p->conn;
        if (c && c->recv == p)
            c->recv = NULL;
        if (c && c->send == p)
            c->send = NULL;
        if (c && c->connect == p)
            c->connect = NULL;
        if (c && c->hangup == p)
            c->hangup = NULL;
        if (p->listener && p->listener->accept == p)
            p->listener->accept = NULL;
    }
    struct completion *c = sim_alloc(sizeof(*c));
    uint64_t due = s->now_ns + (sim_chance(s, s->faults.late) ? sim_between(s, 0, 50 * NS_PER_MS) : 0);
    r->last_due_ns = max_of(due, r->last_due_ns);
    *c = (struct completion){
        .due_ns = r->last_due_ns, .pending = p, .n = n, .bytes = received.bytes, .chunk = received.chunk, .more = more};
    list_push_back(&r->completions, &c->link);
}

static bool still_there(const struct pending *p) {
    const struct ring_op *op = p->op;
    return op->magic == SIM_OP_MAGIC && op->kind == p->kind && op->done == p->done && op->own.other == p;
}

static void tell(struct completion *c) {
    struct pending *p = c->pending;
    struct ring *r = p->ring;
    struct sim *s = r->sim;
    struct ring_op *op = p->op;
    bool there = still_there(p);
    s->stats.n_completions++;
    r->stats.completed++;
    sim_digest(s, ((uint64_t)p->kind << 32) | (uint32_t)c->n, p->serial * 2 + c->more);
    sim_trace(s, "op %llu kind %d fd %d: %d%s", (unsigned long long)p->serial, p->kind, p->fd, c->n, c->more ? ", more" : "");
    if (!there)
        sim_violation(s, "an op (kind %d, descriptor %d) was freed or overwritten while in flight", p->kind, p->fd);
    if (!c->more) {
        if (there) {
            op->kind = RING_IDLE;
            op->cancelling = false;
        }
        pending_free(p);
    }
    r->received = c->chunk;
    if (there)
        op->done(op, c->n, c->bytes, c->more);
    r->received = NULL;
    completion_free(r, c);
}

struct buf_chunk *ring_received_chunk(struct ring *r) {
    return good(r)->received;
}

/* --- submissions --- */

static void start_now(struct ring_timer *t) { op_start(container_of(t, struct pending, work)); }
static void cancel_now(struct ring_timer *t) { op_cancel(container_of(t, struct pending, cancel)); }

static struct pending *begin(struct ring *r, struct ring_op *op, enum ring_op_kind kind, int fd, ring_done_fn done) {
    struct sim *s = good(r)->sim;
    check(done);
    if (ring_op_busy(op)) {
        sim_violation(s, "an op (kind %d) was submitted while in flight as kind %d", kind, op->kind);
        return NULL;
    }
    struct pending *p = sim_alloc(sizeof(*p));
    *p = (struct pending){.ring = r, .op = op, .serial = ++s->n_serial, .kind = kind, .done = done, .fd = fd};
    *op = (struct ring_op){.magic = SIM_OP_MAGIC, .kind = (uint8_t)kind, .done = done, .fd = fd, .own.other = p};
    list_push_back(&r->pendings, &p->all);
    r->n_busy++;
    r->stats.submitted++;
    if (kind == RING_POLL)
        return p;
    struct descriptor *d = sim_find(s, fd, "an op");
    if (d) {
        p->conn = d->conn;
        p->listener = d->listener;
        if (d->conn)
            d->conn->n_ops++;
        else
            d->listener->n_ops++;
    }
    return p;
}

static void start(struct pending *p) {
    struct sim *s = p->ring->sim;
    sim_after(s, &p->work, 1 + (sim_chance(s, s->faults.delay) ? sim_between(s, 0, 3 * NS_PER_MS) : 0), start_now);
}

static void begin_and_start(struct ring *r, struct ring_op *op, enum ring_op_kind kind, int fd, bool multishot, ring_done_fn done) {
    struct pending *p = begin(r, op, kind, fd, done);
    if (!p)
        return;
    p->multishot = op->multishot = multishot;
    start(p);
}

void ring_accept(struct ring *r, struct ring_op *op, int listen_fd, ring_done_fn done) {
    begin_and_start(r, op, RING_ACCEPT, listen_fd, true, done);
}
void ring_recv(struct ring *r, struct ring_op *op, int fd, bool multishot, ring_done_fn done) {
    begin_and_start(r, op, RING_RECV, fd, multishot, done);
}
void ring_close(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    begin_and_start(r, op, RING_CLOSE, fd, false, done);
}
void ring_poll_in(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    begin_and_start(r, op, RING_POLL, fd, true, done);
}
void ring_watch_hangup(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    begin_and_start(r, op, RING_HANGUP, fd, true, done);
}

void ring_send(struct ring *r, struct ring_op *op, int fd, const struct iovec *iov, unsigned n_iov, ring_done_fn done) {
    check(n_iov >= 1 && n_iov <= RING_PIECES_MAX);
    struct pending *p = begin(r, op, RING_SEND, fd, done);
    if (!p)
        return;
    memcpy(p->iov, iov, n_iov * sizeof(*iov));
    p->n_iov = n_iov;
    p->digest = op_bytes_digest(p);
    start(p);
}

void ring_send_queue(struct ring *r, struct ring_op *op, int fd, const struct bufq *q, ring_done_fn done) {
    check(q->n_bytes);
    struct pending *p = begin(r, op, RING_SEND, fd, done);
    size_t n;
    if (!p)
        return;
    p->queue = q;
    p->queue_head = bufq_peek(q, &n);
    p->queue_bytes = q->n_bytes;
    start(p);
}

void ring_connect(struct ring *r, struct ring_op *op, int fd, const struct endpoint *to, bool as_v6 unused_arg, ring_done_fn done) {
    struct pending *p = begin(r, op, RING_CONNECT, fd, done);
    if (!p)
        return;
    p->remote = *to;
    start(p);
}

void ring_shutdown_write(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    struct pending *p = begin(r, op, RING_SHUTDOWN, fd, done);
    if (!p)
        return;
    p->started = true;
    struct sim_conn *c = p->conn;
    bool usable = c && c->connected && !c->reset;
    if (usable) {
        list_for_each (it, &r->pendings) {
            const struct pending *other = list_entry(it, struct pending, all);
            if (other->conn == c && other->kind == RING_SEND && !other->ended)
                sim_violation(r->sim, "descriptor %d shut down while a send is under way", fd);
        }
        conn_shut(c);
        op_serve_hangup(c);
    }
    ring_post_result(p, usable ? 0 : p->conn || p->listener ? -ENOTCONN : -EBADF, false);
}

void ring_cancel(struct ring *r, struct ring_op *op) {
    struct sim *s = good(r)->sim;
    if (!ring_op_busy(op) || op->cancelling || op->kind == RING_CLOSE)
        return;
    check(op->magic == SIM_OP_MAGIC);
    op->cancelling = true;
    struct pending *p = op->own.other;
    uint64_t at = s->now_ns + 1 + (sim_chance(s, s->faults.delay) ? sim_between(s, 0, 3 * NS_PER_MS) : 0);
    if (!p->started && ring_timer_armed(&p->work)) /* the kernel takes submissions in order */
        at = max_of(at, p->work.due_ns);
    timer_heap_start(&s->events, &p->cancel, at, cancel_now);
}

/* --- the turn --- */

static void advance(struct sim *s, uint64_t to_ns) {
    for (uint64_t due; timer_heap_next(&s->events, &due) && due <= to_ns;) {
        s->now_ns = max_of(s->now_ns, due);
        timer_heap_expire(&s->events, s->now_ns);
    }
    s->now_ns = max_of(s->now_ns, to_ns);
}

/* When the ring has something to do at the latest. */
static uint64_t ring_due(struct ring *r) {
    uint64_t due = UINT64_MAX;
    if (!timer_heap_next(&r->timers, &due))
        due = UINT64_MAX;
    if (!list_empty(&r->completions))
        due = min_of(due, list_entry(r->completions.next, struct completion, link)->due_ns);
    return due;
}

static uint64_t any_ring_due(struct sim *s) {
    uint64_t due = UINT64_MAX;
    list_for_each (it, &s->rings)
        due = min_of(due, ring_due(list_entry(it, struct ring, all)));
    return due;
}

static void wait_for_something(struct sim *s, uint64_t max_wait_ns) {
    uint64_t until = s->now_ns + min_of(max_wait_ns, WAIT_S_MAX * NS_PER_S);
    while (s->now_ns < until && any_ring_due(s) > s->now_ns) {
        uint64_t next = min_of(until, any_ring_due(s)), event;
        if (timer_heap_next(&s->events, &event))
            next = min_of(next, event);
        advance(s, max_of(next, s->now_ns));
    }
}

/* Descriptors of the real system, for eventfds of mailboxes. */
static void look_at_polls(struct ring *r) {
    list_for_each (it, &r->pendings) {
        struct pending *p = list_entry(it, struct pending, all);
        struct pollfd real = {.fd = p->fd, .events = POLLIN};
        if (p->kind == RING_POLL && p->started && !p->ended && poll(&real, 1, 0) > 0)
            ring_post_result(p, real.revents, !(real.revents & POLLNVAL));
    }
}

static void jump_clocks(struct sim *s) {
    if (sim_chance(s, s->faults.mono_jump)) {
        s->now_ns += sim_between(s, 0, JUMP_MONO_S * NS_PER_S);
        sim_trace(s, "the monotonic clock jumped to here");
    }
    if (sim_chance(s, s->faults.wall_jump))
        s->wall_base_ns += (int64_t)sim_between(s, 0, 2 * JUMP_WALL_S * NS_PER_S) - JUMP_WALL_S * (int64_t)NS_PER_S;
}

int ring_turn(struct ring *r, uint64_t max_wait_ns, const struct ring_wait_hooks *hooks) {
    struct sim *s = good(r)->sim;
    r->stats.enters++;
    jump_clocks(s);
    advance(s, s->now_ns + sim_between(s, TURN_NS_MIN, TURN_NS_MAX));
    look_at_polls(r);
    if (max_wait_ns && ring_due(r) > s->now_ns) {
        if (hooks && hooks->before)
            hooks->before(hooks->context);
        wait_for_something(s, max_wait_ns);
        if (hooks && hooks->after)
            hooks->after(hooks->context);
    }
    r->now_ns = s->now_ns;
    size_t n = 0;
    list_for_each (it, &r->completions)
        n += list_entry(it, struct completion, link)->due_ns <= s->now_ns;
    if (n && sim_chance(s, 0.3))
        n = sim_size(s, 1, n);
    while (n--)
        tell(list_entry(list_pop_front(&r->completions), struct completion, link));
    timer_heap_expire(&r->timers, r->now_ns);
    return 0;
}

uint64_t ring_now_ns(const struct ring *r) { return r->now_ns; }
size_t ring_in_flight(const struct ring *r) { return r->n_busy; }
void ring_get_stats(const struct ring *r, struct ring_stats *ret) { *ret = r->stats; }
void ring_timer_start(struct ring *r, struct ring_timer *t, uint64_t due_ns, void (*fired)(struct ring_timer *t)) {
    timer_heap_start(&good(r)->timers, t, due_ns, fired);
}
void ring_timer_stop(struct ring *r, struct ring_timer *t) { timer_heap_stop(&good(r)->timers, t); }
const char *ring_library_text(char *to, size_t n) {
    snprintf(to, n, "simulation");
    return to;
}

/* --- sockets --- */

int ring_socket(struct ring *r, const struct ring_socket_spec *spec, int *ret_fd) {
    struct sim *s = good(r)->sim;
    if (sim_chance(s, s->faults.socket_fails))
        return -EMFILE;
    struct sim_conn *c = conn_new(s, spec->netns_fd);
    c->to_application = spec->to_application;
    if (spec->bind_to) {
        c->bound = true;
        c->local = *spec->bind_to;
    }
    *ret_fd = c->fd = sim_descriptor(s, c, NULL);
    return 0;
}

static struct sim_conn *socket_of(struct ring *r, int fd, const char *what) {
    struct descriptor *d = sim_find(good(r)->sim, fd, what);
    return d ? d->conn : NULL;
}

int ring_socket_peer(struct ring *r, int fd, struct endpoint *ret) {
    struct sim_conn *c = socket_of(r, fd, "ring_socket_peer");
    if (!c || !c->connected || c->reset)
        return c ? -ENOTCONN : -EBADF;
    *ret = c->remote;
    return 0;
}

int ring_socket_local(struct ring *r, int fd, struct endpoint *ret) {
    struct sim_conn *c = socket_of(r, fd, "ring_socket_local");
    if (!c)
        return -EBADF;
    *ret = c->local;
    return 0;
}

void ring_socket_tune(struct ring *r, int fd) { ignore_result(socket_of(r, fd, "ring_socket_tune")); /* nothing to tune */ }
void ring_socket_fit_distance(struct ring *r, int fd) { ignore_result(socket_of(r, fd, "ring_socket_fit_distance")); /* no line */ }
void ring_socket_abort_on_close(struct ring *r, int fd, bool abort) {
    struct sim_conn *c = socket_of(r, fd, "ring_socket_abort_on_close");
    if (c)
        c->linger_zero = abort;
}

/* A plain close of a simulated descriptor, as error paths do it: the linker sends all calls of close here (--wrap). */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
    struct sim *s = sim_here_or_null();
    if (!s || !sim_has_fd(s, fd))
        return __real_close(fd);
    struct descriptor *d = sim_find(s, fd, "close");
    if (!d || d->listener) {
        if (d)
            listener_close(d->listener);
        return 0;
    }
    if (d->conn->n_ops)
        sim_violation(s, "descriptor %d closed with %u ops under way", fd, d->conn->n_ops);
    conn_close(d->conn);
    d->closed = true;
    s->stats.n_open--;
    return 0;
}
