/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: near sockets are not paced though the system paces, far ones are, and nothing is touched where it does not. Method: a
 * network namespace of our own whose congestion control is set to one or the other; what the kernel says of real sockets. */
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/base/pacing.h>

#include "unit.h"

enum { NEVER_FAR_US = 3600 * 1000000U };

/* Skips where the kernel does not have it. */
static void system_uses(const char *name) {
    cleanup_fd int fd = open("/proc/sys/net/ipv4/tcp_congestion_control", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (write(fd, name, strlen(name)) < 0) {
        print_message("skipped: this kernel has no congestion control %s\n", name);
        skip();
    }
}

static const char *control_of(int fd) {
    static char name[16];
    socklen_t n = sizeof(name);
    memset(name, 0, sizeof(name));
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n), 0);
    return name;
}

/* A listener, a connection to it that was left unpaced, and what was accepted. */
struct line {
    int listener, client, accepted;
};
static void line_close(struct line *l) {
    close(l->listener);
    close(l->client);
    close(l->accepted);
}

static struct line line_make(void) {
    struct line l = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                     .client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    pacing_leave(l.listener);
    pacing_leave(l.client);
    assert_int_equal(bind(l.listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(l.listener, 1), 0);
    assert_int_equal(getsockname(l.listener, (struct sockaddr *)&at, &n), 0);
    assert_int_equal(connect(l.client, (struct sockaddr *)&at, sizeof(at)), 0);
    l.accepted = accept(l.listener, NULL, NULL);
    assert_true(l.accepted >= 0);
    return l;
}

static void near_ones_are_not_paced(void **state) {
    system_uses("bbr");
    cleanup_fd int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_string_equal(control_of(plain), "bbr");
    struct line l = line_make();
    assert_string_not_equal(control_of(l.client), "bbr");
    assert_string_not_equal(control_of(l.accepted), "bbr"); /* by its listener */
    pacing_fit(l.client, NEVER_FAR_US);
    pacing_fit(l.accepted, NEVER_FAR_US);
    assert_string_not_equal(control_of(l.client), "bbr");
    assert_string_not_equal(control_of(l.accepted), "bbr");
    line_close(&l);
}

static void far_ones_are_paced_again(void **state) {
    system_uses("bbr");
    struct line l = line_make();
    pacing_fit(l.client, 0);
    pacing_fit(l.accepted, 0);
    assert_string_equal(control_of(l.client), "bbr");
    assert_string_equal(control_of(l.accepted), "bbr");
    line_close(&l);
}

static void what_does_not_pace_stays(void **state) {
    system_uses("reno");
    struct line l = line_make();
    assert_string_equal(control_of(l.client), "reno");
    pacing_fit(l.client, 0);
    assert_string_equal(control_of(l.client), "reno");
    line_close(&l);
}

static void other_descriptors_are_left_alone(void **state) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pacing_leave(ends[0]);
    pacing_fit(ends[0], 0);
    close(ends[0]);
    close(ends[1]);
    pacing_leave(-1);
    pacing_fit(-1, 0);
}

static int own_namespace(void **state) {
    if (unshare(CLONE_NEWNET) < 0)
        return -1;
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0 ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_ones_are_not_paced),
        cmocka_unit_test(far_ones_are_paced_again),
        cmocka_unit_test(what_does_not_pace_stays),
        cmocka_unit_test(other_descriptors_are_left_alone),
    };
    return cmocka_run_group_tests(tests, own_namespace, NULL);
}
