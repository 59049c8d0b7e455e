/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a service's port in a policy is told, with the workload's port to write; a port that is right, or of which nothing is
 * known, is not. Method: one mesh of workloads with and without declared ports, a policy a row, and all that is said. */
#include "mesh.h"
#include "unit.h"

#define PORTS "policy ALLOW app/p selector="

#define MESH \
    "ns app\nns other\n" \
    "pod app/web ip=10.1.0.1 labels=app:web ports=http:8080\n" \
    "pod app/db ip=10.1.0.2 labels=app:db\n" \
    "pod app/named ip=10.1.0.3 labels=app:named ports=http:3000\n" \
    "pod app/same ip=10.1.0.4 labels=app:same\n" \
    "pod app/sliced ip=10.1.0.5 labels=app:sliced\n" \
    "pod app/alone ip=10.1.0.6 labels=app:alone ports=x:7000\n" \
    "pod other/x ip=10.1.0.7\n" \
    "service app/web vip=10.2.0.1 ports=http:80:8080 selector=app:web\n" \
    "service app/db vip=10.2.0.2 ports=pg:5433:5432 selector=app:db\n" \
    "service app/named vip=10.2.0.3 ports=http:80:=http selector=app:named\n" \
    "service app/same vip=10.2.0.4 ports=http:80:81 selector=app:same\n" \
    "service app/same2 vip=10.2.0.5 ports=http:82:80 selector=app:same\n" \
    "service app/sliced vip=10.2.0.6 ports=https:443:1\nslice pod=sliced ip=10.1.0.5 ports=https:8443\n"

static void what_is_told(void **state unused_arg) {
    static const struct {
        const char *policy, *part; /* NULL: nothing is said */
    } rows[] = {
        {PORTS "app:web\nrule to ports=8080", NULL},
        {PORTS "app:web\nrule to ports=80",
         "ports: 80 is the port of Service app/web, which its workloads never see: they listen on "
         "8080, and policies mean the workload's port; write \"8080\""},
        {PORTS "app:web\nrule to ports=8080,80", "80 is the port of Service app/web"},
        {PORTS "app:web\nrule to notPorts=80", "notPorts: 80 is the port of Service app/web"},
        {PORTS "app:web\nrule when destination.port=80", "destination.port: 80 is the port of Service app/web"},
        {PORTS "app:web\nrule when destination.port!=80", "destination.port: 80 is the port of Service app/web"},
        {PORTS "app:web\nrule when source.ip=10.0.0.1", NULL},
        /* declares no ports: only a service can tell */
        {PORTS "app:db\nrule to ports=5432", NULL},
        {PORTS "app:db\nrule to ports=5433", "5433 is the port of Service app/db"},
        {PORTS "app:db\nrule to ports=9", NULL},
        {PORTS "app:named\nrule to ports=80", "they listen on 3000"},
        {PORTS "app:same\nrule to ports=80", NULL}, /* one service's port, another's target */
        {PORTS "app:sliced\nrule to ports=443",
         "443 is the port of Service app/sliced, which its workloads never see: they listen on "
         "8443"},
        /* declared, and no service */
        {PORTS "app:alone\nrule to ports=1", "none of the ports in AuthorizationPolicy app/p is one that its workloads expose"},
        {PORTS "app:alone\nrule to ports=1,7000", NULL},
        {PORTS "app:alone\nrule to ports=x", "is not a port"},
        /* for a namespace or the mesh one workload is enough */
        {"policy DENY app/p\nrule to ports=443", "write \"8443\""},
        {"policy DENY app/p\nrule to ports=80", NULL},
        {"policy DENY app/p\nrule to ports=1", NULL},
        {"policy DENY istio-system/p\nrule to ports=443", "write \"8443\""},
        {"policy DENY istio-system/p selector=app:web\nrule to ports=80", "write \"8080\""},
        {"policy DENY app/p dry\nrule to ports=443", "write \"8443\""},
        {"policy DENY app/p refs\nrule to ports=443", "targetRefs"},
        {"policy DENY other/p\nrule to ports=443", NULL},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct mesh m;
        mesh_init(&m);
        mesh_add(&m, MESH);
        mesh_add(&m, rows[i].policy);
        int r = mesh_build(&m);
        if (rows[i].part ? m.diags.n != 1 || !strstr(m.diags.items[0].text, rows[i].part) : r || m.diags.n > 0)
            fail_msg("row %zu (%s) said: %s", i, rows[i].policy, m.diags.n ? m.diags.items[0].text : "nothing");
        mesh_deinit(&m);
    }
}

static void the_port_behind_a_service(void **state unused_arg) {
    static const struct {
        const char *name;
        uint16_t port, behind;
        const char *service;
    } rows[] = {
        {"web", 80, 8080, "web"},        {"web", 8080, 0, NULL},       {"web", 81, 0, NULL},  {"db", 5433, 5432, "db"},
        {"db", 5432, 0, NULL},           {"named", 80, 3000, "named"}, {"same", 80, 0, NULL}, {"same", 82, 80, "same2"},
        {"sliced", 443, 8443, "sliced"}, {"sliced", 1, 0, NULL}, /* the slice's port counts, not targetPort */
        {"alone", 80, 0, NULL},
    };
    struct mesh m;
    mesh_init(&m);
    mesh_add(&m, MESH);
    assert_int_equal(mesh_build(&m), 0);
    for (size_t i = 0; i < array_size(rows); i++) {
        const struct workload *w = world_workload_by_name(m.world, STR("app"), str_of(rows[i].name));
        const struct service *s = NULL;
        assert_non_null(w);
        assert_int_equal(world_port_behind(m.world, w, rows[i].port, &s), rows[i].behind);
        assert_true(rows[i].service ? s && str_is(s->name, str_of(rows[i].service)) : !s);
    }
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_told), cmocka_unit_test(the_port_behind_a_service)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
