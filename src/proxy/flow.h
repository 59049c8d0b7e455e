/* SPDX-License-Identifier: GPL-3.0-or-later
 * flow.h - one application connection through us: two legs, a state, and what its log line will say
 *
 * Kinds: outbound (application -> tunnel or plain socket), inbound (tunnel's stream -> application), passthrough (plain
 * socket -> application). flow_end is the only way out: it writes the log line and the counters once, then both legs are
 * closed and joined, then the flow goes back to its pool. Rooms' callbacks never free a flow: they touch it. */
#pragma once

#include <ringwall/base/pool.h>
#include <ringwall/mail/stats.h>
#include <ringwall/model/authz.h>
#include <ringwall/model/route.h>

#include "leg.h"
#include "notes.h"

struct pod;
struct worker;

enum { FLOW_MAGIC = 0x666c6f77, FLOW_HISTORY = 8 };
enum flow_kind { FLOW_OUTBOUND, FLOW_INBOUND, FLOW_PASSTHROUGH };
enum flow_state {
#define FLOW_STATE(name, word, limit, next) FLOW_##name,
#include "flow_state.h"
#undef FLOW_STATE
    _FLOW_STATE_MAX
};
enum closed_by { CLOSED_BY_US, CLOSED_BY_CLIENT, CLOSED_BY_SERVER, CLOSED_BY_PEER };

struct flow {
    struct pooled pooled;
    uint8_t kind, state, history[FLOW_HISTORY]; /* the last states, newest first */
    uint8_t closed_by;
    bool was_open;     /* the relay began */
    bool flush_resets; /* FLUSH: end with a reset, not orderly */
    bool mtls;         /* a tunnel carries it */
    bool by_service;   /* outbound: a service was dialled, there may be other endpoints */
    bool hurried;      /* outbound: this attempt ends because it takes too long, not because it failed */
    struct worker *worker;
    struct pod *pod;     /* the local workload */
    struct notes *notes; /* for the log line; see flow_facts */
    struct list in_worker, waiting, touched;
    struct ring_timer timer;
    uint64_t id;
    uint64_t began_ns, open_ns, last_ns; /* accepted; relay began; last byte moved */
    uint64_t state_ns;                   /* since when in this state */
    uint64_t judged;                     /* number of the world that last allowed it */
    struct endpoint src;                 /* of the client */
    struct endpoint asked;  /* outbound: what the application dialled. inbound: the authority. passthrough: local address */
    struct endpoint target; /* what we connect to, or the authority of our CONNECT */
    struct endpoint hop;    /* the far end of the socket that carries it */
    enum close_reason reason;
    int rule;             /* of the deciding policy; -1: none */
    unsigned peer_status; /* outbound: status of a refused CONNECT */
    char trace_id[33];
    struct leg legs[_LEG_MAX];
};

static inline struct leg *leg_other(struct flow *f, const struct leg *l) { return &f->legs[1 - l->index]; }
static inline enum stats_direction flow_direction(const struct flow *f) {
    return f->kind == FLOW_OUTBOUND ? STATS_OUTBOUND : STATS_INBOUND;
}
const char *flow_state_word(enum flow_state s);
const char *closed_by_word(enum closed_by b);

/* NULL: at the worker's limit or the pod's. Counts as one of the pod's flows. */
struct flow *flow_acquire(struct worker *w, struct pod *pod, enum flow_kind kind, enum close_reason *ret_why);
void flow_set_state(struct flow *f, enum flow_state next); /* starts the state's time limit */
/* Before the state's limit, at this time after its begin, outbound_too_slow is asked. */
void flow_be_patient(struct flow *f, uint64_t patience_ns);
void flow_touch(struct flow *f); /* flow_step will run before the worker waits */
void flow_step(struct flow *f);
/* The end: reason and who caused it. With abort the application sees a reset. No effect on a flow that is ending. */
void flow_end(struct flow *f, enum close_reason reason, enum closed_by by, bool abort);
struct facts *flow_facts(struct flow *f);                        /* to write to; those to read are f->notes->facts */
void flow_refuse(struct flow *f, enum close_reason reason);      /* by us, as a reset */
void flow_take_verdict(struct flow *f, const struct verdict *v); /* names for the log */
void flow_take_workload(struct flow *f, const struct workload *w, bool source);
void flow_connected(struct flow *f, struct leg *l, int result); /* a leg's connect ended */
