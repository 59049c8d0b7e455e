/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every error that one manifest can have is found at its place and says what to write instead. Method: files under
 * data/bad and data/good that carry their expected diagnostics in comments; bounds and broken bytes made here. */
#include <ringwall/wire/yaml.h>

#include "manifest_file.h"

static void bad_files(void **state) { assert_true(check_data("bad") >= 13); }
static void good_files(void **state) { assert_true(check_data("good") >= 5); }

static void expect(struct str text, const char *diags) {
    struct manifest m = MANIFEST_NULL;
    assert_int_equal(manifest_parse(&m, STR("x.yaml"), text, STR("cluster.local")), 0);
    cleanup_free char *seen = diags_text(&m.diags);
    assert_string_equal(seen, diags);
    manifest_deinit(&m);
}

static void empty_files(void **state) {
    static const char said[] = "0:0: error: the file is empty, as a half-written one is: write manifests into it, or remove it\n";
    expect(STR(""), said);
    expect(STR(" \n\t\r\n"), said);
    expect(STR("# a comment\n"), "");
}

static struct growing repeated(const char *before, const char *each, size_t n, const char *after) {
    struct growing g = GROWING_NULL;
    growing_addf(&g, "%s", before);
    for (size_t i = 0; i < n; i++)
        growing_addf(&g, "%s", each);
    growing_addf(&g, "%s", after);
    assert_false(g.failed);
    return g;
}

#define POLICY "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec:\n"

static void bounds(void **state) {
    static const struct {
        const char *before, *each, *after, *diags;
        size_t n;
    } rows[] = {
        {POLICY "  rules: [", "{},", "{}]\n", "", 511},
        {POLICY "  rules: [", "{},", "{}]\n",
         "5:3: error: AuthorizationPolicy default/a: rules has 513 elements: at most 512 are allowed, write a second policy\n",
         512},
        {POLICY "  rules:\n  - from: [", "{source: {namespaces: [a]}},", "]\n", "", 512},
        {POLICY "  rules:\n  - from: [", "{source: {namespaces: [a]}},", "]\n",
         "6:5: error: AuthorizationPolicy default/a: from has 513 elements: at most 512 are allowed\n", 513},
        {POLICY "  rules:\n  - from: [{source: {serviceAccounts: [\"", "a", "\"]}}]\n", "", 320},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct growing g = repeated(rows[i].before, rows[i].each, rows[i].n, rows[i].after);
        expect((struct str){g.at, g.n}, rows[i].diags);
        growing_deinit(&g);
    }
}

/* What is quoted back is cut: no text of a megabyte ends up in a log line. */
static void long_texts(void **state) {
    struct growing g = repeated(POLICY "  ", "x", 100000, ": 1\n");
    struct manifest m = MANIFEST_NULL;
    assert_int_equal(manifest_parse(&m, STR("x.yaml"), (struct str){g.at, g.n}, STR("cluster.local")), 0);
    assert_int_equal(m.diags.n, 1);
    assert_true(strlen(m.diags.items[0].text) < 400);
    manifest_deinit(&m);
    growing_deinit(&g);
}

static void bombs(void **state) {
    struct growing deep = repeated("", "[", 100000, "");
    struct manifest m = MANIFEST_NULL;
    assert_int_equal(manifest_parse(&m, STR("x.yaml"), (struct str){deep.at, deep.n}, STR("cluster.local")), 0);
    assert_int_equal(m.diags.n_errors, 1);
    manifest_deinit(&m);
    growing_deinit(&deep);
    expect(STR("a: &a [x, x]\nb: &b [*a, *a]\n"),
           "1:4: error: anchors (&name) are not supported: write the value out where it is used\n");
}

static void not_utf8(void **state) {
    static const char text[] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a\xff}\n";
    struct manifest m = MANIFEST_NULL;
    assert_int_equal(manifest_parse(&m, STR("x.yaml"), STR(text), STR("cluster.local")), 0);
    assert_int_equal(m.diags.n_errors, 1);
    assert_int_equal(m.diags.items[0].line, 3);
    assert_int_equal(m.n_objects, 0);
    manifest_deinit(&m);
}

/* A file is cut at every byte: no cut crashes, and what is left never has more objects than the whole. */
static void half_written(void **state) {
    cleanup_free char *path = NULL, *text = NULL;
    size_t n;
    assert_true(asprintf(&path, "%s/good/policies.yaml", data_dir()) > 0);
    assert_int_equal(io_read_file(path, 1 << 20, &text, &n), 0);
    for (size_t i = 0; i <= n; i++) {
        struct manifest m = MANIFEST_NULL;
        assert_int_equal(manifest_parse(&m, STR("x.yaml"), (struct str){text, i}, STR("cluster.local")), 0);
        assert_true(m.n_objects <= 7);
        manifest_deinit(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_files), cmocka_unit_test(good_files),  cmocka_unit_test(empty_files),
                                       cmocka_unit_test(bounds),    cmocka_unit_test(long_texts),  cmocka_unit_test(bombs),
                                       cmocka_unit_test(not_utf8),  cmocka_unit_test(half_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
