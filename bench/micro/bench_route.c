/* SPDX-License-Identifier: GPL-3.0-or-later
 * How long it takes to decide where a connection goes: a workload's address, a service's, an address of nobody, with 10,
 * 1,000 and 10,000 workloads and 10,000 policies; p50 and p99 of single calls. */
#include <ringwall/model/route.h>

#include "mesh.h"

struct asking {
    struct made_mesh *mesh;
    const struct workload *source;
    struct rng rng;
    size_t n;
    uint8_t net;
};

static void route(void *argument, size_t i) {
    static const uint16_t ports[3] = {15001, 15006, 15008};
    struct asking *a = argument;
    struct endpoint dialled = {.addr = made_addr(a->net, i * 7919 % a->n + 1), .port = 80};
    struct route r;
    route_outbound(a->mesh->world, a->source, &dialled, ports, NULL, &a->rng, &r);
    check(r.kind == (a->net == 255 ? ROUTE_PLAIN : ROUTE_TUNNEL));
}

static void bench(size_t n_workloads) {
    static const struct {
        const char *name;
        uint8_t net;
        bool services;
    } rows[] = {
        {"a workload's address", 0, false}, {"a service's address, 10 endpoints", 128, true}, {"an address of nobody", 255, false}};
    struct made_mesh m;
    struct asking a = {.mesh = &m};
    char name[96];

    made_mesh_init(&m, n_workloads, 10000, n_workloads / 10);
    a.source = world_workload_at(m.world, 0);
    rng_seed(&a.rng, 1);
    for (size_t i = 0; i < array_size(rows); i++) {
        a.net = rows[i].net;
        a.n = rows[i].services ? n_workloads / 10 : n_workloads;
        snprintf(name, sizeof(name), "route, %zu workloads, %s", n_workloads, rows[i].name);
        made_measure(name, route, &a);
    }
    made_mesh_deinit(&m);
}

int main(void) {
    static const size_t n[] = {10, 1000, 10000};
    for (size_t i = 0; i < array_size(n); i++)
        bench(n[i]);
    return 0;
}
