/* SPDX-License-Identifier: GPL-3.0-or-later
 * provider_istio.c - another CA signs: a client of istio.v1.auth.IstioCertificateService
 *
 * Asks as ztunnel does (facts/identity.md 1.1, facts/ztunnel.md 6): the node's own token, read anew for each call, proves
 * who asks; ImpersonatedIdentity says for whom. The other CA is believed only so far: an answer must hold a chain of the
 * identity that was asked for, for the key that was asked for, valid now, up to a root of its own last element; only then
 * do the roots become ours, and they are told before the certificate is.
 * What waits longer than the asker would is answered UNAVAILABLE; pauses between an identity's tries are the asker's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/wire/istio_ca.h>

#include "istio_answer.h"
#include "provider.h"
#include "upstream.h"
#include "upstream_roots.h"

enum {
    QUEUE_MAX = 4096,
    WAIT_S = 9,    /* a job's whole time here: a second less than the identity thread waits for the CA */
    TRIES_MAX = 2, /* when a connection went away under it */
    TOKEN_BYTES_MAX = 16 * 1024,
    ROOTS_FILE_MAX = 1024 * 1024,
    ANSWER_BYTES_MAX = 1024 * 1024,
};

/* A job that we hold: in the queue, or under way with a call id. */
struct held {
    struct list link;
    struct provider_job *job;
    uint64_t due_ns;
    unsigned n_tries;
    int32_t call;
    bool has_answer; /* the message came; `finished` says whether it counts */
    struct provider_answer answer;
};

struct file_print {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct istio {
    const struct ca_options *o;
    struct provider_host host; /* a copy */
    char server[TLS_HOST_MAX + 2];
    struct upstream *upstream;
    struct file_print roots_file;
    char *roots_pem;
    size_t roots_pem_n;
    struct upstream_roots roots; /* of our trust domain */
    struct list queue, calls;    /* of struct held */
    size_t n_queue, n_calls;
    uint64_t looked_ns; /* at the roots file */
    int64_t now_s;
    int64_t last_success_s;
    uint64_t n_signed, n_failed;
    char last_error[PROVIDER_WHY_BYTES];
};

/* ------------------------------------------------ jobs */

static void settle(struct istio *i, struct held *h, struct provider_answer *a) {
    list_unlink(&h->link);
    if (a->code == CA_OK) {
        i->n_signed++;
        i->last_success_s = i->now_s;
        i->last_error[0] = '\0';
    } else {
        i->n_failed++;
        snprintf(i->last_error, sizeof(i->last_error), "%s", a->why);
    }
    i->host.answered(i->host.context, h->job, a);
    tls_der_list_deinit(&a->chain);
    if (a != &h->answer)
        tls_der_list_deinit(&h->answer.chain);
    free(h);
}

static void printf_like(4, 5) fail(struct istio *i, struct held *h, enum ca_code code, const char *fmt, ...) {
    struct provider_answer a = {.code = code};
    struct text t = TEXT_OVER(a.why);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    settle(i, h, &a);
}

static void fail_queue(struct istio *i, const char *why) {
    struct list *it;
    while ((it = list_first(&i->queue))) {
        i->n_queue--;
        fail(i, list_entry(it, struct held, link), CA_UNAVAILABLE, "the CA at %s: %s", i->o->istio.address, why);
    }
}

static struct held *find_call(struct istio *i, int32_t id) {
    list_for_each (it, &i->calls) {
        struct held *h = list_entry(it, struct held, link);
        if (h->call == id)
            return h;
    }
    return NULL;
}

/* ------------------------------------------------ answers */

static void answer_came(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct istio *i = owner;
    struct held *h = find_call(i, id);
    struct istio_answer m cleanup(istio_answer_deinit) = ISTIO_ANSWER_NULL;
    const char *why = "it answers twice";
    if (!h)
        return;
    struct provider_answer *a = &h->answer;
    tls_der_list_deinit(&a->chain); /* of a second message */
    *a = (struct provider_answer){.code = CA_OK};
    if (!h->has_answer)
        why = istio_answer_read(bytes, n, str_of(i->o->trust_domain), &h->job->identity, h->job->csr, i->now_s, &m);
    h->has_answer = true;
    int r = why ? 0 : upstream_roots_seen(&i->roots, &m.roots, m.not_after_s);
    if (r == 1)
        i->host.changed(i->host.context); /* roots before the first leaf under them */
    else if (r != 0)
        why = r > 0 ? "too many roots at once" : "no memory for its roots";
    if (why) {
        a->code = CA_INTERNAL;
        snprintf(a->why, sizeof(a->why), "the CA at %s: %s", i->o->istio.address, why);
    } else {
        a->chain = m.chain;
        m.chain = TLS_DER_LIST_NULL;
    }
}

/* What the asker learns: its own mistake, a refusal, or "try again". */
static enum ca_code code_of(enum grpc_code c) {
    switch (c) {
    case GRPC_INVALID_ARGUMENT:
        return CA_INVALID_ARGUMENT;
    case GRPC_PERMISSION_DENIED:
        return CA_PERMISSION_DENIED;
    case GRPC_RESOURCE_EXHAUSTED:
        return CA_RESOURCE_EXHAUSTED;
    case GRPC_UNAUTHENTICATED:
        return CA_UNAUTHENTICATED;
    case GRPC_INTERNAL:
    case GRPC_UNIMPLEMENTED:
    case GRPC_DATA_LOSS:
        return CA_INTERNAL;
    default:
        return CA_UNAVAILABLE;
    }
}

static void call_ended(void *owner, int32_t id, enum grpc_code code, struct str message) {
    struct istio *i = owner;
    struct held *h = find_call(i, id);
    if (!h)
        return;
    i->n_calls--;
    if (code != GRPC_OK)
        fail(i, h, code_of(code), "the CA at %s says %s: " STR_FMT, i->o->istio.address, grpc_code_text(code), STR_ARG(message));
    else if (!h->has_answer)
        fail(i, h, CA_INTERNAL, "the CA at %s: it ended the call without an answer", i->o->istio.address);
    else
        settle(i, h, &h->answer);
}

static void came_up(void *owner) {
    struct istio *i = owner;
    char text[PROVIDER_WHY_BYTES];
    snprintf(text, sizeof(text), "connected to the CA at %s (%s)", i->o->istio.address, upstream_peer(i->upstream));
    i->host.event(i->host.context, "upstream", text);
}

/* Calls that it carried go once more; those that waited hear why. */
static void went_down(void *owner, const char *why) {
    struct istio *i = owner;
    struct list *it;
    char text[PROVIDER_WHY_BYTES];
    snprintf(text, sizeof(text), "the CA at %s: %s", i->o->istio.address, why);
    if (strcmp(text, i->last_error) != 0)
        i->host.event(i->host.context, "upstream", text);
    fail_queue(i, why);
    while ((it = list_first(&i->calls))) {
        struct held *h = list_entry(it, struct held, link);
        i->n_calls--;
        if (h->n_tries >= TRIES_MAX) {
            fail(i, h, CA_UNAVAILABLE, "the CA at %s: %s", i->o->istio.address, why);
            continue;
        }
        tls_der_list_deinit(&h->answer.chain);
        h->has_answer = false;
        list_unlink(&h->link);
        list_push_back(&i->queue, &h->link);
        i->n_queue++;
    }
    snprintf(i->last_error, sizeof(i->last_error), "%s", text);
}

static const struct upstream_callbacks upstream_callbacks = {
    .up = came_up, .message = answer_came, .finished = call_ended, .down = went_down};

/* ------------------------------------------------ questions */

/* "Bearer TOKEN" on the heap. 0; 1 with why. */
static int read_token(const char *path, char **ret, size_t *ret_n, char why[PROVIDER_WHY_BYTES]) {
    char *file = NULL, *line = NULL;
    size_t n = 0;
    int r = io_read_file(path, TOKEN_BYTES_MAX, &file, &n);
    if (r < 0) {
        snprintf(why, PROVIDER_WHY_BYTES, "ca.token %s: cannot be read: %s", path, strerror(-r));
        return 1;
    }
    size_t n_all = n;
    while (n && (file[n - 1] == '\n' || file[n - 1] == '\r' || file[n - 1] == ' '))
        n--;
    bool good = n > 0;
    for (size_t k = 0; k < n; k++)
        good &= file[k] > 0x20 && file[k] < 0x7f;
    if (!good)
        snprintf(why, PROVIDER_WHY_BYTES, "ca.token %s: %s", path, n ? "is not one line of a token" : "is empty");
    else if (!(line = malloc(n + 7)))
        snprintf(why, PROVIDER_WHY_BYTES, "ca.token %s: no memory", path);
    else {
        memcpy(line, "Bearer ", 7);
        memcpy(line + 7, file, n);
        *ret = line;
        *ret_n = n + 7;
    }
    secret_wipe(file, n_all);
    free(file);
    return line ? 0 : 1;
}

static int ask_call(struct istio *i, struct held *h, const struct grpc_metadata *m, size_t n_m, uint64_t now_ns) {
    const struct istio_ca_request q = {
        .csr_pem = h->job->csr_pem, .validity_s = h->job->ttl_s, .impersonated = identity_uri(&h->job->identity)};
    cleanup_free uint8_t *bytes = NULL;
    size_t n = 0;
    int r = istio_ca_create_request(&q, &bytes, &n);
    if (r == 0)
        r = upstream_call(i->upstream, ISTIO_CA_PATH, m, n_m, bytes, n, h->due_ns - now_ns, now_ns, &h->call);
    return r;
}

/* Takes it off the queue. */
static void ask(struct istio *i, struct held *h, uint64_t now_ns) {
    char *token = NULL, why[PROVIDER_WHY_BYTES];
    size_t n = 0;
    i->n_queue--;
    list_unlink(&h->link);
    if (read_token(i->o->istio.token, &token, &n, why) != 0) {
        fail(i, h, CA_UNAVAILABLE, "%s", why);
        return;
    }
    const struct grpc_metadata m[] = {{STR("authorization"), {token, n}}, {STR("clusterid"), str_of(i->o->istio.cluster)}};
    int r = ask_call(i, h, m, array_size(m), now_ns);
    secret_wipe(token, n);
    free(token);
    if (r != 0) {
        fail(i, h, CA_UNAVAILABLE, "the CA at %s: the call could not be opened", i->o->istio.address);
        return;
    }
    h->n_tries++;
    list_push_back(&i->calls, &h->link);
    i->n_calls++;
}

static void ask_queue(struct istio *i, uint64_t now_ns) {
    struct list *it;
    while ((it = list_first(&i->queue)) && upstream_ready(i->upstream))
        ask(i, list_entry(it, struct held, link), now_ns);
    if (i->n_queue > 0)
        upstream_want(i->upstream);
}

/* The queue is in order of arrival, but for the few that come back from a lost connection. */
static void expire(struct istio *i, uint64_t now_ns) {
    list_for_each_safe (it, &i->queue) {
        struct held *h = list_entry(it, struct held, link);
        if (now_ns < h->due_ns)
            continue;
        i->n_queue--;
        fail(i, h, CA_UNAVAILABLE, "the CA at %s: %s", i->o->istio.address,
             i->last_error[0] ? i->last_error : "it is not connected yet");
    }
}

static int istio_sign(void *state, struct provider_job *job, int64_t now_s, struct provider_answer *ret) {
    struct istio *i = state;
    struct held *h = NULL;
    const char *why = NULL;
    i->now_s = now_s;
    if (job->kind == PROVIDER_SERVER)
        why = "ca.provider istio cannot give the door ca.listen a certificate: another CA signs, and it knows workloads only";
    else if (i->n_queue >= QUEUE_MAX)
        why = "too many requests wait for the other CA";
    else if (!(h = calloc(1, sizeof(*h))))
        why = "no memory";
    if (why) {
        *ret = (struct provider_answer){.code = h || job->kind == PROVIDER_LEAF ? CA_RESOURCE_EXHAUSTED : CA_FAILED_PRECONDITION};
        snprintf(ret->why, sizeof(ret->why), "%s", why);
        return PROVIDER_NOW;
    }
    h->job = job;
    h->due_ns = clock_mono_ns() + WAIT_S * NS_PER_S;
    list_push_back(&i->queue, &h->link);
    i->n_queue++;
    upstream_want(i->upstream);
    return PROVIDER_LATER;
}

/* ------------------------------------------------ the roots of the channel */

static bool print_file(const char *path, struct file_print *ret) {
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    *ret = (struct file_print){.dev = st.st_dev, .ino = st.st_ino, .size = st.st_size, .changed = st.st_mtim};
    return true;
}

static bool print_is(const struct file_print *a, const struct file_print *b) {
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* 0; 1 with why. */
static int read_roots(const char *path, char **ret_pem, size_t *ret_n, struct tls_bundle **ret, char why[CA_WHY_BYTES]) {
    struct tls_der_list list cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    cleanup_free char *pem = NULL;
    size_t n = 0;
    int r = io_read_file(path, ROOTS_FILE_MAX, &pem, &n);
    if (r < 0)
        snprintf(why, CA_WHY_BYTES, "ca.roots %s: cannot be read: %s", path, strerror(-r));
    else if (tls_certs_from_pem((struct str){pem, n}, TLS_BUNDLE_MAX, &list) != 0)
        snprintf(why, CA_WHY_BYTES, "ca.roots %s: holds no readable certificates in PEM form, or too many", path);
    else if (tls_bundle_new(STR("ca.roots"), &list, NULL, ret) != 0)
        snprintf(why, CA_WHY_BYTES, "ca.roots %s: holds a certificate that is no CA's", path);
    else {
        *ret_pem = take_ptr(pem);
        *ret_n = n;
        return 0;
    }
    return 1;
}

/* A mounted ConfigMap swaps a symlink, so the file behind the path is looked at, each second. */
static void look_at_roots(struct istio *i) {
    cleanup(tls_bundle_unrefp) struct tls_bundle *roots = NULL;
    cleanup_free char *pem = NULL;
    struct file_print now;
    char why[CA_WHY_BYTES];
    size_t n;
    if (!print_file(i->o->istio.roots, &now) || print_is(&now, &i->roots_file))
        return; /* gone is not changed: the last good ones stay */
    i->roots_file = now;
    if (read_roots(i->o->istio.roots, &pem, &n, &roots, why) != 0) {
        i->host.event(i->host.context, "reload-refused", why);
        return;
    }
    if (str_is((struct str){pem, n}, (struct str){i->roots_pem, i->roots_pem_n}))
        return;
    free(i->roots_pem);
    i->roots_pem = take_ptr(pem);
    i->roots_pem_n = n;
    upstream_trust(i->upstream, roots);
    snprintf(why, sizeof(why), "ca.roots %s: changed, the channel to the CA is made anew", i->o->istio.roots);
    i->host.event(i->host.context, "reload", why);
}

/* ------------------------------------------------ life */

static void *istio_close(void *state) {
    struct istio *i = state;
    struct list *it;
    if (!i)
        return NULL;
    i->upstream = upstream_free(i->upstream);
    while ((it = list_first(&i->calls))) {
        list_unlink(it);
        list_push_back(&i->queue, it);
        i->n_queue++;
    }
    fail_queue(i, "this node's CA thread ends");
    upstream_roots_deinit(&i->roots);
    free(i->roots_pem);
    free(i);
    return NULL;
}

/* "host:port" or "[v6]:port" */
static bool split_address(const char *address, char host[TLS_HOST_MAX + 2], uint16_t *ret_port) {
    const char *colon = strrchr(address, ':');
    struct str h = colon ? (struct str){address, (size_t)(colon - address)} : STR_NULL;
    uint64_t port;
    if (!colon || !str_u64(str_of(colon + 1), 65535, &port) || port == 0)
        return false;
    if (h.n > 2 && h.at[0] == '[' && h.at[h.n - 1] == ']')
        h = (struct str){h.at + 1, h.n - 2};
    else if (memchr(h.at, ':', h.n))
        return false;
    if (!tls_host_valid(h))
        return false;
    snprintf(host, TLS_HOST_MAX + 2, STR_FMT, STR_ARG(h));
    *ret_port = (uint16_t)port;
    return true;
}

static int istio_open(const struct ca_options *o, const struct provider_host *host, int64_t now_s, void **ret,
                      char why[CA_WHY_BYTES]) {
    cleanup(tls_bundle_unrefp) struct tls_bundle *roots = NULL;
    uint16_t port;
    struct istio *i = calloc(1, sizeof(*i));
    if (!i)
        return err_origin(-ENOMEM);
    i->o = o;
    i->host = *host;
    i->now_s = now_s;
    list_init(&i->queue);
    list_init(&i->calls);
    int r = 0;
    if (!split_address(o->istio.address, i->server, &port)) {
        snprintf(why, CA_WHY_BYTES, "ca.address: write HOST:PORT, as in istiod.istio-system.svc:15012");
        r = 1;
    }
    if (r == 0) {
        ignore_result(print_file(o->istio.roots, &i->roots_file)); /* reading tells what is wrong */
        r = read_roots(o->istio.roots, &i->roots_pem, &i->roots_pem_n, &roots, why);
    }
    if (r == 0) {
        struct upstream_options u = {.callbacks = &upstream_callbacks,
                                     .owner = i,
                                     .host = i->server,
                                     .port = port,
                                     .authority = str_of(o->istio.address),
                                     .roots = roots,
                                     .message_max = ANSWER_BYTES_MAX};
        r = upstream_new(&u, &i->upstream);
    }
    if (r != 0) {
        istio_close(i);
        return r < 0 ? err_trace(r) : 1;
    }
    *ret = i;
    return 0;
}

static void istio_trust(const void *state, const struct tls_der_list **ret_roots, const struct tls_der_list **ret_crls) {
    static const struct tls_der_list none = TLS_DER_LIST_NULL;
    const struct istio *i = state;
    *ret_roots = &i->roots.certs;
    *ret_crls = &none; /* the service has no word for them */
}

static unsigned istio_poll(const void *state, struct pollfd fds[PROVIDER_POLL_MAX]) {
    const struct istio *i = state;
    return upstream_poll(i->upstream, fds);
}

static int istio_turn(void *state, const struct pollfd *fds unused_arg, unsigned n unused_arg, uint64_t mono_ns, int64_t now_s) {
    struct istio *i = state;
    i->now_s = now_s;
    if (mono_ns >= i->looked_ns + NS_PER_S) {
        i->looked_ns = mono_ns;
        look_at_roots(i);
        if (upstream_roots_prune(&i->roots, now_s))
            i->host.changed(i->host.context);
    }
    ask_queue(i, mono_ns);
    int ms = upstream_turn(i->upstream, mono_ns, now_s);
    if (i->n_queue > 0 && upstream_ready(i->upstream)) { /* it has come up, or calls have ended */
        ask_queue(i, mono_ns);
        ms = min_of(ms, upstream_turn(i->upstream, mono_ns, now_s));
    }
    expire(i, mono_ns);
    return i->n_queue > 0 && upstream_ready(i->upstream) ? 0 : ms;
}

static void istio_report(const void *state, struct json_writer *w) {
    const struct istio *i = state;
    json_z(w, "address", i->o->istio.address);
    json_z(w, "channel", upstream_state(i->upstream));
    json_z(w, "peer", upstream_peer(i->upstream));
    json_u64(w, "queued", i->n_queue);
    json_u64(w, "inFlight", i->n_calls);
    json_u64(w, "signed", i->n_signed);
    json_u64(w, "failed", i->n_failed);
    json_u64(w, "roots", i->roots.certs.n);
    json_z(w, "error", i->last_error);
    if (i->last_success_s) {
        char text[RFC3339_BYTES];
        clock_rfc3339(i->last_success_s * (int64_t)NS_PER_S, text, false);
        json_z(w, "lastSuccess", text);
    }
}

const struct provider_ops provider_istio = {.name = "istio",
                                            .open = istio_open,
                                            .close = istio_close,
                                            .sign = istio_sign,
                                            .trust = istio_trust,
                                            .poll = istio_poll,
                                            .turn = istio_turn,
                                            .report = istio_report};
