/* SPDX-License-Identifier: GPL-3.0-or-later
 * From files to a published world and back to a verdict, at size: 10,000 pods, 10,000 policies and 2,000 services in 200
 * files, once with objects as short as they can be and once as long as kubectl prints them.
 *
 * Told are: the first load (parse, build, publish), the load after one of the files was replaced, memory, and single
 * verdicts with 10 and with 10,000 policies that do not select the workload. */
#include <ftw.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/io.h>
#include <ringwall/base/publish.h>
#include <ringwall/config/mesh.h>

#include "manifests.h"
#include "mesh.h"

enum { N_PODS = 10000, N_SERVICES = 2000, N_FILES = 200, N_LOADS = 5, N_CHANGES = 21 };

static char dir[256];
static struct publish_slot slot = PUBLISH_SLOT_NULL;

static void write_file(enum manifest_style style, unsigned file, unsigned n_policies) {
    char path[300], next[320];
    snprintf(path, sizeof(path), "%s/mesh-%03u.yaml", dir, file);
    snprintf(next, sizeof(next), "%s.next", path);
    FILE *f = fopen(next, "we");
    check(f);
    if (style == MANIFEST_KUBECTL)
        fputs("apiVersion: v1\nitems:\n", f);
    for (unsigned i = file; i < N_PODS; i += N_FILES)
        style == MANIFEST_KUBECTL ? manifest_pod_kubectl(f, i) : manifest_pod_minimal(f, i);
    for (unsigned i = file; i < n_policies; i += N_FILES)
        style == MANIFEST_KUBECTL ? manifest_policy_kubectl(f, i) : manifest_policy_minimal(f, i);
    for (unsigned i = file; i < N_SERVICES; i += N_FILES)
        style == MANIFEST_KUBECTL ? manifest_service_kubectl(f, i) : manifest_service_minimal(f, i);
    if (style == MANIFEST_KUBECTL)
        fputs("kind: List\nmetadata: {resourceVersion: \"\"}\n", f);
    check(fclose(f) == 0);
    check(rename(next, path) == 0);
}

static uint64_t n_bytes;
static int add_size(const char *path, const struct stat *st, int type, struct FTW *at) {
    n_bytes += type == FTW_F ? (uint64_t)st->st_size : 0;
    return 0;
}
static int remove_it(const char *path, const struct stat *st, int type, struct FTW *at) { return remove(path); }

static size_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    check(f && fscanf(f, "%*u %lu", &pages) == 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The processor's time and the wall's: on a busy machine only the first can be compared. */
struct took {
    double cpu_ms, wall_ms;
};

static double cpu_ms(void) {
    struct timespec t;
    check(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct took load(struct mesh_loader *l) {
    struct diag_list diags = DIAG_LIST_NULL;
    struct world *w = NULL;
    struct took t;
    double start_cpu_ms = cpu_ms();
    uint64_t start_ns = clock_mono_ns();
    int r = mesh_load(l, 1, &diags, &w);
    struct world *old = r == 0 ? publish_swap(&slot, w) : NULL;
    t = (struct took){.cpu_ms = cpu_ms() - start_cpu_ms, .wall_ms = (double)(clock_mono_ns() - start_ns) / 1e6};
    for (size_t i = 0; r && i < diags.n && i < 10; i++)
        fprintf(stderr, "%s:%u:%u: %s\n", diags.items[i].file, diags.items[i].line, diags.items[i].column, diags.items[i].text);
    check(r == 0);
    world_free(old);
    diag_list_deinit(&diags);
    return t;
}

static int compare_took(const void *x, const void *y) {
    const struct took *a = x, *b = y;
    return (a->cpu_ms > b->cpu_ms) - (a->cpu_ms < b->cpu_ms);
}

static void print_took(const char *name, struct took *all, size_t n) {
    qsort(all, n, sizeof(*all), compare_took);
    printf("  %s\tprocessor: median %.1f ms, worst %.1f ms\twall of the median %.1f ms\n", name, all[n / 2].cpu_ms,
           all[n - 1].cpu_ms, all[n / 2].wall_ms);
}

struct asking {
    const struct world *world;
    struct identity source;
    size_t n_allowed;
};

static void judge(void *argument, size_t i) {
    struct asking *a = argument;
    struct verdict v;
    struct authz_query q = {.to = world_workload_at(a->world, i * 7919 % 1000),
                            .source = &a->source,
                            .source_ip = made_addr(0, i % 4096),
                            .port = 8080};
    authz_judge(a->world, &q, &v);
    a->n_allowed += v.allow;
}

static void measure_verdicts(const char *name) {
    struct asking a = {.world = publish_writer_peek(&slot)};
    check(identity_make(STR("cluster.local"), STR("app"), STR("account-1"), &a.source));
    made_measure(name, judge, &a);
    check(a.n_allowed > 0);
}

static void bench_here(const char *name, enum manifest_style style, unsigned n_policies) {
    static const struct world_settings settings = {.node = STR("node-1"),
                                                   .trust_domain = STR("cluster.local"),
                                                   .root_namespace = STR("istio-system"),
                                                   .cluster = STR("Kubernetes"),
                                                   .cluster_domain = STR("cluster.local")};
    const struct mesh_options options = {.dir = dir, .settings = &settings};
    cleanup(mesh_loader_freep) struct mesh_loader *l = NULL;
    struct took loads[N_LOADS], changes[N_CHANGES];
    size_t before = resident_bytes(), after = 0;

    for (unsigned i = 0; i < N_FILES; i++)
        write_file(style, i, n_policies);
    n_bytes = 0;
    check(nftw(dir, add_size, 16, FTW_PHYS) == 0);
    for (unsigned i = 0; i < N_LOADS; i++) {
        l = mesh_loader_free(l);
        check(mesh_loader_new(&options, &l) == 0);
        loads[i] = load(l);
        after = i ? after : resident_bytes();
    }
    for (unsigned i = 0; i < N_CHANGES; i++) {
        write_file(style, i, n_policies - i);
        changes[i] = load(l);
    }
    const struct world *w = publish_writer_peek(&slot);
    printf("%s: %zu workloads, %zu policies, %zu services, %.1f MB in %d files\n", name, world_n_workloads(w), world_n_policies(w),
           world_n_services(w), (double)n_bytes / 1e6, N_FILES);
    print_took("parse + build + publish", loads, N_LOADS);
    print_took("one file changed", changes, N_CHANGES);
    printf("  memory a workload\tworld %zu bytes\tresident, with what was parsed, %zu bytes\n",
           world_bytes(w) / world_n_workloads(w), (after - before) / world_n_workloads(w));
    measure_verdicts("  verdict");
    world_free(publish_swap(&slot, NULL));
}

/* In a process of its own, so that the memory told is this world's alone. */
static void bench(const char *name, enum manifest_style style, unsigned n_policies) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    check(child >= 0);
    if (!child) {
        bench_here(name, style, n_policies);
        exit(0);
    }
    check(waitpid(child, &status, 0) == child && status == 0);
}

int main(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/bench_world.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    check(mkdtemp(dir));
    bench("minimal objects", MANIFEST_MINIMAL, 10000);
    bench("as kubectl prints", MANIFEST_KUBECTL, 10000);
    bench("minimal objects, few policies", MANIFEST_MINIMAL, 10 + N_CHANGES);
    check(nftw(dir, remove_it, 16, FTW_DEPTH | FTW_PHYS) == 0);
    return 0;
}
