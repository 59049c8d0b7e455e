/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/hbone.h - the CONNECT request of HBONE: headers in, a checked struct out, and back (facts/ztunnel.md 2.3, 2.4) */
#pragma once

#include <ringwall/model/addr.h>
#include <ringwall/model/identity.h>
#include <ringwall/wire/h2.h>

enum { HBONE_HOST_MAX = 253, HBONE_HEADERS_MAX = 10, HBONE_TEXT_MAX = 2048, HBONE_TRACE_ID = 32 };

/* Status codes of facts/ztunnel.md 2.4 */
enum hbone_status { HBONE_OK = 200, HBONE_BAD_REQUEST = 400, HBONE_DENIED = 401, HBONE_UNAVAILABLE = 503 };

/* What a server learns. Hints (forwarded, baggage, trace) are for logs and metrics only, never for trust. */
struct hbone_request {
    bool has_address;              /* authority was IP:port */
    struct endpoint address;       /* then this */
    char host[HBONE_HOST_MAX + 1]; /* else a host name, lower case */
    uint16_t port;
    char service_hint[HBONE_HOST_MAX + 1]; /* forwarded's host=, empty when none */
    char trace_id[HBONE_TRACE_ID + 1];     /* 32 hex of a well-formed traceparent, else empty */
    struct {
        char name[64], ns[64], cluster[64], service[64], revision[64];
    } source; /* baggage, cut and cleaned */
};
enum hbone_verdict {
    HBONE_REQUEST_OK = 0,
    HBONE_NOT_CONNECT = 1,   /* 400 */
    HBONE_NO_AUTHORITY = 2,  /* 400 */
    HBONE_BAD_AUTHORITY = 3, /* 400: no port, port 0, not an address or host name */
    HBONE_EXTENDED = 4,      /* 400: :protocol, :scheme or :path beside CONNECT */
};
int hbone_consume_request(const struct h2_header *headers, size_t n, struct hbone_request *ret) must_check;
const char *hbone_verdict_text(int verdict);

/* Our CONNECT. Absent values are empty. */
struct hbone_connect {
    struct endpoint address;                                                            /* :authority */
    struct endpoint client;                                                             /* forwarded: for= */
    struct str service;                                                                 /* ;host= when a service was dialled */
    struct str cluster, ns, workload, workload_type, canonical, revision, region, zone; /* baggage */
    char trace_id[HBONE_TRACE_ID + 1];                                                  /* filled by the caller (random) */
    char span_id[17];
};
struct hbone_headers { /* storage for header text */
    struct h2_header items[HBONE_HEADERS_MAX];
    size_t n;
    char text[HBONE_TEXT_MAX];
};
void hbone_create_connect(const struct hbone_connect *c, struct hbone_headers *ret);

/* Responses. The reason header is ours (x-ringwall-reason): a short word of tbl/close_reason.h; unknown to others, ignored by them.
 */
void hbone_create_response(enum hbone_status status, const char *reason, struct hbone_headers *ret);
struct hbone_response {
    unsigned status; /* 0: no readable :status */
    char reason[64]; /* [a-z0-9_-] only, else empty */
};
void hbone_consume_response(const struct h2_header *headers, size_t n, struct hbone_response *ret);
