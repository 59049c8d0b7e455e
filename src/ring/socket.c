/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/socket.c - sockets made inside a workload's network namespace and used from here
 *
 * A socket stays in the namespace in which it was made, so the thread visits that namespace for one system call. A thread that
 * cannot come back would do everything after it in the wrong namespace: the process ends instead. */
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include <ringwall/base/pacing.h>

#include "private.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

enum {
    SOCKET_MARK = 0x539, /* routed to lo inside the pod (DESIGN 4) */
    KEEPALIVE_S = 180,   /* both idle time and interval */
    KEEPALIVE_PROBES = 9,
};

static int set_int(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? err_origin(-errno) : 0;
}

static int socket_inside(const struct ring *r, int netns_fd, int family) {
    if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0)
        return err_origin(-errno);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int k = fd < 0 ? -errno : fd;
    if (netns_fd >= 0 && setns(r->own_netns_fd, CLONE_NEWNET) < 0)
        unreachable_because("the thread cannot leave a workload's network namespace");
    return err_origin(k);
}

static int make_to_application(int fd, bool v6) {
    static const char loopback[] = "lo";
    int k = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1) : set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
    if (!k)
        k = set_int(fd, SOL_SOCKET, SO_MARK, SOCKET_MARK);
    if (!k && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, loopback, sizeof(loopback)) < 0)
        k = -errno;
    return err_trace(k);
}

static int bind_source(int fd, const struct endpoint *from, bool v6) {
    /* Without a port: let the kernel choose at connect, when it knows the whole tuple. With one: the same source may
     * have several connections of ours to different destinations. */
    int k = from->port ? set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) : set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (k)
        return err_trace(k);
    struct sockaddr_storage ss;
    unsigned n = endpoint_to_sockaddr(from, v6, &ss);
    return bind(fd, (const struct sockaddr *)&ss, n) < 0 ? err_origin(-errno) : 0;
}

int ring_socket(struct ring *r, const struct ring_socket_spec *spec, int *ret_fd) {
    int k = socket_inside(r, spec->netns_fd, spec->v6 ? AF_INET6 : AF_INET);
    if (k < 0)
        return err_trace(k);
    cleanup_fd int fd = k;
    if (spec->v6)
        k = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0); /* mapped destinations, whatever the system's default */
    else
        k = 0;
    if (!k && spec->to_application)
        k = make_to_application(fd, spec->v6);
    if (!k && spec->bind_to)
        k = bind_source(fd, spec->bind_to, spec->v6);
    if (k)
        return err_trace(k);
    if (spec->to_application || spec->unpaced)
        pacing_leave(fd);
    ring_socket_tune(r, fd);
    *ret_fd = take_fd(fd);
    return 0;
}

static int name_of(int (*get)(int, struct sockaddr *, socklen_t *), int fd, struct endpoint *ret) {
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    if (get(fd, (struct sockaddr *)&ss, &n) < 0)
        return err_origin(-errno);
    return endpoint_from_sockaddr(&ss, ret) ? 0 : err_origin(-EAFNOSUPPORT);
}

static int get_peer(int fd, struct sockaddr *to, socklen_t *n) { return getpeername(fd, to, n); }
static int get_local(int fd, struct sockaddr *to, socklen_t *n) { return getsockname(fd, to, n); }

int ring_socket_peer(struct ring *r unused_arg, int fd, struct endpoint *ret) { return err_trace(name_of(get_peer, fd, ret)); }
int ring_socket_local(struct ring *r unused_arg, int fd, struct endpoint *ret) { return err_trace(name_of(get_local, fd, ret)); }

void ring_socket_tune(struct ring *r unused_arg, int fd) {
    static const struct {
        int level, name, value;
    } settings[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
    };
    for (size_t i = 0; i < array_size(settings); i++)
        ignore_result(
            set_int(fd, settings[i].level, settings[i].name, settings[i].value)); /* a slower or less watched socket still works */
}

void ring_socket_fit_distance(struct ring *r unused_arg, int fd) { pacing_fit(fd, PACING_FAR_US); }

void ring_socket_abort_on_close(struct ring *r unused_arg, int fd, bool abort) {
    struct linger now = {.l_onoff = abort, .l_linger = 0};
    ignore_result(
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now))); /* fails on what is no socket, which then has no reset to send */
}
