/* SPDX-License-Identifier: GPL-3.0-or-later
 * flow.c - the life of a flow: acquire, states with their limits, the one step that decides, the one end */
#include "flow.h"

#include <errno.h>

#include <ringwall/base/check.h>

#include "access.h"
#include "history.h"
#include "pod.h"
#include "relay.h"
#include "ways.h"
#include "worker.h"

static const struct {
    const char *word;
    uint64_t limit_ns;
    uint32_t next;
} states[_FLOW_STATE_MAX] = {
#define FLOW_STATE(name, word, limit, next) [FLOW_##name] = {word, limit, next},
#include "flow_state.h"
#undef FLOW_STATE
};

const char *flow_state_word(enum flow_state s) { return states[s].word; }

const char *closed_by_word(enum closed_by b) {
    switch (b) {
    case CLOSED_BY_US:
        return "us";
    case CLOSED_BY_CLIENT:
        return "client";
    case CLOSED_BY_SERVER:
        return "server";
    case CLOSED_BY_PEER:
        return "peer";
    }
    return "us";
}

struct flow *flow_acquire(struct worker *w, struct pod *pod, enum flow_kind kind, enum close_reason *ret_why) {
    bool over_share = pod_over_share(pod, pod->n_flows, w->flows);
    struct flow *f = over_share ? NULL : pool_acquire(w->flows);
    if (!f) {
        *ret_why = over_share ? CLOSE_POD_LIMIT : CLOSE_LIMIT;
        return NULL;
    }
    f->kind = kind;
    f->state = FLOW_NEW;
    f->worker = w;
    f->pod = pod;
    f->id = ++w->next_flow;
    f->began_ns = f->last_ns = worker_now(w);
    f->judged = w->world_number;
    f->notes = notes_acquire(&w->notebook);
    f->rule = -1;
    for (unsigned i = 0; i < _LEG_MAX; i++) {
        f->legs[i].index = (uint8_t)i;
        bufq_init(&f->legs[i].out, w->buffers);
    }
    list_push_back(&w->flows_all, &f->in_worker);
    pod->n_flows++;
    return f;
}

static void flow_release(struct flow *f) {
    struct worker *w = f->worker;
    struct pod *pod = f->pod;
    check(f->state == FLOW_ENDING && !list_linked(&f->waiting));
    ring_timer_stop(w->ring, &f->timer);
    list_unlink(&f->in_worker);
    list_unlink(&f->touched);
    f->notes = notes_release(&w->notebook, f->notes);
    pool_release(w->flows, f);
    check(pod->n_flows > 0);
    pod->n_flows--;
    pod_settle(pod);
}

struct facts *flow_facts(struct flow *f) {
    f->notes = notes_own(&f->worker->notebook, f->notes);
    return &f->notes->facts;
}

void flow_touch(struct flow *f) {
    check_pooled(f, FLOW_MAGIC);
    if (!list_linked(&f->touched))
        list_push_back(&f->worker->touched_flows, &f->touched);
}

static void flow_timed_out(struct flow *f) {
    switch ((enum flow_state)f->state) {
    case FLOW_PARKED:
        outbound_failed(f, CLOSE_NO_IDENTITY);
        break;
    case FLOW_WAIT_TUNNEL:
        outbound_failed(f, CLOSE_HANDSHAKE_TIMEOUT);
        break;
    case FLOW_WAIT_REPLY:
        outbound_failed(f, CLOSE_CONNECT_TIMEOUT);
        break;
    case FLOW_WAIT_CONNECT: /* flow_connected hears of it */
        ring_cancel(f->worker->ring, &f->legs[LEG_SERVER].tcp.send);
        break;
    case FLOW_RELAY:
        relay_timer(f);
        break;
    case FLOW_FLUSH:
        flow_end(f, f->reason, f->closed_by, true);
        break;
    case FLOW_NEW:
    case FLOW_ENDING:
    case _FLOW_STATE_MAX:
        break;
    }
}

static void flow_timer_fired(struct ring_timer *t) { flow_timed_out(container_of(t, struct flow, timer)); }

void flow_set_state(struct flow *f, enum flow_state next) {
    check(states[f->state].next & (1u << next));
    memmove(f->history + 1, f->history, FLOW_HISTORY - 1);
    f->history[0] = f->state;
    f->state = (uint8_t)next;
    f->state_ns = worker_now(f->worker);
    f->hurried = false;
    if (next == FLOW_RELAY)
        f->notes = notes_settle(&f->worker->notebook, f->notes);
    if (states[next].limit_ns)
        ring_timer_start(f->worker->ring, &f->timer, worker_now(f->worker) + states[next].limit_ns, flow_timer_fired);
    else if (next == FLOW_RELAY)
        ring_timer_start(f->worker->ring, &f->timer, worker_now(f->worker) + HALF_CLOSED_NS, flow_timer_fired);
    else
        ring_timer_stop(f->worker->ring, &f->timer);
}

/* Nowhere better to go: the state's whole limit counts. */
static void flow_patience_over(struct ring_timer *t) {
    struct flow *f = container_of(t, struct flow, timer);
    if (!outbound_too_slow(f))
        ring_timer_start(f->worker->ring, &f->timer, f->state_ns + states[f->state].limit_ns, flow_timer_fired);
}

void flow_be_patient(struct flow *f, uint64_t patience_ns) {
    if (patience_ns < states[f->state].limit_ns)
        ring_timer_start(f->worker->ring, &f->timer, f->state_ns + patience_ns, flow_patience_over);
}

/* Denied because no ALLOW matched: the log then names the first ALLOW that was asked, so that a reader knows where to look. */
void flow_take_verdict(struct flow *f, const struct verdict *v) {
    bool decided = v->name.n > 0;
    struct str ns = decided ? v->ns : v->nearest.ns, name = decided ? v->name : v->nearest.name;
    const struct origin *at = decided ? &v->at : &v->nearest.at;
    if (name.n)
        facts_setf(flow_facts(f), FACT_POLICY, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    else
        facts_set(flow_facts(f), FACT_POLICY, STR_NULL);
    if (at->file.n)
        facts_setf(flow_facts(f), FACT_AT, STR_FMT ":%u", STR_ARG(at->file), (unsigned)at->line);
    else
        facts_set(flow_facts(f), FACT_AT, STR_NULL);
    if (!decided && name.n)
        facts_set(flow_facts(f), FACT_DETAIL, STR("no ALLOW policy matches"));
    f->rule = decided ? v->rule : v->nearest.rule;
}

void flow_take_workload(struct flow *f, const struct workload *w, bool source) {
    if (!w)
        return;
    facts_set(flow_facts(f), source ? FACT_SRC_WORKLOAD : FACT_DST_WORKLOAD, w->name);
    facts_set(flow_facts(f), source ? FACT_SRC_NAMESPACE : FACT_DST_NAMESPACE, w->ns);
    facts_set(flow_facts(f), source ? FACT_SRC_CLUSTER : FACT_DST_CLUSTER, w->cluster);
}

static void flow_count_end(struct flow *f) {
    struct worker_stats *s = f->worker->options.stats;
    enum stats_direction d = flow_direction(f);
    counter_add(&s->closed[d][f->reason], 1);
    if (f->was_open) {
        bool outbound = f->kind == FLOW_OUTBOUND;
        counter_add(&s->bytes_sent[d], f->legs[outbound ? LEG_CLIENT : LEG_SERVER].n_read);
        counter_add(&s->bytes_received[d], f->legs[outbound ? LEG_SERVER : LEG_CLIENT].n_read);
    }
}

void flow_end(struct flow *f, enum close_reason reason, enum closed_by by, bool abort) {
    if (f->state == FLOW_ENDING)
        return;
    f->reason = reason;
    f->closed_by = (uint8_t)by;
    list_unlink(&f->waiting);
    flow_count_end(f);
    access_closed(f);
    remember_end(f);
    flow_set_state(f, FLOW_ENDING);
    for (unsigned i = 0; i < _LEG_MAX; i++)
        leg_close(&f->legs[i], abort);
    flow_touch(f);
}

void flow_refuse(struct flow *f, enum close_reason reason) { flow_end(f, reason, CLOSED_BY_US, true); }

void flow_connected(struct flow *f, struct leg *l, int result) {
    check(f->state == FLOW_WAIT_CONNECT && l->index == LEG_SERVER);
    if (result < 0) {
        enum close_reason why = result == -ECONNREFUSED ? CLOSE_CONNECT_REFUSED
                                : result == -ETIMEDOUT  ? CLOSE_CONNECT_TIMEOUT
                                : result == -ECANCELED  ? CLOSE_CONNECT_TIMEOUT /* by our own timer */
                                                        : CLOSE_CONNECT_FAILED;
        if (result != -ECANCELED)
            facts_set(flow_facts(f), FACT_DETAIL, str_of(strerrorname_np(-result)));
        if (f->kind == FLOW_OUTBOUND)
            outbound_failed(f, why);
        else
            flow_refuse(f, why);
        return;
    }
    if (f->kind == FLOW_INBOUND) {
        inbound_connected(f);
        return;
    }
    if (f->kind == FLOW_OUTBOUND)
        outbound_reached(f);
    relay_begin(f);
}

/* Before the relay: a leg that failed ends the flow. */
static void flow_wait_step(struct flow *f) {
    struct leg *server = &f->legs[LEG_SERVER];
    if (f->legs[LEG_CLIENT].failed)
        flow_end(f, f->legs[LEG_CLIENT].failure, CLOSED_BY_CLIENT, true);
    else if (server->failed && f->kind == FLOW_OUTBOUND)
        outbound_failed(f, server->failure);
}

void flow_step(struct flow *f) {
    check_pooled(f, FLOW_MAGIC);
    switch ((enum flow_state)f->state) {
    case FLOW_NEW:
    case FLOW_PARKED:
    case FLOW_WAIT_TUNNEL:
    case FLOW_WAIT_REPLY:
    case FLOW_WAIT_CONNECT:
        flow_wait_step(f);
        break;
    case FLOW_RELAY:
        relay_step(f);
        break;
    case FLOW_FLUSH:
        relay_flush_step(f);
        break;
    case FLOW_ENDING: {
        bool client_closed = leg_closed(&f->legs[LEG_CLIENT]);
        if (leg_closed(&f->legs[LEG_SERVER]) && client_closed)
            flow_release(f);
        break;
    }
    case _FLOW_STATE_MAX:
        unreachable_because("no such state");
    }
}
