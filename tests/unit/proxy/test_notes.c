/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: flows with equal names share one copy once they are open, whoever writes gets his own, nobody sees another's words,
 * and nothing is kept of who is gone. Method: a few holders, then many in random order against a model; the pool's bound is the
 * number of holders, so a copy too many would stop the test. */
#include "notes.h"

#include <stdlib.h>

#include <ringwall/base/check.h>

#include "unit.h"

static void assert_fact(const struct notes *n, enum fact which, const char *text) {
    assert_true(str_is(facts_get(&n->facts, which), str_of(text)));
}

static struct notes *named(struct notebook *b, const char *from, const char *to) {
    struct notes *n = notes_acquire(b);
    facts_set(&n->facts, FACT_SRC_WORKLOAD, str_of(from));
    facts_set(&n->facts, FACT_DST_WORKLOAD, str_of(to));
    return n;
}

static void equal_ones_are_one(void **state unused_arg) {
    struct notebook b;
    assert_int_equal(notebook_init(&b, 3), 0);
    struct notes *one = named(&b, "client", "server"), *two = named(&b, "client", "server"), *other = named(&b, "clients", "erver");
    assert_ptr_not_equal(one, two);
    two->tried.n = 3; /* is not compared */
    one = notes_settle(&b, one);
    two = notes_settle(&b, two);
    other = notes_settle(&b, other);
    assert_ptr_equal(one, two);
    assert_ptr_not_equal(one, other);
    assert_ptr_equal(notes_settle(&b, one), one);
    assert_int_equal(one->n_refs, 2);
    assert_int_equal(pool_used(b.pool), 2);
    notes_release(&b, one);
    notes_release(&b, two);
    notes_release(&b, other);
    assert_null(notes_release(&b, NULL));
    assert_int_equal(pool_used(b.pool), 0);
    assert_int_equal(b.settled.n_nodes, 0);
    notebook_deinit(&b);
}

static void writers_have_their_own(void **state unused_arg) {
    struct notebook b;
    assert_int_equal(notebook_init(&b, 2), 0);
    struct notes *one = notes_settle(&b, named(&b, "client", "server")), *two = notes_settle(&b, named(&b, "client", "server"));
    two = notes_own(&b, two);
    assert_ptr_equal(notes_own(&b, two), two);
    facts_set(&two->facts, FACT_DETAIL, STR("ECONNRESET"));
    assert_fact(two, FACT_SRC_WORKLOAD, "client");
    assert_fact(two, FACT_DETAIL, "ECONNRESET");
    assert_fact(one, FACT_DETAIL, "");
    struct notes *last = notes_own(&b, one); /* the only one who holds it: no copy */
    assert_ptr_equal(last, one);
    assert_int_equal(b.settled.n_nodes, 0);
    facts_set(&last->facts, FACT_DETAIL, STR("ECONNRESET"));
    last = notes_settle(&b, last);
    assert_ptr_equal(notes_settle(&b, two), last);
    notes_release(&b, last);
    notes_release(&b, last);
    notebook_deinit(&b);
}

static void many_against_a_model(void **state unused_arg) {
    enum { HOLDERS = 50, NAMES = 7, STEPS = 20000 };
    struct notebook b;
    assert_int_equal(notebook_init(&b, HOLDERS), 0);
    struct notes *held[HOLDERS] = {0};
    unsigned names[HOLDERS] = {0};
    srandom(7);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)random() % HOLDERS;
        char text[16];
        switch (random() % 4) {
        case 0:
            held[i] = notes_release(&b, held[i]);
            break;
        case 1:
            if (held[i])
                held[i] = notes_settle(&b, held[i]);
            break;
        default:
            held[i] = held[i] ? notes_own(&b, held[i]) : notes_acquire(&b);
            names[i] = (unsigned)random() % NAMES;
            snprintf(text, sizeof(text), "workload-%u", names[i]);
            facts_clear(&held[i]->facts);
            facts_set(&held[i]->facts, FACT_DST_WORKLOAD, str_of(text));
        }
        for (unsigned k = 0; k < HOLDERS; k++)
            if (held[k]) {
                snprintf(text, sizeof(text), "workload-%u", names[k]);
                assert_fact(held[k], FACT_DST_WORKLOAD, text);
            }
        assert_true(b.settled.n_nodes <= NAMES);
    }
    for (unsigned k = 0; k < HOLDERS; k++)
        notes_release(&b, held[k]);
    assert_int_equal(pool_used(b.pool), 0);
    assert_int_equal(b.settled.n_nodes, 0);
    notebook_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ones_are_one),
        cmocka_unit_test(writers_have_their_own),
        cmocka_unit_test(many_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
