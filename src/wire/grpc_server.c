/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/grpc_server.c - the side of a gRPC connection that answers calls
 *
 * A call is the context of its HTTP/2 stream. It is opened (headers) by its first message and ends by trailers behind what is
 * queued, or by trailers alone. It is freed when the stream is gone; a call that a callback ends while its own bytes are being
 * read is freed after that (`busy`). What was refused before it became a call has no object.
 * A finished call whose peer does not read is reset after LINGER_NS, so that it cannot hold its memory for ever. */
#include <assert.h>
#include <errno.h>

#include <ringwall/base/check.h>

#include "grpc_frame.h"
#include "grpc_text.h"
#include "h2_memory.h"

static const uint64_t LINGER_NS = 30 * 1000000000ULL;
static_assert((int)GRPC_BROKEN == (int)H2_BROKEN && (int)GRPC_FLOOD == (int)H2_FLOOD, "verdicts are passed on as they are");
static_assert(GRPC_DRAIN_MIN >= H2_SEND_FRAME_MAX + 64, "what drain takes is enough for HTTP/2");

struct call {
    struct list all;
    int32_t id;
    struct grpc_reader reader;
    struct grpc_queue queue;
    uint64_t deadline_ns; /* 0: none */
    uint64_t lingers_ns;  /* finished: reset at this time; 0: not yet set */
    bool opened;          /* headers were sent */
    bool half_closed;     /* by the peer */
    bool finished;        /* nothing is told to the owner any more */
    bool busy, gone;      /* its bytes are being read; free it when they are */
    enum grpc_code code;  /* finished: of the trailers */
    size_t n_text;
    char *text; /* encoded grpc-message; NULL: none */
};

struct grpc_server {
    struct h2 *h;
    const struct grpc_server_callbacks *cb;
    void *owner;
    struct grpc_limits limits;
    struct grpc_server_stats stats;
    struct list calls;
    size_t n_calls;
    uint64_t now_ns;
};

static void call_free(struct grpc_server *s, struct call *c) {
    if (c->busy) {
        c->gone = true;
        return;
    }
    list_unlink(&c->all);
    s->n_calls--;
    grpc_reader_deinit(&c->reader);
    grpc_queue_deinit(&c->queue);
    h2_dealloc(c->text);
    h2_dealloc(c);
}

static size_t status_lines(enum grpc_code code, struct str text, char digits[4], struct h2_header lines[2]) {
    size_t n = code < 10 ? 1 : 2;

    digits[0] = (char)(code < 10 ? '0' + code : '1');
    digits[1] = (char)('0' + code % 10);
    lines[0] = (struct h2_header){STR("grpc-status"), {digits, n}};
    lines[1] = (struct h2_header){STR("grpc-message"), text};
    return text.n ? 2 : 1;
}

/* The whole answer in one header block. Verdicts of h2_refuse. */
static int answer_trailers_only(struct grpc_server *s, int32_t id, enum grpc_code code, struct str text) {
    char digits[4];
    struct h2_header lines[5] = {{STR(":status"), STR("200")},
                                 {STR("content-type"), STR("application/grpc")},
                                 {STR("grpc-accept-encoding"), STR("identity")}};
    size_t n = status_lines(code, text, digits, lines + 3);
    int r = h2_refuse(s->h, id, lines, 3 + n);

    if (r == 0)
        h2_stream_attach(s->h, id, NULL);
    else if (r < 0)
        h2_stream_reset(s->h, id, H2_INTERNAL_ERROR);
    return r;
}

static void refuse(struct grpc_server *s, int32_t id, enum grpc_code code, const char *message) {
    char wire[GRPC_TEXT_WIRE_MAX];
    struct str text = {wire, grpc_text_encode(str_of(message), wire)};

    ignore_result(answer_trailers_only(s, id, code, text)); /* gone, or reset */
}

static void refuse_http(struct grpc_server *s, int32_t id, struct str status) {
    struct h2_header lines[] = {{STR(":status"), status}};

    s->stats.refused_http++;
    if (h2_refuse(s->h, id, lines, 1) < 0)
        h2_stream_reset(s->h, id, H2_INTERNAL_ERROR);
}

static void call_finish(struct grpc_server *s, struct call *c, enum grpc_code code, struct str message) {
    char wire[GRPC_TEXT_WIRE_MAX];
    struct str text = {wire, grpc_text_encode(message, wire)};

    c->finished = true;
    c->code = code;
    if (!c->busy) /* else the owner is looking at what the reader holds */
        grpc_reader_deinit(&c->reader);
    if (!c->opened) {
        if (answer_trailers_only(s, c->id, code, text) == 0)
            call_free(s, c); /* HTTP/2 says nothing more about it; else its end comes still */
        return;
    }
    c->text = text.n ? h2_alloc(text.n) : NULL;
    if (c->text) { /* the code without its words is better than nothing */
        memcpy(c->text, text.at, text.n);
        c->n_text = text.n;
    }
    h2_stream_ready(s->h, c->id);
}

/* Ended by us: the owner hears of it. */
static void call_fail(struct grpc_server *s, struct call *c, enum grpc_code code, const char *message) {
    int32_t id = c->id;

    if (c->finished)
        return;
    call_finish(s, c, code, str_of(message));
    s->cb->cancelled(s->owner, id);
}

struct request {
    struct str method, path, content_type, te, encoding, timeout;
};

/* Returns whether a call may be made of it; otherwise it is answered. */
static bool request_in_order(struct grpc_server *s, int32_t id, const struct h2_header *headers, size_t n, struct request *q,
                             uint64_t *ret_timeout_ns) {
    *ret_timeout_ns = 0;
    if (!grpc_header_get(headers, n, STR(":method"), &q->method) || !str_is(q->method, STR("POST"))) {
        refuse_http(s, id, STR("405"));
    } else if (!grpc_header_get(headers, n, STR("content-type"), &q->content_type) || !grpc_content_type(q->content_type)) {
        refuse_http(s, id, STR("415"));
    } else if (!grpc_header_get(headers, n, STR("te"), &q->te) || !str_fold_is(q->te, STR("trailers")) ||
               !grpc_header_get(headers, n, STR(":path"), &q->path)) {
        refuse_http(s, id, STR("400"));
    } else if (grpc_header_count(headers, n, STR("grpc-encoding")) > 0 &&
               (!grpc_header_get(headers, n, STR("grpc-encoding"), &q->encoding) || !str_is(q->encoding, STR("identity")))) {
        s->stats.refused_encoding++;
        refuse(s, id, GRPC_UNIMPLEMENTED, "compressed messages are not taken: send grpc-encoding identity, or none");
    } else if (grpc_header_count(headers, n, STR("grpc-timeout")) > 0 &&
               (!grpc_header_get(headers, n, STR("grpc-timeout"), &q->timeout) ||
                !grpc_timeout_parse(q->timeout, ret_timeout_ns))) {
        s->stats.refused_timeout++;
        refuse(s, id, GRPC_INVALID_ARGUMENT, "grpc-timeout is malformed");
    } else if (q->path.n > GRPC_PATH_MAX) {
        s->stats.refused_path++;
        refuse(s, id, GRPC_UNIMPLEMENTED, "no such method");
    } else if (s->n_calls >= s->limits.streams_max) {
        s->stats.refused_streams++;
        refuse(s, id, GRPC_UNAVAILABLE, "too many calls on this connection");
    } else {
        return true;
    }
    return false;
}

static struct call *call_new(struct grpc_server *s, int32_t id, uint64_t timeout_ns) {
    struct call *c = h2_alloc(sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct call){.id = id, .deadline_ns = timeout_ns ? s->now_ns + timeout_ns : 0};
    grpc_reader_init(&c->reader, s->limits.message_max);
    grpc_queue_init(&c->queue);
    list_push_back(&s->calls, &c->all);
    s->n_calls++;
    h2_stream_attach(s->h, id, c);
    return c;
}

/* After callbacks that may have ended it; the call may be gone then. */
static void call_idle(struct grpc_server *s, struct call *c) {
    c->busy = false;
    if (c->gone) {
        call_free(s, c);
        return;
    }
    if (c->finished)
        grpc_reader_deinit(&c->reader);
}

static void on_request(void *owner, int32_t id, const struct h2_header *headers, size_t n, bool end_stream) {
    struct grpc_server *s = owner;
    struct grpc_metadata m[GRPC_METADATA_MAX];
    struct request q;
    struct call *c;
    uint64_t timeout_ns;
    size_t n_m;

    if (!request_in_order(s, id, headers, n, &q, &timeout_ns))
        return;
    if (!grpc_metadata_of(headers, n, m, &n_m)) {
        s->stats.refused_http++;
        refuse(s, id, GRPC_RESOURCE_EXHAUSTED, "too many header lines");
        return;
    }
    c = call_new(s, id, timeout_ns);
    if (!c) {
        refuse(s, id, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    s->stats.calls++;
    c->busy = true;
    s->cb->call(s->owner, id, q.path, m, n_m);
    if (end_stream && !c->finished) {
        c->half_closed = true;
        s->cb->half_closed(s->owner, id);
    }
    call_idle(s, c);
}

/* What ends a call that its bytes broke. */
static void call_bad_read(struct grpc_server *s, struct call *c, enum grpc_read verdict) {
    switch (verdict) {
    case GRPC_READ_TOO_LARGE:
        s->stats.refused_message++;
        call_fail(s, c, GRPC_RESOURCE_EXHAUSTED, "the message is larger than is taken here");
        break;
    case GRPC_READ_COMPRESSED:
        s->stats.refused_encoding++;
        call_fail(s, c, GRPC_INTERNAL, "the message is compressed, and grpc-encoding does not say how");
        break;
    case GRPC_READ_NO_MEMORY:
        call_fail(s, c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        break;
    default:
        s->stats.refused_framing++;
        call_fail(s, c, GRPC_INTERNAL, "the message's first byte is neither 0 nor 1");
        break;
    }
}

static void on_data(void *owner, int32_t id, void *stream, const uint8_t *bytes, size_t n) {
    struct grpc_server *s = owner;
    struct call *c = stream;
    const uint8_t *message = NULL;
    size_t n_message = 0;

    h2_stream_delivered(s->h, id, n); /* at once: what is kept is bounded by message_max */
    if (!c || c->finished)
        return;
    c->busy = true;
    while (!c->finished) {
        enum grpc_read verdict = grpc_reader_take(&c->reader, &bytes, &n, &message, &n_message);

        if (verdict == GRPC_READ_MORE)
            break;
        if (verdict == GRPC_READ_MESSAGE)
            s->cb->message(s->owner, id, message, n_message);
        else
            call_bad_read(s, c, verdict);
    }
    call_idle(s, c);
}

static void on_end(void *owner, int32_t id, void *stream) {
    struct grpc_server *s = owner;
    struct call *c = stream;

    if (!c || c->finished)
        return;
    c->half_closed = true;
    c->busy = true;
    if (grpc_reader_between(&c->reader)) {
        s->cb->half_closed(s->owner, id);
    } else {
        s->stats.refused_framing++;
        call_fail(s, c, GRPC_INTERNAL, "the last message is cut short");
    }
    call_idle(s, c);
}

static void on_closed(void *owner, int32_t id, void *stream, uint32_t error, bool orderly) {
    struct grpc_server *s = owner;
    struct call *c = stream;

    if (!c)
        return;
    if (!c->finished) {
        c->finished = true;
        s->stats.resets++;
        s->cb->cancelled(s->owner, id);
    }
    call_free(s, c);
}

static size_t on_pull(void *owner, int32_t id, void *stream, uint8_t *to, size_t cap, bool *ret_end) {
    struct grpc_server *s = owner;
    struct call *c = stream;
    struct h2_header lines[2];
    char digits[4];
    size_t n;

    if (!c)
        return 0;
    n = grpc_queue_pull(&c->queue, to, cap);
    if (c->finished && c->queue.n_bytes == 0) {
        h2_stream_trailers(s->h, id, lines, status_lines(c->code, (struct str){c->text, c->n_text}, digits, lines));
        *ret_end = true;
    }
    return n;
}

static void on_goaway(void *owner, uint32_t error, int32_t last_id) {}
static void on_ping_ack(void *owner, uint64_t payload) {}
static void on_settings(void *owner, uint32_t max_streams) {}

static const struct h2_callbacks callbacks = {.request = on_request,
                                              .data = on_data,
                                              .end = on_end,
                                              .closed = on_closed,
                                              .pull_bytes = on_pull,
                                              .goaway = on_goaway,
                                              .ping_ack = on_ping_ack,
                                              .settings = on_settings};

int grpc_server_new(const struct grpc_server_callbacks *cb, void *owner, const struct grpc_limits *limits,
                    struct grpc_server **ret) {
    cleanup(grpc_server_freep) struct grpc_server *s = h2_alloc(sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    *s = (struct grpc_server){.cb = cb, .owner = owner, .limits = *limits};
    list_init(&s->calls);
    r = h2_server_new(&callbacks, s, NULL, &s->h);
    if (r)
        return r;
    *ret = take_ptr(s);
    return 0;
}

struct grpc_server *grpc_server_free(struct grpc_server *s) {
    if (!s)
        return NULL;
    s->h = h2_free(s->h);
    list_for_each_safe (it, &s->calls) {
        struct call *c = list_entry(it, struct call, all);
        check(!c->busy);
        call_free(s, c);
    }
    h2_dealloc(s);
    return NULL;
}

int grpc_server_feed(struct grpc_server *s, const uint8_t *bytes, size_t n, uint64_t now_ns) {
    s->now_ns = now_ns;
    return h2_feed(s->h, bytes, n, now_ns);
}

size_t grpc_server_drain(struct grpc_server *s, uint8_t *to, size_t cap) { return h2_drain_bytes(s->h, to, cap); }
bool grpc_server_wants_send(const struct grpc_server *s) { return h2_wants_send(s->h); }
bool grpc_server_finished(const struct grpc_server *s) { return h2_finished(s->h); }
void grpc_server_goaway(struct grpc_server *s) { h2_goaway(s->h, H2_NO_ERROR); }
size_t grpc_server_calls(const struct grpc_server *s) { return s->n_calls; }
const struct grpc_server_stats *grpc_server_stats(const struct grpc_server *s) { return &s->stats; }

/* One call that is due. The owner's callback may end others: the caller looks from the start again. */
static bool end_one_overdue(struct grpc_server *s) {
    list_for_each (it, &s->calls) {
        struct call *c = list_entry(it, struct call, all);

        if (!c->finished && c->deadline_ns && s->now_ns >= c->deadline_ns) {
            s->stats.deadlines++;
            call_fail(s, c, GRPC_DEADLINE_EXCEEDED, "the deadline is over");
            return true;
        }
    }
    return false;
}

void grpc_server_tick(struct grpc_server *s, uint64_t now_ns) {
    s->now_ns = now_ns;
    while (end_one_overdue(s))
        ;
    list_for_each (it, &s->calls) {
        struct call *c = list_entry(it, struct call, all);

        if (c->finished && c->lingers_ns == 0) {
            c->lingers_ns = now_ns + LINGER_NS;
        } else if (c->finished && now_ns >= c->lingers_ns) {
            s->stats.stalled++;
            h2_stream_reset(s->h, c->id, H2_CANCEL);
            c->lingers_ns = UINT64_MAX;
        }
    }
}

static int open_call(struct grpc_server *s, struct call *c) {
    static const struct h2_header lines[] = {{STR(":status"), STR("200")},
                                             {STR("content-type"), STR("application/grpc")},
                                             {STR("grpc-accept-encoding"), STR("identity")}};
    int r = c->opened ? 0 : h2_accept(s->h, c->id, lines, array_size(lines), c);

    if (r == 0)
        c->opened = true;
    return r;
}

/* Verdicts of grpc_server_send, before anything is queued. */
static int send_allowed(struct grpc_server *s, int32_t id, size_t n, struct call **ret) {
    struct call *c = h2_stream_context(s->h, id);

    if (!c || c->finished)
        return 1;
    if (c->queue.n_bytes > 0 && c->queue.n_bytes + n + GRPC_PREFIX_BYTES > s->limits.sent_max)
        return 2;
    *ret = c;
    return open_call(s, c);
}

int grpc_server_send(struct grpc_server *s, int32_t id, const uint8_t *bytes, size_t n) {
    struct call *c;
    int r = send_allowed(s, id, n, &c);

    if (r == 0)
        r = grpc_queue_add(&c->queue, bytes, n);
    if (r == 0)
        h2_stream_ready(s->h, id);
    return r;
}

int grpc_server_send_secret(struct grpc_server *s, int32_t id, struct secret *message) {
    struct call *c;
    int r = send_allowed(s, id, message->n, &c);

    if (r == 0)
        r = grpc_queue_add_secret(&c->queue, message);
    if (r == 0)
        h2_stream_ready(s->h, id);
    return r;
}

size_t grpc_server_queued(const struct grpc_server *s, int32_t id) {
    const struct call *c = h2_stream_context(s->h, id);

    return c ? c->queue.n_bytes : 0;
}

void grpc_server_finish(struct grpc_server *s, int32_t id, enum grpc_code code, struct str message) {
    struct call *c = h2_stream_context(s->h, id);

    if (c && !c->finished)
        call_finish(s, c, code, message);
}
