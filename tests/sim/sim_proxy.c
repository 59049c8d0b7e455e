/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: whatever the network does, two proxies lose no byte, never let a truncated stream look whole, pass resets on as
 * resets, end every connection, and keep nothing. Method: the real proxy room (two workers in this thread) with real TLS and
 * HTTP/2 on the simulated ring, between scripted applications, under many seeds: even ones gentle (everything must get
 * through, also while one rotation of the certificates follows another), odd ones rough (connections break, descriptors run
 * out, clocks jump, policy and certificates change, pods leave, nodes drain), some with hardly any buffers. `--seed N` runs one
 * seed and shows its logs, `--runs N` the first N. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>
#include <ringwall/mail/trust.h>
#include <ringwall/wire/json.h>

#include "../unit/model/mesh.h"
#include "hop.h"
#include "pki.h"
#include "ring_sim.h"
#include "sim_talk.h"
#include "tunnel.h"
#include "unit.h"
#include "worker.h"

enum {
    RUNS_DEFAULT = 200,
    BYTES_MAX = 600000,
    SLEEPER_BYTES = 2000000,
    GENERATIONS = 40, /* of credentials */
    TURNS_MAX = 600000,
    WALL_S = 1800000000
};
enum { NETNS_CLIENT, NETNS_CLIENT2, NETNS_SERVER, NETNS_OUTSIDE, _NETNS_MAX };
enum { POD_CLIENT = 1, POD_CLIENT2 = 2, POD_SERVER = 3 };
enum { NODE_A, NODE_B, _NODE_MAX };
enum way { WAY_TUNNEL, WAY_TUNNEL2, WAY_PLAIN_OUT, WAY_PASSTHROUGH, _WAY_MAX };

#define MESH \
    "node node-1\ndomain cluster.local\nroot istio-system\nns default ambient\n" \
    "pod default/client ip=10.0.0.1 sa=client node=node-1 uid=client\n" \
    "pod default/client2 ip=10.0.0.2 sa=client node=node-1 uid=client2\n" \
    "pod default/server ip=10.0.0.3 sa=server node=node-2 uid=server\n"
#define DENY_CLIENTS "policy DENY default/none\nrule from principals=cluster.local/ns/default/sa/client\n"
#define STRICT "auth default/strict STRICT\n"

static uint64_t seed_now;
#define require(cond) \
    do { \
        if (!(cond)) { \
            fprintf(stderr, "seed %" PRIu64 ": line %d: %s\n", seed_now, __LINE__, #cond); \
            log_stop(); /* what was logged until then is shown */ \
            exit(1); \
        } \
    } while (0)

struct node {
    struct worker *worker;
    struct mailbox *mailbox;
    struct worker_stats stats;
};
/* Rough: everything happens. Gentle: delays and reorderings only, every talk must be whole. Ageing: like gentle, but
 * certificates end in the middle. Rotating: gentle, and one rotation after another, on either node and on both at once. Tight: the
 * network is gentle, but there are few buffers, which all use, so that connections are cut for want of them. */
enum manner { MANNER_ROUGH, MANNER_GENTLE, MANNER_AGEING, MANNER_ROTATING, MANNER_TIGHT, _MANNER_MAX };
struct scene {
    struct sim *sim;
    enum manner manner;
    int netns[_NETNS_MAX]; /* real descriptors of nothing in particular: pods close theirs; the simulation tells them apart */
    struct mesh mesh;
    struct publish_slot world;
    const char *next_world;
    unsigned n_worlds;
    unsigned trust;
    unsigned generation[2]; /* of each node's credential */
    struct node nodes[_NODE_MAX];
    struct mailbox *answers;
    struct endpoint dialled[65536];
    uint32_t dialler[65536]; /* pod ids */
    int outbound[2], hbone, inbound;
    int served, served_outside;
    struct talks talks;
};
/* In the order of their generations: readers keep the newest. */
enum { TRUST_FIRST, TRUST_SAME, TRUST_NO_CLIENT, TRUST_NO_SERVER, TRUST_OTHER_ROOT, _TRUST_MAX };
static struct scene *scene_now;
static struct pki pki;
static struct tls_credential *credentials[_MANNER_MAX][2][GENERATIONS]; /* client, server; by generation */
static uint64_t n_expired;                                              /* flows of all runs that a certificate's end cut */
static struct tls_trust *trusts[_TRUST_MAX];

/* ---- applications ---- */

static void failed(const char *what, int line) {
    fprintf(stderr, "seed %" PRIu64 ": sim_talk.c line %d: %s\n", seed_now, line, what);
    log_stop();
    exit(1);
}

static struct endpoint endpoint_of(const char *text) {
    struct endpoint e;
    require(endpoint_parse(str_of(text), &e));
    return e;
}

static void start_talk(void *context) {
    struct talk *t = context;
    struct scene *s = scene_now;
    static const int netns[_WAY_MAX] = {NETNS_CLIENT, NETNS_CLIENT2, NETNS_CLIENT, NETNS_OUTSIDE};
    static const char *const from[_WAY_MAX] = {"10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.9"};
    struct endpoint source = {.port = (uint16_t)(20000 + (t - s->talks.items))};
    struct endpoint to = endpoint_of(t->way == WAY_PLAIN_OUT ? "10.0.0.8:80" : "10.0.0.3:80");
    require(addr_parse(str_of(from[t->way]), &source.addr));
    t->client.conn = ring_sim_connect(s->sim, s->netns[netns[t->way]], &source, &to, &talk_client, &t->client);
}

/* ---- what eBPF would do ---- */

static int route(void *context, struct sim_syn *syn) {
    struct scene *s = context;
    if (!syn->by_application)
        return SIM_ROUTE_DEFAULT;
    if (syn->netns == s->netns[NETNS_OUTSIDE])
        return s->inbound;
    s->dialled[syn->from.port] = syn->to;
    s->dialler[syn->from.port] = syn->netns == s->netns[NETNS_CLIENT] ? POD_CLIENT : POD_CLIENT2;
    return s->outbound[syn->netns == s->netns[NETNS_CLIENT] ? 0 : 1];
}

static int origdst(void *context, uint64_t cookie unused_arg, const struct endpoint *client, struct capture_origin *ret) {
    struct scene *s = context;
    if (s->dialled[client->port].port == 0)
        return 1;
    *ret = (struct capture_origin){.dst = s->dialled[client->port], .workload_id = s->dialler[client->port]};
    return 0;
}

/* ---- control threads ---- */

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

static void post(struct node *n, struct mail *m) { require(m && mailbox_post(n->mailbox, m) == 0); }

static void post_credential(struct scene *s, unsigned node, unsigned generation) {
    struct tls_credential *c = credentials[s->manner][node][generation];
    post(&s->nodes[node], &mail_trust_new(trusts[s->trust], 0, NULL)->mail);
    post(&s->nodes[node], &mail_credential_new(tls_credential_identity(c), c, NULL)->mail);
}

static void post_pod(struct scene *s, unsigned node, uint32_t id, const char *name, const char *sa, const char *ip, int netns,
                     const int *fds) {
    struct mail_pod *m = mail_pod_new();
    m->id = id;
    snprintf(m->uid, sizeof(m->uid), "%s", name);
    m->identity = pki_identity("cluster.local", "default", sa);
    require(addr_parse(str_of(ip), &m->addrs[0]));
    m->n_addrs = 1;
    m->netns_cookie = (uint64_t)netns;
    m->netns_fd = netns < _NETNS_MAX ? s->netns[netns] : -1; /* -1: news about a pod that is there */
    memcpy(m->listeners, fds, sizeof(m->listeners));
    post(&s->nodes[node], &m->mail);
}

/* Worlds are swapped between turns: within one this thread may be a reader. */
static void event_deny(void *context) { ((struct scene *)context)->next_world = DENY_CLIENTS; }
static void event_strict(void *context) { ((struct scene *)context)->next_world = STRICT; }
static void event_allow(void *context) { ((struct scene *)context)->next_world = ""; }
static void event_rotate(void *context) {
    post_credential(context, NODE_A, 2);
    post_credential(context, NODE_B, 2);
}
/* Together or one of them, within a round trip or not: flows are opening all the time. */
static void event_rotate_again(void *context) {
    struct scene *s = context;
    struct rng *rng = ring_sim_rng(s->sim);
    unsigned which = 1 + (unsigned)rng_below(rng, 3);
    for (unsigned i = 0; i < _NODE_MAX; i++)
        if (which & (1u << i) && s->generation[i] + 1 < GENERATIONS)
            post_credential(s, i, ++s->generation[i]);
    if (s->generation[NODE_A] + 1 < GENERATIONS || s->generation[NODE_B] + 1 < GENERATIONS)
        ring_sim_after(s->sim, rng_below(rng, rng_below(rng, 4) ? 40 * NS_PER_MS : NS_PER_MS), event_rotate_again, s);
}
static void put_trust(struct scene *s, unsigned trust) {
    if (trust <= s->trust)
        return;
    s->trust = trust;
    for (unsigned i = 0; i < _NODE_MAX; i++)
        post(&s->nodes[i], &mail_trust_new(trusts[trust], 0, NULL)->mail);
}
static void event_trust_same(void *context) { put_trust(context, TRUST_SAME); }
static void event_revoke_client(void *context) { put_trust(context, TRUST_NO_CLIENT); }
static void event_revoke_server(void *context) { put_trust(context, TRUST_NO_SERVER); }
static void event_other_root(void *context) { put_trust(context, TRUST_OTHER_ROOT); }
static void event_drain(void *context) {
    struct scene *s = context;
    s->inbound = SIM_ROUTE_REFUSE; /* its listener closes */
    post(&s->nodes[NODE_B], &mail_drain_new(clock_mono_ns() + rng_below(ring_sim_rng(s->sim), 5 * NS_PER_S), NULL)->mail);
}
static void event_drain_clients(void *context) {
    struct scene *s = context;
    s->outbound[0] = s->outbound[1] = SIM_ROUTE_REFUSE;
    post(&s->nodes[NODE_A], &mail_drain_new(clock_mono_ns() + rng_below(ring_sim_rng(s->sim), 5 * NS_PER_S), NULL)->mail);
}
static void event_pod_gone(void *context) {
    struct scene *s = context;
    s->outbound[1] = SIM_ROUTE_REFUSE; /* its listener closes */
    post(&s->nodes[NODE_A], &mail_pod_gone_new(POD_CLIENT2, NULL)->mail);
}
static void event_server_gone(void *context) {
    struct scene *s = context;
    s->inbound = SIM_ROUTE_REFUSE;
    post(&s->nodes[NODE_B], &mail_pod_gone_new(POD_SERVER, NULL)->mail);
}
static void event_other_identity(void *context) {
    static const int none[] = {-1, -1, -1, -1};
    post_pod(context, NODE_A, POD_CLIENT2, "client2", "other", "10.0.0.2", _NETNS_MAX, none);
}
/* Whatever state flows and tunnels are in, they can be shown. */
static void event_ask(void *context) {
    struct scene *s = context;
    for (unsigned i = 0; i < _NODE_MAX; i++)
        for (unsigned what = ASK_STATUS; what <= ASK_RECENT; what++)
            post(&s->nodes[i], &mail_ask_new((enum ask_what)what, what, s->answers)->mail);
}

static void plan_events(struct scene *s) {
    static void (*const events[])(void *) = {event_deny,           event_strict,        event_allow,         event_rotate,
                                             event_drain,          event_drain_clients, event_pod_gone,      event_server_gone,
                                             event_other_identity, event_trust_same,    event_revoke_client, event_revoke_server,
                                             event_other_root};
    struct rng *rng = ring_sim_rng(s->sim);
    for (unsigned i = 0; i < 8; i++)
        ring_sim_after(s->sim, rng_below(rng, 6 * NS_PER_S), event_ask, s);
    if (s->manner == MANNER_TIGHT)
        return;
    if (s->talks.gentle) { /* a rotation disturbs nobody */
        if (s->manner == MANNER_ROTATING)
            event_rotate_again(s);
        else if (rng_below(rng, 2))
            ring_sim_after(s->sim, rng_below(rng, 3 * NS_PER_S), event_rotate, s);
        if (rng_below(rng, 2)) /* nor do new bundles that leave all as it was */
            ring_sim_after(s->sim, rng_below(rng, 3 * NS_PER_S), event_trust_same, s);
        return;
    }
    for (unsigned i = 0; i < array_size(events); i++)
        if (rng_below(rng, 8) == 0)
            ring_sim_after(s->sim, rng_below(rng, 6 * NS_PER_S), events[i], s);
}

/* ---- the scene ---- */

static void make_talks(struct scene *s) {
    struct rng *rng = ring_sim_rng(s->sim);
    s->talks.n = 1 + (unsigned)rng_below(rng, TALKS_MAX);
    for (unsigned i = 0; i < s->talks.n; i++) {
        struct talk *t = talk_begin(&s->talks, i);
        t->way = s->manner == MANNER_ROTATING || rng_below(rng, 2) ? WAY_TUNNEL : (enum way)rng_below(rng, _WAY_MAX);
        struct talk_side *sides[] = {&t->client, &t->server};
        for (unsigned k = 0; k < 2; k++) {
            size_t most = s->manner != MANNER_TIGHT && rng_below(rng, 3) ? 3000 : BYTES_MAX;
            sides[k]->n_to_send = 1 + rng_below(rng, most);
            sides[k]->lazy = rng_below(rng, 3) == 0;
            sides[k]->sleepy = s->manner == MANNER_AGEING && rng_below(rng, 2) == 0;
            if (s->manner == MANNER_ROUGH && rng_below(rng, 6) == 0)
                sides[k]->reset_at = 1 + rng_below(rng, most);
        }
        for (unsigned k = 0; k < 2; k++)
            if (sides[k]->sleepy) /* what is sent to it is more than queues hold, so that its flow stays open */
                sides[1 - k]->n_to_send = SLEEPER_BYTES;
        ring_sim_after(s->sim, rng_below(rng, s->manner == MANNER_ROTATING ? NS_PER_S / 2 : 2 * NS_PER_S), start_talk, t);
    }
}

static void make_node(struct scene *s, unsigned index) {
    struct node *n = &s->nodes[index];
    char why[256] = "";
    n->mailbox = mailbox_new("sim", 100);
    require(n->mailbox);
    struct worker_options o = {.index = index,
                               .world = &s->world,
                               .origdst = origdst,
                               .origdst_context = s,
                               .mailbox = n->mailbox,
                               .stats = &n->stats,
                               .ports = {15001, 15006, 15008},
                               .flows_max = 64,
                               .tunnels_max = 64,
                               .buffers_max = s->manner == MANNER_TIGHT ? 16 + rng_below(ring_sim_rng(s->sim), 200) : 2048,
                               .seed = seed_now};
    require(worker_new(&o, &n->worker, why) == 0);
}

static void make_pods(struct scene *s) {
    struct endpoint outbound = endpoint_of("127.0.0.1:15001"), inbound = endpoint_of("10.0.0.3:15006"),
                    hbone = endpoint_of("10.0.0.3:15008");
    s->outbound[0] = ring_sim_listen(s->sim, s->netns[NETNS_CLIENT], &outbound);
    s->outbound[1] = ring_sim_listen(s->sim, s->netns[NETNS_CLIENT2], &outbound);
    s->inbound = ring_sim_listen(s->sim, s->netns[NETNS_SERVER], &inbound);
    s->hbone = ring_sim_listen(s->sim, s->netns[NETNS_SERVER], &hbone);
    post_pod(s, NODE_A, POD_CLIENT, "client", "client", "10.0.0.1", NETNS_CLIENT, (int[]){s->outbound[0], -1, -1, -1});
    post_pod(s, NODE_A, POD_CLIENT2, "client2", "client", "10.0.0.2", NETNS_CLIENT2, (int[]){s->outbound[1], -1, -1, -1});
    post_pod(s, NODE_B, POD_SERVER, "server", "server", "10.0.0.3", NETNS_SERVER, (int[]){-1, -1, s->inbound, s->hbone});
    struct endpoint app = endpoint_of("10.0.0.3:80"), outside = endpoint_of("10.0.0.8:80");
    s->served = ring_sim_serve(s->sim, s->netns[NETNS_SERVER], &app, &talk_server, NULL, NULL);
    s->served_outside = ring_sim_serve(s->sim, s->netns[NETNS_OUTSIDE], &outside, &talk_server, NULL, NULL);
}

/* Once judged, no tunnel is open that the trust in force forbids. */
static void check_tunnels(const struct worker *w) {
    if (!w->trust || w->trust_judging)
        return;
    list_for_each (it, &w->tunnels_all) {
        const struct tunnel *t = list_entry(it, struct tunnel, in_worker);
        enum tls_trust_verdict v;
        bool ours;
        require(t->state != TUNNEL_OPEN || trust_judge(w, t->tls, &ours, &v) == CLOSE_NONE);
        /* where the wall clock does not jump, the promise holds to the second */
        require(t->state != TUNNEL_OPEN || scene_now->manner == MANNER_ROUGH || clock_wall_s() <= t->cert_end_s + 5 * 60);
    }
}

static void turn(struct scene *s) {
    if (s->next_world)
        publish_world(s, take_ptr(s->next_world));
    for (unsigned i = 0; i < _NODE_MAX; i++)
        if (s->nodes[i].worker) {
            require(worker_turn(s->nodes[i].worker, NS_PER_S) == 0);
            check_tunnels(s->nodes[i].worker);
        }
}

static bool all_over(const struct scene *s) {
    for (unsigned i = 0; i < s->talks.n; i++)
        if (!talk_over(&s->talks.items[i]))
            return false;
    return true;
}

static bool nothing_held(const struct scene *s) {
    for (unsigned i = 0; i < _NODE_MAX; i++)
        if (pool_used(s->nodes[i].worker->flows))
            return false;
    return true;
}

static void check_gentle(const struct scene *s) {
    for (unsigned i = 0; i < s->talks.n; i++) {
        const struct talk *t = &s->talks.items[i];
        require(t->client.n_got == t->server.n_to_send && t->server.n_got == t->client.n_to_send);
        require(t->client.got_fin && t->server.got_fin);
    }
    for (unsigned i = 0; i < _NODE_MAX; i++)
        for (unsigned d = 0; d < _STATS_DIRECTION_MAX; d++)
            for (unsigned r = 0; r < _CLOSE_REASON_MAX; r++)
                require(r == CLOSE_FINISHED || counter_get(&s->nodes[i].stats.closed[d][r]) == 0);
}

static void end_nodes(struct scene *s) {
    for (unsigned i = 0; i < _NODE_MAX; i++)
        worker_stop(s->nodes[i].worker);
    for (unsigned turns = 0; !worker_stopped(s->nodes[0].worker) || !worker_stopped(s->nodes[1].worker); turns++) {
        require(turns < TURNS_MAX);
        turn(s);
    }
    for (unsigned i = 0; i < _NODE_MAX; i++) {
        require(buf_pool_used(s->nodes[i].worker->buffers) <= RING_SIM_LIT);
        require(pool_used(s->nodes[i].worker->tunnels) == 0 && pool_used(s->nodes[i].worker->rejects) == 0);
        s->nodes[i].worker = worker_free(s->nodes[i].worker);
        mailbox_unref(s->nodes[i].mailbox);
    }
}

/* Each answer is one JSON value. */
static void check_answers(struct scene *s) {
    struct mail *m;
    while ((m = mailbox_take(s->answers))) {
        struct mail_answer *a = container_of(m, struct mail_answer, mail);
        char why[128];
        require(m->type == &mail_answer_type && !a->json.failed);
        struct json *json = json_read((struct str){a->json.at, a->json.n}, why);
        require(json);
        json_free(json);
        mail_free(m);
    }
    s->answers = mailbox_unref(s->answers);
}

static void run(uint64_t seed, enum manner manner) {
    static struct scene scene;
    struct scene *s = scene_now = &scene;
    memset(s, 0, sizeof(*s));
    seed_now = seed;
    s->sim = ring_sim_new(seed, manner != MANNER_ROUGH ? &SIM_FAULTS_SLOW : &SIM_FAULTS_ROUGH);
    s->manner = manner;
    s->talks = (struct talks){.sim = s->sim, .gentle = manner == MANNER_GENTLE || manner == MANNER_ROTATING, .failed = failed};
    talks_use(&s->talks);
    s->generation[NODE_A] = s->generation[NODE_B] = 1;
    ring_sim_on_route(s->sim, route, s);
    publish_world(s, "");
    for (unsigned i = 0; i < _NETNS_MAX; i++)
        require((s->netns[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
    s->answers = mailbox_new("answers", 1000);
    require(s->answers);
    for (unsigned i = 0; i < _NODE_MAX; i++)
        make_node(s, i);
    make_pods(s);
    if (manner != MANNER_ROUGH || rng_below(ring_sim_rng(s->sim), 8)) /* sometimes there is no certificate at all */
        post_credential(s, NODE_A, 1);
    post_credential(s, NODE_B, 1);
    make_talks(s);
    plan_events(s);
    for (unsigned turns = 0; !all_over(s) || !nothing_held(s); turns++) {
        require(turns < TURNS_MAX);
        turn(s);
    }
    if (s->talks.gentle)
        check_gentle(s);
    for (unsigned i = 0; i < _NODE_MAX; i++)
        for (unsigned d = 0; d < _STATS_DIRECTION_MAX; d++)
            n_expired += counter_get(&s->nodes[i].stats.closed[d][CLOSE_CERT_EXPIRED]);
    end_nodes(s);
    check_answers(s);
    ring_sim_unlisten(s->sim, s->served);
    ring_sim_unlisten(s->sim, s->served_outside);
    struct sim_stats stats;
    ring_sim_get_stats(s->sim, &stats);
    require(stats.n_open == 0 && stats.n_in_flight == 0 && stats.n_violations == 0);
    ring_sim_free(s->sim);
    close(s->netns[NETNS_OUTSIDE]);
    publish_reader_offline();
    world_free(publish_swap(&s->world, NULL));
    publish_reader_online();
    mesh_deinit(&s->mesh);
}

static void make_credentials(void) {
    static const char *const accounts[] = {"client", "server"};
    pki_init(&pki, "cluster.local", WALL_S);
    static const int64_t lives_s[_MANNER_MAX] = {PKI_TTL, 30 * 86400, 20, 30 * 86400, 30 * 86400};
    for (unsigned manner = 0; manner < _MANNER_MAX; manner++)
        for (unsigned a = 0; a < array_size(accounts); a++)
            for (unsigned g = 1; g < (manner == MANNER_ROTATING ? GENERATIONS : 3); g++) {
                struct identity identity = pki_identity("cluster.local", "default", accounts[a]);
                struct tls_credential_spec spec = {.identity = &identity, .trust = pki.trust, .generation = g};
                const char *why = NULL;
                pki.ttl_s = manner == MANNER_AGEING && g == 2 ? PKI_TTL : lives_s[manner];
                pki_leaf(&pki, NULL, &identity, PKI_FLAWLESS, &spec.key, &spec.chain);
                require(tls_credential_new(&spec, WALL_S, &credentials[manner][a][g], &why) == 0);
            }
}

static void make_trusts(void) {
    const struct tls_peer *client = tls_credential_self(credentials[0][NODE_A][1]),
                          *server = tls_credential_self(credentials[0][NODE_B][1]);
    struct pki other;
    pki_init(&other, "cluster.local", WALL_S);
    trusts[TRUST_FIRST] = tls_trust_ref(pki.trust);
    trusts[TRUST_SAME] = tls_trust_new(pki.trust->bundles, 1, TRUST_SAME + 1);
    trusts[TRUST_NO_CLIENT] = pki_trust_revoking(&pki, &client, 1, TRUST_NO_CLIENT + 1);
    trusts[TRUST_NO_SERVER] = pki_trust_revoking(&pki, &server, 1, TRUST_NO_SERVER + 1);
    trusts[TRUST_OTHER_ROOT] = tls_trust_new(other.trust->bundles, 1, TRUST_OTHER_ROOT + 1);
    require(trusts[TRUST_SAME] && trusts[TRUST_OTHER_ROOT]);
    pki_deinit(&other);
}

static void free_credentials(void) {
    for (unsigned t = 0; t < _TRUST_MAX; t++)
        tls_trust_unref(trusts[t]);
    for (unsigned manner = 0; manner < _MANNER_MAX; manner++)
        for (unsigned a = 0; a < 2; a++)
            for (unsigned g = 1; g < (manner == MANNER_ROTATING ? GENERATIONS : 3); g++)
                tls_credential_unref(credentials[manner][a][g]);
    pki_deinit(&pki);
}

static uint64_t number(const char *text) {
    uint64_t v;
    require(text && str_u64(str_of(text), UINT64_MAX, &v));
    return v;
}

int main(int argc, char **argv) {
    uint64_t only = 0, runs = RUNS_DEFAULT;
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
    const struct log_options quiet = {.level = only ? LOG_DEBUG : LOG_ERROR, .access_path = only ? "stderr" : "none"};
    require(log_start(&quiet) == 0);
    publish_reader_register();
    make_credentials();
    make_trusts();
    for (uint64_t seed = only ? only : 1; seed <= (only ? only : runs); seed++)
        run(seed, seed % 2        ? MANNER_ROUGH
                  : seed % 8 == 0 ? MANNER_AGEING
                  : seed % 8 == 2 ? MANNER_ROTATING
                  : seed % 8 == 4 ? MANNER_TIGHT
                                  : MANNER_GENTLE);
    free_credentials();
    publish_reader_unregister();
    log_stop();
    if (!only)
        printf("%" PRIu64 " seeds: every stream whole or cut, nothing left; %" PRIu64
               " flows cut minutes after a certificate's end\n",
               runs, n_expired);
    require(only || runs < RUNS_DEFAULT || n_expired > 0); /* else that promise was not looked at */
    return 0;
}
