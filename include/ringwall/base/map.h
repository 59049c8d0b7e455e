/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/map.h - intrusive chained hash table keyed by bytes, seeded per table against crafted keys (SipHash-1-3)
 *
 * The table never owns its nodes. It grows by doubling; growth may fail, then the insert still succeeds with longer
 * chains. Not thread-safe: one owner, or immutable after publication. */
#pragma once

#include <ringwall/base/defs.h>

struct map_node {
    struct map_node *next;
    const void *key; /* bytes owned by the node's owner, stable while linked */
    uint32_t hash;   /* its lower half; a world has tens of thousands of nodes, so they are kept small */
    uint32_t key_bytes;
};
struct map {
    struct map_node **buckets; /* NULL: empty table, MAP_NULL */
    size_t n_buckets;          /* a power of two, or 0 */
    size_t n_nodes;
    uint64_t seed[2];
};
#define MAP_NULL ((struct map){0})

int map_init(struct map *m, size_t n_expected) must_check; /* -ENOMEM */
void map_deinit(struct map *m);                            /* nodes are left alone */
struct map_node *map_find(const struct map *m, const void *key, size_t key_bytes);
/* Returns 0, or 1 when an equal key is there already (node not inserted). */
int map_insert(struct map *m, struct map_node *node, const void *key, size_t key_bytes) must_check;
/* In one go: the node that has the key, or NULL after `node` was inserted. The caller may then point node->key at equal bytes
 * that last longer than `key`. */
struct map_node *map_find_or_insert(struct map *m, struct map_node *node, const void *key, size_t key_bytes) must_check;
void map_remove(struct map *m, struct map_node *node); /* must be in the table */
/* Iteration: start with *cursor = 0 and node = NULL, then pass the node returned last; any order; that node may be
 * removed, but its memory must last until the next call. To empty a table pass NULL each time and remove (and free) each
 * node that comes. No insert meanwhile. */
struct map_node *map_next(const struct map *m, size_t *cursor, struct map_node *node);

uint64_t hash_bytes(const uint64_t seed[2], const void *bytes, size_t n);

#define map_entry(n, type, member) container_of(n, type, member)
