/* SPDX-License-Identifier: GPL-3.0-or-later
 * listener.c - the listening sockets in a pod's namespace, one of each kind a worker
 *
 * They share their port by SO_REUSEPORT. Kinds for both families are dual-stack, and plain IPv4 where the pod has no
 * IPv6. TCP_NODELAY is set here because accepted sockets inherit it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/pacing.h>

#include "private.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

/* No IPv6 in this kernel, this namespace or on its lo. */
static bool family_missing(int r) { return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL || r == -EPROTONOSUPPORT; }

static int set_int(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int bind_to(int fd, enum capture_listener kind, int family, uint16_t port) {
    bool any = kind == CAPTURE_INBOUND || kind == CAPTURE_HBONE;
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (!any)
        v6.sin6_addr = in6addr_loopback;
    int r = family == AF_INET6 ? bind(fd, (struct sockaddr *)&v6, sizeof(v6)) : bind(fd, (struct sockaddr *)&v4, sizeof(v4));
    return r < 0 ? -errno : 0;
}

static int listener_open(enum capture_listener kind, int family, uint16_t port, int *ret_fd) {
    cleanup_fd int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0)
        r = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r == 0)
        r = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (r == 0 && family == AF_INET6)
        r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, kind == CAPTURE_OUTBOUND6);
    if (r == 0 && kind == CAPTURE_INBOUND)
        r = family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1) : set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
    if (kind != CAPTURE_INBOUND)
        pacing_leave(fd); /* an application is as near as can be; a tunnel's distance is looked at when it is open */
    if (r == 0)
        r = bind_to(fd, kind, family, port);
    if (r == 0 && listen(fd, CAPTURE_BACKLOG) < 0)
        r = -errno;
    if (r == 0)
        *ret_fd = take_fd(fd);
    return r;
}

static int listener_open_kind(enum capture_listener kind, uint16_t port, int *ret_fd) {
    int r = listener_open(kind, kind == CAPTURE_OUTBOUND4 ? AF_INET : AF_INET6, port, ret_fd);
    if (!family_missing(r))
        return r;
    if (kind == CAPTURE_OUTBOUND6) {
        *ret_fd = -1;
        return 0;
    }
    return kind == CAPTURE_OUTBOUND4 ? r : listener_open(kind, AF_INET, port, ret_fd);
}

int listener_open_all(const uint16_t ports[_CAPTURE_LISTENER_MAX], unsigned n_workers, int *ret_fds, char why[CAPTURE_WHY_BYTES]) {
    size_t n = (size_t)_CAPTURE_LISTENER_MAX * n_workers;
    for (size_t i = 0; i < n; i++)
        ret_fds[i] = -1;
    for (size_t i = 0; i < n; i++) {
        enum capture_listener kind = (enum capture_listener)(i / n_workers);
        int r = listener_open_kind(kind, ports[kind], &ret_fds[i]);
        if (r == 0)
            continue;
        for (size_t k = 0; k < n; k++)
            ret_fds[k] = fd_close(ret_fds[k]);
        if (r == -EADDRINUSE) {
            why_set(why, "port %u is taken in the workload's network namespace: end the program that listens there", ports[kind]);
            return CAPTURE_BUSY;
        }
        why_set(why, "cannot listen on port %u in the workload's network namespace: %s", ports[kind], strerror(-r));
        return err_origin(r);
    }
    return 0;
}
