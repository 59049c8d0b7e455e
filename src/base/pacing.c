/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/pacing.c - see pacing.h; every failure leaves the socket as it was, which works as well, only not as fast */
#include <string.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <linux/tcp.h>

#include <ringwall/base/err.h>
#include <ringwall/base/pacing.h>

static const char paced[] = "bbr";

static bool is_paced(int fd) {
    char name[16] = ""; /* TCP_CA_NAME_MAX */
    socklen_t n = sizeof(name);
    return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n) == 0 && strncmp(name, paced, sizeof(paced) - 1) == 0;
}

static bool set(int fd, const char *name) {
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

void pacing_leave(int fd) {
    if (is_paced(fd) && !set(fd, "cubic"))
        ignore_result(set(fd, "reno")); /* every kernel has it; a filter may forbid it */
}

static bool system_paces(void) {
    cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && is_paced(fd);
}

void pacing_fit(int fd, unsigned far_us) {
    struct tcp_info info = {0};
    socklen_t n = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_min_rtt != UINT32_MAX && info.tcpi_min_rtt >= far_us &&
        !is_paced(fd) && system_paces())
        ignore_result(set(fd, paced)); /* unloaded meanwhile: as it is */
}
