/* SPDX-License-Identifier: GPL-3.0-or-later
 * capture/capture.h - get connections to us, tell where they were going; enrol and release workloads (DESIGN 4)
 *
 * One struct capture a daemon, owned by the control (main) thread, which alone attaches, enrols and releases.
 * capture_origdst and capture_netns_socket may be called from any worker at any time between open and free.
 * Links and maps are pinned below `bpffs`/<node>; they stay when the process ends, so that captured connects are then
 * refused (fail closed). capture_detach_all removes them. Every failure names its fix in `why`. */
#pragma once

#include <ringwall/abi/capture.h>
#include <ringwall/model/addr.h>

struct capture;
struct capture_options {
    const char *node;         /* names the pin folder: [A-Za-z0-9._-], else refused */
    const char *bpffs;        /* parent of the pin folder, e.g. /sys/fs/bpf/ringwall; mounted there when nothing is */
    const char *cgroup;       /* directory to attach to; "auto": the kubepods cgroup, refused where there is none */
    const char *probe_cgroup; /* kubelet's: its connects are announced; "auto" finds it or goes without; "" none */
    uint16_t port_outbound, port_inbound, port_hbone; /* host order; 0: the defaults of abi/capture.h */
};
enum { CAPTURE_WHY_BYTES = 512 };

/* Opens or adopts the pinned maps and links, writes our own cgroup to the exempt map, then attaches. Until
 * capture_ready the state is "not ready" on a first start; an adopted, earlier state stays in force (its listeners are
 * gone, so it refuses). Negative errno with `why` filled. */
int capture_open(const struct capture_options *o, struct capture **ret, char why[CAPTURE_WHY_BYTES]) must_check;
struct capture *capture_free(struct capture *c); /* closes descriptors; pins and links stay */
DEFINE_FREEP(struct capture, capture_free)
int capture_ready(struct capture *c) must_check; /* the workloads of a valid world are enrolled: connects may flow */
/* Removes everything, pod rules and routes too, with or without a daemon. */
enum { CAPTURE_NOTHING = 1 }; /* there is nothing of this node below bpffs; `why` has the folder that was looked for */
int capture_detach_all(const char *bpffs, const char *node, char why[CAPTURE_WHY_BYTES]) must_check;

struct capture_pod_spec {
    uint32_t id;            /* > 0, the caller's number, unique among the enrolled */
    const char *netns_path; /* e.g. /run/netns/x or /proc/PID/ns/net; NULL: cgroup only */
    const char *cgroup_path;
    const struct addr *addrs; /* the workload's own */
    size_t n_addrs;
};
/* One reuseport group of listeners per kind: index = worker. Descriptors are owned by the caller on success. */
enum capture_listener { CAPTURE_OUTBOUND4, CAPTURE_OUTBOUND6, CAPTURE_INBOUND, CAPTURE_HBONE, _CAPTURE_LISTENER_MAX };

/* A workload's place in the kernel. Readable by workers once handed to them; immutable. */
struct capture_pod;
enum capture_enrol_verdict {
    CAPTURE_ENROLLED = 0,
    CAPTURE_NO_NETNS = 1,  /* path does not open, or is no network namespace */
    CAPTURE_NO_CGROUP = 2, /* path is no cgroup v2 directory */
    CAPTURE_SHARED = 3,    /* the netns is the daemon's or the host's: outbound by cgroup refused too (DESIGN 4 "shared netns") */
    CAPTURE_BUSY = 4,      /* another workload holds this netns or cgroup, or a port is taken in the netns */
    CAPTURE_FULL = 5,      /* a map is at its bound */
};
/* Creates n_workers listeners of each kind in the pod's netns, the fwmark rule and routes, the sk_lookup program, and
 * at last the map entries. Verdicts above, with `why`; negative errno else. A workload whose netns and cgroup were found
 * and free but which could not be set up (a port is taken in its netns, a program refused) is closed, not passed: its
 * connects are refused and what comes in is dropped, until it is enrolled or forgotten. So is the one of its two places
 * that was found when the other was not (NO_NETNS, NO_CGROUP). After the other verdicts nothing was done. */
int capture_enrol(struct capture *c, const struct capture_pod_spec *spec, unsigned n_workers, struct capture_pod **ret,
                  int *ret_fds /* [_CAPTURE_LISTENER_MAX * n_workers], [kind * n_workers + worker]; -1: family not there */,
                  char why[CAPTURE_WHY_BYTES]) must_check;
/* Takes the workload out of the kernel: listeners' map entries, sk_lookup, cgroup entry. With keep_closed the entries
 * stay so that the workload's connects are refused (daemon shutting down, or a successor takes the place over: what it does
 * not overwrite goes with capture_sweep); without, the workload is left untouched. */
struct capture_pod *capture_release(struct capture *c, struct capture_pod *p, bool keep_closed);
/* A workload that is not wanted any more though it never was enrolled: opens what a failed capture_enrol closed, or with
 * keep_closed leaves it to a successor as capture_release does. */
void capture_forget(struct capture *c, uint32_t id, bool keep_closed);
/* Enrolled entries in the kernel (from an earlier life of the daemon) which this process neither enrolled nor closed: remove
 * them. Called once after the first world's workloads are enrolled. */
int capture_sweep(struct capture *c) must_check;

/* Do the paths that it was enrolled by lead elsewhere now? A restarted service gets a new cgroup, a namespace is made again
 * under its old name. A path that leads nowhere is no answer: processes may live on in the place that had it. */
bool capture_pod_moved(const struct capture_pod *p, const char *netns_path, const char *cgroup_path);

/* Is it in the kernel as this process put it there? The kernel is asked, for somebody may have taken it away since:
 * capture_detach_all does under a daemon that runs. False: what passes now passes in plaintext; `why` says what is missing. */
bool capture_stands(const struct capture *c, char why[CAPTURE_WHY_BYTES]);
bool capture_pod_stands(const struct capture_pod *p, char why[CAPTURE_WHY_BYTES]); /* the namespace's own part */

uint64_t capture_pod_cookie(const struct capture_pod *p); /* netns cookie */
int capture_pod_netns(const struct capture_pod *p);       /* descriptor, owned by the pod */

/* Any worker: where was the connection going that was accepted on a pod's outbound listener? `client` is the accepted
 * socket's peer address. 0, or 1: nothing known (map was full, entry gone): refuse. */
struct capture_origin {
    struct endpoint dst;
    uint32_t workload_id;
};
int capture_origdst(struct capture *c, uint64_t netns_cookie, const struct endpoint *client, struct capture_origin *ret) must_check;

/* Any thread: who is at the other end of a connected Unix socket. The process is the one that connected; `pidfd` is of it and
 * tells later whether it still lives. Kernels before 6.5 have no SO_PEERPIDFD: then it is opened by number, and a number that
 * was given to another process between connect and here goes unnoticed. */
struct capture_peer {
    int pidfd; /* owned; -1 in CAPTURE_PEER_NULL */
    pid_t pid; /* in our PID namespace */
    uid_t uid;
};
#define CAPTURE_PEER_NULL ((struct capture_peer){.pidfd = -1})
enum capture_caller_verdict {
    CAPTURE_CALLER_KNOWN = 0,
    CAPTURE_CALLER_UNSEEN = 1,   /* no process of our PID namespace */
    CAPTURE_CALLER_GONE = 2,     /* the process has ended */
    CAPTURE_CALLER_STRANGER = 3, /* in no enrolled cgroup */
    CAPTURE_CALLER_MISMATCH = 4, /* its cgroup and its network namespace do not name the same workload */
};
int capture_peer_open(int unix_socket, struct capture_peer *ret) must_check; /* KNOWN, UNSEEN, GONE; negative errno */
void capture_peer_close(struct capture_peer *p);
/* Which enrolled workload is the process of? Its cgroup is walked towards the root to the nearest enrolled one, whose network
 * namespace must be the process's own (DESIGN rule 2). The process is seen to live after all was read, so every answer is
 * about it. Verdicts above with `why`; negative errno. Visits the process's network namespace; the thread is back in its own
 * on return, or the process ends. */
int capture_caller(struct capture *c, const struct capture_peer *p, uint32_t *ret_id, char why[CAPTURE_WHY_BYTES]) must_check;

/* Any worker: a non-blocking TCP socket made inside the netns. The thread is back in its own netns on return, or the
 * process ends. */
int capture_netns_socket(int netns_fd, int family, int *ret_fd) must_check;

/* Sums over CPUs; index = enum capture_count. Control thread or admin. */
int capture_counts(struct capture *c, uint64_t ret[_CAPTURE_COUNT_MAX]) must_check;
size_t capture_origdst_used(struct capture *c); /* entries in the original-destination map (walks it) */

/* Name and version of the library behind this room, for `ringwall version`. Returns `to`. */
const char *capture_library_text(char *to, size_t n);
/* Is this host able? Each line: what, ok, and the fix when not (for `ringwallctl check` and start-up errors). */
struct capture_probe_line {
    const char *what;
    bool ok;
    char fix[256];
};
size_t capture_probe(const struct capture_options *o, struct capture_probe_line *ret, size_t n_max);
