/* SPDX-License-Identifier: GPL-3.0-or-later
 * caller.c - which enrolled workload does a local process belong to?
 *
 * Everything is read through /proc/PID while a pidfd of the process is held; a number that belongs to a living process is
 * not given to another, so when the pidfd says "alive" after the last reading, all readings were of this process.
 * Works on the pinned maps only, never on the lists of the control thread, so any thread may ask. */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ringwall/base/err.h>

#include "private.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum { CALLER_LEVELS_MAX = 256 };

static void file_close_p(FILE **f) {
    if (*f)
        fclose(*f);
}

static int pidfd_by_number(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int capture_peer_open(int unix_socket, struct capture_peer *ret) {
    struct ucred cred;
    socklen_t n = sizeof(cred);
    if (getsockopt(unix_socket, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
        return err_origin(-errno);
    if (cred.pid <= 0)
        return CAPTURE_CALLER_UNSEEN;
    int fd = -1;
    n = sizeof(fd);
    if (getsockopt(unix_socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &n) < 0) {
        if (errno == ESRCH || errno == EINVAL || errno == ENODATA)
            return CAPTURE_CALLER_GONE;
        fd = errno == ENOPROTOOPT ? pidfd_by_number(cred.pid) : -1;
        if (fd < 0)
            return errno == ESRCH ? CAPTURE_CALLER_GONE : err_origin(-errno);
    }
    *ret = (struct capture_peer){.pidfd = fd, .pid = cred.pid, .uid = cred.uid};
    return CAPTURE_CALLER_KNOWN;
}

void capture_peer_close(struct capture_peer *p) { p->pidfd = fd_close(p->pidfd); }

static bool is_alive(const struct capture_peer *p) {
    struct pollfd f = {.fd = p->pidfd, .events = POLLIN};
    return poll(&f, 1, 0) == 0; /* readable once the process has ended */
}

/* The path of its cgroup v2 below our mount; 1: the process is gone; 2: not below what we see. */
static int caller_cgroup(pid_t pid, char ret[CAPTURE_PATH_BYTES]) {
    char path[64], mount[CAPTURE_PATH_BYTES];
    int r = cgroup_mount(mount);
    if (r != 0)
        return r < 0 ? err_trace(r) : 2;
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    cleanup(file_close_p) FILE *f = fopen(path, "re");
    if (!f)
        return 1;
    cleanup_free char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, f) > 0) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        /* Outside the root of our cgroup namespace, or of a directory that was removed. */
        if (strstr(line, "/..") || str_has_suffix(str_of(line), STR(" (deleted)")))
            return 2;
        r = pin_path(ret, "%s%s", mount, line + 3);
        return r < 0 ? 2 : 0;
    }
    return 2;
}

/* Walks towards the root to the nearest enrolled cgroup, as the connect programs do. 0; 1: none. */
static int nearest_enrolled(struct capture *c, const char *path, struct capture_workload *ret) {
    cleanup_fd int at = -1;
    uint64_t id, last = 0;
    int r = cgroup_open(path, &at, &id);
    for (unsigned i = 0; r == 0 && i < CALLER_LEVELS_MAX && id != last; i++) {
        if (bpf_map_lookup_elem(c->maps[KERNEL_WORKLOADS], &id, ret) == 0)
            return 0;
        if (errno != ENOENT)
            return err_origin(-errno);
        int up = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st, here;
        if (up < 0 || fstat(up, &st) < 0 || fstat(at, &here) < 0 || st.st_dev != here.st_dev) {
            fd_close(up);
            return 1;
        }
        fd_close(at);
        at = up;
        last = id;
        id = st.st_ino;
    }
    return r < 0 ? err_trace(r) : 1;
}

static int caller_netns(pid_t pid, uint64_t *ret_cookie) {
    char path[64];
    cleanup_fd int ns = -1, fd = -1;
    uint64_t ino;
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    int r = netns_open(path, &ns, &ino);
    if (r == 0)
        r = capture_netns_socket(ns, AF_INET, &fd);
    if (r == 0)
        r = netns_cookie(fd, ret_cookie);
    return r;
}

static int judge(struct capture *c, const struct capture_peer *p, uint32_t *ret_id, char why[CAPTURE_WHY_BYTES]) {
    char path[CAPTURE_PATH_BYTES];
    struct capture_workload w = {0};
    uint64_t cookie = 0;
    int r = caller_cgroup(p->pid, path);
    if (r < 0)
        return err_trace(r);
    if (r == 1)
        return CAPTURE_CALLER_GONE;
    if (r == 2) {
        why_set(why, "process %d is in no cgroup that this daemon sees: run it with the host's cgroup namespace", (int)p->pid);
        return CAPTURE_CALLER_STRANGER;
    }
    r = nearest_enrolled(c, path, &w);
    if (r < 0)
        return err_trace(r);
    if (r > 0) {
        why_set(why, "process %d is in no enrolled workload: its cgroup is %.300s", (int)p->pid, path);
        return CAPTURE_CALLER_STRANGER;
    }
    r = caller_netns(p->pid, &cookie);
    if (r < 0)
        return err_trace(r);
    if (r > 0)
        return CAPTURE_CALLER_GONE;
    if (!(w.flags & CAPTURE_WL_CAPTURED) || w.netns_cookie == 0 || w.netns_cookie != cookie) {
        why_set(why, "process %d is in the cgroup of a workload, but not in its network namespace", (int)p->pid);
        return CAPTURE_CALLER_MISMATCH;
    }
    *ret_id = w.id;
    return CAPTURE_CALLER_KNOWN;
}

int capture_caller(struct capture *c, const struct capture_peer *p, uint32_t *ret_id, char why[CAPTURE_WHY_BYTES]) {
    why[0] = '\0';
    uint32_t id = 0;
    int r = judge(c, p, &id, why);
    if (r < 0)
        return err_trace(r);
    if (r == CAPTURE_CALLER_GONE || !is_alive(p)) {
        why_set(why, "process %d has ended", (int)p->pid);
        return CAPTURE_CALLER_GONE;
    }
    if (r == CAPTURE_CALLER_KNOWN)
        *ret_id = id;
    return r;
}
