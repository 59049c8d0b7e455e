/* SPDX-License-Identifier: GPL-3.0-or-later
 * awake.c - see awake.h */
#include "awake.h"

#include <unistd.h>

#include <ringwall/base/cpu_latency.h>
#include <ringwall/base/err.h>

#include "limits.h"

int awake_init(struct awake *a, const char *device, int32_t bound_us) {
    *a = (struct awake){.fd = -1, .bound_us = bound_us};
    if (!device)
        return 0;
    int fd = cpu_latency_open(device);
    if (fd < 0)
        return err_trace(fd);
    a->fd = fd;
    return 0;
}

void awake_deinit(struct awake *a) {
    if (a->fd >= 0)
        close(a->fd); /* the kernel ends the request */
    *a = (struct awake){.fd = -1};
}

static void begin_period(struct awake *a, uint64_t now_ns) {
    a->n_turns = 0;
    a->period_ends_ns = now_ns + AWAKE_PERIOD_NS;
}

static void ask(struct awake *a, bool wanted) {
    if (cpu_latency_ask(a->fd, wanted ? a->bound_us : -1) == 0) /* refused: as it was, which works as well, only not as fast */
        a->asks = wanted;
}

void awake_turned(struct awake *a, uint64_t now_ns) {
    if (a->fd < 0)
        return;
    if (!a->asks && now_ns >= a->period_ends_ns)
        begin_period(a, now_ns);
    if (++a->n_turns != AWAKE_TURNS || a->asks)
        return;
    ask(a, true);
    begin_period(a, now_ns);
}

void awake_period_ended(struct awake *a, uint64_t now_ns) {
    if (a->n_turns < AWAKE_TURNS)
        ask(a, false);
    begin_period(a, now_ns);
}
