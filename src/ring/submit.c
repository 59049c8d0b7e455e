/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/submit.c - towards the kernel: what is asked of the ring, made into entries of the submission queue
 *
 * What an entry points to (the pieces to send, an address) lies in memory of the entry's slot, which the kernel copies when it
 * takes the entry: so an op has no room for it, and the pieces of a queue are those of the moment in which the entry is made. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "private.h"

static struct io_uring_sqe *entry(struct ring *r) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);
    if (likely(sqe))
        return sqe;
    r->stats.enters++;
    ignore_result(io_uring_submit(&r->uring)); /* on failure the queue stays full and the caller waits for the next turn */
    return io_uring_get_sqe(&r->uring);
}

static struct entry_memory *memory_of(struct ring *r, const struct io_uring_sqe *sqe) { return &r->memory[sqe - r->uring.sq.sqes]; }

static void prepare_recv(const struct ring *r, struct ring_op *op, struct io_uring_sqe *sqe) {
    bool one = op->flags & OP_ONE_BUFFER, bulk = op->flags & OP_BULK;
    if (op->multishot && r->recv_mode != RECV_SINGLE && !one && !bulk)
        io_uring_prep_recv_multishot(sqe, op->fd, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, op->fd, NULL, 0, 0);
    if (bulk && !one)
        sqe->ioprio |= IORING_RECVSEND_BUNDLE | (op->flags & OP_EMPTIED ? IORING_RECVSEND_POLL_FIRST : 0);
    op->flags &= (uint8_t) ~(OP_ONE_BUFFER | OP_EMPTIED);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = RING_BUFFER_GROUP;
    op->own.n_returned = r->buffers.returned_count;
}

static void prepare_send(struct ring *r, struct ring_op *op, struct io_uring_sqe *sqe) {
    struct entry_memory *m = memory_of(r, sqe);
    const struct iovec *iov = m->pieces;
    size_t n = op->n_pieces;
    if (n)
        iov = op->own.iov;
    else
        n = bufq_iov(op->own.queue, m->pieces, RING_PIECES_MAX);
    /* With all of it on its way, its end is no news worth waking up for. */
    r->wait.n_sends += op->n_pieces || n < RING_PIECES_MAX;
    if (n == 1) {
        io_uring_prep_send(sqe, op->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
        return;
    }
    m->header = (struct msghdr){.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
    io_uring_prep_sendmsg(sqe, op->fd, &m->header, MSG_NOSIGNAL);
}

static unsigned address_bytes(const struct sockaddr_in6 *a) {
    return a->sin6_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static void prepare_connect(struct ring *r, struct ring_op *op, struct io_uring_sqe *sqe) {
    struct sockaddr_in6 *to = &memory_of(r, sqe)->to;
    memcpy(to, op->own.other, sizeof(*to));
    io_uring_prep_connect(sqe, op->fd, (const struct sockaddr *)to, address_bytes(to));
}

static void prepare(struct ring *r, struct ring_op *op, struct io_uring_sqe *sqe) {
    switch ((enum ring_op_kind)op->kind) {
    case RING_ACCEPT:
        io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case RING_RECV:
        prepare_recv(r, op, sqe);
        break;
    case RING_SEND:
        prepare_send(r, op, sqe);
        break;
    case RING_CONNECT:
        prepare_connect(r, op, sqe);
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
    op->own.result = result;
    op_set_place(op, OP_READY);
    list_push_back(&r->ready, &op->ready);
}

void ring_send_backlog(struct ring *r) {
    struct list cancels = LIST_INIT(cancels), backlog = LIST_INIT(backlog); /* each list is walked once */
    list_move_all(&cancels, &r->cancels);
    list_move_all(&backlog, &r->backlog);
    for (struct list *n; (n = list_pop_front(&cancels));) {
        struct ring_op *op = list_entry(n, struct ring_op, ready);
        op->flags &= (uint8_t)~OP_UNSENT_CANCEL;
        send_cancel(r, op);
    }
    for (struct list *n; (n = list_pop_front(&backlog));) {
        struct ring_op *op = list_entry(n, struct ring_op, ready);
        void *address = op->kind == RING_CONNECT ? op->own.other : NULL;
        ring_arm(r, op);
        if (op_place(op) == OP_IN_KERNEL)
            free(address);
    }
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

void ring_send_queue(struct ring *r, struct ring_op *op, int fd, const struct bufq *q, ring_done_fn done) {
    check(q->n_bytes);
    begin(r, op, RING_SEND, fd, done);
    op->own.queue = q;
    ring_arm(r, op);
}

void ring_send(struct ring *r, struct ring_op *op, int fd, const struct iovec *iov, unsigned n_iov, ring_done_fn done) {
    check(n_iov >= 1 && n_iov <= RING_PIECES_MAX);
    begin(r, op, RING_SEND, fd, done);
    op->own.iov = iov;
    op->n_pieces = n_iov & 63;
    ring_arm(r, op);
}

void ring_connect(struct ring *r, struct ring_op *op, int fd, const struct endpoint *to, bool as_v6, ring_done_fn done) {
    union {
        struct sockaddr_storage any;
        struct sockaddr_in6 v6;
    } address = {0};
    check(endpoint_to_sockaddr(to, as_v6, &address.any) <= sizeof(address.v6));
    begin(r, op, RING_CONNECT, fd, done);
    op->own.other = &address.v6;
    ring_arm(r, op);
    if (likely(op_place(op) == OP_IN_KERNEL))
        return;
    struct sockaddr_in6 *kept = malloc(sizeof(*kept)); /* until there is an entry for it */
    op->own.other = kept;
    if (kept) {
        *kept = address.v6;
    } else {
        list_unlink(&op->ready);
        finish_here(r, op, -ENOMEM);
    }
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
        if (op->kind == RING_CONNECT)
            free(op->own.other);
        list_unlink(&op->ready);
        finish_here(r, op, -ECANCELED);
        break;
    case OP_READY: /* its result won */
        break;
    case OP_NOWHERE:
        unreachable_because("a busy op is somewhere");
    }
}
