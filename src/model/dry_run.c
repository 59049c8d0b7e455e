/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/dry_run.c - what the policies that are only watched would have done
 *
 * Asked after the verdict and with it, so that the data path pays for watched policies only where some apply. Each is
 * looked at, not only up to the first that would decide: one counts them all to know which are safe to enforce. */
#include "policy.h"

static const struct rule *matching_rule(const struct policy *p, const struct peer_facts *f) {
    for (uint32_t i = 0; i < p->n_rules; i++)
        if (rule_matches(&p->rules[i], f, p->denies, NULL))
            return &p->rules[i];
    return NULL;
}

struct watching { /* of the dry-run policies */
    bool denies, has_allow, allows;
};

static void watch(const struct policy *p, const struct rule *r, struct watching *to) {
    if (!p->dry_run || p->action == POLICY_AUDIT)
        return;
    if (p->action == POLICY_ALLOW) {
        to->has_allow = true;
        to->allows |= r != NULL;
    } else {
        to->denies |= r != NULL;
    }
}

static bool would_allow(const struct verdict *real, const struct watching *w) {
    bool decided = real->kind != NULL; /* by STRICT, a DENY or an ALLOW that matched */

    if (w->denies || (decided && !real->allow))
        return false;
    if (decided || w->allows)
        return true;
    return !real->allow_policies && !w->has_allow;
}

bool authz_dry_run(const struct authz_query *q, const struct verdict *real, authz_watched_fn hit, void *context, bool *ret_allow) {
    const struct policy_table *t = q->to->policies;
    struct watching w = {.denies = false};
    struct peer_facts f;

    if (!t->has_watched)
        return false;
    peer_facts_init(&f, q);
    for (unsigned g = 0; g < POLICY_GROUPS; g++) {
        const struct policy_group *group = t->groups[g];
        uint32_t from = group->n_deny + group->n_allow;
        for (uint32_t i = from; i < from + group->n_watched; i++) {
            const struct policy *p = group->items[i];
            const struct rule *r = matching_rule(p, &f);
            watch(p, r, &w);
            if (!r)
                continue;
            struct authz_watched h = {.ns = p->ns,
                                      .name = p->name,
                                      .action = p->action,
                                      .dry_run = p->dry_run,
                                      .rule = (int)(r - p->rules),
                                      .at = r->at.file.n ? r->at : p->at};
            hit(context, &h);
        }
    }
    *ret_allow = would_allow(real, &w);
    return true;
}
