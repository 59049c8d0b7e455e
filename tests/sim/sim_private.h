/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/sim_private.h - the simulation's parts
 *
 *   sim_world.c  clock, chance, events, violations          sim_net.c   segments, windows, FIN, RST, listeners
 *   sim_app.c    scripted applications                      sim_ops.c   what an op does to a socket
 *   ring_sim.c   ring.h: submissions, completions, the turn
 *
 * An event is a struct ring_timer in one heap of virtual times; equal times run in the order of arming. Ends and listeners
 * live until ring_sim_free, so a stale pointer inside the simulation does not exist. */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/check.h>
#include <ringwall/base/map.h>
#include <ringwall/base/rng.h>

#include "../../src/ring/timer.h"
#include "ring_sim.h"

#define US 1000ULL
enum {
    SIM_OP_MAGIC = 0x73,
    SIM_RING_MAGIC = 0x73696d72,
    SIM_FD_BASE = 1 << 24, /* descriptors count up from here and are never used twice, so a stale one is seen */
    SIM_PORT_FIRST = 32768,
    SIM_BACKLOG_MAX = 512,
    SIM_WINDOW_MIN = 512,
    SIM_WINDOW_MAX = 256 * 1024,
    SIM_TRIGGER_MAX = 8, /* buffers one multishot receive takes before others get their turn */
    SIM_CONNECT_TIMEOUT_S = 127,
};

enum segment_kind { SEGMENT_DATA, SEGMENT_FIN, SEGMENT_RST };
struct segment {
    struct list link;
    uint64_t arrive_ns;
    enum segment_kind kind;
    bool arrived;
    size_t at, n; /* bytes not yet read: [at, n) */
    uint8_t bytes[];
};

enum dial_stage { DIAL_NONE, DIAL_SYN, DIAL_ANSWER };
struct pending;
struct listener;

/* One side of a connection, or a socket on its way to be one. */
struct sim_conn {
    struct list all;
    struct sim *sim;
    struct sim_conn *peer; /* NULL: not connected (yet) */
    int fd;                /* of a ring; -1: an application's, or not accepted yet */
    int netns;
    bool to_application, bound, linger_zero;
    bool connected, tx_shut, fin_arrived, reset, closed;
    int error; /* negative errno, told once */
    struct endpoint local, remote;

    struct list rx; /* segments, on the wire or waiting to be read */
    size_t rx_bytes, rx_max;
    uint64_t last_arrival_ns;
    struct ring_timer arrival; /* of the next segment */
    struct ring_timer room;    /* the news that the peer has read */

    enum dial_stage dialling;
    int dial_result;
    struct ring_timer dial;

    struct pending *recv, *send, *connect, *hangup; /* ops of rings that wait on it */
    unsigned n_ops;                                 /* busy ops with this descriptor */

    struct list queued; /* in a listener's queue */
    const struct sim_app *app;
    void *context;
    bool app_reading, app_wants_room, app_told_end, told_hangup;
};

struct listener {
    struct list all;
    struct sim *sim;
    int fd, netns;
    struct endpoint at;
    bool closed;
    struct list queue; /* of sim_conn.queued */
    size_t n_queued;
    struct pending *accept;
    unsigned n_ops;
    const struct sim_app *app; /* NULL: a ring's */
    void (*accepted)(struct sim_conn *c);
    void *context;
};

struct descriptor {
    struct sim_conn *conn;
    struct listener *listener;
    bool closed;
};

/* A submitted op, from submission to its last callback. */
struct pending {
    struct list all; /* ring.pendings */
    struct ring *ring;
    struct ring_op *op; /* the owner's: looked at again only to tell the result */
    uint64_t serial;
    enum ring_op_kind kind;
    ring_done_fn done;
    int fd;
    bool multishot, started, ended; /* ended: its last result is in the queue */
    bool last_chance;               /* being cancelled, and allowed to finish instead */
    struct sim_conn *conn;
    struct listener *listener;
    struct ring_timer work, cancel;
    const struct bufq *queue; /* to send from; NULL: just the pieces */
    const void *queue_head;   /* where it began and how much it held when it was submitted */
    size_t queue_bytes;
    struct iovec iov[RING_PIECES_MAX];
    unsigned n_iov;
    uint64_t digest; /* of the bytes to send */
    struct endpoint remote;
};

struct completion {
    struct list link; /* ring.completions */
    uint64_t due_ns;
    struct pending *pending;
    int n;
    uint8_t *bytes;          /* a block of exactly n, so that reading past it is seen; or in the chunk */
    struct buf_chunk *chunk; /* NULL: in none */
    bool more;
};

struct ring {
    uint32_t magic;
    struct sim *sim;
    struct list all;
    struct list pendings;
    struct list completions; /* in the order in which they will be told */
    uint64_t last_due_ns;
    size_t n_busy;
    unsigned n_buffers, n_buffers_out, buffer_bytes;
    struct buf_pool *pool;
    struct buf_chunk *lit[RING_SIM_LIT];
    unsigned n_lit;             /* chunks of the pool that no receive is using; kept, also when the pool is used up */
    struct buf_chunk *received; /* during a callback */
    uint64_t now_ns;
    struct timer_heap timers;
    struct ring_stats stats;
};

struct sim {
    uint64_t seed;
    struct rng rng;
    struct sim_faults faults;
    uint64_t now_ns;
    int64_t wall_base_ns;
    struct clock_source clock;
    bool trace;
    struct timer_heap events;
    struct list conns, listeners, rings, scripts;
    size_t n_scripts;
    struct descriptor *descriptors;
    size_t n_descriptors;
    uint64_t n_serial, digest;
    uint16_t next_port;
    int (*route)(void *context, struct sim_syn *syn);
    void *route_context;
    void (*handler)(void *context, const char *text);
    void *handler_context;
    struct sim_stats stats;
};

/* sim_world.c */
struct sim *sim_here_or_null(void);
struct sim *sim_here(void); /* this thread's; checks that there is one */
void *sim_alloc(size_t n);  /* zeroed; aborts */
bool sim_chance(struct sim *s, double p);
uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high); /* inclusive */
size_t sim_size(struct sim *s, size_t low, size_t high);          /* small ones as likely as large ones */
uint64_t sim_latency(struct sim *s);
void sim_violation(struct sim *s, const char *fmt, ...) printf_like(2, 3);
void sim_trace(struct sim *s, const char *fmt, ...) printf_like(2, 3);
void sim_digest(struct sim *s, uint64_t a, uint64_t b);
void sim_after(struct sim *s, struct ring_timer *t, uint64_t in_ns, void (*fired)(struct ring_timer *t));
int sim_descriptor(struct sim *s, struct sim_conn *c, struct listener *l);
struct descriptor *sim_find(struct sim *s, int fd, const char *what); /* NULL: a violation was told */
bool sim_has_fd(const struct sim *s, int fd);

/* sim_net.c */
struct sim_conn *conn_new(struct sim *s, int netns);
void conn_dial(struct sim_conn *c, const struct endpoint *to);
size_t conn_room(const struct sim_conn *c);                         /* bytes that a send may hand over now */
void conn_push(struct sim_conn *c, const uint8_t *bytes, size_t n); /* towards the peer; n <= room */
void conn_shut(struct sim_conn *c);                                 /* FIN, once */
void conn_close(struct sim_conn *c);
size_t conn_readable(struct sim_conn *c);                    /* bytes that a receive would get now */
size_t conn_read(struct sim_conn *c, uint8_t *to, size_t n); /* n <= readable; tells the peer about the room */
bool conn_at_fin(const struct sim_conn *c);                  /* all was read and the FIN is there */
int conn_take_error(struct sim_conn *c);                     /* negative errno or 0; told once */
void conn_serve(struct sim_conn *c);                         /* whoever waits on it may go on */
struct listener *listener_new(struct sim *s, int netns, const struct endpoint *at);
void listener_close(struct listener *l);

/* sim_app.c */
void app_serve(struct sim_conn *c);
void app_dialled(struct sim_conn *c, int result);

/* sim_ops.c */
void op_start(struct pending *p);  /* the kernel takes it */
void op_cancel(struct pending *p); /* the kernel takes its cancellation */
uint64_t op_bytes_digest(const struct pending *p);
void op_serve_recv(struct sim_conn *c);
void op_serve_send(struct sim_conn *c);
void op_serve_connect(struct sim_conn *c);
void op_serve_hangup(struct sim_conn *c);
void op_serve_accept(struct listener *l);

/* ring_sim.c */
struct received {
    uint8_t *bytes;
    struct buf_chunk *chunk;
};
void ring_light(struct ring *r);
void ring_post(struct pending *p, int n, struct received received, bool more); /* takes them over */
static inline void ring_post_result(struct pending *p, int n, bool more) { ring_post(p, n, (struct received){0}, more); }
