/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: sessions whose records go through our AES-GCM speak with those of wolfCrypt's, and it is really used, also after keys
 * changed; a record that was tampered with ends the session.
 * Method: a client and a server in memory, each by either path, counted; wolfCrypt's own calls with the device's number.
 * test_interop adds another TLS stack, with KeyUpdates, and the suite with 128 bits. */
#include <string.h>
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/base/rng.h>
#include <ringwall/tls/session.h>

#include "gcm/device.h"
#include "pki.h"
#include "unit.h"

enum { POOL_CHUNKS = 64, TEXT_MAX = 16 * 1024 };

struct end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
};
static struct {
    struct pki pki;
    struct pki_node node;
    struct tls_credential *credential;
    struct buf_pool *pool;
} f;

static int group_setup(void **state) {
    pki_init(&f.pki, "cluster.local", PKI_NOW);
    pki_node_init(&f.node, &f.pki, "node-1");
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    f.credential = pki_credential(&f.pki, &f.node, &id, PKI_FLAWLESS, NULL);
    f.pool = buf_pool_new(POOL_CHUNKS);
    return f.pool ? 0 : -1;
}

static int group_teardown(void **state) {
    tls_credential_unref(f.credential);
    buf_pool_free(f.pool);
    pki_node_deinit(&f.node);
    pki_deinit(&f.pki);
    return 0;
}

static void end_init(struct end *e, enum tls_role role, int path) {
    gcm_device_force((enum gcm_path)path);
    bufq_init(&e->in, f.pool);
    bufq_init(&e->out, f.pool);
    assert_int_equal(tls_context_new(f.credential, role, &e->context), 0);
    struct tls_session_options o = {.context = e->context, .trust = f.pki.trust, .in = &e->in, .out = &e->out};
    assert_int_equal(tls_session_new(&o, &e->session), 0);
    gcm_device_force(gcm_path_best());
}

static void end_deinit(struct end *e) {
    tls_session_free(e->session);
    tls_context_unref(e->context);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
}

static void shake(struct end *client, struct end *server) {
    int c = TLS_WANT_INPUT, s = TLS_WANT_INPUT;
    for (int i = 0; i < 10 && (c || s); i++) {
        c = tls_session_handshake(client->session, PKI_NOW);
        bufq_move(&server->in, &client->out);
        s = tls_session_handshake(server->session, PKI_NOW);
        bufq_move(&client->in, &server->out);
    }
    assert_int_equal(c, TLS_DONE);
    assert_int_equal(s, TLS_DONE);
}

/* One record, by which n_ours of the two ends were ours. */
static void send_one(struct end *from, struct end *to, size_t n, unsigned n_ours) {
    static uint8_t text[TEXT_MAX], opened[TEXT_MAX];
    size_t n_taken, n_opened;
    uint64_t before = gcm_device_records();
    rng_secret(text, n);
    assert_int_equal(tls_session_seal(from->session, text, n, &n_taken), TLS_DONE);
    bufq_move(&to->in, &from->out);
    assert_int_equal(tls_session_open(to->session, opened, sizeof(opened), &n_opened), TLS_DONE);
    assert_int_equal(n_opened, n);
    assert_memory_equal(opened, text, n);
    assert_int_equal(gcm_device_records() - before, n_ours);
}

static void spoil_one(struct end *from, struct end *to) {
    uint8_t text[100] = {1}, record[256], opened[100];
    size_t n_taken, n_opened = 0;
    assert_int_equal(tls_session_seal(from->session, text, sizeof(text), &n_taken), TLS_DONE);
    size_t n = bufq_read(&from->out, record, sizeof(record));
    record[n / 2] ^= 4;
    assert_int_equal(bufq_append(&to->in, record, n), 0);
    assert_int_equal(tls_session_open(to->session, opened, sizeof(opened), &n_opened), TLS_BROKEN);
    assert_int_equal(n_opened, 0);
}

static void test_sessions(void **state) {
    for (int client_path = 0; client_path <= (int)gcm_path_best(); client_path++)
        for (int server_path = 0; server_path <= (int)gcm_path_best(); server_path++) {
            struct end client, server;
            unsigned n_ours = (client_path == GCM_VAES) + (server_path == GCM_VAES);
            uint64_t before = gcm_device_records();
            end_init(&client, TLS_ROLE_CLIENT, client_path);
            end_init(&server, TLS_ROLE_SERVER, server_path);
            shake(&client, &server);
            /* The handshake's own records, under keys of its own: at least a certificate and a Finished each way. */
            assert_true(n_ours ? gcm_device_records() - before >= 4 : gcm_device_records() == before);
            for (size_t n = 1; n <= TEXT_MAX; n += n < 600 ? 1 : 1009) {
                send_one(&client, &server, n, n_ours);
                send_one(&server, &client, n, n_ours);
            }
            send_one(&client, &server, TEXT_MAX, n_ours);
            spoil_one(&client, &server);
            end_deinit(&client);
            end_deinit(&server);
        }
}

/* Two sessions of a thread in turns keep their keys apart. */
static void test_many(void **state) {
    struct end clients[3], servers[3];
    for (int i = 0; i < 3; i++) {
        end_init(&clients[i], TLS_ROLE_CLIENT, (int)gcm_path_best());
        end_init(&servers[i], TLS_ROLE_SERVER, (int)gcm_path_best());
        shake(&clients[i], &servers[i]);
    }
    for (size_t n = 1; n < 300; n++)
        send_one(&clients[n % 3], &servers[n % 3], n, gcm_path_best() == GCM_VAES ? 2 : 0);
    for (int i = 0; i < 3; i++) {
        end_deinit(&clients[i]);
        end_deinit(&servers[i]);
    }
}

/* Expanded keys count as the library's memory, and go with their session. */
static void test_memory(void **state) {
    size_t before = tls_memory_used();
    struct end client, server;
    end_init(&client, TLS_ROLE_CLIENT, (int)gcm_path_best());
    end_init(&server, TLS_ROLE_SERVER, (int)gcm_path_best());
    shake(&client, &server);
    assert_true(tls_memory_used() > before);
    end_deinit(&client);
    end_deinit(&server);
    assert_int_equal(tls_memory_used(), before);
}

static void enter_twice(void *session) {
    struct gcm_session *first = gcm_session_enter(session), *second = gcm_session_enter(session);
    gcm_session_leave(&first);
    gcm_session_leave(&second);
}

static void test_enter(void **state) {
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
    assert_non_null(ctx);
    WOLFSSL *ssl = wolfSSL_new(ctx);
    assert_non_null(ssl);
    gcm_device_force(GCM_WOLFCRYPT);
    assert_null(gcm_session_new(ssl));
    gcm_device_force(gcm_path_best());
    struct gcm_session *s = gcm_session_new(ssl);
    assert_int_equal(s != NULL, gcm_path_best() == GCM_VAES);
    if (s)
        assert_true(unit_dies(enter_twice, s));
    gcm_session_free(s);
    gcm_session_free(NULL);
    wolfSSL_free(ssl);
    wolfSSL_CTX_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_enter),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
