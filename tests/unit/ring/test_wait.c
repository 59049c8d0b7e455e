/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the ring waits for more at once where that brings more, and never for long; messages, small or large, are not held up.
 * Method: what a ring learned from counted turns, over socket pairs and by hand; the kernel's minimum wait left out too. */
#include "ring_unit.h"

enum { N_TRIPS = 2000, LARGE = 4096 };

struct trip {
    struct ring *ring;
    struct heard in;
    int pair[2];
};

static void open_trip(struct trip *t) {
    *t = (struct trip){.ring = make_ring(8, 16, LARGE)};
    make_pair(t->pair);
    ring_recv(t->ring, &t->in.op, t->pair[0], true, hear);
}

static void close_trip(struct trip *t) {
    ring_cancel(t->ring, &t->in.op);
    turn_until(t->ring, t->in.n_last);
    close(t->pair[0]);
    close(t->pair[1]);
    finish(t->ring);
}

/* One message after the other, each sent when the one before was heard. Returns how many waits were moderated. */
static uint64_t messages(struct trip *t, size_t n) {
    static const uint8_t bytes[LARGE];
    struct ring_stats before, after;
    ring_get_stats(t->ring, &before);
    for (unsigned i = 0; i < N_TRIPS; i++) {
        size_t until = t->in.n_got + n;
        assert_int_equal(write(t->pair[1], bytes, n), n);
        turn_until(t->ring, t->in.n_got == until);
    }
    ring_get_stats(t->ring, &after);
    assert_in_range(after.enters - before.enters, 1, 3 * N_TRIPS);
    return after.moderated - before.moderated;
}

static void hold_up_no_message(void) {
    struct trip t;
    open_trip(&t);
    assert_int_equal(messages(&t, 1), 0);
    assert_int_equal(messages(&t, LARGE / 2), 0);
    assert_in_range(messages(&t, LARGE), 0, N_TRIPS / 50); /* a try now and then, less and less often */
    assert_in_range(messages(&t, LARGE), 0, N_TRIPS / 500);
    assert_int_equal(messages(&t, 1), 0);
    close_trip(&t);
}
static void test_messages_are_not_held_up(void **state) { on_each_flavour(hold_up_no_message); }

static void receive_bulk(struct ring *r, bool moderated, size_t bytes) {
    r->wait.moderated = moderated;
    wait_learn(r, (unsigned)((bytes + LARGE - 1) / LARGE), bytes);
}

static void learn(void) {
    struct ring *r = make_ring(8, 16, LARGE);
    struct wait_state *w = &r->wait;
    receive_bulk(r, false, 2 * LARGE);
    receive_bulk(r, false, 2 * LARGE);
    assert_true(w->bulk);
    assert_int_equal(w->n_bulk, 2);
    assert_int_equal(w->n_rest, 0);
    for (unsigned i = 0; i < 10; i++) { /* it pays: goes on */
        receive_bulk(r, true, 8 * LARGE);
        assert_int_equal(w->n_rest, 0);
    }
    unsigned rest = 0;
    for (unsigned i = 0; i < 20; i++) { /* in vain: rests longer and longer, within bounds */
        receive_bulk(r, true, 2 * LARGE);
        assert_true(w->n_rest >= rest && w->n_rest > 0);
        rest = w->n_rest;
    }
    assert_in_range(rest, 100, 10000);
    receive_bulk(r, true, 8 * LARGE); /* and again */
    assert_int_equal(w->n_rest, 0);
    receive_bulk(r, false, 100 * LARGE); /* much came by itself: nothing to wait for */
    assert_int_equal(w->n_bulk, 0);
    assert_true(w->bulk);
    receive_bulk(r, false, 2 * LARGE);
    wait_learn(r, 0, 0); /* a turn without news says nothing */
    assert_int_equal(w->n_bulk, 1);
    wait_learn(r, 3, 300);
    assert_false(w->bulk);
    assert_int_equal(w->n_bulk, 0);
    finish(r);
}
static void test_what_is_learned_from_bulk(void **state) { on_each_flavour(learn); }

static void wait_a_little(void) {
    /* Under bulk the end of a send is no news; but alone it is told after the minimum wait, not after the whole. */
    struct trip t;
    open_trip(&t);
    struct heard out = {0};
    char byte = 0;
    struct iovec iov = {&byte, 1};
    unsigned n_late = 0;
    for (unsigned i = 1; i <= 50; i++) {
        t.ring->wait.bulk = true;
        t.ring->wait.n_bulk = i % 2 ? 10 : 0;
        ring_send(t.ring, &out.op, t.pair[0], &iov, 1, hear);
        uint64_t began = clock_mono_ns();
        turn_until(t.ring, out.n_last == i);
        n_late += clock_mono_ns() - began > NS_PER_S / 2;
    }
    assert_in_range(n_late, 0, 5); /* a machine stalls now and then; who waits for the whole second does so each time */
    /* A timer and a shorter wait are kept. */
    t.ring->wait.n_bulk = 10;
    ring_send(t.ring, &out.op, t.pair[0], &iov, 1, hear);
    assert_int_equal(ring_turn(t.ring, 1000, NULL), 0);
    turn_until(t.ring, out.n_last == 51);
    close_trip(&t);
}
static void test_no_wait_is_for_long(void **state) { on_each_flavour(wait_a_little); }

static void test_without_a_minimum_wait(void **state) {
    flavour_now = &flavours[0];
    struct trip t;
    open_trip(&t);
    t.ring->wait.can_moderate = false;
    t.ring->wait.bulk = true;
    assert_int_equal(messages(&t, LARGE), 0);
    close_trip(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_not_held_up),
        cmocka_unit_test(test_what_is_learned_from_bulk),
        cmocka_unit_test(test_no_wait_is_for_long),
        cmocka_unit_test(test_without_a_minimum_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
