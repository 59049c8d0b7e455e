/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_out.c - frames for the peer, written where the caller wants them
 *
 * Into a queue (h2_drain): the owner's pull moves payload into a queue of ours; when nghttp2 knows the head of the frame, that is
 * written where room for it was reserved before, and the payload is moved behind it. So nothing can fail between the two.
 * Into plain memory (h2_drain_bytes): pull writes payload nine bytes behind where the frame begins, and the head goes before it.
 * No payload byte is copied here.
 * Streams send in turn, one frame each while others wait (nghttp2's own order would serve one stream to its end). */
#include <assert.h>

#include <ringwall/base/check.h>

#include "h2_session.h"

enum {
    FRAME_HEAD = 9,
    ROOM_MIN = 2048, /* less room than this is left unused: a tiny DATA frame costs more than it carries */
};
static_assert(H2_SEND_FRAME_MAX + 64 >= ROOM_MIN, "an empty buffer of the smallest size holds a frame");

static bool others_wait(const struct h2 *h) { return !list_empty(&h->ready); }
static size_t room(const struct h2 *h) { return h->out_n < h->out_cap ? h->out_cap - h->out_n : 0; }

/* Payload of the stream whose turn it is. Returns how much. */
static size_t pull(struct h2 *h, const struct h2_stream *s, size_t cap, bool *ret_end) {
    size_t got;

    check(room(h) > FRAME_HEAD);
    cap = min_of(cap, room(h) - FRAME_HEAD);
    if (!h->queue)
        return h->cb->pull_bytes(h->owner, s->id, s->context, h->out + h->out_n + FRAME_HEAD,
                                 min_of(cap, (size_t)H2_SEND_FRAME_MAX), ret_end);
    check(h->payload.n_bytes == 0);
    h->head = bufq_reserve_n(h->queue, FRAME_HEAD);
    if (!h->head) {
        h->out_full = true;
        return 0;
    }
    got = h->cb->pull(h->owner, s->id, s->context, &h->payload, cap, ret_end);
    check(got <= cap && got == h->payload.n_bytes);
    return got;
}

/* What was pulled is not to be sent, or nothing came. */
static void pull_undo(struct h2 *h, struct h2_stream *s) {
    if (h->queue) {
        bufq_commit(h->queue, 0);
        bufq_deinit(&h->payload);
    }
    if (h->turn == s)
        h->turn = NULL;
    if (h->out_full && !h2_stream_silent(s) && !list_linked(&s->ready))
        list_push_front(&h->ready, &s->ready);
}

/* nghttp2 asks for payload of a stream. Whoever has not the turn queues for it. */
ssize_t h2_out_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t n, uint32_t *flags, nghttp2_data_source *source,
                    void *user) {
    struct h2 *h = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);
    size_t got;
    bool end = false;

    if (!s || h2_stream_silent(s))
        return NGHTTP2_ERR_DEFERRED;
    if (s != h->turn) {
        if (!list_linked(&s->ready))
            list_push_back(&h->ready, &s->ready);
        return NGHTTP2_ERR_DEFERRED;
    }
    got = pull(h, s, n, &end);
    if (h2_stream_silent(s) || (got == 0 && !end)) {
        pull_undo(h, s);
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY | (end ? NGHTTP2_DATA_FLAG_EOF : 0);
    if (end && s->trailed)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (end || others_wait(h)) {
        h->turn = NULL;
        if (!end)
            list_push_back(&h->ready, &s->ready);
    }
    return (ssize_t)got;
}

/* The payload is pulled already (h2_out_read): put the head before it. */
static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t n, nghttp2_data_source *source,
                        void *user) {
    struct h2 *h = user;

    check(room(h) >= FRAME_HEAD + n);
    if (h->queue) {
        check(h->payload.n_bytes == n);
        memcpy(h->head, head, FRAME_HEAD);
        bufq_commit(h->queue, FRAME_HEAD);
        bufq_move(h->queue, &h->payload);
    } else {
        memcpy(h->out + h->out_n, head, FRAME_HEAD);
    }
    h->out_n += FRAME_HEAD + n;
    h->out_data = true;
    return NGHTTP2_ERR_PAUSE; /* sent; come back to us, so that the room is looked at before the next one */
}

/* How much of a stream one frame may take; nghttp2 bounds it by the windows and by what the peer accepts. */
static ssize_t on_frame_length(nghttp2_session *ng, uint8_t type, int32_t id, int32_t session_window, int32_t stream_window,
                               uint32_t frame_max, void *user) {
    const struct h2 *h = user;

    return h->queue ? H2_QUEUE_FRAME_MAX : H2_SEND_FRAME_MAX;
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct h2 *h = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    bool end = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);

    if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)
        h2_limits_earn(&h->limits);
    if (end && s) {
        s->local_end = true;
        /* The answer is complete; the peer need not finish what it wanted to send (RFC 9113 section 8.1). */
        if ((s->refused || (h->server && s->trailed)) && !s->remote_end)
            h2_note(h, nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, s->id, H2_NO_ERROR));
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        if (s)
            s->reset = true;
        /* Resets that the peer's errors made us send are a flood as much as its own are (CVE-2025-8671). */
        if (!(s && (h2_stream_silent(s) || s->trailed)) && !h->verdict &&
            !h2_rate_take(&h->limits.provoked, h->now_ns, H2_RESETS_MAX_PER_S))
            h2_flooded(h);
    }
    return 0;
}

/* A request that never left: nghttp2 closes the stream only if it had opened it. */
static int on_frame_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int why, void *user) {
    struct h2 *h = user;
    struct h2_stream *s;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id))
        return 0; /* on_stream_close follows */
    s = h2_stream_find(h, frame->hd.stream_id);
    if (s)
        h2_stream_gone(h, s, s->resetting ? H2_CANCEL : H2_REFUSED_STREAM);
    return 0;
}

/* Chooses whose turn it is. A stream that cannot go on for its own window waits in nghttp2 until that opens. */
static void give_turn(struct h2 *h) {
    struct list *first;

    if (h->turn || nghttp2_session_get_remote_window_size(h->ng) <= 0)
        return;
    first = list_pop_front(&h->ready);
    if (!first)
        return;
    h->turn = list_entry(first, struct h2_stream, ready);
    /* Fails when there is nothing to resume: not deferred, or its response headers are still queued. */
    ignore_result(nghttp2_session_resume_data(h->ng, h->turn->id));
}

/* Takes back a turn that was not used. Returns whether another stream may be tried. */
static bool take_turn_back(struct h2 *h) {
    struct h2_stream *s = h->turn;

    h->turn = NULL;
    if (nghttp2_session_get_remote_window_size(h->ng) <= 0) { /* the connection's window holds everybody */
        if (s)
            list_push_front(&h->ready, &s->ready);
        return false;
    }
    return s || others_wait(h);
}

static void put(struct h2 *h, const uint8_t *bytes, size_t n) {
    size_t step = n;

    if (h->queue) {
        h->out_full = bufq_append(h->queue, bytes, n) != 0;
        step = h->out_full ? 0 : n;
    } else {
        step = min_of(n, room(h));
        memcpy(h->out + h->out_n, bytes, step);
    }
    h->out_n += step;
    h->rest = bytes + step;
    h->n_rest = n - step;
}

static size_t drain(struct h2 *h) {
    const uint8_t *bytes;
    ssize_t n;

    h->out_n = 0;
    h->out_full = false;
    if (h->n_rest)
        put(h, h->rest, h->n_rest);
    while (!h->dead && !h->n_rest && !h->out_full && room(h) >= ROOM_MIN) {
        give_turn(h);
        h->out_data = false;
        n = nghttp2_session_mem_send(h->ng, &bytes);
        if (n < 0)
            h->dead = h->torn = true;
        else if (n > 0)
            put(h, bytes, (size_t)n);
        else if (!h->out_data && !take_turn_back(h))
            break;
    }
    h->queue = NULL;
    h->out = NULL;
    return h->out_n;
}

size_t h2_drain(struct h2 *h, struct bufq *to, size_t max) {
    check(!h2_draining(h) && h->shared && to->pool == h->shared->pool && max >= H2_SEND_FRAME_MAX + 64);
    h->queue = to;
    h->out_cap = max;
    return drain(h);
}

size_t h2_drain_bytes(struct h2 *h, uint8_t *to, size_t cap) {
    check(!h2_draining(h) && cap >= H2_SEND_FRAME_MAX + 64);
    h->out = to;
    h->out_cap = cap;
    return drain(h);
}

bool h2_wants_send(const struct h2 *h) {
    if (h->dead)
        return false;
    if (h->n_rest || nghttp2_session_want_write(h->ng))
        return true;
    return others_wait(h) && nghttp2_session_get_remote_window_size(h->ng) > 0 && nghttp2_session_want_read(h->ng);
}

void h2_out_callbacks(nghttp2_session_callbacks *c) {
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(c, on_frame_length);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_sent);
}
