/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: JSON gives the same tree by our reader as by the library, long JSON costs little, and long brackets in YAML are found.
 * Method: each text is parsed plain and behind "---", which sends it to the library; hostile texts are made here. */
#include <string.h>

#include "../../../src/wire/yaml_flow.h"
#include "unit.h"

static void show(struct growing *g, const struct yaml_node *n, uint32_t first_line) {
    growing_addf(g, "(%d%s %u:%u", (int)n->kind, n->quoted ? "q" : "", n->line - first_line, n->column);
    if (n->key.at)
        growing_addf(g, " " STR_FMT "@%u:%u", STR_ARG(n->key), n->key_line - first_line, n->key_column);
    if (n->kind == YAML_SCALAR)
        growing_addf(g, " [" STR_FMT "]", STR_ARG(n->scalar));
    yaml_for_each(it, n) show(g, it, first_line);
    growing_add(g, STR(")"));
}

struct seen {
    struct growing text;
    uint32_t first_line;
};
static int document(void *context, struct yaml_node *root) {
    struct seen *s = context;
    show(&s->text, root, s->first_line);
    return 0;
}

static int parse(struct str text, uint32_t first_line, struct seen *s) {
    struct arena a = ARENA_NULL;
    struct yaml_error e;
    *s = (struct seen){.first_line = first_line};
    growing_add(&s->text, STR(""));
    int r = yaml_parse(text, &a, document, s, &e);
    arena_deinit(&a);
    return r;
}

static void as_the_library_reads_it(void **state) {
    static const char *const texts[] = {
        "{}",
        "[]",
        " \n\t[ ]\n",
        "{\"a\": 1}",
        "{\"a\":1,\"b\":[true,false,null,-1.5e+3,0],\"c\":{\"d\":\"e\"}}",
        "[\n  {\"a\": \"x y\"},\n  {\"a\": \"\"},\n  [[], {}]\n]\n",
        "{\"a\\\"b\": \"\\u00e9\\n\\t\\\\ \\/ \xc3\xa9\", \"\xc3\xa9\": 1}",
        "[\"\xe2\x82\xac\", \"b\", {\"\xe2\x82\xac\": \"c\"}]",
        "[\r\n1,\r\n2]\r\n",
        "{\"true\": \"true\", \"1\": \"1\"}",
    };
    for (size_t i = 0; i < array_size(texts); i++) {
        struct seen ours, library;
        struct growing marked = GROWING_NULL;
        growing_addf(&marked, "---\n%s", texts[i]);
        assert_int_equal(parse(str_of(texts[i]), 0, &ours), 0);
        assert_int_equal(parse((struct str){marked.at, marked.n}, 1, &library), 0);
        assert_string_equal(ours.text.at, library.text.at);
        growing_deinit(&ours.text);
        growing_deinit(&library.text);
        growing_deinit(&marked);
    }
}

static int read_json(const char *text, struct yaml_error *e) {
    struct arena a = ARENA_NULL;
    struct tree *t = calloc(1, sizeof(*t));
    t->arena = &a;
    t->error = e;
    int r = yaml_json_read(t, str_of(text));
    free(t);
    arena_deinit(&a);
    return r;
}

static void what_is_no_json(void **state) {
    static const char *const texts[] = {"",
                                        "{",
                                        "[",
                                        "]",
                                        "{]",
                                        "[1",
                                        "[1,",
                                        "[1,]",
                                        "[,1]",
                                        "[1 2]",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\" 1}",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "{'a':1}",
                                        "['a']",
                                        "[a]",
                                        "[tru]",
                                        "[truex]",
                                        "[01]",
                                        "[1.]",
                                        "[.5]",
                                        "[1e]",
                                        "[-]",
                                        "[+1]",
                                        "[0x1]",
                                        "[\"a]",
                                        "[\"a\nb\"]",
                                        "[\"\\q\"]",
                                        "[\"\\\"]",
                                        "[1] x",
                                        "[1][2]",
                                        "{}---\n{}",
                                        "[# x\n1]",
                                        "{1:2}",
                                        "{\"a\":1 2}",
                                        "{,}",
                                        "[\"\\u0001\"]",
                                        "{\"\":1}",
                                        "{\"<<\":1}",
                                        "{\"a\":1,\"a\":2}",
                                        "nul",
                                        "[nan]"};
    for (size_t i = 0; i < array_size(texts); i++) {
        struct yaml_error e = {0};
        if (read_json(texts[i], &e) != 1)
            fail_msg("%s was taken", texts[i]);
        assert_true(e.line > 0 && e.column > 0 && e.text[0]);
    }
}

/* What our reader does not take is still YAML, or is told of by the library's words. */
static void short_flow_that_is_yaml(void **state) {
    struct seen s;
    assert_int_equal(parse(STR("{a: [b, 'c'], d: }\n"), 0, &s), 0);
    assert_string_equal(s.text.at, "(2 1:1(1 1:5 a@1:2(0 1:6 [b])(0q 1:9 [c]))(0 1:15 d@1:15 []))");
    growing_deinit(&s.text);
    assert_int_equal(parse(STR("{\"a\": 1}\n---\n[2]\n"), 0, &s), 0);
    assert_string_equal(s.text.at, "(2 1:1(0 1:7 a@1:2 [1]))(1 3:1(0 3:2 [2]))");
    growing_deinit(&s.text);
}

static void long_json_costs_little(void **state) {
    enum { N = 200000 };
    struct growing g = GROWING_NULL;
    struct seen s = {0};
    struct arena a = ARENA_NULL;
    struct yaml_error e;
    growing_add(&g, STR("{\"items\": ["));
    for (unsigned i = 0; i < N; i++)
        growing_add(&g, STR("{\"name\": \"a value\"},"));
    growing_add(&g, STR("{}]}"));
    assert_int_equal(yaml_parse((struct str){g.at, g.n}, &a, document, &s, &e), 0);
    assert_true(a.bytes < 30 * g.n);
    growing_deinit(&g);
    growing_deinit(&s.text);
    arena_deinit(&a);
}

static struct growing repeated(const char *head, const char *piece, size_t n, const char *tail) {
    struct growing g = GROWING_NULL;
    growing_add(&g, str_of(head));
    for (size_t i = 0; i < n; i++)
        growing_add(&g, str_of(piece));
    growing_add(&g, str_of(tail));
    return g;
}

static void long_brackets_in_yaml(void **state) {
    static const struct {
        const char *head, *piece, *tail;
        uint32_t line, column; /* 0: none is long */
    } rows[] = {
        {"a: 1\nb: [", "1, ", "2]\n", 2, 4},
        {"- {a: ", "[", "", 1, 3},
        {"a:\n  [\n", "   1,\n", "  ]\n", 2, 3},
        {"a:\n- [\"", "]", "\"]\n", 2, 3},             /* brackets in quotes end nothing */
        {"a: |\n", "  b: [\n", "c: 1\n", 0, 0},        /* text of a block: each line ends what the one before began */
        {"a: b[c {d\n", "e: [1, {f: g}]\n", "", 0, 0}, /* many short ones; brackets inside plain text */
        {"a: \"[\"\n", "b: '{'\n", "", 0, 0},
        {"x: [\n", "y: 1\n", "", 0, 0}, /* never closed: the library says so at the next line */
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct growing g = repeated(rows[i].head, rows[i].piece, 2000, rows[i].tail);
        struct place at = {0};
        assert_int_equal(yaml_flow_is_long((struct str){g.at, g.n}, 1000, &at), rows[i].line > 0);
        assert_int_equal(at.line, rows[i].line);
        assert_int_equal(at.column, rows[i].column);
        assert_false(yaml_flow_is_long((struct str){g.at, g.n}, g.n, &at));
        growing_deinit(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_library_reads_it), cmocka_unit_test(what_is_no_json),
                                       cmocka_unit_test(short_flow_that_is_yaml), cmocka_unit_test(long_json_costs_little),
                                       cmocka_unit_test(long_brackets_in_yaml)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
