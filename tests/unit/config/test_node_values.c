/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: durations, sizes and listening addresses are read exactly, and nothing that only looks like one. Method: tables. */
#include <string.h>

#include "node_values.h"
#include "unit.h"

static void durations(void **state) {
    static const struct {
        const char *text;
        int64_t seconds; /* -1: refused */
    } rows[] = {{"25s", 25},
                {"24h", 86400},
                {"1h30m", 5400},
                {"90d", 7776000},
                {"1d1h1m1s", 90061},
                {"0s", 0},
                {"", -1},
                {"25", -1},
                {"s", -1},
                {"1m1h", -1},
                {"1s1s", -1},
                {"-1s", -1},
                {"1.5h", -1},
                {"1 h", -1},
                {"1w", -1},
                {"1ms", -1},
                {"99999999999999999999s", -1},
                {"3651d", -1},
                {"3650d1s", -1}};
    for (size_t i = 0; i < array_size(rows); i++) {
        uint64_t seconds = 77;
        bool good = parse_duration(str_of(rows[i].text), &seconds);
        assert_int_equal(good, rows[i].seconds >= 0);
        assert_int_equal(seconds, good ? rows[i].seconds : 77);
    }
}

static void sizes(void **state) {
    static const struct {
        const char *text;
        int64_t bytes;
    } rows[] = {{"512MiB", 512ll << 20},
                {"1GiB", 1ll << 30},
                {"64KiB", 65536},
                {"1000", 1000},
                {"0", 0},
                {"MiB", -1},
                {"512MB", -1},
                {"1.5GiB", -1},
                {"-1", -1},
                {"", -1},
                {"99999999999999999GiB", -1},
                {"1 MiB", -1}};
    for (size_t i = 0; i < array_size(rows); i++) {
        uint64_t bytes = 77;
        bool good = parse_size(str_of(rows[i].text), &bytes);
        assert_int_equal(good, rows[i].bytes >= 0);
        assert_int_equal(bytes, good ? rows[i].bytes : 77);
    }
}

static void listens(void **state) {
    static const struct {
        const char *text, *host;
        unsigned port; /* 0: refused */
    } rows[] = {{"*:15020", "*", 15020},
                {"localhost:15000", "localhost", 15000},
                {"127.0.0.1:1", "127.0.0.1", 1},
                {"[::1]:80", "::1", 80},
                {"[fd00::1]:65535", "fd00::1", 65535},
                {"", NULL, 0},
                {"15020", NULL, 0},
                {":15020", NULL, 0},
                {"*:0", NULL, 0},
                {"*:65536", NULL, 0},
                {"*", NULL, 0},
                {"host.example:80", NULL, 0},
                {"::1:80", NULL, 0},
                {"[127.0.0.1]:80", NULL, 0},
                {"[]:80", NULL, 0},
                {"*:http", NULL, 0},
                {"[*]:80", NULL, 0}};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct listen_spec l = {0};
        assert_int_equal(parse_listen(str_of(rows[i].text), &l), rows[i].port != 0);
        assert_int_equal(l.port, rows[i].port);
        assert_true(str_is(l.host, str_of(rows[i].host)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(durations), cmocka_unit_test(sizes), cmocka_unit_test(listens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
