/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_window.h - how much a peer may send on a stream before its reader took it
 *
 * Invariant: undelivered + granted <= max(size, what it was before it shrank), and that is what a stopped reader can make us hold;
 * what is above H2_STREAM_WINDOW of it is counted in the owner's h2_shared. Numbers only: h2.c sends the credit. */
#pragma once

#include <ringwall/wire/h2.h>

enum { H2_WINDOW_TRIALS = 8 }; /* windows of one size that must have been too small before it doubles */

struct h2_window {
    uint32_t size;        /* the goal */
    uint32_t undelivered; /* bytes shown to the owner and not yet delivered */
    uint32_t granted;     /* bytes that the peer may still send */
    uint32_t counted;     /* in h2_shared.windows */
    uint32_t n_held_up;   /* windows of this size that held the stream up */
    /* Since the last judgement */
    uint32_t delivered, least; /* least: of undelivered */
    bool held_up;              /* the peer had used all it was granted */
    uint64_t since_ns;
};
void h2_window_init(struct h2_window *w);
void h2_window_deinit(struct h2_window *w, struct h2_shared *shared);           /* shared may be NULL, here and below */
bool h2_window_take(struct h2_window *w, size_t n, uint64_t now_ns) must_check; /* came from the peer; false: more than it may */
void h2_window_give(struct h2_window *w, size_t n, uint64_t now_ns, struct h2_shared *shared); /* left our memory */
/* What to grant the peer now, which may send `left` by what it was told; 0: nothing yet. */
int32_t h2_window_credit(struct h2_window *w, int32_t left, struct h2_shared *shared);
