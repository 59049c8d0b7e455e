/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/ring_sim.h - ring.h without a kernel: a seeded network in memory under a clock that only the simulation moves
 *
 * A test makes one simulation in its thread, then rings with ring_new as usual (as many as it has nodes or workers),
 * listeners for them, and applications: scripted peers that dial those listeners or serve what the code under test dials.
 * Everything happens inside ring_turn, in this thread. Same seed and same program: same history (see ring_sim_digest).
 *
 * Connections behave as Linux TCP does where a proxy can tell: half-close, RST by linger 0 or by closing with unread data,
 * a socket error that is told once (whoever asks first, after that a receive says 0), windows, RST for data to a closed end.
 *
 * It watches its user. A violation ends the process with the seed, unless a handler was set: an op submitted twice, freed or
 * overwritten while in flight, a closed or foreign descriptor, two receives or two sends at once on one socket, close
 * with ops under way, shutdown under a send, bytes of a send changed before it was done, and at the end leaked
 * descriptors, ops or rings. */
#pragma once

#include <ringwall/base/clock.h>
#include <ringwall/ring/ring.h>

struct sim;
struct sim_conn;

enum { RING_SIM_LIT = 4 }; /* a ring with a pool keeps up to so many of its chunks, as the real one does with its buffers */

/* Each is the chance (0 to 1) that a thing happens when it could. */
struct sim_faults {
    double short_read;      /* a receive takes less than is there */
    double short_send;      /* a send takes less than fits */
    double delay;           /* an op begins, or a segment arrives, milliseconds later */
    double late;            /* a completion is told milliseconds after it happened; those behind it wait too */
    double result_wins;     /* a cancelled op that could finish does so */
    double no_buffer;       /* a receive finds no buffer and tries again later */
    double no_chunk;        /* the bytes of a receive lie in no chunk of the pool */
    double reset;           /* a segment is answered with a reset of the whole connection */
    double refuse;          /* a connect is refused or unreachable */
    double connect_timeout; /* a connect hears nothing for two minutes */
    double accept_fails;    /* an accept ends with -EMFILE; the client stays queued */
    double socket_fails;    /* ring_socket says -EMFILE */
    double mono_jump;       /* per turn: the monotonic clock leaps ahead, up to 20 s */
    double wall_jump;       /* per turn: the wall clock leaps, either way, up to an hour */
};
extern const struct sim_faults SIM_FAULTS_NONE;
extern const struct sim_faults SIM_FAULTS_SLOW;  /* no byte and no connection is lost: everything must get through */
extern const struct sim_faults SIM_FAULTS_ROUGH; /* and connections break */

struct sim_stats {
    uint64_t n_dials, n_accepted, n_refused;
    uint64_t n_resets;          /* sent by an end */
    uint64_t n_resets_injected; /* by the fault */
    uint64_t bytes;             /* carried, all connections */
    uint64_t n_completions;
    size_t n_open;      /* descriptors of rings, listeners not among them */
    size_t n_in_flight; /* ops */
    unsigned n_violations;
};

/* --- the simulation --- */

struct sim *ring_sim_new(uint64_t seed,
                         const struct sim_faults *faults); /* aborts without memory; takes over this thread's clock */
/* Looks for what was left behind (each is a violation), gives the clock back. The rings must be freed before. Returns NULL. */
struct sim *ring_sim_free(struct sim *s);
void ring_sim_set_faults(struct sim *s, const struct sim_faults *faults);
void ring_sim_on_violation(struct sim *s, void (*handler)(void *context, const char *text), void *context);
void ring_sim_get_stats(const struct sim *s, struct sim_stats *ret);
uint64_t ring_sim_digest(const struct sim *s); /* of every completion so far: order, result, time */
struct rng;
struct rng *ring_sim_rng(struct sim *s); /* for scripts: choices from the same seed */
/* Calls f at a virtual time from now. Never from inside a call into the simulation. */
void ring_sim_after(struct sim *s, uint64_t in_ns, void (*f)(void *context), void *context);
bool ring_sim_quiet(const struct sim *s); /* nothing is on its way: only timers of rings, or scripts, can make something happen */

/* --- the network --- */

/* Namespaces are told apart by the number given as netns_fd (any number; it is never used as a descriptor); -1 is the host's.
 * Loopback addresses are found in the dialler's namespace only, all others anywhere. A connect of a `to_application`
 * socket finds applications only. */
int ring_sim_listen(struct sim *s, int netns,
                    const struct endpoint *at); /* a descriptor for ring_accept; several may share an endpoint */
void ring_sim_unlisten(struct sim *s, int fd);  /* its accept must have ended */

struct sim_syn {
    int netns;
    struct endpoint from, to; /* `to` may be changed: it becomes the accepted side's local address */
    bool to_application, by_application;
};
enum { SIM_ROUTE_DEFAULT = -1, SIM_ROUTE_REFUSE = -2 };
/* Decides where a connect goes: a listener's descriptor, or one of the above. For what capture does in the kernel. */
void ring_sim_on_route(struct sim *s, int (*route)(void *context, struct sim_syn *syn), void *context);

/* An application's side of a connection. Any callback may be NULL; each may call any sim_conn function. */
struct sim_app {
    void (*connected)(struct sim_conn *c, int result); /* to who dialled: 0 or negative errno (then c is over) */
    void (*bytes)(struct sim_conn *c, const uint8_t *bytes, size_t n);
    void (*fin)(struct sim_conn *c);              /* the other side has ended its stream */
    void (*reset)(struct sim_conn *c, int error); /* negative errno; c is over */
    void (*room)(struct sim_conn *c);             /* after a short write: try again */
};
struct sim_conn *ring_sim_connect(struct sim *s, int netns, const struct endpoint *from, const struct endpoint *to,
                                  const struct sim_app *app, void *context);
/* `accepted` gets each new connection; it may set another context. Returns a descriptor for ring_sim_unlisten. */
int ring_sim_serve(struct sim *s, int netns, const struct endpoint *at, const struct sim_app *app,
                   void (*accepted)(struct sim_conn *c), void *context);

size_t sim_conn_write(struct sim_conn *c, const void *bytes, size_t n); /* how many fit in the window; 0 once over or shut */
void sim_conn_shutdown(struct sim_conn *c);                             /* FIN */
void sim_conn_close(struct sim_conn *c);         /* FIN, or RST when bytes were left unread; no callback after it */
void sim_conn_reset(struct sim_conn *c);         /* RST; no callback after it */
void sim_conn_read(struct sim_conn *c, bool on); /* off: bytes wait, the window fills */
void *sim_conn_context(const struct sim_conn *c);
void sim_conn_set_context(struct sim_conn *c, void *context);
struct endpoint sim_conn_local(const struct sim_conn *c);
struct endpoint sim_conn_peer(const struct sim_conn *c);
bool sim_conn_over(const struct sim_conn *c); /* closed, reset or refused: c stays valid until ring_sim_free */
