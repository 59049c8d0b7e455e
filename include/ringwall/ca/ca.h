/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca/ca.h - the CA thread: takes encoded protobuf messages from its mailbox, signs, answers
 *
 * The signing key is read by this thread, lives in its memory only, and no function returns it. Nothing else is shared:
 * requests and answers are bytes. The thread reads the published world for its node authorisation: a node may ask only for
 * identities of workloads that the world places on it (facts/identity.md 1.4, DESIGN rules 3-4). */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/ca/files.h>

struct ca;
struct ca_options {
    bool builtin; /* self-signed root made at first start in `dir`; else files with Istio's names in `dir` */
    const char *dir;
    const char *trust_domain, *node;
    uint32_t ttl_default_s, ttl_max_s; /* 24 h, 90 days */
    const struct publish_slot *world;
    const char *audit_path; /* JSON lines, hash-chained; NULL: none */
};
/* Returns once the thread has loaded its key and certificates: 0; 1: refused, `why` names the file and the fix; negative errno. */
int ca_start(const struct ca_options *o, struct ca **ret, char why[512]) must_check;
struct mailbox *ca_mailbox(struct ca *c); /* mail_bytes in, mail_bytes to its reply; borrowed */
struct ca *ca_stop(struct ca *c);
