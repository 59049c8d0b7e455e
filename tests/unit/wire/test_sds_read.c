/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a client reads what our server makes of every kind of secret, and refuses what is no secret. Method: round trips; damage.
 */
#include <ringwall/wire/sds.h>

#include "unit.h"

static const struct sds_bundle bundles[] = {{{"a.org", 5}, {"PEM A", 5}}, {{"b.org", 5}, {"PEM B", 5}}};
static const struct sds_secret secrets[] = {
    {.kind = SDS_CERTIFICATE, .name = {"default", 7}, .version = {"1", 1}, .chain_pem = {"C", 1}, .key_pem = {"K", 1}},
    {.kind = SDS_VALIDATION, .name = {"ROOTCA", 6}, .version = {"2", 1}, .roots_pem = {"R", 1}},
    {.kind = SDS_VALIDATION, .name = {"x", 1}, .version = {"3", 1}, .roots_pem = {"R", 1}, .crl_pem = {"L", 1}},
    {.kind = SDS_VALIDATION, .name = {"ALL", 3}, .version = {"4", 1}, .bundles = bundles, .n_bundles = 2},
};

static void responses_go_round(void **state) {
    struct str removed[] = {STR("old"), STR("older")};
    struct sds_response m = {STR("v"), STR("n"), secrets, array_size(secrets), removed, 2}, back;
    for (int delta = 0; delta < 2; delta++) {
        struct arena a = ARENA_NULL;
        struct secret out = SECRET_NULL;
        assert_int_equal(delta ? sds_create_delta_response(&m, &out) : sds_create_response(&m, &out), 0);
        assert_int_equal(
            delta ? sds_consume_delta_response(out.at, out.n, &a, &back) : sds_consume_response(out.at, out.n, &a, &back), PB_OK);
        secret_deinit(&out);
        assert_true(str_is(back.version, m.version) && str_is(back.nonce, m.nonce) && back.n_secrets == m.n_secrets);
        assert_int_equal(back.n_removed, delta ? 2 : 0);
        for (size_t i = 0; i < m.n_secrets; i++) {
            const struct sds_secret *x = &secrets[i], *y = &back.secrets[i];
            assert_true(x->kind == y->kind && str_is(x->name, y->name) && str_is(x->chain_pem, y->chain_pem));
            assert_true(str_is(x->key_pem, y->key_pem) && str_is(x->roots_pem, y->roots_pem) && str_is(x->crl_pem, y->crl_pem));
            assert_true(x->n_bundles == y->n_bundles && (!delta || str_is(x->version, y->version)));
            for (size_t k = 0; k < x->n_bundles; k++)
                assert_true(str_is(x->bundles[k].trust_domain, y->bundles[k].trust_domain) &&
                            str_is(x->bundles[k].roots_pem, y->bundles[k].roots_pem));
        }
        arena_deinit(&a);
    }
}

static void what_is_no_secret_is_malformed(void **state) {
    static const struct {
        uint8_t bytes[16];
        size_t n;
    } wrong[] = {
        {{0x12, 0}, 2},                         /* no type */
        {{0x12, 5, 0x0a, 3, 'a', '/', 'b'}, 7}, /* another type */
        {{0x12, 2, 0x12, 0}, 4},                /* a value without a type */
        {{0x0a, 1, 0xff}, 3},                   /* version is not text */
    };
    for (size_t i = 0; i < array_size(wrong); i++) {
        struct arena a = ARENA_NULL;
        struct sds_response m;
        assert_int_equal(sds_consume_response(wrong[i].bytes, wrong[i].n, &a, &m), PB_MALFORMED);
        arena_deinit(&a);
    }
}

static void damage_never_harms(void **state) {
    struct sds_response m = {STR("v"), STR("n"), secrets, array_size(secrets), NULL, 0}, back;
    struct secret out = SECRET_NULL;
    assert_int_equal(sds_create_delta_response(&m, &out), 0);
    for (size_t at = 0; at < out.n; at++)
        for (unsigned bit = 0; bit < 9; bit++) {
            struct arena a = ARENA_NULL;
            size_t n = bit == 8 ? at : out.n;
            uint8_t *copy = malloc(n + 1);
            memcpy(copy, out.at, n);
            if (bit < 8)
                copy[at] ^= (uint8_t)(1u << bit);
            int v = sds_consume_response(copy, n, &a, &back), w = sds_consume_delta_response(copy, n, &a, &back);
            assert_true((v == PB_OK || v == PB_MALFORMED) && (w == PB_OK || w == PB_MALFORMED));
            free(copy);
            arena_deinit(&a);
        }
    secret_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(responses_go_round),
        cmocka_unit_test(what_is_no_secret_is_malformed),
        cmocka_unit_test(damage_never_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
