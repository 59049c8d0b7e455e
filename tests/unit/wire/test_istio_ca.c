/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: requests and responses of IstioCertificateService are byte for byte what Istio's clients and servers exchange.
 * Method: messages written by hand from the field numbers; round trips; every cut and changed bit; what is ambiguous is refused. */
#include <ringwall/wire/istio_ca.h>

#include "unit.h"

/* csr "C", validity 86400, metadata {ImpersonatedIdentity: "spiffe://a"} */
static const uint8_t wire[] = {0x0a, 1,    'C',  0x18, 0x80, 0xa3, 0x05, 0x22, 0x26, 0x0a, 0x24, 0x0a, 0x14, 'I', 'm', 'p',
                               'e',  'r',  's',  'o',  'n',  'a',  't',  'e',  'd',  'I',  'd',  'e',  'n',  't', 'i', 't',
                               'y',  0x12, 0x0c, 0x1a, 0x0a, 's',  'p',  'i',  'f',  'f',  'e',  ':',  '/',  '/', 'a'};

static void the_wire_format_is_istio_s(void **state) {
    struct istio_ca_request m = {STR("C"), 86400, STR("spiffe://a"), STR_NULL}, back;
    struct arena a = ARENA_NULL;
    uint8_t *bytes;
    size_t n;
    assert_int_equal(istio_ca_create_request(&m, &bytes, &n), 0);
    assert_int_equal(n, sizeof(wire));
    assert_memory_equal(bytes, wire, n);
    free(bytes);
    assert_int_equal(istio_ca_consume_request(wire, sizeof(wire), &a, &back), PB_OK);
    assert_true(str_is(back.csr_pem, m.csr_pem) && back.validity_s == 86400 && str_is(back.impersonated, m.impersonated));
    assert_int_equal(back.cert_signer.n, 0);
    arena_deinit(&a);
}

static void requests_go_round(void **state) {
    static const struct istio_ca_request all[] = {
        {{"pem\n", 4}, -1, {"", 0}, {"", 0}},
        {{"pem\n", 4}, INT64_MAX, {"spiffe://cluster.local/ns/a/sa/b", 32}, {"clusterissuers.cert-manager.io/x", 32}},
        {{"", 0}, 0, {"", 0}, {"s", 1}},
    };
    for (size_t i = 0; i < array_size(all); i++) {
        struct istio_ca_request back;
        struct arena a = ARENA_NULL;
        uint8_t *bytes;
        size_t n;
        assert_int_equal(istio_ca_create_request(&all[i], &bytes, &n), 0);
        assert_int_equal(istio_ca_consume_request(bytes, n, &a, &back), PB_OK);
        free(bytes);
        assert_true(str_is(back.csr_pem, all[i].csr_pem) && back.validity_s == all[i].validity_s &&
                    str_is(back.impersonated, all[i].impersonated) && str_is(back.cert_signer, all[i].cert_signer));
        arena_deinit(&a);
    }
}

static void other_fields_are_skipped(void **state) {
    /* the reserved field 2, a boolean in the metadata, an unknown field 9 */
    static const uint8_t more[] = {0x0a, 1, 'C', 0x12, 1, 's', 0x22, 9, 0x0a, 7, 0x0a, 1, 'b', 0x12, 2, 0x20, 1, 0x4a, 1, 'z'};
    struct istio_ca_request back;
    struct arena a = ARENA_NULL;
    assert_int_equal(istio_ca_consume_request(more, sizeof(more), &a, &back), PB_OK);
    assert_true(str_is(back.csr_pem, STR("C")) && back.impersonated.n == 0 && back.cert_signer.n == 0);
    arena_deinit(&a);
}

static size_t entry(uint8_t *at, const char *key, const char *value) {
    size_t n_key = strlen(key), n_value = value ? strlen(value) : 0, k = 0;
    at[k++] = 0x0a;
    at[k++] = (uint8_t)(2 + n_key + (value ? 4 + n_value : 0));
    at[k++] = 0x0a;
    at[k++] = (uint8_t)n_key;
    memcpy(at + k, key, n_key);
    k += n_key;
    if (!value)
        return k;
    at[k++] = 0x12;
    at[k++] = (uint8_t)(2 + n_value);
    at[k++] = 0x1a;
    at[k++] = (uint8_t)n_value;
    memcpy(at + k, value, n_value);
    return k + n_value;
}

/* A request of metadata entries alone. */
static int consume_entries(const char *const pairs[][2], size_t n, struct istio_ca_request *ret, struct arena *a) {
    uint8_t bytes[256] = {0x22};
    size_t at = 2;
    for (size_t i = 0; i < n; i++)
        at += entry(bytes + at, pairs[i][0], pairs[i][1]);
    assert_true(at - 2 < 128);
    bytes[1] = (uint8_t)(at - 2);
    return istio_ca_consume_request(bytes, at, a, ret);
}

static void ambiguous_metadata_is_refused(void **state) {
    static const char *const twice[][2] = {{"ImpersonatedIdentity", "spiffe://a"}, {"ImpersonatedIdentity", "spiffe://b"}};
    static const char *const empty[][2] = {{"ImpersonatedIdentity", ""}}, *const none[][2] = {{"ImpersonatedIdentity", NULL}};
    static const char *const others[][2] = {{"WorkloadName", "w"}, {"impersonatedidentity", "spiffe://x"}, {"CertSigner", "s"}};
    struct istio_ca_request back;
    struct arena a = ARENA_NULL;
    assert_int_equal(consume_entries(twice, 2, &back, &a), PB_MALFORMED);
    assert_int_equal(consume_entries(empty, 1, &back, &a), PB_MALFORMED);
    assert_int_equal(consume_entries(none, 1, &back, &a), PB_MALFORMED);
    assert_int_equal(consume_entries(others, 3, &back, &a), PB_OK);
    assert_true(back.impersonated.n == 0 && str_is(back.cert_signer, STR("s")));
    arena_deinit(&a);
}

static void responses_go_round(void **state) {
    for (size_t n_chain = 0; n_chain <= PB_CHAIN_MAX; n_chain++) {
        struct istio_ca_response m = {.n_chain = n_chain}, back;
        struct arena a = ARENA_NULL;
        uint8_t *bytes;
        size_t n;
        for (size_t i = 0; i < n_chain; i++)
            m.chain[i] = i ? STR("root\n") : STR("leaf\n");
        assert_int_equal(istio_ca_create_response(&m, &bytes, &n), 0);
        assert_int_equal(istio_ca_consume_response(bytes, n, &a, &back), PB_OK);
        assert_int_equal(back.n_chain, n_chain);
        for (size_t i = 0; i < n_chain; i++)
            assert_true(str_is(back.chain[i], m.chain[i]));
        if (n_chain == 2)
            assert_memory_equal(bytes, "\x0a\x05leaf\n\x0a\x05root\n", 14);
        free(bytes);
        arena_deinit(&a);
    }
    uint8_t many[2 * (PB_CHAIN_MAX + 1)];
    for (size_t i = 0; i < sizeof(many); i += 2) {
        many[i] = 0x0a;
        many[i + 1] = 0;
    }
    struct istio_ca_response back;
    struct arena a = ARENA_NULL;
    assert_int_equal(istio_ca_consume_response(many, sizeof(many), &a, &back), PB_MALFORMED);
    assert_int_equal(istio_ca_consume_response(many, sizeof(many) - 2, &a, &back), PB_OK);
    arena_deinit(&a);
}

static void damage_never_harms(void **state) {
    for (size_t cut = 0; cut <= sizeof(wire); cut++)
        for (int bit = -1; bit < 8; bit++) {
            struct arena a = ARENA_NULL;
            struct istio_ca_request q;
            struct istio_ca_response p;
            uint8_t *copy = malloc(cut + 1);
            memcpy(copy, wire, cut);
            if (bit >= 0 && cut > 0)
                copy[cut / 2] ^= (uint8_t)(1u << bit);
            int v = istio_ca_consume_request(copy, cut, &a, &q), w = istio_ca_consume_response(copy, cut, &a, &p);
            assert_true((v == PB_OK || v == PB_MALFORMED) && (w == PB_OK || w == PB_MALFORMED));
            free(copy);
            arena_deinit(&a);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wire_format_is_istio_s), cmocka_unit_test(requests_go_round),
        cmocka_unit_test(other_fields_are_skipped),   cmocka_unit_test(ambiguous_metadata_is_refused),
        cmocka_unit_test(responses_go_round),         cmocka_unit_test(damage_never_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
