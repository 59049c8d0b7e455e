/* SPDX-License-Identifier: GPL-3.0-or-later
 * enrol.c - a workload's entry into the kernel and its way out
 *
 * The map entries come last, so no connect is redirected before the listeners stand; on the way out they go first. A
 * workload that was found but cannot be set up is closed: else a program that takes port 15008 before us would stay out
 * of the mesh and speak plaintext. */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "private.h"

/* --- finding the workload's places ---------------------------------------------------------------------------------- */

/* Is it below what we are attached to, and near enough to the root for the programs' walk? */
static int cgroup_judge(const struct capture *c, const char *path, int fd, char why[CAPTURE_WHY_BYTES]) {
    bool below = false;
    int r = cgroup_is_below(fd, c->cgroup_id, &below);
    if (r < 0)
        return err_trace(r);
    if (!below) {
        why_set(why, "cgroup %s is not below %s, which is what is captured: its connects would not be seen", path, c->cgroup_path);
        return CAPTURE_NO_CGROUP;
    }
    if (cgroup_depth(fd) >= CAPTURE_ANCESTOR_LEVELS) {
        why_set(why, "cgroup %s lies deeper than %d levels below the root", path, CAPTURE_ANCESTOR_LEVELS - 1);
        return CAPTURE_NO_CGROUP;
    }
    return 0;
}

static int cgroup_resolve(const struct capture *c, const char *path, uint64_t *ret_id, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = -1;
    int r = cgroup_open(path, &fd, ret_id);
    if (r > 0) {
        why_set(why, "%s is not there, or is no cgroup v2 directory", path);
        return CAPTURE_NO_CGROUP;
    }
    return r < 0 ? err_trace(r) : cgroup_judge(c, path, fd, why);
}

static int netns_resolve(const struct capture *c, const char *path, int *ret_fd, uint64_t *ret_ino, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = -1;
    uint64_t ino;
    int r = netns_open(path, &fd, &ino);
    if (r > 0) {
        why_set(why, "%s is not there, or is no network namespace", path);
        return CAPTURE_NO_NETNS;
    }
    if (r < 0)
        return err_trace(r);
    for (size_t i = 0; i < array_size(c->host_inos); i++)
        if (ino == c->host_inos[i]) {
            why_set(why,
                    "network namespace %s is the host's or the daemon's own: such a workload is a plaintext peer, it cannot be "
                    "captured",
                    path);
            return CAPTURE_SHARED;
        }
    *ret_ino = ino;
    *ret_fd = take_fd(fd);
    return 0;
}

static int taken(struct capture *c, const struct capture_pod *p, char why[CAPTURE_WHY_BYTES]) {
    list_for_each (it, &c->pods) {
        const struct capture_pod *o = list_entry(it, struct capture_pod, link);
        const char *what = o->id == p->id                                     ? "number"
                           : o->cgroup_id && o->cgroup_id == p->cgroup_id     ? "cgroup"
                           : o->netns_fd >= 0 && o->netns_ino == p->netns_ino ? "network namespace"
                                                                              : NULL;
        if (!what)
            continue;
        why_set(why, "another workload (number %u) holds its %s", o->id, what);
        return CAPTURE_BUSY;
    }
    return 0;
}

/* --- the namespace's part --------------------------------------------------------------------------------------- */

static int namespace_cookie(int netns_fd, uint64_t *ret) {
    cleanup_fd int fd = -1;
    int r = capture_netns_socket(netns_fd, AF_INET, &fd);
    return r < 0 ? err_trace(r) : netns_cookie(fd, ret);
}

static int namespace_furnish(const struct capture *c, const struct capture_pod *p, unsigned n_workers, int *fds,
                             char why[CAPTURE_WHY_BYTES]) {
    cleanup_visit struct netns_visit v = NETNS_VISIT_NULL;
    int r = netns_enter(p->netns_fd, &v);
    if (r < 0) {
        why_set(why, "cannot enter the workload's network namespace: %s; CAP_SYS_ADMIN is needed", strerror(-r));
        return err_trace(r);
    }
    r = rtnetlink_prepare(why);
    if (r == 0)
        r = listener_open_all(c->ports, n_workers, fds, why);
    if (r == 0)
        r = rtnetlink_install(fds[CAPTURE_OUTBOUND6 * n_workers] >= 0, why);
    return r;
}

static void namespace_strip(int netns_fd) {
    cleanup_visit struct netns_visit v = NETNS_VISIT_NULL;
    if (netns_enter(netns_fd, &v) == 0)
        ignore_result(rtnetlink_remove()); /* they route marked packets only, and nothing marks any more */
}

/* For a namespace that we hold no descriptor of. Gone, and its rules with it, is fine. */
static void namespace_leave(struct capture *c, uint64_t ino) {
    inbound_detach(c->pods_dir, ino);
    cleanup_fd int fd = -1;
    if (netns_find(ino, &fd) == 0)
        namespace_strip(fd);
}

static int namespace_attach(struct capture *c, struct capture_pod *p, const struct capture_pod_spec *spec, const int *listeners,
                            unsigned n_listeners, char why[CAPTURE_WHY_BYTES]) {
    struct inbound_spec in = {.dir = c->pods_dir,
                              .netns_fd = p->netns_fd,
                              .netns_ino = p->netns_ino,
                              .addrs = spec->addrs,
                              .n_addrs = spec->n_addrs,
                              .listeners = listeners,
                              .n_listeners = n_listeners,
                              .port_hbone = n_listeners > 0 ? c->ports[CAPTURE_HBONE] : 0,
                              .announced_fd = c->maps[KERNEL_ANNOUNCED],
                              .counts_fd = c->maps[KERNEL_COUNTS]};
    return inbound_attach(&in, &p->program, why);
}

/* --- the maps ------------------------------------------------------------------------------------------------------ */

static int map_put(int fd, const void *key, const void *value, char why[CAPTURE_WHY_BYTES]) {
    if (bpf_map_update_elem(fd, key, value, BPF_ANY) == 0)
        return 0;
    if (errno == E2BIG || errno == ENOSPC) {
        why_set(why, "%d workloads are enrolled on this node, which is the bound", CAPTURE_WORKLOADS_MAX);
        return CAPTURE_FULL;
    }
    return err_origin(-errno);
}

/* What getsockname answers: the first address of each family. */
static void own_addresses(const struct capture_pod_spec *spec, struct capture_workload *w) {
    for (size_t i = 0; i < spec->n_addrs; i++) {
        struct capture_addr *to = addr_is_v4(&spec->addrs[i]) ? &w->own4 : &w->own6;
        static const struct capture_addr none;
        if (!memcmp(to, &none, sizeof(none)))
            memcpy(to->bytes, spec->addrs[i].bytes, sizeof(to->bytes));
    }
}

/* Namespace first: between the two its connects are refused, not passed. */
static int maps_put(struct capture *c, const struct capture_pod *p, const struct capture_pod_spec *spec, uint32_t flags,
                    char why[CAPTURE_WHY_BYTES]) {
    struct capture_workload w = {.netns_cookie = p->cookie, .id = p->id, .flags = flags};
    own_addresses(spec, &w);
    int r = p->cookie ? map_put(c->maps[KERNEL_NAMESPACES], &p->cookie, &p->id, why) : 0;
    if (r == 0 && p->cgroup_id)
        r = map_put(c->maps[KERNEL_WORKLOADS], &p->cgroup_id, &w, why);
    return r;
}

/* Gone already is fine for all of them. */
static void maps_remove(struct capture *c, const struct capture_pod *p) {
    if (p->cgroup_id)
        ignore_result(bpf_map_delete_elem(c->maps[KERNEL_WORKLOADS], &p->cgroup_id));
    if (p->cookie)
        ignore_result(bpf_map_delete_elem(c->maps[KERNEL_NAMESPACES], &p->cookie));
}

/* --- enrol, release ------------------------------------------------------------------------------------------------ */

static struct capture_pod *pod_free(struct capture_pod *p) {
    if (!p)
        return NULL;
    list_unlink(&p->link);
    fd_close(p->netns_fd);
    free(p);
    return NULL;
}
DEFINE_FREEP(struct capture_pod, pod_free)

static int furnish(struct capture *c, struct capture_pod *p, const struct capture_pod_spec *spec, unsigned n_workers, int *fds,
                   char why[CAPTURE_WHY_BYTES]) {
    int r = 0;
    if (p->netns_fd >= 0) {
        r = namespace_cookie(p->netns_fd, &p->cookie);
        if (r == 0)
            r = namespace_furnish(c, p, n_workers, fds, why);
        if (r == 0)
            r = namespace_attach(c, p, spec, &fds[CAPTURE_INBOUND * n_workers], n_workers, why);
    }
    return r == 0 ? maps_put(c, p, spec, CAPTURE_WL_CAPTURED, why) : r;
}

/* Notes that stand for the same workload, or for places that another one holds now. What the workload's last note had
 * closed and this try did not find stays its own. */
static bool closed_drop(struct capture *c, struct capture_pod *p) {
    bool same = false;
    list_for_each_safe (it, &c->closed) {
        struct capture_pod *o = list_entry(it, struct capture_pod, link);
        if (o->id != p->id && (!o->cgroup_id || o->cgroup_id != p->cgroup_id) && (!o->netns_ino || o->netns_ino != p->netns_ino))
            continue;
        if (o->id == p->id && !p->cgroup_id)
            p->cgroup_id = o->cgroup_id;
        if (o->id == p->id && !p->netns_ino) {
            p->netns_ino = o->netns_ino;
            p->cookie = o->cookie;
        }
        same = same || (o->id == p->id && o->cgroup_id == p->cgroup_id && o->netns_ino == p->netns_ino && o->cookie == p->cookie);
        pod_free(o);
    }
    return same;
}

/* As much of it as can be done: each part refuses for itself. Its `why` is lost to that of the failure before. */
static void close_workload(struct capture *c, struct capture_pod *p, const struct capture_pod_spec *spec) {
    char why[CAPTURE_WHY_BYTES];
    if (!closed_drop(c, p)) { /* else a retry found what the last one left */
        if (p->netns_fd >= 0)
            ignore_result(namespace_attach(c, p, spec, NULL, 0, why));
        ignore_result(maps_put(c, p, spec, 0, why));
    }
    p->netns_fd = fd_close(p->netns_fd); /* a note must not keep a namespace alive */
    list_push_back(&c->closed, &p->link);
}

/* Both places, whatever the first gives: one that is found alone is closed. The verdict is the first one's. */
static int places_resolve(struct capture *c, const struct capture_pod_spec *spec, struct capture_pod *p,
                          char why[CAPTURE_WHY_BYTES]) {
    char other[CAPTURE_WHY_BYTES];
    int r = spec->netns_path ? netns_resolve(c, spec->netns_path, &p->netns_fd, &p->netns_ino, why) : 0;
    int r_cgroup = spec->cgroup_path ? cgroup_resolve(c, spec->cgroup_path, &p->cgroup_id, r == 0 ? why : other) : 0;
    if (r_cgroup != 0)
        p->cgroup_id = 0; /* it may be one that is there, but not ours to close */
    if (r == 0)
        r = r_cgroup;
    return r == 0 ? taken(c, p, why) : r;
}

/* A workload that the world wants here, of which one place stands and the other does not (yet): what stands is refused
 * until both do, else it would speak plaintext meanwhile (DESIGN rule 1). */
static bool half_found(struct capture *c, struct capture_pod *p, int verdict) {
    char why[CAPTURE_WHY_BYTES];
    if (verdict == CAPTURE_NO_NETNS)
        return p->cgroup_id != 0 && taken(c, p, why) == 0;
    return verdict == CAPTURE_NO_CGROUP && p->netns_fd >= 0 && taken(c, p, why) == 0 &&
           namespace_cookie(p->netns_fd, &p->cookie) == 0;
}

int capture_enrol(struct capture *c, const struct capture_pod_spec *spec, unsigned n_workers, struct capture_pod **ret,
                  int *ret_fds, char why[CAPTURE_WHY_BYTES]) {
    why[0] = '\0';
    size_t n_fds = (size_t)_CAPTURE_LISTENER_MAX * n_workers;
    if (n_workers == 0 || n_workers > CAPTURE_LISTENERS_MAX || spec->id == 0 || (!spec->netns_path && !spec->cgroup_path)) {
        why_set(why, "a workload needs a number, a network namespace or a cgroup, and 1 to %d workers", CAPTURE_LISTENERS_MAX);
        return err_origin(-EINVAL);
    }
    cleanup(pod_freep) struct capture_pod *p = calloc(1, sizeof(*p));
    if (!p)
        return err_origin(-ENOMEM);
    *p = (struct capture_pod){.id = spec->id, .netns_fd = -1};
    int r = places_resolve(c, spec, p, why);
    if (r != 0) {
        if (half_found(c, p, r))
            close_workload(c, take_ptr(p), spec);
        return r;
    }

    for (size_t i = 0; i < n_fds; i++)
        ret_fds[i] = -1;
    r = furnish(c, p, spec, n_workers, ret_fds, why);
    if (r != 0) {
        for (size_t i = 0; i < n_fds; i++)
            ret_fds[i] = fd_close(ret_fds[i]);
        if (r < 0 && !why[0])
            why_set(why, "cannot enrol: %s", strerror(-r));
        close_workload(c, take_ptr(p), spec);
        return r;
    }
    closed_drop(c, p);
    list_push_back(&c->pods, &p->link);
    *ret = take_ptr(p);
    return 0;
}

struct capture_pod *capture_release(struct capture *c, struct capture_pod *p, bool keep_closed) {
    if (!p)
        return NULL;
    if (!keep_closed) {
        maps_remove(c, p);
        if (p->netns_fd >= 0) {
            inbound_detach(c->pods_dir, p->netns_ino);
            namespace_strip(p->netns_fd);
        }
    }
    return pod_free(p);
}

void capture_forget(struct capture *c, uint32_t id, bool keep_closed) {
    list_for_each_safe (it, &c->closed) {
        struct capture_pod *p = list_entry(it, struct capture_pod, link);
        if (p->id != id)
            continue;
        if (!keep_closed) {
            maps_remove(c, p);
            if (p->netns_ino)
                namespace_leave(c, p->netns_ino);
        }
        pod_free(p);
    }
}

void enrol_drop_closed(struct capture *c) {
    for (struct list *it; (it = list_first(&c->closed));)
        pod_free(list_entry(it, struct capture_pod, link));
}

/* --- what an earlier life left -------------------------------------------------------------------------------------- */

typedef bool known_by(const struct capture_pod *p, uint64_t place, uint32_t id);

static bool by_cgroup(const struct capture_pod *p, uint64_t place, uint32_t id) { return p->cgroup_id == place && p->id == id; }
static bool by_cookie(const struct capture_pod *p, uint64_t place, uint32_t id) { return p->cookie == place && p->id == id; }
static bool by_netns(const struct capture_pod *p, uint64_t place, uint32_t id unused_arg) { return p->netns_ino == place; }

static bool known(struct capture *c, known_by *f, uint64_t place, uint32_t id) {
    struct list *const lists[] = {&c->pods, &c->closed};
    for (size_t i = 0; i < array_size(lists); i++)
        list_for_each (it, lists[i])
            if (f(list_entry(it, struct capture_pod, link), place, id))
                return true;
    return false;
}

static bool workload_stale(const void *key, const void *value, void *context) {
    const struct capture_workload *w = value;
    uint64_t cgroup_id;
    memcpy(&cgroup_id, key, sizeof(cgroup_id));
    return !known(context, by_cgroup, cgroup_id, w->id);
}

static bool namespace_stale(const void *key, const void *value, void *context) {
    uint64_t cookie;
    uint32_t id;
    memcpy(&cookie, key, sizeof(cookie));
    memcpy(&id, value, sizeof(id));
    return !known(context, by_cookie, cookie, id);
}

static int pod_pin_sweep(const char *dir unused_arg, const char *name, void *context) {
    uint64_t ino;
    if (str_u64(str_of(name), UINT64_MAX, &ino) && !known(context, by_netns, ino, 0))
        namespace_leave(context, ino);
    return 0;
}

int capture_sweep(struct capture *c) {
    int r = kernel_clear(c->maps[KERNEL_WORKLOADS], workload_stale, c);
    if (r == 0)
        r = kernel_clear(c->maps[KERNEL_NAMESPACES], namespace_stale, c);
    if (r == 0)
        r = pin_each(c->pods_dir, pod_pin_sweep, c);
    return err_trace(r);
}

static bool leads_elsewhere(const char *path, uint64_t ino) {
    struct stat st;
    return path && ino && stat(path, &st) == 0 && st.st_ino != ino;
}

bool capture_pod_moved(const struct capture_pod *p, const char *netns_path, const char *cgroup_path) {
    return leads_elsewhere(netns_path, p->netns_ino) || leads_elsewhere(cgroup_path, p->cgroup_id);
}

uint64_t capture_pod_cookie(const struct capture_pod *p) { return p->cookie; }
int capture_pod_netns(const struct capture_pod *p) { return p->netns_fd; }
