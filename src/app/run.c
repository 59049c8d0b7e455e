/* SPDX-License-Identifier: GPL-3.0-or-later
 * run.c - `ringwall run`: starts the rooms from the ground up, waits for signals and mail, drains, stops in reverse
 *
 * This is the one place with a goto ladder: start and stop are each other's mirror (style.md 7). Capture entries stay in
 * the kernel when we end, so that the workloads' connects are refused until the next start (DESIGN 4 "agent dies"). */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <ringwall/admin/admin.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/heap.h>
#include <ringwall/base/io.h>
#include <ringwall/base/log.h>
#include <ringwall/base/mapped.h>
#include <ringwall/base/secret.h>
#include <ringwall/ca/ca.h>
#include <ringwall/config/config.h>
#include <ringwall/doors/doors.h>
#include <ringwall/identity/manager.h>
#include <ringwall/proxy/proxy.h>

#include "app.h"
#include "version_data.h"

struct daemon {
    struct node node;
    struct ca *ca;
    struct proxy *proxy;
    struct doors *doors; /* NULL: none is open */
    struct doors_stats doors_stats;
    struct identity_manager *identity;
    struct config *config;
    struct admin *admin;
    struct worker_stats *stats;
    struct mailbox *workers[APP_WORKERS_MAX + 2]; /* then main's and the doors', for credentials and trust */
    struct tls_bundle **bundles;
    size_t n_bundles;
    struct ca_bundle_file bundle_files[CA_BUNDLES_MAX];
    struct ca_stats ca_stats;
    char *config_json;
    int signals;
};

static int complain(const char *what, int r, const char *why) {
    if (why && why[0])
        log_error("start", "%s: %s", what, why);
    else
        log_error("start", "%s: %s", what, r < 0 ? strerror(-r) : "refused");
    return r ? r : -EINVAL;
}

static const char *z(struct str s) { return s.n > 0 ? s.at : ""; }

static int start_capture(struct daemon *d) {
    struct node_config *c = d->node.config;
    if (c->capture.mode == CAPTURE_MODE_NONE)
        return 0;
    struct capture_options o = {.node = z(c->world.node),
                                .bpffs = z(c->capture.bpffs),
                                .cgroup = z(c->capture.cgroup),
                                .probe_cgroup = z(c->capture.kubelet_cgroup),
                                .port_outbound = c->port_outbound,
                                .port_inbound = c->port_inbound,
                                .port_hbone = c->port_hbone};
    struct capture_probe_line lines[32];
    size_t n = capture_probe(&o, lines, array_size(lines));
    bool able = true;
    for (size_t i = 0; i < n; i++) {
        if (!lines[i].ok)
            log_error("start", "%s: no; %s", lines[i].what, lines[i].fix);
        able = able && lines[i].ok;
    }
    if (!able)
        return -ENOTSUP;
    char why[CAPTURE_WHY_BYTES] = "";
    int r = capture_open(&o, &d->node.capture, why);
    return r == 0 ? 0 : complain("capture", r, why);
}

static int start_ca(struct daemon *d) {
    struct node_config *c = d->node.config;
    static const enum ca_kind kinds[] = {
        [CA_PROVIDER_BUILTIN] = CA_KIND_BUILTIN, [CA_PROVIDER_FILES] = CA_KIND_FILES, [CA_PROVIDER_ISTIO] = CA_KIND_ISTIO};
    char builtin_dir[4096], audit[4096], jwt_key[4096], why[512] = "";
    int r = io_make_dirs(z(c->state_dir), 0700);
    if (r < 0) {
        snprintf(why, sizeof(why), "stateDir %s cannot be made: %s; name a directory that the daemon can write", z(c->state_dir),
                 strerror(-r));
        return complain("ca", r, why);
    }
    snprintf(builtin_dir, sizeof(builtin_dir), "%s/ca", z(c->state_dir));
    snprintf(audit, sizeof(audit), "%s/ca-audit.jsonl", z(c->state_dir));
    snprintf(jwt_key, sizeof(jwt_key), "%s/jwt-key.pem", z(c->state_dir));
    for (size_t i = 0; i < c->ca.n_bundles && i < CA_BUNDLES_MAX; i++)
        d->bundle_files[i] = (struct ca_bundle_file){c->ca.bundles[i].name, z(c->ca.bundles[i].path)};
    struct ca_options o = {.kind = kinds[c->ca.provider],
                           .dir = c->ca.provider == CA_PROVIDER_BUILTIN ? builtin_dir : z(c->ca.dir),
                           .trust_domain = z(c->world.trust_domain),
                           .node = z(c->world.node),
                           .ttl_default_s = c->ca.ttl_s,
                           .ttl_max_s = CA_TTL_MAX_S,
                           .world = &d->node.world,
                           .audit_path = audit,
                           .jwt_key_path = jwt_key,
                           .bundles = d->bundle_files,
                           .n_bundles = min_of(c->ca.n_bundles, (size_t)CA_BUNDLES_MAX),
                           .jwt = {z(c->ca.jwt_issuer), z(c->ca.jwt_audience), z(c->ca.jwt_jwks)},
                           .node_accounts = c->ca.node_accounts.items,
                           .n_node_accounts = c->ca.node_accounts.n,
                           .client_certificates = c->ca.client_certificates,
                           .server_names = c->ca.server_names.items,
                           .n_server_names = c->ca.server_names.n,
                           .istio = {z(c->ca.address), z(c->ca.roots), z(c->ca.token), z(c->world.cluster)},
                           .stats = &d->ca_stats};
    r = ca_start(&o, &d->ca, why);
    return r == 0 ? 0 : complain("ca", r, why);
}

static int start_proxy(struct daemon *d) {
    struct node_config *c = d->node.config;
    d->node.n_workers = limits_workers(c->workers);
    d->stats = aligned_alloc(64, sizeof(*d->stats) * d->node.n_workers);
    if (!d->stats)
        return complain("proxy", -ENOMEM, NULL);
    memset(d->stats, 0, sizeof(*d->stats) * d->node.n_workers);
    struct proxy_options o = {.n_workers = d->node.n_workers,
                              .world = &d->node.world,
                              .capture = d->node.capture,
                              .identity = d->node.identity,
                              .stats = d->stats,
                              .ports = {c->port_outbound, c->port_inbound, c->port_hbone},
                              .connections_max = c->limits.connections,
                              .memory_bytes = limits_memory(),
                              .cpu_latency_device = limits_cpu_latency(c->cpu_latency_us),
                              .cpu_latency_us = c->cpu_latency_us,
                              .handshakes_per_s = c->limits.handshakes_per_s,
                              .trust_domain = c->world.trust_domain,
                              .cluster = c->world.cluster,
                              .network = c->world.network};
    char why[256] = "";
    int r = proxy_start(&o, &d->proxy, why);
    if (r != 0)
        return complain("proxy", r, why);
    for (unsigned i = 0; i < d->node.n_workers; i++)
        d->workers[i] = proxy_mailbox(d->proxy, i);
    d->workers[d->node.n_workers] = d->node.mailbox;
    d->node.workers = d->workers;
    return 0;
}

/* Federation and aliases: a bundle file for each foreign trust domain. */
static int load_bundles(struct daemon *d) {
    struct node_config *c = d->node.config;
    d->bundles = calloc(c->ca.n_bundles + 1, sizeof(struct tls_bundle *));
    if (!d->bundles)
        return complain("ca.bundles", -ENOMEM, NULL);
    for (size_t i = 0; i < c->ca.n_bundles; i++) {
        const char *path = z(c->ca.bundles[i].path);
        cleanup_free char *pem = NULL;
        size_t n = 0;
        int r = io_read_file(path, 1024 * 1024, &pem, &n);
        if (r < 0)
            return complain(path, r, NULL);
        struct tls_der_list roots = TLS_DER_LIST_NULL;
        r = tls_certs_from_pem((struct str){pem, n}, TLS_BUNDLE_MAX, &roots);
        if (r == 0)
            r = tls_bundle_new(c->ca.bundles[i].name, &roots, NULL, &d->bundles[d->n_bundles]);
        tls_der_list_deinit(&roots);
        if (r != 0)
            return complain(path, r, "holds no readable CA certificates in PEM form");
        d->n_bundles++;
    }
    return 0;
}

/* Before the identity thread, whose news they get like a worker. */
static int start_doors(struct daemon *d) {
    struct node_config *c = d->node.config;
    bool local = c->sds_socket.n > 0 || c->workload_api_socket.n > 0;
    if (!local && c->ca.listen.port == 0)
        return 0;
    d->node.doors = mailbox_new("doors", DOORS_MAILBOX_MAX);
    if (!d->node.doors)
        return complain("doors", -ENOMEM, NULL);
    struct doors_options o = {.mailbox = d->node.doors,
                              .ca = ca_mailbox(d->ca),
                              .identity = d->node.identity,
                              .world = &d->node.world,
                              .capture = d->node.capture,
                              .node = z(c->world.node),
                              .trust_domain = c->world.trust_domain,
                              .sds_path = z(c->sds_socket),
                              .workload_api_path = z(c->workload_api_socket),
                              .outside_host = z(c->ca.listen.host),
                              .outside_port = c->ca.listen.port,
                              .stats = &d->doors_stats};
    char why[256] = "";
    int r = doors_start(&o, &d->doors, why);
    if (r != 0)
        return complain("doors", r, why);
    d->workers[d->node.n_workers + 1] = d->node.doors;
    if (local && !d->node.capture)
        log_warn("start", "sockets: every caller is refused, because capture.mode is none: programs are known by what is captured");
    return 0;
}

static int start_identity(struct daemon *d) {
    struct node_config *c = d->node.config;
    int r = load_bundles(d);
    if (r != 0)
        return r;
    struct identity_options o = {.mailbox = d->node.identity,
                                 .ca = ca_mailbox(d->ca),
                                 .workers = d->workers,
                                 .n_workers = d->node.n_workers + (d->doors ? 2 : 1),
                                 .node = z(c->world.node),
                                 .ttl_s = c->ca.ttl_s,
                                 .rotate_at = c->ca.rotate_at,
                                 .bundles = d->bundles,
                                 .n_bundles = d->n_bundles,
                                 .trust_domain = c->world.trust_domain,
                                 .aliases = c->world.trust_domain_aliases,
                                 .n_aliases = c->world.n_trust_domain_aliases};
    r = identity_start(&o, &d->identity);
    return r == 0 ? 0 : complain("identity", r, NULL);
}

static int start_config(struct daemon *d) {
    struct node_config *c = d->node.config;
    struct mailbox *listeners[] = {d->node.mailbox};
    struct config_options o = {.mesh = {.dir = z(c->mesh_dir),
                                        .settings = &c->world,
                                        .enrol = c->capture.enrol == ENROL_ALL    ? MESH_ENROL_ALL
                                                 : c->capture.enrol == ENROL_NONE ? MESH_ENROL_NONE
                                                                                  : MESH_ENROL_LABEL,
                                        .bytes_max = c->limits.mesh_bytes},
                               .slot = &d->node.world,
                               .listeners = listeners,
                               .n_listeners = array_size(listeners)};
    int r = config_start(&o, &d->config);
    return r == 0 ? 0 : complain("config", r, NULL);
}

static uint64_t capture_count_of(void *context, unsigned index) {
    uint64_t counts[_CAPTURE_COUNT_MAX];
    if (index >= _CAPTURE_COUNT_MAX || capture_counts(context, counts) < 0)
        return 0;
    return counts[index];
}

static int start_admin(struct daemon *d) {
    struct node_config *c = d->node.config;
    d->config_json = config_json(c);
    if (!d->config_json)
        return complain("admin", -ENOMEM, NULL);
    struct admin_options o = {.socket_path = z(c->admin.socket),
                              .address = {c->admin.address.port ? z(c->admin.address.host) : NULL, c->admin.address.port},
                              .metrics = {c->admin.metrics.port ? z(c->admin.metrics.host) : NULL, c->admin.metrics.port},
                              .ready = {c->admin.ready.port ? z(c->admin.ready.host) : NULL, c->admin.ready.port},
                              .world = &d->node.world,
                              .stats = d->stats,
                              .n_workers = d->node.n_workers,
                              .ca = ca_mailbox(d->ca),
                              .ca_stats = &d->ca_stats,
                              .doors = d->doors ? &d->doors_stats : NULL,
                              .workers = d->workers,
                              .identity = d->node.identity,
                              .config = config_mailbox(d->config),
                              .main = d->node.mailbox,
                              .ready_fn = ready_ask,
                              .ready_context = &d->node.ready,
                              .version = RINGWALL_VERSION,
                              .node = z(c->world.node),
                              .config_json = d->config_json,
                              .capture_counts = d->node.capture ? capture_count_of : NULL,
                              .capture_context = d->node.capture};
    char why[256] = "";
    int r = admin_start(&o, &d->admin, why);
    return r == 0 ? 0 : complain("admin", r, why);
}

/* Where addresses are limited, fewer keys have room than a node may have. */
static int room_for_keys(void) {
    size_t range = secret_range();
    if (range == 0)
        return complain("limits", -ENOMEM, "no addresses are left for the memory that keys lie in: raise RLIMIT_AS (LimitAS=)");
    if (range < SECRET_RANGE_MAX)
        log_warn("start", "RLIMIT_AS leaves %zu KiB of addresses for the memory that keys lie in, instead of %zu", range / 1024,
                 (size_t)SECRET_RANGE_MAX / 1024);
    return 0;
}

static int start_base(struct daemon *d, struct node_config *config) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    d->signals = -1;
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return complain("signals", -errno, NULL);
    signal(SIGPIPE, SIG_IGN);
    char why[256] = "";
    int r = limits_raise(why);
    if (r < 0)
        return complain("limits", r, why);
    r = room_for_keys();
    if (r < 0)
        return r;
    r = tls_library_init();
    if (r < 0)
        return complain("tls", r, NULL);
    publish_reader_register();
    publish_reader_offline();
    node_init(&d->node, config);
    d->node.mailbox = mailbox_new("main", APP_MAILBOX_MAX);
    d->node.identity = mailbox_new("identity", APP_MAILBOX_MAX);
    return d->node.mailbox && d->node.identity ? 0 : complain("mailbox", -ENOMEM, NULL);
}

/* Was the daemon asked to end? SIGHUP only opens the access log anew: files are watched, there is nothing to reload. */
static bool end_asked(struct daemon *d) {
    struct signalfd_siginfo info;
    bool asked = false;
    while (read(d->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            log_reopen();
        else
            asked = true;
    }
    return asked;
}

/* Waits for a signal or mail, at most timeout_ms. */
static void wait_for_events(struct daemon *d, int timeout_ms) {
    struct pollfd fds[2] = {{.fd = d->signals, .events = POLLIN}, {.fd = mailbox_eventfd(d->node.mailbox), .events = POLLIN}};
    ignore_result(poll(fds, array_size(fds), timeout_ms)); /* EINTR: look at both, they do not block */
    mailbox_clear_event(d->node.mailbox);
}

/* What only starting needed goes back to the kernel, once the first certificates are made and the first look was taken. */
static void settle(uint64_t now, uint64_t *at_ns) {
    if (now < *at_ns)
        return;
    *at_ns = UINT64_MAX;
    heap_trim(true);
    mapped_trim();
}

static void serve(struct daemon *d) {
    bool quit = false, told = false, waiting = false;
    uint64_t retry_ns = 0, look_ns = 0, settle_ns = UINT64_MAX;
    while (!quit) {
        wait_for_events(d, !told || waiting || settle_ns != UINT64_MAX ? ENROL_RETRY_MS : d->node.capture ? ENROL_LOOK_MS : -1);
        quit = end_asked(d);
        struct mail *m;
        while ((m = mailbox_take(d->node.mailbox)))
            node_handle(&d->node, m, &quit);
        uint64_t now = clock_mono_ns();
        if (d->node.capture && now >= look_ns) {
            node_look(&d->node);
            heap_trim(false); /* of all threads that have no arena of their own */
            look_ns = now + ENROL_LOOK_MS * NS_PER_MS;
        }
        if (now >= retry_ns) {
            waiting = d->node.capture && node_retry(&d->node);
            retry_ns = now + ENROL_RETRY_MS * NS_PER_MS;
        }
        char why[128];
        if (!told && ready_ask(&d->node.ready, why)) {
            told = true;
            notify_send("READY=1");
            log_info("start", "ready");
            settle_ns = now + SETTLE_MS * NS_PER_MS;
        }
        settle(now, &settle_ns);
    }
}

/* Every worker stops accepting and lets its flows end; a second signal or the deadline ends the wait. */
static void drain(struct daemon *d) {
    pthread_mutex_lock(&d->node.ready.lock);
    d->node.ready.draining = true;
    pthread_mutex_unlock(&d->node.ready.lock);
    notify_send("STOPPING=1");
    uint64_t deadline = clock_mono_ns() + d->node.config->drain_timeout_s * NS_PER_S;
    log_info("stop", "draining for at most %u s", d->node.config->drain_timeout_s);
    unsigned waiting = 0;
    for (unsigned i = 0; i < d->node.n_workers; i++) {
        struct mail_drain *m = mail_drain_new(deadline, d->node.mailbox);
        if (m && mailbox_post(d->workers[i], &m->mail) == 0)
            waiting++;
        else if (m)
            mail_free(&m->mail);
    }
    /* The workers cut what is left at the deadline themselves; the extra second is for their answer. */
    uint64_t give_up = deadline + NS_PER_S;
    while (waiting > 0 && clock_mono_ns() < give_up) {
        wait_for_events(d, 100);
        if (end_asked(d))
            break;
        struct mail *m;
        while ((m = mailbox_take(d->node.mailbox))) {
            if (m->type == &mail_drain_type) {
                waiting--;
                mail_free(m);
            } else {
                bool quit;
                node_handle(&d->node, m, &quit);
            }
        }
    }
}

static struct node_config *read_config(const char *path) {
    struct diag_list diags = DIAG_LIST_NULL;
    struct node_config *config = NULL;
    int r = node_config_load(path, &diags, &config);
    for (size_t i = 0; i < diags.n; i++) {
        struct growing line = GROWING_NULL;
        diag_format(&diags.items[i], &line);
        fprintf(stderr, "%s\n", line.at ? line.at : "out of memory");
        growing_deinit(&line);
    }
    diag_list_deinit(&diags);
    if (r < 0)
        fprintf(stderr, "ringwall: cannot read the node file: %s\n", strerror(-r));
    return config;
}

int run_command(const char *config_path) {
    struct node_config *config = read_config(config_path);
    if (!config)
        return 1;
    struct log_options log = {.level = config->log.level, .format = config->log.format, .access_path = z(config->log.access)};
    int r = log_start(&log);
    if (r != 0) {
        fprintf(stderr, "ringwall: cannot open the access log %s: %s\n", log.access_path, strerror(-r));
        node_config_free(config);
        return 1;
    }
    err_set_trail(config->log.level == LOG_DEBUG);
    static struct daemon d; /* large, and there is one */
    int code = 1;
    if (start_base(&d, config) != 0)
        goto stop_base;
    log_info("start", "ringwall %s (%s) on node " STR_FMT, RINGWALL_VERSION, RINGWALL_COMMIT, STR_ARG(config->world.node));
    if (start_capture(&d) != 0)
        goto stop_base;
    if (start_ca(&d) != 0)
        goto stop_capture;
    if (start_proxy(&d) != 0)
        goto stop_ca;
    if (start_doors(&d) != 0)
        goto stop_proxy;
    if (start_identity(&d) != 0)
        goto stop_doors;
    if (start_config(&d) != 0)
        goto stop_identity;
    if (start_admin(&d) != 0)
        goto stop_config;

    serve(&d);
    drain(&d);
    code = 0;

    d.admin = admin_stop(d.admin);
stop_config:
    d.config = config_stop(d.config);
stop_identity:
    d.identity = identity_stop(d.identity);
stop_doors:
    d.doors = doors_stop(d.doors);
stop_proxy:
    d.proxy = proxy_stop(d.proxy);
stop_ca:
    d.ca = ca_stop(d.ca);
stop_capture:
    node_deinit(&d.node);
    d.node.capture = capture_free(d.node.capture);
stop_base:
    publish_reader_unregister();
    world_free(publish_swap(&d.node.world, NULL));
    for (size_t i = 0; i < d.n_bundles; i++)
        tls_bundle_unref(d.bundles[i]);
    free(d.bundles);
    free(d.stats);
    free(d.config_json);
    mailbox_unref(d.node.mailbox);
    mailbox_unref(d.node.identity);
    if (d.node.doors)
        mailbox_unref(d.node.doors);
    fd_close(d.signals);
    log_info("stop", code == 0 ? "stopped" : "not started: see the errors above");
    tls_library_cleanup();
    log_stop();
    node_config_free(config);
    return code;
}

#define SOME(n, one, many) (n), (n) == 1 ? (one) : (many)

int check_command(const char *config_path) {
    struct node_config *config = read_config(config_path);
    if (!config)
        return 1;
    if (!config->path.n)
        printf("note: there is no node file at " NODE_CONFIG_PATH ": defaults are in force\n");
    struct mesh_options o = {.dir = z(config->mesh_dir), .settings = &config->world, .bytes_max = config->limits.mesh_bytes};
    o.enrol = config->capture.enrol == ENROL_ALL    ? MESH_ENROL_ALL
              : config->capture.enrol == ENROL_NONE ? MESH_ENROL_NONE
                                                    : MESH_ENROL_LABEL;
    struct mesh_loader *loader = NULL;
    struct diag_list diags = DIAG_LIST_NULL;
    struct world *world = NULL;
    int r = mesh_loader_new(&o, &loader);
    if (r == 0)
        r = mesh_load(loader, 1, &diags, &world);
    diag_sort(&diags);
    for (size_t i = 0; i < diags.n; i++) {
        struct growing line = GROWING_NULL;
        diag_format(&diags.items[i], &line);
        printf("%s\n", line.at ? line.at : "out of memory");
        growing_deinit(&line);
    }
    if (r < 0)
        fprintf(stderr, "ringwall: %s: %s\n", o.dir, strerror(-r));
    if (world)
        printf("%zu workload%s, %zu service%s, %zu polic%s, %zu peer authentication%s: %zu warning%s\n"
               "note: TCP is captured; UDP, SCTP and raw sockets of a workload are not\n",
               SOME(world_n_workloads(world), "", "s"), SOME(world_n_services(world), "", "s"),
               SOME(world_n_policies(world), "y", "ies"), SOME(world_n_peer_auths(world), "", "s"),
               SOME(diags.n_warnings, "", "s"));
    world_free(world);
    mesh_loader_free(loader);
    diag_list_deinit(&diags);
    node_config_free(config);
    return r == 0 ? 0 : 1;
}
