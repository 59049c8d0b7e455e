/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2.c - an HTTP/2 session's life and the calls of its owner; nghttp2 does the protocol
 *
 * nghttp2 sends no window update of its own accord here: the connection is credited on receipt (h2_in.c), a stream when
 * its owner delivered. Priorities are switched off; h2_out.c serves streams in turn. Memory goes through counted
 * hooks. Not here: tunnels, pools, timers, TLS. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include <ringwall/base/check.h>

#include "h2_session.h"
#include "library.h"

enum { H2_PEER_STREAMS_ASSUMED = 100 /* until SETTINGS arrive; as ztunnel assumes */ };
/* nghttp2 keeps a reset limit of its own; ours comes first, so its is only moved out of the way. */
enum { H2_LIBRARY_RESETS_BURST = 8 * H2_RESETS_MAX_PER_S, H2_LIBRARY_RESETS_PER_S = 4 * H2_RESETS_MAX_PER_S };
/* Frames waiting for a peer that does not read: replies, and a few a stream (headers, reset, two window updates). */
enum { H2_QUEUE_MAX = H2_CONTROL_BACKLOG_MAX + 4 * H2_STREAMS_MAX };
static const uint8_t drain_mark[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

static _Thread_local size_t memory_used;

void *h2_alloc(size_t n) {
    void *p = malloc(n);

    if (p)
        memory_used += malloc_usable_size(p);
    return p;
}

void h2_dealloc(void *p) {
    if (p)
        memory_used -= malloc_usable_size(p);
    free(p);
}

static void *hook_malloc(size_t n, void *unused) { return h2_alloc(n); }
static void hook_free(void *p, void *unused) { h2_dealloc(p); }

static void *hook_calloc(size_t count, size_t n, void *unused) {
    void *p = calloc(count, n);

    if (p)
        memory_used += malloc_usable_size(p);
    return p;
}

void *h2_realloc(void *old, size_t n) {
    size_t before = old ? malloc_usable_size(old) : 0;
    void *p = realloc(old, n);

    if (p || n == 0)
        memory_used += (p ? malloc_usable_size(p) : 0) - before;
    return p;
}

static void *hook_realloc(void *old, size_t n, void *unused) { return h2_realloc(old, n); }

size_t h2_memory_used(void) { return memory_used; }

static nghttp2_option *option_free(nghttp2_option *o) {
    nghttp2_option_del(o);
    return NULL;
}
DEFINE_FREEP(nghttp2_option, option_free)

static nghttp2_session_callbacks *callbacks_free(nghttp2_session_callbacks *c) {
    nghttp2_session_callbacks_del(c);
    return NULL;
}
DEFINE_FREEP(nghttp2_session_callbacks, callbacks_free)

static int submit_settings(struct h2 *h) {
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, H2_FRAME_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_LIST_MAX},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {h->server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH, h->server ? H2_STREAMS_MAX : 0},
    };
    int r = nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, entries, array_size(entries));

    return r ? r : nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW);
}

static int session_new(struct h2 *h) {
    static nghttp2_mem hooks = {NULL, hook_malloc, hook_free, hook_calloc, hook_realloc};
    cleanup(option_freep) nghttp2_option *option = NULL;
    cleanup(callbacks_freep) nghttp2_session_callbacks *callbacks = NULL;

    if (nghttp2_option_new(&option) || nghttp2_session_callbacks_new(&callbacks))
        return -ENOMEM;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, H2_PEER_STREAMS_ASSUMED);
    nghttp2_option_set_max_reserved_remote_streams(option, 0);
    nghttp2_option_set_max_send_header_block_length(option, H2_HEADER_LIST_MAX);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, H2_CONTROL_BACKLOG_MAX);
    nghttp2_option_set_stream_reset_rate_limit(option, H2_LIBRARY_RESETS_BURST, H2_LIBRARY_RESETS_PER_S);
    h2_in_callbacks(callbacks);
    h2_out_callbacks(callbacks);
    if (h->server ? nghttp2_session_server_new3(&h->ng, callbacks, h, option, &hooks)
                  : nghttp2_session_client_new3(&h->ng, callbacks, h, option, &hooks))
        return -ENOMEM;
    return submit_settings(h) ? -ENOMEM : 0;
}

static int side_new(bool server, const struct h2_callbacks *cb, void *owner, struct h2_shared *shared, struct h2 **ret) {
    cleanup(h2_freep) struct h2 *h = h2_alloc(sizeof(*h));
    int r;

    if (!h)
        return -ENOMEM;
    *h = (struct h2){.cb = cb, .owner = owner, .shared = shared, .server = server};
    if (shared)
        bufq_init(&h->payload, shared->pool);
    list_init(&h->streams);
    list_init(&h->ready);
    h2_limits_init(&h->limits, server);
    r = session_new(h);
    if (r)
        return r;
    *ret = take_ptr(h);
    return 0;
}

int h2_client_new(const struct h2_callbacks *cb, void *owner, struct h2_shared *shared, struct h2 **ret) {
    return side_new(false, cb, owner, shared, ret);
}
int h2_server_new(const struct h2_callbacks *cb, void *owner, struct h2_shared *shared, struct h2 **ret) {
    return side_new(true, cb, owner, shared, ret);
}

/* nghttp2 (1.52 is one that does) frees the first DATA of a request or an answer while a stream still points to it, when memory
 * runs out as it is queued: to delete such a session frees it twice. Its memory is given up, and stays reachable from here. */
static _Thread_local struct h2 *torn_sessions;

struct h2 *h2_free(struct h2 *h) {
    if (!h)
        return NULL;
    check(!h2_draining(h));
    h2_block_drop(h);
    if (h->shared)
        bufq_deinit(&h->payload);
    if (!h->torn)
        nghttp2_session_del(h->ng); /* reports no stream; ours are freed below */
    list_for_each_safe (it, &h->streams) {
        struct h2_stream *s = list_entry(it, struct h2_stream, all);

        h2_window_deinit(&s->window, h->shared);
        h2_dealloc(s);
    }
    if (h->torn) {
        h->torn_next = torn_sessions;
        torn_sessions = h;
    } else {
        h2_dealloc(h);
    }
    return NULL;
}

void h2_note(struct h2 *h, int library_error) {
    if (nghttp2_is_fatal(library_error))
        h->dead = true;
}

int h2_flooded(struct h2 *h) {
    h2_note(h, nghttp2_session_terminate_session(h->ng, H2_ENHANCE_YOUR_CALM));
    h->verdict = H2_FLOOD;
    return H2_FLOOD;
}

/* nghttp2 ends a session by itself on many protocol errors and tells nobody until its GOAWAY is written. It answers 0
 * to a GOAWAY with an impossible last id only when it is ending already; nothing is sent either way. */
static bool ending(const struct h2 *h) {
    return nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, h->server ? 2 : 1, H2_NO_ERROR, NULL, 0) == 0;
}

int h2_feed(struct h2 *h, const uint8_t *bytes, size_t n, uint64_t now_ns) {
    ssize_t taken;

    check(!h2_draining(h));
    if (h->dead)
        return -ENOMEM;
    if (h->verdict || h->closing || n == 0)
        return h->verdict;
    h->now_ns = now_ns;
    if (!h2_limits_feed(&h->limits, bytes, n, now_ns))
        return h2_flooded(h);
    taken = nghttp2_session_mem_recv(h->ng, bytes, n);
    if (taken == NGHTTP2_ERR_NOMEM || taken == NGHTTP2_ERR_CALLBACK_FAILURE || h->dead) {
        h->dead = true;
        return -ENOMEM;
    }
    if (taken == NGHTTP2_ERR_FLOODED || nghttp2_session_get_outbound_queue_size(h->ng) > H2_QUEUE_MAX)
        return h2_flooded(h);
    if (h->verdict || h->closing) /* by a callback */
        return h->verdict;
    if (!h2_limits_blocks(&h->limits, now_ns))
        return h2_flooded(h);
    if (taken < 0 || ending(h)) {
        h2_note(h, nghttp2_session_terminate_session(h->ng, H2_PROTOCOL_ERROR));
        h->verdict = H2_BROKEN;
    }
    return h->verdict;
}

bool h2_finished(const struct h2 *h) {
    return h->dead || (!h->n_rest && !nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng));
}

bool h2_drain_crossing(const struct h2 *h) { return h->drain_ping && !h->dead && !h->closing && !h->verdict; }

struct h2_stream *h2_stream_find(const struct h2 *h, int32_t id) {
    struct h2_stream *s = nghttp2_session_get_stream_user_data(h->ng, id);

    if (s || h->server)
        return s;
    /* A client's request that is still queued is unknown to nghttp2: it is among the newest. */
    for (struct list *it = h->streams.prev; it != &h->streams; it = it->prev) {
        s = list_entry(it, struct h2_stream, all);
        if (s->id <= id)
            return s->id == id ? s : NULL;
    }
    return NULL;
}

struct h2_stream *h2_stream_add(struct h2 *h, int32_t id) {
    struct h2_stream *s = h2_alloc(sizeof(*s));

    if (!s)
        return NULL;
    *s = (struct h2_stream){.id = id};
    h2_window_init(&s->window);
    list_push_back(&h->streams, &s->all);
    h->n_streams++;
    return s;
}

void h2_stream_gone(struct h2 *h, struct h2_stream *s, uint32_t error) {
    bool orderly = s->local_end && s->remote_end && !s->reset;

    list_unlink(&s->all);
    list_unlink(&s->ready);
    h->n_streams--;
    if (h->turn == s)
        h->turn = NULL;
    if (!s->forgotten && !s->refused)
        h->cb->closed(h->owner, s->id, s->context, error, orderly);
    h2_window_deinit(&s->window, h->shared);
    h2_dealloc(s);
}

/* nghttp2 takes non-const pointers and copies what they point to. */
static size_t lines_of(const struct h2_header *headers, size_t n, nghttp2_nv *ret) {
    check(n <= H2_HEADERS_MAX);
    for (size_t i = 0; i < n; i++)
        ret[i] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)headers[i].name.at,
                              .namelen = headers[i].name.n,
                              .value = (uint8_t *)(uintptr_t)headers[i].value.at,
                              .valuelen = headers[i].value.n};
    return n;
}

int h2_connect(struct h2 *h, const struct h2_header *headers, size_t n, void *stream, int32_t *ret_id) {
    nghttp2_nv lines[H2_HEADERS_MAX];
    nghttp2_data_provider from = {.read_callback = h2_out_read};
    uint32_t limit = nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    struct h2_stream *s;
    int32_t id;

    check(!h->server);
    if (h->dead || h->verdict || h->draining || h->n_streams >= min_of(limit, (uint32_t)H2_STREAMS_MAX) ||
        !nghttp2_session_check_request_allowed(h->ng))
        return 1;
    s = h2_stream_add(h, 0);
    if (!s)
        return -ENOMEM;
    id = nghttp2_submit_request(h->ng, NULL, lines, lines_of(headers, n, lines), &from, s);
    if (id < 0) {
        s->forgotten = true;
        h2_stream_gone(h, s, H2_INTERNAL_ERROR);
        return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE ? 1 : -EINVAL;
    }
    s->id = id;
    s->context = stream;
    *ret_id = id;
    return 0;
}

void h2_stream_trailers(struct h2 *h, int32_t id, const struct h2_header *headers, size_t n) {
    nghttp2_nv lines[H2_HEADERS_MAX];
    struct h2_stream *s = h2_stream_find(h, id);

    check(h2_draining(h) && s && !s->trailed);
    s->trailed = true;
    h2_note(h, nghttp2_submit_trailer(h->ng, id, lines, lines_of(headers, n, lines)));
}

static int respond(struct h2 *h, struct h2_stream *s, const struct h2_header *headers, size_t n, bool stays_open) {
    nghttp2_nv lines[H2_HEADERS_MAX];
    nghttp2_data_provider from = {.read_callback = h2_out_read};
    int r = nghttp2_submit_response(h->ng, s->id, lines, lines_of(headers, n, lines), stays_open ? &from : NULL);

    return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : r ? 1 : 0;
}

int h2_accept(struct h2 *h, int32_t id, const struct h2_header *headers, size_t n, void *stream) {
    struct h2_stream *s = h2_stream_find(h, id);
    int r;

    check(h->server);
    if (h->dead || !s || h2_stream_silent(s))
        return 1;
    check(!s->responded);
    r = respond(h, s, headers, n, true);
    if (r == 0) {
        s->responded = true;
        s->context = stream;
    }
    return r;
}

int h2_refuse(struct h2 *h, int32_t id, const struct h2_header *headers, size_t n) {
    struct h2_stream *s = h2_stream_find(h, id);
    int r;

    check(h->server);
    if (h->dead || !s || h2_stream_silent(s))
        return 1;
    check(!s->responded);
    r = respond(h, s, headers, n, false);
    if (r == 0)
        s->responded = s->refused = true;
    return r;
}

void h2_stream_attach(struct h2 *h, int32_t id, void *stream) {
    struct h2_stream *s = h2_stream_find(h, id);

    if (s && !s->forgotten)
        s->context = stream;
}

void *h2_stream_context(const struct h2 *h, int32_t id) {
    struct h2_stream *s = h2_stream_find(h, id);

    return s && !s->forgotten && !s->refused ? s->context : NULL;
}

void h2_stream_ready(struct h2 *h, int32_t id) {
    struct h2_stream *s = h2_stream_find(h, id);

    if (s && s != h->turn && !list_linked(&s->ready) && !s->local_end && !h2_stream_silent(s))
        list_push_back(&h->ready, &s->ready);
}

/* nghttp2 knows what the peer may still send on a stream, padding included. Until our SETTINGS are acknowledged it counts from the
 * window that there is without them. */
static int32_t peer_may_send(const struct h2 *h, int32_t id) {
    int32_t begins = (int32_t)nghttp2_session_get_local_settings(h->ng, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);

    return nghttp2_session_get_stream_local_window_size(h->ng, id) + H2_STREAM_WINDOW - begins;
}

void h2_stream_delivered(struct h2 *h, int32_t id, size_t n) {
    struct h2_stream *s = h2_stream_find(h, id);
    int32_t credit;

    if (!s || h->dead)
        return; /* the stream is gone and its window with it; the connection was credited on receipt */
    h2_window_give(&s->window, n, h->now_ns, h->shared);
    if (s->remote_end)
        return;
    credit = h2_window_credit(&s->window, peer_may_send(h, id), h->shared);
    if (credit)
        h2_note(h, nghttp2_submit_window_update(h->ng, NGHTTP2_FLAG_NONE, id, credit));
}

size_t h2_stream_window(const struct h2 *h, int32_t id) {
    const struct h2_stream *s = h2_stream_find(h, id);

    return s ? s->window.size : 0;
}

void h2_stream_reset(struct h2 *h, int32_t id, uint32_t error) {
    struct h2_stream *s = h2_stream_find(h, id);

    if (!s || s->resetting || h->dead)
        return;
    s->resetting = true;
    list_unlink(&s->ready);
    h->limits.n_blocks_fair += !h->server && !s->responded; /* its answer may be on its way */
    h2_note(h, nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, id, error));
}

void h2_stream_forget(struct h2 *h, int32_t id) {
    struct h2_stream *s = h2_stream_find(h, id);

    if (!s)
        return;
    s->context = NULL;
    s->forgotten = true;
    /* A stream that nobody owns must not stay open. */
    if (!s->refused && !(s->local_end && s->remote_end))
        h2_stream_reset(h, id, H2_CANCEL);
}

size_t h2_streams(const struct h2 *h) { return h->n_streams; }

size_t h2_stream_unsent_window(const struct h2 *h, int32_t id) {
    int32_t stream = nghttp2_session_get_stream_remote_window_size(h->ng, id);
    int32_t connection = nghttp2_session_get_remote_window_size(h->ng);

    return (size_t)max_of(min_of(stream, connection), 0);
}

void h2_ping(struct h2 *h, uint64_t payload) {
    if (!h->dead)
        h2_note(h, nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, (const uint8_t *)&payload));
}

bool h2_drain_pinged(const uint8_t payload[8]) { return !memcmp(payload, drain_mark, sizeof(drain_mark)); }

void h2_goaway(struct h2 *h, uint32_t error) {
    bool again = h->draining;

    if (h->dead || h->closing)
        return;
    h->draining = true;
    if (error != H2_NO_ERROR) {
        h->closing = true;
        h2_note(h, nghttp2_session_terminate_session(h->ng, error));
    } else if (h->server && !again) {
        /* Requests that are on their way are still served: the last id is told one round trip later (RFC 9113 6.8). */
        h2_note(h, nghttp2_submit_shutdown_notice(h->ng));
        h2_note(h, nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, drain_mark));
        h->drain_ping = true;
    } else {
        h->drain_ping = false;
        h2_note(h, nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng), H2_NO_ERROR,
                                         NULL, 0));
    }
}

const char *h2_error_text(uint32_t error) { return nghttp2_http2_strerror(error); }
const char *h2_library_version(void) { return nghttp2_version(0)->version_str; }
