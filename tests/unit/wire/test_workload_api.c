/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: Workload API messages are those of the SPIFFE standard; what a client sends is bounded; keys are in secret memory only.
 * Method: messages written by hand from the field numbers; round trips; damage. */
#include <ringwall/wire/workload_api.h>

#include "unit.h"

static const struct workload_svid svids[] = {
    {{"spiffe://a/b", 12}, {"CERT", 4}, {"KEY", 3}, {"ROOT", 4}, {"internal", 8}},
    {{"spiffe://a/c", 12}, {"cert", 4}, {"key", 3}, {"root", 4}, {"", 0}},
};
static const struct workload_bundle bundles[] = {{{"spiffe://b", 10}, {"\x30\0\xff", 3}}, {{"spiffe://c", 10}, {"", 0}}};
static const struct str crls[] = {{"\x30\x80", 2}};

static void x509_answers_are_the_standard_s(void **state) {
    static const uint8_t wire[] = "\x0a\x29\x0a\x0cspiffe://a/b\x12\x04"
                                  "CERT\x1a\x03KEY\x22\x04ROOT\x2a\x08internal"
                                  "\x12\x02\x30\x80"
                                  "\x1a\x11\x0a\x0aspiffe://b\x12\x03\x30\0\xff";
    struct workload_x509 m = {svids, 1, crls, 1, bundles, 1};
    struct secret out = SECRET_NULL;
    assert_int_equal(workload_create_x509(&m, &out), 0);
    assert_int_equal(out.n, sizeof(wire) - 1);
    assert_memory_equal(out.at, wire, out.n);
    secret_deinit(&out);
}

static void x509_answers_go_round(void **state) {
    struct workload_x509 m = {svids, 2, crls, 1, bundles, 2}, back;
    struct secret out = SECRET_NULL;
    struct arena a = ARENA_NULL;
    assert_int_equal(workload_create_x509(&m, &out), 0);
    assert_int_equal(workload_consume_x509(out.at, out.n, &a, &back), PB_OK);
    assert_true(back.n_svids == 2 && back.n_crls == 1 && back.n_federated == 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(str_is(back.svids[i].spiffe_id, svids[i].spiffe_id) && str_is(back.svids[i].chain_der, svids[i].chain_der));
        assert_true(str_is(back.svids[i].key_der, svids[i].key_der) && str_is(back.svids[i].bundle_der, svids[i].bundle_der));
        assert_true(str_is(back.svids[i].hint, svids[i].hint) && str_is(back.federated[i].content, bundles[i].content));
    }
    for (size_t at = 0; at < out.n; at++)
        for (unsigned bit = 0; bit < 9; bit++) {
            size_t n = bit == 8 ? at : out.n;
            uint8_t *copy = malloc(n + 1);
            memcpy(copy, out.at, n);
            if (bit < 8)
                copy[at] ^= (uint8_t)(1u << bit);
            int v = workload_consume_x509(copy, n, &a, &back);
            assert_true(v == PB_OK || v == PB_MALFORMED);
            free(copy);
        }
    secret_deinit(&out);
    arena_deinit(&a);
}

static void bundles_are_the_standard_s(void **state) {
    static const uint8_t x509[] = "\x0a\x02\x30\x80\x12\x11\x0a\x0aspiffe://b\x12\x03\x30\0\xff\x12\x0c\x0a\x0aspiffe://c";
    static const uint8_t jwt[] = "\x0a\x11\x0a\x0aspiffe://b\x12\x03\x30\0\xff";
    struct workload_x509_bundles m = {crls, 1, bundles, 2};
    uint8_t *bytes;
    size_t n;
    assert_int_equal(workload_create_x509_bundles(&m, &bytes, &n), 0);
    assert_int_equal(n, sizeof(x509) - 1);
    assert_memory_equal(bytes, x509, n);
    free(bytes);
    assert_int_equal(workload_create_jwt_bundles(bundles, 1, &bytes, &n), 0);
    assert_int_equal(n, sizeof(jwt) - 1);
    assert_memory_equal(bytes, jwt, n);
    free(bytes);
    assert_int_equal(workload_create_jwt_bundles(NULL, 0, &bytes, &n), 0);
    assert_int_equal(n, 0);
    free(bytes);
}

static void jwt_messages_are_the_standard_s(void **state) {
    static const uint8_t answer[] = "\x0a\x15\x0a\x0aspiffe://b\x12\x03"
                                    "a.b\x1a\x02hi",
                         asked[] = "\x0a\x01x\x0a\x01y\x12\x0aspiffe://b";
    struct workload_jwt_svid one = {STR("spiffe://b"), STR("a.b"), STR("hi")};
    struct str audience[] = {STR("x"), STR("y")};
    struct workload_jwt_request q = {audience, 2, STR("spiffe://b")}, back;
    struct arena a = ARENA_NULL;
    uint8_t *bytes;
    size_t n;
    assert_int_equal(workload_create_jwt(&one, 1, &bytes, &n), 0);
    assert_int_equal(n, sizeof(answer) - 1);
    assert_memory_equal(bytes, answer, n);
    free(bytes);
    assert_int_equal(workload_create_jwt_request(&q, &bytes, &n), 0);
    assert_int_equal(n, sizeof(asked) - 1);
    assert_memory_equal(bytes, asked, n);
    free(bytes);
    assert_int_equal(workload_consume_jwt_request(asked, sizeof(asked) - 1, &a, &back), PB_OK);
    assert_true(back.n_audience == 2 && str_is(back.audience[1], STR("y")) && str_is(back.spiffe_id, STR("spiffe://b")));
    assert_int_equal(workload_consume_jwt_request(NULL, 0, &a, &back), PB_OK);
    assert_true(back.n_audience == 0 && !back.audience);
    uint8_t many[2 * (PB_AUDIENCE_MAX + 1)];
    for (size_t i = 0; i < sizeof(many); i += 2) {
        many[i] = 0x0a;
        many[i + 1] = 0;
    }
    assert_int_equal(workload_consume_jwt_request(many, sizeof(many), &a, &back), PB_MALFORMED);
    assert_int_equal(workload_consume_jwt_request(many, sizeof(many) - 2, &a, &back), PB_OK);
    assert_int_equal(workload_consume_jwt_request((const uint8_t *)"\x12\x03"
                                                                   "a\0b",
                                                  5, &a, &back),
                     PB_MALFORMED);
    arena_deinit(&a);
}

static void validation_goes_round(void **state) {
    static const uint8_t answer[] = "\x0a\x0aspiffe://b\x12\x0c\x0a\x0a\x0a\x03sub\x12\x03\x1a\x01x";
    struct workload_validate_request q = {STR("aud"), STR("a.b.c")}, back;
    struct arena a = ARENA_NULL;
    uint8_t *bytes;
    size_t n;
    assert_int_equal(workload_create_validate_request(&q, &bytes, &n), 0);
    assert_int_equal(workload_consume_validate_request(bytes, n, &a, &back), PB_OK);
    assert_true(str_is(back.audience, q.audience) && str_is(back.token, q.token));
    free(bytes);
    assert_int_equal(workload_create_validated(STR("spiffe://b"), STR("{\"sub\":\"x\"}"), &bytes, &n), 0);
    assert_int_equal(n, sizeof(answer) - 1);
    assert_memory_equal(bytes, answer, n);
    free(bytes);
    assert_int_equal(workload_create_validated(STR("spiffe://b"), STR("[]"), &bytes, &n), 1);
    arena_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x509_answers_are_the_standard_s), cmocka_unit_test(x509_answers_go_round),
        cmocka_unit_test(bundles_are_the_standard_s),      cmocka_unit_test(jwt_messages_are_the_standard_s),
        cmocka_unit_test(validation_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
