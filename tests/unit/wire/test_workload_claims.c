/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every kind of JSON value becomes the Value that google.protobuf.Struct has for it, to any depth the reader takes.
 * Method: a document of all kinds against bytes by hand; what is no object; depth at its bound. */
#include "../../../src/wire/workload_claims.h"

#include <errno.h>

#include <ringwall/wire/json.h>

#include "unit.h"

static void every_kind_of_value(void **state) {
    static const struct {
        const char *json;
        const char *wire;
        size_t n;
    } table[] = {
        {"{}", "", 0},
        {"{\"a\":null}",
         "\x0a\x07\x0a\x01"
         "a\x12\x02\x08\x00",
         9},
        {"{\"a\":\"\"}",
         "\x0a\x07\x0a\x01"
         "a\x12\x02\x1a\x00",
         9},
        {"{\"a\":true}",
         "\x0a\x07\x0a\x01"
         "a\x12\x02\x20\x01",
         9},
        {"{\"a\":false}",
         "\x0a\x07\x0a\x01"
         "a\x12\x02\x20\x00",
         9},
        {"{\"a\":1}",
         "\x0a\x0e\x0a\x01"
         "a\x12\x09\x11\0\0\0\0\0\0\xf0\x3f",
         16},
        {"{\"a\":-0.5}",
         "\x0a\x0e\x0a\x01"
         "a\x12\x09\x11\0\0\0\0\0\0\xe0\xbf",
         16},
        {"{\"a\":[]}",
         "\x0a\x07\x0a\x01"
         "a\x12\x02\x32\x00",
         9},
        {"{\"a\":{}}",
         "\x0a\x07\x0a\x01"
         "a\x12\x02\x2a\x00",
         9},
    };
    for (size_t i = 0; i < array_size(table); i++) {
        struct arena a = ARENA_NULL;
        Ringwall__Workload__Struct *s;
        uint8_t out[64];
        assert_int_equal(workload_claims_create(str_of(table[i].json), &a, &s), 0);
        assert_int_equal(protobuf_c_message_get_packed_size(&s->base), table[i].n);
        protobuf_c_message_pack(&s->base, out);
        if (table[i].n)
            assert_memory_equal(out, table[i].wire, table[i].n);
        arena_deinit(&a);
    }
}

static void a_token_s_claims(void **state) {
    static const char claims[] =
        "{\"aud\":[\"a\",\"b\"],\"exp\":1700000000,\"kubernetes.io\":{\"namespace\":\"n\",\"pod\":{\"name\":\"p\"}}}";
    struct arena a = ARENA_NULL;
    Ringwall__Workload__Struct *s;
    assert_int_equal(workload_claims_create(str_of(claims), &a, &s), 0);
    assert_int_equal(s->n_fields, 3);
    for (size_t i = 0; i < s->n_fields; i++) {
        const Ringwall__Workload__Value *v = s->fields[i]->value;
        if (s->fields[i]->key.data[0] == 'a')
            assert_true(v->kind_case == RINGWALL__WORKLOAD__VALUE__KIND_LIST_VALUE && v->list_value->n_values == 2);
        else if (s->fields[i]->key.data[0] == 'e')
            assert_true(v->kind_case == RINGWALL__WORKLOAD__VALUE__KIND_NUMBER_VALUE && v->number_value == 1700000000.0);
        else
            assert_true(v->kind_case == RINGWALL__WORKLOAD__VALUE__KIND_STRUCT_VALUE && v->struct_value->n_fields == 2);
    }
    arena_deinit(&a);
}

static void what_is_no_object_is_refused(void **state) {
    static const char *const wrong[] = {"", "[]", "1", "\"x\"", "null", "{", "{\"a\":1,\"a\":2}", "{} x", "{\"a\":\"\\u0000\"}"};
    struct arena a = ARENA_NULL;
    Ringwall__Workload__Struct *s;
    for (size_t i = 0; i < array_size(wrong); i++)
        assert_int_equal(workload_claims_create(str_of(wrong[i]), &a, &s), 1);
    for (size_t depth = JSON_DEPTH_MAX; depth < JSON_DEPTH_MAX + 2; depth++) {
        struct growing deep cleanup(growing_deinit) = GROWING_NULL;
        for (size_t i = 0; i < depth; i++)
            growing_add(&deep, i + 1 < depth ? STR("{\"a\":") : STR("{"));
        for (size_t i = 0; i < depth; i++)
            growing_add(&deep, STR("}"));
        assert_int_equal(workload_claims_create((struct str){deep.at, deep.n}, &a, &s), depth > JSON_DEPTH_MAX);
    }
    arena_deinit(&a);
    struct arena small = {.bytes_max = 100};
    assert_int_equal(workload_claims_create(STR("{\"a\":[1,2,3,4,5,6]}"), &small, &s), -ENOMEM);
    arena_deinit(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value),
        cmocka_unit_test(a_token_s_claims),
        cmocka_unit_test(what_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
