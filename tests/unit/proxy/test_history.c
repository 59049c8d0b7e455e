/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: history keeps exactly the last denials and the youngest contacts, in order, whatever comes; counters by policy stay
 * bounded and lose nothing. Method: small rings filled over their bounds many times, compared with what was put in. */
#include "history.h"

#include "unit.h"

static struct contact_key key_of(unsigned i, bool allowed) {
    struct contact_key k;
    memset(&k, 0, sizeof(k));
    k.source_ip.bytes[14] = (uint8_t)(i >> 8);
    k.source_ip.bytes[15] = (uint8_t)i;
    k.port = 80;
    k.allowed = allowed;
    return k;
}

static void denials_wrap(void **state unused_arg) {
    struct history *h = history_new(5, 1);
    assert_non_null(h);
    assert_int_equal(history_n_denials(h), 0);
    for (unsigned n = 1; n <= 23; n++) {
        struct denial *d = history_add_denial(h);
        assert_int_equal(d->world, 0); /* nothing of the one before */
        assert_int_equal(d->facts.used, 0);
        d->world = n;
        facts_setf(&d->facts, FACT_POLICY, "ns/p%u", n);
        assert_int_equal(history_n_denials(h), min_of(n, 5u));
        for (unsigned i = 0; i < history_n_denials(h); i++) {
            const struct denial *at = history_denial_at(h, i);
            char policy[32];
            snprintf(policy, sizeof(policy), "ns/p%u", (unsigned)at->world);
            assert_int_equal(at->world, n - history_n_denials(h) + 1 + i);
            assert_true(str_is(facts_get(&at->facts, FACT_POLICY), str_of(policy)));
        }
    }
    assert_null(history_free(h));
    assert_null(history_free(NULL));
}

static void expect_ages(const struct history *h, const unsigned *expected, size_t n) {
    const struct contact *c = NULL;
    assert_int_equal(history_n_contacts(h), n);
    for (size_t i = 0; i < n; i++) {
        c = history_next_contact(h, c);
        assert_non_null(c);
        assert_int_equal(c->key.source_ip.bytes[15], expected[i]);
    }
    assert_null(history_next_contact(h, c));
}

static void equal_pairs_are_one(void **state unused_arg) {
    struct history *h = history_new(1, 3);
    assert_non_null(h);
    for (unsigned i = 0; i < 1000; i++) {
        struct contact_key k = key_of(1, true);
        assert_int_equal(history_add_contact(h, &k)->count, i + 1);
    }
    assert_int_equal(history_n_contacts(h), 1);
    struct contact_key denied = key_of(1, false), two = key_of(2, true), one = key_of(1, true), three = key_of(3, true);
    assert_int_equal(history_add_contact(h, &denied)->count, 1);
    assert_int_equal(history_add_contact(h, &two)->count, 1);
    assert_int_equal(history_add_contact(h, &one)->count, 1001); /* now the youngest */
    expect_ages(h, (const unsigned[]){1, 2, 1}, 3);
    assert_int_equal(history_add_contact(h, &three)->count, 1); /* the denied one gave way */
    expect_ages(h, (const unsigned[]){2, 1, 3}, 3);
    assert_int_equal(history_add_contact(h, &denied)->count, 1);
    expect_ages(h, (const unsigned[]){1, 3, 1}, 3);
    history_free(h);
}

static void identities_tell_pairs_apart(void **state unused_arg) {
    struct history *h = history_new(1, 16);
    struct identity a, b;
    assert_true(identity_parse(STR("spiffe://td/ns/x/sa/a"), &a));
    assert_true(identity_parse(STR("spiffe://td/ns/x/sa/ab"), &b));
    const struct identity *sources[] = {&a, &b, NULL};
    for (size_t round = 1; round <= 2; round++)
        for (size_t i = 0; i < array_size(sources); i++) {
            struct contact_key k = key_of(1, true);
            contact_key_set_source(&k, sources[i]);
            const struct contact *c = history_add_contact(h, &k);
            assert_int_equal(c->count, round);
            assert_true(str_is((struct str){c->key.source, c->key.source_bytes}, sources[i] ? identity_uri(sources[i]) : STR_NULL));
        }
    assert_int_equal(history_n_contacts(h), 3);
    history_free(h);
}

static void contacts_at_the_bound(void **state unused_arg) {
    enum { N = 64 };
    struct history *h = history_new(1, N);
    for (unsigned i = 0; i < 10000; i++) {
        struct contact_key k = key_of(i, i % 2);
        history_add_contact(h, &k);
        assert_true(history_n_contacts(h) <= N);
    }
    unsigned n = 0;
    for (const struct contact *c = NULL; (c = history_next_contact(h, c)); n++) {
        unsigned i = 10000 - N + n;
        assert_int_equal(c->key.source_ip.bytes[14] << 8 | c->key.source_ip.bytes[15], i);
        assert_int_equal(c->count, 1);
    }
    assert_int_equal(n, N);
    history_free(h);
}

static struct contact_key plain_out_of(unsigned i) {
    struct contact_key k = key_of(i, true);
    k.outbound = true;
    return k;
}

static void count_kinds(const struct history *h, unsigned *ret_plain_out, unsigned *ret_others) {
    *ret_plain_out = *ret_others = 0;
    for (const struct contact *c = NULL; (c = history_next_contact(h, c));) {
        bool plain_out = c->key.outbound && !c->key.mtls;
        ++*(plain_out ? ret_plain_out : ret_others);
        assert_true(plain_out || *ret_plain_out == 0); /* the others come first */
    }
}

/* A scan of the whole internet leaves three quarters of the memory to the mesh, whoever comes first. */
static void plaintext_that_left_has_its_quarter(void **state unused_arg) {
    enum { N = 64 };
    for (unsigned order = 0; order < 3; order++) {
        struct history *h = history_new(1, N);
        unsigned plain_out, others;
        for (unsigned i = 0; i < 2000; i++) {
            bool out = order == 2 ? i % 2 : (i < 1000) == (order == 1);
            struct contact_key k = out ? plain_out_of(i) : key_of(i, true);
            assert_int_equal(history_add_contact(h, &k)->count, 1);
            assert_int_equal(history_add_contact(h, &k)->count, 2);
            assert_true(history_n_contacts(h) <= N);
        }
        count_kinds(h, &plain_out, &others);
        assert_int_equal(plain_out, N / 4);
        assert_int_equal(others, 3 * N / 4);
        struct contact_key tunnel = plain_out_of(7);
        tunnel.mtls = true;
        history_add_contact(h, &tunnel);
        count_kinds(h, &plain_out, &others);
        assert_int_equal(plain_out, N / 4); /* a tunnel is one of the others */
        history_free(h);
    }
    struct history *h = history_new(1, 1); /* the least */
    for (unsigned i = 0; i < 10; i++) {
        struct contact_key k = i % 2 ? plain_out_of(i) : key_of(i, true);
        history_add_contact(h, &k);
        assert_int_equal(history_n_contacts(h), 1);
    }
    history_free(h);
}

static void counters_by_policy(void **state unused_arg) {
    static struct stats_denials d;
    for (unsigned i = 0; i < STATS_DENIED_MAX + 50; i++) {
        char name[32];
        snprintf(name, sizeof(name), "ns/p%u", i);
        for (unsigned times = 0; times < 3; times++)
            stats_count_denied(&d, str_of(name), CLOSE_POLICY_DENIED);
    }
    assert_int_equal(d.n_items, STATS_DENIED_MAX);
    for (unsigned i = 0; i < STATS_DENIED_MAX; i++)
        assert_int_equal(counter_get(&d.items[i].n), 3);
    assert_int_equal(counter_get(&d.other[CLOSE_POLICY_DENIED]), 150);
    stats_count_denied(&d, STR("ns/p0"), CLOSE_MTLS_REQUIRED); /* another reason is another count */
    assert_int_equal(counter_get(&d.other[CLOSE_MTLS_REQUIRED]), 1);
    assert_int_equal(counter_get(&d.items[0].n), 3);
}

static void strange_names(void **state unused_arg) {
    static struct stats_denials d;
    static char text[STATS_POLICY_BYTES + 1];
    memset(text, 'x', sizeof(text));
    stats_count_denied(&d, STR_NULL, CLOSE_POLICY_DENIED);
    stats_count_denied(&d, STR_NULL, CLOSE_POLICY_DENIED);
    stats_count_denied(&d, (struct str){text, STATS_POLICY_BYTES}, CLOSE_POLICY_DENIED);
    stats_count_denied(&d, (struct str){text, STATS_POLICY_BYTES + 1}, CLOSE_POLICY_DENIED); /* does not fit */
    assert_int_equal(d.n_items, 2);
    assert_int_equal(counter_get(&d.items[0].n), 2);
    assert_int_equal(counter_get(&d.other[CLOSE_POLICY_DENIED]), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(denials_wrap),
        cmocka_unit_test(equal_pairs_are_one),
        cmocka_unit_test(identities_tell_pairs_apart),
        cmocka_unit_test(contacts_at_the_bound),
        cmocka_unit_test(plaintext_that_left_has_its_quarter),
        cmocka_unit_test(counters_by_policy),
        cmocka_unit_test(strange_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
