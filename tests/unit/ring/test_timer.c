/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: timers fire once, in order of time and then of arming, and stopping or restarting at any moment is safe.
 * Method: the heap alone with numbers for time, against a plain sorted list; random operations with a fixed seed. */
#include <stdlib.h>
#include <sys/mman.h>

#include <ringwall/base/rng.h>

#include "ring_unit.h"

enum { N = 500 };
struct tick {
    struct ring_timer timer;
    unsigned id;
    unsigned n_fired;
    bool again; /* re-arms itself in the past */
};
static struct timer_heap heap;
static unsigned fired_ids[4 * N];
static unsigned n_fired;

static void note(struct ring_timer *t) {
    struct tick *k = container_of(t, struct tick, timer);
    assert_false(ring_timer_armed(t));
    k->n_fired++;
    fired_ids[n_fired++] = k->id;
    if (k->again)
        timer_heap_start(&heap, t, 0, note);
}

static int setup(void **state) {
    n_fired = 0;
    return timer_heap_init(&heap);
}
static int teardown(void **state) {
    timer_heap_deinit(&heap);
    timer_heap_deinit(&heap);
    return 0;
}

static void test_equal_times_fire_in_the_order_of_arming(void **state) {
    struct tick ticks[20] = {0};
    for (unsigned i = 0; i < 20; i++) {
        ticks[i].id = i;
        timer_heap_start(&heap, &ticks[i].timer, 7, note);
    }
    timer_heap_expire(&heap, 6);
    assert_int_equal(n_fired, 0);
    timer_heap_expire(&heap, 7);
    assert_int_equal(n_fired, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(fired_ids[i], i);
}

static void test_restart_moves_and_stop_forgets(void **state) {
    struct tick a = {.id = 1}, b = {.id = 2}, c = {.id = 3};
    timer_heap_stop(&heap, &a.timer); /* never armed: no effect */
    timer_heap_start(&heap, &a.timer, 10, note);
    timer_heap_start(&heap, &b.timer, 20, note);
    timer_heap_start(&heap, &c.timer, 30, note);
    timer_heap_start(&heap, &a.timer, 40, note); /* later */
    timer_heap_start(&heap, &c.timer, 5, note);  /* sooner */
    timer_heap_stop(&heap, &b.timer);
    timer_heap_stop(&heap, &b.timer);
    uint64_t due;
    assert_true(timer_heap_next(&heap, &due));
    assert_int_equal(due, 5);
    timer_heap_expire(&heap, 100);
    assert_int_equal(n_fired, 2);
    assert_int_equal(fired_ids[0], 3);
    assert_int_equal(fired_ids[1], 1);
    assert_false(timer_heap_next(&heap, &due));
}

static void test_a_timer_that_rearms_in_the_past_cannot_hold_the_turn(void **state) {
    struct tick a = {.id = 1, .again = true}, b = {.id = 2, .again = true};
    timer_heap_start(&heap, &a.timer, 1, note);
    timer_heap_start(&heap, &b.timer, 2, note);
    timer_heap_expire(&heap, 50);
    assert_int_equal(n_fired, 2);
    timer_heap_expire(&heap, 50);
    assert_int_equal(n_fired, 4);
}

static struct tick *stopped_by_other;
static void stop_other(struct ring_timer *t) { timer_heap_stop(&heap, &stopped_by_other->timer); }
static void test_a_callback_may_stop_a_timer_that_is_due_too(void **state) {
    struct ring_timer first = {0};
    struct tick second = {0};
    stopped_by_other = &second;
    timer_heap_start(&heap, &first, 1, stop_other);
    timer_heap_start(&heap, &second.timer, 1, note);
    timer_heap_expire(&heap, 1);
    assert_int_equal(n_fired, 0);
}

static void test_random_operations_agree_with_a_sorted_list(void **state) {
    static struct tick ticks[N];
    static uint64_t due[N]; /* 0: not armed */
    static uint64_t armed_turn[N];
    memset(ticks, 0, sizeof(ticks));
    memset(due, 0, sizeof(due));
    struct rng rng;
    rng_seed(&rng, 42);
    uint64_t now = 1, turn = 0;
    for (unsigned i = 0; i < N; i++)
        ticks[i].id = i;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)rng_below(&rng, N);
        switch (rng_below(&rng, 4)) {
        case 0:
        case 1:
            due[i] = now + 1 + rng_below(&rng, 60);
            armed_turn[i] = turn++;
            timer_heap_start(&heap, &ticks[i].timer, due[i], note);
            break;
        case 2:
            due[i] = 0;
            timer_heap_stop(&heap, &ticks[i].timer);
            break;
        default:
            now += rng_below(&rng, 5);
            n_fired = 0;
            timer_heap_expire(&heap, now);
            for (unsigned f = 0; f < n_fired; f++) {
                unsigned id = fired_ids[f];
                assert_true(due[id] && due[id] <= now);
                if (f) {
                    unsigned last = fired_ids[f - 1];
                    assert_true(armed_turn[id] != armed_turn[last]);
                }
                for (unsigned k = 0; k < N; k++) /* nothing that should have come before it is still armed */
                    assert_false(due[k] && k != id && (due[k] < due[id] || (due[k] == due[id] && armed_turn[k] < armed_turn[id])));
                due[id] = 0;
            }
            for (unsigned k = 0; k < N; k++)
                assert_true(!due[k] || due[k] > now);
        }
        for (unsigned k = step % 17; k < N; k += 17)
            assert_int_equal(ring_timer_armed(&ticks[k].timer), due[k] != 0);
    }
}

static void arm_without_callback(void *unused) {
    struct ring_timer t = {0};
    timer_heap_start(&heap, &t, 1, NULL);
}
static size_t resident_pages(void) {
    enum { PAGE = 4096, PAGES = 512 };
    unsigned char pages[PAGES];
    size_t n = 0;
    assert_int_equal(mincore((void *)((uintptr_t)heap.slots / PAGE * PAGE), (size_t)PAGE * PAGES, pages), 0);
    for (size_t i = 0; i < PAGES; i++)
        n += pages[i] & 1;
    return n;
}

static void test_a_crowd_of_timers_leaves_no_memory_behind(void **state) {
    enum { CROWD = 50000 };
    struct tick *crowd = calloc(CROWD, sizeof(*crowd));
    assert_non_null(crowd);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CROWD; i++)
            timer_heap_start(&heap, &crowd[i].timer, (i * 7919u) % CROWD, note);
        assert_true(resident_pages() >= CROWD * sizeof(struct timer_slot) / 4096);
        for (unsigned i = 0; i < CROWD; i++)
            if (i % 100)
                timer_heap_stop(&heap, &crowd[(i * 31u) % CROWD].timer);
        assert_true(resident_pages() <= TIMERS_FEW * sizeof(struct timer_slot) / 4096 + 1);
        n_fired = 0;
        for (unsigned due = 0; due < CROWD; due++) /* those that are left, in order */
            timer_heap_expire(&heap, due);
        assert_int_equal(n_fired, CROWD / 100);
    }
    free(crowd);
}

static void test_a_timer_without_a_callback_is_a_bug(void **state) { assert_true(unit_dies(arm_without_callback, NULL)); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_equal_times_fire_in_the_order_of_arming, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_moves_and_stop_forgets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_that_rearms_in_the_past_cannot_hold_the_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_callback_may_stop_a_timer_that_is_due_too, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_operations_agree_with_a_sorted_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_crowd_of_timers_leaves_no_memory_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_timer_without_a_callback_is_a_bug, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
