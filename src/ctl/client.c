/* SPDX-License-Identifier: GPL-3.0-or-later
 * client.c - see client.h
 *
 * HTTP/1.0 with Content-Length: the daemon closes after one answer. An answer that ends early is refused, so a cut
 * table never looks complete. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <ringwall/base/clock.h>

#include "client.h"
#include "ctl.h"

void answer_deinit(struct answer *a) {
    growing_deinit(&a->bytes);
    *a = ANSWER_NULL;
}

static bool cannot_connect(const char *path, int error) {
    const char *fix = error == ENOENT || error == ECONNREFUSED
                          ? "is the daemon running? Start it (ringwall run), or name its admin.socket with -s"
                      : error == EACCES || error == EPERM ? "run this as root or as the daemon's user"
                                                          : "name the daemon's admin.socket with -s";
    complain("%s: %s: %s", path, strerror(error), fix);
    return false;
}

static bool connect_to(const char *path, int *ret) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(a.sun_path))
        return cannot_connect(path, ENAMETOOLONG);
    memcpy(a.sun_path, path, n);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return cannot_connect(path, errno);
    *ret = take_fd(fd);
    return true;
}

/* Waits until the descriptor is ready or the deadline has come. */
static bool wait_for(int fd, short events, uint64_t deadline_ns) {
    for (;;) {
        uint64_t now = clock_mono_ns();
        if (now >= deadline_ns)
            return false;
        struct pollfd p = {.fd = fd, .events = events};
        int r = poll(&p, 1, (int)((deadline_ns - now) / NS_PER_MS + 1));
        if (r > 0)
            return true;
        if (r < 0 && errno != EINTR)
            return false;
    }
}

static bool send_request(int fd, struct str request, uint64_t deadline_ns) {
    while (request.n > 0) {
        ssize_t n = send(fd, request.at, request.n, MSG_NOSIGNAL);
        if (n > 0)
            request = (struct str){request.at + n, request.n - (size_t)n};
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        else if (n < 0 && errno == EAGAIN && !wait_for(fd, POLLOUT, deadline_ns))
            return false;
    }
    return true;
}

static bool receive_all(int fd, uint64_t deadline_ns, struct growing *to) {
    static char block[65536];
    while (to->n <= CLIENT_HEAD_MAX + (size_t)CLIENT_BODY_MAX) {
        ssize_t n = recv(fd, block, sizeof(block), 0);
        if (n == 0)
            return !to->failed;
        if (n > 0)
            growing_add(to, (struct str){block, (size_t)n});
        else if (errno == EAGAIN) {
            if (!wait_for(fd, POLLIN, deadline_ns)) {
                errno = ETIMEDOUT;
                return false;
            }
        } else if (errno != EINTR)
            return false;
    }
    errno = EFBIG;
    return false;
}

/* Value of a header line; the name is compared without case. */
static struct str header(struct str head, const char *name) {
    struct str line;
    while (str_split(&head, '\n', &line)) {
        struct str key;
        if (!str_split(&line, ':', &key) || !str_fold_is(key, str_of(name)) || !line.at)
            continue;
        while (line.n && line.at[0] == ' ')
            line = (struct str){line.at + 1, line.n - 1};
        while (line.n && line.at[line.n - 1] == '\r')
            line.n--;
        return line;
    }
    return STR_NULL;
}

static bool parse_answer(struct answer *a) {
    struct str all = {a->bytes.at, a->bytes.n};
    const char *end = all.n ? memmem(all.at, min_of(all.n, (size_t)CLIENT_HEAD_MAX), "\r\n\r\n", 4) : NULL;
    uint64_t status, length;
    if (!end || all.n < 12 || !str_has_prefix(all, STR("HTTP/1.")) || !str_u64((struct str){all.at + 9, 3}, 999, &status))
        return false;
    struct str head = {all.at, (size_t)(end - all.at)};
    a->status = (unsigned)status;
    a->body = (struct str){end + 4, all.n - head.n - 4};
    struct text incomplete = TEXT_OVER(a->incomplete);
    text_add(&incomplete, header(head, "Ringwall-Incomplete"));
    return str_u64(header(head, "Content-Length"), CLIENT_BODY_MAX, &length) && length == a->body.n;
}

bool client_ask(const char *socket_path, const char *method, const char *target, struct answer *ret) {
    struct growing request cleanup(growing_deinit) = GROWING_NULL;
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    cleanup_fd int fd = -1;
    uint64_t deadline_ns = clock_mono_ns() + CLIENT_TIMEOUT_MS * NS_PER_MS;
    if (!connect_to(socket_path, &fd))
        return false;
    growing_addf(&request, "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", method, target);
    if (request.failed || !send_request(fd, (struct str){request.at, request.n}, deadline_ns) ||
        !receive_all(fd, deadline_ns, &a.bytes)) {
        complain("%s: no answer from the daemon: %s", socket_path, strerror(errno));
        return false;
    }
    if (!parse_answer(&a)) {
        complain("%s: the answer is cut or is not HTTP: is this ringwall's admin socket?", socket_path);
        return false;
    }
    if (a.incomplete[0])
        complain("incomplete: no answer in time from %s", a.incomplete);
    *ret = a;
    a = ANSWER_NULL;
    return true;
}

void client_add_query(struct growing *target, const char *key, const char *value) {
    growing_addf(target, "%c%s=", target->n && memchr(target->at, '?', target->n) ? '&' : '?', key);
    for (const char *c = value; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-._~/", *c);
        growing_addf(target, plain ? "%c" : "%%%02X", plain ? *c : (unsigned char)*c);
    }
}
