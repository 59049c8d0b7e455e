/* SPDX-License-Identifier: GPL-3.0-or-later
 * proxy.c - the workers' threads: each makes its worker, turns until told to stop, cuts what is left, and ends */
#include <ringwall/proxy/proxy.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/heap.h>
#include <ringwall/base/log.h>
#include <ringwall/base/thread.h>

#include "worker.h"

struct shell {
    pthread_t thread;
    bool started;
    struct mailbox *mailbox;
    struct worker_options options;
    atomic_bool stop;
    struct proxy *proxy;
};
struct proxy {
    pthread_mutex_t lock; /* guards the start only */
    pthread_cond_t came_up;
    unsigned n_up;
    int failure;
    char why[256];
    unsigned n_workers;
    struct shell shells[];
};

static int origdst_of_capture(void *context, uint64_t netns_cookie, const struct endpoint *client, struct capture_origin *ret) {
    return context ? capture_origdst(context, netns_cookie, client, ret) : 1;
}

static void shell_report(struct shell *s, int r, const char *why) {
    struct proxy *p = s->proxy;
    pthread_mutex_lock(&p->lock);
    p->n_up++;
    if (r < 0 && p->failure == 0) {
        p->failure = r;
        snprintf(p->why, sizeof(p->why), "%s", why);
    }
    pthread_cond_signal(&p->came_up);
    pthread_mutex_unlock(&p->lock);
}

static void *shell_run(void *argument) {
    struct shell *s = argument;
    char why[256] = "";
    struct worker *w = NULL;
    heap_own_arena();
    publish_reader_register();
    int r = worker_new(&s->options, &w, why);
    shell_report(s, r, why);
    while (r == 0 && !(w && worker_stopped(w))) {
        if (atomic_load_explicit(&s->stop, memory_order_acquire))
            worker_stop(w);
        r = worker_turn(w, WORKER_WAIT_NS);
    }
    if (w && r < 0) /* a broken ring: going on would serve nobody, and only the process can start afresh */
        unreachable_because("a worker's ring failed");
    worker_free(w);
    publish_reader_unregister();
    return NULL;
}

static void proxy_deinit(struct proxy *p) {
    for (unsigned i = 0; i < p->n_workers; i++) {
        struct shell *s = &p->shells[i];
        atomic_store_explicit(&s->stop, true, memory_order_release);
        if (s->mailbox)
            mailbox_raise_event(s->mailbox);
    }
    for (unsigned i = 0; i < p->n_workers; i++) {
        struct shell *s = &p->shells[i];
        if (s->started)
            thread_join(s->thread);
        if (s->mailbox) {
            mailbox_close(s->mailbox);
            mailbox_unref(s->mailbox);
        }
    }
    pthread_cond_destroy(&p->came_up);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static int shell_start(struct proxy *p, unsigned index, const struct proxy_options *o) {
    struct shell *s = &p->shells[index];
    char name[24];
    snprintf(name, sizeof(name), "worker-%u", index % 10000); /* a thread's name has 15 bytes at most */
    s->proxy = p;
    s->mailbox = mailbox_new(name, WORKER_MAILBOX_MAX);
    if (!s->mailbox)
        return err_origin(-ENOMEM);
    s->options = (struct worker_options){.index = index,
                                         .world = o->world,
                                         .origdst = o->origdst ? o->origdst : origdst_of_capture,
                                         .origdst_context = o->origdst ? o->origdst_context : (void *)o->capture,
                                         .mailbox = s->mailbox,
                                         .identity = o->identity,
                                         .stats = &o->stats[index],
                                         .ports = {o->ports[0], o->ports[1], o->ports[2]},
                                         .flows_max = o->connections_max,
                                         .memory_bytes = o->memory_bytes / o->n_workers,
                                         .handshakes_per_s = o->handshakes_per_s,
                                         .cpu_latency_device = o->cpu_latency_device,
                                         .cpu_latency_us = o->cpu_latency_us};
    int r = thread_start(&s->thread, name, shell_run, s);
    if (r < 0)
        return err_trace(r);
    s->started = true;
    return 0;
}

int proxy_start(const struct proxy_options *o, struct proxy **ret, char why[256]) {
    check(o->n_workers > 0 && o->world && o->stats);
    struct proxy *p = calloc(1, sizeof(*p) + o->n_workers * sizeof(p->shells[0]));
    if (!p) {
        snprintf(why, 256, "out of memory");
        return err_origin(-ENOMEM);
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->came_up, NULL);
    p->n_workers = o->n_workers;
    int r = 0;
    unsigned n_started = 0;
    for (; n_started < o->n_workers && r == 0; n_started += r == 0)
        r = shell_start(p, n_started, o);
    pthread_mutex_lock(&p->lock);
    while (p->n_up < n_started)
        pthread_cond_wait(&p->came_up, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (r == 0)
        r = p->failure;
    if (r < 0) {
        snprintf(why, 256, "%s", p->why[0] ? p->why : "a worker thread could not be started");
        proxy_deinit(p);
        return err_trace(r);
    }
    *ret = p;
    return 0;
}

struct mailbox *proxy_mailbox(struct proxy *p, unsigned worker) {
    check(worker < p->n_workers);
    return p->shells[worker].mailbox;
}

struct proxy *proxy_stop(struct proxy *p) {
    if (p)
        proxy_deinit(p);
    return NULL;
}
