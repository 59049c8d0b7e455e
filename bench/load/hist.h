/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/load/hist.h - a histogram of durations, in the manner of HDR histograms: every value is kept to within 1/64 of itself
 *
 * Values below 64 have a bucket each; above, each power of two is cut into 64 equal ones. Adding two is exact. */
#pragma once

#include <ringwall/base/defs.h>

enum { HIST_SUB_BITS = 6, HIST_BUCKETS = (64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS };

struct hist {
    uint64_t n, most;
    double sum;
    uint64_t counts[HIST_BUCKETS];
};
void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *to, const struct hist *from);
/* The smallest value that `share` (0..1) of all do not exceed, as the upper end of its bucket; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double share);
