/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: only the identity of the workload chosen, or one that the service dialled names, may answer; never another's, never
 * for another service, never for a workload that is gone. Method: one mesh, a table of who answers for what. */
#include <ringwall/model/route.h>

#include "mesh.h"
#include "unit.h"

static const char mesh_text[] = "ns app ambient\npod app/client ip=10.1.0.1\n"
                                "pod app/web ip=10.1.0.2 sa=web labels=app:web uid=u-web\n"
                                "pod app/db ip=10.1.0.3 sa=db labels=app:db uid=u-db\n"
                                "pod app/far ip=10.1.0.2 sa=far network=far uid=u-far\n"
                                "service app/plain vip=10.2.0.1 ports=http:80 selector=app:web\n"
                                "external-entry app/named vip=10.2.0.2,2001:db8::2 ports=http:80 selector=app:web "
                                "names=spiffe://cluster.local/ns/old/sa/web,web.example.org,spiffe://other.example/ns/x/sa/y\n"
                                "external-entry app/useless vip=10.2.0.3 ports=http:80 selector=app:db names=db.example.org,''\n"
                                "external-entry app/shadow vip=10.1.0.3 ports=http:80 selector=app:db "
                                "names=spiffe://cluster.local/ns/old/sa/web\n";

static bool accepts(struct mesh *m, const char *network, const char *dialled, const char *uid, const char *peer) {
    struct identity who = IDENTITY_NULL;
    struct endpoint e;
    assert_true(endpoint_parse(str_of(dialled), &e));
    if (*peer)
        assert_true(identity_parse(str_of(peer), &who));
    return route_accepts_identity(m->world, str_of(network), &e, str_of(uid), &who);
}

static void who_may_answer(void **state) {
#define OWN "spiffe://cluster.local/ns/app/sa/web"
#define OLD "spiffe://cluster.local/ns/old/sa/web"
#define OTHER "spiffe://other.example/ns/x/sa/y"
    static const struct {
        const char *dialled, *uid, *peer;
        bool yes;
        const char *network;
    } rows[] = {
        /* the workload itself, however it was dialled */
        {"10.1.0.2:80", "u-web", OWN, true, ""},
        {"10.2.0.1:80", "u-web", OWN, true, ""},
        {"10.2.0.2:80", "u-web", OWN, true, ""},
        {"192.0.2.1:80", "u-web", OWN, true, ""},
        /* names of the service dialled */
        {"10.2.0.2:80", "u-web", OLD, true, ""},
        {"10.2.0.2:80", "u-web", OTHER, true, ""},
        {"[2001:db8::2]:80", "u-web", OLD, true, ""},
        {"10.2.0.2:81", "u-web", OLD, true, ""}, /* names belong to the service, not to a port */
        /* of no other */
        {"10.2.0.1:80", "u-web", OLD, false, ""},
        {"10.1.0.2:80", "u-web", OLD, false, ""},
        {"10.2.0.3:80", "u-db", OLD, false, ""},
        {"10.2.0.9:80", "u-web", OLD, false, ""},
        {"10.2.0.2:80", "u-web", OLD, false, "far"},
        /* not for a workload that the service does not have, and a workload's address is no service's */
        {"10.2.0.2:80", "u-db", OLD, false, ""},
        {"10.2.0.2:80", "u-far", OLD, false, ""},
        {"10.1.0.3:80", "u-db", OLD, false, ""},
        /* nearly, nobody, nothing */
        {"10.2.0.2:80", "u-web", "spiffe://cluster.local/ns/old/sa/webb", false, ""},
        {"10.2.0.2:80", "u-web", "spiffe://other.example/ns/old/sa/web", false, ""},
        {"10.2.0.2:80", "u-web", "spiffe://cluster.local/ns/app/sa/db", false, ""},
        {"10.2.0.2:80", "u-web", "", false, ""},
        {"10.2.0.2:80", "u-gone", OWN, false, ""},
        {"10.2.0.2:80", "u-gone", OLD, false, ""},
        {"10.2.0.2:80", "", OLD, false, ""},
    };
    struct mesh m;
    mesh_make(&m, mesh_text);
    for (size_t i = 0; i < array_size(rows); i++)
        if (accepts(&m, rows[i].network, rows[i].dialled, rows[i].uid, rows[i].peer) != rows[i].yes)
            fail_msg("row %zu: %s %s %s", i, rows[i].dialled, rows[i].uid, rows[i].peer);
    mesh_deinit(&m);
}

/* While a mesh changes its trust domain, servers answer in the old one or the new one. */
static void an_alias_answers_too(void **state) {
    static const char text[] = "domain new\nalias old\nalias older\nnode n1\nns app ambient\npod app/client ip=10.1.0.1\n"
                               "pod app/web ip=10.1.0.2 sa=web node=n1 labels=app:web uid=u-web\n"
                               "external-entry app/named vip=10.2.0.2 ports=http:80 selector=app:web "
                               "names=spiffe://old/ns/x/sa/y,spiffe://foreign/ns/z/sa/z\n";
    static const struct {
        const char *dialled, *peer;
        bool yes;
    } rows[] = {
        {"10.1.0.2:80", "spiffe://new/ns/app/sa/web", true},
        {"10.1.0.2:80", "spiffe://old/ns/app/sa/web", true},
        {"10.1.0.2:80", "spiffe://older/ns/app/sa/web", true},
        {"10.1.0.2:80", "spiffe://foreign/ns/app/sa/web", false},
        {"10.1.0.2:80", "spiffe://cluster.local/ns/app/sa/web", false}, /* a placeholder in policies only */
        {"10.1.0.2:80", "spiffe://old/ns/app/sa/db", false},
        {"10.1.0.2:80", "spiffe://old/ns/web/sa/web", false},
        {"10.2.0.2:80", "spiffe://new/ns/x/sa/y", true},
        {"10.2.0.2:80", "spiffe://older/ns/x/sa/y", true},
        {"10.2.0.2:80", "spiffe://foreign/ns/z/sa/z", true},
        {"10.2.0.2:80", "spiffe://old/ns/z/sa/z", false}, /* a foreign name has no aliases of ours */
        {"10.2.0.2:80", "spiffe://foreign/ns/x/sa/y", false},
    };
    static const struct {
        const char *identity, *node;
        bool yes;
    } places[] = {
        {"spiffe://new/ns/app/sa/web", "n1", true},      {"spiffe://old/ns/app/sa/web", "n1", true},
        {"spiffe://foreign/ns/app/sa/web", "n1", false}, {"spiffe://old/ns/app/sa/web", "n2", false},
        {"spiffe://old/ns/app/sa/nobody", "n1", false},
    };
    struct mesh m;
    mesh_make(&m, text);
    for (size_t i = 0; i < array_size(rows); i++)
        if (accepts(&m, "", rows[i].dialled, "u-web", rows[i].peer) != rows[i].yes)
            fail_msg("row %zu: %s %s", i, rows[i].dialled, rows[i].peer);
    for (size_t i = 0; i < array_size(places); i++) {
        struct identity id;
        assert_true(identity_parse(str_of(places[i].identity), &id));
        if (world_node_has_identity(m.world, str_of(places[i].node), &id) != places[i].yes)
            fail_msg("place %zu: %s %s", i, places[i].identity, places[i].node);
    }
    struct identity none = IDENTITY_NULL;
    assert_false(world_same_identity(m.world, &none, &none));
    assert_false(world_node_has_identity(m.world, STR("n1"), &none));
    mesh_deinit(&m);
}

static void a_route_says_when_to_ask(void **state) {
    static const struct {
        const char *dialled;
        bool named;
    } rows[] = {{"10.2.0.1:80", false}, {"10.2.0.2:80", true}, {"10.2.0.3:80", false}, {"10.1.0.2:80", false}};
    static const uint16_t ports[3] = {15001, 15006, 15008};
    struct mesh m;
    struct rng rng;
    mesh_make(&m, mesh_text);
    rng_seed(&rng, 1);
    for (size_t i = 0; i < array_size(rows); i++) {
        struct endpoint e;
        struct route r;
        assert_true(endpoint_parse(str_of(rows[i].dialled), &e));
        route_outbound(m.world, mesh_workload(&m, "app", "client"), &e, ports, NULL, &rng, &r);
        assert_true(r.kind == ROUTE_TUNNEL && r.named == rows[i].named);
    }
    mesh_deinit(&m);
}

static void names_that_are_never_met_are_told(void **state) {
    struct mesh m;
    mesh_make(&m, mesh_text);
    assert_true(
        mesh_says(&m, DIAG_WARNING, 7, "subjectAltNames of ServiceEntry app/named has \"web.example.org\", which is no identity"));
    assert_true(mesh_says(&m, DIAG_WARNING, 8, "has \"db.example.org\""));
    assert_true(mesh_says(&m, DIAG_WARNING, 8, "has \"\""));
    assert_false(mesh_says(&m, DIAG_WARNING, 0, "other.example"));
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_may_answer), cmocka_unit_test(an_alias_answers_too),
                                       cmocka_unit_test(a_route_says_when_to_ask),
                                       cmocka_unit_test(names_that_are_never_met_are_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
