/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/stats.h - what a worker counts; written by it alone, read by admin at any time. Allocated by app, one a worker */
#pragma once

#include <ringwall/base/counter.h>
#include <ringwall/model/close_reason.h>

enum stats_direction { STATS_INBOUND, STATS_OUTBOUND, _STATS_DIRECTION_MAX };
/* X(name, metric type, Prometheus name without labels, help) */
#define WORKER_GAUGES(X) \
    X(flows_open, "flows open now") \
    X(tunnels_open, "tunnels open now") \
    X(buffers_used, "buffer chunks in use") \
    X(tls_bytes, "bytes held by TLS sessions") \
    X(cpu_latency_bound, "1 while the worker asks for processors that wake within cpuLatency") \
    X(listeners, "listening sockets") \
    X(world_number, "number of the world this worker judges by")
#define WORKER_COUNTERS(X) \
    X(handshakes, "TLS handshakes completed") \
    X(handshakes_failed, "TLS handshakes failed") \
    X(handshakes_limited, "connections refused by the limit on handshakes per source") \
    X(accept_failed, "accepts that failed") \
    X(flows_parked, "flows that waited for a certificate") \
    X(flows_retried, "further attempts of flows that were not open yet, by another tunnel or endpoint") \
    X(endpoints_ejected, "endpoints of services passed over for a while after failures in a row") \
    X(flows_rejudged, "open flows judged again after a new world") \
    X(loop_turns, "turns of the loop") \
    X(mail_lost, "messages that a full mailbox refused")

/* Denials by policy and reason. Policies come and go, so their names are bounded here: an entry is written once, before
 * n_items counts it, and stays; what finds no place any more is counted under `other`. */
enum { STATS_DENIED_MAX = 128, STATS_POLICY_BYTES = 320 };
struct stats_denied {
    struct counter n;
    enum close_reason reason;
    uint32_t policy_bytes;
    char policy[STATS_POLICY_BYTES]; /* "namespace/name"; empty: no policy decided */
};
struct stats_denials {
    _Atomic size_t n_items; /* released by the worker, acquired by readers */
    struct stats_denied items[STATS_DENIED_MAX];
    struct counter other[_CLOSE_REASON_MAX];
};

struct worker_stats {
    struct counter opened[_STATS_DIRECTION_MAX], opened_mtls[_STATS_DIRECTION_MAX];
    struct counter closed[_STATS_DIRECTION_MAX][_CLOSE_REASON_MAX];
    struct counter bytes_sent[_STATS_DIRECTION_MAX], bytes_received[_STATS_DIRECTION_MAX];
#define STATS_FIELD(name, help) struct counter name;
    WORKER_GAUGES(STATS_FIELD)
    WORKER_COUNTERS(STATS_FIELD)
#undef STATS_FIELD
    struct stats_denials denied;
    struct stats_denials dry_run; /* reason POLICY_DENIED: would have denied; NONE: would have allowed */
} __attribute__((aligned(64)));
