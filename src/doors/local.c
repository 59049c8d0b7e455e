/* SPDX-License-Identifier: GPL-3.0-or-later
 * local.c - see local.h */
#include "local.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/wire/workload_api.h>

/* ---- the line of a call ---- */

static const char *line_text(const struct call *c, enum grpc_code code, bool opened) {
    if (opened)
        return "call opened";
    if (code == GRPC_OK || code == GRPC_CANCELLED)
        return "call complete";
    return c && c->n_sent > 0 ? "call ended" : "call refused";
}

static void write_line(const struct local *l, const struct method *m, const struct call *c, enum grpc_code code, const char *why,
                       bool opened) {
    struct log_field f[12];
    size_t n = 0;
    f[n++] = KV_Z("door", l->door->name);
    f[n++] = KV_Z("method", m ? m->name : "");
    f[n++] = KV_I64("pid", l->peer.pid);
    f[n++] = KV_U64("uid", l->peer.uid);
    if (c) {
        f[n++] = KV_STR("identity", identity_uri(&c->holder->identity));
        f[n++] = KV_U64("messages", c->n_sent);
        f[n++] = KV_U64("duration_ms", (doors_now(l->doors) - c->began_ns) / NS_PER_MS);
    }
    f[n++] = KV_Z("status", grpc_code_text(code));
    f[n++] = KV_Z("error", why);
    log_write(LOG_ACCESS, LOG_INFO, "doors", f, n, "%s", line_text(c, code, opened));
}

/* ---- calls ---- */

/* Its machine has something to say: at the end of the turn, when no machine runs and no list is walked. */
static void local_touch(struct local *l) {
    if (!list_linked(&l->touched))
        list_push_back(&l->doors->touched, &l->touched);
}

static struct call *call_find(struct local *l, int32_t id) {
    list_for_each (it, &l->calls) {
        struct call *c = list_entry(it, struct call, in_local);
        if (c->id == id)
            return c;
    }
    return NULL;
}

static void call_free(struct call *c) {
    struct doors *d = c->doors;
    if (c->method->end)
        c->method->end(c);
    ask_forget(&d->asks, &c->ask);
    list_unlink(&c->link);
    list_unlink(&c->in_local);
    list_unlink(&c->in_holder);
    counter_sub(&d->stats->streams, 1);
    if (list_empty(&c->local->calls))
        c->local->idle_ns = doors_now(d);
    vault_holder_settle(&d->vault, c->holder);
    free(c);
}

static void count_refusal(struct doors *d, enum grpc_code code) {
    if (code == GRPC_INVALID_ARGUMENT || code == GRPC_UNIMPLEMENTED)
        counter_add(&d->stats->refused_request, 1);
    else if (code == GRPC_PERMISSION_DENIED)
        counter_add(&d->stats->refused_caller, 1);
    else if (code == GRPC_RESOURCE_EXHAUSTED)
        counter_add(&d->stats->refused_bound, 1);
}

void call_finish(struct call *c, enum grpc_code code, const char *fmt, ...) {
    char bytes[GRPC_TEXT_MAX];
    struct text why = TEXT_OVER(bytes);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&why, fmt, ap);
    va_end(ap);
    struct local *l = c->local;
    count_refusal(c->doors, code);
    write_line(l, c->method, c, code, bytes, false);
    grpc_server_finish(l->grpc, c->id, code, text_str(&why));
    call_free(c);
    local_touch(l);
}

static bool call_sent(struct call *c, int r) {
    if (r == 0) {
        c->n_sent++;
        c->hold_ns = 0;
        counter_add(&c->doors->stats->responses, 1);
        if (c->n_sent == 1 && c->method->stream)
            write_line(c->local, c->method, c, GRPC_OK, "", true); /* it may stay open for months */
        local_touch(c->local);
        return true;
    }
    if (r > 0)
        call_finish(c, GRPC_RESOURCE_EXHAUSTED, "earlier messages were not read");
    else
        call_finish(c, GRPC_UNAVAILABLE, "out of memory");
    return false;
}

bool call_send_secret(struct call *c, struct secret *message) {
    return call_sent(c, grpc_server_send_secret(c->local->grpc, c->id, message));
}
bool call_send(struct call *c, const uint8_t *bytes, size_t n) {
    return call_sent(c, grpc_server_send(c->local->grpc, c->id, bytes, n));
}

/* Somebody waits: the identity thread may cut its back-off. */
static void want_credential(const struct call *c) {
    struct mail_credential_want *m = mail_credential_want_new(&c->holder->identity);
    if (m && mailbox_post(c->doors->o.identity, &m->mail) != 0)
        mail_free(&m->mail);
}

bool call_hold(struct call *c, const char *what) {
    uint64_t now = doors_now(c->doors);
    if (c->hold_ns == 0) {
        c->hold_ns = now;
        if (!c->holder->credential)
            want_credential(c);
    }
    if (now < c->hold_ns + DOORS_HOLD_S * NS_PER_S)
        return true;
    call_finish(c, GRPC_UNAVAILABLE, "%s is not there yet: %s", what, c->holder->why[0] ? c->holder->why : "try again");
    return false;
}

/* ---- who calls ---- */

static void local_set_pod(struct local *l, struct vault_pod *pod) {
    if (l->pod == pod)
        return;
    if (l->pod)
        l->pod->n_connections--;
    else
        l->doors->n_strangers--;
    if (pod)
        pod->n_connections++;
    else
        l->doors->n_strangers++;
    l->pod = pod;
}

void local_forget_pod(struct local *l) { local_set_pod(l, NULL); }

/* Which workload is the process of, now? GRPC_OK, or the refusal with its text. */
static enum grpc_code attest(struct local *l, struct vault_pod **ret, char why[CAPTURE_WHY_BYTES]) {
    struct doors *d = l->doors;
    uint32_t id = 0;
    why[0] = '\0';
    if (!d->o.capture && !d->o.caller) {
        snprintf(
            why, CAPTURE_WHY_BYTES,
            "this node's workloads cannot be told apart: capture.mode is none, and local programs are known by what is captured");
        return GRPC_PERMISSION_DENIED;
    }
    if (l->peer.pidfd < 0) {
        snprintf(why, CAPTURE_WHY_BYTES, "the caller is in no PID namespace that the daemon sees: run the daemon with hostPID");
        return GRPC_PERMISSION_DENIED;
    }
    int r = d->o.caller ? d->o.caller(d->o.caller_context, &l->peer, &id, why) : capture_caller(d->o.capture, &l->peer, &id, why);
    if (r < 0) {
        log_error("doors", "cannot find out who process %d is: %s", (int)l->peer.pid, strerror(-r));
        snprintf(why, CAPTURE_WHY_BYTES, "the caller could not be found out");
        return GRPC_UNAVAILABLE;
    }
    if (r != CAPTURE_CALLER_KNOWN)
        return GRPC_PERMISSION_DENIED;
    *ret = vault_pod(&d->vault, id);
    if (*ret)
        return GRPC_OK;
    snprintf(why, CAPTURE_WHY_BYTES, "the caller's workload is being enrolled");
    return GRPC_UNAVAILABLE;
}

/* ---- gRPC's callbacks ---- */

static const struct method *method_find(const struct door *door, struct str path) {
    for (size_t i = 0; door->sds && i < array_size(sds_methods); i++)
        if (str_is(sds_methods[i].path, path))
            return &sds_methods[i];
    for (size_t i = 0; door->workload_api && i < array_size(workload_api_methods); i++)
        if (str_is(workload_api_methods[i].path, path))
            return &workload_api_methods[i];
    return NULL;
}

static void refuse_call(struct local *l, int32_t id, const struct method *m, enum grpc_code code, const char *why) {
    static struct log_limit limit;
    count_refusal(l->doors, code);
    if (log_limit_allows(&limit, REFUSED_LINES_S_MAX))
        write_line(l, m, NULL, code, why, false);
    grpc_server_finish(l->grpc, id, code, str_of(why));
    local_touch(l);
}

static struct call *call_new(struct local *l, int32_t id, const struct method *m) {
    struct call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    struct doors *d = l->doors;
    *c = (struct call){
        .local = l, .doors = d, .id = id, .method = m, .holder = l->pod->holder, .pod_id = l->pod->id, .began_ns = doors_now(d)};
    list_push_back(&d->calls, &c->link);
    list_push_back(&l->calls, &c->in_local);
    list_push_back(&c->holder->calls, &c->in_holder);
    counter_add(&d->stats->streams, 1);
    return c;
}

static void on_call(void *owner, int32_t id, struct str path, const struct grpc_metadata *md, size_t n) {
    struct local *l = owner;
    struct doors *d = l->doors;
    char why[CAPTURE_WHY_BYTES];
    struct vault_pod *pod = NULL;
    const struct method *m = method_find(l->door, path);
    l->had_call = true;
    counter_add(&d->stats->calls, 1);
    if (!m) {
        refuse_call(l, id, NULL, GRPC_UNIMPLEMENTED, "this method is not served here");
        return;
    }
    /* A program that was led here by somebody else cannot set this header (facts/identity.md 4.3). */
    if (!m->sds && !str_is(grpc_metadata_get(md, n, WORKLOAD_API_HEADER), STR("true"))) {
        refuse_call(l, id, m, GRPC_INVALID_ARGUMENT, "the header workload.spiffe.io must be \"true\"");
        return;
    }
    if (d->stopping) {
        refuse_call(l, id, m, GRPC_UNAVAILABLE, "the daemon is stopping");
        return;
    }
    if (!l->pod && !rate_allows(&l->rate, doors_now(d), CALLS_OF_STRANGER_S_MAX)) {
        refuse_call(l, id, m, GRPC_RESOURCE_EXHAUSTED, "too many calls a second");
        return;
    }
    enum grpc_code code = attest(l, &pod, why);
    local_set_pod(l, code == GRPC_OK ? pod : NULL);
    if (code != GRPC_OK) {
        refuse_call(l, id, m, code, why);
        return;
    }
    if (l->pod->n_connections > DOORS_CONNECTIONS_OF_WORKLOAD_MAX || counter_get(&d->stats->streams) >= CALLS_MAX ||
        !rate_allows(&l->pod->calls, doors_now(d), CALLS_OF_WORKLOAD_S_MAX)) {
        refuse_call(l, id, m, GRPC_RESOURCE_EXHAUSTED, "too many connections of this workload, calls a second, or calls in all");
        return;
    }
    struct call *c = call_new(l, id, m);
    if (!c) {
        refuse_call(l, id, m, GRPC_UNAVAILABLE, "out of memory");
        return;
    }
    doors_wake(d);
    if (m->begin)
        m->begin(c);
}

/* A client that writes faster than anybody needs to is not answered any more. */
static bool message_allowed(struct call *c) {
    c->n_heard++;
    return rate_allows(&c->messages, doors_now(c->doors), DOORS_MESSAGES_S_MAX);
}

static void on_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct call *c = call_find(owner, id);
    if (!c)
        return;
    if (message_allowed(c))
        c->method->message(c, bytes, n);
    else
        call_finish(c, GRPC_RESOURCE_EXHAUSTED, "more than %d messages a second", DOORS_MESSAGES_S_MAX);
}

static void on_half_closed(void *owner, int32_t id) {
    struct call *c = call_find(owner, id);
    if (c && c->n_heard == 0)
        call_finish(c, GRPC_INVALID_ARGUMENT, "the request is missing");
    else if (c && c->method->both_ways)
        call_finish(c, GRPC_OK, "%s", ""); /* no answer can come any more: what is queued is the last */
}

static void on_cancelled(void *owner, int32_t id) {
    struct call *c = call_find(owner, id);
    if (!c)
        return;
    write_line(c->local, c->method, c, GRPC_CANCELLED, "", false);
    call_free(c);
}

static const struct grpc_server_callbacks grpc_callbacks = {
    .call = on_call, .message = on_message, .half_closed = on_half_closed, .cancelled = on_cancelled};

/* ---- the connection ---- */

static int machine_feed(void *owner, const uint8_t *bytes, size_t n, uint64_t now_ns) {
    struct local *l = owner;
    return grpc_server_feed(l->grpc, bytes, n, now_ns);
}
static size_t machine_drain(void *owner, uint8_t *to, size_t cap) {
    struct local *l = owner;
    return grpc_server_drain(l->grpc, to, cap);
}
static bool machine_finished(void *owner) {
    struct local *l = owner;
    return grpc_server_finished(l->grpc);
}
static void machine_gone(void *owner) {
    struct local *l = owner;
    struct list *it;
    while ((it = list_first(&l->calls)))
        on_cancelled(l, list_entry(it, struct call, in_local)->id);
    list_unlink(&l->link);
    list_unlink(&l->touched);
    list_push_back(&l->doors->dead, &l->link);
}
static const struct pump_machine local_machine = {machine_feed, machine_drain, machine_finished, machine_gone};
_Static_assert((int)PUMP_OUT_BYTES >= (int)GRPC_DRAIN_MIN, "a piece of output is as large as the machine wants");

int local_new(const struct door *door, int fd_) {
    cleanup_fd int fd = fd_;
    struct doors *d = door->doors;
    static const struct grpc_limits limits = {
        .message_max = DOORS_MESSAGE_MAX, .streams_max = DOORS_STREAMS_OF_CONNECTION_MAX, .sent_max = DOORS_QUEUE_MAX};
    struct local *l = calloc(1, sizeof(*l));
    if (!l)
        return err_origin(-ENOMEM);
    *l = (struct local){.doors = d, .door = door, .peer = CAPTURE_PEER_NULL, .idle_ns = doors_now(d)};
    list_init(&l->calls);
    int r = capture_peer_open(fd, &l->peer);
    if (r >= 0)
        r = grpc_server_new(&grpc_callbacks, l, &limits, &l->grpc);
    if (r == 0)
        r = pump_start(&l->pump, d->ring, take_fd(fd), &local_machine, l);
    if (r < 0) {
        grpc_server_free(l->grpc);
        capture_peer_close(&l->peer);
        free(l);
        return err_trace(r);
    }
    list_push_back(&d->locals, &l->link);
    d->n_locals++;
    d->n_strangers++;
    char why[CAPTURE_WHY_BYTES];
    struct vault_pod *pod = NULL;
    if (attest(l, &pod, why) == GRPC_OK)
        local_set_pod(l, pod);
    counter_set(&d->stats->connections, d->n_locals);
    bool full = l->pod ? l->pod->n_connections > DOORS_CONNECTIONS_OF_WORKLOAD_MAX : d->n_strangers > STRANGERS_MAX;
    if (full || d->n_locals > DOORS_CONNECTIONS_MAX) {
        counter_add(&d->stats->refused_bound, 1);
        pump_close(&l->pump);
    }
    doors_wake(d);
    return 0;
}

struct local *local_free(struct local *l) {
    local_set_pod(l, NULL);
    l->doors->n_strangers--;
    l->doors->n_locals--;
    counter_set(&l->doors->stats->connections, l->doors->n_locals);
    list_unlink(&l->link);
    grpc_server_free(l->grpc);
    capture_peer_close(&l->peer);
    free(l);
    return NULL;
}

void local_tick(struct local *l, uint64_t now_ns) {
    if (l->pump.closing)
        return;
    uint64_t allowed = l->had_call && l->pod ? DOORS_IDLE_S * NS_PER_S : DOORS_FIRST_CALL_S * NS_PER_S;
    if (pump_stalled_ns(&l->pump, now_ns) > DOORS_STALL_S * NS_PER_S || (list_empty(&l->calls) && now_ns > l->idle_ns + allowed)) {
        counter_add(&l->doors->stats->refused_bound, 1);
        pump_close(&l->pump);
        return;
    }
    l->pump.inside = true;
    grpc_server_tick(l->grpc, now_ns);
    l->pump.inside = false;
    local_touch(l);
}
