/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/web.h - what makes a context one of a web session (private to the room) */
#pragma once

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/tls/session.h>

struct tls_web {
    struct tls_bundle *roots; /* a client's; NULL: a server */
    char host[256];           /* a client's, without a dot at its end */
    bool host_is_address;     /* then there is no SNI (RFC 6066 3) */
};
struct tls_web *web_free(struct tls_web *w);
bool web_say_host(const struct tls_web *w, WOLFSSL *ssl); /* SNI; false: no memory */

struct str web_host_trim(struct str host);
bool web_host_address(struct str host, uint8_t ret[16], size_t *ret_n);
