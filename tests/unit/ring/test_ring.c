/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: each submission ends in exactly one last callback with the right result, whatever races with it.
 * Method: real sockets (pairs and loopback TCP) on each flavour of ring; the kernel is the judge. */
#include <poll.h>
#include <sys/eventfd.h>

#include "ring_unit.h"

static void close_by_ring(struct ring *r, int fd) {
    struct heard c = {0};
    ring_close(r, &c.op, fd, hear);
    ring_cancel(r, &c.op); /* has no effect on a close */
    turn_until(r, c.n_last);
    assert_int_equal(c.n, 0);
}

/* --- accept, connect --- */

enum { N_CLIENTS = 40 };
struct gate {
    struct heard h;
    int fds[2 * N_CLIENTS];
    unsigned n_fds;
};
static void admit(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct gate *g = container_of(container_of(op, struct heard, op), struct gate, h);
    hear(op, n, bytes, more);
    if (n >= 0)
        g->fds[g->n_fds++] = n;
}

static void accept_many(void) {
    struct ring *r = make_ring(8, 16, 4096);
    struct endpoint at, peer, local, seen;
    int listener = listen_on(&at), clients[N_CLIENTS];
    struct gate g = {0};
    ring_accept(r, &g.h.op, listener, admit);
    for (unsigned i = 0; i < N_CLIENTS; i++)
        clients[i] = dial(&at);
    turn_until(r, g.n_fds == N_CLIENTS);
    assert_int_equal(g.h.n_last, 0);
    assert_int_equal(ring_in_flight(r), 1);
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        assert_int_equal(fcntl(g.fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fcntl(g.fds[i], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        assert_int_equal(ring_socket_peer(r, g.fds[i], &peer), 0);
        assert_int_equal(ring_socket_local(r, g.fds[i], &local), 0);
        assert_true(endpoint_is(&local, &at));
        assert_int_equal(ring_socket_local(r, clients[i], &seen), 0);
        assert_true(endpoint_is(&seen, &peer));
    }
    ring_cancel(r, &g.h.op);
    ring_cancel(r, &g.h.op); /* twice is as once */
    turn_until(r, g.h.n_last);
    assert_int_equal(g.h.n, -ECANCELED);
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        close(clients[i]);
        close_by_ring(r, g.fds[i]);
    }
    close(listener);
    finish(r);
}
static void test_accept_is_multishot(void **state) { on_each_flavour(accept_many); }

static void accept_on_no_listener(void) {
    struct ring *r = make_ring(8, 16, 4096);
    int pair[2];
    make_pair(pair);
    struct heard a = {0}, b = {0};
    ring_accept(r, &a.op, pair[0], hear);
    ring_recv(r, &b.op, 1 << 20, true, hear); /* no such descriptor */
    turn_until(r, a.n_last && b.n_last);
    assert_true(a.n < 0);
    assert_int_equal(b.n, -EBADF);
    close(pair[0]);
    close(pair[1]);
    finish(r);
}
static void test_an_error_at_submission_comes_as_a_result(void **state) { on_each_flavour(accept_on_no_listener); }

static void connect_both_ways(void) {
    struct ring *r = make_ring(8, 16, 4096);
    struct endpoint at;
    int listener = listen_on(&at), fd = -1;
    static const bool as_v6[] = {false, true}; /* a v4 destination from an AF_INET6 socket is v4-mapped */
    for (size_t i = 0; i < array_size(as_v6); i++) {
        struct ring_socket_spec spec = {.netns_fd = -1, .v6 = as_v6[i]};
        struct heard c = {0};
        assert_int_equal(ring_socket(r, &spec, &fd), 0);
        ring_connect(r, &c.op, fd, &at, as_v6[i], hear);
        turn_until(r, c.n_last);
        assert_int_equal(c.n, 0);
        struct endpoint peer;
        assert_int_equal(ring_socket_peer(r, fd, &peer), 0);
        assert_true(endpoint_is(&peer, &at));
        close_by_ring(r, fd);
    }
    close(listener); /* from here nobody listens on the port */
    struct ring_socket_spec spec = {.netns_fd = -1};
    struct heard c = {0};
    assert_int_equal(ring_socket(r, &spec, &fd), 0);
    ring_connect(r, &c.op, fd, &at, false, hear);
    turn_until(r, c.n_last);
    assert_int_equal(c.n, -ECONNREFUSED);
    close_by_ring(r, fd);
    finish(r);
}
static void test_connect_and_connection_refused(void **state) { on_each_flavour(connect_both_ways); }

static void cancel_a_connect(void) {
    /* A listener whose queue is full drops the SYN, so the connect hangs until it is cancelled. */
    struct ring *r = make_ring(8, 16, 4096);
    struct endpoint at;
    int listener = listen_on(&at), fillers[8], n_fillers = 0, fd = -1;
    assert_int_equal(listen(listener, 0), 0);
    struct sockaddr_storage ss;
    unsigned n = endpoint_to_sockaddr(&at, false, &ss);
    for (bool full = false; !full && n_fillers < 8;) {
        int f = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(f >= 0);
        assert_true(connect(f, (struct sockaddr *)&ss, n) == 0 || errno == EINPROGRESS);
        fillers[n_fillers++] = f;
        struct pollfd p = {.fd = f, .events = POLLOUT};
        full = poll(&p, 1, 50) == 0;
    }
    struct ring_socket_spec spec = {.netns_fd = -1};
    struct heard c = {0};
    assert_int_equal(ring_socket(r, &spec, &fd), 0);
    ring_connect(r, &c.op, fd, &at, false, hear);
    assert_int_equal(ring_turn(r, 0, NULL), 0);
    assert_int_equal(c.n_calls, 0);
    ring_cancel(r, &c.op);
    turn_until(r, c.n_last);
    assert_int_equal(c.n, -ECANCELED);
    close_by_ring(r, fd);
    while (n_fillers)
        close(fillers[--n_fillers]);
    close(listener);
    finish(r);
}
static void test_a_connect_can_be_cancelled(void **state) { on_each_flavour(cancel_a_connect); }

/* --- receive and send --- */

static void receive_until_fin(void) {
    struct ring *r = make_ring(8, 4, 1024);
    int pair[2];
    make_pair(pair);
    static uint8_t sent[100 * 1000], got[sizeof(sent)];
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    struct heard in = {.got = got, .got_max = sizeof(got)}, out = {0};
    ring_recv(r, &in.op, pair[0], true, hear);
    for (size_t at = 0; at < sizeof(sent);) {
        size_t third = (sizeof(sent) - at + 2) / 3;
        struct iovec iov[3] = {
            {sent + at, third},
            {sent + at + third, min_of(third, sizeof(sent) - at - third)},
        };
        iov[2] = (struct iovec){sent + at + third + iov[1].iov_len, sizeof(sent) - at - third - iov[1].iov_len};
        unsigned n_last = out.n_last;
        ring_send(r, &out.op, pair[1], iov, 3, hear);
        turn_until(r, out.n_last > n_last);
        assert_true(out.n > 0);
        at += (size_t)out.n;
    }
    struct heard fin = {0};
    ring_shutdown_write(r, &fin.op, pair[1], hear);
    assert_int_equal(fin.n_calls, 0); /* never inside a submission */
    turn_until(r, in.n_last);
    assert_int_equal(fin.n_last, 1);
    assert_int_equal(fin.n, 0);
    assert_int_equal(in.n, 0);
    assert_int_equal(in.n_got, sizeof(sent));
    assert_memory_equal(got, sent, sizeof(sent));
    close_by_ring(r, pair[0]);
    close_by_ring(r, pair[1]);
    struct ring_stats s;
    ring_get_stats(r, &s);
    assert_true(s.enters && s.submitted && s.completed);
    assert_int_equal(s.cq_overflows, 0);
    finish(r);
}
static void test_receive_until_the_end_of_stream(void **state) { on_each_flavour(receive_until_fin); }

static void receive_once(void) {
    struct ring *r = make_ring(8, 4, 1024);
    int pair[2];
    make_pair(pair);
    struct heard in = {0};
    for (unsigned i = 1; i <= 3; i++) {
        ring_recv(r, &in.op, pair[0], false, hear);
        assert_int_equal(write(pair[1], "ab", 2), 2);
        turn_until(r, in.n_last == i);
        assert_int_equal(in.n, 2);
        assert_null(ring_received_chunk(r));
    }
    assert_int_equal(in.n_got, 6);
    close(pair[0]);
    close(pair[1]);
    finish(r);
}
static void test_receive_once(void **state) { on_each_flavour(receive_once); }

/* The queue of a send, with more pieces than one send takes; bytes join it while it is under way. */
static void send_a_queue(void) {
    enum { N_PIECES = 3 * RING_PIECES_MAX + 5, EACH = BUF_SHARE_MIN, N = N_PIECES * EACH };
    cleanup(buf_pool_freep) struct buf_pool *pool = buf_pool_new(64);
    struct ring *r = make_ring(8, 4, 1024);
    int pair[2];
    make_pair(pair);
    static uint8_t sent[N], got[N];
    struct bufq q;
    struct heard in = {.got = got, .got_max = N}, out = {0};
    size_t n_sent = 0, n_made = 0;
    unsigned n_sends = 0;
    bufq_init(&q, pool);
    ring_recv(r, &in.op, pair[0], true, hear);
    for (size_t i = 0; i < N; i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    while (n_sent < N) {
        for (unsigned i = 0; i < 20 && n_made < N; i++, n_made += EACH) { /* each a piece of its own */
            struct buf_chunk *c = buf_chunk_acquire(pool);
            memcpy(buf_chunk_bytes(c), sent + n_made, EACH);
            assert_int_equal(bufq_append_shared(&q, c, buf_chunk_bytes(c), EACH), 0);
            buf_chunk_unref(c);
        }
        ring_send_queue(r, &out.op, pair[1], &q, hear);
        if (n_made < N) { /* the head of what joined it now is not looked at before the next send */
            assert_int_equal(bufq_append(&q, sent + n_made, EACH), 0);
            n_made += EACH;
        }
        turn_until(r, out.n_last > n_sends);
        n_sends++;
        assert_in_range(out.n, 1, RING_PIECES_MAX * EACH);
        bufq_consume(&q, (size_t)out.n);
        n_sent += (size_t)out.n;
    }
    turn_until(r, in.n_got == N);
    assert_memory_equal(got, sent, N);
    ring_cancel(r, &in.op);
    turn_until(r, in.n_last);
    bufq_deinit(&q);
    close(pair[0]);
    close(pair[1]);
    finish(r);
}
static void test_send_from_a_queue(void **state) { on_each_flavour(send_a_queue); }

/* A submission that had no entry is made later, from what it was given: also an address. */
static void wait_for_an_entry(void) {
    enum { N = 12 };
    cleanup(buf_pool_freep) struct buf_pool *pool = buf_pool_new(4);
    struct ring *r = make_ring(2, 4, 1024);
    struct endpoint at;
    int listener = listen_on(&at), pairs[N][2], fds[N];
    static struct heard to[N], in[N], out[N];
    struct bufq q[N];
    memset(to, 0, sizeof(to));
    memset(in, 0, sizeof(in));
    memset(out, 0, sizeof(out));
    r->uring.sq.ring_entries = 0; /* as if the kernel took none */
    for (unsigned i = 0; i < N; i++) {
        struct ring_socket_spec spec = {.netns_fd = -1};
        make_pair(pairs[i]);
        bufq_init(&q[i], pool);
        if (i < 4)
            assert_int_equal(bufq_append(&q[i], "abc", 3), 0);
        assert_int_equal(ring_socket(r, &spec, &fds[i]), 0);
        ring_connect(r, &to[i].op, fds[i], &at, false, hear);
        ring_recv(r, &in[i].op, pairs[i][0], true, hear);
        if (i < 4)
            ring_send_queue(r, &out[i].op, pairs[i][1], &q[i], hear);
        assert_int_equal(op_place(&to[i].op), OP_BACKLOG);
    }
    ring_cancel(r, &to[0].op);
    r->uring.sq.ring_entries = *r->uring.sq.kring_entries;
    for (unsigned i = 0; i < N; i++) {
        turn_until(r, to[i].n_last && (i >= 4 || (in[i].n_got == 3 && out[i].n_last)));
        assert_int_equal(to[i].n, i ? 0 : -ECANCELED);
        ring_cancel(r, &in[i].op);
        turn_until(r, in[i].n_last);
        bufq_deinit(&q[i]);
        close(fds[i]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    close(listener);
    finish(r);
}
static void test_a_submission_waits_for_an_entry(void **state) { on_each_flavour(wait_for_an_entry); }

static void send_to_a_full_socket(void) {
    struct ring *r = make_ring(8, 4, 1024);
    int pair[2], small = 4096;
    make_pair(pair);
    assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    static uint8_t bytes[1 << 20], sink[4096];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct heard out = {0};
    ring_send(r, &out.op, pair[0], &iov, 1, hear);
    turn_until(r, out.n_last);
    assert_in_range(out.n, 1, sizeof(bytes) - 1); /* as much as fits */
    ring_send(r, &out.op, pair[0], &iov, 1, hear);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ring_turn(r, 0, NULL), 0);
    assert_int_equal(out.n_last, 1); /* waits for room */
    while (recv(pair[1], sink, sizeof(sink), MSG_DONTWAIT) > 0)
        continue;
    turn_until(r, out.n_last == 2);
    assert_true(out.n > 0);
    ring_send(r, &out.op, pair[0], &iov, 1, hear);
    assert_int_equal(ring_turn(r, 0, NULL), 0);
    if (out.n_last == 2) {
        ring_cancel(r, &out.op);
        turn_until(r, out.n_last == 3);
        assert_int_equal(out.n, -ECANCELED);
    }
    close(pair[1]);
    unsigned n_last = out.n_last;
    ring_send(r, &out.op, pair[0], &iov, 1, hear); /* no SIGPIPE */
    turn_until(r, out.n_last == n_last + 1);
    assert_int_equal(out.n, -EPIPE);
    close(pair[0]);
    finish(r);
}
static void test_a_send_may_be_short_and_waits_for_room(void **state) { on_each_flavour(send_to_a_full_socket); }

/* Much data and right behind it the end, before the ring looks, or while it reads: the end is heard all the same. */
static void end_behind_bulk(void) {
    static const uint8_t bytes[1 << 20];
    struct ring *r = make_ring(8, 16, 4096);
    struct endpoint at;
    int listener = listen_on(&at);
    for (unsigned i = 0; i < 120; i++) {
        int far = dial(&at), near = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), local[2];
        struct heard in = {0};
        bool reset = i % 3 == 0, unix_pair = i % 3 == 1;
        size_t n = (i * 9973UL) % 300000;
        assert_true(far >= 0 && near >= 0);
        make_pair(local);
        int from = unix_pair ? local[1] : far;
        if (i % 2)
            ring_recv(r, &in.op, unix_pair ? local[0] : near, true, hear);
        for (size_t sent = 0; sent < n;) {
            ssize_t k = send(from, bytes, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += (size_t)max_of(k, (ssize_t)0);
            if (k <= 0 && !(i % 2))
                break; /* nobody reads yet */
            if (i % 4 == 1 || k <= 0)
                assert_int_equal(ring_turn(r, 0, NULL), 0);
        }
        if (reset)
            ring_socket_abort_on_close(r, far, true);
        close(unix_pair ? local[1] : far);
        if (!(i % 2))
            ring_recv(r, &in.op, unix_pair ? local[0] : near, true, hear);
        turn_until(r, in.n_last);
        if (reset)
            assert_int_equal(in.n, -ECONNRESET);
        else
            assert_int_equal(in.n, 0);
        close(unix_pair ? far : local[1]);
        close(local[0]);
        close(near);
    }
    close(listener);
    finish(r);
}
static void test_an_end_behind_bulk_is_heard(void **state) { on_each_flavour(end_behind_bulk); }

static void reset_seen(void) {
    struct ring *r = make_ring(8, 4, 1024);
    struct endpoint at;
    int listener = listen_on(&at), client = dial(&at), server = accept(listener, NULL, NULL);
    struct heard in = {0};
    ring_recv(r, &in.op, server, true, hear);
    assert_int_equal(ring_turn(r, 0, NULL), 0);
    ring_socket_abort_on_close(r, client, true);
    close_by_ring(r, client);
    turn_until(r, in.n_last);
    assert_int_equal(in.n, -ECONNRESET);
    close(server);
    close(listener);
    finish(r);
}
static void test_abort_on_close_sends_a_reset(void **state) { on_each_flavour(reset_seen); }

/* --- cancellation --- */

static void cancel_receive(void) {
    struct ring *r = make_ring(8, 4, 1024);
    int pair[2];
    make_pair(pair);
    for (unsigned i = 0; i < 50; i++) {
        /* 0: idle in the kernel. 1: data there before the cancellation. 2: not even submitted. 3: submitted and data
         * behind it. Data may win or stay in the socket; none may be lost or come twice. */
        struct heard in = {0};
        unsigned way = i % 4;
        ring_recv(r, &in.op, pair[0], true, hear);
        if (way != 2)
            assert_int_equal(ring_turn(r, 0, NULL), 0);
        if (way == 1 || way == 3)
            assert_int_equal(write(pair[1], "x", 1), 1);
        if (way == 3)
            assert_int_equal(ring_turn(r, 0, NULL), 0);
        ring_cancel(r, &in.op);
        turn_until(r, in.n_last);
        assert_int_equal(in.n_last, 1);
        assert_true(in.n == -ECANCELED || in.n == 1);
        uint8_t left[4];
        ssize_t n = recv(pair[0], left, sizeof(left), MSG_DONTWAIT);
        assert_int_equal(in.n_got + (size_t)max_of(n, 0), way == 1 || way == 3);
        assert_false(in.op.cancelling);
        ring_cancel(r, &in.op); /* idle: no effect */
        assert_int_equal(ring_turn(r, 0, NULL), 0);
        assert_int_equal(in.n_last, 1);
    }
    close(pair[0]);
    close(pair[1]);
    finish(r);
}
static void test_cancellation_races(void **state) { on_each_flavour(cancel_receive); }

static struct ring *ring_of_callback;
struct chain {
    struct heard h;
    int fd;
    unsigned n_wanted;
};
static void cancel_inside(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    hear(op, n, bytes, more);
    ring_cancel(ring_of_callback, op);
}
static void receive_again(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct chain *c = container_of(container_of(op, struct heard, op), struct chain, h);
    hear(op, n, bytes, more);
    if (!more && c->h.n_last < c->n_wanted)
        ring_recv(ring_of_callback, op, c->fd, false, receive_again);
}

static void submit_inside_callbacks(void) {
    struct ring *r = ring_of_callback = make_ring(4, 4, 1024);
    int pair[2];
    make_pair(pair);
    struct heard stop = {0};
    ring_recv(r, &stop.op, pair[0], true, cancel_inside);
    assert_int_equal(write(pair[1], "a", 1), 1);
    turn_until(r, stop.n_last);
    assert_int_equal(stop.n_got, 1);
    assert_true(stop.n == -ECANCELED || stop.n == 1);
    /* A cancellation of the former submission must not hit the next one of the same op. */
    struct chain c = {.fd = pair[0], .n_wanted = 20};
    ring_recv(r, &c.h.op, pair[0], false, receive_again);
    while (c.h.n_last < c.n_wanted) {
        unsigned n = c.h.n_last;
        assert_int_equal(write(pair[1], "b", 1), 1);
        turn_until(r, c.h.n_last > n);
        assert_int_equal(c.h.n, 1);
    }
    close(pair[0]);
    close(pair[1]);
    finish(r);
}
static void test_callbacks_may_submit_and_cancel(void **state) { on_each_flavour(submit_inside_callbacks); }

static void overfill_the_queue(void) {
    enum { N = 300 };
    struct ring *r = make_ring(4, 16, 64); /* far fewer entries than ops */
    static struct heard in[N];
    static int pairs[N][2];
    memset(in, 0, sizeof(in));
    for (unsigned i = 0; i < N; i++) {
        make_pair(pairs[i]);
        ring_recv(r, &in[i].op, pairs[i][0], true, hear);
    }
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(write(pairs[i][1], "hello", 5), 5);
    for (unsigned i = 0; i < N; i++)
        turn_until(r, in[i].n_got == 5);
    for (unsigned i = 0; i < N; i++)
        ring_cancel(r, &in[i].op);
    for (unsigned i = 0; i < N; i++) {
        turn_until(r, in[i].n_last);
        assert_int_equal(in[i].n, -ECANCELED);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    finish(r);
}
static void test_more_ops_than_entries(void **state) { on_each_flavour(overfill_the_queue); }

/* --- poll, wait, timers --- */

static void poll_eventfd(void) {
    struct ring *r = make_ring(8, 4, 1024);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct heard p = {0};
    eventfd_t value;
    ring_poll_in(r, &p.op, fd, hear);
    assert_int_equal(ring_turn(r, 0, NULL), 0);
    assert_int_equal(p.n_calls, 0);
    for (unsigned i = 0; i < 5; i++) {
        unsigned n = p.n_calls;
        assert_int_equal(eventfd_write(fd, 1), 0);
        turn_until(r, p.n_calls > n);
        assert_true(p.n & POLLIN);
        assert_true(p.more);
        assert_int_equal(eventfd_read(fd, &value), 0);
    }
    ring_cancel(r, &p.op);
    turn_until(r, p.n_last);
    assert_int_equal(p.n, -ECANCELED);
    close(fd);
    finish(r);
}
static void test_poll_hears_each_event(void **state) { on_each_flavour(poll_eventfd); }

/* What the kernel says of a socket whose other side has ended: nothing, until it is reset. */
static void hear_a_reset_behind_a_fin(void) {
    struct ring *r = make_ring(8, 16, 4096);
    struct endpoint at;
    int listener = listen_on(&at);
    for (unsigned how = 0; how < 3; how++) {
        int far = dial(&at), near = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct linger now = {.l_onoff = 1};
        struct heard in = {0}, h = {0}, out = {0};
        assert_true(near >= 0);
        assert_int_equal(shutdown(far, SHUT_WR), 0);
        ring_recv(r, &in.op, near, true, hear);
        turn_until(r, in.n_last);
        assert_int_equal(in.n, 0);
        ring_watch_hangup(r, &h.op, near, hear);
        for (unsigned i = 0; i < 50; i++) { /* sending goes on meanwhile, and says nothing */
            char sent = 'x';
            struct iovec iov = {&sent, 1};
            ring_send(r, &out.op, near, &iov, 1, hear);
            turn_until(r, out.n_last == i + 1);
            assert_int_equal(out.n, 1);
            char byte;
            assert_int_equal(recv(far, &byte, 1, 0), 1);
        }
        assert_int_equal(h.n_calls, 0);
        if (how == 0) { /* cancelled in silence */
            ring_cancel(r, &h.op);
            turn_until(r, h.n_last);
            assert_int_equal(h.n, -ECANCELED);
            close(far);
        } else if (how == 1) {
            assert_int_equal(setsockopt(far, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
            close(far);
            turn_until(r, h.n_calls);
            assert_true(h.n & POLLERR);
            assert_true(h.n & POLLHUP);
        } else { /* our own end makes it two */
            assert_int_equal(shutdown(near, SHUT_WR), 0);
            close(far);
            turn_until(r, h.n_calls);
            assert_true(h.n & POLLHUP);
            assert_false(h.n & POLLERR);
        }
        ring_cancel(r, &h.op);
        turn_until(r, h.n_last);
        close_by_ring(r, near);
    }
    close(listener);
    finish(r);
}
static void test_a_reset_behind_a_fin(void **state unused_arg) { on_each_flavour(hear_a_reset_behind_a_fin); }

struct due {
    struct ring_timer t;
    uint64_t seen_ns;
};
static void on_due(struct ring_timer *t) { container_of(t, struct due, t)->seen_ns = ring_now_ns(ring_of_callback); }
static unsigned n_before, n_after;
static void count(void *context) { ++*(unsigned *)context; }
static void count_before(void *context) {
    assert_int_equal(n_before, n_after);
    count(&n_before);
}
static void count_after(void *context) { count(&n_after); }

static void timers_bound_the_wait(void) {
    struct ring *r = ring_of_callback = make_ring(8, 4, 1024);
    struct ring_wait_hooks hooks = {count_before, count_after, NULL};
    struct due soon = {0}, later = {0}, never = {0};
    n_before = n_after = 0;
    uint64_t start = clock_mono_ns();
    ring_timer_start(r, &later.t, start + 40 * NS_PER_MS, on_due);
    ring_timer_start(r, &soon.t, start + 20 * NS_PER_MS, on_due);
    ring_timer_start(r, &never.t, start + 30 * NS_PER_MS, on_due);
    ring_timer_stop(r, &never.t);
    while (!later.seen_ns)
        assert_int_equal(ring_turn(r, UINT64_MAX, &hooks), 0);
    assert_true(soon.seen_ns >= start + 20 * NS_PER_MS && soon.seen_ns <= later.seen_ns);
    assert_true(later.seen_ns >= start + 40 * NS_PER_MS);
    assert_int_equal(never.seen_ns, 0);
    assert_int_equal(n_before, n_after);
    /* Waits in the kernel, does not spin: a wait for each, but one for both when the machine woke us so late. */
    assert_in_range(n_before, soon.seen_ns < start + 40 * NS_PER_MS ? 2 : 1, 20);
    unsigned n = n_before;
    assert_int_equal(ring_turn(r, 0, &hooks), 0); /* no wait: no hook */
    assert_int_equal(n_before, n);
    finish(r);
}
static void test_a_timer_ends_the_wait(void **state) { on_each_flavour(timers_bound_the_wait); }

static void overflow(void) {
    /* More completions at once than the completion queue holds: the kernel keeps them, we count that, none is lost. */
    enum { N = 200 };
    struct ring *r = make_ring(1, 1, 64);
    static struct heard h[N];
    int fds[N];
    memset(h, 0, sizeof(h));
    for (unsigned i = 0; i < N; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_true(fds[i] >= 0);
        ring_poll_in(r, &h[i].op, fds[i], hear);
    }
    assert_int_equal(ring_turn(r, 0, NULL), 0);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(eventfd_write(fds[i], 1), 0);
    for (unsigned i = 0; i < N; i++)
        turn_until(r, h[i].n_calls);
    for (unsigned i = 0; i < N; i++)
        ring_cancel(r, &h[i].op);
    for (unsigned i = 0; i < N; i++) {
        turn_until(r, h[i].n_last);
        assert_int_equal(h[i].n_last, 1);
        close(fds[i]);
    }
    struct ring_stats s;
    ring_get_stats(r, &s);
    assert_true(s.cq_overflows > 0);
    finish(r);
}
static void test_an_overflow_of_completions_is_counted_and_loses_nothing(void **state) { on_each_flavour(overflow); }

/* --- what only a bug does --- */

static void submit_twice(void *unused) {
    struct ring *r = make_ring(8, 4, 1024);
    struct heard h = {0};
    ring_recv(r, &h.op, 0, true, hear);
    ring_recv(r, &h.op, 0, true, hear);
}
static void free_a_busy_ring(void *unused) {
    struct ring *r = make_ring(8, 4, 1024);
    struct heard h = {0};
    ring_recv(r, &h.op, 0, true, hear);
    ring_free(r);
}
static void lose_an_op(void *unused) {
    struct ring *r = make_ring(8, 4, 1024);
    struct heard h = {0};
    ring_recv(r, &h.op, 1 << 20, true, hear);
    memset(&h, 0xdb, sizeof(h)); /* as a pool does on release */
    ignore_result(ring_turn(r, 0, NULL));
}
static void test_misuse_ends_the_process(void **state) {
    flavour_now = &flavours[0];
    assert_true(unit_dies(submit_twice, NULL));
    assert_true(unit_dies(free_a_busy_ring, NULL));
    assert_true(unit_dies(lose_an_op, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_is_multishot),
        cmocka_unit_test(test_an_error_at_submission_comes_as_a_result),
        cmocka_unit_test(test_connect_and_connection_refused),
        cmocka_unit_test(test_a_connect_can_be_cancelled),
        cmocka_unit_test(test_receive_until_the_end_of_stream),
        cmocka_unit_test(test_receive_once),
        cmocka_unit_test(test_send_from_a_queue),
        cmocka_unit_test(test_a_submission_waits_for_an_entry),
        cmocka_unit_test(test_a_send_may_be_short_and_waits_for_room),
        cmocka_unit_test(test_an_end_behind_bulk_is_heard),
        cmocka_unit_test(test_abort_on_close_sends_a_reset),
        cmocka_unit_test(test_cancellation_races),
        cmocka_unit_test(test_callbacks_may_submit_and_cancel),
        cmocka_unit_test(test_more_ops_than_entries),
        cmocka_unit_test(test_poll_hears_each_event),
        cmocka_unit_test(test_a_reset_behind_a_fin),
        cmocka_unit_test(test_a_timer_ends_the_wait),
        cmocka_unit_test(test_an_overflow_of_completions_is_counted_and_loses_nothing),
        cmocka_unit_test(test_misuse_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
