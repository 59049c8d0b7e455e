/* SPDX-License-Identifier: GPL-3.0-or-later
 * test_outbound.c - goal: captured connects arrive at the right listener with the right original destination, the
 * application sees what it would without us, everyone else is untouched, and whatever is missing refuses. Method: the
 * real programs on this kernel, in a lab of namespaces and cgroups; this process is the daemon, forked actors are the
 * applications. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringwall/base/clock.h>

#include "daemon.h"

enum { MANY = 1000 };

static void test_redirect_v4(void **state) {
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 8080}, CAPTURE_OUTBOUND4, "10.77.1.2");
    expect_redirected(&(struct act){.family = AF_INET, .address = "10.77.2.2", .port = 80, .say = "ping"}, CAPTURE_OUTBOUND4,
                      "10.77.1.2");
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 8080, .nonblocking = true},
                      CAPTURE_OUTBOUND4, "10.77.1.2");
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 15001}, CAPTURE_OUTBOUND4, "10.77.1.2");
    assert_true(count_of(CAPTURE_COUNT_REDIRECTED) >= 4);
}

static void test_redirect_v6(void **state) {
    expect_redirected(&(struct act){.family = AF_INET6, .address = "2001:db8::7", .port = 443}, CAPTURE_OUTBOUND6, "fd77:1::2");
    expect_redirected(&(struct act){.family = AF_INET6, .address = "fd77:2::2", .port = 443, .nonblocking = true},
                      CAPTURE_OUTBOUND6, "fd77:1::2");
}

static void test_redirect_v4_mapped(void **state) {
    expect_redirected(&(struct act){.family = AF_INET6, .address = "::ffff:192.0.2.7", .port = 443, .say = "ping"},
                      CAPTURE_OUTBOUND4, "10.77.1.2");
}

/* sendto with MSG_FASTOPEN connects without connect(). */
static void test_redirect_fastopen(void **state) {
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80, .fastopen = true, .say = "ping"},
                      CAPTURE_OUTBOUND4, "10.77.1.2");
}

/* The first subflow of MPTCP is a TCP connect like any other; our listener does not speak it, so it falls back. */
static void test_mptcp_is_captured(void **state) {
    struct act a = {.family = AF_INET, .address = "192.0.2.7", .port = 80, .protocol = IPPROTO_MPTCP, .say = "ping"};
    int supported = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    if (supported < 0)
        skip();
    close(supported);
    expect_redirected(&a, CAPTURE_OUTBOUND4, "10.77.1.2");
    a.family = AF_INET6;
    a.address = "2001:db8::7";
    expect_redirected(&a, CAPTURE_OUTBOUND6, "fd77:1::2");
}

static void test_bound_before_connect(void **state) {
    expect_redirected(
        &(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80, .bind_to = "10.77.1.2", .bind_port = 5005},
        CAPTURE_OUTBOUND4, "10.77.1.2");
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80, .bind_to = "0.0.0.0", .bind_port = 5006},
                      CAPTURE_OUTBOUND4, "10.77.1.2");
    expect_redirected(
        &(struct act){.family = AF_INET6, .address = "2001:db8::7", .port = 80, .bind_to = "fd77:1::2", .bind_port = 5007},
        CAPTURE_OUTBOUND6, "fd77:1::2");
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80, .device = "lo"}, CAPTURE_OUTBOUND4,
                      "10.77.1.2");
    struct act by_device = {.family = AF_INET, .address = "192.0.2.7", .port = 80, .device = "eth0"};
    uint64_t before = count_of(CAPTURE_COUNT_REFUSED_DEVICE);
    assert_int_equal(lab_do(lab.inner[1], 1, &by_device).error, EPERM);
    assert_int_equal(count_of(CAPTURE_COUNT_REFUSED_DEVICE), before + 1);
}

static void test_local_is_left_alone(void **state) {
    static const struct {
        int family;
        const char *at, *to;
    } places[] = {{AF_INET, "127.0.0.1", "127.0.0.1"},
                  {AF_INET, "127.0.0.9", "127.0.0.9"},
                  {AF_INET, "0.0.0.0", "0.0.0.0"},
                  {AF_INET, "10.77.1.2", "10.77.1.2"},
                  {AF_INET6, "::1", "::1"},
                  {AF_INET6, "::", "::"},
                  {AF_INET6, "fd77:1::2", "fd77:1::2"},
                  {AF_INET6, "::", "::ffff:127.0.0.1"}};
    for (size_t i = 0; i < array_size(places); i++) {
        struct actor app = lab_start(
            lab.inner[1], 1, &(struct act){.family = places[i].family, .address = places[i].at, .port = 80, .listen = true});
        struct report c =
            lab_do(lab.inner[1], 1, &(struct act){.family = places[i].family, .address = places[i].to, .port = 80, .say = "hi"});
        if (c.error != 0)
            printf("%s: %s\n", places[i].to, strerror(c.error));
        assert_int_equal(c.error, 0);
        assert_string_equal(c.said, "app:hi");
        lab_wait_report(&app);
        lab_leave(&app);
    }
}

static void test_not_ready_refuses(void **state) {
    static const struct act out4 = {.family = AF_INET, .address = "192.0.2.7", .port = 80},
                            out6 = {.family = AF_INET6, .address = "2001:db8::7", .port = 80},
                            mapped = {.family = AF_INET6, .address = "::ffff:192.0.2.7", .port = 80},
                            loopback = {.family = AF_INET, .address = "127.0.0.1", .port = 9};
    assert_int_equal(lab_do(lab.inner[1], 1, &out4).error, EPERM);
    assert_int_equal(lab_do(lab.inner[1], 1, &out6).error, EPERM);
    assert_int_equal(lab_do(lab.inner[1], 1, &mapped).error, EPERM);
    assert_int_equal(lab_do(lab.other, 0, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.inner[1], 1, &loopback).error, ECONNREFUSED);
    assert_int_equal(count_of(CAPTURE_COUNT_REFUSED_NOT_READY), 4);
    enrol(1); /* enrolled alone is not enough */
    assert_int_equal(lab_do(lab.inner[1], 1, &out4).error, EPERM);
    /* the daemon's own cgroup and what lies below it */
    assert_int_equal(lab_do(lab.daemon, 0, &to_node).error, ECONNREFUSED);
    assert_int_equal(count_of(CAPTURE_COUNT_EXEMPT), 1);
    assert_int_equal(capture_ready(d.c), 0);
    expect_redirected(&out4, CAPTURE_OUTBOUND4, "10.77.1.2");
}

static void test_others_are_untouched(void **state) {
    expect_untouched(lab.other, 0);
    expect_untouched(lab.other, 3); /* a pod that is not enrolled */
    expect_untouched(lab.inner[3], 3);
    assert_int_equal(count_of(CAPTURE_COUNT_UNTOUCHED), 3);
    expect_untouched(lab.daemon, 1); /* ours, inside a pod */
    assert_int_equal(count_of(CAPTURE_COUNT_EXEMPT), 1);
}

static void test_mismatch_refuses(void **state) {
    assert_int_equal(lab_do(lab.inner[1], 0, &to_node).error, EPERM); /* enrolled cgroup, foreign namespace */
    assert_int_equal(lab_do(lab.other, 1, &to_node).error, EPERM);    /* enrolled namespace, foreign cgroup */
    assert_int_equal(lab_do(lab.inner[2], 1, &to_node).error, EPERM); /* both enrolled, not the same */
    assert_int_equal(lab_do(lab.inner[3], 1, &to_node).error, EPERM);
    assert_int_equal(count_of(CAPTURE_COUNT_REFUSED_MISMATCH), 4);
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80}, CAPTURE_OUTBOUND4, "10.77.1.2");
}

static void test_partial_enrolment_refuses(void **state) {
    /* cgroup only: no namespace to be in */
    assert_int_equal(enrol_id(3, 3, NULL, lab.pod[3]), 0);
    assert_int_equal(listener(3, CAPTURE_INBOUND, 0), -1);
    assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.inner[3], 0, &to_node).error, EPERM);
    d.pod[3] = capture_release(d.c, d.pod[3], false);
    expect_untouched(lab.inner[3], 3);
    /* namespace only: inbound is served, no connect goes out */
    assert_int_equal(enrol_id(3, 3, lab.netns[3], NULL), 0);
    assert_true(listener(3, CAPTURE_INBOUND, 0) >= 0);
    assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
}

static void test_listener_gone_refuses(void **state) {
    close_listeners(1);
    struct act out = {.family = AF_INET, .address = "192.0.2.7", .port = 80};
    assert_int_equal(lab_do(lab.inner[1], 1, &out).error, ECONNREFUSED);
    out.nonblocking = true;
    assert_int_equal(lab_do(lab.inner[1], 1, &out).error, ECONNREFUSED);
    struct act out6 = {.family = AF_INET6, .address = "2001:db8::7", .port = 80};
    assert_int_equal(lab_do(lab.inner[1], 1, &out6).error, ECONNREFUSED);
    assert_int_equal(capture_origdst_used(d.c), 0);
}

static void test_many_connects_leave_nothing(void **state) {
    struct act many = {.family = AF_INET, .address = "192.0.2.7", .port = 80, .again = MANY - 1};
    assert_int_equal(lab_do(lab.inner[1], 1, &many).error, 0);
    many = (struct act){.family = AF_INET6, .address = "2001:db8::7", .port = 80, .again = MANY / 10, .nonblocking = true};
    assert_int_equal(lab_do(lab.inner[1], 1, &many).error, 0);
    many =
        (struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80, .again = 20, .bind_to = "0.0.0.0", .bind_port = 5010};
    struct report r = lab_do(lab.inner[1], 1, &many); /* one port again and again: refused by TIME_WAIT, or not */
    assert_true(r.error == 0 || r.error == EADDRNOTAVAIL || r.error == EADDRINUSE);
    assert_true(count_of(CAPTURE_COUNT_REDIRECTED) >= MANY);
    close_listeners(1); /* nobody accepted: some clients still wait for our end to close */
    assert_int_equal(capture_origdst_used(d.c), 0);
    assert_int_equal(count_of(CAPTURE_COUNT_ORIGDST_FULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_ready_refuses, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_v4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_v6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_v4_mapped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_fastopen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mptcp_is_captured, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound_before_connect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_local_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_are_untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mismatch_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partial_enrolment_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listener_gone_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_connects_leave_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
