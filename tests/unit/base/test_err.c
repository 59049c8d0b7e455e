/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the wrappers forward values unchanged and leave a trail only when asked. Method: stderr turned into a pipe. */
#include <errno.h>
#include <string.h>

#include <ringwall/base/err.h>

#include "unit.h"

static int pass(int r) { return err_trace(r); }

static void values_are_forwarded(void **state) {
    assert_int_equal(err_origin(-ENOENT), -ENOENT);
    assert_int_equal(pass(-ENOMEM), -ENOMEM);
    assert_int_equal(pass(0), 0);
    assert_int_equal(pass(3), 3);
    assert_int_equal(err_fold(0), 0);
    assert_int_equal(err_fold(1), -ENOTRECOVERABLE);
    assert_int_equal(err_fold(-EIO), -EIO);
}

/* What f leaves on stderr. */
static size_t capture_stderr(void (*f)(void), char *out, size_t n_max) {
    int ends[2], before = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_true(before >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    f();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    close(ends[1]);
    size_t n = 0;
    ssize_t r;
    while ((r = read(ends[0], out + n, n_max - 1 - n)) > 0)
        n += (size_t)r;
    close(ends[0]);
    out[n] = 0;
    return n;
}

static void fail_twice(void) {
    errno = EPERM;
    int r = pass(err_origin(-ENOENT));
    r = pass(r > 0 ? r : 1); /* a verdict leaves no trail */
    r = err_fold(r);
    assert_int_equal(r, -ENOTRECOVERABLE);
    assert_int_equal(errno, EPERM);
}

static void trail_names_each_step(void **state) {
    char text[4096];
    assert_int_equal(capture_stderr(fail_twice, text, sizeof(text)), 0);
    err_set_trail(true);
    assert_true(capture_stderr(fail_twice, text, sizeof(text)) > 0);
    err_set_trail(false);
    assert_non_null(strstr(text, "raised: ENOENT"));
    assert_non_null(strstr(text, "through: ENOENT"));
    assert_non_null(strstr(text, "folded: ENOTRECOVERABLE"));
    assert_non_null(strstr(text, "test_err.c"));
    unsigned n_lines = 0;
    for (const char *at = text; *at; at++)
        n_lines += *at == '\n';
    assert_int_equal(n_lines, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_are_forwarded), cmocka_unit_test(trail_names_each_step)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
