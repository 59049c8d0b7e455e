/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml.h - YAML 1.2 (and so JSON) text to a tree of nodes that know their line and column
 *
 * Syntax only: kinds and keys are config's business. Event API of libfyaml behind it. Bounds: YAML_DEPTH_MAX,
 * YAML_NODES_MAX a document, aliases and anchors and tags refused, duplicate keys refused, not UTF-8 refused: every refusal
 * is a diagnostic with its place. */
#pragma once

#include <ringwall/base/arena.h>

enum { YAML_DEPTH_MAX = 64, YAML_NODES_MAX = 4000000, YAML_SCALAR_MAX = 1024 * 1024 };
enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };
struct yaml_node { /* millions of them: no padding */
    enum yaml_kind kind;
    bool quoted;            /* scalar was quoted or a block: always a string */
    uint32_t line, column;  /* from 1; of an absent value, its key's */
    struct yaml_node *next; /* sibling in the sequence or mapping */
    struct str key;         /* in a mapping: this entry's key */
    uint32_t key_line, key_column;
    struct str scalar;
    struct yaml_node *first; /* children */
    size_t n_children;
};
struct yaml_error {
    uint32_t line, column;
    char text[192]; /* what is wrong, and what to write instead */
};
/* Calls `document` for each document of the text, in order; the tree lives in `a` until the caller resets it (the
 * callback may keep pointers as long as the arena lives). The callback returns 0 to go on, else parsing stops with it.
 * Returns 0, the callback's value, 1 with *ret_error filled, or -ENOMEM. */
int yaml_parse(struct str text, struct arena *a, int (*document)(void *context, struct yaml_node *root), void *context,
               struct yaml_error *ret_error) must_check;
struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key); /* NULL: absent or no mapping */
bool yaml_is_null(const struct yaml_node *n);                                 /* NULL pointer, empty plain scalar, ~ or null */
#define yaml_for_each(it, parent) for (struct yaml_node *it = (parent) ? (parent)->first : NULL; it; it = it->next)
