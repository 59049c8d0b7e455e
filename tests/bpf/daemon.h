/* SPDX-License-Identifier: GPL-3.0-or-later
 * daemon.h - the test process as the daemon: its capture, its listeners, and what is expected of them */
#pragma once

#include "lab.h"

enum { WORKERS = 2, LISTENERS = _CAPTURE_LISTENER_MAX * WORKERS };

struct daemon {
    struct capture *c;
    struct capture_pod *pod[LAB_PODS + 1];
    int fds[LAB_PODS + 1][LISTENERS];
    char why[CAPTURE_WHY_BYTES];
};
extern struct daemon d;
extern const struct act to_node, to_pod4, to_pod6; /* 10.77.1.1:7777; port 80 of pod 1 */

int setup_bare(void **state); /* opened, nothing enrolled, not ready */
int setup(void **state);      /* pods 1 and 2 enrolled, ready */
int teardown(void **state);   /* detached */

struct capture_options options(void);
void open_it(void);
void close_all(void); /* as a daemon that ends: what is pinned stays */
int enrol_id(int pod, uint32_t id, const char *netns, const char *cgroup);
void enrol(int pod);
int listener(int pod, enum capture_listener kind, int worker);
void close_listeners(int pod);
int accept_any(int pod, enum capture_listener kind, struct sockaddr_storage *ret_local, struct sockaddr_storage *ret_peer);
uint64_t count_of(enum capture_count what);
struct addr addr_of(const char *text);

/* From pod 1: arrives with the right origin, sees what it would see without us, leaves nothing. */
void expect_redirected(const struct act *a, enum capture_listener kind, const char *own);
void expect_untouched(const char *cgroup, int pod);
/* At pod 1's listener, with the port asked for and the client's own address. */
void expect_inbound(const char *cgroup, const struct act *a, enum capture_listener kind, const char *from);
