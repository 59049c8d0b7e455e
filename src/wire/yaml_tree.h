/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_tree.h - the tree of nodes as its readers build it: a stack of open collections, bounds, keys that differ
 *
 * Each function returns 0, 1 when the text was refused (the error is filled), or -ENOMEM. */
#pragma once

#include <ringwall/wire/yaml.h>

enum { TREE_WORDS_REMEMBERED = 256 };
struct tree_level {
    struct yaml_node *node, *last; /* the collection, its newest child */
    bool has_key;
    struct str key;
    uint32_t key_line, key_column;
};
struct tree {
    struct arena *arena;
    struct yaml_error *error;
    struct yaml_node *root; /* of the document being read; NULL: none yet */
    size_t n_nodes;
    unsigned depth;
    struct tree_level levels[YAML_DEPTH_MAX];
    struct str words[TREE_WORDS_REMEMBERED]; /* the same few words stand all over a file: one copy of each */
};
struct place {
    uint32_t line, column;
};

void tree_document_begun(struct tree *t);
bool tree_wants_key(const struct tree *t);                 /* the next scalar is a key */
const struct tree_level *tree_level(const struct tree *t); /* the collection being read; NULL: the root comes next */
int tree_scalar(struct tree *t, struct place at, struct str text, bool quoted) must_check; /* a value or a key; copied */
int tree_begun(struct tree *t, struct place at, enum yaml_kind kind) must_check;
int tree_ended(struct tree *t) must_check;
int tree_refuse(struct tree *t, struct place at, const char *fmt, ...) printf_like(3, 4);
