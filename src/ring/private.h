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
#include <ringwall/base/buf.h>
#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/ring/ring.h>

#include "timer.h"

enum {
    OP_MAGIC = 0x72,
    RING_ENTRIES_MAX = 32768,  /* the kernel's own bound */
    RING_BUFFERS_MAX = 32768,  /* likewise, for a buffer ring */
    RING_BUFFER_GROUP = 0,     /* one group of provided buffers a ring */
    RING_BUFFERS_LIT = 16,     /* buffers in use at first: few, so that they stay in the cache */
    RING_POOL_PART = 8,        /* of a pool's chunks, at most one in so many is lit */
    RING_DIM_NS = 1000000000,  /* so long with little use makes it fewer again */
    RING_STARVED_NS = 1000000, /* an op that found no buffer tries again after this, even when none came back */
    RING_MIN_WAIT_US = 50,     /* a wait for more than one completion is content with one after this */
    RING_WAIT_S_MAX = 86400,   /* longest single wait: keeps the kernel's time arithmetic far from its end */
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
    OP_BULK = 32,         /* much comes: several buffers in one completion */
    OP_EMPTIED = 64,      /* nothing was left: no use to look before something comes */
};

/* How receives are done here; the probe in buffers.c picks the best that the kernel can. */
enum recv_mode {
    RECV_BUNDLE, /* multishot; a socket with much to say is read in single shots of several buffers each */
    RECV_MULTISHOT,
    RECV_SINGLE, /* multishot is played by re-arming */
};

/* What an entry of the submission queue points to. The kernel copies it when it takes the entry. */
struct entry_memory {
    union {
        struct {
            struct msghdr header;
            struct iovec pieces[RING_PIECES_MAX];
        };
        struct sockaddr_in6 to; /* or a sockaddr_in in its head */
    };
};

struct recv_buffers {
    struct io_uring_buf_ring *queue;
    uint8_t *bytes;            /* n * bytes_each; NULL: of a pool, or not set up */
    struct buf_pool *pool;     /* NULL: memory of our own */
    struct buf_chunk **chunks; /* with a pool, by id; NULL: dark */
    uint16_t *given;           /* ids in the order in which the kernel got them; a circle of n */
    uint16_t *place;           /* by id: where in `given` */
    unsigned n_given;          /* ever */
    unsigned n;
    unsigned n_lit_max; /* of a pool the ring takes no more than a part */
    unsigned bytes_each;
    uint64_t returned_count; /* ever given back by a callback */
    unsigned n_lit;          /* how many may be with the kernel or in a callback; the rest is dark */
    unsigned n_peak;         /* most that one turn used, since the last look */
    uint64_t look_ns;        /* when to look whether fewer would do */
    bool short_now;          /* a receive found none since the last turn began */
    uint16_t *dark;          /* stack of the ids of the others */
    unsigned n_dark;
};

/* What decides how long to wait for how much; see wait.c. */
struct wait_state {
    bool can_moderate;  /* the kernel has a minimum wait */
    bool moderated;     /* the last enter waited for more at once */
    bool bulk;          /* the last turn that received anything received mostly full buffers */
    unsigned n_sends;   /* prepared since the last enter, whose completion has nothing to hurry for */
    unsigned n_bulk;    /* turns in a row that received bulk, but not much of it */
    unsigned n_in_vain; /* moderated waits in a row that brought no more */
    unsigned n_rest;    /* bulk turns to pass before the next try */
    size_t plain_bytes; /* of the last such turn that did not wait for more */
};

struct ring {
    struct io_uring uring;
    bool uring_made;
    enum recv_mode recv_mode;
    int own_netns_fd; /* the thread's own network namespace, to come back to */
    uint64_t now_ns;
    size_t n_busy; /* submitted ops whose last callback has not begun */
    struct list ready, starved, backlog, cancels;
    struct list starved_again; /* fed, and found none all the same: before all in `starved` */
    uint64_t starved_retry_ns; /* when starved ops try again without a returned buffer */
    struct timer_heap timers;
    struct recv_buffers buffers;
    struct entry_memory *memory; /* one a submission entry */
    int received_id;             /* buffer of the callback that runs; -1: none */
    struct wait_state wait;
    struct ring_stats stats;
};

/* To the tail of `to`. */
static inline void list_move_all(struct list *to, struct list *from) {
    if (list_empty(from))
        return;
    to->prev->next = from->next;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
static inline enum op_place op_place(const struct ring_op *op) { return op->flags & OP_PLACE_MASK; }
static inline void op_set_place(struct ring_op *op, enum op_place place) {
    op->flags = (uint8_t)((op->flags & ~(unsigned)OP_PLACE_MASK) | place);
}

/* submit.c */
void ring_arm(struct ring *r, struct ring_op *op); /* prepares an entry for the op, or puts it on the backlog */
void ring_send_backlog(struct ring *r);            /* what an earlier turn could not hand over as the queue was full */

/* wait.c */
int ring_enter(struct ring *r, uint64_t wait_ns, const struct ring_wait_hooks *hooks) must_check; /* 0, negative errno */
void wait_learn(struct ring *r, unsigned n_buffers, size_t bytes);                                /* what the turn received */

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
int recv_buffers_init(struct ring *r, const struct ring_options *o) must_check;
void recv_buffers_deinit(struct ring *r);
void recv_buffers_return(struct ring *r, unsigned id);
void recv_buffers_light(struct ring *r); /* gives the kernel as many as it should have */
uint8_t *recv_buffer_bytes(const struct ring *r, unsigned id);
unsigned recv_buffer_next(const struct ring *r, unsigned id);         /* the one that the kernel got after it */
void recv_buffers_used(struct ring *r, unsigned n, size_t bytes);     /* by the completions of one turn */
int recv_mode_probe(struct ring *r, enum recv_mode best) must_check;  /* sets r->recv_mode; before any op */
void recv_starve(struct ring *r, struct ring_op *op, bool no_buffer); /* goes on later: without a buffer, or just not now */
void recv_feed_starved(struct ring *r);                               /* re-arms, in order, those that may try again */
bool recv_may_feed(const struct ring *r);                             /* feeding would re-arm at least one now */
