/* SPDX-License-Identifier: GPL-3.0-or-later
 * probe.c - is this host able to capture? Looks and asks the kernel, changes nothing */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/io.h>

#include "private.h"

struct answers {
    struct capture_probe_line *lines;
    size_t n, n_max;
};

static void answer(struct answers *a, const char *what, bool ok, const char *fix, ...) printf_like(4, 5);
static void answer(struct answers *a, const char *what, bool ok, const char *fix, ...) {
    if (a->n == a->n_max)
        return;
    struct capture_probe_line *l = &a->lines[a->n++];
    *l = (struct capture_probe_line){.what = what, .ok = ok};
    va_list ap;
    va_start(ap, fix);
    if (!ok)
        vsnprintf(l->fix, sizeof(l->fix), fix, ap);
    va_end(ap);
}

static uint64_t effective_capabilities(void) {
    cleanup_free char *status = NULL;
    size_t n;
    if (io_read_file("/proc/self/status", 65536, &status, &n) < 0)
        return 0;
    const char *at = strstr(status, "\nCapEff:");
    return at ? strtoull(at + strlen("\nCapEff:"), NULL, 16) : 0;
}

static void probe_capabilities(struct answers *a) {
    uint64_t have = effective_capabilities();
    bool admin = have >> CAP_SYS_ADMIN & 1, bpf = admin || (have >> CAP_BPF & 1);
    answer(a, "capability to load eBPF programs", bpf, "run as root or grant CAP_BPF (and CAP_PERFMON)");
    answer(a, "capability to attach to cgroups and networks", have >> CAP_NET_ADMIN & 1, "run as root or grant CAP_NET_ADMIN");
    answer(a, "capability to enter network namespaces", admin, "run as root or grant CAP_SYS_ADMIN");
}

static void probe_cgroups(struct answers *a, const struct capture_options *o) {
    char path[CAPTURE_PATH_BYTES], why[CAPTURE_WHY_BYTES] = "";
    int r = cgroup_mount(path);
    answer(a, "cgroup v2", r == 0, "boot with systemd.unified_cgroup_hierarchy=1, or `mount -t cgroup2 none DIR`");
    cleanup_fd int self = -1, fd = -1;
    uint64_t id;
    if (r == 0)
        answer(a, "own cgroup, to be exempt", cgroup_self(&self, &id, why) == 0, "%.250s", why);
    r = cgroup_find_workloads(o->cgroup, path);
    if (r == 0)
        r = cgroup_open(path, &fd, &id);
    else
        path[0] = '\0';
    answer(a, "cgroup to capture", r == 0,
           path[0] ? "capture.cgroup: %.180s is not there, or is no cgroup v2 directory"
                   : "no kubepods cgroup%s: outside Kubernetes name the cgroup above the workloads in capture.cgroup",
           path);
}

static bool filesystem_known(void) {
    cleanup_free char *list = NULL;
    size_t n;
    return io_read_file("/proc/filesystems", 65536, &list, &n) == 0 && strstr(list, "\tbpf\n");
}

static void probe_bpffs(struct answers *a, const struct capture_options *o) {
    const char *at = o->bpffs && o->bpffs[0] ? o->bpffs : "/sys/fs/bpf/ringwall";
    answer(a, "bpffs", pin_is_bpffs(at) || filesystem_known(), "this kernel has no bpffs: CONFIG_BPF_SYSCALL is needed");
}

static void probe_programs(struct answers *a) {
    static const struct {
        const char *what;
        enum bpf_prog_type program;
        enum bpf_func_id helper;
        const char *since;
    } needs[] = {
        {"eBPF: netns cookie at connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie, "5.7"},
        {"eBPF: cgroup ancestors at connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_current_ancestor_cgroup_id, "5.17"},
        {"eBPF: socket storage at connect", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_sk_storage_get, "5.8"},
        {"eBPF: netns cookie in sockops", BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie, "5.15"},
        {"eBPF: sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_FUNC_sk_assign, "5.17"},
    };
    for (size_t i = 0; i < array_size(needs); i++)
        answer(a, needs[i].what, libbpf_probe_bpf_helper(needs[i].program, needs[i].helper, NULL) == 1,
               "Linux %s or newer with CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL is needed, and the capabilities above",
               needs[i].since);
    answer(a, "eBPF: sockmap", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SOCKMAP, NULL) == 1,
           "the kernel needs CONFIG_BPF_STREAM_PARSER or CONFIG_NET_SOCK_MSG");
}

size_t capture_probe(const struct capture_options *o, struct capture_probe_line *ret, size_t n_max) {
    struct answers a = {.lines = ret, .n_max = n_max};
    kernel_listen(); /* libbpf's own words would go to stderr */
    probe_capabilities(&a);
    probe_cgroups(&a, o);
    probe_bpffs(&a, o);
    probe_programs(&a);
    answer(&a, "sysctl net.ipv4.tcp_fwmark_accept", access("/proc/sys/net/ipv4/tcp_fwmark_accept", W_OK) == 0,
           "/proc/sys must be there and writable: a privileged container, or a bind mount of the host's");
    return a.n;
}
