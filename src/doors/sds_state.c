/* SPDX-License-Identifier: GPL-3.0-or-later
 * sds_state.c - see sds_state.h */
#include "sds_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

void sds_state_init(struct sds_state *s, bool delta, uint64_t salt) { *s = (struct sds_state){.delta = delta, .salt = salt}; }

void sds_state_deinit(struct sds_state *s) {
    for (size_t i = 0; i < s->n_items; i++)
        free(s->items[i].name);
    free(s->items);
    *s = (struct sds_state){0};
}

void sds_state_nonce(const struct sds_state *s, char ret[SDS_MARK_BYTES]) {
    snprintf(ret, SDS_MARK_BYTES, "%016llx%08llx", (unsigned long long)s->salt, (unsigned long long)s->serial);
}

void sds_state_version(const struct sds_state *s, char ret[SDS_MARK_BYTES]) {
    snprintf(ret, SDS_MARK_BYTES, "%016llx/%llu", (unsigned long long)s->salt, (unsigned long long)s->serial);
}

/* ---- the set of names ---- */

static struct sds_item *item_find(const struct sds_state *s, struct str name) {
    for (size_t i = 0; i < s->n_items; i++)
        if (str_is(str_of(s->items[i].name), name))
            return &s->items[i];
    return NULL;
}

static void item_remove(struct sds_state *s, struct sds_item *item) {
    free(item->name);
    *item = s->items[--s->n_items];
}

/* 0, 1: at the bound; negative errno. One that is there already stays as it is, or is owed an answer again. */
static int item_add(struct sds_state *s, const struct sds_name *n, bool again) {
    struct sds_item *old = item_find(s, n->name);
    if (old) {
        old->asked = old->asked || again;
        return 0;
    }
    if (s->n_items == SDS_ITEMS_MAX)
        return 1;
    struct sds_item *grown = realloc(s->items, (s->n_items + 1) * sizeof(*grown));
    if (!grown)
        return err_origin(-ENOMEM);
    s->items = grown;
    char *name = str_dup(n->name);
    if (!name)
        return err_origin(-ENOMEM);
    s->items[s->n_items++] = (struct sds_item){.name = name, .root = n->root, .asked = true};
    return 0;
}

static bool name_among(const struct sds_name *names, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (str_is(names[i].name, str_of(name)))
            return true;
    return false;
}

/* The set becomes `names`: new ones are owed an answer, those left out are forgotten. */
static int items_become(struct sds_state *s, const struct sds_name *names, size_t n) {
    for (size_t i = s->n_items; i-- > 0;)
        if (!name_among(names, n, s->items[i].name))
            item_remove(s, &s->items[i]);
    for (size_t i = 0; i < n; i++) {
        int r = item_add(s, &names[i], false);
        if (r != 0)
            return r;
    }
    return 0;
}

int sds_state_wild(struct sds_state *s, const struct sds_name *names, size_t n) {
    check(s->wildcard);
    return items_become(s, names, n);
}

static int hear_world(struct sds_state *s, const struct sds_ask *a, bool first) {
    if (first)
        s->wildcard = a->n_names == 0;
    else if (a->n_names > 0)
        s->wildcard = false;
    return s->wildcard ? 0 : items_become(s, a->names, a->n_names);
}

/* What the client has from an earlier stream is not sent again while it is the same. */
static void hear_have(struct sds_state *s, const struct sds_ask *a) {
    for (size_t i = 0; i < a->n_have; i++) {
        struct sds_item *item = a->have[i].version ? item_find(s, a->have[i].name) : NULL;
        if (!item)
            continue;
        item->sent = a->have[i].version;
        item->asked = false;
    }
}

static int hear_delta(struct sds_state *s, const struct sds_ask *a, bool first) {
    for (size_t i = 0; i < a->n_gone; i++) {
        struct sds_item *item = item_find(s, a->gone[i]);
        if (str_is(a->gone[i], STR("*")))
            s->wildcard = false;
        if (item)
            item_remove(s, item);
    }
    for (size_t i = 0; i < a->n_names; i++) {
        int r = item_add(s, &a->names[i], true);
        if (r != 0)
            return r;
    }
    s->wildcard = s->wildcard || a->wild || (first && a->n_names == 0);
    if (first)
        hear_have(s, a);
    return 0;
}

/* ---- what was heard ---- */

static enum sds_heard judge_nonce(const struct sds_state *s, const struct sds_ask *a) {
    char nonce[SDS_MARK_BYTES], version[SDS_MARK_BYTES];
    if (s->serial == 0 && a->nonce.n == 0)
        return SDS_CHANGED;
    sds_state_nonce(s, nonce);
    if (!s->serial || !str_is(a->nonce, str_of(nonce)))
        return s->delta && a->nonce.n == 0 ? SDS_CHANGED : SDS_STALE;
    sds_state_version(s, version);
    if (a->has_error)
        return SDS_NACK;
    if (!s->waiting)
        return SDS_CHANGED; /* answered before: now the names are others */
    return s->delta || str_is(a->version, str_of(version)) ? SDS_ACK : SDS_NACK;
}

int sds_state_hear(struct sds_state *s, const struct sds_ask *a, enum sds_heard *ret) {
    bool first = !s->begun;
    s->begun = true;
    enum sds_heard heard = first ? SDS_FIRST : judge_nonce(s, a);
    if (heard == SDS_ACK || heard == SDS_NACK)
        s->waiting = false;
    int r = 0;
    if (s->delta)
        r = hear_delta(s, a, first);
    else if (heard != SDS_STALE)
        r = hear_world(s, a, first);
    if (r == 0)
        *ret = heard;
    return r;
}

/* ---- what to send ---- */

static bool item_due(const struct sds_item *i) { return i->now != 0 && (i->asked || i->now != i->sent); }

static bool still_waiting(const struct sds_state *s, uint64_t now_ns) {
    return s->waiting && now_ns < s->sent_ns + SDS_ANSWER_WAIT_NS;
}

static size_t collect(const struct sds_state *s, bool roots, size_t n, size_t ret[SDS_ITEMS_MAX]) {
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i].root == roots && item_due(&s->items[i]))
            ret[n++] = i;
    return n;
}

size_t sds_state_take(const struct sds_state *s, uint64_t now_ns, size_t ret[SDS_ITEMS_MAX]) {
    if (!s->begun || still_waiting(s, now_ns))
        return 0;
    size_t n = collect(s, true, 0, ret);
    for (size_t i = 0; i < n; i++)
        if (s->items[ret[i]].sent != 0)
            return n; /* changed roots first, and alone */
    return collect(s, false, n, ret);
}

void sds_state_sent(struct sds_state *s, const size_t *items, size_t n, uint64_t now_ns) {
    s->serial++;
    s->waiting = true;
    s->sent_ns = now_ns;
    for (size_t i = 0; i < n; i++) {
        struct sds_item *item = &s->items[items[i]];
        item->asked = false;
        item->sent = item->now;
        item->sent_in = s->serial;
    }
}

uint64_t sds_state_next_ns(const struct sds_state *s) {
    if (!s->waiting)
        return UINT64_MAX;
    for (size_t i = 0; i < s->n_items; i++)
        if (item_due(&s->items[i]))
            return s->sent_ns + SDS_ANSWER_WAIT_NS;
    return UINT64_MAX;
}

bool sds_state_starved(const struct sds_state *s) {
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i].asked && s->items[i].now == 0)
            return true;
    return false;
}

bool sds_state_roots_settled(const struct sds_state *s) {
    for (size_t i = 0; i < s->n_items; i++) {
        const struct sds_item *item = &s->items[i];
        if (item->root && (item_due(item) || (s->waiting && item->sent_in == s->serial)))
            return false;
    }
    return true;
}
