/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: PEM blocks are found among other text, decode to their bytes, and broken ones are told from none.
 * Method: round trips of every small size, a table of broken texts. */
#include "pem.h"
#include "unit.h"

#include <ringwall/base/str.h>

static void test_round_trip(void **state) {
    uint8_t bytes[200], back[300];
    char text[600];
    for (size_t n = 1; n < sizeof(bytes); n++) {
        struct pem_block block;
        size_t n_text, n_back;
        bytes[n - 1] = (uint8_t)(n * 7);
        assert_true(pem_text_max("X", n) <= sizeof(text));
        assert_true(pem_encode("X", bytes, n, text, sizeof(text), &n_text));
        struct str rest = {text, n_text};
        assert_int_equal(pem_next(&rest, &block), PEM_BLOCK);
        assert_true(pem_bytes_max(&block) >= n && pem_bytes_max(&block) <= sizeof(back));
        assert_true(pem_decode(&block, back, sizeof(back), &n_back));
        assert_int_equal(n_back, n);
        assert_memory_equal(back, bytes, n);
        assert_int_equal(pem_next(&rest, &block), PEM_END);
    }
    size_t n;
    assert_false(pem_encode("X", bytes, 10, text, 20, &n));
    assert_false(pem_encode("X", bytes, 0, text, sizeof(text), &n));
}

static void test_blocks(void **state) {
    struct str rest =
        STR("comment\n-----BEGIN A-----\r\nAAAA\r\n-----END A-----\r\nmore\n-----BEGIN B B-----\nAQID\n-----END B B-----");
    struct pem_block block;
    uint8_t bytes[16];
    size_t n;
    assert_int_equal(pem_next(&rest, &block), PEM_BLOCK);
    assert_true(str_is(block.label, STR("A")));
    assert_true(pem_decode(&block, bytes, sizeof(bytes), &n));
    assert_int_equal(n, 3);
    assert_int_equal(pem_next(&rest, &block), PEM_BLOCK);
    assert_true(str_is(block.label, STR("B B")));
    assert_true(pem_decode(&block, bytes, sizeof(bytes), &n));
    assert_memory_equal(bytes, "\1\2\3", 3);
    assert_int_equal(pem_next(&rest, &block), PEM_END);
}

static void test_broken(void **state) {
    static const char *const texts[] = {
        "-----BEGIN A",
        "-----BEGIN A-----",
        "-----BEGIN A-----\nAAAA\n-----END B-----\n",
        "-----BEGIN -----\nAAAA\n-----END -----\n",
        "-----BEGIN A\n-----\nAAAA\n-----END A\n-----\n",
        "-----BEGIN 0123456789012345678901234567890123456789012345678901234567890123456789-----\nAAAA\n",
    };
    struct pem_block block;
    for (size_t i = 0; i < array_size(texts); i++) {
        struct str rest = str_of(texts[i]);
        assert_int_equal(pem_next(&rest, &block), PEM_MALFORMED);
    }
    static const char *const bodies[] = {"", "\n", "A", "AAA", "A*AA", "Proc-Type: 4,ENCRYPTED\n\nAAAA\n", "AA=A"};
    for (size_t i = 0; i < array_size(bodies); i++) {
        uint8_t bytes[64];
        size_t n;
        block = (struct pem_block){.base64 = str_of(bodies[i])};
        if (pem_decode(&block, bytes, sizeof(bytes), &n))
            fail_msg("'%s' was taken", bodies[i]);
    }
    struct str rest = STR("no block");
    assert_int_equal(pem_next(&rest, &block), PEM_END);
    rest = STR_NULL;
    assert_int_equal(pem_next(&rest, &block), PEM_END);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_blocks),
                                       cmocka_unit_test(test_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
