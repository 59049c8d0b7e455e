/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/pod.h - main hands enrolled workloads to the workers, and takes them back */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/capture/capture.h>
#include <ringwall/model/identity.h>

enum { POD_UID_MAX = 128, POD_ADDRS_MAX = 16 };
/* main -> each worker. A pod with an id that the worker has is an update (identity, uid): listeners are then -1. */
struct mail_pod {
    struct mail mail;
    uint32_t id; /* as in capture_pod_spec */
    char uid[POD_UID_MAX];
    struct identity identity;
    struct addr addrs[POD_ADDRS_MAX];
    size_t n_addrs;
    uint64_t netns_cookie;
    int netns_fd;                         /* a duplicate, owned */
    int listeners[_CAPTURE_LISTENER_MAX]; /* this worker's, owned; -1: none */
};
/* main -> each worker: the workload left. Its flows end (WORKLOAD_GONE), its listeners close. */
struct mail_pod_gone {
    struct mail mail;
    uint32_t id;
    struct mailbox *reply; /* a reference, owned: gets the same mail back (reply NULL) once nothing of the pod is left */
};
/* main -> each worker: stop accepting, GOAWAY, let flows end until the deadline, then cut. Answered by the same mail. */
struct mail_drain {
    struct mail mail;
    uint64_t deadline_ns; /* monotonic */
    unsigned worker;      /* set in the answer */
    struct mailbox *reply;
};
extern const struct mail_type mail_pod_type, mail_pod_gone_type, mail_drain_type;
struct mail_pod *mail_pod_new(void); /* descriptors -1; NULL: no memory */
struct mail_pod_gone *mail_pod_gone_new(uint32_t id, struct mailbox *reply);
struct mail_drain *mail_drain_new(uint64_t deadline_ns, struct mailbox *reply);
