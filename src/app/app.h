/* SPDX-License-Identifier: GPL-3.0-or-later
 * app.h - the daemon's private words: what main.c, run.c, node.c and enrol.c share
 *
 * Everything here belongs to the main thread, except struct ready, which the admin thread reads. */
#pragma once

#include <pthread.h>

#include <ringwall/base/list.h>
#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/capture/capture.h>
#include <ringwall/config/node_config.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>
#include <ringwall/mail/stats.h>
#include <ringwall/model/world.h>

enum {
    APP_WORKERS_MAX = 64,
    APP_MAILBOX_MAX = 65536,
    ENROL_RETRY_MS = 500, /* a pod whose netns or cgroup is not there yet is tried again */
    ENROL_LOOK_MS = 1000, /* is every pod still where its paths lead? */
    SETTLE_MS = 1500,     /* after READY: what only starting needed is given back */
    ENROL_PODS_MAX = 8192,
};

/* Is the daemon able to serve? Written by main, read by admin. */
struct ready {
    pthread_mutex_t lock;
    bool world, draining;
    size_t n_wanted, n_enrolled, n_identities, n_credentials;
};
void ready_init(struct ready *r);
bool ready_ask(void *context, char why[128]); /* any thread */

/* One local, enrolled workload as main knows it. */
struct pod {
    struct list link;
    uint32_t id;
    char uid[POD_UID_MAX];
    char ns[64], name[256]; /* for people */
    struct identity identity;
    struct addr addrs[POD_ADDRS_MAX];
    size_t n_addrs;
    char *netns_path, *cgroup_path; /* owned; NULL: none */
    struct capture_pod *capture;    /* NULL: not enrolled yet, why says why not */
    char why[CAPTURE_WHY_BYTES];
    bool wanted;        /* by the newest world */
    bool moved;         /* its place is another now: a new pod of the same uid follows it */
    bool lost;          /* enrolled once, and taken out of the kernel by somebody else since; why says it */
    unsigned n_leaving; /* workers that have not let go of it yet; 0: none asked */
};
/* Without netns and cgroup it cannot be captured: it is kept to be told of. */
static inline bool pod_is_captured(const struct pod *p) { return p->capture && !p->lost; }
static inline bool pod_has_place(const struct pod *p) { return p->netns_path || p->cgroup_path; }

/* The main thread's view of its node. */
struct node {
    struct node_config *config;
    struct publish_slot world; /* config publishes here */
    struct mailbox *mailbox;   /* main's own */
    struct mailbox *identity;
    struct mailbox **workers;
    unsigned n_workers;
    struct mailbox *doors;   /* NULL: no door for local programs is open */
    struct capture *capture; /* NULL: capture.mode none */
    bool detached;           /* and taken out of the kernel by somebody else since */
    struct ready ready;
    struct list pods; /* of struct pod */
    uint32_t next_id;
    bool swept;                  /* leftovers of an earlier life are gone */
    bool sweep_due;              /* places were left closed for a successor */
    struct identity *identities; /* of the pods; sorted, each once */
    bool *has_credential;        /* same index */
    size_t n_identities;
};

/* node.c: reacts to mail; enrol.c: the world's wishes against the kernel */
void node_init(struct node *n, struct node_config *config);
void node_deinit(struct node *n);                                 /* capture entries stay closed */
void node_handle(struct node *n, struct mail *m, bool *ret_quit); /* frees m */
void node_world_changed(struct node *n);
bool node_retry(struct node *n);       /* tries pods again that could not be enrolled; true: some still wait */
void node_look(struct node *n);        /* pods whose netns or cgroup was made anew come anew */
void node_look_kernel(struct node *n); /* is what was captured still so? */
void node_pod_gone(struct node *n, uint32_t id);
void node_announce_identities(struct node *n);
void node_credential(struct node *n, const struct mail_credential *m);

/* limits.c */
int limits_raise(char why[256]) must_check; /* descriptors, locked memory, no core file */
const char *limits_cpu_latency(int32_t us); /* the device to ask for it (base/cpu_latency.h); NULL: off, or the log says why not */
unsigned limits_workers(unsigned asked);    /* 0: one per CPU this process may use */
size_t limits_memory(void);                 /* bytes that this process may use: the machine's, or what its cgroups leave of it */

/* notify.c: sd_notify's protocol; silent without NOTIFY_SOCKET */
void notify_send(const char *state);

int run_command(const char *config_path) must_check; /* exit code */
int check_command(const char *config_path) must_check;
int version_command(void) must_check;
char *config_json(const struct node_config *c); /* heap; NULL: no memory */
