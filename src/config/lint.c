/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/lint.c - see lint.h
 *
 * Only what is exact and of our own trust domain can be wrong: a pattern may mean an account that is yet to come, another
 * domain has its own files. A namespace of which no account is listed was printed without them; then the accounts that its
 * workloads run as are all that is known. */
#include "lint.h"

struct lint {
    const struct policy_spec *policy;
    const struct world_settings *settings;
    lint_account_fn look;
    void *context;
    struct diag_list *diags;
};

static void look_up(struct lint *l, const char *field, const struct text_item *item, struct str ns, struct str name) {
    struct str near = STR_NULL;
    char hint[400] = "check its name";
    struct text t = TEXT_OVER(hint);
    enum lint_account is = l->look(l->context, ns, name, &near);
    if (is == LINT_THERE || is == LINT_UNKNOWN)
        return;
    if (near.n)
        text_addf(&t, "did you mean " STR_FMT "?", STR_ARG(near));
    else
        text_addf(&t, "check its name");
    if (is == LINT_NOT_LISTED)
        diag_addf(l->diags, DIAG_WARNING, &item->at,
                  "%s: \"%.*s\" names service account %.*s, of which namespace " STR_FMT " has none in these files: %s", field,
                  (int)min_of(item->text.n, (size_t)160), item->text.at, (int)min_of(name.n, (size_t)80), name.at, STR_ARG(ns),
                  hint);
    else
        diag_addf(l->diags, DIAG_WARNING, &item->at,
                  "%s: \"%.*s\" names service account %.*s, which no workload of namespace " STR_FMT " runs as: %s", field,
                  (int)min_of(item->text.n, (size_t)160), item->text.at, (int)min_of(name.n, (size_t)80), name.at, STR_ARG(ns),
                  hint);
}

static bool is_ours(const struct lint *l, struct str td) {
    bool ours = str_is(td, l->settings->trust_domain) || str_is(td, STR("cluster.local"));
    for (size_t i = 0; i < l->settings->n_trust_domain_aliases; i++)
        ours |= str_is(td, l->settings->trust_domain_aliases[i]);
    return ours;
}

/* "<td>/ns/<namespace>/sa/<account>" without a star */
static void check_principals(struct lint *l, const char *field, const struct text_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        struct str rest = list->items[i].text, parts[5], more;
        size_t n = 0;
        if (rest.n == 0 || memchr(rest.at, '*', rest.n))
            continue;
        while (n < array_size(parts) && str_split(&rest, '/', &parts[n]))
            n++;
        if (n < array_size(parts) || str_split(&rest, '/', &more) || !str_is(parts[1], STR("ns")) || !str_is(parts[3], STR("sa")))
            continue;
        if (is_ours(l, parts[0]))
            look_up(l, field, &list->items[i], parts[2], parts[4]);
    }
}

static void check_names(struct lint *l, const char *field, const struct text_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        struct str rest = list->items[i].text, ns, name;
        if (!str_split(&rest, '/', &ns))
            continue;
        if (!str_split(&rest, '/', &name)) {
            name = ns;
            ns = l->policy->ns;
        }
        look_up(l, field, &list->items[i], ns, name);
    }
}

void lint_accounts(const struct policy_spec *p, const struct world_settings *settings, lint_account_fn look, void *context,
                   struct diag_list *diags) {
    struct lint l = {p, settings, look, context, diags};
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct rule_spec *r = &p->rules[i];
        for (size_t k = 0; k < r->n_from; k++) {
            check_principals(&l, "principals", &r->from[k].principals);
            check_principals(&l, "notPrincipals", &r->from[k].not_principals);
            check_names(&l, "serviceAccounts", &r->from[k].service_accounts);
            check_names(&l, "notServiceAccounts", &r->from[k].not_service_accounts);
        }
        for (size_t k = 0; k < r->n_when; k++) {
            const struct text_list *lists[] = {&r->when[k].values, &r->when[k].not_values};
            for (size_t n = 0; n < array_size(lists); n++)
                if (str_is(r->when[k].key, STR("source.principal")))
                    check_principals(&l, "source.principal", lists[n]);
                else if (str_is(r->when[k].key, STR("source.serviceAccount")))
                    check_names(&l, "source.serviceAccount", lists[n]);
        }
    }
}
