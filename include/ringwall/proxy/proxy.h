/* SPDX-License-Identifier: GPL-3.0-or-later
 * proxy/proxy.h - the workers: carry bytes from one leg to the other, or say why not
 *
 * One thread and one ring a worker, nothing shared between them but the published world, the capture look-ups and
 * credentials. Everything else comes by mail: pods, credentials, drain, questions. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/capture/capture.h>
#include <ringwall/mail/stats.h>

struct proxy;
/* 0, or 1: not known (capture/capture.h, capture_origdst) */
typedef int (*proxy_origdst_fn)(void *context, uint64_t netns_cookie, const struct endpoint *client, struct capture_origin *ret);
struct proxy_options {
    unsigned n_workers;
    const struct publish_slot *world;
    struct capture *capture;  /* for capture_origdst; NULL: no capture */
    proxy_origdst_fn origdst; /* instead of capture's look-up, for tests and benches; NULL: capture's */
    void *origdst_context;
    struct mailbox *identity;       /* gets mail_credential_want */
    struct worker_stats *stats;     /* one a worker */
    uint16_t ports[3];              /* outbound, inbound, hbone */
    uint32_t connections_max;       /* flows a worker; 0: by memory */
    size_t memory_bytes;            /* of all workers, for the automatic limits; 0: the machine's */
    uint32_t handshakes_per_s;      /* per source address */
    const char *cpu_latency_device; /* to ask while messages come often (base/cpu_latency.h); borrowed; NULL: never asks. Who cannot
                                     * open it does without */
    int32_t cpu_latency_us;
    struct str trust_domain, cluster, network;
};
int proxy_start(const struct proxy_options *o, struct proxy **ret, char why[256]) must_check;
struct mailbox *proxy_mailbox(struct proxy *p,
                              unsigned worker); /* mail_pod, mail_pod_gone, mail_credential, mail_drain, mail_ask; borrowed */
struct proxy *proxy_stop(struct proxy *p);      /* after a drain: joins the threads */
