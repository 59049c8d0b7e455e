/* SPDX-License-Identifier: GPL-3.0-or-later
 * credentials.h - the credential of each local identity as this worker knows it, its TLS contexts, and who waits for it
 *
 * A worker never waits for a key: a flow or an inbound tunnel is parked here, the identity thread is asked by mail. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/map.h>
#include <ringwall/mail/credential.h>
#include <ringwall/tls/session.h>

struct worker;
struct credential_slot {
    struct map_node node; /* by the identity's text */
    struct worker *worker;
    struct identity identity;
    struct tls_credential *credential; /* NULL: none yet */
    struct tls_context *contexts[2];   /* enum tls_role; made when first needed */
    struct list flows, tunnels;        /* parked */
    unsigned n_pods;
    uint64_t asked_ns;
    char why[128]; /* of the last failure */
};

struct credential_slot *credentials_join(struct worker *w, const struct identity *i); /* for a pod; NULL: no memory */
void credentials_leave(struct credential_slot *s);
void credentials_arrived(struct worker *w, struct mail_credential *m);
/* After new bundles: a credential that they do not trust any more is dropped, and another asked for. */
void credentials_recheck(struct worker *w);
void credentials_ask(struct credential_slot *s);
bool credentials_valid(const struct credential_slot *s); /* there is one, and it has not expired */
/* A context to start a session with (borrowed); NULL: none or expired, or no memory. */
struct tls_context *credentials_context(struct credential_slot *s, enum tls_role role);
void credentials_forget(struct worker *w); /* at the end of the worker */
