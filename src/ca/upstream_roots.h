/* SPDX-License-Identifier: GPL-3.0-or-later
 * upstream_roots.h - the roots of our trust domain, as another CA's answers tell them
 *
 * The last element of an answer is the whole set of then (facts/identity.md 1.1). A root which the newest answer does not
 * list any more stays as long as a certificate may live that was issued while it was listed: so neither a rollover at the
 * other CA, nor two of its replicas that are not of one mind for a while, cut tunnels that are fine. */
#pragma once

#include <ringwall/tls/cert.h>

struct upstream_root {
    int64_t keep_until_s;
};
struct upstream_roots {
    struct tls_der_list certs;
    struct upstream_root *kept; /* one each of certs */
};
#define UPSTREAM_ROOTS_NULL ((struct upstream_roots){0})
void upstream_roots_deinit(struct upstream_roots *r);
/* An answer listed `seen`, with a leaf that lives until not_after. 1: the set has changed; 2: too many, nothing changed. */
int upstream_roots_seen(struct upstream_roots *r, const struct tls_der_list *seen, int64_t not_after_s) must_check;
/* Drops what nobody needs any more. True: the set has changed. The last root stays. */
bool upstream_roots_prune(struct upstream_roots *r, int64_t now_s);
