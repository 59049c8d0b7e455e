/* SPDX-License-Identifier: GPL-3.0-or-later
 * enrol.c - makes the kernel and the workers agree with the newest world about this node's workloads
 *
 * A workload is wanted when the world places it here, enrolled, with a netns or a cgroup to find it by. One that is not
 * wanted any more leaves the workers first (their listeners close, so its connects are refused), then the kernel. One
 * whose netns, cgroup or addresses changed leaves and comes anew; its places in the kernel stay closed in between, so
 * that nothing passes while one makes room for the other. One that cannot be enrolled yet (its netns does not
 * exist) is tried again; until then it is simply not ours, and readiness says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/log.h>

#include "app.h"

static struct pod *pod_find(struct node *n, struct str uid) {
    list_for_each (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        if (p->n_leaving == 0 && !p->moved && str_is(str_of(p->uid), uid))
            return p;
    }
    return NULL;
}

static struct pod *pod_free(struct pod *p) {
    list_unlink(&p->link);
    free(p->netns_path);
    free(p->cgroup_path);
    free(p);
    return NULL;
}

static bool path_is(const char *path, struct str s) { return str_is(path ? str_of(path) : STR_NULL, s); }

static bool pod_place_is(const struct pod *p, const struct workload *w) {
    if (!path_is(p->netns_path, w->about->netns_path) || !path_is(p->cgroup_path, w->about->cgroup_path) ||
        p->n_addrs != w->n_addrs)
        return false;
    return p->n_addrs == 0 || !memcmp(p->addrs, w->addrs, sizeof(p->addrs[0]) * p->n_addrs);
}

static struct pod *pod_new(struct node *n, const struct workload *w) {
    if (w->uid.n >= POD_UID_MAX || w->n_addrs > POD_ADDRS_MAX) {
        log_error("enrol", "workload " STR_FMT "/" STR_FMT " refused: its uid or its list of addresses is too long", STR_ARG(w->ns),
                  STR_ARG(w->name));
        return NULL;
    }
    struct pod *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->id = n->next_id++;
    memcpy(p->uid, w->uid.at, w->uid.n);
    snprintf(p->ns, sizeof(p->ns), STR_FMT, STR_ARG(w->ns));
    snprintf(p->name, sizeof(p->name), STR_FMT, STR_ARG(w->name));
    p->identity = *w->identity;
    p->n_addrs = w->n_addrs;
    if (w->n_addrs > 0)
        memcpy(p->addrs, w->addrs, sizeof(w->addrs[0]) * w->n_addrs);
    p->netns_path = w->about->netns_path.n > 0 ? str_dup(w->about->netns_path) : NULL;
    p->cgroup_path = w->about->cgroup_path.n > 0 ? str_dup(w->about->cgroup_path) : NULL;
    list_push_back(&n->pods, &p->link);
    return p;
}

/* Hands the pod to every worker. `fds` (may be NULL: an update) become the mails'. */
static void pod_tell_workers(struct node *n, struct pod *p, int *fds) {
    for (unsigned i = 0; i < n->n_workers; i++) {
        struct mail_pod *m = mail_pod_new();
        if (!m)
            continue; /* the listeners stay open in fds and are closed by the caller: connects are then refused */
        m->id = p->id;
        memcpy(m->uid, p->uid, sizeof(m->uid));
        m->identity = p->identity;
        memcpy(m->addrs, p->addrs, sizeof(m->addrs));
        m->n_addrs = p->n_addrs;
        m->netns_cookie = capture_pod_cookie(p->capture);
        m->netns_fd = dup(capture_pod_netns(p->capture));
        for (unsigned kind = 0; fds && kind < _CAPTURE_LISTENER_MAX; kind++)
            m->listeners[kind] = take_fd(fds[kind * n->n_workers + i]);
        if (mailbox_post(n->workers[i], &m->mail) != 0) {
            log_error("enrol", "worker %u does not take mail: workload %s/%s is not served by it", i, p->ns, p->name);
            mail_free(&m->mail);
        }
    }
}

/* The doors know their callers by these numbers; from the kernel's entries on, so that they never name the wrong pod. */
static void pod_tell_doors(struct node *n, const struct pod *p) {
    struct mail_pod *m = n->doors ? mail_pod_new() : NULL;
    if (!m)
        return;
    m->id = p->id;
    memcpy(m->uid, p->uid, sizeof(m->uid));
    m->identity = p->identity;
    if (mailbox_post(n->doors, &m->mail) != 0) {
        log_error("enrol", "the doors do not take mail: programs of workload %s/%s get no credentials there", p->ns, p->name);
        mail_free(&m->mail);
    }
}

static void pod_leaves_doors(struct node *n, const struct pod *p) {
    struct mail_pod_gone *m = n->doors ? mail_pod_gone_new(p->id, NULL) : NULL;
    if (m && mailbox_post(n->doors, &m->mail) != 0)
        mail_free(&m->mail);
}

static void pod_enrol(struct node *n, struct pod *p) {
    int fds[_CAPTURE_LISTENER_MAX * APP_WORKERS_MAX];
    for (size_t i = 0; i < array_size(fds); i++)
        fds[i] = -1;
    struct capture_pod_spec spec = {
        .id = p->id, .netns_path = p->netns_path, .cgroup_path = p->cgroup_path, .addrs = p->addrs, .n_addrs = p->n_addrs};
    char why[CAPTURE_WHY_BYTES] =
        "netns and cgroup are not known, and this version does not find a Pod's by itself: describe it as a "
        "WorkloadEntry with annotations ringwall.io/node, ringwall.io/netns and ringwall.io/cgroup";
    int r = 1;
    if (pod_has_place(p) && (!n->detached || capture_stands(n->capture, why))) {
        why[0] = '\0';
        r = capture_enrol(n->capture, &spec, n->n_workers, &p->capture, fds, why);
    }
    if (r != 0) {
        p->capture = NULL;
        /* The same reason again and again is one line. */
        if (strcmp(why, p->why) != 0)
            log_warn("enrol", "workload %s/%s is not captured: %s", p->ns, p->name, why);
        snprintf(p->why, sizeof(p->why), "%s", why);
        return;
    }
    p->why[0] = '\0';
    pod_tell_workers(n, p, fds);
    pod_tell_doors(n, p);
    for (size_t i = 0; i < array_size(fds); i++)
        fd_close(fds[i]); /* what no mail took */
    log_info("enrol", "workload %s/%s captured as " STR_FMT, p->ns, p->name, STR_ARG(identity_uri(&p->identity)));
}

static bool path_same(const char *a, const char *b) { return a && b && !strcmp(a, b); }
static bool place_shared(const struct pod *a, const struct pod *b) {
    return path_same(a->netns_path, b->netns_path) || path_same(a->cgroup_path, b->cgroup_path) || !strcmp(a->uid, b->uid);
}

/* Will another pod take over its netns or cgroup, or is the workload itself still wanted? Then nothing of it is opened. */
static bool pod_has_successor(struct node *n, const struct pod *p) {
    list_for_each (it, &n->pods) {
        const struct pod *o = list_entry(it, struct pod, link);
        if (o != p && o->wanted && !o->capture && place_shared(o, p))
            return true;
    }
    return false;
}

static bool place_is_held(struct node *n, const struct pod *p) {
    list_for_each (it, &n->pods) {
        const struct pod *o = list_entry(it, struct pod, link);
        if (o != p && o->n_leaving > 0 && place_shared(o, p))
            return true;
    }
    return false;
}

static void pod_leave(struct node *n, struct pod *p) {
    if (!p->capture) {
        bool keep_closed = pod_has_successor(n, p);
        if (n->capture)
            capture_forget(n->capture, p->id, keep_closed); /* a failed enrolment may have closed it */
        n->sweep_due = n->sweep_due || keep_closed;
        pod_free(p);
        return;
    }
    pod_leaves_doors(n, p);
    for (unsigned i = 0; i < n->n_workers; i++) {
        struct mail_pod_gone *m = mail_pod_gone_new(p->id, n->mailbox);
        if (m && mailbox_post(n->workers[i], &m->mail) == 0)
            p->n_leaving++;
        else if (m)
            mail_free(&m->mail);
    }
    log_info("enrol", "workload %s/%s leaves", p->ns, p->name);
}

void node_pod_gone(struct node *n, uint32_t id) {
    list_for_each (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        if (p->id != id || p->n_leaving == 0)
            continue;
        if (--p->n_leaving > 0)
            return;
        bool keep_closed = pod_has_successor(n, p);
        p->capture = capture_release(n->capture, p->capture, keep_closed);
        n->sweep_due = n->sweep_due || keep_closed;
        pod_free(p);
        node_retry(n); /* its successor may have waited for the netns */
        return;
    }
}

static void node_note_counts(struct node *n) {
    size_t wanted = 0, enrolled = 0;
    list_for_each (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        wanted += p->wanted && pod_has_place(p); /* one without is told of; no waiting would change it */
        enrolled += p->wanted && pod_is_captured(p) && p->n_leaving == 0;
    }
    pthread_mutex_lock(&n->ready.lock);
    n->ready.n_wanted = wanted;
    n->ready.n_enrolled = enrolled;
    pthread_mutex_unlock(&n->ready.lock);
}

static void node_sweep(struct node *n) {
    if (capture_sweep(n->capture) < 0)
        log_error("enrol", "cannot remove from the kernel what workloads left there");
    n->sweep_due = false;
}

bool node_retry(struct node *n) {
    bool waiting = false;
    list_for_each (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        if (!p->wanted || p->capture)
            continue;
        if (!place_is_held(n, p))
            pod_enrol(n, p);
        waiting = waiting || (!p->capture && pod_has_place(p)); /* only another world gives it one */
    }
    if (n->sweep_due && !waiting)
        node_sweep(n);
    node_note_counts(n);
    return waiting;
}

static bool workload_is_ours(const struct workload *w) { return w->local && w->enrolled && !w->host_network; }

/* Marks what the world wants; makes new pods, updates identities, lets the others go. */
static void node_compare(struct node *n, const struct world *world) {
    list_for_each (it, &n->pods)
        list_entry(it, struct pod, link)->wanted = false;
    for (size_t i = 0; i < world_n_workloads(world); i++) {
        const struct workload *w = world_workload_at(world, i);
        if (!workload_is_ours(w))
            continue;
        struct pod *p = pod_find(n, w->uid);
        if (p && !pod_place_is(p, w)) {
            p->moved = true; /* leaves below, when its successor is known */
            p = NULL;
        }
        if (!p)
            p = pod_new(n, w);
        if (!p)
            continue;
        p->wanted = true;
        if (!identity_is(&p->identity, w->identity)) {
            p->identity = *w->identity;
            if (p->capture) {
                pod_tell_workers(n, p, NULL);
                pod_tell_doors(n, p);
            }
        }
    }
    list_for_each_safe (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        if (!p->wanted && p->n_leaving == 0)
            pod_leave(n, p);
    }
}

/* Capture can be taken away under a daemon that runs. It is not put back: whoever did it wanted the traffic to pass. */
void node_look_kernel(struct node *n) {
    char all[CAPTURE_WHY_BYTES] = "", why[CAPTURE_WHY_BYTES] = "";
    if (!n->capture)
        return;
    bool detached = !capture_stands(n->capture, all);
    if (detached && !n->detached)
        log_error("enrol", "%s", all);
    n->detached = detached;
    list_for_each (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        if (!p->capture)
            continue;
        bool lost = detached || !capture_pod_stands(p->capture, why);
        if (lost && !p->lost && !detached)
            log_error("enrol", "workload %s/%s is not captured: %s", p->ns, p->name, why);
        if (lost != p->lost)
            snprintf(p->why, sizeof(p->why), "%s", !lost ? "" : detached ? all : why);
        p->lost = lost;
    }
    node_note_counts(n);
}

void node_look(struct node *n) {
    node_look_kernel(n);
    bool any = false;
    list_for_each (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        if (p->capture && p->wanted && capture_pod_moved(p->capture, p->netns_path, p->cgroup_path))
            p->moved = any = true;
    }
    if (any)
        node_world_changed(n);
}

void node_world_changed(struct node *n) {
    publish_reader_online();
    const struct world *world = publish_read(&n->world);
    if (world)
        node_compare(n, world);
    publish_reader_offline();
    if (!world)
        return;
    pthread_mutex_lock(&n->ready.lock);
    n->ready.world = true;
    pthread_mutex_unlock(&n->ready.lock);
    node_announce_identities(n);
    if (!n->capture)
        return;
    node_retry(n);
    if (!n->swept) {
        node_sweep(n);
        n->swept = true;
    }
    if (capture_ready(n->capture) < 0)
        log_error("enrol", "cannot tell the kernel that the node is ready: connects stay refused");
}
