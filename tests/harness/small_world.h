/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/harness/small_world.h - a world of a few workloads, for tests that need one and are not about it */
#pragma once

#include <ringwall/model/world.h>

#include "unit.h"

struct small_workload {
    const char *ns, *name, *account, *node, *ip;
};

static inline struct world *small_world(const struct small_workload *items, size_t n, uint64_t number) {
    struct workload_spec specs[16];
    const struct workload_spec *workloads[16];
    struct addr addrs[16];
    assert_true(n <= array_size(specs));
    for (size_t i = 0; i < n; i++) {
        assert_true(addr_parse(str_of(items[i].ip), &addrs[i]));
        specs[i] = (struct workload_spec){.kind = STR("WorkloadEntry"),
                                          .ns = str_of(items[i].ns),
                                          .name = str_of(items[i].name),
                                          .uid = str_of(items[i].name),
                                          .at = {STR("small.yaml"), (uint32_t)i + 1, 1},
                                          .service_account = str_of(items[i].account),
                                          .node = str_of(items[i].node),
                                          .addrs = &addrs[i],
                                          .n_addrs = 1,
                                          .mesh = MESH_LABEL_AMBIENT,
                                          .ready = true};
        workloads[i] = &specs[i];
    }
    struct world_input input = {.settings = {.node = STR("node-1"),
                                             .trust_domain = STR("cluster.local"),
                                             .root_namespace = STR("istio-system"),
                                             .cluster = STR("Kubernetes"),
                                             .cluster_domain = STR("cluster.local")},
                                .workloads = workloads,
                                .n_workloads = n};
    struct diag_list diags = DIAG_LIST_NULL;
    struct world *world = NULL;
    int r = world_build(&input, number, &diags, &world);
    for (size_t i = 0; r != 0 && i < diags.n; i++)
        print_error("%s\n", diags.items[i].text);
    diag_list_deinit(&diags);
    assert_int_equal(r, 0);
    return world;
}
