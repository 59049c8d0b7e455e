/* SPDX-License-Identifier: GPL-3.0-or-later
 * outside_listen.c - the sockets of the TCP door: one for both families, two for localhost, or one address */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include <ringwall/base/err.h>

#include "outside.h"

enum { LISTEN_BACKLOG = 256 };

/* 0; 1 with why; 2: this host does not have the address or the family. */
static int listen_at(const struct endpoint *e, bool any, int *ret_fd, char why[256]) {
    struct sockaddr_storage ss = {0};
    unsigned n = endpoint_to_sockaddr(e, false, &ss);
    char text[ENDPOINT_TEXT];
    int on = 1, v6only = !any;
    if (any) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(e->port), .sin6_addr = IN6ADDR_ANY_INIT};
        memcpy(&ss, &six, sizeof(six));
        n = sizeof(six);
    }
    cleanup_fd int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 2 : err_origin(-errno);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (ss.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0))
        return err_origin(-errno);
    if (bind(fd, (const struct sockaddr *)&ss, n) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
        *ret_fd = take_fd(fd);
        return 0;
    }
    if (errno == EADDRNOTAVAIL)
        return 2;
    endpoint_format(e, text);
    snprintf(why, 256, "ca.listen: port %u%s%s%s", e->port, any ? "" : " (", any ? "" : text, any ? "" : ")");
    size_t at = strlen(why);
    snprintf(why + at, 256 - at, errno == EADDRINUSE ? " is taken: stop the program that holds it, or choose another port" : ": %s",
             strerror(errno));
    return 1;
}

static int listen_any(uint16_t port, int *ret_fd, char why[256]) {
    static const struct in_addr zero;
    int r = listen_at(&(struct endpoint){.port = port}, true, ret_fd, why);
    if (r != 2)
        return r;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = zero};
    cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&four, sizeof(four)) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        snprintf(why, 256, "ca.listen: cannot listen on port %u: %s", port, strerror(errno));
        return 1;
    }
    *ret_fd = take_fd(fd);
    return 0;
}

static int listen_localhost(uint16_t port, int ret_fds[OUTSIDE_LISTENERS_MAX], size_t *ret_n, char why[256]) {
    static const char *const addresses[] = {"127.0.0.1", "::1"};
    size_t n = 0;
    for (size_t i = 0; i < array_size(addresses); i++) {
        struct endpoint e = {.port = port};
        ignore_result(addr_parse(str_of(addresses[i]), &e.addr)); /* constants */
        int r = listen_at(&e, false, &ret_fds[n], why);
        if (r == 0)
            n++;
        else if (r != 2) {
            while (n > 0)
                fd_close(ret_fds[--n]);
            return r;
        }
    }
    *ret_n = n;
    return n ? 0 : 2;
}

int outside_listen(const char *host, uint16_t port, int ret_fds[OUTSIDE_LISTENERS_MAX], size_t *ret_n, char why[256]) {
    struct endpoint e = {.port = port};
    int r;
    *ret_n = 1;
    if (!strcmp(host, "*"))
        r = listen_any(port, ret_fds, why);
    else if (!strcmp(host, "localhost"))
        r = listen_localhost(port, ret_fds, ret_n, why);
    else if (addr_parse(str_of(host), &e.addr))
        r = listen_at(&e, false, ret_fds, why);
    else {
        snprintf(why, 256, "ca.listen: '%.100s' is no address: write *, localhost or an IP address", host);
        return 1;
    }
    if (r == 2) {
        snprintf(why, 256, "ca.listen: this host does not have the address %.100s: write *, localhost or an address of it", host);
        r = 1;
    }
    return r < 0 ? err_trace(r) : r;
}
