/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: when a worker's buffers run out, the flows that hold most give way, the others never notice, and all goes on; a queue's
 * mark follows its reader. Method: the real proxy room on the simulated ring, a worker at either end, of which the far one may have
 * few buffers or be stepped seldom (a full core); everything that happens follows from one seed. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>
#include <ringwall/mail/trust.h>

#include "../unit/model/mesh.h"
#include "flow.h"
#include "hop.h"
#include "pki.h"
#include "ring_sim.h"
#include "tunnel.h"
#include "unit.h"
#include "worker.h"

enum { TALKS_MAX = 32, SMALL_POOL = 160, LINE = 10, TURNS_MAX = 4000000, WALL_S = 1800000000 };
enum { NETNS_CLIENT, NETNS_SERVER, _NETNS_MAX };
enum { POD_CLIENT = 1, POD_SERVER = 3 };
#define SHORT_STEP_NS (1 * NS_PER_MS)  /* between turns of a core with little left */
#define LONG_STEP_NS (200 * NS_PER_MS) /* of a full one */
#define MESH \
    "node node-1\ndomain cluster.local\nroot istio-system\nns default ambient\n" \
    "pod default/client ip=10.0.0.1 sa=client node=node-1 uid=client\n" \
    "pod default/server ip=10.0.0.3 sa=server node=node-2 uid=server\n"

struct node {
    struct worker *worker;
    struct mailbox *mailbox;
    struct worker_stats stats;
    uint64_t turned_ns;
    uint64_t step_ns; /* 0: it is stepped whenever there is something to do */
};
struct talk {
    struct sim_conn *conn;
    uint64_t n_sent;
    uint64_t n_got; /* by the far application */
    bool idle, ended, over;
    bool stops; /* the far application does not read on */
    bool lost;
    struct sim_conn *far;
};
static struct scene {
    struct sim *sim;
    struct mesh mesh;
    struct publish_slot world;
    struct pki pki;
    struct tls_credential *credentials[2];
    int netns[_NETNS_MAX];
    int outbound, hbone, served;
    struct node near, far;
    struct talk talks[TALKS_MAX];
    unsigned n_talks;
    bool ending;
} scene;

static struct endpoint endpoint_of(const char *text) {
    struct endpoint e;
    assert_true(endpoint_parse(str_of(text), &e));
    return e;
}

/* ---- applications: one sends as much as goes, the other takes it ---- */

static void write_on(struct talk *t) {
    static uint8_t bytes[16000];
    while (!t->idle && !t->ended) {
        size_t k = sim_conn_write(t->conn, bytes, sizeof(bytes));
        t->n_sent += k;
        if (k < sizeof(bytes))
            return;
    }
}
static void client_connected(struct sim_conn *c, int result) {
    struct talk *t = sim_conn_context(c);
    uint8_t which = (uint8_t)(t - scene.talks); /* the first byte */
    assert_int_equal(result, 0);
    t->n_sent += sim_conn_write(c, &which, 1);
    write_on(t);
}
static void client_room(struct sim_conn *c) { write_on(sim_conn_context(c)); }
static void client_fin(struct sim_conn *c) { ((struct talk *)sim_conn_context(c))->over = true; }
static void got_reset(struct sim_conn *c, int error unused_arg) {
    struct talk *t = sim_conn_context(c);
    if (!scene.ending && (!t || !t->stops))
        fail_msg("a connection was reset");
    if (t)
        t->lost = true;
}
static const struct sim_app client_app = {
    .connected = client_connected, .fin = client_fin, .reset = got_reset, .room = client_room};

static void server_bytes(struct sim_conn *c, const uint8_t *bytes, size_t n) {
    if (!sim_conn_context(c))
        sim_conn_set_context(c, &scene.talks[bytes[0]]);
    struct talk *t = sim_conn_context(c);
    t->far = c;
    t->n_got += n;
    if (t->stops)
        sim_conn_read(c, false);
}
static void server_fin(struct sim_conn *c) {
    struct talk *t = sim_conn_context(c);
    assert_true(t->ended && t->n_got == t->n_sent); /* what looks whole is whole */
    sim_conn_shutdown(c);
}
static const struct sim_app server_app = {.bytes = server_bytes, .fin = server_fin, .reset = got_reset};

static struct talk *talk_begin(bool idle) {
    struct talk *t = &scene.talks[scene.n_talks];
    struct endpoint from = {.port = (uint16_t)(20000 + scene.n_talks++)}, to = endpoint_of("10.0.0.3:80");
    assert_true(addr_parse(STR("10.0.0.1"), &from.addr));
    t->idle = idle;
    t->conn = ring_sim_connect(scene.sim, scene.netns[NETNS_CLIENT], &from, &to, &client_app, t);
    return t;
}
static void talk_end(struct talk *t) {
    t->ended = true;
    sim_conn_shutdown(t->conn);
}

/* ---- what eBPF would do ---- */

static int route(void *context unused_arg, struct sim_syn *syn) {
    if (syn->by_application)
        return scene.outbound;
    if (syn->to.port != 15008)
        return SIM_ROUTE_DEFAULT;
    return scene.hbone;
}
static int origdst(void *context unused_arg, uint64_t cookie unused_arg, const struct endpoint *client unused_arg,
                   struct capture_origin *ret) {
    *ret = (struct capture_origin){.dst = endpoint_of("10.0.0.3:80"), .workload_id = POD_CLIENT};
    return 0;
}

/* ---- the scene ---- */

static void node_make(struct node *n, unsigned index, size_t buffers) {
    char why[256] = "";
    n->mailbox = mailbox_new("sim", 100);
    assert_non_null(n->mailbox);
    struct worker_options o = {.index = index,
                               .world = &scene.world,
                               .origdst = origdst,
                               .mailbox = n->mailbox,
                               .stats = &n->stats,
                               .ports = {15001, 15006, 15008},
                               .flows_max = 256,
                               .tunnels_max = 64,
                               .buffers_max = buffers,
                               .seed = 1};
    assert_int_equal(worker_new(&o, &n->worker, why), 0);
}

static void node_add_pod(struct node *n, unsigned id, const char *name, const char *ip, int netns, const int fds[4],
                         struct tls_credential *c) {
    struct mail_pod *m = mail_pod_new();
    m->id = id;
    snprintf(m->uid, sizeof(m->uid), "%s", name);
    m->identity = *tls_credential_identity(c);
    assert_true(addr_parse(str_of(ip), &m->addrs[0]));
    m->n_addrs = 1;
    m->netns_cookie = (uint64_t)netns + 1;
    m->netns_fd = dup(scene.netns[netns]);
    memcpy(m->listeners, fds, sizeof(m->listeners));
    assert_int_equal(mailbox_post(n->mailbox, &m->mail), 0);
    assert_int_equal(mailbox_post(n->mailbox, &mail_trust_new(scene.pki.trust, 0, NULL)->mail), 0);
    assert_int_equal(mailbox_post(n->mailbox, &mail_credential_new(tls_credential_identity(c), c, NULL)->mail), 0);
}

static void make_credentials(void) {
    static const char *const accounts[] = {"client", "server"};
    pki_init(&scene.pki, "cluster.local", WALL_S);
    for (unsigned a = 0; a < array_size(accounts); a++) {
        struct identity identity = pki_identity("cluster.local", "default", accounts[a]);
        struct tls_credential_spec spec = {.identity = &identity, .trust = scene.pki.trust, .generation = 1};
        const char *why = NULL;
        pki_leaf(&scene.pki, NULL, &identity, PKI_FLAWLESS, &spec.key, &spec.chain);
        assert_int_equal(tls_credential_new(&spec, WALL_S, &scene.credentials[a], &why), 0);
    }
}

static int scene_begin_with(size_t far_buffers) {
    struct world *built = NULL;
    memset(&scene, 0, sizeof(scene));
    struct sim_faults wide = SIM_FAULTS_NONE; /* the cores alone are narrow */
    wide.wide = true;
    scene.sim = ring_sim_new(1, &wide);
    make_credentials();
    ring_sim_on_route(scene.sim, route, NULL);
    mesh_init(&scene.mesh);
    mesh_add(&scene.mesh, MESH);
    assert_int_equal(world_build(&scene.mesh.input, 1, &scene.mesh.diags, &built), 0);
    publish_reader_offline();
    world_free(publish_swap(&scene.world, built));
    publish_reader_online();
    for (unsigned i = 0; i < _NETNS_MAX; i++)
        assert_true((scene.netns[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
    struct endpoint outbound = endpoint_of("127.0.0.1:15001"), hbone = endpoint_of("10.0.0.3:15008"),
                    app = endpoint_of("10.0.0.3:80");
    scene.outbound = ring_sim_listen(scene.sim, scene.netns[NETNS_CLIENT], &outbound);
    scene.served = ring_sim_serve(scene.sim, scene.netns[NETNS_SERVER], &app, &server_app, NULL, NULL);
    node_make(&scene.near, 0, 4096);
    node_add_pod(&scene.near, POD_CLIENT, "client", "10.0.0.1", NETNS_CLIENT, (int[]){scene.outbound, -1, -1, -1},
                 scene.credentials[0]);
    scene.hbone = ring_sim_listen(scene.sim, scene.netns[NETNS_SERVER], &hbone);
    node_make(&scene.far, 1, far_buffers);
    node_add_pod(&scene.far, POD_SERVER, "server", "10.0.0.3", NETNS_SERVER, (int[]){-1, -1, -1, scene.hbone},
                 scene.credentials[1]);
    return 0;
}

static int scene_begin(void **state unused_arg) { return scene_begin_with(4096); }
static int scene_begin_small(void **state unused_arg) { return scene_begin_with(SMALL_POOL); }

static void node_turn(struct node *n) {
    if (clock_mono_ns() - n->turned_ns < n->step_ns)
        return;
    n->turned_ns = clock_mono_ns();
    assert_int_equal(worker_turn(n->worker, NS_PER_MS), 0);
}
static void turn(void) {
    node_turn(&scene.near);
    node_turn(&scene.far);
}
static void pass(uint64_t ns) {
    uint64_t until = clock_mono_ns() + ns;
    for (unsigned turns = 0; clock_mono_ns() < until; turns++) {
        assert_true(turns < TURNS_MAX);
        turn();
    }
}

static void node_end(struct node *n) {
    n->step_ns = 0;
    worker_stop(n->worker);
}
static int scene_end(void **state unused_arg) {
    scene.ending = true;
    node_end(&scene.near);
    node_end(&scene.far);
    pass(10 * NS_PER_S);
    struct node *nodes[] = {&scene.near, &scene.far};
    for (unsigned i = 0; i < array_size(nodes); i++) {
        assert_true(worker_stopped(nodes[i]->worker));
        assert_int_equal(pool_used(nodes[i]->worker->tunnels), 0);
        nodes[i]->worker = worker_free(nodes[i]->worker);
        mailbox_unref(nodes[i]->mailbox);
    }
    ring_sim_unlisten(scene.sim, scene.served);
    struct sim_stats stats;
    ring_sim_get_stats(scene.sim, &stats);
    assert_int_equal(stats.n_violations, 0);
    ring_sim_free(scene.sim);
    publish_reader_offline();
    world_free(publish_swap(&scene.world, NULL));
    publish_reader_online();
    mesh_deinit(&scene.mesh);
    for (unsigned i = 0; i < _NETNS_MAX; i++)
        close(scene.netns[i]);
    tls_credential_unref(scene.credentials[0]);
    tls_credential_unref(scene.credentials[1]);
    pki_deinit(&scene.pki);
    return 0;
}

/* ---- what is looked at ---- */

static void check_nothing_failed(void) {
    for (unsigned r = 0; r < _CLOSE_REASON_MAX; r++)
        assert_true(r == CLOSE_FINISHED || counter_get(&scene.near.stats.closed[STATS_OUTBOUND][r]) == 0);
}
/* Waits for it, and not for long. */
static bool carried_soon(const struct talk *t, uint64_t within_ns) {
    for (uint64_t until = clock_mono_ns() + within_ns; t->n_got == 0 && clock_mono_ns() < until;)
        turn();
    return t->n_got > 0;
}

/* ---- the cases ---- */

/* Readers that stop hold more than there is, beside one who says a line ten times a second, and is heard all the time. */
static void test_greedy_give_way(void **state unused_arg) {
    struct talk *light = talk_begin(true);
    const char line[LINE] = "a line...";
    assert_true(carried_soon(light, 100 * NS_PER_MS));
    for (unsigned i = 0; i < 20; i++)
        talk_begin(false)->stops = true;
    uint64_t heard_ns = clock_mono_ns(), longest_ns = 0;
    for (unsigned i = 0; i < 600; i++) {
        uint64_t n_got = light->n_got;
        light->n_sent += sim_conn_write(light->conn, line, LINE);
        pass(100 * NS_PER_MS);
        if (light->n_got > n_got)
            heard_ns = clock_mono_ns();
        longest_ns = max_of(longest_ns, clock_mono_ns() - heard_ns);
    }
    pass(NS_PER_S);
    assert_int_equal(light->n_got, light->n_sent);
    assert_true(longest_ns < NS_PER_S);
    unsigned n_lost = 0;
    for (unsigned i = 1; i < scene.n_talks; i++)
        n_lost += scene.talks[i].lost;
    const struct worker_stats *far = &scene.far.stats;
    assert_in_range(n_lost, 1, 19);
    assert_int_equal(n_lost, counter_get(&far->flows_relieved));
    assert_int_equal(n_lost, counter_get(&far->closed[STATS_INBOUND][CLOSE_LIMIT]));
    /* Those who were left read on, and get all. */
    for (unsigned i = 0; i < scene.n_talks; i++) {
        struct talk *t = &scene.talks[i];
        t->stops = false;
        if (t->lost)
            continue;
        sim_conn_read(t->far, true);
        talk_end(t);
    }
    pass(5 * NS_PER_S);
    for (unsigned i = 0; i < scene.n_talks; i++)
        assert_true(scene.talks[i].lost || scene.talks[i].over);
    assert_in_range(buf_pool_used(scene.far.worker->buffers), 0, RING_SIM_LIT);
}

/* The leg of the near worker's only flow that leads into the tunnel. */
static const struct leg *leg_out(void) {
    return &list_entry(list_first(&scene.near.worker->flows_all), struct flow, in_worker)->legs[LEG_SERVER];
}
/* The most that was queued in that time, and by how often its mark was doubled, at least and at most. */
static size_t most_queued(uint64_t ns, unsigned *ret_least, unsigned *ret_most) {
    size_t most = 0;
    *ret_least = leg_out()->quick;
    *ret_most = 0;
    for (uint64_t until = clock_mono_ns() + ns; clock_mono_ns() < until;) {
        turn();
        most = max_of(most, leg_out()->out.n_bytes);
        *ret_least = min_of(*ret_least, (unsigned)leg_out()->quick);
        *ret_most = max_of(*ret_most, (unsigned)leg_out()->quick);
    }
    return most;
}

static void test_mark_follows_reader(void **state unused_arg) {
    enum { ONE_TURN = 16 * RING_RECV_BUFFER_BYTES }; /* what a turn may bring on top of the mark */
    unsigned least, most;
    assert_true(carried_soon(talk_begin(false), 100 * NS_PER_MS));
    scene.far.step_ns = SHORT_STEP_NS; /* so that the queue fills at all, and empties soon */
    size_t n = most_queued(NS_PER_S, &least, &most);
    assert_in_range(most, 1, FLOW_QUEUE_DOUBLED_MAX);
    assert_in_range(n, FLOW_QUEUE_HIGH, ((size_t)FLOW_QUEUE_HIGH << FLOW_QUEUE_DOUBLED_MAX) + ONE_TURN);
    scene.far.step_ns = LONG_STEP_NS;
    n = most_queued(2 * NS_PER_S, &least, &most);
    assert_int_equal(least, 0);
    assert_in_range(n, FLOW_QUEUE_HIGH / 2, ((size_t)FLOW_QUEUE_HIGH << FLOW_QUEUE_DOUBLED_MAX) + ONE_TURN);
    check_nothing_failed();
}

int main(void) {
    const struct log_options quiet = {.level = LOG_ERROR, .access_path = "none"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_greedy_give_way, scene_begin_small, scene_end),
        cmocka_unit_test_setup_teardown(test_mark_follows_reader, scene_begin, scene_end),
    };
    if (log_start(&quiet) < 0)
        return 1;
    publish_reader_register();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    publish_reader_unregister();
    log_stop();
    return failed;
}
