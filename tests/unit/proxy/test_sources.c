/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the limit on handshakes holds for each source alone, lets bursts of twice the rate through, forgives with time, and
 * stays of one size whatever addresses come. Method: a clock that the test moves, tiny and normal tables. */
#include "sources.h"

#include <ringwall/base/clock.h>

#include "unit.h"

static struct addr addr_of(unsigned i) {
    struct addr a = {
        .bytes = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = (uint8_t)(i >> 16), [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i}};
    return a;
}

static unsigned take(struct sources *s, unsigned source, unsigned n, uint64_t now_ns) {
    struct addr a = addr_of(source);
    unsigned allowed = 0;
    while (n--)
        allowed += sources_allow(s, &a, now_ns);
    return allowed;
}

static void rate_and_burst(void **state unused_arg) {
    struct sources *s = sources_new(64, 10, 1);
    uint64_t now = 5 * NS_PER_S;
    assert_non_null(s);
    assert_int_equal(take(s, 1, 100, now), 20);
    assert_int_equal(take(s, 1, 100, now + NS_PER_S / 2), 5);
    assert_int_equal(take(s, 1, 100, now + NS_PER_S), 5);
    assert_int_equal(take(s, 1, 100, now + 3600 * NS_PER_S), 20); /* no more than a burst is saved up */
    assert_null(sources_free(s));
}

static void one_source_costs_no_other(void **state unused_arg) {
    struct sources *s = sources_new(4096, 10, 7);
    uint64_t now = NS_PER_S;
    assert_non_null(s);
    assert_int_equal(take(s, 1, 1000, now), 20);
    for (unsigned i = 2; i < 100; i++)
        assert_int_equal(take(s, i, 1, now), 1);
    assert_int_equal(take(s, 1, 10, now), 0);
    assert_null(sources_free(s));
}

static void a_tiny_table_never_refuses_newcomers(void **state unused_arg) {
    struct sources *s = sources_new(2, 1, 3);
    assert_non_null(s);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(take(s, i, 1, NS_PER_S + i), 1);
    assert_null(sources_free(s));
}

static void zero_is_no_limit(void **state unused_arg) {
    struct sources *s = sources_new(2, 0, 3);
    assert_non_null(s);
    assert_int_equal(take(s, 1, 1000, 0), 1000);
    assert_null(sources_free(s));
    assert_null(sources_free(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_and_burst),
        cmocka_unit_test(one_source_costs_no_other),
        cmocka_unit_test(a_tiny_table_never_refuses_newcomers),
        cmocka_unit_test(zero_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
