/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/addr.c - text and socket forms of addresses
 *
 * Everything is v4-mapped on the way in, so nothing behind this file knows two spellings of one address. An IPv6 block
 * shorter than the v4-mapped prefix never holds an IPv4 address: "::/0" is "all of IPv6" for Istio, and so here. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include <ringwall/base/check.h>
#include <ringwall/model/addr.h>

enum { V4_PREFIX_BYTES = 12, V4_PREFIX_BITS = 96, ADDR_BITS = 128 };
static const uint8_t v4_prefix[V4_PREFIX_BYTES] = {[10] = 0xff, [11] = 0xff};

static void addr_of_v4(const void *four, struct addr *ret) {
    memcpy(ret->bytes, v4_prefix, sizeof(v4_prefix));
    memcpy(ret->bytes + V4_PREFIX_BYTES, four, 4);
}

/* Accepts "::" too, which is a good start of a block but no address of anything. */
static bool parse_any(struct str text, struct addr *ret, bool *ret_dotted) {
    char z[ADDR_TEXT];
    uint8_t four[4], sixteen[16];

    if (text.n == 0 || text.n >= sizeof(z) || memchr(text.at, 0, text.n))
        return false;
    memcpy(z, text.at, text.n);
    z[text.n] = 0;
    if (inet_pton(AF_INET, z, four) == 1) {
        addr_of_v4(four, ret);
        *ret_dotted = true;
        return true;
    }
    if (inet_pton(AF_INET6, z, sixteen) != 1)
        return false;
    memcpy(ret->bytes, sixteen, sizeof(sixteen));
    *ret_dotted = false;
    return true;
}

bool addr_parse(struct str text, struct addr *ret) {
    struct addr a;
    bool dotted;

    if (!parse_any(text, &a, &dotted) || addr_is_none(&a))
        return false;
    *ret = a;
    return true;
}

bool cidr_parse(struct str text, struct cidr *ret, bool *ret_host_bits) {
    struct cidr c = {0};
    struct str head = text;
    uint64_t prefix;
    bool dotted, host_bits = false;
    const char *slash = text.n ? memchr(text.at, '/', text.n) : NULL;

    if (slash)
        head.n = (size_t)(slash - text.at);
    if (!parse_any(head, &c.addr, &dotted))
        return false;
    c.bits = ADDR_BITS;
    if (slash) {
        struct str digits = {slash + 1, text.n - head.n - 1};
        if (digits.n > 1 && digits.at[0] == '0') /* "/08" is not a prefix length anywhere else either */
            return false;
        if (!str_u64(digits, dotted ? 32 : ADDR_BITS, &prefix))
            return false;
        c.bits = (uint8_t)(dotted ? V4_PREFIX_BITS + prefix : prefix);
    }
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = c.bits >= (i + 1) * 8 ? 8 : c.bits <= i * 8 ? 0 : c.bits - i * 8;
        uint8_t mask = (uint8_t)(0xff00u >> kept);
        if (c.addr.bytes[i] & (uint8_t)~mask)
            host_bits = true;
        c.addr.bytes[i] &= mask;
    }
    *ret = c;
    *ret_host_bits = host_bits;
    return true;
}

bool endpoint_parse(struct str text, struct endpoint *ret) {
    struct endpoint e = {0};
    struct str host, port;
    uint64_t number;
    const char *colon = text.n ? memrchr(text.at, ':', text.n) : NULL;

    if (!colon)
        return false;
    host = (struct str){text.at, (size_t)(colon - text.at)};
    port = (struct str){colon + 1, text.n - host.n - 1};
    if (port.n == 0 || port.n > 5 || port.at[0] == '0' || !str_u64(port, 65535, &number))
        return false;
    if (host.n >= 2 && host.at[0] == '[' && host.at[host.n - 1] == ']') {
        host = (struct str){host.at + 1, host.n - 2};
        if (!memchr(host.at, ':', host.n)) /* brackets belong to IPv6 */
            return false;
    } else if (memchr(host.at, ':', host.n)) {
        return false;
    }
    if (!addr_parse(host, &e.addr))
        return false;
    e.port = (uint16_t)number;
    *ret = e;
    return true;
}

struct str addr_format(const struct addr *a, char out[ADDR_TEXT]) {
    const char *z;

    if (addr_is_v4(a))
        z = inet_ntop(AF_INET, a->bytes + V4_PREFIX_BYTES, out, ADDR_TEXT);
    else
        z = inet_ntop(AF_INET6, a->bytes, out, ADDR_TEXT);
    check(z);
    return str_of(out);
}

struct str cidr_format(const struct cidr *c, char out[CIDR_TEXT]) {
    char a[ADDR_TEXT];
    bool v4 = addr_is_v4(&c->addr) && c->bits >= V4_PREFIX_BITS;
    int n;

    addr_format(&c->addr, a);
    if (c->bits == ADDR_BITS)
        n = snprintf(out, CIDR_TEXT, "%s", a);
    else
        n = snprintf(out, CIDR_TEXT, "%s/%u", a, (unsigned)(v4 ? c->bits - V4_PREFIX_BITS : c->bits));
    check(n > 0 && n < CIDR_TEXT);
    return (struct str){out, (size_t)n};
}

struct str endpoint_format(const struct endpoint *e, char out[ENDPOINT_TEXT]) {
    char a[ADDR_TEXT];
    int n;

    addr_format(&e->addr, a);
    n = snprintf(out, ENDPOINT_TEXT, addr_is_v4(&e->addr) ? "%s:%u" : "[%s]:%u", a, (unsigned)e->port);
    check(n > 0 && n < ENDPOINT_TEXT);
    return (struct str){out, (size_t)n};
}

bool addr_is(const struct addr *a, const struct addr *b) { return !memcmp(a->bytes, b->bytes, sizeof(a->bytes)); }

bool addr_is_none(const struct addr *a) {
    static const struct addr none;
    return addr_is(a, &none);
}

bool addr_is_v4(const struct addr *a) { return !memcmp(a->bytes, v4_prefix, sizeof(v4_prefix)); }

bool addr_is_loopback(const struct addr *a) {
    static const struct addr one = {.bytes = {[15] = 1}};
    return addr_is_v4(a) ? a->bytes[V4_PREFIX_BYTES] == 127 : addr_is(a, &one);
}

bool cidr_has(const struct cidr *c, const struct addr *a) {
    unsigned whole = c->bits / 8, rest = c->bits % 8;

    if (c->bits < V4_PREFIX_BITS && addr_is_v4(a))
        return false;
    if (memcmp(c->addr.bytes, a->bytes, whole))
        return false;
    return rest == 0 || !((c->addr.bytes[whole] ^ a->bytes[whole]) & (uint8_t)(0xff00u >> rest));
}

unsigned endpoint_to_sockaddr(const struct endpoint *e, bool as_v6, struct sockaddr_storage *ret) {
    memset(ret, 0, sizeof(*ret));
    if (addr_is_v4(&e->addr) && !as_v6) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        in->sin_family = AF_INET;
        in->sin_port = htons(e->port);
        memcpy(&in->sin_addr, e->addr.bytes + V4_PREFIX_BYTES, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(e->port);
    memcpy(&in6->sin6_addr, e->addr.bytes, 16);
    return sizeof(*in6);
}

bool endpoint_from_sockaddr(const struct sockaddr_storage *ss, struct endpoint *ret) {
    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
        addr_of_v4(&in->sin_addr, &ret->addr);
        ret->port = ntohs(in->sin_port);
        return true;
    }
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
        memcpy(ret->addr.bytes, &in6->sin6_addr, 16);
        ret->port = ntohs(in6->sin6_port);
        return true;
    }
    return false;
}
