/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/credential.h - how workers and the identity thread meet */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/tls/credential.h>

/* main -> identity: the identities that local, enrolled workloads have now (the whole set). They are prefetched; others
 * are forgotten. */
struct mail_identities {
    struct mail mail;
    size_t n;
    struct identity items[];
};
/* worker -> identity: a flow waits for this one (raises its priority, may cut a back-off) */
struct mail_credential_want {
    struct mail mail;
    struct identity identity;
};
/* identity -> every worker: a new credential, also at rotation (generation grows); or that getting one failed just now */
struct mail_credential {
    struct mail mail;
    struct identity identity;
    struct tls_credential *credential; /* a reference, owned; NULL: failed or forgotten */
    char why[128];                     /* then why */
};
extern const struct mail_type mail_identities_type, mail_credential_want_type, mail_credential_type;
struct mail_identities *mail_identities_new(size_t n); /* items zeroed; NULL: no memory */
struct mail_credential_want *mail_credential_want_new(const struct identity *i);
struct mail_credential *mail_credential_new(const struct identity *i, struct tls_credential *c,
                                            const char *why); /* takes a reference of c */
