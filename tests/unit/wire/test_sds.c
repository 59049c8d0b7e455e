/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: SDS messages are Envoy's, field by field; what a client sends is bounded and strict; keys are in secret memory only.
 * Method: messages written by hand from the field numbers; round trips; every cut and changed bit. */
#include <errno.h>

#include <ringwall/wire/sds.h>

#include "unit.h"

/* Builds a message: fields of numbers, and of bytes. */
struct builder {
    uint8_t bytes[4096];
    size_t n;
};
static void put(struct builder *b, unsigned field, const void *bytes, size_t n) {
    assert_true(n < 16384 && b->n + n + 4 < sizeof(b->bytes));
    if (field < 16) {
        b->bytes[b->n++] = (uint8_t)(field << 3 | 2);
    } else {
        b->bytes[b->n++] = (uint8_t)(0x80 | (field << 3 & 0x7f) | 2);
        b->bytes[b->n++] = (uint8_t)(field >> 4);
    }
    if (n > 127)
        b->bytes[b->n++] = (uint8_t)(0x80 | (n & 127));
    b->bytes[b->n++] = (uint8_t)(n > 127 ? n >> 7 : n);
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}
static void put_text(struct builder *b, unsigned field, const char *z) { put(b, field, z, strlen(z)); }
static void put_in(struct builder *b, unsigned field, const struct builder *inner) { put(b, field, inner->bytes, inner->n); }

static const char type_url[] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

static struct builder envoy_request(void) {
    struct builder b = {.n = 0}, node = {.n = 0}, status = {.n = 0}, locality = {.n = 0};
    put_text(&node, 1, "envoy-1");
    put_text(&node, 2, "cluster");
    put_text(&locality, 1, "region");
    put_in(&node, 4, &locality);
    put_text(&node, 6, "envoy");
    put_text(&b, 1, "7");
    put_in(&b, 2, &node);
    put_text(&b, 3, "default");
    put_text(&b, 3, "ROOTCA");
    put_text(&b, 4, type_url);
    put_text(&b, 5, "nonce");
    status.bytes[status.n++] = 0x08;
    status.bytes[status.n++] = 13;
    put_text(&status, 2, "cannot load");
    put_in(&b, 6, &status);
    return b;
}

static void a_request_is_read(void **state) {
    struct builder b = envoy_request();
    struct sds_request q;
    struct arena a = ARENA_NULL;
    assert_int_equal(sds_consume_request(b.bytes, b.n, &a, &q), PB_OK);
    assert_true(str_is(q.version, STR("7")) && str_is(q.node_id, STR("envoy-1")) && str_is(q.type_url, SDS_TYPE_SECRET));
    assert_true(q.n_names == 2 && str_is(q.names[0], STR("default")) && str_is(q.names[1], STR("ROOTCA")));
    assert_true(str_is(q.nonce, STR("nonce")) && q.refused && q.error_code == 13 && str_is(q.error_message, STR("cannot load")));
    assert_int_equal(sds_consume_request(NULL, 0, &a, &q), PB_OK);
    assert_true(q.n_names == 0 && !q.refused && q.node_id.n == 0);
    arena_deinit(&a);
}

static void a_delta_request_is_read(void **state) {
    struct builder b = {.n = 0}, node = {.n = 0}, status = {.n = 0}, version = {.n = 0};
    put_text(&node, 1, "e");
    put_in(&b, 1, &node);
    put_text(&b, 2, type_url);
    put_text(&b, 3, "new");
    put_text(&b, 4, "old");
    put_text(&version, 1, "held");
    put_text(&version, 2, "v9");
    put_in(&b, 5, &version);
    put_text(&b, 6, "nonce");
    put_in(&b, 7, &status); /* a status with nothing in it is a refusal all the same */
    struct sds_request q;
    struct arena a = ARENA_NULL;
    assert_int_equal(sds_consume_delta_request(b.bytes, b.n, &a, &q), PB_OK);
    assert_true(q.n_names == 1 && str_is(q.names[0], STR("new")) && q.n_unsubscribe == 1 && str_is(q.unsubscribe[0], STR("old")));
    assert_true(q.n_held == 1 && str_is(q.held[0].name, STR("held")) && str_is(q.held[0].version, STR("v9")));
    assert_true(str_is(q.node_id, STR("e")) && str_is(q.nonce, STR("nonce")) && q.refused && q.error_code == 0);
    arena_deinit(&a);
}

static void requests_go_round(void **state) {
    struct str names[] = {STR("default"), STR("")}, gone[] = {STR("x")};
    struct sds_version held[] = {{STR("a"), STR("1")}, {STR("b"), STR_NULL}};
    struct sds_request m = {STR("3"), STR("node"), SDS_TYPE_SECRET, STR("n"), names, 2, NULL, 0, NULL, 0, true, -5, STR("why")},
                       back;
    struct arena a = ARENA_NULL;
    uint8_t *bytes;
    size_t n;
    assert_int_equal(sds_create_request(&m, &bytes, &n), 0);
    assert_int_equal(sds_consume_request(bytes, n, &a, &back), PB_OK);
    free(bytes);
    assert_true(back.n_names == 2 && back.refused && back.error_code == -5 && str_is(back.version, m.version));
    m.unsubscribe = gone;
    m.n_unsubscribe = 1;
    m.held = held;
    m.n_held = 2;
    m.refused = false;
    assert_int_equal(sds_create_delta_request(&m, &bytes, &n), 0);
    assert_int_equal(sds_consume_delta_request(bytes, n, &a, &back), PB_OK);
    free(bytes);
    assert_true(back.n_names == 2 && back.n_unsubscribe == 1 && back.n_held == 2 && !back.refused &&
                str_is(back.held[1].name, STR("b")) && str_is(back.node_id, STR("node")));
    arena_deinit(&a);
}

static const struct sds_secret certificate = {
    .kind = SDS_CERTIFICATE, .name = {"default", 7}, .version = {"v1", 2}, .chain_pem = {"CHAIN", 5}, .key_pem = {"KEY", 3}};

static void a_response_is_envoy_s(void **state) {
    struct builder b = {.n = 0}, any = {.n = 0}, secret = {.n = 0}, tls = {.n = 0}, chain = {.n = 0}, key = {.n = 0};
    put_text(&chain, 2, "CHAIN");
    put_text(&key, 2, "KEY");
    put_in(&tls, 1, &chain);
    put_in(&tls, 2, &key);
    put_text(&secret, 1, "default");
    put_in(&secret, 2, &tls);
    put_text(&any, 1, type_url);
    put_in(&any, 2, &secret);
    put_text(&b, 1, "41");
    put_in(&b, 2, &any);
    put_text(&b, 4, type_url);
    put_text(&b, 5, "n-1");
    struct sds_response m = {.version = STR("41"), .nonce = STR("n-1"), .secrets = &certificate, .n_secrets = 1};
    struct secret out = SECRET_NULL;
    assert_int_equal(sds_create_response(&m, &out), 0);
    assert_int_equal(out.n, b.n);
    assert_memory_equal(out.at, b.bytes, b.n);
    secret_deinit(&out);
}

static void a_validation_context_is_envoy_s(void **state) {
    struct builder b = {.n = 0}, any = {.n = 0}, secret = {.n = 0}, context = {.n = 0}, roots = {.n = 0}, crl = {.n = 0},
                   resource = {.n = 0};
    put_text(&roots, 2, "ROOTS");
    put_text(&crl, 2, "CRL");
    put_in(&context, 1, &roots);
    put_in(&context, 7, &crl);
    put_text(&secret, 1, "ROOTCA");
    put_in(&secret, 4, &context);
    put_text(&any, 1, type_url);
    put_in(&any, 2, &secret);
    put_text(&resource, 1, "v2");
    put_in(&resource, 2, &any);
    put_text(&resource, 3, "ROOTCA");
    put_text(&b, 1, "sys");
    put_in(&b, 2, &resource);
    put_text(&b, 4, type_url);
    put_text(&b, 5, "n");
    put_text(&b, 6, "gone");
    struct sds_secret s = {
        .kind = SDS_VALIDATION, .name = STR("ROOTCA"), .version = STR("v2"), .roots_pem = STR("ROOTS"), .crl_pem = STR("CRL")};
    struct str removed[] = {STR("gone")};
    struct sds_response m = {STR("sys"), STR("n"), &s, 1, removed, 1};
    struct secret out = SECRET_NULL;
    assert_int_equal(sds_create_delta_response(&m, &out), 0);
    assert_int_equal(out.n, b.n);
    assert_memory_equal(out.at, b.bytes, b.n);
    secret_deinit(&out);
}

static void many_trust_domains_are_envoy_s_spiffe_validator(void **state) {
    struct builder b = {.n = 0}, any = {.n = 0}, secret = {.n = 0}, context = {.n = 0}, extension = {.n = 0}, config = {.n = 0},
                   typed = {.n = 0}, domain = {.n = 0}, roots = {.n = 0};
    put_text(&roots, 2, "PEM");
    put_text(&domain, 1, "cluster.local");
    put_in(&domain, 2, &roots);
    put_in(&config, 1, &domain);
    put_text(&typed, 1, "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig");
    put_in(&typed, 2, &config);
    put_text(&extension, 1, "envoy.tls.cert_validator.spiffe");
    put_in(&extension, 2, &typed);
    put_in(&context, 12, &extension);
    put_text(&secret, 1, "ALL");
    put_in(&secret, 4, &context);
    put_text(&any, 1, type_url);
    put_in(&any, 2, &secret);
    put_in(&b, 2, &any);
    put_text(&b, 4, type_url);
    struct sds_bundle bundle = {STR("cluster.local"), STR("PEM")};
    struct sds_secret s = {.kind = SDS_VALIDATION, .name = STR("ALL"), .bundles = &bundle, .n_bundles = 1};
    struct sds_response m = {.secrets = &s, .n_secrets = 1};
    struct secret out = SECRET_NULL;
    assert_int_equal(sds_create_response(&m, &out), 0);
    assert_int_equal(out.n, b.n);
    assert_memory_equal(out.at, b.bytes, b.n);
    secret_deinit(&out);
}

static void too_much_is_told(void **state) {
    char *big = malloc(PB_MESSAGE_MAX);
    memset(big, 'x', PB_MESSAGE_MAX);
    struct sds_secret s[2] = {certificate, {.kind = SDS_VALIDATION, .roots_pem = {big, PB_MESSAGE_MAX - 50}}};
    struct sds_response m = {.secrets = s, .n_secrets = 2};
    struct secret out = SECRET_NULL;
    assert_int_equal(sds_create_response(&m, &out), -EMSGSIZE);
    s[1].roots_pem.n = PB_MESSAGE_MAX;
    assert_int_equal(sds_create_delta_response(&m, &out), -EMSGSIZE);
    assert_null(out.at);
    free(big);
    struct builder b = {.n = 0};
    for (size_t i = 0; i < SDS_NAMES_MAX; i++)
        put_text(&b, 3, "");
    struct arena a = ARENA_NULL;
    struct sds_request q;
    assert_int_equal(sds_consume_request(b.bytes, b.n, &a, &q), PB_OK);
    assert_int_equal(q.n_names, SDS_NAMES_MAX);
    put_text(&b, 3, "");
    assert_int_equal(sds_consume_request(b.bytes, b.n, &a, &q), PB_MALFORMED);
    arena_deinit(&a);
}

static void damage_never_harms(void **state) {
    struct builder b = envoy_request();
    for (size_t cut = 0; cut <= b.n; cut++)
        for (int bit = -1; bit < 8; bit++) {
            struct arena a = ARENA_NULL;
            struct sds_request q;
            uint8_t *copy = malloc(cut + 1);
            memcpy(copy, b.bytes, cut);
            if (bit >= 0 && cut > 0)
                copy[cut - 1] ^= (uint8_t)(1u << bit);
            int v = sds_consume_request(copy, cut, &a, &q), w = sds_consume_delta_request(copy, cut, &a, &q);
            assert_true((v == PB_OK || v == PB_MALFORMED) && (w == PB_OK || w == PB_MALFORMED));
            free(copy);
            arena_deinit(&a);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read),
        cmocka_unit_test(a_delta_request_is_read),
        cmocka_unit_test(requests_go_round),
        cmocka_unit_test(a_response_is_envoy_s),
        cmocka_unit_test(a_validation_context_is_envoy_s),
        cmocka_unit_test(many_trust_domains_are_envoy_s_spiffe_validator),
        cmocka_unit_test(too_much_is_told),
        cmocka_unit_test(damage_never_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
