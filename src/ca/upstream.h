/* SPDX-License-Identifier: GPL-3.0-or-later
 * upstream.h - the channel to another CA: one TCP connection with TLS and gRPC on it, kept up while it is wanted
 *
 * Nothing here waits: the thread polls what upstream_poll names and calls upstream_turn. Look-up, connect and handshake
 * have a deadline each, a connection that does not answer a ping is given up, and after a failure there is a growing
 * pause. New roots or a GOAWAY let open calls end on the old connection and the next ones go to a new one. */
#pragma once

#include <poll.h>

#include <ringwall/base/rng.h>
#include <ringwall/tls/web.h>
#include <ringwall/wire/grpc.h>

enum {
    UPSTREAM_CONNECT_S = 5, /* look-up, connect to one address, handshake: each */
    UPSTREAM_PING_S = 30,
    UPSTREAM_PONG_S = 10,
    UPSTREAM_RETRY_FIRST_MS = 200,
    UPSTREAM_RETRY_MAX_MS = 5000,
    UPSTREAM_CALLS_MAX = 8,
    UPSTREAM_WHY_BYTES = 192,
    UPSTREAM_POLL_MAX = 2,
};

struct upstream;
/* Called inside upstream_turn only. */
struct upstream_callbacks {
    void (*up)(void *owner);
    void (*message)(void *owner, int32_t id, const uint8_t *bytes, size_t n);
    void (*finished)(void *owner, int32_t id, enum grpc_code code, struct str message);
    /* The connection is gone, or could not be made. Calls that were open end here, without `finished`. */
    void (*down)(void *owner, const char *why);
};
struct upstream_options {
    const struct upstream_callbacks *callbacks;
    void *owner;
    const char *host; /* a valid tls_host, without brackets */
    uint16_t port;
    struct str authority;     /* as the user wrote it */
    struct tls_bundle *roots; /* a reference is taken */
    uint32_t message_max;
};
int upstream_new(const struct upstream_options *o, struct upstream **ret) must_check;
struct upstream *upstream_free(struct upstream *u); /* calls nothing back */
DEFINE_FREEP(struct upstream, upstream_free)

void upstream_trust(struct upstream *u, struct tls_bundle *roots); /* from the next connection on; there is one soon */
void upstream_want(struct upstream *u);                            /* somebody waits for it: connect as soon as the pause is over */
bool upstream_ready(const struct upstream *u);                     /* a call can be opened */
/* One request, complete. 0 with its id; 1: not now; negative errno. */
int upstream_call(struct upstream *u, struct str path, const struct grpc_metadata *m, size_t n_m, const uint8_t *bytes, size_t n,
                  uint64_t timeout_ns, uint64_t now_ns, int32_t *ret_id) must_check;
unsigned upstream_poll(const struct upstream *u, struct pollfd fds[UPSTREAM_POLL_MAX]);
/* Returns after how many milliseconds to come again at the latest. */
int upstream_turn(struct upstream *u, uint64_t now_ns, int64_t now_s);
const char *upstream_state(const struct upstream *u); /* a word for people */
const char *upstream_peer(const struct upstream *u);  /* the address of the connection; empty: none */
