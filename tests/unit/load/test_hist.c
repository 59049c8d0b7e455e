/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a quantile is never below the true one and at most 1/64 above it, whatever the values.
 * Method: values of all magnitudes against the sorted list itself. */
#include <stdlib.h>

#include <ringwall/base/rng.h>

#include "../../../bench/load/hist.h"
#include "unit.h"

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void empty_says_nothing(void **state) {
    static struct hist h;
    assert_int_equal(hist_quantile(&h, 0.99), 0);
}

static void small_values_are_exact(void **state) {
    static struct hist h;
    for (uint64_t i = 1; i <= 100; i++)
        hist_add(&h, i % 50);
    assert_int_equal(hist_quantile(&h, 0), 0);
    assert_int_equal(hist_quantile(&h, 0.5), 24);
    assert_int_equal(hist_quantile(&h, 1), 49);
}

static void quantiles_are_close(void **state) {
    enum { N = 20000 };
    static struct hist h;
    static uint64_t values[N];
    struct rng rng;
    rng_seed(&rng, 5);
    for (int i = 0; i < N; i++) {
        values[i] = rng_u64(&rng) >> rng_below(&rng, 64);
        hist_add(&h, values[i]);
    }
    qsort(values, N, sizeof(values[0]), compare);
    const double shares[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    for (unsigned i = 0; i < array_size(shares); i++) {
        uint64_t rank = max_of((uint64_t)(N * shares[i] + 0.5), (uint64_t)1), truth = values[rank - 1],
                 seen = hist_quantile(&h, shares[i]);
        assert_true(seen >= truth && seen - truth <= truth / 64);
    }
}

static void merging_adds(void **state) {
    static struct hist a, b, both;
    for (uint64_t i = 0; i < 1000; i++) {
        hist_add(i % 3 ? &a : &b, i * i);
        hist_add(&both, i * i);
    }
    hist_merge(&a, &b);
    assert_memory_equal(a.counts, both.counts, sizeof(a.counts));
    assert_int_equal(a.n, both.n);
    assert_int_equal(a.most, both.most);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_says_nothing),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(quantiles_are_close),
        cmocka_unit_test(merging_adds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
