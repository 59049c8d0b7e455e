/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/sim_world.c - one simulation: its clock, its chance, its descriptors, its complaints */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "sim_private.h"

const struct sim_faults SIM_FAULTS_NONE = {0};
const struct sim_faults SIM_FAULTS_SLOW = {
    .short_read = 0.2, .short_send = 0.2, .delay = 0.05, .late = 0.02, .result_wins = 0.5, .no_buffer = 0.05, .no_chunk = 0.2};
const struct sim_faults SIM_FAULTS_ROUGH = {.short_read = 0.2,
                                            .short_send = 0.2,
                                            .delay = 0.05,
                                            .late = 0.02,
                                            .result_wins = 0.5,
                                            .no_buffer = 0.05,
                                            .no_chunk = 0.2,
                                            .reset = 0.003,
                                            .refuse = 0.05,
                                            .connect_timeout = 0.02,
                                            .accept_fails = 0.02,
                                            .socket_fails = 0.02,
                                            .mono_jump = 0.0005,
                                            .wall_jump = 0.001};

static _Thread_local struct sim *here;

struct sim *sim_here_or_null(void) {
    return here;
}
struct sim *sim_here(void) {
    check(here); /* ring_sim_new comes first */
    return here;
}

void *sim_alloc(size_t n) {
    void *p = calloc(1, n);
    check(p);
    return p;
}

bool sim_chance(struct sim *s, double p) { return p > 0 && rng_unit(&s->rng) < p; }
uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high) { return low + rng_below(&s->rng, high - low + 1); }

size_t sim_size(struct sim *s, size_t low, size_t high) {
    size_t top = low;
    while (top < high && rng_below(&s->rng, 4))
        top = min_of(top * 2, high);
    return sim_between(s, low, top);
}

uint64_t sim_latency(struct sim *s) {
    uint64_t ns = sim_between(s, 5 * US, 200 * US);
    return sim_chance(s, s->faults.delay) ? ns + sim_between(s, 0, 20 * NS_PER_MS) : ns;
}

void sim_trace(struct sim *s, const char *fmt, ...) {
    if (!s->trace)
        return;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%12.6f ", (double)s->now_ns / 1e9);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

void sim_violation(struct sim *s, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    s->stats.n_violations++;
    sim_trace(s, "VIOLATION %s", text);
    if (s->handler) {
        s->handler(s->handler_context, text);
        return;
    }
    fprintf(stderr, "simulation: seed %" PRIu64 " at %.6f s: %s\n", s->seed, (double)s->now_ns / 1e9, text);
    abort();
}

void sim_digest(struct sim *s, uint64_t a, uint64_t b) {
    static const uint64_t seed[2] = {1, 2};
    uint64_t in[4] = {s->digest, a, b, s->now_ns};
    s->digest = hash_bytes(seed, in, sizeof(in));
}

void sim_after(struct sim *s, struct ring_timer *t, uint64_t in_ns, void (*fired)(struct ring_timer *t)) {
    timer_heap_start(&s->events, t, s->now_ns + in_ns, fired);
}

/* --- descriptors --- */

int sim_descriptor(struct sim *s, struct sim_conn *c, struct listener *l) {
    if (!(s->n_descriptors & (s->n_descriptors - 1))) { /* doubled whenever full */
        size_t n = s->n_descriptors ? s->n_descriptors * 2 : 1;
        s->descriptors = reallocarray(s->descriptors, n, sizeof(*s->descriptors));
        check(s->descriptors);
    }
    s->descriptors[s->n_descriptors] = (struct descriptor){.conn = c, .listener = l};
    s->stats.n_open += c != NULL;
    return SIM_FD_BASE + (int)s->n_descriptors++;
}

bool sim_has_fd(const struct sim *s, int fd) { return fd >= SIM_FD_BASE && (size_t)(fd - SIM_FD_BASE) < s->n_descriptors; }

struct descriptor *sim_find(struct sim *s, int fd, const char *what) {
    if (!sim_has_fd(s, fd)) {
        sim_violation(s, "%s on descriptor %d, which is not of this simulation", what, fd);
        return NULL;
    }
    struct descriptor *d = &s->descriptors[fd - SIM_FD_BASE];
    if (d->closed) {
        sim_violation(s, "%s on descriptor %d, which was closed", what, fd);
        return NULL;
    }
    return d;
}

/* --- life --- */

static uint64_t mono_ns(void *context) { return ((struct sim *)context)->now_ns; }
static int64_t wall_ns(void *context) { return ((struct sim *)context)->wall_base_ns + (int64_t)((struct sim *)context)->now_ns; }

struct sim *ring_sim_new(uint64_t seed, const struct sim_faults *faults) {
    check(!here);
    struct sim *s = sim_alloc(sizeof(*s));
    *s = (struct sim){.seed = seed, .faults = *faults, .next_port = SIM_PORT_FIRST};
    rng_seed(&s->rng, seed);
    s->now_ns = NS_PER_S + sim_between(s, 0, 1000 * NS_PER_S);
    s->wall_base_ns = 1800000000LL * (int64_t)NS_PER_S;
    s->trace = getenv("RING_SIM_TRACE") != NULL;
    list_init(&s->conns);
    list_init(&s->listeners);
    list_init(&s->rings);
    list_init(&s->scripts);
    check(timer_heap_init(&s->events) == 0);
    s->clock = (struct clock_source){mono_ns, wall_ns, s};
    clock_override(&s->clock);
    return here = s;
}

void ring_sim_set_faults(struct sim *s, const struct sim_faults *faults) { s->faults = *faults; }
void ring_sim_on_violation(struct sim *s, void (*handler)(void *context, const char *text), void *context) {
    s->handler = handler;
    s->handler_context = context;
}
void ring_sim_on_route(struct sim *s, int (*route)(void *context, struct sim_syn *syn), void *context) {
    s->route = route;
    s->route_context = context;
}
uint64_t ring_sim_digest(const struct sim *s) { return s->digest; }
struct rng *ring_sim_rng(struct sim *s) {
    return &s->rng;
}

void ring_sim_get_stats(const struct sim *s, struct sim_stats *ret) {
    *ret = s->stats;
    ret->n_in_flight = 0;
    list_for_each (it, &s->rings)
        ret->n_in_flight += list_entry(it, struct ring, all)->n_busy;
}

bool ring_sim_quiet(const struct sim *s) {
    list_for_each (it, &s->rings) {
        const struct ring *r = list_entry(it, struct ring, all);
        if (!list_empty(&r->completions))
            return false;
    }
    return s->events.n == s->n_scripts;
}

struct script {
    struct list all;
    struct sim *sim;
    struct ring_timer timer;
    void (*f)(void *context);
    void *context;
};

static void script_run(struct ring_timer *t) {
    struct script script = *container_of(t, struct script, timer);
    struct script *gone = container_of(t, struct script, timer);
    list_unlink(&gone->all);
    script.sim->n_scripts--;
    free(gone);
    script.f(script.context);
}

void ring_sim_after(struct sim *s, uint64_t in_ns, void (*f)(void *context), void *context) {
    struct script *script = sim_alloc(sizeof(*script));
    *script = (struct script){.sim = s, .f = f, .context = context};
    list_push_back(&s->scripts, &script->all);
    s->n_scripts++;
    sim_after(s, &script->timer, in_ns, script_run);
}

static void free_segments(struct sim_conn *c) {
    for (struct list *n; (n = list_pop_front(&c->rx));)
        free(list_entry(n, struct segment, link));
}

struct sim *ring_sim_free(struct sim *s) {
    if (!s)
        return NULL;
    check(s == here);
    if (!list_empty(&s->rings))
        sim_violation(s, "a ring was not freed");
    for (size_t i = 0; i < s->n_descriptors; i++)
        if (s->descriptors[i].conn && !s->descriptors[i].closed)
            sim_violation(s, "descriptor %d was never closed", SIM_FD_BASE + (int)i);
    for (struct list *n; (n = list_pop_front(&s->conns));) {
        struct sim_conn *c = list_entry(n, struct sim_conn, all);
        free_segments(c);
        free(c);
    }
    for (struct list *n; (n = list_pop_front(&s->listeners));)
        free(list_entry(n, struct listener, all));
    for (struct list *n; (n = list_pop_front(&s->scripts));)
        free(list_entry(n, struct script, all));
    timer_heap_deinit(&s->events);
    free(s->descriptors);
    clock_override(NULL);
    free(s);
    here = NULL;
    return NULL;
}
