/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: denials of several workers are one list by time with the newest thousand, and one sample a policy and reason.
 * Method: answers and counters that the test writes; the page and the samples are read back. */
#include "view_unit.h"

static struct json *page(struct unit_view *u, const char *zero, const char *one) {
    struct reply r;
    unit_view_init(u, NULL);
    assert_int_equal(question_begin(&u->question, NEED_BIT(NEED_DENIALS), &u->options, u->reply, &u->next_id), 0);
    unit_answer(u, u->workers[0], zero);
    unit_answer(u, u->workers[1], one);
    question_give_up(&u->question);
    unit_page(u, "/denials", &r);
    struct json *o = unit_read(&r);
    growing_deinit(&r.body);
    return o;
}

static void by_time(void **state) {
    static const struct {
        const char *zero, *one, *order;
    } rows[] = {
        {"[]", "[]", ""},
        {"[{\"time\":\"2026-01-01T00:00:00.000001Z\",\"id\":\"a\"},{\"time\":\"2026-01-01T00:00:00.000003Z\",\"id\":\"c\"}]",
         "[{\"time\":\"2026-01-01T00:00:00.000002Z\",\"id\":\"b\"}]", "abc"},
        {"[{\"time\":\"2026-01-01T00:00:01.000000Z\",\"id\":\"a\"}]",
         "[{\"time\":\"2026-01-01T00:00:01.000000Z\",\"id\":\"b\"},{\"time\":\"2025-01-01T00:00:00.000000Z\",\"id\":\"c\"}]",
         "cab"},
        {"[{\"id\":\"a\"}]", "[{\"time\":7,\"id\":\"b\"}]", "ab"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct unit_view u;
        struct json *o = page(&u, rows[i].zero, rows[i].one);
        char order[8] = "";
        assert_int_equal(json_count(o), strlen(rows[i].order));
        for (size_t k = 0; k < json_count(o); k++)
            order[k] = json_text(json_get(json_at(o, k), "id")).at[0];
        assert_string_equal(order, rows[i].order);
        json_free(o);
        unit_view_deinit(&u);
    }
}

static void add_rows(struct growing *to, unsigned first, unsigned n) {
    growing_add(to, STR("["));
    for (unsigned i = 0; i < n; i++)
        growing_addf(to, "%s{\"time\":\"2026-01-01T00:00:00.%06uZ\",\"n\":%u}", i ? "," : "", first + 2 * i, first + 2 * i);
    growing_add(to, STR("]"));
}

static void the_newest_thousand(void **state) {
    struct growing zero = GROWING_NULL, one = GROWING_NULL;
    struct unit_view u;
    add_rows(&zero, 0, DENIALS_SHOWN_MAX); /* even numbers, and odd ones */
    add_rows(&one, 1, DENIALS_SHOWN_MAX);
    struct json *o = page(&u, zero.at, one.at);
    assert_int_equal(json_count(o), DENIALS_SHOWN_MAX);
    for (size_t i = 0; i < json_count(o); i++) {
        int64_t n;
        assert_true(json_number(json_get(json_at(o, i), "n"), &n));
        assert_int_equal(n, DENIALS_SHOWN_MAX + i);
    }
    json_free(o);
    unit_view_deinit(&u);
    growing_deinit(&zero);
    growing_deinit(&one);
}

static void one_worker_is_silent(void **state) {
    struct unit_view u;
    struct json *o = page(&u, NULL, "[{\"time\":\"x\"}]");
    assert_int_equal(json_count(o), 1);
    json_free(o);
    unit_view_deinit(&u);
}

static void put(struct stats_denials *d, size_t i, const char *policy, enum close_reason reason, uint64_t n) {
    d->items[i].reason = reason;
    d->items[i].policy_bytes = (uint32_t)strlen(policy);
    memcpy(d->items[i].policy, policy, strlen(policy));
    counter_set(&d->items[i].n, n);
    d->n_items = max_of((size_t)d->n_items, i + 1);
}

static void samples(void **state) {
    static struct unit_view u;
    struct growing g = GROWING_NULL;
    unit_view_init(&u, NULL);
    put(&u.stats[0].denied, 0, "b/two", CLOSE_POLICY_DENIED, 5);
    put(&u.stats[0].denied, 1, "", CLOSE_MTLS_REQUIRED, 2);
    put(&u.stats[1].denied, 0, "a/on\"e", CLOSE_POLICY_CHANGED, 1);
    put(&u.stats[1].denied, 1, "b/two", CLOSE_POLICY_DENIED, 7);
    put(&u.stats[1].denied, 2, "b/two", CLOSE_MTLS_REQUIRED, 3);
    counter_set(&u.stats[0].denied.other[CLOSE_POLICY_DENIED], 4);
    counter_set(&u.stats[1].denied.other[CLOSE_POLICY_DENIED], 6);
    denied_samples(&u.options, "x", false, &g);
    assert_string_equal(g.at, "x{policy=\"none\",reason=\"mtls-required\"} 2\n"
                              "x{policy=\"a/on\\\"e\",reason=\"policy-changed\"} 1\n"
                              "x{policy=\"b/two\",reason=\"policy-denied\"} 12\n"
                              "x{policy=\"b/two\",reason=\"mtls-required\"} 3\n"
                              "x{policy=\"other\",reason=\"policy-denied\"} 10\n");
    growing_deinit(&g);
    unit_view_deinit(&u);
}

/* The same by what a dry-run policy would have done; a policy that no name is left for, too. */
static void samples_of_dry_run(void **state) {
    static struct unit_view u;
    struct growing g = GROWING_NULL;
    unit_view_init(&u, NULL);
    put(&u.stats[0].denied, 0, "not/this", CLOSE_POLICY_DENIED, 9);
    put(&u.stats[0].dry_run, 0, "a/try", CLOSE_POLICY_DENIED, 5);
    put(&u.stats[1].dry_run, 0, "a/try", CLOSE_POLICY_DENIED, 6);
    put(&u.stats[1].dry_run, 1, "a/try", CLOSE_NONE, 2);
    counter_set(&u.stats[1].dry_run.other[CLOSE_NONE], 3);
    denied_samples(&u.options, "x", true, &g);
    assert_string_equal(g.at, "x{policy=\"a/try\",effect=\"allow\"} 2\n"
                              "x{policy=\"a/try\",effect=\"deny\"} 11\n"
                              "x{policy=\"other\",effect=\"allow\"} 3\n");
    growing_deinit(&g);
    unit_view_deinit(&u);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_time), cmocka_unit_test(the_newest_thousand),
                                       cmocka_unit_test(one_worker_is_silent), cmocka_unit_test(samples),
                                       cmocka_unit_test(samples_of_dry_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
