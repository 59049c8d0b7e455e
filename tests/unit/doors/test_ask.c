/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every question to the CA ends once: by its own answer, by the deadline, or not at all when it was forgotten. Method: the
 * test is the CA's mailbox and the clock. */
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/mail/bytes.h>

#include "ask.h"
#include "unit.h"

struct question {
    struct ask ask;
    unsigned n_done;
    bool answered;
};
static void done(struct ask *a, const struct ca_response *answer) {
    struct question *q = container_of(a, struct question, ask);
    q->n_done++;
    q->answered = answer != NULL;
}

struct scene {
    struct asks asks;
    struct mailbox *ca, *own;
};
static int make(void **state) {
    struct scene *s = calloc(1, sizeof(*s));
    s->ca = mailbox_new("ca", ASKS_MAX + 8);
    s->own = mailbox_new("own", 8);
    asks_init(&s->asks, s->ca, s->own);
    *state = s;
    return 0;
}
static int unmake(void **state) {
    struct scene *s = *state;
    mailbox_unref(s->ca);
    mailbox_unref(s->own);
    free(s);
    return 0;
}

static int send_one(struct scene *s, struct question *q, uint64_t now_ns) {
    struct ca_request r = {.kind = CA_MESSAGE_JWT, .caller = CA_CALLER_NODE, .identity = STR("spiffe://t/ns/a/sa/b")};
    return ask_send(&s->asks, &q->ask, &r, now_ns, done);
}

static void answered_once(void **state) {
    struct scene *s = *state;
    struct question a = {0}, b = {0};
    assert_int_equal(send_one(s, &a, 0), 0);
    assert_int_equal(send_one(s, &b, 0), 0);
    struct mail *m = mailbox_take(s->ca);
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct ca_request seen;
    struct mail_bytes *bytes = container_of(m, struct mail_bytes, mail);
    assert_int_equal(pb_consume_ca_request(bytes->bytes, bytes->n, &arena, &seen), PB_OK);
    assert_ptr_equal(bytes->reply, s->own);
    assert_int_equal(seen.id, a.ask.id);
    mail_free(m);
    struct ca_response r = {.kind = CA_MESSAGE_JWT, .id = seen.id};
    asks_answer(&s->asks, 999, &r);
    asks_answer(&s->asks, seen.id, &r);
    asks_answer(&s->asks, seen.id, &r);
    asks_tick(&s->asks, (ASK_WAIT_S + 1) * NS_PER_S);
    assert_true(a.n_done == 1 && a.answered);
    assert_true(b.n_done == 1 && !b.answered);
    assert_int_equal(s->asks.n_open, 0);
}

static void forgotten_is_silent(void **state) {
    struct scene *s = *state;
    struct question a = {0};
    assert_int_equal(send_one(s, &a, 0), 0);
    ask_forget(&s->asks, &a.ask);
    ask_forget(&s->asks, &a.ask);
    asks_answer(&s->asks, a.ask.id, &(struct ca_response){.id = a.ask.id});
    asks_tick(&s->asks, UINT64_MAX);
    assert_int_equal(a.n_done, 0);
}

static void bounded(void **state) {
    struct scene *s = *state;
    static struct question many[ASKS_MAX + 1];
    memset(many, 0, sizeof(many));
    for (size_t i = 0; i < ASKS_MAX; i++)
        assert_int_equal(send_one(s, &many[i], i), 0);
    assert_int_equal(send_one(s, &many[ASKS_MAX], 0), 1);
    asks_tick(&s->asks, ASK_WAIT_S * NS_PER_S); /* the first alone is due */
    assert_true(many[0].n_done == 1 && many[1].n_done == 0);
    for (size_t i = 1; i < ASKS_MAX; i++)
        ask_forget(&s->asks, &many[i].ask);
    mailbox_close(s->ca);
    assert_int_equal(send_one(s, &many[ASKS_MAX], 0), 1);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make, unmake)
    const struct CMUnitTest tests[] = {CASE(answered_once), CASE(forgotten_is_silent), CASE(bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
