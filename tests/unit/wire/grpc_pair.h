/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/wire/grpc_pair.h - a gRPC server and a client that record what they are told, joined in memory */
#pragma once

#include <stdio.h>
#include <string.h>

#include <ringwall/wire/grpc.h>
#include <ringwall/wire/h2.h>

#include "h2_pair.h"

enum { PAIR_CALLS = 300, PAIR_MESSAGE_MAX = 64 * 1024, PAIR_SENT_MAX = 100 * 1000 };

struct rpc { /* one call as a side sees it */
    int32_t id;
    unsigned n_call, n_message, n_half_closed, n_cancelled, n_finished;
    uint64_t bytes;
    uint32_t sum;
    char path[GRPC_PATH_MAX + 1], last[64], text[GRPC_TEXT_MAX + 1];
    struct str token_seen;
    char token[64];
    size_t n_metadata;
    enum grpc_code code;
};
struct grpc_side {
    struct grpc_server *server;
    struct grpc_client *client;
    struct rpc calls[PAIR_CALLS];
    size_t n_calls;
    unsigned n_goaway, n_pong;
    /* what the server does: by path, see on_call */
    unsigned finish_in_message; /* ends the call inside the n-th message */
    int send_verdict;
};

static inline struct rpc *rpc_of(struct grpc_side *s, int32_t id) {
    for (size_t i = 0; i < s->n_calls; i++)
        if (s->calls[i].id == id)
            return &s->calls[i];
    assert_true(s->n_calls < PAIR_CALLS);
    s->calls[s->n_calls] = (struct rpc){.id = id};
    return &s->calls[s->n_calls++];
}

static inline void rpc_message(struct rpc *c, const uint8_t *bytes, size_t n) {
    c->n_message++;
    c->bytes += n;
    c->sum = sum_over(c->sum, bytes, n);
    snprintf(c->last, sizeof(c->last), "%.*s", (int)min_of(n, sizeof(c->last) - 1), (const char *)bytes);
}

/* /echo sends each message back and ends well after half-close; /quiet records only; all else is unknown. */
static inline void pair_call(void *owner, int32_t id, struct str path, const struct grpc_metadata *m, size_t n) {
    struct grpc_side *s = owner;
    struct rpc *c = rpc_of(s, id);
    struct str token = grpc_metadata_get(m, n, STR("authorization"));
    c->n_call++;
    c->n_metadata = n;
    snprintf(c->path, sizeof(c->path), STR_FMT, STR_ARG(path));
    snprintf(c->token, sizeof(c->token), STR_FMT, STR_ARG(token));
    if (!str_is(path, STR("/echo")) && !str_is(path, STR("/quiet")))
        grpc_server_finish(s->server, id, GRPC_UNIMPLEMENTED, STR("no such method: 100 %, \xc3\xa9\n"));
}
static inline void pair_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct grpc_side *s = owner;
    struct rpc *c = rpc_of(s, id);
    rpc_message(c, bytes, n);
    if (s->finish_in_message && c->n_message == s->finish_in_message) {
        grpc_server_finish(s->server, id, GRPC_ABORTED, STR("enough"));
        c->sum = sum_over(c->sum, bytes, n); /* still valid */
        return;
    }
    if (!strcmp(c->path, "/echo"))
        s->send_verdict = grpc_server_send(s->server, id, bytes, n);
}
static inline void pair_half_closed(void *owner, int32_t id) {
    struct grpc_side *s = owner;
    struct rpc *c = rpc_of(s, id);
    c->n_half_closed++;
    if (!strcmp(c->path, "/echo"))
        grpc_server_finish(s->server, id, GRPC_OK, STR_NULL);
}
static inline void pair_cancelled(void *owner, int32_t id) { rpc_of(owner, id)->n_cancelled++; }
static const struct grpc_server_callbacks pair_server_callbacks = {pair_call, pair_message, pair_half_closed, pair_cancelled};

static inline void pair_answer(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    rpc_message(rpc_of(owner, id), bytes, n);
}
static inline void pair_finished(void *owner, int32_t id, enum grpc_code code, struct str message) {
    struct rpc *c = rpc_of(owner, id);
    c->n_finished++;
    c->code = code;
    snprintf(c->text, sizeof(c->text), STR_FMT, STR_ARG(message));
}
static inline void pair_goaway(void *owner) { ((struct grpc_side *)owner)->n_goaway++; }
static inline void pair_pong(void *owner) { ((struct grpc_side *)owner)->n_pong++; }
static const struct grpc_client_callbacks pair_client_callbacks = {pair_answer, pair_finished, pair_goaway, pair_pong};

static const struct grpc_limits pair_limits = {PAIR_MESSAGE_MAX, 150, PAIR_SENT_MAX};

static inline struct grpc_side *grpc_side_new(bool server) {
    struct grpc_side *s = calloc(1, sizeof(*s));
    struct grpc_client_options o = {.authority = STR("peer:1"), .limits = pair_limits};
    assert_non_null(s);
    assert_int_equal(server ? grpc_server_new(&pair_server_callbacks, s, &pair_limits, &s->server)
                            : grpc_client_new(&pair_client_callbacks, s, &o, &s->client),
                     0);
    return s;
}

static inline void grpc_side_free(struct grpc_side *s) {
    s->server = grpc_server_free(s->server);
    s->client = grpc_client_free(s->client);
    free(s);
}

static inline size_t grpc_side_drain(struct grpc_side *s, uint8_t *to, size_t cap) {
    return s->server ? grpc_server_drain(s->server, to, cap) : grpc_client_drain(s->client, to, cap);
}
/* Each piece is an exact heap copy: a sanitizer sees a read past its end. */
static inline int grpc_side_feed(struct grpc_side *s, const uint8_t *bytes, size_t n, uint64_t now_ns) {
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, bytes, n);
    int r = s->server ? grpc_server_feed(s->server, copy, n, now_ns) : grpc_client_feed(s->client, copy, n, now_ns);
    free(copy);
    return r;
}

static inline size_t grpc_carry(struct grpc_side *from, struct grpc_side *to, size_t piece) {
    static uint8_t bytes[SIDE_BUFFER];
    size_t n = grpc_side_drain(from, bytes, sizeof(bytes));
    for (size_t at = 0; at < n; at += piece)
        assert_int_equal(grpc_side_feed(to, bytes + at, min_of(n - at, piece), SECOND), 0);
    return n;
}

/* Until both are silent. */
static inline void grpc_talk(struct grpc_side *a, struct grpc_side *b, size_t piece) {
    while (grpc_carry(a, b, piece) + grpc_carry(b, a, piece))
        ;
}

/* Frames by hand, to a server. */
static inline void raw_call(struct raw *r, uint32_t id, uint8_t flags, const char *path, const struct line *more, size_t n_more) {
    struct line lines[20] = {{":method", "POST"}, {":scheme", "http"}, {":path", path},
                             {":authority", "a"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
    size_t n = 6;
    for (size_t i = 0; i < n_more; i++) {
        size_t k = 0;
        while (k < n && strcmp(lines[k].name, more[i].name))
            k++;
        if (k == n || k >= 6)
            k = n++;
        lines[k] = more[i]; /* an empty value leaves the line out */
    }
    struct line used[20];
    size_t n_used = 0;
    for (size_t i = 0; i < n; i++)
        if (lines[i].value[0])
            used[n_used++] = lines[i];
    raw_headers(r, id, flags, used, n_used);
}

static inline int grpc_raw_feed(struct raw *r, struct grpc_side *to) {
    int v = grpc_side_feed(to, r->bytes, r->n, SECOND);
    r->n = 0;
    return v;
}
