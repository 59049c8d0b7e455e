/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/log_sink.h - a descriptor that log lines go to, and that never makes its writer wait (private) */
#pragma once

#include <sys/uio.h>

#include <ringwall/base/defs.h>

struct log_sink {
    int fd;             /* -1: none */
    bool is_socket;     /* send with MSG_DONTWAIT: such a descriptor cannot be opened again */
    bool is_file;       /* of a disk: written at once, so no need to poll */
    size_t n_batch_max; /* bytes of one write, if that is more than one line */
};
#define LOG_SINK_NULL ((struct log_sink){.fd = -1})

/* name: "stdout", "stderr", or a path that is appended to. */
int log_sink_open(struct log_sink *ret, const char *name) must_check;
void log_sink_deinit(struct log_sink *s);
/* Bytes written, -EAGAIN: no room now (poll for POLLOUT), or another negative errno. */
ssize_t log_sink_write(struct log_sink *s, const struct iovec *iov, unsigned n) must_check;
