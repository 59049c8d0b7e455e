/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: another CA is asked as ztunnel would ask it, and believed only when its answer is what was asked for.
 * Method: the provider runs against a server in this process over real sockets, TLS and gRPC, which answers well or in one
 * of many wrong ways, hangs, cuts or goes away; the clock can be put forward. (The end-to-end test `outside` has foreign
 * implementations as the server.) */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/web.h>
#include <ringwall/wire/grpc.h>
#include <ringwall/wire/istio_ca.h>

#include "pki.h"
#include "provider.h"
#include "unit.h"

enum { CONNECTIONS = 8, FAR_CALLS = 64, WAIT_MS = 20000 };

/* ------------------------------------------------ time */

static uint64_t forward_ns;
static uint64_t mono_of(void *context) {
    struct timespec t;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec + forward_ns;
}
static int64_t wall_of(void *context) {
    (void)context;
    return (int64_t)PKI_NOW * (int64_t)NS_PER_S;
}
static const struct clock_source source = {mono_of, wall_of, NULL};

/* ------------------------------------------------ the other CA */

enum answer {
    GOOD,
    ROOT_TWICE, /* among the intermediates too, as cert-chain.pem often has it */
    OTHER_IDENTITY,
    OTHER_KEY,
    OTHER_ROOT,
    NO_ROOT,
    NOT_PEM,
    NOT_PROTOBUF,
    NOTHING,
    TWICE,
    OVER, /* expired */
    REFUSE,
    HANG,
    CUT,
    THEN_GOAWAY,
};
struct connection {
    int fd;
    struct tls_session *tls;
    struct grpc_server *grpc;
    struct bufq in, out;
    bool cut;
};
static struct {
    struct pki pki, other;
    struct buf_pool *pool;
    struct tls_context *context;
    int listener;
    uint16_t port;
    bool deaf; /* reads nothing */
    struct connection connections[CONNECTIONS];
    enum answer answer;
    enum grpc_code code;
    /* what it saw */
    unsigned n_calls, n_open, n_open_max, n_accepted;
    char authorization[128], cluster[64], impersonated[256];
    int64_t validity_s;
} far;

struct far_call {
    struct connection *c;
    int32_t id;
    char csr[4096];
    char identity[256];
} far_calls[FAR_CALLS];

static void far_leaf(const struct far_call *call, enum answer answer, struct tls_der *ret) {
    struct tls_der der = {0};
    struct tls_csr *csr = NULL;
    struct identity i;
    struct tls_key *key = NULL;
    struct pki *p = answer == OTHER_ROOT ? &far.other : &far.pki;
    struct tls_issuer by = {.key = p->key, .cert = p->root.at, .cert_n = p->root.n};
    assert_true(identity_parse(str_of(call->identity), &i));
    if (answer == OTHER_IDENTITY)
        i = pki_identity("cluster.local", "other", "other");
    if (answer == OTHER_KEY) {
        assert_int_equal(tls_key_generate(&key), 0);
        assert_int_equal(tls_csr_make(key, &i, &der), 0);
        tls_key_free(key);
    } else
        assert_int_equal(tls_pem_to_der(str_of(call->csr), "CERTIFICATE REQUEST", &der), 0);
    assert_int_equal(tls_csr_read(der.at, der.n, NULL, &csr), 0);
    assert_int_equal(tls_issue_leaf(&by, csr, &i, answer == OVER ? PKI_NOW - 7200 : PKI_NOW, 3600, ret), 0);
    tls_csr_free(csr);
    free(der.at);
}

static void far_answer(const struct far_call *call, enum answer answer) {
    struct growing leaf cleanup(growing_deinit) = GROWING_NULL, root cleanup(growing_deinit) = GROWING_NULL;
    struct tls_der der = {0};
    struct istio_ca_response m = {.n_chain = 2};
    uint8_t *bytes = NULL;
    size_t n = 0;
    far_leaf(call, answer, &der);
    assert_int_equal(tls_der_to_pem(&der, "CERTIFICATE", &leaf), 0);
    assert_int_equal(tls_der_to_pem(&far.pki.root, "CERTIFICATE", &root), 0);
    m.chain[0] = (struct str){leaf.at, leaf.n};
    m.chain[1] = (struct str){root.at, root.n};
    if (answer == ROOT_TWICE)
        m.chain[m.n_chain++] = m.chain[1];
    if (answer == NO_ROOT)
        m.n_chain = 1;
    if (answer == NOT_PEM)
        m.chain[0] = STR("a certificate");
    assert_int_equal(istio_ca_create_response(&m, &bytes, &n), 0);
    struct grpc_server *g = call->c->grpc;
    if (answer == NOT_PROTOBUF)
        memset(bytes, 0xff, n);
    if (answer != NOTHING)
        assert_int_equal(grpc_server_send(g, call->id, bytes, n), 0);
    if (answer == TWICE)
        assert_int_equal(grpc_server_send(g, call->id, bytes, n), 0);
    grpc_server_finish(g, call->id, GRPC_OK, STR_NULL);
    far.n_open--;
    if (answer == THEN_GOAWAY)
        grpc_server_goaway(g);
    free(bytes);
    free(der.at);
}

static void far_called(void *owner, int32_t id, struct str path, const struct grpc_metadata *m, size_t n) {
    assert_true(str_is(path, ISTIO_CA_PATH));
    snprintf(far.authorization, sizeof(far.authorization), STR_FMT, STR_ARG(grpc_metadata_get(m, n, STR("authorization"))));
    snprintf(far.cluster, sizeof(far.cluster), STR_FMT, STR_ARG(grpc_metadata_get(m, n, STR("clusterid"))));
    struct far_call *call = &far_calls[far.n_calls++ % FAR_CALLS];
    *call = (struct far_call){.c = owner, .id = id};
    far.n_open++;
    far.n_open_max = max_of(far.n_open_max, far.n_open);
}

static void far_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct istio_ca_request q;
    assert_int_equal(istio_ca_consume_request(bytes, n, &arena, &q), PB_OK);
    snprintf(far.impersonated, sizeof(far.impersonated), STR_FMT, STR_ARG(q.impersonated));
    far.validity_s = q.validity_s;
    struct far_call *call = NULL;
    for (size_t i = 0; i < FAR_CALLS; i++)
        if (far_calls[i].c == owner && far_calls[i].id == id)
            call = &far_calls[i];
    assert_non_null(call);
    snprintf(call->csr, sizeof(call->csr), STR_FMT, STR_ARG(q.csr_pem));
    snprintf(call->identity, sizeof(call->identity), STR_FMT, STR_ARG(q.impersonated));
    switch (far.answer) {
    case HANG:
        return;
    case CUT:
        call->c->cut = true;
        return;
    case REFUSE:
        far.n_open--;
        grpc_server_finish(call->c->grpc, id, far.code, STR("because"));
        return;
    default:
        far_answer(call, far.answer);
    }
}

static void far_nothing(void *owner, int32_t id) {
    (void)owner;
    (void)id;
}
static const struct grpc_server_callbacks far_callbacks = {far_called, far_message, far_nothing, far_nothing};

static void far_close(struct connection *c) {
    c->tls = tls_session_free(c->tls);
    c->grpc = grpc_server_free(c->grpc);
    bufq_deinit(&c->in);
    bufq_deinit(&c->out);
    c->fd = fd_close(c->fd);
    c->cut = false;
    far.n_open = 0;
}

static void far_accept(void) {
    static const struct grpc_limits limits = {.message_max = 65536, .streams_max = 100, .sent_max = 65536};
    int fd = accept4(far.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &far.connections[i];
        if (c->fd >= 0)
            continue;
        struct tls_session_options o = {.context = far.context, .trust = far.pki.trust, .in = &c->in, .out = &c->out};
        c->fd = fd;
        bufq_init(&c->in, far.pool);
        bufq_init(&c->out, far.pool);
        assert_int_equal(tls_session_new(&o, &c->tls), 0);
        assert_int_equal(grpc_server_new(&far_callbacks, c, &limits, &c->grpc), 0);
        far.n_accepted++;
        return;
    }
    fail_msg("too many connections");
}

static void far_turn_connection(struct connection *c) {
    uint8_t bytes[16384];
    ssize_t got = far.deaf ? -1 : recv(c->fd, bytes, sizeof(bytes), 0);
    size_t n;
    if (got == 0) {
        far_close(c);
        return;
    }
    if (got > 0)
        assert_int_equal(bufq_append(&c->in, bytes, (size_t)got), 0);
    int r = tls_session_handshake(c->tls, PKI_NOW);
    while (r == TLS_DONE && tls_session_open(c->tls, bytes, sizeof(bytes), &n) == TLS_DONE)
        assert_int_equal(grpc_server_feed(c->grpc, bytes, n, clock_mono_ns()), 0);
    while (r == TLS_DONE && (n = grpc_server_drain(c->grpc, bytes, sizeof(bytes))) > 0)
        assert_int_equal(tls_session_seal(c->tls, bytes, n, &n), TLS_DONE);
    while ((n = bufq_read(&c->out, bytes, sizeof(bytes))) > 0)
        ignore_result(send(c->fd, bytes, n, MSG_NOSIGNAL)); /* small: fits the socket, or the peer is gone */
    if (c->cut)
        far_close(c);
}

static void far_turn(void) {
    if (far.listener >= 0)
        far_accept();
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (far.connections[i].fd >= 0)
            far_turn_connection(&far.connections[i]);
}

static void far_listen(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(far.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int on = 1;
    far.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(setsockopt(far.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(bind(far.listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(far.listener, 16), 0);
    assert_int_equal(getsockname(far.listener, (struct sockaddr *)&a, &n), 0);
    far.port = ntohs(a.sin_port);
}

static void far_down(void) {
    far.listener = fd_close(far.listener);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (far.connections[i].fd >= 0)
            far_close(&far.connections[i]);
}

static struct tls_context *far_context(const char *name) {
    struct tls_der csr_der = {0}, leaf = {0};
    struct tls_csr *csr = NULL;
    struct tls_key *key = NULL;
    struct tls_context *x = NULL;
    struct str names[] = {str_of(name)};
    struct tls_issuer by = {.key = far.pki.key, .cert = far.pki.root.at, .cert_n = far.pki.root.n};
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_csr_make(key, NULL, &csr_der), 0);
    assert_int_equal(tls_csr_read(csr_der.at, csr_der.n, NULL, &csr), 0);
    assert_int_equal(tls_issue_server(&by, csr, names, 1, PKI_NOW, 3600, &leaf), 0);
    assert_int_equal(tls_web_server_new(key, &(struct tls_der_list){.items = &leaf, .n = 1}, &x), 0);
    tls_csr_free(csr);
    tls_key_free(key);
    free(csr_der.at);
    free(leaf.at);
    return x;
}

/* ------------------------------------------------ our end */

static struct {
    char dir[256], token[320], roots[320], address[64];
    struct ca_options o;
    void *state;
    bool told; /* trust() has changed since the last answer */
    unsigned n_changed, n_events;
    char event[512];
} near;

struct done {
    struct provider_job job;
    struct identity identity;
    struct tls_key *key;
    struct growing pem;
    bool done, trust_first;
    struct provider_answer answer;
};

static void answered(void *context, struct provider_job *job, struct provider_answer *a) {
    struct done *d = container_of(job, struct done, job);
    (void)context;
    assert_false(d->done);
    d->done = true;
    d->answer = *a;
    d->trust_first = near.n_changed > 0;
    a->chain = TLS_DER_LIST_NULL;
}
static void changed(void *context) {
    (void)context;
    near.n_changed++;
}
static void event(void *context, const char *kind, const char *text) {
    (void)context;
    near.n_events++;
    snprintf(near.event, sizeof(near.event), "%s: %s", kind, text);
}
static const struct provider_host host = {.answered = answered, .changed = changed, .event = event};

static void write_roots(const struct tls_der *root) {
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    assert_int_equal(tls_der_to_pem(root, "CERTIFICATE", &pem), 0);
    assert_int_equal(io_write_file(near.roots, pem.at, pem.n, 0600), 0);
}
static void write_token(const char *token) { assert_int_equal(io_write_file(near.token, token, strlen(token), 0600), 0); }

static int group_setup(void **state) {
    clock_override(&source);
    pki_init(&far.pki, "cluster.local", PKI_NOW);
    pki_init(&far.other, "cluster.local", PKI_NOW);
    far.pool = buf_pool_new(256);
    unit_directory(near.dir);
    snprintf(near.token, sizeof(near.token), "%s/token", near.dir);
    snprintf(near.roots, sizeof(near.roots), "%s/roots.pem", near.dir);
    return 0;
}

static int group_teardown(void **state) {
    char command[300];
    snprintf(command, sizeof(command), "rm -rf '%s'", near.dir);
    assert_int_equal(system(command), 0);
    pki_deinit(&far.pki);
    pki_deinit(&far.other);
    buf_pool_free(far.pool);
    clock_override(NULL);
    return 0;
}

static int setup(void **state) {
    char why[CA_WHY_BYTES] = "";
    far.port = 0;
    far.answer = GOOD;
    far.deaf = false;
    far.n_calls = far.n_open = far.n_open_max = far.n_accepted = 0;
    memset(far_calls, 0, sizeof(far_calls));
    for (size_t i = 0; i < CONNECTIONS; i++)
        far.connections[i].fd = -1;
    far.context = far_context("localhost");
    far_listen();
    write_roots(&far.pki.root);
    write_token("a.b.c\n");
    near.n_changed = near.n_events = 0;
    near.event[0] = '\0';
    snprintf(near.address, sizeof(near.address), "localhost:%u", far.port);
    near.o = (struct ca_options){.kind = CA_KIND_ISTIO, .trust_domain = "cluster.local", .node = "node-1"};
    near.o.istio.address = near.address;
    near.o.istio.roots = near.roots;
    near.o.istio.token = near.token;
    near.o.istio.cluster = "Kubernetes";
    assert_int_equal(provider_istio.open(&near.o, &host, PKI_NOW, &near.state, why), 0);
    return 0;
}

static int teardown(void **state) {
    near.state = provider_istio.close(near.state);
    far_down();
    far.context = tls_context_unref(far.context);
    return 0;
}

static void turn(void) {
    struct pollfd fds[PROVIDER_POLL_MAX];
    unsigned n = provider_istio.poll(near.state, fds);
    poll(fds, n, 1);
    provider_istio.turn(near.state, fds, n, clock_mono_ns(), PKI_NOW);
    far_turn();
}

static void done_init(struct done *d, const char *account) {
    struct tls_der der = {0};
    struct tls_csr *csr = NULL;
    *d = (struct done){.identity = pki_identity("cluster.local", "ns", account)};
    assert_int_equal(tls_key_generate(&d->key), 0);
    assert_int_equal(tls_csr_make(d->key, &d->identity, &der), 0);
    assert_int_equal(tls_der_to_pem(&der, "CERTIFICATE REQUEST", &d->pem), 0);
    assert_int_equal(tls_csr_read(der.at, der.n, &d->identity, &csr), 0);
    d->job = (struct provider_job){
        .kind = PROVIDER_LEAF, .identity = d->identity, .csr = csr, .csr_pem = {d->pem.at, d->pem.n}, .ttl_s = 1234};
    free(der.at);
}

static void done_deinit(struct done *d) {
    tls_csr_free((struct tls_csr *)d->job.csr);
    tls_key_free(d->key);
    growing_deinit(&d->pem);
    tls_der_list_deinit(&d->answer.chain);
}

static void begin(struct done *d) {
    assert_int_equal(provider_istio.sign(near.state, &d->job, PKI_NOW, &d->answer), PROVIDER_LATER);
}

static void await(const struct done *d) {
    uint64_t until = mono_of(NULL) + WAIT_MS * NS_PER_MS;
    while (!d->done) {
        turn();
        if (mono_of(NULL) > until)
            fail_msg("no answer: %s", near.event);
    }
}

/* Asks for one and tells the code. */
static enum ca_code ask(char why[PROVIDER_WHY_BYTES], size_t *ret_n) {
    struct done d;
    done_init(&d, "one");
    begin(&d);
    await(&d);
    if (why)
        snprintf(why, PROVIDER_WHY_BYTES, "%s", d.answer.why);
    if (ret_n)
        *ret_n = d.answer.chain.n;
    enum ca_code code = d.answer.code;
    assert_true(code == CA_OK ? d.trust_first : d.answer.chain.n == 0);
    done_deinit(&d);
    return code;
}

static size_t n_roots(void) {
    const struct tls_der_list *roots, *crls;
    provider_istio.trust(near.state, &roots, &crls);
    assert_int_equal(crls->n, 0);
    return roots->n;
}

/* ------------------------------------------------ tests */

static void test_good(void **state) {
    size_t n = 0;
    assert_int_equal(n_roots(), 0);
    assert_int_equal(ask(NULL, &n), CA_OK);
    assert_int_equal(n, 1);
    assert_int_equal(n_roots(), 1);
    assert_int_equal(near.n_changed, 1);
    assert_string_equal(far.authorization, "Bearer a.b.c");
    assert_string_equal(far.cluster, "Kubernetes");
    assert_string_equal(far.impersonated, "spiffe://cluster.local/ns/ns/sa/one");
    assert_int_equal(far.validity_s, 1234);
    /* the token is read anew, the connection is kept */
    write_token("d.e.f");
    far.answer = ROOT_TWICE;
    assert_int_equal(ask(NULL, &n), CA_OK);
    assert_int_equal(n, 1);
    assert_string_equal(far.authorization, "Bearer d.e.f");
    assert_int_equal(far.n_accepted, 1);
    assert_int_equal(near.n_changed, 1);
}

static void test_wrong_answers(void **state) {
    static const struct {
        enum answer answer;
        const char *why;
    } rows[] = {
        {OTHER_IDENTITY, "another identity"},
        {OTHER_KEY, "another key"},
        {OTHER_ROOT, "chain"},
        {NO_ROOT, "no root"},
        {NOT_PEM, "cannot be read"},
        {NOT_PROTOBUF, "cannot be read"},
        {NOTHING, "without an answer"},
        {OVER, "certificate has expired"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        char why[PROVIDER_WHY_BYTES];
        far.answer = rows[i].answer;
        enum ca_code code = ask(why, NULL);
        if (code != CA_INTERNAL || !strstr(why, rows[i].why))
            fail_msg("row %zu: %d: %s", i, code, why);
        assert_int_equal(n_roots(), 0); /* a wrong answer's roots are not believed either */
        assert_int_equal(near.n_changed, 0);
    }
}

static void test_two_messages(void **state) {
    char why[PROVIDER_WHY_BYTES];
    far.answer = TWICE;
    assert_int_equal(ask(why, NULL), CA_INTERNAL);
}

static void test_codes(void **state) {
    static const struct {
        enum grpc_code code;
        enum ca_code shown;
    } rows[] = {
        {GRPC_UNAUTHENTICATED, CA_UNAUTHENTICATED},
        {GRPC_PERMISSION_DENIED, CA_PERMISSION_DENIED},
        {GRPC_INVALID_ARGUMENT, CA_INVALID_ARGUMENT},
        {GRPC_RESOURCE_EXHAUSTED, CA_RESOURCE_EXHAUSTED},
        {GRPC_INTERNAL, CA_INTERNAL},
        {GRPC_UNIMPLEMENTED, CA_INTERNAL},
        {GRPC_UNAVAILABLE, CA_UNAVAILABLE},
        {GRPC_ABORTED, CA_UNAVAILABLE},
        {GRPC_CANCELLED, CA_UNAVAILABLE},
        {GRPC_UNKNOWN, CA_UNAVAILABLE},
    };
    far.answer = REFUSE;
    for (size_t i = 0; i < array_size(rows); i++) {
        char why[PROVIDER_WHY_BYTES];
        far.code = rows[i].code;
        assert_int_equal(ask(why, NULL), rows[i].shown);
        assert_non_null(strstr(why, grpc_code_text(rows[i].code)));
        assert_non_null(strstr(why, "because"));
    }
}

static void test_token(void **state) {
    char why[PROVIDER_WHY_BYTES];
    write_token("");
    assert_int_equal(ask(why, NULL), CA_UNAVAILABLE);
    assert_non_null(strstr(why, "is empty"));
    write_token("a b\r\nx: y");
    assert_int_equal(ask(why, NULL), CA_UNAVAILABLE);
    assert_non_null(strstr(why, "is not one line"));
    assert_int_equal(unlink(near.token), 0);
    assert_int_equal(ask(why, NULL), CA_UNAVAILABLE);
    assert_non_null(strstr(why, near.token));
    assert_int_equal(far.n_calls, 0);
    write_token("a.b.c");
    assert_int_equal(ask(NULL, NULL), CA_OK);
}

static void test_eight_at_once(void **state) {
    static struct done d[40];
    far.answer = HANG;
    for (size_t i = 0; i < array_size(d); i++) {
        done_init(&d[i], "many");
        begin(&d[i]);
    }
    for (int i = 0; i < 200 || far.n_open < 8; i++)
        turn();
    assert_int_equal(far.n_open, 8);
    far.answer = GOOD;
    for (size_t i = 0; i < 8; i++)
        far_answer(&far_calls[i], GOOD);
    for (size_t i = 0; i < array_size(d); i++) {
        await(&d[i]);
        assert_int_equal(d[i].answer.code, CA_OK);
        done_deinit(&d[i]);
    }
    assert_int_equal(far.n_open_max, 8);
    assert_int_equal(far.n_calls, array_size(d));
}

static void test_hangs(void **state) {
    struct done d;
    far.answer = HANG;
    done_init(&d, "one");
    begin(&d);
    while (far.n_open == 0)
        turn();
    forward_ns += 9 * NS_PER_S;
    await(&d);
    assert_int_equal(d.answer.code, CA_UNAVAILABLE);
    done_deinit(&d);
}

static void test_server_away(void **state) {
    char why[PROVIDER_WHY_BYTES];
    uint16_t port = far.port;
    assert_int_equal(ask(NULL, NULL), CA_OK);
    far_down();
    assert_int_equal(ask(why, NULL), CA_UNAVAILABLE);
    assert_non_null(strstr(why, "Connection refused"));
    for (int i = 0; i < 5; i++) /* pauses grow, and are waited for in no time */
        assert_int_equal((forward_ns += 6 * NS_PER_S, ask(why, NULL)), CA_UNAVAILABLE);
    far.port = port;
    far_listen();
    forward_ns += 6 * NS_PER_S;
    assert_int_equal(ask(NULL, NULL), CA_OK);
}

/* The connection goes away under a call: it is asked once more, on a new one. */
static void test_cut(void **state) {
    struct done d;
    char why[PROVIDER_WHY_BYTES];
    far.answer = CUT;
    done_init(&d, "one");
    begin(&d);
    while (far.n_calls == 0)
        turn();
    far.answer = GOOD;
    forward_ns += NS_PER_S;
    await(&d);
    assert_int_equal(d.answer.code, CA_OK);
    assert_int_equal(far.n_accepted, 2);
    done_deinit(&d);
    far.answer = CUT; /* for ever: given up after the second */
    assert_int_equal(ask(why, NULL), CA_UNAVAILABLE);
    assert_int_equal(far.n_calls, 4);
}

static void test_goaway(void **state) {
    far.answer = THEN_GOAWAY;
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(ask(NULL, NULL), CA_OK);
        for (int k = 0; k < 20; k++)
            turn();
        assert_int_equal(far.n_accepted, i);
    }
}

static void test_dead_connection(void **state) {
    assert_int_equal(ask(NULL, NULL), CA_OK);
    far.deaf = true;
    forward_ns += 31 * NS_PER_S;
    turn();
    turn();
    forward_ns += 11 * NS_PER_S;
    turn();
    assert_non_null(strstr(near.event, "does not answer pings"));
    far.deaf = false;
    forward_ns += NS_PER_S;
    assert_int_equal(ask(NULL, NULL), CA_OK);
    assert_int_equal(far.n_accepted, 2);
}

static void test_wrong_server(void **state) {
    char why[PROVIDER_WHY_BYTES];
    tls_context_unref(far.context);
    far.context = far_context("other.example");
    assert_int_equal(ask(why, NULL), CA_UNAVAILABLE);
    assert_non_null(strstr(why, "not for this server name"));
    assert_int_equal(far.n_calls, 0); /* no token left the house */
}

static void test_roots_change(void **state) {
    char why[PROVIDER_WHY_BYTES];
    assert_int_equal(ask(NULL, NULL), CA_OK);
    write_roots(&far.other.root);
    forward_ns += 2 * NS_PER_S;
    assert_int_equal(ask(why, NULL), CA_UNAVAILABLE);
    assert_non_null(strstr(why, "does not chain"));
    /* rubbish is refused, the last good ones stay */
    assert_int_equal(io_write_file(near.roots, "rubbish", 7, 0600), 0);
    forward_ns += 2 * NS_PER_S;
    near.event[0] = '\0';
    turn();
    assert_non_null(strstr(near.event, "reload-refused"));
    write_roots(&far.pki.root);
    forward_ns += 7 * NS_PER_S;
    assert_int_equal(ask(NULL, NULL), CA_OK);
    assert_int_equal(n_roots(), 1);
}

static void test_server_certificate(void **state) {
    struct provider_job job = {.kind = PROVIDER_SERVER};
    struct provider_answer a;
    assert_int_equal(provider_istio.sign(near.state, &job, PKI_NOW, &a), PROVIDER_NOW);
    assert_int_equal(a.code, CA_FAILED_PRECONDITION);
}

static void test_close_answers(void **state) {
    struct done d;
    far.answer = HANG;
    done_init(&d, "one");
    begin(&d);
    while (far.n_open == 0)
        turn();
    near.state = provider_istio.close(near.state);
    assert_true(d.done);
    assert_int_equal(d.answer.code, CA_UNAVAILABLE);
    done_deinit(&d);
}

static void test_bad_options(void **state) {
    static const char *const addresses[] = {"", "localhost", "localhost:0", "localhost:x", "a b:1", "::1:1", "*:1"};
    char why[CA_WHY_BYTES];
    void *other = NULL;
    struct ca_options o = near.o;
    for (size_t i = 0; i < array_size(addresses); i++) {
        o.istio.address = addresses[i];
        assert_int_equal(provider_istio.open(&o, &host, PKI_NOW, &other, why), 1);
    }
    o = near.o;
    o.istio.roots = near.token;
    assert_int_equal(provider_istio.open(&o, &host, PKI_NOW, &other, why), 1);
    assert_non_null(strstr(why, near.token));
    o.istio.roots = "/nowhere";
    assert_int_equal(provider_istio.open(&o, &host, PKI_NOW, &other, why), 1);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_good),
        TEST(test_wrong_answers),
        TEST(test_two_messages),
        TEST(test_codes),
        TEST(test_token),
        TEST(test_eight_at_once),
        TEST(test_hangs),
        TEST(test_server_away),
        TEST(test_cut),
        TEST(test_goaway),
        TEST(test_dead_connection),
        TEST(test_wrong_server),
        TEST(test_roots_change),
        TEST(test_server_certificate),
        TEST(test_close_answers),
        TEST(test_bad_options),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
