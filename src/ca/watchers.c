/* SPDX-License-Identifier: GPL-3.0-or-later
 * watchers.c - whom the trust bundles are told, and who has adopted them
 *
 * A generation counts as acknowledged when every watcher has said so; only then a provider signs below a root that came
 * with it. With no watcher there is nobody here whom a new root could surprise. */
#include <stdlib.h>

#include "authority.h"

static struct watcher *find(struct authority *a, const struct mailbox *reply) {
    for (size_t i = 0; i < a->n_watchers; i++)
        if (a->watchers[i].reply == reply)
            return &a->watchers[i];
    return NULL;
}

static void forget_closed(struct authority *a) {
    for (size_t i = a->n_watchers; i-- > 0;)
        if (mailbox_closed(a->watchers[i].reply)) {
            mailbox_unref(a->watchers[i].reply);
            a->watchers[i] = a->watchers[--a->n_watchers];
        }
}

static void count_acknowledged(struct authority *a, int64_t now_s) {
    uint64_t least = a->generation;
    for (size_t i = 0; i < a->n_watchers; i++)
        least = min_of(least, a->watchers[i].acknowledged);
    if (least <= a->acknowledged && a->acknowledged != 0)
        return;
    a->acknowledged = least;
    counter_set(&a->stats->bundle_acknowledged, least);
    if (least == a->generation && a->ops->acknowledged)
        a->ops->acknowledged(a->provider, now_s);
}

void watchers_request(struct authority *a, const struct ca_request *q, struct mailbox *reply, int64_t now_s) {
    struct watcher *w = reply ? find(a, reply) : NULL;
    if (w && q->acknowledged > w->acknowledged && q->acknowledged <= a->generation)
        w->acknowledged = q->acknowledged;
    bool is_new = q->watch && reply && !w;
    if (is_new) {
        forget_closed(a);
        if (a->n_watchers == CA_WATCHERS_MAX) {
            struct judgement j = refuse(CA_RESOURCE_EXHAUSTED, "at most %d watch the bundles", CA_WATCHERS_MAX);
            answer_refusal(a, q, NULL, reply, now_s, &j);
            return;
        }
        a->watchers[a->n_watchers++] = (struct watcher){.reply = mailbox_ref(reply), .id = q->id};
    }
    /* An acknowledgement alone is no question: its answer would be the very news that it acknowledges. */
    if (is_new || !q->acknowledged)
        answer_bundle(a, reply, q->id);
    count_acknowledged(a, now_s);
}

void watchers_tell(struct authority *a, int64_t now_s) {
    if (a->changed) {
        a->changed = false;
        a->generation++;
        counter_set(&a->stats->bundle_generation, a->generation);
        for (size_t i = 0; i < a->n_watchers; i++)
            a->watchers[i].stale = true;
    }
    forget_closed(a);
    for (size_t i = 0; i < a->n_watchers; i++) {
        struct watcher *w = &a->watchers[i];
        if (!w->stale)
            continue;
        if (a->n_held == CA_HELD_MAX)
            authority_flush(a);
        w->stale = false; /* authority_flush sets it again when the mailbox is full */
        answer_bundle(a, w->reply, w->id);
    }
    count_acknowledged(a, now_s);
}
