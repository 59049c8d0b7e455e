/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel.h - one mTLS HTTP/2 connection between two daemons, carrying many flows
 *
 * Outbound tunnels belong to a hop (hop.h) and are made in the source pod's netns, so that their address is the pod's
 * own; inbound ones come from a pod's HBONE listener. Callbacks of the ring and of HTTP/2 record and mark the tunnel;
 * tunnel_step, run once before the worker waits, decides, and drains HTTP/2 through TLS into one send. */
#pragma once

#include <ringwall/base/buf.h>
#include <ringwall/base/list.h>
#include <ringwall/base/pool.h>
#include <ringwall/model/close_reason.h>
#include <ringwall/ring/ring.h>
#include <ringwall/tls/session.h>
#include <ringwall/wire/h2.h>

#include "leg.h"

struct credential_slot;
struct flow;
struct hop;
struct pod;
struct worker;

enum { TUNNEL_MAGIC = 0x74756e6e };
enum tunnel_state {
#define TUNNEL_STATE(name, word, limit, next) TUNNEL_##name,
#include "tunnel_state.h"
#undef TUNNEL_STATE
    _TUNNEL_STATE_MAX
};

struct tunnel {
    struct pooled pooled;
    uint8_t state;
    bool server;
    bool retired; /* carries no new flow; ends with its last one */
    bool barred;  /* server, retired: not even requests that crossed the GOAWAY */
    bool goaway_sent, close_sent, shut, peer_ended, socket_lost, closed;
    bool had_request;        /* server */
    bool credential_arrived; /* server, parked */
    bool stuck;              /* the worker's buffers were used up: to be stepped again when there are some */
    bool refused;            /* FLUSH: TLS never opened, only an alert is sent */
    struct worker *worker;
    struct pod *pod;
    struct hop *hop; /* client, while it may take flows; else NULL */
    struct list in_worker, in_hop, touched, parked;
    struct list legs; /* of flows with a stream here, or that wait for one (stream id 0), or that end */
    unsigned n_legs, n_streams_max;
    uint64_t id, credential_generation;
    uint64_t trust_judged;                                    /* generation of the trust that judged it last */
    int64_t cert_end_s;                                       /* once open: wall time of the earlier end of both sides' chains */
    uint64_t began_ns, opened_ns, heard_ns, ping_ns, idle_ns; /* idle_ns: since when without flows */
    uint64_t goaway_ns;                                       /* when the peer was told to ask for nothing more */
    struct endpoint local, peer;
    uint64_t uid_hash;        /* client: of the workload it leads to (hop.h), which its hop may have left behind */
    struct identity expected; /* client: who must answer */
    struct identity peer_identity;
    struct tls_session *tls;
    struct h2 *h2;
    struct bufq in, out;       /* ciphertext */
    struct bufq plain;         /* HTTP/2 frames that wait to be encrypted */
    struct buf_chunk *reading; /* during h2_feed: where its bytes lie */
    int fd;
    uint32_t n_late; /* FLUSH: bytes that were read only to be thrown away */
    struct ring_op recv, send, control;
    struct ring_timer timer;
    enum close_reason reason; /* why it ended */
    char why[160];
    uint64_t n_flows_total, n_in, n_out;
};

const char *tunnel_state_word(enum tunnel_state s);

/* Client: a new tunnel of the hop, connecting. NULL with the reason: at a bound, or no socket. */
struct tunnel *tunnel_connect(struct hop *hop, struct tls_context *context, enum close_reason *ret_why);
void tunnel_accepted(struct pod *pod, int fd); /* server; takes the descriptor */
void tunnel_touch(struct tunnel *t);
void tunnel_step(struct tunnel *t);
void tunnel_unstick(struct tunnel *t);        /* there are buffers again */
bool tunnel_may_take(const struct tunnel *t); /* client: one more flow, now or once open */
void tunnel_retire(struct tunnel *t);         /* no new flows; GOAWAY to the peer */
void tunnel_bar(struct tunnel *t);            /* server: retired, and what is asked for from now on is refused */
void tunnel_end(struct tunnel *t, enum close_reason reason, const char *why); /* now: its flows are reset */
void tunnel_cut(struct tunnel *t);      /* a drain's time is over: little time for what it still has to say */
void tunnel_leg_gone(struct tunnel *t); /* one stream leg was detached */
const struct identity *tunnel_own_identity(const struct tunnel *t); /* NULL before the handshake began */
bool tunnel_expired(const struct tunnel *t, int64_t now_s);         /* a certificate of either end is over: no new flows */

/* trust.c: by the trust in force. CLOSE_NONE, CERT_REVOKED or TRUST_CHANGED, with the verdict and whether it is about our own
 * certificate; the session is open. */
enum { TRUST_WHY_BYTES = 160 };
enum close_reason trust_judge(const struct worker *w, const struct tls_session *s, bool *ret_ours, enum tls_trust_verdict *ret);
void trust_explain(const struct tls_session *s, bool ours, enum tls_trust_verdict v, char to[TRUST_WHY_BYTES]);

/* tunnel_h2.c: the callbacks of HTTP/2 */
extern const struct h2_callbacks tunnel_client_callbacks, tunnel_server_callbacks;
