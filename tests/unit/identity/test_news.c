/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a reader whose mailbox was full hears at last how every identity stands, each in its order, also that one is gone; one
 * that has ended holds nothing up, and what is kept for one that never reads is bounded.
 * Method: the machine with a CA that the test plays, a reader that always reads and one whose mailbox holds two. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/trust.h>

#include "../../../src/identity/machine.h"
#include "play.h"
#include "unit.h"

enum { READERS = 2, QUICK = 0, SLOW = 1, SLOW_MAIL_MAX = 2, TTL_S = 1000 };
struct scene {
    struct machine machine;
    struct mailbox *ca, *own, *readers[READERS];
    struct moment now;
    struct play_ca root;
};
static const struct str ours = {"cluster.local", 13};

static int make(void **state) {
    static struct scene s;
    assert_int_equal(tls_library_init(), 0);
    s = (struct scene){.ca = mailbox_new("ca", 64), .own = mailbox_new("own", 64)};
    s.now = (struct moment){.mono_ns = 1000 * NS_PER_S, .wall_s = clock_wall_s()};
    s.readers[QUICK] = mailbox_new("quick", 4096);
    s.readers[SLOW] = mailbox_new("slow", SLOW_MAIL_MAX);
    play_ca_init(&s.root, ours, s.now.wall_s - 1000, s.now.wall_s + 1000000);
    struct identity_options o = {.mailbox = s.own,
                                 .ca = s.ca,
                                 .workers = s.readers,
                                 .n_workers = READERS,
                                 .node = "node-1",
                                 .ttl_s = TTL_S,
                                 .rotate_at = 0.8,
                                 .trust_domain = ours};
    assert_int_equal(machine_init(&s.machine, &o), 0);
    *state = &s;
    return 0;
}

static int unmake(void **state) {
    struct scene *s = *state;
    machine_deinit(&s->machine);
    mailbox_unref(s->ca);
    mailbox_unref(s->own);
    for (unsigned i = 0; i < READERS; i++)
        mailbox_unref(s->readers[i]);
    play_ca_deinit(&s->root);
    return 0;
}

static void pass(struct scene *s, uint64_t ms) {
    s->now.mono_ns += ms * NS_PER_MS;
    (void)machine_tick(&s->machine, &s->now);
}

static void serve(struct scene *s) {
    for (struct mail *m; (m = mailbox_take(s->ca)); mail_free(m), pass(s, 0)) {
        struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
        struct arena arena cleanup(arena_deinit) = ARENA_NULL;
        struct ca_request q;
        uint8_t *bytes;
        size_t n;
        assert_int_equal(pb_consume_ca_request(b->bytes, b->n, &arena, &q), 0);
        if (q.kind != CA_MESSAGE_SIGN)
            continue;
        play_ca_answer(&s->root, b->bytes, b->n, s->now.wall_s, &bytes, &n);
        machine_answer(&s->machine, bytes, n, &s->now);
        free(bytes);
    }
}

static struct identity number(unsigned i) {
    char text[32];
    struct identity made;
    snprintf(text, sizeof(text), "i%u", i);
    assert_true(identity_make(ours, STR("default"), str_of(text), &made));
    return made;
}

/* These identities from now on, each with what comes of it. */
static void want(struct scene *s, unsigned first, unsigned n) {
    cleanup_free struct identity *items = calloc(n + 1, sizeof(*items));
    for (unsigned i = 0; i < n; i++)
        items[i] = number(first + i);
    machine_set(&s->machine, items, n, &s->now);
    pass(s, 0);
    serve(s);
}

/* Reads all that the reader has; what it holds of the identity then: a generation, 0 none, `held` no news. */
static int64_t read_all(struct scene *s, unsigned reader, const struct identity *of, int64_t held) {
    for (struct mail *m; (m = mailbox_take(s->readers[reader])); mail_free(m)) {
        if (m->type != &mail_credential_type)
            continue;
        struct mail_credential *c = container_of(m, struct mail_credential, mail);
        assert_true(c->credential || c->why[0]);
        if (identity_is(&c->identity, of))
            held = c->credential ? (int64_t)tls_credential_generation(c->credential) : 0;
    }
    return held;
}

static void a_withdrawal_is_repeated(void **state) {
    struct scene *s = *state;
    struct identity i = number(0);
    want(s, 0, 1);
    assert_int_equal(read_all(s, SLOW, &i, -1), 1);
    for (unsigned k = 0; k < SLOW_MAIL_MAX; k++) /* it is full when the certificate ends */
        machine_want(&s->machine, &i, &s->now);
    s->now.wall_s += TTL_S + 1;
    pass(s, 1000);
    assert_int_equal(read_all(s, QUICK, &i, -1), 0);
    assert_true(s->machine.readers[SLOW].behind);
    assert_int_equal(read_all(s, SLOW, &i, 1), 1); /* the old news */
    int again_ms = machine_tick(&s->machine, &s->now);
    assert_in_range(again_ms, 1, 1000);
    assert_int_equal(read_all(s, SLOW, &i, 1), 0);
    assert_false(s->machine.readers[SLOW].behind);
    pass(s, 5000);
    serve(s);
    assert_int_equal(read_all(s, SLOW, &i, 0), 2);
    assert_int_equal(read_all(s, QUICK, &i, 0), 2);
}

static void one_that_left_is_told_of(void **state) {
    struct scene *s = *state;
    struct identity i = number(0);
    want(s, 0, 1);
    assert_int_equal(read_all(s, SLOW, &i, -1), 1);
    for (unsigned k = 0; k < SLOW_MAIL_MAX; k++)
        machine_want(&s->machine, &i, &s->now);
    want(s, 0, 0);
    assert_int_equal(s->machine.entries.n_nodes, 0);
    assert_int_equal(s->machine.n_gone, 1);
    assert_int_equal(read_all(s, SLOW, &i, 1), 1);
    pass(s, NEWS_AGAIN_MS);
    assert_int_equal(s->machine.n_gone, 0);
    assert_int_equal(read_all(s, SLOW, &i, 1), 0);

    /* It comes again before its end was heard of: the end first, then the new one. */
    want(s, 0, 1);
    assert_int_equal(read_all(s, SLOW, &i, 0), 1);
    for (unsigned k = 0; k < SLOW_MAIL_MAX; k++)
        machine_want(&s->machine, &i, &s->now);
    want(s, 0, 0);
    want(s, 0, 1);
    assert_int_equal(read_all(s, SLOW, &i, -1), 1);
    pass(s, NEWS_AGAIN_MS);
    assert_int_equal(read_all(s, SLOW, &i, -1), 1);
    pass(s, NEWS_AGAIN_MS);
    assert_int_equal(read_all(s, SLOW, &i, -1), -1);
    assert_int_equal(s->machine.n_gone, 0);
}

/* Many, of which few have room: each is told once it has. */
static void many_come_in_turn(void **state) {
    enum { MANY = 60 };
    struct scene *s = *state;
    int64_t held[MANY];
    want(s, 0, MANY);
    for (unsigned i = 0; i < MANY; i++)
        held[i] = -1;
    for (unsigned turn = 0; turn < MANY + 2; turn++, pass(s, NEWS_AGAIN_MS))
        for (struct mail *m; (m = mailbox_take(s->readers[SLOW])); mail_free(m))
            for (unsigned i = 0; m->type == &mail_credential_type && i < MANY; i++) {
                struct identity is = number(i);
                if (identity_is(&container_of(m, struct mail_credential, mail)->identity, &is))
                    held[i] = 1;
            }
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(held[i], 1);
    assert_false(s->machine.readers[SLOW].behind);
}

static void one_that_never_reads_is_bounded(void **state) {
    enum { ROUNDS = 30, EACH = 50 };
    struct scene *s = *state;
    struct identity any = number(0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        want(s, i * EACH, EACH);
        (void)read_all(s, QUICK, &any, 0);
    }
    assert_int_equal(s->machine.n_gone, NEWS_GONE_MAX);
    mailbox_close(s->readers[SLOW]); /* it has ended: nothing is kept for it */
    pass(s, NEWS_AGAIN_MS);
    assert_int_equal(s->machine.n_gone, 0);
    assert_false(s->machine.readers[SLOW].behind);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_withdrawal_is_repeated, make, unmake),
        cmocka_unit_test_setup_teardown(one_that_left_is_told_of, make, unmake),
        cmocka_unit_test_setup_teardown(many_come_in_turn, make, unmake),
        cmocka_unit_test_setup_teardown(one_that_never_reads_is_bounded, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
