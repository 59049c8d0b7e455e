/* SPDX-License-Identifier: GPL-3.0-or-later
 * lab.h - a small real world for the capture tests: a node, pods, cgroups, and programs placed in them
 *
 * Everything hangs on this process: a mount namespace (so the bpffs goes with it), a network namespace that plays the
 * node, one holder process a pod. Only the cgroups have to be removed by hand.
 *
 * A pod P (1, 2, 3) has 10.77.P.2 and fd77:P::2 on eth0; the node is its router with .1 and ::1. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <ringwall/capture/capture.h>

enum { LAB_PODS = 3, LAB_WAIT_MS = 5000 };

struct lab {
    char root[256]; /* cgroup that is captured; below it: */
    char daemon[300], kubelet[300], other[300];
    char pod[LAB_PODS + 1][300];   /* [1..] enrolled cgroups */
    char inner[LAB_PODS + 1][320]; /* two levels below: where the pod's programs run */
    pid_t holder[LAB_PODS + 1];    /* [0] unused: the node is our own namespace */
    char netns[LAB_PODS + 1][64];  /* paths; [0]: the node's */
    char home_cgroup[300];
    char bpffs[64];
};
extern struct lab lab;

int lab_open(void **state); /* cmocka group fixtures */
int lab_close(void **state);
bool lab_move(const char *cgroup); /* this process */
int lab_sh(const char *fmt, ...) printf_like(1, 2);
int lab_sh_in(int pod, const char *fmt, ...) printf_like(2, 3);

/* A program: placed in a cgroup and a pod's namespace (0: the node's), it does f, reports, waits for leave, ends. */
struct actor {
    pid_t pid;
    int rx, tx;
};
struct report {
    int error; /* errno of the act, 0: done */
    struct sockaddr_storage local, peer;
    char said[64];
};
struct act {
    int family;
    const char *address; /* text, of the family */
    uint16_t port;
    bool nonblocking, fastopen;
    int protocol;        /* 0: TCP */
    const char *device;  /* SO_BINDTODEVICE */
    const char *bind_to; /* local address before connect */
    uint16_t bind_port;
    const char *say; /* sent after the connect; then the answer is read into said */
    int again;       /* that many connects, one after another, before the one reported */
    bool listen;     /* listens, accepts one, reads, answers "app:" + what it read; reports its peer */
};
struct actor lab_start(const char *cgroup, int pod, const struct act *a);
struct report lab_wait_report(struct actor *a);
void lab_leave(struct actor *a);                                        /* tells it to close and end; waits for it */
void lab_kill_actors(void);                                             /* those that a failed test left */
struct report lab_do(const char *cgroup, int pod, const struct act *a); /* start, report, leave */

int lab_accept(int listener, struct sockaddr_storage *ret_local, struct sockaddr_storage *ret_peer); /* -1: nobody came */
bool lab_is(const struct sockaddr_storage *ss, const char *address, int port); /* port -1: any; v4-mapped is v4 */
struct endpoint lab_endpoint(const struct sockaddr_storage *ss);
