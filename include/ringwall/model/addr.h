/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/addr.h - IP addresses, endpoints, CIDR blocks
 *
 * Every address is 16 bytes; IPv4 is kept v4-mapped. So an address compares as bytes and ::ffff:10.0.0.1 *is* 10.0.0.1
 * (facts/identity.md 9.2 #22: normalise once, then match). */
#pragma once

#include <ringwall/base/str.h>

struct addr {
    uint8_t bytes[16]; /* network order; all zero is "none" */
};
struct endpoint {
    struct addr addr;
    uint16_t port; /* host order */
};
struct cidr {
    struct addr addr; /* host bits zero */
    uint8_t bits;     /* of the 128: 96 + prefix for IPv4 */
};
#define ADDR_NULL ((struct addr){0})
#define ENDPOINT_NULL ((struct endpoint){0})
enum { ADDR_TEXT = 48, ENDPOINT_TEXT = 56 };

struct sockaddr_storage;
bool addr_parse(struct str text, struct addr *ret); /* no port, no zone, no brackets; "::" is no address */
/* "10.0.0.0/8" or one address; host bits are cleared and told */
bool cidr_parse(struct str text, struct cidr *ret, bool *ret_host_bits);
bool endpoint_parse(struct str text, struct endpoint *ret); /* "1.2.3.4:80" or "[::1]:80"; port 1..65535 */
struct str addr_format(const struct addr *a, char out[ADDR_TEXT]);
enum { CIDR_TEXT = ADDR_TEXT + 4 };
struct str cidr_format(const struct cidr *c, char out[CIDR_TEXT]); /* one address has no "/" */
struct str endpoint_format(const struct endpoint *e, char out[ENDPOINT_TEXT]);
bool addr_is(const struct addr *a, const struct addr *b);
bool addr_is_none(const struct addr *a);
bool addr_is_v4(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
bool cidr_has(const struct cidr *c, const struct addr *a);
static inline bool endpoint_is(const struct endpoint *a, const struct endpoint *b) {
    return a->port == b->port && addr_is(&a->addr, &b->addr);
}

/* Socket forms. to_sockaddr gives AF_INET for v4 unless as_v6 (then v4-mapped in AF_INET6). Returns the length. */
unsigned endpoint_to_sockaddr(const struct endpoint *e, bool as_v6, struct sockaddr_storage *ret);
bool endpoint_from_sockaddr(const struct sockaddr_storage *ss, struct endpoint *ret); /* false: another family */
