/* SPDX-License-Identifier: GPL-3.0-or-later
 * shake.c - full mutual TLS handshakes against a server, as many as go
 *
 * Each of `conns` goes round: connect, shake hands by the tls room with a P-256 credential, say close_notify, wait until the
 * server has ended the connection too, begin anew. In TLS 1.3 a client is done before the server has judged the client's
 * certificate; so what counts is a handshake after which the server closed in an orderly way: one that refuses says so by an
 * alert, and that is a failure here. ALPN is h2, as the tls room wants it; a server that negotiates none cannot be measured. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/tls/session.h>

#include "load.h"

enum { FILE_MAX = 256 * 1024 };

struct shakes;
struct shake {
    struct shakes *all;
    struct ring_op connect, recv, send, close;
    int fd;
    struct tls_session *session;
    struct bufq in, out;
    uint64_t began_ns;
    bool shaken, over, good;
};

struct shakes {
    const struct load_shakes *o;
    struct ring *ring;
    struct buf_pool *pool;
    struct tls_context *context;
    struct tls_trust *trust;
    struct shake *items;
    uint64_t measure_ns, end_ns, done, failed, total;
    const char *why;
    struct hist latency;
};

static void begin(struct shake *s);

static void on_closed(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct shake *s = container_of(op, struct shake, close);
    struct shakes *a = s->all;
    (void)n, (void)bytes, (void)more;
    s->session = tls_session_free(s->session);
    bufq_deinit(&s->in);
    bufq_deinit(&s->out);
    s->fd = -1;
    uint64_t now = clock_mono_ns();
    if (now >= a->end_ns)
        return;
    a->total++;
    if (now >= a->measure_ns) {
        a->done += s->good;
        a->failed += !s->good;
    }
    begin(s);
}

static void end(struct shake *s, bool good, const char *why) {
    struct shakes *a = s->all;
    if (!s->over) {
        s->over = true;
        s->good = good;
        if (!good && !a->why)
            a->why = why;
        ring_cancel(a->ring, &s->recv);
        ring_cancel(a->ring, &s->send);
    }
    if (!ring_op_busy(&s->connect) && !ring_op_busy(&s->recv) && !ring_op_busy(&s->send) && !ring_op_busy(&s->close))
        ring_close(a->ring, &s->close, s->fd, on_closed);
}

static void flush(struct shake *s);

static void on_sent(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct shake *s = container_of(op, struct shake, send);
    (void)bytes, (void)more;
    if (s->over || n <= 0) {
        end(s, false, "sending failed");
        return;
    }
    bufq_consume(&s->out, (size_t)n);
    flush(s);
}

static void flush(struct shake *s) {
    if (s->over || ring_op_busy(&s->send) || s->out.n_bytes == 0)
        return;
    ring_send_queue(s->all->ring, &s->send, s->fd, &s->out, on_sent);
}

/* What the ciphertext that has come says. */
static void step(struct shake *s) {
    struct shakes *a = s->all;
    if (!s->shaken) {
        int v = tls_session_handshake(s->session, time(NULL));
        if (v == TLS_DONE) {
            s->shaken = true;
            uint64_t now = clock_mono_ns();
            if (s->began_ns >= a->measure_ns && now < a->end_ns)
                hist_add(&a->latency, now - s->began_ns);
            ignore_result(tls_session_close(s->session)); /* what could not be said shows as a failure below */
        } else if (v != TLS_WANT_INPUT) {
            end(s, false, v == TLS_REFUSED ? tls_trust_text(tls_session_trust(s->session)) : tls_session_error(s->session));
            return;
        }
    }
    flush(s);
    while (s->shaken) {
        uint8_t bytes[4096]; /* what the server says first, an HTTP/2 SETTINGS for one, does not matter */
        size_t n;
        int v = tls_session_open(s->session, bytes, sizeof(bytes), &n);
        if (v == TLS_WANT_INPUT)
            return;
        if (v != TLS_DONE) {
            end(s, v == TLS_CLOSED, tls_session_error(s->session));
            return;
        }
    }
}

static void on_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct shake *s = container_of(op, struct shake, recv);
    if (n <= 0 || s->over) {
        if (!more)
            end(s, n == 0 && s->shaken, n == 0 ? "closed before the handshake was over" : strerror(-n));
        return;
    }
    if (bufq_append(&s->in, bytes, (size_t)n) != 0) {
        end(s, false, "no buffers");
        return;
    }
    step(s);
    if (!more && !s->over)
        ring_recv(s->all->ring, &s->recv, s->fd, true, on_received);
    else if (!more)
        end(s, false, "");
}

static void on_connected(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct shake *s = container_of(op, struct shake, connect);
    struct tls_session_options o = {.context = s->all->context, .trust = s->all->trust, .in = &s->in, .out = &s->out};
    (void)bytes, (void)more;
    if (n < 0 || tls_session_new(&o, &s->session) != 0) {
        end(s, false, n < 0 ? strerror(-n) : "no memory for a session");
        return;
    }
    ring_recv(s->all->ring, &s->recv, s->fd, true, on_received);
    step(s);
}

static void begin(struct shake *s) {
    struct shakes *a = s->all;
    struct ring_socket_spec spec = {.netns_fd = -1, .v6 = !addr_is_v4(&a->o->to.addr)};
    bufq_init(&s->in, a->pool);
    bufq_init(&s->out, a->pool);
    s->shaken = s->over = s->good = false;
    s->began_ns = clock_mono_ns();
    if (ring_socket(a->ring, &spec, &s->fd) < 0) {
        fprintf(stderr, "no socket: %s\n", strerror(errno));
        exit(1);
    }
    ring_connect(a->ring, &s->connect, s->fd, &a->o->to, false, on_connected);
}

static struct str whole_file(const char *path) {
    char *text = malloc(FILE_MAX);
    FILE *f = fopen(path, "re");
    if (!text || !f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    size_t n = fread(text, 1, FILE_MAX, f);
    fclose(f);
    return (struct str){text, n};
}

/* Files into a context; 0, or 1 after a word on stderr. */
static int make_context(struct shakes *a) {
    struct tls_der_list roots = TLS_DER_LIST_NULL;
    struct tls_credential_spec spec = {.chain = TLS_DER_LIST_NULL, .generation = 1};
    struct tls_cert_facts facts;
    struct tls_bundle *bundle = NULL;
    struct tls_credential *credential = NULL;
    const char *why = "the chain, the key or the roots cannot be read";
    int r = tls_library_init();
    r = r ? r : tls_certs_from_pem(whole_file(a->o->roots), TLS_BUNDLE_MAX, &roots);
    r = r ? r : tls_certs_from_pem(whole_file(a->o->chain), TLS_CHAIN_MAX, &spec.chain);
    r = r ? r : tls_key_from_pem(whole_file(a->o->key), &spec.key);
    r = r ? r : tls_cert_read(spec.chain.items[0].at, spec.chain.items[0].n, &facts);
    r = r ? r : !facts.uri_is_identity;
    if (r == 0) {
        spec.identity = &facts.identity;
        r = tls_bundle_new(identity_td(&facts.identity), &roots, NULL, &bundle);
    }
    if (r == 0) {
        a->trust = spec.trust = tls_trust_new(&bundle, 1, 1);
        check(a->trust);
        r = tls_credential_new(&spec, time(NULL), &credential, &why);
    }
    r = r ? r : tls_context_new(credential, TLS_ROLE_CLIENT, &a->context);
    if (r != 0)
        fprintf(stderr, "no credential: %s\n", why);
    tls_credential_unref(credential);
    tls_bundle_unref(bundle);
    tls_der_list_deinit(&roots);
    return r != 0;
}

int load_shake(const struct load_shakes *o) {
    struct shakes *a = calloc(1, sizeof(*a));
    check(a && o->conns > 0 && o->conns <= LOAD_SHAKES_MAX);
    a->o = o;
    if (make_context(a) != 0)
        return 1;
    a->ring = load_ring();
    a->pool = buf_pool_new(8 * LOAD_SHAKES_MAX);
    a->items = calloc(o->conns, sizeof(*a->items));
    check(a->pool && a->items);
    uint64_t begin_ns = clock_mono_ns();
    a->measure_ns = begin_ns + (uint64_t)(o->warmup_s * 1e9);
    a->end_ns = a->measure_ns + (uint64_t)(o->seconds * 1e9);
    for (unsigned i = 0; i < o->conns; i++) {
        a->items[i].all = a;
        begin(&a->items[i]);
    }
    for (uint64_t now = begin_ns; now < a->end_ns; now = clock_mono_ns())
        if (ring_turn(a->ring, a->end_ns - now, NULL) < 0)
            return 1;
    printf("{\"seconds\":%.3f,\"done\":%llu,\"failed\":%llu,\"total\":%llu,\"why\":\"%s\",", o->seconds,
           (unsigned long long)a->done, (unsigned long long)a->failed, (unsigned long long)a->total, a->why ? a->why : "");
    load_print_latency(&a->latency);
    printf("}\n");
    return 0; /* connections end with the process */
}
