/* SPDX-License-Identifier: GPL-3.0-or-later
 * limits.c - what the process asks of the kernel for itself: descriptors, locked memory, no core file with keys in it */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

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
