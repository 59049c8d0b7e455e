/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: renewals come spread out, a small node never waits, and nobody waits who has no time.
 * Method: permits taken under a clock that the test moves; lives drawn with a seed. */
#include <ringwall/base/clock.h>

#include "../../../src/identity/pace.h"
#include "unit.h"

enum { DAY_S = 86400 };

static void interval_is_life_over_number(void **state) {
    assert_int_equal(pace_interval_ns(0, DAY_S, 0.8), 0);
    assert_int_equal(pace_interval_ns(10, 0, 0.8), 0);
    assert_int_equal(pace_interval_ns(8, 1000, 0.8) / NS_PER_S, 100);
}

static void a_burst_then_one_a_step(void **state) {
    struct pace p = {0};
    uint64_t now = 1000 * NS_PER_S, mean = 4 * NS_PER_S; /* a permit a second */
    for (int i = 0; i < PACE_BURST; i++)
        assert_true(pace_take(&p, now, mean));
    assert_false(pace_take(&p, now, mean));
    assert_int_equal(pace_ready_ns(&p, mean), now + NS_PER_S);
    assert_false(pace_take(&p, now + NS_PER_S - 1, mean));
    assert_true(pace_take(&p, now + NS_PER_S, mean));
    assert_false(pace_take(&p, now + NS_PER_S, mean));
}

/* Over any long stretch no more than the factor times the mean, whatever is asked. */
static void never_more_than_the_factor(void **state) {
    struct pace p = {0};
    uint64_t mean = 10 * NS_PER_S, n = 0, stretch = 10000 * NS_PER_S;
    for (uint64_t now = 0; now < stretch; now += NS_PER_S / 2)
        while (pace_take(&p, now, mean))
            n++;
    assert_in_range(n, PACE_FACTOR * 1000 - 1, PACE_FACTOR * 1000 + PACE_BURST);
}

static void a_quiet_time_gives_no_more_than_a_burst(void **state) {
    struct pace p = {0};
    uint64_t mean = 4 * NS_PER_S, now = 500000 * NS_PER_S;
    assert_true(pace_take(&p, NS_PER_S, mean));
    int n = 0;
    while (pace_take(&p, now, mean))
        n++;
    assert_int_equal(n, PACE_BURST);
}

/* What had no time to wait is made up for by the others, within bounds. */
static void the_urgent_are_counted(void **state) {
    struct pace p = {0};
    uint64_t now = 1000 * NS_PER_S, mean = 4 * NS_PER_S; /* a permit a second */
    for (int i = 0; i < PACE_BURST + 3; i++)
        pace_charge(&p, now, mean);
    assert_int_equal(pace_ready_ns(&p, mean), now + 4 * NS_PER_S);
    for (int i = 0; i < 1000; i++)
        pace_charge(&p, now, mean);
    assert_in_range(pace_ready_ns(&p, mean), now, now + (PACE_BURST + 1) * NS_PER_S);
}

/* One identity that is renewed once a day still tries every minute while its CA is away. */
static void a_lone_identity_is_no_herd(void **state) {
    struct pace p = {0};
    uint64_t now = NS_PER_S, mean = 70000 * NS_PER_S;
    while (pace_take(&p, now, mean))
        ;
    assert_true(pace_take(&p, now + PACE_STEP_MAX_S * NS_PER_S, mean));
}

/* 10 identities renewed slowly became 10,000: what was taken in advance then must not hold the many for hours. */
static void more_identities_are_not_held_by_the_past(void **state) {
    struct pace p = {0};
    uint64_t now = NS_PER_S, slow = 7200 * NS_PER_S, fast = 7 * NS_PER_S;
    while (pace_take(&p, now, slow))
        ;
    assert_false(pace_take(&p, now, fast));
    assert_true(pace_take(&p, now + PACE_BURST * fast, fast));
}

static void lives_of_a_crowd_differ(void **state) {
    struct pace p = {0};
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < PACE_TOGETHER; i++)
        assert_int_equal(pace_first_life(&p, &rng, 1000, DAY_S), DAY_S);
    uint32_t least = DAY_S, most = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t life = pace_first_life(&p, &rng, 1001, DAY_S);
        assert_in_range(life, DAY_S / 2, DAY_S);
        least = min_of(least, life);
        most = max_of(most, life);
    }
    assert_true(least < DAY_S * 0.55 && most > DAY_S * 0.95);
    assert_int_equal(pace_first_life(&p, &rng, 1000 + DAY_S / PACE_WINDOW_PARTS, DAY_S), DAY_S); /* the next window */
    assert_int_equal(pace_first_life(&p, &rng, 3, DAY_S), DAY_S);                                /* a clock set back */
}

static void little_time_left_is_urgent(void **state) {
    assert_false(pace_is_urgent(DAY_S / 5, DAY_S));
    assert_true(pace_is_urgent(DAY_S / 100, DAY_S));
    assert_true(pace_is_urgent(-5, DAY_S));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interval_is_life_over_number),
        cmocka_unit_test(a_burst_then_one_a_step),
        cmocka_unit_test(never_more_than_the_factor),
        cmocka_unit_test(a_quiet_time_gives_no_more_than_a_burst),
        cmocka_unit_test(the_urgent_are_counted),
        cmocka_unit_test(a_lone_identity_is_no_herd),
        cmocka_unit_test(more_identities_are_not_held_by_the_past),
        cmocka_unit_test(lives_of_a_crowd_differ),
        cmocka_unit_test(little_time_left_is_urgent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
