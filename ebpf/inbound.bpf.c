// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* inbound.bpf.c - hands every TCP connection that enters a pod to the daemon's inbound listener in that pod
 *
 * sk_lookup can ask neither netns nor cookie, so each pod's namespace gets an instance of its own: its constants below,
 * its own listener map; the two other maps are the pinned ones of capture.bpf.c. The accepted socket's local address is
 * the original destination, no port is rewritten.
 *
 * Passes what is not for us: the HBONE port, what comes over lo (our own connections to the application among it, which
 * are bound to lo), what the pod sends to itself, and announced tuples, once. Everything else goes to a listener; with
 * no listener it is dropped: an empty map never means pass.
 *
 * A listener is chosen here by hash and not by its SO_REUSEPORT group: a process of the pod could join that group. */
#include "bytes.h"

#include <linux/in.h>

enum { AF_INET = 2, LOOPBACK_IFINDEX = 1 };

/* Written before loading, constant after. */
const volatile __u32 own[CAPTURE_OWN_MAX][4]; /* the pod's addresses, network order, IPv4 mapped; zero: none */
const volatile __u32 n_listeners;
const volatile __u32 port_hbone;

struct {
    __uint(type, BPF_MAP_TYPE_SOCKMAP);
    __uint(max_entries, CAPTURE_LISTENERS_MAX); /* set to n_listeners before loading */
    __type(key, __u32);
    __type(value, __u64);
} listeners SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, CAPTURE_ANNOUNCED_MAX);
    __type(key, struct capture_announced);
    __type(value, __u32);
} announced SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, _CAPTURE_COUNT_MAX);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 what) {
    __u64 *n = bpf_map_lookup_elem(&counts, &what);
    if (n)
        __sync_fetch_and_add(n, 1);
}

static __always_inline bool is_own(const __u32 ip[4]) {
    for (int i = 0; i < CAPTURE_OWN_MAX; i++)
        if (own[i][3] && own[i][0] == ip[0] && own[i][1] == ip[1] && own[i][2] == ip[2] && own[i][3] == ip[3])
            return true;
    return false;
}

/* A worker that ended leaves a hole: the next one serves. */
static __always_inline int give(struct bpf_sk_lookup *ctx, const __u32 src[4], __u32 src_port) {
    __u32 n = n_listeners;
    if (n == 0 || n > CAPTURE_LISTENERS_MAX)
        return SK_DROP;
    __u32 at = ((src[0] ^ src[1] ^ src[2] ^ src[3] ^ src_port) * 2654435761u >> 8) % n;
    for (int i = 0; i < CAPTURE_LISTENERS_MAX && i < n; i++) {
        struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &at);
        if (sk) {
            long r = bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_NO_REUSEPORT);
            bpf_sk_release(sk);
            return r == 0 ? SK_PASS : SK_DROP;
        }
        at = at + 1 < n ? at + 1 : 0;
    }
    return SK_DROP;
}

SEC("sk_lookup")
int capture_inbound(struct bpf_sk_lookup *ctx) {
    if (ctx->protocol != IPPROTO_TCP || ctx->ingress_ifindex == LOOPBACK_IFINDEX || ctx->local_port == port_hbone)
        return SK_PASS;
    __u32 src[4] = {0, 0, MAPPED, ctx->remote_ip4}, dst[4] = {0, 0, MAPPED, ctx->local_ip4};
    bool v4 = ctx->family == AF_INET;
    if (!v4) {
        src[0] = ctx->remote_ip6[0];
        src[1] = ctx->remote_ip6[1];
        src[2] = ctx->remote_ip6[2];
        src[3] = ctx->remote_ip6[3];
        dst[0] = ctx->local_ip6[0];
        dst[1] = ctx->local_ip6[1];
        dst[2] = ctx->local_ip6[2];
        dst[3] = ctx->local_ip6[3];
    }
    /* The kernel drops such sources when they come from outside. A loopback *destination* is no reason to pass: with
     * route_localnet it can be reached from outside. */
    if (words_loopback(src, v4) || is_own(src))
        return SK_PASS;

    struct capture_announced key = {};
    addr_set(&key.src, src);
    addr_set(&key.dst, dst);
    key.src_port = bpf_ntohs(ctx->remote_port);
    key.dst_port = ctx->local_port;
    if (!bpf_map_delete_elem(&announced, &key)) {
        count(CAPTURE_COUNT_ADMITTED);
        return SK_PASS;
    }
    int verdict = give(ctx, src, key.src_port);
    count(verdict == SK_PASS ? CAPTURE_COUNT_INBOUND_TAKEN : CAPTURE_COUNT_INBOUND_DROPPED);
    return verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
