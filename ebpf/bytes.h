/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 * bytes.h - what both eBPF objects need: the helpers' declarations, and addresses as four words in network order */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include <ringwall/abi/capture.h>

#define MAPPED bpf_htonl(0xffff) /* third word of ::ffff:a.b.c.d */
#define LOOPBACK4 bpf_htonl(0x7f000001)

/* Every struct capture_addr here lies on a word boundary: on the stack, in map values and keys. */
static __always_inline __u32 addr_word(const struct capture_addr *a, int i) { return ((const __u32 *)(const void *)a->bytes)[i]; }

static __always_inline void addr_set(struct capture_addr *a, const __u32 ip[4]) {
    __u32 *to = (void *)a->bytes;
    to[0] = ip[0];
    to[1] = ip[1];
    to[2] = ip[2];
    to[3] = ip[3];
}

static __always_inline bool addr_is_words(const struct capture_addr *a, const __u32 ip[4]) {
    return addr_word(a, 0) == ip[0] && addr_word(a, 1) == ip[1] && addr_word(a, 2) == ip[2] && addr_word(a, 3) == ip[3];
}

/* Loopback, or no address at all, which the kernel takes for loopback in a connect. */
static __always_inline bool words_loopback(const __u32 ip[4], bool v4) {
    if (v4)
        return ip[3] == 0 || (ip[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
    return ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && (ip[3] == 0 || ip[3] == bpf_htonl(1));
}
