/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the simulation is a network that an honest relay can be judged by: nothing is lost that it says arrived, nothing
 * that broke looks whole, the same seed gives the same history, and it ends with nothing left over.
 * Method: the mini relay between scripted applications, under many seeds, gentle faults and rough ones by turns. The seed
 * of a failure is printed; RING_SIM_SEED=N runs that one alone, RING_SIM_TRACE=1 shows what happens. */
#include <inttypes.h>
#include <string.h>

#include <ringwall/base/rng.h>

#include "unit.h"

#include "mini_relay.h"
#include "ring_sim.h"
#include "sim_talk.h"

enum { N_SEEDS = 1000, N_TALKS_MAX = 8, BYTES_MAX = 300000, TURNS_MAX = 400000 };

static uint64_t seed_now;
#define require(cond) \
    do { \
        if (!(cond)) \
            fail_msg("seed %" PRIu64 ": %s", seed_now, #cond); \
    } while (0)

struct scene {
    struct sim *sim;
    struct talks talks;
    struct endpoint front, back;
};

static void failed(const char *what, int line) { fail_msg("seed %" PRIu64 ": sim_talk.c line %d: %s", seed_now, line, what); }

static struct scene *scene_now;
static void start_talk(void *context) {
    struct talk *t = context;
    t->client.conn = ring_sim_connect(scene_now->sim, -1, NULL, &scene_now->front, &talk_client, &t->client);
}

static void make_scene(struct scene *scene, struct sim *sim, bool gentle) {
    struct rng *rng = ring_sim_rng(sim);
    unsigned n = 1 + (unsigned)rng_below(rng, N_TALKS_MAX);
    *scene = (struct scene){.sim = sim, .talks = {.sim = sim, .gentle = gentle, .may_be_mute = true, .n = n, .failed = failed}};
    scene_now = scene;
    talks_use(&scene->talks);
    assert_true(endpoint_parse(STR("127.0.0.1:15001"), &scene->front));
    assert_true(endpoint_parse(STR("10.0.0.2:80"), &scene->back));
    for (unsigned i = 0; i < scene->talks.n; i++) {
        struct talk *f = talk_begin(&scene->talks, i);
        f->client.n_to_send = 1 + rng_below(rng, 1 + rng_below(rng, BYTES_MAX));
        f->server.n_to_send = rng_below(rng, 1 + rng_below(rng, BYTES_MAX));
        f->client.lazy = rng_below(rng, 4) == 0;
        f->server.lazy = rng_below(rng, 4) == 0;
        ring_sim_after(sim, 1 + rng_below(rng, NS_PER_S), start_talk, f);
    }
}

static uint64_t run(uint64_t seed, bool gentle) {
    seed_now = seed;
    struct sim *sim = ring_sim_new(seed, gentle ? &SIM_FAULTS_SLOW : &SIM_FAULTS_ROUGH);
    static struct scene scene;
    make_scene(&scene, sim, gentle);
    struct ring_options o = {.n_entries = 8, .n_recv_buffers = 4, .recv_buffer_bytes = 2048};
    struct ring *r = NULL;
    char why[256];
    assert_int_equal(ring_new(&o, &r, why), 0);
    int listen_fd = ring_sim_listen(sim, -1, &scene.front);
    int serve_fd = ring_sim_serve(sim, -1, &scene.back, &talk_server, NULL, NULL);
    struct mini *m = mini_new(r, listen_fd, &scene.back);

    unsigned turns = 0;
    for (bool over = false; !over; turns++) {
        require(turns < TURNS_MAX);
        assert_int_equal(ring_turn(r, NS_PER_S, NULL), 0);
        over = true;
        for (unsigned i = 0; i < scene.talks.n; i++)
            over = over && talk_over(&scene.talks.items[i]);
    }
    mini_stop(m);
    for (; !mini_stopped(m); turns++) {
        require(turns < TURNS_MAX);
        assert_int_equal(ring_turn(r, NS_PER_S, NULL), 0);
    }
    struct mini_stats ms = mini_stats(m);
    struct sim_stats ss;
    ring_sim_get_stats(sim, &ss);
    require(ss.n_open == 0 && ss.n_in_flight == 0 && ss.n_violations == 0);
    require(ms.queue_bytes_max <= 16 * 1024 + 64 * 1024);
    if (gentle) {
        require(ms.n_ended_orderly == scene.talks.n && ms.n_ended_broken == 0);
        for (unsigned i = 0; i < scene.talks.n; i++) {
            const struct talk *f = &scene.talks.items[i];
            require(f->client.n_got == f->server.n_to_send && f->server.n_got == f->client.n_to_send);
        }
    }
    assert_null(mini_free(m));
    assert_null(ring_free(r));
    ring_sim_unlisten(sim, listen_fd);
    ring_sim_unlisten(sim, serve_fd);
    uint64_t digest = ring_sim_digest(sim);
    assert_null(ring_sim_free(sim));
    return digest;
}

static void test_an_honest_relay_under_many_seeds(void **state) {
    const char *only = getenv("RING_SIM_SEED");
    if (only) {
        uint64_t seed = strtoull(only, NULL, 10);
        run(seed, seed % 2 == 0);
        return;
    }
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++)
        run(seed, seed % 2 == 0);
}

static void test_the_same_seed_gives_the_same_history(void **state) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t first = run(seed, seed % 2 == 0);
        assert_true(run(seed, seed % 2 == 0) == first);
        assert_true(run(seed + 1000, seed % 2 == 0) != first);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_honest_relay_under_many_seeds),
        cmocka_unit_test(test_the_same_seed_gives_the_same_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
