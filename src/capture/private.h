/* SPDX-License-Identifier: GPL-3.0-or-later
 * private.h - what the files of room capture share
 *
 * kernel.c knows libbpf for the node-wide programs, inbound.c for a pod's; pin.c knows the bpffs, cgroup.c the cgroup
 * tree, netns.c namespaces, rtnetlink.c rules and routes, listener.c sockets. capture.c and enrol.c compose them. */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <ringwall/base/defs.h>
#include <ringwall/base/list.h>
#include <ringwall/base/str.h>
#include <ringwall/capture/capture.h>

enum {
    CAPTURE_PATH_BYTES = 4096,
    CAPTURE_LAYOUT = 1, /* meaning of the pinned maps; counts up when a value of equal size changes its meaning */
    CAPTURE_BACKLOG = 4096,
    CAPTURE_NETLINK_WAIT_S = 5,    /* for the kernel's answer */
    CAPTURE_RULE_PRIORITY = 32000, /* before main (32766), after local (0) */
};

static inline void why_set(char why[CAPTURE_WHY_BYTES], const char *fmt, ...) printf_like(2, 3);
static inline void why_set(char why[CAPTURE_WHY_BYTES], const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, CAPTURE_WHY_BYTES, fmt, ap);
    va_end(ap);
}

/* --- pin.c: names below <bpffs>/<node> --------------------------------------------------------------------------- */

int pin_node_dir(const char *bpffs, const char *node, char ret[CAPTURE_PATH_BYTES],
                 char why[CAPTURE_WHY_BYTES]) must_check;                                    /* the text only */
int pin_prepare(const char *bpffs, const char *dir, char why[CAPTURE_WHY_BYTES]) must_check; /* mounts and makes the folders */
int pin_lock(const char *dir, int *ret_fd, char why[CAPTURE_WHY_BYTES]) must_check;          /* one daemon a node folder */
bool pin_is_bpffs(const char *path);
int pin_path(char to[CAPTURE_PATH_BYTES], const char *fmt, ...) printf_like(2, 3) must_check; /* -ENAMETOOLONG */
/* Calls f for each name in the directory; stops at a non-zero return. A directory that is not there is empty. */
int pin_each(const char *dir, int (*f)(const char *dir, const char *name, void *context), void *context) must_check;

/* --- cgroup.c ---------------------------------------------------------------------------------------------------- */

/* Opens a cgroup v2 directory; its id is its inode. 0, 1: it is none, or negative errno. */
int cgroup_open(const char *path, int *ret_fd, uint64_t *ret_id) must_check;
int cgroup_mount(char ret[CAPTURE_PATH_BYTES]) must_check; /* the mount that shows our own root; 1: none */
int cgroup_self(int *ret_fd, uint64_t *ret_id, char why[CAPTURE_WHY_BYTES]) must_check; /* this process's */
int cgroup_is_below(int fd, uint64_t ancestor_id, bool *ret) must_check;                /* or the same */
unsigned cgroup_depth(int fd);                                                          /* levels below the mounted root */
int cgroup_find_workloads(const char *asked, char ret[CAPTURE_PATH_BYTES]) must_check;  /* "auto" or a path; 1: not found */
int cgroup_find_probe(const char *asked, char ret[CAPTURE_PATH_BYTES]) must_check;

/* --- netns.c ----------------------------------------------------------------------------------------------------- */

struct netns_visit {
    int home; /* -1: at home */
};
#define NETNS_VISIT_NULL ((struct netns_visit){.home = -1})
int netns_open(const char *path, int *ret_fd, uint64_t *ret_ino) must_check; /* 1: not there, or no network namespace */
int netns_ino(int fd, uint64_t *ret) must_check;
int netns_enter(int fd, struct netns_visit *ret) must_check;
void netns_leave(struct netns_visit *v); /* ends the process rather than go on in the wrong namespace */
int netns_cookie(int socket_fd, uint64_t *ret) must_check;
int netns_find(uint64_t ino, int *ret_fd) must_check; /* by inode, among what can be seen; 1: not found */
#define cleanup_visit cleanup(netns_leave)

/* --- rtnetlink.c: all act in the namespace that the calling thread is in ------------------------------------------ */

int rtnetlink_prepare(char why[CAPTURE_WHY_BYTES]) must_check;          /* lo up, sysctl: before anything listens on loopback */
int rtnetlink_install(bool v6, char why[CAPTURE_WHY_BYTES]) must_check; /* rules, routes; what is there already is fine */
int rtnetlink_remove(void) must_check;                                  /* rules and routes; what is not there is fine */

/* --- listener.c: in the namespace that the calling thread is in --------------------------------------------------- */

/* 0, CAPTURE_BUSY, or negative errno. On failure no descriptor stays open. */
int listener_open_all(const uint16_t ports[_CAPTURE_LISTENER_MAX], unsigned n_workers, int *ret_fds,
                      char why[CAPTURE_WHY_BYTES]) must_check;

/* --- kernel.c: the node-wide maps and programs --------------------------------------------------------------------- */

enum kernel_map {
    KERNEL_STATE,
    KERNEL_WORKLOADS,
    KERNEL_NAMESPACES,
    KERNEL_EXEMPT,
    KERNEL_ORIGDST,
    KERNEL_SOCKETS,
    KERNEL_ANNOUNCED,
    KERNEL_COUNTS,
    _KERNEL_MAP_MAX
};
struct kernel_attach {
    int cgroup_fd;
    uint64_t cgroup_id;
    int probe_fd; /* -1: no announcing */
    uint64_t probe_id;
    uint64_t self_id; /* our own cgroup and how it is exempt; 0: it stands above what is captured, nothing to exempt */
    uint32_t self_how;
};
enum { KERNEL_PROGRAMS = 8 }; /* attached node-wide */
struct kernel_open {          /* what kernel_open gives */
    int maps[_KERNEL_MAP_MAX];
    uint32_t programs[KERNEL_PROGRAMS]; /* their ids */
};
/* Adopts or makes maps, writes the exempt entry, then adopts or makes the links. */
int kernel_open(const char *dir, const struct kernel_attach *a, struct kernel_open *ret, char why[CAPTURE_WHY_BYTES]) must_check;
/* The first program of those that judge workloads which is not attached to the cgroup (any more); NULL: all are. */
const char *kernel_missing(int cgroup_fd, const uint32_t programs[KERNEL_PROGRAMS]);
int kernel_program_id(int program_fd, uint32_t *ret) must_check;
bool kernel_is_attached(int target_fd, unsigned type /* enum bpf_attach_type */, uint32_t program);
int kernel_detach_link(const char *path) must_check; /* from whatever it is attached to, then removes the pin */
void kernel_listen(void);                            /* takes libbpf's warnings for kernel_said, from now on */
const char *kernel_said(void);                       /* this thread's first one since, or "" */
int kernel_clear(int map_fd, bool (*stale)(const void *key, const void *value, void *context), void *context) must_check;

/* --- inbound.c: a pod's sk_lookup ---------------------------------------------------------------------------------- */

struct inbound_spec {
    const char *dir; /* <bpffs>/<node>/pods */
    int netns_fd;
    uint64_t netns_ino;
    const struct addr *addrs;
    size_t n_addrs;
    const int *listeners;
    unsigned n_listeners; /* 0: everything is dropped */
    uint16_t port_hbone;
    int announced_fd, counts_fd;
};
/* Or replaces what is pinned. */
int inbound_attach(const struct inbound_spec *s, uint32_t *ret_program, char why[CAPTURE_WHY_BYTES]) must_check;
bool inbound_stands(int netns_fd, uint32_t program);
void inbound_detach(const char *pods_dir, uint64_t netns_ino);

/* --- enrol.c, capture.c --------------------------------------------------------------------------------------------- */

struct capture {
    char dir[CAPTURE_PATH_BYTES], pods_dir[CAPTURE_PATH_BYTES];
    int lock_fd;
    int maps[_KERNEL_MAP_MAX];
    uint32_t programs[KERNEL_PROGRAMS];
    uint64_t cgroup_id; /* attached to */
    char cgroup_path[CAPTURE_PATH_BYTES];
    uint16_t ports[_CAPTURE_LISTENER_MAX];
    uint64_t host_inos[2]; /* network namespaces that are never enrolled: ours and process 1's */
    uint64_t generation;
    struct list pods;   /* of struct capture_pod */
    struct list closed; /* those that could not be set up */
};
struct capture_pod {
    struct list link;
    uint32_t id;
    uint64_t cgroup_id; /* 0: none */
    int netns_fd;       /* -1: none */
    uint64_t netns_ino, cookie;
    uint32_t program; /* the namespace's sk_lookup */
};
void enrol_drop_closed(struct capture *c); /* our notes of them; in the kernel they stay closed */
