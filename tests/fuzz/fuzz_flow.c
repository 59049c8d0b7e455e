/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: JSON, which our own reader takes before the YAML library can. What ours accepts, the library reads the
 * same way or not at all. */
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "../../src/wire/yaml_flow.h"

static void same(const struct yaml_node *a, const struct yaml_node *b) {
    check(a->kind == b->kind && a->quoted == b->quoted && str_is(a->scalar, b->scalar) && str_is(a->key, b->key));
    check(a->line + 1 == b->line && a->column == b->column && a->n_children == b->n_children);
    check(!a->key.n || (a->key_line + 1 == b->key_line && a->key_column == b->key_column));
    for (const struct yaml_node *x = a->first, *y = b->first; x; x = x->next, y = y->next)
        same(x, y);
}

static int document(void *context, struct yaml_node *root) {
    struct tree *t = context;
    same(t->root, root);
    t->root = NULL;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct str text = {(const char *)bytes, n};
    struct arena a = {.bytes_max = 64 * 1024 * 1024};
    struct yaml_error e;
    struct growing marked = GROWING_NULL;
    struct tree *t = calloc(1, sizeof(*t));

    check(t);
    *t = (struct tree){.arena = &a, .error = &e};
    if (n > 0 && str_is_utf8(text) && yaml_is_flow(text) && yaml_json_read(t, text) == 0) {
        growing_add(&marked, STR("---\n"));
        growing_add(&marked, text);
        int r = yaml_parse((struct str){marked.at, marked.n}, &a, document, t, &e);
        check(r == 1 || (r == 0 && !t->root)); /* 1: tabs between lines, which the library does not like */
    }
    growing_deinit(&marked);
    free(t);
    arena_deinit(&a);
    return 0;
}
