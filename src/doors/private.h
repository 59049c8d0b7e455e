/* SPDX-License-Identifier: GPL-3.0-or-later
 * private.h - the doors' own words: the thread, its parts, and what its files share
 *
 * doors.c runs the thread; listen.c opens Unix sockets, pump.c moves bytes between a socket and a bytes machine, local.c is a
 * local program's connection and its calls, sds.c and workload_api.c answer them, vault.c keeps what may be given out, ask.c
 * asks the CA. Everything belongs to the thread. */
#pragma once

#include <pthread.h>

#include <ringwall/base/list.h>
#include <ringwall/base/rng.h>
#include <ringwall/doors/doors.h>
#include <ringwall/mail/trust.h>
#include <ringwall/ring/ring.h>

#include "ask.h"
#include "vault.h"

enum {
    DOORS_TICK_MS = 250,          /* deadlines are looked at this often while there is anything to wait for */
    DOORS_HOLD_S = 30,            /* a call that waits for its first credential */
    DOORS_TRUST_WAIT_S = 5,       /* for the SDS clients' answers to new roots */
    DOORS_IDLE_S = 600,           /* a connection without calls */
    DOORS_FIRST_CALL_S = 10,      /* a new connection's first call */
    DOORS_STALL_S = 20,           /* a client that does not read */
    DOORS_STOP_S = 2,             /* for the last words to be read */
    DOORS_MESSAGES_S_MAX = 100,   /* requests a second on one stream */
    DOORS_QUEUE_MAX = 256 * 1024, /* bytes queued on one stream, beside one larger message */
};

struct door {
    struct doors *doors;
    const char *name; /* for people: "sds", "workload-api" */
    const char *path;
    bool sds, workload_api; /* served here */
    int fd;
    dev_t dev; /* of the socket's file, so that only our own is removed */
    ino_t ino;
    struct ring_op accept;
    struct ring_timer again; /* after a failed accept */
};

struct doors {
    struct doors_options o;
    struct ring *ring;
    struct ring_op mail_op;
    struct ring_timer tick;
    bool mail_left, stopping;
    uint64_t stop_ns; /* what is still open then is cut */
    struct rng rng;
    struct doors_stats *stats;
    struct vault vault;
    struct asks asks;
    struct door doors[2];
    struct outside *outside;           /* the TCP door; NULL: off */
    struct list locals, touched, dead; /* of struct local; the dead ones are freed at the end of the turn */
    size_t n_locals, n_strangers;
    struct list calls;             /* of struct call, all of them */
    struct mail_trust *trust_mail; /* to be confirmed; NULL: none */
    uint64_t trust_due_ns;
    uint64_t refresh_ns;   /* when the revocation lists' times are looked at */
    uint64_t acknowledged; /* newest generation of bundles that the CA heard us take */
    /* start-up's answer to doors_start */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool has_told;
    int start;
    char why[256];
};

static inline uint64_t doors_now(const struct doors *d) { return ring_now_ns(d->ring); }
/* There is something to wait for: the tick runs until it finds nothing. */
void doors_wake(struct doors *d);
/* News of trust are confirmed once no SDS stream owes an answer any more. */
void doors_confirm_trust(struct doors *d);

/* listen.c */
int listen_local(const char *path, int *ret_fd, dev_t *ret_dev, ino_t *ret_ino,
                 char why[256]) must_check; /* 0; 1 with why; errno */
void listen_remove(const char *path, dev_t dev, ino_t ino);
