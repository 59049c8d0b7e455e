/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/wait.c - the one system call of a turn: what it submits, and how much it waits for
 *
 * ring.c's head says the rule. It needs a kernel with a minimum wait (Linux 6.12): a wait for several completions that after
 * that time is content with one. Without it each wait is for one. */
#include <errno.h>

#include "private.h"

enum {
    BULK_ENOUGH_BYTES = 96 * 1024, /* a turn that received so much has nothing to gain from waiting for more */
    BULK_TURNS = 2,                /* so many in a row are no accident */
    BULK_WAIT_FOR = 8,             /* completions; one socket alone never has more than one, and waits for the time */
    REST_TURNS = 16,               /* after a wait in vain; twice as long after each further one */
    REST_DOUBLINGS = 6,
};

/* Whether to wait for more than what happens next. */
static bool moderate(struct wait_state *w) {
    if (!w->can_moderate || w->n_bulk < BULK_TURNS)
        return false;
    if (w->n_rest == 0)
        return true;
    w->n_rest--;
    return false;
}

void wait_learn(struct ring *r, unsigned n_buffers, size_t bytes) {
    struct wait_state *w = &r->wait;
    if (n_buffers == 0)
        return;
    if (w->moderated) {
        bool in_vain = bytes < w->plain_bytes + w->plain_bytes / 2;
        w->n_in_vain = in_vain ? min_of(w->n_in_vain + 1, (unsigned)REST_DOUBLINGS) : 0;
        w->n_rest = in_vain ? (unsigned)REST_TURNS << (w->n_in_vain - 1) : 0;
    }
    w->bulk = bytes > (size_t)n_buffers * r->buffers.bytes_each / 2;
    if (!w->bulk || (bytes >= BULK_ENOUGH_BYTES && !w->moderated)) {
        w->n_bulk = 0;
        return;
    }
    w->n_bulk++;
    if (!w->moderated)
        w->plain_bytes = bytes;
}

static int submit_and_wait(struct ring *r, uint64_t wait_ns) {
    struct __kernel_timespec ts = {.tv_sec = (long long)(wait_ns / NS_PER_S), .tv_nsec = (long long)(wait_ns % NS_PER_S)};
    struct wait_state *w = &r->wait;
    struct io_uring_cqe *first;
    w->moderated = moderate(w);
    r->stats.moderated += w->moderated;
    unsigned n = 1;
    if (w->can_moderate && w->bulk)
        n = min_of(1 + w->n_sends + (w->moderated ? BULK_WAIT_FOR : 0), r->uring.cq.ring_entries / 2);
    w->n_sends = 0;
    if (n == 1 || wait_ns <= RING_MIN_WAIT_US * 1000ULL)
        return io_uring_submit_and_wait_timeout(&r->uring, &first, 1, &ts, NULL);
    return io_uring_submit_and_wait_min_timeout(&r->uring, &first, n, &ts, RING_MIN_WAIT_US, NULL);
}

int ring_enter(struct ring *r, uint64_t wait_ns, const struct ring_wait_hooks *hooks) {
    if (io_uring_cq_has_overflow(&r->uring))
        r->stats.cq_overflows++;
    r->stats.enters++;
    int k;
    if (wait_ns) {
        if (hooks && hooks->before)
            hooks->before(hooks->context);
        k = submit_and_wait(r, wait_ns);
        if (hooks && hooks->after)
            hooks->after(hooks->context);
    } else {
        r->wait.moderated = false;
        r->wait.n_sends = 0;
        k = io_uring_submit_and_get_events(&r->uring);
    }
    switch (k) {
    case -ETIME:
    case -EINTR:
    case -EAGAIN: /* no memory for requests just now, or completions must be reaped first: the entries stay queued */
    case -EBUSY:
        return 0;
    default:
        return err_origin(min_of(k, 0));
    }
}
