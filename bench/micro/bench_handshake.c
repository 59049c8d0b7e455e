/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/bench_handshake.c - a full mutual handshake, both ends on one core, beside what it could cost at best
 *
 * Three rows take turns, so that a noisy machine disturbs all alike:
 * - "ceiling": nothing but the public-key work that TLS 1.3 asks of two ends on P-256: each makes a key, agrees, signs, verifies.
 * - "plain wolfSSL": the library alone with the same certificates, suites and groups; it verifies the peer's chain by itself, to a
 *   root of its own store. No identity is looked at, and nothing is remembered from one handshake to the next.
 * - "tls room": our sessions, as the daemon makes them.
 * A line is: name, microseconds of wall time, microseconds of CPU time, how many times the ceiling's CPU time it takes (median of
 * the turns). Then single steps of it, by CPU time. With the argument "rates": the three rows alone;
 * with "loop" (and how often): no figures, our sessions again and again for a profiler to look at. */
#include <time.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include <ringwall/base/check.h>
#include <ringwall/tls/session.h>

#include "micro.h"
#include "pki.h"

enum { TURNS = 101, TURN_NS = 2 * 1000 * 1000, HASH_BYTES = 32, LOOP_CALLS = 10000, PEERS = 512 };

static struct pki pki;
static struct pki_node node;
static struct tls_credential *credential;
static struct tls_der_list peers[PEERS];
static int64_t now_s; /* the library asks the machine's clock, so our certificates are of today */

/* ---- the ceiling ---- */

static WC_RNG rng;
static ecc_key own, peer;
static uint8_t hash[HASH_BYTES], signature[ECC_MAX_SIG_SIZE];
static word32 signature_n;

static void make_key(void *unused) {
    ecc_key fresh;
    check(wc_ecc_init(&fresh) == 0 && wc_ecc_make_key_ex(&rng, 32, &fresh, ECC_SECP256R1) == 0);
    wc_ecc_free(&fresh);
}

static void agree(void *unused) {
    uint8_t secret[32];
    word32 n = sizeof(secret);
    check(wc_ecc_shared_secret(&own, &peer, secret, &n) == 0);
}

static void sign(void *unused) {
    signature_n = sizeof(signature);
    check(wc_ecc_sign_hash(hash, sizeof(hash), signature, &signature_n, &rng, &own) == 0);
}

static void verify(void *unused) {
    int good = 0;
    check(wc_ecc_verify_hash(signature, signature_n, hash, sizeof(hash), &good, &own) == 0 && good == 1);
}

static void one_ceiling(void *unused) {
    for (int end = 0; end < 2; end++) {
        make_key(NULL);
        agree(NULL);
        sign(NULL);
        verify(NULL);
    }
}

/* ---- plain wolfSSL ---- */

struct pipe_end {
    uint8_t bytes[32 * 1024];
    size_t from, n;
};
static struct pipe_end to_server, to_client;
static WOLFSSL_CTX *plain_client, *plain_server;

static int plain_receive(WOLFSSL *ssl, char *to, int n, void *at) {
    struct pipe_end *p = at;
    size_t n_read = min_of((size_t)n, p->n - p->from);
    (void)ssl;
    if (n_read == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(to, p->bytes + p->from, n_read);
    p->from += n_read;
    if (p->from == p->n)
        p->from = p->n = 0;
    return (int)n_read;
}

static int plain_send(WOLFSSL *ssl, char *bytes, int n, void *at) {
    struct pipe_end *p = at;
    (void)ssl;
    check((size_t)n <= sizeof(p->bytes) - p->n);
    memcpy(p->bytes + p->n, bytes, (size_t)n);
    p->n += (size_t)n;
    return n;
}

static WOLFSSL_CTX *plain_context(WOLFSSL_METHOD *method) {
    int groups[] = {WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};
    const struct tls_der_list *chain = tls_credential_chain(credential);
    uint8_t all[TLS_CHAIN_MAX * 2048];
    size_t n = 0;
    for (size_t i = 0; i < chain->n; i++) {
        check(chain->items[i].n <= sizeof(all) - n);
        memcpy(all + n, chain->items[i].at, chain->items[i].n);
        n += chain->items[i].n;
    }
    struct secret key = SECRET_NULL;
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(method);
    check(ctx && tls_key_to_der(tls_credential_key(credential), &key) == 0);
    check(wolfSSL_CTX_use_certificate_chain_buffer_format(ctx, all, (long)n, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS &&
          wolfSSL_CTX_use_PrivateKey_buffer(ctx, key.at, (long)key.n, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS &&
          wolfSSL_CTX_load_verify_buffer(ctx, pki.root.at, (long)pki.root.n, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS &&
          wolfSSL_CTX_set_cipher_list(ctx, "TLS13-AES256-GCM-SHA384:TLS13-AES128-GCM-SHA256") == WOLFSSL_SUCCESS &&
          wolfSSL_CTX_set_groups(ctx, groups, 2) == WOLFSSL_SUCCESS);
    secret_deinit(&key);
    wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    wolfSSL_CTX_SetIORecv(ctx, plain_receive);
    wolfSSL_CTX_SetIOSend(ctx, plain_send);
    return ctx;
}

static WOLFSSL *plain_new(WOLFSSL_CTX *ctx, struct pipe_end *in, struct pipe_end *out) {
    static char alpn[] = "h2";
    WOLFSSL *ssl = wolfSSL_new(ctx);
    check(ssl && wolfSSL_UseALPN(ssl, alpn, sizeof(alpn) - 1, WOLFSSL_ALPN_FAILED_ON_MISMATCH) == WOLFSSL_SUCCESS);
    wolfSSL_SetIOReadCtx(ssl, in);
    wolfSSL_SetIOWriteCtx(ssl, out);
    return ssl;
}

static void plain_ends(WOLFSSL **client, WOLFSSL **server) {
    to_server.from = to_server.n = to_client.from = to_client.n = 0;
    *client = plain_new(plain_client, &to_client, &to_server);
    *server = plain_new(plain_server, &to_server, &to_client);
}

static void one_plain(void *unused) {
    WOLFSSL *client, *server;
    plain_ends(&client, &server);
    bool c = false, s = false;
    for (int i = 0; i < 8 && (!c || !s); i++) {
        c = wolfSSL_negotiate(client) == WOLFSSL_SUCCESS;
        s = wolfSSL_negotiate(server) == WOLFSSL_SUCCESS;
    }
    check(c && s);
    wolfSSL_free(client);
    wolfSSL_free(server);
}

static void plain_objects(void *unused) {
    WOLFSSL *client, *server;
    plain_ends(&client, &server);
    wolfSSL_free(client);
    wolfSSL_free(server);
}

/* ---- our sessions ---- */

static struct room_end {
    struct tls_context *context;
    struct tls_session *session;
    struct bufq in, out;
} room_client, room_server;

static void room_open(struct room_end *e) {
    struct tls_session_options o = {.context = e->context, .trust = pki.trust, .in = &e->in, .out = &e->out};
    check(tls_session_new(&o, &e->session) == 0);
}

static void room_close(struct room_end *e) {
    e->session = tls_session_free(e->session);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
}

static void one_room(void *unused) {
    int c = TLS_WANT_INPUT, s = TLS_WANT_INPUT;
    room_open(&room_client);
    room_open(&room_server);
    while (c || s) {
        c = tls_session_handshake(room_client.session, now_s);
        bufq_move(&room_server.in, &room_client.out);
        s = tls_session_handshake(room_server.session, now_s);
        bufq_move(&room_client.in, &room_server.out);
        check((c == TLS_DONE || c == TLS_WANT_INPUT) && (s == TLS_DONE || s == TLS_WANT_INPUT));
    }
    room_close(&room_client);
    room_close(&room_server);
}

static void room_objects(void *unused) {
    room_open(&room_client);
    room_open(&room_server);
    room_close(&room_client);
    room_close(&room_server);
}

static void one_walk(void *unused) {
    struct tls_peer seen;
    check(tls_chain_verify(pki.trust, tls_credential_chain(credential), TLS_ROLE_CLIENT, now_s, NULL, NULL, &seen) == TLS_TRUST_OK);
}

/* As one_walk, of another peer each time. */
static void next_walk(void *unused) {
    static size_t next;
    struct tls_peer seen;
    check(tls_chain_verify(pki.trust, &peers[next++ % PEERS], TLS_ROLE_CLIENT, now_s, NULL, NULL, &seen) == TLS_TRUST_OK);
}

static void make_peers(void) {
    for (int i = 0; i < PEERS; i++) {
        struct tls_key *key;
        pki_leaf(&pki, &node, tls_credential_identity(credential), PKI_FLAWLESS, &key, &peers[i]);
        tls_key_free(key);
    }
    for (int i = 0; i < PEERS; i++) /* each is known from before */
        next_walk(NULL);
}

static void one_rng(void *unused) {
    WC_RNG fresh;
    check(wc_InitRng(&fresh) == 0 && wc_FreeRng(&fresh) == 0);
}

/* ---- measuring ---- */

struct row {
    const char *name;
    void (*call)(void *);
    uint64_t n_calls;
    double wall[TURNS], cpu[TURNS], times[TURNS];
};

static double cpu_ns(void) {
    struct timespec t;
    check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double turn(struct row *r, double *wall) {
    double start = cpu_ns();
    *wall = micro_run(r->call, NULL, r->n_calls) / (double)r->n_calls;
    return (cpu_ns() - start) / (double)r->n_calls;
}

static void measure(struct row *rows, size_t n) {
    for (size_t k = 0; k < n; k++)
        for (rows[k].n_calls = 1; micro_run(rows[k].call, NULL, rows[k].n_calls) < TURN_NS;)
            rows[k].n_calls *= 2;
    for (int i = 0; i < TURNS; i++)
        for (size_t k = 0; k < n; k++) {
            rows[k].cpu[i] = turn(&rows[k], &rows[k].wall[i]);
            rows[k].times[i] = rows[k].cpu[i] / rows[0].cpu[i];
        }
}

int main(int argc, char **argv) {
    static struct row rows[] = {{"ceiling: keys, agreements and signatures alone", one_ceiling},
                                {"plain wolfSSL in memory", one_plain},
                                {"tls room in memory", one_room}};
    static struct row steps[] = {{"make a key", make_key},
                                 {"agree", agree},
                                 {"sign", sign},
                                 {"verify", verify},
                                 {"two objects of the library", plain_objects},
                                 {"two sessions of ours", room_objects},
                                 {"chain walk, seen before", one_walk},
                                 {"chain walk, 512 peers in turn", next_walk},
                                 {"random generator", one_rng}};
    now_s = time(NULL);
    pki_init(&pki, "cluster.local", now_s);
    pki_node_init(&node, &pki, "node-1");
    struct identity id = pki_identity("cluster.local", "ns", "sa");
    credential = pki_credential(&pki, &node, &id, PKI_FLAWLESS, NULL);
    struct buf_pool *pool = buf_pool_new(256);
    check(pool && tls_context_new(credential, TLS_ROLE_CLIENT, &room_client.context) == 0 &&
          tls_context_new(credential, TLS_ROLE_SERVER, &room_server.context) == 0);
    bufq_init(&room_client.in, pool);
    bufq_init(&room_client.out, pool);
    bufq_init(&room_server.in, pool);
    bufq_init(&room_server.out, pool);
    plain_client = plain_context(wolfTLSv1_3_client_method());
    plain_server = plain_context(wolfTLSv1_3_server_method());
    check(wc_InitRng(&rng) == 0 && wc_ecc_init(&own) == 0 && wc_ecc_init(&peer) == 0 && wc_ecc_make_key(&rng, 32, &own) == 0 &&
          wc_ecc_make_key(&rng, 32, &peer) == 0 && wc_ecc_set_rng(&own, &rng) == 0);
    sign(NULL);

    if (argc > 1 && !strcmp(argv[1], "loop"))
        return micro_run(one_room, NULL, argc > 2 ? strtoul(argv[2], NULL, 10) : LOOP_CALLS) < 0;
    measure(rows, array_size(rows));
    for (size_t k = 0; k < array_size(rows); k++)
        printf("%s\t%.1f\t%.1f\t%.3f\n", rows[k].name, micro_median(rows[k].wall, TURNS) / 1000,
               micro_median(rows[k].cpu, TURNS) / 1000, micro_median(rows[k].times, TURNS));
    if (argc > 1)
        return 0; /* all else ends with the process */
    make_peers();
    measure(steps, array_size(steps));
    for (size_t k = 0; k < array_size(steps); k++)
        printf("%s\t%.1f\t%.1f\n", steps[k].name, micro_median(steps[k].wall, TURNS) / 1000,
               micro_median(steps[k].cpu, TURNS) / 1000);
    return 0;
}
