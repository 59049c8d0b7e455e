/* SPDX-License-Identifier: GPL-3.0-or-later
 * outside_caller.c - a connection from outside, and its calls of CreateCertificate
 *
 * TLS, then gRPC, each a bytes machine; the pump carries between them and the socket. A call goes to the CA thread when its
 * one message is complete. Every stage has a deadline: a handshake, the first call, a call, silence, a peer that does not read.
 * The words that a caller gets are those of facts/identity.md 1.1 and say nothing of why. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/model/world.h>
#include <ringwall/wire/grpc.h>
#include <ringwall/wire/istio_ca.h>

#include "outside.h"
#include "pump.h"

enum { PLAIN_BYTES = 16 * 1024, CALLS_S_MAX = 1000 /* of one connection */ };
_Static_assert((int)PLAIN_BYTES >= (int)GRPC_DRAIN_MIN, "gRPC drains into it");

struct caller {
    struct list link, touched;
    struct outside *outside;
    struct pump pump;
    struct bufq in, out;
    struct tls_session *tls;
    struct grpc_server *grpc; /* NULL: still shaking hands */
    struct list calls;        /* of struct outside_call */
    struct endpoint peer;
    struct addr source; /* whom the bounds count */
    uint64_t began_ns, idle_ns, window_ns;
    unsigned n_in_window; /* calls in this second */
    uint64_t n_oversize;  /* messages refused for their size, as far as told */
    bool had_call, stopping, said_close, failed;
};

struct outside_call {
    struct list link;
    struct caller *caller;
    int32_t id;
    uint64_t began_ns;
    struct ask ask;
    bool has_message;
    char *token; /* what was shown; empty: nothing */
    size_t token_n;
    struct arena arena;
    struct istio_ca_request request; /* in the arena */
};

static struct doors *doors_of(const struct caller *c) { return c->outside->doors; }

static void touch(struct caller *c) {
    if (!list_linked(&c->touched))
        list_push_back(&c->outside->touched, &c->touched);
}

/* ------------------------------------------------ calls */

static const struct tls_peer *client_of(const struct caller *c) { return c->tls ? tls_session_peer(c->tls) : NULL; }

static void write_line(const struct caller *c, const struct outside_call *call, enum grpc_code code, struct str why) {
    struct log_field f[10];
    char address[ENDPOINT_TEXT];
    size_t n = 0;
    const struct tls_peer *client = client_of(c);
    f[n++] = KV_Z("door", "ca.listen");
    f[n++] = KV_BARE("src.addr", endpoint_format(&c->peer, address));
    if (client)
        f[n++] = KV_STR("src.identity", identity_uri(&client->identity));
    if (call) {
        f[n++] = KV_STR("identity", call->request.impersonated);
        f[n++] = KV_U64("duration_ms", (doors_now(doors_of(c)) - call->began_ns) / NS_PER_MS);
    }
    f[n++] = KV_Z("status", grpc_code_text(code));
    f[n++] = KV_STR("error", why);
    log_write(LOG_ACCESS, LOG_INFO, "doors", f, n, code == GRPC_OK ? "certificate issued" : "certificate refused");
}

/* What was refused is on the CA's record: a source that is refused too often is not heard any more for a while. */
static void count_end(const struct caller *c, enum grpc_code code, bool recorded) {
    struct doors *d = doors_of(c);
    if (recorded && code != GRPC_OK)
        ignore_result(outside_bucket_take(&outside_source_find(c->outside, &c->source)->refusals)); /* empty: on_call sees it */
    switch (code) {
    case GRPC_OK:
        counter_add(&d->stats->outside_issued, 1);
        break;
    case GRPC_UNAUTHENTICATED:
    case GRPC_PERMISSION_DENIED:
        counter_add(&d->stats->outside_refused_caller, 1);
        break;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_UNIMPLEMENTED:
        counter_add(&d->stats->outside_refused_request, 1);
        break;
    case GRPC_RESOURCE_EXHAUSTED:
        counter_add(&d->stats->outside_refused_bound, 1);
        break;
    default:
        counter_add(&d->stats->outside_failed, 1);
    }
}

static void call_free(struct outside_call *call) {
    struct caller *c = call->caller;
    ask_forget(&doors_of(c)->asks, &call->ask);
    list_unlink(&call->link);
    if (call->token)
        secret_wipe(call->token, call->token_n);
    free(call->token);
    arena_deinit(&call->arena);
    free(call);
    if (list_empty(&c->calls))
        c->idle_ns = doors_now(doors_of(c));
}

/* The caller gets `text`, our log gets `why`. */
static void call_end(struct outside_call *call, enum grpc_code code, struct str text, struct str why) {
    struct caller *c = call->caller;
    count_end(c, code, true);
    write_line(c, call, code, why);
    grpc_server_finish(c->grpc, call->id, code, text);
    call_free(call);
    touch(c);
}

static enum grpc_code code_for_caller(enum ca_code code, struct str *ret_text) {
    switch (code) {
    case CA_UNAUTHENTICATED:
        *ret_text = STR("request authenticate failure");
        return GRPC_UNAUTHENTICATED;
    case CA_PERMISSION_DENIED: /* believed, but not for this identity; Istio's clients know this code for it */
        *ret_text = STR("request impersonation authentication failure");
        return GRPC_UNAUTHENTICATED;
    case CA_INVALID_ARGUMENT:
        *ret_text = STR("CSR signing error (CSR_ERROR)");
        return GRPC_INVALID_ARGUMENT;
    case CA_RESOURCE_EXHAUSTED:
        *ret_text = STR("too many requests");
        return GRPC_RESOURCE_EXHAUSTED;
    case CA_UNAVAILABLE:
    case CA_DEADLINE_EXCEEDED:
        *ret_text = STR("CSR signing error (CA_NOT_READY)");
        return GRPC_UNAVAILABLE;
    default:
        *ret_text = STR("CSR signing error (CERT_GEN_ERROR)");
        return GRPC_INTERNAL;
    }
}

static int send_chain(struct outside_call *call, const struct ca_response *answer) {
    struct istio_ca_response m = {.n_chain = answer->n_chain};
    cleanup_free uint8_t *bytes = NULL;
    size_t n = 0;
    memcpy(m.chain, answer->chain, sizeof(m.chain[0]) * answer->n_chain);
    int r = istio_ca_create_response(&m, &bytes, &n);
    return r != 0 ? r : grpc_server_send(call->caller->grpc, call->id, bytes, n);
}

static void answer_came(struct ask *a, const struct ca_response *answer) {
    struct outside_call *call = container_of(a, struct outside_call, ask);
    struct str text = STR_NULL;
    if (!answer) {
        call_end(call, GRPC_UNAVAILABLE, STR("CSR signing error (CA_NOT_READY)"), STR("the CA does not answer"));
        return;
    }
    enum grpc_code code = answer->code == CA_OK ? GRPC_OK : code_for_caller(answer->code, &text);
    if (code == GRPC_OK && send_chain(call, answer) != 0)
        call_end(call, GRPC_INTERNAL, STR("CSR signing error (CERT_GEN_ERROR)"), STR("the answer could not be sent"));
    else
        call_end(call, code, text, answer->message);
}

/* A request that cannot even be passed on is on the CA's record all the same: as one without a CSR, which it refuses. */
static void record(struct outside_call *call) {
    struct doors *d = doors_of(call->caller);
    char address[ENDPOINT_TEXT];
    struct ca_request q = {.kind = CA_MESSAGE_SIGN,
                           .caller = CA_CALLER_TOKEN,
                           .caller_token = {call->token, call->token_n},
                           .caller_peer = endpoint_format(&call->caller->peer, address)};
    if (ask_send(&d->asks, &call->ask, &q, doors_now(d), answer_came) != 0)
        log_error("doors", "ca.listen: a refused request is not on the CA's record: it takes no more now");
    ask_forget(&d->asks, &call->ask); /* nobody waits for what it says */
}

/* The request is complete: the CA judges. */
static void call_ask(struct outside_call *call) {
    struct caller *c = call->caller;
    struct doors *d = doors_of(c);
    const struct tls_peer *client = client_of(c);
    char address[ENDPOINT_TEXT];
    bool by_certificate = client && call->token_n == 0;
    struct ca_request q = {.kind = CA_MESSAGE_SIGN,
                           .caller = by_certificate ? CA_CALLER_CERTIFICATE : CA_CALLER_TOKEN,
                           .caller_token = {call->token, call->token_n},
                           .caller_identity = by_certificate ? identity_uri(&client->identity) : STR_NULL,
                           .caller_peer = endpoint_format(&c->peer, address),
                           .identity = call->request.impersonated,
                           .csr_pem = call->request.csr_pem,
                           .validity_s = call->request.validity_s};
    int r = ask_send(&d->asks, &call->ask, &q, doors_now(d), answer_came);
    doors_wake(d);
    if (r > 0)
        call_end(call, GRPC_RESOURCE_EXHAUSTED, STR("too many requests"), STR("the CA takes no more requests now"));
    else if (r < 0)
        call_end(call, GRPC_UNAVAILABLE, STR("CSR signing error (CA_NOT_READY)"), STR("out of memory"));
}

/* ------------------------------------------------ gRPC's callbacks */

static struct outside_call *call_find(struct caller *c, int32_t id) {
    list_for_each (it, &c->calls) {
        struct outside_call *call = list_entry(it, struct outside_call, link);
        if (call->id == id)
            return call;
    }
    return NULL;
}

/* "Bearer TOKEN": case-sensitive, one blank (facts/identity.md 1.1). Anything else shows nothing. */
static bool take_token(struct outside_call *call, struct str header) {
    if (!str_has_prefix(header, STR("Bearer ")) || header.n - 7 > OUTSIDE_TOKEN_MAX)
        return true;
    call->token = malloc(header.n - 7 + 1);
    if (!call->token)
        return false;
    call->token_n = header.n - 7;
    memcpy(call->token, header.at + 7, call->token_n);
    return true;
}

static bool call_allowed(struct caller *c) {
    uint64_t now = doors_now(doors_of(c));
    if (now - c->window_ns >= NS_PER_S) {
        c->window_ns = now;
        c->n_in_window = 0;
    }
    return ++c->n_in_window <= CALLS_S_MAX;
}

static void on_call(void *owner, int32_t id, struct str path, const struct grpc_metadata *m, size_t n) {
    struct caller *c = owner;
    struct outside_call *call = NULL;
    c->had_call = true;
    counter_add(&doors_of(c)->stats->outside_calls, 1);
    bool heard = call_allowed(c) && outside_source_find(c->outside, &c->source)->refusals.tokens > 0;
    if (str_is(path, ISTIO_CA_PATH) && !c->stopping && heard)
        call = calloc(1, sizeof(*call));
    if (!call) {
        enum grpc_code code = c->stopping                   ? GRPC_UNAVAILABLE
                              : str_is(path, ISTIO_CA_PATH) ? GRPC_RESOURCE_EXHAUSTED
                                                            : GRPC_UNIMPLEMENTED;
        count_end(c, code, false);
        write_line(c, NULL, code,
                   code == GRPC_UNIMPLEMENTED ? STR("this method is not served here")
                   : heard                    ? STR("no room")
                                              : STR("too many calls, or too many that were refused"));
        grpc_server_finish(c->grpc, id, code, STR_NULL);
        return;
    }
    *call = (struct outside_call){.caller = c, .id = id, .began_ns = doors_now(doors_of(c)), .arena = ARENA_NULL};
    list_push_back(&c->calls, &call->link);
    if (!take_token(call, grpc_metadata_get(m, n, STR("authorization"))))
        call_end(call, GRPC_UNAVAILABLE, STR_NULL, STR("out of memory"));
}

static void on_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct outside_call *call = call_find(owner, id);
    if (!call || list_linked(&call->ask.link))
        return;
    int r = call->has_message ? PB_MALFORMED : istio_ca_consume_request(bytes, n, &call->arena, &call->request);
    call->has_message = true;
    if (r != PB_OK || call->request.cert_signer.n)
        record(call);
    if (r != PB_OK)
        call_end(call, GRPC_INVALID_ARGUMENT, STR("CSR signing error (CSR_ERROR)"), STR("the request cannot be read"));
    else if (call->request.cert_signer.n)
        call_end(call, GRPC_INVALID_ARGUMENT, STR("CSR signing error (CSR_ERROR)"), STR("this CA has no named signers"));
}

static void on_half_closed(void *owner, int32_t id) {
    struct outside_call *call = call_find(owner, id);
    if (!call)
        return;
    if (call->has_message)
        call_ask(call);
    else
        call_end(call, GRPC_INVALID_ARGUMENT, STR("CSR signing error (CSR_ERROR)"), STR("the request is missing"));
}

static void on_cancelled(void *owner, int32_t id) {
    struct caller *c = owner;
    struct outside_call *call = call_find(c, id);
    if (!call)
        return;
    uint64_t n_oversize = c->grpc ? grpc_server_stats(c->grpc)->refused_message : 0;
    if (n_oversize > c->n_oversize) {
        c->n_oversize = n_oversize;
        record(call);
        count_end(c, GRPC_RESOURCE_EXHAUSTED, true);
        write_line(c, call, GRPC_RESOURCE_EXHAUSTED, STR("the request is too large"));
    } else {
        count_end(c, GRPC_CANCELLED, false);
        write_line(c, call, GRPC_CANCELLED, STR("the caller took it back, or its time was over"));
    }
    call_free(call);
}

static const struct grpc_server_callbacks grpc_callbacks = {
    .call = on_call, .message = on_message, .half_closed = on_half_closed, .cancelled = on_cancelled};

/* ------------------------------------------------ bytes */

static bool covers(void *context, struct str node, const struct identity *identity) {
    const struct doors *d = context;
    const struct world *w = d->o.world ? publish_read(d->o.world) : NULL;
    return w && world_node_has_identity(w, node, identity);
}

/* 0: goes on; 1: our last words are in `out`. */
static int shake(struct caller *c) {
    static const struct grpc_limits limits = {
        .message_max = OUTSIDE_MESSAGE_MAX, .streams_max = OUTSIDE_STREAMS_MAX, .sent_max = DOORS_QUEUE_MAX};
    int r = tls_session_handshake(c->tls, clock_wall_s());
    if (r == TLS_WANT_INPUT || r == TLS_WANT_OUTPUT)
        return 0;
    if (r == TLS_DONE && grpc_server_new(&grpc_callbacks, c, &limits, &c->grpc) == 0) {
        c->idle_ns = doors_now(doors_of(c));
        return 0;
    }
    char address[ENDPOINT_TEXT];
    static struct log_limit limit;
    counter_add(&doors_of(c)->stats->outside_handshakes_failed, 1);
    if (log_limit_allows(&limit, 5))
        log_info("doors", "ca.listen: TLS with " STR_FMT ": %s", STR_ARG(endpoint_format(&c->peer, address)),
                 r == TLS_DONE ? "out of memory" : tls_session_error(c->tls));
    c->failed = true;
    return 1;
}

static int understand(struct caller *c, uint64_t now_ns) {
    uint8_t plain[PLAIN_BYTES];
    for (;;) {
        size_t n = 0;
        int r = tls_session_open(c->tls, plain, sizeof(plain), &n);
        if (r == TLS_WANT_INPUT || r == TLS_WANT_OUTPUT)
            return 0;
        if (r != TLS_DONE)
            return 1; /* close_notify, or broken */
        r = grpc_server_feed(c->grpc, plain, n, now_ns);
        if (r != 0)
            return r;
    }
}

static int machine_feed(void *owner, const uint8_t *bytes, size_t n, uint64_t now_ns) {
    struct caller *c = owner;
    if (c->in.n_bytes + n > OUTSIDE_IN_MAX || bufq_append(&c->in, bytes, n) != 0) {
        counter_add(&doors_of(c)->stats->outside_refused_bound, 1);
        return 1;
    }
    int r = c->grpc ? 0 : shake(c);
    return r != 0 || !c->grpc ? r : understand(c, now_ns);
}

static size_t machine_drain(void *owner, uint8_t *to, size_t cap) {
    struct caller *c = owner;
    uint8_t plain[PLAIN_BYTES];
    if (c->out.n_bytes == 0 && c->grpc && !c->said_close) {
        size_t n = grpc_server_drain(c->grpc, plain, sizeof(plain)), taken = 0;
        if (n > 0 && (tls_session_seal(c->tls, plain, n, &taken) != TLS_DONE || taken != n)) {
            counter_add(&doors_of(c)->stats->outside_refused_bound, 1); /* no buffer left: the peer sees the connection close */
            c->said_close = c->failed = true;
        } else if (n == 0 && grpc_server_finished(c->grpc)) {
            c->said_close = true;
            ignore_result(tls_session_close(c->tls)); /* no room: as above */
        }
    }
    return bufq_read(&c->out, to, cap);
}

static bool machine_finished(void *owner) {
    const struct caller *c = owner;
    return c->out.n_bytes == 0 && (c->failed || c->said_close || (c->stopping && !c->grpc));
}

static void machine_gone(void *owner) {
    struct caller *c = owner;
    struct list *it;
    while ((it = list_first(&c->calls)))
        on_cancelled(c, list_entry(it, struct outside_call, link)->id);
    list_unlink(&c->touched);
    list_unlink(&c->link);
    list_push_back(&c->outside->dead, &c->link);
}
static const struct pump_machine machine = {machine_feed, machine_drain, machine_finished, machine_gone};

/* ------------------------------------------------ who may connect */

static unsigned connections_of(const struct outside *o, const struct addr *a) {
    unsigned n = 0;
    list_for_each (it, &o->callers)
        n += addr_is(&list_entry(it, struct caller, link)->source, a);
    return n;
}

static int caller_open(struct caller *c, int fd_) {
    cleanup_fd int fd = fd_;
    struct outside *o = c->outside;
    struct tls_session_options t = {.context = o->context,
                                    .trust = o->doors->vault.trust,
                                    .in = &c->in,
                                    .out = &c->out,
                                    .covers = covers,
                                    .covers_context = o->doors};
    int r = tls_session_new(&t, &c->tls);
    return r != 0 ? r : pump_start(&c->pump, o->doors->ring, take_fd(fd), &machine, c);
}

static void caller_free(struct caller *c) {
    c->tls = tls_session_free(c->tls);
    c->grpc = grpc_server_free(c->grpc);
    bufq_deinit(&c->in);
    bufq_deinit(&c->out);
    free(c);
}

void caller_new(struct outside *o, int fd_) {
    cleanup_fd int fd = fd_;
    struct doors *d = o->doors;
    struct endpoint peer = ENDPOINT_NULL;
    if (!o->context || ring_socket_peer(d->ring, fd, &peer) < 0) {
        counter_add(&d->stats->outside_failed, 1);
        return;
    }
    struct addr source = outside_source_of(&peer.addr);
    if (!outside_bucket_take(&outside_source_find(o, &source)->handshakes)) {
        counter_add(&d->stats->outside_handshakes_limited, 1);
        return;
    }
    struct caller *c = NULL;
    if (o->n_callers < OUTSIDE_CONNECTIONS_MAX && connections_of(o, &source) < OUTSIDE_CONNECTIONS_OF_SOURCE_MAX)
        c = calloc(1, sizeof(*c));
    if (!c) {
        counter_add(&d->stats->outside_refused_bound, 1);
        return;
    }
    ring_socket_tune(d->ring, fd);
    *c = (struct caller){.outside = o, .peer = peer, .source = source, .began_ns = doors_now(d), .idle_ns = doors_now(d)};
    list_init(&c->calls);
    bufq_init(&c->in, o->pool);
    bufq_init(&c->out, o->pool);
    if (caller_open(c, take_fd(fd)) != 0) {
        counter_add(&d->stats->outside_refused_bound, 1);
        caller_free(c);
        return;
    }
    list_push_back(&o->callers, &c->link);
    counter_set(&d->stats->outside_connections, ++o->n_callers);
    outside_wake(o);
}

/* ------------------------------------------------ time and end */

static bool is_late(const struct caller *c, uint64_t now_ns) {
    if (pump_stalled_ns(&c->pump, now_ns) > DOORS_STALL_S * NS_PER_S)
        return true;
    if (!c->grpc)
        return now_ns > c->began_ns + OUTSIDE_SHAKE_S * NS_PER_S;
    return list_empty(&c->calls) && now_ns > c->idle_ns + (c->had_call ? OUTSIDE_IDLE_S : OUTSIDE_FIRST_CALL_S) * NS_PER_S;
}

void caller_tick(struct list *in_callers, uint64_t now_ns) {
    struct caller *c = list_entry(in_callers, struct caller, link);
    if (c->pump.closing)
        return;
    if (is_late(c, now_ns)) {
        counter_add(&doors_of(c)->stats->outside_refused_bound, 1);
        pump_close(&c->pump);
        return;
    }
    list_for_each_safe (it, &c->calls) {
        struct outside_call *call = list_entry(it, struct outside_call, link);
        if (now_ns > call->began_ns + OUTSIDE_CALL_S * NS_PER_S)
            call_end(call, GRPC_DEADLINE_EXCEEDED, STR_NULL, STR("the request was not complete in time"));
    }
    if (c->grpc) {
        c->pump.inside = true;
        grpc_server_tick(c->grpc, now_ns);
        c->pump.inside = false;
    }
    touch(c);
}

void callers_stop(struct outside *o) {
    list_for_each_safe (it, &o->callers) {
        struct caller *c = list_entry(it, struct caller, link);
        c->stopping = true;
        list_for_each_safe (at, &c->calls)
            call_end(list_entry(at, struct outside_call, link), GRPC_UNAVAILABLE, STR("the CA is stopping"),
                     STR("the daemon is stopping"));
        if (c->grpc)
            grpc_server_goaway(c->grpc);
        touch(c);
    }
}

void outside_cut(struct outside *o) {
    list_for_each_safe (it, &o->callers)
        pump_close(&list_entry(it, struct caller, link)->pump);
}

void outside_flush(struct outside *o) {
    struct list *it;
    while ((it = list_pop_front(&o->touched)))
        pump_flush(&list_entry(it, struct caller, touched)->pump);
    while ((it = list_pop_front(&o->dead))) {
        caller_free(list_entry(it, struct caller, link));
        counter_set(&o->doors->stats->outside_connections, --o->n_callers);
    }
}
