/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/bench_tls.c - full mutual handshakes a second (one core doing both ends), 16 KiB records a second and as
 * GB/s, one end's memory, and what one certificate costs. With an argument, handshakes alone. */
#include <ringwall/base/check.h>
#include <ringwall/tls/session.h>

#include "micro.h"
#include "pki.h"

struct end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
};
static struct end client, server;
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

static void shake(void) {
    int c = TLS_WANT_INPUT, s = TLS_WANT_INPUT;
    end_open(&client);
    end_open(&server);
    while (c || s) {
        c = tls_session_handshake(client.session, PKI_NOW);
        bufq_move(&server.in, &client.out);
        s = tls_session_handshake(server.session, PKI_NOW);
        bufq_move(&client.in, &server.out);
        check((c == TLS_DONE || c == TLS_WANT_INPUT) && (s == TLS_DONE || s == TLS_WANT_INPUT));
    }
}

static void one_handshake(void *unused) {
    shake();
    end_close(&client);
    end_close(&server);
}

static void one_record(void *n) {
    static uint8_t from[16384], to[16384];
    size_t n_taken, n_opened, n_record = *(size_t *)n;
    check(tls_session_seal(client.session, from, n_record, &n_taken) == TLS_DONE);
    bufq_move(&server.in, &client.out);
    check(tls_session_open(server.session, to, sizeof(to), &n_opened) == TLS_DONE && n_opened == n_record);
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
    check(tls_context_new(credential, TLS_ROLE_CLIENT, &client.context) == 0 &&
          tls_context_new(credential, TLS_ROLE_SERVER, &server.context) == 0);
    bufq_init(&client.in, pool);
    bufq_init(&client.out, pool);
    bufq_init(&server.in, pool);
    bufq_init(&server.out, pool);

    micro_measure("mutual handshake, both ends", one_handshake, NULL);
    if (argc > 1)
        return 0; /* all else ends with the process */
    size_t before = tls_memory_used();
    shake();
    printf("library memory of both ends, open\t%zu\n", tls_memory_used() - before);
    for (size_t i = 0; i < array_size(sizes); i++) {
        char name[64];
        snprintf(name, sizeof(name), "seal and open %zu bytes", sizes[i]);
        micro_measure(name, one_record, &sizes[i]);
    }
    end_close(&client);
    end_close(&server);

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
    tls_context_unref(client.context);
    tls_context_unref(server.context);
    tls_credential_unref(credential);
    buf_pool_free(pool);
    pki_node_deinit(&node);
    pki_deinit(&pki);
    return 0;
}
