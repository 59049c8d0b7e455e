/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/proxy_protocol.c - PROXY protocol version 2 (haproxy's specification, section 2.2)
 *
 * Binary form only, TCP over IPv4 or IPv6. A connection of which either end is IPv6 is written as IPv6 with the other end
 * v4-mapped, as all our addresses are. Unknown TLVs are skipped; a header longer than PROXY_PROTOCOL_MAX is refused. */
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/model/identity.h>
#include <ringwall/wire/proxy_protocol.h>

enum { HEAD = 16, TLV_HEAD = 3, V4_BYTES = 12, V6_BYTES = 36, MAPPED = 12 /* of a v4-mapped address, before its 4 bytes */ };
enum { VERSION_LOCAL = 0x20, VERSION_PROXY = 0x21, UNSPEC = 0x00, TCP4 = 0x11, TCP6 = 0x21 };
static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t n) {
    memcpy(at, bytes, n);
    return at + n;
}

static uint8_t *put_be16(uint8_t *at, size_t v) {
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
    return at + 2;
}

static size_t be16(const uint8_t *at) { return (size_t)at[0] << 8 | at[1]; }

size_t proxy_protocol_create(const struct proxy_header *h, uint8_t out[PROXY_PROTOCOL_MAX]) {
    bool v4 = addr_is_v4(&h->src.addr) && addr_is_v4(&h->dst.addr);
    size_t skip = v4 ? MAPPED : 0;
    uint8_t *at = put_bytes(out, signature, sizeof(signature));

    *at++ = h->local ? VERSION_LOCAL : VERSION_PROXY;
    *at++ = h->local ? UNSPEC : v4 ? TCP4 : TCP6;
    at += 2; /* the length is known at the end */
    if (!h->local) {
        at = put_bytes(at, h->src.addr.bytes + skip, 16 - skip);
        at = put_bytes(at, h->dst.addr.bytes + skip, 16 - skip);
        at = put_be16(at, h->src.port);
        at = put_be16(at, h->dst.port);
        if (h->identity.n) {
            check(h->identity.n <= IDENTITY_TEXT_MAX);
            *at++ = PROXY_TLV_IDENTITY;
            at = put_be16(at, h->identity.n);
            at = put_bytes(at, h->identity.at, h->identity.n);
        }
    }
    put_be16(out + 14, (size_t)(at - out) - HEAD);
    return (size_t)(at - out);
}

static const uint8_t *take_addr(const uint8_t *at, bool v4, struct addr *ret) {
    static const uint8_t prefix[MAPPED] = {[10] = 0xff, [11] = 0xff};

    if (!v4) {
        memcpy(ret->bytes, at, 16);
        return at + 16;
    }
    memcpy(ret->bytes, prefix, sizeof(prefix));
    memcpy(ret->bytes + MAPPED, at, 4);
    return at + 4;
}

static bool take_tlvs(const uint8_t *at, const uint8_t *end, struct proxy_header *h) {
    while (at < end) {
        size_t n;

        if (end - at < TLV_HEAD)
            return false;
        n = be16(at + 1);
        if ((size_t)(end - at) - TLV_HEAD < n)
            return false;
        if (at[0] == PROXY_TLV_IDENTITY) {
            if (h->identity.n || n == 0 || n > IDENTITY_TEXT_MAX)
                return false; /* two identities are none */
            h->identity = (struct str){(const char *)at + TLV_HEAD, n};
        }
        at += TLV_HEAD + n;
    }
    return true;
}

int proxy_protocol_consume(const uint8_t *bytes, size_t n, struct proxy_header *ret, size_t *ret_taken) {
    struct proxy_header h = {0};
    const uint8_t *at, *end;
    size_t body;
    bool v4;

    if (n && memcmp(bytes, signature, min_of(n, sizeof(signature))))
        return PROXY_PROTOCOL_BAD;
    if (n < HEAD)
        return PROXY_PROTOCOL_SHORT;
    body = be16(bytes + 14);
    if ((bytes[12] != VERSION_LOCAL && bytes[12] != VERSION_PROXY) || HEAD + body > PROXY_PROTOCOL_MAX)
        return PROXY_PROTOCOL_BAD;
    if (n < HEAD + body)
        return PROXY_PROTOCOL_SHORT;
    at = bytes + HEAD;
    end = at + body;
    *ret_taken = HEAD + body;
    if (bytes[12] == VERSION_LOCAL || bytes[13] == UNSPEC) {
        *ret = (struct proxy_header){.local = true};
        return PROXY_PROTOCOL_OK;
    }
    v4 = bytes[13] == TCP4;
    if ((!v4 && bytes[13] != TCP6) || body < (size_t)(v4 ? V4_BYTES : V6_BYTES))
        return PROXY_PROTOCOL_BAD;
    at = take_addr(at, v4, &h.src.addr);
    at = take_addr(at, v4, &h.dst.addr);
    h.src.port = (uint16_t)be16(at);
    h.dst.port = (uint16_t)be16(at + 2);
    if (!take_tlvs(at + 4, end, &h))
        return PROXY_PROTOCOL_BAD;
    *ret = h;
    return PROXY_PROTOCOL_OK;
}
