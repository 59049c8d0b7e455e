/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: policies that are only watched change no verdict, and what they would have done is told whole. Method: a table of
 * meshes with the hits and the verdict that would be; test_differential compares the latter with the same mesh enforced. */
#include "mesh.h"
#include "unit.h"

static void note(void *context, const struct authz_watched *h) {
    struct text *t = context;
    text_addf(t, "%s%s " STR_FMT "/" STR_FMT " %d:%u;", h->dry_run ? "dry " : "", policy_action_name(h->action), STR_ARG(h->ns),
              STR_ARG(h->name), h->rule, h->at.line);
}

static void what_they_would_have_done(void **state) {
    enum { NONE = 2 }; /* nothing is watched */
    static const struct {
        const char *policies, *hits;
        int real, would;
    } rows[] = {
        {"", "", 1, NONE},
        {"policy DENY app/p\nrule", "", 0, NONE},
        {"policy DENY other/p dry\nrule", "", 1, NONE},
        {"policy DENY app/p dry refs\nrule", "", 1, NONE}, /* for waypoints */
        {"policy DENY app/p selector=app:no dry\nrule", "", 1, NONE},
        /* would deny */
        {"policy DENY app/p dry\nrule", "dry DENY app/p 0:3;", 1, 0},
        {"policy DENY app/p dry\nrule from namespaces=dev\nrule from namespaces=foo", "dry DENY app/p 1:4;", 1, 0},
        {"policy DENY app/p dry\nrule from namespaces=dev", "", 1, 1},
        {"policy CUSTOM app/p dry\nrule to paths=/x", "dry CUSTOM app/p 0:3;", 1, 0},
        {"policy DENY istio-system/m dry\nrule\npolicy DENY app/n dry\nrule\npolicy DENY app/s dry selector=app:web\nrule",
         "dry DENY istio-system/m 0:3;dry DENY app/n 0:5;dry DENY app/s 0:7;", 1, 0},
        /* a dry-run ALLOW: today everything is allowed, then nothing else would be */
        {"policy ALLOW app/p dry\nrule from namespaces=foo", "dry ALLOW app/p 0:3;", 1, 1},
        {"policy ALLOW app/p dry\nrule from namespaces=dev", "", 1, 0},
        {"policy ALLOW app/p dry", "", 1, 0},
        {"policy ALLOW app/p dry\nrule to paths=/x", "", 1, 0}, /* never matches, so nothing would pass */
        /* beside policies in force */
        {"policy ALLOW app/p dry\nrule from namespaces=foo\npolicy ALLOW app/q\nrule from namespaces=dev", "dry ALLOW app/p 0:3;",
         0, 1},
        {"policy ALLOW app/p dry\nrule from namespaces=dev\npolicy ALLOW app/q\nrule from namespaces=dev", "", 0, 0},
        {"policy ALLOW app/p dry\nrule from namespaces=dev\npolicy ALLOW app/q\nrule from namespaces=foo", "", 1, 1},
        {"policy ALLOW app/p dry\nrule\npolicy DENY app/q\nrule", "dry ALLOW app/p 0:3;", 0, 0},
        {"policy ALLOW app/p dry\nrule\npolicy DENY app/q dry\nrule", "dry ALLOW app/p 0:3;dry DENY app/q 0:5;", 1, 0},
        /* AUDIT takes note and changes neither */
        {"policy AUDIT app/p\nrule", "AUDIT app/p 0:3;", 1, 1},
        {"policy AUDIT app/p\nrule from namespaces=dev", "", 1, 1},
        {"policy AUDIT app/p dry\nrule", "dry AUDIT app/p 0:3;", 1, 1},
        {"policy AUDIT app/p\nrule\npolicy DENY app/q\nrule", "AUDIT app/p 0:3;", 0, 0},
        {"policy AUDIT app/p\nrule\npolicy ALLOW app/q\nrule from namespaces=dev", "AUDIT app/p 0:3;", 0, 0},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct authz_query q;
        struct identity source;
        struct verdict v;
        struct mesh m;
        char hits[512];
        struct text t = TEXT_OVER(hits);
        bool allow = false;
        mesh_make(&m, "pod app/web ip=10.1.0.1 labels=app:web");
        mesh_add(&m, rows[i].policies);
        assert_int_equal(mesh_build(&m), 0);
        mesh_query(&m, "to=app/web from=cluster.local/ns/foo/sa/bar ip=10.0.0.9", &q, &source);
        authz_judge(m.world, &q, &v);
        bool any = authz_dry_run(&q, &v, note, &t, &allow);
        if (v.allow != (rows[i].real == 1) || (any ? allow : NONE) != rows[i].would || !str_is(text_str(&t), str_of(rows[i].hits)))
            fail_msg("row %zu: real %d, any %d, would %d, hits " STR_FMT, i, v.allow, any, allow, STR_ARG(text_str(&t)));
        mesh_deinit(&m);
    }
}

static void strict_stays_strict(void **state) {
    struct authz_query q;
    struct identity source;
    struct verdict v;
    struct mesh m;
    char hits[128];
    struct text t = TEXT_OVER(hits);
    bool allow = true;
    mesh_make(&m, "pod app/web ip=10.1.0.1\nauth app/a STRICT\npolicy ALLOW app/p dry\nrule");
    mesh_query(&m, "to=app/web ip=10.0.0.9", &q, &source);
    authz_judge(m.world, &q, &v);
    assert_true(authz_dry_run(&q, &v, note, &t, &allow));
    assert_true(!v.allow && !allow && str_is(text_str(&t), STR("dry ALLOW app/p 0:4;")));
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_they_would_have_done), cmocka_unit_test(strict_stays_strict)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
