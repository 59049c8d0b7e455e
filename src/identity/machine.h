/* SPDX-License-Identifier: GPL-3.0-or-later
 * machine.h - the identity thread's state machine: time and the way to the CA are given, nothing waits here
 *
 * An entry is on exactly one list: idle (its next moment is a time), queue (a request is due at once; those that someone
 * waits for in front), due (a renewal that has time and waits for a permit of the pace; the one that ends first in front),
 * or flight (the CA has its request; at most IDENTITY_IN_FLIGHT_MAX). */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/map.h>
#include <ringwall/base/rng.h>
#include <ringwall/identity/manager.h>

#include "pace.h"

enum {
    BACKOFF_FIRST_MS = 500,
    BACKOFF_MAX_MS = 150 * 1000,
    ANSWER_TIMEOUT_MS = 10 * 1000,
    BUNDLE_ASK_MS = 5 * 1000,           /* between two questions for the bundles, until the CA answers one */
    TRUST_ADOPT_TIMEOUT_MS = 10 * 1000, /* then a reader that has not adopted new bundles is told in log and status */
    NEWS_AGAIN_MS = 100,                /* between two tries to tell a reader whose mailbox was full */
    NEWS_GONE_MAX = 1024,               /* ended identities of which a reader has not heard yet; then the oldest is dropped */
    PROBE_MS = 5 * 1000,        /* while the CA is away and someone has no valid credential, one request at least so often */
    BACKOFF_PARTS_OF_REST = 20, /* with a valid credential: tried at least every 1/20 of what remains of its life */
};

struct moment { /* taken once for each step */
    uint64_t mono_ns;
    int64_t wall_s;
};

/* How much of a credential's life has passed when we begin to speak of it. */
enum age { AGE_FRESH, AGE_LATE /* 85 % */, AGE_VERY_LATE /* 95 % */, AGE_OVER /* all of it */, _AGE_MAX };

struct entry {
    struct map_node by_identity;
    struct list link, news;
    uint64_t news_number; /* of what was last told of it */
    bool gone;            /* forgotten, and kept in `news` alone */
    enum { ENTRY_IDLE, ENTRY_QUEUED, ENTRY_DUE, ENTRY_FLIGHT } place;
    struct identity identity;
    struct tls_credential *credential; /* NULL: none yet, or it was withdrawn */
    uint64_t generation;               /* of the next one is this + 1 */
    struct tls_key *key;               /* of the request in flight */
    uint64_t request_id, asked_ns;
    uint64_t try_ns;  /* not before this (monotonic) */
    int64_t rotate_s; /* wall time of the next renewal */
    unsigned n_failures;
    bool kept;     /* named by the newest set of identities */
    uint8_t aged;  /* enum age that was told of the credential in force */
    char why[160]; /* the last failure; empty after a success */
};

/* One of those who are told credentials and trust. */
struct reader {
    uint64_t told, adopted; /* generations of the trust */
    uint64_t told_ns;
    uint64_t heard; /* number of the last news that it took */
    bool late, behind;
};
struct machine {
    struct identity_options o;
    struct map entries;
    struct list idle, queue, due, flight;
    struct list news; /* of entries, by their numbers; the newest behind */
    uint64_t n_news;
    size_t n_gone;
    struct pace pace;
    bool away;         /* the CA has not answered since the last request that failed for that */
    uint64_t asked_ns; /* when the last request went out */
    size_t n_flight;
    int64_t queue_aged_s; /* wall time at which those in the queue were last looked at */
    uint64_t next_request_id, trust_generation;
    struct tls_trust *trust;                 /* in force; NULL: none yet */
    char *roots_pem;                         /* that it was made from, while the CA has told no bundles */
    bool from_ca;                            /* the CA has */
    uint64_t ca_generation, ca_acknowledged; /* the CA's own numbers: in force here, and adopted by all readers */
    uint64_t bundle_try_ns;
    struct reader *readers; /* as o.workers */
    bool stale_told;        /* of a list in force that is past its next update */
    uint64_t n_late, n_refused;
    char trust_why[256]; /* what was wrong with the bundles that came last; empty: nothing */
    struct rng rng;
    uint64_t n_issued, n_failed;
    uint64_t n_aged[_AGE_MAX]; /* certificates that reached this age unrenewed, ever */
};

int machine_init(struct machine *m, const struct identity_options *o) must_check;
void machine_deinit(struct machine *m);
void machine_set(struct machine *m, const struct identity *items, size_t n, const struct moment *now);
void machine_want(struct machine *m, const struct identity *i, const struct moment *now);
void machine_answer(struct machine *m, const uint8_t *bytes, size_t n, const struct moment *now);
/* Starts what is due. Returns after how many milliseconds to come again, at most 1000 (a clock may jump). */
int machine_tick(struct machine *m, const struct moment *now);

/* After new bundles: a credential that they do not trust is withdrawn, and another asked for. */
void machine_recheck(struct machine *m, const struct moment *now);

/* trust.c */
struct ca_response;
struct mail_trust;
int trust_init(struct machine *m) must_check;
void trust_deinit(struct machine *m);
/* The CA's bundles: put in force when they are new and can be used. */
void trust_answered(struct machine *m, const struct ca_response *p, const struct moment *now);
/* The roots that came with a certificate, put in force when they differ and the CA has told no bundles. 0, or 1: they cannot be
 * used. */
int trust_from_answer(struct machine *m, struct str roots_pem, const struct moment *now) must_check;
/* Does the reader know the trust in force? Tells it if not; false: its mailbox is full, or there is no trust yet. */
bool trust_tell(struct machine *m, size_t reader, const struct moment *now) must_check;
void trust_adopted(struct machine *m, const struct mail_trust *mail);
bool trust_all_adopted(const struct machine *m);
void trust_tick(struct machine *m, const struct moment *now);

/* news.c */
void news_put(struct machine *m, struct entry *e, const struct moment *now); /* tell all how it stands now */
void news_forget(struct machine *m, struct entry *e); /* frees it, once all know its end; it is in nothing but the news */
bool news_tick(struct machine *m, const struct moment *now) must_check; /* true: somebody is behind */
void news_deinit(struct machine *m);

/* age.c */
/* Speaks of a credential that grows old unrenewed, once for each age; called for entries with a credential. */
enum age age_of(const struct entry *e, int64_t wall_s); /* of an entry with a credential */
const char *age_word(enum age a);
void age_tell(struct machine *m, struct entry *e, const struct moment *now);

/* report.c */
struct growing;
void report_certs(const struct machine *m, struct growing *to);
void report_status(const struct machine *m, struct growing *to);
