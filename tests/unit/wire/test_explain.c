/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the answers of authz check and tls-check have the agreed keys, say what the matcher decided, and are well-formed
 * whatever names hold. Method: a small world; each answer is read back and compared with the verdict itself. */
#include <ringwall/wire/explain.h>

#include "../model/mesh.h"
#include "unit.h"

static const char world[] = "pod app/web ip=10.1.0.1,2001:db8::1 sa=web labels=app:web ambient\n"
                            "pod app/plain ip=10.1.0.2\n"
                            "policy ALLOW app/some selector=app:web\n"
                            "rule from principals=cluster.local/ns/app/sa/friend\n"
                            "rule from namespaces=ops | to ports=80\n"
                            "policy DENY app/no selector=app:web\n"
                            "rule from ipBlocks=10.66.0.0/16\n"
                            "auth app/default STRICT\n";

static bool text_is(const struct json *o, const char *key, const char *expected) {
    const struct json *v = json_get(o, key);
    return expected ? str_is(json_text(v), str_of(expected)) : v && !json_text(v).n;
}

static struct json *answer(struct mesh *m, const char *query, struct verdict *v) {
    struct growing g = GROWING_NULL;
    struct json_writer w;
    struct identity source = IDENTITY_NULL;
    struct authz_query q;
    char why[128];
    mesh_query(m, query, &q, &source);
    json_begin(&w, &g, true);
    explain_authz(&w, m->world, &q, v);
    struct json *o = json_read((struct str){g.at, g.n}, why);
    if (!o)
        fail_msg("%s: %s", why, g.at);
    growing_deinit(&g);
    return o;
}

static void verdicts(void **state) {
    static const struct {
        const char *query, *verdict, *code, *kind, *policy, *at;
        int rule; /* -1: null */
        bool enrolled;
    } rows[] = {
        {"to=app/web port=80 from=cluster.local/ns/app/sa/friend ip=10.0.0.1", "allow", "allowed", "AuthorizationPolicy",
         "app/some", "mesh:4", 0, true},
        {"to=app/web port=80 from=cluster.local/ns/ops/sa/x ip=10.0.0.1", "allow", "allowed", "AuthorizationPolicy", "app/some",
         "mesh:5", 1, true},
        {"to=app/web port=81 from=cluster.local/ns/ops/sa/x ip=10.0.0.1", "deny", "policy-denied", NULL, NULL, NULL, -1, true},
        {"to=app/web port=80 from=cluster.local/ns/app/sa/friend ip=10.66.1.1", "deny", "policy-denied", "AuthorizationPolicy",
         "app/no", "mesh:7", 0, true},
        {"to=app/web port=80 from=cluster.local/ns/app/sa/friend", "deny", "policy-denied", "AuthorizationPolicy", "app/no",
         "mesh:7", 0, true},
        {"to=app/web port=80 ip=10.0.0.1", "deny", "mtls-required", "PeerAuthentication", "app/default", "mesh:8", -1, true},
        {"to=app/plain port=80 from=cluster.local/ns/x/sa/y ip=10.0.0.1", "allow", "allowed", NULL, NULL, NULL, -1, false},
    };
    struct mesh m;
    mesh_make(&m, world);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct verdict v;
        struct json *o = answer(&m, rows[i].query, &v);
        int64_t rule = -1;
        bool has_rule = json_number(json_get(o, "rule"), &rule);
        if (!text_is(o, "verdict", rows[i].verdict) || !text_is(o, "code", rows[i].code) || !text_is(o, "kind", rows[i].kind) ||
            !text_is(o, "policy", rows[i].policy) || !text_is(o, "at", rows[i].at) || has_rule != (rows[i].rule >= 0) ||
            rule != rows[i].rule)
            fail_msg("row %zu: %s", i, json_dump(o));
        assert_int_equal(json_truth(json_get(o, "enrolled")), rows[i].enrolled);
        assert_true(text_is(o, "mtls", "STRICT"));
        assert_int_equal(v.allow, !strcmp(rows[i].verdict, "allow"));
        assert_true(json_text(json_get(o, "reason")).n > 0);
        assert_true(json_count(json_get(o, "walk")) > 0);
        json_free(o);
    }
    mesh_deinit(&m);
}

/* The walk names each policy of the workload, and what is said to match is what decided. */
static void walk(void **state) {
    struct mesh m;
    struct verdict v;
    mesh_make(&m, world);
    struct json *o = answer(&m, "to=app/web port=80 from=cluster.local/ns/ops/sa/x ip=10.0.0.1", &v);
    const struct json *steps = json_get(o, "walk");
    assert_int_equal(json_count(steps), 4);
    for (size_t i = 0; i < json_count(steps); i++) {
        const struct json *s = json_at(steps, i);
        assert_int_equal(json_truth(json_get(s, "matched")), text_is(s, "at", "mesh:5"));
        assert_int_equal(json_truth(json_get(s, "decides")), text_is(s, "at", "mesh:5"));
        assert_true(json_text(json_get(s, "why")).n > 0);
    }
    json_free(o);
    mesh_deinit(&m);
}

static void tls(void **state) {
    static const struct {
        const char *mesh;
        uint16_t port;
        const char *mode, *policy, *at;
    } rows[] = {
        {"pod a/b ip=10.0.0.1\n", 0, "PERMISSIVE", NULL, NULL},
        {"pod a/b ip=10.0.0.1\nauth a/x STRICT\n", 80, "STRICT", "a/x", "mesh:2"},
        {"pod a/b ip=10.0.0.1 labels=k:v\nauth a/x STRICT selector=k:v port=80:DISABLE\n", 80, "DISABLE", "a/x", "mesh:2"},
        {"pod a/b ip=10.0.0.1 labels=k:v\nauth a/x STRICT selector=k:v port=80:DISABLE\n", 0, "STRICT", "a/x", "mesh:2"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        struct growing g = GROWING_NULL;
        struct json_writer w;
        char why[128];
        mesh_make(&m, rows[i].mesh);
        json_begin(&w, &g, false);
        explain_tls(&w, m.world, mesh_workload(&m, "a", "b"), rows[i].port);
        struct json *o = json_read((struct str){g.at, g.n}, why);
        assert_non_null(o);
        if (!text_is(o, "mode", rows[i].mode) || !text_is(o, "policy", rows[i].policy) || !text_is(o, "at", rows[i].at))
            fail_msg("row %zu: %s", i, g.at);
        const struct json *ports = json_get(o, "ports"), *one = json_at(ports, 0);
        assert_int_equal(json_count(ports), i == 3); /* told when no port was asked for */
        if (one && (!text_is(one, "mode", "DISABLE") || !text_is(one, "at", "mesh:2")))
            fail_msg("row %zu: %s", i, g.at);
        json_free(o);
        growing_deinit(&g);
        mesh_deinit(&m);
    }
}

static void finding(void **state) {
    static const struct {
        const char *to, *name, *near; /* name NULL: not found */
    } rows[] = {
        {"app/web", "web", NULL},
        {"10.1.0.1", "web", NULL},
        {"::ffff:10.1.0.1", "web", NULL},
        {"2001:db8::1", "web", NULL},
        {"app/plain", "plain", NULL},
        {"10.1.0.9", NULL, NULL},
        {"web", NULL, "app/web"},
        {"app/wep", NULL, "app/web"},
        {"ap/web", NULL, "app/web"},
        {"", NULL, NULL},
        {"/", NULL, NULL},
        {"app/", NULL, "app/web"},
        {"app/web/x", NULL, "app/web"},
        {"nothing/near", NULL, NULL},
    };
    struct mesh m;
    mesh_make(&m, world);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct addr a;
        char bytes[64];
        struct text near = TEXT_OVER(bytes);
        const struct workload *k = explain_find(m.world, str_of(rows[i].to), &a);
        if (!k != !rows[i].name || (k && !str_is(k->name, str_of(rows[i].name))))
            fail_msg("'%s'", rows[i].to);
        if (k)
            continue;
        if (explain_nearest(m.world, str_of(rows[i].to), &near) != (rows[i].near != NULL) ||
            (rows[i].near && strcmp(bytes, rows[i].near) != 0))
            fail_msg("'%s' is near '%s'", rows[i].to, bytes);
    }
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts), cmocka_unit_test(walk), cmocka_unit_test(tls),
                                       cmocka_unit_test(finding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
