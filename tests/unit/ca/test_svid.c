/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: JWT-SVIDs are for identities of this node, named audiences and a bounded time, are on record, and verify with the key set
 * that goes out with the bundles, also after a restart.
 * Method: requests at the authority's door; tokens are verified by jws_accept with the published set. */
#include "door.h"

static struct door d;
static struct world *world;
static char key_path[400];
static const char *const client = "spiffe://cluster.local/ns/default/sa/client";

static int make(void **state) {
    door_init(&d);
    snprintf(key_path, sizeof(key_path), "%s/jwt-key.pem", d.base);
    d.options.jwt_key_path = key_path;
    door_open(&d);
    const struct small_workload workloads[] = {{"default", "client", "client", "node-1", "10.0.0.1"},
                                               {"default", "elsewhere", "elsewhere", "node-2", "10.0.0.2"}};
    world = small_world(workloads, array_size(workloads), 1);
    return 0;
}

static int unmake(void **state) {
    world_free(world);
    door_deinit(&d);
    return 0;
}

static struct ca_request request(void) {
    return (struct ca_request){.kind = CA_MESSAGE_JWT,
                               .id = 4,
                               .caller = CA_CALLER_NODE,
                               .caller_node = STR("node-1"),
                               .identity = str_of(client),
                               .audience = {STR("one"), STR("two")},
                               .n_audience = 2};
}

static void check_token(struct str token, struct arena *arena, int64_t life_s) {
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE};
    struct ca_response p = door_ask(&d, &q, world, arena);
    struct jwks set;
    struct jwt t;
    char why[128] = "";
    assert_int_equal(jwks_consume(p.jwks, arena, &set, why), 0);
    struct jwt_expected e = {.audience = STR("two"), .now_s = d.now};
    if (jws_accept(token, &set, &e, arena, &t, why) != JWT_OK)
        fail_msg("%s", why);
    assert_true(str_is(t.subject, str_of(client)));
    assert_int_equal(t.algorithm, JWT_ES256);
    assert_int_equal(t.expires_s, d.now + life_s);
    assert_int_equal(t.n_audience, 2);
    e.audience = STR("three");
    assert_int_equal(jws_accept(token, &set, &e, arena, &t, why), JWT_AUDIENCE);
}

static void signed_and_verified(void **state) {
    struct arena arena = ARENA_NULL;
    struct ca_request q = request();
    struct ca_response p = door_ask(&d, &q, world, &arena);
    assert_int_equal(p.code, CA_OK);
    assert_int_equal(p.id, 4);
    assert_int_equal(p.expires_s, d.now + CA_JWT_TTL_S);
    check_token(p.token, &arena, CA_JWT_TTL_S);
    q.validity_s = 60;
    p = door_ask(&d, &q, world, &arena);
    check_token(p.token, &arena, 60);
    assert_int_equal(door_recorded(&d, "\"event\":\"issued\",\"what\":\"jwt\""), 2);
    char head[20];
    snprintf(head, sizeof(head), "%.18s", p.token.at);
    assert_int_equal(door_recorded(&d, head), 0); /* the token itself is a secret */
    door_shell("[ $(stat -c %%a %s) = 600 ]", key_path);
    /* A restart has the same key. */
    authority_close(&d.authority);
    door_open(&d);
    check_token(p.token, &arena, 60);
    arena_deinit(&arena);
}

static void expect_refused(const struct ca_request *q, const struct world *w, enum ca_code code, const char *word) {
    struct arena arena = ARENA_NULL;
    struct ca_response p = door_ask(&d, q, w, &arena);
    char message[300];
    snprintf(message, sizeof(message), STR_FMT, STR_ARG(p.message));
    if (p.code != code || !strstr(message, word))
        fail_msg("%d '%s', not %d '%s'", p.code, message, code, word);
    assert_int_equal(p.token.n, 0);
    arena_deinit(&arena);
}

static void refused(void **state) {
    struct ca_request q = request();
    q.identity = STR("spiffe://cluster.local/ns/default/sa/elsewhere");
    expect_refused(&q, world, CA_PERMISSION_DENIED, "on this node");
    q.identity = STR("spiffe://other.example/ns/default/sa/client");
    expect_refused(&q, world, CA_PERMISSION_DENIED, "trust domain");
    q = request();
    expect_refused(&q, NULL, CA_UNAVAILABLE, "configuration");
    q.n_audience = 0;
    expect_refused(&q, world, CA_INVALID_ARGUMENT, "audience");
    q = request();
    q.audience[1] = STR("");
    expect_refused(&q, world, CA_INVALID_ARGUMENT, "audience");
    q = request();
    q.audience[1] = STR("a\0b"); /* no text: it does not even pass the wire */
    expect_refused(&q, world, CA_INVALID_ARGUMENT, "");
    q = request();
    q.validity_s = CA_JWT_TTL_MAX_S + 1;
    expect_refused(&q, world, CA_INVALID_ARGUMENT, "hour");
    q = request();
    q.caller_node = STR("node-2");
    expect_refused(&q, world, CA_UNAUTHENTICATED, "another node");
    q = request();
    q.caller = CA_CALLER_UNSPECIFIED;
    expect_refused(&q, world, CA_UNAUTHENTICATED, "not known");
}

/* No record, no token: and it is wiped from the answer that was held. */
static void no_record(void **state) {
    struct audit *good = d.authority.audit;
    assert_int_equal(audit_open("/dev/full", 0, 0, &d.authority.audit, NULL), 0);
    struct ca_request q = request();
    expect_refused(&q, world, CA_INTERNAL, "audit log");
    audit_close(d.authority.audit);
    d.authority.audit = good;
}

static void keys_that_are_none(void **state) {
    struct authority other;
    struct ca_options o = d.options;
    char why[CA_WHY_BYTES];
    o.audit_path = NULL;
    static const char *const spoilers[] = {"echo nothing >", "openssl genpkey -quiet -algorithm RSA -out"};
    for (size_t i = 0; i < array_size(spoilers); i++) {
        why[0] = '\0';
        door_shell("%s %s 2>/dev/null", spoilers[i], key_path);
        assert_int_equal(authority_open(&other, &o, d.now, why), 1);
        assert_non_null(strstr(why, "P-256"));
        authority_close(&other);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(signed_and_verified), cmocka_unit_test(refused),
                                       cmocka_unit_test(no_record), cmocka_unit_test(keys_that_are_none)};
    return cmocka_run_group_tests(tests, make, unmake);
}
