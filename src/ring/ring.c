/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/ring.c - the turn of the loop, and the two switches: prepare an op for the kernel, translate what it said
 *
 * Everything that is peculiar about the kernel's completions is dealt with here (EINTR, ended multishots, races of
 * cancellation) and in buffers.c (no buffer), so owners see one contract: each submission ends in exactly one callback with `more`
 * false. An ended multishot is armed again before its callback runs, so that a callback may always cancel.
 *
 * Two orders are relied on. The kernel takes entries in the order of submission, so a cancellation never meets a later
 * submission of the same op. And a completion is looked at only when its callback is about to run, so an op that was re-armed or
 * starved has had all its earlier callbacks. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "private.h"

static void move_all(struct list *to, struct list *from) {
    if (list_empty(from))
        return;
    list_insert_between(to, from->prev, from->next);
    list_init(from);
}

/* --- towards the kernel --- */

static struct io_uring_sqe *entry(struct ring *r) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);
    if (likely(sqe))
        return sqe;
    r->stats.enters++;
    ignore_result(io_uring_submit(&r->uring)); /* on failure the queue stays full and the caller waits for the next turn */
    return io_uring_get_sqe(&r->uring);
}

static void prepare_recv(const struct ring *r, struct ring_op *op, struct io_uring_sqe *sqe) {
    bool multishot = op->multishot && r->recv_mode != RECV_SINGLE && !(op->flags & OP_ONE_BUFFER);
    op->flags &= ~(uint32_t)OP_ONE_BUFFER;
    if (multishot)
        io_uring_prep_recv_multishot(sqe, op->fd, NULL, r->recv_mode == RECV_MULTISHOT_CAPPED ? r->buffers.trigger_bytes : 0, 0);
    else
        io_uring_prep_recv(sqe, op->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = RING_BUFFER_GROUP;
    details(op)->returned_count = r->buffers.returned_count;
}

static void prepare_send(struct ring *r, struct ring_op *op, struct io_uring_sqe *sqe) {
    struct op_details *d = details(op);
    if (d->n == 1) {
        io_uring_prep_send(sqe, op->fd, d->iov[0].iov_base, d->iov[0].iov_len, MSG_NOSIGNAL);
        return;
    }
    /* The kernel copies header and vector when it takes the entry, so the header belongs to the entry's slot. */
    struct msghdr *header = &r->headers[sqe - r->uring.sq.sqes];
    *header = (struct msghdr){.msg_iov = d->iov, .msg_iovlen = d->n};
    io_uring_prep_sendmsg(sqe, op->fd, header, MSG_NOSIGNAL);
}

static void prepare(struct ring *r, struct ring_op *op, struct io_uring_sqe *sqe) {
    struct op_details *d = details(op);
    switch ((enum ring_op_kind)op->kind) {
    case RING_ACCEPT:
        io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case RING_RECV:
        if (d->into.at)
            io_uring_prep_recv(sqe, op->fd, d->into.at, d->into.n, 0);
        else
            prepare_recv(r, op, sqe);
        break;
    case RING_SEND:
        prepare_send(r, op, sqe);
        break;
    case RING_CONNECT:
        io_uring_prep_connect(sqe, op->fd, (const struct sockaddr *)&d->to, d->n);
        break;
    case RING_POLL:
        io_uring_prep_poll_multishot(sqe, op->fd, POLLIN);
        break;
    case RING_HANGUP:
        /* Multishot, so that it waits for changes: the kernel adds POLLRDHUP, which holds from the other side's FIN on. */
        io_uring_prep_poll_multishot(sqe, op->fd, 0);
        break;
    case RING_IDLE:
    case RING_SHUTDOWN: /* these two are done without the kernel's ring */
    case RING_CLOSE:
    case RING_TIMER:
    case _RING_OP_MAX:
        unreachable_because("no such op is submitted");
    }
    io_uring_sqe_set_data(sqe, op);
}

void ring_arm(struct ring *r, struct ring_op *op) {
    struct io_uring_sqe *sqe = entry(r);
    if (unlikely(!sqe)) {
        op_set_place(op, OP_BACKLOG);
        list_push_back(&r->backlog, &op->ready);
        return;
    }
    prepare(r, op, sqe);
    op_set_place(op, OP_IN_KERNEL);
    r->stats.submitted++;
}

static void send_cancel(struct ring *r, struct ring_op *op) {
    struct io_uring_sqe *sqe = entry(r);
    if (unlikely(!sqe)) {
        op->flags |= OP_UNSENT_CANCEL;
        list_push_back(&r->cancels, &op->ready);
        return;
    }
    io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
    io_uring_sqe_set_data(sqe, NULL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void finish_here(struct ring *r, struct ring_op *op, int result) {
    op->result = result;
    op_set_place(op, OP_READY);
    list_push_back(&r->ready, &op->ready);
}

/* What an earlier turn could not hand over because the submission queue was full. Each list is walked once. */
static void send_backlog(struct ring *r) {
    struct list cancels = LIST_INIT(cancels), backlog = LIST_INIT(backlog);
    move_all(&cancels, &r->cancels);
    move_all(&backlog, &r->backlog);
    for (struct list *n; (n = list_pop_front(&cancels));) {
        struct ring_op *op = list_entry(n, struct ring_op, ready);
        op->flags &= ~(uint32_t)OP_UNSENT_CANCEL;
        send_cancel(r, op);
    }
    for (struct list *n; (n = list_pop_front(&backlog));)
        ring_arm(r, list_entry(n, struct ring_op, ready));
}

static void begin(struct ring *r, struct ring_op *op, enum ring_op_kind kind, int fd, ring_done_fn done) {
    check(op->kind == RING_IDLE && done);
    *op = (struct ring_op){.magic = OP_MAGIC, .kind = (uint8_t)kind, .done = done, .fd = fd};
    r->n_busy++;
}

void ring_accept(struct ring *r, struct ring_op *op, int listen_fd, ring_done_fn done) {
    begin(r, op, RING_ACCEPT, listen_fd, done);
    op->multishot = true;
    ring_arm(r, op);
}

void ring_recv(struct ring *r, struct ring_op *op, int fd, bool multishot, ring_done_fn done) {
    begin(r, op, RING_RECV, fd, done);
    op->multishot = multishot;
    ring_arm(r, op);
}

void ring_recv_into(struct ring *r, struct ring_op *op, int fd, void *to, size_t n, ring_done_fn done) {
    check(to && n);
    begin(r, op, RING_RECV, fd, done);
    details(op)->into.at = to;
    details(op)->into.n = n;
    ring_arm(r, op);
}

void ring_send(struct ring *r, struct ring_op *op, int fd, const struct iovec *iov, unsigned n_iov, ring_done_fn done) {
    check(n_iov >= 1 && n_iov <= RING_IOV_MAX);
    begin(r, op, RING_SEND, fd, done);
    memcpy(details(op)->iov, iov, n_iov * sizeof(*iov));
    details(op)->n = n_iov;
    ring_arm(r, op);
}

void ring_connect(struct ring *r, struct ring_op *op, int fd, const struct endpoint *to, bool as_v6, ring_done_fn done) {
    struct sockaddr_storage ss;
    unsigned n = endpoint_to_sockaddr(to, as_v6, &ss);
    check(n <= sizeof(details(op)->to));
    begin(r, op, RING_CONNECT, fd, done);
    memcpy(&details(op)->to, &ss, n);
    details(op)->n = n;
    ring_arm(r, op);
}

void ring_shutdown_write(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    begin(r, op, RING_SHUTDOWN, fd, done);
    /* The kernel's ring hands every shutdown to a helper thread; on a stream socket the plain call never waits. */
    finish_here(r, op, shutdown(fd, SHUT_WR) < 0 ? -errno : 0);
}

void ring_close(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    begin(r, op, RING_CLOSE, fd, done);
    /* A plain call too: a socket's close never waits here (no linger time), the number is free for other threads once this
     * returns, and the tools that watch descriptors see it end. */
    finish_here(r, op, close(fd) < 0 ? -errno : 0);
}

void ring_poll_in(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    begin(r, op, RING_POLL, fd, done);
    op->multishot = true;
    ring_arm(r, op);
}

void ring_watch_hangup(struct ring *r, struct ring_op *op, int fd, ring_done_fn done) {
    begin(r, op, RING_HANGUP, fd, done);
    op->multishot = true;
    ring_arm(r, op);
}

void ring_cancel(struct ring *r, struct ring_op *op) {
    if (!ring_op_busy(op) || op->cancelling || op->kind == RING_CLOSE) /* a close that is not done would leak */
        return;
    check(op->magic == OP_MAGIC);
    op->cancelling = true;
    switch (op_place(op)) {
    case OP_IN_KERNEL:
        send_cancel(r, op);
        break;
    case OP_STARVED:
    case OP_BACKLOG:
        list_unlink(&op->ready);
        finish_here(r, op, -ECANCELED);
        break;
    case OP_READY: /* its result won */
        break;
    case OP_NOWHERE:
        unreachable_because("a busy op is somewhere");
    }
}

/* --- back from the kernel --- */

enum verdict {
    SAY_LAST,         /* the callback that ends the submission */
    SAY_MORE,         /* a callback; the kernel goes on */
    SAY_NOTHING,      /* no callback; the kernel goes on */
    SAY_MORE_AND_ARM, /* a callback; the kernel has stopped and must be told to go on */
    ARM_AGAIN,        /* no callback: the result says nothing */
    STARVE,           /* no callback: go on when there are buffers, or a little later */
};

static enum verdict translate(const struct ring_op *op, int n, bool more) {
    bool half_closed = op->kind == RING_HANGUP && n > 0 && !(n & (POLLERR | POLLHUP));
    if (more)
        return half_closed ? SAY_NOTHING : SAY_MORE;
    if (op->cancelling || op->kind == RING_CONNECT) /* a connect that was interrupted goes on by itself */
        return SAY_LAST;
    switch (n) {
    case -EINTR:
        return ARM_AGAIN;
    case -EAGAIN:
        return STARVE;
    case -ENOBUFS:
        return op->kind == RING_RECV ? STARVE : SAY_LAST;
    case -ECONNABORTED: /* the client left before it was accepted */
    case -EPROTO:
        return op->kind == RING_ACCEPT ? ARM_AGAIN : SAY_LAST;
    default:
        break;
    }
    if (half_closed)
        return ARM_AGAIN;
    bool usable = op->kind == RING_ACCEPT ? n >= 0 : n > 0;
    return op->multishot && usable ? SAY_MORE_AND_ARM : SAY_LAST;
}

static void say_last(struct ring *r, struct ring_op *op, int n, const uint8_t *bytes) {
    check(r->n_busy > 0);
    r->n_busy--;
    if (op->flags & OP_UNSENT_CANCEL)
        list_unlink(&op->ready);
    op->kind = RING_IDLE;
    op->cancelling = false;
    op->flags = OP_NOWHERE;
    op->done(op, n, bytes, false); /* may submit the op again, or free it */
}

static void complete(struct ring *r, struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    check(op->magic == OP_MAGIC && op_place(op) == OP_IN_KERNEL);
    r->stats.completed++;
    switch (translate(op, n, more)) {
    case SAY_LAST:
        /* A cancelled receive that found no buffer was cancelled as far as its owner is concerned. */
        say_last(r, op, op->cancelling && (n == -ENOBUFS || n == -EINTR || n == -EAGAIN) ? -ECANCELED : n, bytes);
        break;
    case SAY_MORE_AND_ARM:
        ring_arm(r, op);
        op->done(op, n, bytes, true);
        break;
    case SAY_MORE:
        op->done(op, n, bytes, true);
        break;
    case SAY_NOTHING:
        break;
    case ARM_AGAIN:
        ring_arm(r, op);
        break;
    case STARVE:
        recv_starve(r, op, n == -ENOBUFS);
        break;
    }
}

static void reap(struct ring *r) {
    struct io_uring_cq *cq = &r->uring.cq;
    unsigned n_used = 0;
    size_t bytes_used = 0;
    for (unsigned left = io_uring_cq_ready(&r->uring); left; left--) {
        struct io_uring_cqe cqe = cq->cqes[io_uring_cqe_index(&r->uring, *cq->khead, cq->ring_mask)];
        io_uring_cq_advance(&r->uring, 1); /* a callback that submits may need the room */
        struct ring_op *op = (struct ring_op *)(uintptr_t)cqe.user_data;
        if (!op) /* a cancellation that found nothing to cancel */
            continue;
        bool has_buffer = cqe.flags & IORING_CQE_F_BUFFER;
        unsigned id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
        const uint8_t *bytes = has_buffer && cqe.res > 0 ? r->buffers.bytes + (size_t)id * r->buffers.bytes_each : NULL;
        complete(r, op, cqe.res, bytes, cqe.flags & IORING_CQE_F_MORE);
        if (has_buffer) {
            recv_buffers_return(r, id);
            n_used++;
            bytes_used += (size_t)max_of(cqe.res, 0);
        }
    }
    recv_buffers_used(r, n_used, bytes_used);
}

static void run_ready(struct ring *r) {
    struct list batch = LIST_INIT(batch); /* what callbacks add now waits for the next turn */
    move_all(&batch, &r->ready);
    for (struct list *n; (n = list_pop_front(&batch));) {
        struct ring_op *op = list_entry(n, struct ring_op, ready);
        say_last(r, op, op->result, NULL);
    }
}

/* --- the turn --- */

static uint64_t bounded_wait(const struct ring *r, uint64_t max_wait_ns) {
    if (!max_wait_ns || !list_empty(&r->ready) || !list_empty(&r->backlog) || !list_empty(&r->cancels) || recv_may_feed(r) ||
        io_uring_cq_ready(&r->uring))
        return 0;
    uint64_t now = clock_mono_ns(), until = UINT64_MAX; /* not r->now_ns: callbacks took time since */
    if (!timer_heap_next(&r->timers, &until))
        until = UINT64_MAX;
    if (!list_empty(&r->starved))
        until = min_of(until, r->starved_retry_ns);
    return min_of(min_of(max_wait_ns, until > now ? until - now : 0), RING_WAIT_S_MAX * NS_PER_S);
}

static int enter(struct ring *r, uint64_t wait_ns, const struct ring_wait_hooks *hooks) {
    if (io_uring_cq_has_overflow(&r->uring))
        r->stats.cq_overflows++;
    r->stats.enters++;
    int k;
    if (wait_ns) {
        struct __kernel_timespec ts = {.tv_sec = (long long)(wait_ns / NS_PER_S), .tv_nsec = (long long)(wait_ns % NS_PER_S)};
        struct io_uring_cqe *first;
        if (hooks && hooks->before)
            hooks->before(hooks->context);
        k = io_uring_submit_and_wait_timeout(&r->uring, &first, 1, &ts, NULL);
        if (hooks && hooks->after)
            hooks->after(hooks->context);
    } else {
        k = io_uring_submit_and_get_events(&r->uring);
    }
    switch (k) {
    case -ETIME:
    case -EINTR:
    case -EAGAIN: /* no memory for requests just now, or completions must be reaped first: the entries stay queued */
    case -EBUSY:
        return 0;
    default:
        return err_origin(min_of(k, 0));
    }
}

int ring_turn(struct ring *r, uint64_t max_wait_ns, const struct ring_wait_hooks *hooks) {
    send_backlog(r);
    recv_feed_starved(r);
    int k = enter(r, bounded_wait(r, max_wait_ns), hooks);
    if (k < 0)
        return err_trace(k);
    r->now_ns = clock_mono_ns();
    reap(r);
    run_ready(r);
    timer_heap_expire(&r->timers, r->now_ns);
    return 0;
}

uint64_t ring_now_ns(const struct ring *r) { return r->now_ns; }
size_t ring_in_flight(const struct ring *r) { return r->n_busy; }
void ring_get_stats(const struct ring *r, struct ring_stats *ret) { *ret = r->stats; }

void ring_timer_start(struct ring *r, struct ring_timer *t, uint64_t due_ns, void (*fired)(struct ring_timer *t)) {
    timer_heap_start(&r->timers, t, due_ns, fired);
}
void ring_timer_stop(struct ring *r, struct ring_timer *t) { timer_heap_stop(&r->timers, t); }
