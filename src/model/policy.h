/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/policy.h - policies as compiled: rules (any) of clauses (all) of matches (any) of conditions (all) of values (any)
 *
 * The shape is that of Istio's wire form (facts/identity.md 5.3), with two differences that make it fail closed: an empty
 * match is true, because a part that this layer cannot check was left out of it; and a rule that must not match says so
 * in `never`. What cannot be known (no identity, no address) is decided where a condition is tested, by `denies`. */
#pragma once

#include <ringwall/model/authz.h>

enum match_field {
    FIELD_PRINCIPAL,
    FIELD_NAMESPACE,
    FIELD_SERVICE_ACCOUNT,
    FIELD_SOURCE_IP,
    FIELD_DESTINATION_IP,
    FIELD_DESTINATION_PORT,
    _FIELD_MAX
};
enum text_kind { TEXT_EXACT, TEXT_PREFIX, TEXT_SUFFIX, TEXT_PRESENT };
struct text_match {
    enum text_kind kind;
    struct str text; /* without the star */
};
struct account_match {
    struct str ns, sa;
};

struct condition {
    enum match_field field;
    bool negative;
    uint32_t n; /* at least 1 */
    union {
        const struct text_match *texts;
        const struct account_match *accounts;
        const struct cidr *cidrs;
        const uint16_t *ports;
    };
};
struct match {
    const struct condition *conditions;
    uint32_t n;
};
enum clause_kind { CLAUSE_TO, CLAUSE_FROM, CLAUSE_WHEN };
struct clause {
    const struct match *matches;
    uint32_t n; /* at least 1 */
    enum clause_kind kind;
};
struct rule {
    const struct clause *clauses;
    uint32_t n;
    bool assumes;     /* parts that cannot be checked at this layer count as true */
    struct str never; /* name of the field that keeps this rule from ever matching; empty: it may match */
    struct origin at;
};

struct policy {
    const struct rule *rules; /* first what a verdict reads, then what people do */
    uint32_t n_rules, index;
    enum policy_action action;
    bool denies;   /* the unknown counts as matched: DENY, CUSTOM and AUDIT */
    bool enforced; /* not dry-run, not AUDIT, not for L7 */
    bool dry_run, for_l7, has_ports, is_mesh, has_selector;
    struct str ns, name;
    struct origin at;
    const struct label *labels; /* the selector's */
    size_t n_labels;
    size_t n_bound;
};

/* Policies of one scope that apply together, ordered: deny, allow, then those that are only watched. */
struct policy_group {
    const struct policy *const *items;
    uint32_t n_deny, n_allow, n_watched;
    bool has_ports;
};

struct peer_auth {
    struct str ns, name;
    struct origin at, mode_at;
    enum mtls_mode mode;
    const struct port_mode_spec *ports; /* origins are the world's */
    size_t n_ports;
    const struct label *labels; /* the selector's */
    size_t n_labels;
    uint32_t index;
    uint64_t age_rank; /* 0 is the oldest */
    size_t n_bound;
};

/* What applies to the workloads of one namespace with one set of labels. */
enum { POLICY_GROUPS = 3 };
struct policy_table {
    const struct policy_group *groups[POLICY_GROUPS]; /* mesh, namespace, selector; never NULL */
    bool has_allow, has_watched;
    enum mtls_mode mode;
    const struct peer_auth *mode_by;  /* NULL: the default */
    const struct peer_auth *ports_by; /* NULL: no port has a mode of its own */
};

/* Facts of one query, prepared once. */
struct peer_facts {
    const struct identity *identity; /* NULL: none */
    struct str principal;
    const struct addr *source_ip, *destination_ip; /* NULL: not known */
    uint16_t port;
};
void peer_facts_init(struct peer_facts *f, const struct authz_query *q);
bool condition_holds(const struct condition *c, const struct peer_facts *f, bool denies);
/* The deciding walk; with `miss` also tells the first clause without a matching match, for people. */
bool rule_matches(const struct rule *r, const struct peer_facts *f, bool denies, const struct clause **miss);
bool match_holds(const struct match *m, const struct peer_facts *f, bool denies, const struct condition **miss);

enum mtls_mode policy_table_mode(const struct policy_table *t, uint16_t port, const struct peer_auth **ret_by,
                                 const struct origin **ret_at);
