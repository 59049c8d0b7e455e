/* SPDX-License-Identifier: GPL-3.0-or-later
 * Credentials at scale, with real keys and real signatures. Five measurements, each with its own line of output:
 *
 * first   first certificates of N identities: the identity thread and the CA thread, wall and CPU time of both
 * daemon  the same through the real threads, the identity thread and the CA's with its record on the disk of DIR (the second
 *         argument): what a daemon does at its start. Pin it to one core with taskset
 * month   a month under a made-up clock: 1,000 identities that all begin at once, a CA that is away for a tenth of the time
 *         in stretches from minutes to hours. Told: seconds in which an identity had no valid credential, those in which
 *         one could have been had, and the highest rate of requests against the mean
 * outage  the same with stretches longer than what a certificate has left when it is renewed: some end, and those that have none
 *         come first when the CA is back, whatever the pace
 * steady  the share of a core that the renewal of N identities costs, from the CPU time of a made-up day */
#include <ftw.h>
#include <string.h>
#include <sys/resource.h>

#include <ringwall/base/log.h>
#include <ringwall/base/rng.h>

#include "../../src/identity/machine.h"
#include "../../tests/unit/identity/play.h"
#include "mesh.h"
#include "micro.h"

#include <ringwall/base/check.h>
#include <ringwall/ca/ca.h>

enum {
    DAY_S = 86400,
    TTL_S = DAY_S,
    MONTH_S = 30 * DAY_S,
    SLOT_S = 600,
    HOUR_SLOTS = 6,
    GRACE_S = 15 /* a request that the silent CA swallowed has 10 s, the next probe comes within 5 */
};

struct bench {
    struct machine machine;
    struct play_ca play;
    struct mailbox *ca, *own, *worker;
    struct mailbox *workers[1];
    struct identity *identities;
    size_t n;
    struct moment now;
};

static double cpu_seconds(void) {
    struct rusage u;
    check(getrusage(RUSAGE_SELF, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static size_t resident(void) {
    unsigned long all = 0, here = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    check(f && fscanf(f, "%lu %lu", &all, &here) == 2);
    fclose(f);
    return here * 4096;
}

static void bench_init(struct bench *b, size_t n) {
    *b = (struct bench){.n = n, .now = {.mono_ns = 1000 * NS_PER_S, .wall_s = 1900000000}};
    b->identities = calloc(n, sizeof(*b->identities));
    check(b->identities);
    for (size_t i = 0; i < n; i++) {
        char uri[128];
        snprintf(uri, sizeof(uri), "spiffe://cluster.local/ns/namespace-%zu/sa/account-%zu", i / 10, i);
        check(identity_parse(str_of(uri), &b->identities[i]));
    }
    play_ca_init(&b->play, STR("cluster.local"), b->now.wall_s - DAY_S, b->now.wall_s + 400 * DAY_S);
    b->ca = mailbox_new("ca", 64);
    b->own = mailbox_new("own", 64);
    b->worker = b->workers[0] = mailbox_new("worker", 2 * n + 64);
    check(b->ca && b->own && b->worker);
    struct identity_options o = {.mailbox = b->own,
                                 .ca = b->ca,
                                 .workers = b->workers,
                                 .n_workers = 1,
                                 .node = "node-1",
                                 .ttl_s = TTL_S,
                                 .rotate_at = 0.8,
                                 .trust_domain = STR("cluster.local")};
    check(machine_init(&b->machine, &o) == 0);
}

static void bench_deinit(struct bench *b) {
    machine_deinit(&b->machine);
    mailbox_unref(b->ca);
    mailbox_unref(b->own);
    mailbox_unref(b->worker);
    play_ca_deinit(&b->play);
    free(b->identities);
}

/* What waits in the CA's mailbox is answered, or lost when the CA is away. Says how many certificates were asked for. */
static unsigned serve(struct bench *b, bool up) {
    unsigned n = 0;
    struct mail *m;
    while ((m = mailbox_take(b->ca))) {
        struct mail_bytes *q = container_of(m, struct mail_bytes, mail);
        if (up) {
            uint64_t signed_before = b->play.n_signed;
            uint8_t *bytes;
            size_t n_bytes;
            play_ca_answer(&b->play, q->bytes, q->n, b->now.wall_s, &bytes, &n_bytes);
            machine_answer(&b->machine, bytes, n_bytes, &b->now);
            free(bytes);
            n += b->play.n_signed > signed_before;
        } else
            n++;
        mail_free(m);
    }
    while ((m = mailbox_take(b->worker)))
        mail_free(m);
    return n;
}

/* Turns the machine until it asks for nothing more at this moment. */
static unsigned turn(struct bench *b, bool up) {
    unsigned n = 0, more;
    do {
        (void)machine_tick(&b->machine, &b->now);
        more = serve(b, up);
        n += more;
    } while (more > 0 && up);
    return n;
}

static size_t missing(const struct bench *b) {
    size_t have = 0, cursor = 0;
    struct map_node *node = NULL;
    while ((node = map_next(&b->machine.entries, &cursor, node))) {
        const struct entry *e = map_entry(node, struct entry, by_identity);
        have += e->credential && b->now.wall_s < tls_credential_not_after(e->credential);
    }
    return b->n - have;
}

/* Both ends on one thread, so wall time is what one core does. */
static void first(size_t n) {
    struct bench b;
    bench_init(&b, n);
    size_t before = resident();
    double cpu = cpu_seconds();
    uint64_t start_ns = clock_mono_ns();
    machine_set(&b.machine, b.identities, b.n, &b.now);
    turn(&b, true);
    double s = (double)(clock_mono_ns() - start_ns) / 1e9;
    check(missing(&b) == 0);
    size_t der = 0, cursor = 0;
    struct map_node *node = NULL;
    while ((node = map_next(&b.machine.entries, &cursor, node)))
        der += tls_credential_chain(map_entry(node, struct entry, by_identity)->credential)->items[0].n;
    printf("first\t%zu identities\t%.0f a second\t%.2f s of CPU\t%zu bytes each beyond its DER of %zu\n", n, (double)n / s,
           cpu_seconds() - cpu, (resident() - before - der) / n, der / n);
    bench_deinit(&b);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* n workloads of this node, each with an account of its own. */
static void make_world(struct made_mesh *m, struct publish_slot *slot, size_t n) {
    *m = (struct made_mesh){0};
    m->input.settings =
        (struct world_settings){.node = STR("node-1"), .trust_domain = STR("cluster.local"), .root_namespace = STR("istio-system")};
    m->input.workloads = made(m, sizeof(void *), n);
    for (size_t i = 0; i < n; i++) {
        struct workload_spec *w = made(m, sizeof(*w), 1);
        *w = *made_workload(m, i);
        w->service_account = made_text(m, "account-", i);
        w->node = STR("node-1");
        m->input.workloads[m->input.n_workloads++] = w;
    }
    check(world_build(&m->input, 1, &m->diags, &m->world) == 0);
    check(publish_swap(slot, m->world) == NULL);
}

static void daemon_start(size_t n, const char *parent) {
    struct made_mesh mesh;
    struct publish_slot slot = PUBLISH_SLOT_NULL;
    char dir[256], ca_dir[300], audit[300], why[512] = "";
    make_world(&mesh, &slot, n);
    check((size_t)snprintf(dir, sizeof(dir), "%s/bench-identity-XXXXXX", parent) < sizeof(dir) && mkdtemp(dir));
    snprintf(ca_dir, sizeof(ca_dir), "%s/ca", dir);
    snprintf(audit, sizeof(audit), "%s/audit.jsonl", dir);
    struct ca_options co = {.kind = CA_KIND_BUILTIN,
                            .dir = ca_dir,
                            .trust_domain = "cluster.local",
                            .node = "node-1",
                            .ttl_default_s = TTL_S,
                            .ttl_max_s = CA_TTL_MAX_S,
                            .world = &slot,
                            .audit_path = audit};
    struct ca *ca = NULL;
    if (ca_start(&co, &ca, why) != 0) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    struct mailbox *own = mailbox_new("own", 4096), *worker = mailbox_new("worker", 2 * n + 64);
    check(own && worker);
    struct identity_options o = {.mailbox = own,
                                 .ca = ca_mailbox(ca),
                                 .workers = &worker,
                                 .n_workers = 1,
                                 .node = "node-1",
                                 .ttl_s = TTL_S,
                                 .rotate_at = 0.8,
                                 .trust_domain = STR("cluster.local")};
    struct identity_manager *manager = NULL;
    check(identity_start(&o, &manager) == 0);
    struct mail_identities *set = mail_identities_new(n);
    check(set);
    for (size_t i = 0; i < n; i++) {
        char uri[128];
        snprintf(uri, sizeof(uri), "spiffe://cluster.local/ns/app/sa/account-%zu", i);
        check(identity_parse(str_of(uri), &set->items[i]));
    }
    double cpu = cpu_seconds();
    uint64_t start_ns = clock_mono_ns();
    check(mailbox_post(own, &set->mail) == 0);
    for (size_t have = 0; have < n;) {
        struct mail *m = mailbox_wait(worker, 30000);
        check(m);
        have += m->type == &mail_credential_type && container_of(m, struct mail_credential, mail)->credential;
        mail_free(m);
    }
    double s = (double)(clock_mono_ns() - start_ns) / 1e9, used = cpu_seconds() - cpu;
    printf("daemon\t%zu identities\t%.0f a second\t%.0f a second of processor\t%.2f s of CPU, both threads\n", n, (double)n / s,
           (double)n / used, used);
    identity_stop(manager);
    ca_stop(ca);
    mailbox_unref(worker);
    mailbox_unref(own);
    publish_swap(&slot, NULL);
    made_mesh_deinit(&mesh);
    check(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

static void steady(size_t n) {
    struct bench b;
    bench_init(&b, n);
    machine_set(&b.machine, b.identities, b.n, &b.now);
    turn(&b, true);
    for (int day = 0; day < 2; day++) { /* the first day only spreads them */
        double cpu = cpu_seconds();
        uint64_t renewed = b.play.n_signed;
        for (int s = 0; s < DAY_S; s++) {
            b.now.mono_ns += NS_PER_S;
            b.now.wall_s++;
            turn(&b, true);
        }
        if (day == 1)
            printf("steady\t%zu identities\t%llu renewals a day\t%.3f %% of a core (both ends)\n", n,
                   (unsigned long long)(b.play.n_signed - renewed), 100 * (cpu_seconds() - cpu) / DAY_S);
    }
    bench_deinit(&b);
}

/* Stretches with and without a CA: away for ten minutes or longer, a tenth of the time in the mean. */
struct weather {
    struct rng rng;
    bool up;
    int64_t until_s, since_s, down_s;
    int64_t away_max_s;
};

static void weather_at(struct weather *w, int64_t now_s) {
    if (now_s < w->until_s)
        return;
    w->up = !w->up;
    int64_t away = 600 + (int64_t)rng_below(&w->rng, (uint64_t)w->away_max_s - 600);
    w->since_s = now_s;
    w->until_s = now_s + (w->up ? 9 * away : away);
}

struct month {
    uint64_t asked, in_vain, without, could_have;
    unsigned slots[MONTH_S / SLOT_S]; /* requests that the CA got */
};

/* The highest count in any `width` slots from `from` on, as a multiple of the mean. */
static double burst(const struct month *m, size_t from, size_t width) {
    uint64_t sum = 0, most = 0, total = 0;
    size_t n = array_size(m->slots);
    for (size_t i = from; i < n; i++) {
        total += m->slots[i];
        sum += m->slots[i];
        if (i >= from + width)
            sum -= m->slots[i - width];
        most = max_of(most, sum);
    }
    return (double)most * (double)(n - from) / ((double)total * (double)width);
}

static void month(size_t n, uint64_t seed, int64_t away_max_s) {
    struct bench b;
    struct month m = {0};
    struct weather w = {.up = true, .away_max_s = away_max_s};
    bench_init(&b, n);
    rng_seed(&w.rng, seed);
    rng_seed(&b.machine.rng, seed + 1);
    int64_t begin = b.now.wall_s;
    w.until_s = begin + 3600;
    machine_set(&b.machine, b.identities, b.n, &b.now);
    for (int64_t s = 0; s < MONTH_S; s++) {
        weather_at(&w, b.now.wall_s);
        w.down_s += !w.up;
        unsigned asked = turn(&b, w.up);
        *(w.up ? &m.asked : &m.in_vain) += asked;
        m.slots[s / SLOT_S] += w.up ? asked : 0;
        size_t lacks = missing(&b);
        m.without += lacks;
        if (w.up && b.now.wall_s - w.since_s > GRACE_S)
            m.could_have += lacks;
        b.now.mono_ns += NS_PER_S;
        b.now.wall_s++;
    }
    /* The first slot is the node's start, when everybody has none: not a renewal. */
    printf("month\t%zu identities\tseed %llu\tCA away %.1f %%, at most %lld min\t%llu asked, %llu in vain\twithout %llu s, of "
           "which with a CA %llu s\t"
           "most in ten minutes %.1fx, in an hour %.1fx the mean\n",
           n, (unsigned long long)seed, 100.0 * (double)w.down_s / MONTH_S, (long long)away_max_s / 60, (unsigned long long)m.asked,
           (unsigned long long)m.in_vain, (unsigned long long)m.without, (unsigned long long)m.could_have, burst(&m, 1, 1),
           burst(&m, 1, HOUR_SLOTS));
    bench_deinit(&b);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    check(tls_library_init() == 0);
    log_set_level(LOG_ERROR);
    if (!what[0] || !strcmp(what, "first"))
        first(10000);
    if (!what[0] || !strcmp(what, "daemon"))
        daemon_start(10000, argc > 2 ? argv[2] : ".");
    if (!what[0] || !strcmp(what, "steady"))
        steady(10000);
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (!what[0] || !strcmp(what, "month"))
        month(1000, seed, 4 * 3600);
    if (!what[0] || !strcmp(what, "outage"))
        month(1000, seed, 8 * 3600);
    return 0;
}
