/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a look-up tells addresses or a reason, and never holds up who asks. Method: names that need no name server, names that
 * nobody has, and look-ups that are left at once. */
#include <poll.h>
#include <time.h>

#include <ringwall/model/addr.h>

#include "resolve.h"
#include "unit.h"

static void await(const struct lookup *l, struct resolved *r) {
    struct pollfd p = {.fd = lookup_fd(l), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 30 * 1000), 1);
    assert_true(lookup_done(l, r));
}

static void test_addresses(void **state) {
    static const struct {
        const char *host, *address;
    } rows[] = {{"localhost", NULL}, {"127.0.0.1", "127.0.0.1:15012"}, {"::1", "[::1]:15012"}};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct lookup *l = NULL;
        struct resolved r = {0};
        struct endpoint e;
        char text[ENDPOINT_TEXT];
        assert_int_equal(lookup_start(rows[i].host, 15012, &l), 0);
        await(l, &r);
        assert_true(r.n >= 1 && r.n <= RESOLVE_ADDRS_MAX);
        assert_true(endpoint_from_sockaddr(&r.addrs[0], &e));
        assert_int_equal(e.port, 15012);
        if (rows[i].address)
            assert_true(str_is(endpoint_format(&e, text), str_of(rows[i].address)));
        assert_null(lookup_leave(l));
    }
}

static void test_nobody(void **state) {
    static const char *const hosts[] = {"a..b", "256.256.256.256.", ""};
    for (size_t i = 0; i < array_size(hosts); i++) {
        struct lookup *l = NULL;
        struct resolved r = {0};
        assert_int_equal(lookup_start(hosts[i], 1, &l), 0);
        await(l, &r);
        if (hosts[i][0]) { /* "" may be the loopback */
            assert_int_equal(r.n, 0);
            assert_non_null(r.why);
        }
        lookup_leave(l);
    }
}

/* Who asked goes; its thread ends by itself and gives its place back. */
static void test_left(void **state) {
    unsigned n_started = 0;
    for (int i = 0; i < 1000 && n_started < 5 * RESOLVE_THREADS_MAX; i++) {
        struct lookup *l = NULL;
        int r = lookup_start("localhost", 1, &l);
        assert_true(r == 0 || r == 1);
        if (r == 0) {
            n_started++;
            lookup_leave(l);
        } else
            poll(NULL, 0, 10); /* all places are taken: one ends soon */
    }
    assert_int_equal(n_started, 5 * RESOLVE_THREADS_MAX);
    assert_null(lookup_leave(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses), cmocka_unit_test(test_nobody),
                                       cmocka_unit_test(test_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
