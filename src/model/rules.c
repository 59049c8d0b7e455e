/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/rules.c - a policy's rules as compiled, told part by part, for dumps: what is shown is what decides */
#include <ringwall/base/check.h>

#include "snapshot.h"

struct walk {
    policy_part_fn fn;
    void *context;
};

static const char *list_name(const struct condition *c) {
    static const char *const names[_FIELD_MAX][2] = {
        [FIELD_PRINCIPAL] = {"principals", "notPrincipals"},
        [FIELD_NAMESPACE] = {"namespaces", "notNamespaces"},
        [FIELD_SERVICE_ACCOUNT] = {"serviceAccounts", "notServiceAccounts"},
        [FIELD_SOURCE_IP] = {"sourceIps", "notSourceIps"},
        [FIELD_DESTINATION_IP] = {"destinationIps", "notDestinationIps"},
        [FIELD_DESTINATION_PORT] = {"destinationPorts", "notDestinationPorts"},
    };

    return names[c->field][c->negative];
}

static void tell(const struct walk *w, struct policy_part p) { w->fn(w->context, &p); }

static void tell_value(const struct walk *w, const struct condition *c, uint32_t i) {
    static const char *const forms[] = {
        [TEXT_EXACT] = "Exact", [TEXT_PREFIX] = "Prefix", [TEXT_SUFFIX] = "Suffix", [TEXT_PRESENT] = "Presence"};
    char block[CIDR_TEXT];

    switch (c->field) {
    case FIELD_PRINCIPAL:
    case FIELD_NAMESPACE:
        tell(w, (struct policy_part){.kind = POLICY_TEXT, .name = forms[c->texts[i].kind], .text = c->texts[i].text});
        return;
    case FIELD_SERVICE_ACCOUNT:
        tell(w, (struct policy_part){.kind = POLICY_ACCOUNT, .ns = c->accounts[i].ns, .text = c->accounts[i].sa});
        return;
    case FIELD_SOURCE_IP:
    case FIELD_DESTINATION_IP:
        tell(w, (struct policy_part){.kind = POLICY_BLOCK, .text = cidr_format(&c->cidrs[i], block)});
        return;
    case FIELD_DESTINATION_PORT:
        tell(w, (struct policy_part){.kind = POLICY_PORT, .port = c->ports[i]});
        return;
    case _FIELD_MAX:
        break;
    }
    unreachable_because("the compiler makes no such field");
}

static void tell_match(const struct walk *w, const struct match *m) {
    tell(w, (struct policy_part){.kind = POLICY_MATCH});
    for (uint32_t i = 0; i < m->n; i++) {
        const struct condition *c = &m->conditions[i];
        tell(w, (struct policy_part){.kind = POLICY_LIST, .name = list_name(c)});
        for (uint32_t v = 0; v < c->n; v++)
            tell_value(w, c, v);
        tell(w, (struct policy_part){.kind = POLICY_LIST, .end = true});
    }
    tell(w, (struct policy_part){.kind = POLICY_MATCH, .end = true});
}

void world_policy_rules(const struct world *w, size_t i, policy_part_fn fn, void *context) {
    const struct walk k = {fn, context};

    check(i < w->n_policies);
    const struct policy *p = &w->policies[i];
    for (uint32_t r = 0; r < p->n_rules; r++) {
        const struct rule *rule = &p->rules[r];
        tell(&k, (struct policy_part){.kind = POLICY_RULE, .at = rule->at, .never = rule->never, .assumes = rule->assumes});
        for (uint32_t c = 0; c < rule->n; c++) {
            tell(&k, (struct policy_part){.kind = POLICY_CLAUSE});
            for (uint32_t m = 0; m < rule->clauses[c].n; m++)
                tell_match(&k, &rule->clauses[c].matches[m]);
            tell(&k, (struct policy_part){.kind = POLICY_CLAUSE, .end = true});
        }
        tell(&k, (struct policy_part){.kind = POLICY_RULE, .end = true});
    }
}
