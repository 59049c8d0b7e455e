/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a policy is bound to whom it says and to nobody else, and the tables tell so. Method: bound counts by scope,
 * selectors that share labels, duplicates, warnings. */
#include "mesh.h"
#include "unit.h"

static void view_of(const struct mesh *m, const char *name, struct policy_view *ret) {
    for (size_t i = 0; i < world_n_policies(m->world); i++) {
        world_policy_at(m->world, i, ret);
        if (str_is(ret->name, str_of(name)))
            return;
    }
    fail_msg("no policy %s", name);
}

static void scopes_and_counts(void **state) {
    static const struct {
        const char *name;
        int scope;
        size_t n_bound;
    } rows[] = {
        {"mesh", POLICY_SCOPE_MESH, 5},          {"mesh-web", POLICY_SCOPE_SELECTOR, 3},   {"ns", POLICY_SCOPE_NAMESPACE, 3},
        {"web", POLICY_SCOPE_SELECTOR, 2},       {"web-v1", POLICY_SCOPE_SELECTOR, 1},     {"none", POLICY_SCOPE_SELECTOR, 0},
        {"waypoint", POLICY_SCOPE_NAMESPACE, 0}, {"elsewhere", POLICY_SCOPE_NAMESPACE, 0},
    };
    struct mesh m;
    struct policy_view v;

    mesh_make(&m, "pod app/a ip=10.1.0.1 labels=app:web,v:1,x:y\n"
                  "pod app/b ip=10.1.0.2 labels=app:web,v:2\n"
                  "pod app/c ip=10.1.0.3 labels=v:1\n"
                  "pod b/a ip=10.1.0.4 labels=app:web\n"
                  "pod b/b ip=10.1.0.5\n"
                  "policy ALLOW istio-system/mesh\n"
                  "policy ALLOW istio-system/mesh-web selector=app:web\n"
                  "policy DENY app/ns\nrule\nrule to ports=1\n"
                  "policy AUDIT app/web selector=app:web dry\n"
                  "policy ALLOW app/web-v1 selector=v:1,app:web\n"
                  "policy ALLOW app/none selector=v:1,app:db\n"
                  "policy ALLOW app/waypoint refs\n"
                  "policy ALLOW elsewhere/elsewhere\n");
    assert_int_equal(world_n_policies(m.world), array_size(rows));
    for (size_t i = 0; i < array_size(rows); i++) {
        view_of(&m, rows[i].name, &v);
        assert_int_equal(v.scope, rows[i].scope);
        assert_int_equal(v.n_bound, rows[i].n_bound);
    }
    view_of(&m, "ns", &v);
    assert_true(v.action == POLICY_DENY && v.n_rules == 2 && v.at.line == 8 && !v.dry_run && !v.for_l7);
    view_of(&m, "web", &v);
    assert_true(v.dry_run && v.action == POLICY_AUDIT);
    view_of(&m, "waypoint", &v);
    assert_true(v.for_l7);
    mesh_deinit(&m);
}

/* A selector without labels means its whole scope, as for Istio. */
static void empty_selector_is_everyone(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/a ip=10.1.0.1\npolicy DENY app/p selector=\nrule");
    assert_false(mesh_ask(&m, "to=app/a").allow);
    mesh_deinit(&m);
}

static void refusals(void **state) {
    static const struct {
        const char *policy, *part;
    } rows[] = {
        {"policy ALLOW app/p\npolicy DENY app/p\nrule", "is given twice: also at mesh:1"},
        {"policy ALLOW app/p selector=app:web refs", "either a selector or targetRefs"},
        {"policy ALLOW app/p selector=a:b*", "a star is not a wildcard"},
        {"policy ALLOW app/p selector=:b", "empty label name"},
        {"policy ALLOW app/p selector=a:0123456789012345678901234567890123456789012345678901234567890123", "longer than 63"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, rows[i].policy);
        assert_int_equal(mesh_build(&m), 1);
        if (!mesh_says(&m, DIAG_ERROR, 0, rows[i].part))
            fail_msg("row %zu said: %s", i, m.diags.items[0].text);
        mesh_deinit(&m);
    }
}

static void warnings(void **state) {
    static const struct {
        const char *policy, *part; /* NULL: nothing is said */
    } rows[] = {
        {"policy ALLOW app/p selector=app:web\nrule to ports=8080", NULL},
        {"policy ALLOW app/p selector=app:web\nrule to ports=80,8080", NULL},
        {"policy ALLOW app/p selector=app:web\nrule to ports=80", "write the workloads' own ports"},
        {"policy ALLOW app/p selector=app:db\nrule to ports=80", NULL}, /* declares no ports */
        {"policy ALLOW app/p selector=app:no", "matches no workload; check its labels against the workloads' in this namespace"},
        {"policy ALLOW istio-system/p selector=app:no",
         "matches no workload; check its labels against the workloads' in any namespace"},
        {"policy ALLOW app/p selector=app:wbe", "matches no workload; did you mean app: web?"},
        {"policy ALLOW app/p selector=ap:web", "matches no workload; did you mean app: web?"},
        {"policy ALLOW istio-system/p selector=app:dbb", "matches no workload; did you mean app: db?"},
        {"policy ALLOW app/p selector=app:web,tier:x", "matches no workload; check its labels"},
        {"policy ALLOW ghost/p", "namespace ghost is not declared"},
        {"policy ALLOW app/p refs", "it is for waypoints"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, "ns app\nns istio-system\npod app/web ip=10.1.0.1 labels=app:web ports=http:8080\npod app/db ip=10.1.0.2 "
                     "labels=app:db");
        mesh_add(&m, rows[i].policy);
        assert_int_equal(mesh_build(&m), 0);
        if (rows[i].part ? !mesh_says(&m, DIAG_WARNING, 5, rows[i].part) : m.diags.n > 0)
            fail_msg("row %zu said: %s", i, m.diags.n ? m.diags.items[0].text : "nothing");
        mesh_deinit(&m);
    }
}

static void action_names(void **state) {
    assert_string_equal(policy_action_name(POLICY_ALLOW), "ALLOW");
    assert_string_equal(policy_action_name(POLICY_DENY), "DENY");
    assert_string_equal(policy_action_name(POLICY_AUDIT), "AUDIT");
    assert_string_equal(policy_action_name(POLICY_CUSTOM), "CUSTOM");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(scopes_and_counts), cmocka_unit_test(empty_selector_is_everyone),
                                       cmocka_unit_test(refusals), cmocka_unit_test(warnings), cmocka_unit_test(action_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
