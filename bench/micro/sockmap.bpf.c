// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sockmap.bpf.c - what bench_sockmap measures: a message goes straight into the queue of the socket at the other end
 *
 * Both ends are in `ends` by {own port, peer's port}; the program asks for the peer's. With `redirect` zero all goes through TCP,
 * so that the price of being in the map at all can be told from what the way around TCP brings. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, 64);
    __type(key, __u32);
    __type(value, __u64);
} ends SEC(".maps");

volatile __u32 redirect;
volatile __u64 n_redirected;

SEC("sk_msg")
int sockmap_message(struct sk_msg_md *msg) {
    if (!redirect)
        return SK_PASS;
    __u32 peer = bpf_ntohl(msg->remote_port) << 16 | msg->local_port;
    if (bpf_msg_redirect_hash(msg, &ends, &peer, BPF_F_INGRESS) != SK_PASS)
        return SK_PASS; /* it has gone: TCP says so */
    n_redirected++;
    return SK_PASS;
}

/* Does nothing. Some kernels lose wake-ups of sockets in a map that has no such program. */
SEC("sk_skb/stream_verdict")
int sockmap_verdict(struct __sk_buff *skb) {
    (void)skb;
    return SK_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
