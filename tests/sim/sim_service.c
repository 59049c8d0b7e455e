/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a service with two endpoints keeps its promises whatever the endpoints do: another one is tried before the first byte
 * and never after it, a 401 is final, no flow is refused without an attempt, none fails while one endpoint is well, and who
 * took over an address never gets what was meant for another. Method: the real proxy room (one worker) on the simulated
 * ring; both far nodes are scripts (sim_peer.h) whose mood changes by the seed; the account is kept by trace id, which a flow
 * keeps over its attempts. `--seed N` runs one seed, `--runs N` the first N. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>
#include <ringwall/mail/trust.h>

#include "../unit/model/mesh.h"
#include "pki.h"
#include "sim_peer.h"
#include "unit.h"
#include "worker.h"

enum { RUNS_DEFAULT = 300, TALKS_MAX = 30, TRACES_MAX = 64, TURNS_MAX = 400000, WALL_S = 1800000000, POD_CLIENT = 1, SAY = 300 };
enum { NETNS_CLIENT, NETNS_FAR, _NETNS_MAX };
enum { PEERS = 2 };
enum account { CLIENT, ONE, TWO, THREE, LIAR, _ACCOUNTS };
#define MESH \
    "node node-1\ndomain cluster.local\nroot istio-system\nns default ambient\n" \
    "pod default/client ip=10.0.0.1 sa=client node=node-1 uid=client\n" \
    "pod default/one ip=10.0.0.3 sa=one node=node-2 uid=one labels=app:web\n" \
    "service default/web vip=10.96.0.1 ports=http:80:8080 selector=app:web\n"
#define SECOND "pod default/two ip=10.0.0.4 sa=two node=node-3 uid=two labels=app:web\n"
/* The old pod's address, with the old pod's account or another one. */
#define THIRD(account) "pod default/three ip=10.0.0.4 sa=" account " node=node-3 uid=three labels=app:web\n"
#define GRACE_NS (1 * NS_PER_S) /* what was on its way when the address changed hands */
#define TALK_NS (120 * NS_PER_S)
#define LOST_NS (100 * NS_PER_MS)
#define HURRY_NS (4 * NS_PER_S) /* with an endpoint that is well, on a network without delays */

static uint64_t seed_now;
#define require(cond) \
    do { \
        if (!(cond)) { \
            fprintf(stderr, "seed %" PRIu64 ": line %d: %s\n", seed_now, __LINE__, #cond); \
            exit(1); \
        } \
    } while (0)

struct trace { /* one flow, as the far nodes see it */
    char id[HBONE_TRACE_ID + 1];
    unsigned n_denied;
    const struct peer *carrier;
};
struct talk {
    struct scene *scene;
    struct sim_conn *conn;
    size_t n_sent, n_got;
    uint64_t began_ns, n_attempts_before;
    bool joined; /* there were tunnels when it began: their attempts count for it too */
    bool over, whole;
};
struct scene {
    struct sim *sim;
    struct worker *worker;
    struct mailbox *mailbox;
    struct worker_stats stats;
    struct mesh mesh;
    struct publish_slot world;
    const char *next_world;
    unsigned n_worlds;
    int netns[_NETNS_MAX], outbound;
    struct endpoint dialled[65536];
    struct peer peers[PEERS];
    bool steadfast; /* peers[0] is well all the time */
    uint64_t taken_over_ns, n_attempts;
    struct talk talks[TALKS_MAX];
    unsigned n_talks, n_well, n_denied, n_broken;
    struct trace traces[TRACES_MAX];
    size_t n_traces;
};
static struct scene *scene_now;
static struct pki pki;
static struct tls_credential *credentials[_ACCOUNTS];
static struct tls_context *contexts[_ACCOUNTS];

static struct endpoint endpoint_of(const char *text) {
    struct endpoint e;
    require(endpoint_parse(str_of(text), &e));
    return e;
}

/* ---- the account ---- */

static struct trace *trace_of(const char *id) {
    struct scene *s = scene_now;
    for (size_t i = 0; i < s->n_traces; i++)
        if (strcmp(s->traces[i].id, id) == 0)
            return &s->traces[i];
    require(s->n_traces < TRACES_MAX && strlen(id) == HBONE_TRACE_ID);
    struct trace *t = &s->traces[s->n_traces++];
    memcpy(t->id, id, sizeof(t->id));
    return t;
}

static void requested(struct peer *p, unsigned era, bool lied, const struct hbone_request *q, unsigned answer) {
    struct scene *s = scene_now;
    struct trace *t = trace_of(q->trace_id);
    s->n_attempts++;
    require(!lied); /* whoever is not who was asked for is asked for nothing */
    require(era == p->era || clock_mono_ns() - s->taken_over_ns < GRACE_NS);
    require(q->has_address && addr_is(&q->address.addr, &p->at.addr) && q->address.port == 8080);
    /* On a slow network a request may come when its flow has gone on already. An answer may be lost with its connection, or
     * with its sender, who is not the address's owner any more. */
    bool slow = seed_now % 2 == 0, lost = clock_mono_ns() - s->taken_over_ns < LOST_NS;
    for (unsigned i = 0; i < PEERS; i++)
        lost = lost || clock_mono_ns() - s->peers[i].broken_ns < LOST_NS;
    require(slow || !t->carrier); /* final is final */
    require(slow || lost || t->n_denied == 0);
    t->n_denied += answer == 401;
    /* An answer may come too late: the flow took it back and went on. Whether it was taken is seen by its bytes. */
}

static void carried(struct peer *p, const char *id, size_t n) {
    struct trace *t = trace_of(id);
    require(n == 0 || !t->carrier || t->carrier == p); /* bytes go to one endpoint only */
    t->carrier = p;
}

/* ---- applications ---- */

static uint8_t byte_at(size_t at) { return (uint8_t)(at * 31 + 7); }

static void client_connected(struct sim_conn *c, int result) {
    uint8_t bytes[SAY];
    struct talk *t = sim_conn_context(c);
    require(result == 0);
    for (size_t i = 0; i < SAY; i++)
        bytes[i] = byte_at(i);
    t->n_sent = sim_conn_write(c, bytes, SAY);
    require(t->n_sent == SAY);
    sim_conn_shutdown(c);
}
static void client_bytes(struct sim_conn *c, const uint8_t *bytes, size_t n) {
    struct talk *t = sim_conn_context(c);
    for (size_t i = 0; i < n; i++)
        require(bytes[i] == byte_at(t->n_got + i));
    t->n_got += n;
}
static void client_fin(struct sim_conn *c) {
    struct talk *t = sim_conn_context(c);
    require(t->n_got == SAY); /* what looks whole is whole */
    t->over = t->whole = true;
}
static void client_reset(struct sim_conn *c, int error) {
    struct talk *t = sim_conn_context(c);
    t->over = true;
    require(t->joined || scene_now->n_attempts > t->n_attempts_before); /* nobody is refused without an attempt */
}
static const struct sim_app client_app = {
    .connected = client_connected, .bytes = client_bytes, .fin = client_fin, .reset = client_reset};

static void start_talk(void *context) {
    struct talk *t = context;
    struct scene *s = t->scene;
    struct endpoint from = {.port = (uint16_t)(20000 + (t - s->talks))}, to = endpoint_of("10.96.0.1:80");
    require(addr_parse(STR("10.0.0.1"), &from.addr));
    t->began_ns = clock_mono_ns();
    t->n_attempts_before = s->n_attempts;
    t->joined = pool_used(s->worker->tunnels) > 0;
    t->conn = ring_sim_connect(s->sim, s->netns[NETNS_CLIENT], &from, &to, &client_app, t);
}

static int route(void *context, struct sim_syn *syn) {
    struct scene *s = context;
    if (syn->by_application) {
        s->dialled[syn->from.port] = syn->to;
        return s->outbound;
    }
    s->n_attempts++;
    for (unsigned i = 0; i < PEERS; i++)
        if (endpoint_is(&syn->to, &s->peers[i].at) && s->peers[i].mood == PEER_REFUSES)
            return SIM_ROUTE_REFUSE;
    return SIM_ROUTE_DEFAULT;
}

static int origdst(void *context, uint64_t cookie, const struct endpoint *client, struct capture_origin *ret) {
    struct scene *s = context;
    *ret = (struct capture_origin){.dst = s->dialled[client->port], .workload_id = POD_CLIENT};
    return ret->dst.port == 0;
}

/* ---- what happens ---- */

static void publish_world(struct scene *s, const char *more) {
    struct mesh next;
    struct world *built = NULL;
    mesh_init(&next);
    mesh_add(&next, MESH);
    mesh_add(&next, more);
    require(world_build(&next.input, ++s->n_worlds, &next.diags, &built) == 0);
    publish_reader_offline();
    world_free(publish_swap(&s->world, built));
    publish_reader_online();
    if (s->n_worlds > 1)
        mesh_deinit(&s->mesh);
    s->mesh = next;
}

static void event_mood(void *context) {
    struct peer *p = context;
    p->mood = (enum peer_mood)rng_below(ring_sim_rng(scene_now->sim), _PEER_MOOD_MAX);
}

/* Another workload gets the second address: its node knows at once, ours a moment later. Connections of the old one stay. */
static void event_take_over(void *context) {
    struct scene *s = context;
    struct peer *p = &s->peers[1];
    p->era++;
    bool same_account = rng_below(ring_sim_rng(s->sim), 2);
    p->shows = contexts[same_account ? TWO : THREE];
    s->taken_over_ns = clock_mono_ns();
    s->next_world = same_account ? THIRD("two") : THIRD("three");
}

static void event_all_well(void *context) {
    struct scene *s = context;
    for (unsigned i = 0; i < PEERS; i++)
        s->peers[i].mood = PEER_WELL;
}

static void plan(struct scene *s) {
    struct rng *rng = ring_sim_rng(s->sim);
    s->n_talks = 2 + (unsigned)rng_below(rng, TALKS_MAX - 2);
    for (unsigned i = 0; i + 1 < s->n_talks; i++)
        ring_sim_after(s->sim, rng_below(rng, 12 * NS_PER_S), start_talk, &s->talks[i]);
    for (unsigned i = s->steadfast; i < PEERS; i++)
        for (unsigned k = 0; k < 6; k++)
            ring_sim_after(s->sim, k ? rng_below(rng, 12 * NS_PER_S) : 0, event_mood, &s->peers[i]);
    if (rng_below(rng, 2))
        ring_sim_after(s->sim, rng_below(rng, 12 * NS_PER_S), event_take_over, s);
    ring_sim_after(s->sim, 13 * NS_PER_S, event_all_well, s);
}

/* ---- the scene ---- */

static void make_client(struct scene *s) {
    char why[256] = "";
    struct endpoint outbound = endpoint_of("127.0.0.1:15001");
    s->mailbox = mailbox_new("sim", 100);
    require(s->mailbox);
    struct worker_options o = {.world = &s->world,
                               .origdst = origdst,
                               .origdst_context = s,
                               .mailbox = s->mailbox,
                               .stats = &s->stats,
                               .ports = {15001, 15006, 15008},
                               .flows_max = 64,
                               .tunnels_max = 64,
                               .buffers_max = 2048,
                               .seed = seed_now};
    require(worker_new(&o, &s->worker, why) == 0);
    s->outbound = ring_sim_listen(s->sim, s->netns[NETNS_CLIENT], &outbound);
    struct mail_pod *m = mail_pod_new();
    m->id = POD_CLIENT;
    snprintf(m->uid, sizeof(m->uid), "client");
    m->identity = pki_identity("cluster.local", "default", "client");
    require(addr_parse(STR("10.0.0.1"), &m->addrs[0]));
    m->n_addrs = 1;
    m->netns_cookie = 1;
    m->netns_fd = s->netns[NETNS_CLIENT];
    memcpy(m->listeners, (int[]){s->outbound, -1, -1, -1}, sizeof(m->listeners));
    require(mailbox_post(s->mailbox, &m->mail) == 0);
    require(mailbox_post(s->mailbox, &mail_trust_new(pki.trust, 0, NULL)->mail) == 0);
    struct tls_credential *c = credentials[CLIENT];
    require(mailbox_post(s->mailbox, &mail_credential_new(tls_credential_identity(c), c, NULL)->mail) == 0);
}

static void make_peers(struct scene *s) {
    static const char *const at[PEERS] = {"10.0.0.3:15008", "10.0.0.4:15008"};
    for (unsigned i = 0; i < PEERS; i++) {
        s->peers[i] = (struct peer){.at = endpoint_of(at[i]), .shows = contexts[ONE + i], .lie = contexts[LIAR]};
        s->peers[i].trust = pki.trust;
        s->peers[i].requested = requested;
        s->peers[i].carried = carried;
        peer_start(&s->peers[i], s->sim, s->netns[NETNS_FAR]);
    }
}

static void turn(struct scene *s) {
    if (s->next_world)
        publish_world(s, take_ptr(s->next_world));
    require(worker_turn(s->worker, NS_PER_S) == 0);
}

static void run_until_over(struct scene *s, unsigned first, unsigned n) {
    bool over = false;
    for (unsigned turns = 0; !over || pool_used(s->worker->flows); turns++) {
        require(turns < TURNS_MAX);
        turn(s);
        over = true;
        for (unsigned i = first; i < first + n; i++) {
            uint64_t most = s->steadfast && seed_now % 2 ? HURRY_NS : TALK_NS;
            require(s->talks[i].over || !s->talks[i].conn || clock_mono_ns() - s->talks[i].began_ns < most);
            over = over && s->talks[i].over;
        }
    }
}

static void end_worker(struct scene *s) {
    worker_stop(s->worker);
    for (unsigned turns = 0; !worker_stopped(s->worker); turns++) {
        require(turns < TURNS_MAX);
        turn(s);
    }
    require(buf_pool_used(s->worker->buffers) <= RING_SIM_LIT && pool_used(s->worker->tunnels) == 0);
    s->worker = worker_free(s->worker);
    mailbox_unref(s->mailbox);
}

static void check_account(struct scene *s) {
    const struct worker_stats *st = &s->stats;
    for (unsigned i = 0; i < s->n_talks; i++)
        s->n_well += s->talks[i].whole;
    for (size_t i = 0; i < s->n_traces; i++)
        s->n_denied += s->traces[i].n_denied > 0;
    uint64_t n_opened = counter_get(&st->opened[STATS_OUTBOUND]);
    s->n_broken = (unsigned)n_opened - s->n_well;
    require(counter_get(&st->closed[STATS_OUTBOUND][CLOSE_FINISHED]) <=
            s->n_well); /* the loss of a tunnel may be told behind the last byte */
    require(counter_get(&st->closed[STATS_OUTBOUND][CLOSE_NO_ENDPOINT]) == 0);
    if (s->steadfast) /* only a final answer, or the end of what had begun, is a failure */
        require(n_opened + counter_get(&st->closed[STATS_OUTBOUND][CLOSE_PEER_REFUSED]) == s->n_talks);
}

static void run(uint64_t seed, unsigned totals[4]) {
    static struct scene scene;
    struct scene *s = scene_now = &scene;
    memset(s, 0, sizeof(*s));
    seed_now = seed;
    s->sim = ring_sim_new(seed, seed % 2 ? &SIM_FAULTS_NONE : &SIM_FAULTS_SLOW);
    s->steadfast = seed % 3 != 0;
    for (unsigned i = 0; i < TALKS_MAX; i++)
        s->talks[i].scene = s;
    ring_sim_on_route(s->sim, route, s);
    publish_world(s, SECOND);
    for (unsigned i = 0; i < _NETNS_MAX; i++)
        require((s->netns[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
    make_client(s);
    make_peers(s);
    plan(s);
    run_until_over(s, 0, s->n_talks - 1);
    /* Whatever happened: once all are well, the next one gets through. */
    while (s->peers[0].mood != PEER_WELL || s->peers[1].mood != PEER_WELL)
        turn(s);
    start_talk(&s->talks[s->n_talks - 1]);
    run_until_over(s, s->n_talks - 1, 1);
    require(s->talks[s->n_talks - 1].whole);
    end_worker(s);
    check_account(s);
    for (unsigned i = 0; i < PEERS; i++)
        peer_end(&s->peers[i], s->sim);
    struct sim_stats stats;
    ring_sim_get_stats(s->sim, &stats);
    require(stats.n_open == 0 && stats.n_in_flight == 0 && stats.n_violations == 0);
    ring_sim_free(s->sim);
    close(s->netns[NETNS_FAR]);
    publish_reader_offline();
    world_free(publish_swap(&s->world, NULL));
    publish_reader_online();
    mesh_deinit(&s->mesh);
    totals[0] += s->n_well;
    totals[1] += s->n_denied;
    totals[2] += s->n_broken;
    totals[3] += (unsigned)counter_get(&s->stats.flows_retried);
}

static void make_credentials(void) {
    static const char *const accounts[_ACCOUNTS] = {"client", "one", "two", "three", "liar"};
    pki_init(&pki, "cluster.local", WALL_S);
    for (unsigned a = 0; a < _ACCOUNTS; a++) {
        struct identity identity = pki_identity("cluster.local", "default", accounts[a]);
        struct tls_credential_spec spec = {.identity = &identity, .trust = pki.trust, .generation = 1};
        const char *why = NULL;
        pki_leaf(&pki, NULL, &identity, PKI_FLAWLESS, &spec.key, &spec.chain);
        require(tls_credential_new(&spec, WALL_S, &credentials[a], &why) == 0);
        require(tls_context_new(credentials[a], TLS_ROLE_SERVER, &contexts[a]) == 0);
    }
}

static uint64_t number(const char *text) {
    uint64_t v;
    require(text && str_u64(str_of(text), UINT64_MAX, &v));
    return v;
}

int main(int argc, char **argv) {
    uint64_t only = 0, runs = RUNS_DEFAULT;
    unsigned totals[4] = {0};
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            only = number(argv[i + 1]);
        else if (strcmp(argv[i], "--runs") == 0)
            runs = number(argv[i + 1]);
        else {
            fprintf(stderr, "usage: %s [--seed N | --runs N]\n", argv[0]);
            return 2;
        }
    }
    const struct log_options quiet = {.level = LOG_ERROR, .access_path = only ? "stderr" : "none"};
    require(log_start(&quiet) == 0);
    publish_reader_register();
    make_credentials();
    for (uint64_t seed = only ? only : 1; seed <= (only ? only : runs); seed++)
        run(seed, totals);
    for (unsigned a = 0; a < _ACCOUNTS; a++) {
        tls_context_unref(contexts[a]);
        tls_credential_unref(credentials[a]);
    }
    pki_deinit(&pki);
    publish_reader_unregister();
    log_stop();
    if (!only)
        printf("%" PRIu64 " seeds: %u flows whole, %u denied, %u broken, %u further attempts; every promise kept\n", runs,
               totals[0], totals[1], totals[2], totals[3]);
    return 0;
}
