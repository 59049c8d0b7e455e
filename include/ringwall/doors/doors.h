/* SPDX-License-Identifier: GPL-3.0-or-later
 * doors/doors.h - the thread that gives local programs their own credentials: Envoy's SDS and the SPIFFE Workload API, on
 * Unix sockets; and the TCP door for callers from outside
 *
 * Who calls is found out in the kernel: the peer's process, its cgroup and its network namespace name an enrolled workload
 * (capture_caller), anew for each call; what the caller says of itself counts for nothing. Without capture nobody can be
 * told, so every call is refused. The sockets are open to everyone (0666): attestation is the access control.
 *
 * The doors keep what the identity thread sends: the credentials of this node's identities, and the trust bundles. News of
 * trust is confirmed once every SDS stream that has roots has acknowledged them, or after a bounded wait. JWTs are
 * signed by the CA. Private keys leave in answers to their own workload only, and are wiped behind. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/base/str.h>
#include <ringwall/capture/capture.h>
#include <ringwall/mail/doors_stats.h>

struct doors;
/* Who is at the other end; as capture_caller. */
typedef int (*doors_caller_fn)(void *context, const struct capture_peer *p, uint32_t *ret_id, char why[CAPTURE_WHY_BYTES]);

enum {
    DOORS_CONNECTIONS_MAX = 4096,
    DOORS_CONNECTIONS_OF_WORKLOAD_MAX = 32,
    DOORS_STREAMS_OF_CONNECTION_MAX = 32,
    DOORS_MESSAGE_MAX = 64 * 1024, /* a request */
    DOORS_MAILBOX_MAX = 65536,
};

struct doors_options {
    /* Its own, made by app because others must know it first (DOORS_MAILBOX_MAX): mail_credential and mail_trust from
     * identity; mail_pod (without descriptors) and mail_pod_gone from main; mail_bytes from the CA. */
    struct mailbox *mailbox;
    struct mailbox *ca;       /* takes mail_bytes */
    struct mailbox *identity; /* takes mail_credential_want */
    const struct publish_slot *world;
    struct capture *capture; /* NULL: none, every local call is refused with that reason */
    doors_caller_fn caller;  /* NULL: capture's answer counts */
    void *caller_context;
    const char *node;
    struct str trust_domain;
    const char *sds_path, *workload_api_path; /* empty or NULL: that door is off; the same path: both on one socket */
    const char *outside_host;                 /* ca.listen, CreateCertificate on TCP: *, localhost or an IP address */
    uint16_t outside_port;                    /* 0: off */
    struct doors_stats *stats;                /* the caller's, zeroed */
};
/* Returns once the sockets are open: 0; 1: refused, `why` says what and how to mend it; negative errno. */
int doors_start(const struct doors_options *o, struct doors **ret, char why[256]) must_check;
/* Streams end with UNAVAILABLE, the sockets' files are removed, the thread is joined; the mailbox is closed. */
struct doors *doors_stop(struct doors *d);
