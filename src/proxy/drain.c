/* SPDX-License-Identifier: GPL-3.0-or-later
 * drain.c - shutting down: no new connections, GOAWAY to peers, open flows may end until the deadline, then they are cut */
#include <ringwall/mail/pod.h>

#include "flow.h"
#include "pod.h"
#include "tunnel.h"
#include "worker.h"

static void drain_cut(struct worker *w) {
    w->drain_passed = true;
    list_for_each (it, &w->tunnels_all)
        tunnel_cut(list_entry(it, struct tunnel, in_worker));
    list_for_each (it, &w->flows_all)
        flow_refuse(list_entry(it, struct flow, in_worker), CLOSE_DRAIN);
}

static void drain_deadline(struct ring_timer *t) { drain_cut(container_of(t, struct worker, drain_timer)); }

void drain_begin(struct worker *w, uint64_t deadline_ns, struct mailbox *reply) {
    if (w->drain_reply)
        mailbox_unref(w->drain_reply);
    w->drain_reply = reply;
    w->draining = true;
    pods_stop_listening(w);
    list_for_each (it, &w->tunnels_all) {
        struct tunnel *t = list_entry(it, struct tunnel, in_worker);
        if (t->state != TUNNEL_OPEN && t->n_legs == 0)
            tunnel_end(t, CLOSE_DRAIN, NULL); /* nobody waits for it */
        else
            tunnel_retire(t);
    }
    if (deadline_ns <= worker_now(w))
        drain_cut(w);
    else
        ring_timer_start(w->ring, &w->drain_timer, deadline_ns, drain_deadline);
}

bool drain_passed(const struct worker *w) { return w->draining && list_empty(&w->flows_all) && list_empty(&w->tunnels_all); }

void drain_step(struct worker *w) {
    if (!drain_passed(w) || !w->drain_reply)
        return;
    struct mail_drain *m = mail_drain_new(0, NULL);
    if (m) {
        m->worker = w->options.index;
        if (mailbox_post(w->drain_reply, &m->mail)) {
            counter_add(&w->options.stats->mail_lost, 1);
            mail_free(&m->mail);
        }
    }
    w->drain_reply = mailbox_unref(w->drain_reply);
}
