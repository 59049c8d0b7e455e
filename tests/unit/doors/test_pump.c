/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: bytes go both ways, what was sent is wiped, a peer that does not read stops the machine and is seen to, and every end
 * comes once. Method: a real ring and a socket pair; the machine is a counter of what it was asked. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include <ringwall/base/clock.h>

#include "pump.h"
#include "unit.h"

struct machine {
    char heard[256];
    size_t n_heard, n_drained, n_gone;
    const char *say; /* once; NULL: nothing */
    bool endless, finished, refuse;
};
struct scene {
    struct ring *ring;
    struct pump pump;
    struct machine m;
    int peer;
};

static int feed(void *owner, const uint8_t *bytes, size_t n, uint64_t now_ns unused_arg) {
    struct machine *m = owner;
    assert_true(m->n_heard + n < sizeof(m->heard));
    memcpy(m->heard + m->n_heard, bytes, n);
    m->n_heard += n;
    return m->refuse;
}
static size_t drain(void *owner, uint8_t *to, size_t cap) {
    struct machine *m = owner;
    assert_int_equal(cap, PUMP_OUT_BYTES);
    m->n_drained++;
    if (m->endless) {
        memset(to, 'k', cap);
        return cap;
    }
    size_t n = m->say ? strlen(m->say) : 0;
    memcpy(to, m->say ? m->say : "", n);
    m->say = NULL;
    return n;
}
static bool finished(void *owner) { return ((struct machine *)owner)->finished; }
static void gone(void *owner) { ((struct machine *)owner)->n_gone++; }
static const struct pump_machine machine = {feed, drain, finished, gone};

static int make(void **state) {
    struct scene *s = calloc(1, sizeof(*s));
    char why[256];
    int pair[2];
    struct ring_options o = {.n_entries = 16, .n_recv_buffers = 16, .recv_buffer_bytes = 4096};
    assert_int_equal(ring_new(&o, &s->ring, why), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    s->peer = pair[0];
    assert_int_equal(pump_start(&s->pump, s->ring, pair[1], &machine, &s->m), 0);
    *state = s;
    return 0;
}

static void turn(struct scene *s) { assert_true(ring_turn(s->ring, 20 * NS_PER_MS, NULL) >= 0); }
#define TURN_UNTIL(s, condition) \
    do { \
        uint64_t end_ = clock_mono_ns() + 10 * NS_PER_S; \
        while (!(condition)) { \
            assert_true(clock_mono_ns() < end_); \
            turn(s); \
        } \
    } while (0)

static int unmake(void **state) {
    struct scene *s = *state;
    pump_close(&s->pump);
    TURN_UNTIL(s, s->m.n_gone == 1 && ring_in_flight(s->ring) == 0);
    assert_true(s->pump.fd < 0 && !s->pump.out.at);
    ring_free(s->ring);
    fd_close(s->peer);
    free(s);
    return 0;
}

static void both_ways_and_wiped(void **state) {
    struct scene *s = *state;
    char in[64] = "";
    assert_int_equal(write(s->peer, "hello", 5), 5);
    s->m.say = "a secret";
    TURN_UNTIL(s, s->m.n_heard == 5 && recv(s->peer, in, sizeof(in), 0) == 8);
    assert_string_equal(in, "a secret");
    assert_memory_equal(s->m.heard, "hello", 5);
    TURN_UNTIL(s, !ring_op_busy(&s->pump.send));
    static const uint8_t zeros[PUMP_OUT_BYTES];
    assert_memory_equal(s->pump.out.at, zeros, PUMP_OUT_BYTES);
}

static void a_peer_that_does_not_read(void **state) {
    struct scene *s = *state;
    s->m.endless = true;
    pump_flush(&s->pump);
    TURN_UNTIL(s, pump_stalled_ns(&s->pump, clock_mono_ns()) > 100 * NS_PER_MS);
    size_t drained = s->m.n_drained;
    turn(s);
    assert_int_equal(s->m.n_drained, drained); /* the machine keeps what it has */
    char in[65536];
    assert_true(recv(s->peer, in, sizeof(in), 0) > 0);
    TURN_UNTIL(s, s->m.n_drained > drained || recv(s->peer, in, sizeof(in), 0) < 0);
}

static void nothing_while_the_machine_runs(void **state) {
    struct scene *s = *state;
    s->pump.inside = true;
    s->m.say = "x";
    pump_flush(&s->pump);
    assert_int_equal(s->m.n_drained, 0);
    s->pump.inside = false;
}

static void the_peer_ends(void **state) {
    struct scene *s = *state;
    assert_int_equal(shutdown(s->peer, SHUT_RDWR), 0);
    TURN_UNTIL(s, s->m.n_gone == 1);
}

static void last_words_are_said(void **state) {
    struct scene *s = *state;
    char in[64] = "";
    s->m.refuse = true;
    s->m.say = "GOAWAY";
    assert_int_equal(write(s->peer, "bad", 3), 3);
    TURN_UNTIL(s, s->m.n_gone == 1);
    assert_int_equal(recv(s->peer, in, sizeof(in), 0), 6);
    assert_int_equal(recv(s->peer, in, sizeof(in), 0), 0);
}

static void the_machine_ends(void **state) {
    struct scene *s = *state;
    s->m.say = "bye";
    s->m.finished = true;
    pump_flush(&s->pump);
    TURN_UNTIL(s, s->m.n_gone == 1);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make, unmake)
    const struct CMUnitTest tests[] = {
        CASE(both_ways_and_wiped), CASE(a_peer_that_does_not_read), CASE(nothing_while_the_machine_runs),
        CASE(the_peer_ends),       CASE(last_words_are_said),       CASE(the_machine_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
