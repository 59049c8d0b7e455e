/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every workload is found by what names it, and never by what names another. Method: look-ups, enrolment labels,
 * addresses that two workloads claim, placement on nodes. */
#include "mesh.h"
#include "unit.h"

static void fields_and_lookups(void **state) {
    struct mesh m;
    mesh_make(&m,
              "ns app ambient waypoint=wp\n"
              "pod app/web ip=10.1.0.1,10.1.0.1,2001:db8::1 sa=web node=node-1 labels=v:1,app:web ports=http:80 uid=u-1 weight=3\n"
              "entry app/vm ip=10.1.0.2 node=node-2 waypoint=none\n"
              "pod app/web2 network=far ip=10.1.0.1\n"
              "entry app/web ip=10.1.0.9\n");
    const struct workload *w = mesh_workload(&m, "app", "web");
    assert_true(str_is(w->kind, STR("Pod")) && str_is(w->uid, STR("u-1")) && str_is(w->node, STR("node-1")));
    assert_int_equal(w->n_addrs, 2);
    assert_int_equal(w->weight, 3);
    assert_true(w->local && w->enrolled && w->hbone && w->ready && !w->terminating && !w->host_network);
    assert_true(str_is(identity_uri(w->identity), STR("spiffe://cluster.local/ns/app/sa/web")));
    assert_true(str_is(w->use_waypoint, STR("wp")) && str_is(w->cluster, STR("Kubernetes")));
    assert_true(w->n_labels == 2 && str_is(w->labels[0].key, STR("app")) && w->n_ports == 1 && w->ports[0].port == 80);
    assert_int_equal(w->at.line, 2);
    assert_int_equal(w->mode, MTLS_PERMISSIVE);
    assert_ptr_equal(world_workload_at(m.world, w->index), w);

    const struct workload *vm = mesh_workload(&m, "app", "vm");
    assert_true(str_is(vm->uid, STR("WorkloadEntry/app/vm")) && !vm->local && vm->use_waypoint.n == 0 && vm->weight == 1);
    assert_true(str_is(identity_sa(vm->identity), STR("default")));

    struct addr a = mesh_addr("10.1.0.1"), a6 = mesh_addr("2001:db8::1"), none = mesh_addr("10.1.0.7");
    assert_ptr_equal(world_workload_by_addr(m.world, STR(""), &a), w);
    assert_ptr_equal(world_workload_by_addr(m.world, STR(""), &a6), w);
    assert_ptr_equal(world_workload_by_addr(m.world, STR("far"), &a), mesh_workload(&m, "app", "web2"));
    assert_null(world_workload_by_addr(m.world, STR("farther"), &a));
    assert_null(world_workload_by_addr(m.world, STR("far"), &a6));
    assert_null(world_workload_by_addr(m.world, STR(""), &none));
    assert_null(world_workload_by_addr(m.world, STR(""), &ADDR_NULL));
    assert_ptr_equal(world_workload_by_uid(m.world, STR("u-1")), w);
    assert_null(world_workload_by_uid(m.world, STR("u-2")));
    assert_null(world_workload_by_uid(m.world, STR_NULL));
    assert_null(world_workload_by_name(m.world, STR("app"), STR("nobody")));
    assert_int_equal(world_n_workloads(m.world), 4);
    mesh_deinit(&m);
}

static void own_network_has_a_name(void **state) {
    struct mesh m;
    struct addr a = mesh_addr("10.1.0.1");
    mesh_make(&m, "network net1\npod app/a ip=10.1.0.1\npod app/b ip=10.1.0.1 network=net2\npod app/c ip=10.1.0.2 network=net1");
    assert_ptr_equal(world_workload_by_addr(m.world, STR(""), &a), mesh_workload(&m, "app", "a"));
    assert_ptr_equal(world_workload_by_addr(m.world, STR("net1"), &a), mesh_workload(&m, "app", "a"));
    assert_ptr_equal(world_workload_by_addr(m.world, STR("net2"), &a), mesh_workload(&m, "app", "b"));
    assert_true(str_is(mesh_workload(&m, "app", "a")->network, STR("net1")));
    mesh_deinit(&m);
}

static void enrolment(void **state) {
    static const struct {
        const char *ns, *pod;
        bool enrolled, hbone;
    } rows[] = {
        {"", "", false, false},
        {"ns app", "", false, false},
        {"ns app ambient", "", true, true},
        {"ns app ambient", "none", false, false},
        {"ns app none", "ambient", true, true},
        {"ns app", "ambient", true, true},
        {"ns app ambient", "host", false, false},
        {"ns app", "ambient host", false, false},
        {"ns app ambient\nauth app/d DISABLE", "", true, false},
        {"ns app ambient\nauth app/d STRICT", "", true, true},
        {"ns app ambient\nauth app/d DISABLE selector=x:y port=80:STRICT", "labels=x:y", true, true},
        {"ns app ambient\nauth app/d DISABLE selector=x:y port=80:DISABLE", "labels=x:y", true, false},
        {"ns app ambient", "dying unready", true, true},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, rows[i].ns);
        mesh_addf(&m, "pod app/web ip=10.1.0.1 %s", rows[i].pod);
        assert_int_equal(mesh_build(&m), 0);
        const struct workload *w = mesh_workload(&m, "app", "web");
        assert_int_equal(w->enrolled, rows[i].enrolled);
        assert_int_equal(w->hbone, rows[i].hbone);
        mesh_deinit(&m);
    }
}

static void shared_addresses(void **state) {
    static const struct {
        const char *first, *second;
        const char *winner; /* NULL: an error */
        bool warned;
    } rows[] = {
        {"", "", NULL, false},           {"host", "", "b", false},
        {"host", "host", "", false},     {"unready", "", "b", true},
        {"", "unready", "a", true},      {"dying", "", "b", true},
        {"", "dying", "a", true},        {"dying", "unready", "b", true},
        {"unready", "dying", "a", true}, {"unready", "unready", "a", true},
        {"dying", "dying", "a", true},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        struct addr addr = mesh_addr("10.1.0.1");
        mesh_init(&m);
        mesh_addf(&m, "pod app/b ip=10.1.0.1 %s", rows[i].second); /* the order of the files does not matter */
        mesh_addf(&m, "pod app/a ip=10.1.0.1 %s", rows[i].first);
        int r = mesh_build(&m);
        assert_int_equal(r, rows[i].winner ? 0 : 1);
        if (!rows[i].winner) {
            assert_true(mesh_says(&m, DIAG_ERROR, 1, "has the address 10.1.0.1 of Pod app/a (mesh:2)"));
        } else {
            const struct workload *w = world_workload_by_addr(m.world, STR(""), &addr);
            assert_true(rows[i].winner[0] ? w && str_is(w->name, str_of(rows[i].winner)) : !w);
            assert_int_equal(m.diags.n, rows[i].warned);
        }
        mesh_deinit(&m);
    }
}

static void refusals(void **state) {
    static const struct {
        const char *text, *part;
        uint32_t line;
    } rows[] = {
        {"pod app/a\npod app/a", "Pod app/a is given twice: also at mesh:1", 2},
        {"pod app/a uid=x\npod app/b uid=x", "has the uid of Pod app/a (mesh:1): x", 2},
        {"pod app/a sa=b*d", "make no SPIFFE identity", 1},
        {"pod app/a sa=..", "make no SPIFFE identity", 1},
        {"ns app\nns app", "Namespace app is given twice: also at mesh:1", 2},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, rows[i].text);
        assert_int_equal(mesh_build(&m), 1);
        assert_true(mesh_says(&m, DIAG_ERROR, rows[i].line, rows[i].part));
        mesh_deinit(&m);
    }
}

static void placement(void **state) {
    struct mesh m;
    struct identity a, b, nobody;
    mesh_make(&m, "pod app/a1 sa=a node=node-2\npod app/a2 sa=a node=node-1\npod app/a3 sa=a node=node-2\n"
                  "pod app/b1 sa=b node=node-3 host\npod app/b2 sa=b");
    assert_true(identity_make(STR("cluster.local"), STR("app"), STR("a"), &a));
    assert_true(identity_make(STR("cluster.local"), STR("app"), STR("b"), &b));
    assert_true(identity_make(STR("other"), STR("app"), STR("a"), &nobody));
    assert_true(world_node_has_identity(m.world, STR("node-1"), &a));
    assert_true(world_node_has_identity(m.world, STR("node-2"), &a));
    assert_false(world_node_has_identity(m.world, STR("node-3"), &a));
    assert_false(world_node_has_identity(m.world, STR(""), &a));
    assert_false(world_node_has_identity(m.world, STR("node-3"), &b)); /* host network: never has one */
    assert_false(world_node_has_identity(m.world, STR(""), &b));
    assert_false(world_node_has_identity(m.world, STR("node-1"), &nobody));
    assert_false(world_node_has_identity(m.world, STR("node-1"), &IDENTITY_NULL));
    mesh_deinit(&m);
}

static void unknown_namespace(void **state) {
    struct mesh m;
    mesh_make(&m, "ns app\npod ghost/a");
    assert_true(mesh_says(&m, DIAG_WARNING, 2, "namespace ghost of Pod a is not declared"));
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields_and_lookups), cmocka_unit_test(own_network_has_a_name),
                                       cmocka_unit_test(enrolment),          cmocka_unit_test(shared_addresses),
                                       cmocka_unit_test(refusals),           cmocka_unit_test(placement),
                                       cmocka_unit_test(unknown_namespace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
