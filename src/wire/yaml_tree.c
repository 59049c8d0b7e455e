/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_tree.c - see yaml_tree.h
 *
 * The tree is built without recursion on a stack of YAML_DEPTH_MAX levels. All text is copied into the arena, so the input
 * may go. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "yaml_tree.h"

enum {
    PAIRWISE_MAX = 12, /* keys of a mapping that are compared pair by pair; more are sorted */
    WORD_MAX = 40,
};

int tree_refuse(struct tree *t, struct place at, const char *fmt, ...) {
    struct text text = TEXT_OVER(t->error->text);
    va_list ap;

    va_start(ap, fmt);
    text_addv(&text, fmt, ap);
    va_end(ap);
    t->error->line = at.line;
    t->error->column = at.column;
    return 1;
}

/* A copy of a word, shared with earlier equal ones where the small table still knows them. NULL .at: no memory. */
static struct str word_copy(struct tree *t, struct str s) {
    uint32_t hash = 2166136261u;
    struct str *known;
    bool ok = true;

    for (size_t i = 0; i < s.n; i++)
        hash = (hash ^ (uint8_t)s.at[i]) * 16777619u;
    known = &t->words[hash % TREE_WORDS_REMEMBERED];
    if (known->at && str_is(*known, s))
        return *known;
    s = arena_str(t->arena, s, &ok);
    if (!ok)
        return STR_NULL;
    *known = s;
    return s;
}

static struct yaml_node *node_new(struct tree *t, enum yaml_kind kind, struct place at) {
    struct yaml_node *n = arena_array(t->arena, struct yaml_node, 1);

    if (!n)
        return NULL;
    n->kind = kind;
    n->line = at.line;
    n->column = at.column;
    return n;
}

/* Hangs a node under the collection being read, or makes it the root. */
static void node_hang(struct tree *t, struct yaml_node *n) {
    struct tree_level *l;

    if (t->depth == 0) {
        t->root = n;
        return;
    }
    l = &t->levels[t->depth - 1];
    if (l->node->kind == YAML_MAPPING) {
        n->key = l->key;
        n->key_line = l->key_line;
        n->key_column = l->key_column;
        l->has_key = false;
    }
    if (l->last)
        l->last->next = n;
    else
        l->node->first = n;
    l->last = n;
    l->node->n_children++;
}

bool tree_wants_key(const struct tree *t) {
    return t->depth && t->levels[t->depth - 1].node->kind == YAML_MAPPING && !t->levels[t->depth - 1].has_key;
}

static int key_taken(struct tree *t, struct str key, struct place at) {
    struct tree_level *l = &t->levels[t->depth - 1];

    if (key.n == 0)
        return tree_refuse(t, at, "empty key: write a name before the colon");
    if (str_is(key, STR("<<")))
        return tree_refuse(t, at, "merge key \"<<\" is not supported: write the keys out");
    l->key = word_copy(t, key);
    if (!l->key.at)
        return -ENOMEM;
    l->key_line = at.line;
    l->key_column = at.column;
    l->has_key = true;
    return 0;
}

static int bounded(struct tree *t, struct place at) {
    if (++t->n_nodes > YAML_NODES_MAX)
        return tree_refuse(t, at, "document has more than %d values: split it with \"---\" or into files", YAML_NODES_MAX);
    return 0;
}

static int key_order(const void *a, const void *b) {
    const struct yaml_node *x = *(struct yaml_node *const *)a, *y = *(struct yaml_node *const *)b;
    int order = str_compare(x->key, y->key);

    if (order)
        return order;
    if (x->key_line != y->key_line)
        return x->key_line < y->key_line ? -1 : 1;
    return x->key_column < y->key_column ? -1 : x->key_column > y->key_column;
}

static int refuse_twice(struct tree *t, const struct yaml_node *first, const struct yaml_node *again) {
    return tree_refuse(t, (struct place){again->key_line, again->key_column},
                       "key \"%.*s\" is here a second time; the first is at %u:%u: keep one", (int)min_of(again->key.n, (size_t)64),
                       again->key.at, first->key_line, first->key_column);
}

static int keys_differ_sorted(struct tree *t, const struct yaml_node *mapping) {
    cleanup_free struct yaml_node **sorted = malloc(mapping->n_children * sizeof(struct yaml_node *));
    size_t n = 0;

    if (!sorted)
        return -ENOMEM;
    yaml_for_each(it, mapping) sorted[n++] = it;
    qsort(sorted, n, sizeof(*sorted), key_order);
    for (size_t i = 1; i < n; i++)
        if (str_is(sorted[i - 1]->key, sorted[i]->key))
            return refuse_twice(t, sorted[i - 1], sorted[i]);
    return 0;
}

static int keys_differ(struct tree *t, const struct yaml_node *mapping) {
    if (mapping->n_children > PAIRWISE_MAX)
        return keys_differ_sorted(t, mapping);
    yaml_for_each(it, mapping) for (const struct yaml_node *later = it->next; later;
                                    later = later->next) if (str_is(it->key, later->key)) return refuse_twice(t, it, later);
    return 0;
}

void tree_document_begun(struct tree *t) {
    t->root = NULL;
    t->n_nodes = 0;
    t->depth = 0;
    memset(t->words, 0, sizeof(t->words)); /* the arena may be reset between documents */
}

const struct tree_level *tree_level(const struct tree *t) { return t->depth ? &t->levels[t->depth - 1] : NULL; }

int tree_scalar(struct tree *t, struct place at, struct str text, bool quoted) {
    struct yaml_node *n;
    bool ok = true;
    int v;

    if (text.n > YAML_SCALAR_MAX)
        return tree_refuse(t, at, "value is longer than %d KiB", YAML_SCALAR_MAX / 1024);
    if (tree_wants_key(t))
        return key_taken(t, text, at);
    v = bounded(t, at);
    if (v)
        return v;
    n = node_new(t, YAML_SCALAR, at);
    if (!n)
        return -ENOMEM;
    n->quoted = quoted;
    if (text.n && text.n <= WORD_MAX)
        n->scalar = word_copy(t, text);
    else if (text.n)
        n->scalar = arena_str(t->arena, text, &ok);
    node_hang(t, n);
    return text.n && !n->scalar.at ? -ENOMEM : 0;
}

int tree_begun(struct tree *t, struct place at, enum yaml_kind kind) {
    struct yaml_node *n;
    int v = 0;

    if (tree_wants_key(t))
        v = tree_refuse(t, at, "a list or mapping cannot be a key: write a plain name before the colon");
    if (!v && t->depth == YAML_DEPTH_MAX)
        v = tree_refuse(t, at, "nested deeper than %d levels", YAML_DEPTH_MAX);
    if (!v)
        v = bounded(t, at);
    if (v)
        return v;
    n = node_new(t, kind, at);
    if (!n)
        return -ENOMEM;
    node_hang(t, n);
    t->levels[t->depth++] = (struct tree_level){.node = n};
    return 0;
}

int tree_ended(struct tree *t) {
    const struct tree_level *l;

    check(t->depth > 0);
    l = &t->levels[--t->depth];
    return l->node->kind == YAML_MAPPING ? keys_differ(t, l->node) : 0;
}
