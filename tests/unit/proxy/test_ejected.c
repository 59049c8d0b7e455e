/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: an endpoint is passed over after failures in a row only, for a growing time, and never for ever. Method: calls at
 * chosen times, and more endpoints than there are places. */
#include "ejected.h"

#include "unit.h"

static struct endpoint endpoint_of(unsigned i) {
    return (struct endpoint){.addr = {.bytes = {[10] = 0xff, [11] = 0xff, [12] = 10, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i}},
                             .port = 80};
}

static void test_only_after_failures_in_a_row(void **state unused_arg) {
    struct ejected *e = ejected_new(16, 7);
    struct endpoint a = endpoint_of(1), other_port = endpoint_of(1);
    uint64_t now = NS_PER_S;
    other_port.port = 81;
    for (unsigned i = 0; i + 1 < EJECTED_FAILURES; i++)
        assert_false(ejected_failed(e, &a, now));
    ejected_succeeded(e, &a);
    for (unsigned i = 0; i + 1 < EJECTED_FAILURES; i++)
        assert_false(ejected_failed(e, &a, now));
    assert_false(ejected_is(e, &a, now));
    assert_true(ejected_failed(e, &a, now));
    assert_true(ejected_is(e, &a, now));
    assert_false(ejected_is(e, &other_port, now));
    ejected_succeeded(e, &other_port); /* not known: nothing happens */
    ejected_succeeded(e, &a);
    assert_false(ejected_is(e, &a, now));
    ejected_free(e);
}

static void test_the_time_grows_to_a_bound(void **state unused_arg) {
    struct ejected *e = ejected_new(2, 7);
    struct endpoint a = endpoint_of(1);
    uint64_t now = NS_PER_S, longest = EJECTED_NS << EJECTED_DOUBLINGS_MAX;
    for (unsigned i = 0; i + 1 < EJECTED_FAILURES; i++)
        assert_false(ejected_failed(e, &a, now));
    for (unsigned i = 0; i < EJECTED_DOUBLINGS_MAX + 3; i++) {
        uint64_t time = min_of(EJECTED_NS << i, longest);
        assert_true(ejected_failed(e, &a, now));
        assert_false(ejected_failed(e, &a, now)); /* while it is ejected nothing grows */
        assert_true(ejected_is(e, &a, now + time - 1));
        assert_false(ejected_is(e, &a, now + time));
        now += time;
    }
    now += EJECTED_FORGET_NS;
    assert_false(ejected_failed(e, &a, now)); /* long ago: a row begins anew */
    ejected_free(e);
}

static void test_more_endpoints_than_places(void **state unused_arg) {
    struct ejected *e = ejected_new(8, 7);
    for (unsigned i = 0; i < 1000; i++) {
        struct endpoint x = endpoint_of(i);
        for (unsigned k = 0; k < EJECTED_FAILURES; k++)
            ignore_result(ejected_failed(e, &x, i + 1)); /* the last one counts */
        assert_true(ejected_is(e, &x, i + 1));
    }
    unsigned n = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct endpoint x = endpoint_of(i);
        n += ejected_is(e, &x, 1000);
        ejected_succeeded(e, &x);
        assert_false(ejected_is(e, &x, 1000));
    }
    assert_true(n > 0 && n <= 8);
    assert_null(ejected_free(e));
    assert_null(ejected_free(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_after_failures_in_a_row),
        cmocka_unit_test(test_the_time_grows_to_a_bound),
        cmocka_unit_test(test_more_endpoints_than_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
