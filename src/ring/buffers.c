/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/buffers.c - provided buffers: which receives may take them, what happens when there are none
 *
 * The kernel fills the buffers in ring order and a callback gets its buffer for the call only, so every buffer is back as
 * soon as its callback returned. A receive that found none (-ENOBUFS ends a multishot, on an empty ring even without
 * data) is starved: it waits in line and is armed again once a buffer was returned after it was last armed. When
 * none was (a kernel that says ENOBUFS though it has buffers, or whose data we have not reaped yet) it waits for
 * RING_STARVED_NS. So each retry is paid for by progress or by time, and the ring never spins.
 *
 * Buffers are chunks of the owner's pool, if it gave one: who keeps a reference to the chunk keeps the buffer, and another
 * chunk takes its place. When the pool has none the buffer goes dark, and receives wait in line as above.
 *
 * Few are lit, that is, given to the kernel. The kernel uses them in turn, so with many lit, bulk data runs through more memory
 * than the cache holds before anything is sent on, which costs more than all retries. So shortage lights more only while
 * buffers come back mostly empty: many sockets, short messages.
 *
 * A socket with much to say uses up all that are lit in one go, which ends its multishot. From then on it is read in single shots
 * of as many buffers as it fills (a bundle, one completion), until it has little to say again. Not by a multishot with bundles and
 * a cap: Linux 6.18 forgets that a socket has ended when the end was there before the last of the bytes were taken.
 *
 * Fairness: one socket with endless data could take every buffer in every turn. So a receive that found none waits in line. Those
 * of little to say come back as a single shot for one buffer each, ahead of the others, for at most half of the lit buffers. Of
 * those with much to say as many come back as fit, by what each took last time: the first has buffers for certain, and whoever
 * took some goes to the end of the line, whoever found none stays at its head. A share of the buffers for each instead (a cap; one
 * buffer each is the least of them) saves nothing more and costs a completion a share, and Linux has none for a single shot.
 * Entries run when they are submitted, ahead of armed multishots. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "private.h"

uint8_t *recv_buffer_bytes(const struct ring *r, unsigned id) {
    const struct recv_buffers *b = &r->buffers;
    return b->pool ? buf_chunk_bytes(b->chunks[id]) : b->bytes + (size_t)id * b->bytes_each;
}

unsigned recv_buffer_next(const struct ring *r, unsigned id) {
    const struct recv_buffers *b = &r->buffers;
    unsigned at = (b->place[id] + 1U) & (b->n - 1);
    check(b->place[b->given[at]] == at);
    return b->given[at];
}

/* False: there is no memory for it. */
static bool has_memory(struct recv_buffers *b, unsigned id) {
    return !b->pool || b->chunks[id] || (b->chunks[id] = buf_chunk_acquire(b->pool));
}

static void give(struct ring *r, unsigned id) {
    struct recv_buffers *b = &r->buffers;
    unsigned at = b->n_given++ & (b->n - 1);
    b->given[at] = (uint16_t)id;
    b->place[id] = (uint16_t)at;
    io_uring_buf_ring_add(b->queue, recv_buffer_bytes(r, id), b->bytes_each, (unsigned short)id, io_uring_buf_ring_mask(b->n), 0);
    io_uring_buf_ring_advance(b->queue, 1);
}

void recv_buffers_light(struct ring *r) {
    struct recv_buffers *b = &r->buffers;
    while (b->n - b->n_dark < b->n_lit && has_memory(b, b->dark[b->n_dark - 1])) {
        give(r, b->dark[--b->n_dark]);
        b->returned_count++; /* good news for the starved */
    }
}

static int own_memory(struct recv_buffers *b) {
    size_t bytes = (size_t)b->n * b->bytes_each;
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return err_origin(-errno);
    b->bytes = at;
    ignore_result(madvise(at, bytes, MADV_DONTDUMP)); /* applications' plaintext; an old kernel just dumps it */
    return 0;
}

int recv_buffers_init(struct ring *r, const struct ring_options *o) {
    struct recv_buffers *b = &r->buffers;
    *b = (struct recv_buffers){
        .pool = o->pool, .n = o->n_recv_buffers, .n_lit_max = o->n_recv_buffers, .bytes_each = o->recv_buffer_bytes};
    if (b->pool)
        b->n_lit_max = (unsigned)min_of((size_t)b->n, max_of(buf_pool_max(b->pool) / RING_POOL_PART, (size_t)1));
    b->n_lit = min_of(b->n_lit_max, (unsigned)RING_BUFFERS_LIT);
    int k = b->pool ? 0 : own_memory(b);
    if (k < 0)
        return err_trace(k);
    int failed = 0;
    b->queue = io_uring_setup_buf_ring(&r->uring, b->n, RING_BUFFER_GROUP, 0, &failed);
    if (!b->queue)
        return err_origin(failed ? failed : -ENOMEM);
    b->dark = calloc(b->n, sizeof(*b->dark));
    b->given = calloc(b->n, sizeof(*b->given));
    b->place = calloc(b->n, sizeof(*b->place));
    b->chunks = b->pool ? calloc(b->n, sizeof(struct buf_chunk *)) : NULL;
    if (!b->dark || !b->given || !b->place || (b->pool && !b->chunks))
        return err_origin(-ENOMEM);
    for (unsigned id = b->n; id > 0; id--)
        b->dark[b->n_dark++] = (uint16_t)(id - 1);
    recv_buffers_light(r);
    return 0;
}

void recv_buffers_deinit(struct ring *r) {
    struct recv_buffers *b = &r->buffers;
    if (b->queue)
        ignore_result(
            io_uring_free_buf_ring(&r->uring, b->queue, b->n, RING_BUFFER_GROUP)); /* the ring's end frees it at the latest */
    if (b->bytes)
        munmap(b->bytes, (size_t)b->n * b->bytes_each);
    for (unsigned id = 0; b->chunks && id < b->n; id++)
        buf_chunk_unref(b->chunks[id]);
    free(b->chunks);
    free(b->given);
    free(b->place);
    free(b->dark);
    *b = (struct recv_buffers){0};
}

/* Takes the memory of a buffer that somebody keeps away from it, or all memory if it goes dark. */
static void let_go(struct recv_buffers *b, unsigned id, bool dark) {
    if (b->pool && (dark || buf_chunk_is_shared(b->chunks[id])))
        b->chunks[id] = buf_chunk_unref(b->chunks[id]);
}

void recv_buffers_return(struct ring *r, unsigned id) {
    struct recv_buffers *b = &r->buffers;
    check(id < b->n);
    bool dark = b->n - b->n_dark > b->n_lit;
    let_go(b, id, dark);
    if (dark || !has_memory(b, id)) {
        b->dark[b->n_dark++] = (uint16_t)id;
        b->returned_count += dark;
        return;
    }
    give(r, id);
    b->returned_count++;
}

/* Surplus that the kernel has not used comes back from the end of its queue, so that memory which a crowd needed does not stay
 * lit. Only where the kernel looks at the queue in our own calls alone, and when all that it used has been reaped. */
static void take_back(struct ring *r) {
    struct recv_buffers *b = &r->buffers;
    if (!(r->uring.flags & IORING_SETUP_DEFER_TASKRUN) || io_uring_cq_ready(&r->uring) || io_uring_cq_has_overflow(&r->uring))
        return;
    while (b->n - b->n_dark > b->n_lit) {
        unsigned id = b->given[--b->n_given & (b->n - 1)];
        io_uring_buf_ring_advance(b->queue, -1);
        let_go(b, id, true);
        b->dark[b->n_dark++] = (uint16_t)id;
    }
}

void recv_buffers_used(struct ring *r, unsigned n, size_t bytes) {
    struct recv_buffers *b = &r->buffers;
    b->n_peak = max_of(b->n_peak, n);
    bool bulk = bytes > (size_t)n * b->bytes_each / 2;
    if (b->short_now && !bulk) {
        b->n_lit = min_of(b->n_lit_max, b->n_lit * 2);
        recv_buffers_light(r);
    } else if (b->short_now || r->now_ns >= b->look_ns) {
        if ((bulk || b->n_peak < b->n_lit / 4) && b->n_lit > RING_BUFFERS_LIT)
            b->n_lit = max_of(b->n_lit / 2, min_of(b->n_lit_max, (unsigned)RING_BUFFERS_LIT));
        take_back(r); /* the rest of the surplus goes dark as it comes back */
    } else {
        return;
    }
    b->short_now = false;
    b->n_peak = 0;
    b->look_ns = r->now_ns + RING_DIM_NS;
}

/* Receives one byte and the end of stream from a socket pair in the given mode. Says 0, or the kernel's -EINVAL. */
static int probe_once(struct ring *r, enum recv_mode mode) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_origin(-errno);
    cleanup_fd int ours = pair[0];
    cleanup_fd int theirs = pair[1];
    if (write(theirs, "", 1) != 1 || shutdown(theirs, SHUT_WR) < 0)
        return err_origin(-errno);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);
    check(sqe); /* the ring is fresh */
    if (mode == RECV_BUNDLE) {
        io_uring_prep_recv(sqe, ours, NULL, 0, 0);
        sqe->ioprio |= IORING_RECVSEND_BUNDLE | IORING_RECVSEND_POLL_FIRST;
    } else {
        io_uring_prep_recv_multishot(sqe, ours, NULL, 0, 0);
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = RING_BUFFER_GROUP;
    int k = io_uring_submit(&r->uring);
    for (bool more = true; k >= 0 && more;) {
        struct io_uring_cqe *cqe;
        k = io_uring_wait_cqe(&r->uring, &cqe);
        if (k == -EINTR) {
            k = 0;
            continue;
        }
        if (k < 0)
            break;
        if (cqe->flags & IORING_CQE_F_BUFFER)
            recv_buffers_return(r, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        k = cqe->res == -ENOBUFS ? 0 : min_of(cqe->res, 0); /* a ring with one buffer: understood, and done */
        more = cqe->flags & IORING_CQE_F_MORE;
        io_uring_cqe_seen(&r->uring, cqe);
    }
    return k < 0 ? k : 0;
}

int recv_mode_probe(struct ring *r, enum recv_mode best) {
    if (best == RECV_BUNDLE && !(r->uring.features & IORING_FEAT_RECVSEND_BUNDLE))
        best++;
    for (r->recv_mode = best; r->recv_mode < RECV_SINGLE; r->recv_mode++) {
        int k = probe_once(r, r->recv_mode);
        if (k != -EINVAL)
            return err_trace(k);
    }
    return 0;
}

void recv_starve(struct ring *r, struct ring_op *op, bool no_buffer) {
    r->stats.buffers_short += no_buffer;
    r->buffers.short_now = r->buffers.short_now || no_buffer;
    if (list_empty(&r->starved) && list_empty(&r->starved_again))
        r->starved_retry_ns = clock_mono_ns() + RING_STARVED_NS;
    bool was_first = no_buffer && op->flags & OP_BULK;
    if (no_buffer && r->recv_mode == RECV_BUNDLE && op->n_pieces)
        op->flags |= OP_BULK;
    op_set_place(op, OP_STARVED);
    list_push_back(was_first ? &r->starved_again : &r->starved, &op->ready);
}

bool recv_may_feed(const struct ring *r) {
    if (list_empty(&r->starved) || r->buffers.n == r->buffers.n_dark)
        return false;
    struct ring_op *first = list_entry(r->starved.next, struct ring_op, ready);
    return first->own.n_returned != r->buffers.returned_count || r->now_ns >= r->starved_retry_ns;
}

/* Feeds from the head of a list as many as fit in the number of buffers; returns how many are left. */
static unsigned feed(struct ring *r, struct list *from, unsigned n_buffers, bool one_each) {
    unsigned left = n_buffers;
    while (left && !list_empty(from)) {
        struct ring_op *op = list_entry(from->next, struct ring_op, ready);
        unsigned n = one_each ? 1 : max_of((unsigned)op->n_pieces, 1U);
        if (n > left && left < n_buffers)
            break;
        list_unlink(&op->ready);
        op->flags |= one_each ? OP_ONE_BUFFER : 0;
        ring_arm(r, op);
        left -= min_of(n, left);
    }
    return left;
}

void recv_feed_starved(struct ring *r) {
    list_move_all(&r->starved_again, &r->starved);
    list_move_all(&r->starved, &r->starved_again);
    struct list quiet = LIST_INIT(quiet), bulk = LIST_INIT(bulk);
    bool quiet_first = recv_may_feed(r) && !(list_entry(r->starved.next, struct ring_op, ready)->flags & OP_BULK);
    while (recv_may_feed(r)) {
        struct ring_op *op = list_entry(list_pop_front(&r->starved), struct ring_op, ready);
        if (op->flags & OP_EMPTIED) /* takes none before something comes */
            ring_arm(r, op);
        else
            list_push_back(op->flags & OP_BULK ? &bulk : &quiet, &op->ready);
    }
    /* Not more than there are lit buffers: the others would only find the ring empty again. */
    unsigned n_lit = r->buffers.n - r->buffers.n_dark;
    unsigned n_quiet = list_empty(&bulk) ? n_lit : max_of(n_lit / 2, (unsigned)quiet_first);
    unsigned left = feed(r, &quiet, n_quiet, true);
    feed(r, &bulk, n_lit - n_quiet + left, false);
    list_move_all(&quiet, &r->starved);
    list_move_all(&r->starved, &bulk);
    list_move_all(&r->starved, &quiet);
    if (!list_empty(&r->starved) && r->now_ns >= r->starved_retry_ns)
        r->starved_retry_ns = r->now_ns + RING_STARVED_NS;
}
