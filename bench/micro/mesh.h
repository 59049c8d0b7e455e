/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/mesh.h - a made-up mesh of any size, as specs, for benches of the model
 *
 * Workload i has address 10.x.y.z, labels app=app-<i / 10> and id=<i>; policy i selects id=<i + 1000>, so the first
 * thousand workloads are met by none of them but by three of the namespace's and their own. Services select an app. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/arena.h>
#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/rng.h>
#include <ringwall/model/authz.h>
#include <ringwall/model/world.h>

enum { MESH_UNSELECTED = 1000 };

struct made_mesh {
    struct arena arena;
    struct world_input input;
    struct diag_list diags;
    struct world *world;
};

static inline void *made(struct made_mesh *m, size_t size, size_t n) {
    void *p = arena_alloc_array(&m->arena, size, n ? n : 1);
    check(p);
    return p;
}

static inline struct str made_text(struct made_mesh *m, const char *prefix, size_t i) {
    bool ok = true;
    struct str s = arena_strf(&m->arena, &ok, "%s%zu", prefix, i);
    check(ok);
    return s;
}

static inline struct addr made_addr(uint8_t net, size_t i) {
    return (struct addr){
        .bytes = {
            [10] = 0xff, [11] = 0xff, [12] = 10, [13] = (uint8_t)(net + i / 65536), [14] = (uint8_t)(i / 256), [15] = (uint8_t)i}};
}

static inline struct text_list made_list(struct made_mesh *m, struct str s) {
    struct text_item *item = made(m, sizeof(*item), 1);
    item->text = s;
    item->at = (struct origin){.file = STR("made.yaml"), .line = 1, .column = 1};
    return (struct text_list){.present = true, .items = item, .n = 1};
}

static inline struct selector made_selector(struct made_mesh *m, struct str key, struct str value) {
    struct label *l = made(m, sizeof(*l), 1);
    *l = (struct label){key, value};
    return (struct selector){.present = true, .labels = l, .n = 1};
}

static inline const struct workload_spec *made_workload(struct made_mesh *m, size_t i) {
    struct workload_spec *w = made(m, sizeof(*w), 1);
    *w = (struct workload_spec){.kind = STR("Pod"),
                                .ns = STR("app"),
                                .name = made_text(m, "some-deployment-5d8f7c9b7-", 100000 + i),
                                .uid = made_text(m, "0b7c1e2a-95a1-4c69-8f4e-", i),
                                .at = {.file = STR("made.yaml"), .line = (uint32_t)i, .column = 1},
                                .service_account = made_text(m, "account-", i / 10),
                                .node = made_text(m, "node-", i % 50),
                                .mesh = MESH_LABEL_AMBIENT,
                                .ready = true};
    w->addrs = made(m, sizeof(*w->addrs), 1);
    w->addrs[0] = made_addr(0, i + 1);
    w->n_addrs = 1;
    w->labels = made(m, sizeof(*w->labels), 2);
    w->labels[0] = (struct label){STR("app"), made_text(m, "app-", i / 10)};
    w->labels[1] = (struct label){STR("id"), made_text(m, "", i)};
    w->n_labels = 2;
    return w;
}

static inline const struct policy_spec *made_policy(struct made_mesh *m, enum policy_action action, struct str name, struct str key,
                                                    struct str value) {
    struct policy_spec *p = made(m, sizeof(*p), 1);
    struct rule_spec *r = made(m, sizeof(*r), 1);
    *p = (struct policy_spec){.ns = STR("app"),
                              .name = name,
                              .at = {.file = STR("made.yaml"), .line = 1, .column = 1},
                              .action = action,
                              .rules = r,
                              .n_rules = 1};
    if (key.n)
        p->selector = made_selector(m, key, value);
    r->at = p->at;
    r->from = made(m, sizeof(*r->from), 1);
    r->n_from = 1;
    r->from[0].at = p->at;
    r->to = made(m, sizeof(*r->to), 1);
    r->n_to = 1;
    r->to[0].at = p->at;
    if (action == POLICY_DENY) {
        r->from[0].namespaces = made_list(m, STR("dev"));
        r->to[0].ports = made_list(m, STR("9090"));
    } else {
        r->from[0].principals = made_list(m, STR("cluster.local/ns/app/sa/account-1"));
        r->to[0].ports = made_list(m, STR("8080"));
    }
    return p;
}

static inline const struct service_spec *made_service(struct made_mesh *m, size_t i) {
    struct service_spec *s = made(m, sizeof(*s), 1);
    *s = (struct service_spec){.kind = STR("Service"),
                               .ns = STR("app"),
                               .name = made_text(m, "service-", i),
                               .at = {.file = STR("made.yaml"), .line = 1, .column = 1}};
    s->vips = made(m, sizeof(*s->vips), 1);
    s->vips[0] = made_addr(128, i + 1);
    s->n_vips = 1;
    s->ports = made(m, sizeof(*s->ports), 1);
    s->ports[0] = (struct service_port_spec){.name = STR("http"), .port = 80, .target_port = 8080};
    s->n_ports = 1;
    s->selector = made_selector(m, STR("app"), made_text(m, "app-", i));
    return s;
}

/* Builds the world and gives the nanoseconds that took. */
static inline uint64_t made_mesh_init(struct made_mesh *m, size_t n_workloads, size_t n_policies, size_t n_services) {
    *m = (struct made_mesh){0};
    struct world_input *in = &m->input;
    in->settings =
        (struct world_settings){.node = STR("node-1"), .trust_domain = STR("cluster.local"), .root_namespace = STR("istio-system")};
    in->workloads = made(m, sizeof(void *), n_workloads);
    in->policies = made(m, sizeof(void *), n_policies + 4);
    in->services = made(m, sizeof(void *), n_services);
    for (size_t i = 0; i < n_workloads; i++)
        in->workloads[in->n_workloads++] = made_workload(m, i);
    for (size_t i = 0; i < n_policies; i++)
        in->policies[in->n_policies++] = made_policy(m, i % 2 ? POLICY_DENY : POLICY_ALLOW, made_text(m, "policy-", i), STR("id"),
                                                     made_text(m, "", i + MESH_UNSELECTED));
    for (size_t i = 0; i < 3; i++)
        in->policies[in->n_policies++] =
            made_policy(m, i ? POLICY_ALLOW : POLICY_DENY, made_text(m, "wide-", i), STR_NULL, STR_NULL);
    in->policies[in->n_policies++] = made_policy(m, POLICY_ALLOW, STR("own"), STR("app"), STR("app-0"));
    for (size_t i = 0; i < n_services; i++)
        in->services[in->n_services++] = made_service(m, i);
    uint64_t start_ns = clock_mono_ns();
    int r = world_build(in, 1, &m->diags, &m->world);
    uint64_t end_ns = clock_mono_ns();
    check(r == 0);
    return end_ns - start_ns;
}

static inline void made_mesh_deinit(struct made_mesh *m) {
    m->world = world_free(m->world);
    diag_list_deinit(&m->diags);
    arena_deinit(&m->arena);
}

/* Single calls, timed one by one; the clock's own median cost is taken off. */
enum { MADE_CALLS = 200000 };
static inline int made_compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static inline void made_measure(const char *name, void (*call)(void *, size_t), void *argument) {
    static uint32_t empty[MADE_CALLS], full[MADE_CALLS];
    for (size_t i = 0; i < MADE_CALLS; i++) {
        uint64_t a = clock_mono_ns();
        uint64_t b = clock_mono_ns();
        call(argument, i);
        uint64_t c = clock_mono_ns();
        empty[i] = (uint32_t)(b - a);
        full[i] = (uint32_t)(c - b);
    }
    qsort(empty, MADE_CALLS, sizeof(empty[0]), made_compare);
    qsort(full, MADE_CALLS, sizeof(full[0]), made_compare);
    uint32_t own = empty[MADE_CALLS / 2];
    uint32_t p50 = full[MADE_CALLS / 2], p99 = full[MADE_CALLS / 100 * 99];
    printf("%s\tp50 %u ns\tp99 %u ns\n", name, p50 > own ? p50 - own : 0, p99 > own ? p99 - own : 0);
}
