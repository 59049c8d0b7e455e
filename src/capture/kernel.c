/* SPDX-License-Identifier: GPL-3.0-or-later
 * kernel.c - the node-wide maps and programs: adopt what is pinned, make what is not
 *
 * Order is what keeps it closed. Maps first; our own cgroup into the exempt map before any program can judge us; then
 * the links, those that refuse (connect4, connect6) last, so that a redirected connect always finds the others. An
 * adopted link gets the new program by one atomic update: no connect goes unjudged. After a failure the links that this
 * call made are taken away again; adopted ones stay. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "capture.skel.h"
#include "private.h"

enum {
    SAID_BYTES = 256,
    KEY_BYTES_MAX = 64,
    VALUE_BYTES_MAX = 64,
    ATTACHED_MAX = 64, /* the kernel's own bound of programs at one hook */
};

static _Thread_local char said[SAID_BYTES];

static int say(enum libbpf_print_level level, const char *fmt, va_list ap) {
    if (level != LIBBPF_WARN || said[0])
        return 0;
    vsnprintf(said, sizeof(said), fmt, ap);
    said[strcspn(said, "\n")] = '\0';
    return 0;
}

void kernel_listen(void) {
    said[0] = '\0';
    libbpf_set_print(say);
}

const char *kernel_said(void) { return said; }

static void skeleton_destroy_p(struct capture_bpf **s) { capture_bpf__destroy(*s); }

/* --- maps -------------------------------------------------------------------------------------------------------- */

static const char *const map_names[_KERNEL_MAP_MAX] = {
    [KERNEL_STATE] = "state",     [KERNEL_WORKLOADS] = "workloads", [KERNEL_NAMESPACES] = "namespaces", [KERNEL_EXEMPT] = "exempt",
    [KERNEL_ORIGDST] = "origdst", [KERNEL_SOCKETS] = "sockets",     [KERNEL_ANNOUNCED] = "announced",   [KERNEL_COUNTS] = "counts",
};

static struct bpf_map *map_of(struct capture_bpf *s, enum kernel_map m) {
    struct bpf_map *map = bpf_object__find_map_by_name(s->obj, map_names[m]);
    check(map != NULL);
    return map;
}

static int layout_foreign(const char *dir unused_arg, const char *name, void *context) {
    static const char prefix[] = "layout-";
    return strncmp(name, prefix, sizeof(prefix) - 1) == 0 && strcmp(name, context) != 0;
}

#define DETACH_FIRST \
    "run `ringwallctl capture detach` (traffic of the workloads passes until ringwall is started again), then start ringwall"

static int layout_check(const char *dir, char why[CAPTURE_WHY_BYTES]) {
    char ours[32], path[CAPTURE_PATH_BYTES];
    snprintf(ours, sizeof(ours), "layout-%d", CAPTURE_LAYOUT);
    int r = pin_each(dir, layout_foreign, ours);
    if (r > 0) {
        why_set(why, "%s was pinned by another version of ringwall with another layout: " DETACH_FIRST, dir);
        return err_origin(-EEXIST);
    }
    if (r == 0)
        r = pin_path(path, "%s/%s", dir, ours);
    if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
        r = -errno;
    if (r < 0)
        why_set(why, "cannot mark the layout in %s: %s", dir, strerror(-r));
    return err_trace(r);
}

/* 0 adopted, 1 nothing pinned. */
static int map_adopt(const char *path, struct bpf_map *map, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = bpf_obj_get(path);
    if (fd < 0 && errno == ENOENT)
        return 1;
    struct bpf_map_info i = {0};
    uint32_t n = sizeof(i);
    if (fd < 0 || bpf_obj_get_info_by_fd(fd, &i, &n) < 0) {
        int r = -errno;
        why_set(why, "cannot open the pinned map %s: %s", path, strerror(-r));
        return err_origin(r);
    }
    if (i.type != bpf_map__type(map) || i.key_size != bpf_map__key_size(map) || i.value_size != bpf_map__value_size(map) ||
        i.max_entries != bpf_map__max_entries(map) || i.map_flags != bpf_map__map_flags(map)) {
        why_set(why, "the pinned map %s has another layout than this ringwall's: " DETACH_FIRST, path);
        return err_origin(-EEXIST);
    }
    int r = bpf_map__reuse_fd(map, fd);
    if (r < 0)
        why_set(why, "cannot adopt the pinned map %s: %s", path, strerror(-r));
    return err_origin(r);
}

static int maps_open(const char *dir, struct capture_bpf *s, bool fresh[_KERNEL_MAP_MAX], char why[CAPTURE_WHY_BYTES]) {
    for (enum kernel_map m = 0; m < _KERNEL_MAP_MAX; m++) {
        char path[CAPTURE_PATH_BYTES];
        int r = pin_path(path, "%s/maps/%s", dir, map_names[m]);
        if (r == 0)
            r = map_adopt(path, map_of(s, m), why);
        if (r < 0)
            return err_trace(r);
        fresh[m] = r == 1;
    }
    return 0;
}

static int maps_pin(const char *dir, struct capture_bpf *s, const bool fresh[_KERNEL_MAP_MAX], char why[CAPTURE_WHY_BYTES]) {
    for (enum kernel_map m = 0; m < _KERNEL_MAP_MAX; m++) {
        char path[CAPTURE_PATH_BYTES];
        int r = fresh[m] ? pin_path(path, "%s/maps/%s", dir, map_names[m]) : 0;
        if (r == 0 && fresh[m] && bpf_obj_pin(bpf_map__fd(map_of(s, m)), path) < 0)
            r = -errno;
        if (r < 0) {
            why_set(why, "cannot pin map %s below %s: %s", map_names[m], dir, strerror(-r));
            return err_origin(r);
        }
    }
    return 0;
}

int kernel_clear(int map_fd, bool (*stale)(const void *key, const void *value, void *context), void *context) {
    _Alignas(8) char key[KEY_BYTES_MAX], next[KEY_BYTES_MAX], value[VALUE_BYTES_MAX];
    struct bpf_map_info i = {0};
    uint32_t n = sizeof(i);
    if (bpf_obj_get_info_by_fd(map_fd, &i, &n) < 0)
        return err_origin(-errno);
    check(i.key_size <= sizeof(key) && i.value_size <= sizeof(value));
    bool more = bpf_map_get_next_key(map_fd, NULL, next) == 0;
    while (more) {
        memcpy(key, next, i.key_size);
        more = bpf_map_get_next_key(map_fd, key, next) == 0; /* before the key is gone: else the walk begins anew */
        if (bpf_map_lookup_elem(map_fd, key, value) < 0 || !stale(key, value, context))
            continue;
        if (bpf_map_delete_elem(map_fd, key) < 0 && errno != ENOENT)
            return err_origin(-errno);
    }
    return 0;
}

static bool exempt_stale(const void *key, const void *value unused_arg, void *context) {
    return memcmp(key, context, sizeof(uint64_t)) != 0;
}

/* Ours in, those of earlier daemons out. */
static int exempt_write(int fd, const struct kernel_attach *a, char why[CAPTURE_WHY_BYTES]) {
    uint64_t self = a->self_id;
    int r = 0;
    if (self && bpf_map_update_elem(fd, &self, &a->self_how, BPF_ANY) < 0)
        r = err_origin(-errno);
    if (r == 0)
        r = kernel_clear(fd, exempt_stale, &self);
    if (r < 0)
        why_set(why, "cannot write our own cgroup to the exempt map: %s", strerror(-r));
    return err_trace(r);
}

/* --- links ------------------------------------------------------------------------------------------------------- */

struct attachment {
    const char *program;
    enum bpf_attach_type type;
    bool probe; /* to the probe's cgroup */
};
static const struct attachment attachments[] = {
    {"capture_sockops", BPF_CGROUP_SOCK_OPS, false},
    {"capture_getpeername4", BPF_CGROUP_INET4_GETPEERNAME, false},
    {"capture_getpeername6", BPF_CGROUP_INET6_GETPEERNAME, false},
    {"capture_getsockname4", BPF_CGROUP_INET4_GETSOCKNAME, false},
    {"capture_getsockname6", BPF_CGROUP_INET6_GETSOCKNAME, false},
    {"capture_connect4", BPF_CGROUP_INET4_CONNECT, false},
    {"capture_connect6", BPF_CGROUP_INET6_CONNECT, false},
    {"capture_announce", BPF_CGROUP_SOCK_OPS, true},
};

_Static_assert(array_size(attachments) == KERNEL_PROGRAMS, "one id for each");

int kernel_program_id(int program_fd, uint32_t *ret) {
    struct bpf_prog_info i = {0};
    uint32_t n = sizeof(i);
    if (bpf_obj_get_info_by_fd(program_fd, &i, &n) < 0)
        return err_origin(-errno);
    *ret = i.id;
    return 0;
}

bool kernel_is_attached(int target_fd, unsigned type, uint32_t program) {
    uint32_t ids[ATTACHED_MAX], n = ATTACHED_MAX;
    if (bpf_prog_query(target_fd, type, 0, NULL, ids, &n) < 0)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] == program)
            return true;
    return false;
}

const char *kernel_missing(int cgroup_fd, const uint32_t programs[KERNEL_PROGRAMS]) {
    for (size_t i = 0; i < array_size(attachments); i++)
        if (!attachments[i].probe && !kernel_is_attached(cgroup_fd, attachments[i].type, programs[i]))
            return attachments[i].program;
    return NULL;
}

static int link_cgroup(int fd, uint64_t *ret) {
    struct bpf_link_info i = {0};
    uint32_t n = sizeof(i);
    if (bpf_obj_get_info_by_fd(fd, &i, &n) < 0)
        return err_origin(-errno);
    if (i.type != BPF_LINK_TYPE_CGROUP)
        return err_origin(-EEXIST);
    *ret = i.cgroup.cgroup_id; /* 0: that cgroup was removed, the link is dead */
    return 0;
}

int kernel_detach_link(const char *path) {
    cleanup_fd int fd = bpf_obj_get(path);
    /* By force and not only by closing: a daemon that still runs holds it too. ENOLINK, EOPNOTSUPP: dead already. */
    if (fd >= 0)
        ignore_result(bpf_link_detach(fd)); /* the pin goes in any case, and with it the last reference */
    return unlink(path) < 0 && errno != ENOENT ? err_origin(-errno) : 0;
}

static int link_create(const char *path, int program_fd, int cgroup_fd, enum bpf_attach_type type) {
    cleanup_fd int fd = bpf_link_create(program_fd, cgroup_fd, type, NULL);
    if (fd < 0 || bpf_obj_pin(fd, path) < 0)
        return err_origin(-errno);
    return 0;
}

/* 0 adopted, 1 made. */
static int link_open(const char *path, const struct attachment *t, int program_fd, const struct kernel_attach *a,
                     char why[CAPTURE_WHY_BYTES]) {
    uint64_t wanted = t->probe ? a->probe_id : a->cgroup_id, have = 0;
    cleanup_fd int fd = bpf_obj_get(path);
    int r = fd >= 0 ? link_cgroup(fd, &have) : 0;
    if (r == 0 && fd >= 0 && have == wanted) {
        r = bpf_link_update(fd, program_fd, NULL) < 0 ? -errno : 0;
        if (r < 0)
            why_set(why, "cannot replace the program of the pinned link %s: %s; " DETACH_FIRST, path, strerror(-r));
        return err_origin(r);
    }
    if (r < 0 || (have && !t->probe)) {
        why_set(why, "the pinned link %s belongs to another cgroup than capture.cgroup names: " DETACH_FIRST, path);
        return err_origin(-EEXIST);
    }
    if (fd >= 0)
        r = kernel_detach_link(path);
    if (r == 0)
        r = link_create(path, program_fd, t->probe ? a->probe_fd : a->cgroup_fd, t->type);
    if (r < 0) {
        why_set(why,
                "cannot attach %s to the cgroup: %s; CAP_BPF and CAP_NET_ADMIN are needed, and no other program there that forbids "
                "more",
                t->program, strerror(-r));
        return err_trace(r);
    }
    return 1;
}

static int links_open(const char *dir, struct capture_bpf *s, const struct kernel_attach *a, uint32_t ret_programs[KERNEL_PROGRAMS],
                      char why[CAPTURE_WHY_BYTES]) {
    bool fresh[array_size(attachments)] = {false};
    char path[CAPTURE_PATH_BYTES];
    int r = 0;
    for (size_t i = 0; r >= 0 && i < array_size(attachments); i++) {
        const struct attachment *t = &attachments[i];
        const struct bpf_program *p = bpf_object__find_program_by_name(s->obj, t->program);
        check(p != NULL);
        r = pin_path(path, "%s/links/%s", dir, t->program);
        if (r == 0 && t->probe && a->probe_fd < 0)
            r = kernel_detach_link(path); /* asked for no more */
        else if (r == 0)
            r = link_open(path, t, bpf_program__fd(p), a, why);
        fresh[i] = r == 1;
        if (r >= 0)
            r = kernel_program_id(bpf_program__fd(p), &ret_programs[i]);
    }
    for (size_t i = 0; r < 0 && i < array_size(attachments); i++)
        if (fresh[i] && pin_path(path, "%s/links/%s", dir, attachments[i].program) == 0)
            ignore_result(kernel_detach_link(path)); /* the first failure is what is reported */
    return r < 0 ? err_trace(r) : 0;
}

static int maps_take(struct capture_bpf *s, int ret_maps[_KERNEL_MAP_MAX]) {
    for (enum kernel_map m = 0; m < _KERNEL_MAP_MAX; m++) {
        ret_maps[m] = fcntl(bpf_map__fd(map_of(s, m)), F_DUPFD_CLOEXEC, 0);
        if (ret_maps[m] >= 0)
            continue;
        int r = -errno;
        while (m-- > 0)
            ret_maps[m] = fd_close(ret_maps[m]);
        return err_origin(r);
    }
    return 0;
}

int kernel_open(const char *dir, const struct kernel_attach *a, struct kernel_open *ret, char why[CAPTURE_WHY_BYTES]) {
    kernel_listen();
    cleanup(skeleton_destroy_p) struct capture_bpf *s = capture_bpf__open();
    if (!s)
        return err_origin(-errno);
    bool fresh[_KERNEL_MAP_MAX];
    int r = layout_check(dir, why);
    if (r == 0)
        r = maps_open(dir, s, fresh, why);
    if (r < 0)
        return err_trace(r);
    r = capture_bpf__load(s);
    if (r < 0) {
        why_set(why, "the kernel refused the eBPF programs: %s (%s); Linux 5.17 or newer, CAP_BPF and CAP_NET_ADMIN are needed",
                strerror(-r), kernel_said());
        return err_origin(r);
    }
    r = maps_pin(dir, s, fresh, why);
    if (r == 0)
        r = exempt_write(bpf_map__fd(map_of(s, KERNEL_EXEMPT)), a, why);
    if (r == 0)
        r = links_open(dir, s, a, ret->programs, why);
    if (r == 0)
        r = maps_take(s, ret->maps);
    return err_trace(r);
}
