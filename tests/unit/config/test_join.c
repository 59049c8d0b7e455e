/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what only the whole set says is right in the world: enrolment, localities, slices joined with their Service, names
 * given twice, one notice a kind. Method: manifests in memory to a world, and a look at it. */
#include "join.h"
#include "scratch.h"

enum { TEXTS_MAX = 8 };
struct set {
    struct manifest manifests[TEXTS_MAX];
    const struct manifest *pointers[TEXTS_MAX];
    size_t n;
    struct diag_list diags;
    struct world *world;
};

static int build(struct set *s, int enrol, const char *const *texts) {
    struct scratch nowhere = {.dir = "mesh.d"};
    struct mesh_options o = scratch_options(&nowhere);
    for (s->n = 0; texts[s->n]; s->n++) {
        char name[16];
        snprintf(name, sizeof(name), "%zu.yaml", s->n);
        assert_int_equal(manifest_parse(&s->manifests[s->n], str_of(name), str_of(texts[s->n]), STR("cluster.local")), 0);
        assert_int_equal(s->manifests[s->n].diags.n, 0);
        s->pointers[s->n] = &s->manifests[s->n];
    }
    o.enrol = enrol;
    return join_build(s->pointers, s->n, &o, 1, &s->diags, &s->world);
}

static void set_deinit(struct set *s) {
    for (size_t i = 0; i < s->n; i++)
        manifest_deinit(&s->manifests[i]);
    diag_list_deinit(&s->diags);
    world_free(s->world);
}

static const struct workload *workload(const struct set *s, const char *name) {
    const struct workload *w = world_workload_by_name(s->world, STR("shop"), str_of(name));
    assert_non_null(w);
    return w;
}

static void enrolment(void **state) {
    static const char *const texts[] = {SCRATCH_NAMESPACE, SCRATCH_WORKLOAD("here", "10.0.0.1", "node-1"),
                                        SCRATCH_WORKLOAD("there", "10.0.0.2", "node-2"), NULL};
    static const char *const plain[] = {"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
                                        SCRATCH_WORKLOAD("here", "10.0.0.1", "node-1"),
                                        SCRATCH_WORKLOAD("there", "10.0.0.2", "node-2"), NULL};
    static const char *const out[] = {
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: none}}\n",
        SCRATCH_WORKLOAD("here", "10.0.0.1", "node-1"), SCRATCH_WORKLOAD("there", "10.0.0.2", "node-2"), NULL};
    static const struct {
        int enrol;
        const char *const *texts;
        bool here, there;
    } rows[] = {{MESH_ENROL_LABEL, texts, true, true}, {MESH_ENROL_LABEL, plain, false, false},
                {MESH_ENROL_ALL, texts, true, true},   {MESH_ENROL_ALL, plain, true, false},
                {MESH_ENROL_ALL, out, false, false},   {MESH_ENROL_NONE, texts, false, true},
                {MESH_ENROL_NONE, plain, false, false}};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct set s = {0};
        assert_int_equal(build(&s, rows[i].enrol, rows[i].texts), 0);
        assert_int_equal(workload(&s, "here")->enrolled, rows[i].here);
        assert_int_equal(workload(&s, "there")->enrolled, rows[i].there);
        assert_true(workload(&s, "here")->local && !workload(&s, "there")->local);
        set_deinit(&s);
    }
}

static void locality_of_the_node(void **state) {
    static const char *const texts[] = {
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {nodeName: node-1}\nstatus: {podIP: 10.0.0.1}\n",
        "apiVersion: v1\nkind: Node\nmetadata: {name: node-1, labels: {topology.kubernetes.io/region: r, "
        "topology.kubernetes.io/zone: z}}\n",
        SCRATCH_WORKLOAD("e", "10.0.0.2", "node-9"), NULL};
    struct set s = {0};
    assert_int_equal(build(&s, MESH_ENROL_LABEL, texts), 0);
    assert_true(str_is(workload(&s, "p")->about->region, STR("r")) && str_is(workload(&s, "p")->about->zone, STR("z")));
    assert_int_equal(workload(&s, "e")->about->region.n, 0);
    set_deinit(&s);
}

#define SLICE(name, service, address) \
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " name \
    ", namespace: shop, labels: {kubernetes.io/service-name: " service "}}\naddressType: IPv4\nendpoints: [{addresses: [" address \
    "]}]\nports: [{name: \"\", port: 8080}]\n"

static void slices(void **state) {
    static const char *const texts[] = {SLICE("a", "web", "10.0.0.1"),
                                        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: "
                                        "10.96.0.1, ports: [{port: 80}]}\n",
                                        SLICE("b", "web", "10.0.0.2") "---\n" SLICE("c", "ghost", "10.0.0.3"), NULL};
    struct set s = {0};
    assert_int_equal(build(&s, MESH_ENROL_LABEL, texts), 0);
    assert_int_equal(world_n_services(s.world), 1);
    assert_int_equal(world_service_at(s.world, 0)->n_endpoints, 2);
    assert_int_equal(s.diags.n_warnings, 1);
    assert_string_equal(s.diags.items[0].text,
                        "EndpointSlice shop/c belongs to Service \"ghost\", which is in no file: it is ignored");
    set_deinit(&s);
}

static void names_given_twice(void **state) {
    static const char *const texts[] = {SCRATCH_NAMESPACE, SCRATCH_POLICY("a", "ALLOW"),
                                        SCRATCH_POLICY("a", "DENY") "---\n" SCRATCH_NAMESPACE, NULL};
    struct set s = {0};
    struct scratch nowhere = {.dir = "mesh.d"};
    assert_int_equal(build(&s, MESH_ENROL_LABEL, texts), 1);
    cleanup_free char *seen = scratch_diags(&nowhere, &s.diags);
    assert_string_equal(seen,
                        "2.yaml:3:18: error: AuthorizationPolicy shop/a is given twice, first at 1.yaml:3: remove one of them\n"
                        "2.yaml:10:18: error: Namespace shop is given twice, first at 0.yaml:3: remove one of them\n");
    set_deinit(&s);
}

static void one_notice_a_kind(void **state) {
    static const char deployments[] = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n"
                                      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\n";
    static const char jwt[] = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: a}\nspec: {}\n";
    static const char *const texts[] = {deployments, deployments, jwt, NULL};
    struct set s = {0};
    struct scratch nowhere = {.dir = "mesh.d"};
    assert_int_equal(build(&s, MESH_ENROL_LABEL, texts), 0);
    cleanup_free char *seen = scratch_diags(&nowhere, &s.diags);
    assert_string_equal(seen, "0.yaml:1:1: warning: kind Deployment (apps/v1) is none that we read: 4 skipped\n"
                              "2.yaml:1:1: warning: kind RequestAuthentication has no effect at L4: 1 accepted and ignored\n");
    set_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(enrolment), cmocka_unit_test(locality_of_the_node),
                                       cmocka_unit_test(slices), cmocka_unit_test(names_given_twice),
                                       cmocka_unit_test(one_notice_a_kind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
