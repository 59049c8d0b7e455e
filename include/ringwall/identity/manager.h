/* SPDX-License-Identifier: GPL-3.0-or-later
 * identity/manager.h - the identity thread: a valid credential for every local identity before it is missed
 *
 * A key is made fresh for each request; the CSR goes to the CA as encoded protobuf in its mailbox, at most 8 at once; the
 * answer is checked (tls_credential_new), then sent to every worker. Renewed at rotateAt of the life, less up to 0.05 of
 * jitter; back-off per identity 0.5 s doubling to 150 s, and at least every 1/20 of what remains; a valid credential
 * stays until the new one is verified; an expired one is withdrawn. Times are wall time, checked again every second, so a
 * clock jump is noticed.
 *
 * A CA never meets a herd: of many first certificates asked for within a twentieth of a life, those beyond 32 ask for a
 * shorter life (down to half), and renewals that have time wait for permits at 4 times the mean rate. Whoever has no valid
 * credential comes first, and at once when a CA that was away answers again. Certificates that pass 85, 95 and 100 % of
 * their life unrenewed are told in log, report and metrics. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/base/publish.h>
#include <ringwall/mail/credential.h>

enum { IDENTITY_IN_FLIGHT_MAX = 8, IDENTITIES_MAX = 16384 };
struct identity_manager;
struct identity_options {
    struct mailbox *
        mailbox; /* its own: mail_identities, mail_credential_want, mail_ask; made by app, because the workers must know it first */
    struct mailbox *ca;       /* takes mail_bytes */
    struct mailbox **workers; /* get mail_credential: the workers, and main */
    size_t n_workers;
    const char *node;
    uint32_t ttl_s;
    double rotate_at;
    /* Further bundles: federation and aliases (DESIGN 6 ca.bundles). Our own trust domain's roots come from the CA. */
    struct tls_bundle **bundles;
    size_t n_bundles;
    struct str trust_domain;
    const struct str *aliases; /* of our trust domain: one without a bundle above has our roots */
    size_t n_aliases;
};
int identity_start(const struct identity_options *o, struct identity_manager **ret) must_check;
/* Joins the thread; the mailbox is closed. */
struct identity_manager *identity_stop(struct identity_manager *m);
