/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/authz.h - who may talk to a workload: PeerAuthentication, then AuthorizationPolicy, one matcher for all askers
 *
 * Semantics: facts/identity.md 5 and facts/ztunnel.md 5, except where those fail open; there ours fails closed:
 * an L7 field makes an ALLOW rule unable to match and counts as true in DENY; an ALLOW source whose identity conditions
 * are all negative admits no peer without identity; CUSTOM denies what its rules match; AUDIT changes nothing; dry-run
 * policies change nothing; trust domain aliases and the placeholder cluster.local are expanded when compiled.
 * Order: plaintext under STRICT denies, DENY and CUSTOM deny, no ALLOW policy allows, a matching ALLOW allows, else deny. */
#pragma once

#include <ringwall/model/close_reason.h>
#include <ringwall/model/world.h>

struct authz_query {
    const struct workload *to;
    const struct identity *source; /* NULL or none: plaintext, no identity */
    struct addr source_ip;         /* none: unknown; IP conditions then fail in ALLOW and hold in DENY */
    struct addr destination_ip;    /* the workload's address asked for; none: its first */
    uint16_t port;                 /* the workload's port */
};
struct verdict {
    bool allow;
    enum close_reason reason; /* CLOSE_NONE when allowed */
    const char *kind;         /* "AuthorizationPolicy", "PeerAuthentication" or NULL: no policy decided */
    struct str ns, name;      /* of the deciding object; empty: none (denied as no ALLOW matched, or nothing applies) */
    int rule;                 /* from 0; -1: none */
    struct origin at;         /* of the deciding rule, else the object; file empty: none */
    enum mtls_mode mtls;      /* effective for this port */
    bool allow_policies;      /* some ALLOW policy applies to the workload */
    struct {
        struct str ns, name; /* denied as no ALLOW matched: the first ALLOW policy that was asked, for logs; else empty */
        int rule;            /* its first rule; -1: it has none */
        struct origin at;
    } nearest;
};
/* Pure, no allocation. Pointers in *ret are the world's. */
void authz_judge(const struct world *w, const struct authz_query *q, struct verdict *ret);

/* Policies that change nothing: those of dry-run, and AUDIT. For counting and logging what they would have done. */
struct authz_watched {
    struct str ns, name;
    enum policy_action action; /* DENY, CUSTOM: would have denied; ALLOW: would have allowed; AUDIT: takes note */
    bool dry_run;
    int rule; /* the first that matched */
    struct origin at;
};
typedef void (*authz_watched_fn)(void *context, const struct authz_watched *hit);
/* Calls `hit` for each such policy that matches (its pointers are the world's), and tells the verdict as it would be were
 * those of dry-run in force; `real` is what authz_judge said to the same question. False: no such policy applies to the
 * workload, nothing is called or written. Pure, no allocation. */
bool authz_dry_run(const struct authz_query *q, const struct verdict *real, authz_watched_fn hit, void *context, bool *ret_allow);

/* Effective mode for a port and the object that set it. */
struct mtls_effective {
    enum mtls_mode mode;
    struct str ns, name; /* empty: the default */
    struct origin at;
};
void authz_mtls(const struct world *w, const struct workload *to, uint16_t port, struct mtls_effective *ret);

/* The i-th port with a mode of its own; false: there are no more. */
bool authz_mtls_port(const struct workload *to, size_t i, uint16_t *ret_port, struct mtls_effective *ret);

/* The walk for people: every policy looked at, and why it did or did not match. Control threads and ctl. */
struct authz_step {
    struct str ns, name;
    const char *kind;
    enum policy_action action;
    int rule; /* -1: the policy as a whole */
    bool matched;
    bool asks_source_ip;        /* the rule counts and has a condition on the source's address */
    unsigned n_parts, n_missed; /* clauses of the rule, and those that do not hold; 0 and 0 when it can never match */
    struct origin at;
    const char *why; /* first clause that failed, or what matched; text lives until the next step */
};
typedef void (*authz_step_fn)(void *context, const struct authz_step *step);
void authz_explain(const struct world *w, const struct authz_query *q, authz_step_fn step, void *context, struct verdict *ret);
/* One line for people: "denied by AuthorizationPolicy ns/name rule 0 at file:line" */
void verdict_format(const struct verdict *v, struct text *to);
