/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/wire/h2_pair.h - a side of an HTTP/2 connection that records what it is told, two sides joined in memory, and
 * frames written by hand for peers that break rules */
#pragma once

#include <string.h>

#include <ringwall/wire/h2.h>

#include "unit.h"

enum { SIDE_FLOWS = 256, SIDE_BUFFER = 64 * 1024, SECOND = 1000000000 };

struct flow { /* one stream as its owner sees it */
    int32_t id;
    uint64_t to_send, sent, received;
    uint32_t sum_sent, sum_received; /* of the bytes, order matters */
    bool end_when_sent, end_sent;
    bool hold; /* received bytes are not credited */
    uint64_t held;
    unsigned n_headers, n_end, n_closed;
    bool headers_end;
    char status[4];
    uint32_t error;
    bool orderly;
};
struct side {
    struct h2 *h;
    struct h2_shared shared; /* pool NULL: this side is drained as bytes */
    struct bufq out;
    struct flow flows[SIDE_FLOWS]; /* by arrival */
    size_t n_flows;
    bool answer;          /* accept requests at once */
    bool starved;         /* its pool is empty: pull gives less than there is */
    bool refuse;          /* refuse them with 401 */
    uint64_t reply_bytes; /* an accepted stream sends so many, and ends */
    unsigned n_requests, n_goaway, n_ping_ack, n_settings, n_null;
    uint32_t goaway_error;
    int32_t goaway_last;
    uint64_t ping;
    uint32_t max_streams;
    char authority[64];
    int32_t order[4096]; /* ids in the order of the chunks that came */
    size_t n_order;
};

static inline struct flow *flow_of(struct side *s, int32_t id) {
    for (size_t i = 0; i < s->n_flows; i++)
        if (s->flows[i].id == id)
            return &s->flows[i];
    return NULL;
}

static inline struct flow *flow_new(struct side *s, int32_t id) {
    assert_true(s->n_flows < SIDE_FLOWS);
    s->flows[s->n_flows] = (struct flow){.id = id};
    return &s->flows[s->n_flows++];
}

static inline uint32_t sum_over(uint32_t sum, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ bytes[i]) * 16777619u;
    return sum;
}

static inline void side_request(void *owner, int32_t id, const struct h2_header *headers, size_t n, bool end_stream) {
    struct side *s = owner;
    struct flow *f = flow_new(s, id);
    struct h2_header ok[] = {{STR(":status"), STR("200")}}, no[] = {{STR(":status"), STR("401")}};
    s->n_requests++;
    f->n_headers++;
    f->headers_end = end_stream;
    for (size_t i = 0; i < n; i++)
        if (str_is(headers[i].name, STR(":authority")))
            snprintf(s->authority, sizeof(s->authority), "%.*s", STR_ARG(headers[i].value));
    if (s->refuse)
        assert_int_equal(h2_refuse(s->h, id, no, 1), 0);
    if (!s->answer)
        return;
    f->to_send = s->reply_bytes;
    f->end_when_sent = s->reply_bytes > 0;
    assert_int_equal(h2_accept(s->h, id, ok, 1, f), 0);
}

static inline void side_response(void *owner, int32_t id, void *stream, const struct h2_header *headers, size_t n,
                                 bool end_stream) {
    struct flow *f = stream;
    assert_ptr_equal(f, flow_of(owner, id));
    f->n_headers++;
    f->headers_end = end_stream;
    for (size_t i = 0; i < n; i++)
        if (str_is(headers[i].name, STR(":status")))
            snprintf(f->status, sizeof(f->status), "%.*s", STR_ARG(headers[i].value));
}

static inline void side_data(void *owner, int32_t id, void *stream, const uint8_t *bytes, size_t n) {
    struct side *s = owner;
    struct flow *f = flow_of(s, id);
    assert_non_null(f);
    s->n_null += !stream;
    f->received += n;
    f->sum_received = sum_over(f->sum_received, bytes, n);
    if (s->n_order < sizeof(s->order) / sizeof(s->order[0]))
        s->order[s->n_order++] = id;
    if (f->hold)
        f->held += n;
    else
        h2_stream_delivered(s->h, id, n);
}

static inline void side_end(void *owner, int32_t id, void *stream) { flow_of(owner, id)->n_end++; }

static inline void side_closed(void *owner, int32_t id, void *stream, uint32_t error, bool orderly) {
    struct flow *f = flow_of(owner, id);
    assert_non_null(f);
    f->n_closed++;
    f->error = error;
    f->orderly = orderly;
}

static inline size_t side_pull_bytes(void *owner, int32_t id, void *stream, uint8_t *to, size_t cap, bool *ret_end) {
    struct flow *f = stream;
    size_t n = (size_t)(f->to_send - f->sent < cap ? f->to_send - f->sent : cap);
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(f->sent + i) ^ (uint8_t)(f->sent >> 8) ^ (uint8_t)id;
    f->sent += n;
    f->sum_sent = sum_over(f->sum_sent, to, n);
    if (f->sent == f->to_send && f->end_when_sent)
        *ret_end = f->end_sent = true;
    return n;
}

static inline size_t side_pull(void *owner, int32_t id, void *stream, struct bufq *to, size_t cap, bool *ret_end) {
    static uint8_t bytes[H2_QUEUE_FRAME_MAX];
    size_t n_room;
    if (((struct side *)owner)->starved) {
        if (!bufq_reserve(to, &n_room))
            return 0;
        cap = n_room < cap ? n_room : cap;
    }
    size_t n = side_pull_bytes(owner, id, stream, bytes, cap, ret_end);
    assert_int_equal(bufq_append(to, bytes, n), 0);
    return n;
}

static inline void side_goaway(void *owner, uint32_t error, int32_t last_id) {
    struct side *s = owner;
    s->n_goaway++;
    s->goaway_error = error;
    s->goaway_last = last_id;
}

static inline void side_ping_ack(void *owner, uint64_t payload) {
    struct side *s = owner;
    s->n_ping_ack++;
    s->ping = payload;
}

static inline void side_settings(void *owner, uint32_t max_streams) {
    struct side *s = owner;
    s->n_settings++;
    s->max_streams = max_streams;
}

static const struct h2_callbacks side_callbacks = {.request = side_request,
                                                   .response = side_response,
                                                   .data = side_data,
                                                   .end = side_end,
                                                   .closed = side_closed,
                                                   .pull = side_pull,
                                                   .pull_bytes = side_pull_bytes,
                                                   .goaway = side_goaway,
                                                   .ping_ack = side_ping_ack,
                                                   .settings = side_settings};
enum { SIDE_CHUNKS = 4096, SIDE_WINDOWS_MAX = 16 * 1024 * 1024 };

static inline struct side *side_make(bool server, bool drained_as_bytes) {
    struct side *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    if (!drained_as_bytes) {
        s->shared = (struct h2_shared){.pool = buf_pool_new(SIDE_CHUNKS), .windows_max = SIDE_WINDOWS_MAX};
        assert_non_null(s->shared.pool);
        bufq_init(&s->out, s->shared.pool);
    }
    struct h2_shared *shared = drained_as_bytes ? NULL : &s->shared;
    assert_int_equal(server ? h2_server_new(&side_callbacks, s, shared, &s->h) : h2_client_new(&side_callbacks, s, shared, &s->h),
                     0);
    s->answer = server;
    return s;
}
static inline struct side *side_new(bool server) { return side_make(server, false); }

static inline void side_free(struct side *s) {
    s->h = h2_free(s->h);
    if (s->shared.pool) {
        assert_int_equal(s->shared.windows, 0);
        bufq_deinit(&s->out);
        buf_pool_free(s->shared.pool); /* checks that no chunk is left behind */
    }
    free(s);
}

/* Up to cap bytes for the peer, either way. */
static inline size_t side_drain(struct side *s, uint8_t *to, size_t cap) {
    if (!s->shared.pool)
        return h2_drain_bytes(s->h, to, cap);
    size_t before = s->out.n_bytes, n = h2_drain(s->h, &s->out, cap);
    assert_int_equal(s->out.n_bytes, before + n);
    return bufq_read(&s->out, to, cap);
}

/* Client: a CONNECT that will send so many bytes. NULL when no stream can be opened. */
static inline struct flow *side_connect(struct side *s, uint64_t bytes, bool end) {
    struct h2_header headers[] = {{STR(":method"), STR("CONNECT")}, {STR(":authority"), STR("10.0.0.1:8080")}};
    struct flow *f = flow_new(s, 0);
    f->to_send = bytes;
    f->end_when_sent = end;
    int r = h2_connect(s->h, headers, 2, f, &f->id);
    if (r == 0)
        return f;
    assert_int_equal(r, 1);
    s->n_flows--;
    return NULL;
}

/* One drain of `from` into `to`, in pieces of `piece` bytes. Returns how many bytes went. */
static inline size_t side_carry(struct side *from, struct side *to, size_t piece, int *ret_verdict) {
    static uint8_t bytes[SIDE_BUFFER];
    size_t n = side_drain(from, bytes, sizeof(bytes));
    for (size_t at = 0; at < n; at += piece) {
        int r = h2_feed(to->h, bytes + at, n - at < piece ? n - at : piece, SECOND);
        if (r)
            *ret_verdict = r;
    }
    return n;
}

/* Until both are silent. */
static inline void sides_talk(struct side *a, struct side *b) {
    int verdict = 0;
    while (side_carry(a, b, SIDE_BUFFER, &verdict) + side_carry(b, a, SIDE_BUFFER, &verdict))
        ;
    assert_int_equal(verdict, 0);
}

/* Frames by hand. */
enum { F_DATA, F_HEADERS, F_PRIORITY, F_RST_STREAM, F_SETTINGS, F_PUSH_PROMISE, F_PING, F_GOAWAY, F_WINDOW_UPDATE, F_CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };
struct raw {
    uint8_t *bytes;
    size_t n, cap;
};

static inline void raw_add(struct raw *r, const void *bytes, size_t n) {
    if (r->n + n > r->cap) {
        r->cap = 2 * (r->n + n);
        r->bytes = realloc(r->bytes, r->cap);
        assert_non_null(r->bytes);
    }
    if (n)
        memcpy(r->bytes + r->n, bytes, n);
    r->n += n;
}

static inline void raw_frame(struct raw *r, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t n) {
    uint8_t head[9] = {(uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
                       (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    raw_add(r, head, sizeof(head));
    raw_add(r, payload, n);
}

static inline void raw_word(struct raw *r, uint8_t type, uint32_t id, uint32_t word) {
    uint8_t payload[4] = {(uint8_t)(word >> 24), (uint8_t)(word >> 16), (uint8_t)(word >> 8), (uint8_t)word};
    raw_frame(r, type, 0, id, payload, 4);
}

/* HPACK: a literal that is not indexed, no Huffman. */
static inline void raw_literal(struct raw *r, const char *name, const char *value, size_t n_value) {
    uint8_t head[2] = {0, (uint8_t)strlen(name)}, length[4] = {0x7f};
    raw_add(r, head, 2);
    raw_add(r, name, strlen(name));
    if (n_value < 0x7f) {
        length[0] = (uint8_t)n_value;
        raw_add(r, length, 1);
    } else {
        size_t rest = n_value - 0x7f, k = 1;
        for (; rest >= 0x80; rest >>= 7)
            length[k++] = (uint8_t)(0x80 | (rest & 0x7f));
        length[k++] = (uint8_t)rest;
        raw_add(r, length, k);
    }
    raw_add(r, value, n_value);
}

struct line {
    const char *name, *value;
};
static inline void raw_headers(struct raw *r, uint32_t id, uint8_t flags, const struct line *lines, size_t n) {
    struct raw block = {0};
    for (size_t i = 0; i < n; i++)
        raw_literal(&block, lines[i].name, lines[i].value, strlen(lines[i].value));
    raw_frame(r, F_HEADERS, flags | END_HEADERS, id, block.bytes, block.n);
    free(block.bytes);
}

static inline void raw_connect(struct raw *r, uint32_t id, uint8_t flags) {
    static const struct line lines[] = {{":method", "CONNECT"}, {":authority", "10.0.0.1:8080"}};
    raw_headers(r, id, flags, lines, 2);
}

/* What a client sends first. */
static inline void raw_preface(struct raw *r) {
    raw_add(r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(r, F_SETTINGS, 0, 0, NULL, 0);
    raw_frame(r, F_SETTINGS, ACK, 0, NULL, 0);
}

static inline int raw_feed(struct raw *r, struct side *to, uint64_t now_ns) {
    /* An exact heap copy: a sanitizer sees a read past the end. */
    uint8_t *bytes = malloc(r->n ? r->n : 1);
    assert_non_null(bytes);
    memcpy(bytes, r->bytes, r->n);
    int v = h2_feed(to->h, bytes, r->n, now_ns);
    free(bytes);
    r->n = 0;
    return v;
}

struct seen { /* a frame that a side wrote */
    uint8_t type, flags;
    uint32_t id, length, word; /* word: the first four bytes of its payload */
};
/* Drains all and lists the frames. Returns how many. */
static inline size_t side_frames(struct side *s, struct seen *out, size_t max) {
    struct raw all = {0};
    static uint8_t bytes[SIDE_BUFFER];
    size_t n, count = 0;
    while ((n = side_drain(s, bytes, sizeof(bytes))) > 0)
        raw_add(&all, bytes, n);
    for (size_t at = all.n >= 24 && !memcmp(all.bytes, "PRI ", 4) ? 24 : 0; at + 9 <= all.n;) {
        const uint8_t *b = all.bytes + at;
        struct seen f = {b[3], b[4], (uint32_t)b[5] << 24 | (uint32_t)b[6] << 16 | (uint32_t)b[7] << 8 | b[8],
                         (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2], 0};
        if (f.length >= 4)
            f.word = (uint32_t)b[9] << 24 | (uint32_t)b[10] << 16 | (uint32_t)b[11] << 8 | b[12];
        at += 9 + f.length;
        assert_true(at <= all.n);
        if (count < max)
            out[count] = f;
        count++;
    }
    free(all.bytes);
    return count;
}

static inline const struct seen *seen_find(const struct seen *frames, size_t n, uint8_t type, uint32_t id) {
    for (size_t i = 0; i < n; i++)
        if (frames[i].type == type && frames[i].id == id)
            return &frames[i];
    return NULL;
}
