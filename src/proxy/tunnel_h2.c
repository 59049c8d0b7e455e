/* SPDX-License-Identifier: GPL-3.0-or-later
 * tunnel_h2.c - what HTTP/2 tells a tunnel, turned into what legs record
 *
 * These run inside h2_feed and h2_drain: they never end a tunnel, only mark it (tunnel_touch). */
#include <ringwall/base/check.h>
#include <ringwall/wire/hbone.h>

#include "relay.h"
#include "tunnel.h"
#include "ways.h"
#include "worker.h"

static void on_request(void *owner, int32_t id, const struct h2_header *headers, size_t n, bool end_stream) {
    struct tunnel *t = owner;
    t->had_request = true;
    inbound_requested(t, id, headers, n, end_stream);
    tunnel_touch(t);
}

static void on_response(void *owner, int32_t id unused_arg, void *stream, const struct h2_header *headers, size_t n,
                        bool end_stream) {
    struct tunnel *t = owner;
    struct leg *l = stream;
    if (!l || l->closing)
        return;
    outbound_replied(leg_flow(l), headers, n);
    if (end_stream && !l->closing)
        l->read_ended = true;
    tunnel_touch(t);
}

static void on_data(void *owner, int32_t id, void *stream, const uint8_t *bytes, size_t n) {
    struct tunnel *t = owner;
    struct leg *l = stream;
    /* A refusal's body is nobody's; the application only gets what follows a 200. */
    if (!l || l->closing || (!t->server && !l->stream.answered)) {
        h2_stream_delivered(t->h2, id, n);
        return;
    }
    relay_arrived(l, t->reading, bytes, n);
}

static void on_end(void *owner unused_arg, int32_t id unused_arg, void *stream) {
    struct leg *l = stream;
    if (!l || l->closing)
        return;
    l->read_ended = true;
    flow_touch(leg_flow(l));
}

static void on_closed(void *owner, int32_t id unused_arg, void *stream, uint32_t error, bool orderly) {
    struct tunnel *t = owner;
    struct leg *l = stream;
    tunnel_touch(t);
    if (!l)
        return;
    l->stream.gone = true;
    if (l->closing || (l->read_ended && l->write_ended) || orderly) {
        flow_touch(leg_flow(l));
        return;
    }
    /* REFUSED_STREAM before an answer: the peer promises that nothing was done (RFC 9113 8.7). */
    bool untouched = error == H2_REFUSED_STREAM && !t->server && !l->stream.answered;
    if (!untouched && !l->failed && leg_flow(l)->state != FLOW_FLUSH)
        facts_setf(flow_facts(leg_flow(l)), FACT_DETAIL, "RST_STREAM %s", h2_error_text(error));
    leg_fail(l, untouched ? CLOSE_TUNNEL_LOST : CLOSE_PEER_RESET, (int)error);
}

static size_t on_pull(void *owner unused_arg, int32_t id unused_arg, void *stream, struct bufq *to, size_t cap, bool *ret_end) {
    struct leg *l = stream;
    *ret_end = false;
    if (!l || l->closing || l->failed)
        return 0;
    size_t n = bufq_move_n(to, &l->out, cap);
    if (n)
        relay_sent(l, n);
    if (l->out.n_bytes == 0 && l->end_wanted) {
        *ret_end = true;
        l->write_ended = true;
        flow_touch(leg_flow(l));
    } else if (n == 0)
        l->stream.awake = false;
    return n;
}

static void on_goaway(void *owner, uint32_t error, int32_t last_id unused_arg) {
    struct tunnel *t = owner;
    if (error != H2_NO_ERROR && !t->why[0]) {
        struct text why = TEXT_OVER(t->why);
        text_addf(&why, "GOAWAY %s", h2_error_text(error));
    }
    tunnel_retire(t);
}

static void on_ping_ack(void *owner, uint64_t payload unused_arg) {
    struct tunnel *t = owner;
    t->heard_ns = worker_now(t->worker);
}

static void on_settings(void *owner, uint32_t max_streams) {
    struct tunnel *t = owner;
    t->n_streams_max = min_of(max_streams, (uint32_t)TUNNEL_FLOWS_MAX);
}

const struct h2_callbacks tunnel_client_callbacks = {.response = on_response,
                                                     .data = on_data,
                                                     .end = on_end,
                                                     .closed = on_closed,
                                                     .pull = on_pull,
                                                     .goaway = on_goaway,
                                                     .ping_ack = on_ping_ack,
                                                     .settings = on_settings};
const struct h2_callbacks tunnel_server_callbacks = {.request = on_request,
                                                     .data = on_data,
                                                     .end = on_end,
                                                     .closed = on_closed,
                                                     .pull = on_pull,
                                                     .goaway = on_goaway,
                                                     .ping_ack = on_ping_ack,
                                                     .settings = on_settings};
