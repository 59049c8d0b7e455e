/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: who breaks YAML's grammar is told where, and what to write instead; bytes that are no text are refused. Method: the
 * usual mistakes, beside the line, the column and the advice. */
#include <string.h>

#include <ringwall/wire/yaml.h>

#include "unit.h"

static int ignore(void *context, struct yaml_node *root) { return 0; }

static void refused_at(struct str text, uint32_t line, uint32_t column, const char *says) {
    struct arena a = ARENA_NULL;
    struct yaml_error e = {0};
    assert_int_equal(yaml_parse(text, &a, ignore, NULL, &e), 1);
    assert_non_null(strstr(e.text, says));
    assert_int_equal(e.line, line);
    assert_int_equal(e.column, column);
    arena_deinit(&a);
}

static void mistakes_get_advice(void **state) {
    static const struct {
        const char *text;
        uint32_t line, column;
        const char *says;
    } cases[] = {
        {"a:\n\tb: 2\n", 2, 1, "tab used for indentation: use spaces"},
        {"a: 1\n\tb: 2\n", 2, 1, "tab used for indentation: use spaces"},
        {"a:\n  b: 2\n  \tc: 3\n", 3, 3, "tab used for indentation"},
        {"a: b: c\n", 1, 5, "put the value in double quotes"},
        {"a: @x\n", 1, 4, "put the value in double quotes"},
        {"a: `x\n", 1, 4, "put the value in double quotes"},
        {"a: [1, 2\nb: 3\n", 3, 1, "write ]"},
        {"a: \"x\n", 1, 5, "quote is not closed"},
        {"a: 'x\n", 1, 5, "quote is not closed"},
        {"a: \"x\" y\n", 1, 8, "behind the closing quote"},
        {"a: \"\\q\"\n", 1, 5, "unknown escape"},
        {"a:\n  b: c\n d: e\n", 3, 2, "line the key up"},
        {"just words\nb: c\n", 1, 1, "no \"key: value\" here"},
        {"a: - b\n", 1, 4, "on a line of its own"},
        {"%YAML 9.9\n---\na\n", 1, 1, "not YAML"},
    };
    for (size_t i = 0; i < array_size(cases); i++)
        refused_at(str_of(cases[i].text), cases[i].line, cases[i].column, cases[i].says);
}

static void tabs_between_brackets_are_no_mistake(void **state) {
    struct arena a = ARENA_NULL;
    struct yaml_error e = {0};
    assert_int_equal(yaml_parse(STR("{\n\t\"a\": ]\n}\n"), &a, ignore, NULL, &e), 1);
    assert_null(strstr(e.text, "tab"));
    assert_int_equal(e.line, 2);
    arena_deinit(&a);
}

static void bytes_that_are_no_text_are_refused(void **state) {
    refused_at(STR("a: \xff\n"), 1, 4, "not UTF-8");
    refused_at(STR("\n\n  \xc3\xa9 \xc3"), 3, 5, "not UTF-8");
    refused_at(STR("\xff\xfe"
                   "a"),
               1, 1, "not UTF-8");
    refused_at(STR("a: \xed\xa0\x80\n"), 1, 4, "not UTF-8"); /* a surrogate */
    refused_at(STR("a: \xc0\x80\n"), 1, 4, "not UTF-8");     /* a NUL in disguise */
    refused_at((struct str){"a: \0b\n", 6}, 1, 4, "control character");
    refused_at(STR("a: \x1b[31m\n"), 1, 4, "control character");
    refused_at((struct str){"\0", 1}, 1, 1, "control character");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_get_advice),
        cmocka_unit_test(tabs_between_brackets_are_no_mistake),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
