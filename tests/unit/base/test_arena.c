/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: an arena hands out zeroed, aligned, separate memory up to its bound. Method: many sizes, written to and read
 * back; bounds of zero, exact and one byte less; products that overflow. */
#include <ringwall/base/arena.h>

#include "unit.h"

static void memory_is_zeroed_aligned_and_separate(void **state) {
    struct arena a = ARENA_NULL;
    uint8_t *at[200];
    for (size_t i = 0; i < 200; i++) {
        size_t n = i * i * 7 % 5000;
        at[i] = arena_alloc(&a, n);
        assert_non_null(at[i]);
        assert_int_equal((uintptr_t)at[i] % 16, 0);
        for (size_t j = 0; j < n; j++)
            assert_int_equal(at[i][j], 0);
        memset(at[i], (int)i, n);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < i * i * 7 % 5000; j++)
            assert_int_equal(at[i][j], (uint8_t)i);
    arena_deinit(&a);
    assert_null(a.last);
    assert_int_equal(a.bytes, 0);
    arena_deinit(&a);
}

static void bytes_stand_side_by_side(void **state) {
    struct arena a = ARENA_NULL;
    bool ok = true;
    assert_non_null(arena_alloc_aligned(&a, 100, 16));
    struct str first = arena_str(&a, STR("ab"), &ok), second = arena_str(&a, STR("c"), &ok);
    uint16_t *ports = arena_array(&a, uint16_t, 3);
    uint64_t *numbers = arena_array(&a, uint64_t, 1);
    assert_true(ok && ports && numbers);
    assert_int_equal((uintptr_t)ports % _Alignof(uint16_t) + (uintptr_t)numbers % _Alignof(uint64_t), 0);
#ifndef __SANITIZE_ADDRESS__
    assert_ptr_equal(second.at, first.at + 3);
    assert_ptr_equal(ports, second.at + 3); /* 105 is odd */
    assert_ptr_equal(numbers, ports + 3);
    assert_int_equal(a.bytes, 120);
    for (unsigned i = 0; i < 100; i++) { /* what is too large for a chunk leaves the chunk in use */
        assert_non_null(arena_alloc(&a, 100 * 1024));
        assert_non_null(arena_alloc(&a, 16));
    }
    assert_true(a.bytes_held < a.bytes + 100 * 64 + 16 * 1024);
#endif
    assert_true(a.bytes_held > a.bytes);
    assert_true(first.n == 2 && second.n == 1);
    arena_deinit(&a);
    assert_int_equal(a.bytes_held, 0);
}

static void bound_is_kept(void **state) {
    struct arena a = {.bytes_max = 64};
    assert_null(arena_alloc(&a, 65));
    assert_non_null(arena_alloc(&a, 48));
    assert_null(arena_alloc(&a, 17));
    assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 0));
    assert_null(arena_alloc_aligned(&a, 1, 1));
    assert_int_equal(a.bytes, 64);
    arena_deinit(&a);
}

static void impossible_sizes_are_refused(void **state) {
    struct arena a = ARENA_NULL;
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX / 2 + 1));
    assert_null(arena_array(&a, uint64_t, SIZE_MAX / 4));
    uint64_t *ten = arena_array(&a, uint64_t, 10);
    assert_non_null(ten);
    assert_int_equal(a.bytes, 80);
    arena_deinit(&a);
}

static void strings_are_copied(void **state) {
    struct arena a = {.bytes_max = 1024};
    bool ok = true;
    char source[] = "node-1";
    struct str s = arena_str(&a, str_of(source), &ok), empty = arena_str(&a, STR_NULL, &ok);
    source[0] = 'X';
    struct str f = arena_strf(&a, &ok, "%s/%d", "ns", 42);
    assert_true(ok);
    assert_true(str_is(s, STR("node-1")) && str_is(empty, STR_NULL) && str_is(f, STR("ns/42")));
    assert_string_equal(s.at, "node-1");
    assert_string_equal(empty.at, "");
    assert_string_equal(f.at, "ns/42");
    arena_deinit(&a);
}

static void failure_is_remembered(void **state) {
    struct arena a = {.bytes_max = 16};
    bool ok = true;
    assert_int_equal(arena_str(&a, STR("sixteen bytes...."), &ok).n, 0);
    assert_false(ok);
    ok = true;
    assert_null(arena_strf(&a, &ok, "%100d", 1).at);
    assert_false(ok);
    assert_true(str_is(arena_str(&a, STR("short"), &ok), STR("short")));
    assert_false(ok); /* a later success does not hide it */
    arena_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_separate),
        cmocka_unit_test(bytes_stand_side_by_side),
        cmocka_unit_test(bound_is_kept),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(failure_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
