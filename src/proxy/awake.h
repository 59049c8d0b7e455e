/* SPDX-License-Identifier: GPL-3.0-or-later
 * awake.h - whether a worker asks the kernel for processors that wake quickly: only while messages come often
 *
 * Time goes by in periods. One in which the worker moved something in AWAKE_TURNS turns begins the request, and it ends with a
 * period that had fewer: who hears of one message in a while would pay for a processor that waits awake between them, and gain
 * little. */
#pragma once

#include <ringwall/base/defs.h>

struct awake {
    int fd; /* of the request; -1: never asks */
    int32_t bound_us;
    bool asks;
    unsigned n_turns;        /* in this period */
    uint64_t period_ends_ns; /* while it asks, whoever owns it calls awake_period_ended then */
};

/* device NULL: never asks. 0, or negative errno: never asks either. */
int awake_init(struct awake *a, const char *device, int32_t bound_us) must_check;
void awake_deinit(struct awake *a);
void awake_turned(struct awake *a, uint64_t now_ns); /* something moved in this turn; may begin to ask */
void awake_period_ended(struct awake *a, uint64_t now_ns);
