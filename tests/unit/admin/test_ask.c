/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: answers of several threads become one, whatever their order; who does not answer is named. Method: mailboxes that
 * the test itself empties. */
#include "view_unit.h"

static void begin(struct unit_view *u, unsigned needs) {
    assert_int_equal(question_begin(&u->question, needs, &u->options, u->reply, &u->next_id), 0);
}

static void expect_join(struct unit_view *u, const char *expected) {
    struct growing g = GROWING_NULL;
    question_join(&u->question, NEED_CONNECTIONS, &g);
    assert_string_equal(g.at, expected);
    growing_deinit(&g);
}

static void expect_missing(struct unit_view *u, const char *expected) {
    char bytes[256];
    struct text t = TEXT_OVER(bytes);
    question_missing(&u->question, &t);
    assert_string_equal(bytes, expected);
}

static void joined(void **state) {
    static const struct {
        const char *zero, *one, *together;
    } rows[] = {
        {"[]", "[]", "[]\n"},         {"[{\"id\":1}]", "[]", "[\n{\"id\":1}\n]\n"},
        {"[]", "[2]", "[\n2\n]\n"},   {"[1,1] \n", "[2]", "[\n1,1,\n2\n]\n"},
        {"null", "[2]", "[\n2\n]\n"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct unit_view u;
        unit_view_init(&u, NULL);
        begin(&u, NEED_BIT(NEED_CONNECTIONS));
        assert_int_equal(u.question.n_waiting, 2);
        unit_answer(&u, u.workers[1], rows[i].one);
        assert_int_equal(u.question.n_waiting, 1);
        unit_answer(&u, u.workers[0], rows[i].zero);
        assert_int_equal(u.question.n_waiting, 0);
        expect_join(&u, rows[i].together);
        expect_missing(&u, "");
        unit_view_deinit(&u);
    }
}

static void given_up(void **state) {
    struct unit_view u;
    unit_view_init(&u, NULL);
    begin(&u, NEED_BIT(NEED_CONNECTIONS) | NEED_BIT(NEED_CERTS) | NEED_BIT(NEED_CONFIG) | NEED_BIT(NEED_CAPTURE));
    assert_int_equal(u.question.n_waiting, 5);
    unit_answer(&u, u.workers[0], "[1]");
    unit_answer(&u, u.options.config, "{\"attempts\":3}");
    question_give_up(&u.question);
    expect_join(&u, "[\n1\n]\n");
    assert_true(str_is(question_one(&u.question, NEED_CONFIG), STR("{\"attempts\":3}")));
    assert_int_equal(question_one(&u.question, NEED_CERTS).n, 0);
    expect_missing(&u, "worker 1, identity, main");
    unit_view_deinit(&u);
}

static void late_and_strange_answers(void **state) {
    struct unit_view u;
    unit_view_init(&u, NULL);
    begin(&u, NEED_BIT(NEED_IDENTITY));
    uint64_t id = u.question.parts[0].id;
    struct mail_answer *strange = mail_answer_new(id + 100), *zero = mail_answer_new(0), *late = mail_answer_new(id);
    assert_false(question_take(&u.question, strange));
    assert_false(question_take(&u.question, zero));
    question_give_up(&u.question);
    assert_false(question_take(&u.question, late));
    mail_free(&strange->mail);
    mail_free(&zero->mail);
    mail_free(&late->mail);
    /* Its number is not used again by the next question. */
    question_deinit(&u.question);
    begin(&u, NEED_BIT(NEED_IDENTITY));
    assert_int_not_equal(u.question.parts[0].id, id);
    unit_view_deinit(&u);
}

static void empty_answer_is_none(void **state) {
    struct unit_view u;
    unit_view_init(&u, NULL);
    begin(&u, NEED_BIT(NEED_IDENTITY));
    unit_answer(&u, u.options.identity, "");
    assert_int_equal(u.question.n_waiting, 0);
    expect_missing(&u, "identity");
    unit_view_deinit(&u);
}

static void full_and_absent_mailboxes(void **state) {
    struct unit_view u;
    unit_view_init(&u, NULL);
    while (true) { /* main's holds two */
        struct mail_quit *m = mail_quit_new();
        if (mailbox_post(u.options.main, &m->mail) == 0)
            continue;
        mail_free(&m->mail);
        break;
    }
    struct mailbox *config = u.options.config;
    u.options.config = NULL;
    begin(&u, NEED_BIT(NEED_CAPTURE) | NEED_BIT(NEED_CONFIG));
    assert_int_equal(u.question.n_waiting, 0);
    expect_missing(&u, "config, main");
    u.options.config = config;
    unit_view_deinit(&u);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(joined), cmocka_unit_test(given_up),
                                       cmocka_unit_test(late_and_strange_answers), cmocka_unit_test(empty_answer_is_none),
                                       cmocka_unit_test(full_and_absent_mailboxes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
