/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the CA signs what it authenticated and nothing else, in the profile of facts/identity.md 1.5, and keeps a record.
 * Method: encoded requests into the signer, one rule broken at a time; the leaf is read back field by field. */
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>

#include <ringwall/tls/credential.h>

#include "../../../src/ca/sign.h"
#include "small_world.h"

static char base[256], audit_path[300];
static struct signer signer;
static struct world *world;
static const char *const client = "spiffe://cluster.local/ns/default/sa/client";
static const char *const elsewhere = "spiffe://cluster.local/ns/default/sa/elsewhere";

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    char root[300], node[300], why[CA_WHY_BYTES];
    unit_directory(base);
    snprintf(root, sizeof(root), "%s/root", base);
    snprintf(node, sizeof(node), "%s/node", base);
    snprintf(audit_path, sizeof(audit_path), "%s/audit.jsonl", base);
    int64_t now = clock_wall_s();
    assert_int_equal(ca_dir_init(root, STR("cluster.local"), now, why), 0);
    assert_int_equal(ca_dir_issue_node(root, STR("node-1"), node, false, now, why), 0);
    signer = (struct signer){
        .trust_domain = STR("cluster.local"), .node = STR("node-1"), .ttl_default_s = 86400, .ttl_max_s = 90 * 86400};
    assert_int_equal(ca_dir_load(node, now, &signer.dir, why), 0);
    assert_int_equal(audit_open(audit_path, &signer.audit), 0);
    const struct small_workload workloads[] = {{"default", "client", "client", "node-1", "10.0.0.1"},
                                               {"default", "elsewhere", "elsewhere", "node-2", "10.0.0.2"}};
    world = small_world(workloads, 2, 1);
    return 0;
}

static int unmake(void **state) {
    char command[4096];
    ca_dir_deinit(&signer.dir);
    signer.audit = audit_close(signer.audit);
    world_free(world);
    snprintf(command, sizeof(command), "rm -rf %s", base);
    return system(command);
}

struct ask {
    struct ca_request q;
    struct growing pem;
    struct tls_key *key;
};

static struct ask ask_for(const char *uri, const char *csr_uri) {
    struct ask a = {.pem = GROWING_NULL};
    struct identity identity;
    struct tls_der csr = {0};
    assert_true(identity_parse(str_of(csr_uri), &identity));
    assert_int_equal(tls_key_generate(&a.key), 0);
    assert_int_equal(tls_csr_make(a.key, &identity, &csr), 0);
    assert_int_equal(tls_der_to_pem(&csr, "CERTIFICATE REQUEST", &a.pem), 0);
    free(csr.at);
    a.q = (struct ca_request){.kind = CA_MESSAGE_SIGN,
                              .id = 7,
                              .caller = CA_CALLER_NODE,
                              .caller_node = STR("node-1"),
                              .identity = str_of(uri),
                              .csr_pem = {a.pem.at, a.pem.n}};
    return a;
}

static void ask_deinit(struct ask *a) {
    growing_deinit(&a->pem);
    a->key = tls_key_free(a->key);
}

/* Sends the request; the answer lives in the arena. */
static struct ca_response answer_at(const struct ca_request *q, const struct world *w, struct arena *arena, int64_t now_s) {
    uint8_t *bytes, *reply;
    size_t n, n_reply;
    struct ca_response p;
    assert_int_equal(pb_create_ca_request(q, &bytes, &n), 0);
    assert_int_equal(signer_answer(&signer, w, bytes, n, now_s, &reply, &n_reply), 0);
    assert_int_equal(pb_consume_ca_response(reply, n_reply, arena, &p), 0);
    free(bytes);
    free(reply);
    return p;
}

static void leaf_profile(void **state) {
    struct arena arena = ARENA_NULL;
    struct ask a = ask_for(client, client);
    int64_t now = clock_wall_s();
    struct ca_response p = answer_at(&a.q, world, &arena, now);
    assert_int_equal(p.code, CA_OK);
    assert_int_equal(p.id, 7);
    assert_int_equal(p.n_chain, 3); /* leaf, the node's certificate, the roots */
    struct tls_der_list chain = TLS_DER_LIST_NULL;
    for (size_t i = 0; i < 2; i++) {
        struct tls_der_list one = TLS_DER_LIST_NULL;
        assert_int_equal(tls_certs_from_pem(p.chain[i], 1, &one), 0);
        assert_int_equal(tls_der_list_add(&chain, one.items[0].at, one.items[0].n), 0);
        assert_int_equal(p.chain[i].at[p.chain[i].n - 1], '\n');
        tls_der_list_deinit(&one);
    }
    struct tls_cert_facts f;
    assert_int_equal(tls_cert_read(chain.items[0].at, chain.items[0].n, &f), 0);
    assert_int_equal(f.n_uri_san, 1);
    assert_string_equal(f.uri, client);
    assert_false(f.is_ca);
    assert_true(f.has_key_usage && f.digital_signature && !f.key_cert_sign && !f.crl_sign);
    assert_true(f.has_eku && f.server_auth && f.client_auth);
    assert_string_equal(f.subject, "");
    assert_true(f.serial_n >= 1 && f.serial_n <= 16 && f.serial[0] < 0x80);
    assert_int_equal(f.not_before, now - TLS_BACKDATE_S);
    assert_int_equal(f.not_after, now + 86400);
    assert_true(tls_cert_matches_key(chain.items[0].at, chain.items[0].n, a.key));
    struct tls_bundle *bundle;
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &signer.dir.roots, NULL, &bundle), 0);
    struct tls_trust *trust = tls_trust_new(&bundle, 1, 1);
    struct tls_peer peer;
    assert_int_equal(tls_chain_verify(trust, &chain, TLS_ROLE_CLIENT, now, NULL, NULL, &peer), TLS_TRUST_OK);
    assert_string_equal(peer.issuing_node, "node-1");
    tls_trust_unref(trust);
    tls_bundle_unref(bundle);
    tls_der_list_deinit(&chain);
    ask_deinit(&a);
    arena_deinit(&arena);
}

static void expect_refusal(struct ask *a, const struct world *w, int64_t now, enum ca_code code, const char *word) {
    struct arena arena = ARENA_NULL;
    struct ca_response p = answer_at(&a->q, w, &arena, now);
    char message[256];
    snprintf(message, sizeof(message), STR_FMT, STR_ARG(p.message));
    assert_int_equal(p.code, code);
    assert_int_equal(p.n_chain, 0);
    if (!strstr(message, word))
        fail_msg("'%s' lacks '%s'", message, word);
    arena_deinit(&arena);
    ask_deinit(a);
}

static void refusals(void **state) {
    int64_t now = clock_wall_s();
    struct ask a = ask_for(elsewhere, elsewhere);
    expect_refusal(&a, world, now, CA_PERMISSION_DENIED, "on this node");
    a = ask_for("spiffe://other.domain/ns/default/sa/client", "spiffe://other.domain/ns/default/sa/client");
    expect_refusal(&a, world, now, CA_PERMISSION_DENIED, "trust domain");
    a = ask_for(client, elsewhere);
    expect_refusal(&a, world, now, CA_INVALID_ARGUMENT, "something else");
    a = ask_for("spiffe://cluster.local/ns/default", client);
    expect_refusal(&a, world, now, CA_INVALID_ARGUMENT, "form");
    a = ask_for(client, client);
    a.q.caller_node = STR("node-2");
    expect_refusal(&a, world, now, CA_UNAUTHENTICATED, "another node");
    a = ask_for(client, client);
    a.q.caller = CA_CALLER_UNSPECIFIED;
    expect_refusal(&a, world, now, CA_UNAUTHENTICATED, "not known");
    a = ask_for(client, client);
    expect_refusal(&a, NULL, now, CA_UNAVAILABLE, "configuration");
    a = ask_for(client, client);
    a.q.validity_s = 91 * 86400;
    expect_refusal(&a, world, now, CA_INVALID_ARGUMENT, "longer");
    a = ask_for(client, client);
    a.q.csr_pem = STR("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    expect_refusal(&a, world, now, CA_INVALID_ARGUMENT, "CSR");
    a = ask_for(client, client);
    expect_refusal(&a, world, now + (CA_NODE_DAYS + 1) * 86400L, CA_INTERNAL, "expired");
}

static void clamped_to_issuer(void **state) {
    struct arena arena = ARENA_NULL;
    struct ask a = ask_for(client, client);
    a.q.validity_s = 90 * 86400;
    struct ca_response p = answer_at(&a.q, world, &arena, clock_wall_s() + 10 * 86400);
    assert_int_equal(p.code, CA_OK);
    struct tls_der_list one = TLS_DER_LIST_NULL;
    struct tls_cert_facts leaf, issuer;
    assert_int_equal(tls_certs_from_pem(p.chain[0], 1, &one), 0);
    assert_int_equal(tls_cert_read(one.items[0].at, one.items[0].n, &leaf), 0);
    assert_int_equal(tls_cert_read(signer.dir.cert.items[0].at, signer.dir.cert.items[0].n, &issuer), 0);
    assert_int_equal(leaf.not_after, issuer.not_after);
    tls_der_list_deinit(&one);
    ask_deinit(&a);
    arena_deinit(&arena);
}

static void malformed_bytes(void **state) {
    struct arena arena = ARENA_NULL;
    uint8_t *reply;
    size_t n;
    struct ca_response p;
    assert_int_equal(signer_answer(&signer, world, (const uint8_t *)"\xff\xff\xff", 3, clock_wall_s(), &reply, &n), 0);
    assert_int_equal(pb_consume_ca_response(reply, n, &arena, &p), 0);
    assert_int_equal(p.code, CA_INVALID_ARGUMENT);
    free(reply);
    arena_deinit(&arena);
}

static void bundle(void **state) {
    struct arena arena = ARENA_NULL;
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE, .id = 9};
    struct ca_response p = answer_at(&q, world, &arena, clock_wall_s());
    assert_int_equal(p.kind, CA_MESSAGE_BUNDLE);
    assert_int_equal(p.id, 9);
    assert_true(p.n_bundles == 1 && p.bundles[0].n_roots == 1);
    arena_deinit(&arena);
}

static void on_record(void **state) {
    struct ask a = ask_for(client, client);
    struct arena arena = ARENA_NULL;
    assert_int_equal(answer_at(&a.q, world, &arena, clock_wall_s()).code, CA_OK);
    char *text = NULL;
    size_t n;
    assert_int_equal(io_read_file(audit_path, 1 << 20, &text, &n), 0);
    assert_non_null(strstr(text, "\"event\":\"issued\""));
    assert_non_null(strstr(text, "\"event\":\"refused\""));
    assert_non_null(strstr(text, client));
    assert_null(strstr(text, "PRIVATE"));
    free(text);
    /* No record, no certificate: /dev/full takes nothing. */
    struct audit *good = signer.audit;
    assert_int_equal(audit_open("/dev/full", &signer.audit), 0);
    struct ca_response p = answer_at(&a.q, world, &arena, clock_wall_s());
    assert_int_equal(p.code, CA_INTERNAL);
    assert_int_equal(p.n_chain, 0);
    audit_close(signer.audit);
    signer.audit = good;
    ask_deinit(&a);
    arena_deinit(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaf_profile),    cmocka_unit_test(refusals), cmocka_unit_test(clamped_to_issuer),
        cmocka_unit_test(malformed_bytes), cmocka_unit_test(bundle),   cmocka_unit_test(on_record)};
    return cmocka_run_group_tests(tests, make, unmake);
}
