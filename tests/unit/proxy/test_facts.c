/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: names kept for a log line come back as they were, the newest one counts, and what does not fit is cut, never
 * written beyond. Method: tables of sets and gets, and filling to the bound. */
#include "facts.h"

#include <ringwall/base/check.h>

#include "unit.h"

static void assert_fact(const struct facts *f, enum fact which, const char *text) {
    assert_true(str_is(facts_get(f, which), str_of(text)));
}

static void newest_counts(void **state unused_arg) {
    struct facts f = {0};
    for (unsigned i = 0; i < _FACT_MAX; i++)
        assert_fact(&f, (enum fact)i, "");
    facts_set(&f, FACT_SRC_WORKLOAD, STR("client-7d4"));
    facts_setf(&f, FACT_POLICY, "%s/%s", "default", "allow-client");
    facts_set(&f, FACT_SRC_WORKLOAD, STR("client-7d4")); /* the same again costs no room */
    assert_int_equal(f.used, 10 + 20);
    facts_set(&f, FACT_SRC_WORKLOAD, STR("other"));
    assert_fact(&f, FACT_SRC_WORKLOAD, "other");
    assert_fact(&f, FACT_POLICY, "default/allow-client");
    facts_set(&f, FACT_POLICY, STR_NULL);
    assert_fact(&f, FACT_POLICY, "");
    facts_clear(&f);
    assert_fact(&f, FACT_SRC_WORKLOAD, "");
    assert_int_equal(f.used, 0);
}

static void cut_at_the_bound(void **state unused_arg) {
    static char longest[2 * FACTS_BYTES];
    struct {
        struct facts f;
        uint8_t behind[16];
    } guarded = {0};
    memset(longest, 'x', sizeof(longest));
    facts_set(&guarded.f, FACT_DST_SERVICE, (struct str){longest, 600});
    facts_set(&guarded.f, FACT_DST_WORKLOAD, (struct str){longest, sizeof(longest)});
    assert_int_equal(facts_get(&guarded.f, FACT_DST_SERVICE).n, 600);
    assert_int_equal(facts_get(&guarded.f, FACT_DST_WORKLOAD).n, FACTS_BYTES - 600);
    facts_set(&guarded.f, FACT_DETAIL, STR("no room left"));
    assert_int_equal(facts_get(&guarded.f, FACT_DETAIL).n, 0);
    for (size_t i = 0; i < sizeof(guarded.behind); i++)
        assert_int_equal(guarded.behind[i], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_counts),
        cmocka_unit_test(cut_at_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
