/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/bench_tls.c - full mutual handshakes a second (one core doing both ends), 16 KiB records a second and as
 * GB/s, one end's memory, and what one certificate costs. Sessions by wolfCrypt's AES-GCM and by our
 * own take turns, where the CPU can do ours. With an argument, handshakes alone. */
#include <ringwall/base/check.h>
#include <ringwall/tls/session.h>

#include "gcm/gcm.h"
#include "micro.h"
#include "pki.h"

struct end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
};
struct pair {
    struct end client, server;
    size_t n; /* bytes of a record */
};
static struct pair pairs[2]; /* by gcm_path */
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

static void one_record(void *at) {
    static uint8_t from[16384], to[16384];
    struct pair *p = at;
    size_t n_taken, n_opened;
    check(tls_session_seal(p->client.session, from, p->n, &n_taken) == TLS_DONE);
    bufq_move(&p->server.in, &p->client.out);
    check(tls_session_open(p->server.session, to, sizeof(to), &n_opened) == TLS_DONE && n_opened == p->n);
}

static void measure_both(const char *name, void (*call)(void *)) {
    if (gcm_path_best() != GCM_VAES) {
        micro_measure(name, call, &pairs[GCM_WOLFCRYPT]);
        return;
    }
    struct micro_versus v = micro_versus(call, &pairs[GCM_WOLFCRYPT], &pairs[GCM_VAES]);
    printf("%s\t%.1f\t%.1f with VAES, ratio %.2f\n", name, v.first_ns, v.second_ns, v.ratio);
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
    measure_both("mutual handshake, both ends", one_handshake);
    for (int path = 0; path <= (int)gcm_path_best(); path++) {
        size_t before = tls_memory_used();
        shake(&pairs[path]);
        printf("library memory of both ends, open, %s\t%zu\n", gcm_path_text((enum gcm_path)path), tls_memory_used() - before);
    }
    for (size_t i = 0; i < array_size(sizes); i++) {
        char name[64];
        snprintf(name, sizeof(name), "seal and open %zu bytes", sizes[i]);
        pairs[0].n = pairs[1].n = sizes[i];
        measure_both(name, one_record);
    }
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
    for (int path = 0; path < 2; path++) {
        tls_context_unref(pairs[path].client.context);
        tls_context_unref(pairs[path].server.context);
    }
    tls_credential_unref(credential);
    buf_pool_free(pool);
    pki_node_deinit(&node);
    pki_deinit(&pki);
    return 0;
}
