/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/build.c - interning and the index of selectors: what makes building a world linear in its input */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "build.h"

void *build_alloc(struct builder *b, size_t size, size_t n) {
    void *p = n ? arena_alloc_array(&b->world->arena, size, n) : NULL;
    if (n && !p)
        b->failed = true;
    return p;
}

void *build_scratch(struct builder *b, size_t size, size_t n) {
    void *p = n ? arena_alloc_array(&b->scratch, size, n) : NULL;
    if (n && !p)
        b->failed = true;
    return p;
}

static const void *intern(struct builder *b, struct map *in, const void *bytes, size_t n, size_t align) {
    if (n == 0 || b->failed)
        return NULL;
    struct map_node *fresh = b->spare_node ? b->spare_node : build_scratch(b, sizeof(*fresh), 1);
    b->spare_node = fresh;
    if (!fresh)
        return NULL;
    struct map_node *node = map_find_or_insert(in, fresh, bytes, n);
    if (node)
        return node->key;
    b->spare_node = NULL;
    char *copy = arena_alloc_aligned(&b->world->arena, align == 1 ? n + 1 : n, align); /* text has a zero behind */
    if (!copy) {
        b->failed = true;
        return NULL; /* nobody looks at the node any more */
    }
    memcpy(copy, bytes, n);
    fresh->key = copy;
    return copy;
}

/* Most strings were seen a moment ago: names of namespaces, nodes, files, labels. A few bytes choose their place here; a
 * string crafted to miss only takes the longer way. */
static struct str *memo_of(struct builder *b, struct str s) {
    uint64_t head = 0, tail = 0;

    memcpy(&head, s.at, min_of(s.n, sizeof(head)));
    if (s.n > sizeof(tail))
        memcpy(&tail, s.at + s.n - sizeof(tail), sizeof(tail));
    uint64_t mixed = (head ^ s.n) * 0x9e3779b97f4a7c15ULL + tail * 0xc2b2ae3d27d4eb4fULL;
    return &b->memo[(mixed ^ mixed >> 32) % BUILD_MEMO];
}

struct str build_str(struct builder *b, struct str s) {
    struct str *memo = s.n && b->memo ? memo_of(b, s) : NULL;

    if (memo && str_is(*memo, s))
        return *memo;
    const char *at = intern(b, &b->strings, s.at, s.n, 1);
    if (!at)
        return STR_NULL;
    if (memo)
        *memo = (struct str){at, s.n};
    return (struct str){at, s.n};
}

const void *build_blob(struct builder *b, const void *bytes, size_t n) { return intern(b, &b->blobs, bytes, n, _Alignof(void *)); }

struct origin build_origin(struct builder *b, const struct origin *at) {
    return (struct origin){.file = build_str(b, at->file), .line = at->line, .column = at->column};
}

static int compare_labels(const void *x, const void *y) {
    const struct label *a = x, *c = y;
    int r = str_compare(a->key, c->key);
    return r ? r : str_compare(a->value, c->value);
}

const struct label *build_labels(struct builder *b, const struct label *labels, size_t n) {
    cleanup_free struct label *copy = n ? calloc(n, sizeof(*copy)) : NULL;

    if (!copy) {
        b->failed |= n > 0;
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        copy[i] = (struct label){.key = build_str(b, labels[i].key), .value = build_str(b, labels[i].value)};
    qsort(copy, n, sizeof(*copy), compare_labels);
    return build_blob(b, copy, n * sizeof(*copy));
}

struct ns_info *build_ns(struct builder *b, struct str name) {
    static const char nameless[1] = "";
    struct map_node *node = NULL;

    if (b->last_ns && str_is(b->last_ns->name, name))
        return b->last_ns;
    node = map_find(&b->namespaces, name.n ? name.at : nameless, name.n);
    if (node) {
        b->last_ns = map_entry(node, struct ns_info, node);
        return b->last_ns;
    }
    struct ns_info *ns = build_scratch(b, sizeof(*ns), 1);
    if (!ns)
        return NULL;
    ns->name = build_str(b, name);
    if (b->failed)
        return NULL;
    check(map_insert(&b->namespaces, &ns->node, ns->name.n ? ns->name.at : nameless, ns->name.n) == 0);
    return ns;
}

bool build_is_root_ns(const struct builder *b, struct str ns) { return str_is(ns, b->world->settings.root_namespace); }

bool build_ns_unknown(struct builder *b, struct str ns) {
    bool any = b->input->n_namespaces || b->input->n_workloads;
    struct ns_info *known = any ? build_ns(b, ns) : NULL;
    return known && !known->spec && !known->inhabited;
}

void build_say_ns_unknown(struct builder *b, struct str ns, struct text *to) {
    struct str near = STR_NULL;
    size_t best = ns.n > 4 ? 3 : 2, cursor = 0;

    for (struct map_node *node = NULL; b->diags->n < DIAG_MAX && (node = map_next(&b->namespaces, &cursor, node));) {
        const struct ns_info *i = map_entry(node, struct ns_info, node);
        size_t d = i->spec || i->inhabited ? str_distance(ns, i->name) : SIZE_MAX;
        if (d < best || (near.n && d == best && str_compare(i->name, near) < 0)) {
            best = d;
            near = i->name;
        }
    }
    text_addf(to, b->input->n_namespaces ? "namespace " STR_FMT " is not declared" : "no workload is in namespace " STR_FMT,
              STR_ARG(ns));
    if (near.n)
        text_addf(to, "; did you mean " STR_FMT "?", STR_ARG(near));
}

struct label_key { /* pointers of interned strings: equal strings are equal pointers */
    const char *scope, *key, *value;
};
struct label_slot {
    struct map_node node;
    struct label_key key;
    uint64_t n;
    struct selected_by *first;
};

static struct label_slot *label_slot(const struct selector_index *x, const char *scope, const struct label *l) {
    struct label_key key = {scope, l->key.at, l->value.at};
    struct map_node *node = map_find(&x->by_label, &key, sizeof(key));
    return node ? map_entry(node, struct label_slot, node) : NULL;
}

void selector_index_count(struct builder *b, struct selector_index *x, const char *scope, const struct label *labels, size_t n) {
    for (size_t i = 0; labels && i < n; i++) {
        struct label_slot *slot = label_slot(x, scope, &labels[i]);
        if (!slot) {
            slot = build_scratch(b, sizeof(*slot), 1);
            if (!slot)
                return;
            slot->key = (struct label_key){scope, labels[i].key.at, labels[i].value.at};
            check(map_insert(&x->by_label, &slot->node, &slot->key, sizeof(slot->key)) == 0);
        }
        slot->n++;
    }
}

void selector_index_add(struct builder *b, struct selector_index *x, const char *scope, const struct label *labels, size_t n,
                        uint32_t object) {
    struct selected_by *s = build_scratch(b, sizeof(*s), 1);
    struct label_slot *rarest = NULL;

    for (size_t i = 0; s && labels && i < n; i++) {
        struct label_slot *slot = label_slot(x, scope, &labels[i]);
        if (slot && (!rarest || slot->n < rarest->n))
            rarest = slot;
    }
    if (!rarest)
        return; /* memory is out; told by `failed` */
    *s = (struct selected_by){.next = rarest->first, .labels = labels, .n_labels = n, .object = object};
    rarest->first = s;
}

static bool labels_within(const struct label *wanted, size_t n_wanted, const struct label *have, size_t n_have) {
    size_t i = 0, j = 0; /* both sorted by key, and keys differ within a set */

    while (i < n_wanted && j < n_have) {
        if (wanted[i].key.at == have[j].key.at) {
            if (wanted[i].value.at != have[j].value.at)
                return false;
            i++;
        }
        j++;
    }
    return i == n_wanted;
}

void selector_index_find(const struct selector_index *x, const char *scope, const struct label *have, size_t n_have,
                         void (*hit)(void *context, uint32_t object), void *context) {
    for (size_t i = 0; have && i < n_have; i++) {
        const struct label_slot *slot = label_slot(x, scope, &have[i]);
        for (const struct selected_by *s = slot ? slot->first : NULL; s; s = s->next)
            if (labels_within(s->labels, s->n_labels, have, n_have))
                hit(context, s->object);
    }
}
