/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: our sessions talk to another TLS stack as ztunnel's would, and refuse what is bad in words that it understands.
 * Method: `openssl s_client` and `s_server` over loopback, certificates in a directory, what they print is read back. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <time.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/session.h>

#include "gcm/gcm.h"
#include "pki.h"
#include "session_private.h"
#include "unit.h"

enum { WAIT_MS = 5000, ARGS_MAX = 48, TEXT_MAX = 64 * 1024 };
extern char **environ;

static struct {
    char dir[256];
    struct pki pki;
    struct pki_node node;
    struct identity self, peer;
    struct tls_credential *credential;
    struct buf_pool *pool;
} f;

static const char *path(const char *name) {
    static char paths[32][320];
    static unsigned i;
    char *at = paths[i++ % array_size(paths)];
    snprintf(at, sizeof(paths[0]), "%s/%s", f.dir, name);
    return at;
}

static void write_file(const char *name, const void *bytes, size_t n) {
    assert_int_equal(io_write_file(path(name), bytes, n, 0600), 0);
}

static void write_certs(const char *name, const struct tls_der_list *l) {
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    assert_int_equal(tls_certs_to_pem(l, &pem), 0);
    write_file(name, pem.at, pem.n);
}

/* name.pem (leaf), name-chain.pem (issuers), name-key.pem */
static void write_leaf(const char *name, enum pki_flaw flaw) {
    struct tls_key *key = NULL;
    struct tls_der_list chain;
    struct secret pem;
    char file[64];
    pki_leaf(&f.pki, &f.node, &f.peer, flaw, &key, &chain);
    snprintf(file, sizeof(file), "%s.pem", name);
    write_certs(file, &(struct tls_der_list){.items = chain.items, .n = 1});
    snprintf(file, sizeof(file), "%s-chain.pem", name);
    write_certs(file, &(struct tls_der_list){.items = chain.items + 1, .n = chain.n - 1});
    snprintf(file, sizeof(file), "%s-key.pem", name);
    assert_int_equal(tls_key_to_pem(key, &pem), 0);
    write_file(file, pem.at, pem.n);
    secret_deinit(&pem);
    tls_der_list_deinit(&chain);
    tls_key_free(key);
}

static int group_setup(void **state) {
    pki_init(&f.pki, "cluster.local", clock_wall_s());
    pki_node_init(&f.node, &f.pki, "node-1");
    f.self = pki_identity("cluster.local", "ns", "self");
    f.peer = pki_identity("cluster.local", "ns", "peer");
    f.credential = pki_credential(&f.pki, &f.node, &f.self, PKI_FLAWLESS, NULL);
    f.pool = buf_pool_new(64);
    unit_directory(f.dir);
    write_certs("root.pem", &(struct tls_der_list){.items = &f.pki.root, .n = 1});
    write_leaf("good", PKI_FLAWLESS);
    return 0;
}

static int group_teardown(void **state) {
    char command[300];
    snprintf(command, sizeof(command), "rm -rf '%s'", f.dir);
    assert_int_equal(system(command), 0);
    tls_credential_unref(f.credential);
    buf_pool_free(f.pool);
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    return 0;
}

/* ------------------------------------------------ the other stack: a child with pipes */

struct child {
    pid_t pid;
    int in, out; /* its stdin and stdout with stderr */
    char text[TEXT_MAX];
    size_t n;
};

static void child_start(struct child *c, const char *const *args) {
    int in[2], out[2];
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDERR_FILENO);
    assert_int_equal(posix_spawnp(&c->pid, "openssl", &actions, NULL, (char *const *)args, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    c->in = in[1];
    c->out = out[0];
    c->n = 0;
    c->text[0] = '\0';
}

static bool child_read(struct child *c) {
    ssize_t n = read(c->out, c->text + c->n, sizeof(c->text) - 1 - c->n);
    if (n <= 0)
        return false;
    c->n += (size_t)n;
    c->text[c->n] = '\0';
    return true;
}

static void child_expect(struct child *c, const char *text) {
    while (!strstr(c->text, text)) {
        struct pollfd p = {.fd = c->out, .events = POLLIN};
        if (poll(&p, 1, WAIT_MS) <= 0 || !child_read(c))
            fail_msg("openssl does not say '%s' but: %s", text, c->text);
    }
}

static void child_type(struct child *c, const char *text) { assert_int_equal(write(c->in, text, strlen(text)), strlen(text)); }

/* A command letter: in one read with other input it would swallow that, so its echo is awaited. */
static void child_command(struct child *c, const char *command, const char *echo) {
    c->n = 0;
    c->text[0] = '\0';
    child_type(c, command);
    child_expect(c, echo);
}

static void child_end(struct child *c) {
    close(c->in);
    while (child_read(c))
        ;
    close(c->out);
    int status;
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
}

/* ------------------------------------------------ our end on a socket */

struct end {
    const struct child *child;
    int fd;
    bool eof;
    struct bufq in, out;
    struct tls_context *context;
    struct tls_session *session;
};

static void end_init(struct end *e, const struct child *child, int fd, enum tls_role role) {
    *e = (struct end){.child = child, .fd = fd};
    bufq_init(&e->in, f.pool);
    bufq_init(&e->out, f.pool);
    assert_int_equal(tls_context_new(f.credential, role, &e->context), 0);
    struct tls_session_options o = {.context = e->context, .trust = f.pki.trust, .in = &e->in, .out = &e->out};
    assert_int_equal(tls_session_new(&o, &e->session), 0);
}

static void end_deinit(struct end *e) {
    tls_session_free(e->session);
    tls_context_unref(e->context);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
    close(e->fd);
}

static void end_flush(struct end *e) {
    const uint8_t *at;
    size_t n;
    while ((at = bufq_peek(&e->out, &n))) {
        ssize_t sent = send(e->fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0) { /* the peer is gone */
            bufq_deinit(&e->out);
            return;
        }
        bufq_consume(&e->out, (size_t)sent);
    }
}

static bool end_fill(struct end *e) {
    struct pollfd p = {.fd = e->fd, .events = POLLIN};
    size_t n_space;
    if (poll(&p, 1, WAIT_MS) != 1)
        fail_msg("the other stack sends nothing: %s", e->child ? e->child->text : "");
    uint8_t *at = bufq_reserve(&e->in, &n_space);
    ssize_t n = recv(e->fd, at, n_space, 0);
    bufq_commit(&e->in, n > 0 ? (size_t)n : 0);
    e->eof = n <= 0;
    return n > 0;
}

static int end_shake(struct end *e) {
    int r;
    while ((r = tls_session_handshake(e->session, f.pki.now_s)) == TLS_WANT_INPUT) {
        end_flush(e);
        if (!end_fill(e))
            return -1;
    }
    end_flush(e);
    return r;
}

static void end_say(struct end *e, const char *text) {
    size_t n;
    assert_int_equal(tls_session_seal(e->session, (const uint8_t *)text, strlen(text), &n), TLS_DONE);
    end_flush(e);
}

/* Reads until `text` came, or a verdict other than "more input". */
static int end_expect(struct end *e, const char *text) {
    char got[4096];
    size_t n_got = 0, n;
    for (;;) {
        int r = tls_session_open(e->session, (uint8_t *)got + n_got, sizeof(got) - 1 - n_got, &n);
        end_flush(e);
        if (r == TLS_DONE) {
            n_got += n;
            got[n_got] = '\0';
            if (text && strstr(got, text))
                return TLS_DONE;
        } else if (r != TLS_WANT_INPUT || !end_fill(e))
            return r;
    }
}

static int listen_loopback(char address[32]) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(sin);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &n), 0);
    snprintf(address, 32, "127.0.0.1:%d", ntohs(sin.sin_port));
    return fd;
}

static void add_args(const char **args, size_t *n, const char *const *more) {
    for (; more && *more; more++) {
        assert_true(*n < ARGS_MAX - 1);
        args[(*n)++] = *more;
    }
    args[*n] = NULL;
}

/* s_client with `options` against our server; the handshake's verdict. */
static int against_client(struct child *c, struct end *e, const char *const *options) {
    char address[32];
    const char *args[ARGS_MAX];
    size_t n = 0;
    int listener = listen_loopback(address);
    add_args(args, &n, (const char *const[]){"openssl", "s_client", "-connect", address, "-CAfile", path("root.pem"), NULL});
    add_args(args, &n, options);
    child_start(c, args);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, WAIT_MS) != 1)
        child_expect(c, "a connection");
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    close(listener);
    end_init(e, c, fd, TLS_ROLE_SERVER);
    return end_shake(e);
}

static int against_server(struct child *c, struct end *e, const char *const *options) {
    const char *args[ARGS_MAX];
    size_t n = 0;
    add_args(
        args, &n,
        (const char *const[]){"openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-CAfile", path("root.pem"), NULL});
    add_args(args, &n, options);
    child_start(c, args);
    child_expect(c, "ACCEPT 127.0.0.1:");
    while (!strchr(strstr(c->text, "ACCEPT 127.0.0.1:"), '\n'))
        assert_true(child_read(c));
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sin.sin_port = htons((uint16_t)atoi(strstr(c->text, "ACCEPT 127.0.0.1:") + 17));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    end_init(e, c, fd, TLS_ROLE_CLIENT);
    return end_shake(e);
}

#define GOOD "-cert", path("good.pem"), "-key", path("good-key.pem"), "-cert_chain", path("good-chain.pem")
#define CLIENT_GOOD GOOD, "-tls1_3", "-alpn", "h2", "-verify_return_error"
#define SERVER_GOOD GOOD, "-tls1_3", "-alpn", "h2", "-Verify", "3", "-verify_return_error"

static void test_client(void **state) {
    static struct child c;
    struct end e;
    assert_int_equal(against_client(&c, &e, (const char *const[]){CLIENT_GOOD, NULL}), TLS_DONE);
    assert_true(identity_is(&tls_session_peer(e.session)->identity, &f.peer));
    assert_string_equal(tls_session_suite(e.session), "TLS_AES_256_GCM_SHA384");
    child_expect(&c, "Verify return code: 0 (ok)");
    child_expect(&c, "ALPN protocol: h2");
    child_type(&c, "from openssl\n");
    assert_int_equal(end_expect(&e, "from openssl\n"), TLS_DONE);
    end_say(&e, "from ringwall\n");
    child_expect(&c, "from ringwall\n");
    /* K: a KeyUpdate that asks for ours in turn; then both go on with new keys. */
    for (int i = 0; i < 3; i++) {
        child_command(&c, "K\n", "KEYUPDATE");
        child_type(&c, i ? "again\n" : "after the update\n");
        assert_int_equal(end_expect(&e, i ? "again\n" : "after the update\n"), TLS_DONE);
        end_say(&e, i ? "me too\n" : "new keys here\n");
        child_expect(&c, i ? "me too\n" : "new keys here\n");
    }
    child_command(&c, "k\n", "KEYUPDATE");
    child_type(&c, "one way\n");
    assert_int_equal(end_expect(&e, "one way\n"), TLS_DONE);
    child_type(&c, "Q\n");
    assert_int_equal(end_expect(&e, NULL), TLS_CLOSED);
    end_deinit(&e);
    child_end(&c);
}

/* Our own KeyUpdates, in both suites, by both paths of the cipher; the other stack's among them. */
static void test_own_updates(void **state) {
    for (int variant = 0; variant < 4; variant++) {
        static struct child c;
        struct end e;
        char line[32];
        const char *suite = variant & 1 ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384";
        gcm_path_force(variant & 2 ? GCM_WOLFCRYPT : gcm_path_best());
        assert_int_equal(against_client(&c, &e, (const char *const[]){CLIENT_GOOD, "-ciphersuites", suite, NULL}), TLS_DONE);
        gcm_path_force(gcm_path_best());
        assert_string_equal(tls_session_suite(e.session), suite);
        session_limit(e.session, 2);
        for (int i = 0; i < 9; i++) {
            snprintf(line, sizeof(line), "line %d of us\n", i);
            end_say(&e, line);
            child_expect(&c, line);
            if (i == 4)
                child_command(&c, "K\n", "KEYUPDATE");
            child_type(&c, "and back\n");
            assert_int_equal(end_expect(&e, "and back\n"), TLS_DONE);
        }
        end_deinit(&e);
        child_end(&c);
    }
}

static void test_close_is_understood(void **state) {
    static struct child c;
    struct end e;
    assert_int_equal(against_client(&c, &e, (const char *const[]){CLIENT_GOOD, NULL}), TLS_DONE);
    end_say(&e, "bye\n");
    assert_int_equal(tls_session_close(e.session), TLS_DONE);
    end_flush(&e);
    child_expect(&c, "closed"); /* and not "unexpected eof" */
    assert_null(strstr(c.text, "unexpected eof"));
    end_deinit(&e);
    child_end(&c);
}

static void test_server(void **state) {
    static struct child c;
    struct end e;
    /* Two session tickets arrive after the handshake and have to be put up with. */
    assert_int_equal(against_server(&c, &e, (const char *const[]){SERVER_GOOD, "-num_tickets", "2", NULL}), TLS_DONE);
    assert_true(identity_is(&tls_session_peer(e.session)->identity, &f.peer));
    child_expect(&c, "ALPN protocols selected: h2");
    end_say(&e, "from ringwall\n");
    child_expect(&c, "from ringwall\n");
    child_type(&c, "from openssl\n");
    assert_int_equal(end_expect(&e, "from openssl\n"), TLS_DONE);
    child_type(&c, "K\n"); /* not echoed, but seen as a record */
    uint8_t byte;
    size_t n;
    assert_true(end_fill(&e));
    assert_int_equal(tls_session_open(e.session, &byte, 1, &n), TLS_WANT_INPUT);
    end_flush(&e);
    child_type(&c, "after the update\n");
    assert_int_equal(end_expect(&e, "after the update\n"), TLS_DONE);
    end_say(&e, "new keys here\n");
    child_expect(&c, "new keys here\n");
    assert_int_equal(tls_session_close(e.session), TLS_DONE);
    end_flush(&e);
    end_deinit(&e);
    child_end(&c);
}

/* A stock ztunnel offers X25519 first and P-256 after it: we ask again. */
static void test_groups(void **state) {
    static const struct {
        const char *groups;
        int verdict;
    } rows[] = {
        {"X25519:P-256", TLS_DONE}, {"P-384", TLS_DONE}, {"X25519:P-384", TLS_DONE}, {"X25519", TLS_BROKEN}, {"P-521", TLS_BROKEN}};
    for (size_t i = 0; i < array_size(rows); i++) {
        static struct child c;
        struct end e;
        assert_int_equal(against_client(&c, &e, (const char *const[]){CLIENT_GOOD, "-groups", rows[i].groups, NULL}),
                         rows[i].verdict);
        if (rows[i].verdict == TLS_DONE) {
            child_type(&c, "hello\n");
            assert_int_equal(end_expect(&e, "hello\n"), TLS_DONE);
        }
        end_deinit(&e);
        child_end(&c);
    }
    static struct child c;
    struct end e;
    assert_int_equal(against_server(&c, &e, (const char *const[]){SERVER_GOOD, "-groups", "P-384", NULL}), TLS_DONE);
    end_deinit(&e);
    child_end(&c);
}

/* HBONE has no server name; one that comes all the same means nothing. */
static void test_server_name_is_ignored(void **state) {
    static struct child c;
    struct end e;
    assert_int_equal(against_client(&c, &e, (const char *const[]){CLIENT_GOOD, "-servername", "example.org", NULL}), TLS_DONE);
    end_deinit(&e);
    child_end(&c);
}

static void test_suites(void **state) {
    static struct child c;
    struct end e;
    assert_int_equal(against_client(&c, &e, (const char *const[]){CLIENT_GOOD, "-ciphersuites", "TLS_AES_128_GCM_SHA256", NULL}),
                     TLS_DONE);
    assert_string_equal(tls_session_suite(e.session), "TLS_AES_128_GCM_SHA256");
    end_deinit(&e);
    child_end(&c);
    assert_int_equal(
        against_client(&c, &e, (const char *const[]){CLIENT_GOOD, "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", NULL}),
        TLS_BROKEN);
    end_deinit(&e);
    child_end(&c);
}

static void test_refused_clients(void **state) {
    const struct {
        const char *const *options;
        int verdict;
        const char *error, *openssl_says;
    } rows[] = {
        {(const char *const[]){"-tls1_3", "-alpn", "h2", NULL}, TLS_REFUSED, "no client certificate", "certificate required"},
        {(const char *const[]){GOOD, "-tls1_3", NULL}, TLS_BROKEN, "ALPN: no h2", "no application protocol"},
        {(const char *const[]){GOOD, "-tls1_3", "-alpn", "http/1.1", NULL}, TLS_BROKEN, "ALPN: no h2", "no application protocol"},
        {(const char *const[]){GOOD, "-tls1_2", "-alpn", "h2", NULL}, TLS_BROKEN, "peer does not speak TLS 1.3",
         "protocol version"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        static struct child c;
        struct end e;
        int r = against_client(&c, &e, rows[i].options);
        if (r != rows[i].verdict || strcmp(tls_session_error(e.session), rows[i].error))
            fail_msg("row %zu: %d, %s", i, r, tls_session_error(e.session));
        end_deinit(&e);
        child_expect(&c, rows[i].openssl_says);
        child_end(&c);
    }
}

static void test_refused_servers(void **state) {
    static struct child c;
    struct end e;
    assert_int_equal(against_server(&c, &e, (const char *const[]){GOOD, "-tls1_3", "-Verify", "3", NULL}), TLS_BROKEN);
    assert_string_equal(tls_session_error(e.session), "ALPN: no h2");
    end_deinit(&e);
    child_expect(&c, "no application protocol");
    child_end(&c);
    assert_int_equal(against_server(&c, &e, (const char *const[]){GOOD, "-tls1_2", "-alpn", "h2", "-Verify", "3", NULL}),
                     TLS_BROKEN);
    end_deinit(&e);
    child_end(&c);
}

/* Every flawed leaf from another stack, also those that our library would not load as its own. */
static void test_flawed_clients(void **state) {
    for (int flaw = PKI_FLAWLESS + 1; flaw < _PKI_FLAW_MAX; flaw++) {
        static struct child c;
        struct end e;
        write_leaf("bad", flaw);
        int r = against_client(&c, &e,
                               (const char *const[]){"-cert", path("bad.pem"), "-key", path("bad-key.pem"), "-cert_chain",
                                                     path("bad-chain.pem"), "-tls1_3", "-alpn", "h2", NULL});
        enum tls_trust_verdict v = tls_session_trust(e.session);
        if (r != TLS_REFUSED || (v != pki_flaw_verdict(flaw) && v != TLS_TRUST_UNREADABLE))
            fail_msg("%s: %d, %s", pki_flaw_name(flaw), r, tls_session_error(e.session));
        end_deinit(&e);
        child_expect(&c, flaw == PKI_EXPIRED || flaw == PKI_NOT_YET_VALID ? "alert certificate expired" : "alert bad certificate");
        child_end(&c);
    }
}

/* An RSA workload, as istio's agent makes by default: key and request by openssl, certificate by us. */
static void test_rsa_workload(void **state) {
    char command[1200];
    char *text = NULL;
    size_t n;
    struct tls_der csr_der = {0}, leaf = {0};
    struct tls_csr *csr = NULL;
    snprintf(command, sizeof(command),
             "openssl req -new -newkey rsa:2048 -nodes -subj / -addext 'subjectAltName=critical,URI:" STR_FMT
             "' -keyout %s -out %s 2>/dev/null",
             STR_ARG(identity_uri(&f.peer)), path("rsa-key.pem"), path("rsa.csr"));
    assert_int_equal(system(command), 0);
    assert_int_equal(io_read_file(path("rsa.csr"), 1 << 16, &text, &n), 0);
    assert_int_equal(tls_pem_to_der((struct str){text, n}, "CERTIFICATE REQUEST", &csr_der), 0);
    assert_int_equal(tls_csr_read(csr_der.at, csr_der.n, &f.peer, &csr), TLS_CSR_OK);
    struct tls_issuer issuer = {.key = f.node.key, .cert = f.node.cert.at, .cert_n = f.node.cert.n};
    assert_int_equal(tls_issue_leaf(&issuer, csr, &f.peer, f.pki.now_s, PKI_TTL, &leaf), 0);
    write_certs("rsa.pem", &(struct tls_der_list){.items = &leaf, .n = 1});
    free(text);
    free(csr_der.at);
    free(leaf.at);
    tls_csr_free(csr);

    static struct child c;
    struct end e;
    assert_int_equal(
        against_client(&c, &e,
                       (const char *const[]){"-cert", path("rsa.pem"), "-key", path("rsa-key.pem"), "-cert_chain",
                                             path("good-chain.pem"), "-tls1_3", "-alpn", "h2", "-verify_return_error", NULL}),
        TLS_DONE);
    assert_string_equal(tls_session_peer(e.session)->key_kind, "RSA-2048");
    end_deinit(&e);
    child_end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client),          cmocka_unit_test(test_close_is_understood),
        cmocka_unit_test(test_server),          cmocka_unit_test(test_groups),
        cmocka_unit_test(test_suites),          cmocka_unit_test(test_server_name_is_ignored),
        cmocka_unit_test(test_refused_clients), cmocka_unit_test(test_refused_servers),
        cmocka_unit_test(test_flawed_clients),  cmocka_unit_test(test_rsa_workload),
        cmocka_unit_test(test_own_updates),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
