/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the ring puts a sleep off only where that was right before, never when idle, and hears all that it would hear asleep.
 * Method: the table by hand with patterns of waits and with chance; then rings over socket pairs, answered by another thread. */
#include "ring_unit.h"

#include <pthread.h>
#include <time.h>

#include <ringwall/base/rng.h>

enum { BOUND_NS = 50000, N_TRIPS = 1000 };

/* Waits that come in this order again and again; returns of how many of the last 1,000 short ones and of how many long ones it was
 * said that looking pays. */
static void follow(const bool *pattern, unsigned n, unsigned ret_said[2]) {
    struct busy_wait b = {.max_ns = BOUND_NS};
    ret_said[0] = ret_said[1] = 0;
    for (unsigned i = 0; i < 2000; i++) {
        bool is_short = pattern[i % n];
        if (i >= 1000)
            ret_said[is_short] += busy_is_likely(&b, 0);
        busy_learn(&b, is_short);
    }
}

static void test_patterns(void **state) {
    static const struct {
        bool waits[6];
        unsigned n, said_short, said_long;
    } cases[] = {
        {{false}, 1, 0, 0}, /* idle */
        {{true}, 1, 1000, 0},
        {{true, false}, 2, 500, 0}, /* an answer, the next request */
        {{true, true, false}, 3, 667, 0},
        {{false, false, false, false, false, true}, 6, 0, 0}, /* rare, and not told from nothing */
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        unsigned said[2];
        follow(cases[i].waits, cases[i].n, said);
        assert_in_range(said[1], cases[i].said_short ? cases[i].said_short - 1 : 0, cases[i].said_short);
        assert_int_equal(said[0], cases[i].said_long);
    }
}

static void test_by_chance(void **state) {
    /* Short waits without a pattern: rare ones are hardly ever waited for, frequent ones mostly. */
    static const struct { unsigned percent, said_least, said_most; } cases[] = {{10, 0, 50}, {50, 0, 1500}, {97, 8000, 10000}};
    for (size_t i = 0; i < array_size(cases); i++) {
        struct busy_wait b = {.max_ns = BOUND_NS};
        struct rng rng;
        rng_seed(&rng, 7);
        unsigned n_said = 0;
        for (unsigned k = 0; k < 10000; k++) {
            n_said += busy_is_likely(&b, 0);
            busy_learn(&b, rng_u64(&rng) % 100 < cases[i].percent);
        }
        assert_in_range(n_said, cases[i].said_least, cases[i].said_most);
    }
}

static void test_someone_takes_the_processor(void **state) {
    struct busy_wait b = {.max_ns = BOUND_NS};
    for (unsigned i = 0; i < 100; i++)
        busy_learn(&b, true);
    uint64_t now = NS_PER_S, longest = 0;
    for (unsigned i = 0; i < 40; i++) {
        assert_true(busy_is_likely(&b, now));
        busy_was_taken(&b, now);
        assert_false(busy_is_likely(&b, now));
        assert_true(b.rest_until_ns - now >= longest);
        longest = b.rest_until_ns - now;
        now = b.rest_until_ns;
    }
    assert_in_range(longest, NS_PER_S, 10 * NS_PER_S); /* longer each time, within bounds */
    b.max_ns = 0;                                      /* not asked for */
    assert_false(busy_is_likely(&b, UINT64_MAX));
}

static struct ring *busy_ring(uint64_t busy_wait_ns) {
    struct ring_options o = {.n_entries = 8, .n_recv_buffers = 8, .recv_buffer_bytes = 4096, .busy_wait_ns = busy_wait_ns};
    struct ring *r = NULL;
    char why[256] = "";
    if (ring_new_from(&o, flavour_now->setup, flavour_now->recv, &r, why) < 0)
        fail_msg("%s", why);
    return r;
}

static void *answer(void *p) {
    const int *fd = p;
    char byte;
    while (recv(*fd, &byte, 1, 0) == 1)
        assert_int_equal(send(*fd, &byte, 1, MSG_NOSIGNAL), 1);
    return NULL;
}

/* Questions and answers: each is heard, whether the ring looked for it or slept. The bound is large, so that it looks much. */
static void talk(void) {
    struct ring *r = busy_ring(NS_PER_S / 100);
    struct heard in = {0}, out = {0};
    int pair[2];
    pthread_t other;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pthread_create(&other, NULL, answer, &pair[1]), 0);
    ring_recv(r, &in.op, pair[0], true, hear);
    char byte = 7;
    struct iovec iov = {&byte, 1};
    for (unsigned i = 1; i <= N_TRIPS; i++) {
        ring_send(r, &out.op, pair[0], &iov, 1, hear);
        turn_until(r, out.n_last == i && in.n_got == i);
    }
    struct ring_stats s;
    ring_get_stats(r, &s);
    assert_true(s.busy_waits > 0 && s.busy_hits <= s.busy_waits); /* hits: not when others always take the processor */
    shutdown(pair[0], SHUT_RDWR);
    turn_until(r, in.n_last);
    pthread_join(other, NULL);
    close(pair[0]);
    close(pair[1]);
    finish(r);
}
static void test_all_is_heard(void **state) { on_each_flavour(talk); }

/* Nothing comes, then timers alone, each after more than the bound: it sleeps, and a wait does not become longer. */
static void be_idle(void) {
    struct ring *r = busy_ring(BOUND_NS);
    struct timespec before, after;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before), 0);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(ring_turn(r, 1000000, NULL), 0);
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after), 0);
    struct ring_stats s;
    ring_get_stats(r, &s);
    assert_int_equal(s.busy_waits, 0);
    double cpu_s = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    assert_true(cpu_s < 0.1); /* of 0.2 */
    finish(r);
}
static void test_idle_it_sleeps(void **state) { on_each_flavour(be_idle); }

/* Bulk and many messages at once are no reason to hurry: what came in the meantime comes together. */
static void test_much_at_once(void **state) {
    flavour_now = &flavours[0];
    struct ring *r = busy_ring(BOUND_NS);
    static const struct {
        unsigned n_buffers;
        size_t bytes;
        bool worth;
    } cases[] = {{1, 100, true}, {2, 200, false}, {1, 4096, false}, {0, 0, true}};
    for (size_t i = 0; i < array_size(cases); i++) {
        for (unsigned k = 0; k < 200; k++) {
            r->busy.waited = r->busy.was_short = true;
            busy_turned(r, cases[i].n_buffers, cases[i].bytes);
        }
        r->busy.rest_until_ns = 0;
        assert_int_equal(busy_is_likely(&r->busy, 0), cases[i].worth);
        unsigned history = r->busy.history;
        busy_turned(r, 1, 100); /* a turn that did not wait says nothing */
        assert_int_equal(r->busy.history, history);
    }
    /* After bulk a pause, whatever was learned before, and not for long. */
    busy_turned(r, 1, 4096);
    assert_false(busy_is_likely(&r->busy, r->now_ns));
    assert_true(busy_is_likely(&r->busy, r->now_ns + NS_PER_S / 100));
    finish(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_by_chance),
        cmocka_unit_test(test_someone_takes_the_processor),
        cmocka_unit_test(test_all_is_heard),
        cmocka_unit_test(test_idle_it_sleeps),
        cmocka_unit_test(test_much_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
