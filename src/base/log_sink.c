/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/log_sink.c - see log_sink.h
 *
 * stdout and stderr are shared with other processes, so O_NONBLOCK must not be set on them: it belongs to the open file
 * and would surprise a shell. Instead a pipe or terminal is opened a second time through /proc; where that is not
 * allowed, poll is asked first and at most PIPE_BUF bytes are written, which a pipe with room takes without waiting. */
#include "log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/err.h>

enum { FILE_BATCH_BYTES = 64 * 1024 };

/* Our own descriptor for the open file behind `fd`. */
static int open_again(int fd, mode_t type) {
    if (type != S_IFREG && type != S_IFSOCK) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (again >= 0)
            return again;
    }
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy >= 0 ? copy : err_origin(-errno);
}

int log_sink_open(struct log_sink *ret, const char *name) {
    int standard = !strcmp(name, "stdout") ? STDOUT_FILENO : !strcmp(name, "stderr") ? STDERR_FILENO : -1;
    struct stat st;
    cleanup_fd int fd = -1;
    if (standard >= 0) {
        if (fstat(standard, &st) < 0)
            return err_origin(-errno);
        fd = open_again(standard, st.st_mode & S_IFMT);
        if (fd < 0)
            return err_trace(fd);
    } else {
        fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
        if (fd < 0 || fstat(fd, &st) < 0)
            return err_origin(-errno);
    }
    bool is_file = S_ISREG(st.st_mode);
    *ret = (struct log_sink){
        .is_socket = S_ISSOCK(st.st_mode), .is_file = is_file, .n_batch_max = is_file ? FILE_BATCH_BYTES : PIPE_BUF};
    ret->fd = take_fd(fd);
    return 0;
}

void log_sink_deinit(struct log_sink *s) {
    s->fd = fd_close(s->fd);
    *s = LOG_SINK_NULL;
}

ssize_t log_sink_write(struct log_sink *s, const struct iovec *iov, unsigned n) {
    if (s->fd < 0)
        return -EBADF;
    ssize_t r;
    do {
        if (s->is_socket) {
            struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
            r = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else {
            struct pollfd p = {.fd = s->fd, .events = POLLOUT};
            if (!s->is_file && poll(&p, 1, 0) == 0)
                return -EAGAIN;
            r = writev(s->fd, iov, (int)n);
        }
    } while (r < 0 && errno == EINTR);
    return r < 0 ? (errno == EWOULDBLOCK ? -EAGAIN : -errno) : r;
}
