/* SPDX-License-Identifier: GPL-3.0-or-later
 * sim_peer.c - the scripted far node; see sim_peer.h */
#include "sim_peer.h"

#include <stdlib.h>
#include <string.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

enum { STREAMS_MAX = 256, STREAM_BYTES = 4096, PIECE = 16 * 1024 };

struct peer_stream {
    int32_t id; /* 0: free */
    char trace[HBONE_TRACE_ID + 1];
    uint8_t bytes[STREAM_BYTES];
    size_t n, sent;
    bool ended, mute;
};
struct peer_conn {
    struct peer_conn *next;
    struct peer *peer;
    struct sim_conn *sim;
    struct tls_session *tls;
    struct h2 *h2;
    struct bufq in, out;
    unsigned era;
    bool open, lies, over, reset_soon;
    struct peer_stream streams[STREAMS_MAX];
};

static struct peer_stream *stream_new(struct peer_conn *c, int32_t id) {
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (c->streams[i].id == 0) {
            c->streams[i] = (struct peer_stream){.id = id};
            return &c->streams[i];
        }
    unreachable_because("more streams than one run makes");
}

static void answer(struct peer_conn *c, int32_t id, unsigned status) {
    struct hbone_headers h;
    hbone_create_response((enum hbone_status)status, status == HBONE_OK ? NULL : "scripted", &h);
    if (status == HBONE_OK)
        ignore_result(h2_accept(c->h2, id, h.items, h.n, NULL)); /* 1: taken back meanwhile */
    else
        ignore_result(h2_refuse(c->h2, id, h.items, h.n));
}

static void on_request(void *owner, int32_t id, const struct h2_header *headers, size_t n, bool end_stream) {
    static const unsigned answers[_PEER_MOOD_MAX] = {
        [PEER_WELL] = 200, [PEER_REFUSES] = 200, [PEER_SILENT] = 200, [PEER_CUTS] = 200,
        [PEER_LIES] = 200, [PEER_503] = 503,     [PEER_401] = 401,    [PEER_BREAKS] = 200};
    struct peer_conn *c = owner;
    struct peer *p = c->peer;
    struct hbone_request q;
    check(hbone_consume_request(headers, n, &q) == HBONE_REQUEST_OK);
    unsigned status = answers[p->mood];
    p->requested(p, c->era, c->lies, &q, status);
    if (status != 200 && status != 0) {
        answer(c, id, status);
        return;
    }
    if (p->mood == PEER_REFUSED_STREAM || p->mood == PEER_GOAWAY) {
        if (p->mood == PEER_GOAWAY)
            h2_goaway(c->h2, H2_NO_ERROR);
        h2_stream_reset(c->h2, id, H2_REFUSED_STREAM);
        return;
    }
    c->reset_soon = c->reset_soon || p->mood == PEER_DROPS;
    struct peer_stream *s = stream_new(c, id);
    memcpy(s->trace, q.trace_id, sizeof(s->trace));
    s->ended = end_stream;
    s->mute = status == 0;
    h2_stream_attach(c->h2, id, s);
    if (status) {
        struct hbone_headers h;
        hbone_create_response(HBONE_OK, NULL, &h);
        ignore_result(h2_accept(c->h2, id, h.items, h.n, s));
    }
}

static void on_data(void *owner, int32_t id, void *stream, const uint8_t *bytes, size_t n) {
    struct peer_conn *c = owner;
    struct peer_stream *s = stream;
    h2_stream_delivered(c->h2, id, n);
    if (!s)
        return;
    check(!s->mute && s->n + n <= STREAM_BYTES);
    memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
    c->peer->carried(c->peer, s->trace, n);
    c->reset_soon = c->reset_soon || c->peer->mood == PEER_BREAKS;
    h2_stream_ready(c->h2, id);
}

static void on_end(void *owner, int32_t id, void *stream) {
    struct peer_conn *c = owner;
    struct peer_stream *s = stream;
    if (!s)
        return;
    s->ended = true;
    if (!s->mute)
        h2_stream_ready(c->h2, id);
}

static void on_closed(void *owner, int32_t id, void *stream, uint32_t error, bool orderly) {
    struct peer_stream *s = stream;
    if (s)
        s->id = 0;
}

static size_t on_pull(void *owner, int32_t id, void *stream, uint8_t *to, size_t cap, bool *ret_end) {
    struct peer_stream *s = stream;
    size_t n = s ? min_of(cap, s->n - s->sent) : 0;
    if (n)
        memcpy(to, s->bytes + s->sent, n);
    if (s)
        s->sent += n;
    *ret_end = s && s->ended && s->sent == s->n;
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

static void flush(struct peer_conn *c) {
    size_t n;
    const uint8_t *bytes;
    while (!c->over && (bytes = bufq_peek(&c->out, &n))) {
        size_t k = sim_conn_write(c->sim, bytes, n);
        bufq_consume(&c->out, k);
        if (k < n)
            return;
    }
}

static void finish(struct peer_conn *c, bool reset) {
    if (c->over)
        return;
    c->over = true;
    if (reset) {
        c->peer->broken_ns = clock_mono_ns();
        sim_conn_reset(c->sim);
    } else
        sim_conn_close(c->sim);
}

static void feed(struct peer_conn *c) {
    static uint8_t piece[PIECE];
    size_t n;
    int r;
    while ((r = tls_session_open(c->tls, piece, sizeof(piece), &n)) == TLS_DONE)
        if (h2_feed(c->h2, piece, n, clock_mono_ns()))
            break;
    while ((n = h2_drain_bytes(c->h2, piece, sizeof(piece)))) {
        size_t taken;
        ignore_result(tls_session_seal(c->tls, piece, n, &taken)); /* what is to be said here always fits */
    }
    flush(c);
    if (c->reset_soon || r == TLS_CLOSED || r == TLS_BROKEN)
        finish(c, c->reset_soon);
}

static void advance(struct peer_conn *c) {
    if (!c->open) {
        int r = tls_session_handshake(c->tls, clock_wall_s());
        flush(c);
        if (r == TLS_REFUSED || r == TLS_BROKEN)
            finish(c, false);
        if (r != TLS_DONE)
            return;
        c->open = true;
        check(h2_server_new(&callbacks, c, NULL, &c->h2) == 0);
    }
    feed(c);
}

static void got_bytes(struct sim_conn *sim, const uint8_t *bytes, size_t n) {
    struct peer_conn *c = sim_conn_context(sim);
    if (!c->open && c->peer->mood == PEER_CUTS) {
        finish(c, true);
        return;
    }
    check(bufq_append(&c->in, bytes, n) == 0);
    if (c->open || c->peer->mood != PEER_SILENT)
        advance(c);
}
static void got_fin(struct sim_conn *sim) { finish(sim_conn_context(sim), false); }
static void got_reset(struct sim_conn *sim, int error) { ((struct peer_conn *)sim_conn_context(sim))->over = true; }
static void got_room(struct sim_conn *sim) { flush(sim_conn_context(sim)); }
static const struct sim_app app = {.bytes = got_bytes, .fin = got_fin, .reset = got_reset, .room = got_room};

static void accepted(struct sim_conn *sim) {
    struct peer *p = sim_conn_context(sim);
    struct peer_conn *c = calloc(1, sizeof(*c));
    check(c);
    *c = (struct peer_conn){.next = p->conns, .peer = p, .sim = sim, .era = p->era, .lies = p->mood == PEER_LIES};
    p->conns = c;
    bufq_init(&c->in, p->buffers);
    bufq_init(&c->out, p->buffers);
    struct tls_session_options o = {.context = c->lies ? p->lie : p->shows, .trust = p->trust, .in = &c->in, .out = &c->out};
    check(tls_session_new(&o, &c->tls) == 0);
    sim_conn_set_context(sim, c);
}

void peer_start(struct peer *p, struct sim *sim, int netns) {
    p->buffers = buf_pool_new(1024);
    check(p->buffers);
    p->served = ring_sim_serve(sim, netns, &p->at, &app, accepted, p);
}

void peer_end(struct peer *p, struct sim *sim) {
    for (struct peer_conn *c = p->conns, *next; c; c = next) {
        next = c->next;
        finish(c, true);
        h2_free(c->h2);
        tls_session_free(c->tls);
        bufq_deinit(&c->in);
        bufq_deinit(&c->out);
        free(c);
    }
    p->conns = NULL;
    buf_pool_free(p->buffers);
    ring_sim_unlisten(sim, p->served);
}
