/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: mail arrives once, in each sender's order, never past the bound, and wakes its reader. Method: one thread for
 * the rules, then several senders against a reader that waits, through a mailbox too small for them. */
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>

#include <ringwall/base/check.h>
#include <ringwall/base/mailbox.h>
#include <ringwall/base/thread.h>

#include "unit.h"

struct letter {
    struct mail mail;
    unsigned sender, number;
};

static atomic_uint n_letters;

static struct mail *letter_free(struct mail *m) {
    atomic_fetch_sub(&n_letters, 1);
    free(container_of(m, struct letter, mail));
    return NULL;
}
static const struct mail_type letter_type = {.name = "letter", .free = letter_free};

static struct mail *letter_new(unsigned sender, unsigned number) {
    struct letter *l = calloc(1, sizeof(*l));
    check(l);
    *l = (struct letter){.mail.type = &letter_type, .sender = sender, .number = number};
    atomic_fetch_add(&n_letters, 1);
    return &l->mail;
}

static unsigned number_of(struct mail *m) { return container_of(m, struct letter, mail)->number; }

static bool is_readable(const struct mailbox *b) {
    struct pollfd p = {.fd = mailbox_eventfd(b), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void order_and_bound(void **state) {
    struct mailbox *b = mailbox_new("test", 3);
    assert_non_null(b);
    assert_null(mailbox_take(b));
    assert_false(is_readable(b));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(mailbox_post(b, letter_new(0, i)), 0);
    assert_true(is_readable(b));
    cleanup(mail_freep) struct mail *refused = letter_new(0, 3);
    assert_int_equal(mailbox_post(b, refused), 1);
    assert_int_equal(mailbox_refused(b), 1);
    mailbox_clear_event(b);
    assert_false(is_readable(b));
    for (unsigned i = 0; i < 3; i++) {
        cleanup(mail_freep) struct mail *m = mailbox_take(b);
        assert_int_equal(number_of(m), i);
        assert_null(m->next);
    }
    assert_null(mailbox_take(b));
    assert_int_equal(mailbox_post(b, take_ptr(refused)), 0);
    assert_true(is_readable(b));
    assert_null(mailbox_unref(b)); /* frees what is queued */
    assert_int_equal(n_letters, 0);
    assert_null(mailbox_unref(NULL));
    assert_null(mail_free(NULL));
}

static void closing(void **state) {
    cleanup(mailbox_unrefp) struct mailbox *b = mailbox_new("test", 3);
    struct mailbox *second = mailbox_ref(b);
    assert_int_equal(mailbox_post(b, letter_new(0, 0)), 0);
    mailbox_close(b);
    mailbox_close(b);
    cleanup(mail_freep) struct mail *late = letter_new(0, 1);
    assert_int_equal(mailbox_post(second, late), 2);
    assert_int_equal(mailbox_refused(b), 0);
    cleanup(mail_freep) struct mail *m = mailbox_wait(b, -1);
    assert_int_equal(number_of(m), 0);
    assert_null(mailbox_wait(b, -1)); /* closed and empty: no waiting for ever */
    mailbox_unref(second);
}

static void waiting_ends(void **state) {
    cleanup(mailbox_unrefp) struct mailbox *b = mailbox_new("test", 3);
    assert_null(mailbox_wait(b, 0));
    assert_null(mailbox_wait(b, 5));
    assert_int_equal(mailbox_post(b, letter_new(0, 9)), 0);
    cleanup(mail_freep) struct mail *m = mailbox_wait(b, 0);
    assert_int_equal(number_of(m), 9);
}

static void event_can_be_raised_again(void **state) {
    cleanup(mailbox_unrefp) struct mailbox *b = mailbox_new("test", 3);
    assert_int_equal(mailbox_post(b, letter_new(0, 0)), 0);
    assert_int_equal(mailbox_post(b, letter_new(0, 1)), 0);
    mailbox_clear_event(b);
    mail_free(mailbox_take(b));
    assert_false(is_readable(b)); /* stopped early: mail is left */
    mailbox_raise_event(b);
    assert_true(is_readable(b));
    uint64_t count; /* a ring reads the descriptor itself */
    assert_int_equal(read(mailbox_eventfd(b), &count, sizeof(count)), sizeof(count));
    mailbox_clear_event(b);
    mail_free(mailbox_take(b));
    assert_int_equal(mailbox_post(b, letter_new(0, 2)), 0);
    assert_true(is_readable(b));
}

enum { N_SENDERS = 4, N_EACH = 5000, N_BOUND = 16 };

struct sender {
    struct mailbox *box;
    unsigned id;
};

static void *send_all(void *p) {
    struct sender *s = p;
    for (unsigned i = 0; i < N_EACH; i++) {
        struct mail *m = letter_new(s->id, i);
        while (mailbox_post(s->box, m) == 1)
            sched_yield();
    }
    mailbox_unref(s->box);
    return NULL;
}

static void many_senders_one_reader(void **state) {
    cleanup(mailbox_unrefp) struct mailbox *b = mailbox_new("test", N_BOUND);
    struct sender senders[N_SENDERS];
    pthread_t threads[N_SENDERS];
    unsigned next[N_SENDERS] = {0}, n = 0;
    for (unsigned i = 0; i < N_SENDERS; i++) {
        senders[i] = (struct sender){.box = mailbox_ref(b), .id = i};
        assert_int_equal(thread_start(&threads[i], "sender", send_all, &senders[i]), 0);
    }
    while (n < N_SENDERS * N_EACH) {
        cleanup(mail_freep) struct mail *m = mailbox_wait(b, -1);
        assert_non_null(m);
        struct letter *l = container_of(m, struct letter, mail);
        assert_int_equal(l->number, next[l->sender]++);
        n++;
    }
    for (unsigned i = 0; i < N_SENDERS; i++)
        thread_join(threads[i]);
    assert_null(mailbox_take(b));
    assert_int_equal(n_letters, 0);
}

static void *close_box(void *b) {
    mailbox_close(b);
    return NULL;
}

static void close_wakes_the_reader(void **state) {
    cleanup(mailbox_unrefp) struct mailbox *b = mailbox_new("test", 1);
    pthread_t t;
    assert_int_equal(thread_start(&t, "closer", close_box, b), 0);
    assert_null(mailbox_wait(b, -1));
    thread_join(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_bound),
        cmocka_unit_test(closing),
        cmocka_unit_test(waiting_ends),
        cmocka_unit_test(event_can_be_raised_again),
        cmocka_unit_test(many_senders_one_reader),
        cmocka_unit_test(close_wakes_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
