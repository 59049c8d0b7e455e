/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/sim/sim_peer.h - the far node as a script: real TLS and HTTP/2 over the simulated network, with a mood
 *
 * A peer serves one address. Its mood says how it meets the next connection or request; who was asked for what is told to
 * the test, which keeps the account. A connection shows the certificate that was the peer's when it began. */
#pragma once

#include <ringwall/tls/session.h>
#include <ringwall/wire/hbone.h>

#include "ring_sim.h"

enum peer_mood {
    PEER_WELL,    /* 200, and every byte comes back */
    PEER_REFUSES, /* no connection: sim_service's routes see to it */
    PEER_SILENT,  /* takes connections, says nothing */
    PEER_CUTS,    /* resets them in the handshake */
    PEER_LIES,    /* another identity's certificate */
    PEER_503,
    PEER_401,
    PEER_REFUSED_STREAM,
    PEER_GOAWAY, /* and the request refused */
    PEER_DROPS,  /* the connection ends when a request came */
    PEER_MUTE,   /* takes requests, never answers */
    PEER_BREAKS, /* 200, and a reset of the connection with the first bytes */
    _PEER_MOOD_MAX
};

struct peer_conn;
struct peer {
    struct endpoint at;
    enum peer_mood mood;
    struct tls_context *shows, *lie; /* borrowed */
    struct tls_trust *trust;
    unsigned era; /* grows when somebody else takes the address */
    struct buf_pool *buffers;
    int served;
    uint64_t broken_ns; /* when it last reset a connection: what it had answered there may be lost */
    struct peer_conn *conns;
    /* A request came, on a connection of that era, and this will be its answer: 0 for none. */
    void (*requested)(struct peer *p, unsigned era, bool lied, const struct hbone_request *q, unsigned answer);
    void (*carried)(struct peer *p, const char *trace, size_t n); /* bytes of an application */
};
void peer_start(struct peer *p, struct sim *sim, int netns);
void peer_end(struct peer *p, struct sim *sim);
