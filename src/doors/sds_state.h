/* SPDX-License-Identifier: GPL-3.0-or-later
 * sds_state.h - what one SDS stream asked for, what it was sent, and what it answered; pure: no bytes, no clock, no I/O
 *
 * Both flavours of the protocol keep the same items; they differ in how a request changes the set of names. Rules
 * (facts/identity.md 3.5): the first request is always answered, whatever nonce it brings from an earlier stream; a
 * request with the last nonce is its ACK, or its NACK when it carries an error; one with another nonce is stale and its
 * names count for nothing (in delta they count: they are a change, not a set); added names are answered, removed ones
 * are forgotten; a refused version is not sent again until the content is another.
 *
 * At most one response is unanswered at a time; after SDS_ANSWER_WAIT_NS it goes on without the answer. Roots that changed
 * go in a response of their own, before leaves: so a client has new roots before a leaf that needs them. */
#pragma once

#include <ringwall/base/str.h>

enum { SDS_ITEMS_MAX = 64, SDS_MARK_BYTES = 40 };
#define SDS_ANSWER_WAIT_NS (5ull * 1000 * 1000 * 1000)

struct sds_item {
    char *name;       /* owned */
    bool root;        /* trust, else a leaf with its key */
    bool asked;       /* an answer is owed, also when nothing changed */
    uint64_t now;     /* version of its content; 0: there is none */
    uint64_t sent;    /* newest version sent, or had by the client from an earlier stream; 0: none */
    uint64_t sent_in; /* the response it went in */
};
struct sds_state {
    bool delta;
    bool begun;    /* the first request came */
    bool wildcard; /* whatever there is: the owner names it by sds_state_wild */
    bool waiting;  /* the last response is not answered */
    struct sds_item *items;
    size_t n_items;
    uint64_t salt;   /* random a stream, so that nonces of another one never match */
    uint64_t serial; /* of the last response; 0: none yet */
    uint64_t sent_ns;
};
struct sds_name {
    struct str name;
    bool root;
};
struct sds_have {
    struct str name;
    uint64_t version;
};
struct sds_ask {
    struct str nonce, version; /* version: state of the world only */
    bool has_error;
    const struct sds_name *names; /* state of the world: all that it wants; delta: those to add */
    size_t n_names;
    bool wild; /* delta: "*" is among those to add */
    /* delta only */
    const struct str *gone;
    size_t n_gone;
    const struct sds_have *have;
    size_t n_have;
};
enum sds_heard {
    SDS_FIRST,   /* of the stream */
    SDS_ACK,     /* took the last response */
    SDS_NACK,    /* refused it */
    SDS_STALE,   /* speaks of an older one */
    SDS_CHANGED, /* neither: a change of names */
};

void sds_state_init(struct sds_state *s, bool delta, uint64_t salt);
void sds_state_deinit(struct sds_state *s);
/* 0; 1: more than SDS_ITEMS_MAX names; negative errno. */
int sds_state_hear(struct sds_state *s, const struct sds_ask *a, enum sds_heard *ret) must_check;
int sds_state_wild(struct sds_state *s, const struct sds_name *names,
                   size_t n) must_check; /* the set behind a wildcard; as above */
/* Which items go into a response now, roots first; 0: nothing to send, or not yet. Their content's version is item.now. */
size_t sds_state_take(const struct sds_state *s, uint64_t now_ns, size_t ret[SDS_ITEMS_MAX]);
/* They go: counts the response, which nonce and version then name. */
void sds_state_sent(struct sds_state *s, const size_t *items, size_t n, uint64_t now_ns);
/* When to ask sds_state_take again though nothing happened; UINT64_MAX: never. */
uint64_t sds_state_next_ns(const struct sds_state *s);
bool sds_state_starved(const struct sds_state *s); /* an answer is owed for content that is not there */
/* Every root item's content was sent and answered, one way or the other. */
bool sds_state_roots_settled(const struct sds_state *s);
void sds_state_nonce(const struct sds_state *s, char ret[SDS_MARK_BYTES]);
void sds_state_version(const struct sds_state *s, char ret[SDS_MARK_BYTES]);
