/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: services know their endpoints and are found by their addresses only. Method: selectors, slices, readiness,
 * clashes of addresses. What is chosen among endpoints is test_route's. */
#include "mesh.h"
#include "unit.h"

static const struct service *service_named(const struct mesh *m, const char *name) {
    for (size_t i = 0; i < world_n_services(m->world); i++)
        if (str_is(world_service_at(m->world, i)->name, str_of(name)))
            return world_service_at(m->world, i);
    fail_msg("no service %s", name);
    return NULL;
}

static void endpoints(void **state) {
    static const struct {
        const char *service;
        size_t n_endpoints, n_ready;
    } rows[] = {
        {"service app/s selector=app:web", 3, 1},
        {"service app/s selector=app:web notready", 3, 3},
        {"service app/s selector=app:web,v:1", 1, 1},
        {"service app/s selector=app:db", 0, 0},
        {"service app/s", 0, 0},
        {"service other/s selector=app:web", 0, 0},
        {"service app/s\nslice pod=a ip=10.1.0.1", 1, 1},
        {"service app/s\nslice pod=a", 1, 1},
        {"service app/s\nslice ip=10.1.0.1", 1, 1},
        {"service app/s\nslice ip=192.0.2.1\nslice ip=192.0.2.2 unready", 2, 1},
        {"service app/s\nslice pod=c ip=10.1.0.3", 1, 0}, /* terminating, whatever the slice says */
        {"service app/s notready\nslice pod=c ip=10.1.0.3", 1, 1},
        {"service app/s\nslice pod=b ip=10.1.0.2", 1, 1}, /* the slice knows better than the pod */
        {"service app/s\nslice pod=ghost ip=10.1.0.1", 0, 0},
        {"service app/s\nslice pod=a ip=10.1.0.2", 0, 0}, /* an older slice: the address has another owner */
        {"service app/s\nslice", 0, 0},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, "pod app/a ip=10.1.0.1 labels=app:web,v:1\npod app/b ip=10.1.0.2 labels=app:web unready\n"
                     "pod app/c ip=10.1.0.3 labels=app:web dying");
        mesh_add(&m, rows[i].service);
        assert_int_equal(mesh_build(&m), 0);
        const struct service *s = service_named(&m, "s");
        if (s->n_endpoints != rows[i].n_endpoints || s->n_ready != rows[i].n_ready)
            fail_msg("row %zu: %zu endpoints, %zu ready", i, s->n_endpoints, s->n_ready);
        mesh_deinit(&m);
    }
}

static void addresses(void **state) {
    struct mesh m;
    struct addr one = mesh_addr("10.2.0.1"), six = mesh_addr("2001:db8::1"), other = mesh_addr("10.2.0.9");
    mesh_make(&m, "ns app waypoint=wp\nservice app/b vip=10.2.0.1,2001:db8::1 ports=http:80:8080\nservice app/c vip=10.2.0.1\n"
                  "external-entry app/d vip=10.2.0.3 external waypoint=none");
    const struct service *b = service_named(&m, "b");
    assert_ptr_equal(world_service_by_vip(m.world, STR(""), &one), b);
    assert_ptr_equal(world_service_by_vip(m.world, STR(""), &six), b);
    assert_null(world_service_by_vip(m.world, STR(""), &other));
    assert_null(world_service_by_vip(m.world, STR("far"), &one));
    assert_true(str_is(b->kind, STR("Service")) && b->n_vips == 2 && b->n_ports == 1 && b->ports[0].target_port == 8080 &&
                b->at.line == 2);
    assert_true(str_is(b->use_waypoint, STR("wp")) && !b->external);
    assert_true(mesh_says(&m, DIAG_WARNING, 3, "the address 10.2.0.1 of Service app/c is already that of Service app/b (mesh:2)"));
    const struct service *d = service_named(&m, "d");
    assert_true(d->external && d->use_waypoint.n == 0);
    mesh_deinit(&m);
}

static void told(void **state) {
    struct mesh m;
    mesh_make(&m, "service app/s\nslice pod=ghost\nslice pod=ghost2");
    assert_true(mesh_says(&m, DIAG_WARNING, 1, "2 endpoints of Service app/s name a pod that is not given"));
    mesh_deinit(&m);
    mesh_init(&m);
    mesh_add(&m, "service app/s\nservice app/s");
    assert_int_equal(mesh_build(&m), 1);
    assert_true(mesh_says(&m, DIAG_ERROR, 2, "Service app/s is given twice: also at mesh:1"));
    mesh_deinit(&m);
    mesh_make(&m, "service app/s\nexternal-entry app/s"); /* another kind is another name space */
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(endpoints), cmocka_unit_test(addresses), cmocka_unit_test(told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
