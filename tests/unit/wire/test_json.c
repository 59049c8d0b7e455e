/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what the writer writes, any reader reads; what the reader takes is bounded. Method: written text is compared and
 * read back; hostile text is refused with a reason. */
#include <string.h>

#include <ringwall/wire/json.h>

#include "unit.h"

static void write_all(struct json_writer *w) {
    json_object(w, NULL);
    json_str(w, "text", STR("a\"\\\n\t\x01\x7f/é"));
    json_z(w, "none", NULL);
    json_z(w, "z", "x");
    json_strf(w, "format", "%d-%s", 7, "y");
    json_u64(w, "most", UINT64_MAX);
    json_i64(w, "least", INT64_MIN);
    json_bool(w, "yes", true);
    json_bool(w, "no", false);
    json_null(w, "null");
    json_array(w, "list");
    json_u64(w, NULL, 1);
    json_object(w, NULL);
    json_end(w);
    json_array(w, NULL);
    json_end(w);
    json_end(w);
    json_raw(w, "raw", STR("{\"k\":[1]}"));
    json_end(w);
}

static void compact_text_is_exact(void **state) {
    struct growing g = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &g, false);
    write_all(&w);
    assert_string_equal(
        g.at,
        "{\"text\":\"a\\\"\\\\\\n\\t\\u0001\\u007f/é\",\"none\":null,\"z\":\"x\",\"format\":\"7-y\",\"most\":18446744073709551615,"
        "\"least\":-9223372036854775808,\"yes\":true,\"no\":false,\"null\":null,\"list\":[1,{},[]],\"raw\":{\"k\":[1]}}");
    growing_deinit(&g);
}

static void pretty_text_is_the_same_value(void **state) {
    struct growing g = GROWING_NULL, small = GROWING_NULL;
    struct json_writer w;
    char why[128];
    json_begin(&w, &g, true);
    json_object(&w, NULL);
    json_array(&w, "a");
    json_u64(&w, NULL, 1);
    json_end(&w);
    json_object(&w, "o");
    json_end(&w);
    json_end(&w);
    assert_string_equal(g.at, "{\n  \"a\": [\n    1\n  ],\n  \"o\": {}\n}\n");
    struct json *n = json_read((struct str){g.at, g.n}, why);
    assert_non_null(n);
    assert_int_equal(json_count(json_get(n, "a")), 1);
    json_free(n);
    growing_deinit(&g);
    growing_deinit(&small);
}

static void any_bytes_become_valid_text(void **state) {
    for (unsigned a = 0; a < 256; a++) {
        char bytes[3] = {(char)a, 'x', (char)(a ^ 0x80)}, why[128];
        struct growing g = GROWING_NULL;
        struct json_writer w;
        json_begin(&w, &g, false);
        json_array(&w, NULL);
        json_str(&w, NULL, (struct str){bytes, 3});
        json_str(&w, NULL, STR_NULL);
        json_end(&w);
        if (a != 0 && a != 0x80) { /* jansson refuses an escaped NUL, which is JSON none the less */
            struct json *n = json_read((struct str){g.at, g.n}, why);
            assert_non_null(n);
            assert_true(json_text(json_at(n, 0)).n >= 3);
            assert_int_equal(json_text(json_at(n, 1)).n, 0);
            json_free(n);
        }
        assert_true(str_is_utf8((struct str){g.at, g.n}));
        growing_deinit(&g);
    }
}

static void too_deep(void *unused) {
    struct growing g = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &g, false);
    for (int i = 0; i <= JSON_DEPTH_MAX; i++)
        json_array(&w, NULL);
}

static void key_in_array(void *unused) {
    struct growing g = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &g, false);
    json_array(&w, NULL);
    json_u64(&w, "k", 1);
}

static void no_key_in_object(void *unused) {
    struct growing g = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &g, false);
    json_object(&w, NULL);
    json_u64(&w, NULL, 1);
}

static void misuse_is_caught(void **state) {
    assert_true(unit_dies(too_deep, NULL));
    assert_true(unit_dies(key_in_array, NULL));
    assert_true(unit_dies(no_key_in_object, NULL));
}

static void values_are_looked_up(void **state) {
    char why[128];
    int64_t v = 5;
    struct json *n = json_read(STR("{\"s\":\"t\",\"i\":-7,\"r\":1.5,\"b\":true,\"f\":false,\"n\":null,\"a\":[10,20]}"), why);
    assert_non_null(n);
    assert_true(str_is(json_text(json_get(n, "s")), STR("t")));
    assert_true(json_number(json_get(n, "i"), &v) && v == -7);
    v = 5;
    assert_false(json_number(json_get(n, "r"), &v));
    assert_false(json_number(json_get(n, "s"), &v));
    assert_false(json_number(NULL, &v));
    assert_int_equal(v, 5);
    assert_true(json_truth(json_get(n, "b")));
    assert_false(json_truth(json_get(n, "f")) || json_truth(json_get(n, "n")) || json_truth(NULL));
    assert_int_equal(json_count(json_get(n, "a")), 2);
    assert_true(json_number(json_at(json_get(n, "a"), 1), &v) && v == 20);
    assert_null(json_at(json_get(n, "a"), 2));
    assert_null(json_get(n, "absent"));
    assert_null(json_get(json_get(n, "s"), "s"));
    assert_null(json_get(NULL, "s"));
    assert_int_equal(json_count(json_get(n, "s")) + json_count(NULL), 0);
    assert_int_equal(json_text(json_get(n, "i")).n, 0);
    char *text = json_dump(json_get(n, "a"));
    assert_string_equal(text, "[\n  10,\n  20\n]");
    free(text);
    assert_null(json_dump(NULL));
    json_free(n);
    json_free(NULL);
}

static void other_text_is_refused_with_a_reason(void **state) {
    static const char *const wrong[] = {
        "",   " ",       "{",           "}",   "[1,]", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "{\"a\" 1}", "nul",    "01",
        "\"", "\"\\x\"", "\"\\ud800\"", "1 2", "'a'",  "{a:1}",      "\"\xff\"",          "[1] // c",  "\"\n\"",
    };
    for (size_t i = 0; i < array_size(wrong); i++) {
        char why[128] = "";
        assert_null(json_read(str_of(wrong[i]), why));
        assert_true(why[0] && strlen(why) < sizeof(why));
    }
    char *deep = malloc(2000000), why[128];
    memset(deep, '[', 1000000);
    memset(deep + 1000000, ']', 1000000);
    assert_null(json_read((struct str){deep, 2000000}, why));
    assert_non_null(strstr(why, "deeper than 32"));
    assert_null(json_read((struct str){deep + 1000000 - 33, 66}, why));
    struct json *n = json_read((struct str){deep + 1000000 - 32, 64}, why);
    assert_non_null(n);
    json_free(n);
    free(deep);
    n = json_read(STR("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"]"), why); /* brackets in a string are none */
    assert_non_null(n);
    json_free(n);
    assert_null(json_read((struct str){"x", (size_t)JSON_READ_MAX + 1}, why));
}

static void members_and_kinds(void **state) {
    static const enum json_kind kinds[] = {JSON_IS_NULL, JSON_IS_BOOL,  JSON_IS_INTEGER, JSON_IS_REAL,
                                           JSON_IS_TEXT, JSON_IS_ARRAY, JSON_IS_OBJECT};
    char why[128], keys[16] = "";
    struct json *root = json_read(STR("{\"a\":null,\"b\":true,\"c\":-1,\"d\":0.5,\"e\":\"\",\"f\":[],\"g\":{}}"), why);
    void *cursor = NULL;
    struct str key;
    const struct json *value;
    for (size_t i = 0; json_member(root, &cursor, &key, &value); i++) {
        assert_true(key.n == 1 && i < array_size(kinds));
        keys[i] = key.at[0];
        assert_int_equal(json_kind(value), kinds[key.at[0] - 'a']);
        assert_true(json_double(value) == (key.at[0] == 'c' ? -1 : key.at[0] == 'd' ? 0.5 : 0));
    }
    assert_string_equal(keys, "abcdefg");
    assert_int_equal(json_kind(json_get(root, "x")), JSON_IS_ABSENT);
    cursor = NULL;
    assert_false(json_member(json_get(root, "f"), &cursor, &key, &value));
    assert_false(json_member(NULL, &cursor, &key, &value));
    json_free(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_kinds),
        cmocka_unit_test(compact_text_is_exact),
        cmocka_unit_test(pretty_text_is_the_same_value),
        cmocka_unit_test(any_bytes_become_valid_text),
        cmocka_unit_test(misuse_is_caught),
        cmocka_unit_test(values_are_looked_up),
        cmocka_unit_test(other_text_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
