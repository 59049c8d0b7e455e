/* SPDX-License-Identifier: GPL-3.0-or-later
 * notes.h - what only the beginning and the end of a flow need: names for the log line, and the endpoints that were tried
 *
 * While a flow opens its notes are its own. Once it is open they are settled: flows that would write the same names in their
 * log lines (the connections between two workloads) hold one copy, so that an open connection costs a pointer. Who writes to
 * shared notes gets a copy of his own first. Every notes is held by at least one flow, so as many as flows suffice: with a
 * reserve for each flow nothing here can run short. */
#pragma once

#include <ringwall/base/map.h>
#include <ringwall/base/pool.h>
#include <ringwall/model/route.h>

#include "facts.h"

enum { NOTES_MAGIC = 0x6e6f7465 };
struct notes {
    struct pooled pooled;
    unsigned n_refs;
    bool settled; /* in the table, and not to be written */
    /* Outbound, until it is open */
    uint8_t n_rounds, slow;   /* slow: bits of those in `tried`; they get another round, with more patience */
    unsigned n_tunnels_lost;  /* of the endpoint tried now */
    struct route_tried tried; /* endpoints that failed, or were too slow */
    struct map_node node;
    struct facts facts;
};

struct notebook {
    struct pool *pool;
    struct map settled; /* by facts */
};
int notebook_init(struct notebook *b, size_t n_flows) must_check; /* -ENOMEM; deinit is due all the same */
void notebook_deinit(struct notebook *b);

struct notes *notes_acquire(struct notebook *b);
struct notes *notes_release(struct notebook *b, struct notes *n); /* NULL is fine; returns NULL */
/* Both take the caller's hold and return what he holds from now on. */
struct notes *notes_settle(struct notebook *b, struct notes *n); /* what was tried is forgotten */
struct notes *notes_own(struct notebook *b, struct notes *n);    /* to write to */
