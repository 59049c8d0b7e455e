/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca.c - the CA thread: its mailbox is the only way in
 *
 * The thread itself reads the signing key, into a struct on its own stack that no other thread sees; what comes out are
 * encoded answers. Start-up waits until the thread has said whether it could load its directory. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/thread.h>
#include <ringwall/ca/ca.h>
#include <ringwall/mail/ask.h>
#include <ringwall/mail/bytes.h>

#include "authority.h"

enum { CA_QUEUE_MAX = 4096 };

struct ca {
    struct mailbox *mailbox;
    pthread_t thread;
    const struct publish_slot *world;
    struct ca_options o; /* its paths are the strings below; the rest is the starter's */
    char *dir, *trust_domain, *node, *audit_path, *jwt_key_path;
    /* What the thread said of its start. */
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool has_told;
    int start;
    char why[CA_WHY_BYTES];
};

static void tell_start(struct ca *c, int r) {
    pthread_mutex_lock(&c->lock);
    c->start = r;
    c->has_told = true;
    pthread_cond_signal(&c->told);
    pthread_mutex_unlock(&c->lock);
}

static void answer_ask(const struct authority *a, const struct mail_ask *ask) {
    struct mail_answer *m = mail_answer_new(ask->id);
    if (!m)
        return;
    authority_report(a, &m->json);
    if (mailbox_post(ask->reply, &m->mail) != 0)
        mail_free(&m->mail);
}

static void handle(struct ca *c, struct authority *a, struct mail *m) {
    if (m->type == &mail_bytes_type) {
        struct mail_bytes *bytes = container_of(m, struct mail_bytes, mail);
        publish_reader_online();
        authority_take(a, publish_read(c->world), bytes->bytes, bytes->n, bytes->reply, clock_wall_s());
        publish_reader_offline();
    } else if (m->type == &mail_ask_type)
        answer_ask(a, container_of(m, struct mail_ask, mail));
    mail_free(m);
}

/* All the mail that waits is one turn's work: its lines of the record share one flush. False: the mailbox is closed and empty. */
static bool handle_all(struct ca *c, struct authority *a) {
    struct mail *m;
    bool closed = mailbox_closed(c->mailbox);
    mailbox_clear_event(c->mailbox);
    while ((m = mailbox_take(c->mailbox))) {
        if (authority_is_full(a))
            authority_flush(a);
        handle(c, a, m);
    }
    return !closed;
}

static void turn_around(struct ca *c, struct authority *a) {
    struct pollfd fds[PROVIDER_POLL_MAX + 2];
    int wait_ms = 0;
    for (;;) {
        unsigned n = 1 + authority_poll(a, fds + 1);
        fds[0] = (struct pollfd){.fd = mailbox_eventfd(c->mailbox), .events = POLLIN};
        check(poll(fds, n, wait_ms) >= 0 || errno == EINTR);
        bool open = handle_all(c, a);
        wait_ms = authority_turn(a, fds + 1, n - 1, clock_mono_ns(), clock_wall_s());
        if (!open)
            return;
    }
}

static void *run(void *argument) {
    struct ca *c = argument;
    struct authority a = {0};
    int r = authority_open(&a, &c->o, clock_wall_s(), c->why);
    tell_start(c, r);
    if (r == 0) {
        publish_reader_register();
        publish_reader_offline();
        turn_around(c, &a);
        publish_reader_unregister();
    }
    authority_close(&a);
    return NULL;
}

static struct ca *ca_free(struct ca *c) {
    mailbox_unref(c->mailbox);
    free(c->dir);
    free(c->trust_domain);
    free(c->node);
    free(c->audit_path);
    free(c->jwt_key_path);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->told);
    free(c);
    return NULL;
}

static struct ca *ca_new(const struct ca_options *o) {
    struct ca *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->told, NULL);
    c->o = *o;
    c->world = o->world;
    c->o.dir = c->dir = str_dup(str_of(o->dir));
    c->o.trust_domain = c->trust_domain = str_dup(str_of(o->trust_domain));
    c->o.node = c->node = str_dup(str_of(o->node));
    c->o.audit_path = c->audit_path = o->audit_path ? str_dup(str_of(o->audit_path)) : NULL;
    c->o.jwt_key_path = c->jwt_key_path = o->jwt_key_path ? str_dup(str_of(o->jwt_key_path)) : NULL;
    c->mailbox = mailbox_new("ca", CA_QUEUE_MAX);
    if (!c->dir || !c->trust_domain || !c->node || !c->mailbox || (o->audit_path && !c->audit_path) ||
        (o->jwt_key_path && !c->jwt_key_path))
        return ca_free(c);
    return c;
}

int ca_start(const struct ca_options *o, struct ca **ret, char why[512]) {
    struct ca *c = ca_new(o);
    if (!c)
        return err_origin(-ENOMEM);
    int r = thread_start(&c->thread, "rw-ca", run, c);
    if (r < 0) {
        ca_free(c);
        return err_trace(r);
    }
    pthread_mutex_lock(&c->lock);
    while (!c->has_told)
        pthread_cond_wait(&c->told, &c->lock);
    r = c->start;
    pthread_mutex_unlock(&c->lock);
    if (r == 0) {
        *ret = c;
        return 0;
    }
    snprintf(why, CA_WHY_BYTES, "%s", c->why);
    thread_join(c->thread);
    ca_free(c);
    return r;
}

struct mailbox *ca_mailbox(struct ca *c) {
    return c->mailbox;
}

struct ca *ca_stop(struct ca *c) {
    if (!c)
        return NULL;
    mailbox_close(c->mailbox);
    thread_join(c->thread);
    return ca_free(c);
}
