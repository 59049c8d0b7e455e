/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/busy.c - a short busy wait before a sleep, where what comes next is likely to come at once
 *
 * A thread that sleeps must be woken, and where that takes an interrupt to a processor that is idle (which a virtual machine pays
 * for with an exit to its host) sleeping and waking costs more than many waits last. A worker between a request and its answer is
 * in that place. So the ring may look for completions for a while first, without a system call but one: it offers the processor
 * to others at each look, so whoever wakes up on it runs at once.
 *
 * It does so only where it pays. Waits come in patterns, for instance a short one for the answer and then a long one for the next
 * request: the last few waits, short or long, are looked up in a table of how the next one was when they were like that. An idle
 * ring sees long waits only and sleeps. A look in vain counts for several that were right. Several messages in one turn count as if
 * the wait had been long, and after bulk it sleeps for a while: who wakes up later there has more to do at once, which is cheaper.
 * And when someone else took the processor for long, there is no time to spare, and who offered it stands behind those that it
 * would have passed had it slept: no busy waits for a while, twice as long after each further time.
 *
 * What it cannot see: how much the owner cares. So it is asked for (ring_options.busy_wait_ns). */
#include <errno.h>
#include <sched.h>

#include "private.h"

enum {
    BUSY_WHOLE = 255,        /* of a share */
    BUSY_LIKELY = 160,       /* share of short waits from which on looking pays */
    BUSY_RISE = 16,          /* a short wait moves the share by one in so many of what is left */
    BUSY_FALL = 4,           /* likewise, a long one */
    BUSY_SLEPT = 2,          /* a sleep of so many times the bound counts as short: to wake up took its time too */
    BUSY_TAKEN_NS = 50000,   /* an offer of the processor that took so long was taken by someone with work to do */
    BUSY_REST_NS = 50000000, /* pause after that; doubles */
    BUSY_REST_DOUBLINGS = 6,
    BUSY_BULK_NS = 1000000, /* pause after bulk */
    BUSY_FORGIVEN = 4096,   /* so many looks that nobody took begin it anew */
};

bool busy_is_likely(const struct busy_wait *b, uint64_t now_ns) {
    return b->max_ns && now_ns >= b->rest_until_ns && b->share[b->history] >= BUSY_LIKELY;
}

void busy_learn(struct busy_wait *b, bool is_short) {
    uint8_t *share = &b->share[b->history];
    if (is_short)
        *share = (uint8_t)(*share + (BUSY_WHOLE - *share + BUSY_RISE - 1) / BUSY_RISE);
    else
        *share = (uint8_t)(*share - *share / BUSY_FALL);
    b->history = (b->history * 2 + is_short) % BUSY_HISTORIES;
}

void busy_was_taken(struct busy_wait *b, uint64_t now_ns) {
    b->rest_until_ns = now_ns + ((uint64_t)BUSY_REST_NS << b->n_taken);
    b->n_untaken = 0;
    b->n_taken = min_of(b->n_taken + 1, (unsigned)BUSY_REST_DOUBLINGS);
}

static bool something_came(const struct ring *r) {
    return __atomic_load_n(r->uring.sq.kflags, __ATOMIC_ACQUIRE) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW) ||
           io_uring_cq_ready(&r->uring);
}

/* Looks until something came or the time is over; says which. */
static bool look(struct ring *r, uint64_t began_ns, uint64_t max_ns) {
    struct busy_wait *b = &r->busy;
    r->stats.busy_waits++;
    for (uint64_t now = began_ns, before; !something_came(r);) {
        if (now - began_ns >= max_ns)
            return false;
        before = now;
        ignore_result(sched_yield()); /* it cannot fail */
        now = clock_mono_ns();
        if (now - before >= BUSY_TAKEN_NS) {
            busy_was_taken(b, now);
            return something_came(r);
        }
    }
    return true;
}

int busy_wait(struct ring *r, uint64_t wait_ns, int (*wait_asleep)(struct ring *r, uint64_t wait_ns)) {
    struct busy_wait *b = &r->busy;
    uint64_t began = clock_mono_ns();
    b->waited = true;
    if (!busy_is_likely(b, began)) {
        int k = wait_asleep(r, wait_ns);
        b->was_short = clock_mono_ns() - began <= BUSY_SLEPT * b->max_ns;
        return k;
    }
    b->was_short = look(r, began, min_of(wait_ns, b->max_ns));
    r->stats.busy_hits += b->was_short;
    if (b->n_taken && ++b->n_untaken >= BUSY_FORGIVEN)
        b->n_taken = b->n_untaken = 0;
    if (b->was_short) {
        r->wait.moderated = false;
        return io_uring_get_events(&r->uring);
    }
    return wait_asleep(r, wait_ns - min_of(wait_ns, clock_mono_ns() - began));
}

void busy_turned(struct ring *r, unsigned n_buffers, size_t bytes) {
    struct busy_wait *b = &r->busy;
    bool bulk = bytes > r->buffers.bytes_each / 2;
    if (b->max_ns && bulk)
        b->rest_until_ns = max_of(b->rest_until_ns, r->now_ns + BUSY_BULK_NS);
    if (b->waited)
        busy_learn(b, b->was_short && n_buffers <= 1 && !bulk);
    b->waited = false;
}
