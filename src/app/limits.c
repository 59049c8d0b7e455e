/* SPDX-License-Identifier: GPL-3.0-or-later
 * limits.c - what the process asks of the kernel for itself: descriptors, locked memory, no core file with keys in it; and what
 * it may use: CPUs, memory */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ringwall/base/cpu_latency.h>

#include "app.h"

/* Should somebody make us dumpable again: a core file holds no page of ours but code. Best effort, for it is the second lock. */
static void forbid_cores(void) {
    FILE *f = fopen("/proc/self/coredump_filter", "we");
    if (f) {
        fputs("0\n", f);
        fclose(f);
    }
}

int limits_raise(char why[256]) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return -errno;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) {
        snprintf(why, 256, "cannot raise the limit on open files to %llu: %s", (unsigned long long)files.rlim_max, strerror(errno));
        return -errno;
    }
    struct rlimit locked = {RLIM_INFINITY, RLIM_INFINITY};
    ignore_result(setrlimit(RLIMIT_MEMLOCK, &locked)); /* best effort: only old kernels count ring memory against it */
    forbid_cores();
    if (prctl(PR_SET_DUMPABLE, 0) < 0) {
        snprintf(why, 256, "cannot forbid core dumps: %s", strerror(errno));
        return -errno;
    }
    return 0;
}

/* A number in a file; SIZE_MAX: none ("max"), or no such file. */
static size_t read_limit(const char *path) {
    unsigned long long limit = 0;
    FILE *f = fopen(path, "re");
    bool read = f && fscanf(f, "%llu", &limit) == 1;
    if (f)
        fclose(f);
    return read ? (size_t)limit : SIZE_MAX;
}

/* The least limit of a cgroup and of those above it, as far as they can be seen from here. */
static size_t cgroup_limit(const char *mount, const char *cgroup, const char *name) {
    char path[PATH_MAX];
    size_t n_mount = strlen(mount), least = SIZE_MAX;
    if (n_mount + strlen(cgroup) + strlen(name) + 2 > sizeof(path))
        return least;
    snprintf(path, sizeof(path), "%s%s", mount, cgroup);
    for (size_t n = strlen(path);; n--) {
        while (n > n_mount && path[n - 1] == '/')
            n--;
        snprintf(path + n, sizeof(path) - n, "/%s", name);
        least = min_of(least, read_limit(path));
        for (; n > n_mount && path[n - 1] != '/'; n--)
            ;
        if (n <= n_mount)
            return least;
    }
}

size_t limits_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t least = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];
    while (f && fgets(line, sizeof(line), f)) { /* "0::/path", or of version 1 "7:memory:/path" */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *cgroup = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!cgroup)
            continue;
        *cgroup++ = '\0';
        if (strcmp(controllers, ":memory") == 0)
            least = min_of(least, cgroup_limit("/sys/fs/cgroup/memory", cgroup, "memory.limit_in_bytes"));
        else if (strcmp(controllers, ":") == 0)
            least = min_of(least, cgroup_limit("/sys/fs/cgroup", cgroup, "memory.max"));
    }
    if (f)
        fclose(f);
    return least;
}

const char *limits_cpu_latency(int32_t us) {
    if (us < 0)
        return NULL;
    cleanup_fd int fd = cpu_latency_open(CPU_LATENCY_DEVICE);
    if (fd >= 0)
        return CPU_LATENCY_DEVICE;
    log_warn("start", "cpuLatency has no effect, as %s cannot be opened: %s", CPU_LATENCY_DEVICE, strerror(-fd));
    return NULL;
}

unsigned limits_workers(unsigned asked) {
    if (asked > 0)
        return min_of(asked, (unsigned)APP_WORKERS_MAX);
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        return 1;
    unsigned n = (unsigned)CPU_COUNT(&cpus);
    /* A cgroup's quota counts too: more workers than CPU time only wait for each other. */
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f) {
        unsigned long long quota, period;
        if (fscanf(f, "%llu %llu", &quota, &period) == 2 && period > 0)
            n = min_of(n, (unsigned)max_of(1ULL, (quota + period - 1) / period));
        fclose(f);
    }
    return min_of(max_of(n, 1U), (unsigned)APP_WORKERS_MAX);
}
