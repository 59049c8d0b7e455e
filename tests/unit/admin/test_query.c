/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a request's target and Host header are read strictly or refused, and never beyond their bounds. Method: tables
 * of what is taken and what is not, and texts at and past each bound. */
#include "query.h"

#include "unit.h"

static void taken(void **state) {
    static const struct {
        const char *target, *path, *key, *value;
    } rows[] = {
        {"/", "/", NULL, NULL},
        {"/status", "/status", NULL, NULL},
        {"/status?", "/status", NULL, NULL},
        {"/authz?to=a/b", "/authz", "to", "a/b"},
        {"/authz?x=1&to=a%2Fb&y=", "/authz", "to", "a/b"},
        {"/authz?source=spiffe%3A%2F%2Ftd%2Fns%2Fa%2fsa%2fb", "/authz", "source", "spiffe://td/ns/a/sa/b"},
        {"/authz?to=a=b", "/authz", "to", "a=b"},
        {"/authz?to=a+b", "/authz", "to", "a+b"},
        {"/logging?reset", "/logging", "reset", ""},
        {"/logging?reset=", "/logging", "reset", ""},
        {"/a%2Fb", "/a%2Fb", NULL, NULL},
        {"/?to=%C3%A9", "/", "to", "\xc3\xa9"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct query q;
        bool given = false;
        if (!query_parse(str_of(rows[i].target), &q))
            fail_msg("%s is refused", rows[i].target);
        assert_true(str_is(q.path, str_of(rows[i].path)));
        if (!rows[i].key)
            continue;
        struct str value = query_get(&q, rows[i].key, &given);
        assert_true(given);
        if (!str_is(value, str_of(rows[i].value)))
            fail_msg("%s: " STR_FMT, rows[i].target, STR_ARG(value));
    }
}

static void refused(void **state) {
    static const char *const targets[] = {
        "",
        "status",
        "http://localhost/status",
        "*",
        "/a#b",
        "/a?b#c",
        "/a?x=%",
        "/a?x=%4",
        "/a?x=%4g",
        "/a?x=%00",
        "/a?x=%0a",
        "/a?x=%7f",
        "/a\x01",
        "/a?x\x02=1",
        "/a?=1",
        "/a?&",
        "/a?x=1&x=2",
        "/a?x=1&%78=2",
        "/a?x=1&&y=2",
        "/a?1&2&3&4&5&6&7&8&9",
    };
    for (size_t i = 0; i < array_size(targets); i++) {
        struct query q;
        if (query_parse(str_of(targets[i]), &q))
            fail_msg("%s is taken", targets[i]);
    }
}

static void bounds(void **state) {
    static char text[QUERY_TARGET_MAX + 2];
    struct query q;
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    assert_true(query_parse((struct str){text, QUERY_PATH_MAX}, &q));
    assert_false(query_parse((struct str){text, QUERY_PATH_MAX + 1}, &q));
    memcpy(text, "/?k=", 4);
    assert_true(query_parse((struct str){text, 4 + QUERY_BYTES_MAX - 1}, &q));
    assert_int_equal(query_get(&q, "k", NULL).n, QUERY_BYTES_MAX - 1);
    assert_false(query_parse((struct str){text, 4 + QUERY_BYTES_MAX + QUERY_PATH_MAX}, &q));
    assert_false(query_parse((struct str){text, sizeof(text)}, &q));
}

static void missing(void **state) {
    struct query q;
    bool given = true;
    assert_true(query_parse(STR("/a?k=1"), &q));
    assert_int_equal(query_get(&q, "K", &given).n, 0);
    assert_false(given);
}

static void hosts(void **state) {
    static const char *const ours[] = {
        "", "localhost", "LocalHost", "localhost:15000", "127.0.0.1", "127.0.0.1:1", "10.0.0.1:15000", "[::1]", "[::1]:15000"};
    static const char *const foreign[] = {"evil.example",
                                          "localhost.evil.example",
                                          "evil.example:15000",
                                          "localhost:x",
                                          "localhost:",
                                          "[::1",
                                          "[::1]x",
                                          "[localhost]",
                                          "::1",
                                          "127.0.0.1.nip.io",
                                          "[::1]:99999",
                                          " localhost",
                                          "localhost, evil",
                                          "[127.0.0.1]"};
    for (size_t i = 0; i < array_size(ours); i++)
        if (!host_is_local(str_of(ours[i])))
            fail_msg("'%s' is refused", ours[i]);
    for (size_t i = 0; i < array_size(foreign); i++)
        if (host_is_local(str_of(foreign[i])))
            fail_msg("'%s' is taken", foreign[i]);
    assert_true(host_is_local(STR_NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(taken), cmocka_unit_test(refused), cmocka_unit_test(bounds),
                                       cmocka_unit_test(missing), cmocka_unit_test(hosts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
