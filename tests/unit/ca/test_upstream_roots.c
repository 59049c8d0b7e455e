/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the roots of another CA come with its answers and go when nothing below them can live any more. Method: answers with
 * sets of made-up roots, the clock put forward. */
#include <stdio.h>

#include "unit.h"
#include "upstream_roots.h"

static int seen(struct upstream_roots *r, const char *letters, int64_t until) {
    struct tls_der_list l cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    for (; *letters; letters++)
        assert_int_equal(tls_der_list_add(&l, (const uint8_t *)letters, 1), 0);
    return upstream_roots_seen(r, &l, until);
}

static void expect(const struct upstream_roots *r, const char *letters) {
    assert_int_equal(r->certs.n, strlen(letters));
    for (size_t i = 0; i < r->certs.n; i++)
        assert_int_equal(r->certs.items[i].at[0], letters[i]);
}

static void test_rollover(void **state) {
    struct upstream_roots r cleanup(upstream_roots_deinit) = UPSTREAM_ROOTS_NULL;
    assert_int_equal(seen(&r, "a", 100), 1);
    assert_int_equal(seen(&r, "a", 110), 0);
    assert_int_equal(seen(&r, "ab", 120), 1);
    expect(&r, "ab");
    assert_int_equal(seen(&r, "b", 200), 0);
    assert_int_equal(seen(&r, "a", 130), 0); /* a replica that lags behind */
    assert_false(upstream_roots_prune(&r, 130));
    expect(&r, "ab");
    assert_true(upstream_roots_prune(&r, 131));
    expect(&r, "b");
    assert_int_equal(seen(&r, "a", 300), 1); /* taken back */
    expect(&r, "ba");
}

static void test_silence(void **state) {
    struct upstream_roots r cleanup(upstream_roots_deinit) = UPSTREAM_ROOTS_NULL;
    assert_false(upstream_roots_prune(&r, 1));
    assert_int_equal(seen(&r, "ab", 100), 1);
    assert_false(upstream_roots_prune(&r, 1000)); /* nobody answers any more: what we have is all we know */
    expect(&r, "ab");
}

static void test_too_many(void **state) {
    struct upstream_roots r cleanup(upstream_roots_deinit) = UPSTREAM_ROOTS_NULL;
    char letters[TLS_BUNDLE_MAX + 1] = "";
    for (int i = 0; i < TLS_BUNDLE_MAX; i++)
        letters[i] = (char)('A' + i);
    assert_int_equal(seen(&r, letters, 100), 1);
    assert_int_equal(seen(&r, "\x01", 100), 2);
    assert_int_equal(r.certs.n, TLS_BUNDLE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rollover), cmocka_unit_test(test_silence),
                                       cmocka_unit_test(test_too_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
