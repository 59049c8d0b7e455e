/* SPDX-License-Identifier: GPL-3.0-or-later
 * listen.c - see listen.h */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/model/addr.h>

#include "listen.h"

static int refuse(char why[LISTEN_WHY_BYTES], const char *fmt, ...) printf_like(2, 3);
static int refuse(char why[LISTEN_WHY_BYTES], const char *fmt, ...) {
    struct text t = {.at = why, .cap = LISTEN_WHY_BYTES};
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    return 1;
}

static int make_parent(const char *path, char why[LISTEN_WHY_BYTES]) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    cleanup_free char *parent = str_dup((struct str){path, (size_t)(slash - path)});
    if (!parent)
        return err_origin(-ENOMEM);
    int r = io_make_dirs(parent, 0700);
    return r < 0 ? refuse(why, "%s: the directory cannot be made: %s", parent, strerror(-r)) : 0;
}

/* Takes a socket away that a daemon left behind; never one that is in use, nor anything else. */
static int remove_stale(const struct sockaddr_un *a, char why[LISTEN_WHY_BYTES]) {
    struct stat st;
    if (lstat(a->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : refuse(why, "%s: %s", a->sun_path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return refuse(why, "%s exists and is no socket: move it away, or name another admin.socket", a->sun_path);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_origin(-errno);
    if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno != ECONNREFUSED)
        return refuse(why, "%s: another daemon listens there: stop it, or name another admin.socket", a->sun_path);
    if (unlink(a->sun_path) < 0 && errno != ENOENT)
        return refuse(why, "%s: a stale socket cannot be removed: %s", a->sun_path, strerror(errno));
    return 0;
}

int listen_unix(const char *path, int *ret_fd, char why[LISTEN_WHY_BYTES]) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof(a.sun_path))
        return refuse(why, "admin.socket: the path has %zu bytes, at most %zu are possible: name a shorter one", n,
                      sizeof(a.sun_path) - 1);
    memcpy(a.sun_path, path, n);
    int r = make_parent(path, why);
    if (r == 0)
        r = remove_stale(&a, why);
    if (r != 0)
        return err_trace(r);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_origin(-errno);
    /* The mode is set before listen, so nobody connects while it is still the umask's. */
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(path, 0600) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        return refuse(why, "%s: cannot listen: %s", path, strerror(errno));
    *ret_fd = take_fd(fd);
    return 0;
}

/* 0; 1 with why; 2: this host does not have the address or the family. */
static int listen_at(const struct sockaddr *a, socklen_t n, const char *host, uint16_t port, int *ret_fd,
                     char why[LISTEN_WHY_BYTES]) {
    cleanup_fd int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 2 : err_origin(-errno);
    int on = 1, v6only = a->sa_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (a->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0))
        return err_origin(-errno);
    if (bind(fd, a, n) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
        *ret_fd = take_fd(fd);
        return 0;
    }
    if (errno == EADDRNOTAVAIL)
        return 2;
    if (errno == EADDRINUSE)
        return refuse(why,
                      "port %u of %s is taken: stop the program that holds it, or choose another port in the node file (admin)",
                      port, host);
    return refuse(why, "cannot listen on port %u of %s: %s", port, host, strerror(errno));
}

static int listen_addr(const char *address, const struct admin_listen *l, int *ret_fd, char why[LISTEN_WHY_BYTES]) {
    struct sockaddr_storage ss;
    struct endpoint e = {.port = l->port};
    if (!addr_parse(str_of(address), &e.addr))
        return refuse(why, "admin: '%s' is no address: write *, localhost or an IP address", address);
    unsigned n = endpoint_to_sockaddr(&e, false, &ss);
    return listen_at((struct sockaddr *)&ss, n, l->host, l->port, ret_fd, why);
}

static int listen_any(const struct admin_listen *l, int *ret_fd, char why[LISTEN_WHY_BYTES]) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(l->port), .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(l->port)};
    int r = listen_at((struct sockaddr *)&six, sizeof(six), "*", l->port, ret_fd, why);
    return r == 2 ? listen_at((struct sockaddr *)&four, sizeof(four), "*", l->port, ret_fd, why) : r;
}

static int not_here(const struct admin_listen *l, char why[LISTEN_WHY_BYTES]) {
    return refuse(why, "admin: this host does not have the address %s: write *, localhost or an address of it", l->host);
}

int listen_tcp(const struct admin_listen *l, int ret_fds[2], size_t *ret_n, char why[LISTEN_WHY_BYTES]) {
    cleanup_fd int first = -1, second = -1;
    bool localhost = !strcmp(l->host, "localhost");
    int r = !strcmp(l->host, "*") ? listen_any(l, &first, why) : listen_addr(localhost ? "127.0.0.1" : l->host, l, &first, why);
    if (r == 2)
        return not_here(l, why);
    if (r != 0)
        return err_trace(r);
    if (localhost)
        r = listen_addr("::1", l, &second, why);
    if (r != 0 && r != 2)
        return err_trace(r);
    *ret_n = second >= 0 ? 2 : 1;
    ret_fds[0] = take_fd(first);
    ret_fds[1] = take_fd(second);
    return 0;
}
