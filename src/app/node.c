/* SPDX-License-Identifier: GPL-3.0-or-later
 * node.c - the main thread's state and its mail: worlds, credentials, pods that left, questions from admin */
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/log.h>
#include <ringwall/base/rng.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/quit.h>
#include <ringwall/mail/trust.h>
#include <ringwall/mail/world.h>
#include <ringwall/wire/json.h>

#include "app.h"

void node_init(struct node *n, struct node_config *config) {
    *n = (struct node){.config = config};
    list_init(&n->pods);
    ready_init(&n->ready);
    /* Numbers of an earlier life may still stand in the kernel's maps: begin elsewhere, so that none is taken for ours. */
    uint16_t life = 0;
    while (life == 0)
        rng_secret(&life, sizeof(life));
    n->next_id = (uint32_t)life << 16 | 1;
}

void node_deinit(struct node *n) {
    struct list *it;
    while ((it = list_pop_front(&n->pods))) {
        struct pod *p = list_entry(it, struct pod, link);
        if (p->capture)
            p->capture = capture_release(n->capture, p->capture, true);
        free(p->netns_path);
        free(p->cgroup_path);
        free(p);
    }
    free(n->identities);
    free(n->has_credential);
    pthread_mutex_destroy(&n->ready.lock);
}

static int identity_order(const void *a, const void *b) { return str_compare(identity_uri(a), identity_uri(b)); }

/* Index of the identity, or n_identities. */
static size_t identity_find(const struct node *n, const struct identity *i) {
    const struct identity *hit =
        n->n_identities == 0 ? NULL : bsearch(i, n->identities, n->n_identities, sizeof(*i), identity_order);
    return hit ? (size_t)(hit - n->identities) : n->n_identities;
}

static void node_note_credentials(struct node *n) {
    size_t have = 0;
    for (size_t i = 0; i < n->n_identities; i++)
        have += n->has_credential[i];
    pthread_mutex_lock(&n->ready.lock);
    n->ready.n_identities = n->n_identities;
    n->ready.n_credentials = have;
    pthread_mutex_unlock(&n->ready.lock);
}

void node_announce_identities(struct node *n) {
    size_t n_pods = 0;
    list_for_each (it, &n->pods)
        n_pods += list_entry(it, struct pod, link)->wanted;
    struct identity *all = calloc(n_pods + 1, sizeof(*all));
    bool *has = calloc(n_pods + 1, sizeof(*has));
    struct mail_identities *m = NULL;
    size_t count = 0;
    if (!all || !has)
        goto out;
    list_for_each (it, &n->pods) {
        struct pod *p = list_entry(it, struct pod, link);
        if (p->wanted && pod_has_place(p))
            all[count++] = p->identity;
    }
    if (count > 0)
        qsort(all, count, sizeof(*all), identity_order);
    size_t unique = 0;
    for (size_t i = 0; i < count; i++)
        if (unique == 0 || !identity_is(&all[unique - 1], &all[i]))
            all[unique++] = all[i];
    m = mail_identities_new(unique);
    if (!m)
        goto out;
    for (size_t i = 0; i < unique; i++) {
        m->items[i] = all[i];
        size_t old = identity_find(n, &all[i]);
        has[i] = old < n->n_identities && n->has_credential[old];
    }
    if (mailbox_post(n->identity, &m->mail) != 0) {
        log_error("enrol", "the identity thread does not take mail: certificates may be missing");
        mail_free(&m->mail);
    }
    free(n->identities);
    free(n->has_credential);
    n->identities = take_ptr(all);
    n->has_credential = take_ptr(has);
    n->n_identities = unique;
    node_note_credentials(n);
out:
    free(all);
    free(has);
}

void node_credential(struct node *n, const struct mail_credential *m) {
    size_t i = identity_find(n, &m->identity);
    if (i == n->n_identities)
        return;
    n->has_credential[i] = m->credential != NULL;
    node_note_credentials(n);
}

static void write_pod(struct json_writer *w, const struct pod *p) {
    json_object(w, NULL);
    json_z(w, "namespace", p->ns);
    json_z(w, "name", p->name);
    json_z(w, "uid", p->uid);
    json_str(w, "identity", identity_uri(&p->identity));
    json_z(w, "netns", p->netns_path);
    json_z(w, "cgroup", p->cgroup_path);
    json_bool(w, "captured", pod_is_captured(p));
    json_bool(w, "leaving", p->n_leaving > 0);
    if (p->why[0])
        json_z(w, "why", p->why);
    json_end(w);
}

static void node_answer(struct node *n, const struct mail_ask *ask) {
    struct mail_answer *answer = mail_answer_new(ask->id);
    if (!answer)
        return;
    struct json_writer w;
    json_begin(&w, &answer->json, false);
    json_object(&w, NULL);
    char why[128];
    node_look_kernel(n);
    json_bool(&w, "ready", ready_ask(&n->ready, why));
    json_z(&w, "why", why);
    json_str(&w, "node", n->config->world.node);
    json_u64(&w, "workers", n->n_workers);
    if (ask->what == ASK_CAPTURE) {
        json_z(&w, "mode", n->capture ? "ebpf" : "none");
        json_array(&w, "pods");
        list_for_each (it, &n->pods)
            write_pod(&w, list_entry(it, struct pod, link));
        json_end(&w);
        uint64_t counts[_CAPTURE_COUNT_MAX];
        if (n->capture && capture_counts(n->capture, counts) == 0) {
            static const char *const names[] = {
#define COUNT_NAME(upper, lower, text) #lower,
                CAPTURE_COUNTS(COUNT_NAME)
#undef COUNT_NAME
            };
            json_object(&w, "counters");
            for (size_t i = 0; i < array_size(names); i++)
                json_u64(&w, names[i], counts[i]);
            json_end(&w);
            json_u64(&w, "originalDestinations", capture_origdst_used(n->capture));
        }
    }
    json_end(&w);
    if (mailbox_post(ask->reply, &answer->mail) != 0)
        mail_free(&answer->mail);
}

void node_handle(struct node *n, struct mail *m, bool *ret_quit) {
    if (m->type == &mail_world_type)
        node_world_changed(n);
    else if (m->type == &mail_credential_type)
        node_credential(n, container_of(m, struct mail_credential, mail));
    else if (m->type == &mail_trust_type) { /* main makes no handshakes: to have read it is to have adopted it */
        ignore_result(mail_trust_adopted(container_of(m, struct mail_trust, mail))); /* its thread ended: nobody waits */
        return;
    } else if (m->type == &mail_pod_gone_type)
        node_pod_gone(n, container_of(m, struct mail_pod_gone, mail)->id);
    else if (m->type == &mail_ask_type)
        node_answer(n, container_of(m, struct mail_ask, mail));
    else if (m->type == &mail_quit_type)
        *ret_quit = true;
    mail_free(m);
}
