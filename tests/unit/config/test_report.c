/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the status tells of the world in force and of the last attempt, and stays well-formed whatever file names hold.
 * Method: a world of nothing, lists of diagnostics, and the JSON read back. */
#include <ringwall/wire/json.h>

#include "report.h"
#include "unit.h"

static int64_t number(const struct json *root, const char *key) {
    int64_t n = -1;
    assert_true(json_number(json_get(root, key), &n));
    return n;
}

static struct json *status(const struct report *r) {
    struct growing g = GROWING_NULL;
    char why[128];
    report_json(r, &g);
    assert_false(g.failed);
    struct json *root = json_read((struct str){g.at, g.n}, why);
    assert_non_null(root);
    growing_deinit(&g);
    return root;
}

static struct world *empty_world(uint64_t n) {
    struct world_input in = {.settings = {.trust_domain = STR("a"), .root_namespace = STR("r"), .cluster_domain = STR("c")}};
    struct diag_list diags = DIAG_LIST_NULL;
    struct world *w = NULL;
    assert_int_equal(world_build(&in, n, &diags, &w), 0);
    diag_list_deinit(&diags);
    return w;
}

static void before_the_first_world(void **state) {
    struct report r = REPORT_NULL;
    struct json *root = status(&r);
    assert_int_equal(number(root, "world"), 0);
    assert_int_equal(json_count(json_get(root, "errors")), 0);
    assert_int_equal(json_text(json_get(root, "loadedAt")).n, 0);
    json_free(root);
    report_deinit(&r);
}

static void a_refusal_keeps_the_world(void **state) {
    struct report r = REPORT_NULL;
    struct diag_list diags = DIAG_LIST_NULL;
    struct origin at = {STR("a \"b\"\n.yaml"), 4, 2};
    struct world *w = empty_world(3);
    report_taken(&r, w, 5, &diags);
    diag_addf(&diags, DIAG_ERROR, &at, "what, and \"what\" to write");
    diag_addf(&diags, DIAG_WARNING, &at, "beside");
    report_refused(&r, &diags);
    assert_int_equal(diags.n, 0); /* it was taken */
    struct json *root = status(&r);
    assert_int_equal(number(root, "world"), 3);
    assert_int_equal(number(root, "files"), 5);
    assert_int_equal(number(root, "errorCount"), 1);
    assert_int_equal(number(root, "warningCount"), 1);
    assert_true(json_truth(json_get(root, "refused")));
    assert_true(json_text(json_get(root, "loadedAt")).n > 0);
    const struct json *error = json_at(json_get(root, "errors"), 0);
    assert_true(str_is(json_text(json_get(error, "file")), at.file));
    assert_true(str_is(json_text(json_get(error, "severity")), STR("error")));
    assert_true(str_is(json_text(json_get(error, "text")), STR("what, and \"what\" to write")));
    assert_int_equal(number(error, "line"), 4);
    assert_int_equal(number(error, "column"), 2);
    json_free(root);
    report_taken(&r, w, 6, &diags);
    root = status(&r);
    assert_false(json_truth(json_get(root, "refused")));
    assert_int_equal(json_count(json_get(root, "errors")), 0);
    json_free(root);
    report_deinit(&r);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(before_the_first_world), cmocka_unit_test(a_refusal_keeps_the_world)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
