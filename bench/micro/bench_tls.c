/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/bench_tls.c - records of our sessions, by bytes and by queue, against the library's own (wolfSSL_write, wolfSSL_read)
 * in turns; full mutual handshakes a second (one core doing both ends), one end's memory, and what one certificate costs. By
 * wolfCrypt's AES-GCM and by our own, where the CPU can do ours. With an argument, handshakes alone. */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/base/check.h>

#include "gcm/gcm.h"
#include "micro.h"
#include "pki.h"
#include "session_private.h"

struct end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
};
struct pair {
    struct end client, server;
};
static struct pair pairs[GCM_PATHS];
static struct buf_pool *pool;
static struct pki pki;
static struct pki_node node;

static void end_open(struct end *e) {
    struct tls_session_options o = {.context = e->context, .trust = pki.trust, .in = &e->in, .out = &e->out};
    check(tls_session_new(&o, &e->session) == 0);
}

static void end_close(struct end *e) {
    e->session = tls_session_free(e->session);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
}

static void shake(struct pair *p) {
    int c = TLS_WANT_INPUT, s = TLS_WANT_INPUT;
    gcm_path_force((enum gcm_path)(p - pairs));
    end_open(&p->client);
    end_open(&p->server);
    while (c || s) {
        c = tls_session_handshake(p->client.session, PKI_NOW);
        bufq_move(&p->server.in, &p->client.out);
        s = tls_session_handshake(p->server.session, PKI_NOW);
        bufq_move(&p->client.in, &p->server.out);
        check((c == TLS_DONE || c == TLS_WANT_INPUT) && (s == TLS_DONE || s == TLS_WANT_INPUT));
    }
}

static void one_handshake(void *at) {
    struct pair *p = at;
    shake(p);
    end_close(&p->client);
    end_close(&p->server);
}

/* ---- records: the library's, and ours in two ways ---- */

struct plain {
    WOLFSSL_CTX *ctx;
    WOLFSSL *ssl;
    struct bufq in;
    struct plain *other;
};
static struct plain plain[2]; /* client, server */

static int plain_receive(WOLFSSL *ssl, char *to, int n, void *end) {
    (void)ssl;
    size_t n_read = bufq_read(&((struct plain *)end)->in, to, (size_t)n);
    return n_read ? (int)n_read : WOLFSSL_CBIO_ERR_WANT_READ;
}
static int plain_send(WOLFSSL *ssl, char *bytes, int n, void *end) {
    (void)ssl;
    check(bufq_append(&((struct plain *)end)->other->in, bytes, (size_t)n) == 0);
    return n;
}
static int plain_believes(int opinion, WOLFSSL_X509_STORE_CTX *store) { return opinion >= 0 && store; }

static void plain_open(const struct identity *id) {
    for (int i = 0; i < 2; i++) {
        struct plain *e = &plain[i];
        struct tls_key *key = NULL;
        struct tls_der_list chain;
        e->other = &plain[!i];
        e->ctx = wolfSSL_CTX_new(i ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method());
        pki_leaf(&pki, &node, id, PKI_FLAWLESS, &key, &chain);
        check(e->ctx && context_load(e->ctx, &chain, key) == 0);
        tls_der_list_deinit(&chain);
        tls_key_free(key);
        check(wolfSSL_CTX_set_cipher_list(e->ctx, "TLS13-AES256-GCM-SHA384") == WOLFSSL_SUCCESS);
        wolfSSL_CTX_set_verify(e->ctx, WOLFSSL_VERIFY_PEER, plain_believes);
        wolfSSL_CTX_SetIORecv(e->ctx, plain_receive);
        wolfSSL_CTX_SetIOSend(e->ctx, plain_send);
        e->ssl = wolfSSL_new(e->ctx);
        check(e->ssl);
        wolfSSL_SetIOReadCtx(e->ssl, e);
        wolfSSL_SetIOWriteCtx(e->ssl, e);
        bufq_init(&e->in, pool);
    }
    int client = 0, server = 0;
    for (int i = 0; i < 10 && (client != WOLFSSL_SUCCESS || server != WOLFSSL_SUCCESS); i++) {
        client = wolfSSL_negotiate(plain[0].ssl);
        server = wolfSSL_negotiate(plain[1].ssl);
    }
    check(client == WOLFSSL_SUCCESS && server == WOLFSSL_SUCCESS);
}

static void plain_close(void) {
    for (int i = 0; i < 2; i++) {
        wolfSSL_free(plain[i].ssl);
        wolfSSL_CTX_free(plain[i].ctx);
        bufq_deinit(&plain[i].in);
    }
}

enum way { BY_LIBRARY, BY_BYTES, BY_QUEUE };
struct job {
    enum way way;
    struct pair *pair;
    size_t n;
};

static void one_record(void *at) {
    static uint8_t from[16384], to[16384];
    struct job *j = at;
    size_t n_taken, n_opened;
    if (j->way == BY_LIBRARY) {
        check(wolfSSL_write(plain[0].ssl, from, (int)j->n) == (int)j->n);
        check(wolfSSL_read(plain[1].ssl, to, sizeof(to)) == (int)j->n);
        return;
    }
    check(tls_session_seal(j->pair->client.session, from, j->n, &n_taken) == TLS_DONE);
    bufq_move(&j->pair->server.in, &j->pair->client.out);
    check(tls_session_open(j->pair->server.session, to, sizeof(to), &n_opened) == TLS_DONE && n_opened == j->n);
}

/* From the chunk in which the bytes were received to one of which the next queue has a piece. */
static void one_record_by_queue(void *at) {
    struct job *j = at;
    if (j->way == BY_LIBRARY) {
        one_record(at);
        return;
    }
    struct bufq from, to;
    struct buf_chunk *received = buf_chunk_acquire(pool), *opened;
    const uint8_t *bytes;
    size_t n;
    bufq_init(&from, pool);
    bufq_init(&to, pool);
    check(bufq_append_shared(&from, received, buf_chunk_bytes(received), j->n) == 0);
    buf_chunk_unref(received);
    check(tls_session_seal_queue(j->pair->client.session, &from, SIZE_MAX) == TLS_DONE);
    bufq_move(&j->pair->server.in, &j->pair->client.out);
    check(tls_session_open_record(j->pair->server.session, &opened, &bytes, &n) == TLS_DONE && n == j->n);
    check(bufq_append_shared(&to, opened, bytes, n) == 0);
    bufq_deinit(&to);
}

static void measure_records(size_t n) {
    printf("seal and open %zu bytes\twolfSSL ns\tours ns\tratio\n", n);
    for (int path = 0; path <= (int)gcm_path_best(); path++)
        for (enum way way = BY_BYTES; way <= BY_QUEUE; way++) {
            struct job library = {BY_LIBRARY, NULL, n}, ours = {way, &pairs[path], n};
            struct micro_versus v = micro_versus(way == BY_QUEUE ? one_record_by_queue : one_record, &library, &ours);
            printf("  %s, by %s\t%.0f\t%.0f\t%.2f\n", gcm_path_text((enum gcm_path)path), way == BY_QUEUE ? "queue" : "bytes",
                   v.first_ns, v.second_ns, v.ratio);
        }
}

static void one_walk(void *chain) {
    struct tls_peer peer;
    check(tls_chain_verify(pki.trust, chain, TLS_ROLE_CLIENT, PKI_NOW, NULL, NULL, &peer) == TLS_TRUST_OK);
}

static void one_leaf(void *csr) {
    struct tls_issuer issuer = {.key = node.key, .cert = node.cert.at, .cert_n = node.cert.n};
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    struct tls_der leaf;
    check(tls_issue_leaf(&issuer, csr, &id, PKI_NOW, 3600, &leaf) == 0);
    free(leaf.at);
}

static void one_key(void *unused) {
    cleanup(tls_key_freep) struct tls_key *key = NULL;
    check(tls_key_generate(&key) == 0);
}

int main(int argc, char **argv) {
    static size_t sizes[] = {64, 1024, 16384};
    pki_init(&pki, "cluster.local", PKI_NOW);
    pki_node_init(&node, &pki, "node-1");
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    struct tls_credential *credential = pki_credential(&pki, &node, &id, PKI_FLAWLESS, NULL);
    pool = buf_pool_new(256);
    for (int path = 0; path <= (int)gcm_path_best(); path++) {
        struct pair *p = &pairs[path];
        check(tls_context_new(credential, TLS_ROLE_CLIENT, &p->client.context) == 0 &&
              tls_context_new(credential, TLS_ROLE_SERVER, &p->server.context) == 0);
        bufq_init(&p->client.in, pool);
        bufq_init(&p->client.out, pool);
        bufq_init(&p->server.in, pool);
        bufq_init(&p->server.out, pool);
    }

    if (argc > 1) { /* as the daemon does them */
        micro_measure("mutual handshake, both ends", one_handshake, &pairs[gcm_path_best()]);
        return 0; /* all else ends with the process */
    }
    micro_measure("mutual handshake, both ends", one_handshake, &pairs[gcm_path_best()]);
    for (int path = 0; path <= (int)gcm_path_best(); path++) {
        size_t before = tls_memory_used();
        shake(&pairs[path]);
        printf("library's memory of both ends, open, %s\t%zu\n", gcm_path_text((enum gcm_path)path), tls_memory_used() - before);
    }
    plain_open(&id);
    for (size_t i = 0; i < array_size(sizes); i++)
        measure_records(sizes[i]);
    plain_close();
    for (int path = 0; path <= (int)gcm_path_best(); path++) {
        end_close(&pairs[path].client);
        end_close(&pairs[path].server);
    }

    micro_measure("chain walk, signatures remembered", one_walk, (void *)(uintptr_t)tls_credential_chain(credential));
    struct tls_key *key = NULL;
    struct tls_der der;
    struct tls_csr *csr = NULL;
    check(tls_key_generate(&key) == 0 && tls_csr_make(key, &id, &der) == 0 && tls_csr_read(der.at, der.n, &id, &csr) == 0);
    micro_measure("issue a leaf", one_leaf, csr);
    micro_measure("make a key", one_key, NULL);

    free(der.at);
    tls_csr_free(csr);
    tls_key_free(key);
    for (int path = 0; path < GCM_PATHS; path++) {
        tls_context_unref(pairs[path].client.context);
        tls_context_unref(pairs[path].server.context);
    }
    tls_credential_unref(credential);
    buf_pool_free(pool);
    pki_node_deinit(&node);
    pki_deinit(&pki);
    return 0;
}
