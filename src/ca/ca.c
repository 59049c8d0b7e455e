/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca.c - the CA thread: its mailbox is the only way in
 *
 * The thread itself reads the signing key, into a struct on its own stack that no other function sees; what comes out are
 * encoded answers. Start-up waits until the thread has said whether it could load its directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/thread.h>
#include <ringwall/ca/ca.h>
#include <ringwall/mail/bytes.h>

#include "sign.h"

enum { CA_QUEUE_MAX = 4096 };

struct ca {
    struct mailbox *mailbox;
    pthread_t thread;
    const struct publish_slot *world;
    struct ca_options o; /* the strings below */
    char *dir, *trust_domain, *node, *audit_path;
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

static int load(struct ca *c, struct signer *s) {
    int64_t now_s = clock_wall_s();
    char cert[4096];
    snprintf(cert, sizeof(cert), "%s/ca-cert.pem", c->dir);
    /* The built-in CA makes its root once; a directory that is there but broken is an error, never replaced. */
    int r = c->o.kind == CA_KIND_BUILTIN && access(cert, F_OK) != 0 ? ca_dir_init(c->dir, str_of(c->trust_domain), now_s, c->why) : 0;
    if (r == 0)
        r = ca_dir_load(c->dir, now_s, &s->dir, c->why);
    if (r == 0 && c->audit_path) {
        r = audit_open(c->audit_path, &s->audit);
        if (r < 0) {
            snprintf(c->why, sizeof(c->why), "%s: cannot be opened for the audit log: %s", c->audit_path, strerror(-r));
            r = 1;
        }
    }
    return r;
}

static void answer(struct ca *c, struct signer *s, struct mail_bytes *m) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    const struct world *world = publish_read(c->world);
    if (signer_answer(s, world, m->bytes, m->n, clock_wall_s(), &bytes, &n) != 0)
        return; /* no memory for an answer: the asker's deadline covers it */
    struct mail_bytes *reply = mail_bytes_new(bytes, n, NULL);
    if (!reply) {
        free(bytes);
        return;
    }
    if (!m->reply || mailbox_post(m->reply, &reply->mail) != 0)
        mail_free(&reply->mail);
}

static void *run(void *argument) {
    struct ca *c = argument;
    struct signer s = {.trust_domain = str_of(c->trust_domain),
                       .node = str_of(c->node),
                       .ttl_default_s = c->o.ttl_default_s,
                       .ttl_max_s = c->o.ttl_max_s};
    int r = load(c, &s);
    tell_start(c, r);
    if (r == 0) {
        publish_reader_register();
        publish_reader_offline();
        struct mail *m;
        while ((m = mailbox_wait(c->mailbox, -1))) {
            publish_reader_online();
            if (m->type == &mail_bytes_type)
                answer(c, &s, container_of(m, struct mail_bytes, mail));
            publish_reader_offline();
            mail_free(m);
        }
        publish_reader_unregister();
    }
    ca_dir_deinit(&s.dir);
    s.audit = audit_close(s.audit);
    return NULL;
}

static struct ca *ca_free(struct ca *c) {
    mailbox_unref(c->mailbox);
    free(c->dir);
    free(c->trust_domain);
    free(c->node);
    free(c->audit_path);
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
    c->dir = str_dup(str_of(o->dir));
    c->trust_domain = str_dup(str_of(o->trust_domain));
    c->node = str_dup(str_of(o->node));
    c->audit_path = o->audit_path ? str_dup(str_of(o->audit_path)) : NULL;
    c->mailbox = mailbox_new("ca", CA_QUEUE_MAX);
    if (!c->dir || !c->trust_domain || !c->node || !c->mailbox || (o->audit_path && !c->audit_path))
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
