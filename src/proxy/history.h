/* SPDX-License-Identifier: GPL-3.0-or-later
 * history.h - what a worker remembers of connections that are gone: the last denials in full, and who talked to whom
 *
 * Both are bounded and reserved when the worker starts; remembering never allocates. The pages of places that were never
 * used cost nothing. Equal pairs are one contact with a count, so that a busy pair does not push the others out. What left in
 * plaintext goes to the whole world: it has a quarter of the places and no more. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/map.h>
#include <ringwall/mail/stats.h>
#include <ringwall/model/addr.h>
#include <ringwall/model/identity.h>

#include "facts.h"

enum {
    HISTORY_DENIALS_MAX = 1000,  /* a worker; the daemon shows the last thousand of all its workers */
    HISTORY_CONTACTS_MAX = 1024, /* a worker */
    CONTACT_TO_BYTES = 320,      /* "namespace/name" of a workload: 63 and 253 bytes at most */
};

struct denial {
    int64_t wall_ns;
    uint64_t world;
    struct endpoint src, dst;
    struct identity source; /* none: plaintext, or not known */
    struct facts facts;
    enum close_reason reason;
    int rule;             /* -1: none */
    unsigned peer_status; /* outbound: what the other node answered; 0: nothing */
    bool outbound, mtls;
};

/* Compared as bytes up to the end of `source`: no padding before it. */
struct contact_key {
    struct addr source_ip, destination_ip;
    uint16_t port, source_bytes;
    uint8_t outbound, allowed, mtls;
    char source[IDENTITY_TEXT_MAX]; /* SPIFFE ID; source_bytes 0: none known. Outbound: our own, sent or not */
};
struct contact {
    struct map_node node;
    struct list by_age; /* oldest first */
    struct contact_key key;
    uint64_t count, world;
    int64_t wall_ns; /* of the last one */
    enum close_reason reason;
    uint16_t to_bytes;
    char to[CONTACT_TO_BYTES];
};

struct history;
struct history *history_new(size_t denials_max, size_t contacts_max); /* NULL: no memory */
struct history *history_free(struct history *h);

struct denial *history_add_denial(struct history *h); /* the oldest one's place, zeroed, to be filled now */
size_t history_n_denials(const struct history *h);
const struct denial *history_denial_at(const struct history *h, size_t i); /* 0: the oldest */

/* The key is zeroed before it is filled. The contact of this key, new or known, now the youngest: its other fields are the
 * caller's to set, but for the count. */
struct contact *history_add_contact(struct history *h, const struct contact_key *key);
void contact_key_set_source(struct contact_key *k, const struct identity *source);
size_t history_n_contacts(const struct history *h);
/* NULL: first. By age, those of plaintext that left behind the others. */
const struct contact *history_next_contact(const struct history *h, const struct contact *previous);

/* One more denial of this policy ("" for none) and reason. */
void stats_count_denied(struct stats_denials *d, struct str policy, enum close_reason reason);

/* remember.c: a flow ended; what is worth it goes into its worker's history and counters. */
struct flow;
void remember_end(struct flow *f);
