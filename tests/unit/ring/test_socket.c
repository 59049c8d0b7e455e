/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a socket belongs to the namespace it was asked for, has every option it needs, and the thread always comes home.
 * Method: a namespace of our own without a name, made by another thread; options and cookies read back from the kernel. */
#include <net/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "ring_unit.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static int other_netns = -1; /* -1: not allowed to make one */

static void *make_netns(void *unused) {
    if (unshare(CLONE_NEWNET) < 0)
        return NULL;
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0)
        other_netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    close(fd);
    return NULL;
}

static ino_t netns_here(void) {
    struct stat st;
    assert_int_equal(stat("/proc/thread-self/ns/net", &st), 0);
    return st.st_ino;
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t n = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
    return value;
}

static uint64_t cookie_of(int fd) {
    uint64_t value = 0;
    socklen_t n = sizeof(value);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &value, &n), 0);
    return value;
}

static struct endpoint endpoint_of(const char *text) {
    struct endpoint e;
    assert_true(endpoint_parse(str_of(text), &e));
    return e;
}

static void check_tuned(int fd) {
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 180);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 180);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 9);
}

static void test_a_plain_socket(void **state) {
    unsigned before = count_fds();
    struct ring *r = make_ring(8, 4, 1024);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        struct ring_socket_spec spec = {.netns_fd = -1, .v6 = v6};
        int fd = -1;
        assert_int_equal(ring_socket(r, &spec, &fd), 0);
        check_tuned(fd);
        assert_int_equal(option(fd, SOL_SOCKET, SO_DOMAIN), v6 ? AF_INET6 : AF_INET);
        assert_int_equal(option(fd, SOL_SOCKET, SO_MARK), 0);
        assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(fd);
    }
    finish(r);
    assert_int_equal(count_fds(), before);
}

static void test_accepted_sockets_are_as_their_listener(void **state) {
    struct ring *r = make_ring(8, 4, 1024);
    struct endpoint at;
    int listener = listen_on(&at), client = -1;
    struct ring_socket_spec spec = {.netns_fd = -1};
    ring_socket_tune(r, listener);
    assert_int_equal(ring_socket(r, &spec, &client), 0);
    struct heard c = {0};
    ring_connect(r, &c.op, client, &at, false, hear);
    turn_until(r, c.n_last);
    assert_int_equal(c.n, 0);
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    check_tuned(accepted);
    close(accepted);
    close(client);
    close(listener);
    finish(r);
}

static void test_a_socket_inside_another_namespace(void **state) {
    if (other_netns < 0)
        skip();
    unsigned before = count_fds();
    ino_t home = netns_here();
    struct ring *r = make_ring(8, 4, 1024);
    struct ring_socket_spec here = {.netns_fd = -1}, there = {.netns_fd = other_netns};
    int a = -1, b = -1, c = -1;
    assert_int_equal(ring_socket(r, &here, &a), 0);
    assert_int_equal(ring_socket(r, &there, &b), 0);
    assert_int_equal(ring_socket(r, &here, &c), 0);
    assert_true(cookie_of(a) == cookie_of(c));
    assert_true(cookie_of(a) != cookie_of(b));
    assert_true(netns_here() == home);
    close(a);
    close(b);
    close(c);
    finish(r);
    assert_int_equal(count_fds(), before);
}

static void test_a_socket_to_the_application(void **state) {
    if (other_netns < 0)
        skip();
    unsigned before = count_fds();
    struct ring *r = make_ring(8, 4, 1024);
    static const char *const sources[] = {"203.0.113.9:4444", "[2001:db8::9]:4444", "203.0.113.9:4445"};
    for (unsigned i = 0; i < array_size(sources); i++) {
        struct endpoint from = endpoint_of(sources[i]), seen;
        struct ring_socket_spec spec = {.netns_fd = other_netns, .v6 = i > 0, .bind_to = &from, .to_application = true};
        int fd = -1, twin = -1;
        assert_int_equal(ring_socket(r, &spec, &fd), 0);
        assert_int_equal(option(fd, SOL_SOCKET, SO_MARK), 0x539);
        char device[IFNAMSIZ] = "";
        socklen_t n = sizeof(device);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &n), 0);
        assert_string_equal(device, "lo");
        check_tuned(fd);
        assert_int_equal(ring_socket_local(r, fd, &seen), 0); /* an address that is nobody's here: transparent */
        assert_true(endpoint_is(&seen, &from));
        assert_int_equal(ring_socket(r, &spec, &twin), 0); /* the client may have a second connection to another port of the pod */
        close(twin);
        close(fd);
    }
    finish(r);
    assert_int_equal(count_fds(), before);
}

static void test_a_source_without_a_port_is_chosen_late(void **state) {
    struct ring *r = make_ring(8, 4, 1024);
    struct endpoint from = {0}, at, seen;
    assert_true(addr_parse(STR("127.0.0.77"), &from.addr));
    int listener = listen_on(&at), fd = -1;
    struct ring_socket_spec spec = {.netns_fd = -1, .bind_to = &from};
    assert_int_equal(ring_socket(r, &spec, &fd), 0);
    assert_int_equal(ring_socket_local(r, fd, &seen), 0);
    assert_int_equal(seen.port, 0);
    struct heard c = {0};
    ring_connect(r, &c.op, fd, &at, false, hear);
    turn_until(r, c.n_last);
    assert_int_equal(c.n, 0);
    assert_int_equal(ring_socket_local(r, fd, &seen), 0);
    assert_true(addr_is(&seen.addr, &from.addr) && seen.port);
    close(fd);
    close(listener);
    finish(r);
}

static void test_failures_leave_nothing_and_bring_the_thread_home(void **state) {
    unsigned before = count_fds();
    ino_t home = netns_here();
    struct ring *r = make_ring(8, 4, 1024);
    struct endpoint foreign = endpoint_of("203.0.113.9:4444"), seen;
    int no_netns = open("/dev/null", O_RDONLY | O_CLOEXEC), fd = -1;
    struct ring_socket_spec bad_netns = {.netns_fd = no_netns};
    assert_int_equal(ring_socket(r, &bad_netns, &fd), -EINVAL);
    struct ring_socket_spec not_ours = {.netns_fd = other_netns, .bind_to = &foreign};
    assert_int_equal(ring_socket(r, &not_ours, &fd), -EADDRNOTAVAIL);
    assert_int_equal(fd, -1); /* written on success only */
    assert_int_equal(ring_socket_peer(r, no_netns, &seen), -ENOTSOCK);
    int pair[2];
    make_pair(pair);
    assert_int_equal(ring_socket_local(r, pair[0], &seen), -EAFNOSUPPORT);
    ring_socket_tune(r, no_netns); /* no socket: no effect */
    ring_socket_abort_on_close(r, no_netns, true);
    close(pair[0]);
    close(pair[1]);
    close(no_netns);
    finish(r);
    assert_true(netns_here() == home);
    assert_int_equal(count_fds(), before);
}

static void lose_the_way_home(void *unused) {
    struct ring *r = make_ring(8, 4, 1024);
    r->own_netns_fd = fd_close(r->own_netns_fd);
    struct ring_socket_spec spec = {.netns_fd = other_netns};
    int fd = -1;
    ignore_result(ring_socket(r, &spec, &fd));
}
static void test_a_thread_that_cannot_come_home_ends_the_process(void **state) {
    if (other_netns < 0)
        skip();
    assert_true(unit_dies(lose_the_way_home, NULL));
}

int main(void) {
    pthread_t t;
    if (pthread_create(&t, NULL, make_netns, NULL) == 0)
        pthread_join(t, NULL);
    if (other_netns < 0)
        print_message("no CAP_SYS_ADMIN: what needs another namespace is skipped\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plain_socket),
        cmocka_unit_test(test_accepted_sockets_are_as_their_listener),
        cmocka_unit_test(test_a_socket_inside_another_namespace),
        cmocka_unit_test(test_a_socket_to_the_application),
        cmocka_unit_test(test_a_source_without_a_port_is_chosen_late),
        cmocka_unit_test(test_failures_leave_nothing_and_bring_the_thread_home),
        cmocka_unit_test(test_a_thread_that_cannot_come_home_ends_the_process),
    };
    int k = cmocka_run_group_tests(tests, NULL, NULL);
    fd_close(other_netns);
    return k;
}
