/* SPDX-License-Identifier: GPL-3.0-or-later
 * hop.h - the way from one local workload to one address of another: its tunnels, and how it failed lately
 *
 * A hop outlives its tunnels only while it backs off. A flow that has no other way waits until the back-off is over, and then
 * tries: what failed for others before is no reason to refuse it. When the workload behind the address changes (uid, identity) or
 * the credential does, its tunnels retire: they carry no new flow and end with their last one. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/map.h>
#include <ringwall/base/pool.h>
#include <ringwall/model/close_reason.h>
#include <ringwall/model/world.h>
#include <ringwall/ring/ring.h>

struct flow;
struct pod;
struct tunnel;
struct worker;

enum { HOP_MAGIC = 0x686f7068 };
struct hop_key {
    uint64_t pod; /* serial */
    struct addr addr;
};
struct hop {
    struct pooled pooled;
    struct map_node node;
    struct hop_key key;
    struct worker *worker;
    struct pod *pod;
    struct list in_worker;
    struct list tunnels; /* that may take flows */
    struct list waiting; /* flows, until the back-off is over */
    struct ring_timer again;
    unsigned n_tunnels, n_failures;
    uint64_t uid_hash;
    struct identity identity;
    struct identity refused;  /* who answered, when reason is PEER_WRONG_IDENTITY */
    uint64_t closed_until_ns; /* back-off */
    enum close_reason reason; /* of the failure behind it */
};

/* Puts the flow on a tunnel, or in the queue of one, or of the hop. CLOSE_NONE, else why not. */
enum close_reason hop_take(struct flow *f, const struct world *w, const struct workload *to);
/* Is the flow better off at another endpoint: does the way to `addr` back off, or has it been opening for too long? */
bool hop_in_trouble(const struct flow *f, const struct addr *addr);
/* Secure naming, in the world of now: may `peer`, who answered at the hop's address, serve this flow? CLOSE_NONE, PEER_WRONG_
 * IDENTITY, or TUNNEL_LOST: the address has another owner by now (h NULL: the tunnel was retired), the flow is to be routed again.
 */
enum close_reason hop_admits(const struct hop *h, const struct flow *f, const struct identity *peer);
/* What a hop and its tunnels remember of the workload that they lead to. */
uint64_t hop_uid_hash(const struct worker *w, struct str uid);
void hop_tunnel_opened(struct hop *h);
void hop_tunnel_failed(struct hop *h, enum close_reason reason);
void hop_tunnel_left(struct hop *h, struct tunnel *t);
void hops_check(struct worker *w, const struct world *world);   /* after a new world: retire what changed */
void hops_retire_of(struct pod *pod, uint64_t keep_generation); /* tunnels with another credential generation */
void hops_sweep(struct worker *w);
void hop_release(struct hop *h);
