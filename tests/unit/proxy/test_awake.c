/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: processors are asked to stay awake while messages come often, not for one now and then, and only where that was wanted.
 * Method: turns at made-up times; a file in place of the kernel's device says what was asked. */
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/err.h>

#include "awake.h"
#include "limits.h"
#include "unit.h"

enum { BOUND_US = 5 };
static const int32_t nothing = 2000000000;

struct fixture {
    struct awake awake;
    char path[32];
    int fd;
};

static struct fixture fixture_make(void) {
    struct fixture f = {.path = "/tmp/awake-XXXXXX"};
    f.fd = mkstemp(f.path);
    assert_true(f.fd >= 0);
    assert_int_equal(awake_init(&f.awake, f.path, BOUND_US), 0);
    return f;
}
static void fixture_end(struct fixture *f) {
    awake_deinit(&f->awake);
    assert_int_equal(f->awake.fd, -1);
    close(f->fd);
    unlink(f->path);
}

/* The next thing asked; 0 when nothing was. */
static int32_t asked(struct fixture *f) {
    int32_t us = 0;
    ssize_t n = read(f->fd, &us, sizeof(us));
    assert_true(n == 0 || n == sizeof(us));
    return us;
}

static void while_they_come_often(void **state) {
    struct fixture f = fixture_make();
    uint64_t now = 1000 * NS_PER_S;
    for (unsigned i = 1; i < AWAKE_TURNS; i++)
        awake_turned(&f.awake, now += NS_PER_MS);
    assert_false(f.awake.asks);
    assert_int_equal(asked(&f), 0);
    awake_turned(&f.awake, now += NS_PER_MS);
    assert_true(f.awake.asks);
    assert_int_equal(asked(&f), BOUND_US);
    assert_int_equal(f.awake.period_ends_ns, now + AWAKE_PERIOD_NS);
    for (unsigned period = 0; period < 3; period++) { /* goes on without asking again */
        for (unsigned i = 0; i < 3 * AWAKE_TURNS; i++)
            awake_turned(&f.awake, now + i);
        awake_period_ended(&f.awake, now += AWAKE_PERIOD_NS);
        assert_true(f.awake.asks);
        assert_int_equal(asked(&f), 0);
    }
    for (unsigned i = 1; i < AWAKE_TURNS; i++)
        awake_turned(&f.awake, now + i);
    awake_period_ended(&f.awake, now += AWAKE_PERIOD_NS);
    assert_false(f.awake.asks);
    assert_int_equal(asked(&f), nothing);
    fixture_end(&f);
}

static void not_for_one_now_and_then(void **state) {
    struct fixture f = fixture_make();
    uint64_t now = 1000 * NS_PER_S;
    for (unsigned i = 0; i < 100 * AWAKE_TURNS; i++)
        awake_turned(&f.awake, now += AWAKE_PERIOD_NS / (AWAKE_TURNS - 1) + 1);
    assert_false(f.awake.asks);
    assert_int_equal(asked(&f), 0);
    fixture_end(&f);
}

static void begins_again(void **state) {
    struct fixture f = fixture_make();
    uint64_t now = 1000 * NS_PER_S;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < AWAKE_TURNS; i++)
            awake_turned(&f.awake, now);
        assert_int_equal(asked(&f), BOUND_US);
        awake_period_ended(&f.awake, now += AWAKE_PERIOD_NS);
        assert_int_equal(asked(&f), nothing);
        now += 10 * NS_PER_S;
    }
    fixture_end(&f);
}

static void not_wanted_or_not_there(void **state) {
    static const char *const devices[] = {NULL, "/nowhere/cpu_dma_latency"};
    for (unsigned i = 0; i < array_size(devices); i++) {
        struct awake a;
        assert_true(i ? awake_init(&a, devices[i], 0) < 0 : awake_init(&a, devices[i], 0) == 0);
        for (unsigned turn = 0; turn < 2 * AWAKE_TURNS; turn++)
            awake_turned(&a, NS_PER_S);
        assert_false(a.asks);
        awake_deinit(&a);
    }
}

static void a_refusal_changes_nothing(void **state) {
    struct awake a;
    assert_int_equal(awake_init(&a, "/dev/full", 0), 0);
    for (unsigned turn = 0; turn < 2 * AWAKE_TURNS; turn++)
        awake_turned(&a, NS_PER_S);
    assert_false(a.asks);
    awake_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(while_they_come_often), cmocka_unit_test(not_for_one_now_and_then),
                                       cmocka_unit_test(begins_again), cmocka_unit_test(not_wanted_or_not_there),
                                       cmocka_unit_test(a_refusal_changes_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
