/* SPDX-License-Identifier: GPL-3.0-or-later
 * hop.c - choosing a tunnel, making another one, and not hammering an address that just failed */
#include "hop.h"

#include <ringwall/base/check.h>

#include "credentials.h"
#include "pod.h"
#include "tunnel.h"
#include "ways.h"
#include "worker.h"

uint64_t hop_uid_hash(const struct worker *w, struct str uid) { return hash_bytes(w->hop_map.seed, uid.at, uid.n); }

static struct hop *hop_find(struct worker *w, const struct hop_key *key) {
    struct map_node *n = map_find(&w->hop_map, key, sizeof(*key));
    return n ? map_entry(n, struct hop, node) : NULL;
}

void hop_release(struct hop *h) {
    struct worker *w = h->worker;
    check(h->n_tunnels == 0 && list_empty(&h->tunnels) && list_empty(&h->waiting));
    ring_timer_stop(w->ring, &h->again);
    map_remove(&w->hop_map, &h->node);
    list_unlink(&h->in_worker);
    pool_release(w->hops, h);
}

/* At the bound the oldest hop that only remembers a failure makes room. */
static void hop_make_room(struct worker *w) {
    if (pool_used(w->hops) < pool_max(w->hops))
        return;
    list_for_each_safe (it, &w->hops_all) {
        struct hop *h = list_entry(it, struct hop, in_worker);
        if (h->n_tunnels == 0 && list_empty(&h->waiting)) {
            hop_release(h);
            return;
        }
    }
}

static struct hop *hop_acquire(struct pod *pod, const struct hop_key *key) {
    struct worker *w = pod->worker;
    hop_make_room(w);
    struct hop *h = pool_acquire(w->hops);
    if (!h)
        return NULL;
    h->worker = w;
    h->pod = pod;
    h->key = *key;
    list_init(&h->tunnels);
    list_init(&h->waiting);
    list_push_back(&w->hops_all, &h->in_worker);
    int r = map_insert(&w->hop_map, &h->node, &h->key, sizeof(h->key));
    check(r == 0);
    return h;
}

/* Flows that still wait for it to open are routed again. */
static void hop_retire(struct tunnel *t) {
    tunnel_retire(t);
    list_for_each (it, &t->legs) {
        struct leg *l = list_entry(it, struct leg, stream.link);
        if (l->closing || l->failed || l->stream.id)
            continue;
        l->stream.unasked = true;
        leg_fail(l, CLOSE_TUNNEL_LOST, 0);
    }
}

static void hop_retire_all(struct hop *h) {
    list_for_each_safe (it, &h->tunnels)
        hop_retire(list_entry(it, struct tunnel, in_hop));
}

static bool hop_is_to(const struct hop *h, const struct workload *to) {
    return h->uid_hash == hop_uid_hash(h->worker, to->uid) && identity_is(&h->identity, to->identity);
}

/* They are routed again, as if they had just come. */
static void hop_wake(struct ring_timer *t) {
    struct hop *h = container_of(t, struct hop, again);
    struct list woken = LIST_INIT(woken), *n;
    while ((n = list_pop_front(&h->waiting)))
        list_push_back(&woken, n);
    while ((n = list_pop_front(&woken)))
        outbound_go(list_entry(n, struct flow, waiting));
}

static void hop_wait(struct hop *h, struct flow *f) {
    flow_set_state(f, FLOW_WAIT_TUNNEL);
    list_push_back(&h->waiting, &f->waiting);
    if (!ring_timer_armed(&h->again))
        ring_timer_start(h->worker->ring, &h->again, h->closed_until_ns, hop_wake);
}

/* The address may belong to another workload now: what was known of it is void. */
static void hop_aim(struct hop *h, const struct workload *to) {
    if (hop_is_to(h, to))
        return;
    hop_retire_all(h);
    h->uid_hash = hop_uid_hash(h->worker, to->uid);
    h->identity = *to->identity;
    h->n_failures = 0;
    h->closed_until_ns = 0;
    if (!list_empty(&h->waiting)) /* nothing to wait for any more */
        ring_timer_start(h->worker->ring, &h->again, worker_now(h->worker), hop_wake);
}

enum close_reason hop_admits(const struct hop *h, const struct flow *f, const struct identity *peer) {
    const struct world *world = h ? worker_world(h->worker) : NULL;
    const struct workload *to = world ? world_workload_by_addr(world, worker_network(world), &h->key.addr) : NULL;
    if (!to || !hop_is_to(h, to))
        return CLOSE_TUNNEL_LOST;
    bool may = route_accepts_identity(world, worker_network(world), &f->asked, to->uid, peer);
    return may ? CLOSE_NONE : CLOSE_PEER_WRONG_IDENTITY;
}

static struct tunnel *hop_open_tunnel(struct hop *h, const struct flow *f, uint64_t generation) {
    list_for_each_safe (it, &h->tunnels) {
        struct tunnel *t = list_entry(it, struct tunnel, in_hop);
        if (t->credential_generation != generation)
            hop_retire(t);
        else if (tunnel_may_take(t) && (t->state != TUNNEL_OPEN || hop_admits(h, f, &t->peer_identity) == CLOSE_NONE))
            return t;
    }
    return NULL;
}

/* Who answered under a name that is wrong for one flow may be right for another, whose service has that name. */
static bool hop_backs_off(const struct hop *h, const struct flow *f) {
    if (worker_now(h->worker) >= h->closed_until_ns)
        return false;
    return h->reason != CLOSE_PEER_WRONG_IDENTITY || hop_admits(h, f, &h->refused) != CLOSE_NONE;
}

enum close_reason hop_take(struct flow *f, const struct world *world unused_arg, const struct workload *to) {
    struct worker *w = f->worker;
    struct credential_slot *slot = f->pod->slot;
    struct hop_key key = {.pod = f->pod->serial, .addr = f->target.addr};
    struct hop *h = hop_find(w, &key);
    if (!h)
        h = hop_acquire(f->pod, &key);
    if (!h)
        return CLOSE_LIMIT;
    hop_aim(h, to);
    check(slot->credential);
    struct tunnel *t = hop_open_tunnel(h, f, tls_credential_generation(slot->credential));
    if (!t) {
        if (hop_backs_off(h, f)) {
            hop_wait(h, f);
            return CLOSE_NONE;
        }
        if (h->n_tunnels >= TUNNELS_PER_HOP_MAX)
            return CLOSE_LIMIT;
        struct tls_context *context = credentials_context(slot, TLS_ROLE_CLIENT);
        enum close_reason why = CLOSE_NO_IDENTITY;
        t = context ? tunnel_connect(h, context, &why) : NULL;
        if (!t)
            return why;
        t->uid_hash = h->uid_hash;
    }
    leg_stream_init(&f->legs[LEG_SERVER], t);
    flow_set_state(f, FLOW_WAIT_TUNNEL);
    if (t->state == TUNNEL_OPEN)
        outbound_tunnel_open(f, t);
    return CLOSE_NONE;
}

bool hop_in_trouble(const struct flow *f, const struct addr *addr) {
    struct worker *w = f->worker;
    if (worker_now(w) >= w->trouble_until_ns)
        return false;
    struct hop_key key = {.pod = f->pod->serial, .addr = *addr};
    const struct hop *h = hop_find(w, &key);
    bool opening = false;
    if (!h)
        return false;
    list_for_each (it, &h->tunnels) {
        const struct tunnel *t = list_entry(it, struct tunnel, in_hop);
        if (t->state == TUNNEL_OPEN)
            return false;
        opening = opening || worker_now(w) - t->began_ns >= TUNNEL_PATIENCE_NS;
    }
    return opening || hop_backs_off(h, f);
}

void hop_tunnel_opened(struct hop *h) {
    h->n_failures = 0;
    h->closed_until_ns = 0;
}

void hop_tunnel_failed(struct hop *h, enum close_reason reason) {
    uint64_t pause = BACK_OFF_NS << min_of(h->n_failures, 10u);
    h->n_failures++;
    h->closed_until_ns = worker_now(h->worker) + min_of(pause, BACK_OFF_MAX_NS);
    h->worker->trouble_until_ns = max_of(h->worker->trouble_until_ns, h->closed_until_ns);
    h->reason = reason;
}

void hop_tunnel_left(struct hop *h, struct tunnel *t) {
    check(t->hop == h && h->n_tunnels > 0);
    list_unlink(&t->in_hop);
    h->n_tunnels--;
    t->hop = NULL;
}

void hops_check(struct worker *w, const struct world *world) {
    list_for_each (it, &w->hops_all) {
        struct hop *h = list_entry(it, struct hop, in_worker);
        if (h->n_tunnels == 0)
            continue;
        const struct workload *to = world_workload_by_addr(world, worker_network(world), &h->key.addr);
        if (!to || !hop_is_to(h, to))
            hop_retire_all(h);
    }
}

void hops_retire_of(struct pod *pod, uint64_t keep_generation) {
    list_for_each (it, &pod->worker->hops_all) {
        struct hop *h = list_entry(it, struct hop, in_worker);
        if (h->pod != pod)
            continue;
        list_for_each_safe (jt, &h->tunnels) {
            struct tunnel *t = list_entry(jt, struct tunnel, in_hop);
            if (t->credential_generation != keep_generation)
                hop_retire(t);
        }
    }
}

void hops_sweep(struct worker *w) {
    unsigned budget = HOPS_SWEPT_PER_TICK;
    list_for_each_safe (it, &w->hops_all) {
        if (!budget--)
            return;
        struct hop *h = list_entry(it, struct hop, in_worker);
        if (h->n_tunnels == 0 && list_empty(&h->waiting) && worker_now(w) >= h->closed_until_ns + BACK_OFF_MAX_NS)
            hop_release(h);
        else { /* to the back, so that a long list is swept in pieces */
            list_unlink(&h->in_worker);
            list_push_back(&w->hops_all, &h->in_worker);
        }
    }
}
