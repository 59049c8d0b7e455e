/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the doors give each caller its own, push what changes in the right order, confirm news of trust when the clients have
 * them, hold what is not there yet, and end what is gone. Method: the real thread on real sockets and a real ring; the test
 * plays main, the identity thread and the CA by mail, says who calls, and is a client by wire/grpc. Who calls in truth is
 * tests/e2e/test_doors.py's. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <ringwall/base/clock.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>
#include <ringwall/mail/trust.h>
#include <ringwall/tls/crl.h>
#include <ringwall/wire/grpc.h>
#include <ringwall/wire/pb.h>
#include <ringwall/wire/sds.h>
#include <ringwall/wire/workload_api.h>

#include <ringwall/doors/doors.h>

#include "pki.h"
#include "unit.h"

enum { POD = 7, MESSAGES_MAX = 64, LONG_MS = 10 * 1000, SHORT_MS = 300 };

struct scene {
    char dir[256], path[300];
    struct mailbox *own, *ca, *identity;
    struct doors_stats stats;
    struct doors *doors;
    int verdict; /* of the caller */
    struct pki pki, other;
    struct identity name;
};

static int who(void *context, const struct capture_peer *p, uint32_t *ret_id, char why[CAPTURE_WHY_BYTES]) {
    struct scene *s = context;
    assert_int_equal(p->pid, getpid());
    snprintf(why, CAPTURE_WHY_BYTES, "the test says so");
    *ret_id = POD;
    return __atomic_load_n(&s->verdict, __ATOMIC_RELAXED);
}

static void post(struct scene *s, struct mail *m) {
    assert_non_null(m);
    assert_int_equal(mailbox_post(s->own, m), 0);
}

static void pod_comes(struct scene *s, const struct identity *i) {
    struct mail_pod *m = mail_pod_new();
    m->id = POD;
    strcpy(m->uid, "uid");
    m->identity = *i;
    post(s, &m->mail);
}

static void credential_comes(struct scene *s, const struct pki *p, const struct pki_node *node) {
    struct tls_credential *c = pki_credential(p, node, &s->name, PKI_FLAWLESS, NULL);
    post(s, &mail_credential_new(&s->name, c, NULL)->mail);
    tls_credential_unref(c);
}

/* The reply comes to s->identity once the news is confirmed. */
static void trust_comes(struct scene *s, struct tls_trust *t) { post(s, &mail_trust_new(t, 3, s->identity)->mail); }

static bool confirmed(struct scene *s, int ms) {
    for (struct mail *m; (m = mailbox_wait(s->identity, ms));) {
        bool is = m->type == &mail_trust_type && container_of(m, struct mail_trust, mail)->reader == 3;
        mail_free(m);
        if (is)
            return true;
    }
    return false;
}

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    struct scene *s = calloc(1, sizeof(*s));
    unit_directory(s->dir);
    snprintf(s->path, sizeof(s->path), "%s/below/door.sock", s->dir);
    s->own = mailbox_new("doors", 1024);
    s->ca = mailbox_new("ca", 64);
    s->identity = mailbox_new("identity", 64);
    pki_init(&s->pki, "cluster.local", clock_wall_s());
    pki_init(&s->other, "other.example", clock_wall_s());
    s->name = pki_identity("cluster.local", "default", "one");
    struct doors_options o = {.mailbox = s->own,
                              .ca = s->ca,
                              .identity = s->identity,
                              .caller = who,
                              .caller_context = s,
                              .node = "node-1",
                              .trust_domain = STR("cluster.local"),
                              .sds_path = s->path,
                              .workload_api_path = s->path,
                              .stats = &s->stats};
    char why[256] = "";
    if (doors_start(&o, &s->doors, why) != 0)
        fail_msg("%s", why);
    pod_comes(s, &s->name);
    *state = s;
    return 0;
}

static int unmake(void **state) {
    struct scene *s = *state;
    struct stat st;
    char below[300];
    s->doors = doors_stop(s->doors);
    assert_true(lstat(s->path, &st) < 0);
    mailbox_unref(s->own);
    mailbox_unref(s->ca);
    mailbox_unref(s->identity);
    pki_deinit(&s->pki);
    pki_deinit(&s->other);
    snprintf(below, sizeof(below), "%s/below", s->dir);
    rmdir(below);
    rmdir(s->dir);
    free(s);
    return 0;
}

/* ---- a client ---- */

struct client {
    int fd;
    struct grpc_client *grpc;
    struct growing messages[MESSAGES_MAX];
    size_t n, seen;
    bool finished, gone;
    enum grpc_code code;
    char text[GRPC_TEXT_MAX + 1];
};

static void on_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct client *c = owner;
    assert_true(c->n < MESSAGES_MAX);
    growing_add(&c->messages[c->n++], (struct str){(const char *)bytes, n});
}
static void on_finished(void *owner, int32_t id, enum grpc_code code, struct str message) {
    struct client *c = owner;
    c->finished = true;
    c->code = code;
    snprintf(c->text, sizeof(c->text), STR_FMT, STR_ARG(message));
}

static int dial(struct scene *s) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", s->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void client_flush(struct client *c) {
    uint8_t out[GRPC_DRAIN_MIN];
    for (size_t n; (n = grpc_client_drain(c->grpc, out, sizeof(out))) > 0;)
        if (send(c->fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
            c->gone = true;
}

static int32_t client_open(struct client *c, struct scene *s, struct str path) {
    static const struct grpc_client_callbacks cb = {.message = on_message, .finished = on_finished};
    struct grpc_client_options o = {.authority = STR("local"), .limits = {1 << 20, 8, 1 << 20}};
    const struct grpc_metadata header = {WORKLOAD_API_HEADER, STR("true")};
    *c = (struct client){.fd = dial(s)};
    int32_t id;
    assert_int_equal(grpc_client_new(&cb, c, &o, &c->grpc), 0);
    assert_int_equal(grpc_client_call(c->grpc, path, &header, 1, 0, clock_mono_ns(), &id), 0);
    return id;
}

static void client_close(struct client *c) {
    for (size_t i = 0; i < c->n; i++)
        growing_deinit(&c->messages[i]);
    c->grpc = grpc_client_free(c->grpc);
    c->fd = fd_close(c->fd);
}

/* One more message, or the call's end, within ms? */
static bool client_hears(struct client *c, int ms) {
    uint64_t end = clock_mono_ns() + (uint64_t)ms * NS_PER_MS;
    size_t before = c->n;
    client_flush(c);
    while (c->n == before && !c->finished && !c->gone && clock_mono_ns() < end) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        if (poll(&p, 1, (int)((end - clock_mono_ns()) / NS_PER_MS) + 1) <= 0)
            break;
        uint8_t in[4096];
        ssize_t n = recv(c->fd, in, sizeof(in), 0);
        c->gone = n <= 0;
        if (n > 0)
            assert_int_equal(grpc_client_feed(c->grpc, in, (size_t)n, clock_mono_ns()), 0);
        client_flush(c);
    }
    return c->n > before || c->finished;
}

static void expect_code(struct client *c, enum grpc_code code) {
    while (!c->finished)
        assert_true(client_hears(c, LONG_MS));
    if (c->code != code)
        fail_msg("%s: %s", grpc_code_text(c->code), c->text);
}

struct sds_stream {
    struct client c;
    int32_t id;
    struct arena arena;
    struct sds_response r;
};

static void sds_say(struct sds_stream *t, const char *const *names, size_t n, bool refused) {
    struct str list[8];
    for (size_t i = 0; i < n; i++)
        list[i] = str_of(names[i]);
    struct sds_request q = {.names = list, .n_names = n, .type_url = SDS_TYPE_SECRET, .nonce = t->r.nonce, .version = t->r.version};
    q.refused = refused;
    q.error_code = refused ? GRPC_INTERNAL : 0;
    uint8_t *bytes;
    size_t n_bytes;
    assert_int_equal(sds_create_request(&q, &bytes, &n_bytes), 0);
    assert_int_equal(grpc_client_send(t->c.grpc, t->id, bytes, n_bytes, false), 0);
    free(bytes);
    client_flush(&t->c);
}

static void sds_open(struct sds_stream *t, struct scene *s, const char *const *names, size_t n) {
    *t = (struct sds_stream){0};
    t->id = client_open(&t->c, s, SDS_PATH_STREAM);
    sds_say(t, names, n, false);
}

static const struct sds_response *sds_next(struct sds_stream *t) {
    if (t->c.seen == t->c.n && (!client_hears(&t->c, LONG_MS) || t->c.finished))
        fail_msg("no response: %s", t->c.text);
    const struct growing *m = &t->c.messages[t->c.seen++];
    assert_int_equal(sds_consume_response((const uint8_t *)m->at, m->n, &t->arena, &t->r), PB_OK);
    return &t->r;
}

static void sds_close(struct sds_stream *t) {
    client_close(&t->c);
    arena_deinit(&t->arena);
}
#define NAMES(...) (const char *const[]){__VA_ARGS__}, array_size(((const char *const[]){__VA_ARGS__}))

static size_t n_certs(struct str pem) {
    struct tls_der_list l cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    assert_int_equal(tls_certs_from_pem(pem, 16, &l), 0);
    return l.n;
}

/* ---- cases ---- */

static void what_is_missing_is_held(void **state) {
    struct scene *s = *state;
    struct sds_stream t;
    sds_open(&t, s, NAMES("default"));
    assert_false(client_hears(&t.c, SHORT_MS));
    struct mail *want = mailbox_wait(s->identity, LONG_MS); /* the identity thread hears that somebody waits */
    assert_true(want && want->type == &mail_credential_want_type);
    mail_free(want);
    post(s, &mail_credential_new(&s->name, NULL, "the CA is away")->mail);
    assert_false(client_hears(&t.c, SHORT_MS));
    credential_comes(s, &s->pki, NULL);
    const struct sds_response *r = sds_next(&t);
    assert_int_equal(r->n_secrets, 1);
    assert_int_equal(n_certs(r->secrets[0].chain_pem), 1);
    struct tls_key *key = NULL;
    assert_int_equal(tls_key_from_pem(r->secrets[0].key_pem, &key), 0);
    tls_key_free(key);
    sds_close(&t);
}

static void trust_is_confirmed_by_the_clients(void **state) {
    struct scene *s = *state;
    struct sds_stream roots, leaf;
    trust_comes(s, s->pki.trust);
    assert_true(confirmed(s, LONG_MS)); /* nobody has roots yet */
    credential_comes(s, &s->pki, NULL);
    sds_open(&roots, s, NAMES("ROOTCA", "ALL"));
    sds_open(&leaf, s, NAMES("default"));
    assert_int_equal(sds_next(&roots)->n_secrets, 2);
    sds_say(&roots, NAMES("ROOTCA", "ALL"), false);
    sds_next(&leaf);
    sds_say(&leaf, NAMES("default"), false);
    struct tls_trust *both = pki_trust_both(&s->pki, &s->other);
    trust_comes(s, both);
    const struct sds_response *r = sds_next(&roots); /* ROOTCA is as it was */
    assert_int_equal(r->n_secrets, 1);
    assert_int_equal(r->secrets[0].n_bundles, 2);
    assert_false(confirmed(s, SHORT_MS));
    sds_say(&roots, NAMES("ROOTCA", "ALL"), true); /* a refusal is an answer too */
    assert_true(confirmed(s, LONG_MS));
    trust_comes(s, s->pki.trust);
    sds_next(&roots);
    assert_true(confirmed(s, LONG_MS)); /* the client is silent: after a bounded time */
    assert_true(counter_get(&s->stats.ack_late) == 1);
    assert_false(client_hears(&leaf.c, SHORT_MS));
    sds_close(&roots);
    sds_close(&leaf);
    tls_trust_unref(both);
}

static void lists_only_when_they_cover_all(void **state) {
    struct scene *s = *state;
    struct sds_stream t;
    struct tls_der crl = {0};
    struct tls_der_list roots = TLS_DER_LIST_NULL, crls = TLS_DER_LIST_NULL;
    struct tls_bundle *b;
    int64_t now_s = clock_wall_s();
    struct tls_issuer issuer = {.key = s->pki.key, .cert = s->pki.root.at, .cert_n = s->pki.root.n};
    struct tls_crl_spec spec = {.number = 1, .this_update = now_s - 10, .next_update = now_s + 1000};
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    assert_int_equal(tls_der_list_add(&roots, s->pki.root.at, s->pki.root.n), 0);
    assert_int_equal(tls_der_list_add(&crls, crl.at, crl.n), 0);
    assert_int_equal(tls_bundle_new(STR("cluster.local"), &roots, &crls, &b), 0);
    struct tls_trust *trust = tls_trust_new(&b, 1, 9);
    trust_comes(s, trust);
    credential_comes(s, &s->pki, NULL);
    sds_open(&t, s, NAMES("ROOTCA"));
    const struct sds_response *r = sds_next(&t);
    assert_non_null(memmem(r->secrets[0].crl_pem.at, r->secrets[0].crl_pem.n, "BEGIN X509 CRL", 14));
    sds_say(&t, NAMES("ROOTCA"), false);
    /* A leaf under an intermediate comes: whether every intermediate of the mesh has a list cannot be known. */
    struct pki_node node;
    pki_node_init(&node, &s->pki, "node-1");
    credential_comes(s, &s->pki, &node);
    r = sds_next(&t);
    assert_int_equal(r->secrets[0].crl_pem.n, 0);
    assert_int_equal(n_certs(r->secrets[0].roots_pem), 1);
    assert_true(counter_get(&s->stats.crl_withheld) == 1);
    sds_close(&t);
    pki_node_deinit(&node);
    tls_trust_unref(trust);
    tls_bundle_unref(b);
    tls_der_list_deinit(&roots);
    tls_der_list_deinit(&crls);
    free(crl.at);
}

static void callers_that_are_not_known(void **state) {
    struct scene *s = *state;
    for (int v = CAPTURE_CALLER_UNSEEN; v <= CAPTURE_CALLER_MISMATCH; v++) {
        __atomic_store_n(&s->verdict, v, __ATOMIC_RELAXED);
        struct client c;
        client_open(&c, s, SDS_PATH_STREAM);
        expect_code(&c, GRPC_PERMISSION_DENIED);
        assert_non_null(strstr(c.text, "the test says so"));
        client_close(&c);
    }
    __atomic_store_n(&s->verdict, -EIO, __ATOMIC_RELAXED);
    struct client c;
    client_open(&c, s, SDS_PATH_STREAM);
    expect_code(&c, GRPC_UNAVAILABLE);
    client_close(&c);
}

static void strangers_are_slowed(void **state) {
    struct scene *s = *state;
    __atomic_store_n(&s->verdict, CAPTURE_CALLER_STRANGER, __ATOMIC_RELAXED);
    struct client c;
    client_open(&c, s, SDS_PATH_STREAM);
    for (unsigned i = 0; i < 50; i++) {
        while (!c.finished)
            assert_true(client_hears(&c, LONG_MS));
        if (c.code != GRPC_PERMISSION_DENIED)
            break;
        int32_t id;
        c.finished = false;
        assert_int_equal(grpc_client_call(c.grpc, SDS_PATH_STREAM, NULL, 0, 0, clock_mono_ns(), &id), 0);
    }
    assert_int_equal(c.code, GRPC_RESOURCE_EXHAUSTED);
    client_close(&c);
}

static void who_leaves_or_changes_is_heard(void **state) {
    struct scene *s = *state;
    struct sds_stream t;
    credential_comes(s, &s->pki, NULL);
    sds_open(&t, s, NAMES("default"));
    sds_next(&t);
    struct identity other = pki_identity("cluster.local", "default", "two");
    pod_comes(s, &other);
    expect_code(&t.c, GRPC_PERMISSION_DENIED);
    sds_close(&t);
    sds_open(&t, s, NAMES("spiffe://cluster.local/ns/default/sa/one"));
    expect_code(&t.c, GRPC_INVALID_ARGUMENT); /* it is another now */
    sds_close(&t);
    sds_open(&t, s, NAMES("default"));
    assert_false(client_hears(&t.c, SHORT_MS));
    post(s, &mail_pod_gone_new(POD, NULL)->mail);
    expect_code(&t.c, GRPC_PERMISSION_DENIED);
    sds_close(&t);
    sds_open(&t, s, NAMES("default"));
    expect_code(&t.c, GRPC_UNAVAILABLE); /* in the kernel, not yet by mail */
    sds_close(&t);
}

static void ask_api(struct client *c, struct scene *s, struct str path, const void *body, size_t n) {
    int32_t id = client_open(c, s, path);
    assert_int_equal(grpc_client_send(c->grpc, id, body, n, true), 0);
    client_flush(c);
}

static void svids_are_whole_and_withdrawn(void **state) {
    struct scene *s = *state;
    struct client c;
    struct tls_trust *both = pki_trust_both(&s->pki, &s->other);
    trust_comes(s, both);
    credential_comes(s, &s->pki, NULL);
    ask_api(&c, s, WORKLOAD_API_X509_SVID, "", 0);
    assert_true(client_hears(&c, LONG_MS));
    assert_int_equal(c.n, 1);
    assert_non_null(memmem(c.messages[0].at, c.messages[0].n, "spiffe://other.example", 22));
    assert_non_null(memmem(c.messages[0].at, c.messages[0].n, s->other.root.at, s->other.root.n));
    trust_comes(s, s->pki.trust); /* the foreign bundle goes */
    assert_true(client_hears(&c, LONG_MS));
    assert_int_equal(c.n, 2);
    assert_null(memmem(c.messages[1].at, c.messages[1].n, "other.example", 13));
    credential_comes(s, &s->pki, NULL);
    assert_true(client_hears(&c, LONG_MS));
    assert_int_equal(c.n, 3);
    post(s, &mail_credential_new(&s->name, NULL, "the certificate has expired")->mail);
    expect_code(&c, GRPC_UNAVAILABLE);
    assert_non_null(strstr(c.text, "has expired"));
    client_close(&c);
    tls_trust_unref(both);
}

/* Takes the next question of that kind from the CA's mailbox. */
static struct mailbox *ca_hears(struct scene *s, enum ca_message_kind kind, uint64_t *ret_id) {
    for (struct mail *m; (m = mailbox_wait(s->ca, LONG_MS));) {
        struct arena a cleanup(arena_deinit) = ARENA_NULL;
        struct mail_bytes *bytes = container_of(m, struct mail_bytes, mail);
        struct ca_request q;
        assert_int_equal(pb_consume_ca_request(bytes->bytes, bytes->n, &a, &q), PB_OK);
        struct mailbox *reply = q.kind == kind ? mailbox_ref(bytes->reply) : NULL;
        *ret_id = q.id;
        if (kind == CA_MESSAGE_JWT && reply) {
            assert_true(str_is(q.identity, identity_uri(&s->name)));
            assert_int_equal(q.n_audience, 1);
        }
        mail_free(m);
        if (reply)
            return reply;
    }
    fail();
    return NULL;
}

static void ca_says(struct mailbox *to, const struct ca_response *r) {
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_response(r, &bytes, &n), 0);
    assert_int_equal(mailbox_post(to, &mail_bytes_new(bytes, n, NULL)->mail), 0);
    mailbox_unref(to);
}

static void jwts_come_from_the_ca(void **state) {
    struct scene *s = *state;
    struct client c;
    uint64_t id;
    static const char audience[] = "\x0a\x02"
                                   "db";
    ask_api(&c, s, WORKLOAD_API_JWT_SVID, audience, sizeof(audience) - 1);
    client_flush(&c);
    struct mailbox *reply = ca_hears(s, CA_MESSAGE_JWT, &id);
    ca_says(reply, &(struct ca_response){.kind = CA_MESSAGE_JWT, .id = id, .token = STR("the.token.itself")});
    expect_code(&c, GRPC_OK);
    assert_int_equal(c.n, 1);
    assert_non_null(memmem(c.messages[0].at, c.messages[0].n, "the.token.itself", 16));
    client_close(&c);
    ask_api(&c, s, WORKLOAD_API_JWT_SVID, audience, sizeof(audience) - 1);
    reply = ca_hears(s, CA_MESSAGE_JWT, &id);
    struct ca_response no = {.kind = CA_MESSAGE_JWT, .id = id, .code = CA_PERMISSION_DENIED, .message = STR("not yours")};
    ca_says(reply, &no);
    expect_code(&c, GRPC_PERMISSION_DENIED);
    assert_string_equal(c.text, "not yours");
    client_close(&c);
    /* A caller that goes away while the CA thinks. */
    ask_api(&c, s, WORKLOAD_API_JWT_SVID, audience, sizeof(audience) - 1);
    reply = ca_hears(s, CA_MESSAGE_JWT, &id);
    client_close(&c);
    ca_says(reply, &(struct ca_response){.kind = CA_MESSAGE_JWT, .id = id, .token = STR("for.nobody.any.more")});
}

static void jwt_keys_are_watched_and_acknowledged(void **state) {
    struct scene *s = *state;
    struct client c;
    uint64_t id;
    ask_api(&c, s, WORKLOAD_API_JWT_BUNDLES, "", 0);
    assert_false(client_hears(&c, SHORT_MS));
    struct mailbox *reply = ca_hears(s, CA_MESSAGE_BUNDLE, &id);
    ca_says(mailbox_ref(reply),
            &(struct ca_response){.kind = CA_MESSAGE_BUNDLE, .id = id, .generation = 4, .jwks = STR("{\"keys\":[]}")});
    assert_true(client_hears(&c, LONG_MS));
    assert_non_null(memmem(c.messages[0].at, c.messages[0].n, "{\"keys\":[]}", 11));
    mailbox_unref(ca_hears(s, CA_MESSAGE_BUNDLE, &id)); /* generation 4 is acknowledged */
    ca_says(reply, &(struct ca_response){.kind = CA_MESSAGE_BUNDLE, .id = id, .generation = 5, .jwks = STR("{\"keys\":[ ]}")});
    assert_true(client_hears(&c, LONG_MS));
    assert_int_equal(c.n, 2);
    client_close(&c);
}

static void a_second_daemon_is_told(void **state) {
    struct scene *s = *state;
    struct doors_stats stats = {0};
    struct mailbox *own = mailbox_new("doors", 16);
    struct doors_options o = {.mailbox = own,
                              .ca = s->ca,
                              .identity = s->identity,
                              .node = "n",
                              .trust_domain = STR("t"),
                              .sds_path = s->path,
                              .stats = &stats};
    struct doors *d = NULL;
    char why[256] = "";
    assert_int_equal(doors_start(&o, &d, why), 1);
    assert_non_null(strstr(why, "somebody listens"));
    char file[300];
    snprintf(file, sizeof(file), "%s/plain", s->dir);
    fclose(fopen(file, "w"));
    o.sds_path = file;
    assert_int_equal(doors_start(&o, &d, why), 1);
    assert_non_null(strstr(why, "no socket"));
    unlink(file);
    mailbox_unref(own);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make, unmake)
    const struct CMUnitTest tests[] = {
        CASE(what_is_missing_is_held),
        CASE(trust_is_confirmed_by_the_clients),
        CASE(lists_only_when_they_cover_all),
        CASE(callers_that_are_not_known),
        CASE(strangers_are_slowed),
        CASE(who_leaves_or_changes_is_heard),
        CASE(svids_are_whole_and_withdrawn),
        CASE(jwts_come_from_the_ca),
        CASE(jwt_keys_are_watched_and_acknowledged),
        CASE(a_second_daemon_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
