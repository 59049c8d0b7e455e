/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a quoted value is the text that YAML 1.2 and JSON say it is. Method: sources beside their texts, among them those
 * that libfyaml 0.7.12 gets wrong; and through the whole parser the blocks that are refused for its sake. */
#include <string.h>

#include <ringwall/wire/yaml.h>

#include "../../../src/wire/yaml_scalar.h"
#include "unit.h"

static void single_quotes_stand_for_themselves(void **state) {
    static const char *const cases[][2] = {
        {"", ""},
        {"a b", "a b"},
        {"it''s", "it's"},
        {"''''", "''"},
        {"''", "'"},
        {"''a''''b''", "'a''b'"},
        {"\\n\\", "\\n\\"},
        {"a\nb", "a b"},
        {"a  \n  b", "a b"},
        {"a\n\nb", "a\nb"},
        {"a\r\n\r\n \r\nb", "a\n\nb"},
        {" a ", " a "},
        {"\n", " "},
        {"''\n''", "' '"},
        {"a '' b", "a ' b"},
        {"\xc3\xa9''\xc3\xa9", "\xc3\xa9'\xc3\xa9"},
        {"a\n  ", "a "},
    };
    struct growing scratch = GROWING_NULL;
    for (size_t i = 0; i < array_size(cases); i++) {
        struct str text;
        assert_int_equal(yaml_quoted_text(str_of(cases[i][0]), false, &scratch, &text), 0);
        assert_true(str_is(text, str_of(cases[i][1])));
    }
    growing_deinit(&scratch);
}

static void double_quotes_know_escapes_and_folds(void **state) {
    static const char *const cases[][2] = {
        {"a b", "a b"},
        {"\\a\\b\\t\\n\\v\\f\\r\\e\\ \\\"\\/\\\\", "\a\b\t\n\v\f\r\x1b \"/\\"},
        {"\\N\\_\\L\\P", "\xc2\x85\xc2\xa0\xe2\x80\xa8\xe2\x80\xa9"},
        {"\\x41\\xe9\\u263a\\U0001F600", "A\xc3\xa9\xe2\x98\xba\xf0\x9f\x98\x80"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
        {"a\nb", "a b"},
        {"a \t\n \t b", "a b"},
        {"a\n\n\nb", "a\n\nb"},
        {"a\\\nb", "ab"},
        {"a \\\n  b", "a b"},
        {"a\\\n  \\  b", "a  b"},
        {"a \\\n \n  \n c\\\n  z", "a \n\ncz"},
        {"a\\t \nb", "a\t b"},
        {"\\\n", ""},
        {"it''s", "it''s"},
    };
    struct growing scratch = GROWING_NULL;
    for (size_t i = 0; i < array_size(cases); i++) {
        struct str text;
        assert_int_equal(yaml_quoted_text(str_of(cases[i][0]), true, &scratch, &text), 0);
        assert_true(str_is(text, str_of(cases[i][1])));
    }
    growing_deinit(&scratch);
}

static void other_escapes_are_refused(void **state) {
    static const char *const wrong[] = {"\\q",         "\\",      "\\x4",     "\\xg0",          "\\u12",   "\\U0011FFFF",
                                        "\\UFFFFFFFF", "\\ud800", "\\ud83dx", "\\ud83d\\u0041", "\\ude00", "\\ud83d\\"};
    struct growing scratch = GROWING_NULL;
    for (size_t i = 0; i < array_size(wrong); i++) {
        struct str text;
        assert_int_equal(yaml_quoted_text(str_of(wrong[i]), true, &scratch, &text), 1);
    }
    growing_deinit(&scratch);
}

static int keep(void *context, struct yaml_node *root) {
    snprintf(context, 256, "%.*s|%.*s", STR_ARG(yaml_get(root, "a")->scalar), STR_ARG(yaml_get(root, "b")->scalar));
    return 0;
}

static int parse(const char *text, char out[256], struct yaml_error *e) {
    struct arena a = ARENA_NULL;
    out[0] = 0;
    int r = yaml_parse(str_of(text), &a, keep, out, e);
    arena_deinit(&a);
    return r;
}

static void values_of_a_file_are_whole(void **state) {
    static const struct {
        const char *text, *values;
    } cases[] = {
        {"a: 'x''''y'\nb: 1\n", "x''y|1"},
        {"a: \"x \\\n\n  y\\\n  z\"\nb: 2\n", "x \nyz|2"},
        {"a: |\n  x\n\n   y\nb: 3\n", "x\n\n y\n|3"},
        {"a: |2-\n    x\n\nb: 3\n", "  x|3"},
        {"a: |+\n  x\n\nb: 3\n", "x\n\n|3"},
        {"a: >\n  x\n  y\n\n  z\nb: 4\n", "x y\nz\n|4"},
        {"a: |\nb: 5\n", "|5"},
        {"a: one\n  two\n\n  three\nb: 6\n", "one two\nthree|6"},
    };
    for (size_t i = 0; i < array_size(cases); i++) {
        char out[256];
        struct yaml_error e = {0};
        assert_int_equal(parse(cases[i].text, out, &e), 0);
        assert_string_equal(out, cases[i].values);
    }
}

static void a_block_without_text_swallows_nothing(void **state) {
    static const char *const cases[] = {"a: |\n\nb: 1\n", "a: >-\n\nb: 1\n", "a: |+\n   \n\nb: 1\n",
                                        "x:\n  a: |\n\n  b: 1\na: 1\nb: 2\n", "x:\n  - |\n\n  - c\na: 1\nb: 2\n"};
    for (size_t i = 0; i < array_size(cases); i++) {
        char out[256];
        struct yaml_error e = {0};
        int r = parse(cases[i], out, &e);
        assert_true(r == 0 || (r == 1 && strstr(e.text, "block without text")));
        if (r == 0)
            assert_true(strstr(out, "|1") || strstr(out, "|2"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_quotes_stand_for_themselves),
        cmocka_unit_test(double_quotes_know_escapes_and_folds),
        cmocka_unit_test(other_escapes_are_refused),
        cmocka_unit_test(values_of_a_file_are_whole),
        cmocka_unit_test(a_block_without_text_swallows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
