/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_session.h - what the sources of an HTTP/2 session share: h2.c (life, calls), h2_in.c (events from the peer),
 * h2_out.c (bytes for the peer), h2_window.c (how much a peer may send on a stream)
 *
 * Invariants: nghttp2 knows a stream by its user data, which is our h2_stream; a stream is freed only when nghttp2 has
 * closed it (or never opened it) or with the session, so no callback sees it vanish under itself. At most one stream
 * has its turn to send; the others that have something wait in `ready`, deferred in nghttp2. */
#pragma once

#include <nghttp2/nghttp2.h>

#include <ringwall/base/list.h>

#include "h2_limits.h"
#include "h2_memory.h"
#include "h2_window.h"

enum { H2_HEADERS_MAX = 100 /* header lines of one block */ };

struct h2_stream {
    struct list all, ready; /* ready is linked only while waiting for a turn */
    int32_t id;
    void *context; /* NULL until accepted or attached */
    struct h2_window window;
    bool responded; /* client: final response headers were shown */
    bool local_end, remote_end;
    bool reset;     /* RST_STREAM seen or sent */
    bool resetting; /* the owner asked for RST_STREAM */
    bool refused;   /* answered with END_STREAM: nothing more is shown */
    bool trailed;   /* trailers are queued behind the payload, which ends without END_STREAM */
    bool forgotten; /* no callback any more */
};

/* One header block being read; nghttp2's own reference-counted strings are held, not copied. */
struct h2_block {
    size_t n, bytes;
    nghttp2_rcbuf *held[2 * H2_HEADERS_MAX];
    struct h2_header items[H2_HEADERS_MAX];
};

struct h2 {
    nghttp2_session *ng;
    const struct h2_callbacks *cb;
    void *owner;
    struct h2_shared *shared; /* NULL: windows stay as they begin, and h2_drain_bytes only */
    struct list streams, ready;
    struct h2_stream *turn; /* may send now; NULL: nobody chosen */
    size_t n_streams;
    struct h2_block *block; /* NULL: none allocated */
    struct h2_limits limits;
    uint64_t now_ns;
    /* h2_drain and h2_drain_bytes at work: one of queue and out is set */
    struct bufq *queue;
    uint8_t *out;
    size_t out_n, out_cap;
    uint8_t *head;       /* of the DATA frame being made, in the queue; its payload: */
    struct bufq payload; /* empty between frames */
    bool out_data;       /* a DATA frame was written by this step */
    bool out_full;       /* the pool of the queue is at its bound */
    const uint8_t *rest; /* tail of a frame that did not fit; nghttp2's memory until its next step */
    size_t n_rest;
    int verdict; /* of h2_feed, sticky; 0: well */
    bool server;
    bool dead; /* no memory, or nghttp2 failed: nothing works any more */
    bool torn; /* it failed while it wrote: it may hold what it freed, see h2_free */
    struct h2 *torn_next;
    bool closing;    /* the owner asked for GOAWAY with an error */
    bool draining;   /* h2_goaway was called */
    bool drain_ping; /* GOAWAY's first half is out; its second follows the answer to a PING */
};

int h2_flooded(struct h2 *h);                  /* ends the session with ENHANCE_YOUR_CALM */
void h2_note(struct h2 *h, int library_error); /* a submit that can only fail for lack of memory */
struct h2_stream *h2_stream_find(const struct h2 *h, int32_t id);
struct h2_stream *h2_stream_add(struct h2 *h, int32_t id); /* NULL: no memory */
void h2_stream_gone(struct h2 *h, struct h2_stream *s, uint32_t error);
static inline bool h2_stream_silent(const struct h2_stream *s) { return s->forgotten || s->refused || s->resetting; }
void h2_block_drop(struct h2 *h);
bool h2_drain_pinged(const uint8_t payload[8]); /* the PING of a graceful GOAWAY */
void h2_in_callbacks(nghttp2_session_callbacks *c);
void h2_out_callbacks(nghttp2_session_callbacks *c);
static inline bool h2_draining(const struct h2 *h) { return h->queue || h->out; }
ssize_t h2_out_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t n, uint32_t *flags, nghttp2_data_source *source,
                    void *user);
