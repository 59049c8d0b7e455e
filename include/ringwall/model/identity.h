/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/identity.h - a SPIFFE identity of the mesh: spiffe://<trust domain>/ns/<namespace>/sa/<service account>
 *
 * Parsed strictly (facts/identity.md 4.1): trust domain 1..255 of [a-z0-9._-], path segments of [A-Za-z0-9._-], none
 * empty, no dot segments, nothing percent-encoded, at most IDENTITY_TEXT_MAX bytes. One value, no pointers, so that it
 * can be copied across threads and compared as bytes. */
#pragma once

#include <ringwall/base/str.h>

enum { IDENTITY_TEXT_MAX = 640 };

struct identity {
    uint16_t n; /* bytes of text; 0: no identity */
    uint16_t td_at, td_n, ns_at, ns_n, sa_at, sa_n;
    char text[IDENTITY_TEXT_MAX + 1]; /* the whole URI, NUL behind */
};
#define IDENTITY_NULL ((struct identity){0})

bool identity_parse(struct str uri, struct identity *ret);                                       /* the URI form only */
bool identity_make(struct str trust_domain, struct str ns, struct str sa, struct identity *ret); /* false: parts are not valid */
static inline bool identity_is_none(const struct identity *i) { return i->n == 0; }
static inline struct str identity_uri(const struct identity *i) { return (struct str){i->text, i->n}; }
static inline struct str identity_td(const struct identity *i) { return (struct str){i->text + i->td_at, i->td_n}; }
static inline struct str identity_ns(const struct identity *i) { return (struct str){i->text + i->ns_at, i->ns_n}; }
static inline struct str identity_sa(const struct identity *i) { return (struct str){i->text + i->sa_at, i->sa_n}; }
/* "<td>/ns/<ns>/sa/<sa>": what policies call a principal */
struct str identity_principal(const struct identity *i);
bool identity_is(const struct identity *a, const struct identity *b);
bool trust_domain_valid(struct str td);
