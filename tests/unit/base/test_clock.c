/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: time is told and read right, and a simulated clock is its own thread's alone. Method: known dates both ways,
 * libc's gmtime over eight centuries, wrong texts, a second thread. */
#include <string.h>
#include <time.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/thread.h>

#include "unit.h"

static const struct {
    const char *text;
    int64_t wall_s;
} moments[] = {
    {"1970-01-01T00:00:00Z", 0},          {"1969-12-31T23:59:59Z", -1},         {"2000-02-29T12:00:00Z", 951825600},
    {"2026-01-02T03:04:05Z", 1767323045}, {"2038-01-19T03:14:08Z", 2147483648}, {"2100-03-01T00:00:00Z", 4107542400},
};

static void known_moments_both_ways(void **state) {
    for (size_t i = 0; i < array_size(moments); i++) {
        char out[RFC3339_BYTES];
        clock_rfc3339(moments[i].wall_s * (int64_t)NS_PER_S, out, false);
        assert_string_equal(out, moments[i].text);
        int64_t back;
        assert_true(clock_parse_rfc3339(out, strlen(out), &back));
        assert_int_equal(back, moments[i].wall_s);
    }
}

static void agrees_with_libc(void **state) {
    for (int64_t s = -8000000000; s < 9000000000; s += 86399 * 7) {
        char out[RFC3339_BYTES], expected[RFC3339_BYTES];
        struct tm tm;
        assert_non_null(gmtime_r(&(time_t){s}, &tm));
        assert_true(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0);
        clock_rfc3339(s * (int64_t)NS_PER_S, out, false);
        assert_string_equal(out, expected);
        int64_t back;
        assert_true(clock_parse_rfc3339(out, strlen(out), &back));
        assert_int_equal(back, s);
    }
}

static void micros_are_rounded_down(void **state) {
    char out[RFC3339_BYTES];
    clock_rfc3339(1767323045 * (int64_t)NS_PER_S + 6999, out, true);
    assert_string_equal(out, "2026-01-02T03:04:05.000006Z");
    clock_rfc3339(-1, out, true);
    assert_string_equal(out, "1969-12-31T23:59:59.999999Z");
    clock_rfc3339(INT64_MAX, out, true);
    assert_string_equal(out, "2262-04-11T23:47:16.854775Z");
    clock_rfc3339(INT64_MIN, out, true);
    assert_string_equal(out, "1677-09-21T00:12:43.145224Z");
}

static void other_forms_are_read(void **state) {
    static const char *const same[] = {"2026-01-02T03:04:05.123456789Z", "2026-01-02t03:04:05z", "2026-01-02T05:04:05+02:00",
                                       "2026-01-01T21:34:05-05:30"};
    for (size_t i = 0; i < array_size(same); i++) {
        int64_t s;
        assert_true(clock_parse_rfc3339(same[i], strlen(same[i]), &s));
        assert_int_equal(s, 1767323045);
    }
    int64_t leap;
    assert_true(clock_parse_rfc3339("2016-12-31T23:59:60Z", 20, &leap));
    assert_int_equal(leap, 1483228800);
}

static void wrong_texts_are_refused(void **state) {
    static const char *const wrong[] = {
        "",
        "2026",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "2100-02-29T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-01-00T03:04:05Z",
        "2026-01-02T24:04:05Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:61Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05Z ",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+02",
        "2026-01-02T03:04:05+02:60",
        "2026-01-02T03:04:05+02:00x",
        "+026-01-02T03:04:05Z",
        "2026\r01-02T03:04:05Z",
        "2026-01-02T03\03204:05Z",
    };
    int64_t s = 5;
    for (size_t i = 0; i < array_size(wrong); i++)
        assert_false(clock_parse_rfc3339(wrong[i], strlen(wrong[i]), &s));
    assert_false(clock_parse_rfc3339(NULL, 0, &s));
    assert_int_equal(s, 5);
}

static uint64_t fixed_mono(void *context) { return *(uint64_t *)context; }
static int64_t fixed_wall(void *context) { return -5; }

static void *read_clock(void *out) {
    *(uint64_t *)out = clock_mono_ns();
    return NULL;
}

static void override_is_one_threads(void **state) {
    uint64_t now = 42, other = 0, before = clock_mono_ns();
    struct clock_source source = {.mono_ns = fixed_mono, .wall_ns = fixed_wall, .context = &now};
    clock_override(&source);
    assert_int_equal(clock_mono_ns(), 42);
    assert_int_equal(clock_wall_ns(), -5);
    now = 43;
    assert_int_equal(clock_mono_ns(), 43);
    pthread_t t;
    assert_int_equal(thread_start(&t, "clock", read_clock, &other), 0);
    thread_join(t);
    clock_override(NULL);
    assert_true(other >= before);
    assert_true(clock_mono_ns() >= other);
    assert_true(clock_wall_s() > 1600000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_moments_both_ways), cmocka_unit_test(agrees_with_libc),
        cmocka_unit_test(micros_are_rounded_down), cmocka_unit_test(other_forms_are_read),
        cmocka_unit_test(wrong_texts_are_refused), cmocka_unit_test(override_is_one_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
