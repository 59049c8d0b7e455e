/* SPDX-License-Identifier: GPL-3.0-or-later
 * ask.c - see ask.h */
#include "ask.h"

#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/mail/bytes.h>

void asks_init(struct asks *s, struct mailbox *ca, struct mailbox *reply) {
    *s = (struct asks){.ca = ca, .reply = reply, .next_id = 1};
    list_init(&s->open);
}

int ask_send(struct asks *s, struct ask *a, struct ca_request *q, uint64_t now_ns, ask_done_fn done) {
    if (s->n_open >= ASKS_MAX)
        return 1;
    uint8_t *bytes = NULL;
    size_t n = 0;
    q->id = s->next_id++;
    int r = pb_create_ca_request(q, &bytes, &n);
    if (r != 0)
        return err_fold(r);
    struct mail_bytes *m = mail_bytes_new(bytes, n, s->reply);
    if (!m) {
        free(bytes);
        return err_origin(-ENOMEM);
    }
    if (mailbox_post(s->ca, &m->mail) != 0) {
        mail_free(&m->mail);
        return 1;
    }
    *a = (struct ask){.id = q->id, .due_ns = now_ns + ASK_WAIT_S * NS_PER_S, .done = done};
    list_push_back(&s->open, &a->link);
    s->n_open++;
    return 0;
}

void ask_forget(struct asks *s, struct ask *a) {
    if (!list_linked(&a->link))
        return;
    list_unlink(&a->link);
    s->n_open--;
}

void asks_answer(struct asks *s, uint64_t id, const struct ca_response *answer) {
    list_for_each_safe (it, &s->open) {
        struct ask *a = list_entry(it, struct ask, link);
        if (a->id != id)
            continue;
        ask_forget(s, a);
        a->done(a, answer);
        return;
    }
}

void asks_tick(struct asks *s, uint64_t now_ns) {
    struct list *it;
    /* All wait equally long, so the oldest is due first. */
    while ((it = list_first(&s->open)) && now_ns >= list_entry(it, struct ask, link)->due_ns) {
        struct ask *a = list_entry(it, struct ask, link);
        ask_forget(s, a);
        a->done(a, NULL);
    }
}
