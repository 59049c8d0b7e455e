/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the libraries behind the room are named with their versions, in the room that is given. Method: one line, cut and
 * whole. */
#include <string.h>

#include <ringwall/wire/h2.h>

#include "unit.h"

static void libraries_are_named(void **state) {
    char text[256], small[10];
    assert_ptr_equal(h2_library_text(text, sizeof(text)), text);
    assert_true(strstr(text, "nghttp2 1.") && strstr(text, "protobuf-c 1.") && strstr(text, "libfyaml 0.") &&
                strstr(text, "jansson 2."));
    assert_int_equal(strlen(h2_library_text(small, sizeof(small))), 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(libraries_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
