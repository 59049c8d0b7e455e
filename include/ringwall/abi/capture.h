/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 * abi/capture.h - what the eBPF programs and user space share: map keys, values, limits, reasons
 *
 * Fixed-width fields, no pointers, padding spelled out, sizes asserted on both sides. Addresses are 16 bytes, IPv4 as
 * v4-mapped IPv6 (::ffff:a.b.c.d), in network order; ports are in host order.
 *
 * An absent or zero value always means refuse, never pass. */
#pragma once

#ifndef __bpf__
#include <stdint.h>
typedef uint8_t abi_u8;
typedef uint16_t abi_u16;
typedef uint32_t abi_u32;
typedef uint64_t abi_u64;
#else
typedef __u8 abi_u8;
typedef __u16 abi_u16;
typedef __u32 abi_u32;
typedef __u64 abi_u64;
#endif

enum {
    CAPTURE_WORKLOADS_MAX = 16384,
    CAPTURE_ORIGDST_MAX = 262144, /* connections between connect() and close, node-wide */
    CAPTURE_EXEMPT_MAX = 64,
    CAPTURE_ANNOUNCED_MAX = 65536,
    CAPTURE_ANCESTOR_LEVELS = 16, /* cgroup levels walked towards the root */
    CAPTURE_LISTENERS_MAX = 64,   /* inbound listeners of a pod, one a worker */
    CAPTURE_OWN_MAX = 8,          /* own addresses that a pod's sk_lookup knows */
    CAPTURE_MARK = 0x539,         /* SO_MARK of our sockets to an application, as ztunnel's */
    CAPTURE_ROUTE_TABLE = 100,
    CAPTURE_PORT_OUTBOUND = 15001,
    CAPTURE_PORT_INBOUND = 15006,
    CAPTURE_PORT_HBONE = 15008,
};

struct capture_addr {
    abi_u8 bytes[16];
};

/* Array of one. All zero (also: never written) = not ready: TCP connects below the attach point are refused. */
struct capture_state {
    abi_u32 ready; /* 1 once a valid world's workloads are in the maps */
    abi_u32 port_outbound;
    abi_u64 generation; /* start of the daemon that wrote it, for diagnosis */
};

/* cgroup id -> workload; found by walking from the process's cgroup towards the root. */
struct capture_workload {
    abi_u64 netns_cookie;           /* must equal the socket's; 0 never matches */
    abi_u32 id;                     /* the daemon's number for it, > 0 */
    abi_u32 flags;                  /* CAPTURE_WL_* */
    struct capture_addr own4, own6; /* what getsockname shows; all zero: none of that family */
};
enum { CAPTURE_WL_CAPTURED = 1 }; /* without it: closed, every connect is refused */

/* netns cookie -> the daemon's number of the workload that lives there (abi_u32): a connect from this namespace by a
 * process outside the workload's cgroup is refused. */

/* cgroup id -> abi_u32, one of these. SELF alone where the daemon stands in the very cgroup that is captured: there
 * everything below it is a workload. */
enum capture_exempt { CAPTURE_EXEMPT_TREE = 1, CAPTURE_EXEMPT_SELF = 2 };

/* key of the original-destination map */
struct capture_tuple {
    abi_u64 netns_cookie;
    struct capture_addr local_addr; /* of the client's socket, as its peer (our listener) sees it */
    abi_u16 local_port;
    abi_u16 pad[3];
};
struct capture_origdst {
    struct capture_addr addr;
    abi_u16 port;
    abi_u16 pad;
    abi_u32 workload_id;
    abi_u64 cgroup_id; /* the enrolled cgroup that the walk found */
};

/* key of the announced-tuples map: a connection that a pod's sk_lookup admits once */
struct capture_announced {
    struct capture_addr src, dst;
    abi_u16 src_port, dst_port;
    abi_u32 pad;
};

/* Per-CPU array of counters, index = enum capture_count. */
#define CAPTURE_COUNTS(X) \
    X(CONNECTS, connects, "connects seen of enrolled workloads") \
    X(REDIRECTED, redirected, "connects sent to the outbound listener") \
    X(EXEMPT, exempt, "connects of the daemon's own cgroup") \
    X(UNTOUCHED, untouched, "connects of processes that are not enrolled") \
    X(LOCAL, local, "connects to loopback or the workload's own address, left alone") \
    X(REFUSED_NOT_READY, refused_not_ready, "connects refused: no valid world yet, or the workload could not be set up") \
    X(REFUSED_MISMATCH, refused_mismatch, "connects refused: cgroup and network namespace name different workloads") \
    X(REFUSED_STORAGE, refused_storage, "connects refused: no room to keep the original destination") \
    X(REFUSED_DEVICE, refused_device, "connects refused: socket bound to a device") \
    X(ORIGDST_FULL, origdst_full, "original destination not kept: the map is full; the proxy refuses the connection") \
    X(INBOUND_TAKEN, inbound_taken, "inbound connections handed to the inbound listener") \
    X(INBOUND_DROPPED, inbound_dropped, "inbound connections dropped: no listener") \
    X(ANNOUNCED, announced, "tuples announced") \
    X(ANNOUNCED_FULL, announced_full, "tuples not announced: the map is full") \
    X(ADMITTED, admitted, "announced connections let through")
enum capture_count {
#define CAPTURE_COUNT_ENUM(upper, lower, text) CAPTURE_COUNT_##upper,
    CAPTURE_COUNTS(CAPTURE_COUNT_ENUM)
#undef CAPTURE_COUNT_ENUM
        _CAPTURE_COUNT_MAX
};

_Static_assert(sizeof(struct capture_addr) == 16, "abi");
_Static_assert(sizeof(struct capture_state) == 16, "abi");
_Static_assert(sizeof(struct capture_workload) == 48, "abi");
_Static_assert(sizeof(struct capture_tuple) == 32, "abi");
_Static_assert(sizeof(struct capture_origdst) == 32, "abi");
_Static_assert(sizeof(struct capture_announced) == 40, "abi");
