/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/clock.h - time; a thread may be given a simulated clock (tests and the simulator only) */
#pragma once

#include <ringwall/base/defs.h>

#define NS_PER_MS 1000000ULL
#define NS_PER_S 1000000000ULL

struct clock_source {
    uint64_t (*mono_ns)(void *context);
    int64_t (*wall_ns)(void *context);
    void *context;
};

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC */
int64_t clock_wall_ns(void);  /* since 1970, CLOCK_REALTIME: may jump both ways */
static inline int64_t clock_wall_s(void) { return clock_wall_ns() / (int64_t)NS_PER_S; }
void clock_override(const struct clock_source *source); /* this thread only; NULL: the real one again */

enum { RFC3339_BYTES = 32 };
void clock_rfc3339(int64_t wall_ns, char out[RFC3339_BYTES], bool micros); /* "2026-01-02T03:04:05.000006Z" */
bool clock_parse_rfc3339(const char *text, size_t n, int64_t *ret_wall_s);
