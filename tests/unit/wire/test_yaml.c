/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a tree with right places from YAML and JSON; everything ambiguous or unbounded is refused with its place. Method:
 * texts beside the tree or the complaint they give; hostile texts made by a few lines of code. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <ringwall/wire/yaml.h>

#include "unit.h"

struct seen {
    char text[4096]; /* the documents, one line a node */
    size_t n;
    unsigned n_documents;
    int stop_at, stop_with; /* return stop_with at this document */
};

static void show(struct seen *s, const struct yaml_node *n, unsigned depth) {
    static const char kinds[] = "vlm";
    char *to = s->text + s->n;
    size_t cap = sizeof(s->text) - s->n;
    s->n += (size_t)snprintf(to, cap, "%*s%c%s", (int)depth, "", kinds[n->kind], n->quoted ? "q" : "");
    if (n->key.at)
        s->n +=
            (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n, " %.*s@%u:%u", STR_ARG(n->key), n->key_line, n->key_column);
    if (n->kind == YAML_SCALAR)
        s->n += (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n, " [%.*s]", STR_ARG(n->scalar));
    s->n += (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n, " %u:%u\n", n->line, n->column);
    size_t count = 0;
    yaml_for_each(it, n) {
        show(s, it, depth + 1);
        count++;
    }
    assert_int_equal(count, n->n_children);
}

static int document(void *context, struct yaml_node *root) {
    struct seen *s = context;
    if ((int)s->n_documents == s->stop_at)
        return s->stop_with;
    s->n_documents++;
    show(s, root, 0);
    return 0;
}

static int count_only(void *context, struct yaml_node *root) {
    ++*(unsigned *)context;
    return 0;
}

static int parse(const char *text, struct seen *s, struct yaml_error *e) {
    struct arena a = ARENA_NULL;
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1); /* exact */
    memcpy(copy, text, n);
    *s = (struct seen){.stop_at = -1};
    *e = (struct yaml_error){0};
    int r = yaml_parse((struct str){copy, n}, &a, document, s, e);
    free(copy);
    arena_deinit(&a);
    return r;
}

static void trees_have_places(void **state) {
    static const struct {
        const char *text, *tree;
    } cases[] = {
        {"a: 1\nb: \"x\"\nc: 'y'\nd:\n", "m 1:1\n v a@1:1 [1] 1:4\n vq b@2:1 [x] 2:4\n vq c@3:1 [y] 3:4\n v d@4:1 [] 4:1\n"},
        {"h:\n  - i\n  - j: k\n    l: |\n      text\n  - - m\n",
         "m 1:1\n l h@1:1 2:3\n  v [i] 2:5\n  m 3:5\n   v j@3:5 [k] 3:8\n   vq l@4:5 [text\n] 4:5\n  l 6:5\n   v [m] 6:7\n"},
        {"{\"a\": [1, {\"b\": null}],\n \"c\": \"d\"}",
         "m 1:1\n l a@1:2 1:7\n  v [1] 1:8\n  m 1:11\n   v b@1:12 [null] 1:17\n vq c@2:2 [d] 2:7\n"},
        {"{\n\t\"a\": [\n\t\t1\n\t]\n}\n", "m 1:1\n l a@2:2 2:7\n  v [1] 3:3\n"},
        {"a: 1\r\nb: 2\r\n", "m 1:1\n v a@1:1 [1] 1:4\n v b@2:1 [2] 2:4\n"},
        {"\xef\xbb\xbfx", "v [x] 1:1\n"},
        {"# only\na: b # c\n", "m 2:1\n v a@2:1 [b] 2:4\n"},
        {"\xc3\xa9: \xc3\xa9\n", "m 1:1\n v \xc3\xa9@1:1 [\xc3\xa9] 1:4\n"},
        {"a: >-\n  f\n  g\n", "m 1:1\n vq a@1:1 [f g] 1:1\n"},
        {"\"a\\u00e9\\n\\t\": 'it''s'\n", "m 1:1\n vq a\xc3\xa9\n\t@1:1 [it's] 1:16\n"},
        {"%YAML 1.1\n---\nno\n", "v [no] 3:1\n"},
        {"[]", "l 1:1\n"},
        {"{}", "m 1:1\n"},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct seen s;
        struct yaml_error e;
        assert_int_equal(parse(cases[i].text, &s, &e), 0);
        assert_string_equal(s.text, cases[i].tree);
    }
}

static void documents_come_in_order_and_empty_ones_do_not(void **state) {
    static const struct {
        const char *text, *tree;
    } cases[] = {
        {"", ""},
        {"\n\n# nothing\n", ""},
        {"---\n---\n---\n", ""},
        {"---\na\n---\n\n---\nb\n...\n---\n", "v [a] 2:1\nv [b] 6:1\n"},
        {"a\n---\nb", "v [a] 1:1\nv [b] 3:1\n"},
        {"--- ~\n--- \"\"\n", "v [~] 1:5\nvq [] 2:5\n"},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct seen s;
        struct yaml_error e;
        assert_int_equal(parse(cases[i].text, &s, &e), 0);
        assert_string_equal(s.text, cases[i].tree);
    }
}

static void the_callback_stops_the_reading(void **state) {
    static const int values[] = {7, -EPERM};
    for (size_t i = 0; i < array_size(values); i++) {
        struct arena a = ARENA_NULL;
        struct yaml_error e;
        struct seen s = {.stop_at = 1, .stop_with = values[i]};
        assert_int_equal(yaml_parse(STR("a\n---\nb\n---\n]\n"), &a, document, &s, &e), values[i]);
        assert_int_equal(s.n_documents, 1);
        arena_deinit(&a);
    }
}

static void what_is_ambiguous_is_refused_with_its_place(void **state) {
    static const struct {
        const char *text;
        uint32_t line, column;
        const char *says;
    } cases[] = {
        {"a: &x 1\n", 1, 4, "anchors"},
        {"a: &x {b: c}\n", 1, 4, "anchors"},
        {"a: *x\n", 1, 4, "aliases"},
        {"a: *.example.com\n", 1, 4, "quote text that begins with a star"},
        {"a:\n  - !!str 1\n", 2, 5, "tags"},
        {"a: !local [1]\n", 1, 4, "tags"},
        {"a: 1\nb: 2\na: 3\n", 3, 1, "key \"a\" is here a second time; the first is at 1:1"},
        {"{\"a\":1,\"a\":2}", 1, 8, "first is at 1:2"},
        {"x:\n  a: 1\n  'a': 2\n", 3, 3, "first is at 2:3"},
        {"? [a]\n: b\n", 1, 3, "cannot be a key"},
        {"{{a: b}: c}", 1, 2, "cannot be a key"},
        {": b\n", 1, 1, "empty key"},
        {"\"\": b\n", 1, 1, "empty key"},
        {"<<: {a: 1}\n", 1, 1, "merge key"},
        {"a: \"\\0\"\n", 1, 4, "control character"},
        {"a: \"\\x07\"\n", 1, 4, "control character"},
        {"ok\n---\na: *x\n", 3, 4, "aliases"},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct seen s;
        struct yaml_error e;
        assert_int_equal(parse(cases[i].text, &s, &e), 1);
        assert_non_null(strstr(e.text, cases[i].says));
        assert_int_equal(e.line, cases[i].line);
        assert_int_equal(e.column, cases[i].column);
    }
}

static void duplicates_are_found_among_many_keys(void **state) {
    struct growing g = GROWING_NULL;
    struct seen s;
    struct yaml_error e;
    for (unsigned i = 0; i < 50000; i++)
        growing_addf(&g, "k%u: 1\n", i * 7919 % 50000);
    struct arena a = ARENA_NULL;
    unsigned n = 0;
    assert_int_equal(yaml_parse((struct str){g.at, g.n}, &a, count_only, &n, &e), 0);
    assert_int_equal(n, 1);
    growing_addf(&g, "k%u: 2\n", 7919);
    assert_int_equal(yaml_parse((struct str){g.at, g.n}, &a, count_only, &n, &e), 1);
    assert_int_equal(e.line, 50001);
    assert_non_null(strstr(e.text, "first is at 2:1"));
    growing_deinit(&g);
    arena_deinit(&a);
    (void)s;
}

static struct growing repeated(const char *head, const char *piece, size_t count) {
    struct growing g = GROWING_NULL;
    growing_add(&g, str_of(head));
    for (size_t i = 0; i < count; i++)
        growing_add(&g, str_of(piece));
    return g;
}

static void hostile_texts_end_soon(void **state) {
    static const struct {
        const char *head, *piece;
        size_t count;
        const char *says; /* NULL: any verdict */
    } cases[] = {
        {"", "[", 1000000, "deeper than 64"},
        {"", "{a: ", 300000, "no JSON"},
        {"a: ", "[", 1000000, "longer than 256 KiB"},
        {"", "- ", 500000, "deeper than 64"},
        {"", "? ", 500000, "cannot be a key"},
        {"a: \"", "x", 2000000, NULL},
        {"a: '", "\n", 2000000, NULL},
        {"a: |\n", "  x\n", 1000000, "longer than 1024 KiB"},
        {"", "a\n", 1000000, "longer than 1024 KiB"},
        {"", "&a ", 300000, NULL},
        {"", "!a ", 300000, NULL},
        {"", "\"a\": ", 300000, NULL},
        {"", "[a: ", 200000, NULL},
        {"", "---\n", 500000, NULL},
        {"", "%TAG !a! b\n", 100000, NULL},
        {"", "#\n", 1000000, NULL},
        {"", "   ", 1000000, NULL},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        struct growing g = repeated(cases[i].head, cases[i].piece, cases[i].count);
        struct arena a = {.bytes_max = 64 * 1024 * 1024};
        struct yaml_error e = {0};
        unsigned n = 0;
        struct timespec begin, end;
        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin), 0);
        int r = yaml_parse((struct str){g.at, g.n}, &a, count_only, &n, &e);
        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end), 0);
        assert_true(r == 0 || r == 1 || r == -ENOMEM);
        assert_true(end.tv_sec - begin.tv_sec < 20); /* a wide bound, also for sanitizers: the point is that it is no square */
        if (cases[i].says)
            assert_true(r == 1 && strstr(e.text, cases[i].says));
        growing_deinit(&g);
        arena_deinit(&a);
    }
}

static void depth_at_the_bound(void **state) {
    for (int depth = YAML_DEPTH_MAX - 1; depth <= YAML_DEPTH_MAX + 1; depth++) {
        char text[2 * YAML_DEPTH_MAX + 4];
        struct arena a = ARENA_NULL;
        struct yaml_error e;
        unsigned n = 0;
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        int r = yaml_parse((struct str){text, 2 * (size_t)depth}, &a, count_only, &n, &e);
        assert_int_equal(r, depth <= YAML_DEPTH_MAX ? 0 : 1);
        arena_deinit(&a);
    }
}

static void an_arena_at_its_bound_is_told(void **state) {
    struct growing g = repeated("", "- some text that is long enough not to be shared by the table\n", 1000);
    for (size_t bound = 16; bound < 40000; bound *= 2) {
        struct arena a = {.bytes_max = bound};
        struct yaml_error e;
        unsigned n = 0;
        assert_int_equal(yaml_parse((struct str){g.at, g.n}, &a, count_only, &n, &e), -ENOMEM);
        assert_true(a.bytes <= bound);
        arena_deinit(&a);
    }
    growing_deinit(&g);
}

static int look_up(void *context, struct yaml_node *root) {
    assert_true(str_is(yaml_get(root, "a")->scalar, STR("1")));
    assert_true(yaml_get(yaml_get(root, "b"), "c")->quoted);
    assert_null(yaml_get(root, "absent"));
    assert_null(yaml_get(yaml_get(root, "a"), "x"));
    assert_null(yaml_get(NULL, "x"));
    assert_true(yaml_is_null(NULL));
    assert_true(yaml_is_null(yaml_get(root, "n1")) && yaml_is_null(yaml_get(root, "n2")) && yaml_is_null(yaml_get(root, "n3")));
    assert_false(yaml_is_null(yaml_get(root, "a")) || yaml_is_null(yaml_get(root, "b")) || yaml_is_null(yaml_get(root, "s")));
    return 0;
}

static void keys_are_looked_up(void **state) {
    struct arena a = ARENA_NULL;
    struct yaml_error e;
    assert_int_equal(yaml_parse(STR("a: 1\nb: {c: 'd'}\nn1:\nn2: ~\nn3: null\ns: 'null'\n"), &a, look_up, NULL, &e), 0);
    arena_deinit(&a);
}

static void every_cut_of_a_manifest_is_safe(void **state) {
    static const char manifest[] =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: \"web\", labels: {app: 'x'}}\nspec:\n  list:\n  - a: |\n      b\n"
        "    c: >-\n      d\n  - \"\\u00e9\"\n---\n# end\n";
    for (size_t cut = 0; cut < sizeof(manifest); cut++) {
        struct arena a = ARENA_NULL;
        struct yaml_error e = {0};
        unsigned n = 0;
        char *copy = malloc(cut ? cut : 1);
        memcpy(copy, manifest, cut);
        int r = yaml_parse((struct str){copy, min_of(cut, sizeof(manifest) - 1)}, &a, count_only, &n, &e);
        assert_true(r == 0 || (r == 1 && e.line > 0 && e.column > 0 && e.text[0]));
        free(copy);
        arena_deinit(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_have_places),
        cmocka_unit_test(documents_come_in_order_and_empty_ones_do_not),
        cmocka_unit_test(the_callback_stops_the_reading),
        cmocka_unit_test(what_is_ambiguous_is_refused_with_its_place),
        cmocka_unit_test(duplicates_are_found_among_many_keys),
        cmocka_unit_test(hostile_texts_end_soon),
        cmocka_unit_test(depth_at_the_bound),
        cmocka_unit_test(an_arena_at_its_bound_is_told),
        cmocka_unit_test(keys_are_looked_up),
        cmocka_unit_test(every_cut_of_a_manifest_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
