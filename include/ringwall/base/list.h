/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/list.h - intrusive doubly linked list; a node knows whether it is linked */
#pragma once

#include <ringwall/base/defs.h>

struct list {
    struct list *next; /* NULL: not linked (or list never initialised) */
    struct list *prev;
};
#define LIST_NULL ((struct list){0})
#define LIST_INIT(l) ((struct list){.next = &(l), .prev = &(l)})

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *n) { return n->next != NULL; }

static inline void list_insert_between(struct list *n, struct list *prev, struct list *next) {
    n->next = next;
    n->prev = prev;
    prev->next = n;
    next->prev = n;
}
static inline void list_push_front(struct list *l, struct list *n) { list_insert_between(n, l, l->next); }
static inline void list_push_back(struct list *l, struct list *n) { list_insert_between(n, l->prev, l); }
static inline void list_unlink(struct list *n) {
    if (!n->next)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
}
static inline struct list *list_first(struct list *l) { return list_empty(l) ? NULL : l->next; }
static inline struct list *list_pop_front(struct list *l) {
    struct list *n = list_first(l);
    if (n)
        list_unlink(n);
    return n;
}

#define list_entry(n, type, member) container_of(n, type, member)
#define list_for_each(it, l) for (struct list *it = (l)->next; it != (l); it = it->next)
/* The body may unlink `it`. */
#define list_for_each_safe(it, l) \
    for (struct list *it = (l)->next, *it##_next = it->next; it != (l); it = it##_next, it##_next = it->next)
