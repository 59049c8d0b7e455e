/* SPDX-License-Identifier: GPL-3.0-or-later
 * test_inbound.c - goal: every TCP connection into a pod meets our listener and no other, announced ones and our own
 * reach the application, and without a listener nothing passes. Method: as test_outbound.c. */
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

enum { MARK = CAPTURE_MARK };

static void test_inbound_every_port(void **state) {
    static const uint16_t ports[] = {1, 22, 80, 8080, 15001, 15006, 65535};
    for (size_t i = 0; i < array_size(ports); i++) {
        struct act a = to_pod4, b = to_pod6;
        a.port = b.port = ports[i];
        expect_inbound(lab.other, &a, CAPTURE_INBOUND, "10.77.1.1");
        expect_inbound(lab.other, &b, CAPTURE_INBOUND, "fd77:1::1");
    }
    assert_int_equal(count_of(CAPTURE_COUNT_INBOUND_TAKEN), 2 * array_size(ports));
    struct act hbone = to_pod4;
    hbone.port = CAPTURE_PORT_HBONE;
    expect_inbound(lab.other, &hbone, CAPTURE_HBONE, "10.77.1.1");
    hbone = to_pod6;
    hbone.port = CAPTURE_PORT_HBONE;
    expect_inbound(lab.other, &hbone, CAPTURE_HBONE, "fd77:1::1");
}

/* An application of the pod listens on the same port: it must not get the connection. */
static void test_inbound_before_the_application(void **state) {
    struct actor app =
        lab_start(lab.inner[1], 1, &(struct act){.family = AF_INET, .address = "0.0.0.0", .port = 80, .listen = true});
    expect_inbound(lab.other, &to_pod4, CAPTURE_INBOUND, "10.77.1.1");
    /* It joins the group of our listener: it still does not. */
    lab_do(lab.inner[1], 1, &(struct act){.family = AF_INET, .address = "127.0.0.1", .port = 80, .say = "end"});
    lab_leave(&app);
}

static void test_inbound_without_listener_is_refused(void **state) {
    /* One worker's listener gone: the other serves all. */
    d.fds[1][CAPTURE_INBOUND * WORKERS] = fd_close(listener(1, CAPTURE_INBOUND, 0));
    for (int i = 0; i < 8; i++) {
        struct actor client = lab_start(lab.other, 0, &to_pod4);
        struct sockaddr_storage local, peer;
        int fd = lab_accept(listener(1, CAPTURE_INBOUND, 1), &local, &peer);
        assert_true(fd >= 0);
        lab_leave(&client);
        close(fd);
    }
    close_listeners(1);
    struct actor app = lab_start(lab.inner[1], 1, &(struct act){.family = AF_INET6, .address = "::", .port = 80, .listen = true});
    assert_int_equal(lab_do(lab.other, 0, &to_pod4).error, ECONNREFUSED);
    assert_int_equal(lab_do(lab.other, 0, &to_pod6).error, ECONNREFUSED);
    assert_true(count_of(CAPTURE_COUNT_INBOUND_DROPPED) >= 2);
    lab_do(lab.inner[1], 1, &(struct act){.family = AF_INET, .address = "127.0.0.1", .port = 80, .say = "end"});
    lab_leave(&app);
}

/* What proxy/inbound will do: a connection to the application that bears the client's address. */
static int dial_as(const struct sockaddr_storage *client, const struct sockaddr_storage *app) {
    int family = lab_endpoint(client).addr.bytes[10] == 0xff ? AF_INET : AF_INET6, on = 1, mark = MARK, fd = -1;
    assert_int_equal(capture_netns_socket(capture_pod_netns(d.pod[1]), family, &fd), 0);
    assert_int_equal(setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                                family == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on, sizeof(on)),
                     0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0);
    struct endpoint from = lab_endpoint(client), to = lab_endpoint(app);
    if (family == AF_INET) {
        struct sockaddr_in a = {.sin_family = AF_INET}, b = {.sin_family = AF_INET, .sin_port = htons(to.port)};
        memcpy(&a.sin_addr, from.addr.bytes + 12, 4);
        memcpy(&b.sin_addr, to.addr.bytes + 12, 4);
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_true(connect(fd, (struct sockaddr *)&b, sizeof(b)) == 0 || errno == EINPROGRESS);
    } else {
        struct sockaddr_in6 a = {.sin6_family = AF_INET6}, b = {.sin6_family = AF_INET6, .sin6_port = htons(to.port)};
        memcpy(&a.sin6_addr, from.addr.bytes, 16);
        memcpy(&b.sin6_addr, to.addr.bytes, 16);
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_true(connect(fd, (struct sockaddr *)&b, sizeof(b)) == 0 || errno == EINPROGRESS);
    }
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int e = ETIMEDOUT;
    socklen_t n = sizeof(e);
    if (poll(&p, 1, LAB_WAIT_MS) == 1)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
    assert_int_equal(e, 0);
    return fd;
}

static ssize_t recv_wait(int fd, char *to, size_t n) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, LAB_WAIT_MS) == 1 ? recv(fd, to, n, 0) : -1;
}

static void expect_spoofed(const struct act *a, const char *app_at, const char *client_is) {
    struct actor app =
        lab_start(lab.inner[1], 1, &(struct act){.family = a->family, .address = app_at, .port = 80, .listen = true});
    struct act hello = *a;
    hello.say = "hello";
    struct actor client = lab_start(lab.inner[3], 3, &hello);
    struct sockaddr_storage local, peer;
    int in = accept_any(1, CAPTURE_INBOUND, &local, &peer);
    assert_true(in >= 0);
    char text[64];
    assert_int_equal(recv_wait(in, text, sizeof(text)), 5);
    int out = dial_as(&peer, &local);
    assert_int_equal(send(out, text, 5, MSG_NOSIGNAL), 5);
    ssize_t n = recv_wait(out, text, sizeof(text));
    assert_int_equal(n, 9);
    assert_int_equal(send(in, text, (size_t)n, MSG_NOSIGNAL), n);
    struct report c = lab_wait_report(&client), s = lab_wait_report(&app);
    assert_int_equal(c.error, 0);
    assert_string_equal(c.said, "app:hello");
    assert_int_equal(s.error, 0);
    assert_true(lab_is(&s.peer, client_is, -1)); /* the application saw the client's true address */
    close(in);
    close(out);
    lab_leave(&client);
    lab_leave(&app);
}

static void test_source_kept_v4(void **state) { expect_spoofed(&to_pod4, "0.0.0.0", "10.77.3.2"); }
static void test_source_kept_v6(void **state) { expect_spoofed(&to_pod6, "::", "fd77:3::2"); }

static void expect_admitted_once(const struct act *a, const char *app_at, const char *from) {
    uint64_t admitted = count_of(CAPTURE_COUNT_ADMITTED), announced = count_of(CAPTURE_COUNT_ANNOUNCED);
    struct actor app =
        lab_start(lab.inner[1], 1, &(struct act){.family = a->family, .address = app_at, .port = 80, .listen = true});
    struct act hello = *a;
    hello.say = "probe";
    struct report r = lab_do(lab.kubelet, 0, &hello);
    assert_int_equal(r.error, 0);
    assert_string_equal(r.said, "app:probe");
    lab_leave(&app);
    assert_int_equal(count_of(CAPTURE_COUNT_ADMITTED), admitted + 1);
    assert_int_equal(count_of(CAPTURE_COUNT_ANNOUNCED), announced + 1);
    expect_inbound(lab.other, a, CAPTURE_INBOUND, from); /* nobody else */
    assert_int_equal(count_of(CAPTURE_COUNT_ADMITTED), admitted + 1);
}

static size_t announced_left(void) {
    char path[512];
    snprintf(path, sizeof(path), "%s/node+1/maps/announced", lab.bpffs);
    int fd = bpf_obj_get(path);
    assert_true(fd >= 0);
    struct capture_announced key, next;
    size_t n = 0;
    for (int r = bpf_map_get_next_key(fd, NULL, &next); r == 0; r = bpf_map_get_next_key(fd, &key, &next), n++)
        key = next;
    close(fd);
    return n;
}

static void test_announced_is_admitted_once(void **state) {
    expect_admitted_once(&to_pod4, "0.0.0.0", "10.77.1.1");
    expect_admitted_once(&to_pod6, "::", "fd77:1::1");
    assert_int_equal(announced_left(), 0);
    /* Not taken by any sk_lookup: gone with the end of the handshake, refused and done. */
    struct act refused = {.family = AF_INET, .address = "10.77.3.2", .port = 80};
    assert_int_equal(lab_do(lab.kubelet, 0, &refused).error, ECONNREFUSED);
    assert_int_equal(announced_left(), 0);
}

/* The application's queue is full, so the admitted SYN is lost behind sk_lookup; the one sent again is admitted too. */
static void test_announced_again_with_the_syn(void **state) {
    int app = -1, on = 1;
    assert_int_equal(capture_netns_socket(capture_pod_netns(d.pod[1]), AF_INET, &app), 0);
    assert_int_equal(setsockopt(app, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80)};
    assert_int_equal(bind(app, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(app, 0), 0);
    struct actor first = lab_start(lab.kubelet, 0, &to_pod4);
    assert_int_equal(lab_wait_report(&first).error, 0);
    struct actor second = lab_start(lab.kubelet, 0, &to_pod4);
    uint64_t until = clock_mono_ns() + (uint64_t)LAB_WAIT_MS * 1000000;
    while (count_of(CAPTURE_COUNT_ADMITTED) < 2 && clock_mono_ns() < until)
        sched_yield();
    assert_int_equal(count_of(CAPTURE_COUNT_ADMITTED), 2);
    struct sockaddr_storage local, peer;
    close(lab_accept(app, &local, &peer));
    int fd = lab_accept(app, &local, &peer);
    assert_true(fd >= 0);
    assert_int_equal(lab_wait_report(&second).error, 0);
    assert_true(count_of(CAPTURE_COUNT_ADMITTED) >= 3);
    assert_int_equal(count_of(CAPTURE_COUNT_INBOUND_TAKEN), 0);
    assert_int_equal(announced_left(), 0);
    close(fd);
    close(app);
    lab_leave(&first);
    lab_leave(&second);
}

static void test_pod_without_ipv6(void **state) {
    assert_int_equal(lab_sh_in(3, "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo down"), 0);
    enrol(3);
    assert_int_equal(listener(3, CAPTURE_OUTBOUND6, 0), -1);
    struct actor app = lab_start(lab.inner[3], 3, &(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80});
    struct sockaddr_storage local, peer;
    int fd = accept_any(3, CAPTURE_OUTBOUND4, &local, &peer);
    assert_true(fd >= 0);
    close(fd);
    lab_leave(&app);
    app = lab_start(lab.other, 0, &(struct act){.family = AF_INET, .address = "10.77.3.2", .port = 80});
    fd = accept_any(3, CAPTURE_INBOUND, &local, &peer);
    assert_true(fd >= 0);
    close(fd);
    lab_leave(&app);
    assert_int_equal(lab_sh_in(3, "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip -6 addr add fd77:3::2/64 dev eth0 nodad; "
                                  "ip -6 route add default via fd77:3::1"),
                     0);
}

static void test_listeners_share_their_port(void **state) {
    for (int kind = 0; kind < _CAPTURE_LISTENER_MAX; kind++)
        for (int w = 0; w < WORKERS; w++) {
            int on = 0, listening = 0, nodelay = 0;
            socklen_t n = sizeof(on);
            int fd = listener(1, kind, w);
            assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &n), 0);
            assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n), 0);
            assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &n), 0);
            assert_true(on && listening && nodelay);
        }
    /* both workers get some */
    int got[WORKERS] = {0};
    for (int i = 0; i < 64 && (!got[0] || !got[1]); i++) {
        struct actor client = lab_start(lab.other, 0, &to_pod4);
        struct pollfd p[WORKERS] = {{.fd = listener(1, CAPTURE_INBOUND, 0), .events = POLLIN},
                                    {.fd = listener(1, CAPTURE_INBOUND, 1), .events = POLLIN}};
        assert_true(poll(p, WORKERS, LAB_WAIT_MS) > 0);
        int w = p[0].revents ? 0 : 1;
        struct sockaddr_storage a, b;
        close(lab_accept(listener(1, CAPTURE_INBOUND, w), &a, &b));
        got[w]++;
        lab_leave(&client);
    }
    assert_true(got[0] && got[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_inbound_every_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inbound_before_the_application, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inbound_without_listener_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_kept_v4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_kept_v6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_announced_is_admitted_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_announced_again_with_the_syn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pod_without_ipv6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listeners_share_their_port, setup, teardown),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
