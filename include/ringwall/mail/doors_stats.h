/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/doors_stats.h - what the doors' thread counts; written by it alone, read by admin at any time. Allocated by app */
#pragma once

#include <ringwall/base/counter.h>

/* X(name, help) */
#define DOORS_GAUGES(X) \
    X(connections, "connections of local programs open now") \
    X(streams, "calls of local programs under way")
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
    X(crl_withheld, "trust bundles sent by SDS without their revocation lists, which do not cover every issuer")
struct doors_stats {
#define DOORS_FIELD(name, help) struct counter name;
    DOORS_GAUGES(DOORS_FIELD)
    DOORS_COUNTERS(DOORS_FIELD)
#undef DOORS_FIELD
} __attribute__((aligned(64)));
