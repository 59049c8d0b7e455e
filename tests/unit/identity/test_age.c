/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a certificate that is not renewed is spoken of at 85, 95 and 100 % of its life, once each, and never before its time.
 * Method: one real certificate of the played CA, its clock moved by the test; what was told is read from the machine's counts
 * and from the report that metrics and `ringwallctl certs` are made of. */
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>

#include "../../../src/identity/machine.h"
#include "play.h"
#include "unit.h"

enum { TTL_S = 9880 }; /* with what it is dated back a life of 10,000 s: a hundredth is 100 s */

struct scene {
    struct machine machine;
    struct play_ca play;
    struct mailbox *ca, *own, *worker;
    struct mailbox *workers[1];
    struct moment now;
    struct entry *entry;
    int64_t begin;
};

static int make(void **state) {
    struct identity id;
    assert_int_equal(tls_library_init(), 0);
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->now = (struct moment){.mono_ns = 1000 * NS_PER_S, .wall_s = 1900000000};
    play_ca_init(&s->play, STR("cluster.local"), s->now.wall_s - 1000, s->now.wall_s + 1000000);
    s->ca = mailbox_new("ca", 64);
    s->own = mailbox_new("own", 64);
    s->worker = s->workers[0] = mailbox_new("worker", 64);
    struct identity_options o = {.mailbox = s->own,
                                 .ca = s->ca,
                                 .workers = s->workers,
                                 .n_workers = 1,
                                 .node = "node-1",
                                 .ttl_s = TTL_S,
                                 .rotate_at = 0.8,
                                 .trust_domain = STR("cluster.local")};
    assert_int_equal(machine_init(&s->machine, &o), 0);
    assert_true(identity_parse(STR("spiffe://cluster.local/ns/default/sa/one"), &id));
    machine_set(&s->machine, &id, 1, &s->now);
    (void)machine_tick(&s->machine, &s->now);
    for (struct mail *m; (m = mailbox_take(s->ca)); mail_free(m)) {
        struct mail_bytes *q = container_of(m, struct mail_bytes, mail);
        uint8_t *bytes;
        size_t n;
        play_ca_answer(&s->play, q->bytes, q->n, s->now.wall_s, &bytes, &n);
        machine_answer(&s->machine, bytes, n, &s->now);
        free(bytes);
    }
    s->entry = map_entry(map_find(&s->machine.entries, id.text, id.n), struct entry, by_identity);
    assert_non_null(s->entry->credential);
    s->begin = tls_credential_not_before(s->entry->credential);
    assert_int_equal(tls_credential_not_after(s->entry->credential) - s->begin, 10000);
    *state = s;
    return 0;
}

static int unmake(void **state) {
    struct scene *s = *state;
    machine_deinit(&s->machine);
    mailbox_unref(s->ca);
    mailbox_unref(s->own);
    mailbox_unref(s->worker);
    play_ca_deinit(&s->play);
    free(s);
    return 0;
}

/* Looks at the entry `passed` seconds into its life. */
static void at(struct scene *s, int64_t passed) {
    s->now.wall_s = s->begin + passed;
    age_tell(&s->machine, s->entry, &s->now);
}

static void expect_told(const struct scene *s, uint64_t late, uint64_t very_late, uint64_t over) {
    assert_int_equal(s->machine.n_aged[AGE_LATE], late);
    assert_int_equal(s->machine.n_aged[AGE_VERY_LATE], very_late);
    assert_int_equal(s->machine.n_aged[AGE_OVER], over);
}

static void each_age_is_told_once(void **state) {
    struct scene *s = *state;
    at(s, 8499);
    expect_told(s, 0, 0, 0);
    at(s, 8500);
    at(s, 8600);
    expect_told(s, 1, 0, 0);
    at(s, 9499);
    expect_told(s, 1, 0, 0);
    at(s, 9500);
    at(s, 9999);
    expect_told(s, 1, 1, 0);
    at(s, 10000);
    at(s, 20000);
    expect_told(s, 1, 1, 1);
}

static void a_clock_that_jumps_tells_the_last_alone(void **state) {
    struct scene *s = *state;
    at(s, 9700);
    expect_told(s, 0, 1, 0);
    at(s, 100); /* and back: it was told */
    at(s, 9700);
    expect_told(s, 0, 1, 0);
}

static void nothing_is_late_before_its_renewal_is_due(void **state) {
    struct scene *s = *state;
    s->entry->rotate_s = s->begin + 9900; /* rotateAt: 0.99 */
    at(s, 9899);
    expect_told(s, 0, 0, 0);
    at(s, 9900);
    expect_told(s, 0, 1, 0);
}

/* At its end it is withdrawn, and the worker hears why. */
static void the_end_is_told_and_acted_on(void **state) {
    struct scene *s = *state;
    struct growing json cleanup(growing_deinit) = GROWING_NULL;
    s->now.wall_s = s->begin + 10000;
    (void)machine_tick(&s->machine, &s->now);
    assert_null(s->entry->credential);
    expect_told(s, 0, 0, 1);
    report_status(&s->machine, &json);
    growing_add(&json, (struct str){"", 1});
    assert_non_null(strstr(json.at, "\"expired\":1"));
}

int main(void) {
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_age_is_told_once, make, unmake),
        cmocka_unit_test_setup_teardown(a_clock_that_jumps_tells_the_last_alone, make, unmake),
        cmocka_unit_test_setup_teardown(nothing_is_late_before_its_renewal_is_due, make, unmake),
        cmocka_unit_test_setup_teardown(the_end_is_told_and_acted_on, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
