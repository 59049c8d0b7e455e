/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: strings with a length compare, split and parse exactly, and builders never pass their bound. Method: tables of
 * input and answer, with as many wrong inputs as right ones. */
#include <ringwall/base/str.h>

#include "unit.h"

static void comparison_is_by_bytes(void **state) {
    assert_true(str_is(STR(""), STR_NULL));
    assert_false(str_is(STR("a"), STR("b")));
    assert_true(str_compare(STR("a"), STR("ab")) < 0);
    assert_true(str_compare(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_compare(STR_NULL, STR("")), 0);
    assert_true(str_has_prefix(STR("spiffe://x"), STR("spiffe://")));
    assert_false(str_has_prefix(STR("sp"), STR("spiffe")));
    assert_true(str_has_suffix(STR("a.local"), STR(".local")));
    assert_false(str_has_suffix(STR("l"), STR("local")));
    assert_true(str_has_suffix(STR("x"), STR_NULL));
    assert_true(str_fold_is(STR("Content-Type"), STR("content-tYPE")));
    assert_false(str_fold_is(STR("a@"), STR("a`"))); /* one bit apart, but no letters */
    assert_false(str_fold_is(STR("a"), STR("ab")));
}

static void splitting_loses_nothing(void **state) {
    static const struct {
        const char *whole;
        unsigned n;
        const char *pieces[4];
    } cases[] = {
        {"a,b,c", 3, {"a", "b", "c"}}, {"a", 1, {"a"}},      {"", 1, {""}},
        {"a,", 2, {"a", ""}},          {",a", 2, {"", "a"}}, {",", 2, {"", ""}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str rest = str_of(cases[i].whole), head;
        unsigned n = 0;
        while (str_split(&rest, ',', &head)) {
            assert_true(n < cases[i].n);
            assert_true(str_is(head, str_of(cases[i].pieces[n++])));
        }
        assert_int_equal(n, cases[i].n);
    }
    struct str rest = STR_NULL, head;
    assert_false(str_split(&rest, ',', &head));
}

static void numbers_are_strict(void **state) {
    uint64_t v = 7;
    assert_true(str_u64(STR("0"), 0, &v) && v == 0);
    assert_true(str_u64(STR("65535"), 65535, &v) && v == 65535);
    assert_true(str_u64(STR("18446744073709551615"), UINT64_MAX, &v) && v == UINT64_MAX);
    static const char *const wrong[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1a", "18446744073709551616", "99999999999999999999999"};
    v = 7;
    for (size_t i = 0; i < array_size(wrong); i++)
        assert_false(str_u64(str_of(wrong[i]), UINT64_MAX, &v));
    assert_false(str_u64(STR("65536"), 65535, &v));
    assert_false(str_u64((struct str){.at = "1\0", .n = 2}, 9, &v));
    assert_int_equal(v, 7);
}

static void copies_end_with_nul(void **state) {
    cleanup_free char *copy = str_dup((struct str){.at = "abcdef", .n = 3});
    assert_string_equal(copy, "abc");
    cleanup_free char *empty = str_dup(STR_NULL);
    assert_string_equal(empty, "");
}

static void utf8_is_checked(void **state) {
    static const char *const right[] = {
        "", "plain\t\r\n", "\xc2\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
    static const char *const wrong[] = {"\x01",
                                        "\x1b[2J",
                                        "\x80",
                                        "\xc0\xaf",
                                        "\xc1\xbf",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff",
                                        "\xe2\x82",
                                        "\xc2",
                                        "\xe2\x28\xa1"};
    for (size_t i = 0; i < array_size(right); i++)
        assert_true(str_is_utf8(str_of(right[i])));
    for (size_t i = 0; i < array_size(wrong); i++)
        assert_false(str_is_utf8(str_of(wrong[i])));
    assert_false(str_is_utf8((struct str){.at = "a\0b", .n = 3}));
    assert_int_equal(str_utf8_unit(STR("\xe2\x82\xac"
                                       "x")),
                     3);
    assert_int_equal(str_utf8_unit(STR_NULL), 0);
}

static void distance_counts_edits(void **state) {
    assert_int_equal(str_distance(STR("selector"), STR("selector")), 0);
    assert_int_equal(str_distance(STR("selecter"), STR("selector")), 1);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting")), 3);
    assert_int_equal(str_distance(STR_NULL, STR("abc")), 3);
    assert_int_equal(str_distance(STR("abc"), STR_NULL), 3);
    char a[200], b[200];
    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    assert_int_equal(str_distance((struct str){a, sizeof(a)}, (struct str){b, sizeof(b)}), 64);
}

static void text_stops_at_its_bound(void **state) {
    char memory[8];
    struct text t = TEXT_OVER(memory);
    assert_string_equal(t.at, "");
    text_add(&t, STR("abc"));
    text_addf(&t, "%d", 1234);
    assert_false(t.full);
    assert_string_equal(memory, "abc1234");
    text_add(&t, STR_NULL);
    assert_false(t.full);
    text_add(&t, STR("x"));
    assert_true(t.full);
    assert_true(str_is(text_str(&t), STR("abc1234")));

    char small[4], one[1];
    struct text cut = TEXT_OVER(small), none = TEXT_OVER(one);
    text_addf(&cut, "%s", "longer");
    assert_true(cut.full);
    assert_string_equal(small, "lon");
    text_addf(&none, "x");
    assert_true(none.full && none.n == 0 && one[0] == 0);
}

static void growing_grows(void **state) {
    cleanup(growing_deinit) struct growing g = GROWING_NULL;
    for (int i = 0; i < 1000; i++) {
        growing_add(&g, STR("0123456789"));
        growing_addf(&g, "%s", "abcdef");
    }
    growing_add(&g, STR_NULL);
    assert_false(g.failed);
    assert_int_equal(g.n, 16000);
    assert_int_equal(strlen(g.at), 16000);
    assert_memory_equal(g.at + 15984, "0123456789abcdef", 16);
    growing_add(&g, (struct str){.at = "", .n = SIZE_MAX / 2});
    assert_true(g.failed);
    assert_int_equal(g.n, 16000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparison_is_by_bytes),  cmocka_unit_test(splitting_loses_nothing),
        cmocka_unit_test(numbers_are_strict),      cmocka_unit_test(copies_end_with_nul),
        cmocka_unit_test(utf8_is_checked),         cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(text_stops_at_its_bound), cmocka_unit_test(growing_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
