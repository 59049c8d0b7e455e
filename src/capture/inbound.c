/* SPDX-License-Identifier: GPL-3.0-or-later
 * inbound.c - a pod's own instance of the sk_lookup program, its link pinned by the inode of the namespace
 *
 * On adoption the old instance serves (it drops: its listeners are gone) until one update puts the new one in its place.
 * A namespace's inode number is used again after it died; the link then says so by an inode of zero. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "inbound.skel.h"
#include "private.h"

static void skeleton_destroy_p(struct inbound_bpf **s) { inbound_bpf__destroy(*s); }

static int configure(struct inbound_bpf *s, const struct inbound_spec *spec) {
    _Static_assert(sizeof(s->rodata->own[0]) == sizeof(spec->addrs[0].bytes), "an address is four words");
    size_t n = 0;
    for (size_t i = 0; i < spec->n_addrs && n < CAPTURE_OWN_MAX; i++)
        memcpy(s->rodata->own[n++], spec->addrs[i].bytes, sizeof(spec->addrs[i].bytes));
    s->rodata->n_listeners = spec->n_listeners;
    s->rodata->port_hbone = spec->port_hbone;
    int r = bpf_map__set_max_entries(s->maps.listeners, max_of(spec->n_listeners, 1U));
    if (r == 0)
        r = bpf_map__reuse_fd(s->maps.announced, spec->announced_fd);
    if (r == 0)
        r = bpf_map__reuse_fd(s->maps.counts, spec->counts_fd);
    return r;
}

static int give_listeners(const struct inbound_bpf *s, const struct inbound_spec *spec) {
    for (uint32_t i = 0; i < spec->n_listeners; i++) {
        uint64_t fd = (uint64_t)spec->listeners[i];
        if (bpf_map_update_elem(bpf_map__fd(s->maps.listeners), &i, &fd, BPF_ANY) < 0)
            return -errno;
    }
    return 0;
}

static bool link_lives(int fd, uint64_t netns_ino) {
    struct bpf_link_info i = {0};
    uint32_t n = sizeof(i);
    return bpf_obj_get_info_by_fd(fd, &i, &n) == 0 && i.type == BPF_LINK_TYPE_NETNS && i.netns.netns_ino == netns_ino;
}

static int attach(const char *path, int program_fd, const struct inbound_spec *spec) {
    cleanup_fd int old = bpf_obj_get(path);
    if (old >= 0 && link_lives(old, spec->netns_ino))
        return bpf_link_update(old, program_fd, NULL) < 0 ? -errno : 0;
    if (old >= 0 && unlink(path) < 0)
        return -errno;
    cleanup_fd int fd = bpf_link_create(program_fd, spec->netns_fd, BPF_SK_LOOKUP, NULL);
    if (fd < 0 || bpf_obj_pin(fd, path) < 0)
        return -errno;
    return 0;
}

int inbound_attach(const struct inbound_spec *spec, uint32_t *ret_program, char why[CAPTURE_WHY_BYTES]) {
    check(spec->n_listeners <= CAPTURE_LISTENERS_MAX);
    char path[CAPTURE_PATH_BYTES];
    int r = pin_path(path, "%s/%llu", spec->dir, (unsigned long long)spec->netns_ino);
    if (r < 0)
        return err_trace(r);
    kernel_listen();
    cleanup(skeleton_destroy_p) struct inbound_bpf *s = inbound_bpf__open();
    r = s ? configure(s, spec) : -errno;
    if (r == 0)
        r = inbound_bpf__load(s);
    if (r == 0)
        r = give_listeners(s, spec);
    if (r == 0)
        r = attach(path, bpf_program__fd(s->progs.capture_inbound), spec);
    if (r == 0)
        r = kernel_program_id(bpf_program__fd(s->progs.capture_inbound), ret_program);
    if (r < 0)
        why_set(why, "cannot attach the sk_lookup program to the workload's network namespace: %s%s%s", strerror(-r),
                kernel_said()[0] ? ": " : "", kernel_said());
    return err_origin(r);
}

bool inbound_stands(int netns_fd, uint32_t program) { return kernel_is_attached(netns_fd, BPF_SK_LOOKUP, program); }

void inbound_detach(const char *pods_dir, uint64_t netns_ino) {
    char path[CAPTURE_PATH_BYTES];
    if (pin_path(path, "%s/%llu", pods_dir, (unsigned long long)netns_ino) == 0)
        ignore_result(kernel_detach_link(path)); /* what stays pinned drops, and the next enrolment or sweep replaces it */
}
