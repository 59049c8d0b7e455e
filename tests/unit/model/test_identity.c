/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: only well-formed identities exist. Method: a table of URIs, good and bad, and of parts; the bounds of length. */
#include <ringwall/model/identity.h>

#include "unit.h"

static void uris(void **state) {
    static const struct {
        struct str uri;
        bool good;
    } rows[] = {
        {STR("spiffe://cluster.local/ns/foo/sa/bar"), true},
        {STR("spiffe://10.0.0.1/ns/foo/sa/bar.baz_1-2"), true},
        {STR("SPIFFE://td/ns/Foo/sa/Bar"), true},
        {STR("spiffe://td/ns/foo/sa/..."), true},
        {STR(""), false},
        {STR("spiffe://"), false},
        {STR("spiffe://td"), false},
        {STR("spiffe://td/ns/foo/sa"), false},
        {STR("spiffe://td/ns/foo/sa/"), false},
        {STR("spiffe://td/ns/foo/sa/bar/"), false},
        {STR("spiffe://td/ns/foo/sa/bar/x"), false},
        {STR("spiffe://td/ns//sa/bar"), false},
        {STR("spiffe:///ns/foo/sa/bar"), false},
        {STR("spiffe://TD/ns/foo/sa/bar"), false},
        {STR("spiffe://td:80/ns/foo/sa/bar"), false},
        {STR("spiffe://u@td/ns/foo/sa/bar"), false},
        {STR("spiffe://td/ns/./sa/bar"), false},
        {STR("spiffe://td/ns/foo/sa/.."), false},
        {STR("spiffe://td/ns/fo%6f/sa/bar"), false},
        {STR("spiffe://td/ns/foo/sa/bar?x"), false},
        {STR("spiffe://td/ns/foo/sa/bar#x"), false},
        {STR("spiffe://td/NS/foo/sa/bar"), false},
        {STR("spiffe://td/sa/foo/ns/bar"), false},
        {STR("spiffe:/td/ns/foo/sa/bar"), false},
        {STR("https://td/ns/foo/sa/bar"), false},
        {STR("spiffe://td/ns/foo/sa/ba*"), false},
        {STR("spiffe://td/ns/foo/sa/b\xc3\xa4r"), false},
        {STR("spiffe://td/ns/foo/sa/bar "), false},
        /* CVE-2025-66220: a NUL inside must not cut the compare short */
        {STR("spiffe://td/ns/foo/sa/bar\0.evil"), false},
        {STR("spiffe://td\0/ns/foo/sa/bar"), false},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct identity id = {.n = 7};
        assert_int_equal(identity_parse(rows[i].uri, &id), rows[i].good);
        if (!rows[i].good)
            assert_int_equal(id.n, 7);
    }
}

static void parts_and_compare(void **state) {
    struct identity a, b;

    assert_true(identity_parse(STR("SPIFFE://cluster.local/ns/foo/sa/bar"), &a));
    assert_true(identity_make(STR("cluster.local"), STR("foo"), STR("bar"), &b));
    assert_true(identity_is(&a, &b));
    assert_memory_equal(&a, &b, sizeof(a));
    assert_true(str_is(identity_uri(&a), STR("spiffe://cluster.local/ns/foo/sa/bar")));
    assert_true(str_is(identity_principal(&a), STR("cluster.local/ns/foo/sa/bar")));
    assert_true(str_is(identity_td(&a), STR("cluster.local")));
    assert_true(str_is(identity_ns(&a), STR("foo")));
    assert_true(str_is(identity_sa(&a), STR("bar")));
    assert_int_equal(a.text[a.n], 0);
    assert_true(identity_make(STR("cluster.local"), STR("foo"), STR("baR"), &b));
    assert_false(identity_is(&a, &b));
    assert_true(identity_is_none(&IDENTITY_NULL));
    assert_int_equal(identity_principal(&IDENTITY_NULL).n, 0);
    assert_false(identity_make(STR("td"), STR("a/b"), STR("c"), &b));
    assert_false(identity_make(STR("td"), STR_NULL, STR("c"), &b));
}

static void bounds(void **state) {
    char x[IDENTITY_TEXT_MAX + 8];
    struct identity id;

    memset(x, 'x', sizeof(x));
    assert_true(trust_domain_valid((struct str){x, 255}));
    assert_false(trust_domain_valid((struct str){x, 256}));
    assert_false(trust_domain_valid(STR_NULL));
    assert_true(identity_make((struct str){x, 255}, (struct str){x, 63}, (struct str){x, 253}, &id));
    size_t rest = IDENTITY_TEXT_MAX - (9 + 2 + 4 + 1 + 4);
    assert_true(identity_make(STR("td"), STR("n"), (struct str){x, rest}, &id));
    assert_int_equal(id.n, IDENTITY_TEXT_MAX);
    assert_false(identity_make(STR("td"), STR("n"), (struct str){x, rest + 1}, &id));
    assert_false(identity_make(STR("td"), (struct str){x, SIZE_MAX / 2}, STR("s"), &id));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(uris), cmocka_unit_test(parts_and_compare), cmocka_unit_test(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
