/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: an account that a policy names and that is nowhere is told of, and no other. Method: one namespace with two accounts,
 * and a policy of each form. */
#include "lint.h"
#include "unit.h"

static bool exists(void *context, struct str ns, struct str name, bool *ret_known) {
    *ret_known = str_is(ns, STR("shop"));
    return *ret_known && (str_is(name, STR("default")) || str_is(name, STR("web")));
}

static void accounts(void **state) {
    enum { PRINCIPALS, ACCOUNTS, WHEN_PRINCIPAL, WHEN_ACCOUNT, WHEN_OTHER };
    static const struct {
        int where;
        const char *text;
        bool warns;
    } rows[] = {
        {PRINCIPALS, "td.example/ns/shop/sa/web", false},
        {PRINCIPALS, "td.example/ns/shop/sa/wbe", true},
        {PRINCIPALS, "cluster.local/ns/shop/sa/wbe", true},
        {PRINCIPALS, "other.example/ns/shop/sa/wbe", false},
        {PRINCIPALS, "td.example/ns/dev/sa/wbe", false},
        {PRINCIPALS, "td.example/ns/shop/sa/w*", false},
        {PRINCIPALS, "td.example/ns/shop/sa", false},
        {PRINCIPALS, "td.example/ns/shop/sa/wbe/x", false},
        {PRINCIPALS, "*", false},
        {ACCOUNTS, "web", false},
        {ACCOUNTS, "wbe", true},
        {ACCOUNTS, "shop/web", false},
        {ACCOUNTS, "shop/wbe", true},
        {ACCOUNTS, "dev/wbe", false},
        {WHEN_PRINCIPAL, "td.example/ns/shop/sa/x", true},
        {WHEN_ACCOUNT, "x", true},
        {WHEN_OTHER, "x", false},
    };
    static const char *const keys[] = {
        [WHEN_PRINCIPAL] = "source.principal", [WHEN_ACCOUNT] = "source.serviceAccount", [WHEN_OTHER] = "source.ip"};
    static const struct world_settings settings = {.trust_domain = STR("td.example")};
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
        lint_accounts(&p, &settings, exists, NULL, &diags);
        if (diags.n != rows[i].warns)
            fail_msg("%s: %zu warnings", rows[i].text, diags.n);
        if (diags.n)
            assert_true(diags.items[0].severity == DIAG_WARNING && diags.items[0].line == 3);
        diag_list_deinit(&diags);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(accounts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
