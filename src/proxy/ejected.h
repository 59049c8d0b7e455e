/* SPDX-License-Identifier: GPL-3.0-or-later
 * ejected.h - endpoints of services that failed lately, each worker by what it saw itself
 *
 * After some failures in a row an endpoint is ejected: passed over, for a time that doubles with each failure after it. One
 * success clears it. Only a preference: routing takes an ejected endpoint when there is no other. A fixed table, two places
 * for each endpoint, a newcomer takes the older one: what is forgotten is merely tried again. */
#pragma once

#include <ringwall/base/clock.h>
#include <ringwall/model/addr.h>

enum {
    EJECTED_TRACKED = 1024,    /* endpoints of a worker */
    EJECTED_FAILURES = 3,      /* in a row, before the first ejection */
    EJECTED_DOUBLINGS_MAX = 5, /* of the time */
};
#define EJECTED_NS (2 * NS_PER_S)          /* the first time */
#define EJECTED_FORGET_NS (300 * NS_PER_S) /* failures further apart are not in a row */

struct ejected;
struct ejected *ejected_new(size_t n_slots /* a power of two, at least 2 */, uint64_t seed); /* NULL: no memory */
struct ejected *ejected_free(struct ejected *e);
bool ejected_failed(struct ejected *e, const struct endpoint *at, uint64_t now_ns); /* true: it is ejected from now on */
void ejected_succeeded(struct ejected *e, const struct endpoint *at);
bool ejected_is(const struct ejected *e, const struct endpoint *at, uint64_t now_ns);
