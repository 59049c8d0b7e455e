/* SPDX-License-Identifier: GPL-3.0-or-later
 * credentials.c - one slot an identity; a new credential wakes who waited and retires tunnels made with the old one */
#include "credentials.h"

#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

#include "hop.h"
#include "pod.h"
#include "tunnel.h"
#include "ways.h"
#include "worker.h"

static struct credential_slot *slot_find(struct worker *w, const struct identity *i) {
    struct map_node *n = map_find(&w->credentials, i->text, i->n);
    return n ? map_entry(n, struct credential_slot, node) : NULL;
}

static struct credential_slot *slot_get(struct worker *w, const struct identity *i) {
    struct credential_slot *s = slot_find(w, i);
    if (s)
        return s;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->worker = w;
    s->identity = *i;
    list_init(&s->flows);
    list_init(&s->tunnels);
    ignore_result(map_insert(&w->credentials, &s->node, s->identity.text, s->identity.n)); /* not there: looked up above */
    return s;
}

static void slot_drop_credential(struct credential_slot *s) {
    for (size_t i = 0; i < array_size(s->contexts); i++)
        if (s->contexts[i])
            s->contexts[i] = tls_context_unref(s->contexts[i]);
    if (s->credential)
        s->credential = tls_credential_unref(s->credential);
}

static void slot_free(struct credential_slot *s) {
    check(list_empty(&s->flows) && list_empty(&s->tunnels));
    slot_drop_credential(s);
    map_remove(&s->worker->credentials, &s->node);
    free(s);
}

struct credential_slot *credentials_join(struct worker *w, const struct identity *i) {
    struct credential_slot *s = slot_get(w, i);
    if (s)
        s->n_pods++;
    return s;
}

void credentials_leave(struct credential_slot *s) {
    if (!s)
        return;
    check(s->n_pods > 0);
    if (--s->n_pods == 0)
        slot_free(s);
}

bool credentials_valid(const struct credential_slot *s) {
    return s && s->credential && s->worker->trust && tls_credential_not_after(s->credential) > clock_wall_s();
}

struct tls_context *credentials_context(struct credential_slot *s, enum tls_role role) {
    if (!credentials_valid(s))
        return NULL;
    if (!s->contexts[role] && tls_context_new(s->credential, role, &s->contexts[role]))
        s->contexts[role] = NULL;
    return s->contexts[role];
}

void credentials_ask(struct credential_slot *s) {
    struct worker *w = s->worker;
    uint64_t now = worker_now(w);
    if (!w->options.identity || (s->asked_ns && now - s->asked_ns < CREDENTIAL_ASK_NS))
        return;
    s->asked_ns = now;
    struct mail_credential_want *m = mail_credential_want_new(&s->identity);
    if (m && mailbox_post(w->options.identity, &m->mail)) {
        counter_add(&w->options.stats->mail_lost, 1);
        mail_free(&m->mail);
    }
}

static void slot_wake(struct credential_slot *s) {
    struct list woken = LIST_INIT(woken), *n;
    while ((n = list_pop_front(&s->flows))) /* whoever parks again (it may have expired already) waits for the next one */
        list_push_back(&woken, n);
    while ((n = list_pop_front(&woken)))
        outbound_go(list_entry(n, struct flow, waiting));
    list_for_each (it, &s->tunnels)
        tunnel_touch(list_entry(it, struct tunnel, parked));
}

static void slot_retire_old(struct credential_slot *s) {
    uint64_t generation = tls_credential_generation(s->credential);
    list_for_each (it, &s->worker->pods_all) {
        struct pod *p = list_entry(it, struct pod, link);
        if (p->slot == s)
            hops_retire_of(p, generation);
    }
    list_for_each (it, &s->worker->tunnels_all) { /* the peers' new flows come through tunnels with the new certificate */
        struct tunnel *t = list_entry(it, struct tunnel, in_worker);
        if (t->server && t->state == TUNNEL_OPEN && t->pod->slot == s && t->credential_generation != generation)
            tunnel_retire(t);
    }
}

void credentials_recheck(struct worker *w) {
    size_t cursor = 0;
    struct map_node *n = NULL;
    while ((n = map_next(&w->credentials, &cursor, n))) {
        struct credential_slot *s = map_entry(n, struct credential_slot, node);
        enum tls_trust_verdict v = s->credential ? tls_peer_recheck(tls_credential_self(s->credential), w->trust) : TLS_TRUST_OK;
        if (v == TLS_TRUST_OK)
            continue;
        snprintf(s->why, sizeof(s->why), "our own: %s", tls_trust_text(v));
        slot_drop_credential(s);
        credentials_ask(s);
    }
}

void credentials_arrived(struct worker *w, struct mail_credential *m) {
    struct credential_slot *s = m->credential ? slot_get(w, &m->identity) : slot_find(w, &m->identity);
    if (!s)
        return;
    if (!m->credential) { /* what we have stays in use until it expires */
        memcpy(s->why, m->why, sizeof(s->why));
        s->why[sizeof(s->why) - 1] = 0;
        if (s->n_pods == 0)
            slot_free(s);
        return;
    }
    slot_drop_credential(s);
    s->credential = take_ptr(m->credential);
    s->why[0] = 0;
    slot_retire_old(s);
    slot_wake(s);
}

void credentials_forget(struct worker *w) {
    size_t cursor = 0;
    struct map_node *n;
    while ((n = map_next(&w->credentials, &cursor, NULL)))
        slot_free(map_entry(n, struct credential_slot, node));
}
