/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: over days, with a CA that is away now and then, nobody is without a valid credential while one could be had, and the CA
 * never meets a herd.
 * Method: the machine under a clock that the test moves second by second, 500 identities that all begin at once, a played CA
 * that is away in stretches drawn with a seed. bench/micro/bench_identity does the same for a month. */
#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>

#include "../../../src/identity/machine.h"
#include "play.h"
#include "unit.h"

enum {
    N = 500,
    TTL_S = 7200, /* short lives, so that six hours see some generations */
    END_S = 6 * 3600,
    AWAY_MAX_S = 1200, /* less than a fifth of a life: what is left when a renewal is due */
    GRACE_S = 15,      /* a silent CA's request runs into its deadline, then the next probe */
    SLOT_S = 300,
    START_S = 300, /* the first certificates are no renewals */
};

struct scene {
    struct machine machine;
    struct play_ca play;
    struct mailbox *ca, *own, *worker;
    struct mailbox *workers[1];
    struct moment now;
    struct identity identities[N];
};

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    log_set_level(LOG_ERROR);
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->now = (struct moment){.mono_ns = 1000 * NS_PER_S, .wall_s = 1900000000};
    play_ca_init(&s->play, STR("cluster.local"), s->now.wall_s - 1000, s->now.wall_s + 1000000);
    s->ca = mailbox_new("ca", 64);
    s->own = mailbox_new("own", 64);
    s->worker = s->workers[0] = mailbox_new("worker", 4 * N);
    struct identity_options o = {.mailbox = s->own,
                                 .ca = s->ca,
                                 .workers = s->workers,
                                 .n_workers = 1,
                                 .node = "node-1",
                                 .ttl_s = TTL_S,
                                 .rotate_at = 0.8,
                                 .trust_domain = STR("cluster.local")};
    assert_int_equal(machine_init(&s->machine, &o), 0);
    rng_seed(&s->machine.rng, 3);
    for (int i = 0; i < N; i++) {
        char uri[64];
        snprintf(uri, sizeof(uri), "spiffe://cluster.local/ns/default/sa/account-%d", i);
        assert_true(identity_parse(str_of(uri), &s->identities[i]));
    }
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

/* One second's work of machine and CA. Says how many certificates were asked for. */
static unsigned turn(struct scene *s, bool up) {
    unsigned n = 0, more;
    do {
        more = 0;
        (void)machine_tick(&s->machine, &s->now);
        struct mail *m;
        while ((m = mailbox_take(s->ca))) {
            struct mail_bytes *q = container_of(m, struct mail_bytes, mail);
            uint64_t before = s->play.n_signed;
            uint8_t *bytes = NULL;
            size_t n_bytes = 0;
            if (up) {
                play_ca_answer(&s->play, q->bytes, q->n, s->now.wall_s, &bytes, &n_bytes);
                machine_answer(&s->machine, bytes, n_bytes, &s->now);
                free(bytes);
            }
            more += s->play.n_signed > before;
            mail_free(m);
        }
        while ((m = mailbox_take(s->worker)))
            mail_free(m);
        n += more;
    } while (more > 0);
    return n;
}

static unsigned missing(const struct scene *s) {
    unsigned have = 0;
    size_t cursor = 0;
    struct map_node *node = NULL;
    while ((node = map_next(&s->machine.entries, &cursor, node))) {
        const struct entry *e = map_entry(node, struct entry, by_identity);
        have += e->credential && s->now.wall_s < tls_credential_not_after(e->credential);
    }
    return N - have;
}

static void nobody_is_missed_and_no_herd_comes(void **state) {
    struct scene *s = *state;
    struct rng weather;
    rng_seed(&weather, 11);
    bool up = true;
    int64_t until_s = 900, since_s = 0, down_s = 0;
    unsigned slots[END_S / SLOT_S] = {0};
    machine_set(&s->machine, s->identities, N, &s->now);
    for (int64_t at = 0; at < END_S; at++, s->now.wall_s++, s->now.mono_ns += NS_PER_S) {
        if (at >= until_s) {
            up = !up;
            int64_t away = 60 + (int64_t)rng_below(&weather, AWAY_MAX_S - 60);
            since_s = at;
            until_s = at + (up ? 4 * away : away);
        }
        down_s += !up;
        slots[at / SLOT_S] += turn(s, up);
        if (up && at > since_s + GRACE_S)
            assert_int_equal(missing(s), 0);
    }
    assert_true(down_s > END_S / 20);
    uint64_t total = 0, most = 0;
    size_t n = 0;
    for (size_t i = START_S / SLOT_S; i < array_size(slots); i++, n++) {
        total += slots[i];
        most = max_of(most, (uint64_t)slots[i]);
    }
    assert_true(total > 2 * N);
    assert_true(most * n <= 5 * total); /* no five minutes see more than five times the mean */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(nobody_is_missed_and_no_herd_comes, make, unmake)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
