/* SPDX-License-Identifier: GPL-3.0-or-later
 * resolve.h - look-ups of host names that never hold up their caller
 *
 * The C library's resolver blocks and cannot be called off, so each look-up has a thread of its own, which ends by itself.
 * Whoever asked may go: the look-up keeps what it needs. RESOLVE_THREADS_MAX bounds them in the process. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <ringwall/base/defs.h>

enum { RESOLVE_THREADS_MAX = 4, RESOLVE_ADDRS_MAX = 4, RESOLVE_HOST_BYTES = 256 };

struct lookup;
struct resolved {
    struct sockaddr_storage addrs[RESOLVE_ADDRS_MAX];
    socklen_t lengths[RESOLVE_ADDRS_MAX];
    unsigned n;
    const char *why; /* n == 0: static text */
};
/* 0; 1: too many look-ups hang; negative errno. */
int lookup_start(const char *host, uint16_t port, struct lookup **ret) must_check;
int lookup_fd(const struct lookup *l); /* readable when it is done */
bool lookup_done(const struct lookup *l, struct resolved *ret) must_check;
struct lookup *lookup_leave(struct lookup *l); /* never waits; returns NULL */
