/* SPDX-License-Identifier: GPL-3.0-or-later
 * manager.c - the thread around the machine: waits for mail, takes the time, turns the machine */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/thread.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/trust.h>

#include "machine.h"

struct identity_manager {
    struct machine machine;
    pthread_t thread;
};

static struct moment moment_now(void) { return (struct moment){.mono_ns = clock_mono_ns(), .wall_s = clock_wall_s()}; }

static void answer(const struct machine *m, const struct mail_ask *ask) {
    struct mail_answer *a = mail_answer_new(ask->id);
    if (!a)
        return;
    if (ask->what == ASK_CERTS)
        report_certs(m, &a->json);
    else
        report_status(m, &a->json);
    if (mailbox_post(ask->reply, &a->mail) != 0)
        mail_free(&a->mail);
}

static void handle(struct machine *m, struct mail *mail) {
    struct moment now = moment_now();
    if (mail->type == &mail_identities_type) {
        struct mail_identities *set = container_of(mail, struct mail_identities, mail);
        machine_set(m, set->items, set->n, &now);
    } else if (mail->type == &mail_credential_want_type)
        machine_want(m, &container_of(mail, struct mail_credential_want, mail)->identity, &now);
    else if (mail->type == &mail_bytes_type) {
        struct mail_bytes *bytes = container_of(mail, struct mail_bytes, mail);
        machine_answer(m, bytes->bytes, bytes->n, &now);
    } else if (mail->type == &mail_trust_type)
        trust_adopted(m, container_of(mail, struct mail_trust, mail));
    else if (mail->type == &mail_ask_type)
        answer(m, container_of(mail, struct mail_ask, mail));
    mail_free(mail);
}

static void *run(void *argument) {
    struct machine *m = argument;
    for (;;) {
        struct moment now = moment_now();
        int wait_ms = machine_tick(m, &now);
        struct mail *mail = mailbox_wait(m->o.mailbox, wait_ms);
        if (!mail && mailbox_closed(m->o.mailbox))
            return NULL;
        for (; mail; mail = mailbox_take(m->o.mailbox))
            handle(m, mail);
    }
}

int identity_start(const struct identity_options *o, struct identity_manager **ret) {
    struct identity_manager *i = calloc(1, sizeof(*i));
    if (!i)
        return err_origin(-ENOMEM);
    int r = machine_init(&i->machine, o);
    if (r == 0)
        r = thread_start(&i->thread, "rw-identity", run, &i->machine);
    if (r < 0) {
        machine_deinit(&i->machine);
        free(i);
        return err_trace(r);
    }
    *ret = i;
    return 0;
}

struct identity_manager *identity_stop(struct identity_manager *i) {
    if (!i)
        return NULL;
    mailbox_close(i->machine.o.mailbox);
    thread_join(i->thread);
    machine_deinit(&i->machine);
    free(i);
    return NULL;
}
