/* SPDX-License-Identifier: GPL-3.0-or-later
 * pod.c - pods by mail: a new one opens its listeners, an update changes who it is, one that left ends all it carried */
#include "pod.h"

#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/log.h>

#include "credentials.h"
#include "flow.h"
#include "hop.h"
#include "tunnel.h"
#include "worker.h"

struct pod *pod_find(struct worker *w, uint32_t id) {
    struct map_node *n = map_find(&w->pods, &id, sizeof(id));
    return n ? map_entry(n, struct pod, node) : NULL;
}

struct str pod_uid(const struct pod *p) {
    return (struct str){p->uid, strnlen(p->uid, sizeof(p->uid))};
}

bool pod_has_addr(const struct pod *p, const struct addr *a) {
    for (size_t i = 0; i < p->n_addrs; i++)
        if (addr_is(&p->addrs[i], a))
            return true;
    return false;
}

bool pod_over_share(const struct pod *p, size_t n_held, const struct pool *pool) {
    const struct list *all = &p->worker->pods_all;
    bool alone = all->next == all->prev;
    return !alone && n_held >= POD_SHARE * (pool_max(pool) - pool_used(pool));
}

static bool pod_take_identity(struct pod *p, const struct identity *i) {
    if (p->slot && identity_is(&p->slot->identity, i))
        return true;
    struct credential_slot *slot = credentials_join(p->worker, i);
    if (!slot)
        return false;
    credentials_leave(p->slot);
    p->slot = slot;
    return true;
}

static void pod_take_mail(struct pod *p, const struct mail_pod *m) {
    memcpy(p->uid, m->uid, sizeof(p->uid));
    p->n_addrs = min_of(m->n_addrs, (size_t)POD_ADDRS_MAX);
    memcpy(p->addrs, m->addrs, p->n_addrs * sizeof(p->addrs[0]));
}

/* Everything it carries ends; tunnels too, since they speak for it. */
static void pod_cut(struct pod *p, enum close_reason why) {
    struct worker *w = p->worker;
    list_for_each (it, &w->tunnels_all) {
        struct tunnel *t = list_entry(it, struct tunnel, in_worker);
        if (t->pod == p)
            tunnel_end(t, why, NULL);
    }
    list_for_each (it, &w->flows_all) {
        struct flow *f = list_entry(it, struct flow, in_worker);
        if (f->pod == p)
            flow_refuse(f, why);
    }
    list_for_each_safe (it, &w->hops_all) {
        struct hop *h = list_entry(it, struct hop, in_worker);
        if (h->pod == p)
            hop_release(h);
    }
}

static void pod_update(struct pod *p, struct mail_pod *m) {
    bool other = !identity_is(&p->slot->identity, &m->identity);
    if (other) /* who it speaks for changed: nothing made under the old name goes on */
        pod_cut(p, CLOSE_WORKLOAD_GONE);
    pod_take_mail(p, m);
    if (!pod_take_identity(p, &m->identity))
        log_error("proxy", "no memory for the new identity of %s: it keeps the old one", m->uid);
}

static struct pod *pod_new(struct worker *w, struct mail_pod *m) {
    struct pod *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->worker = w;
    p->id = m->id;
    p->serial = ++w->next_pod;
    p->netns_cookie = m->netns_cookie;
    pod_take_mail(p, m);
    if (!pod_take_identity(p, &m->identity)) {
        free(p);
        return NULL;
    }
    p->netns_fd = take_fd(m->netns_fd);
    for (size_t i = 0; i < array_size(p->listeners); i++) {
        p->listeners[i].pod = p;
        p->listeners[i].kind = (enum capture_listener)i;
        p->listeners[i].fd = take_fd(m->listeners[i]);
        if (p->listeners[i].fd >= 0)
            ring_socket_tune(w->ring, p->listeners[i].fd); /* what it accepts is so from the start */
    }
    list_push_back(&w->pods_all, &p->link);
    ignore_result(map_insert(&w->pods, &p->node, &p->id, sizeof(p->id))); /* not there: looked up by the caller */
    return p;
}

void pod_arrived(struct worker *w, struct mail_pod *m) {
    if (w->stopping) /* too late: its descriptors go with the mail */
        return;
    struct pod *p = pod_find(w, m->id);
    if (p) {
        pod_update(p, m);
        return;
    }
    p = pod_new(w, m);
    if (!p) {
        log_error("proxy", "no memory for workload %s: its connections are refused", m->uid);
        return;
    }
    if (!w->draining)
        for (size_t i = 0; i < array_size(p->listeners); i++)
            listener_start(&p->listeners[i]);
}

static void pod_answer(struct pod *p) {
    struct mailbox *reply = take_ptr(p->reply);
    if (!reply)
        return;
    struct mail_pod_gone *m = mail_pod_gone_new(p->id, NULL);
    if (m && mailbox_post(reply, &m->mail)) {
        counter_add(&p->worker->options.stats->mail_lost, 1);
        mail_free(&m->mail);
    }
    mailbox_unref(reply);
}

static void pod_free(struct pod *p) {
    list_unlink(&p->link);
    credentials_leave(p->slot);
    p->netns_fd = fd_close(p->netns_fd);
    pod_answer(p);
    free(p);
}

void pod_settle(struct pod *p) {
    if (!p->gone || p->n_flows || p->n_tunnels)
        return;
    for (size_t i = 0; i < array_size(p->listeners); i++)
        if (!listener_idle(&p->listeners[i]))
            return;
    pod_free(p);
}

static void pod_leave(struct pod *p) {
    map_remove(&p->worker->pods, &p->node);
    p->gone = true;
    for (size_t i = 0; i < array_size(p->listeners); i++)
        listener_stop(&p->listeners[i]);
    pod_cut(p, CLOSE_WORKLOAD_GONE);
    pod_settle(p);
}

void pod_left(struct worker *w, struct mail_pod_gone *m) {
    struct pod *p = pod_find(w, m->id);
    if (!p) { /* never arrived, or no memory for it then: nothing of it is here */
        struct mail_pod_gone *answer = m->reply ? mail_pod_gone_new(m->id, NULL) : NULL;
        if (answer && mailbox_post(m->reply, &answer->mail)) {
            counter_add(&w->options.stats->mail_lost, 1);
            mail_free(&answer->mail);
        }
        return;
    }
    p->reply = take_ptr(m->reply);
    pod_leave(p);
}

void pods_stop_listening(struct worker *w) {
    list_for_each (it, &w->pods_all) {
        struct pod *p = list_entry(it, struct pod, link);
        for (size_t i = 0; i < array_size(p->listeners); i++)
            listener_stop(&p->listeners[i]);
    }
}

void pods_forget(struct worker *w) {
    list_for_each_safe (it, &w->pods_all) {
        struct pod *p = list_entry(it, struct pod, link);
        if (!p->gone)
            pod_leave(p);
    }
}
