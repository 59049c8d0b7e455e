/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca/files.h - CA directories with Istio's file names; no thread; used by the CA thread and by ringwallctl
 *
 * root-cert.pem, ca-cert.pem, ca-key.pem, cert-chain.pem, ca-crl.pem, or tls.crt, tls.key, ca.crt (facts/identity.md 1.7).
 * Written by temp file + fsync + rename; keys 0600, directories 0700. */
#pragma once

#include <ringwall/tls/issue.h>

struct ca_dir {
    struct tls_key *key;      /* of the signing certificate */
    struct tls_der_list cert; /* exactly one: the signing certificate */
    struct tls_der_list
        chain; /* intermediates to send with a leaf: from the signing certificate up, without roots; empty for a root CA */
    struct tls_der_list roots;
};
#define CA_DIR_NULL ((struct ca_dir){0})
enum { CA_WHY_BYTES = 512, CA_ROOT_YEARS = 10, CA_NODE_DAYS = 90 };
/* All functions: 0; 1: refused, `why` names the file and the fix; negative errno. */
int ca_dir_load(const char *dir, int64_t now_s, struct ca_dir *ret,
                char why[CA_WHY_BYTES]) must_check; /* verified by facts/identity.md 1.7 */
void ca_dir_deinit(struct ca_dir *d);
int ca_dir_init(const char *dir, struct str trust_domain, int64_t now_s,
                char why[CA_WHY_BYTES]) must_check; /* refuses to overwrite */
int ca_dir_issue_node(const char *dir, struct str node, const char *out_dir, int64_t now_s, char why[CA_WHY_BYTES]) must_check;
