/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: scalars are typed as YAML 1.2 says, near words are found, and wrong types are told with the fix. Method: tables of
 * plain scalars and small trees.
 */
#include <string.h>

#include "decode.h"
#include "unit.h"

static struct yaml_node plain(const char *text) {
    return (struct yaml_node){.kind = YAML_SCALAR, .scalar = str_of(text), .line = 3, .column = 5};
}

static void scalar_types(void **state) {
    static const struct {
        enum scalar_type type;
        const char *texts[24];
    } rows[] = {
        {SCALAR_NULL, {"", "~", "null", "Null", "NULL"}},
        {SCALAR_BOOL, {"true", "True", "TRUE", "false", "False", "FALSE"}},
        {SCALAR_INT, {"0", "7", "-7", "+7", "007", "0x1F", "0o17"}},
        {SCALAR_FLOAT, {"1.5", "-.5", "1.", "1e3", "1.5E-3", ".inf", "-.inf", ".nan"}},
        {SCALAR_STRING, {"yes", "no", "on", "off", "y",  "10.0.0.1", "1.2.3", "0x",      "0xG",  "0o8",
                         "-",   "+",  ".",  "e3",  "1e", "1e+",      "25s",   "fd00::1", "tRUE", "nULL"}},
    };
    for (size_t i = 0; i < array_size(rows); i++)
        for (const char *const *text = rows[i].texts; *text; text++) {
            struct yaml_node n = plain(*text);
            if (scalar_type_of(&n) != rows[i].type)
                fail_msg("\"%s\" is of type %d", *text, (int)scalar_type_of(&n));
            n.quoted = true;
            assert_int_equal(scalar_type_of(&n), SCALAR_STRING);
        }
}

static void near_words(void **state) {
    static const char *const words[] = {"principals", "namespaces", "ipBlocks", "warn", "ALLOW", "a"};
    static const struct {
        const char *text, *near;
    } rows[] = {{"principal", "principals"},
                {"Principals", "principals"},
                {"pricnipals", "principals"},
                {"ipblocks", "ipBlocks"},
                {"namespace", "namespaces"},
                {"warning", "warn"},
                {"alow", "ALLOW"},
                {"something", NULL},
                {"", NULL},
                {"b", NULL},
                {"x", NULL}};
    for (size_t i = 0; i < array_size(rows); i++) {
        const char *near = nearest_word(str_of(rows[i].text), words, array_size(words));
        if (rows[i].near)
            assert_string_equal(near, rows[i].near);
        else
            assert_null(near);
    }
}

struct fixture {
    struct arena arena;
    struct diag_list diags;
    struct decode d;
};
static void set_up(struct fixture *f) {
    *f = (struct fixture){0};
    f->d = (struct decode){.arena = &f->arena, .diags = &f->diags, .file = STR("x.yaml"), .what = STR("Thing a")};
}
static void tear_down(struct fixture *f) {
    diag_list_deinit(&f->diags);
    arena_deinit(&f->arena);
}
static void said(struct fixture *f, const char *text) {
    assert_int_equal(f->diags.n, 1);
    assert_string_equal(f->diags.items[0].text, text);
    assert_string_equal(f->diags.items[0].file, "x.yaml");
    assert_int_equal(f->diags.items[0].line, 3);
    assert_int_equal(f->diags.items[0].column, 5);
    diag_list_deinit(&f->diags);
}

static void numbers(void **state) {
    static const struct {
        const char *text;
        uint64_t value; /* 77: refused */
    } rows[] = {{"1", 1},
                {"9", 9},
                {"0", 77},
                {"10", 77},
                {"-1", 77},
                {"+1", 77},
                {"01", 77},
                {"0x1", 77},
                {"1.0", 77},
                {"one", 77},
                {"99999999999999999999999", 77}};
    struct fixture f;
    set_up(&f);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct yaml_node n = plain(rows[i].text);
        uint64_t value = 77;
        assert_int_equal(decode_u64(&f.d, &n, "n", 1, 9, &value), rows[i].value != 77);
        assert_int_equal(value, rows[i].value);
        assert_int_equal(f.diags.n, rows[i].value == 77);
        diag_list_deinit(&f.diags);
    }
    tear_down(&f);
}

static void wrong_types_are_told(void **state) {
    struct fixture f;
    struct yaml_node list = {.kind = YAML_SEQUENCE, .line = 3, .column = 5}, text = plain("a"), number = plain("80"),
                     none = plain("");
    struct yaml_node quoted = plain("80");
    struct str s;
    uint64_t u;
    bool b;
    quoted.quoted = true;
    set_up(&f);
    assert_false(decode_str(&f.d, &list, "k", &s));
    said(&f, "Thing a: k must be a string, not a list");
    assert_false(decode_str(&f.d, &number, "k", &s));
    said(&f, "Thing a: k must be a string, not a number: write \"80\" in quotes");
    assert_false(decode_str(&f.d, &none, "k", &s));
    said(&f, "Thing a: k is empty: write a string, or remove the key");
    assert_false(decode_u64(&f.d, &quoted, "k", 1, 99, &u));
    said(&f, "Thing a: k must be a whole number, not a string: write a number from 1 to 99, without quotes");
    assert_false(decode_bool(&f.d, &text, "k", &b));
    said(&f, "Thing a: k must be true or false, not a string");
    assert_false(decode_mapping(&f.d, &text, "k"));
    said(&f, "Thing a: k must be a mapping, not a string: write \"key: value\" lines indented below it");
    assert_false(decode_sequence(&f.d, &text, "k"));
    said(&f, "Thing a: k must be a list, not a string: begin each element with \"- \", or write [a, b]");
    assert_true(decode_str(&f.d, &quoted, "k", &s));
    assert_string_equal(s.at, "80");
    tear_down(&f);
}

/* Memory that ends shows in `failed`, and nothing incomplete is handed out as good. */
static void no_memory(void **state) {
    for (size_t bytes = 16; bytes < 400; bytes += 16) {
        struct fixture f;
        struct yaml_node b = plain("bbbbbbbbbbbbbbbbbbbbbbbb"), a = plain("aaaaaaaaaaaaaaaaaaaaaaaa");
        struct yaml_node list = {.kind = YAML_SEQUENCE, .first = &a, .n_children = 2};
        struct text_list to = {0};
        a.next = &b;
        set_up(&f);
        f.arena.bytes_max = bytes;
        bool good = decode_text_list(&f.d, &list, "k", &to);
        assert_int_equal(good, !f.d.failed);
        assert_int_equal(to.n, good ? 2 : 0);
        tear_down(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(scalar_types), cmocka_unit_test(near_words), cmocka_unit_test(numbers),
                                       cmocka_unit_test(wrong_types_are_told), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
