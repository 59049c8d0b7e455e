/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_in.c - what a peer's frames mean to the owner of the session
 *
 * nghttp2 checks frames, HPACK and the rules of CONNECT (RFC 9113 section 8.5: no :scheme, no :path, an :authority) and
 * answers a malformed request with RST_STREAM itself; what is shown here is well-formed. Bounds that nghttp2 leaves to
 * us: size and count of headers, and data beyond a stream's window. */
#include <errno.h>

#include "h2_session.h"

static struct str str_of_rcbuf(nghttp2_rcbuf *b) {
    nghttp2_vec v = nghttp2_rcbuf_get_buf(b);

    return (struct str){.at = (const char *)v.base, .n = v.len};
}

static void block_clear(struct h2_block *b) {
    for (size_t i = 0; i < 2 * b->n; i++)
        nghttp2_rcbuf_decref(b->held[i]);
    b->n = b->bytes = 0;
}

void h2_block_drop(struct h2 *h) {
    if (!h->block)
        return;
    block_clear(h->block);
    h2_dealloc(h->block);
    h->block = NULL;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct h2 *h = user;

    if (h->block) {
        block_clear(h->block); /* left by a block that was refused */
        return 0;
    }
    h->block = h2_alloc(sizeof(*h->block));
    if (!h->block)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    h->block->n = h->block->bytes = 0;
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags,
                     void *user) {
    struct h2 *h = user;
    struct h2_block *b = h->block;
    struct h2_header item = {str_of_rcbuf(name), str_of_rcbuf(value)};

    if (!b)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    b->bytes += item.name.n + item.value.n + 32; /* RFC 9113 section 6.5.2 */
    if (b->bytes > H2_HEADER_LIST_MAX || b->n == H2_HEADERS_MAX) {
        h2_note(h, nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, H2_ENHANCE_YOUR_CALM));
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    nghttp2_rcbuf_incref(name);
    nghttp2_rcbuf_incref(value);
    b->held[2 * b->n] = name;
    b->held[2 * b->n + 1] = value;
    b->items[b->n++] = item;
    return 0;
}

static bool is_interim(const struct h2_block *b) {
    for (size_t i = 0; i < b->n; i++)
        if (str_is(b->items[i].name, STR(":status")))
            return b->items[i].value.n == 3 && b->items[i].value.at[0] == '1';
    return false;
}

static int got_request(struct h2 *h, const nghttp2_frame *frame, bool end) {
    struct h2_stream *s = h2_stream_add(h, frame->hd.stream_id);

    if (!s)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    s->remote_end = end;
    h->limits.n_blocks_fair++;
    if (nghttp2_session_set_stream_user_data(h->ng, s->id, s)) { /* closed already */
        s->forgotten = true;
        h2_stream_gone(h, s, H2_NO_ERROR);
        return 0;
    }
    h->cb->request(h->owner, s->id, h->block->items, h->block->n, end);
    return 0;
}

static void got_end(struct h2 *h, struct h2_stream *s) {
    s->remote_end = true;
    if (!h2_stream_silent(s))
        h->cb->end(h->owner, s->id, s->context);
}

static int got_headers(struct h2 *h, const nghttp2_frame *frame) {
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_stream *s;
    int r = 0;

    if (!h->block)
        return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        r = got_request(h, frame, end);
    } else {
        s = nghttp2_session_get_stream_user_data(h->ng, frame->hd.stream_id);
        if (s && !h->server && !s->responded) {
            if (!is_interim(h->block)) {
                s->responded = true;
                s->remote_end = end;
                h->limits.n_blocks_fair++;
                if (!h2_stream_silent(s))
                    h->cb->response(h->owner, s->id, s->context, h->block->items, h->block->n, end);
            }
        } else if (s && end) {
            h->limits.n_blocks_fair++;
            if (h->cb->trailers && !h2_stream_silent(s)) /* of no use to a tunnel */
                h->cb->trailers(h->owner, s->id, s->context, h->block->items, h->block->n);
            got_end(h, s);
        }
    }
    h2_block_drop(h);
    return r;
}

/* Rapid reset (CVE-2023-44487) is to take a request back before it was answered: that alone is counted, and resets of
 * streams that are gone. A flow that lived and is reset is an application's business, however many there are. */
static void got_reset(struct h2 *h, struct h2_stream *s) {
    if (s)
        s->reset = true;
    if ((!s || (h->server && !s->responded)) && !h2_rate_take(&h->limits.resets, h->now_ns, H2_RESETS_MAX_PER_S))
        ignore_result(h2_flooded(h)); /* h2_feed returns it */
}

static void got_ping_ack(struct h2 *h, const uint8_t payload[8]) {
    uint64_t value;

    if (h->drain_ping && h2_drain_pinged(payload)) {
        h2_goaway(h, H2_NO_ERROR); /* the second half */
        return;
    }
    memcpy(&value, payload, sizeof(value));
    h->cb->ping_ack(h->owner, value);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct h2 *h = user;
    struct h2_stream *s;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return got_headers(h, frame);
    case NGHTTP2_DATA:
        s = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
        if (s && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            got_end(h, s);
        break;
    case NGHTTP2_RST_STREAM:
        s = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
        got_reset(h, s);
        break;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            h->cb->settings(h->owner, nghttp2_session_get_remote_settings(ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            got_ping_ack(h, frame->ping.opaque_data);
        break;
    case NGHTTP2_GOAWAY:
        h->cb->goaway(h->owner, frame->goaway.error_code, frame->goaway.last_stream_id);
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n, void *user) {
    struct h2 *h = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);

    h2_note(h, nghttp2_session_consume_connection(ng, n));
    if (!s || h2_stream_silent(s))
        return 0;
    /* nghttp2 resets the stream on a window violation but shows the bytes; the bound on our memory is here. */
    if (!h2_window_take(&s->window, n, h->now_ns)) {
        h2_note(h, nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, H2_FLOW_CONTROL_ERROR));
        return 0;
    }
    h->cb->data(h->owner, id, s->context, bytes, n);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error, void *user) {
    struct h2 *h = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);

    if (s)
        h2_stream_gone(h, s, error);
    return 0;
}

void h2_in_callbacks(nghttp2_session_callbacks *c) {
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
}
