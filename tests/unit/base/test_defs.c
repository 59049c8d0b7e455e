/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the ownership macros move and close exactly once and keep errno. Method: descriptors watched with fcntl. */
#include <errno.h>
#include <fcntl.h>

#include <ringwall/base/check.h>
#include <ringwall/base/counter.h>
#include <ringwall/base/defs.h>

#include "unit.h"

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static int some_fd(void) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void descriptors_close_once(void **state) {
    int fd = some_fd();
    {
        cleanup_fd int owned = fd;
        errno = ENOENT;
    }
    assert_int_equal(errno, ENOENT);
    assert_false(is_open(fd));
    assert_int_equal(fd_close(-1), -1);
    fd = some_fd();
    assert_int_equal(fd_close(fd), -1);
    assert_false(is_open(fd));
}

static void taken_is_not_closed(void **state) {
    int kept;
    char *memory;
    {
        cleanup_fd int owned = some_fd();
        cleanup_free char *bytes = malloc(10);
        kept = take_fd(owned);
        memory = take_ptr(bytes);
        assert_int_equal(owned, -1);
        assert_null(bytes);
    }
    assert_true(is_open(kept));
    fd_close(kept);
    memory[9] = 1;
    free(memory);
}

static void close_twice(void *fd) {
    fd_close(*(int *)fd);
    fd_close(*(int *)fd);
}

static void closing_twice_is_our_mistake(void **state) {
    int fd = some_fd();
    assert_true(unit_dies(close_twice, &fd));
    fd_close(fd);
}

static void failing_check(void *value) { check(*(int *)value == 2); }

static void checks_stop(void **state) {
    int two = 2, three = 3;
    assert_false(unit_dies(failing_check, &two));
    assert_true(unit_dies(failing_check, &three));
}

static void pickers_nest_and_evaluate_once(void **state) {
    int n = 0;
    assert_int_equal(min_of(++n, max_of(5, min_of(7, 9))), 1);
    assert_int_equal(n, 1);
    assert_int_equal(max_of(3, 4), 4);
}

static void counters_count(void **state) {
    struct counter c = {0};
    counter_add(&c, 5);
    counter_sub(&c, 2);
    assert_int_equal(counter_get(&c), 3);
    counter_set(&c, UINT64_MAX);
    counter_add(&c, 2);
    assert_int_equal(counter_get(&c), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_close_once),         cmocka_unit_test(taken_is_not_closed),
        cmocka_unit_test(closing_twice_is_our_mistake),   cmocka_unit_test(checks_stop),
        cmocka_unit_test(pickers_nest_and_evaluate_once), cmocka_unit_test(counters_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
