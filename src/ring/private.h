/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/private.h - what the sources of the ring room share
 *
 * The life of an op: idle -> (backlog, when the submission queue is full) -> in the kernel -> [starved: its receive found no
 * buffer, wait and go back] -> callback. Or, when no kernel is needed: idle -> ready -> callback. `flags` says where
 * it is; `ready` links it in the list of that place. */
#pragma once

#include <assert.h>
#include <netinet/in.h>
#include <sys/uio.h>

#include <liburing.h>
#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/ring/ring.h>

#include "timer.h"

enum {
    OP_MAGIC = 0x72696e67,
    RING_ENTRIES_MAX = 32768,      /* the kernel's own bound */
    RING_BUFFERS_MAX = 32768,      /* likewise, for a buffer ring */
    RING_BUFFER_GROUP = 0,         /* one group of provided buffers a ring */
    RING_RECV_TRIGGER = 64 * 1024, /* most bytes that a multishot receive takes before other sockets get their turn */
    RING_BUFFERS_LIT = 16,         /* buffers in use at first: few, so that they stay in the cache */
    RING_DIM_NS = 1000000000,      /* so long with little use makes it fewer again */
    RING_STARVED_NS = 1000000,     /* an op that found no buffer tries again after this, even when none came back */
    RING_WAIT_S_MAX = 86400,       /* longest single wait: keeps the kernel's time arithmetic far from its end */
};

enum op_place {
    OP_NOWHERE, /* idle, or between two places within one function */
    OP_IN_KERNEL,
    OP_READY,   /* has its result; list ring.ready */
    OP_STARVED, /* waits for receive buffers; list ring.starved */
    OP_BACKLOG, /* waits for a submission entry; list ring.backlog */
};
enum {
    OP_PLACE_MASK = 7,
    OP_UNSENT_CANCEL = 8, /* in the kernel, and its cancellation waits for a submission entry; list ring.cancels */
    OP_ONE_BUFFER = 16,   /* was starved: this time it takes one buffer only */
};

/* How receives are done here; the probe in buffers.c picks the best that the kernel can. */
enum recv_mode {
    RECV_MULTISHOT_CAPPED, /* multishot with a byte cap a trigger */
    RECV_MULTISHOT,
    RECV_SINGLE, /* multishot is played by re-arming */
};

struct op_details {
    union {
        struct iovec iov[RING_IOV_MAX];
        struct {
            void *at;
            size_t n;
        } into;
        struct sockaddr_in6 to; /* or a sockaddr_in in its head */
        uint8_t group;
    };
    uint32_t n;              /* iov entries, or bytes of the address */
    uint64_t returned_count; /* starved receives: buffers ever returned when it was armed */
};
static_assert(sizeof(struct op_details) <= sizeof(((struct ring_op *)0)->aux), "details fit the op");

struct recv_buffers {
    struct io_uring_buf_ring *queue;
    uint8_t *bytes; /* n * bytes_each; NULL: not set up */
    unsigned n;
    unsigned bytes_each;
    unsigned trigger_bytes;  /* cap of one trigger of a multishot receive: a part of all buffers */
    uint64_t returned_count; /* ever given back by a callback */
    unsigned n_lit;          /* how many may be with the kernel or in a callback; the rest is dark */
    unsigned n_peak;         /* most that one turn used, since the last look */
    uint64_t look_ns;        /* when to look whether fewer would do */
    bool short_now;          /* a receive found none since the last turn began */
    uint16_t *dark;          /* stack of the ids of the others */
    unsigned n_dark;
};

struct ring {
    struct io_uring uring;
    bool uring_made;
    enum recv_mode recv_mode;
    int own_netns_fd; /* the thread's own network namespace, to come back to */
    uint64_t now_ns;
    size_t n_busy; /* submitted ops whose last callback has not begun */
    struct list ready, starved, backlog, cancels;
    uint64_t starved_retry_ns; /* when starved ops try again without a returned buffer */
    struct timer_heap timers;
    struct recv_buffers buffers;
    struct msghdr *headers; /* one a submission entry; the kernel copies it when it takes the entry */
    struct ring_stats stats;
};

static inline struct op_details *details(struct ring_op *op) { return (struct op_details *)op->aux; }
static inline enum op_place op_place(const struct ring_op *op) { return op->flags & OP_PLACE_MASK; }
static inline void op_set_place(struct ring_op *op, enum op_place place) {
    op->flags = (op->flags & ~(uint32_t)OP_PLACE_MASK) | place;
}

/* ring.c */
void ring_arm(struct ring *r, struct ring_op *op); /* prepares an entry for the op, or puts it on the backlog */

/* setup.c: which set of features to start with; the newest that works is taken. Tests begin further down. */
enum ring_flavour { RING_FLAVOUR_DEFER, RING_FLAVOUR_COOP, _RING_FLAVOUR_MAX };
int ring_new_from(const struct ring_options *o, enum ring_flavour newest, enum recv_mode best, struct ring **ret,
                  char why[256]) must_check;
/* What may stand in the way of io_uring on this machine. */
struct ring_obstacles {
    int disabled;           /* kernel.io_uring_disabled; -1: no such sysctl */
    int seccomp;            /* mode of this thread; -1 unknown */
    uint64_t memlock_bytes; /* soft RLIMIT_MEMLOCK */
};
void ring_explain(const char *step, int r, const struct ring_obstacles *o, char why[256]);

/* buffers.c */
int recv_buffers_init(struct ring *r, unsigned n, unsigned bytes_each) must_check;
void recv_buffers_deinit(struct ring *r);
void recv_buffers_return(struct ring *r, unsigned id);
void recv_buffers_used(struct ring *r, unsigned n, size_t bytes);     /* by the completions of one turn */
int recv_mode_probe(struct ring *r, enum recv_mode best) must_check;  /* sets r->recv_mode; before any op */
void recv_starve(struct ring *r, struct ring_op *op, bool no_buffer); /* goes on later: without a buffer, or just not now */
void recv_feed_starved(struct ring *r);                               /* re-arms, in order, those that may try again */
bool recv_may_feed(const struct ring *r);                             /* feeding would re-arm at least one now */
