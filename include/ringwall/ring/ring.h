/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/ring.h - one io_uring per worker: operations embedded in their owners, callbacks run from a queue, timers
 *
 * An owner embeds a struct ring_op, submits it, and gets exactly one callback per submission (multishot: several, the
 * last with `more` false). The ring keeps no copy: an op must stay in place until its last callback. Callbacks never run
 * inside a submit call and never recurse; they run in ring_turn, in the order in which results were reaped.
 * Results are the kernel's (negative errno or a count) after the ring has dealt with EINTR and ended multishots. A simulated
 * ring (sim/ring_sim.h in the tests) implements this same header.
 * Owner thread only. */
#pragma once

#include <assert.h>

#include <ringwall/base/list.h>
#include <ringwall/model/addr.h>

struct ring;
struct ring_op;
struct buf_chunk;
struct buf_pool;
struct bufq;
struct iovec;
/* n: result. bytes: for RECV with ring buffers the data, valid during the call only; else NULL. more: another callback will follow.
 */
typedef void (*ring_done_fn)(struct ring_op *op, int n, const uint8_t *bytes, bool more);

enum ring_op_kind {
    RING_IDLE,
    RING_ACCEPT,
    RING_RECV,
    RING_SEND,
    RING_CONNECT,
    RING_SHUTDOWN,
    RING_CLOSE,
    RING_POLL,
    RING_HANGUP,
    RING_TIMER,
    _RING_OP_MAX
};
/* Small, as every idle connection holds several. */
struct ring_op {
    uint8_t magic;
    uint8_t kind; /* RING_IDLE: not submitted */
    bool multishot : 1;
    bool cancelling : 1;
    uint8_t n_pieces : 6; /* to send; of a receive, the buffers that it filled last. The ring's own, like all that follows */
    uint8_t flags;
    int fd;
    ring_done_fn done;
    struct list ready; /* in the queue of those that wait for their callback, or for something else */
    union {
        const struct bufq *queue; /* what to send */
        const struct iovec *iov;  /* likewise */
        uint64_t n_returned;      /* receive: buffers ever returned when it was armed */
        void *other;
        int result; /* when only the callback is left to do */
    } own;
};
static_assert(sizeof(struct ring_op) == 40, "a flow holds six of them, a tunnel three");
#define RING_OP_NULL ((struct ring_op){0})
static inline bool ring_op_busy(const struct ring_op *op) { return op->kind != RING_IDLE; }

struct ring_options {
    unsigned n_entries;         /* submission queue, a power of two */
    unsigned n_recv_buffers;    /* provided buffers, a power of two */
    unsigned recv_buffer_bytes; /* each; with a pool at most BUF_CHUNK_BYTES */
    struct buf_pool *pool;      /* receive buffers are its chunks: the ring must end first. NULL: memory of the ring's own */
    bool moderate;              /* under bulk, wait a little for more at once: fewer calls, no less CPU (bench_ring) */
};
/* Negative errno; `why` names what forbids io_uring and the fix. */
int ring_new(const struct ring_options *o, struct ring **ret, char why[256]) must_check;
struct ring *ring_free(struct ring *r); /* no op may be in the kernel */
DEFINE_FREEP(struct ring, ring_free)

/* One turn: submit, wait until something completes or `max_wait_ns` passed or a timer is due, reap, run callbacks,
 * expire timers. `before_wait` and `after_wait` (may be NULL) run around a wait that may block (publish offline/online). */
struct ring_wait_hooks {
    void (*before)(void *context);
    void (*after)(void *context);
    void *context;
};
int ring_turn(struct ring *r, uint64_t max_wait_ns, const struct ring_wait_hooks *hooks) must_check;
uint64_t ring_now_ns(const struct ring *r);  /* monotonic, taken once a turn */
size_t ring_in_flight(const struct ring *r); /* ops the kernel (or the simulator) still holds */

/* Submissions never fail visibly: an error comes as a result. The op must be idle. */
void ring_accept(
    struct ring *r, struct ring_op *op, int listen_fd,
    ring_done_fn done); /* multishot; n = new fd (non-blocking, cloexec); an error (-EMFILE) ends it: pause, then accept again */
void ring_recv(struct ring *r, struct ring_op *op, int fd, bool multishot,
               ring_done_fn done); /* into ring buffers; n = 0: FIN. -ENOBUFS is retried inside */
/* During the callback of a receive with `bytes`: the chunk of the pool that they lie in, for bufq_append_shared. NULL: in none.
 * Whoever keeps a reference keeps the buffer; the ring goes on with another. */
struct buf_chunk *ring_received_chunk(struct ring *r);
/* Sends from the head of q, as much as RING_PIECES_MAX pieces hold when the kernel takes it; may be short. Bytes may be added to
 * q meanwhile, but none taken away until done. q must not be empty. */
void ring_send_queue(struct ring *r, struct ring_op *op, int fd, const struct bufq *q, ring_done_fn done);
/* Vector (at most RING_PIECES_MAX entries) and bytes stay the owner's until done; may be short. */
void ring_send(struct ring *r, struct ring_op *op, int fd, const struct iovec *iov, unsigned n_iov, ring_done_fn done);
void ring_connect(struct ring *r, struct ring_op *op, int fd, const struct endpoint *to, bool as_v6, ring_done_fn done);
void ring_shutdown_write(struct ring *r, struct ring_op *op, int fd, ring_done_fn done);
void ring_close(struct ring *r, struct ring_op *op, int fd, ring_done_fn done);
void ring_poll_in(struct ring *r, struct ring_op *op, int fd, ring_done_fn done); /* multishot, for eventfds */
/* For a socket that is not read any more: tells, possibly several times, that it is over (POLLERR or POLLHUP in n): it was reset,
 * or both sides have ended. Takes no error away from others. Multishot: ends by ring_cancel. */
void ring_watch_hangup(struct ring *r, struct ring_op *op, int fd, ring_done_fn done);
/* Asks the kernel to end the op; its callback still comes (-ECANCELED or a result that won the race). Idle: no effect. */
void ring_cancel(struct ring *r, struct ring_op *op);
enum { RING_PIECES_MAX = 16 };

/* Timers: no kernel op; a heap inside. The callback comes once, n = 0; a stopped timer has none. */
struct ring_timer {
    uint64_t due_ns;
    size_t place; /* in the heap, from 1; 0: not armed */
    void (*fired)(struct ring_timer *t);
};
void ring_timer_start(struct ring *r, struct ring_timer *t, uint64_t due_ns,
                      void (*fired)(struct ring_timer *t)); /* restarts when armed */
void ring_timer_stop(struct ring *r, struct ring_timer *t);
static inline bool ring_timer_armed(const struct ring_timer *t) { return t->place != 0; }

/* Sockets, so that the simulator can make its own. All non-blocking. */
struct ring_socket_spec {
    int netns_fd;                   /* made inside it; -1: here */
    bool v6;                        /* AF_INET6 (v4-mapped destinations allowed), else AF_INET */
    const struct endpoint *bind_to; /* transparent source; NULL: kernel's choice */
    bool to_application;            /* IP_TRANSPARENT, SO_MARK, SO_BINDTODEVICE "lo" (DESIGN 4 "to the application"); not paced */
    bool unpaced;                   /* base/pacing.h; ring_socket_fit_distance ends it where it is wrong */
};
int ring_socket(struct ring *r, const struct ring_socket_spec *spec, int *ret_fd) must_check; /* negative errno */
int ring_socket_peer(struct ring *r, int fd, struct endpoint *ret) must_check;
int ring_socket_local(struct ring *r, int fd, struct endpoint *ret) must_check;
/* NODELAY, keepalive 180 s (facts/ztunnel.md 2.9): for a listener, whose accepted sockets have it then without a call each. */
void ring_socket_tune(struct ring *r, int fd);
/* Once connected: a socket that began unpaced (made so, or accepted from a listener that is) gets what the system uses when it
 * leads far away. */
void ring_socket_fit_distance(struct ring *r, int fd);
/* Whether closing sends RST (SO_LINGER 0). A socket that carries someone's stream aborts until its end is known to be
 * orderly, so that the kernel, closing for a daemon that was killed, resets it too (DESIGN rule 8). */
void ring_socket_abort_on_close(struct ring *r, int fd, bool abort);
/* Name and version of the library behind this room, and whether the kernel has TLS of its own, which we do not use; for
 * `ringwall version`. Returns `to`. */
const char *ring_library_text(char *to, size_t n);
struct ring_stats {
    uint64_t enters, submitted, completed, buffers_short, cq_overflows;
    uint64_t moderated; /* enters that waited a little longer for more at once */
};
void ring_get_stats(const struct ring *r, struct ring_stats *ret);
