// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* capture.bpf.c - sends the TCP connects of enrolled workloads to the daemon's listener in their own network namespace
 *
 * connect4/6 judge and rewrite, and keep what they replaced in a storage on the client's socket. sockops copies that,
 * once the local port is known and before the SYN leaves, to a map the daemon's workers read; the entry goes when the
 * socket closes. getpeername and getsockname answer from the storage, so the application sees what it would see without
 * us. A second sockops program, attached to kubelet's cgroup, announces the tuples that a pod's sk_lookup (inbound.bpf.c)
 * lets through.
 *
 * Invariants: an absent or zero value refuses. A connect is let through untouched only for a reason that is counted.
 * The cgroup walk and the netns cookie must name the same workload: a process that left one of the two is refused.
 * What is no TCP stream passes: UDP, SCTP and raw sockets are not captured. */
#include "bytes.h"

#include <linux/in.h>

enum { AF_INET = 2, AF_INET6 = 10, SOCK_STREAM = 1, LOOPBACK_IFINDEX = 1 };

/* On the client's socket: what a redirected connect was before. */
struct redirected {
    struct capture_origdst origin;
    struct capture_tuple tuple; /* key of its entry in origdst; all zero: none yet */
    struct capture_addr shown;  /* what getsockname answers instead of loopback; all zero: the socket was bound, leave it */
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct capture_state);
} state SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, CAPTURE_WORKLOADS_MAX);
    __type(key, __u64); /* cgroup id */
    __type(value, struct capture_workload);
} workloads SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, CAPTURE_WORKLOADS_MAX);
    __type(key, __u64); /* netns cookie */
    __type(value, __u32);
} namespaces SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CAPTURE_EXEMPT_MAX);
    __type(key, __u64); /* cgroup id */
    __type(value, __u32);
} exempt SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, CAPTURE_ORIGDST_MAX);
    __type(key, struct capture_tuple);
    __type(value, struct capture_origdst);
} origdst SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct redirected);
} sockets SEC(".maps");

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
        __sync_fetch_and_add(n, 1); /* atomic: a softirq or another task may come between on this CPU */
}

/* --- judging a connect ------------------------------------------------------------------------------------------- */

enum verdict { REFUSE = 0, PASS = 1, REDIRECT = 2 };

static __always_inline int refuse(__u32 why) {
    count(why);
    return REFUSE;
}

static __always_inline int pass(__u32 why) {
    count(why);
    return PASS;
}

/* The innermost enrolled cgroup of the calling process, from its own towards the root. True: the process is the
 * daemon's, which wins over everything. */
static __always_inline bool walk(const struct capture_workload **ret, __u64 *ret_cgroup) {
    __u64 own = bpf_get_current_cgroup_id();
    const struct capture_workload *found = NULL;
    __u64 found_at = 0;
    for (int level = CAPTURE_ANCESTOR_LEVELS - 1; level >= 0; level--) {
        __u64 id = bpf_get_current_ancestor_cgroup_id(level);
        if (!id)
            continue;
        const __u32 *how = bpf_map_lookup_elem(&exempt, &id);
        if (how && (*how == CAPTURE_EXEMPT_TREE || (*how == CAPTURE_EXEMPT_SELF && id == own)))
            return true;
        if (!found) {
            found = bpf_map_lookup_elem(&workloads, &id);
            found_at = id;
        }
    }
    *ret = found;
    *ret_cgroup = found_at;
    return false;
}

static __always_inline int keep(struct bpf_sock *sk, const struct capture_workload *w, __u64 cgroup, const __u32 ip[4], __u16 port,
                                bool v4, bool bound) {
    struct redirected *r = bpf_sk_storage_get(&sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!r)
        return refuse(CAPTURE_COUNT_REFUSED_STORAGE);
    addr_set(&r->origin.addr, ip);
    r->origin.port = port;
    r->origin.workload_id = w->id;
    r->origin.cgroup_id = cgroup;
    if (!bound)
        r->shown = v4 ? w->own4 : w->own6;
    count(CAPTURE_COUNT_REDIRECTED);
    return REDIRECT;
}

/* `ip` is 16 bytes, IPv4 mapped; `bound`: the application chose a local address before. */
static __always_inline int judge(struct bpf_sock_addr *ctx, const __u32 ip[4], bool v4, bool bound, __u16 *ret_listener) {
    struct bpf_sock *sk = ctx->sk;
    if (ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP || !sk)
        return PASS;
    /* A socket that failed or was disconnected may connect again, to elsewhere: what was kept is void. */
    bpf_sk_storage_delete(&sockets, sk);
    if (words_loopback(ip, v4))
        return pass(CAPTURE_COUNT_LOCAL);

    const struct capture_workload *w = NULL;
    __u64 cgroup = 0;
    if (walk(&w, &cgroup))
        return pass(CAPTURE_COUNT_EXEMPT);
    __u32 zero = 0;
    const struct capture_state *s = bpf_map_lookup_elem(&state, &zero);
    if (!s || s->ready != 1 || !s->port_outbound)
        return refuse(CAPTURE_COUNT_REFUSED_NOT_READY);

    __u64 cookie = bpf_get_netns_cookie(ctx);
    const __u32 *owner = bpf_map_lookup_elem(&namespaces, &cookie);
    if (!w && !owner)
        return pass(CAPTURE_COUNT_UNTOUCHED);
    count(CAPTURE_COUNT_CONNECTS);
    if (!w || !owner || !w->netns_cookie || w->netns_cookie != cookie || w->id != *owner)
        return refuse(CAPTURE_COUNT_REFUSED_MISMATCH);
    if (!(w->flags & CAPTURE_WL_CAPTURED))
        return refuse(CAPTURE_COUNT_REFUSED_NOT_READY);
    if (addr_is_words(v4 ? &w->own4 : &w->own6, ip))
        return pass(CAPTURE_COUNT_LOCAL);
    /* Its packets would leave by that device, to an address that only means something on lo. */
    if (sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_IFINDEX)
        return refuse(CAPTURE_COUNT_REFUSED_DEVICE);
    *ret_listener = s->port_outbound;
    return keep(sk, w, cgroup, ip, bpf_ntohs((__u16)ctx->user_port), v4, bound);
}

SEC("cgroup/connect4")
int capture_connect4(struct bpf_sock_addr *ctx) {
    __u32 ip[4] = {0, 0, MAPPED, ctx->user_ip4};
    __u16 listener = 0;
    bool bound = ctx->sk && ctx->sk->src_ip4;
    int verdict = judge(ctx, ip, true, bound, &listener);
    if (verdict == REDIRECT) {
        ctx->user_ip4 = LOOPBACK4;
        ctx->user_port = bpf_htons(listener);
    }
    return verdict != REFUSE;
}

SEC("cgroup/connect6")
int capture_connect6(struct bpf_sock_addr *ctx) {
    __u32 ip[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
    bool v4 = ip[0] == 0 && ip[1] == 0 && ip[2] == MAPPED;
    __u16 listener = 0;
    bool bound = ctx->sk && (ctx->sk->src_ip6[0] | ctx->sk->src_ip6[1] | ctx->sk->src_ip6[2] | ctx->sk->src_ip6[3]);
    int verdict = judge(ctx, ip, v4, bound, &listener);
    if (verdict == REDIRECT) {
        ctx->user_ip6[0] = 0;
        ctx->user_ip6[1] = 0;
        ctx->user_ip6[2] = v4 ? MAPPED : 0;
        ctx->user_ip6[3] = v4 ? LOOPBACK4 : bpf_htonl(1);
        ctx->user_port = bpf_htons(listener);
    }
    return verdict != REFUSE;
}

/* --- the application's view -------------------------------------------------------------------------------------- */

/* Both families are read, and volatile, so that clang does not fold them into one load at a computed offset: the
 * verifier forbids arithmetic on a socket's pointer. */
#define FIELD(sk, name) (*(volatile __u32 *)&(sk)->name)

static __always_inline void sock_src(struct bpf_sock *sk, struct capture_addr *to) {
    __u32 v4[4] = {0, 0, MAPPED, FIELD(sk, src_ip4)};
    __u32 v6[4] = {FIELD(sk, src_ip6[0]), FIELD(sk, src_ip6[1]), FIELD(sk, src_ip6[2]), FIELD(sk, src_ip6[3])};
    addr_set(to, sk->family == AF_INET6 ? v6 : v4);
}

static __always_inline void sock_dst(struct bpf_sock *sk, struct capture_addr *to) {
    __u32 v4[4] = {0, 0, MAPPED, FIELD(sk, dst_ip4)};
    __u32 v6[4] = {FIELD(sk, dst_ip6[0]), FIELD(sk, dst_ip6[1]), FIELD(sk, dst_ip6[2]), FIELD(sk, dst_ip6[3])};
    addr_set(to, sk->family == AF_INET6 ? v6 : v4);
}

static __always_inline struct redirected *redirected_of(struct bpf_sock *sk) {
    return sk ? bpf_sk_storage_get(&sockets, sk, NULL, 0) : NULL;
}

struct view {
    const struct capture_addr *peer, *own; /* NULL: as the kernel has it; own may be all zero */
    __u16 peer_port;
};

/* The application holds the MPTCP socket, the storage is on the subflow that connected: found by its tuple, while open. */
static __always_inline void view_mptcp(struct bpf_sock_addr *ctx, struct bpf_sock *sk, struct view *ret) {
    struct capture_tuple key = {.netns_cookie = bpf_get_netns_cookie(ctx), .local_port = sk->src_port};
    sock_src(sk, &key.local_addr);
    const struct capture_origdst *o = bpf_map_lookup_elem(&origdst, &key);
    if (!o)
        return;
    ret->peer = &o->addr;
    ret->peer_port = o->port;
    __u64 cgroup = o->cgroup_id;
    const struct capture_workload *w = bpf_map_lookup_elem(&workloads, &cgroup);
    if (w)
        ret->own = addr_word(&o->addr, 2) == MAPPED && !addr_word(&o->addr, 0) && !addr_word(&o->addr, 1) ? &w->own4 : &w->own6;
}

static __always_inline void view_of(struct bpf_sock_addr *ctx, struct view *ret) {
    struct bpf_sock *sk = ctx->sk;
    const struct redirected *r = redirected_of(sk);
    if (r) {
        ret->peer = &r->origin.addr;
        ret->peer_port = r->origin.port;
        ret->own = &r->shown;
    } else if (sk && sk->protocol == IPPROTO_MPTCP) {
        view_mptcp(ctx, sk, ret);
    }
}

static __always_inline void answer6(struct bpf_sock_addr *ctx, const struct capture_addr *a) {
    ctx->user_ip6[0] = addr_word(a, 0);
    ctx->user_ip6[1] = addr_word(a, 1);
    ctx->user_ip6[2] = addr_word(a, 2);
    ctx->user_ip6[3] = addr_word(a, 3);
}

SEC("cgroup/getpeername4")
int capture_getpeername4(struct bpf_sock_addr *ctx) {
    struct view v = {};
    view_of(ctx, &v);
    if (v.peer) {
        ctx->user_ip4 = addr_word(v.peer, 3);
        ctx->user_port = bpf_htons(v.peer_port);
    }
    return 1;
}

SEC("cgroup/getpeername6")
int capture_getpeername6(struct bpf_sock_addr *ctx) {
    struct view v = {};
    view_of(ctx, &v);
    if (v.peer) {
        answer6(ctx, v.peer);
        ctx->user_port = bpf_htons(v.peer_port);
    }
    return 1;
}

/* Only loopback is replaced: before the connect and after a failed one the socket has no address, and says so. */
SEC("cgroup/getsockname4")
int capture_getsockname4(struct bpf_sock_addr *ctx) {
    if (ctx->user_ip4 != LOOPBACK4)
        return 1;
    struct view v = {};
    view_of(ctx, &v);
    if (v.own && addr_word(v.own, 3))
        ctx->user_ip4 = addr_word(v.own, 3);
    return 1;
}

SEC("cgroup/getsockname6")
int capture_getsockname6(struct bpf_sock_addr *ctx) {
    __u32 ip[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
    bool v4 = ip[0] == 0 && ip[1] == 0 && ip[2] == MAPPED;
    if (!(ip[0] | ip[1] | ip[2] | ip[3]) || !words_loopback(ip, v4))
        return 1;
    struct view v = {};
    view_of(ctx, &v);
    if (v.own && addr_word(v.own, 3))
        answer6(ctx, v.own);
    return 1;
}

/* --- telling the daemon ------------------------------------------------------------------------------------------ */

/* The local port is known, the SYN not yet sent: the worker that accepts will find the entry. A full map cannot stop the
 * connect here; the worker finds nothing and refuses. */
static __always_inline void origin_publish(struct bpf_sock_ops *ctx) {
    struct bpf_sock *sk = ctx->sk;
    struct redirected *r = redirected_of(sk);
    if (!sk || !r)
        return;
    r->tuple.netns_cookie = bpf_get_netns_cookie(ctx);
    sock_src(sk, &r->tuple.local_addr);
    r->tuple.local_port = sk->src_port;
    if (bpf_map_update_elem(&origdst, &r->tuple, &r->origin, BPF_ANY)) {
        r->tuple.netns_cookie = 0;
        count(CAPTURE_COUNT_ORIGDST_FULL);
        return;
    }
    bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* TCP_CLOSE comes once, whatever the end: after a refused SYN, a reset, a close, on the way into TIME_WAIT. */
static __always_inline void origin_retract(struct bpf_sock_ops *ctx) {
    struct redirected *r = redirected_of(ctx->sk);
    if (!r || !r->tuple.netns_cookie)
        return;
    bpf_map_delete_elem(&origdst, &r->tuple);
    r->tuple.netns_cookie = 0;
}

SEC("sockops")
int capture_sockops(struct bpf_sock_ops *ctx) {
    if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
        origin_publish(ctx);
    else if (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE)
        origin_retract(ctx);
    return 1;
}

/* --- tuples that go direct --------------------------------------------------------------------------------------- */

static __always_inline bool announced_key(struct bpf_sock_ops *ctx, struct capture_announced *key) {
    struct bpf_sock *sk = ctx->sk;
    if (!sk)
        return false;
    sock_src(sk, &key->src);
    sock_dst(sk, &key->dst);
    key->src_port = sk->src_port;
    key->dst_port = bpf_ntohs(sk->dst_port);
    return true;
}

/* sk_lookup takes the entry with the first packet. A SYN that got lost behind that is sent again by a timer, which
 * announces it again; whatever is left goes when the handshake is over, either way. */
SEC("sockops")
int capture_announce(struct bpf_sock_ops *ctx) {
    struct capture_announced key = {};
    __u32 one = 1;
    bool again = ctx->op == BPF_SOCK_OPS_RTO_CB && ctx->state == BPF_TCP_SYN_SENT;
    if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB || again) {
        if (!announced_key(ctx, &key))
            return 1;
        if (bpf_map_update_elem(&announced, &key, &one, BPF_ANY)) {
            count(CAPTURE_COUNT_ANNOUNCED_FULL);
            return 1;
        }
        if (again)
            return 1;
        count(CAPTURE_COUNT_ANNOUNCED);
        bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTO_CB_FLAG);
    } else if (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[0] == BPF_TCP_SYN_SENT) {
        if (announced_key(ctx, &key))
            bpf_map_delete_elem(&announced, &key);
        bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_RTO_CB_FLAG);
    }
    return 1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
