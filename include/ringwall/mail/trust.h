/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail/trust.h - the identity thread tells everybody whom to trust from now on
 *
 * One generation of bundles, roots and revocation lists of all trust domains. It comes before any credential that needs it,
 * in the same mailbox. A reader puts it in force (new handshakes use it; open ones are judged again), then says so with
 * mail_trust_adopted: the CA activates a new root only when nobody is left who does not know it. */
#pragma once

#include <ringwall/base/mailbox.h>
#include <ringwall/tls/credential.h>

struct mail_trust {
    struct mail mail;
    struct tls_trust *trust; /* a reference, owned */
    unsigned reader;         /* which of the readers this one went to; kept in the answer */
    struct mailbox *reply;   /* a reference, owned: gets the same mail back (reply NULL) once the trust is adopted */
};
extern const struct mail_type mail_trust_type;
/* Takes references of both; NULL: no memory. */
struct mail_trust *mail_trust_new(struct tls_trust *trust, unsigned reader, struct mailbox *reply);
/* Sends it back where it came from. Takes the mail, whatever happens; false: the mailbox refused (full, or closed). */
bool mail_trust_adopted(struct mail_trust *m);
