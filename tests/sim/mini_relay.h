/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/mini_relay.h - the smallest honest TCP relay over ring.h, to test the simulation with
 *
 * Two legs, one bounded queue each way, half-close passed on, a reset passed on as a reset, no read while the other leg's queue is
 * over its mark. It is what the simulation must find no fault with. */
#pragma once

#include <ringwall/ring/ring.h>

struct mini_stats {
    unsigned n_accepted, n_ended_orderly, n_ended_broken, n_no_socket, n_accept_errors;
    size_t queue_bytes_max; /* most that ever waited in one queue */
};
struct mini;
struct mini *mini_new(struct ring *r, int listen_fd, const struct endpoint *to);
void mini_stop(struct mini *m);          /* no further accepts; relays go on */
bool mini_stopped(const struct mini *m); /* and none is left */
struct mini *mini_free(struct mini *m);
struct mini_stats mini_stats(const struct mini *m);
