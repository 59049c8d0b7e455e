/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/doors_stats.h - what the doors' thread counts; written by it alone, read by admin at any time. Allocated by app */
#pragma once

#include <ringwall/base/counter.h>

/* X(name, help) */
#define DOORS_GAUGES(X) \
    X(connections, "connections of local programs open now") \
    X(streams, "calls of local programs under way") \
    X(outside_connections, "connections of ca.listen open now")
#define DOORS_COUNTERS(X) \
    X(accepted, "connections of local programs accepted") \
    X(calls, "calls of local programs") \
    X(refused_caller, "calls refused: the caller is no enrolled workload, or cannot be told") \
    X(refused_request, "calls refused: malformed, unknown, or for what the caller may not have") \
    X(refused_bound, "connections and calls refused or cut: too many, too slow, idle") \
    X(responses, "messages sent to local programs") \
    X(acks, "SDS responses that the client took") \
    X(nacks, "SDS responses that the client refused") \
    X(stale, "SDS requests with the nonce of an older response") \
    X(ack_late, "news of trust confirmed before every SDS stream had answered it") \
    X(jwts, "JWT-SVIDs given out") \
    X(crl_withheld, "trust bundles sent by SDS without their revocation lists, which do not cover every issuer") \
    X(outside_accepted, "ca.listen: connections accepted") \
    X(outside_handshakes_failed, "ca.listen: TLS handshakes failed") \
    X(outside_handshakes_limited, "ca.listen: connections refused by the limit on handshakes per source") \
    X(outside_calls, "ca.listen: calls") \
    X(outside_issued, "ca.listen: certificates given out") \
    X(outside_refused_caller, "ca.listen: calls refused, the caller is not believed or may not have that identity") \
    X(outside_refused_request, "ca.listen: calls refused, malformed or unknown") \
    X(outside_refused_bound, "ca.listen: connections and calls refused or cut, too many, too large, too slow, idle") \
    X(outside_failed, "ca.listen: calls and connections that ended for another reason")
struct doors_stats {
#define DOORS_FIELD(name, help) struct counter name;
    DOORS_GAUGES(DOORS_FIELD)
    DOORS_COUNTERS(DOORS_FIELD)
#undef DOORS_FIELD
} __attribute__((aligned(64)));
