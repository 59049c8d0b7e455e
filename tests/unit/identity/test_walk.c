/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: whatever happens in whatever order, an identity is on the one list that its place names, whoever waits for a permit has a
 * certificate and stands in the order of the ends, and no expired certificate stays in force.
 * Method: random walks (seeded) over all that can happen to the machine: identities come and go, are wanted, answers come late,
 * twice, wrong or never, certificates are revoked, the root changes, clocks jump; after every step all invariants are looked at. */
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>
#include <ringwall/tls/crl.h>

#include "../../../src/identity/machine.h"
#include "play.h"
#include "unit.h"

enum {
    N = 20,
    TTL_S = 1000,
    WALKS = 8,
    STEPS = 1000,
    ANSWERS = 4,
    PENDING_MAX = 64,
    ROOTS = 2,
    REVOKED_MAX = 16,
    READER_MAIL_MAX = 16
};
static const struct str ours = {"cluster.local", 13};

struct scene {
    struct machine machine;
    struct mailbox *ca, *own, *reader, *readers[1];
    struct moment now;
    struct play_ca roots[ROOTS];
    size_t signer;
    struct identity identities[N];
    struct mail_bytes *pending[PENDING_MAX]; /* what the CA has not answered */
    size_t n_pending;
    struct tls_revoked revoked[REVOKED_MAX]; /* by the first root */
    size_t n_revoked;
    uint64_t generation;
    struct rng rng;
};

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    log_set_level(LOG_ERROR);
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->now = (struct moment){.mono_ns = 1000 * NS_PER_S, .wall_s = 1900000000};
    for (size_t i = 0; i < ROOTS; i++)
        play_ca_init(&s->roots[i], ours, s->now.wall_s - 50000000, s->now.wall_s + 50000000);
    s->ca = mailbox_new("ca", PENDING_MAX);
    s->own = mailbox_new("own", 64);
    s->reader = s->readers[0] = mailbox_new("reader", READER_MAIL_MAX);
    for (int i = 0; i < N; i++) {
        char account[16];
        snprintf(account, sizeof(account), "account-%d", i);
        assert_true(identity_make(ours, STR("default"), str_of(account), &s->identities[i]));
    }
    *state = s;
    return 0;
}

static int unmake(void **state) {
    struct scene *s = *state;
    mailbox_unref(s->ca);
    mailbox_unref(s->own);
    mailbox_unref(s->reader);
    for (size_t i = 0; i < ROOTS; i++)
        play_ca_deinit(&s->roots[i]);
    free(s);
    return 0;
}

/* ---- invariants ---- */

static size_t look_at_list(const struct machine *m, const struct list *l, int place) {
    size_t n = 0;
    list_for_each (it, l) {
        const struct entry *e = list_entry(it, struct entry, link);
        assert_int_equal((int)e->place, place);
        assert_ptr_equal(map_find(&m->entries, e->identity.text, e->identity.n), &e->by_identity);
        assert_int_equal(e->key != NULL, place == ENTRY_FLIGHT);
        n++;
    }
    return n;
}

static void look(const struct machine *m) {
    size_t n_flight = look_at_list(m, &m->flight, ENTRY_FLIGHT), n_due = look_at_list(m, &m->due, ENTRY_DUE);
    assert_int_equal(n_flight, m->n_flight);
    assert_true(n_flight <= IDENTITY_IN_FLIGHT_MAX);
    assert_int_equal(n_flight + n_due + look_at_list(m, &m->idle, ENTRY_IDLE) + look_at_list(m, &m->queue, ENTRY_QUEUED),
                     m->entries.n_nodes);
    int64_t last = INT64_MIN;
    list_for_each (it, &m->due) {
        const struct entry *e = list_entry(it, struct entry, link);
        assert_non_null(e->credential);
        assert_true(tls_credential_not_after(e->credential) >= last);
        last = tls_credential_not_after(e->credential);
    }
}

static void tick(struct scene *s) {
    int wait_ms = machine_tick(&s->machine, &s->now);
    assert_true(wait_ms >= 0 && wait_ms <= 1000);
    size_t cursor = 0;
    struct map_node *n = NULL;
    while ((n = map_next(&s->machine.entries, &cursor, n))) {
        const struct entry *e = map_entry(n, struct entry, by_identity);
        assert_true(!e->credential || s->now.wall_s < tls_credential_not_after(e->credential));
        assert_true(!e->credential || tls_peer_recheck(tls_credential_self(e->credential), s->machine.trust) == TLS_TRUST_OK);
    }
}

/* ---- what can happen ---- */

static void some_identities(struct scene *s) {
    struct identity set[N];
    size_t n = 0, of = 1 + rng_below(&s->rng, 8); /* most of them, most of the time */
    for (size_t i = 0; i < N; i++)
        if (rng_below(&s->rng, of + 1) > 0)
            set[n++] = s->identities[i];
    machine_set(&s->machine, set, n, &s->now);
}

static void collect(struct scene *s) {
    struct mail *m;
    while (s->n_pending < PENDING_MAX && (m = mailbox_take(s->ca)))
        s->pending[s->n_pending++] = container_of(m, struct mail_bytes, mail);
}

static void respond(struct scene *s, const struct ca_response *p) {
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_response(p, &bytes, &n), 0);
    machine_answer(&s->machine, bytes, n, &s->now);
    free(bytes);
}

static void answer_signed(struct scene *s, const struct mail_bytes *b, struct play_ca *by, bool twice) {
    uint8_t *bytes;
    size_t n;
    play_ca_answer(by, b->bytes, b->n, s->now.wall_s, &bytes, &n);
    for (int i = 0; i < 1 + twice; i++)
        machine_answer(&s->machine, bytes, n, &s->now);
    free(bytes);
}

/* One of the requests: the newest, mostly, for older ones are late. */
static void answer_one(struct scene *s) {
    collect(s);
    if (s->n_pending == 0)
        return;
    size_t i = rng_below(&s->rng, 8) ? s->n_pending - 1 : rng_below(&s->rng, s->n_pending);
    struct mail_bytes *b = s->pending[i];
    s->pending[i] = s->pending[--s->n_pending];
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct ca_request q;
    assert_int_equal(pb_consume_ca_request(b->bytes, b->n, &arena, &q), 0);
    unsigned how = rng_below(&s->rng, 16);
    struct ca_response p = {.kind = CA_MESSAGE_SIGN, .id = q.id, .code = CA_UNAVAILABLE, .message = STR("away")};
    if (q.kind == CA_MESSAGE_SIGN && how == 0)
        respond(s, &p);
    else if (q.kind == CA_MESSAGE_SIGN && how == 1) { /* an answer with nothing in it */
        p.code = CA_OK;
        respond(s, &p);
    } else if (q.kind == CA_MESSAGE_SIGN && how > 2) /* else it is lost */
        answer_signed(s, b, &s->roots[how == 3 ? 1 - s->signer : s->signer], how == 4);
    mail_free(&b->mail);
}

/* The root that signs and, mostly, the other one, with the list of the first. */
static void tell_bundles(struct scene *s) {
    struct tls_issuer issuer = {.key = s->roots[0].key, .cert = s->roots[0].root.at, .cert_n = s->roots[0].root.n};
    struct tls_crl_spec spec = {.number = ++s->generation,
                                .this_update = s->now.wall_s - 10,
                                .next_update = s->now.wall_s + 500,
                                .items = s->revoked,
                                .n = s->n_revoked};
    struct tls_der crl;
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    struct str roots[ROOTS], list = {(const char *)crl.at, crl.n};
    size_t n = rng_below(&s->rng, 8) ? ROOTS : 1;
    for (size_t i = 0; i < n; i++) {
        const struct tls_der *der = &s->roots[(s->signer + i) % ROOTS].root;
        roots[i] = (struct str){(const char *)der->at, der->n};
    }
    bool has_first = n == ROOTS || s->signer == 0;
    struct ca_bundle bundle = {.trust_domain = ours, .roots = roots, .n_roots = n, .crls = &list, .n_crls = has_first};
    struct ca_response p = {.kind = CA_MESSAGE_BUNDLE, .generation = s->generation, .bundles = &bundle, .n_bundles = 1};
    respond(s, &p);
    free(crl.at);
}

static struct entry *any_entry(struct scene *s) {
    const struct identity *i = &s->identities[rng_below(&s->rng, N)];
    struct map_node *n = map_find(&s->machine.entries, i->text, i->n);
    return n ? map_entry(n, struct entry, by_identity) : NULL;
}

static void revoke_one(struct scene *s) {
    const struct entry *e = any_entry(s);
    if (!e || !e->credential || s->n_revoked == REVOKED_MAX)
        return;
    const struct tls_peer *self = tls_credential_self(e->credential);
    struct tls_revoked *r = &s->revoked[s->n_revoked++];
    *r = (struct tls_revoked){.at = s->now.wall_s, .serial_n = self->serial_n};
    memcpy(r->serial, self->serial, self->serial_n);
    tell_bundles(s);
}

static void time_passes(struct scene *s) {
    static const uint64_t spans_ms[] = {1, 10, 100, 100, 1000, 1000, 1000, 1000, 11 * 1000, 200 * 1000, 850 * 1000};
    uint64_t ms = rng_below(&s->rng, spans_ms[rng_below(&s->rng, array_size(spans_ms))]) + 1;
    s->now.mono_ns += ms * NS_PER_MS;
    s->now.wall_s += (int64_t)(ms / 1000);
}

static void step(struct scene *s) {
    unsigned what = rng_below(&s->rng, 64);
    if (what < 2)
        some_identities(s);
    else if (what < 6)
        machine_want(&s->machine, &s->identities[rng_below(&s->rng, N)], &s->now);
    else if (what < 8)
        revoke_one(s);
    else if (what == 8)
        tell_bundles(s);
    else if (what == 9)
        s->signer = 1 - s->signer;
    else if (what == 10) /* the wall clock jumps, either way */
        s->now.wall_s += (int64_t)rng_below(&s->rng, 2 * TTL_S) - TTL_S;
    else if (what < 26)
        time_passes(s);
    else if (what < 46)
        for (unsigned i = 0; i < ANSWERS; i++)
            answer_one(s);
    else if (what < 48)
        for (struct mail *m; (m = mailbox_take(s->reader));)
            mail_free(m);
    else
        tick(s);
    look(&s->machine);
}

static void begin(struct scene *s) {
    struct identity_options o = {.mailbox = s->own,
                                 .ca = s->ca,
                                 .workers = s->readers,
                                 .n_workers = 1,
                                 .node = "node-1",
                                 .ttl_s = TTL_S,
                                 .rotate_at = 0.8,
                                 .trust_domain = ours};
    assert_int_equal(machine_init(&s->machine, &o), 0);
}

static void walk(struct scene *s, uint64_t seed) {
    begin(s);
    rng_seed(&s->rng, seed);
    rng_seed(&s->machine.rng, seed);
    s->n_revoked = 0;
    machine_set(&s->machine, s->identities, N, &s->now);
    for (unsigned i = 0; i < STEPS; i++)
        step(s);
    assert_true(s->machine.n_issued > N); /* it was a walk through the whole of it */
    machine_deinit(&s->machine);
    collect(s);
    while (s->n_pending > 0)
        mail_free(&s->pending[--s->n_pending]->mail);
}

static void all_invariants_hold(void **state) {
    for (uint64_t seed = 1; seed <= WALKS; seed++)
        walk(*state, seed);
}

/* More are asked for than the CA may have at a time, and it is silent: who stands behind them grows old, too. */
static void expired_behind_a_silent_ca(void **state) {
    struct scene *s = *state;
    begin(s);
    machine_set(&s->machine, s->identities, N, &s->now);
    for (struct mail *m; tick(s), (m = mailbox_take(s->ca));) {
        struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
        answer_signed(s, b, &s->roots[0], false);
        mail_free(m);
    }
    assert_int_equal(s->machine.n_issued, N);
    s->now.wall_s += TTL_S - 10; /* those with the longest lives are about to end, and all are urgent */
    tick(s);
    assert_false(list_empty(&s->machine.queue));
    s->now.wall_s += 20;
    s->now.mono_ns += 2 * NS_PER_S;
    tick(s);
    assert_int_equal(s->machine.n_aged[AGE_OVER], N);
    look(&s->machine);
    machine_deinit(&s->machine);
}

#define UNIT(f) cmocka_unit_test_setup_teardown(f, make, unmake)
int main(void) {
    const struct CMUnitTest tests[] = {
        UNIT(all_invariants_hold),
        UNIT(expired_behind_a_silent_ca),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
