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

static void every_kind_of_request_goes_round(void **state) {
    struct ca_request all[] = {
        {.kind = CA_MESSAGE_SIGN,
         .id = 1,
         .caller = CA_CALLER_TOKEN,
         .caller_token = STR("ey.J.x"),
         .caller_peer = STR("10.0.0.1:7")},
        {.kind = CA_MESSAGE_SIGN, .id = 2, .caller = CA_CALLER_CERTIFICATE, .caller_identity = STR("spiffe://a/ns/b/sa/c")},
        {.kind = CA_MESSAGE_BUNDLE, .id = 3, .caller = CA_CALLER_NODE, .watch = true, .acknowledged = UINT64_MAX},
        {.kind = CA_MESSAGE_JWT, .id = 4, .caller = CA_CALLER_NODE, .identity = STR("spiffe://a/ns/b/sa/c"), .validity_s = 300},
        {.kind = CA_MESSAGE_SERVER, .id = 5, .caller = CA_CALLER_NODE, .csr_pem = STR("-----BEGIN\n\r\n\t")},
    };
    struct arena a = ARENA_NULL;
    for (size_t k = 0; k < PB_AUDIENCE_MAX; k++)
        all[3].audience[k] = k ? STR("istio-ca") : STR("");
    all[3].n_audience = PB_AUDIENCE_MAX;
    for (size_t i = 0; i < array_size(all); i++) {
        struct ca_request back, *m = &all[i];
        uint8_t *bytes;
        size_t n;
        assert_int_equal(pb_create_ca_request(m, &bytes, &n), 0);
        assert_int_equal(pb_consume_ca_request(bytes, n, &a, &back), PB_OK);
        free(bytes);
        assert_true(back.kind == m->kind && back.id == m->id && back.caller == m->caller && back.validity_s == m->validity_s);
        assert_true(back.watch == m->watch && back.acknowledged == m->acknowledged && back.n_audience == m->n_audience);
        assert_true(str_is(back.caller_token, m->caller_token) && str_is(back.caller_peer, m->caller_peer));
        assert_true(str_is(back.caller_identity, m->caller_identity) && str_is(back.identity, m->identity));
        assert_true(str_is(back.csr_pem, m->csr_pem) && str_is(back.audience[1], m->audience[1]));
    }
    arena_deinit(&a);
}

static void responses_go_round(void **state) {
    struct arena a = ARENA_NULL;
    uint8_t *bytes;
    size_t n;
    for (int code = 0; code < _CA_CODE_MAX; code++) {
        struct ca_response back, m = {.kind = code % 2 ? CA_MESSAGE_SERVER : CA_MESSAGE_SIGN, .id = 9, .message = STR("why")};
        m.code = (enum ca_code)code;
        m.n_chain = (size_t)code % (PB_CHAIN_MAX + 1);
        for (size_t k = 0; k < m.n_chain; k++)
            m.chain[k] = k % 3 ? STR("pem") : STR("");
        assert_int_equal(pb_create_ca_response(&m, &bytes, &n), 0);
        assert_int_equal(pb_consume_ca_response(bytes, n, &a, &back), PB_OK);
        free(bytes);
        assert_true(back.kind == m.kind && back.code == m.code && back.n_chain == m.n_chain && str_is(back.message, STR("why")));
        assert_true(back.n_chain < 2 || str_is(back.chain[1], STR("pem")));
    }
    struct ca_response back, m = {.kind = CA_MESSAGE_JWT, .id = 1, .token = STR("a.b.c"), .expires_s = 1234567890123};
    assert_int_equal(pb_create_ca_response(&m, &bytes, &n), 0);
    assert_int_equal(pb_consume_ca_response(bytes, n, &a, &back), PB_OK);
    free(bytes);
    assert_true(back.kind == CA_MESSAGE_JWT && str_is(back.token, m.token) && back.expires_s == m.expires_s);
    arena_deinit(&a);
}

static void bundles_go_round(void **state) {
    static const uint8_t der[] = {0x30, 0x00, 0xff, 0x80};
    struct arena a = ARENA_NULL;
    struct str roots[PB_ROOTS_MAX], crls[PB_CRLS_MAX];
    struct ca_bundle bundles[PB_BUNDLES_MAX];
    struct ca_response back, m = {.kind = CA_MESSAGE_BUNDLE, .id = 10, .generation = 7, .jwks = STR("{\"keys\":[]}")};
    uint8_t *bytes;
    size_t n;
    for (size_t i = 0; i < PB_ROOTS_MAX; i++)
        roots[i] = crls[i] = (struct str){(const char *)der, i % 2 ? sizeof(der) : 0};
    for (size_t i = 0; i < PB_BUNDLES_MAX; i++)
        bundles[i] = (struct ca_bundle){STR("cluster.local"), roots, PB_ROOTS_MAX - i, crls, i};
    m.bundles = bundles;
    for (size_t count = 0; count <= PB_BUNDLES_MAX; count += 8) {
        m.n_bundles = count;
        assert_int_equal(pb_create_ca_response(&m, &bytes, &n), 0);
        assert_int_equal(pb_consume_ca_response(bytes, n, &a, &back), PB_OK);
        free(bytes);
        assert_true(back.n_bundles == count && back.generation == 7 && back.id == 10 && str_is(back.jwks, m.jwks));
        for (size_t i = 0; i < count; i++) {
            const struct ca_bundle *b = &back.bundles[i];
            assert_true(b->n_roots == PB_ROOTS_MAX - i && b->n_crls == i && str_is(b->trust_domain, STR("cluster.local")));
            for (size_t k = 0; k < b->n_roots; k++)
                assert_true(str_is(b->roots[k], roots[k]));
        }
    }
    arena_deinit(&a);
}

static void more_than_a_message_holds_is_told(void **state) {
    char *big = calloc(1, PB_MESSAGE_MAX);
    struct ca_request m = {.kind = CA_MESSAGE_SERVER, .csr_pem = {big, PB_MESSAGE_MAX}};
    uint8_t *bytes = NULL;
    size_t n;
    assert_int_equal(pb_create_ca_request(&m, &bytes, &n), -EMSGSIZE);
    assert_null(bytes);
    m.csr_pem.n -= 64;
    memset(big, 'a', m.csr_pem.n);
    assert_int_equal(pb_create_ca_request(&m, &bytes, &n), 0);
    struct arena a = ARENA_NULL;
    assert_int_equal(pb_consume_ca_request(bytes, n, &a, &m), PB_OK);
    free(bytes);
    free(big);
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
        {{0x2a, 0x00}, 2},       /* unknown kind only */
        {{0x0a, 0x05, 0x08}, 3}, /* short */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 11},
        {{0x0a, 0x06, 0x1a, 0x02, 0xff, 0xfe, 0x22, 0x00}, 8},  /* identity is not UTF-8 */
        {{0x0a, 0x07, 0x1a, 0x03, 'a', 0, 'b', 0x22, 0x00}, 9}, /* a NUL in the identity */
        {{0x0b}, 1},                                            /* a group */
        {{0x08, 0x01}, 2},                                      /* kind as a number */
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

/* A length-delimited field with `body` inside. */
static size_t wrap(uint8_t *at, uint8_t tag, const uint8_t *body, size_t n) {
    size_t k = 0;
    at[k++] = tag;
    for (size_t rest = n; rest >= 0x80 || k == 1; rest >>= 7) {
        at[k++] = (uint8_t)(rest >= 0x80 ? 0x80 | (rest & 0x7f) : rest);
        if (rest < 0x80)
            break;
        if (rest >> 7 < 0x80) {
            at[k++] = (uint8_t)(rest >> 7);
            break;
        }
    }
    memcpy(at + k, body, n);
    return k + n;
}

static void lists_over_their_bound_are_malformed(void **state) {
    static const struct {
        uint8_t outer, inner, item;
        size_t max;
        bool response;
    } lists[] = {
        {0x0a, 0x22, 0x0a, PB_CHAIN_MAX, true}, /* sign.response.cert_chain */
        {0x22, 0x22, 0x0a, PB_CHAIN_MAX, true}, /* server.response.cert_chain */
        {0x12, 0x1a, 0x12, PB_ROOTS_MAX, true}, /* bundle.bundles.roots */
        {0x12, 0x1a, 0x1a, PB_CRLS_MAX, true},   {0x12, 0, 0x1a, PB_BUNDLES_MAX, true},
        {0x1a, 0, 0x22, PB_AUDIENCE_MAX, false}, /* jwt.audience */
    };
    for (size_t i = 0; i < array_size(lists); i++)
        for (size_t n = lists[i].max - 1; n < lists[i].max + 3; n++) {
            uint8_t items[400], inner[410], bytes[420];
            struct arena a = ARENA_NULL;
            struct ca_response m;
            struct ca_request q;
            for (size_t k = 0; k < n; k++) {
                items[2 * k] = lists[i].item;
                items[2 * k + 1] = 0;
            }
            size_t n_inner = lists[i].inner ? wrap(inner, lists[i].inner, items, 2 * n) : 2 * n;
            size_t at = wrap(bytes, lists[i].outer, lists[i].inner ? inner : items, n_inner);
            assert_int_equal(lists[i].response ? pb_consume_ca_response(bytes, at, &a, &m)
                                               : pb_consume_ca_request(bytes, at, &a, &q),
                             n <= lists[i].max ? PB_OK : PB_MALFORMED);
            arena_deinit(&a);
        }
}

static void a_million_small_fields_cost_a_bounded_sum(void **state) {
    uint8_t *bytes = malloc(PB_MESSAGE_MAX);
    size_t n = 0;
    struct arena a = {.bytes_max = 100000};
    struct ca_response m;
    uint32_t body = PB_MESSAGE_MAX - 8;
    uint8_t head[] = {0x12, (uint8_t)(0x80 | (body & 0x7f)), (uint8_t)(0x80 | ((body >> 7) & 0x7f)),
                      (uint8_t)(0x80 | ((body >> 14) & 0x7f)), (uint8_t)(body >> 21)};
    memcpy(bytes, head, sizeof(head));
    for (n = sizeof(head); n < sizeof(head) + body; n += 2) {
        bytes[n] = 0x1a;
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
        cmocka_unit_test(every_kind_of_request_goes_round),
        cmocka_unit_test(responses_go_round),
        cmocka_unit_test(bundles_go_round),
        cmocka_unit_test(more_than_a_message_holds_is_told),
        cmocka_unit_test(field_numbers_are_istio_s),
        cmocka_unit_test(other_bytes_are_malformed),
        cmocka_unit_test(lists_over_their_bound_are_malformed),
        cmocka_unit_test(a_million_small_fields_cost_a_bounded_sum),
        cmocka_unit_test(an_arena_at_its_bound_is_told),
        cmocka_unit_test(damage_never_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
