/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/cpu_latency.c - see cpu_latency.h */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/cpu_latency.h>
#include <ringwall/base/err.h>

/* The kernel's PM_QOS_CPU_LATENCY_DEFAULT_VALUE, in microseconds: what a request that was never written to asks for. */
enum { ASKS_NOTHING_US = 2000 * 1000 * 1000 };

int cpu_latency_open(const char *device) {
    int fd = open(device, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? err_origin(-errno) : fd;
}

int cpu_latency_ask(int fd, int32_t us) {
    check(us <= CPU_LATENCY_US_MAX);
    int32_t value = us < 0 ? ASKS_NOTHING_US : us; /* in the processor's byte order, no other length */
    ssize_t n = write(fd, &value, sizeof(value));
    return n == (ssize_t)sizeof(value) ? 0 : err_origin(n < 0 ? -errno : -EIO);
}
