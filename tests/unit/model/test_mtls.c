/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the effective mode of every port, and the object that set it. Method: the table of facts/identity.md 5.6 as
 * outcomes for plaintext and for a peer with an identity; layers; who wins on one level. */
#include "mesh.h"
#include "unit.h"

static void check_mode(struct mesh *m, const char *ns, const char *name, uint16_t port, enum mtls_mode mode, const char *by,
                       uint32_t line) {
    struct mtls_effective e;
    char text[64] = "";

    authz_mtls(m->world, mesh_workload(m, ns, name), port, &e);
    if (e.name.n)
        snprintf(text, sizeof(text), STR_FMT "/" STR_FMT, STR_ARG(e.ns), STR_ARG(e.name));
    assert_string_equal(text, by);
    assert_int_equal(e.mode, mode);
    assert_int_equal(e.at.line, line);
}

static void layers(void **state) {
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1 labels=app:web\n"
                  "pod app/db ip=10.1.0.2 labels=app:db\n"
                  "pod other/x ip=10.1.0.3\n"
                  "pod istio-system/r ip=10.1.0.4 labels=app:web\n"
                  "pod unset/u ip=10.1.0.5\n"
                  "auth istio-system/mesh STRICT\n"
                  "auth app/ns PERMISSIVE\n"
                  "auth app/web UNSET selector=app:web port=8080:STRICT port=9090:DISABLE port=7070:UNSET\n"
                  "auth app/db DISABLE selector=app:db\n"
                  "auth unset/u UNSET\n"
                  "auth istio-system/ignored DISABLE selector=app:web\n");
    check_mode(&m, "app", "web", 80, MTLS_PERMISSIVE, "app/ns", 7);
    check_mode(&m, "app", "web", 8080, MTLS_STRICT, "app/web", 8);
    check_mode(&m, "app", "web", 9090, MTLS_DISABLE, "app/web", 8);
    check_mode(&m, "app", "web", 7070, MTLS_PERMISSIVE, "app/ns", 7);
    check_mode(&m, "app", "db", 80, MTLS_DISABLE, "app/db", 9);
    check_mode(&m, "other", "x", 80, MTLS_STRICT, "istio-system/mesh", 6);
    check_mode(&m, "unset", "u", 80, MTLS_STRICT, "istio-system/mesh", 6);
    check_mode(&m, "istio-system", "r", 80, MTLS_STRICT, "istio-system/mesh", 6);
    assert_true(mesh_says(&m, DIAG_WARNING, 11, "ignored in the root namespace"));
    assert_int_equal(mesh_workload(&m, "app", "db")->mode, MTLS_DISABLE);
    mesh_deinit(&m);
    mesh_make(&m, "pod app/web ip=10.1.0.1");
    check_mode(&m, "app", "web", 80, MTLS_PERMISSIVE, "", 0);
    mesh_deinit(&m);
}

/* facts/identity.md 5.6, as outcomes; a DISABLE or PERMISSIVE port is an exception under any STRICT parent. */
static void conversion_table(void **state) {
    static const struct {
        const char *auths;
        bool plain_80, plain_81; /* is plaintext let in at that port */
    } rows[] = {
        {"auth app/w STRICT selector=app:web", false, false},
        {"auth istio-system/m STRICT", false, false},
        {"auth app/n STRICT", false, false},
        {"auth app/w STRICT selector=app:web port=80:STRICT", false, false},
        {"auth app/w STRICT selector=app:web port=80:PERMISSIVE", true, false},
        {"auth app/w STRICT selector=app:web port=80:DISABLE", true, false},
        {"auth app/w STRICT selector=app:web port=80:PERMISSIVE port=81:DISABLE", true, true},
        {"auth app/w PERMISSIVE selector=app:web port=80:STRICT", false, true},
        {"auth app/w DISABLE selector=app:web port=80:STRICT", false, true},
        {"auth app/w UNSET selector=app:web port=80:STRICT", false, true},
        {"auth app/w PERMISSIVE selector=app:web", true, true},
        {"auth app/w PERMISSIVE selector=app:web port=80:PERMISSIVE", true, true},
        {"auth istio-system/m STRICT\nauth app/w UNSET selector=app:web port=80:DISABLE", true, false},
        {"auth istio-system/m STRICT\nauth app/w UNSET selector=app:web port=80:PERMISSIVE", true, false},
        {"auth app/n STRICT\nauth app/w PERMISSIVE selector=app:web", true, true},
        {"auth istio-system/m STRICT\nauth app/n DISABLE", true, true},
        {"auth istio-system/m DISABLE\nauth app/n STRICT", false, false},
        {"auth app/w selector=app:web", true, true},
    };
    for (size_t i = 0; i < array_size(rows); i++)
        for (uint16_t port = 80; port < 82; port++) {
            struct mesh m;
            char ask[128];
            mesh_init(&m);
            mesh_add(&m, "pod app/web ip=10.1.0.1 labels=app:web");
            mesh_add(&m, rows[i].auths);
            assert_int_equal(mesh_build(&m), 0);
            snprintf(ask, sizeof(ask), "to=app/web port=%u ip=10.9.9.9", port);
            bool plain = mesh_ask(&m, ask).allow;
            if (plain != (port == 80 ? rows[i].plain_80 : rows[i].plain_81))
                fail_msg("row %zu (%s) port %u: plaintext %s", i, rows[i].auths, port, plain ? "let in" : "kept out");
            snprintf(ask, sizeof(ask), "to=app/web port=%u from=cluster.local/ns/foo/sa/bar", port);
            assert_true(mesh_ask(&m, ask).allow); /* never stands in the way of an identity */
            mesh_deinit(&m);
        }
}

static void oldest_then_name(void **state) {
    static const struct {
        const char *auths, *winner;
    } rows[] = {
        {"auth app/b STRICT created=5\nauth app/a DISABLE created=6", "b"},
        {"auth app/b STRICT created=5\nauth app/a DISABLE created=5", "a"},
        {"auth app/b STRICT created=5\nauth app/a DISABLE", "b"},
        {"auth app/b STRICT\nauth app/a DISABLE", "a"},
        {"auth app/c STRICT created=0\nauth app/b STRICT created=5\nauth app/a DISABLE created=6", "c"},
        {"auth app/b STRICT created=5 selector=app:web\nauth app/a DISABLE created=6 selector=v:1", "b"},
        {"auth app/a STRICT created=7 selector=app:web\nauth app/b DISABLE created=6 selector=v:1\nauth app/c STRICT created=1",
         "b"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        struct mtls_effective e;
        mesh_init(&m);
        mesh_add(&m, "pod app/web ip=10.1.0.1 labels=app:web,v:1");
        mesh_add(&m, rows[i].auths);
        assert_int_equal(mesh_build(&m), 0);
        authz_mtls(m.world, mesh_workload(&m, "app", "web"), 80, &e);
        assert_true(str_is(e.name, str_of(rows[i].winner)));
        mesh_deinit(&m);
    }
    /* the oldest of a level is the level, also when it sets nothing */
    struct mesh m;
    mesh_make(&m, "pod app/web ip=10.1.0.1\nauth app/a UNSET created=1\nauth app/b STRICT created=2\nauth istio-system/m DISABLE");
    check_mode(&m, "app", "web", 80, MTLS_DISABLE, "istio-system/m", 4);
    assert_true(mesh_says(&m, DIAG_WARNING, 3, "app/a (mesh:2) is older"));
    mesh_deinit(&m);
}

static void refusals(void **state) {
    static const struct {
        const char *auth, *part;
    } rows[] = {
        {"auth app/a STRICT port=80:STRICT", "portLevelMtls needs a selector"},
        {"auth app/a STRICT selector=app:web port=0:STRICT", "port 0 does not exist"},
        {"auth app/a STRICT\nauth app/a STRICT", "is given twice: also at mesh:2"},
        {"auth app/a STRICT selector=a*:b", "a star is not a wildcard"},
        {"auth app/a STRICT selector=:b", "empty label name"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, "pod app/web ip=10.1.0.1 labels=app:web");
        mesh_add(&m, rows[i].auth);
        assert_int_equal(mesh_build(&m), 1);
        assert_true(mesh_says(&m, DIAG_ERROR, 0, rows[i].part));
        assert_null(m.world);
        mesh_deinit(&m);
    }
}

static void warnings_and_views(void **state) {
    struct mesh m;
    struct peer_auth_view v;
    mesh_make(
        &m,
        "ns app\npod app/web ip=10.1.0.1 labels=app:web\nauth ghost/a STRICT\nauth app/b STRICT selector=app:no port=80:DISABLE");
    assert_true(mesh_says(&m, DIAG_WARNING, 3, "namespace ghost is not declared"));
    assert_true(mesh_says(&m, DIAG_WARNING, 4, "matches no workload"));
    assert_int_equal(world_n_peer_auths(m.world), 2);
    world_peer_auth_at(m.world, 0, &v);
    assert_true(str_is(v.ns, STR("app")) && str_is(v.name, STR("b")) && v.mode == MTLS_STRICT && v.n_ports == 1 && v.at.line == 4);
    assert_string_equal(mtls_mode_name(MTLS_UNSET), "UNSET");
    assert_string_equal(mtls_mode_name(MTLS_DISABLE), "DISABLE");
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(layers), cmocka_unit_test(conversion_table),
                                       cmocka_unit_test(oldest_then_name), cmocka_unit_test(refusals),
                                       cmocka_unit_test(warnings_and_views)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
