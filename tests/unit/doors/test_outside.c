/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the TCP door passes on what callers show, all of it and nothing else, tells them codes and no reasons, and bounds
 * what they may do. Method: the real thread, socket, TLS and gRPC; the test plays the CA by mail and a caller by wire/grpc.
 * (tests/e2e/test_outside.py has the real CA and callers that are not ours.) */
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <ringwall/base/clock.h>
#include <ringwall/doors/doors.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/trust.h>
#include <ringwall/tls/web.h>
#include <ringwall/wire/grpc.h>
#include <ringwall/wire/istio_ca.h>

#include "pki.h"
#include "unit.h"

enum { LONG_MS = 10 * 1000 };

static struct {
    struct pki pki;
    struct tls_bundle *roots;
    struct mailbox *own, *ca, *identity;
    struct doors_stats stats;
    struct doors *doors;
    struct buf_pool *pool;
    uint16_t port;
    struct identity name;
} f;

/* ------------------------------------------------ the CA */

static void reply(struct mail_bytes *m, const struct ca_response *p) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    assert_int_equal(pb_create_ca_response(p, &bytes, &n), 0);
    assert_int_equal(mailbox_post(m->reply, &mail_bytes_new(bytes, n, NULL)->mail), 0);
}

/* The next request of this kind; the caller frees mail and arena. */
static struct mail_bytes *next_request(enum ca_message_kind kind, struct arena *a, struct ca_request *ret) {
    for (struct mail *m; (m = mailbox_wait(f.ca, LONG_MS));) {
        struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
        *a = ARENA_NULL;
        assert_int_equal(pb_consume_ca_request(b->bytes, b->n, a, ret), PB_OK);
        if (ret->kind == kind)
            return b;
        arena_deinit(a);
        mail_free(m);
    }
    fail_msg("nobody asks the CA");
    return NULL;
}

static void give_door_its_certificate(enum ca_code code) {
    struct arena a;
    struct ca_request q;
    struct tls_der der = {0}, leaf = {0};
    struct tls_csr *csr = NULL;
    struct growing pem[2] = {GROWING_NULL, GROWING_NULL};
    struct str names[] = {STR("ca.example")};
    struct tls_issuer by = {.key = f.pki.key, .cert = f.pki.root.at, .cert_n = f.pki.root.n};
    struct mail_bytes *m = next_request(CA_MESSAGE_SERVER, &a, &q);
    assert_int_equal(q.caller, CA_CALLER_NODE);
    assert_true(str_is(q.caller_node, STR("node-1")));
    assert_int_equal(tls_pem_to_der(q.csr_pem, "CERTIFICATE REQUEST", &der), 0);
    assert_int_equal(tls_csr_read(der.at, der.n, NULL, &csr), 0);
    assert_int_equal(tls_issue_server(&by, csr, names, 1, f.pki.now_s, 3600, &leaf), 0);
    assert_int_equal(tls_der_to_pem(&leaf, "CERTIFICATE", &pem[0]), 0);
    assert_int_equal(tls_der_to_pem(&f.pki.root, "CERTIFICATE", &pem[1]), 0);
    struct ca_response p = {.kind = CA_MESSAGE_SERVER, .id = q.id, .code = code};
    if (code == CA_OK) {
        p.chain[p.n_chain++] = (struct str){pem[0].at, pem[0].n};
        p.chain[p.n_chain++] = (struct str){pem[1].at, pem[1].n};
    } else
        p.message = STR("no");
    reply(m, &p);
    growing_deinit(&pem[0]);
    growing_deinit(&pem[1]);
    tls_csr_free(csr);
    free(der.at);
    free(leaf.at);
    arena_deinit(&a);
    mail_free(&m->mail);
}

/* ------------------------------------------------ a caller */

struct caller {
    int fd;
    bool gone;
    struct bufq in, out;
    struct tls_context *context;
    struct tls_session *tls;
    struct grpc_client *grpc;
    bool finished;
    enum grpc_code code;
    char text[GRPC_TEXT_MAX + 1];
    struct growing message;
};

static void on_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct caller *c = owner;
    growing_add(&c->message, (struct str){(const char *)bytes, n});
}
static void on_finished(void *owner, int32_t id, enum grpc_code code, struct str message) {
    struct caller *c = owner;
    c->finished = true;
    c->code = code;
    snprintf(c->text, sizeof(c->text), STR_FMT, STR_ARG(message));
}
static void on_nothing(void *owner) {}
static const struct grpc_client_callbacks callbacks = {on_message, on_finished, on_nothing, on_nothing};

static int dial(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(f.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* One step: what we have to say, then what came within ms. */
static void step(struct caller *c, int ms) {
    uint8_t bytes[16384];
    size_t n;
    while (c->grpc && (n = grpc_client_drain(c->grpc, bytes, sizeof(bytes))) > 0)
        assert_int_equal(tls_session_seal(c->tls, bytes, n, &n), TLS_DONE);
    while ((n = bufq_read(&c->out, bytes, sizeof(bytes))) > 0)
        ignore_result(send(c->fd, bytes, n, MSG_NOSIGNAL)); /* the door may be gone */
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (poll(&p, 1, ms) != 1)
        return;
    ssize_t got = recv(c->fd, bytes, sizeof(bytes), 0);
    c->gone = got <= 0;
    if (got > 0)
        assert_int_equal(bufq_append(&c->in, bytes, (size_t)got), 0);
}

static int shake(struct caller *c) {
    int r;
    while ((r = tls_session_handshake(c->tls, f.pki.now_s)) == TLS_WANT_INPUT && !c->gone)
        step(c, LONG_MS);
    return r;
}

/* context: with a certificate of the mesh, or NULL. How the handshake ended. */
static int caller_shake(struct caller *c, struct tls_context *context) {
    *c = (struct caller){.fd = dial(), .context = context};
    if (!context)
        assert_int_equal(tls_web_client_new(f.roots, STR("ca.example"), &c->context), 0);
    bufq_init(&c->in, f.pool);
    bufq_init(&c->out, f.pool);
    struct tls_session_options t = {.context = c->context, .trust = f.pki.trust, .in = &c->in, .out = &c->out};
    assert_int_equal(tls_session_new(&t, &c->tls), 0);
    return shake(c);
}

static void caller_init(struct caller *c, struct tls_context *context) {
    struct grpc_client_options o = {
        .authority = STR("ca.example"), .tls = true, .limits = {.message_max = 1 << 20, .streams_max = 4, .sent_max = 4 << 20}};
    int r = caller_shake(c, context);
    if (r != TLS_DONE)
        fail_msg("TLS: %d: %s", r, tls_session_error(c->tls));
    assert_int_equal(grpc_client_new(&callbacks, c, &o, &c->grpc), 0);
}

static void caller_deinit(struct caller *c) {
    grpc_client_free(c->grpc);
    tls_session_free(c->tls);
    tls_context_unref(c->context);
    bufq_deinit(&c->in);
    bufq_deinit(&c->out);
    growing_deinit(&c->message);
    fd_close(c->fd);
}

static void begin(struct caller *c, struct str path, const char *authorization, const void *bytes, size_t n) {
    struct grpc_metadata m[] = {{STR("authorization"), str_of(authorization)}};
    int32_t id;
    c->finished = false;
    c->message.n = 0;
    assert_int_equal(grpc_client_call(c->grpc, path, m, authorization != NULL, 0, clock_mono_ns(), &id), 0);
    if (bytes)
        assert_int_equal(grpc_client_send(c->grpc, id, bytes, n, true), 0);
    else
        grpc_client_half_close(c->grpc, id);
    step(c, 0);
}

static void finish(struct caller *c) {
    uint8_t bytes[16384];
    size_t n;
    while (!c->finished && !c->gone) {
        step(c, LONG_MS);
        while (tls_session_open(c->tls, bytes, sizeof(bytes), &n) == TLS_DONE)
            assert_int_equal(grpc_client_feed(c->grpc, bytes, n, clock_mono_ns()), 0);
    }
    assert_true(c->finished);
}

static void ask(struct caller *c, const char *authorization, const struct istio_ca_request *q) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    assert_int_equal(istio_ca_create_request(q, &bytes, &n), 0);
    begin(c, ISTIO_CA_PATH, authorization, bytes, n);
    free(bytes);
}

/* ------------------------------------------------ scene */

static int make(void **state) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    char why[256] = "";
    memset(&f, 0, sizeof(f));
    assert_int_equal(tls_library_init(), 0);
    pki_init(&f.pki, "cluster.local", clock_wall_s());
    assert_int_equal(tls_bundle_new(STR("roots"), &(struct tls_der_list){.items = &f.pki.root, .n = 1}, NULL, &f.roots), 0);
    f.name = pki_identity("cluster.local", "default", "one");
    f.pool = buf_pool_new(128);
    f.own = mailbox_new("doors", 1024);
    f.ca = mailbox_new("ca", 64);
    f.identity = mailbox_new("identity", 64);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* a port that is free */
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    f.port = ntohs(a.sin_port);
    close(fd);
    struct doors_options o = {.mailbox = f.own,
                              .ca = f.ca,
                              .identity = f.identity,
                              .node = "node-1",
                              .trust_domain = STR("cluster.local"),
                              .outside_host = "127.0.0.1",
                              .outside_port = f.port,
                              .stats = &f.stats};
    if (doors_start(&o, &f.doors, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(mailbox_post(f.own, &mail_trust_new(f.pki.trust, 1, f.identity)->mail), 0);
    return 0;
}

/* Until a handshake stands: the certificate's mail is on its way. */
static void wait_for_door(void) {
    for (uint64_t until = clock_mono_ns() + LONG_MS * NS_PER_MS;;) {
        struct caller c;
        bool is_open = caller_shake(&c, NULL) == TLS_DONE; /* closed at once: no certificate yet */
        step(&c, 0);
        shutdown(c.fd, SHUT_WR);
        while (!c.gone)
            step(&c, LONG_MS);
        caller_deinit(&c);
        if (is_open)
            return;
        if (clock_mono_ns() > until)
            fail_msg("the door does not open");
    }
}

static int make_open(void **state) {
    make(state);
    give_door_its_certificate(CA_OK);
    wait_for_door();
    return 0;
}

static int unmake(void **state) {
    f.doors = doors_stop(f.doors);
    mailbox_unref(f.own);
    mailbox_unref(f.ca);
    mailbox_unref(f.identity);
    tls_bundle_unref(f.roots);
    buf_pool_free(f.pool);
    pki_deinit(&f.pki);
    return 0;
}

/* ------------------------------------------------ tests */

static void test_what_is_shown_is_passed_on(void **state) {
    struct istio_ca_request q = {.csr_pem = STR("a CSR"), .validity_s = 77, .impersonated = STR("spiffe://x")};
    struct istio_ca_response got;
    struct arena a, ra = ARENA_NULL;
    struct ca_request seen;
    struct caller c;
    caller_init(&c, NULL);
    ask(&c, "Bearer a.b.c", &q);
    struct mail_bytes *m = next_request(CA_MESSAGE_SIGN, &a, &seen);
    assert_int_equal(seen.caller, CA_CALLER_TOKEN);
    assert_true(str_is(seen.caller_token, STR("a.b.c")));
    assert_true(str_has_prefix(seen.caller_peer, STR("127.0.0.1:")));
    assert_true(str_is(seen.identity, STR("spiffe://x")));
    assert_true(str_is(seen.csr_pem, STR("a CSR")));
    assert_int_equal(seen.validity_s, 77);
    assert_int_equal(seen.caller_identity.n, 0);
    struct ca_response p = {
        .kind = CA_MESSAGE_SIGN, .id = seen.id, .chain = {STR("leaf\n"), STR("between\n"), STR("roots\n")}, .n_chain = 3};
    reply(m, &p);
    finish(&c);
    assert_int_equal(c.code, GRPC_OK);
    assert_int_equal(istio_ca_consume_response((const uint8_t *)c.message.at, c.message.n, &ra, &got), PB_OK);
    assert_int_equal(got.n_chain, 3);
    assert_true(str_is(got.chain[0], STR("leaf\n")) && str_is(got.chain[1], STR("between\n")) &&
                str_is(got.chain[2], STR("roots\n")));
    arena_deinit(&ra);
    arena_deinit(&a);
    mail_free(&m->mail);
    caller_deinit(&c);
    assert_int_equal(counter_get(&f.stats.outside_issued), 1);
}

static void test_words(void **state) {
    static const struct {
        enum ca_code code;
        enum grpc_code shown;
        const char *text;
    } rows[] = {
        {CA_UNAUTHENTICATED, GRPC_UNAUTHENTICATED, "request authenticate failure"},
        {CA_PERMISSION_DENIED, GRPC_UNAUTHENTICATED, "request impersonation authentication failure"},
        {CA_INVALID_ARGUMENT, GRPC_INVALID_ARGUMENT, "CSR signing error (CSR_ERROR)"},
        {CA_RESOURCE_EXHAUSTED, GRPC_RESOURCE_EXHAUSTED, "too many requests"},
        {CA_UNAVAILABLE, GRPC_UNAVAILABLE, "CSR signing error (CA_NOT_READY)"},
        {CA_INTERNAL, GRPC_INTERNAL, "CSR signing error (CERT_GEN_ERROR)"},
        {CA_FAILED_PRECONDITION, GRPC_INTERNAL, "CSR signing error (CERT_GEN_ERROR)"},
    };
    struct istio_ca_request q = {.csr_pem = STR("a CSR")};
    struct caller c;
    caller_init(&c, NULL);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct arena a;
        struct ca_request seen;
        ask(&c, "Bearer a.b.c", &q);
        struct mail_bytes *m = next_request(CA_MESSAGE_SIGN, &a, &seen);
        reply(m, &(struct ca_response){
                     .kind = CA_MESSAGE_SIGN, .id = seen.id, .code = rows[i].code, .message = STR("a secret reason")});
        finish(&c);
        assert_int_equal(c.code, rows[i].shown);
        assert_string_equal(c.text, rows[i].text);
        arena_deinit(&a);
        mail_free(&m->mail);
    }
    caller_deinit(&c);
}

/* What is no "Bearer TOKEN" shows nothing; the CA hears of that too. */
static void test_authorization(void **state) {
    static char long_token[13 * 1024];
    memset(long_token, 'x', sizeof(long_token) - 1);
    memcpy(long_token, "Bearer ", 7);
    const char *const lines[] = {NULL, "", "Bearer", "bearer a.b.c", "Basic a.b.c", long_token};
    struct istio_ca_request q = {.csr_pem = STR("a CSR")};
    struct caller c;
    caller_init(&c, NULL);
    for (size_t i = 0; i < array_size(lines); i++) {
        struct arena a;
        struct ca_request seen;
        ask(&c, lines[i], &q);
        if (i == 6) {
            finish(&c);
            print_error("%d %s\n", c.code, c.text);
        }
        struct mail_bytes *m = next_request(CA_MESSAGE_SIGN, &a, &seen);
        assert_int_equal(seen.caller, CA_CALLER_TOKEN);
        assert_int_equal(seen.caller_token.n, 0);
        reply(m, &(struct ca_response){.kind = CA_MESSAGE_SIGN, .id = seen.id, .code = CA_UNAUTHENTICATED});
        finish(&c);
        arena_deinit(&a);
        mail_free(&m->mail);
    }
    caller_deinit(&c);
}

/* The door's server certificate has no identity, so a context of the mesh would not talk to it: a client of the web does,
 * which shows the workload's certificate. */
static struct tls_context *with_certificate(enum pki_flaw flaw) {
    struct tls_credential *credential = pki_credential(&f.pki, NULL, &f.name, flaw, NULL);
    struct tls_context *x = NULL;
    assert_int_equal(tls_web_client_new(f.roots, STR("ca.example"), &x), 0);
    assert_int_equal(tls_web_client_show(x, credential), 0);
    tls_credential_unref(credential);
    return x;
}

static void test_client_certificate(void **state) {
    struct istio_ca_request q = {.csr_pem = STR("a CSR")};
    for (int with_token = 0; with_token < 2; with_token++) {
        struct arena a;
        struct ca_request seen;
        struct caller c;
        caller_init(&c, with_certificate(PKI_FLAWLESS));
        ask(&c, with_token ? "Bearer a.b.c" : NULL, &q);
        struct mail_bytes *m = next_request(CA_MESSAGE_SIGN, &a, &seen);
        assert_int_equal(seen.caller, with_token ? CA_CALLER_TOKEN : CA_CALLER_CERTIFICATE);
        assert_true(str_is(seen.caller_identity, with_token ? STR_NULL : identity_uri(&f.name)));
        arena_deinit(&a);
        mail_free(&m->mail);
        caller_deinit(&c);
    }
    struct caller c = {.fd = dial(), .context = with_certificate(PKI_EXPIRED)};
    bufq_init(&c.in, f.pool);
    bufq_init(&c.out, f.pool);
    struct tls_session_options t = {.context = c.context, .in = &c.in, .out = &c.out};
    assert_int_equal(tls_session_new(&t, &c.tls), 0);
    ignore_result(shake(&c)); /* our half is done before the door has judged */
    while (!c.gone)
        step(&c, LONG_MS);
    caller_deinit(&c);
    assert_int_equal(counter_get(&f.stats.outside_handshakes_failed), 1);
}

static void test_bad_requests(void **state) {
    static uint8_t large[1 << 20];
    struct istio_ca_request signer = {.csr_pem = STR("a CSR"), .cert_signer = STR("other")};
    struct arena a;
    struct ca_request seen;
    struct caller c;
    uint8_t *bytes = NULL;
    size_t n = 0;
    assert_int_equal(istio_ca_create_request(&signer, &bytes, &n), 0);
    caller_init(&c, NULL);
    const struct {
        const void *bytes;
        size_t n;
        enum grpc_code code;
    } rows[] = {{"\xff\xff\xff", 3, GRPC_INVALID_ARGUMENT},
                {bytes, n, GRPC_INVALID_ARGUMENT},
                {large, sizeof(large), GRPC_RESOURCE_EXHAUSTED}};
    for (size_t i = 0; i < array_size(rows); i++) {
        begin(&c, ISTIO_CA_PATH, "Bearer a.b.c", rows[i].bytes, rows[i].n);
        finish(&c);
        assert_int_equal(c.code, rows[i].code);
        /* it is on the CA's record all the same, and nothing can be signed for it */
        struct mail_bytes *m = next_request(CA_MESSAGE_SIGN, &a, &seen);
        assert_true(str_is(seen.caller_token, STR("a.b.c")));
        assert_int_equal(seen.csr_pem.n, 0);
        arena_deinit(&a);
        mail_free(&m->mail);
    }
    begin(&c, ISTIO_CA_PATH, "Bearer a.b.c", NULL, 0);
    finish(&c);
    assert_int_equal(c.code, GRPC_INVALID_ARGUMENT);
    begin(&c, STR("/istio.v1.auth.IstioCertificateService/Other"), "Bearer a.b.c", NULL, 0);
    finish(&c);
    assert_int_equal(c.code, GRPC_UNIMPLEMENTED);
    free(bytes);
    caller_deinit(&c);
}

/* Each refusal is a line on the CA's record; who is refused all the time is not passed on any more. */
static void test_refused_too_often(void **state) {
    struct istio_ca_request q = {.csr_pem = STR("a CSR")};
    struct caller c;
    unsigned n_passed = 0;
    caller_init(&c, NULL);
    for (;; n_passed++) {
        struct arena a;
        struct ca_request seen;
        ask(&c, "Bearer a.b.c", &q);
        uint64_t n_bound = counter_get(&f.stats.outside_refused_bound);
        struct mail *m = NULL;
        while (!m && n_bound == 0) {
            m = mailbox_wait(f.ca, 10);
            n_bound = counter_get(&f.stats.outside_refused_bound);
        }
        if (!m)
            break;
        struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
        a = ARENA_NULL;
        assert_int_equal(pb_consume_ca_request(b->bytes, b->n, &a, &seen), PB_OK);
        reply(b, &(struct ca_response){.kind = CA_MESSAGE_SIGN, .id = seen.id, .code = CA_UNAUTHENTICATED});
        finish(&c);
        assert_int_equal(c.code, GRPC_UNAUTHENTICATED);
        arena_deinit(&a);
        mail_free(m);
        assert_true(n_passed < 1000);
    }
    finish(&c);
    assert_int_equal(c.code, GRPC_RESOURCE_EXHAUSTED);
    assert_true(n_passed >= 100);
    caller_deinit(&c);
}

static void test_caller_goes(void **state) {
    struct istio_ca_request q = {.csr_pem = STR("a CSR")};
    struct arena a;
    struct ca_request seen;
    struct caller c;
    caller_init(&c, NULL);
    ask(&c, "Bearer a.b.c", &q);
    struct mail_bytes *m = next_request(CA_MESSAGE_SIGN, &a, &seen);
    caller_deinit(&c);
    reply(m, &(struct ca_response){.kind = CA_MESSAGE_SIGN, .id = seen.id, .code = CA_UNAVAILABLE}); /* to nobody */
    arena_deinit(&a);
    mail_free(&m->mail);
    caller_init(&c, NULL); /* and the door goes on */
    caller_deinit(&c);
}

static void test_no_certificate_yet(void **state) {
    struct pollfd p = {.fd = dial(), .events = POLLIN};
    char byte;
    assert_int_equal(poll(&p, 1, LONG_MS), 1);
    assert_true(recv(p.fd, &byte, 1, 0) <= 0);
    close(p.fd);
    give_door_its_certificate(CA_UNAVAILABLE); /* asked again after a while, and after news of trust */
    assert_int_equal(mailbox_post(f.own, &mail_trust_new(f.pki.trust, 1, f.identity)->mail), 0);
    give_door_its_certificate(CA_OK);
    wait_for_door();
    struct caller c;
    caller_init(&c, NULL);
    caller_deinit(&c);
}

static void test_silent(void **state) {
    struct pollfd p = {.fd = dial(), .events = POLLIN};
    char byte;
    assert_int_equal(poll(&p, 1, LONG_MS), 1); /* within its five seconds */
    assert_true(recv(p.fd, &byte, 1, 0) <= 0);
    close(p.fd);
    assert_true(counter_get(&f.stats.outside_refused_bound) >= 1);
}

static void test_taken_port(void **state) {
    struct doors_options o = {
        .mailbox = f.own, .ca = f.ca, .identity = f.identity, .node = "n", .trust_domain = STR("td"), .stats = &f.stats};
    struct doors *d = NULL;
    char why[256];
    o.mailbox = mailbox_new("other", 16);
    o.outside_host = "127.0.0.1";
    o.outside_port = f.port;
    assert_int_equal(doors_start(&o, &d, why), 1);
    assert_non_null(strstr(why, "is taken"));
    o.outside_host = "192.0.2.1";
    assert_int_equal(doors_start(&o, &d, why), 1);
    assert_non_null(strstr(why, "does not have the address"));
    o.outside_host = "somewhere";
    assert_int_equal(doors_start(&o, &d, why), 1);
    mailbox_unref(o.mailbox);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_shown_is_passed_on, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_words, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_authorization, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_client_certificate, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_bad_requests, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_refused_too_often, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_caller_goes, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_no_certificate_yet, make, unmake),
        cmocka_unit_test_setup_teardown(test_silent, make_open, unmake),
        cmocka_unit_test_setup_teardown(test_taken_port, make_open, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
