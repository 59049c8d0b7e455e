/* SPDX-License-Identifier: GPL-3.0-or-later
 * news.c - what the readers (workers, main, doors) are told of credentials: each hears how an identity stands at last
 *
 * News have numbers and stand in their order, an identity once, at its newest. A reader has heard all up to a number. When its
 * mailbox is full it is told the rest later, with the next ticks: a credential that was withdrawn must not stay in use because
 * the mail about it found no room. An entry that nobody wants any more is kept until all have heard of its end, at most
 * NEWS_GONE_MAX of them. */
#include <stdlib.h>

#include <ringwall/base/log.h>

#include "machine.h"

/* The credential in force, or that there is none and why. False: the reader takes nothing now. */
static bool tell(struct machine *m, size_t reader, const struct entry *e, const struct moment *now) {
    struct mailbox *to = m->o.workers[reader];
    if (e->credential && !trust_tell(m, reader, now))
        return mailbox_closed(to); /* it has ended */
    struct mail_credential *mail = mail_credential_new(&e->identity, e->credential, e->credential ? NULL : e->why);
    int r = mail ? mailbox_post(to, &mail->mail) : 1;
    if (r != 0 && mail)
        mail_free(&mail->mail);
    return r != 1;
}

static void catch_up(struct machine *m, size_t reader, const struct moment *now) {
    struct reader *r = &m->readers[reader];
    struct list *it = &m->news;
    while (it->prev != &m->news && list_entry(it->prev, struct entry, news)->news_number > r->heard)
        it = it->prev;
    for (; r->heard < m->n_news && it != &m->news; it = it->next) {
        const struct entry *e = list_entry(it, struct entry, news);
        if (!tell(m, reader, e, now)) {
            if (!r->behind)
                log_warn("identity", "reader %zu takes no mail now: it is told later about " STR_FMT, reader,
                         STR_ARG(identity_uri(&e->identity)));
            r->behind = true;
            return;
        }
        r->heard = e->news_number;
    }
    r->heard = m->n_news; /* the newest may be of one that is no more */
    r->behind = false;
}

static uint64_t heard_by_all(const struct machine *m) {
    uint64_t heard = m->n_news;
    for (size_t i = 0; i < m->o.n_workers; i++)
        heard = min_of(heard, m->readers[i].heard);
    return heard;
}

static void gone_free(struct machine *m, struct entry *e) {
    list_unlink(&e->news);
    free(e);
    m->n_gone--;
}

static void drop_gone(struct machine *m) {
    uint64_t heard = m->n_gone > 0 ? heard_by_all(m) : 0;
    list_for_each_safe (it, &m->news) {
        struct entry *e = list_entry(it, struct entry, news);
        if (m->n_gone == 0 || (e->news_number > heard && m->n_gone <= NEWS_GONE_MAX))
            return;
        if (e->gone)
            gone_free(m, e);
    }
}

void news_put(struct machine *m, struct entry *e, const struct moment *now) {
    list_unlink(&e->news);
    e->news_number = ++m->n_news;
    list_push_back(&m->news, &e->news);
    for (size_t i = 0; i < m->o.n_workers; i++)
        if (!m->readers[i].behind) /* else with the next tick */
            catch_up(m, i, now);
}

void news_forget(struct machine *m, struct entry *e) {
    if (!list_linked(&e->news) || e->news_number <= heard_by_all(m)) {
        list_unlink(&e->news);
        free(e);
        return;
    }
    e->gone = true;
    m->n_gone++;
    drop_gone(m);
}

bool news_tick(struct machine *m, const struct moment *now) {
    bool behind = false;
    for (size_t i = 0; i < m->o.n_workers; i++) {
        if (m->readers[i].behind)
            catch_up(m, i, now);
        behind = behind || m->readers[i].behind;
    }
    drop_gone(m);
    return behind;
}

void news_deinit(struct machine *m) {
    list_for_each_safe (it, &m->news)
        gone_free(m, list_entry(it, struct entry, news));
}
