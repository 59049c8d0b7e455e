/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: sockets of the simulation end, break and refuse as Linux's do, and each misuse of ring.h that it promises to see is seen.
 * Method: one small scene a rule, without faults, over many seeds where chance matters; violations are counted by a handler. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <ringwall/base/rng.h>

#include "unit.h"

#include "ring_sim.h"

enum { TURNS_MAX = 20000 };

/* --- a ring with one socket, and an application on the other side --- */

struct heard {
    struct ring_op op;
    unsigned n_calls, n_last;
    int n;
    size_t n_got;
};
static void hear(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct heard *h = container_of(op, struct heard, op);
    h->n_calls++;
    h->n_last += !more;
    h->n = n;
    if (bytes)
        h->n_got += (size_t)n;
}

struct told {
    struct sim_conn *conn;
    int result, error;
    unsigned n_connected, n_fin, n_reset;
    size_t n_got;
};
static void app_connected(struct sim_conn *c, int result) {
    struct told *t = sim_conn_context(c);
    t->n_connected++;
    t->result = result;
}
static void app_bytes(struct sim_conn *c, const uint8_t *bytes, size_t n) { ((struct told *)sim_conn_context(c))->n_got += n; }
static void app_fin(struct sim_conn *c) { ((struct told *)sim_conn_context(c))->n_fin++; }
static void app_reset(struct sim_conn *c, int error) {
    struct told *t = sim_conn_context(c);
    t->n_reset++;
    t->error = error;
}
static const struct sim_app app = {.connected = app_connected, .bytes = app_bytes, .fin = app_fin, .reset = app_reset};

struct scene {
    struct sim *sim;
    struct ring *ring;
    int listen_fd, fd; /* fd: accepted, -1 before */
    struct endpoint at;
    struct told app;
    struct heard accept;
    unsigned n_violations;
    char violation[256]; /* the first */
};

static void accepted(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct scene *s = container_of(op, struct scene, accept.op);
    hear(op, n, bytes, more);
    if (n >= 0)
        s->fd = n;
}

static void noted(void *context, const char *text) {
    struct scene *s = context;
    if (!s->n_violations++)
        snprintf(s->violation, sizeof(s->violation), "%s", text);
}

#define turn_until(s, cond) \
    do { \
        unsigned turns_ = 0; \
        while (!(cond)) { \
            assert_int_equal(ring_turn((s)->ring, NS_PER_S, NULL), 0); \
            if (++turns_ > TURNS_MAX) \
                fail_msg("waited in vain for %s", #cond); \
        } \
    } while (0)

static void turn_some(struct scene *s) {
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(ring_turn(s->ring, NS_PER_MS, NULL), 0);
}

static struct endpoint endpoint_of(const char *text) {
    struct endpoint e;
    assert_true(endpoint_parse(str_of(text), &e));
    return e;
}

static struct ring *new_ring(void) {
    struct ring_options o = {.n_entries = 8, .n_recv_buffers = 8, .recv_buffer_bytes = 4096};
    struct ring *r = NULL;
    char why[256];
    assert_int_equal(ring_new(&o, &r, why), 0);
    return r;
}

static void open_scene(struct scene *s, uint64_t seed) {
    *s = (struct scene){.fd = -1, .sim = ring_sim_new(seed, &SIM_FAULTS_NONE)};
    ring_sim_on_violation(s->sim, noted, s);
    s->ring = new_ring();
    s->at = endpoint_of("127.0.0.1:15001");
    s->listen_fd = ring_sim_listen(s->sim, -1, &s->at);
    ring_accept(s->ring, &s->accept.op, s->listen_fd, accepted);
    s->app.conn = ring_sim_connect(s->sim, -1, NULL, &s->at, &app, &s->app);
    turn_until(s, s->fd >= 0 && s->app.n_connected);
    assert_int_equal(s->app.result, 0);
}

static void close_fd(struct scene *s, int fd) {
    struct heard c = {0};
    ring_close(s->ring, &c.op, fd, hear);
    turn_until(s, c.n_last);
    assert_int_equal(c.n, 0);
}

static void close_scene(struct scene *s) {
    if (s->fd >= 0)
        close_fd(s, s->fd);
    ring_cancel(s->ring, &s->accept.op);
    turn_until(s, !ring_op_busy(&s->accept.op));
    assert_int_equal(ring_in_flight(s->ring), 0);
    assert_null(ring_free(s->ring));
    ring_sim_unlisten(s->sim, s->listen_fd);
    assert_null(ring_sim_free(s->sim));
    if (s->n_violations)
        fail_msg("%s", s->violation);
}

static int send_now(struct scene *s, const void *bytes, size_t n) {
    struct heard h = {0};
    struct iovec iov = {(void *)bytes, n};
    ring_send(s->ring, &h.op, s->fd, &iov, 1, hear);
    turn_until(s, h.n_last);
    return h.n;
}

/* --- how connections end --- */

static void test_half_close_each_way(void **state) {
    struct scene s;
    open_scene(&s, 1);
    struct heard in = {0}, shut = {0};
    ring_recv(s.ring, &in.op, s.fd, true, hear);
    assert_int_equal(sim_conn_write(s.app.conn, "abc", 3), 3);
    sim_conn_shutdown(s.app.conn);
    turn_until(&s, in.n_last);
    assert_int_equal(in.n, 0);
    assert_int_equal(in.n_got, 3);
    assert_int_equal(sim_conn_write(s.app.conn, "d", 1), 0);
    assert_int_equal(send_now(&s, "hello", 5), 5); /* the other way is open still */
    ring_shutdown_write(s.ring, &shut.op, s.fd, hear);
    turn_until(&s, s.app.n_fin);
    assert_int_equal(shut.n, 0);
    assert_int_equal(s.app.n_got, 5);
    assert_int_equal(send_now(&s, "x", 1), -EPIPE);
    ring_recv(s.ring, &in.op, s.fd, true, hear); /* the end of the stream stays the end */
    turn_until(&s, in.n_last == 2);
    assert_int_equal(in.n, 0);
    close_scene(&s);
    assert_int_equal(s.app.n_reset, 0);
}

static void test_closing_with_unread_bytes_resets(void **state) {
    struct scene s;
    open_scene(&s, 2);
    assert_int_equal(sim_conn_write(s.app.conn, "abc", 3), 3);
    turn_some(&s);
    close_fd(&s, s.fd);
    s.fd = -1;
    turn_until(&s, s.app.n_reset);
    assert_int_equal(s.app.n_fin, 0);
    assert_int_equal(s.app.error, -ECONNRESET);
    close_scene(&s);
}

static void test_an_orderly_close_is_a_fin_and_late_bytes_are_reset(void **state) {
    struct scene s;
    open_scene(&s, 3);
    close_fd(&s, s.fd);
    s.fd = -1;
    turn_until(&s, s.app.n_fin);
    assert_int_equal(s.app.n_reset, 0);
    assert_int_equal(sim_conn_write(s.app.conn, "late", 4), 4); /* half open, as far as the application knows */
    turn_until(&s, s.app.n_reset);
    assert_int_equal(s.app.error, -EPIPE);
    close_scene(&s);
}

static void test_abort_on_close_is_a_reset(void **state) {
    struct scene s;
    open_scene(&s, 4);
    ring_socket_abort_on_close(s.ring, s.fd, true);
    close_fd(&s, s.fd);
    s.fd = -1;
    turn_until(&s, s.app.n_reset);
    close_scene(&s);
}

static void test_an_error_is_told_once(void **state) {
    /* Who asks first hears of the reset; a receive after that says 0, which looks like an orderly end. */
    unsigned by_recv = 0, by_send = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct scene s;
        open_scene(&s, seed);
        struct heard in = {0}, out = {0};
        static uint8_t much[1 << 20];
        struct iovec iov = {much, sizeof(much)};
        sim_conn_read(s.app.conn, false);
        while (send_now(&s, much, sizeof(much)) > 0) { /* until the window is full */
            ring_send(s.ring, &out.op, s.fd, &iov, 1, hear);
            turn_some(&s);
            if (ring_op_busy(&out.op))
                break;
        }
        ring_recv(s.ring, &in.op, s.fd, true, hear);
        turn_some(&s);
        sim_conn_reset(s.app.conn);
        turn_until(&s, !ring_op_busy(&in.op) && !ring_op_busy(&out.op));
        assert_true((in.n == -ECONNRESET && out.n == -EPIPE) || (in.n == 0 && out.n == -ECONNRESET));
        by_recv += in.n < 0;
        by_send += in.n == 0;
        assert_int_equal(send_now(&s, "x", 1), -EPIPE);
        struct endpoint e;
        assert_int_equal(ring_socket_peer(s.ring, s.fd, &e), -ENOTCONN);
        close_scene(&s);
    }
    assert_true(by_recv && by_send);
}

static void test_a_watch_hears_of_a_reset_behind_a_fin(void **state unused_arg) {
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct scene s;
        open_scene(&s, seed);
        struct heard in = {0}, watch = {0};
        ring_recv(s.ring, &in.op, s.fd, true, hear);
        sim_conn_shutdown(s.app.conn);
        turn_until(&s, in.n_last);
        assert_int_equal(in.n, 0);
        bool late = seed % 2; /* what is so already is told as well */
        if (!late)
            ring_watch_hangup(s.ring, &watch.op, s.fd, hear);
        turn_some(&s);
        assert_int_equal(watch.n_calls, 0);
        sim_conn_reset(s.app.conn);
        if (late) {
            turn_some(&s);
            ring_watch_hangup(s.ring, &watch.op, s.fd, hear);
        }
        turn_until(&s, watch.n_calls);
        assert_int_equal(watch.n, POLLERR | POLLHUP);
        assert_int_equal(send_now(&s, "x", 1), -EPIPE); /* the error is still there for who asks */
        ring_cancel(s.ring, &watch.op);
        turn_until(&s, watch.n_last);
        close_scene(&s);
    }
}

/* --- who finds whom --- */

static int dial(struct scene *s, const char *to, bool to_application, int netns, uint64_t *ret_ns) {
    struct ring_socket_spec spec = {.netns_fd = netns, .to_application = to_application};
    struct endpoint e = endpoint_of(to);
    struct heard h = {0};
    int fd = -1;
    uint64_t began = clock_mono_ns();
    assert_int_equal(ring_socket(s->ring, &spec, &fd), 0);
    ring_connect(s->ring, &h.op, fd, &e, false, hear);
    turn_until(s, h.n_last);
    if (ret_ns)
        *ret_ns = clock_mono_ns() - began;
    close_fd(s, fd);
    return h.n;
}

static struct told served;
static struct endpoint served_peer;
static void serve_one(struct sim_conn *c) {
    served_peer = sim_conn_peer(c);
    ((struct told *)sim_conn_context(c))->n_connected++;
}
static int route_there;
static int route(void *context, struct sim_syn *syn) {
    if (syn->to.port == 1)
        return SIM_ROUTE_REFUSE;
    return syn->to.port == 2 ? route_there : SIM_ROUTE_DEFAULT;
}

static void test_finding_listeners(void **state) {
    struct scene s;
    open_scene(&s, 5);
    struct endpoint e = endpoint_of("10.0.0.2:80"), in_ns = endpoint_of("127.0.0.1:99");
    int both = ring_sim_listen(s.sim, 7, &e), served_fd = ring_sim_serve(s.sim, 7, &e, &app, serve_one, &served);
    int local = ring_sim_serve(s.sim, 7, &in_ns, &app, serve_one, &served);
    served = (struct told){0};
    assert_int_equal(dial(&s, "127.0.0.1:99", false, 8, NULL), -ECONNREFUSED); /* another namespace's loopback */
    assert_int_equal(dial(&s, "127.0.0.1:99", false, 7, NULL), 0);
    assert_int_equal(served.n_connected, 1);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(dial(&s, "10.0.0.2:80", true, 7, NULL), 0);
    assert_int_equal(served.n_connected, 21); /* applications only, though a ring listens there too */
    assert_int_equal(dial(&s, "10.0.0.2:81", false, -1, NULL), -ECONNREFUSED);
    ring_sim_on_route(s.sim, route, NULL);
    route_there = served_fd;
    assert_int_equal(dial(&s, "10.0.0.2:1", false, -1, NULL), -ECONNREFUSED);
    assert_int_equal(dial(&s, "10.9.9.9:2", false, -1, NULL), 0);
    assert_int_equal(served.n_connected, 22);
    struct sim_faults dead = {.connect_timeout = 1};
    ring_sim_set_faults(s.sim, &dead);
    uint64_t ns;
    assert_int_equal(dial(&s, "10.0.0.2:80", true, 7, &ns), -ETIMEDOUT);
    assert_in_range(ns / NS_PER_S, 120, 140);
    struct sim_faults none_left = {.socket_fails = 1};
    ring_sim_set_faults(s.sim, &none_left);
    struct ring_socket_spec spec = {.netns_fd = -1};
    int fd = -1;
    assert_int_equal(ring_socket(s.ring, &spec, &fd), -EMFILE);
    ring_sim_set_faults(s.sim, &SIM_FAULTS_NONE);
    ring_sim_unlisten(s.sim, both);
    ring_sim_unlisten(s.sim, served_fd);
    ring_sim_unlisten(s.sim, local);
    close_scene(&s);
}

static void test_a_source_that_was_bound_is_seen(void **state) {
    struct scene s;
    open_scene(&s, 6);
    struct endpoint e = endpoint_of("10.0.0.2:80"), from = endpoint_of("10.0.0.1:4444"), local, peer;
    int served_fd = ring_sim_serve(s.sim, 7, &e, &app, serve_one, &served), fd = -1;
    struct ring_socket_spec spec = {.netns_fd = 7, .bind_to = &from, .to_application = true};
    struct heard h = {0};
    assert_int_equal(ring_socket(s.ring, &spec, &fd), 0);
    assert_int_equal(ring_socket_peer(s.ring, fd, &peer), -ENOTCONN);
    ring_connect(s.ring, &h.op, fd, &e, false, hear);
    turn_until(&s, h.n_last);
    assert_int_equal(ring_socket_local(s.ring, fd, &local), 0);
    assert_int_equal(ring_socket_peer(s.ring, fd, &peer), 0);
    assert_true(endpoint_is(&local, &from) && endpoint_is(&peer, &e) && endpoint_is(&served_peer, &from));
    close_fd(&s, fd);
    ring_sim_unlisten(s.sim, served_fd);
    close_scene(&s);
}

static void test_a_listener_that_goes_resets_its_queue(void **state) {
    struct scene s;
    open_scene(&s, 7);
    ring_cancel(s.ring, &s.accept.op);
    turn_until(&s, s.accept.n_last);
    struct told second = {0};
    second.conn = ring_sim_connect(s.sim, -1, NULL, &s.at, &app, &second);
    turn_until(&s, second.n_connected);
    ring_sim_unlisten(s.sim, s.listen_fd);
    turn_until(&s, second.n_reset);
    struct told third = {0};
    third.conn = ring_sim_connect(s.sim, -1, NULL, &s.at, &app, &third);
    turn_until(&s, third.n_connected);
    assert_int_equal(third.result, -ECONNREFUSED);
    assert_true(sim_conn_over(third.conn));
    s.listen_fd = ring_sim_listen(s.sim, -1, &s.at);
    close_scene(&s);
}

/* --- time --- */

struct due {
    struct ring_timer t;
    uint64_t at_ns;
};
static void on_due(struct ring_timer *t) { container_of(t, struct due, t)->at_ns = clock_mono_ns(); }
static unsigned n_waits;
static void on_wait(void *context) { n_waits++; }

static void test_time_passes_in_turns_only(void **state) {
    struct scene s;
    open_scene(&s, 8);
    uint64_t now = clock_mono_ns();
    assert_true(clock_mono_ns() == now);
    struct due a = {0}, b = {0};
    ring_timer_start(s.ring, &a.t, now + 3600 * NS_PER_S, on_due);
    ring_timer_start(s.ring, &b.t, now + NS_PER_S, on_due);
    ring_timer_stop(s.ring, &b.t);
    struct ring_wait_hooks hooks = {.before = on_wait, .after = on_wait};
    n_waits = 0;
    while (!a.at_ns)
        assert_int_equal(ring_turn(s.ring, UINT64_MAX, &hooks), 0);
    assert_int_equal(n_waits % 2, 0);
    assert_true(n_waits > 0);
    assert_true(a.at_ns >= now + 3600 * NS_PER_S && a.at_ns < now + 3601 * NS_PER_S);
    assert_int_equal(b.at_ns, 0);
    assert_true(ring_sim_quiet(s.sim));
    struct sim_faults jumpy = {.mono_jump = 1, .wall_jump = 1};
    ring_sim_set_faults(s.sim, &jumpy);
    bool back = false;
    for (unsigned i = 0; i < 50; i++) {
        uint64_t mono = clock_mono_ns();
        int64_t wall = clock_wall_ns();
        assert_int_equal(ring_turn(s.ring, 0, NULL), 0);
        assert_true(clock_mono_ns() > mono);
        back = back || clock_wall_ns() < wall;
    }
    assert_true(back);
    ring_sim_set_faults(s.sim, &SIM_FAULTS_NONE);
    close_scene(&s);
    assert_true(clock_mono_ns() != now); /* the real clock again */
}

static void test_an_eventfd_is_heard(void **state) {
    struct scene s;
    open_scene(&s, 9);
    struct heard h = {0};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ring_poll_in(s.ring, &h.op, fd, hear);
    turn_some(&s);
    assert_int_equal(h.n_calls, 0);
    assert_int_equal(eventfd_write(fd, 1), 0);
    turn_until(&s, h.n_calls);
    ring_cancel(s.ring, &h.op);
    turn_until(&s, h.n_last);
    assert_int_equal(h.n, -ECANCELED);
    close(fd);
    close_scene(&s);
}

static void test_two_rings_take_turns(void **state) {
    struct scene s;
    open_scene(&s, 10);
    struct ring *second = new_ring();
    struct due a = {0}, b = {0};
    uint64_t now = clock_mono_ns();
    ring_timer_start(s.ring, &a.t, now + 20 * NS_PER_MS, on_due);
    ring_timer_start(second, &b.t, now + 10 * NS_PER_MS, on_due);
    for (unsigned i = 0; i < 100 && !(a.at_ns && b.at_ns); i++) {
        assert_int_equal(ring_turn(s.ring, NS_PER_S, NULL), 0);
        assert_int_equal(ring_turn(second, NS_PER_S, NULL), 0);
    }
    assert_true(b.at_ns >= now + 10 * NS_PER_MS &&
                b.at_ns < now + 11 * NS_PER_MS); /* one's wait does not sleep over the other's timer */
    assert_true(a.at_ns >= now + 20 * NS_PER_MS && a.at_ns < now + 21 * NS_PER_MS);
    assert_null(ring_free(second));
    close_scene(&s);
}

static void test_cancellation_may_lose_the_race(void **state) {
    unsigned won = 0, lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct scene s;
        open_scene(&s, seed);
        struct sim_faults f = {.result_wins = 0.5, .delay = 0.5};
        ring_sim_set_faults(s.sim, &f);
        struct heard in = {0};
        ring_recv(s.ring, &in.op, s.fd, true, hear);
        sim_conn_write(s.app.conn, "x", 1);
        for (uint64_t i = seed % 7; i; i--)
            assert_int_equal(ring_turn(s.ring, 100000, NULL), 0);
        ring_cancel(s.ring, &in.op);
        turn_until(&s, in.n_last);
        assert_true(in.n == -ECANCELED || in.n == 1);
        assert_int_equal(in.n_last, 1);
        won += in.n_got == 1;
        lost += in.n_got == 0;
        close_scene(&s);
    }
    assert_true(won && lost);
}

/* --- misuse --- */

static void submit_twice(struct scene *s) {
    struct heard h = {0};
    ring_recv(s->ring, &h.op, s->fd, true, hear);
    ring_recv(s->ring, &h.op, s->fd, true, hear);
    ring_cancel(s->ring, &h.op);
    turn_until(s, h.n_last);
}
static void free_an_op(struct scene *s) {
    static struct heard h;
    memset(&h, 0, sizeof(h));
    ring_recv(s->ring, &h.op, s->fd, false, hear);
    memset(&h, 0xdb, sizeof(h));
    sim_conn_write(s->app.conn, "x", 1);
    turn_until(s, ring_in_flight(s->ring) == 1);
}
static void use_after_close(struct scene *s) {
    struct heard h = {0};
    int fd = s->fd;
    close_fd(s, fd);
    s->fd = -1;
    ring_recv(s->ring, &h.op, fd, false, hear);
    turn_until(s, h.n_last);
    assert_int_equal(h.n, -EBADF);
}
static void use_a_foreign_fd(struct scene *s) {
    struct heard h = {0};
    ring_recv(s->ring, &h.op, 0, false, hear);
    turn_until(s, h.n_last);
}
static void receive_twice(struct scene *s) {
    struct heard a = {0}, b = {0};
    ring_recv(s->ring, &a.op, s->fd, true, hear);
    ring_recv(s->ring, &b.op, s->fd, true, hear);
    turn_until(s, b.n_last);
    ring_cancel(s->ring, &a.op);
    turn_until(s, a.n_last);
}
static void close_under_an_op(struct scene *s) {
    struct heard a = {0};
    ring_recv(s->ring, &a.op, s->fd, true, hear);
    turn_some(s);
    close_fd(s, s->fd);
    s->fd = -1;
    ring_cancel(s->ring, &a.op);
    turn_until(s, a.n_last);
}
static void plain_close_under_an_op(struct scene *s) {
    struct heard a = {0};
    ring_recv(s->ring, &a.op, s->fd, true, hear);
    turn_some(s);
    close(s->fd);
    s->fd = -1;
    ring_cancel(s->ring, &a.op);
    turn_until(s, a.n_last);
}
static void shut_under_a_send(struct scene *s) {
    struct heard out = {0}, shut = {0};
    struct iovec iov = {(void *)"abc", 3};
    ring_send(s->ring, &out.op, s->fd, &iov, 1, hear);
    ring_shutdown_write(s->ring, &shut.op, s->fd, hear);
    turn_until(s, out.n_last && shut.n_last);
}
static void scribble_on_a_send(struct scene *s) {
    char bytes[] = "abc";
    struct heard out = {0};
    struct iovec iov = {bytes, 3};
    ring_send(s->ring, &out.op, s->fd, &iov, 1, hear);
    bytes[1] = 'x';
    turn_until(s, out.n_last);
}
static void leave_a_descriptor(struct scene *s) { s->fd = -1; }
static void leave_an_op(struct scene *s) {
    struct heard *h = calloc(1, sizeof(*h));
    struct ring *r = new_ring();
    ring_recv(r, &h->op, s->fd, true, hear);
    turn_some(s);
    ring_free(r);
    free(h);
}
static void unlisten_under_an_accept(struct scene *s) {
    ring_sim_unlisten(s->sim, s->listen_fd);
    ring_cancel(s->ring, &s->accept.op);
    turn_until(s, s->accept.n_last);
    s->listen_fd = ring_sim_listen(s->sim, -1, &s->at);
}

static void test_misuse_is_seen(void **state) {
    static const struct {
        void (*do_it)(struct scene *s);
        const char *say;
    } cases[] = {
        {submit_twice, "submitted while in flight"},
        {free_an_op, "freed or overwritten"},
        {use_after_close, "was closed"},
        {use_a_foreign_fd, "not of this simulation"},
        {receive_twice, "two receives"},
        {close_under_an_op, "ops under way"},
        {plain_close_under_an_op, "ops under way"},
        {shut_under_a_send, "shut down while"},
        {scribble_on_a_send, "changed"},
        {leave_a_descriptor, "never closed"},
        {leave_an_op, "freed with 1 ops"},
        {unlisten_under_an_accept, "while an accept"},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct scene s;
        open_scene(&s, i);
        cases[i].do_it(&s);
        if (s.fd >= 0)
            close_fd(&s, s.fd);
        ring_cancel(s.ring, &s.accept.op);
        turn_until(&s, !ring_op_busy(&s.accept.op));
        assert_null(ring_free(s.ring));
        ring_sim_unlisten(s.sim, s.listen_fd);
        assert_null(ring_sim_free(s.sim));
        if (!s.n_violations || !strstr(s.violation, cases[i].say))
            fail_msg("case %zu: wanted \"%s\", heard \"%s\"", i, cases[i].say, s.violation);
    }
}

static void violate(void *unused) {
    struct sim *s = ring_sim_new(1, &SIM_FAULTS_NONE);
    ring_sim_unlisten(s, 12);
}
static void test_without_a_handler_a_violation_ends_the_process(void **state) { assert_true(unit_dies(violate, NULL)); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_close_each_way),
        cmocka_unit_test(test_a_watch_hears_of_a_reset_behind_a_fin),
        cmocka_unit_test(test_closing_with_unread_bytes_resets),
        cmocka_unit_test(test_an_orderly_close_is_a_fin_and_late_bytes_are_reset),
        cmocka_unit_test(test_abort_on_close_is_a_reset),
        cmocka_unit_test(test_an_error_is_told_once),
        cmocka_unit_test(test_finding_listeners),
        cmocka_unit_test(test_a_source_that_was_bound_is_seen),
        cmocka_unit_test(test_a_listener_that_goes_resets_its_queue),
        cmocka_unit_test(test_time_passes_in_turns_only),
        cmocka_unit_test(test_an_eventfd_is_heard),
        cmocka_unit_test(test_two_rings_take_turns),
        cmocka_unit_test(test_cancellation_may_lose_the_race),
        cmocka_unit_test(test_misuse_is_seen),
        cmocka_unit_test(test_without_a_handler_a_violation_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
