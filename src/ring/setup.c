/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/setup.c - makes a ring with the newest set of features that this kernel has, or explains what forbids it */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "private.h"

/* Completions of multishots come without a submission of their own: room for a burst of every buffer and every entry. */
static unsigned completion_entries(const struct ring_options *o) {
    unsigned n = 4 * o->n_entries;
    while (n < 2 * o->n_entries + 2 * o->n_recv_buffers)
        n *= 2;
    return n;
}

static int queue_init(struct ring *r, const struct ring_options *o, enum ring_flavour newest) {
    static const unsigned flags[_RING_FLAVOUR_MAX] = {
        /* Linux 6.1: task work runs only when we ask for it, so completions come in batches and nothing interrupts a callback. */
        [RING_FLAVOUR_DEFER] = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        /* Linux 5.19: at least no interrupts to run task work. */
        [RING_FLAVOUR_COOP] = IORING_SETUP_COOP_TASKRUN,
    };
    int k = -EINVAL;
    for (enum ring_flavour f = newest; f < _RING_FLAVOUR_MAX && k == -EINVAL; f++) {
        struct io_uring_params p = {.flags = flags[f] | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                    .cq_entries = completion_entries(o)};
        k = io_uring_queue_init_params(o->n_entries, &r->uring, &p);
    }
    if (k < 0)
        return err_origin(k);
    r->uring_made = true;
    r->wait.can_moderate = o->moderate && r->uring.features & IORING_FEAT_MIN_TIMEOUT;
    if (!(r->uring.features & IORING_FEAT_EXT_ARG) || !(r->uring.features & IORING_FEAT_CQE_SKIP))
        return err_origin(-EINVAL);
    ignore_result(io_uring_register_ring_fd(&r->uring)); /* saves a look-up an enter; the plain descriptor works as well */
    return 0;
}

static int read_number(const char *path, const char *key, int otherwise) {
    char text[4096];
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return otherwise;
    text[n] = 0;
    const char *at = key ? strstr(text, key) : text;
    int value;
    return at && sscanf(at + (key ? strlen(key) : 0), "%d", &value) == 1 ? value : otherwise;
}

void ring_explain(const char *step, int r, const struct ring_obstacles *o, char why[256]) {
    const char *text;
    switch (r) {
    case -EPERM:
    case -EACCES:
        if (o->disabled == 2)
            text = "kernel.io_uring_disabled is 2; run `sysctl -w kernel.io_uring_disabled=0`";
        else if (o->disabled == 1)
            text = "kernel.io_uring_disabled is 1; give CAP_SYS_ADMIN, or run `sysctl -w kernel.io_uring_disabled=0`";
        else if (o->seccomp > 0)
            text = "a seccomp filter forbids io_uring_*; use the seccomp profile from deploy/, or Unconfined";
        else
            text = "a security module forbids io_uring; allow it for this process";
        break;
    case -ENOSYS:
        text = o->seccomp > 0 ? "a seccomp filter hides io_uring_*; use the seccomp profile from deploy/, or Unconfined"
                              : "this kernel was built without io_uring; use one with CONFIG_IO_URING=y";
        break;
    case -ENOMEM:
        text = "no memory; raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=infinity) or the memory limit of the cgroup";
        break;
    case -EMFILE:
    case -ENFILE:
        text = "no descriptor left; raise RLIMIT_NOFILE (systemd: LimitNOFILE=) or fs.file-max";
        break;
    case -EINVAL:
        text = "this kernel's io_uring is too old; use Linux 5.19 or newer (6.1 or newer is faster)";
        break;
    default:
        text = "see the error";
        break;
    }
    snprintf(why, 256, "io_uring: %s: %s: %s", step, strerror(-r), text);
    if (r == -ENOMEM && o->memlock_bytes != RLIM_INFINITY) {
        size_t n = strlen(why);
        snprintf(why + n, 256 - n, " (RLIMIT_MEMLOCK is %llu KiB)", (unsigned long long)(o->memlock_bytes / 1024));
    }
}

static int refuse(const char *step, int r, char why[256]) {
    struct rlimit memlock = {.rlim_cur = RLIM_INFINITY};
    ignore_result(getrlimit(RLIMIT_MEMLOCK, &memlock)); /* not known: not told */
    struct ring_obstacles o = {
        .disabled = read_number("/proc/sys/kernel/io_uring_disabled", NULL, -1),
        .seccomp = read_number("/proc/thread-self/status", "\nSeccomp:", -1),
        .memlock_bytes = memlock.rlim_cur,
    };
    ring_explain(step, r, &o, why);
    return err_trace(r);
}

static bool power_of_two(unsigned n) { return n && !(n & (n - 1)); }

int ring_new_from(const struct ring_options *o, enum ring_flavour newest, enum recv_mode best, struct ring **ret, char why[256]) {
    check(power_of_two(o->n_entries) && o->n_entries <= RING_ENTRIES_MAX);
    check(power_of_two(o->n_recv_buffers) && o->n_recv_buffers <= RING_BUFFERS_MAX && o->recv_buffer_bytes);
    check(!o->pool || o->recv_buffer_bytes <= BUF_CHUNK_BYTES);
    cleanup(ring_freep) struct ring *r = calloc(1, sizeof(*r));
    if (!r)
        return refuse("set-up", err_origin(-ENOMEM), why);
    r->own_netns_fd = -1;
    r->received_id = -1;
    list_init(&r->ready);
    list_init(&r->starved);
    list_init(&r->starved_again);
    list_init(&r->backlog);
    list_init(&r->cancels);

    r->own_netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (r->own_netns_fd < 0)
        return refuse("open /proc/thread-self/ns/net", err_origin(-errno), why);
    int k = timer_heap_init(&r->timers);
    if (k < 0)
        return refuse("timers", err_trace(k), why);
    k = queue_init(r, o, newest);
    if (k < 0)
        return refuse("io_uring_setup", err_trace(k), why);
    r->memory = calloc(r->uring.sq.ring_entries, sizeof(*r->memory));
    if (!r->memory)
        return refuse("set-up", err_origin(-ENOMEM), why);
    k = recv_buffers_init(r, o);
    if (k < 0)
        return refuse("buffer ring", err_trace(k), why);
    k = recv_mode_probe(r, best);
    if (k < 0)
        return refuse("test of receive", err_trace(k), why);
    r->now_ns = clock_mono_ns();
    *ret = take_ptr(r);
    return 0;
}

int ring_new(const struct ring_options *o, struct ring **ret, char why[256]) {
    return err_trace(ring_new_from(o, RING_FLAVOUR_DEFER, RECV_BUNDLE, ret, why));
}

struct ring *ring_free(struct ring *r) {
    if (!r)
        return NULL;
    check(r->n_busy == 0);
    recv_buffers_deinit(r);
    if (r->uring_made)
        io_uring_queue_exit(&r->uring);
    free(r->memory);
    timer_heap_deinit(&r->timers);
    fd_close(r->own_netns_fd);
    free(r);
    return NULL;
}

/* Looked up, not asked for: to ask would load the module. Nothing uses it: records go from our cipher to the socket without a copy
 * of their own, and no kernel with it was at hand to show that it does better. */
static bool kernel_has_tls(void) {
    char names[256] = "";
    cleanup_fd int fd = open("/proc/sys/net/ipv4/tcp_available_ulp", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, names, sizeof(names) - 1);
    names[max_of(n, (ssize_t)0)] = 0;
    return strstr(names, "tls") != NULL;
}

const char *ring_library_text(char *to, size_t n) {
    snprintf(to, n, "liburing %d.%d; kernel TLS %s", IO_URING_VERSION_MAJOR, IO_URING_VERSION_MINOR,
             kernel_has_tls() ? "is there, not used" : "is not there");
    return to;
}
