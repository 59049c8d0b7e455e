/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2.h - an HTTP/2 connection for CONNECT tunnels and for gRPC (wire/grpc.h), as a bytes machine over nghttp2
 *
 * Bytes from the peer go in by h2_feed, bytes for the peer come out by h2_drain; events come by callbacks that run inside
 * h2_feed or h2_drain only. No callback may free the session; it may open, reset or end streams. Not thread-safe.
 * Flow control: connection-level credit is returned on receipt, stream-level credit when the owner says the bytes were
 * delivered (h2_stream_delivered), so one stopped reader never holds another stream (facts/ztunnel.md 14 #2). A stream's window
 * follows its reader (h2_window.c) within what the sessions of one owner may hold together (struct h2_shared).
 * Floods (rapid reset, SETTINGS, PING, headers, CONTINUATION, empty frames) end the session with a verdict.
 * Settings: facts/ztunnel.md 2.5: we accept 4 MiB windows and 1 MiB frames; we advertise H2_STREAM_WINDOW a stream. */
#pragma once

#include <ringwall/base/buf.h>
#include <ringwall/base/str.h>

enum {
    H2_STREAM_WINDOW = 256 * 1024,           /* what a peer may send on a stream at first, and on one that is read slowly */
    H2_STREAM_WINDOW_MAX = 4 * 1024 * 1024,  /* and at most, when its reader is quick and the window is what holds it up */
    H2_CONNECTION_WINDOW = 16 * 1024 * 1024, /* and on the connection */
    H2_FRAME_MAX = 1024 * 1024,              /* largest DATA frame accepted from a peer */
    H2_SEND_FRAME_MAX = 16 * 1024 - 64,      /* largest payload of DATA that h2_drain_bytes makes: it fits one TLS record */
    H2_QUEUE_FRAME_MAX = 64 * 1024,          /* and h2_drain */
    H2_HEADER_LIST_MAX = 16 * 1024,
    H2_STREAMS_MAX = 200,          /* advertised by a server */
    H2_RESETS_MAX_PER_S = 200,     /* requests a peer may take back unanswered a second, burst twice that */
    H2_CONTROL_MAX_PER_S = 500,    /* PING, SETTINGS, PRIORITY, empty DATA, WINDOW_UPDATE of 1, a second */
    H2_CONTROL_BACKLOG_MAX = 1000, /* replies (ACKs) queued for a peer that does not read */
};
enum h2_error { /* RFC 9113 section 7 */
                H2_NO_ERROR = 0,
                H2_PROTOCOL_ERROR = 1,
                H2_INTERNAL_ERROR = 2,
                H2_FLOW_CONTROL_ERROR = 3,
                H2_STREAM_CLOSED = 5,
                H2_REFUSED_STREAM = 7,
                H2_CANCEL = 8,
                H2_CONNECT_ERROR = 10,
                H2_ENHANCE_YOUR_CALM = 11,
};

struct h2;
struct h2_header {
    struct str name, value; /* lower-case name */
};
/* `stream` is the context given at h2_connect, h2_stream_attach or h2_accept; NULL before that. All callbacks must be set but those
 * of the other side (request; response) and trailers. */
struct h2_callbacks {
    /* server: a request's headers are complete. Answer by h2_accept or h2_refuse, now or later (by id). Until then data, end
     * and closed may come with a NULL stream: a peer may send before it is accepted (at most H2_STREAM_WINDOW). */
    void (*request)(void *owner, int32_t id, const struct h2_header *headers, size_t n, bool end_stream);
    /* client: a response's headers (1xx are not shown). end_stream, as in request: no call of `end` follows. */
    void (*response)(void *owner, int32_t id, void *stream, const struct h2_header *headers, size_t n, bool end_stream);
    /* payload; valid during the call; count it delivered later by h2_stream_delivered */
    void (*data)(void *owner, int32_t id, void *stream, const uint8_t *bytes, size_t n);
    void (*end)(void *owner, int32_t id, void *stream); /* END_STREAM of the peer */
    /* The stream is gone: by a reset of either side (error told) or after both ended (H2_NO_ERROR, orderly = true). Last call for
     * it, exactly once for each stream opened or shown, but not after h2_refuse or h2_stream_forget, nor by h2_free. A peer's
     * RST_STREAM(NO_ERROR) before both ends is told as error 0 and orderly false. */
    void (*closed)(void *owner, int32_t id, void *stream, uint32_t error, bool orderly);
    /* Move up to cap bytes to send to the end of `to`. Returns how many; 0 with *ret_end false: nothing now (h2_stream_ready wakes
     * it); *ret_end true: these were the last (END_STREAM). Of a session that is drained by h2_drain. */
    size_t (*pull)(void *owner, int32_t id, void *stream, struct bufq *to, size_t cap, bool *ret_end);
    /* The same for one that is drained by h2_drain_bytes: copy them to `to`. */
    size_t (*pull_bytes)(void *owner, int32_t id, void *stream, uint8_t *to, size_t cap, bool *ret_end);
    void (*goaway)(void *owner, uint32_t error, int32_t last_id); /* peer drains: open nothing more */
    void (*ping_ack)(void *owner, uint64_t payload);
    void (*settings)(void *owner, uint32_t max_streams); /* peer's SETTINGS arrived */
    /* Header lines after the payload; `end` follows at once. NULL: not shown. */
    void (*trailers)(void *owner, int32_t id, void *stream, const struct h2_header *headers, size_t n);
};

/* What the sessions of one owner share, in one thread. Windows grow while less than half of the pool is used, and are as at first
 * again when less than a quarter of it is left. */
struct h2_shared {
    struct buf_pool *pool; /* of the queues that h2_drain fills */
    size_t windows_max;    /* bytes that all streams' windows together may have above H2_STREAM_WINDOW each */
    size_t windows;        /* and have */
};
/* -ENOMEM. `shared` must outlive the session; NULL: windows do not grow, and it is drained by h2_drain_bytes. */
int h2_client_new(const struct h2_callbacks *cb, void *owner, struct h2_shared *shared, struct h2 **ret) must_check;
int h2_server_new(const struct h2_callbacks *cb, void *owner, struct h2_shared *shared, struct h2 **ret) must_check;
struct h2 *h2_free(struct h2 *h); /* calls no callback */
DEFINE_FREEP(struct h2, h2_free)

enum h2_verdict { H2_OK = 0, H2_BROKEN = 1 /* protocol error */, H2_FLOOD = 2 };
/* now_ns (monotonic) drives the flood limits. Takes all n bytes. After a bad verdict, which is sticky: drain (GOAWAY), then close.
 * -ENOMEM: no memory; the session is finished. A flood of resets that we were made to send can end the session in h2_drain:
 * ask h2_finished after draining. */
int h2_feed(struct h2 *h, const uint8_t *bytes, size_t n, uint64_t now_ns) must_check;
/* Appends about max bytes (>= H2_SEND_FRAME_MAX + 64; a control frame may go beyond) to a queue of the shared pool: payload as it
 * was pulled, the rest by copy. Returns how many; 0: nothing to send now, or the pool is at its bound (h2_wants_send tells). */
size_t h2_drain(struct h2 *h, struct bufq *to, size_t max);
/* Writes up to cap (>= H2_SEND_FRAME_MAX + 64) bytes; 0: nothing to send now. For what must lie in its owner's memory alone, as
 * keys do, and for those who have no pool. */
size_t h2_drain_bytes(struct h2 *h, uint8_t *to, size_t cap);
bool h2_wants_send(const struct h2 *h);
bool h2_finished(const struct h2 *h); /* neither direction will carry anything more */
/* A draining server has not heard yet that its GOAWAY arrived: requests may be on their way, and will be served. A second
 * h2_goaway does not wait for them: they are refused. */
bool h2_drain_crossing(const struct h2 *h);

/* Client: opens a stream. 0 with its id, or 1: no stream can be opened (limit, GOAWAY, ids used up). Names and values are copied.
 */
int h2_connect(struct h2 *h, const struct h2_header *headers, size_t n, void *stream, int32_t *ret_id) must_check;
/* Answers a request: accept keeps the stream open (headers with :status 200), refuse ends it. 1: the stream is gone. */
int h2_accept(struct h2 *h, int32_t id, const struct h2_header *headers, size_t n, void *stream) must_check;
int h2_refuse(struct h2 *h, int32_t id, const struct h2_header *headers, size_t n) must_check;
void h2_stream_attach(struct h2 *h, int32_t id, void *stream); /* server: gives a request its context before the answer */
void *h2_stream_context(const struct h2 *h, int32_t id);       /* NULL: none, gone, refused or forgotten */
/* In pull only, before it says *ret_end: these lines go behind the payload and end our side. A request that was answered so is
 * reset with NO_ERROR when the peer has not ended it (RFC 9113 section 8.1). */
void h2_stream_trailers(struct h2 *h, int32_t id, const struct h2_header *headers, size_t n);
void h2_stream_ready(struct h2 *h, int32_t id);               /* pull has something again */
void h2_stream_delivered(struct h2 *h, int32_t id, size_t n); /* n bytes of data left our memory */
void h2_stream_reset(struct h2 *h, int32_t id, uint32_t error);
void h2_stream_forget(struct h2 *h, int32_t id);         /* no more callbacks for it; reset with CANCEL unless both sides ended */
size_t h2_streams(const struct h2 *h);                   /* open now */
size_t h2_stream_window(const struct h2 *h, int32_t id); /* what the peer may have sent and we not delivered; 0: no such stream */
size_t h2_stream_unsent_window(const struct h2 *h, int32_t id); /* bytes the peer lets us send on it now */
void h2_ping(struct h2 *h, uint64_t payload);
void h2_goaway(struct h2 *h,
               uint32_t error); /* H2_NO_ERROR: graceful, open streams go on; else the session ends at the next drain */
/* Name and version of the library behind this room, for `ringwall version`. Returns `to`. */
const char *h2_library_text(char *to, size_t n);
const char *h2_error_text(uint32_t error);
size_t h2_memory_used(void); /* nghttp2's allocations of this thread */
