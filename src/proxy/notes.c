/* SPDX-License-Identifier: GPL-3.0-or-later
 * notes.c - see notes.h. The key of settled notes is the used part of their facts as bytes: places, lengths, text; equal
 * names that were set in another order are other bytes, which costs a copy and nothing else */
#include "notes.h"

#include <errno.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

enum { SETTLED_EXPECTED = 64 };

int notebook_init(struct notebook *b, size_t n_flows) {
    b->pool = pool_new(NOTES_MAGIC, sizeof(struct notes), n_flows);
    if (!b->pool)
        return err_origin(-ENOMEM);
    return err_trace(map_init(&b->settled, SETTLED_EXPECTED));
}

void notebook_deinit(struct notebook *b) {
    map_deinit(&b->settled);
    b->pool = pool_free(b->pool);
}

struct notes *notes_acquire(struct notebook *b) {
    struct notes *n = pool_acquire(b->pool);
    check(n); /* a place for each flow */
    n->n_refs = 1;
    return n;
}

struct notes *notes_release(struct notebook *b, struct notes *n) {
    if (!n)
        return NULL;
    check_pooled(n, NOTES_MAGIC);
    check(n->n_refs > 0);
    if (--n->n_refs > 0)
        return NULL;
    if (n->settled)
        map_remove(&b->settled, &n->node);
    pool_release(b->pool, n);
    return NULL;
}

struct notes *notes_settle(struct notebook *b, struct notes *n) {
    check_pooled(n, NOTES_MAGIC);
    if (n->settled)
        return n;
    struct map_node *known = map_find_or_insert(&b->settled, &n->node, &n->facts, offsetof(struct facts, text) + n->facts.used);
    if (!known) {
        n->settled = true;
        return n;
    }
    notes_release(b, n);
    struct notes *same = map_entry(known, struct notes, node);
    same->n_refs++;
    return same;
}

struct notes *notes_own(struct notebook *b, struct notes *n) {
    check_pooled(n, NOTES_MAGIC);
    if (!n->settled)
        return n;
    if (n->n_refs == 1) {
        map_remove(&b->settled, &n->node);
        n->settled = false;
        return n;
    }
    struct notes *own = notes_acquire(b);
    facts_copy(&own->facts, &n->facts);
    notes_release(b, n);
    return own;
}
