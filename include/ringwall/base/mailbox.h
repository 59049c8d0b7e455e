/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/mailbox.h - how threads meet: bounded multi-producer single-consumer queues of owned messages
 *
 * A message is a heap object that begins with a struct mail. Posting hands it over; a full or closed mailbox refuses
 * it, and the poster still owns it then. The consumer waits on an eventfd (or in poll with it) and takes messages in
 * order. A message that is freed unhandled (mailbox closed) is freed with its type's destructor. */
#pragma once

#include <ringwall/base/defs.h>

struct mail;
struct mail_type {
    const char *name;
    struct mail *(*free)(struct mail *m); /* returns NULL */
};
struct mail {
    struct mail *next;
    const struct mail_type *type;
};
struct mail *mail_free(struct mail *m); /* by its type; NULL is fine */
DEFINE_FREEP(struct mail, mail_free)

struct mailbox;
struct mailbox *mailbox_new(const char *name, size_t n_max); /* one reference; NULL: no memory or descriptor */
struct mailbox *mailbox_ref(struct mailbox *b);
struct mailbox *mailbox_unref(struct mailbox *b); /* the last one frees what is queued */
DEFINE_FREEP(struct mailbox, mailbox_unref)

/* 0: handed over. 1: full. 2: closed. Any thread. */
int mailbox_post(struct mailbox *b, struct mail *m) must_check;
void mailbox_close(struct mailbox *b);        /* consumer: further posts are refused; what is queued can still be taken */
bool mailbox_closed(struct mailbox *b);       /* any thread: mailbox_close was called */
int mailbox_eventfd(const struct mailbox *b); /* readable while there may be mail; owned by the mailbox; O_NONBLOCK */
/* Consumer: reads the eventfd, then takes mail until NULL. One that stops earlier raises the event again before it
 * waits, or keeps its own note that mail is left: the eventfd is written once between two clears. */
void mailbox_clear_event(struct mailbox *b);
void mailbox_raise_event(struct mailbox *b);
struct mail *mailbox_take(struct mailbox *b); /* consumer: oldest, or NULL; never waits */
/* Consumer: waits up to timeout_ms (-1: for ever) for mail; NULL: time-out or closed and empty. */
struct mail *mailbox_wait(struct mailbox *b, int timeout_ms);
uint64_t mailbox_refused(const struct mailbox *b); /* posts refused because it was full */
