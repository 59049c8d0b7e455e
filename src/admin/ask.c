/* SPDX-License-Identifier: GPL-3.0-or-later
 * ask.c - questions to other threads: posted at once, answered by mail in any order, given up at a deadline
 *
 * A thread that is stuck, or whose mailbox is full, costs the page its part and nothing else. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>

#include "private.h"

static const enum ask_what what_of[_NEED_MAX] = {
    [NEED_CONNECTIONS] = ASK_CONNECTIONS, [NEED_TUNNELS] = ASK_TUNNELS, [NEED_CERTS] = ASK_CERTS,
    [NEED_IDENTITY] = ASK_STATUS,         [NEED_CONFIG] = ASK_STATUS,   [NEED_CA] = ASK_STATUS,
    [NEED_CAPTURE] = ASK_CAPTURE,         [NEED_DENIALS] = ASK_DENIALS, [NEED_RECENT] = ASK_RECENT,
};

static bool of_workers(enum need n) { return n == NEED_CONNECTIONS || n == NEED_TUNNELS || n == NEED_DENIALS || n == NEED_RECENT; }

static struct mailbox *mailbox_of(const struct admin_options *o, const struct part *p) {
    switch (p->need) {
    case NEED_CONNECTIONS:
    case NEED_TUNNELS:
    case NEED_DENIALS:
    case NEED_RECENT:
        return o->workers[p->worker];
    case NEED_CERTS:
    case NEED_IDENTITY:
        return o->identity;
    case NEED_CONFIG:
        return o->config;
    case NEED_CA:
        return o->ca;
    case NEED_CAPTURE:
    case _NEED_MAX:
        break;
    }
    return o->main;
}

static void post(struct question *q, struct part *p, const struct admin_options *o, struct mailbox *reply, uint64_t *next_id) {
    struct mailbox *to = mailbox_of(o, p);
    struct mail_ask *m = to ? mail_ask_new(what_of[p->need], *next_id, reply) : NULL;
    if (!m)
        return;
    if (mailbox_post(to, &m->mail) != 0) {
        mail_free(&m->mail);
        return;
    }
    p->id = (*next_id)++;
    q->n_waiting++;
}

/* How many threads a need asks. A room that is not there is not asked. */
static unsigned n_asked(const struct admin_options *o, enum need n) {
    return of_workers(n) ? o->n_workers : n == NEED_CA && !o->ca ? 0 : 1;
}

int question_begin(struct question *q, unsigned needs, const struct admin_options *o, struct mailbox *reply, uint64_t *next_id) {
    *q = QUESTION_NULL;
    size_t n = 0;
    for (unsigned need = 0; need < _NEED_MAX; need++)
        if (needs & NEED_BIT(need))
            n += n_asked(o, need);
    q->parts = calloc(n + 1, sizeof(*q->parts));
    if (!q->parts)
        return err_origin(-ENOMEM);
    for (unsigned need = 0; need < _NEED_MAX; need++)
        for (unsigned i = 0; (needs & NEED_BIT(need)) && i < n_asked(o, need); i++)
            q->parts[q->n_parts++] = (struct part){.need = need, .worker = i};
    for (size_t i = 0; i < q->n_parts; i++)
        post(q, &q->parts[i], o, reply, next_id);
    q->deadline_ns = clock_mono_ns() + ADMIN_ASK_TIMEOUT_MS * NS_PER_MS;
    return 0;
}

bool question_take(struct question *q, struct mail_answer *m) {
    for (size_t i = 0; i < q->n_parts; i++) {
        struct part *p = &q->parts[i];
        if (p->id == 0 || p->id != m->id)
            continue;
        p->id = 0;
        p->answered = !m->json.failed && m->json.n > 0;
        p->json = m->json;
        m->json = GROWING_NULL;
        q->n_waiting--;
        return true;
    }
    return false;
}

void question_give_up(struct question *q) {
    for (size_t i = 0; i < q->n_parts; i++)
        q->parts[i].id = 0;
    q->n_waiting = 0;
}

void question_deinit(struct question *q) {
    for (size_t i = 0; i < q->n_parts; i++)
        growing_deinit(&q->parts[i].json);
    free(q->parts);
    *q = QUESTION_NULL;
}

struct str question_one(const struct question *q, enum need need) {
    for (size_t i = 0; i < q->n_parts; i++)
        if (q->parts[i].need == need && q->parts[i].answered)
            return (struct str){q->parts[i].json.at, q->parts[i].json.n};
    return STR_NULL;
}

/* What stands between the brackets of an array; empty when it is none. */
static struct str inside(struct str array) {
    while (array.n && strchr(" \t\r\n", array.at[array.n - 1]))
        array.n--;
    if (array.n < 2 || array.at[0] != '[' || array.at[array.n - 1] != ']')
        return STR_NULL;
    return (struct str){array.at + 1, array.n - 2};
}

void question_join(const struct question *q, enum need need, struct growing *to) {
    bool any = false;
    growing_add(to, STR("["));
    for (size_t i = 0; i < q->n_parts; i++) {
        const struct part *p = &q->parts[i];
        struct str items = p->need == need && p->answered ? inside((struct str){p->json.at, p->json.n}) : STR_NULL;
        if (items.n == 0)
            continue;
        growing_add(to, any ? STR(",\n") : STR("\n"));
        growing_add(to, items);
        any = true;
    }
    growing_add(to, any ? STR("\n]\n") : STR("]\n"));
}

void question_missing(const struct question *q, struct text *to) {
    static const char *const names[_NEED_MAX] = {[NEED_CERTS] = "identity",
                                                 [NEED_IDENTITY] = "identity",
                                                 [NEED_CONFIG] = "config",
                                                 [NEED_CA] = "ca",
                                                 [NEED_CAPTURE] = "main"};
    for (size_t i = 0; i < q->n_parts; i++) {
        const struct part *p = &q->parts[i];
        if (p->answered)
            continue;
        text_add(to, to->n ? STR(", ") : STR_NULL);
        if (of_workers(p->need))
            text_addf(to, "worker %u", p->worker);
        else
            text_add(to, str_of(names[p->need]));
    }
}
