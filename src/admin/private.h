/* SPDX-License-Identifier: GPL-3.0-or-later
 * private.h - what the files of the admin room share: questions to other threads, what a page is made from, the pages */
#pragma once

#include <ringwall/admin/admin.h>
#include <ringwall/base/list.h>
#include <ringwall/base/log.h>
#include <ringwall/model/world.h>
#include <ringwall/wire/json.h>

#include "query.h"

/* ask.c: one question to all threads that a page needs; the answers come by mail, or not in time. */
enum need {
    NEED_CONNECTIONS,
    NEED_TUNNELS,
    NEED_CERTS,
    NEED_IDENTITY,
    NEED_CA,
    NEED_CONFIG,
    NEED_CAPTURE,
    NEED_DENIALS,
    NEED_RECENT,
    _NEED_MAX
};
#define NEED_BIT(n) (1u << (n))
struct part {
    enum need need;
    unsigned worker; /* of a worker's part */
    uint64_t id;     /* 0: not waiting any more */
    bool answered;
    struct growing json;
};
struct question {
    struct part *parts; /* NULL: nothing was asked */
    size_t n_parts, n_waiting;
    uint64_t deadline_ns;
};
#define QUESTION_NULL ((struct question){0})
/* Posts the asks. `next_id` counts on; ids are never used again, so a late answer meets nobody. */
int question_begin(struct question *q, unsigned needs, const struct admin_options *o, struct mailbox *reply,
                   uint64_t *next_id) must_check;
bool question_take(struct question *q, struct mail_answer *m); /* false: not its answer */
void question_give_up(struct question *q);                     /* what has not answered will not */
void question_deinit(struct question *q);
struct str question_one(const struct question *q, enum need need);                /* its JSON, or empty */
void question_join(const struct question *q, enum need need, struct growing *to); /* the workers' arrays as one */
void question_missing(const struct question *q, struct text *to);                 /* "worker 3, identity"; nothing: all answered */

/* What pages are made from. The world is valid while the page is made. */
struct view {
    const struct admin_options *options;
    const struct world *world; /* NULL: none yet */
    const struct query *query;
    const struct question *question;
    const struct counter *answers; /* HTTP answers by status class, [6] */
    enum log_level first_level;    /* at start, for ?reset */
};
struct reply {
    unsigned status;
    const char *type;
    struct growing body;
};
void reply_text(struct reply *r, unsigned status, const char *fmt, ...) printf_like(3, 4); /* a line for people */

/* routes.c */
enum door { DOOR_UNIX, DOOR_ADDRESS, DOOR_METRICS, DOOR_READY, _DOOR_MAX };
#define DOOR_BIT(d) (1u << (d))
struct route {
    const char *path;
    unsigned doors; /* where it is served */
    bool post;      /* POST, and it changes something: the Unix socket, by the peer's credentials; else GET and HEAD */
    unsigned needs;
    void (*make)(const struct view *v, struct reply *r);
};
const struct route *route_find(struct str path, enum door door); /* NULL: none */
void route_list(enum door door, struct growing *to);             /* the paths, for a 404 */

/* dump.c: the world as JSON, in the shapes of facts/ztunnel.md 10.3 */
void dump_workloads(const struct view *v, struct reply *r);
void dump_services(const struct view *v, struct reply *r);
void dump_policies(const struct view *v, struct reply *r);
void dump_authentication(const struct view *v, struct reply *r);
void dump_authorization(const struct view *v, struct reply *r);
void dump_config(const struct view *v, struct reply *r);
void dump_all(const struct view *v, struct reply *r);
void dump_status(const struct view *v, struct reply *r);
void write_missing(struct json_writer *w, const struct question *q); /* "incomplete": [...] when there is something */
/* A raw answer, or null when it did not come. */
void write_answer(struct json_writer *w, const char *key, struct str json);

/* denials.c: the workers' denials in the order of their time, the newest DENIALS_SHOWN_MAX of them */
enum { DENIALS_SHOWN_MAX = 1000 };
void denials_page(const struct view *v, struct reply *r);
/* The counters of all workers by policy and reason, as Prometheus samples of `name`. */
void denied_samples(const struct admin_options *o, const char *name, bool dry_run, struct growing *to);

/* metrics.c: Prometheus text, version 0.0.4 */
void metrics_page(const struct view *v, struct reply *r);
void metrics_add_label(struct growing *to, const char *name, struct str value); /* name="value", escaped */

/* page.c: the dashboard */
void page_html(const struct view *v, struct reply *r);
void page_script(const struct view *v, struct reply *r);
void page_style(const struct view *v, struct reply *r);
