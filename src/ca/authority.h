/* SPDX-License-Identifier: GPL-3.0-or-later
 * authority.h - the CA's whole judgement without the thread: encoded requests in, encoded answers out
 *
 * Only the CA thread (and its unit tests) holds a struct authority. A request is judged (judge.c, token.c), handed to the
 * provider, recorded, answered (answer.c). Answers are held until their lines of the record are on disk: one flush serves
 * all requests of a turn. */
#pragma once

#include <ringwall/model/world.h>
#include <ringwall/tls/jws.h>

#include "audit.h"
#include "follow.h"
#include "provider.h"

enum {
    CA_PENDING_MAX = 1024, /* jobs that a provider may hold */
    CA_HELD_MAX = 64,      /* answers before a flush */
    CA_WATCHERS_MAX = 16,
    CA_JWT_TTL_S = 300,
    CA_JWT_TTL_MAX_S = 3600,
};

/* Verdict of one request: CA_OK, or a code and the words for it. */
struct judgement {
    enum ca_code code;
    char why[PROVIDER_WHY_BYTES];
};
struct judgement refuse(enum ca_code code, const char *fmt, ...) printf_like(2, 3);
#define JUDGED_OK ((struct judgement){.code = CA_OK})

/* Who asks, believed. */
struct caller {
    const char *kind; /* "node", "token", "certificate" */
    struct str node, subject, peer;
    struct identity own; /* TOKEN, CERTIFICATE */
    struct str acts_for; /* TOKEN of a trusted node account: the node that its pod runs on; empty: for itself alone */
};

struct foreign { /* bundle of another trust domain */
    struct tls_der_list roots, crls;
};
struct watcher {
    struct mailbox *reply;
    uint64_t id, acknowledged;
    bool stale; /* did not take the last news: told again at the next turn */
};
struct held { /* an answer that waits for the record */
    struct mailbox *reply;
    uint8_t *bytes;
    size_t n;
    bool gives; /* something was issued: without its record it is not sent */
    enum ca_message_kind kind;
    uint64_t id;
};

struct authority {
    const struct ca_options *o;
    struct str trust_domain, node;
    struct audit *audit;
    const struct provider_ops *ops;
    void *provider;
    const struct world *world; /* during a call that judges; else NULL */
    struct follow *follow;     /* bundles and the JWKS; in the order of their numbers, the JWKS last */
    struct foreign *foreign;   /* as many as o->n_bundles */
    struct arena jwks_arena;
    struct jwks *jwks; /* NULL: nobody is believed */
    char jwks_why[128];
    uint64_t settled_ns;
    struct tls_key *jwt_key;
    char jwt_kid[JWS_KID_MAX];
    struct growing jwks_own; /* public half of jwt_key, a key set */
    uint64_t generation, acknowledged;
    struct watcher watchers[CA_WATCHERS_MAX];
    size_t n_watchers;
    struct list pending;
    size_t n_pending;
    struct held held[CA_HELD_MAX];
    size_t n_held;
    bool changed; /* bundles are published at the end of the turn */
    struct ca_stats own_stats, *stats;
    char last_error[CA_WHY_BYTES];
    int64_t now_s; /* of this turn */
};

int authority_open(struct authority *a, const struct ca_options *o, int64_t now_s, char why[CA_WHY_BYTES]) must_check;
void authority_close(struct authority *a);
/* One encoded request; reply may be NULL. The world may be NULL. */
void authority_take(struct authority *a, const struct world *world, const uint8_t *bytes, size_t n, struct mailbox *reply,
                    int64_t now_s);
bool authority_is_full(const struct authority *a); /* flush before the next take */
/* What is to be waited for, then the turn: files, provider, news to watchers, flush. Returns ms to wait at the most. */
unsigned authority_poll(const struct authority *a, struct pollfd fds[PROVIDER_POLL_MAX + 1]);
int authority_turn(struct authority *a, const struct pollfd *fds, unsigned n, uint64_t mono_ns, int64_t now_s);
void authority_flush(struct authority *a);
void authority_report(const struct authority *a, struct growing *to); /* ASK_STATUS */
void authority_event(struct authority *a, const char *event, const char *text, int64_t now_s);

/* judge.c */
struct judgement judge_caller(const struct authority *a, const struct ca_request *q, struct arena *arena, int64_t now_s,
                              struct caller *ret);
struct judgement judge_identity(const struct authority *a, const struct ca_request *q, const struct caller *c,
                                struct identity *ret);
struct judgement judge_csr(const struct ca_request *q, const struct identity *identity, struct tls_csr **ret);
/* token.c */
struct judgement judge_token(const struct authority *a, const struct ca_request *q, struct arena *arena, int64_t now_s,
                             struct caller *ret);
void tokens_load(struct authority *a);                /* the JWKS, or the word why nobody is believed */
void tokens_tell(struct authority *a, int64_t now_s); /* how that went, to log and record */
/* answer.c */
void answer_refusal(struct authority *a, const struct ca_request *q, const struct caller *c, struct mailbox *reply, int64_t now_s,
                    const struct judgement *j);
void answer_sign(struct authority *a, const struct ca_request *q, struct arena *arena, struct mailbox *reply, int64_t now_s);
void authority_answered(void *context, struct provider_job *job, struct provider_answer *m);
void answer_bundle(struct authority *a, struct mailbox *reply, uint64_t id);
void hold_answer(struct authority *a, const struct ca_response *p, struct mailbox *reply, bool gives);
int fill_chain(const struct authority *a, struct arena *arena, const struct tls_der_list *chain, struct ca_response *p) must_check;
/* bundles.c */
int bundles_open(struct authority *a, char why[CA_WHY_BYTES]) must_check;
void bundles_close(struct authority *a);
int bundles_follow(struct authority *a, uint64_t mono_ns, int64_t now_s);
/* watchers.c */
void watchers_request(struct authority *a, const struct ca_request *q, struct mailbox *reply, int64_t now_s);
void watchers_tell(struct authority *a, int64_t now_s); /* publishes when something changed; tells those who are behind */
/* svid.c */
int svid_open(struct authority *a, char why[CA_WHY_BYTES]) must_check;
void svid_take(struct authority *a, const struct ca_request *q, struct arena *arena, struct mailbox *reply, int64_t now_s);
const char *ca_code_name(enum ca_code c); /* "INVALID_ARGUMENT" */
