/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: one text for each value and no other. Method: RFC 4648's vectors; every pair of characters as a last quantum; round trips.
 */
#include <ringwall/wire/jwt.h>

#include "unit.h"

static void vectors(void **state) {
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } table[] = {{"", 0, ""},           {"f", 1, "Zg"},          {"fo", 2, "Zm8"},          {"foo", 3, "Zm9v"},
                 {"foob", 4, "Zm9vYg"}, {"fooba", 5, "Zm9vYmE"}, {"foobar", 6, "Zm9vYmFy"}, {"\xfb\xff\xfe", 3, "-__-"},
                 {"\0\0", 2, "AAA"}};
    for (size_t i = 0; i < array_size(table); i++) {
        struct growing g = GROWING_NULL;
        uint8_t bytes[8];
        size_t n = 99;
        base64url_add(&g, table[i].bytes, table[i].n);
        assert_true(str_is((struct str){g.at, g.n}, str_of(table[i].text)));
        assert_true(base64url_decode(str_of(table[i].text), bytes, table[i].n, &n)); /* exactly enough room */
        assert_int_equal(n, table[i].n);
        assert_memory_equal(bytes, table[i].bytes, n);
        assert_true(table[i].n == 0 || !base64url_decode(str_of(table[i].text), bytes, table[i].n - 1, &n));
        growing_deinit(&g);
    }
}

static void other_texts_are_refused(void **state) {
    static const char *const wrong[] = {"A",      "AAAAA", "Zg==", "Zm8=",   "Z+/v", "Zm9v Zm9v",
                                        "Zm9v\n", "Zh",    "Zm9",  "Zm9vYm", "Z*9v", "\xc3\xa9"};
    uint8_t bytes[16];
    size_t n;
    for (size_t i = 0; i < array_size(wrong); i++)
        assert_false(base64url_decode(str_of(wrong[i]), bytes, sizeof(bytes), &n));
    assert_false(base64url_decode((struct str){"AA\0A", 4}, bytes, sizeof(bytes), &n));
}

static void each_value_has_one_text(void **state) {
    unsigned taken = 0;
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            char text[2] = {(char)a, (char)b};
            uint8_t byte;
            size_t n;
            taken += base64url_decode((struct str){text, 2}, &byte, 1, &n);
        }
    assert_int_equal(taken, 256); /* of one byte */
    for (size_t size = 0; size < 100; size++) {
        struct growing g = GROWING_NULL;
        uint8_t in[100], out[103];
        size_t n;
        for (size_t i = 0; i < size; i++)
            in[i] = (uint8_t)(i * 37 + size);
        base64url_add(&g, in, size);
        assert_true(base64url_bytes_max(g.n) >= size && base64url_decode((struct str){g.at, g.n}, out, sizeof(out), &n) &&
                    n == size);
        assert_memory_equal(in, out, size);
        growing_deinit(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(each_value_has_one_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
