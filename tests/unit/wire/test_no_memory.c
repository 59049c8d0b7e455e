/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: whatever allocation fails, nothing breaks: a call ends with a verdict, what was taken is given back, and the next one
 * works. Method: scenes of gRPC, of the codecs and of tokens, run again and again with the first, the second, ... allocation
 * failing, until none does. malloc and its kin are wrapped at link time; nghttp2 and protobuf-c allocate through our hooks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/wire/grpc.h>
#include <ringwall/wire/h2.h>
#include <ringwall/wire/istio_ca.h>
#include <ringwall/wire/jwt.h>
#include <ringwall/wire/sds.h>
#include <ringwall/wire/workload_api.h>

#include "unit.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

static size_t fails_at; /* the so-many-th from now on fails; 0: none */
static bool failed;

static bool fails_now(void) {
    if (fails_at == 0 || --fails_at > 0)
        return false;
    failed = true;
    return true;
}
void *__wrap_malloc(size_t n) { return fails_now() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t count, size_t n) { return fails_now() ? NULL : __real_calloc(count, n); }
void *__wrap_realloc(void *p, size_t n) { return fails_now() ? NULL : __real_realloc(p, n); }

/* Runs a scene with each of its allocations failing in turn. The scene says whether all was well. n_left: how often at most nghttp2
 * itself may be left in a state that cannot be freed (see h2_free). */
static void in_want(bool (*scene)(void), unsigned n_left) {
    size_t n = 0, before = h2_memory_used();
    do {
        fails_at = ++n;
        failed = false;
        bool well = scene();
        fails_at = 0;
        if (h2_memory_used() != before) {
            assert_true(n_left-- > 0 && failed);
            before = h2_memory_used();
        }
        assert_true(well || failed);
    } while (failed && n < 100000);
    assert_in_range(n, 2, 99999);
    assert_true(scene()); /* and nothing is left behind */
}

struct pair {
    struct grpc_server *server;
    struct grpc_client *client;
    unsigned n_finished, n_messages;
    enum grpc_code code;
};
static void on_call(void *o, int32_t id, struct str path, const struct grpc_metadata *m, size_t n) {}
static void on_message(void *o, int32_t id, const uint8_t *bytes, size_t n) {
    struct pair *p = o;
    if (grpc_server_send(p->server, id, bytes, n) != 0)
        grpc_server_finish(p->server, id, GRPC_INTERNAL, STR("out of memory"));
}
static void on_half_closed(void *o, int32_t id) { grpc_server_finish(((struct pair *)o)->server, id, GRPC_OK, STR("well")); }
static void on_cancelled(void *o, int32_t id) {}
static void on_answer(void *o, int32_t id, const uint8_t *bytes, size_t n) { ((struct pair *)o)->n_messages++; }
static void on_finished(void *o, int32_t id, enum grpc_code code, struct str message) {
    ((struct pair *)o)->n_finished++;
    ((struct pair *)o)->code = code;
}
static void on_nothing(void *o) {}

/* false: a side is finished */
static bool carry(struct pair *p, bool to_server) {
    static uint8_t bytes[GRPC_DRAIN_MIN];
    size_t n;
    while ((n = to_server ? grpc_client_drain(p->client, bytes, sizeof(bytes))
                          : grpc_server_drain(p->server, bytes, sizeof(bytes))) > 0)
        for (size_t at = 0; at < n; at += 700)
            if ((to_server ? grpc_server_feed(p->server, bytes + at, min_of(n - at, (size_t)700), 1)
                           : grpc_client_feed(p->client, bytes + at, min_of(n - at, (size_t)700), 1)) != 0)
                return false;
    return true;
}

static bool a_call(void) {
    static const struct grpc_server_callbacks server = {on_call, on_message, on_half_closed, on_cancelled};
    static const struct grpc_client_callbacks client = {on_answer, on_finished, on_nothing, on_nothing};
    static const struct grpc_client_options o = {.authority = {"a", 1}, .limits = {10000, 10, 10000}};
    static uint8_t message[3000];
    struct pair p = {0};
    int32_t id = 0;
    int r = grpc_server_new(&server, &p, &o.limits, &p.server);
    if (r == 0)
        r = grpc_client_new(&client, &p, &o, &p.client);
    if (r == 0)
        r = grpc_client_call(p.client, STR("/x"), NULL, 0, 0, 1, &id);
    bool asked = r == 0;
    for (int i = 0; i < 3 && r == 0; i++)
        r = grpc_client_send(p.client, id, message, sizeof(message), i == 2);
    for (int i = 0; i < 5 && r == 0; i++)
        r = carry(&p, true) && carry(&p, false) ? 0 : 1;
    if (p.client)
        grpc_client_lost(p.client, STR("over"));
    assert_int_equal(p.n_finished, asked);
    p.client = grpc_client_free(p.client);
    p.server = grpc_server_free(p.server);
    return r == 0 && p.code == GRPC_OK && p.n_messages == 3;
}
static void grpc_in_want(void **state) { in_want(a_call, 20); }

static bool some_messages(void) {
    struct arena a = ARENA_NULL;
    struct str list[] = {STR("a"), STR("b")};
    struct sds_version held[] = {{STR("a"), STR("1")}};
    struct sds_request q = {.node_id = STR("n"), .names = list, .n_names = 2, .held = held, .n_held = 1}, q2;
    struct ca_bundle bundle = {STR("td"), list, 2, list, 1};
    struct ca_response c = {.kind = CA_MESSAGE_BUNDLE, .bundles = &bundle, .n_bundles = 1, .jwks = STR("{}")}, c2;
    struct istio_ca_request i = {STR("csr"), 5, STR("spiffe://a"), STR_NULL}, i2;
    uint8_t *bytes = NULL;
    size_t n;
    int r = sds_create_delta_request(&q, &bytes, &n);
    if (r == 0)
        r = sds_consume_delta_request(bytes, n, &a, &q2);
    free(bytes);
    bytes = NULL;
    if (r == 0)
        r = pb_create_ca_response(&c, &bytes, &n);
    if (r == 0)
        r = pb_consume_ca_response(bytes, n, &a, &c2);
    free(bytes);
    bytes = NULL;
    if (r == 0)
        r = istio_ca_create_request(&i, &bytes, &n);
    if (r == 0)
        r = istio_ca_consume_request(bytes, n, &a, &i2);
    free(bytes);
    arena_deinit(&a);
    assert_true(r == 0 || r == -ENOMEM);
    return r == 0;
}
static void messages_in_want(void **state) { in_want(some_messages, 0); }

static bool some_secrets(void) {
    struct arena a = ARENA_NULL;
    struct secret made = SECRET_NULL;
    struct sds_bundle bundle = {STR("td"), STR("PEM")};
    struct sds_secret secrets[] = {{.kind = SDS_CERTIFICATE, .name = STR("default"), .chain_pem = STR("C"), .key_pem = STR("K")},
                                   {.kind = SDS_VALIDATION, .name = STR("ALL"), .bundles = &bundle, .n_bundles = 1}};
    struct sds_response m = {STR("1"), STR("n"), secrets, 2, NULL, 0}, m2;
    struct workload_svid svid = {STR("spiffe://a"), STR("C"), STR("K"), STR("B"), STR_NULL};
    struct workload_x509 x = {&svid, 1, NULL, 0, NULL, 0}, x2;
    uint8_t *bytes = NULL;
    size_t n;
    int r = sds_create_delta_response(&m, &made);
    if (r == 0)
        r = sds_consume_delta_response(made.at, made.n, &a, &m2);
    r = r == PB_MALFORMED ? -ENOMEM : r; /* an inner message for which there was no memory */
    secret_deinit(&made);
    if (r == 0)
        r = workload_create_x509(&x, &made);
    if (r == 0)
        r = workload_consume_x509(made.at, made.n, &a, &x2);
    secret_deinit(&made);
    if (r == 0)
        r = workload_create_validated(STR("spiffe://a"), STR("{\"a\":[{\"b\":1},null,\"x\"]}"), &bytes, &n);
    free(bytes);
    arena_deinit(&a);
    assert_true(r == 0 || r == -ENOMEM);
    return r == 0;
}
static void secrets_in_want(void **state) { in_want(some_secrets, 0); }

static bool some_tokens(void) {
    static const char keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\","
                               "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                               "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
    struct arena a = ARENA_NULL;
    struct growing g = GROWING_NULL;
    struct str audience[] = {STR("a"), STR("b")};
    struct jwt_claims claims = {STR("k"), STR("i"), STR("s"), audience, 2, 1, 2};
    struct jwks set;
    struct jwt t;
    char why[128];
    int r = jwks_consume(STR(keys), &a, &set, why);
    jwt_create(&claims, &g);
    growing_add(&g, STR(".c2ln"));
    if (r == 0)
        r = g.failed ? -ENOMEM : jwt_consume((struct str){g.at, g.n}, &a, &t, why);
    growing_deinit(&g);
    arena_deinit(&a);
    assert_true(r == 0 || r == -ENOMEM);
    return r == 0;
}
static void tokens_in_want(void **state) { in_want(some_tokens, 0); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grpc_in_want),
        cmocka_unit_test(messages_in_want),
        cmocka_unit_test(secrets_in_want),
        cmocka_unit_test(tokens_in_want),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
