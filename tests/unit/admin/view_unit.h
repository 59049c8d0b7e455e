/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/admin/view_unit.h - a page's view without a thread: a world from text, stats, mailboxes that nobody reads */
#pragma once

#include "mesh.h"
#include "private.h"

#include "unit.h"

enum { UNIT_WORKERS = 2 };
struct unit_view {
    struct mesh mesh;
    struct worker_stats stats[UNIT_WORKERS];
    struct mailbox *workers[UNIT_WORKERS], *reply;
    struct admin_options options;
    struct query query;
    struct question question;
    struct counter answers[6];
    bool ready;
    uint64_t next_id;
    struct view view;
};

static inline bool unit_ready(void *context, char why[128]) {
    struct unit_view *u = context;
    snprintf(why, 128, u->ready ? "ready" : "1 of 2 workloads captured");
    return u->ready;
}

/* mesh NULL: no world yet */
static inline void unit_view_init(struct unit_view *u, const char *mesh) {
    *u = (struct unit_view){.ready = true, .next_id = 1};
    if (mesh)
        mesh_make(&u->mesh, mesh);
    else
        mesh_init(&u->mesh);
    for (unsigned i = 0; i < UNIT_WORKERS; i++)
        u->workers[i] = mailbox_new("worker", 8);
    u->reply = mailbox_new("reply", 8);
    u->options = (struct admin_options){.stats = u->stats,
                                        .n_workers = UNIT_WORKERS,
                                        .workers = u->workers,
                                        .identity = mailbox_new("identity", 8),
                                        .config = mailbox_new("config", 8),
                                        .main = mailbox_new("main", 2),
                                        .ready_fn = unit_ready,
                                        .ready_context = u,
                                        .version = "9.9",
                                        .node = "node-1",
                                        .config_json = "{\"node\":\"node-1\"}"};
    u->view = (struct view){.options = &u->options,
                            .world = u->mesh.world,
                            .query = &u->query,
                            .question = &u->question,
                            .answers = u->answers,
                            .first_level = log_get_level()};
}

static inline void unit_view_deinit(struct unit_view *u) {
    question_deinit(&u->question);
    for (unsigned i = 0; i < UNIT_WORKERS; i++)
        mailbox_unref(u->workers[i]);
    mailbox_unref(u->options.identity);
    mailbox_unref(u->options.config);
    mailbox_unref(u->options.main);
    mailbox_unref(u->reply);
    mesh_deinit(&u->mesh);
}

/* Takes the ask from the mailbox and answers it; json NULL: takes it only. */
static inline void unit_answer(struct unit_view *u, struct mailbox *box, const char *json) {
    struct mail *mail = mailbox_take(box);
    assert_non_null(mail);
    assert_ptr_equal(mail->type, &mail_ask_type);
    struct mail_answer *m = mail_answer_new(container_of(mail, struct mail_ask, mail)->id);
    mail_free(mail);
    if (json) {
        growing_add(&m->json, str_of(json));
        assert_true(question_take(&u->question, m));
    }
    mail_free(&m->mail);
}

/* Makes the page of a target; the reply's body is NUL-terminated text of the caller's. */
static inline void unit_page(struct unit_view *u, const char *target, struct reply *ret) {
    *ret = (struct reply){0};
    assert_true(query_parse(str_of(target), &u->query));
    const struct route *route = route_find(u->query.path, DOOR_UNIX);
    assert_non_null(route);
    route->make(&u->view, ret);
    assert_false(ret->body.failed);
    assert_non_null(ret->body.at);
}

static inline struct json *unit_read(const struct reply *r) {
    char why[128] = "";
    assert_int_equal(r->status, 200);
    assert_string_equal(r->type, "application/json");
    struct json *o = json_read((struct str){r->body.at, r->body.n}, why);
    if (!o)
        fail_msg("%s in: %s", why, r->body.at);
    return o;
}

#define assert_text(node, expected) \
    do { \
        struct str text_ = json_text(node); \
        if (!str_is(text_, str_of(expected))) \
            fail_msg("'" STR_FMT "', expected '%s'", STR_ARG(text_), expected); \
    } while (0)
