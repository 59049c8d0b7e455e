/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/grpc_client.c - the side of a gRPC connection that makes calls
 *
 * A call is the context of its HTTP/2 stream. Whatever ends it is told once, as a status: the peer's, or the one that gRPC's rules
 * make of an HTTP status, a reset or a lack of trailers. After that the stream is forgotten (reset, if it is still open). A call
 * that a callback ends while its own bytes are being read is freed after that (`busy`). */
#include <errno.h>

#include <ringwall/base/check.h>

#include "grpc_frame.h"
#include "grpc_text.h"
#include "h2_memory.h"

enum { CALL_LINES_MAX = GRPC_METADATA_MAX + 8 };

struct call {
    struct list all;
    int32_t id;
    struct grpc_reader reader;
    struct grpc_queue queue;
    uint64_t deadline_ns; /* 0: none */
    bool complete;        /* the request ends with what is queued */
    bool over;            /* told, or cancelled: nothing is told any more */
    bool closed;          /* HTTP/2 says nothing more about it */
    bool busy;            /* its bytes are being read: freed after that */
    bool has_status;      /* the peer's */
    enum grpc_code code;
    uint16_t n_text;
    char text[GRPC_TEXT_MAX];
};

struct grpc_client {
    struct h2 *h;
    const struct grpc_client_callbacks *cb;
    void *owner;
    struct grpc_limits limits;
    bool tls;
    char authority[GRPC_PATH_MAX];
    size_t n_authority;
    struct list calls;
    size_t n_calls;
};

static void call_free(struct grpc_client *c, struct call *k) {
    list_unlink(&k->all);
    c->n_calls--;
    grpc_reader_deinit(&k->reader);
    grpc_queue_deinit(&k->queue);
    h2_dealloc(k);
}

/* HTTP/2 forgets it; so do we, unless its bytes are being read. */
static void call_leave(struct grpc_client *c, struct call *k) {
    k->over = true;
    if (!k->closed)
        h2_stream_forget(c->h, k->id);
    if (!k->busy)
        call_free(c, k);
}

static void call_over(struct grpc_client *c, struct call *k, enum grpc_code code, struct str message) {
    bool busy = k->busy;

    if (k->over)
        return;
    k->over = true;
    k->busy = true; /* the owner may cancel it, which is nothing now */
    c->cb->finished(c->owner, k->id, code, message);
    k->busy = busy;
    call_leave(c, k);
}

static void call_over_z(struct grpc_client *c, struct call *k, enum grpc_code code, const char *why) {
    call_over(c, k, code, str_of(why));
}

static void take_status(struct call *k, const struct h2_header *headers, size_t n) {
    struct str status, message;

    if (!grpc_header_get(headers, n, STR("grpc-status"), &status))
        return;
    k->has_status = true;
    k->code = grpc_code_parse(status);
    if (grpc_header_get(headers, n, STR("grpc-message"), &message))
        k->n_text = (uint16_t)grpc_text_decode(message, k->text);
}

/* The peer said all it will. */
static void call_ended(struct grpc_client *c, struct call *k) {
    if (!k->has_status)
        call_over_z(c, k, GRPC_INTERNAL, "the answer ended without a status");
    else if (!grpc_reader_between(&k->reader) && k->code == GRPC_OK)
        call_over_z(c, k, GRPC_INTERNAL, "the last message is cut short");
    else
        call_over(c, k, k->code, (struct str){k->text, k->n_text});
}

static void on_response(void *owner, int32_t id, void *stream, const struct h2_header *headers, size_t n, bool end_stream) {
    struct grpc_client *c = owner;
    struct call *k = stream;
    struct str status, type, encoding;

    if (!k || k->over)
        return;
    take_status(k, headers, n);
    if (!grpc_header_get(headers, n, STR(":status"), &status) || !str_is(status, STR("200"))) {
        if (end_stream && k->has_status)
            call_ended(c, k);
        else
            call_over_z(c, k, grpc_code_of_http(status), "the peer answered with an HTTP error");
    } else if (!grpc_header_get(headers, n, STR("content-type"), &type) || !grpc_content_type(type)) {
        call_over_z(c, k, GRPC_UNKNOWN, "the answer is not gRPC by its content-type");
    } else if (grpc_header_count(headers, n, STR("grpc-encoding")) > 0 &&
               (!grpc_header_get(headers, n, STR("grpc-encoding"), &encoding) || !str_is(encoding, STR("identity")))) {
        call_over_z(c, k, GRPC_INTERNAL, "the answer is compressed, which was not asked for");
    } else if (end_stream) {
        call_ended(c, k);
    }
}

static void call_bad_read(struct grpc_client *c, struct call *k, enum grpc_read verdict) {
    if (verdict == GRPC_READ_TOO_LARGE)
        call_over_z(c, k, GRPC_RESOURCE_EXHAUSTED, "a message is larger than is taken here");
    else if (verdict == GRPC_READ_NO_MEMORY)
        call_over_z(c, k, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        call_over_z(c, k, GRPC_INTERNAL, "a message is compressed, or its first byte is neither 0 nor 1");
}

static void on_data(void *owner, int32_t id, void *stream, const uint8_t *bytes, size_t n) {
    struct grpc_client *c = owner;
    struct call *k = stream;
    const uint8_t *message = NULL;
    size_t n_message = 0;

    h2_stream_delivered(c->h, id, n); /* at once: what is kept is bounded by message_max */
    if (!k || k->over)
        return;
    k->busy = true;
    while (!k->over) {
        enum grpc_read verdict = grpc_reader_take(&k->reader, &bytes, &n, &message, &n_message);

        if (verdict == GRPC_READ_MORE)
            break;
        if (verdict == GRPC_READ_MESSAGE)
            c->cb->message(c->owner, id, message, n_message);
        else
            call_bad_read(c, k, verdict);
    }
    k->busy = false;
    if (k->over)
        call_free(c, k);
}

static void on_trailers(void *owner, int32_t id, void *stream, const struct h2_header *headers, size_t n) {
    struct call *k = stream;

    if (k && !k->over)
        take_status(k, headers, n);
}

static void on_end(void *owner, int32_t id, void *stream) {
    struct call *k = stream;

    if (k && !k->over)
        call_ended(owner, k);
}

static void on_closed(void *owner, int32_t id, void *stream, uint32_t error, bool orderly) {
    struct call *k = stream;

    if (!k)
        return;
    k->closed = true;
    call_over_z(owner, k, grpc_code_of_reset(error), h2_error_text(error));
}

static size_t on_pull(void *owner, int32_t id, void *stream, uint8_t *to, size_t cap, bool *ret_end) {
    struct call *k = stream;
    size_t n;

    if (!k)
        return 0;
    n = grpc_queue_pull(&k->queue, to, cap);
    *ret_end = k->complete && k->queue.n_bytes == 0;
    return n;
}

static void on_goaway(void *owner, uint32_t error, int32_t last_id) {
    struct grpc_client *c = owner;

    c->cb->goaway(c->owner);
}

static void on_ping_ack(void *owner, uint64_t payload) {
    struct grpc_client *c = owner;

    c->cb->pong(c->owner);
}

static void on_settings(void *owner, uint32_t max_streams) {}

static const struct h2_callbacks callbacks = {.response = on_response,
                                              .data = on_data,
                                              .end = on_end,
                                              .closed = on_closed,
                                              .pull_bytes = on_pull,
                                              .goaway = on_goaway,
                                              .ping_ack = on_ping_ack,
                                              .settings = on_settings,
                                              .trailers = on_trailers};

int grpc_client_new(const struct grpc_client_callbacks *cb, void *owner, const struct grpc_client_options *o,
                    struct grpc_client **ret) {
    cleanup(grpc_client_freep) struct grpc_client *c = h2_alloc(sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    *c = (struct grpc_client){.cb = cb, .owner = owner, .limits = o->limits, .tls = o->tls};
    list_init(&c->calls);
    if (o->authority.n > sizeof(c->authority))
        return -EINVAL;
    c->n_authority = o->authority.n;
    memcpy(c->authority, o->authority.at, o->authority.n);
    r = h2_client_new(&callbacks, c, NULL, &c->h);
    if (r)
        return r;
    *ret = take_ptr(c);
    return 0;
}

struct grpc_client *grpc_client_free(struct grpc_client *c) {
    if (!c)
        return NULL;
    c->h = h2_free(c->h);
    list_for_each_safe (it, &c->calls)
        call_free(c, list_entry(it, struct call, all));
    h2_dealloc(c);
    return NULL;
}

int grpc_client_feed(struct grpc_client *c, const uint8_t *bytes, size_t n, uint64_t now_ns) {
    int r = h2_feed(c->h, bytes, n, now_ns);

    if (r)
        grpc_client_lost(c, STR("the peer broke the rules of HTTP/2"));
    return r;
}

/* Of the calls that are not over, one whose deadline is at or before now_ns (any: UINT64_MAX). */
static struct call *call_overdue(struct grpc_client *c, uint64_t now_ns) {
    list_for_each (it, &c->calls) {
        struct call *k = list_entry(it, struct call, all);

        if (!k->over && (now_ns == UINT64_MAX || (k->deadline_ns && now_ns >= k->deadline_ns)))
            return k;
    }
    return NULL;
}

/* A callback may end or open others: the list is looked at from its start each time. */
void grpc_client_lost(struct grpc_client *c, struct str message) {
    struct call *k;

    while ((k = call_overdue(c, UINT64_MAX)))
        call_over(c, k, GRPC_UNAVAILABLE, message);
}

void grpc_client_tick(struct grpc_client *c, uint64_t now_ns) {
    struct call *k;

    while ((k = call_overdue(c, now_ns)))
        call_over_z(c, k, GRPC_DEADLINE_EXCEEDED, "the deadline is over");
}

size_t grpc_client_drain(struct grpc_client *c, uint8_t *to, size_t cap) { return h2_drain_bytes(c->h, to, cap); }
bool grpc_client_wants_send(const struct grpc_client *c) { return h2_wants_send(c->h); }
bool grpc_client_finished(const struct grpc_client *c) { return h2_finished(c->h); }
void grpc_client_ping(struct grpc_client *c) { h2_ping(c->h, 0); }

/* A value from a file may hold what must not stand in a header. */
static bool value_allowed(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.at[i] < 0x20 || (uint8_t)s.at[i] > 0x7e)
            return false;
    return true;
}

static int open_stream(struct grpc_client *c, struct str path, const struct grpc_metadata *m, size_t n, struct str timeout,
                       struct call *k) {
    struct h2_header lines[CALL_LINES_MAX] = {
        {STR(":method"), STR("POST")}, {STR(":scheme"), c->tls ? STR("https") : STR("http")},
        {STR(":path"), path},          {STR(":authority"), {c->authority, c->n_authority}},
        {STR("te"), STR("trailers")},  {STR("content-type"), STR("application/grpc")},
    };
    size_t n_lines = 6;

    if (timeout.n)
        lines[n_lines++] = (struct h2_header){STR("grpc-timeout"), timeout};
    for (size_t i = 0; i < n; i++)
        lines[n_lines++] = (struct h2_header){m[i].name, m[i].value};
    return h2_connect(c->h, lines, n_lines, k, &k->id);
}

int grpc_client_call(struct grpc_client *c, struct str path, const struct grpc_metadata *m, size_t n, uint64_t timeout_ns,
                     uint64_t now_ns, int32_t *ret_id) {
    char timeout[16];
    size_t n_timeout = timeout_ns ? grpc_timeout_create(timeout_ns, timeout) : 0;
    struct call *k;
    int r;

    check(n <= GRPC_METADATA_MAX);
    for (size_t i = 0; i < n; i++)
        if (!value_allowed(m[i].value))
            return -EINVAL;
    if (c->n_calls >= c->limits.streams_max)
        return 1;
    k = h2_alloc(sizeof(*k));
    if (!k)
        return -ENOMEM;
    *k = (struct call){.deadline_ns = timeout_ns ? now_ns + timeout_ns : 0};
    grpc_reader_init(&k->reader, c->limits.message_max);
    grpc_queue_init(&k->queue);
    list_push_back(&c->calls, &k->all);
    c->n_calls++;
    r = open_stream(c, path, m, n, (struct str){timeout, n_timeout}, k);
    if (r) {
        call_free(c, k);
        return r;
    }
    *ret_id = k->id;
    return 0;
}

static struct call *call_find(const struct grpc_client *c, int32_t id) {
    struct call *k = h2_stream_context(c->h, id);

    return k && !k->over ? k : NULL;
}

int grpc_client_send(struct grpc_client *c, int32_t id, const uint8_t *bytes, size_t n, bool last) {
    struct call *k = call_find(c, id);
    int r;

    if (!k || k->complete)
        return 1;
    if (k->queue.n_bytes > 0 && k->queue.n_bytes + n + GRPC_PREFIX_BYTES > c->limits.sent_max)
        return 2;
    r = grpc_queue_add(&k->queue, bytes, n);
    if (r)
        return r;
    k->complete = last;
    h2_stream_ready(c->h, id);
    return 0;
}

void grpc_client_half_close(struct grpc_client *c, int32_t id) {
    struct call *k = call_find(c, id);

    if (!k)
        return;
    k->complete = true;
    h2_stream_ready(c->h, id);
}

void grpc_client_cancel(struct grpc_client *c, int32_t id) {
    struct call *k = call_find(c, id);

    if (k)
        call_leave(c, k);
}
