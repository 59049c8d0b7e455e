/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail.c - what other threads tell a worker */
#include <ringwall/mail/ask.h>
#include <ringwall/mail/trust.h>
#include <ringwall/mail/world.h>

#include "credentials.h"
#include "pod.h"
#include "worker.h"

static void worker_mail_one(struct worker *w, struct mail *m) {
    if (m->type == &mail_pod_type)
        pod_arrived(w, container_of(m, struct mail_pod, mail));
    else if (m->type == &mail_pod_gone_type)
        pod_left(w, container_of(m, struct mail_pod_gone, mail));
    else if (m->type == &mail_credential_type)
        credentials_arrived(w, container_of(m, struct mail_credential, mail));
    else if (m->type == &mail_trust_type) {
        struct mail_trust *trust = container_of(m, struct mail_trust, mail);
        trust_arrived(w, trust->trust);
        ignore_result(mail_trust_adopted(trust)); /* the identity thread has ended: nobody waits for the answer */
        return;
    } else if (m->type == &mail_drain_type) {
        struct mail_drain *drain = container_of(m, struct mail_drain, mail);
        drain_begin(w, drain->deadline_ns, take_ptr(drain->reply));
    } else if (m->type == &mail_ask_type)
        report_answer(w, container_of(m, struct mail_ask, mail));
    /* mail_world only wakes: worlds are read from their slot. Other types are not for workers. */
    mail_free(m);
}

void worker_mail(struct worker *w) {
    if (!w->mail_left)
        return;
    for (unsigned i = 0; i < MAIL_PER_TURN; i++) {
        struct mail *m = mailbox_take(w->options.mailbox);
        if (!m) {
            w->mail_left = false;
            return;
        }
        worker_mail_one(w, m);
    }
}
