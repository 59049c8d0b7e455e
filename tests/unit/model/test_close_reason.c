/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the table is whole, its words are different, and a peer's word cannot mean more than a refusal. Method: walk the
 * table; words that no peer may say. */
#include <string.h>

#include <ringwall/model/close_reason.h>

#include "unit.h"

static void table(void **state) {
    for (int i = 0; i < _CLOSE_REASON_MAX; i++) {
        enum close_reason r = (enum close_reason)i;
        unsigned status = close_reason_status(r);
        assert_true(close_reason_word(r)[0] && close_reason_text(r)[0]);
        assert_true(status == 0 || status == 400 || status == 401 || status == 503);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(close_reason_word(r), close_reason_word((enum close_reason)j));
        assert_int_equal(close_reason_of_word(close_reason_word(r)), status ? r : CLOSE_PEER_REFUSED);
    }
    assert_false(close_reason_is_error(CLOSE_NONE));
    assert_false(close_reason_is_error(CLOSE_FINISHED));
    assert_true(close_reason_is_error(CLOSE_POLICY_DENIED));
    assert_int_equal(close_reason_status(CLOSE_POLICY_DENIED), 401);
}

static void words_of_peers(void **state) {
    static const char *const words[] = {"", "none", "finished", "POLICY-DENIED", "policy-denied ", "x"};
    for (size_t i = 0; i < array_size(words); i++)
        assert_int_equal(close_reason_of_word(words[i]), CLOSE_PEER_REFUSED);
    assert_int_equal(close_reason_of_word(NULL), CLOSE_PEER_REFUSED);
    assert_int_equal(close_reason_of_word("policy-denied"), CLOSE_POLICY_DENIED);
}

static void other(void *unused) { close_reason_word(_CLOSE_REASON_MAX); }
static void no_row(void **state) { assert_true(unit_dies(other, NULL)); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(words_of_peers), cmocka_unit_test(no_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
