/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca/ca.h - the CA thread: takes encoded protobuf messages from its mailbox, signs, answers
 *
 * The signing key is read by this thread, lives in its memory only, and no function returns it. Nothing else is shared:
 * requests and answers are bytes. Who may have which certificate is decided here, from the world that this thread reads
 * itself (facts/identity.md 1.4, DESIGN rules 3-4): no room that asks is believed.
 *
 * Files that it reads (the CA's directory, federation bundles, the JWKS) are watched: a change is taken as a whole set,
 * verified, or refused with a line in log and audit, and then the last good set stays in force. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/ca/files.h>
#include <ringwall/mail/ca_stats.h>

struct ca;
enum ca_kind {
    CA_KIND_BUILTIN, /* self-signed root made at first start in `dir`, renewed by schedule */
    CA_KIND_FILES,   /* a directory with Istio's names */
    CA_KIND_ISTIO,   /* another CA signs, by gRPC */
};
enum { CA_TTL_MAX_S = 90 * 86400, CA_BUNDLES_MAX = 64, CA_SERVER_NAMES_MAX = 16, CA_NODE_ACCOUNTS_MAX = 16 };
struct ca_bundle_file { /* roots and CRLs of another trust domain, PEM */
    struct str trust_domain;
    const char *path;
};
struct ca_options { /* what it points at lives until ca_stop, but for dir, names and paths of the first lines, which are copied */
    enum ca_kind kind;
    const char *dir; /* BUILTIN, FILES */
    const char *trust_domain, *node;
    uint32_t ttl_default_s, ttl_max_s; /* 24 h, CA_TTL_MAX_S */
    const struct publish_slot *world;
    const char *audit_path;   /* JSON lines, hash-chained (ca/audit.h); NULL: none */
    const char *jwt_key_path; /* of JWT-SVIDs, made when absent; NULL: none are signed */
    const struct ca_bundle_file *bundles;
    size_t n_bundles;
    struct { /* proof of callers from outside; jwks NULL or empty: nobody is believed */
        const char *issuer, *audience, *jwks;
    } jwt;
    const struct str *node_accounts; /* "namespace/account": may ask for identities of the node that their pod runs on */
    size_t n_node_accounts;
    bool client_certificates;       /* a verified client certificate renews its own identity */
    const struct str *server_names; /* DNS names of the TLS server certificate for the TCP door */
    size_t n_server_names;
    struct { /* ISTIO */
        const char *address, *roots, *token, *cluster;
    } istio;
    struct ca_stats *stats; /* NULL: not counted */
};
/* Returns once the thread has loaded its key and certificates: 0; 1: refused, `why` names the file and the fix; negative errno. */
int ca_start(const struct ca_options *o, struct ca **ret, char why[512]) must_check;
/* mail_bytes in, mail_bytes to its reply; mail_ask (ASK_STATUS) too; borrowed */
struct mailbox *ca_mailbox(struct ca *c);
struct ca *ca_stop(struct ca *c);
