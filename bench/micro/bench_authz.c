/* SPDX-License-Identifier: GPL-3.0-or-later
 * How long a verdict takes while 10, 1,000 or 10,000 policies stand that do not select the workload (three of the
 * namespace's always do), and how long the world takes to build; p50 and p99 of single calls. */
#include "mesh.h"

struct asking {
    struct made_mesh *mesh;
    struct identity sources[64];
    size_t n_workloads, stride; /* which workloads are asked about */
    size_t n_allowed;
};

static void judge(void *argument, size_t i) {
    struct asking *a = argument;
    struct verdict v;
    struct authz_query q = {.to = world_workload_at(a->mesh->world, i * a->stride % a->n_workloads),
                            .source = &a->sources[i % 64],
                            .source_ip = made_addr(0, i % 4096),
                            .port = 8080};
    authz_judge(a->mesh->world, &q, &v);
    a->n_allowed += v.allow;
}

static void bench(size_t n_workloads, size_t n_policies) {
    struct made_mesh m;
    struct asking a = {.mesh = &m};
    char name[96];
    uint64_t build_ns = made_mesh_init(&m, n_workloads, n_policies, 2000);

    for (size_t i = 0; i < 64; i++)
        check(identity_make(STR("cluster.local"), STR("app"), made_text(&m, "account-", i % 4), &a.sources[i]));
    printf("build %zu workloads, %zu policies, 2000 services\t%.1f ms\t%zu bytes a workload\n", n_workloads, n_policies,
           (double)build_ns / 1e6, world_bytes(m.world) / n_workloads);
    a.n_workloads = 10;
    a.stride = 1;
    snprintf(name, sizeof(name), "judge, %zu policies elsewhere, same 10 workloads", n_policies);
    made_measure(name, judge, &a);
    a.n_workloads = MESH_UNSELECTED;
    a.stride = 7919;
    snprintf(name, sizeof(name), "judge, %zu policies elsewhere, 1000 workloads", n_policies);
    made_measure(name, judge, &a);
    a.n_workloads = n_workloads;
    snprintf(name, sizeof(name), "judge, %zu policies, every workload", n_policies);
    made_measure(name, judge, &a);
    check(a.n_allowed > 0);
    made_mesh_deinit(&m);
}

int main(void) {
    static const size_t n_policies[] = {10, 1000, 10000};
    for (size_t i = 0; i < array_size(n_policies); i++)
        bench(11000, n_policies[i]);
    return 0;
}
