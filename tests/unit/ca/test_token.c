/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: callers from outside get their own service account's identity, node agents those of their node, and every forged,
 * foreign, stale or misdirected proof gets nothing but a line in the record.
 * Method: requests at the authority's door with tokens made for each case, by our key, by openssl, or by an attacker. */
#include "door.h"

static struct door d;
static struct world *world;
static struct tls_key *issuer, *stranger;
static char jwks[400], kid[JWS_KID_MAX], *csr;
static const struct str node_accounts[] = {{"istio-system/ztunnel", 20}};
static const char *const client = "spiffe://cluster.local/ns/default/sa/client";
static const char *const elsewhere = "spiffe://cluster.local/ns/default/sa/elsewhere";

static void write_jwks(const char *text) { assert_int_equal(io_write_file(jwks, text, strlen(text), 0600), 0); }

static void publish_key(const struct tls_key *key) {
    struct growing set = GROWING_NULL;
    jws_kid(key, kid);
    growing_add(&set, STR("{\"keys\":["));
    jws_add_jwk(key, str_of(kid), "sig", &set);
    growing_add(&set, STR("]}"));
    write_jwks(set.at);
    growing_deinit(&set);
}

static int make(void **state) {
    door_init(&d);
    assert_int_equal(tls_key_generate(&issuer), 0);
    assert_int_equal(tls_key_generate(&stranger), 0);
    snprintf(jwks, sizeof(jwks), "%s/jwks.json", d.base);
    publish_key(issuer);
    d.options.jwt.issuer = "https://kubernetes.example";
    d.options.jwt.audience = "istio-ca";
    d.options.jwt.jwks = jwks;
    d.options.node_accounts = node_accounts;
    d.options.n_node_accounts = 1;
    door_open(&d);
    csr = door_csr(&d);
    const struct small_workload workloads[] = {{"default", "client", "client", "node-1", "10.0.0.1"},
                                               {"default", "elsewhere", "elsewhere", "node-2", "10.0.0.2"},
                                               {"istio-system", "ztunnel-b", "ztunnel", "node-2", "10.0.0.3"},
                                               {"istio-system", "other-b", "other", "node-2", "10.0.0.4"}};
    world = small_world(workloads, array_size(workloads), 1);
    return 0;
}

static int unmake(void **state) {
    world_free(world);
    tls_key_free(issuer);
    tls_key_free(stranger);
    free(csr);
    door_deinit(&d);
    return 0;
}

/* What a token says; NULL: as a good one of the client's account. */
struct says {
    const char *header, *sub, *aud, *iss, *kubernetes;
    int64_t exp, nbf;
    const struct tls_key *key;
};

static char *token_of(const struct says *s) {
    struct growing g = GROWING_NULL, claims = GROWING_NULL;
    char header[200];
    snprintf(header, sizeof(header), "{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    growing_addf(&claims, "{\"iss\":\"%s\",\"aud\":[\"%s\"],\"sub\":\"%s\",\"exp\":%lld,\"nbf\":%lld%s%s}",
                 s->iss ? s->iss : "https://kubernetes.example", s->aud ? s->aud : "istio-ca",
                 s->sub ? s->sub : "system:serviceaccount:default:client", (long long)(s->exp ? s->exp : d.now + 600),
                 (long long)(s->nbf ? s->nbf : d.now - 10), s->kubernetes ? ",\"kubernetes.io\":" : "",
                 s->kubernetes ? s->kubernetes : "");
    const char *h = s->header ? s->header : header;
    base64url_add(&g, h, strlen(h));
    growing_add(&g, STR("."));
    base64url_add(&g, claims.at, claims.n);
    growing_deinit(&claims);
    assert_int_equal(jws_sign(s->key ? s->key : issuer, &g), 0);
    return g.at;
}

static struct ca_request request(const char *token, const char *identity) {
    return (struct ca_request){.kind = CA_MESSAGE_SIGN,
                               .caller = CA_CALLER_TOKEN,
                               .caller_token = str_of(token),
                               .caller_peer = STR("192.0.2.7:4711"),
                               .identity = str_of(identity),
                               .csr_pem = str_of(csr)};
}

static void expect_leaf_in(const struct world *w, char *token, const char *identity, const char *said) {
    struct arena arena = ARENA_NULL;
    struct ca_request q = request(token, identity);
    struct ca_response p = door_ask(&d, &q, w, &arena);
    if (p.code != CA_OK)
        fail_msg(STR_FMT, STR_ARG(p.message));
    struct tls_der_list one = TLS_DER_LIST_NULL;
    struct tls_cert_facts f;
    assert_int_equal(tls_certs_from_pem(p.chain[0], 1, &one), 0);
    assert_int_equal(tls_cert_read(one.items[0].at, one.items[0].n, &f), 0);
    assert_string_equal(f.uri, said);
    tls_der_list_deinit(&one);
    arena_deinit(&arena);
    free(token);
}

static void expect_leaf(char *token, const char *identity, const char *said) { expect_leaf_in(world, token, identity, said); }

static void expect_refused_in(const struct world *w, char *token, const char *identity, enum ca_code code, const char *word) {
    struct arena arena = ARENA_NULL;
    size_t n_issued = door_recorded(&d, "\"event\":\"issued\""), n_refused = door_recorded(&d, "\"event\":\"refused\"");
    struct ca_request q = request(token, identity);
    struct ca_response p = door_ask(&d, &q, w, &arena);
    char message[300];
    snprintf(message, sizeof(message), STR_FMT, STR_ARG(p.message));
    if (p.code != code || !strstr(message, word))
        fail_msg("%d '%s', not %d '%s'", p.code, message, code, word);
    assert_int_equal(p.n_chain, 0);
    assert_int_equal(door_recorded(&d, "\"event\":\"issued\""), n_issued);
    assert_int_equal(door_recorded(&d, "\"event\":\"refused\""), n_refused + 1);
    assert_true(door_recorded(&d, "192.0.2.7:4711") > 0);
    arena_deinit(&arena);
    free(token);
}

static void expect_refused(char *token, const char *identity, enum ca_code code, const char *word) {
    expect_refused_in(world, token, identity, code, word);
}

static char *good(void) { return token_of(&(struct says){0}); }

static void own_identity(void **state) {
    expect_leaf(good(), "", client);
    expect_leaf(good(), client, client);
    expect_leaf_in(NULL, good(), "", client); /* a proof needs no world */
    /* Wherever it is: a virtual machine outside has no place in the world. */
    expect_leaf(token_of(&(struct says){.sub = "system:serviceaccount:vm:db"}), "", "spiffe://cluster.local/ns/vm/sa/db");
    expect_refused(good(), elsewhere, CA_PERMISSION_DENIED, "its own identity");
    expect_refused(good(), "spiffe://other.example/ns/default/sa/client", CA_PERMISSION_DENIED, "trust domain");
    expect_refused(good(), "spiffe://cluster.local/ns/default", CA_INVALID_ARGUMENT, "form");
}

static void proofs_that_are_none(void **state) {
    char header[300];
    expect_refused(strdup(""), "", CA_UNAUTHENTICATED, "token");
    expect_refused(strdup("a.b.c"), "", CA_UNAUTHENTICATED, "token");
    expect_refused(token_of(&(struct says){.aud = "someone-else"}), "", CA_UNAUTHENTICATED, "audience");
    expect_refused(token_of(&(struct says){.iss = "https://evil.example"}), "", CA_UNAUTHENTICATED, "issuer");
    expect_refused(token_of(&(struct says){.exp = d.now - JWT_LEEWAY_S - 1}), "", CA_UNAUTHENTICATED, "expired");
    expect_refused(token_of(&(struct says){.nbf = d.now + 3600, .exp = d.now + 7200}), "", CA_UNAUTHENTICATED, "not valid yet");
    expect_refused(token_of(&(struct says){.key = stranger}), "", CA_UNAUTHENTICATED, "signature");
    expect_refused(token_of(&(struct says){.header = "{\"alg\":\"ES256\",\"kid\":\"unknown\"}"}), "", CA_UNAUTHENTICATED, "key");
    static const char *const algorithms[] = {"none", "None", "HS256", "HS512", "PS256", "ES384", ""};
    for (size_t i = 0; i < array_size(algorithms); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", algorithms[i], kid);
        expect_refused(token_of(&(struct says){.header = header}), "", CA_UNAUTHENTICATED, "token");
    }
    /* alg none without a signature */
    char *token = good(), *dot = strrchr(token, '.');
    dot[1] = '\0';
    expect_refused(token, "", CA_UNAUTHENTICATED, "token");
    /* a bit of the claims */
    token = good();
    dot = strchr(token, '.');
    dot[5] = dot[5] == 'A' ? 'B' : 'A';
    expect_refused(token, "", CA_UNAUTHENTICATED, "token");
    char *large = malloc(100001);
    memset(large, 'A', 100000);
    large[100000] = '\0';
    expect_refused(large, "", CA_UNAUTHENTICATED, "token");
}

/* HMAC with the public key as the secret: openssl computes what a confused verifier would accept. */
static void hmac_with_the_public_key(void **state) {
    char path[400], header[200], *mac = NULL;
    size_t n;
    struct growing g = GROWING_NULL;
    snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%s\"}", kid);
    char *like = token_of(&(struct says){.header = header});
    *strrchr(like, '.') = '\0';
    snprintf(path, sizeof(path), "%s/signed", d.base);
    assert_int_equal(io_write_file(path, like, strlen(like), 0600), 0);
    door_shell("openssl dgst -sha256 -mac HMAC -macopt hexkey:$(od -An -tx1 -v %s | tr -d ' \\n') -binary %s > %s.mac", jwks, path,
               path);
    snprintf(path, sizeof(path), "%s/signed.mac", d.base);
    assert_int_equal(io_read_file(path, 64, &mac, &n), 0);
    growing_add(&g, str_of(like));
    growing_add(&g, STR("."));
    base64url_add(&g, mac, n);
    free(mac);
    free(like);
    expect_refused(g.at, "", CA_UNAUTHENTICATED, "token");
}

static void subjects(void **state) {
    static const char *const bad[] = {"client",
                                      "system:serviceaccount:default",
                                      "system:serviceaccount:default:client:more",
                                      "system:serviceaccount::client",
                                      "system:serviceaccount:default:",
                                      "system:node:node-1",
                                      "system:serviceaccount:../..:client",
                                      "system:serviceaccount:de/fault:client"};
    for (size_t i = 0; i < array_size(bad); i++)
        expect_refused(token_of(&(struct says){.sub = bad[i]}), "", CA_UNAUTHENTICATED, "subject");
    expect_refused(token_of(&(struct says){.kubernetes = "{\"namespace\":\"other\"}"}), "", CA_UNAUTHENTICATED, "same account");
    expect_refused(
        token_of(&(struct says){.kubernetes = "{\"namespace\":\"default\",\"serviceaccount\":{\"name\":\"x\",\"uid\":\"u\"}}"}), "",
        CA_UNAUTHENTICATED, "same account");
}

static char *agent(const char *kubernetes) {
    return token_of(&(struct says){.sub = "system:serviceaccount:istio-system:ztunnel", .kubernetes = kubernetes});
}

#define POD(name, uid) "{\"namespace\":\"istio-system\",\"pod\":{\"name\":\"" name "\",\"uid\":\"" uid "\"}}"
#define POD_ON(node) \
    "{\"namespace\":\"istio-system\",\"pod\":{\"name\":\"ztunnel-b\",\"uid\":\"ztunnel-b\"},\"node\":{\"name\":\"" node \
    "\",\"uid\":\"u\"}}"

static void node_agents(void **state) {
    expect_leaf(agent(POD("ztunnel-b", "ztunnel-b")), elsewhere, elsewhere);
    expect_leaf(agent(POD_ON("node-2")), elsewhere, elsewhere);
    expect_leaf(agent(NULL), "", "spiffe://cluster.local/ns/istio-system/sa/ztunnel"); /* itself it may always be */
    /* another node's workload: the point of it all */
    expect_refused(agent(POD("ztunnel-b", "ztunnel-b")), client, CA_PERMISSION_DENIED, "on the caller's node");
    expect_refused(agent(POD("ztunnel-b", "ztunnel-b")), "spiffe://cluster.local/ns/default/sa/nobody", CA_PERMISSION_DENIED,
                   "on the caller's node");
    /* the check that Istio lacks */
    expect_refused(agent(POD("ztunnel-b", "ztunnel-b")), "spiffe://other.example/ns/default/sa/elsewhere", CA_PERMISSION_DENIED,
                   "trust domain");
    expect_refused(agent(NULL), elsewhere, CA_UNAUTHENTICATED, "bound to no pod");
    expect_refused(agent(POD("ztunnel-b", "")), elsewhere, CA_UNAUTHENTICATED, "bound to no pod");
    expect_refused(agent(POD("ztunnel-z", "u")), elsewhere, CA_UNAUTHENTICATED, "not known");
    expect_refused(agent(POD("ztunnel-b", "former-uid")), elsewhere, CA_UNAUTHENTICATED, "made anew");
    expect_refused(agent(POD("other-b", "other-b")), elsewhere, CA_UNAUTHENTICATED, "another service account");
    expect_refused(agent(POD_ON("node-1")), client, CA_UNAUTHENTICATED, "another node");
    expect_refused_in(NULL, agent(POD("ztunnel-b", "ztunnel-b")), elsewhere, CA_UNAVAILABLE, "configuration");
    /* an account that is not trusted, with the same claims */
    expect_refused(
        token_of(&(struct says){.sub = "system:serviceaccount:istio-system:other", .kubernetes = POD("other-b", "other-b")}),
        elsewhere, CA_PERMISSION_DENIED, "its own identity");
}

static void others_rules_hold_too(void **state) {
    struct arena arena = ARENA_NULL;
    char *token = good();
    struct ca_request q = request(token, "");
    q.validity_s = CA_TTL_MAX_S + 1;
    assert_int_equal(door_ask(&d, &q, world, &arena).code, CA_INVALID_ARGUMENT);
    q = request(token, "");
    q.kind = CA_MESSAGE_JWT; /* tokens are not traded for tokens */
    q.audience[0] = STR("a");
    q.n_audience = 1;
    assert_int_equal(door_ask(&d, &q, world, &arena).code, CA_UNIMPLEMENTED);
    free(token);
    arena_deinit(&arena);
}

/* The key set is followed; one that cannot be read is no key set. */
static void key_set_changes(void **state) {
    uint64_t mono = 1000000000;
    struct pollfd fds[PROVIDER_POLL_MAX + 1];
    char *before = good();
    const char *const broken[] = {"", "{", "{\"keys\":[{\"kty\":\"oct\"}", "[]"};
    for (size_t i = 0; i < array_size(broken); i++) {
        write_jwks(broken[i]);
        authority_turn(&d.authority, fds, authority_poll(&d.authority, fds), mono, d.now);
        mono += 2 * FOLLOW_LOOK_MS * 1000000ull;
        authority_turn(&d.authority, fds, authority_poll(&d.authority, fds), mono, d.now);
        expect_refused(good(), "", CA_UNAUTHENTICATED, "no key set");
    }
    assert_int_equal(door_recorded(&d, "\"keys-refused\""), array_size(broken)); /* and not said to be in force still */
    assert_int_equal(counter_get(&d.authority.stats->reloads_refused), array_size(broken));
    assert_int_equal(unlink(jwks), 0);
    mono += 2 * FOLLOW_LOOK_MS * 1000000ull;
    authority_turn(&d.authority, fds, authority_poll(&d.authority, fds), mono, d.now);
    mono += 2 * FOLLOW_LOOK_MS * 1000000ull;
    authority_turn(&d.authority, fds, authority_poll(&d.authority, fds), mono, d.now);
    expect_refused(good(), "", CA_UNAUTHENTICATED, "cannot be read");
    publish_key(stranger);
    for (unsigned i = 0; i < 2; i++) {
        mono += 2 * FOLLOW_LOOK_MS * 1000000ull;
        authority_turn(&d.authority, fds, authority_poll(&d.authority, fds), mono, d.now);
    }
    expect_leaf(token_of(&(struct says){.key = stranger}), "", client);
    expect_refused(before, "", CA_UNAUTHENTICATED, "key");
}

/* A daemon that starts before its key set is there says so at once, not to the first caller only. */
static void no_key_set_at_start(void **state) {
    size_t before = door_recorded(&d, "\"keys-refused\"");
    authority_close(&d.authority);
    assert_int_equal(unlink(jwks), 0);
    door_open(&d);
    assert_int_equal(door_recorded(&d, "\"keys-refused\""), before + 1);
    assert_non_null(strstr(d.authority.last_error, "cannot be read"));
    expect_refused(good(), "", CA_UNAUTHENTICATED, "cannot be read");
    authority_close(&d.authority);
    publish_key(stranger);
    door_open(&d);
    assert_int_equal(door_recorded(&d, "\"keys-refused\""), before + 1);
    assert_string_equal(d.authority.last_error, "");
}

static void not_configured(void **state) {
    d.options.jwt.issuer = "";
    expect_refused(token_of(&(struct says){.key = stranger}), "", CA_UNAUTHENTICATED, "not set");
    d.options.jwt.issuer = "https://kubernetes.example";
    d.options.jwt.audience = "";
    expect_refused(token_of(&(struct says){.key = stranger}), "", CA_UNAUTHENTICATED, "not set");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_identity),    cmocka_unit_test(proofs_that_are_none), cmocka_unit_test(hmac_with_the_public_key),
        cmocka_unit_test(subjects),        cmocka_unit_test(node_agents),          cmocka_unit_test(others_rules_hold_too),
        cmocka_unit_test(key_set_changes), cmocka_unit_test(no_key_set_at_start),  cmocka_unit_test(not_configured)};
    return cmocka_run_group_tests(tests, make, unmake);
}
