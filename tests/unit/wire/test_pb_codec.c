/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what all codecs share: unpacking costs a bounded sum, text is text, nothing is packed that no reader would take.
 * Method: a schema with one bytes field and one list (DataSource, DiscoveryRequest); an arena at its bound; sizes at the bound. */
#include "../../../src/wire/pb_codec.h"

#include <errno.h>

#include "sds.pb-c.h"
#include "unit.h"

static void text_is_utf8_without_nul(void **state) {
    static const struct {
        const char *bytes;
        size_t n;
        bool text;
    } table[] = {{"", 0, true},      {"a\n\r\tb", 5, true}, {"\xc3\xa9", 2, true},      {"\xc3", 1, false},    {"a\0b", 3, false},
                 {"\xff", 1, false}, {"\x1b[0m", 4, false}, {"\xed\xa0\x80", 3, false}, {"\xc0\x80", 2, false}};
    for (size_t i = 0; i < array_size(table); i++) {
        struct arena a = ARENA_NULL;
        struct pb_in in = {.arena = &a};
        ProtobufCBinaryData b = pb_of((struct str){table[i].bytes, table[i].n});
        assert_int_equal(pb_open(&in, &ringwall__sds__data_source__descriptor, NULL, 0), 0);
        struct str s = pb_take_text(&in, b);
        assert_int_equal(s.n, table[i].text ? table[i].n : 0);
        assert_true(str_is(pb_take_bytes(&in, b), pb_str(b)));
        assert_int_equal(pb_close(&in), table[i].text ? PB_OK : PB_MALFORMED);
        arena_deinit(&a);
    }
}

static void lists_have_bounds_and_arenas_too(void **state) {
    ProtobufCBinaryData items[4] = {pb_of(STR("a")), pb_of(STR("")), pb_of(STR("\xff")), pb_of(STR("d"))};
    for (size_t max = 1; max < 6; max++)
        for (int text = 0; text < 2; text++) {
            struct arena a = ARENA_NULL;
            struct pb_in in = {.arena = &a};
            size_t n = 99;
            assert_int_equal(pb_open(&in, &ringwall__sds__data_source__descriptor, NULL, 0), 0);
            const struct str *list = pb_take_list(&in, items, 4, max, text, &n);
            assert_int_equal(n, max >= 4 ? 4 : 0);
            assert_int_equal(list != NULL, max >= 4);
            assert_int_equal(pb_close(&in), max >= 4 && !text ? PB_OK : PB_MALFORMED);
            arena_deinit(&a);
        }
    struct arena a = {.bytes_max = 16};
    struct pb_in in = {.arena = &a};
    size_t n = 99;
    assert_int_equal(pb_open(&in, &ringwall__sds__data_source__descriptor, NULL, 0), 0);
    assert_null(pb_take_list(&in, items, 4, 9, false, &n));
    assert_int_equal(n, 0);
    assert_null(pb_take_list(&in, items, 0, 9, false, &n));
    assert_int_equal(pb_close(&in), -ENOMEM);
    arena_deinit(&a);
}

static void many_small_fields_cost_a_bounded_sum(void **state) {
    /* 2 MiB of empty names: 1,048,576 of them, 16 bytes each once unpacked, and protobuf-c's list of what it saw */
    size_t n = 2 * 1024 * 1024;
    uint8_t *bytes = malloc(n);
    for (size_t i = 0; i < n; i += 2) {
        bytes[i] = 0x1a;
        bytes[i + 1] = 0;
    }
    struct arena a = ARENA_NULL;
    struct pb_in in = {.arena = &a};
    assert_int_equal(pb_open(&in, &ringwall__sds__discovery_request__descriptor, bytes, n), PB_MALFORMED);
    struct pb_in few = {.arena = &a};
    assert_int_equal(pb_open(&few, &ringwall__sds__discovery_request__descriptor, bytes, 1000), PB_OK);
    assert_in_range(PB_UNPACK_MAX - few.left, 500 * sizeof(ProtobufCBinaryData), 50000);
    assert_int_equal(pb_close(&few), PB_OK);
    free(bytes);
    bytes = calloc(1, PB_MESSAGE_MAX + 1);
    assert_int_equal(pb_open(&in, &ringwall__sds__data_source__descriptor, bytes, PB_MESSAGE_MAX + 1), PB_MALFORMED);
    free(bytes);
    arena_deinit(&a);
}

static void packing_has_the_same_bound(void **state) {
    Ringwall__Sds__DataSource m = RINGWALL__SDS__DATA_SOURCE__INIT;
    uint8_t *big = calloc(1, PB_MESSAGE_MAX), *out = NULL;
    struct secret s = SECRET_NULL;
    size_t n;
    m.inline_bytes = (ProtobufCBinaryData){PB_MESSAGE_MAX - 4, big};
    assert_int_equal(pb_pack(&m.base, &out, &n), -EMSGSIZE); /* five bytes of head */
    assert_int_equal(pb_pack_secret(&m.base, &s), -EMSGSIZE);
    m.inline_bytes.len--;
    assert_int_equal(pb_pack(&m.base, &out, &n), 0);
    assert_int_equal(n, PB_MESSAGE_MAX);
    assert_int_equal(pb_pack_secret(&m.base, &s), 0);
    assert_int_equal(s.n, n);
    assert_memory_equal(s.at, out, n);
    secret_deinit(&s);
    free(out);
    free(big);
    m.inline_bytes.len = 0;
    assert_int_equal(pb_pack_secret(&m.base, &s), 0);
    assert_null(s.at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_utf8_without_nul),
        cmocka_unit_test(lists_have_bounds_and_arenas_too),
        cmocka_unit_test(many_small_fields_cost_a_bounded_sum),
        cmocka_unit_test(packing_has_the_same_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
