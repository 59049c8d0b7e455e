/* SPDX-License-Identifier: GPL-3.0-or-later
 * server.c - the far end: does with each connection what its head says */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

#include "load.h"

struct conn {
    struct ring *ring;
    struct ring_op recv, send, close;
    int fd;
    struct load_head head;
    struct iovec iov;  /* what is being sent */
    size_t got;        /* of the head */
    size_t in_request; /* bytes of a request that is not whole yet */
    uint64_t owed;     /* bytes to send; UINT64_MAX: for ever */
    bool last, ending; /* close once nothing is owed; over */
};

static void conn_turn(struct conn *c);

static void on_closed(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    (void)n, (void)bytes, (void)more;
    free(container_of(op, struct conn, close));
}

static void conn_end(struct conn *c) {
    c->ending = true;
    ring_cancel(c->ring, &c->recv);
    ring_cancel(c->ring, &c->send);
    if (!ring_op_busy(&c->recv) && !ring_op_busy(&c->send) && !ring_op_busy(&c->close))
        ring_close(c->ring, &c->close, c->fd, on_closed);
}

static void on_sent(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct conn *c = container_of(op, struct conn, send);
    (void)bytes, (void)more;
    if (n <= 0 || c->ending) {
        conn_end(c);
        return;
    }
    if (c->owed != UINT64_MAX)
        c->owed -= (uint64_t)n;
    conn_turn(c);
}

static void conn_turn(struct conn *c) {
    if (ring_op_busy(&c->send) || c->ending)
        return;
    if (c->owed == 0) {
        if (c->last)
            conn_end(c);
        return;
    }
    c->iov = (struct iovec){.iov_base = load_bytes, .iov_len = (size_t)min_of(c->owed, (uint64_t)LOAD_CHUNK)};
    ring_send(c->ring, &c->send, c->fd, &c->iov, 1, on_sent);
}

/* 0, or 1: no such head. */
static int conn_begin(struct conn *c) {
    if (memcmp(c->head.magic, LOAD_MAGIC, sizeof(c->head.magic)) != 0)
        return 1;
    switch (c->head.kind) {
    case LOAD_SINK:
        return 0;
    case LOAD_SOURCE:
    case LOAD_BOTH:
        c->owed = UINT64_MAX;
        return 0;
    case LOAD_CONNECT:
        c->head.size = 1;
        return 0;
    case LOAD_REQUEST:
        return c->head.size == 0 || c->head.size > LOAD_REQUEST_MAX;
    default:
        return 1;
    }
}

static void take(struct conn *c, const uint8_t *bytes, size_t n) {
    if (c->got < sizeof(c->head)) {
        size_t k = min_of(n, sizeof(c->head) - c->got);
        memcpy((uint8_t *)&c->head + c->got, bytes, k);
        c->got += k;
        n -= k;
        if (c->got == sizeof(c->head) && conn_begin(c) != 0) {
            conn_end(c);
            return;
        }
    }
    if (c->head.kind == LOAD_REQUEST || c->head.kind == LOAD_CONNECT) {
        c->in_request += n;
        c->owed += c->in_request / c->head.size * c->head.size;
        c->in_request %= c->head.size;
        c->last = c->head.kind == LOAD_CONNECT && c->owed > 0;
    }
}

static void on_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct conn *c = container_of(op, struct conn, recv);
    if (n > 0 && !c->ending)
        take(c, bytes, (size_t)n);
    if (n <= 0 || c->ending) {
        if (!more)
            conn_end(c);
        return;
    }
    if (!more)
        ring_recv(c->ring, &c->recv, c->fd, true, on_received);
    conn_turn(c);
}

struct door {
    struct ring *ring;
    struct ring_op accept;
    int fd;
};

static void on_accepted(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct door *d = container_of(op, struct door, accept);
    (void)bytes;
    if (n >= 0) {
        struct conn *c = calloc(1, sizeof(*c));
        check(c);
        c->ring = d->ring;
        c->fd = n;
        ring_socket_tune(d->ring, n);
        ring_recv(d->ring, &c->recv, n, true, on_received);
    }
    if (!more)
        ring_accept(d->ring, &d->accept, d->fd, on_accepted);
}

static int listen_at(const struct endpoint *e) {
    struct sockaddr_storage at;
    socklen_t n = endpoint_to_sockaddr(e, false, &at);
    int one = 1, fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 ||
        listen(fd, 4096) < 0)
        return -errno;
    return fd;
}

static bool stdin_ended;
static void on_stdin(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    char byte;
    (void)op, (void)n, (void)bytes, (void)more;
    stdin_ended = read(STDIN_FILENO, &byte, 1) <= 0;
}

int load_serve(const struct endpoint *at, size_t n) {
    struct ring *r = load_ring();
    struct door *doors = calloc(n, sizeof(*doors));
    struct ring_op input = RING_OP_NULL;
    check(doors);
    for (size_t i = 0; i < n; i++) {
        doors[i].ring = r;
        doors[i].fd = listen_at(&at[i]);
        if (doors[i].fd < 0) {
            fprintf(stderr, "cannot listen: %s\n", strerror(-doors[i].fd));
            return 1;
        }
        ring_accept(r, &doors[i].accept, doors[i].fd, on_accepted);
    }
    ring_poll_in(r, &input, STDIN_FILENO, on_stdin);
    puts("listening");
    fflush(stdout);
    while (!stdin_ended)
        if (ring_turn(r, NS_PER_S, NULL) < 0)
            return 1;
    return 0; /* connections end with the process */
}
