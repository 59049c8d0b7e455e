/* SPDX-License-Identifier: GPL-3.0-or-later
 * test_life.c - goal: capture outlives its daemon and stays closed, a successor adopts it or says why not, and only
 * release, forget, sweep and detach open anything. Method: as test_outbound.c; earlier daemons are forked. */
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
    assert_true(capture_stands(d.c, d.why) && capture_pod_stands(d.pod[1], d.why)); /* adopted ones count */
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
    assert_true(capture_stands(d.c, d.why));
    assert_true(capture_pod_stands(d.pod[1], d.why) && capture_pod_stands(d.pod[2], d.why));
    assert_int_equal(capture_detach_all(lab.bpffs, "node.1", d.why), 0); /* under a daemon that lives */
    assert_int_equal(stat(dir, &st), -1);
    assert_false(capture_stands(d.c, d.why));
    assert_non_null(strstr(d.why, "removed from the kernel"));
    assert_false(capture_pod_stands(d.pod[1], d.why));
    assert_non_null(strstr(d.why, "sk_lookup"));
    assert_int_equal(lab_sh_in(1, "! ip rule | grep -q 0x539 && ! ip -6 rule | grep -q 0x539"), 0);
    expect_untouched(lab.inner[1], 1);
    close_all();
    assert_int_equal(capture_detach_all(lab.bpffs, "node.1", d.why), CAPTURE_NOTHING);
    assert_non_null(strstr(d.why, dir));
    expect_untouched(lab.inner[1], 1);
    assert_int_equal(capture_detach_all(lab.bpffs, "no/de", d.why), -EINVAL);
    open_it(); /* for teardown */
}

/* The exemption must not spill over to workloads, wherever the daemon stands. */
static void test_exempt_by_place(void **state) {
    assert_int_equal(lab_do(lab.other, 0, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.daemon, 0, &to_node).error, ECONNREFUSED);
    assert_int_equal(lab_do(lab.root, 0, &to_node).error, EPERM);

    close_all(); /* in the very cgroup that is captured: it alone */
    assert_true(lab_move(lab.root));
    open_it();
    assert_int_equal(lab_do(lab.other, 0, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.daemon, 0, &to_node).error, EPERM); /* the entry of the daemon before is gone */
    assert_int_equal(lab_do(lab.root, 0, &to_node).error, ECONNREFUSED);

    close_all(); /* above it: the programs do not see us */
    assert_true(lab_move(lab.home_cgroup));
    open_it();
    assert_int_equal(lab_do(lab.other, 0, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.root, 0, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.home_cgroup, 0, &to_node).error, ECONNREFUSED);
    assert_int_equal(count_of(CAPTURE_COUNT_EXEMPT), 2);
    assert_true(lab_move(lab.daemon));
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

    capture_forget(d.c, 3, false);     /* what was half found was closed */
    expect_untouched(lab.inner[3], 3); /* nothing of all that stayed */
    enrol(3);
}

/* One of its two places stands: what is there must not speak plaintext while the other is awaited. */
static void test_half_found_is_closed(void **state) {
    static const struct act app_port = {.family = AF_INET, .address = "0.0.0.0", .port = 80, .listen = true};
    struct act in = {.family = AF_INET, .address = "10.77.3.2", .port = 80};
    struct actor app = lab_start(lab.inner[3], 3, &app_port);
    expect_enrol(CAPTURE_NO_CGROUP, 3, lab.netns[3], "/nowhere", "cgroup v2");
    assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.other, 0, &in).error, ECONNREFUSED);
    capture_forget(d.c, 3, false);
    expect_untouched(lab.inner[3], 3);
    lab_leave(&app);

    expect_enrol(CAPTURE_NO_NETNS, 3, "/run/netns/rw-capture-none", lab.pod[3], "network namespace");
    assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
    assert_int_equal(capture_sweep(d.c), 0);
    assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
    enrol(3);
    assert_int_not_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
    d.pod[3] = capture_release(d.c, d.pod[3], false);
    expect_untouched(lab.inner[3], 3);
}

/* Else a program that takes a port of ours would keep its pod out of the mesh. */
static void test_failed_enrolment_closes(void **state) {
    static const struct act hbone = {.family = AF_INET, .address = "0.0.0.0", .port = CAPTURE_PORT_HBONE, .listen = true};
    struct act in = {.family = AF_INET, .address = "10.77.3.2", .port = CAPTURE_PORT_HBONE};
    struct actor app = lab_start(lab.inner[3], 3, &hbone);
    for (int i = 0; i < 2; i++) { /* and the retry */
        expect_enrol(CAPTURE_BUSY, 3, lab.netns[3], lab.pod[3], "15008");
        assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
        assert_int_equal(lab_do(lab.other, 3, &to_node).error, EPERM);
        assert_int_equal(lab_do(lab.other, 0, &in).error, ECONNREFUSED);
    }
    assert_int_equal(capture_sweep(d.c), 0);
    assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
    assert_int_equal(lab_do(lab.other, 0, &in).error, ECONNREFUSED);
    capture_forget(d.c, 7, false);
    assert_int_equal(lab_do(lab.inner[3], 3, &to_node).error, EPERM);
    capture_forget(d.c, 3, false);
    expect_untouched(lab.inner[3], 3);
    in.say = "end";
    assert_string_equal(lab_do(lab.other, 0, &in).said, "app:end");
    lab_leave(&app);

    app = lab_start(lab.inner[3], 3, &hbone);
    expect_enrol(CAPTURE_BUSY, 3, lab.netns[3], lab.pod[3], "15008");
    lab_kill_actors();
    enrol(3); /* the port is free again */
    struct actor client = lab_start(lab.inner[3], 3, &(struct act){.family = AF_INET, .address = "192.0.2.7", .port = 80});
    struct sockaddr_storage local, peer;
    int fd = accept_any(3, CAPTURE_OUTBOUND4, &local, &peer);
    assert_true(fd >= 0);
    close(fd);
    lab_leave(&client);
    d.pod[3] = capture_release(d.c, d.pod[3], false);
    expect_untouched(lab.inner[3], 3);
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
        cmocka_unit_test_setup_teardown(test_capture_survives_its_daemon, NULL, teardown),
        cmocka_unit_test_setup_teardown(test_release, setup, teardown),
        cmocka_unit_test_setup_teardown(test_detach_removes_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exempt_by_place, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(test_open_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_enrol_verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_found_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_enrolment_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_probe_says_able, setup, teardown),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
