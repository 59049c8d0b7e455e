/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: an account that a policy names and that is nowhere is told of, and no other. Method: one namespace with two accounts,
 * and a policy of each form. */
#include "lint.h"
#include "unit.h"

static enum lint_account look(void *context, struct str ns, struct str name, struct str *ret_near) {
    if (str_is(ns, STR("jobs")))
        return str_is(name, STR("nightly")) ? LINT_THERE : LINT_NOT_RUN;
    if (!str_is(ns, STR("shop")))
        return LINT_UNKNOWN;
    if (str_is(name, STR("default")) || str_is(name, STR("web")))
        return LINT_THERE;
    if (str_is(name, STR("wbe")))
        *ret_near = STR("web");
    return LINT_NOT_LISTED;
}

static void accounts(void **state) {
    enum { PRINCIPALS, ACCOUNTS, WHEN_PRINCIPAL, WHEN_ACCOUNT, WHEN_OTHER };
    static const struct {
        int where;
        const char *text;
        const char *says; /* NULL: nothing */
    } rows[] = {
        {PRINCIPALS, "td.example/ns/shop/sa/web", NULL},
        {PRINCIPALS, "td.example/ns/shop/sa/wbe", "has none in these files: did you mean web?"},
        {PRINCIPALS, "old.example/ns/shop/sa/wbe", "did you mean web?"},
        {PRINCIPALS, "td.example/ns/jobs/sa/nightly", NULL},
        {PRINCIPALS, "td.example/ns/jobs/sa/hourly", "which no workload of namespace jobs runs as: check its name"},
        {PRINCIPALS, "cluster.local/ns/shop/sa/wbe", "did you mean web?"},
        {PRINCIPALS, "other.example/ns/shop/sa/wbe", NULL},
        {PRINCIPALS, "td.example/ns/dev/sa/wbe", NULL},
        {PRINCIPALS, "td.example/ns/shop/sa/w*", NULL},
        {PRINCIPALS, "td.example/ns/shop/sa", NULL},
        {PRINCIPALS, "td.example/ns/shop/sa/wbe/x", NULL},
        {PRINCIPALS, "*", NULL},
        {ACCOUNTS, "web", NULL},
        {ACCOUNTS, "wbe", "did you mean web?"},
        {ACCOUNTS, "shop/web", NULL},
        {ACCOUNTS, "shop/wbe", "did you mean web?"},
        {ACCOUNTS, "dev/wbe", NULL},
        {WHEN_PRINCIPAL, "td.example/ns/shop/sa/x", "has none in these files: check its name"},
        {WHEN_ACCOUNT, "x", "check its name"},
        {WHEN_OTHER, "x", NULL},
    };
    static const char *const keys[] = {
        [WHEN_PRINCIPAL] = "source.principal", [WHEN_ACCOUNT] = "source.serviceAccount", [WHEN_OTHER] = "source.ip"};
    static struct str aliases[] = {STR("old.example")};
    static const struct world_settings settings = {
        .trust_domain = STR("td.example"), .trust_domain_aliases = aliases, .n_trust_domain_aliases = 1};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct text_item item = {.text = str_of(rows[i].text), .at = {STR("x.yaml"), 3, 4}};
        struct text_list list = {.present = true, .items = &item, .n = 1};
        struct source_spec source = {0};
        struct condition_spec when = {.values = list};
        struct rule_spec rule = {.from = &source, .when = &when};
        struct policy_spec p = {.ns = STR("shop"), .rules = &rule, .n_rules = 1};
        struct diag_list diags = DIAG_LIST_NULL;
        *(rows[i].where == PRINCIPALS ? &source.principals : &source.service_accounts) = list;
        rule.n_from = rows[i].where <= ACCOUNTS;
        rule.n_when = rows[i].where > ACCOUNTS;
        when.key = rule.n_when ? str_of(keys[rows[i].where]) : STR_NULL;
        lint_accounts(&p, &settings, look, NULL, &diags);
        if (diags.n != (rows[i].says != NULL) || (diags.n && !strstr(diags.items[0].text, rows[i].says)))
            fail_msg("%s: %s", rows[i].text, diags.n ? diags.items[0].text : "nothing");
        if (diags.n)
            assert_true(diags.items[0].severity == DIAG_WARNING && diags.items[0].line == 3);
        diag_list_deinit(&diags);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(accounts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
