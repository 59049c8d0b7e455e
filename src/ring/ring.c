/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/ring.c - the turn of the loop: translates what the kernel said, and calls back
 *
 * Everything that is peculiar about the kernel's completions is dealt with here (EINTR, ended multishots, several buffers in one,
 * races of cancellation) and in buffers.c (no buffer), so owners see one contract: each submission ends in exactly one callback
 * with `more` false. An ended multishot is armed again before its callback runs, so that a callback may always cancel.
 *
 * Two orders are relied on. The kernel takes entries in the order of submission, so a cancellation never meets a later
 * submission of the same op. And a completion is looked at only when its callback is about to run, so an op that was re-armed or
 * starved has had all its earlier callbacks.
 *
 * A turn is one system call (wait.c). It ends at the first completion. Where the owner asked for moderation there are two
 * exceptions that are bounded by RING_MIN_WAIT_US. Both are for bulk, that is, when the last turn that received anything received
 * mostly full buffers. A send whose bytes are all on their way does not end the wait: that it is done is no reason to wake up. And
 * when several such turns came one after the other, each with little, the ring waits for more at once; when that was in vain (what
 * came was a large message, not a part of a stream) the next turns do not try. Requests and answers that fit half a buffer are
 * never held up. */
#include <errno.h>
#include <poll.h>

#include "private.h"

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
        if (op->flags & OP_BULK)
            recv_starve(r, op, false); /* behind those that wait for a buffer, to be armed before the next wait */
        else
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

/* One completion, possibly of several buffers: a callback for each, in order. */
static unsigned complete_buffers(struct ring *r, struct ring_op *op, const struct io_uring_cqe *cqe) {
    unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT, n_used = 1;
    int left = cqe->res, each = (int)r->buffers.bytes_each;
    op->n_pieces = min_of((unsigned)max_of(left, 0) / (unsigned)each, 63U) & 63;
    if (op->flags & OP_BULK) {
        bool emptied = !(cqe->flags & IORING_CQE_F_SOCK_NONEMPTY);
        op->flags &= (uint8_t) ~(emptied && left < each ? OP_BULK : 0);
        op->flags |= emptied && left >= each ? OP_EMPTIED : 0;
    }
    for (; left > each; left -= each, n_used++) {
        unsigned next = recv_buffer_next(r, id);
        r->received_id = (int)id;
        op->done(op, each, recv_buffer_bytes(r, id), true);
        recv_buffers_return(r, id);
        id = next;
    }
    r->received_id = (int)id;
    complete(r, op, left, left > 0 ? recv_buffer_bytes(r, id) : NULL, cqe->flags & IORING_CQE_F_MORE);
    r->received_id = -1;
    recv_buffers_return(r, id);
    return n_used;
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
        if (cqe.flags & IORING_CQE_F_BUFFER) {
            n_used += complete_buffers(r, op, &cqe);
            bytes_used += (size_t)max_of(cqe.res, 0);
        } else {
            complete(r, op, cqe.res, NULL, cqe.flags & IORING_CQE_F_MORE);
        }
    }
    recv_buffers_used(r, n_used, bytes_used);
    wait_learn(r, n_used, bytes_used);
}

struct buf_chunk *ring_received_chunk(struct ring *r) {
    return r->received_id >= 0 && r->buffers.pool ? r->buffers.chunks[r->received_id] : NULL;
}

static void run_ready(struct ring *r) {
    struct list batch = LIST_INIT(batch); /* what callbacks add now waits for the next turn */
    list_move_all(&batch, &r->ready);
    for (struct list *n; (n = list_pop_front(&batch));) {
        struct ring_op *op = list_entry(n, struct ring_op, ready);
        say_last(r, op, op->own.result, NULL);
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

int ring_turn(struct ring *r, uint64_t max_wait_ns, const struct ring_wait_hooks *hooks) {
    ring_send_backlog(r);
    recv_buffers_light(r);
    recv_feed_starved(r);
    int k = ring_enter(r, bounded_wait(r, max_wait_ns), hooks);
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
