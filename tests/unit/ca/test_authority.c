/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the CA signs what it authenticated and nothing else, in the profile of facts/identity.md 1.5, and keeps a record.
 * Method: encoded requests at the authority's door, one rule broken at a time; the leaf is read back field by field. After
 * each refusal the record has one more line that says so, and none more that something was issued. */
#include <dirent.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>

#include <ringwall/tls/credential.h>

#include <ringwall/mail/bytes.h>

#include "../../../src/ca/authority.h"
#include "small_world.h"

static char base[256], audit_path[300];
static struct authority authority;
static struct ca_options options;
static char node[300], jwt_key[300];
static const struct str server_names[] = {{"istiod.istio-system.svc", 23}, {"10.1.2.3", 8}};
static struct world *world;
static struct mailbox *reply;
static const char *const client = "spiffe://cluster.local/ns/default/sa/client";
static const char *const elsewhere = "spiffe://cluster.local/ns/default/sa/elsewhere";

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    char root[300], why[CA_WHY_BYTES];
    unit_directory(base);
    snprintf(root, sizeof(root), "%s/root", base);
    snprintf(node, sizeof(node), "%s/node", base);
    snprintf(audit_path, sizeof(audit_path), "%s/audit.jsonl", base);
    snprintf(jwt_key, sizeof(jwt_key), "%s/jwt-key.pem", base);
    int64_t now = clock_wall_s();
    assert_int_equal(ca_dir_init(root, STR("cluster.local"), now, why), 0);
    assert_int_equal(ca_dir_issue_node(root, STR("node-1"), node, false, now, why), 0);
    options = (struct ca_options){.kind = CA_KIND_FILES,
                                  .dir = node,
                                  .trust_domain = "cluster.local",
                                  .node = "node-1",
                                  .ttl_default_s = 86400,
                                  .ttl_max_s = CA_TTL_MAX_S,
                                  .audit_path = audit_path,
                                  .jwt_key_path = jwt_key,
                                  .client_certificates = true,
                                  .server_names = server_names,
                                  .n_server_names = 2};
    assert_int_equal(authority_open(&authority, &options, now, why), 0);
    reply = mailbox_new("test", 64);
    const struct small_workload workloads[] = {{"default", "client", "client", "node-1", "10.0.0.1"},
                                               {"default", "elsewhere", "elsewhere", "node-2", "10.0.0.2"}};
    world = small_world(workloads, 2, 1);
    return 0;
}

static int unmake(void **state) {
    char command[4096];
    authority_close(&authority);
    mailbox_unref(reply);
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

static struct ca_response read_reply(struct arena *arena) {
    struct ca_response p;
    authority_flush(&authority);
    struct mail *m = mailbox_take(reply);
    assert_non_null(m);
    struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
    assert_int_equal(pb_consume_ca_response(b->bytes, b->n, arena, &p), 0);
    mail_free(m);
    return p;
}

/* Sends the request; the answer lives in the arena. */
static struct ca_response answer_at(const struct ca_request *q, const struct world *w, struct arena *arena, int64_t now_s) {
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_request(q, &bytes, &n), 0);
    authority_take(&authority, w, bytes, n, reply, now_s);
    free(bytes);
    return read_reply(arena);
}

static size_t count_in_record(const char *word) {
    char *text = NULL;
    size_t n, found = 0;
    assert_int_equal(io_read_file(audit_path, 1 << 24, &text, &n), 0);
    for (const char *at = text; (at = strstr(at, word)); at++)
        found++;
    free(text);
    return found;
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
    const struct tls_der_list *roots, *crls;
    authority.ops->trust(authority.provider, &roots, &crls);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), roots, crls, &bundle), 0);
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
    size_t n_refused = count_in_record("\"event\":\"refused\""), n_issued = count_in_record("\"event\":\"issued\"");
    struct ca_response p = answer_at(&a->q, w, &arena, now);
    assert_int_equal(count_in_record("\"event\":\"refused\""), n_refused + 1);
    assert_int_equal(count_in_record("\"event\":\"issued\""), n_issued);
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

/* A CSR that openssl makes from these arguments. */
static struct ask ask_with(const char *arguments) {
    struct ask a = ask_for(client, client);
    char command[4096], path[400], *pem;
    size_t n;
    snprintf(path, sizeof(path), "%s/csr.pem", base);
    snprintf(command, sizeof(command), "openssl req -new -nodes -subj / -keyout /dev/null %s -out %s 2>/dev/null", arguments, path);
    if (system(command) != 0)
        fail_msg("%s", command);
    assert_int_equal(io_read_file(path, 1 << 20, &pem, &n), 0);
    growing_deinit(&a.pem);
    growing_add(&a.pem, (struct str){pem, n});
    free(pem);
    a.q.csr_pem = (struct str){a.pem.at, a.pem.n};
    return a;
}

#define EC "-newkey ec -pkeyopt ec_paramgen_curve:"
#define SAN "-addext subjectAltName="
#define CLIENT_HEX \
    "73:70:69:66:66:65:3a:2f:2f:63:6c:75:73:74:65:72:2e:6c:6f:63:61:6c:2f:6e:73:2f:64:65:66:61:75:6c:74:2f:73:61:2f:63:6c:69:65:" \
    "6e:74"

static void hostile_requests(void **state) {
    static const struct {
        const char *arguments, *word;
    } rows[] = {
        {EC "P-256 " SAN "URI:spiffe://cluster.local/ns/default/sa/client,URI:spiffe://cluster.local/ns/default/sa/elsewhere",
         "names something"},
        {EC "P-256 " SAN "URI:spiffe://cluster.local/ns/default/sa/client,DNS:localhost", "names something"},
        {EC "P-256 " SAN "DNS:spiffe", "names something"},
        {EC "P-256 " SAN "URI:spiffe://cluster.local/ns/default/sa/Client", "names something"},
        {EC "P-256 " SAN "DER:30:33:86:31:" CLIENT_HEX ":00:2e:65:76:69:6c", "names something"},
        {EC "P-256 " SAN "DER:30:80:86:2b", "read"},
        {EC "P-224", "kind"},
        {EC "P-521", "kind"},
        {"-newkey rsa:1024", "small"},
        {"-newkey ed25519", "kind"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct ask a = ask_with(rows[i].arguments);
        expect_refusal(&a, world, clock_wall_s(), CA_INVALID_ARGUMENT, rows[i].word);
    }
    static const char *const good[] = {EC "P-256",
                                       EC "P-384",
                                       "-newkey rsa:2048",
                                       "-newkey rsa:3072",
                                       EC "P-256 " SAN "URI:spiffe://cluster.local/ns/default/sa/client",
                                       EC "P-256 -addext keyUsage=keyCertSign -addext basicConstraints=CA:TRUE"};
    for (size_t i = 0; i < array_size(good); i++) {
        struct ask a = ask_with(good[i]);
        struct arena arena = ARENA_NULL;
        struct tls_der_list one = TLS_DER_LIST_NULL;
        struct tls_cert_facts f;
        struct ca_response p = answer_at(&a.q, world, &arena, clock_wall_s());
        assert_int_equal(p.code, CA_OK);
        assert_int_equal(tls_certs_from_pem(p.chain[0], 1, &one), 0);
        assert_int_equal(tls_cert_read(one.items[0].at, one.items[0].n, &f), 0);
        assert_string_equal(f.uri, client); /* whatever it named or did not, and no right that it asked for */
        assert_false(f.is_ca || f.key_cert_sign);
        tls_der_list_deinit(&one);
        arena_deinit(&arena);
        ask_deinit(&a);
    }
}

/* Every request of the fuzzer's corpus, as it is and cut short. */
static void corpus(void **state) {
    char path[1024];
    const char *folder = getenv("CSR_CORPUS");
    assert_non_null(folder);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    struct dirent *e;
    size_t n_files = 0, n_refused = 0;
    while ((e = readdir(dir))) {
        char *bytes;
        size_t n;
        snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        if (e->d_name[0] == '.' || io_read_file(path, 1 << 20, &bytes, &n) != 0)
            continue;
        for (unsigned i = 0; i < 3; i++) {
            struct tls_der der = {.at = (uint8_t *)bytes, .n = n >> i};
            struct ask a = ask_for(client, client);
            struct arena arena = ARENA_NULL;
            size_t issued = count_in_record("\"event\":\"issued\"");
            growing_deinit(&a.pem);
            assert_int_equal(tls_der_to_pem(&der, "CERTIFICATE REQUEST", &a.pem), 0);
            a.q.csr_pem = (struct str){a.pem.at, a.pem.n};
            struct ca_response p = answer_at(&a.q, world, &arena, clock_wall_s());
            assert_int_equal(count_in_record("\"event\":\"issued\"") - issued, p.code == CA_OK ? 1 : 0);
            n_refused += p.code != CA_OK;
            arena_deinit(&arena);
            ask_deinit(&a);
        }
        free(bytes);
        n_files++;
    }
    closedir(dir);
    assert_true(n_files > 0 && n_refused >= 2 * n_files);
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
    struct tls_der_list by = TLS_DER_LIST_NULL;
    assert_int_equal(tls_certs_from_pem(p.chain[1], 1, &by), 0);
    assert_int_equal(tls_cert_read(by.items[0].at, by.items[0].n, &issuer), 0);
    tls_der_list_deinit(&by);
    assert_int_equal(leaf.not_after, issuer.not_after);
    tls_der_list_deinit(&one);
    ask_deinit(&a);
    arena_deinit(&arena);
}

static void malformed_bytes(void **state) {
    struct arena arena = ARENA_NULL;
    size_t n_refused = count_in_record("\"event\":\"refused\"");
    authority_take(&authority, world, (const uint8_t *)"\xff\xff\xff", 3, reply, clock_wall_s());
    assert_int_equal(read_reply(&arena).code, CA_INVALID_ARGUMENT);
    uint8_t *large = calloc(1, PB_MESSAGE_MAX + 1);
    authority_take(&authority, world, large, PB_MESSAGE_MAX + 1, reply, clock_wall_s());
    assert_int_equal(read_reply(&arena).code, CA_INVALID_ARGUMENT);
    /* A well-formed request of a megabyte, most of it CSR: refused as a CSR, and the record's line stays short. */
    memset(large, 'A', 1 << 20);
    struct ca_request q = {.kind = CA_MESSAGE_SIGN,
                           .caller = CA_CALLER_NODE,
                           .caller_node = STR("node-1"),
                           .identity = str_of(client),
                           .csr_pem = {(const char *)large, 1 << 20}};
    assert_int_equal(answer_at(&q, world, &arena, clock_wall_s()).code, CA_INVALID_ARGUMENT);
    q.identity = q.csr_pem;
    assert_int_equal(answer_at(&q, world, &arena, clock_wall_s()).code, CA_INVALID_ARGUMENT);
    free(large);
    arena_deinit(&arena);
    assert_int_equal(count_in_record("\"event\":\"refused\""), n_refused + 4);
}

static void bundle(void **state) {
    struct arena arena = ARENA_NULL;
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE, .id = 9};
    struct ca_response p = answer_at(&q, world, &arena, clock_wall_s());
    assert_int_equal(p.kind, CA_MESSAGE_BUNDLE);
    assert_int_equal(p.id, 9);
    assert_int_equal(p.generation, 1);
    assert_int_equal(p.n_bundles, 1);
    assert_int_equal(p.bundles[0].n_roots, 1);
    assert_true(str_is(p.bundles[0].trust_domain, STR("cluster.local")));
    assert_non_null(memmem(p.jwks.at, p.jwks.n, "\"kid\"", 5));
    assert_null(memmem(p.jwks.at, p.jwks.n, "\"d\"", 3));
    arena_deinit(&arena);
}

static void on_record(void **state) {
    struct ask a = ask_for(client, client);
    struct arena arena = ARENA_NULL;
    assert_int_equal(answer_at(&a.q, world, &arena, clock_wall_s()).code, CA_OK);
    assert_true(count_in_record("\"event\":\"issued\"") > 0);
    assert_true(count_in_record(client) > 0);
    assert_int_equal(count_in_record("PRIVATE"), 0);
    struct audit_report report;
    char why[AUDIT_WHY_BYTES];
    assert_int_equal(audit_verify(audit_path, &report, why), 0);
    /* No record, no certificate: /dev/full takes nothing. */
    struct audit *good = authority.audit;
    assert_int_equal(audit_open("/dev/full", 0, 0, &authority.audit, NULL), 0);
    struct ca_response p = answer_at(&a.q, world, &arena, clock_wall_s());
    assert_int_equal(p.code, CA_INTERNAL);
    assert_int_equal(p.n_chain, 0);
    audit_close(authority.audit);
    authority.audit = good;
    assert_int_equal(answer_at(&a.q, world, &arena, clock_wall_s()).code, CA_OK);
    ask_deinit(&a);
    arena_deinit(&arena);
}

/* A renewal by certificate: of the own identity, as long as the world knows it, and only when that is switched on. */
static void by_certificate(void **state) {
    int64_t now = clock_wall_s();
    struct arena arena = ARENA_NULL;
    struct ask a = ask_for(elsewhere, elsewhere);
    a.q.caller = CA_CALLER_CERTIFICATE;
    a.q.caller_identity = str_of(elsewhere);
    a.q.identity = STR_NULL; /* its own, wherever it lives */
    assert_int_equal(answer_at(&a.q, world, &arena, now).code, CA_OK);
    ask_deinit(&a);
    a = ask_for(client, client);
    a.q.caller = CA_CALLER_CERTIFICATE;
    a.q.caller_identity = str_of(elsewhere);
    expect_refusal(&a, world, now, CA_PERMISSION_DENIED, "its own");
    const char *gone = "spiffe://cluster.local/ns/default/sa/gone";
    a = ask_for(gone, gone);
    a.q.caller = CA_CALLER_CERTIFICATE;
    a.q.caller_identity = str_of(gone);
    expect_refusal(&a, world, now, CA_UNAUTHENTICATED, "any more");
    a = ask_for(client, client);
    a.q.caller = CA_CALLER_CERTIFICATE;
    a.q.caller_identity = STR("spiffe://other.domain/ns/default/sa/client");
    expect_refusal(&a, world, now, CA_UNAUTHENTICATED, "trust domain");
    options.client_certificates = false;
    a = ask_for(client, client);
    a.q.caller = CA_CALLER_CERTIFICATE;
    a.q.caller_identity = str_of(client);
    expect_refusal(&a, world, now, CA_UNAUTHENTICATED, "clientCertificates");
    options.client_certificates = true;
    arena_deinit(&arena);
}

static void server_leaf(void **state) {
    struct arena arena = ARENA_NULL;
    struct ask a = ask_for(client, client);
    a.q.kind = CA_MESSAGE_SERVER;
    struct ca_response p = answer_at(&a.q, world, &arena, clock_wall_s());
    assert_int_equal(p.code, CA_OK);
    char path[400], command[4096];
    snprintf(path, sizeof(path), "%s/server.pem", base);
    assert_int_equal(io_write_file(path, p.chain[0].at, p.chain[0].n, 0600), 0);
    snprintf(command, sizeof(command),
             "openssl x509 -in %s -noout -text > %s.txt && grep -q 'DNS:istiod.istio-system.svc, IP Address:10.1.2.3' %s.txt && "
             "grep -q 'TLS Web Server Authentication$' %s.txt && ! grep -q URI: %s.txt",
             path, path, path, path, path);
    assert_int_equal(system(command), 0);
    ask_deinit(&a);
    a = ask_for(client, client);
    a.q.kind = CA_MESSAGE_SERVER;
    a.q.caller = CA_CALLER_CERTIFICATE;
    a.q.caller_identity = str_of(client);
    expect_refusal(&a, world, clock_wall_s(), CA_PERMISSION_DENIED, "doors");
    arena_deinit(&arena);
}

static void watched(void **state) {
    struct arena arena = ARENA_NULL;
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE, .id = 5, .watch = true};
    int64_t now = clock_wall_s();
    assert_int_equal(answer_at(&q, world, &arena, now).generation, 1);
    uint8_t *bytes;
    size_t n;
    q.watch = false;
    authority.changed = true;
    watchers_tell(&authority, now);
    struct ca_response p = read_reply(&arena);
    assert_int_equal(p.generation, 2);
    assert_int_equal(p.id, 5);
    assert_true(authority.acknowledged < 2);
    for (uint64_t g = 1; g <= 3; g++) { /* an acknowledgement of what was never said does not count */
        q.acknowledged = g == 3 ? 99 : g;
        assert_int_equal(pb_create_ca_request(&q, &bytes, &n), 0);
        authority_take(&authority, world, bytes, n, reply, now);
        free(bytes);
        authority_flush(&authority);
        assert_null(mailbox_take(reply));
        assert_int_equal(authority.acknowledged, min_of(g, (uint64_t)2));
    }
    arena_deinit(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(leaf_profile),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(hostile_requests),
                                       cmocka_unit_test(corpus),
                                       cmocka_unit_test(clamped_to_issuer),
                                       cmocka_unit_test(malformed_bytes),
                                       cmocka_unit_test(bundle),
                                       cmocka_unit_test(on_record),
                                       cmocka_unit_test(by_certificate),
                                       cmocka_unit_test(server_leaf),
                                       cmocka_unit_test(watched)};
    return cmocka_run_group_tests(tests, make, unmake);
}
