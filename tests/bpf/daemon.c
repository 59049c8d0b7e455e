/* SPDX-License-Identifier: GPL-3.0-or-later
 * daemon.c - see daemon.h */
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

struct daemon d;

const struct act to_node = {.family = AF_INET, .address = "10.77.1.1", .port = 7777, .say = "hi"};
const struct act to_pod4 = {.family = AF_INET, .address = "10.77.1.2", .port = 80},
                 to_pod6 = {.family = AF_INET6, .address = "fd77:1::2", .port = 80};

struct capture_options options(void) {
    return (struct capture_options){.node = "node.1", .bpffs = lab.bpffs, .cgroup = lab.root, .probe_cgroup = lab.kubelet};
}

void open_it(void) {
    struct capture_options o = options();
    int r = capture_open(&o, &d.c, d.why);
    if (r != 0)
        printf("open: %d %s\n", r, d.why);
    assert_int_equal(r, 0);
}

struct addr addr_of(const char *text) {
    struct addr a = {0};
    if (strchr(text, ':')) {
        assert_int_equal(inet_pton(AF_INET6, text, a.bytes), 1);
        return a;
    }
    a.bytes[10] = a.bytes[11] = 0xff;
    assert_int_equal(inet_pton(AF_INET, text, a.bytes + 12), 1);
    return a;
}

int enrol_id(int pod, uint32_t id, const char *netns, const char *cgroup) {
    char v4[32], v6[48];
    snprintf(v4, sizeof(v4), "10.77.%d.2", pod);
    snprintf(v6, sizeof(v6), "fd77:%d::2", pod);
    struct addr own[2] = {addr_of(v4), addr_of(v6)};
    struct capture_pod_spec s = {.id = id, .netns_path = netns, .cgroup_path = cgroup, .addrs = own, .n_addrs = 2};
    return capture_enrol(d.c, &s, WORKERS, &d.pod[pod], d.fds[pod], d.why);
}

void enrol(int pod) {
    int r = enrol_id(pod, (uint32_t)pod, lab.netns[pod], lab.pod[pod]);
    if (r != 0)
        printf("enrol: %d %s\n", r, d.why);
    assert_int_equal(r, 0);
}

int listener(int pod, enum capture_listener kind, int worker) { return d.fds[pod][kind * WORKERS + worker]; }

void close_listeners(int pod) {
    for (int i = 0; i < LISTENERS; i++)
        d.fds[pod][i] = fd_close(d.fds[pod][i]);
}

/* Accepts from whichever worker's listener gets it. */
int accept_any(int pod, enum capture_listener kind, struct sockaddr_storage *ret_local, struct sockaddr_storage *ret_peer) {
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

uint64_t count_of(enum capture_count what) {
    uint64_t n[_CAPTURE_COUNT_MAX];
    assert_int_equal(capture_counts(d.c, n), 0);
    return n[what];
}

void close_all(void) {
    for (int i = 1; i <= LAB_PODS; i++) {
        d.pod[i] = NULL;
        close_listeners(i);
    }
    d.c = capture_free(d.c);
}

int setup_bare(void **state) {
    for (int i = 0; i <= LAB_PODS; i++)
        for (int k = 0; k < LISTENERS; k++)
            d.fds[i][k] = -1;
    open_it();
    return 0;
}

int setup(void **state) {
    setup_bare(state);
    enrol(1);
    enrol(2);
    assert_int_equal(capture_ready(d.c), 0);
    return 0;
}

int teardown(void **state) {
    lab_kill_actors();
    close_all();
    int r = capture_detach_all(lab.bpffs, "node.1", d.why);
    if (r != 0)
        printf("detach: %d %s\n", r, d.why);
    return r;
}

/* --- what every test expects sooner or later --- */

void expect_redirected(const struct act *a, enum capture_listener kind, const char *own) {
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

void expect_untouched(const char *cgroup, int pod) {
    struct actor server =
        lab_start(lab.other, 0, &(struct act){.family = AF_INET, .address = "0.0.0.0", .port = 7777, .listen = true});
    struct report r = lab_do(cgroup, pod, &to_node);
    assert_int_equal(r.error, 0);
    assert_string_equal(r.said, "app:hi");
    assert_true(lab_is(&r.peer, "10.77.1.1", 7777));
    lab_wait_report(&server);
    lab_leave(&server);
}

void expect_inbound(const char *cgroup, const struct act *a, enum capture_listener kind, const char *from) {
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
