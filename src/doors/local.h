/* SPDX-License-Identifier: GPL-3.0-or-later
 * local.h - a local program's connection, and its calls
 *
 * The kernel names the process behind the connection; each call finds out anew which workload that process is of. A
 * process of no workload may connect, so that its call gets a reason, but strangers have few places and little time. */
#pragma once

#include <ringwall/capture/capture.h>
#include <ringwall/wire/grpc.h>

#include "private.h"
#include "pump.h"
#include "sds_state.h"

enum {
    STRANGERS_MAX = 32,
    CALLS_OF_STRANGER_S_MAX = 10,   /* on one connection */
    CALLS_OF_WORKLOAD_S_MAX = 1000, /* an answer costs about 0.1 ms of the thread */
    REFUSED_LINES_S_MAX = 50,       /* of callers that are nobody's: more are counted, not written */
    CALLS_MAX = 16384,
};

struct local {
    struct list link;    /* in doors.locals or doors.dead */
    struct list touched; /* in doors.touched: its machine has something to say */
    struct doors *doors;
    const struct door *door;
    struct pump pump;
    struct grpc_server *grpc;
    struct capture_peer peer;
    struct vault_pod *pod; /* NULL: a stranger, or not found out yet */
    struct list calls;     /* of struct call */
    uint64_t idle_ns;      /* since when it has no call */
    bool had_call;
    struct rate rate; /* of calls, as a stranger's */
};

struct call;
struct method {
    struct str path;
    const char *name;
    bool sds;                      /* else Workload API */
    bool stream;                   /* of answers */
    bool both_ways;                /* a stream of requests */
    void (*begin)(struct call *c); /* NULL: nothing to do */
    void (*message)(struct call *c, const uint8_t *bytes, size_t n);
    void (*look)(struct call *c); /* what it may be given has changed, or time passed, or its queue drained */
    void (*end)(struct call *c);  /* gone: lets go of what it holds; NULL: nothing */
};
extern const struct method sds_methods[3], workload_api_methods[5];

struct call {
    struct list link, in_local, in_holder;
    struct local *local;
    struct doors *doors;
    int32_t id;
    const struct method *method;
    struct holder *holder; /* the caller's identity */
    uint32_t pod_id;
    uint64_t began_ns;
    uint64_t hold_ns; /* since when it waits for what is not there yet; 0: it does not */
    uint64_t n_sent, n_heard;
    struct rate messages;
    bool started;          /* its request came */
    uint64_t sent_version; /* Workload API streams: of what was sent last */
    struct sds_state sds;
    struct ask ask;
};

int local_new(const struct door *door, int fd) must_check; /* takes fd, whatever happens */
void local_tick(struct local *l, uint64_t now_ns);
void local_forget_pod(struct local *l); /* its workload left */
struct local *local_free(struct local *l);

/* Ends the call with a status, writes its line, frees it. */
void call_finish(struct call *c, enum grpc_code code, const char *fmt, ...) printf_like(3, 4);
/* Sends one message. False: the call is over and freed. */
bool call_send_secret(struct call *c, struct secret *message) must_check;
bool call_send(struct call *c, const uint8_t *bytes, size_t n) must_check;
/* What it needs is not there: waits for it, bounded. False: the wait is over, the call is finished and freed. */
bool call_hold(struct call *c, const char *what) must_check;
