/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/timer.h (private) - the heap behind ring_timer_*, shared with the simulated ring of the tests
 *
 * A binary heap over address space reserved at start, so arming a timer can neither fail nor move memory under load.
 * Equal times fire in the order in which they were armed. */
#pragma once

#include <ringwall/ring/ring.h>

/* Per worker. A flow has a few timers; at this many something else has long been out of bounds. 24 bytes each, pages on first
 * touch. */
enum { TIMERS_MAX = 1 << 22, TIMERS_FEW = 2048 /* so many may keep their pages */ };

struct timer_slot {
    uint64_t due_ns;
    uint64_t turn; /* order of arming, breaks ties */
    struct ring_timer *timer;
};
struct timer_heap {
    struct timer_slot *slots; /* from 1; NULL: not initialised */
    size_t n;
    size_t n_high;    /* the pages behind it were not touched since they were given back */
    uint64_t n_armed; /* ever */
};
#define TIMER_HEAP_NULL ((struct timer_heap){0})

int timer_heap_init(struct timer_heap *h) must_check; /* -ENOMEM: no address space */
void timer_heap_deinit(struct timer_heap *h);         /* armed timers are forgotten */
void timer_heap_start(struct timer_heap *h, struct ring_timer *t, uint64_t due_ns, void (*fired)(struct ring_timer *t));
void timer_heap_stop(struct timer_heap *h, struct ring_timer *t);
bool timer_heap_next(const struct timer_heap *h, uint64_t *ret_due_ns); /* false: none armed */
/* Fires what is due, at most as many as were armed at the call: a timer that re-arms itself in the past cannot hold the turn. */
void timer_heap_expire(struct timer_heap *h, uint64_t now_ns);
