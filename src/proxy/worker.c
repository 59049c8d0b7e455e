/* SPDX-License-Identifier: GPL-3.0-or-later
 * worker.c - a worker's parts, and one turn: reap and run callbacks and timers (in ring_turn), then mail, then a new
 * world, then the flows and tunnels that something happened to, then the counters; the next ring_turn submits once */
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/heap.h>
#include <ringwall/tls/session.h>

#include "credentials.h"
#include "ejected.h"
#include "flow.h"
#include "history.h"
#include "hop.h"
#include "pod.h"
#include "tunnel.h"

enum { REJECT_MAGIC = 0x72656a65, REJECTS_MAX = 4096, REJECT_BYTES = 512 };

const struct world *worker_world(struct worker *w) { return publish_read(w->options.world); }
uint64_t worker_now(const struct worker *w) { return ring_now_ns(w->ring); }
bool worker_pressed(const struct worker *w) { return buf_pool_used(w->buffers) > buf_pool_max(w->buffers) / 4 * 3; }
struct str worker_network(const struct world *w) {
    return world_get_settings(w)->network;
}

static void before_wait(void *context unused_arg) { publish_reader_offline(); }
static void after_wait(void *context unused_arg) { publish_reader_online(); }

/* ---- making and ending one ---- */

static size_t clamp(size_t v, size_t least, size_t most) { return v < least ? least : v > most ? most : v; }

static size_t memory_bytes(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : 1024 * 1024 * 1024;
}

/* Automatic limits: an eighth of the memory for flows, an eighth for buffers; touched only when used. */
static void worker_limits(struct worker_options *o) {
    size_t memory = o->memory_bytes ? o->memory_bytes : memory_bytes();
    if (o->flows_max == 0)
        o->flows_max = clamp(memory / 8 / FLOW_BYTES_ESTIMATE, FLOWS_DEFAULT_MIN, FLOWS_DEFAULT_MAX);
    if (o->buffers_max == 0)
        o->buffers_max = clamp(memory / 8 / BUF_CHUNK_BYTES, BUFFERS_DEFAULT_MIN, BUFFERS_DEFAULT_MAX);
    if (o->tunnels_max == 0)
        o->tunnels_max = min_of(o->flows_max, (size_t)TUNNELS_MAX);
}

static void worker_mail_came(struct ring_op *op, int n unused_arg, const uint8_t *bytes unused_arg, bool more) {
    struct worker *w = container_of(op, struct worker, mail_op);
    mailbox_clear_event(w->options.mailbox);
    w->mail_left = true;
    if (!more && !w->stopping)
        ring_poll_in(w->ring, &w->mail_op, mailbox_eventfd(w->options.mailbox), worker_mail_came);
}

/* Gauges that cost a walk. */
static void worker_count_slow(struct worker *w) {
    size_t n = 0;
    list_for_each (it, &w->pods_all) {
        const struct pod *p = list_entry(it, struct pod, link);
        for (size_t i = 0; i < array_size(p->listeners); i++)
            n += p->listeners[i].fd >= 0;
    }
    counter_set(&w->options.stats->listeners, n);
    counter_set(&w->options.stats->tls_bytes, tls_memory_used());
}

/* Memory that a peak needed goes back to the kernel. */
static void worker_trim(struct worker *w) {
    struct pool *pools[] = {w->flows, w->tunnels, w->hops, w->rejects, w->notebook.pool};
    bool much = buf_pool_trim_unused(w->buffers);
    for (size_t i = 0; i < array_size(pools); i++)
        much |= pool_trim_unused(pools[i]);
    heap_trim(much);
}

static void worker_ticked(struct ring_timer *t) {
    struct worker *w = container_of(t, struct worker, tick);
    ring_timer_start(w->ring, &w->tick, worker_now(w) + WORKER_TICK_NS, worker_ticked);
    hops_sweep(w);
    worker_count_slow(w);
    if (++w->n_ticks % TRIM_TICKS == 0)
        worker_trim(w);
}

static int worker_make(struct worker *w, char why[256]) {
    struct worker_options *o = &w->options;
    if (o->seed)
        rng_seed(&w->rng, o->seed);
    else
        rng_seed_random(&w->rng);
    static const char too_little[] = "not enough memory, or addresses (RLIMIT_AS, LimitAS=), for a worker's tables: raise that, "
                                     "or lower `workers` in the node file";
    w->buffers = buf_pool_new(o->buffers_max);
    struct ring_options ring = {.n_entries = RING_ENTRIES,
                                .n_recv_buffers = RING_RECV_BUFFERS,
                                .recv_buffer_bytes = RING_RECV_BUFFER_BYTES,
                                .pool = w->buffers};
    int r = w->buffers ? ring_new(&ring, &w->ring, why) : 0;
    if (r < 0)
        return err_trace(r);
    r = notebook_init(&w->notebook, o->flows_max);
    if (r < 0) {
        snprintf(why, 256, "%s", too_little);
        return err_trace(r);
    }
    w->flows = pool_new(FLOW_MAGIC, sizeof(struct flow), o->flows_max);
    w->tunnels = pool_new(TUNNEL_MAGIC, sizeof(struct tunnel), o->tunnels_max);
    w->hops = pool_new(HOP_MAGIC, sizeof(struct hop), o->tunnels_max);
    w->rejects = pool_new(REJECT_MAGIC, REJECT_BYTES, REJECTS_MAX);
    w->h2 = (struct h2_shared){.pool = w->buffers, .windows_max = o->buffers_max / WINDOWS_SHARE * BUF_CHUNK_BYTES};
    w->sources = sources_new(SOURCES_TRACKED, o->handshakes_per_s, rng_u64(&w->rng));
    w->history = history_new(HISTORY_DENIALS_MAX, HISTORY_CONTACTS_MAX);
    w->ejected = ejected_new(EJECTED_TRACKED, rng_u64(&w->rng));
    if (!w->flows || !w->tunnels || !w->hops || !w->rejects || !w->buffers || !w->sources || !w->history || !w->ejected ||
        map_init(&w->pods, 64) || map_init(&w->credentials, 64) || map_init(&w->hop_map, o->tunnels_max)) {
        snprintf(why, 256, "%s", too_little);
        return err_origin(-ENOMEM);
    }
    return 0;
}

int worker_new(const struct worker_options *o, struct worker **ret, char why[256]) {
    struct worker *w = calloc(1, sizeof(*w));
    if (!w) {
        snprintf(why, 256, "out of memory");
        return err_origin(-ENOMEM);
    }
    w->options = *o;
    ignore_result(awake_init(&w->awake, o->cpu_latency_device, o->cpu_latency_us)); /* app has said that there is none */
    worker_limits(&w->options);
    struct list *lists[] = {&w->pods_all,      &w->flows_all,       &w->tunnels_all,     &w->hops_all,
                            &w->touched_flows, &w->touched_tunnels, &w->deferred_tunnels};
    for (size_t i = 0; i < array_size(lists); i++)
        list_init(lists[i]);
    w->hooks = (struct ring_wait_hooks){before_wait, after_wait, w};
    int r = worker_make(w, why);
    if (r < 0) {
        worker_free(w);
        return err_trace(r);
    }
    w->mail_left = true;
    ring_poll_in(w->ring, &w->mail_op, mailbox_eventfd(w->options.mailbox), worker_mail_came);
    ring_timer_start(w->ring, &w->tick, worker_now(w) + WORKER_TICK_NS, worker_ticked);
    *ret = w;
    return 0;
}

void worker_stop(struct worker *w) {
    if (w->stopping)
        return;
    if (!w->draining || !w->drain_passed)
        drain_begin(w, 0, take_ptr(w->drain_reply));
    w->stopping = true;
    pods_forget(w);
    ring_timer_stop(w->ring, &w->tick);
    ring_timer_stop(w->ring, &w->drain_timer);
    ring_timer_stop(w->ring, &w->awake_timer);
    ring_cancel(w->ring, &w->mail_op);
}

bool worker_stopped(const struct worker *w) {
    return w->stopping && drain_passed(w) && list_empty(&w->pods_all) && ring_in_flight(w->ring) == 0;
}

struct worker *worker_free(struct worker *w) {
    if (!w)
        return NULL;
    if (w->credentials.buckets)
        credentials_forget(w);
    tls_trust_unref(w->trust);
    while (w->hops && list_first(&w->hops_all))
        hop_release(list_entry(list_first(&w->hops_all), struct hop, in_worker));
    map_deinit(&w->pods);
    map_deinit(&w->credentials);
    map_deinit(&w->hop_map);
    pool_free(w->flows);
    notebook_deinit(&w->notebook);
    pool_free(w->tunnels);
    pool_free(w->hops);
    pool_free(w->rejects);
    sources_free(w->sources);
    history_free(w->history);
    ejected_free(w->ejected);
    ring_free(w->ring);
    awake_deinit(&w->awake);
    buf_pool_free(w->buffers);
    if (w->drain_reply)
        mailbox_unref(w->drain_reply);
    free(w);
    return NULL;
}

/* ---- one turn ---- */

static void worker_adopt_world(struct worker *w) {
    const struct world *world = worker_world(w);
    if (world && world_number(world) != w->world_number) {
        w->world_number = world_number(world);
        counter_set(&w->options.stats->world_number, w->world_number);
        judge_begin(w, world);
    }
    judge_step(w);
}

/* Whoever found no buffer tries again once there are some. */
static void worker_unstick(struct worker *w) {
    if (!w->some_stuck || buf_pool_used(w->buffers) == buf_pool_max(w->buffers))
        return;
    w->some_stuck = false;
    list_for_each (it, &w->tunnels_all) {
        struct tunnel *t = list_entry(it, struct tunnel, in_worker);
        if (t->stuck)
            tunnel_unstick(t);
    }
}

/* Steps touch each other (a flow resets a stream, a tunnel fails a flow) until nothing is left; each state is passed once,
 * so this ends. Handshakes over the budget wait for the next turn. Says whether there were any. */
static bool worker_steps(struct worker *w) {
    w->handshake_budget = HANDSHAKE_STEPS_PER_TURN;
    struct list *n;
    while ((n = list_pop_front(&w->deferred_tunnels)))
        list_push_back(&w->touched_tunnels, n);
    for (bool some = false;; some = true) {
        if ((n = list_pop_front(&w->touched_flows)))
            flow_step(list_entry(n, struct flow, touched));
        else if ((n = list_pop_front(&w->touched_tunnels)))
            tunnel_step(list_entry(n, struct tunnel, touched));
        else
            return some;
    }
}

static void worker_awake_over(struct ring_timer *t) {
    struct worker *w = container_of(t, struct worker, awake_timer);
    awake_period_ended(&w->awake, worker_now(w));
    if (w->awake.asks)
        ring_timer_start(w->ring, t, w->awake.period_ends_ns, worker_awake_over);
}

static void worker_stay_awake(struct worker *w) {
    bool asked = w->awake.asks;
    awake_turned(&w->awake, worker_now(w));
    if (w->awake.asks && !asked && !w->stopping)
        ring_timer_start(w->ring, &w->awake_timer, w->awake.period_ends_ns, worker_awake_over);
}

static void worker_gauges(struct worker *w) {
    struct worker_stats *s = w->options.stats;
    counter_add(&s->loop_turns, 1);
    counter_set(&s->flows_open, pool_used(w->flows));
    counter_set(&s->tunnels_open, pool_used(w->tunnels));
    counter_set(&s->buffers_used, buf_pool_used(w->buffers));
    counter_set(&s->cpu_latency_bound, w->awake.asks);
}

static bool worker_busy(const struct worker *w) {
    return w->mail_left || w->judging || w->trust_judging || !list_empty(&w->deferred_tunnels) || !list_empty(&w->touched_flows) ||
           !list_empty(&w->touched_tunnels);
}

int worker_turn(struct worker *w, uint64_t max_wait_ns) {
    uint64_t wait = worker_busy(w) ? 0 : min_of(max_wait_ns, (uint64_t)WORKER_WAIT_NS);
    int r = ring_turn(w->ring, wait, &w->hooks);
    if (r < 0)
        return err_trace(r);
    worker_mail(w);
    worker_adopt_world(w);
    trust_step(w);
    worker_unstick(w);
    if (worker_steps(w))
        worker_stay_awake(w);
    drain_step(w);
    worker_gauges(w);
    publish_quiet();
    return 0;
}
