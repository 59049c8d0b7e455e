/* SPDX-License-Identifier: GPL-3.0-or-later
 * test_capture.c - goal: captured connects arrive at the right listener with the right original destination, everything
 * else is untouched, and whatever is missing refuses. Method: the real programs on this kernel, in a lab of namespaces
 * and cgroups; this process is the daemon, forked actors are the applications. The tests run in order, each on a fresh
 * capture with pods 1 and 2 enrolled unless it says otherwise. */
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"

enum { WORKERS = 2, LISTENERS = _CAPTURE_LISTENER_MAX * WORKERS, MANY = 1000, MARK = CAPTURE_MARK };

static struct daemon {
    struct capture *c;
    struct capture_pod *pod[LAB_PODS + 1];
    int fds[LAB_PODS + 1][LISTENERS];
    char why[CAPTURE_WHY_BYTES];
} d;

static struct capture_options options(void) {
    return (struct capture_options){.node = "node.1", .bpffs = lab.bpffs, .cgroup = lab.root, .probe_cgroup = lab.kubelet};
}

static void open_it(void) {
    struct capture_options o = options();
    int r = capture_open(&o, &d.c, d.why);
    if (r != 0)
        printf("open: %d %s\n", r, d.why);
    assert_int_equal(r, 0);
}

static struct addr addr_of(const char *text) {
    struct addr a = {0};
    if (strchr(text, ':')) {
        assert_int_equal(inet_pton(AF_INET6, text, a.bytes), 1);
        return a;
    }
    a.bytes[10] = a.bytes[11] = 0xff;
    assert_int_equal(inet_pton(AF_INET, text, a.bytes + 12), 1);
    return a;
}

static int enrol_id(int pod, uint32_t id, const char *netns, const char *cgroup) {
    char v4[32], v6[48];
    snprintf(v4, sizeof(v4), "10.77.%d.2", pod);
    snprintf(v6, sizeof(v6), "fd77:%d::2", pod);
    struct addr own[2] = {addr_of(v4), addr_of(v6)};
    struct capture_pod_spec s = {.id = id, .netns_path = netns, .cgroup_path = cgroup, .addrs = own, .n_addrs = 2};
    return capture_enrol(d.c, &s, WORKERS, &d.pod[pod], d.fds[pod], d.why);
}

static void enrol(int pod) {
    int r = enrol_id(pod, (uint32_t)pod, lab.netns[pod], lab.pod[pod]);
    if (r != 0)
        printf("enrol: %d %s\n", r, d.why);
    assert_int_equal(r, 0);
}

static int listener(int pod, enum capture_listener kind, int worker) { return d.fds[pod][kind * WORKERS + worker]; }

static void close_listeners(int pod) {
    for (int i = 0; i < LISTENERS; i++)
        d.fds[pod][i] = fd_close(d.fds[pod][i]);
}

/* Accepts from whichever worker's listener gets it. */
static int accept_any(int pod, enum capture_listener kind, struct sockaddr_storage *ret_local, struct sockaddr_storage *ret_peer) {
    struct pollfd p[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        p[i] = (struct pollfd){.fd = listener(pod, kind, i), .events = POLLIN};
    if (poll(p, WORKERS, LAB_WAIT_MS) < 1)
        return -1;
    for (int i = 0; i < WORKERS; i++)
        if (p[i].revents & POLLIN)
            return lab_accept(p[i].fd, ret_local, ret_peer);
    return -1;
}

static uint64_t count_of(enum capture_count what) {
    uint64_t n[_CAPTURE_COUNT_MAX];
    assert_int_equal(capture_counts(d.c, n), 0);
    return n[what];
}

static void close_all(void) {
    for (int i = 1; i <= LAB_PODS; i++) {
        d.pod[i] = NULL;
        close_listeners(i);
    }
    d.c = capture_free(d.c);
}

static int setup_bare(void **state) {
    for (int i = 0; i <= LAB_PODS; i++)
        for (int k = 0; k < LISTENERS; k++)
            d.fds[i][k] = -1;
    open_it();
    return 0;
}

static int setup(void **state) {
    setup_bare(state);
    enrol(1);
    enrol(2);
    assert_int_equal(capture_ready(d.c), 0);
    return 0;
}

static int teardown(void **state) {
    lab_kill_actors();
    close_all();
    int r = capture_detach_all(lab.bpffs, "node.1", d.why);
    if (r != 0)
        printf("detach: %d %s\n", r, d.why);
    return r;
}

/* --- outbound --------------------------------------------------------------------------------------------------------- */

static void expect_redirected(const struct act *a, enum capture_listener kind, const char *own) {
    struct actor app = lab_start(lab.inner[1], 1, a);
    struct sockaddr_storage local, peer;
    int fd = accept_any(1, kind, &local, &peer);
    assert_true(fd >= 0);
    struct endpoint client = lab_endpoint(&peer);
    struct capture_origin o;
    assert_int_equal(capture_origdst(d.c, capture_pod_cookie(d.pod[1]), &client, &o), 0);
    struct addr want = addr_of(strncmp(a->address, "::ffff:", 7) == 0 ? a->address + 7 : a->address);
    assert_memory_equal(o.dst.addr.bytes, want.bytes, 16);
    assert_int_equal(o.dst.port, a->port);
    assert_int_equal(o.workload_id, 1);
    assert_int_equal(capture_origdst(d.c, capture_pod_cookie(d.pod[1]) + 1, &client, &o), 1); /* not without the namespace */
    if (a->say) {
        char got[64] = "";
        assert_int_equal(recv(fd, got, sizeof(got), 0), strlen(a->say));
        assert_int_equal(send(fd, "pong", 4, MSG_NOSIGNAL), 4);
    }
    struct report r = lab_wait_report(&app);
    assert_int_equal(r.error, 0);
    assert_true(lab_is(&r.peer, strncmp(a->address, "::ffff:", 7) == 0 ? a->address + 7 : a->address, a->port));
    assert_true(lab_is(&r.local, own, client.port));
    if (a->say)
        assert_string_equal(r.said, "pong");
    lab_leave(&app);
    close(fd);
    assert_int_equal(capture_origdst_used(d.c), 0);
}

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

static const struct act to_node = {.family = AF_INET, .address = "10.77.1.1", .port = 7777, .say = "hi"};

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

static void expect_untouched(const char *cgroup, int pod) {
    struct actor server =
        lab_start(lab.other, 0, &(struct act){.family = AF_INET, .address = "0.0.0.0", .port = 7777, .listen = true});
    struct report r = lab_do(cgroup, pod, &to_node);
    assert_int_equal(r.error, 0);
    assert_string_equal(r.said, "app:hi");
    assert_true(lab_is(&r.peer, "10.77.1.1", 7777));
    lab_wait_report(&server);
    lab_leave(&server);
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

/* --- inbound ------------------------------------------------------------------------------------------------------------ */

static const struct act to_pod4 = {.family = AF_INET, .address = "10.77.1.2", .port = 80},
                        to_pod6 = {.family = AF_INET6, .address = "fd77:1::2", .port = 80};

static void expect_inbound(const char *cgroup, const struct act *a, enum capture_listener kind, const char *from) {
    struct actor client = lab_start(cgroup, 0, a);
    struct sockaddr_storage local, peer;
    int fd = accept_any(1, kind, &local, &peer);
    assert_true(fd >= 0);
    assert_true(lab_is(&local, a->address, a->port));
    assert_true(lab_is(&peer, from, -1));
    assert_int_equal(lab_wait_report(&client).error, 0);
    lab_leave(&client);
    close(fd);
}

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

/* --- life and death of the daemon ------------------------------------------------------------------------------------------ */

static void expect_closed(void) {
    assert_int_equal(lab_do(lab.inner[1], 1, &(struct act){.family = AF_INET, .address = "10.77.1.1", .port = 7777}).error,
                     ECONNREFUSED);
    assert_int_equal(lab_do(lab.inner[1], 1, &(struct act){.family = AF_INET6, .address = "fd77:1::1", .port = 7777}).error,
                     ECONNREFUSED);
    assert_int_equal(lab_do(lab.other, 1, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.other, 0, &to_pod4).error, ECONNREFUSED);
    assert_int_equal(lab_do(lab.other, 0, &to_pod6).error, ECONNREFUSED);
}

/* The first daemon is another process, which dies without a word; we are the second. */
static void test_capture_survives_its_daemon(void **state) {
    pid_t pid = fork();
    if (pid == 0) {
        struct capture_options o = options();
        int r = capture_open(&o, &d.c, d.why);
        if (r == 0)
            r = enrol_id(1, 41, lab.netns[1], lab.pod[1]);
        if (r == 0)
            r = enrol_id(2, 42, lab.netns[2], lab.pod[2]);
        if (r == 0)
            r = capture_ready(d.c);
        _exit(r == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);

    struct actor server =
        lab_start(lab.other, 0, &(struct act){.family = AF_INET, .address = "0.0.0.0", .port = 7777, .listen = true});
    struct actor app = lab_start(lab.inner[1], 1, &(struct act){.family = AF_INET6, .address = "::", .port = 80, .listen = true});
    expect_closed(); /* though someone listens at both ends */
    setup_bare(state);
    expect_closed();
    enrol(1);
    assert_int_equal(capture_ready(d.c), 0);
    expect_redirected(&(struct act){.family = AF_INET, .address = "10.77.1.1", .port = 7777}, CAPTURE_OUTBOUND4, "10.77.1.2");
    expect_inbound(lab.other, &to_pod6, CAPTURE_INBOUND, "fd77:1::1");
    /* Pod 2 is of the earlier life and not enrolled again: closed until the sweep, untouched after it. */
    assert_int_equal(lab_do(lab.inner[2], 2, &to_node).error, ECONNREFUSED);
    assert_int_equal(capture_sweep(d.c), 0);
    struct report r = lab_do(lab.inner[2], 2, &to_node);
    assert_int_equal(r.error, 0);
    assert_true(lab_is(&r.peer, "10.77.1.1", 7777));
    assert_int_equal(lab_sh_in(2, "! ip rule | grep -q 0x539"), 0);
    assert_int_equal(lab_sh_in(1, "ip rule | grep -q 0x539"), 0);
    expect_redirected(&(struct act){.family = AF_INET, .address = "10.77.1.1", .port = 7777}, CAPTURE_OUTBOUND4, "10.77.1.2");
    lab_leave(&server);
    lab_do(lab.inner[1], 1, &(struct act){.family = AF_INET, .address = "127.0.0.1", .port = 80, .say = "end"});
    lab_leave(&app);
}

static void test_release(void **state) {
    d.pod[1] = capture_release(d.c, d.pod[1], true); /* the daemon shuts down */
    close_listeners(1);
    expect_closed();
    enrol(1); /* and comes back */
    expect_redirected(&(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80}, CAPTURE_OUTBOUND4, "10.77.1.2");
    assert_int_equal(lab_sh_in(1, "ip rule | grep -q 0x539 && ip -6 rule | grep -q 0x539"), 0);
    d.pod[1] = capture_release(d.c, d.pod[1], false); /* the workload leaves the mesh */
    close_listeners(1);
    expect_untouched(lab.inner[1], 1);
    assert_int_equal(
        lab_sh_in(
            1, "! ip rule | grep -q 0x539 && ! ip -6 rule | grep -q 0x539 && test -z \"$(ip route show table 100 2>/dev/null)\""),
        0);
    struct actor app =
        lab_start(lab.inner[1], 1, &(struct act){.family = AF_INET, .address = "0.0.0.0", .port = 80, .listen = true});
    struct act direct = to_pod4;
    direct.say = "hi";
    assert_string_equal(lab_do(lab.other, 0, &direct).said, "app:hi");
    lab_leave(&app);
}

static void test_detach_removes_everything(void **state) {
    struct stat st;
    char dir[256];
    snprintf(dir, sizeof(dir), "%s/node+1", lab.bpffs);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(capture_detach_all(lab.bpffs, "node.1", d.why), 0); /* under a daemon that lives */
    assert_int_equal(stat(dir, &st), -1);
    assert_int_equal(lab_sh_in(1, "! ip rule | grep -q 0x539 && ! ip -6 rule | grep -q 0x539"), 0);
    expect_untouched(lab.inner[1], 1);
    close_all();
    assert_int_equal(capture_detach_all(lab.bpffs, "node.1", d.why), 0); /* nothing there is fine */
    expect_untouched(lab.inner[1], 1);
    assert_int_equal(capture_detach_all(lab.bpffs, "no/de", d.why), -EINVAL);
    open_it(); /* for teardown */
}

static void expect_open_refused(const struct capture_options *o, int want, const char *text) {
    struct capture *c = NULL;
    char why[CAPTURE_WHY_BYTES];
    assert_int_equal(capture_open(o, &c, why), want);
    assert_null(c);
    if (!strstr(why, text))
        printf("expected `%s` in: %s\n", text, why);
    assert_non_null(strstr(why, text));
}

static void test_open_refuses(void **state) {
    struct capture_options o = options();
    expect_open_refused(&o, -EAGAIN, "another ringwall"); /* we are the other one */
    o.node = "";
    expect_open_refused(&o, -EINVAL, "node");
    o.node = "a/b";
    expect_open_refused(&o, -EINVAL, "node");
    o = options();
    o.cgroup = "/proc";
    expect_open_refused(&o, -ENOENT, "capture.cgroup");
    o.cgroup = "auto";
    expect_open_refused(&o, -ENOENT, "kubepods");
    o = options();
    o.probe_cgroup = "/nowhere";
    expect_open_refused(&o, -ENOENT, "kubeletCgroup");

    close_all();
    o = options();
    o.cgroup = lab.pod[1];
    expect_open_refused(&o, -EEXIST, "ringwallctl capture detach"); /* attached elsewhere */
    assert_int_equal(lab_sh("mkdir %s/node+1/layout-999", lab.bpffs), 0);
    o = options();
    expect_open_refused(&o, -EEXIST, "ringwallctl capture detach");
    assert_int_equal(lab_sh("rmdir %s/node+1/layout-999", lab.bpffs), 0);

    char path[512];
    snprintf(path, sizeof(path), "%s/node+1/maps/announced", lab.bpffs);
    int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "announced", 8, 8, 16, NULL);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(bpf_obj_pin(fd, path), 0);
    close(fd);
    expect_open_refused(&o, -EEXIST, "ringwallctl capture detach");
    expect_closed(); /* and what was captured stays closed */
    assert_int_equal(capture_detach_all(lab.bpffs, "node.1", d.why), 0);
    open_it();
}

static void expect_enrol(int want, uint32_t id, const char *netns, const char *cgroup, const char *text) {
    int r = enrol_id(3, id, netns, cgroup);
    if (r != want || !strstr(d.why, text))
        printf("expected %d `%s`, got %d: %s\n", want, text, r, d.why);
    assert_int_equal(r, want);
    assert_non_null(strstr(d.why, text));
    for (int i = 0; i < LISTENERS; i++)
        assert_int_equal(d.fds[3][i], -1);
}

static void test_enrol_verdicts(void **state) {
    char above[300];
    snprintf(above, sizeof(above), "%s/..", lab.root);
    expect_enrol(CAPTURE_NO_NETNS, 3, "/run/netns/rw-capture-none", lab.pod[3], "network namespace");
    expect_enrol(CAPTURE_NO_NETNS, 3, "/proc/self/ns/mnt", lab.pod[3], "network namespace");
    expect_enrol(CAPTURE_NO_NETNS, 3, "/dev/null", lab.pod[3], "network namespace");
    expect_enrol(CAPTURE_NO_CGROUP, 3, lab.netns[3], "/proc", "cgroup v2");
    expect_enrol(CAPTURE_NO_CGROUP, 3, lab.netns[3], "/nowhere", "cgroup v2");
    expect_enrol(CAPTURE_NO_CGROUP, 3, lab.netns[3], above, "not below");
    expect_enrol(CAPTURE_SHARED, 3, lab.netns[0], lab.pod[3], "own");
    if (access("/proc/1/ns/net", R_OK) == 0) /* some containers hide it */
        expect_enrol(CAPTURE_SHARED, 3, "/proc/1/ns/net", lab.pod[3], "own");
    expect_enrol(CAPTURE_BUSY, 3, lab.netns[1], lab.pod[3], "network namespace");
    expect_enrol(CAPTURE_BUSY, 3, lab.netns[3], lab.pod[1], "cgroup");
    expect_enrol(CAPTURE_BUSY, 1, lab.netns[3], lab.pod[3], "number");
    expect_enrol(-EINVAL, 0, lab.netns[3], lab.pod[3], "number");

    struct actor app = lab_start(
        lab.inner[3], 3, &(struct act){.family = AF_INET, .address = "0.0.0.0", .port = CAPTURE_PORT_HBONE, .listen = true});
    expect_enrol(CAPTURE_BUSY, 3, lab.netns[3], lab.pod[3], "15008");
    lab_do(lab.inner[3], 3, &(struct act){.family = AF_INET, .address = "127.0.0.1", .port = CAPTURE_PORT_HBONE, .say = "end"});
    lab_leave(&app);
    assert_int_equal(lab_sh_in(3, "! ip rule | grep -q 0x539"), 0);
    expect_untouched(lab.inner[3], 3); /* nothing of all that stayed */
    enrol(3);
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

static void test_probe_says_able(void **state) {
    struct capture_probe_line lines[32];
    struct capture_options o = options();
    size_t n = capture_probe(&o, lines, array_size(lines));
    assert_true(n >= 10);
    for (size_t i = 0; i < n; i++) {
        if (!lines[i].ok)
            printf("%s: %s\n", lines[i].what, lines[i].fix);
        assert_true(lines[i].ok);
    }
    o.cgroup = "auto";
    n = capture_probe(&o, lines, array_size(lines));
    size_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad += !lines[i].ok && strstr(lines[i].fix, "capture.cgroup");
    assert_int_equal(bad, 1);
    assert_int_equal(capture_probe(&o, lines, 2), 2);
    char text[64];
    assert_ptr_equal(strstr(capture_library_text(text, sizeof(text)), "libbpf "), text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_ready_refuses, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_v4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_v6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_v4_mapped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirect_fastopen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound_before_connect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_local_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_are_untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mismatch_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partial_enrolment_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listener_gone_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_connects_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inbound_every_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inbound_before_the_application, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inbound_without_listener_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_kept_v4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_kept_v6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_announced_is_admitted_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_capture_survives_its_daemon, NULL, teardown),
        cmocka_unit_test_setup_teardown(test_release, setup, teardown),
        cmocka_unit_test_setup_teardown(test_detach_removes_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_enrol_verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pod_without_ipv6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listeners_share_their_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_probe_says_able, setup, teardown),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
