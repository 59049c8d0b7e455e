/* SPDX-License-Identifier: GPL-3.0-or-later
 * history.c - a ring of denials; a table of contacts with two lists by age, whose oldest give way: each its own, but that
 * the lesser one takes from the other until it has its quarter */
#include "history.h"

#include <assert.h>
#include <stdlib.h>

#include <ringwall/base/check.h>

static_assert(offsetof(struct contact_key, source) == 39, "a contact's key has no padding before its text");

enum { AGES_POLICY, AGES_PLAIN_OUT, _AGES };

struct history {
    struct denial *denials;
    size_t denials_max, n_denials, next_denial;
    struct contact *contacts;
    size_t contacts_max, n_contacts; /* used places; all once it is full */
    struct map by_key;
    struct list by_age[_AGES];
    size_t n_plain_out;
};

struct history *history_new(size_t denials_max, size_t contacts_max) {
    check(denials_max > 0 && contacts_max > 0);
    struct history *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->denials_max = denials_max;
    h->contacts_max = contacts_max;
    h->denials = calloc(denials_max, sizeof(*h->denials));
    h->contacts = calloc(contacts_max, sizeof(*h->contacts));
    for (unsigned i = 0; i < _AGES; i++)
        list_init(&h->by_age[i]);
    if (!h->denials || !h->contacts || map_init(&h->by_key, contacts_max) < 0)
        return history_free(h);
    return h;
}

struct history *history_free(struct history *h) {
    if (!h)
        return NULL;
    map_deinit(&h->by_key);
    free(h->denials);
    free(h->contacts);
    free(h);
    return NULL;
}

struct denial *history_add_denial(struct history *h) {
    struct denial *d = &h->denials[h->next_denial];
    h->next_denial = (h->next_denial + 1) % h->denials_max;
    h->n_denials = min_of(h->n_denials + 1, h->denials_max);
    memset(d, 0, sizeof(*d));
    return d;
}

size_t history_n_denials(const struct history *h) { return h->n_denials; }

const struct denial *history_denial_at(const struct history *h, size_t i) {
    check(i < h->n_denials);
    return &h->denials[(h->next_denial + h->denials_max - h->n_denials + i) % h->denials_max];
}

void contact_key_set_source(struct contact_key *k, const struct identity *source) {
    struct str uri = source ? identity_uri(source) : STR_NULL;
    check(uri.n <= sizeof(k->source));
    k->source_bytes = (uint16_t)uri.n;
    if (uri.n)
        memcpy(k->source, uri.at, uri.n);
}

static size_t key_bytes(const struct contact_key *k) {
    check(k->source_bytes <= sizeof(k->source));
    return offsetof(struct contact_key, source) + k->source_bytes;
}

static bool is_plain_out(const struct contact_key *k) { return k->outbound && !k->mtls; }

/* A place that was never used, else the oldest contact's. */
static struct contact *contact_place(struct history *h, bool plain_out) {
    bool at_quota = plain_out && h->n_plain_out >= max_of(h->contacts_max / 4, (size_t)1);
    h->n_plain_out += plain_out && !at_quota;
    if (!at_quota && h->n_contacts < h->contacts_max)
        return &h->contacts[h->n_contacts++];
    bool from_plain_out = at_quota || list_empty(&h->by_age[AGES_POLICY]);
    h->n_plain_out -= from_plain_out && !plain_out;
    struct contact *c =
        list_entry(list_pop_front(&h->by_age[from_plain_out ? AGES_PLAIN_OUT : AGES_POLICY]), struct contact, by_age);
    map_remove(&h->by_key, &c->node);
    return c;
}

struct contact *history_add_contact(struct history *h, const struct contact_key *key) {
    struct map_node *found = map_find(&h->by_key, key, key_bytes(key));
    struct contact *c = found ? map_entry(found, struct contact, node) : contact_place(h, is_plain_out(key));
    if (found) {
        list_unlink(&c->by_age);
    } else {
        *c = (struct contact){.key = *key};
        check(map_insert(&h->by_key, &c->node, &c->key, key_bytes(key)) == 0);
    }
    list_push_back(&h->by_age[is_plain_out(key) ? AGES_PLAIN_OUT : AGES_POLICY], &c->by_age);
    c->count++;
    return c;
}

size_t history_n_contacts(const struct history *h) { return h->n_contacts; }

const struct contact *history_next_contact(const struct history *h, const struct contact *previous) {
    const struct list *next = previous ? previous->by_age.next : h->by_age[0].next;
    for (unsigned i = 0; i < _AGES; i++)
        if (next == &h->by_age[i])
            next = i + 1 < _AGES ? h->by_age[i + 1].next : NULL;
    return next ? list_entry(next, struct contact, by_age) : NULL;
}

/* ---- counters ---- */

void stats_count_denied(struct stats_denials *d, struct str policy, enum close_reason reason) {
    check(reason < _CLOSE_REASON_MAX);
    size_t n = atomic_load_explicit(&d->n_items, memory_order_relaxed);
    for (size_t i = 0; i < n; i++) {
        struct stats_denied *s = &d->items[i];
        if (s->reason == reason && str_is((struct str){s->policy, s->policy_bytes}, policy)) {
            counter_add(&s->n, 1);
            return;
        }
    }
    if (n == STATS_DENIED_MAX || policy.n > STATS_POLICY_BYTES) {
        counter_add(&d->other[reason], 1);
        return;
    }
    struct stats_denied *s = &d->items[n];
    s->reason = reason;
    s->policy_bytes = (uint32_t)policy.n;
    if (policy.n)
        memcpy(s->policy, policy.at, policy.n);
    counter_set(&s->n, 1);
    atomic_store_explicit(&d->n_items, n + 1, memory_order_release);
}
