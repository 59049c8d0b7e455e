/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a world is whole or not there, the same for the same files, lean, and needs nothing of its input afterwards.
 * Method: settings, order of input, memory a workload, every allocation of a build failing once. */
#include <errno.h>

#include "mesh.h"
#include "unit.h"

/* The linker leads the calls of base and model here (see meson.build). */
static size_t n_until_failure; /* 0: never */
static bool fails_now(void) { return n_until_failure && --n_until_failure == 0; }

void *__real_calloc(size_t n, size_t size);
void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_calloc(size_t n, size_t size) { return fails_now() ? NULL : __real_calloc(n, size); }
void *__wrap_malloc(size_t n) { return fails_now() ? NULL : __real_malloc(n); }
void *__wrap_realloc(void *p, size_t n) { return fails_now() ? NULL : __real_realloc(p, n); }

static void settings(void **state) {
    struct mesh m;
    mesh_make(&m, "domain corp\nalias old\nalias old\nalias corp\nnode n1\nroot sys\npod app/a");
    const struct world_settings *s = world_get_settings(m.world);
    assert_true(str_is(s->trust_domain, STR("corp")) && str_is(s->node, STR("n1")) && str_is(s->root_namespace, STR("sys")));
    assert_int_equal(s->n_trust_domain_aliases, 1);
    assert_int_equal(world_number(m.world), 1);
    mesh_deinit(&m);
    static const char *const bad[] = {"domain Corp", "domain a/b", "alias *"};
    for (size_t i = 0; i < array_size(bad); i++) {
        mesh_init(&m);
        mesh_add(&m, bad[i]);
        assert_int_equal(mesh_build(&m), 1);
        assert_int_equal(m.diags.n_errors, 1);
        mesh_deinit(&m);
    }
}

static void an_empty_world(void **state) {
    struct mesh m;
    struct addr a = mesh_addr("10.0.0.1");
    mesh_make(&m, "");
    assert_int_equal(
        world_n_workloads(m.world) + world_n_services(m.world) + world_n_policies(m.world) + world_n_peer_auths(m.world), 0);
    assert_null(world_workload_by_addr(m.world, STR(""), &a));
    assert_null(world_service_by_vip(m.world, STR(""), &a));
    mesh_deinit(&m);
}

static void the_input_may_go(void **state) {
    struct mesh m;
    char said[256];
    struct text t = TEXT_OVER(said);
    mesh_make(&m, "ns app ambient\npod app/web ip=10.1.0.1 labels=app:web\npolicy ALLOW app/p selector=app:web\n"
                  "rule from principals=cluster.local/ns/foo/*,*/sa/bar namespaces=foo ipBlocks=10.0.0.0/8\nservice app/s "
                  "vip=10.2.0.1 selector=app:web");
    memset(m.file, 'X', sizeof(m.file));
    arena_deinit(&m.arena);
    struct verdict v = mesh_ask(&m, "to=app/web from=cluster.local/ns/foo/sa/bar ip=10.0.0.1");
    verdict_format(&v, &t);
    assert_string_equal(said, "allowed by AuthorizationPolicy app/p rule 0 at mesh:4");
    mesh_deinit(&m);
}

static void order_of_input_does_not_matter(void **state) {
    static const char *const lines[] = {"pod app/a ip=10.1.0.1 labels=app:web",
                                        "pod app/b ip=10.1.0.2",
                                        "pod b/a ip=10.1.0.3",
                                        "policy DENY app/p\nrule",
                                        "policy DENY app/q\nrule",
                                        "auth app/x STRICT",
                                        "auth app/y DISABLE"};
    for (size_t shift = 0; shift < array_size(lines); shift++) {
        struct mesh m;
        mesh_init(&m);
        for (size_t i = 0; i < array_size(lines); i++)
            mesh_add(&m, lines[(i + shift) % array_size(lines)]);
        assert_int_equal(mesh_build(&m), 0);
        assert_true(str_is(world_workload_at(m.world, 1)->name, STR("b")) && str_is(world_workload_at(m.world, 2)->ns, STR("b")));
        assert_true(str_is(mesh_ask(&m, "to=app/a").name, STR("x")));
        assert_true(str_is(mesh_ask(&m, "to=app/a from=td/ns/a/sa/b").name, STR("p")));
        mesh_deinit(&m);
    }
}

/* At most 1.5 KiB a workload: distinct names, uids, addresses, nodes and labels, some policies. */
static void lean(void **state) {
    enum { N = 2000 };
    struct mesh m;
    mesh_init(&m);
    mesh_add(&m, "ns app ambient");
    for (unsigned i = 0; i < N; i++)
        mesh_addf(&m,
                  "pod app/some-deployment-5d8f7c9b7-x%05u ip=10.1.%u.%u uid=0b7c1e2a-95a1-4c69-8f4e-0123456%05u sa=account-%u "
                  "node=node-%u "
                  "labels=app:app-%u,pod-template-hash:5d8f7c9b7,version:v1 ports=http:8080",
                  i, i / 250, i % 250, i, i % 100, i % 50, i % 200);
    for (unsigned i = 0; i < 200; i++) {
        mesh_addf(&m, "policy ALLOW app/p%u selector=app:app-%u", i, i);
        mesh_addf(&m, "rule from principals=cluster.local/ns/app/sa/account-%u | to ports=8080", i % 100);
    }
    assert_int_equal(mesh_build(&m), 0);
    size_t each = world_bytes(m.world) / N;
    print_message("%zu bytes a workload\n", each);
    assert_in_range(each, 1, 1536);
    mesh_deinit(&m);
}

/* Many objects with one label in common do not make binding quadratic: the rare label is the one that is indexed. */
static void rarest_label_is_indexed(void **state) {
    struct mesh m;
    mesh_init(&m);
    for (unsigned i = 0; i < 3000; i++) {
        mesh_addf(&m, "pod app/w%u labels=all:same,id:%u", i, i);
        mesh_addf(&m, "policy DENY app/p%u selector=all:same,id:%u", i, i);
        mesh_add(&m, "rule");
    }
    assert_int_equal(mesh_build(&m), 0);
    assert_int_equal(m.diags.n, 0);
    for (unsigned i = 0; i < 3000; i += 500) {
        char ask[64], name[16];
        snprintf(ask, sizeof(ask), "to=app/w%u", i);
        snprintf(name, sizeof(name), "p%u", i);
        assert_true(str_is(mesh_ask(&m, ask).name, str_of(name)));
    }
    mesh_deinit(&m);
}

static void every_allocation_may_fail(void **state) {
    struct mesh m;
    size_t n = 1;
    int r;

    mesh_init(&m);
    mesh_add(&m, "alias old\nns app ambient waypoint=none\nns b");
    for (unsigned i = 0; i < 30; i++)
        mesh_addf(&m, "pod app/w%u ip=10.1.0.%u sa=s%u node=n%u labels=app:a%u ports=http:80 network=net%u", i, i, i % 3, i % 4,
                  i % 5, i % 2);
    mesh_add(&m, "policy DENY app/p selector=app:a1\nrule from principals=*old/ns/a/sa/b,x ipBlocks=10.0.0.1/8 | from "
                 "serviceAccounts=a,b/c\n"
                 "rule to ports=80,81 | to methods=x | when source.namespace=q source.ip!=1.2.3.4\npolicy ALLOW app/q\npolicy "
                 "ALLOW istio-system/r\n"
                 "policy ALLOW app/t selector=app:no\nauth app/x STRICT\nauth app/y DISABLE selector=app:a2 port=80:STRICT\n"
                 "service app/s vip=10.2.0.1 ports=http:80:=http selector=app:a3\nservice app/u vip=10.2.0.1 ports=http:80\nslice "
                 "pod=w1 ports=http:80\n"
                 "slice pod=ghost\n");
    do {
        m.world = world_free(m.world);
        diag_list_deinit(&m.diags);
        n_until_failure = n;
        r = world_build(&m.input, 1, &m.diags, &m.world);
        bool failed = n_until_failure == 0;
        n_until_failure = 0;
        /* growing a table and keeping a warning may fail quietly; the world is then whole all the same */
        assert_true(r == -ENOMEM || r == 0);
        assert_int_equal(r == 0, m.world != NULL);
        if (m.world)
            assert_true(str_is(mesh_ask(&m, "to=app/w1 from=old/ns/a/sa/b ip=10.0.0.1").name, STR("p")));
        if (!failed)
            break;
        n++;
    } while (n < 100000);
    assert_int_equal(r, 0);
    print_message("%zu allocations\n", n - 1);
    mesh_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(settings),
                                       cmocka_unit_test(an_empty_world),
                                       cmocka_unit_test(the_input_may_go),
                                       cmocka_unit_test(order_of_input_does_not_matter),
                                       cmocka_unit_test(lean),
                                       cmocka_unit_test(rarest_label_is_indexed),
                                       cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
