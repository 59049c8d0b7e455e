/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/proxy_protocol.h - PROXY protocol version 2: header of a TCP connection (facts/ztunnel.md 2.11) */
#pragma once

#include <ringwall/model/addr.h>

enum { PROXY_PROTOCOL_MAX = 16 + 36 + 3 + 640, PROXY_TLV_IDENTITY = 0xd0 };
struct proxy_header {
    bool local; /* LOCAL command: addresses mean nothing */
    struct endpoint src, dst;
    struct str identity; /* TLV 0xd0; points into the input on parse; empty: none */
};
size_t proxy_protocol_create(const struct proxy_header *h, uint8_t out[PROXY_PROTOCOL_MAX]);
enum proxy_protocol_verdict { PROXY_PROTOCOL_OK = 0, PROXY_PROTOCOL_SHORT = 1, PROXY_PROTOCOL_BAD = 2 };
/* *ret_taken: bytes of the header */
int proxy_protocol_consume(const uint8_t *bytes, size_t n, struct proxy_header *ret, size_t *ret_taken) must_check;
