/* SPDX-License-Identifier: GPL-3.0-or-later
 * check.c - `ringwallctl check`: is this host able to run the daemon? Every line that fails prints its fix
 *
 * It looks and asks, and changes nothing. A warning does not fail the check. */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/io.h>
#include <ringwall/ca/files.h>
#include <ringwall/capture/capture.h>
#include <ringwall/config/node_config.h>
#include <ringwall/wire/json.h>

#include "ctl.h"
#include "mesh.h"

enum { LINES_MAX = 64, PROBES_MAX = 32, DAY_S = 86400, ROOT_DAYS_LEAST = 60, NODE_DAYS_LEAST = 7 };
enum outcome { GOOD, DOUBTFUL, BAD };
struct line {
    const char *group;
    char what[160];
    enum outcome outcome;
    char fix[CAPTURE_WHY_BYTES];
};
struct checklist {
    struct line lines[LINES_MAX];
    size_t n;
    const char *group;
};

static void printf_like(4, 5) note(struct checklist *k, enum outcome outcome, const char *what, const char *fix, ...) {
    if (k->n == LINES_MAX)
        return;
    struct line *l = &k->lines[k->n++];
    struct text w = TEXT_OVER(l->what), f = TEXT_OVER(l->fix);
    l->group = k->group;
    l->outcome = outcome;
    text_add(&w, str_of(what));
    va_list ap;
    va_start(ap, fix);
    if (outcome != GOOD)
        text_addv(&f, fix, ap);
    va_end(ap);
}

static void check_kernel(struct checklist *k) {
    struct io_uring_params p = {0};
    k->group = "kernel";
    cleanup_fd int fd = (int)syscall(__NR_io_uring_setup, 4, &p);
    note(k, fd >= 0 ? GOOD : BAD, "io_uring is allowed", "%s",
         errno == ENOSYS
             ? "this kernel has no io_uring (CONFIG_IO_URING), or a seccomp profile hides it: run with a profile that allows "
               "io_uring_setup, io_uring_enter and io_uring_register"
         : errno == EPERM
             ? "sysctl -w kernel.io_uring_disabled=0, and a seccomp profile that allows io_uring_setup, io_uring_enter "
               "and io_uring_register"
             : strerror(errno));
}

static void check_capture(struct checklist *k, const struct node_config *c) {
    struct capture_probe_line probes[PROBES_MAX];
    struct capture_options o = {.node = c->world.node.at,
                                .bpffs = c->capture.bpffs.at,
                                .cgroup = c->capture.cgroup.at,
                                .probe_cgroup = c->capture.kubelet_cgroup.at,
                                .port_outbound = c->port_outbound,
                                .port_inbound = c->port_inbound,
                                .port_hbone = c->port_hbone};
    k->group = "capture";
    if (c->capture.mode == CAPTURE_MODE_NONE) {
        note(k, DOUBTFUL, "capture.mode is none", "no workload of this node is captured; write ebpf to take them into the mesh");
        return;
    }
    size_t n = capture_probe(&o, probes, PROBES_MAX);
    for (size_t i = 0; i < n; i++)
        note(k, probes[i].ok ? GOOD : BAD, probes[i].what, "%s", probes[i].fix);
}

static void check_clock(struct checklist *k) {
    enum { RELEASE_YEAR_S = 1767225600 }; /* 2026-01-01: no right clock is before it */
    struct timex t = {0};
    k->group = "clock";
    note(k, clock_wall_s() >= RELEASE_YEAR_S ? GOOD : BAD, "the clock is not in the past",
         "certificates made now would not be valid: set the clock, or start a time service (chrony, systemd-timesyncd)");
    int state = adjtimex(&t);
    note(k, state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC) ? GOOD : DOUBTFUL, "the clock is synchronised",
         "start a time service (chrony, systemd-timesyncd): nodes whose clocks differ refuse each other's certificates");
}

static void check_cert(struct checklist *k, const char *what, const struct tls_der *der, int64_t now_s, int days_least,
                       const char *fix) {
    struct tls_cert_facts facts;
    if (tls_cert_read(der->at, der->n, &facts) != 0)
        return; /* ca_dir_load has said so */
    int64_t days = (facts.not_after - now_s) / DAY_S;
    note(k, days >= days_least ? GOOD : DOUBTFUL, what, "%lld days are left: %s", (long long)days, fix);
}

/* Peers believe a node's signing certificate for the workloads that the mesh places on that node, by its name. */
static void check_cert_node(struct checklist *k, const struct tls_der *der, const char *node, bool builtin) {
    struct tls_cert_facts facts;
    if (builtin || tls_cert_read(der->at, der->n, &facts) != 0 || !facts.subject_cn[0])
        return;
    note(k, !strcmp(facts.subject_cn, node) ? GOOD : BAD, "the signing certificate is this node's",
         "it is of node %s, and this is %s, so peers would refuse it: set node in the node file, or ringwallctl ca issue-node "
         "--node %s",
         facts.subject_cn, node, node);
}

static void check_certificates(struct checklist *k, const struct node_config *c) {
    char dir[4096], why[CA_WHY_BYTES] = "";
    struct ca_dir d cleanup(ca_dir_deinit) = CA_DIR_NULL;
    bool builtin = c->ca.provider == CA_PROVIDER_BUILTIN;
    k->group = "certificates";
    if (c->ca.provider == CA_PROVIDER_ISTIO)
        return;
    snprintf(dir, sizeof(dir), "%s%s", builtin ? c->state_dir.at : c->ca.dir.at, builtin ? "/ca" : "");
    if (builtin && access(dir, F_OK) < 0 && errno == ENOENT) {
        note(k, GOOD, "the built-in CA is made at the first start", "%s", "");
        return;
    }
    if (tls_library_init() < 0) {
        note(k, BAD, "the TLS library starts", "build wolfSSL with deploy/setup");
        return;
    }
    int64_t now_s = clock_wall_s();
    int r = ca_dir_load(dir, now_s, &d, why);
    note(k, r == 0 ? GOOD : BAD, "the CA directory is complete and its chain holds", "%s", why[0] ? why : strerror(-r));
    if (r == 0) {
        check_cert_node(k, &d.cert.items[0], c->world.node.at, builtin);
        check_cert(k, "the signing certificate lasts", &d.cert.items[0], now_s, NODE_DAYS_LEAST,
                   "ringwallctl ca issue-node makes a new one");
        for (size_t i = 0; i < d.roots.n; i++)
            check_cert(k, "the root certificate lasts", &d.roots.items[i], now_s, ROOT_DAYS_LEAST,
                       "make a new root and give both to every node before it ends");
    }
    ca_dir_deinit(&d);
    tls_library_cleanup();
}

static void check_files(struct checklist *k, const struct node_config *c, const char *node_file) {
    cleanup(diag_list_deinit) struct diag_list diags = DIAG_LIST_NULL;
    cleanup(world_freep) struct world *w = NULL;
    k->group = "files";
    int r = mesh_read(c->mesh_dir.at, node_file, &diags, &w);
    note(k, r == 0 ? GOOD : BAD, "the mesh directory is valid", "%s: %zu error%s: see ringwallctl lint %s%s%s", c->mesh_dir.at,
         diags.n_errors, diags.n_errors == 1 ? "" : "s", c->mesh_dir.at, node_file ? " -c " : "", node_file ? node_file : "");
}

static bool print_text(const struct checklist *k) {
    static const char *const marks[] = {[GOOD] = "✓", [DOUBTFUL] = "!", [BAD] = "✗"};
    size_t n[3] = {0};
    for (size_t i = 0; i < k->n; i++) {
        const struct line *l = &k->lines[i];
        if (i == 0 || l->group != k->lines[i - 1].group)
            printf("%s%s\n", i ? "\n" : "", l->group);
        printf("  %s %s\n", marks[l->outcome], l->what);
        if (l->outcome != GOOD) {
            fputs("      fix: ", stdout);
            put_text(stdout, str_of(l->fix));
            putchar('\n');
        }
        n[l->outcome]++;
    }
    printf("\n%zu good, %zu warning%s, %zu failed\n"
           "note: TCP is captured; UDP, SCTP and raw sockets of a workload are not\n",
           n[GOOD], n[DOUBTFUL], n[DOUBTFUL] == 1 ? "" : "s", n[BAD]);
    return n[BAD] == 0;
}

static bool print_json(const struct checklist *k) {
    static const char *const words[] = {[GOOD] = "ok", [DOUBTFUL] = "warning", [BAD] = "failed"};
    struct growing g cleanup(growing_deinit) = GROWING_NULL;
    struct json_writer w;
    bool good = true;
    json_begin(&w, &g, true);
    json_array(&w, NULL);
    for (size_t i = 0; i < k->n; i++) {
        json_object(&w, NULL);
        json_z(&w, "group", k->lines[i].group);
        json_z(&w, "what", k->lines[i].what);
        json_z(&w, "outcome", words[k->lines[i].outcome]);
        if (k->lines[i].outcome != GOOD)
            json_z(&w, "fix", k->lines[i].fix);
        json_end(&w);
        good = good && k->lines[i].outcome != BAD;
    }
    json_end(&w);
    if (!g.failed)
        fputs(g.at, stdout);
    return good && !g.failed;
}

int check_command(const struct command_line *l) {
    cleanup(diag_list_deinit) struct diag_list diags = DIAG_LIST_NULL;
    cleanup(node_config_freep) struct node_config *c = NULL;
    static struct checklist k; /* large, and there is one */
    check_kernel(&k);
    check_clock(&k);
    int r = node_config_load(l->options[CTL_CONFIG], &diags, &c);
    k.group = "files";
    char first[CAPTURE_WHY_BYTES];
    struct text t = TEXT_OVER(first);
    for (size_t i = 0; i < diags.n && t.n == 0; i++)
        if (diags.items[i].severity == DIAG_ERROR)
            text_addf(&t, "%s:%u:%u: %s", diags.items[i].file, diags.items[i].line, diags.items[i].column, diags.items[i].text);
    if (r == 0 && !l->options[CTL_CONFIG] && access(NODE_CONFIG_PATH, F_OK) < 0)
        note(&k, DOUBTFUL, "the node file is there",
             "no " NODE_CONFIG_PATH ", so defaults are in force: make it, or name yours with -c");
    else
        note(&k, r == 0 ? GOOD : BAD, "the node file is valid", "%s", t.n ? first : strerror(-r));
    if (r == 0) {
        check_files(&k, c, l->options[CTL_CONFIG]);
        check_capture(&k, c);
        check_certificates(&k, c);
    }
    return (wants_json(l) ? print_json(&k) : print_text(&k)) ? EXIT_DONE : EXIT_FAILED;
}
