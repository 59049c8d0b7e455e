/* SPDX-License-Identifier: GPL-3.0-or-later
 * capture.c - open, ready, counters; the answers that workers ask for */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "private.h"

static uint16_t port_or(uint16_t asked, uint16_t usual) { return asked ? asked : usual; }

static void host_namespaces(struct capture *c) {
    static const char *const paths[] = {"/proc/self/ns/net", "/proc/1/ns/net"};
    for (size_t i = 0; i < array_size(paths); i++) {
        cleanup_fd int fd = -1;
        if (netns_open(paths[i], &fd, &c->host_inos[i]) != 0)
            c->host_inos[i] = 0; /* process 1 hidden by a PID namespace */
    }
}

static int workloads_cgroup(struct capture *c, const struct capture_options *o, int *ret_fd, char why[CAPTURE_WHY_BYTES]) {
    int r = cgroup_find_workloads(o->cgroup, c->cgroup_path);
    if (r > 0) {
        why_set(why,
                "no kubepods cgroup found to capture: outside Kubernetes name the cgroup above the workloads in capture.cgroup");
        return err_origin(-ENOENT);
    }
    if (r == 0)
        r = cgroup_open(c->cgroup_path, ret_fd, &c->cgroup_id);
    if (r == 0)
        return 0;
    why_set(why, "capture.cgroup: %s is not there, or is no cgroup v2 directory", c->cgroup_path);
    return err_origin(r > 0 ? -ENOENT : r);
}

/* Ours is exempt with all below it, unless workloads lie below it too. */
static int self_exempt(const struct capture *c, int workloads_fd, struct kernel_attach *a, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = -1;
    bool above = false;
    int r = cgroup_self(&fd, &a->self_id, why);
    if (r < 0)
        return err_trace(r);
    a->self_how = CAPTURE_EXEMPT_TREE;
    if (a->self_id == c->cgroup_id) {
        a->self_how = CAPTURE_EXEMPT_SELF;
        return 0;
    }
    r = cgroup_is_below(workloads_fd, a->self_id, &above);
    if (r < 0) {
        why_set(why, "cannot tell whether our own cgroup lies above %s: %s", c->cgroup_path, strerror(-r));
        return err_trace(r);
    }
    if (above)
        a->self_id = 0; /* the programs do not see our sockets, and the entry would exempt every workload */
    return 0;
}

static int probe_cgroup(const struct capture_options *o, int *ret_fd, uint64_t *ret_id, char why[CAPTURE_WHY_BYTES]) {
    char path[CAPTURE_PATH_BYTES];
    int r = cgroup_find_probe(o->probe_cgroup, path);
    if (r == 0)
        r = cgroup_open(path, ret_fd, ret_id);
    if (r == 0)
        return 0;
    if (r > 0 && (!o->probe_cgroup || !o->probe_cgroup[0] || !strcmp(o->probe_cgroup, "auto")))
        return 0;
    why_set(why, "capture.kubeletCgroup: %s is not there, or is no cgroup v2 directory", path);
    return err_origin(r > 0 ? -ENOENT : r);
}

static struct capture *capture_new(const struct capture_options *o) {
    struct capture *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->lock_fd = -1;
    for (size_t i = 0; i < _KERNEL_MAP_MAX; i++)
        c->maps[i] = -1;
    c->ports[CAPTURE_OUTBOUND4] = c->ports[CAPTURE_OUTBOUND6] = port_or(o->port_outbound, CAPTURE_PORT_OUTBOUND);
    c->ports[CAPTURE_INBOUND] = port_or(o->port_inbound, CAPTURE_PORT_INBOUND);
    c->ports[CAPTURE_HBONE] = port_or(o->port_hbone, CAPTURE_PORT_HBONE);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    c->generation = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
    host_namespaces(c);
    list_init(&c->pods);
    list_init(&c->closed);
    return c;
}

static int attach_all(struct capture *c, const struct capture_options *o, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int cgroup_fd = -1, probe_fd = -1;
    struct kernel_attach a = {0};
    struct kernel_open opened;
    int r = workloads_cgroup(c, o, &cgroup_fd, why);
    if (r == 0)
        r = self_exempt(c, cgroup_fd, &a, why);
    if (r == 0)
        r = probe_cgroup(o, &probe_fd, &a.probe_id, why);
    if (r == 0)
        r = pin_prepare(o->bpffs, c->dir, why);
    if (r == 0)
        r = pin_lock(c->dir, &c->lock_fd, why);
    a.cgroup_fd = cgroup_fd;
    a.cgroup_id = c->cgroup_id;
    a.probe_fd = probe_fd;
    if (r == 0)
        r = kernel_open(c->dir, &a, &opened, why);
    if (r < 0)
        return err_trace(r);
    memcpy(c->maps, opened.maps, sizeof(c->maps));
    memcpy(c->programs, opened.programs, sizeof(c->programs));
    return 0;
}

int capture_open(const struct capture_options *o, struct capture **ret, char why[CAPTURE_WHY_BYTES]) {
    why[0] = '\0';
    cleanup(capture_freep) struct capture *c = capture_new(o);
    int r = c ? pin_node_dir(o->bpffs, o->node, c->dir, why) : -ENOMEM;
    if (r == 0)
        r = pin_path(c->pods_dir, "%s/pods", c->dir);
    if (r == 0)
        r = attach_all(c, o, why);
    if (r < 0) {
        if (!why[0])
            why_set(why, "cannot open capture: %s", strerror(-r));
        return err_trace(r);
    }
    *ret = take_ptr(c);
    return 0;
}

struct capture *capture_free(struct capture *c) {
    if (!c)
        return NULL;
    struct list *it;
    while ((it = list_first(&c->pods)))
        ignore_result(capture_release(c, list_entry(it, struct capture_pod, link), true)); /* it returns NULL, as destructors do */
    enrol_drop_closed(c);
    for (size_t i = 0; i < _KERNEL_MAP_MAX; i++)
        fd_close(c->maps[i]);
    fd_close(c->lock_fd);
    free(c);
    return NULL;
}

int capture_ready(struct capture *c) {
    uint32_t zero = 0;
    struct capture_state s = {.ready = 1, .port_outbound = c->ports[CAPTURE_OUTBOUND4], .generation = c->generation};
    return bpf_map_update_elem(c->maps[KERNEL_STATE], &zero, &s, BPF_ANY) < 0 ? err_origin(-errno) : 0;
}

bool capture_stands(const struct capture *c, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = -1;
    uint64_t id = 0;
    if (cgroup_open(c->cgroup_path, &fd, &id) != 0 || id != c->cgroup_id) {
        why_set(why, "the cgroup %s that was captured is gone, or another has its name: start ringwall again", c->cgroup_path);
        return false;
    }
    const char *missing = kernel_missing(fd, c->programs);
    if (missing)
        why_set(why,
                "capture was removed from the kernel while the daemon runs (%s is not attached to %s any more; "
                "`ringwallctl capture detach` does that): traffic passes in plaintext until ringwall is started again",
                missing, c->cgroup_path);
    return !missing;
}

bool capture_pod_stands(const struct capture_pod *p, char why[CAPTURE_WHY_BYTES]) {
    bool stands = p->netns_fd < 0 || inbound_stands(p->netns_fd, p->program);
    if (!stands)
        why_set(why, "the sk_lookup program of its network namespace was removed from the kernel while the daemon runs: "
                     "plaintext reaches it past every policy until ringwall is started again");
    return stands;
}

int capture_origdst(struct capture *c, uint64_t netns_cookie, const struct endpoint *client, struct capture_origin *ret) {
    struct capture_tuple key = {.netns_cookie = netns_cookie, .local_port = client->port};
    _Static_assert(sizeof(key.local_addr.bytes) == sizeof(client->addr.bytes), "both are 16 bytes, IPv4 mapped");
    memcpy(key.local_addr.bytes, client->addr.bytes, sizeof(key.local_addr.bytes));
    struct capture_origdst got;
    if (bpf_map_lookup_elem(c->maps[KERNEL_ORIGDST], &key, &got) < 0)
        return errno == ENOENT ? 1 : err_origin(-errno);
    memcpy(ret->dst.addr.bytes, got.addr.bytes, sizeof(ret->dst.addr.bytes));
    ret->dst.port = got.port;
    ret->workload_id = got.workload_id;
    return 0;
}

int capture_counts(struct capture *c, uint64_t ret[_CAPTURE_COUNT_MAX]) {
    int n_cpus = libbpf_num_possible_cpus();
    if (n_cpus <= 0)
        return err_origin(n_cpus < 0 ? n_cpus : -ENOTSUP);
    cleanup_free uint64_t *per_cpu = calloc((size_t)n_cpus, sizeof(*per_cpu));
    if (!per_cpu)
        return err_origin(-ENOMEM);
    uint64_t sums[_CAPTURE_COUNT_MAX] = {0};
    for (uint32_t i = 0; i < _CAPTURE_COUNT_MAX; i++) {
        if (bpf_map_lookup_elem(c->maps[KERNEL_COUNTS], &i, per_cpu) < 0)
            return err_origin(-errno);
        for (int cpu = 0; cpu < n_cpus; cpu++)
            sums[i] += per_cpu[cpu];
    }
    memcpy(ret, sums, sizeof(sums));
    return 0;
}

size_t capture_origdst_used(struct capture *c) {
    struct capture_tuple key, next;
    size_t n = 0;
    int fd = c->maps[KERNEL_ORIGDST];
    /* A key that went in between begins the walk anew: bounded by the size of the map. */
    for (int r = bpf_map_get_next_key(fd, NULL, &next); r == 0 && n < CAPTURE_ORIGDST_MAX;
         r = bpf_map_get_next_key(fd, &key, &next)) {
        n++;
        key = next;
    }
    return n;
}

const char *capture_library_text(char *to, size_t n) {
    const char *v = libbpf_version_string();
    snprintf(to, n, "libbpf %s", v[0] == 'v' ? v + 1 : v);
    return to;
}
