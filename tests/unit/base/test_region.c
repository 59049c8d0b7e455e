/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a region is zeroed, ends at a page that cannot be touched, and forgets what is discarded. Method: write at its
 * edges, over them in a child, and read after discarding. */
#include <sys/mman.h>

#include "../../../src/base/region.h"

#include "unit.h"

enum { PAGE = 4096 };

static void touch(void *at) { *(volatile uint8_t *)at = 1; }

static void edges(void **state) {
    uint8_t *at = region_map(3 * PAGE);
    assert_non_null(at);
    assert_int_equal(at[0], 0);
    touch(at);
    touch(at + 3 * PAGE - 1);
    assert_true(unit_dies(touch, at + 3 * PAGE));
    region_unmap(at, 3 * PAGE);
    region_unmap(NULL, 3 * PAGE);
    assert_null(region_map(0));
    assert_null(region_map(SIZE_MAX));
    assert_null(region_map(SIZE_MAX / 2));
}

static void discarding_takes_whole_pages_only(void **state) {
    uint8_t *at = region_map(4 * PAGE);
    for (int i = 0; i < 4 * PAGE; i++)
        at[i] = 7;
    region_discard(at + 1, 2 * PAGE); /* one whole page lies inside */
    assert_int_equal(at[PAGE - 1], 7);
    assert_int_equal(at[PAGE], 0);
    assert_int_equal(at[2 * PAGE - 1], 0);
    assert_int_equal(at[2 * PAGE], 7);
    region_discard(at + 10, PAGE); /* none does */
    assert_int_equal(at[10], 7);
    region_discard(at, 0);
    assert_int_equal(at[0], 7);
    region_unmap(at, 4 * PAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(edges), cmocka_unit_test(discarding_takes_whole_pages_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
