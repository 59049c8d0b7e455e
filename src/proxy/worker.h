/* SPDX-License-Identifier: GPL-3.0-or-later
 * worker.h - one worker without its thread: everything it owns, and one turn of its loop
 *
 * Apart from the thread so that tests and the simulator can drive several workers in one thread. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/mailbox.h>
#include <ringwall/base/map.h>
#include <ringwall/base/pool.h>
#include <ringwall/base/publish.h>
#include <ringwall/base/rng.h>
#include <ringwall/capture/capture.h>
#include <ringwall/mail/stats.h>
#include <ringwall/model/world.h>
#include <ringwall/proxy/proxy.h>
#include <ringwall/ring/ring.h>
#include <ringwall/wire/h2.h>

#include "awake.h"
#include "limits.h"
#include "notes.h"
#include "sources.h"

struct ejected;
struct flow;
struct history;
struct worker_options {
    unsigned index;
    const struct publish_slot *world;
    proxy_origdst_fn origdst;
    void *origdst_context;
    struct mailbox *mailbox, *identity; /* borrowed; identity may be NULL */
    struct worker_stats *stats;
    uint16_t ports[3];                          /* outbound, inbound, hbone */
    size_t flows_max, tunnels_max, buffers_max; /* 0: by memory */
    size_t memory_bytes;                        /* this worker's share; 0: the machine's */
    uint32_t handshakes_per_s;                  /* per source; 0: no limit */
    const char *cpu_latency_device;             /* base/cpu_latency.h; NULL: processors sleep as they like */
    int32_t cpu_latency_us;
    uint64_t seed; /* 0: random */
};

struct worker {
    struct worker_options options;
    struct ring *ring;
    struct ring_wait_hooks hooks;
    struct pool *flows, *tunnels, *hops, *rejects;
    struct notebook notebook;
    struct buf_pool *buffers;
    struct h2_shared h2;
    struct sources *sources;
    struct history *history;
    struct ejected *ejected;
    struct rng rng;
    struct map pods, credentials, hop_map;
    struct tls_trust *trust; /* in force; NULL: none yet, and then nobody is trusted */
    struct list pods_all;    /* also those that left and are not free yet */
    struct list flows_all;   /* by the world that judged them, oldest first */
    struct list tunnels_all, hops_all;
    struct list touched_flows, touched_tunnels, deferred_tunnels; /* deferred: handshakes over this turn's budget */
    unsigned handshake_budget;
    struct ring_op mail_op;
    struct awake awake;
    struct ring_timer tick, drain_timer, awake_timer;
    bool some_stuck; /* of tunnels_all */
    bool mail_left, judging, trust_judging, draining, stopping, drain_passed;
    struct mailbox *drain_reply;
    uint64_t world_number; /* of the world in force; 0: none */
    uint64_t next_flow, next_tunnel, next_pod;
    uint64_t n_ticks;
    uint64_t trouble_until_ns; /* until then some hop may back off or be slow to open; asked before any is looked up */
};

int worker_new(const struct worker_options *o, struct worker **ret, char why[256]) must_check; /* on its thread */
struct worker *worker_free(struct worker *w);                                                  /* after worker_stopped */
int worker_turn(struct worker *w, uint64_t max_wait_ns) must_check; /* negative errno: the ring is broken */
void worker_stop(struct worker *w);                                 /* cuts everything; turns go on until worker_stopped */
bool worker_stopped(const struct worker *w);

/* For the files of this room. */
const struct world *worker_world(struct worker *w); /* NULL: none yet; valid in this turn only */
uint64_t worker_now(const struct worker *w);
bool worker_pressed(const struct worker *w); /* buffers run short */
struct str worker_network(const struct world *w);

/* mail.c */
void worker_mail(struct worker *w);
/* judge.c: asks policy again for open flows after a new world, some each turn */
void judge_begin(struct worker *w, const struct world *world);
void judge_step(struct worker *w);
/* trust.c */
struct tls_trust;
void trust_arrived(struct worker *w, struct tls_trust *trust); /* takes a reference, unless it is an older generation */
void trust_step(struct worker *w);
/* drain.c */
void drain_begin(struct worker *w, uint64_t deadline_ns, struct mailbox *reply); /* takes the reference; may be NULL */
void drain_step(struct worker *w);
bool drain_passed(const struct worker *w);
/* report.c */
struct mail_ask;
void report_answer(struct worker *w, const struct mail_ask *ask);
