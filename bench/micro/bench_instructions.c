/* SPDX-License-Identifier: GPL-3.0-or-later
 * Hot paths to be counted in instructions: `bench_instructions CASE N` does one thing N times and nothing else that depends
 * on N, so the difference of two counts is what the thing costs (instructions.py). Nothing here asks the kernel or a clock,
 * and no cryptography is in it: the counter does not know all of its instructions. */
#include <string.h>

#include <ringwall/base/buf.h>
#include <ringwall/model/route.h>
#include <ringwall/wire/h2.h>

#include "mesh.h"

enum { WORKLOADS = 1200, POLICIES = 200, SERVICES = 100 };

/* ---- the model ---- */

static void judge(size_t n) {
    struct made_mesh m;
    struct identity sources[64];
    size_t n_allowed = 0;
    made_mesh_init(&m, WORKLOADS, POLICIES, SERVICES);
    for (size_t i = 0; i < array_size(sources); i++)
        check(identity_make(STR("cluster.local"), STR("app"), made_text(&m, "account-", i % 4), &sources[i]));
    for (size_t i = 0; i < n; i++) {
        struct verdict v;
        struct authz_query q = {.to = world_workload_at(m.world, i % WORKLOADS),
                                .source = &sources[i % array_size(sources)],
                                .source_ip = made_addr(0, i % 4096),
                                .port = 8080};
        authz_judge(m.world, &q, &v);
        n_allowed += v.allow;
    }
    check(n == 0 || n_allowed > 0);
    made_mesh_deinit(&m);
}

static void route(size_t n, uint8_t net, size_t n_addrs) {
    static const uint16_t ports[3] = {15001, 15006, 15008};
    struct made_mesh m;
    struct rng rng;
    made_mesh_init(&m, WORKLOADS, POLICIES, SERVICES);
    const struct workload *source = world_workload_at(m.world, 0);
    rng_seed(&rng, 1);
    for (size_t i = 0; i < n; i++) {
        struct endpoint dialled = {.addr = made_addr(net, i % n_addrs + 1), .port = 80};
        struct route r;
        route_outbound(m.world, source, &dialled, ports, NULL, &rng, &r);
        check(r.kind == ROUTE_TUNNEL);
    }
    made_mesh_deinit(&m);
}
static void route_workload(size_t n) { route(n, 0, WORKLOADS); }
static void route_service(size_t n) { route(n, 128, SERVICES); }

/* ---- HTTP/2: a client and a server in memory ---- */

static uint8_t payload[H2_SEND_FRAME_MAX];
struct end {
    struct h2 *h;
    size_t to_send, got;
    int32_t id;
    bool open, ends;
};

static void on_request(void *owner, int32_t id, const struct h2_header *headers, size_t n, bool end_stream) {
    static const struct h2_header ok[] = {{STR(":status"), STR("200")}};
    struct end *e = owner;
    (void)headers, (void)n, (void)end_stream;
    e->id = id;
    check(h2_accept(e->h, id, ok, 1, e) == 0);
}
static void on_response(void *owner, int32_t id, void *stream, const struct h2_header *headers, size_t n, bool end_stream) {
    struct end *e = owner;
    (void)id, (void)stream, (void)headers, (void)n, (void)end_stream;
    e->open = true;
}
static void on_data(void *owner, int32_t id, void *stream, const uint8_t *bytes, size_t n) {
    struct end *e = owner;
    (void)stream, (void)bytes;
    e->got += n;
    h2_stream_delivered(e->h, id, n);
}
static void on_end(void *owner, int32_t id, void *stream) { (void)owner, (void)id, (void)stream; }
static void on_closed(void *owner, int32_t id, void *stream, uint32_t error, bool orderly) {
    struct end *e = owner;
    (void)id, (void)stream;
    check(error == 0 && orderly);
    e->open = false;
}
static size_t on_pull(void *owner, int32_t id, void *stream, uint8_t *to, size_t cap, bool *ret_end) {
    struct end *e = owner;
    (void)id, (void)stream;
    size_t n = min_of(min_of(cap, e->to_send), sizeof(payload));
    memcpy(to, payload, n);
    e->to_send -= n;
    *ret_end = e->ends;
    return n;
}
static void on_goaway(void *owner, uint32_t error, int32_t last_id) { (void)owner, (void)error, (void)last_id; }
static void on_ping(void *owner, uint64_t n) { (void)owner, (void)n; }
static void on_settings(void *owner, uint32_t n) { (void)owner, (void)n; }
static const struct h2_callbacks callbacks = {.request = on_request,
                                              .response = on_response,
                                              .data = on_data,
                                              .end = on_end,
                                              .closed = on_closed,
                                              .pull_bytes = on_pull,
                                              .goaway = on_goaway,
                                              .ping_ack = on_ping,
                                              .settings = on_settings};

static bool carry(struct end *from, struct end *to, uint64_t now_ns) {
    static uint8_t bytes[H2_SEND_FRAME_MAX + 64];
    size_t n = h2_drain_bytes(from->h, bytes, sizeof(bytes));
    check(n == 0 || h2_feed(to->h, bytes, n, now_ns) == H2_OK);
    return n > 0;
}

static void talk(struct end *a, struct end *b, uint64_t now_ns) {
    for (bool more = true; more;) {
        more = carry(a, b, now_ns);
        more = carry(b, a, now_ns) || more;
    }
}

static void connect_stream(struct end *c, struct end *s, uint64_t now_ns) {
    static const struct h2_header ask[] = {{STR(":method"), STR("CONNECT")}, {STR(":authority"), STR("10.0.0.1:8080")}};
    check(h2_connect(c->h, ask, array_size(ask), c, &c->id) == 0);
    talk(c, s, now_ns);
    check(c->open);
}

static void pair_new(struct end *c, struct end *s) {
    check(h2_client_new(&callbacks, c, NULL, &c->h) == 0 && h2_server_new(&callbacks, s, NULL, &s->h) == 0);
    talk(c, s, 0);
}

/* One DATA frame of full size, drained from a client and fed to a server, with the credit that comes back. */
static void h2_data(size_t n) {
    struct end c = {0}, s = {0};
    pair_new(&c, &s);
    connect_stream(&c, &s, 0);
    for (size_t i = 0; i < n; i++) {
        c.to_send = sizeof(payload);
        h2_stream_ready(c.h, c.id);
        talk(&c, &s, (i + 1) * 1000000); /* a millisecond each: the flood limits are not what counts here */
    }
    check(s.got == n * sizeof(payload));
    h2_free(c.h);
    h2_free(s.h);
}

/* A message of 64 bytes. */
static void h2_small(size_t n) {
    struct end c = {0}, s = {0};
    pair_new(&c, &s);
    connect_stream(&c, &s, 0);
    for (size_t i = 0; i < n; i++) {
        c.to_send = 64;
        h2_stream_ready(c.h, c.id);
        talk(&c, &s, (i + 1) * 1000000);
    }
    check(s.got == n * 64);
    h2_free(c.h);
    h2_free(s.h);
}

/* A tunnel's stream: CONNECT, 200, and both ends' end. */
static void h2_stream(size_t n) {
    struct end c = {0}, s = {0};
    pair_new(&c, &s);
    for (size_t i = 0; i < n; i++) {
        c.ends = s.ends = false;
        connect_stream(&c, &s, (i + 1) * 100000000);
        c.ends = s.ends = true;
        h2_stream_ready(c.h, c.id);
        h2_stream_ready(s.h, s.id);
        talk(&c, &s, (i + 1) * 100000000);
    }
    check(h2_streams(c.h) == 0 && h2_streams(s.h) == 0);
    h2_free(c.h);
    h2_free(s.h);
}

/* ---- buffers: a record's worth in and out ---- */

static void buffers(size_t n) {
    static uint8_t to[sizeof(payload)];
    struct buf_pool *pool = buf_pool_new(16);
    struct bufq a, b;
    check(pool);
    bufq_init(&a, pool);
    bufq_init(&b, pool);
    for (size_t i = 0; i < n; i++) {
        check(bufq_append(&a, payload, sizeof(payload)) == 0);
        bufq_move(&b, &a);
        check(bufq_read(&b, to, sizeof(to)) == sizeof(to));
    }
    bufq_deinit(&a);
    bufq_deinit(&b);
    buf_pool_free(pool);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(size_t n);
    } cases[] = {{"authz-judge", judge},   {"route-workload", route_workload}, {"route-service", route_service},
                 {"h2-data-16k", h2_data}, {"h2-data-64", h2_small},           {"h2-stream", h2_stream},
                 {"buffers-16k", buffers}};
    if (argc == 3)
        for (size_t i = 0; i < array_size(cases); i++)
            if (!strcmp(argv[1], cases[i].name)) {
                cases[i].run(strtoul(argv[2], NULL, 10));
                return 0;
            }
    for (size_t i = 0; i < array_size(cases); i++)
        puts(cases[i].name);
    return argc == 1 ? 0 : 2;
}
