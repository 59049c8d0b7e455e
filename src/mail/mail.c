/* SPDX-License-Identifier: GPL-3.0-or-later
 * mail.c - constructors and destructors of every message: what a message owns goes with it */
#include <stdlib.h>
#include <string.h>

#include <ringwall/mail/ask.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>
#include <ringwall/mail/quit.h>
#include <ringwall/mail/trust.h>
#include <ringwall/mail/world.h>

static struct mail *plain_free(struct mail *m) {
    free(m);
    return NULL;
}

/* Every message begins with its struct mail, so one allocation serves all types. */
static void *mail_alloc(size_t bytes, const struct mail_type *type) {
    struct mail *m = calloc(1, bytes);
    if (m)
        m->type = type;
    return m;
}

const struct mail_type mail_world_type = {"world", plain_free};
const struct mail_type mail_identities_type = {"identities", plain_free};
const struct mail_type mail_credential_want_type = {"credential-want", plain_free};

struct mail_world *mail_world_new(uint64_t number) {
    struct mail_world *m = mail_alloc(sizeof(*m), &mail_world_type);
    if (m)
        m->number = number;
    return m;
}

static struct mail *ask_free(struct mail *mail) {
    struct mail_ask *m = container_of(mail, struct mail_ask, mail);
    mailbox_unref(m->reply);
    return plain_free(mail);
}
static struct mail *answer_free(struct mail *mail) {
    struct mail_answer *m = container_of(mail, struct mail_answer, mail);
    growing_deinit(&m->json);
    return plain_free(mail);
}
const struct mail_type mail_ask_type = {"ask", ask_free};
const struct mail_type mail_answer_type = {"answer", answer_free};

struct mail_ask *mail_ask_new(enum ask_what what, uint64_t id, struct mailbox *reply) {
    struct mail_ask *m = mail_alloc(sizeof(*m), &mail_ask_type);
    if (!m)
        return NULL;
    m->what = what;
    m->id = id;
    m->reply = mailbox_ref(reply);
    return m;
}
struct mail_answer *mail_answer_new(uint64_t id) {
    struct mail_answer *m = mail_alloc(sizeof(*m), &mail_answer_type);
    if (m)
        m->id = id;
    return m;
}

struct mail_identities *mail_identities_new(size_t n) {
    struct mail_identities *m = mail_alloc(sizeof(*m) + n * sizeof(m->items[0]), &mail_identities_type);
    if (m)
        m->n = n;
    return m;
}
struct mail_credential_want *mail_credential_want_new(const struct identity *i) {
    struct mail_credential_want *m = mail_alloc(sizeof(*m), &mail_credential_want_type);
    if (m)
        m->identity = *i;
    return m;
}
static struct mail *credential_free(struct mail *mail) {
    struct mail_credential *m = container_of(mail, struct mail_credential, mail);
    if (m->credential)
        tls_credential_unref(m->credential);
    return plain_free(mail);
}
const struct mail_type mail_credential_type = {"credential", credential_free};
struct mail_credential *mail_credential_new(const struct identity *i, struct tls_credential *c, const char *why) {
    struct mail_credential *m = mail_alloc(sizeof(*m), &mail_credential_type);
    if (!m)
        return NULL;
    m->identity = *i;
    m->credential = c ? tls_credential_ref(c) : NULL;
    if (why)
        strncpy(m->why, why, sizeof(m->why) - 1);
    return m;
}

static struct mail *trust_free(struct mail *mail) {
    struct mail_trust *m = container_of(mail, struct mail_trust, mail);
    tls_trust_unref(m->trust);
    if (m->reply)
        mailbox_unref(m->reply);
    return plain_free(mail);
}
const struct mail_type mail_trust_type = {"trust", trust_free};
struct mail_trust *mail_trust_new(struct tls_trust *trust, unsigned reader, struct mailbox *reply) {
    struct mail_trust *m = mail_alloc(sizeof(*m), &mail_trust_type);
    if (!m)
        return NULL;
    m->trust = tls_trust_ref(trust);
    m->reader = reader;
    m->reply = reply ? mailbox_ref(reply) : NULL;
    return m;
}
bool mail_trust_adopted(struct mail_trust *m) {
    struct mailbox *to = take_ptr(m->reply);
    bool told = to && mailbox_post(to, &m->mail) == 0;
    if (!told)
        mail_free(&m->mail);
    if (to)
        mailbox_unref(to);
    return told;
}

static struct mail *bytes_free(struct mail *mail) {
    struct mail_bytes *m = container_of(mail, struct mail_bytes, mail);
    free(m->bytes);
    if (m->reply)
        mailbox_unref(m->reply);
    return plain_free(mail);
}
const struct mail_type mail_bytes_type = {"bytes", bytes_free};
struct mail_bytes *mail_bytes_new(uint8_t *bytes, size_t n, struct mailbox *reply) {
    struct mail_bytes *m = mail_alloc(sizeof(*m), &mail_bytes_type);
    if (!m)
        return NULL;
    m->bytes = bytes;
    m->n = n;
    m->reply = reply ? mailbox_ref(reply) : NULL;
    return m;
}

static struct mail *pod_free(struct mail *mail) {
    struct mail_pod *m = container_of(mail, struct mail_pod, mail);
    fd_close(m->netns_fd);
    for (size_t i = 0; i < array_size(m->listeners); i++)
        fd_close(m->listeners[i]);
    return plain_free(mail);
}
static struct mail *pod_gone_free(struct mail *mail) {
    struct mail_pod_gone *m = container_of(mail, struct mail_pod_gone, mail);
    if (m->reply)
        mailbox_unref(m->reply);
    return plain_free(mail);
}
static struct mail *drain_free(struct mail *mail) {
    struct mail_drain *m = container_of(mail, struct mail_drain, mail);
    if (m->reply)
        mailbox_unref(m->reply);
    return plain_free(mail);
}
const struct mail_type mail_pod_type = {"pod", pod_free};
const struct mail_type mail_pod_gone_type = {"pod-gone", pod_gone_free};
const struct mail_type mail_drain_type = {"drain", drain_free};

struct mail_pod *mail_pod_new(void) {
    struct mail_pod *m = mail_alloc(sizeof(*m), &mail_pod_type);
    if (!m)
        return NULL;
    m->netns_fd = -1;
    for (size_t i = 0; i < array_size(m->listeners); i++)
        m->listeners[i] = -1;
    return m;
}
struct mail_pod_gone *mail_pod_gone_new(uint32_t id, struct mailbox *reply) {
    struct mail_pod_gone *m = mail_alloc(sizeof(*m), &mail_pod_gone_type);
    if (!m)
        return NULL;
    m->id = id;
    m->reply = reply ? mailbox_ref(reply) : NULL;
    return m;
}
struct mail_drain *mail_drain_new(uint64_t deadline_ns, struct mailbox *reply) {
    struct mail_drain *m = mail_alloc(sizeof(*m), &mail_drain_type);
    if (!m)
        return NULL;
    m->deadline_ns = deadline_ns;
    m->reply = reply ? mailbox_ref(reply) : NULL;
    return m;
}

const struct mail_type mail_quit_type = {"quit", plain_free};
struct mail_quit *mail_quit_new(void) {
    return mail_alloc(sizeof(struct mail_quit), &mail_quit_type);
}
