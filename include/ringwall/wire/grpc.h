/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/grpc.h - gRPC over HTTP/2 as a bytes machine: a server's side and a client's side of one connection
 *
 * Bytes from the peer go in by feed, bytes for the peer come out by drain, events come by callbacks that run inside feed, drain
 * and tick only. Callbacks may send, finish, cancel and call; they must not free the machine, feed or drain. Not thread-safe. No
 * I/O, no clock: now_ns is monotonic time. No compression: another grpc-encoding is answered UNIMPLEMENTED, a compressed message
 * INTERNAL. HTTP/2 itself, its bounds and its floods are wire/h2.h's.
 * Memory of one connection is at most streams_max * (message_max + sent_max) and some; a message is buffered as it comes, never by
 * the length that it announces. Queued messages are wiped when they are freed: keys go this way. */
#pragma once

#include <ringwall/base/secret.h>
#include <ringwall/base/str.h>

enum {
    GRPC_METADATA_MAX = 32,          /* lines that a call is shown or opened with */
    GRPC_TEXT_MAX = 512,             /* bytes of a grpc-message, before its encoding */
    GRPC_PATH_MAX = 256,             /* a longer path is unknown */
    GRPC_DRAIN_MIN = 16 * 1024,      /* least room for drain */
    GRPC_TIMEOUT_MAX_S = 365 * 86400 /* a longer grpc-timeout is no deadline */
};
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
    _GRPC_CODE_MAX
};
const char *grpc_code_text(enum grpc_code code); /* "INVALID_ARGUMENT" */

struct grpc_metadata {
    struct str name, value; /* lower-case name; values of names that end in -bin are base64, as on the wire */
};
/* The value of the one line of that name; STR_NULL when there is none, or more than one. */
struct str grpc_metadata_get(const struct grpc_metadata *m, size_t n, struct str name);
struct grpc_limits {
    uint32_t message_max; /* bytes of a message from the peer */
    uint32_t streams_max; /* calls open at once; a server answers more with UNAVAILABLE. At most H2_STREAMS_MAX count */
    uint32_t sent_max;    /* bytes queued for the peer on one stream */
};
enum grpc_verdict { GRPC_FED = 0, GRPC_BROKEN = 1 /* protocol error */, GRPC_FLOOD = 2 };

/* Server. */
struct grpc_server;
struct grpc_server_callbacks {
    /* A call whose headers are in order (POST, content type, te, encoding). An unknown path: grpc_server_finish with
     * GRPC_UNIMPLEMENTED. The strings are valid during the call. */
    void (*call)(void *owner, int32_t id, struct str path, const struct grpc_metadata *m, size_t n);
    void (*message)(void *owner, int32_t id, const uint8_t *bytes, size_t n); /* one whole message, valid during the call */
    void (*half_closed)(void *owner, int32_t id);                             /* no message follows */
    /* The call is gone before grpc_server_finish: reset, or answered by us (deadline, message too large). Last word on this id;
     * after grpc_server_finish nothing comes at all. */
    void (*cancelled)(void *owner, int32_t id);
};
struct grpc_server_stats {
    uint64_t calls;             /* shown to the owner */
    uint64_t refused_http;      /* method, content type, te: answered with an HTTP status */
    uint64_t refused_encoding;  /* grpc-encoding or a compressed message */
    uint64_t refused_timeout;   /* grpc-timeout that is none */
    uint64_t refused_path;      /* longer than GRPC_PATH_MAX */
    uint64_t refused_streams;   /* over streams_max */
    uint64_t refused_message;   /* larger than message_max */
    uint64_t refused_framing;   /* cut short, or with an unknown flag */
    uint64_t deadlines, resets; /* ended by grpc-timeout; by the peer */
    uint64_t stalled;           /* reset by us: finished, and the peer did not read it */
};
int grpc_server_new(const struct grpc_server_callbacks *cb, void *owner, const struct grpc_limits *limits,
                    struct grpc_server **ret) must_check;    /* -ENOMEM */
struct grpc_server *grpc_server_free(struct grpc_server *s); /* calls no callback */
DEFINE_FREEP(struct grpc_server, grpc_server_free)
/* Verdicts of enum grpc_verdict, sticky: drain, then close. -ENOMEM: finished. */
int grpc_server_feed(struct grpc_server *s, const uint8_t *bytes, size_t n, uint64_t now_ns) must_check;
size_t grpc_server_drain(struct grpc_server *s, uint8_t *to, size_t cap); /* cap >= GRPC_DRAIN_MIN; 0: nothing now */
bool grpc_server_wants_send(const struct grpc_server *s);
bool grpc_server_finished(const struct grpc_server *s); /* neither direction will carry anything more */
/* Ends calls whose grpc-timeout is over, and resets finished ones that the peer does not read. Call it each second or so while
 * there are calls. */
void grpc_server_tick(struct grpc_server *s, uint64_t now_ns);
/* Queues one message; headers go first. 0; 1: the call is gone or finished; 2: its queue is at the bound (the peer does not
 * read): nothing queued. -ENOMEM. A first message is taken however large, when the queue is empty. */
int grpc_server_send(struct grpc_server *s, int32_t id, const uint8_t *bytes, size_t n) must_check;
/* As grpc_server_send, without a copy: on 0 the secret is the queue's and *message is SECRET_NULL. */
int grpc_server_send_secret(struct grpc_server *s, int32_t id, struct secret *message) must_check;
size_t grpc_server_queued(const struct grpc_server *s, int32_t id); /* bytes not yet handed to drain; 0 too when gone */
/* Ends a call after what is queued: trailers, or trailers alone when nothing was sent. message: UTF-8, cut at GRPC_TEXT_MAX. */
void grpc_server_finish(struct grpc_server *s, int32_t id, enum grpc_code code, struct str message);
void grpc_server_goaway(struct grpc_server *s);        /* graceful: open calls go on */
size_t grpc_server_calls(const struct grpc_server *s); /* open now */
const struct grpc_server_stats *grpc_server_stats(const struct grpc_server *s);

/* Client. */
struct grpc_client;
struct grpc_client_callbacks {
    void (*message)(void *owner, int32_t id, const uint8_t *bytes, size_t n); /* one whole message, valid during the call */
    /* The call is over, by its status or for want of one; exactly once for each call that grpc_client_call opened, last word on
     * its id. Not after grpc_client_cancel, nor by grpc_client_free. message: printable UTF-8, maybe empty. */
    void (*finished)(void *owner, int32_t id, enum grpc_code code, struct str message);
    void (*goaway)(void *owner); /* the peer drains: open no more calls */
    void (*pong)(void *owner);   /* answer to grpc_client_ping */
};
struct grpc_client_options {
    struct str authority; /* of every call, "istiod.istio-system.svc:15012"; at most GRPC_PATH_MAX bytes; copied */
    bool tls;             /* :scheme https */
    struct grpc_limits limits;
};
int grpc_client_new(const struct grpc_client_callbacks *cb, void *owner, const struct grpc_client_options *o,
                    struct grpc_client **ret) must_check;
struct grpc_client *grpc_client_free(struct grpc_client *c);
DEFINE_FREEP(struct grpc_client, grpc_client_free)
int grpc_client_feed(struct grpc_client *c, const uint8_t *bytes, size_t n, uint64_t now_ns) must_check;
size_t grpc_client_drain(struct grpc_client *c, uint8_t *to, size_t cap);
bool grpc_client_wants_send(const struct grpc_client *c);
bool grpc_client_finished(const struct grpc_client *c);
void grpc_client_tick(struct grpc_client *c, uint64_t now_ns); /* finishes calls past their deadline, and resets them */
/* Opens a call. timeout_ns: 0 none, else told to the peer and kept by grpc_client_tick from now_ns on. 0 with its id; 1: no call
 * can be opened (bound, GOAWAY). */
int grpc_client_call(struct grpc_client *c, struct str path, const struct grpc_metadata *m, size_t n, uint64_t timeout_ns,
                     uint64_t now_ns, int32_t *ret_id) must_check;
/* As grpc_server_send. last: the request is complete with this message. */
int grpc_client_send(struct grpc_client *c, int32_t id, const uint8_t *bytes, size_t n, bool last) must_check;
void grpc_client_half_close(struct grpc_client *c, int32_t id);
void grpc_client_cancel(struct grpc_client *c, int32_t id); /* no callback for it any more */
void grpc_client_ping(struct grpc_client *c);
/* The connection is lost: every open call is finished with UNAVAILABLE. feed does this itself before it gives a bad verdict. */
void grpc_client_lost(struct grpc_client *c, struct str message);
