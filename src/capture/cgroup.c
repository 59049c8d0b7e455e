/* SPDX-License-Identifier: GPL-3.0-or-later
 * cgroup.c - cgroup v2 directories: which one is ours, which are to be captured, what lies below what
 *
 * A cgroup's id is the inode of its directory, on every 64-bit kernel. Paths of /proc/self/cgroup are relative to our
 * cgroup namespace: they count only below the mount that shows this namespace's root, and the answer is verified by
 * finding ourselves in cgroup.procs. */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <ringwall/abi/capture.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>

#include "private.h"

enum { CGROUP_DEPTH_MAX = 256, PROC_FILE_BYTES = 4 << 20 };

static void file_close_p(FILE **f) {
    if (*f)
        fclose(*f);
}

static bool is_cgroup2(int fd) {
    struct statfs s;
    return fstatfs(fd, &s) == 0 && s.f_type == CGROUP2_SUPER_MAGIC;
}

int cgroup_open(const char *path, int *ret_fd, uint64_t *ret_id) {
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP || errno == ENAMETOOLONG
                   ? 1
                   : err_origin(-errno);
    struct stat st;
    if (!is_cgroup2(fd) || fstat(fd, &st) < 0)
        return 1;
    *ret_id = st.st_ino;
    *ret_fd = take_fd(fd);
    return 0;
}

/* mountinfo escapes blanks and backslashes as \ooo. */
static void unescape(char *s) {
    char *to = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

int cgroup_mount(char ret[CAPTURE_PATH_BYTES]) {
    cleanup(file_close_p) FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return err_origin(-errno);
    cleanup_free char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, f) > 0) {
        /* id parent major:minor root point options ... - type source options */
        char *type = strstr(line, " - cgroup2 ");
        if (!type)
            continue;
        char *save = NULL, *field[5] = {0};
        for (unsigned i = 0; i < array_size(field); i++)
            field[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        if (!field[4] || strcmp(field[3], "/") != 0)
            continue;
        unescape(field[4]);
        return pin_path(ret, "%s", field[4]);
    }
    return 1;
}

/* Are we in this cgroup, by its own account? A threaded one does not list processes: then there is nothing to verify. */
static bool holds_us(const char *dir) {
    char path[CAPTURE_PATH_BYTES];
    if (pin_path(path, "%s/cgroup.procs", dir) < 0)
        return false;
    cleanup(file_close_p) FILE *f = fopen(path, "re");
    cleanup_free char *line = NULL;
    size_t cap = 0;
    errno = 0;
    while (f && getline(&line, &cap, f) > 0)
        if (strtol(line, NULL, 10) == getpid())
            return true;
    return errno == EOPNOTSUPP;
}

int cgroup_self(int *ret_fd, uint64_t *ret_id, char why[CAPTURE_WHY_BYTES]) {
    char mount[CAPTURE_PATH_BYTES], path[CAPTURE_PATH_BYTES];
    int r = cgroup_mount(mount);
    if (r != 0) {
        why_set(why, "no cgroup v2 is mounted that shows our own cgroup: boot with systemd.unified_cgroup_hierarchy=1, or "
                     "`mount -t cgroup2 none DIR`");
        return r < 0 ? err_trace(r) : err_origin(-ENOENT);
    }
    cleanup(file_close_p) FILE *f = fopen("/proc/self/cgroup", "re");
    cleanup_free char *line = NULL;
    size_t cap = 0;
    while (f && getline(&line, &cap, f) > 0) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        r = pin_path(path, "%s%s", mount, line + 3);
        if (r < 0)
            return err_trace(r);
        if (holds_us(path) && cgroup_open(path, ret_fd, ret_id) == 0)
            return 0;
    }
    why_set(why,
            "cannot find our own cgroup below %s: it could not be exempt from capture. In a container mount the host's cgroup "
            "tree and run with the host's cgroup namespace, or keep the container's own mount of /sys/fs/cgroup",
            mount);
    return err_origin(-ENOENT);
}

/* Calls f with the id of each directory from fd's own to the mounted root; stops when it says so. */
static int climb(int fd, bool (*f)(uint64_t id, void *context), void *context) {
    cleanup_fd int at = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    struct stat st, up;
    if (at < 0 || fstat(at, &st) < 0)
        return err_origin(-errno);
    for (unsigned i = 0; i < CGROUP_DEPTH_MAX; i++) {
        if (f(st.st_ino, context))
            return 0;
        int next = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (next < 0)
            return err_origin(-errno);
        fd_close(at);
        at = next;
        if (fstat(at, &up) < 0)
            return err_origin(-errno);
        if (up.st_dev != st.st_dev || up.st_ino == st.st_ino)
            return 0;
        st = up;
    }
    return err_origin(-ELOOP);
}

struct below {
    uint64_t wanted;
    bool found;
};
static bool is_wanted(uint64_t id, void *context) {
    struct below *b = context;
    b->found = b->found || id == b->wanted;
    return b->found;
}

int cgroup_is_below(int fd, uint64_t ancestor_id, bool *ret) {
    struct below b = {.wanted = ancestor_id};
    int r = climb(fd, is_wanted, &b);
    if (r < 0)
        return err_trace(r);
    *ret = b.found;
    return 0;
}

static bool count_up(uint64_t id unused_arg, void *context) {
    ++*(unsigned *)context;
    return false;
}

unsigned cgroup_depth(int fd) {
    unsigned n = 0;
    if (climb(fd, count_up, &n) < 0)
        return CGROUP_DEPTH_MAX;
    return n > 0 ? n - 1 : 0;
}

static int first_of(const char *const *names, size_t n, char ret[CAPTURE_PATH_BYTES]) {
    char mount[CAPTURE_PATH_BYTES];
    int r = cgroup_mount(mount);
    if (r != 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        cleanup_fd int fd = -1;
        uint64_t id;
        r = pin_path(ret, "%s/%s", mount, names[i]);
        if (r == 0)
            r = cgroup_open(ret, &fd, &id);
        if (r <= 0)
            return r;
    }
    return 1;
}

int cgroup_find_workloads(const char *asked, char ret[CAPTURE_PATH_BYTES]) {
    /* systemd driver, cgroupfs driver, kind */
    static const char *const names[] = {"kubepods.slice", "kubepods", "kubelet.slice/kubelet-kubepods.slice", "kubelet/kubepods"};
    if (asked && strcmp(asked, "auto") != 0)
        return asked[0] ? pin_path(ret, "%s", asked) : 1;
    return first_of(names, array_size(names), ret);
}

int cgroup_find_probe(const char *asked, char ret[CAPTURE_PATH_BYTES]) {
    static const char *const names[] = {"system.slice/kubelet.service",
                                        "runtime.slice/kubelet.service",
                                        "kubelet.slice/kubelet.service",
                                        "podruntime.slice/kubelet.service",
                                        "podruntime/kubelet",
                                        "system.slice/k3s.service",
                                        "system.slice/k3s-agent.service",
                                        "system.slice/rke2-agent.service",
                                        "system.slice/rke2-server.service"};
    if (asked && strcmp(asked, "auto") != 0)
        return asked[0] ? pin_path(ret, "%s", asked) : 1;
    return first_of(names, array_size(names), ret);
}
