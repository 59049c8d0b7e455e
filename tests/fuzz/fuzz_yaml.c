/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: text of a manifest. Every tree is whole; every refusal has a place and words. */
#include <ringwall/base/check.h>
#include <ringwall/wire/yaml.h>

static void walk(const struct yaml_node *n, unsigned depth) {
    size_t count = 0;

    check(depth <= YAML_DEPTH_MAX && n->line > 0 && n->column > 0);
    yaml_for_each(it, n) {
        check(n->kind != YAML_MAPPING || (it->key.n > 0 && yaml_get(n, it->key.at) != NULL));
        walk(it, depth + 1);
        count++;
    }
    check(count == n->n_children);
}

static int document(void *context, struct yaml_node *root) {
    walk(root, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct arena a = {.bytes_max = 64 * 1024 * 1024};
    struct yaml_error e = {0};
    int r = yaml_parse((struct str){(const char *)bytes, n}, &a, document, NULL, &e);

    check(r <= 1 && (r != 1 || (e.line > 0 && e.column > 0 && e.text[0])));
    arena_deinit(&a);
    return 0;
}
