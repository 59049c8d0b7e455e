/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every diagnostic is counted, the first thousand kept, sorted the same way always, and one line each. Method:
 * too many, unsorted, with control bytes. */
#include <ringwall/model/diag.h>

#include "unit.h"

static void add(struct diag_list *l, const char *file, uint32_t line, uint32_t column, const char *text) {
    struct origin at = {.file = str_of(file), .line = line, .column = column};
    diag_addf(l, text[0] == 'w' ? DIAG_WARNING : DIAG_ERROR, &at, "%s", text);
}

static void sorted_and_formatted(void **state) {
    cleanup(diag_list_deinit) struct diag_list l = DIAG_LIST_NULL;
    cleanup(growing_deinit) struct growing g = GROWING_NULL;

    add(&l, "b.yaml", 1, 1, "e5");
    add(&l, "a.yaml", 10, 1, "e4");
    add(&l, "a.yaml", 2, 9, "w3");
    add(&l, "a.yaml", 2, 3, "e2\nx\x7f");
    add(&l, "a.yaml", 0, 0, "e1");
    diag_addf(&l, DIAG_WARNING, NULL, "w0");
    diag_sort(&l);
    for (size_t i = 0; i < l.n; i++) {
        diag_format(&l.items[i], &g);
        growing_add(&g, STR("\n"));
    }
    assert_string_equal(g.at, ":1:1: warning: w0\na.yaml:1:1: error: e1\na.yaml:2:3: error: e2?x?\na.yaml:2:9: warning: w3\n"
                              "a.yaml:10:1: error: e4\nb.yaml:1:1: error: e5\n");
    assert_int_equal(l.n_errors, 4);
    assert_int_equal(l.n_warnings, 2);
}

static void bounded(void **state) {
    cleanup(diag_list_deinit) struct diag_list l = DIAG_LIST_NULL;

    for (unsigned i = 0; i < DIAG_MAX + 100; i++)
        add(&l, "f", i, 1, "e");
    assert_int_equal(l.n, DIAG_MAX);
    assert_int_equal(l.n_errors, DIAG_MAX + 100);
    diag_list_deinit(&l);
    assert_int_equal(l.n + l.n_errors + l.cap, 0);
    diag_sort(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sorted_and_formatted), cmocka_unit_test(bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
