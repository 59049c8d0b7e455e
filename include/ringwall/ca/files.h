/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca/files.h - CA directories with Istio's file names; no thread; used by the CA thread and by ringwallctl
 *
 * root-cert.pem, ca-cert.pem, ca-key.pem, cert-chain.pem, ca-crl.pem, or tls.crt, tls.key, ca.crt (facts/identity.md 1.7).
 * Written by temp file + fsync + rename; keys 0600, directories 0700. A signing certificate is replaced by way of
 * next-cert.pem and next-key.pem, so that a crash between two renames is mended by the next one who loads. */
#pragma once

#include <ringwall/tls/issue.h>

struct ca_dir {
    struct tls_key *key;      /* of the signing certificate */
    struct tls_der_list cert; /* exactly one: the signing certificate */
    struct tls_der_list
        chain; /* intermediates to send with a leaf: from the signing certificate up, without roots; empty for a root CA */
    struct tls_der_list roots;
    struct tls_der_list crls;   /* DER; empty when there is no ca-crl.pem */
    struct tls_der anchor;      /* the root that the signing certificate chains to; borrows from roots */
    char crl_gap[TLS_NAME_MAX]; /* there are CRLs, but this CA of the chain has none of its own; empty: covered */
    bool revoked;               /* a list revokes the signing certificate or one above it */
    bool unfinished;            /* a crash stopped a replacement: cert is that of next-cert.pem, ca-cert.pem is the former one */
};
#define CA_DIR_NULL ((struct ca_dir){0})
enum { CA_WHY_BYTES = 512, CA_ROOT_YEARS = 10, CA_NODE_DAYS = 90, CA_CRL_DAYS = 30 };
/* All functions: 0; 1: refused, `why` names the file and the fix; negative errno. */
int ca_dir_load(const char *dir, int64_t now_s, struct ca_dir *ret,
                char why[CA_WHY_BYTES]) must_check; /* verified by facts/identity.md 1.7 */
void ca_dir_deinit(struct ca_dir *d);
int ca_dir_init(const char *dir, struct str trust_domain, int64_t now_s,
                char why[CA_WHY_BYTES]) must_check; /* refuses to overwrite */
/* renew: out_dir has a certificate of this node already, which a new one with a new key replaces, with the roots of now. */
int ca_dir_issue_node(const char *dir, struct str node, const char *out_dir, bool renew, int64_t now_s,
                      char why[CA_WHY_BYTES]) must_check;
/* Copies roots and revocation lists of dir into a node's directory whose certificate is below one of these roots. */
int ca_dir_publish(const char *dir, const char *out_dir, int64_t now_s, char why[CA_WHY_BYTES]) must_check;

/* Root rollover (DESIGN 9, facts/identity.md 10 #1): prepare makes the next root and publishes it in root-cert.pem beside
 * the old one; activate makes it the signing one; prune takes the old one out, once no leaf below it may be valid. */
enum ca_rollover_step { CA_ROLLOVER_NONE, CA_ROLLOVER_PREPARED, CA_ROLLOVER_ACTIVATED };
struct ca_rollover {
    enum ca_rollover_step step;
    int64_t since_s;            /* of the step */
    int64_t leaves_end_s;       /* ACTIVATED: no leaf below an old root is valid after this */
    char signing[65], next[65]; /* SHA-256 of the root in force, of the prepared one (or empty), in hex */
    size_t n_old;               /* ACTIVATED: roots to be pruned */
};
int ca_rollover_status(const char *dir, int64_t now_s, struct ca_rollover *ret, char why[CA_WHY_BYTES]) must_check;
int ca_rollover_prepare(const char *dir, int64_t now_s, char why[CA_WHY_BYTES]) must_check;
/* leaf_ttl_s: the longest life of a leaf below the old root that may have been given out elsewhere (by nodes). */
int ca_rollover_activate(const char *dir, int64_t leaf_ttl_s, int64_t now_s, char why[CA_WHY_BYTES]) must_check;
int ca_rollover_prune(const char *dir, int64_t now_s, char why[CA_WHY_BYTES]) must_check;

/* Adds serials to the directory's ca-crl.pem, signed anew with the next CRL number. ret_n: how many it lists now. */
int ca_dir_revoke(const char *dir, const struct str *serials_hex, size_t n, int64_t now_s, size_t *ret_n,
                  char why[CA_WHY_BYTES]) must_check;
