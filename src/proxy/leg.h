/* SPDX-License-Identifier: GPL-3.0-or-later
 * leg.h - one side of a flow: a TCP socket, or one HTTP/2 stream of a tunnel
 *
 * `out` holds the bytes that the other leg brought and this one has not taken yet. Callbacks only record what happened
 * (read_ended, failed, ...) and move bytes; what follows from it is decided in flow_step and relay_step.
 * A TCP leg ends in four steps: closing is set, its ops are cancelled, they come back, the socket is closed. */
#pragma once

#include <ringwall/base/buf.h>
#include <ringwall/base/list.h>
#include <ringwall/model/close_reason.h>
#include <ringwall/ring/ring.h>

struct flow;
struct tunnel;

enum leg_kind { LEG_NONE, LEG_TCP, LEG_STREAM };
enum { LEG_CLIENT, LEG_SERVER, _LEG_MAX }; /* client: the side that asked for the connection */
struct leg {
    struct bufq out;
    uint64_t n_read;  /* bytes that came from this leg */
    uint8_t kind;     /* enum leg_kind */
    uint8_t index;    /* LEG_CLIENT or LEG_SERVER */
    uint8_t quick;    /* the high mark of `out` is doubled so often (relay.c) */
    bool reading;     /* the relay has begun and `out` of the other leg has room */
    bool read_ended;  /* its FIN or END_STREAM came */
    bool end_wanted;  /* the other leg ended: end this one behind what is in `out` */
    bool write_ended; /* our FIN or END_STREAM went out */
    bool failed;      /* reset or lost; `failure` says how */
    bool closing;
    bool aborting;    /* close with RST */
    uint32_t full_us; /* when `out` was at its mark last */
    enum close_reason failure;
    int error; /* errno of the socket, or HTTP/2 error code of the stream */
    union {
        struct {
            int fd; /* -1: none */
            bool connected, closed;
            struct ring_op recv;
            struct ring_op send; /* connect, sends, shutdown, close: one after the other */
        } tcp;
        struct {
            struct tunnel *tunnel; /* NULL: no stream (any more) */
            struct list link;      /* in tunnel->legs */
            int32_t id;            /* 0: waits for the tunnel to open */
            bool unasked;          /* client: we retired its tunnel before it opened; nothing was lost */
            bool answered;         /* server: 200 was sent. client: 200 came */
            bool gone;             /* HTTP/2 forgot the stream */
            bool awake;            /* the session was told that there is something to pull */
        } stream;
    };
};

struct flow *leg_flow(struct leg *l);
static inline bool leg_is_tcp(const struct leg *l) { return l->kind == LEG_TCP; }
static inline bool leg_is_stream(const struct leg *l) { return l->kind == LEG_STREAM; }

void leg_tcp_init(struct leg *l, int fd, bool connected); /* takes the descriptor */
void leg_stream_init(struct leg *l, struct tunnel *t);
void leg_detach(struct leg *l); /* a stream that never was or is no more: back to LEG_NONE, unlinked from its tunnel */

void leg_connect(struct leg *l, const struct endpoint *to, bool as_v6); /* flow is told by flow_connected */
void leg_read_update(struct leg *l);                                    /* arms, keeps or cancels the receive by `reading` */
/* Half-closed, and nobody writes: from now on a reset is noticed all the same. */
void leg_watch(struct leg *l);
void leg_write(struct leg *l);                                  /* sends what `out` holds, then the end when wanted */
void leg_fail(struct leg *l, enum close_reason why, int error); /* records the first failure */
void leg_close(struct leg *l, bool abort);                      /* begins the end */
bool leg_closed(struct leg *l);                                 /* nothing of it is in the kernel or in a tunnel; drives the end */
