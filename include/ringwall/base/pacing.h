/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/pacing.h - sockets that do without a paced congestion control
 *
 * BBR spreads what a socket sends over time, by a timer of the kernel for each burst unless the interface has the fq queue.
 * On a line of some length that is what it is for. Towards an application on the same node, or a node a fraction of a millisecond
 * away, the timers cost about as much as sending does and there is no queue to spare, so there we use cubic, or reno where cubic
 * is not to be had. Nothing changes where the system's choice does not pace. Linux decides at the moment of connecting and never
 * takes pacing from a socket again, but can begin it later: so a socket begins without, and may get it once its distance is known.
 * Any thread. */
#pragma once

#include <ringwall/base/defs.h>

enum { PACING_FAR_US = 1000 }; /* least round trip from which a socket is better paced */

/* For a socket that is not connected yet; what is accepted from a listener inherits it. */
void pacing_leave(int fd);
/* Connected: back to pacing when its least round trip so far is far_us or more, and a new socket of this thread's network namespace
 * would be paced. */
void pacing_fit(int fd, unsigned far_us);
