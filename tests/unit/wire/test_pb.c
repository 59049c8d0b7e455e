/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: messages go round unchanged and keep the field numbers of proto/ca.proto; bytes that are no message are refused.
 * Method: create and consume; every truncation and every single-byte change of a message; messages written by hand. */
#include <errno.h>
#include <string.h>

#include <ringwall/wire/pb.h>

#include "unit.h"

static const struct ca_request sign = {.kind = CA_MESSAGE_SIGN,
                                       .id = 0x1122334455667788,
                                       .caller = CA_CALLER_NODE,
                                       .caller_node = {"node-1", 6},
                                       .identity = {"spiffe://cluster.local/ns/a/sa/b", 32},
                                       .csr_pem = {"-----BEGIN", 10},
                                       .validity_s = -5};

static void requests_go_round(void **state) {
    struct arena a = ARENA_NULL;
    struct ca_request back;
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_request(&sign, &bytes, &n), 0);
    assert_int_equal(pb_consume_ca_request(bytes, n, &a, &back), PB_OK);
    free(bytes); /* what was consumed points elsewhere */
    assert_int_equal(back.kind, CA_MESSAGE_SIGN);
    assert_true(back.id == sign.id && back.caller == CA_CALLER_NODE && back.validity_s == -5);
    assert_true(str_is(back.caller_node, sign.caller_node) && str_is(back.identity, sign.identity) &&
                str_is(back.csr_pem, sign.csr_pem));
    struct ca_request bundle = {.kind = CA_MESSAGE_BUNDLE, .id = 3};
    assert_int_equal(pb_create_ca_request(&bundle, &bytes, &n), 0);
    assert_int_equal(pb_consume_ca_request(bytes, n, &a, &back), PB_OK);
    free(bytes);
    assert_true(back.kind == CA_MESSAGE_BUNDLE && back.id == 3 && back.csr_pem.n == 0);
    arena_deinit(&a);
}

static void responses_go_round(void **state) {
    static const enum ca_code codes[] = {CA_OK,       CA_INVALID_ARGUMENT, CA_PERMISSION_DENIED, CA_RESOURCE_EXHAUSTED,
                                         CA_INTERNAL, CA_UNAVAILABLE,      CA_UNAUTHENTICATED};
    struct arena a = ARENA_NULL;
    struct ca_response m = {.kind = CA_MESSAGE_SIGN, .id = 9, .message = STR("why")}, back;
    uint8_t *bytes;
    size_t n;
    for (size_t i = 0; i < array_size(codes); i++) {
        m.code = codes[i];
        m.n_chain = i % 4;
        for (size_t k = 0; k < m.n_chain; k++)
            m.chain[k] = STR("pem");
        assert_int_equal(pb_create_ca_response(&m, &bytes, &n), 0);
        assert_int_equal(pb_consume_ca_response(bytes, n, &a, &back), PB_OK);
        free(bytes);
        assert_true(back.code == codes[i] && back.n_chain == m.n_chain && str_is(back.message, STR("why")));
    }
    m = (struct ca_response){.kind = CA_MESSAGE_BUNDLE, .id = 10, .n_chain = PB_ROOTS_MAX};
    for (size_t k = 0; k < m.n_chain; k++)
        m.chain[k] = k % 2 ? STR("root") : STR("");
    assert_int_equal(pb_create_ca_response(&m, &bytes, &n), 0);
    assert_int_equal(pb_consume_ca_response(bytes, n, &a, &back), PB_OK);
    free(bytes);
    assert_true(back.kind == CA_MESSAGE_BUNDLE && back.n_chain == PB_ROOTS_MAX && str_is(back.chain[63], STR("root")));
    arena_deinit(&a);
}

static void field_numbers_are_istio_s(void **state) {
    /* CaRequest.sign{id 1, identity "i", request{csr "c", validity 7}} */
    static const uint8_t wire[] = {0x0a, 0x0c, 0x08, 0x01, 0x1a, 0x01, 'i', 0x22, 0x05, 0x0a, 0x01, 'c', 0x18, 0x07};
    struct arena a = ARENA_NULL;
    struct ca_request m;
    assert_int_equal(pb_consume_ca_request(wire, sizeof(wire), &a, &m), PB_OK);
    assert_true(m.id == 1 && str_is(m.identity, STR("i")) && str_is(m.csr_pem, STR("c")) && m.validity_s == 7);
    assert_int_equal(m.caller, CA_CALLER_UNSPECIFIED); /* nobody said who asks: nobody does */
    arena_deinit(&a);
}

static void other_bytes_are_malformed(void **state) {
    static const struct {
        uint8_t bytes[16];
        size_t n;
    } wrong[] = {
        {{0}, 0},                /* no kind */
        {{0x0a, 0x00}, 2},       /* sign without a request */
        {{0x1a, 0x00}, 2},       /* unknown kind only */
        {{0x0a, 0x05, 0x08}, 3}, /* short */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 11},
        {{0x0a, 0x06, 0x1a, 0x02, 0xff, 0xfe, 0x22, 0x00}, 8}, /* identity is not UTF-8 */
        {{0x0b}, 1},                                           /* a group */
        {{0x08, 0x01}, 2},                                     /* kind as a number */
    };
    struct arena a = ARENA_NULL;
    struct ca_request m;
    for (size_t i = 0; i < array_size(wrong); i++)
        assert_int_equal(pb_consume_ca_request(wrong[i].bytes, wrong[i].n, &a, &m), PB_MALFORMED);
    uint8_t *big = calloc(1, PB_MESSAGE_MAX + 1);
    assert_int_equal(pb_consume_ca_request(big, PB_MESSAGE_MAX + 1, &a, &m), PB_MALFORMED);
    free(big);
    arena_deinit(&a);
}

static void too_many_certificates_are_malformed(void **state) {
    /* CaResponse.sign{response{cert_chain "" times n}}, CaResponse.bundle{roots "" times n} */
    for (int bundle = 0; bundle < 2; bundle++) {
        for (uint8_t n = 14; n < 70; n++) {
            uint8_t bytes[200];
            size_t at = 0, max = bundle ? PB_ROOTS_MAX : PB_CHAIN_MAX;
            struct arena a = ARENA_NULL;
            struct ca_response m;
            uint8_t body = (uint8_t)(2 * n), wrapped = (uint8_t)(body + (body > 127 ? 3 : 2));
            bytes[at++] = bundle ? 0x12 : 0x0a;
            if ((bundle ? body : wrapped) > 127) {
                bytes[at++] = 0x80 | ((bundle ? body : wrapped) & 0x7f);
                bytes[at++] = 1;
            } else {
                bytes[at++] = bundle ? body : wrapped;
            }
            if (!bundle) {
                bytes[at++] = 0x22;
                if (body > 127) {
                    bytes[at++] = 0x80 | (body & 0x7f);
                    bytes[at++] = 1;
                } else {
                    bytes[at++] = body;
                }
            }
            for (uint8_t i = 0; i < n; i++) {
                bytes[at++] = bundle ? 0x12 : 0x0a;
                bytes[at++] = 0;
            }
            assert_int_equal(pb_consume_ca_response(bytes, at, &a, &m), n <= max ? PB_OK : PB_MALFORMED);
            arena_deinit(&a);
        }
    }
}

static void a_million_small_fields_cost_a_bounded_sum(void **state) {
    uint8_t *bytes = malloc(PB_MESSAGE_MAX);
    size_t n = 0;
    struct arena a = {.bytes_max = 100000};
    struct ca_response m;
    uint32_t body = PB_MESSAGE_MAX - 8;
    uint8_t head[] = {0x12, (uint8_t)(0x80 | (body & 0x7f)), (uint8_t)(0x80 | ((body >> 7) & 0x7f)), (uint8_t)(body >> 14)};
    memcpy(bytes, head, sizeof(head));
    for (n = sizeof(head); n < sizeof(head) + body; n += 2) {
        bytes[n] = 0x12;
        bytes[n + 1] = 0;
    }
    assert_int_equal(pb_consume_ca_response(bytes, n, &a, &m), PB_MALFORMED);
    assert_int_equal(a.bytes, 0);
    free(bytes);
    arena_deinit(&a);
}

static void an_arena_at_its_bound_is_told(void **state) {
    struct arena a = {.bytes_max = 8};
    struct ca_request back = {.id = 4};
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_request(&sign, &bytes, &n), 0);
    assert_int_equal(pb_consume_ca_request(bytes, n, &a, &back), -ENOMEM);
    assert_int_equal(back.id, 4); /* nothing written */
    free(bytes);
    arena_deinit(&a);
}

static void damage_never_harms(void **state) {
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_request(&sign, &bytes, &n), 0);
    for (size_t cut = 0; cut < n; cut++) {
        struct arena a = ARENA_NULL;
        struct ca_request m;
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        assert_int_equal(pb_consume_ca_request(copy, cut, &a, &m), PB_MALFORMED);
        free(copy);
        arena_deinit(&a);
    }
    for (size_t at = 0; at < n; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct arena a = ARENA_NULL;
            struct ca_request m;
            struct ca_response r;
            bytes[at] ^= (uint8_t)(1u << bit);
            int v = pb_consume_ca_request(bytes, n, &a, &m), w = pb_consume_ca_response(bytes, n, &a, &r);
            assert_true((v == PB_OK || v == PB_MALFORMED) && (w == PB_OK || w == PB_MALFORMED));
            bytes[at] ^= (uint8_t)(1u << bit);
            arena_deinit(&a);
        }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_round),
        cmocka_unit_test(responses_go_round),
        cmocka_unit_test(field_numbers_are_istio_s),
        cmocka_unit_test(other_bytes_are_malformed),
        cmocka_unit_test(too_many_certificates_are_malformed),
        cmocka_unit_test(a_million_small_fields_cost_a_bounded_sum),
        cmocka_unit_test(an_arena_at_its_bound_is_told),
        cmocka_unit_test(damage_never_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
