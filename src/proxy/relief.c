/* SPDX-License-Identifier: GPL-3.0-or-later
 * relief.c - when a worker's buffers run out, the flow that holds most gives way, and not whoever receives next
 *
 * Before it comes to that everybody is slowed down (worker_pressed): applications are not read ahead, and a peer gets no more
 * credit for a stream whose reader is behind. What was granted before can still fill the pool. Then nothing more could be received,
 * not even the news that lets others go on, so this does not wait for the last buffer. */
#include <ringwall/base/check.h>

#include "flow.h"
#include "worker.h"

static size_t held_by(const struct flow *f) { return f->legs[LEG_CLIENT].out.n_bytes + f->legs[LEG_SERVER].out.n_bytes; }

/* NULL: nobody is to blame. Also how many bytes those hold who are ending. */
static struct flow *greediest(const struct worker *w, size_t *ret_ending) {
    struct flow *most = NULL;
    *ret_ending = 0;
    list_for_each (it, &w->flows_all) {
        struct flow *f = list_entry(it, struct flow, in_worker);
        if (f->state == FLOW_ENDING)
            *ret_ending += held_by(f);
        else if (!most || held_by(f) > held_by(most))
            most = f;
    }
    return most && held_by(most) >= FLOW_GREEDY_MIN ? most : NULL;
}

/* For what one turn may bring. No promise: when it brings more, whoever receives next is cut, as CLOSE_LIMIT too. */
static size_t reserve(size_t n_max) { return min_of(max_of(n_max / BUFFERS_RESERVE, (size_t)BUFFERS_RESERVE_MIN), n_max / 4); }

void worker_relieve(struct worker *w) {
    size_t n_max = buf_pool_max(w->buffers), ending;
    if (buf_pool_used(w->buffers) <= n_max - reserve(n_max))
        return;
    struct flow *f = greediest(w, &ending);
    if (!f || buf_pool_used(w->buffers) - ending / BUF_CHUNK_BYTES <= n_max - reserve(n_max))
        return;
    counter_add(&w->options.stats->flows_relieved, 1);
    facts_setf(flow_facts(f), FACT_DETAIL, "it held %zu KiB, most of all, when buffers ran out", held_by(f) / 1024);
    flow_end(f, CLOSE_LIMIT, CLOSED_BY_US, true);
}
