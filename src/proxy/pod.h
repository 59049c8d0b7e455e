/* SPDX-License-Identifier: GPL-3.0-or-later
 * pod.h - the local workloads as this worker knows them: listeners, network namespace, identity, credential
 *
 * On the heap: pods come and go by mail, never in the data path. A pod that left is freed with its last flow and tunnel. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/map.h>
#include <ringwall/mail/pod.h>
#include <ringwall/ring/ring.h>

struct credential_slot;
struct pod;
struct pool;
struct worker;

struct listener {
    struct pod *pod;
    enum capture_listener kind;
    int fd; /* -1: none */
    bool closing;
    struct ring_op accept, close;
    struct ring_timer pause; /* armed: accepting stopped for lack of descriptors or memory */
};
struct pod {
    struct map_node node; /* by id */
    struct list link;     /* in worker->pods_all */
    struct worker *worker;
    uint32_t id;
    uint64_t serial; /* never used twice */
    char uid[POD_UID_MAX];
    struct addr addrs[POD_ADDRS_MAX];
    size_t n_addrs;
    uint64_t netns_cookie;
    int netns_fd; /* owned */
    struct listener listeners[_CAPTURE_LISTENER_MAX];
    struct credential_slot *slot;
    size_t n_flows, n_tunnels;
    bool gone;
    struct mailbox *reply; /* of the mail that told us; owned */
};

void pod_arrived(struct worker *w, struct mail_pod *m); /* takes its descriptors */
void pod_left(struct worker *w, struct mail_pod_gone *m);
struct pod *pod_find(struct worker *w, uint32_t id);
struct str pod_uid(const struct pod *p);
bool pod_has_addr(const struct pod *p, const struct addr *a);
/* Does it hold so many (flows, tunnels) that what is left of the pool is for others? */
bool pod_over_share(const struct pod *p, size_t n_held, const struct pool *pool);
void pod_settle(struct pod *p); /* frees a pod that left once nothing of it remains */
void pods_stop_listening(struct worker *w);
void pods_forget(struct worker *w); /* at the end of the worker: all must be idle */

/* listener.c */
void listener_start(struct listener *l);
void listener_stop(struct listener *l);
bool listener_idle(const struct listener *l);
void socket_reject(struct worker *w, int fd); /* closes with a reset */
