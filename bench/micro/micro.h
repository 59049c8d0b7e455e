/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/micro.h - time one small thing: the median of some rounds, as nanoseconds a call
 *
 * A round is as many calls as fill about ten milliseconds, so the clock's own cost does not count. One line of output
 * a measurement: name TAB nanoseconds. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/clock.h>

enum { MICRO_ROUNDS = 21, MICRO_ROUND_NS = 10 * 1000 * 1000, MICRO_TURNS = 401, MICRO_TURN_NS = 200 * 1000 };

/* Keeps a value from being optimised away. */
#define micro_keep(value) __asm__ volatile("" : : "g"(value) : "memory")

static inline int micro_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double micro_run(void (*call)(void *), void *argument, uint64_t n_calls) {
    uint64_t start_ns = clock_mono_ns();
    for (uint64_t i = 0; i < n_calls; i++)
        call(argument);
    return (double)(clock_mono_ns() - start_ns);
}

static inline void micro_measure(const char *name, void (*call)(void *), void *argument) {
    uint64_t n_calls = 1;
    while (micro_run(call, argument, n_calls) < MICRO_ROUND_NS)
        n_calls *= 2;
    double rounds[MICRO_ROUNDS];
    for (int i = 0; i < MICRO_ROUNDS; i++)
        rounds[i] = micro_run(call, argument, n_calls) / (double)n_calls;
    qsort(rounds, MICRO_ROUNDS, sizeof(rounds[0]), micro_compare);
    printf("%s\t%.1f\n", name, rounds[MICRO_ROUNDS / 2]);
}

static inline double micro_median(double *values, size_t n) {
    qsort(values, n, sizeof(values[0]), micro_compare);
    return values[n / 2];
}

/* Two ways to do one thing take turns of a fraction of a millisecond, so that a noisy machine disturbs both alike. Gives both
 * medians in nanoseconds a call, and the median of the turns' ratios: how many times faster the second way is. */
struct micro_versus {
    double first_ns, second_ns, ratio;
};
static inline struct micro_versus micro_versus(void (*call)(void *), void *first, void *second) {
    static double a[MICRO_TURNS], b[MICRO_TURNS], ratios[MICRO_TURNS];
    uint64_t n_calls = 1;
    while (micro_run(call, first, n_calls) < MICRO_TURN_NS)
        n_calls *= 2;
    for (int i = 0; i < MICRO_TURNS; i++) {
        a[i] = micro_run(call, first, n_calls) / (double)n_calls;
        b[i] = micro_run(call, second, n_calls) / (double)n_calls;
        ratios[i] = a[i] / b[i];
    }
    return (struct micro_versus){micro_median(a, MICRO_TURNS), micro_median(b, MICRO_TURNS), micro_median(ratios, MICRO_TURNS)};
}
