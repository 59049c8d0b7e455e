/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every reader hears of new bundles before any credential that needs them, the CA hears of it when all have adopted
 * them, what cannot be used changes nothing, and a credential that is revoked is replaced.
 * Method: the machine with a CA that the test plays and two readers whose mailboxes the test empties, or does not. */
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/trust.h>
#include <ringwall/tls/crl.h>
#include <ringwall/wire/json.h>
#include <ringwall/wire/pb.h>

#include "../../../src/identity/machine.h"
#include "play.h"
#include "unit.h"

enum { READERS = 2, READER_MAIL_MAX = 2 };
struct scene {
    struct machine machine;
    struct mailbox *ca, *own, *readers[READERS];
    struct moment now;
    struct play_ca root, next, foreign;
};
static const struct str ours = {"cluster.local", 13}, theirs = {"other.mesh", 10}, alias = {"old.mesh", 8};

static int make(void **state) {
    static struct mailbox *readers[READERS];
    struct scene *s = calloc(1, sizeof(*s));
    assert_int_equal(tls_library_init(), 0);
    assert_non_null(s);
    s->ca = mailbox_new("ca", 64);
    s->own = mailbox_new("own", 64);
    s->now = (struct moment){.mono_ns = 1000 * NS_PER_S, .wall_s = clock_wall_s()};
    for (unsigned i = 0; i < READERS; i++)
        s->readers[i] = readers[i] = mailbox_new("reader", READER_MAIL_MAX);
    play_ca_init(&s->root, ours, s->now.wall_s - 1000, s->now.wall_s + 1000000);
    play_ca_init(&s->next, ours, s->now.wall_s - 1000, s->now.wall_s + 1000000);
    play_ca_init(&s->foreign, theirs, s->now.wall_s - 1000, s->now.wall_s + 1000000);
    struct identity_options o = {.mailbox = s->own,
                                 .ca = s->ca,
                                 .workers = readers,
                                 .n_workers = READERS,
                                 .node = "node-1",
                                 .ttl_s = 1000,
                                 .rotate_at = 0.8,
                                 .trust_domain = ours,
                                 .aliases = &alias,
                                 .n_aliases = 1};
    assert_int_equal(machine_init(&s->machine, &o), 0);
    *state = s;
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
    play_ca_deinit(&s->next);
    play_ca_deinit(&s->foreign);
    free(s);
    return 0;
}

static void pass(struct scene *s, uint64_t ms) {
    s->now.mono_ns += ms * NS_PER_MS;
    (void)machine_tick(&s->machine, &s->now);
}

/* ---- the CA's part ---- */

struct asked {
    bool any;
    enum ca_message_kind kind;
    bool watch;
    uint64_t acknowledged;
};

/* Takes the oldest request; one for a certificate is signed by `ca` when that is not NULL. */
static struct asked serve(struct scene *s, struct play_ca *ca) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct ca_request q;
    struct mail *m = mailbox_take(s->ca);
    if (!m)
        return (struct asked){0};
    struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
    assert_int_equal(pb_consume_ca_request(b->bytes, b->n, &arena, &q), 0);
    if (q.kind == CA_MESSAGE_SIGN && ca) {
        uint8_t *bytes;
        size_t n;
        play_ca_answer(ca, b->bytes, b->n, s->now.wall_s, &bytes, &n);
        machine_answer(&s->machine, bytes, n, &s->now);
        free(bytes);
    }
    struct asked a = {.any = true, .kind = q.kind, .watch = q.watch, .acknowledged = q.acknowledged};
    mail_free(m);
    return a;
}

static struct str der(const struct tls_der *d) { return (struct str){(const char *)d->at, d->n}; }

static struct tls_der list_of(const struct play_ca *ca, const struct tls_peer *revoked, uint64_t number, int64_t next_update) {
    struct tls_issuer issuer = {.key = ca->key, .cert = ca->root.at, .cert_n = ca->root.n};
    struct tls_revoked item = {.at = next_update};
    struct tls_crl_spec spec = {
        .number = number, .this_update = next_update - 100, .next_update = next_update, .items = &item, .n = revoked ? 1 : 0};
    struct tls_der crl;
    if (revoked) {
        item.serial_n = revoked->serial_n;
        memcpy(item.serial, revoked->serial, revoked->serial_n);
    }
    assert_int_equal(tls_crl_make(&issuer, &spec, &crl), 0);
    return crl;
}

static void push(struct scene *s, uint64_t generation, const struct ca_bundle *bundles, size_t n) {
    struct ca_response p = {.kind = CA_MESSAGE_BUNDLE, .generation = generation, .bundles = bundles, .n_bundles = n};
    uint8_t *bytes;
    size_t n_bytes;
    assert_int_equal(pb_create_ca_response(&p, &bytes, &n_bytes), 0);
    machine_answer(&s->machine, bytes, n_bytes, &s->now);
    free(bytes);
}

static void push_roots(struct scene *s, uint64_t generation, const struct tls_der *a, const struct tls_der *b) {
    struct str roots[] = {der(a), b ? der(b) : STR_NULL};
    struct ca_bundle bundle = {.trust_domain = ours, .roots = roots, .n_roots = b ? 2 : 1};
    push(s, generation, &bundle, 1);
}

static void push_list(struct scene *s, uint64_t generation, const struct tls_der *crl) {
    struct str root = der(&s->root.root), list = der(crl);
    struct ca_bundle bundle = {.trust_domain = ours, .roots = &root, .n_roots = 1, .crls = &list, .n_crls = 1};
    push(s, generation, &bundle, 1);
}

/* ---- a reader's part ---- */

/* The reader's next mail when it is trust: its generation, adopted at once; else 0, and the mail is freed. */
static uint64_t adopt(struct scene *s, unsigned reader) {
    struct mail *m = mailbox_take(s->readers[reader]);
    if (!m)
        return 0;
    if (m->type != &mail_trust_type) {
        mail_free(m);
        return 0;
    }
    struct mail_trust *t = container_of(m, struct mail_trust, mail);
    uint64_t generation = t->trust->generation;
    assert_true(mail_trust_adopted(t));
    m = mailbox_take(s->own);
    assert_true(m && m->type == &mail_trust_type);
    trust_adopted(&s->machine, container_of(m, struct mail_trust, mail));
    mail_free(m);
    return generation;
}

static const struct tls_bundle *bundle_now(const struct scene *s, struct str trust_domain) {
    for (size_t i = 0; i < s->machine.trust->n; i++)
        if (str_is(tls_bundle_trust_domain(s->machine.trust->bundles[i]), trust_domain))
            return s->machine.trust->bundles[i];
    return NULL;
}

static void want(struct scene *s) {
    struct identity i;
    assert_true(identity_make(ours, STR("default"), STR("one"), &i));
    machine_set(&s->machine, &i, 1, &s->now);
    pass(s, 0);
}

/* ---- tests ---- */

static void asked_adopted_and_acknowledged(void **state) {
    struct scene *s = *state;
    pass(s, 0);
    struct asked a = serve(s, NULL);
    assert_true(a.any && a.kind == CA_MESSAGE_BUNDLE && a.watch && a.acknowledged == 0);
    pass(s, BUNDLE_ASK_MS - 1);
    assert_false(serve(s, NULL).any);
    pass(s, 1); /* no answer: asked again */
    assert_true(serve(s, NULL).watch);

    push_roots(s, 7, &s->root.root, NULL);
    assert_int_equal(adopt(s, 0), 1);
    assert_false(serve(s, NULL).any); /* one is missing */
    assert_int_equal(adopt(s, 1), 1);
    a = serve(s, NULL);
    assert_true(a.kind == CA_MESSAGE_BUNDLE && !a.watch && a.acknowledged == 7);
    pass(s, 60000);
    assert_false(serve(s, NULL).any);

    push_roots(s, 7, &s->next.root, NULL); /* no news */
    push_roots(s, 6, &s->next.root, NULL);
    assert_int_equal(adopt(s, 0), 0);
    push_roots(s, 9, &s->root.root, &s->next.root);
    assert_int_equal(adopt(s, 0), 2);
    assert_int_equal(adopt(s, 1), 2);
    assert_int_equal(serve(s, NULL).acknowledged, 9);
    assert_int_equal(tls_bundle_roots(bundle_now(s, ours))->n, 2);
    assert_int_equal(tls_bundle_roots(bundle_now(s, alias))->n, 2);
}

static void a_reader_that_does_not_answer(void **state) {
    struct scene *s = *state;
    push_roots(s, 1, &s->root.root, NULL);
    assert_int_equal(adopt(s, 0), 1);
    for (unsigned i = 0; i < 12; i++)
        pass(s, 1000);
    assert_int_equal(s->machine.n_late, 1);
    assert_false(trust_all_adopted(&s->machine));
    assert_int_equal(s->machine.ca_acknowledged, 0);
    assert_int_equal(adopt(s, 1), 1);
    assert_int_equal(s->machine.ca_acknowledged, 1);
    assert_int_equal(s->machine.n_late, 1);
}

/* Its mailbox was full: told as soon as there is room, and no credential comes before that. */
static void a_reader_that_is_full(void **state) {
    struct scene *s = *state;
    for (unsigned i = 0; i < READER_MAIL_MAX; i++)
        push_roots(s, i + 1, &s->root.root, NULL);
    push_roots(s, 3, &s->root.root, &s->next.root);
    want(s);
    while (serve(s, &s->next).any)
        ;
    assert_int_equal(adopt(s, 0), 1);
    assert_int_equal(adopt(s, 0), 2);
    assert_int_equal(adopt(s, 0), 0);
    pass(s, 1000);
    assert_int_equal(adopt(s, 0), 3);
    pass(s, 1000);
    assert_int_equal(s->machine.ca_acknowledged, 0);
}

static void what_cannot_be_used(void **state) {
    struct scene *s = *state;
    uint8_t junk_bytes[] = {0x30, 3, 1, 2, 3};
    struct tls_der junk = {junk_bytes, sizeof(junk_bytes)}, forged = list_of(&s->root, NULL, 3, s->now.wall_s + 500);
    struct tls_der good = list_of(&s->root, NULL, 1, s->now.wall_s + 500),
                   foreign_list = list_of(&s->foreign, NULL, 1, s->now.wall_s);
    forged.at[forged.n - 1] ^= 1;
    push_list(s, 1, &good);
    const struct tls_trust *before = s->machine.trust;
    push_list(s, 2, &junk);
    push_list(s, 3, &forged);
    push(s, 4, NULL, 0);
    push_roots(s, 5, &good, NULL);
    assert_ptr_equal(s->machine.trust, before);
    assert_int_equal(s->machine.n_refused, 4);
    assert_int_equal(s->machine.ca_generation, 1);
    assert_true(s->machine.trust_why[0]);

    /* A foreign trust domain's flaw: ours is updated, theirs stays what it was. */
    struct str root = der(&s->root.root), foreign = der(&s->foreign.root), list = der(&foreign_list), bad = der(&junk);
    struct ca_bundle both[] = {{.trust_domain = ours, .roots = &root, .n_roots = 1},
                               {.trust_domain = theirs, .roots = &foreign, .n_roots = 1, .crls = &list, .n_crls = 1}};
    push(s, 6, both, 2);
    assert_int_equal(s->machine.trust_why[0], '\0');
    const struct tls_bundle *of_theirs = bundle_now(s, theirs);
    both[1].crls = &bad;
    push(s, 7, both, 2);
    assert_int_equal(s->machine.ca_generation, 7);
    assert_ptr_equal(bundle_now(s, theirs), of_theirs);
    assert_int_equal(tls_bundle_n_crls(bundle_now(s, ours)), 0);
    assert_int_equal(s->machine.n_refused, 5);
    free(forged.at);
    free(good.at);
    free(foreign_list.at);
}

static struct entry *the_entry(struct scene *s) {
    size_t cursor = 0;
    struct map_node *n = map_next(&s->machine.entries, &cursor, NULL);
    assert_non_null(n);
    return map_entry(n, struct entry, by_identity);
}

static void revoked_is_replaced(void **state) {
    struct scene *s = *state;
    push_roots(s, 1, &s->root.root, NULL);
    want(s);
    while (serve(s, &s->root).any)
        ;
    struct entry *e = the_entry(s);
    assert_int_equal(e->generation, 1);
    for (unsigned i = 0; i < 4; i++) {
        (void)adopt(s, 0);
        (void)adopt(s, 1);
    }
    struct tls_der crl = list_of(&s->root, tls_credential_self(e->credential), 1, s->now.wall_s + 500);
    push_list(s, 2, &crl);
    assert_null(e->credential);
    assert_non_null(strstr(e->why, "certificate is revoked, serial "));
    assert_int_equal(adopt(s, 0), 2); /* the list first, then that there is none, and why */
    struct mail *m = mailbox_take(s->readers[0]);
    assert_true(m && m->type == &mail_credential_type && !container_of(m, struct mail_credential, mail)->credential);
    mail_free(m);
    (void)adopt(s, 1);
    (void)adopt(s, 1);
    pass(s, 10);
    while (serve(s, &s->root).any)
        ;
    assert_true(e->credential && e->generation == 2);
    free(crl.at);
}

/* It has no place among those that have a certificate and wait for a permit, in the order of their ends. */
static void revoked_while_its_renewal_waits(void **state) {
    struct scene *s = *state;
    struct identity two[2];
    struct entry *e[2];
    push_roots(s, 1, &s->root.root, NULL);
    for (size_t i = 0; i < 2; i++)
        assert_true(identity_make(ours, STR("default"), i ? STR("two") : STR("one"), &two[i]));
    machine_set(&s->machine, two, 2, &s->now);
    pass(s, 0);
    while (serve(s, &s->root).any)
        ;
    for (size_t i = 0; i < 2; i++) {
        struct map_node *n = map_find(&s->machine.entries, two[i].text, two[i].n);
        e[i] = map_entry(n, struct entry, by_identity);
        assert_int_equal(e[i]->generation, 1);
    }
    s->now.wall_s = max_of(e[0]->rotate_s, e[1]->rotate_s);
    s->machine.pace.next_ns = UINT64_MAX / 2; /* no permit for a long time */
    e[1]->try_ns = UINT64_MAX;
    pass(s, 0);
    assert_int_equal(e[0]->place, ENTRY_DUE);
    assert_int_equal(e[1]->place, ENTRY_IDLE);
    struct tls_der crl = list_of(&s->root, tls_credential_self(e[0]->credential), 1, s->now.wall_s + 500);
    push_list(s, 2, &crl);
    assert_null(e[0]->credential);
    e[1]->try_ns = 0;
    pass(s, 10); /* the other one's time comes */
    assert_int_equal(e[1]->place, ENTRY_DUE);
    while (serve(s, &s->root).any)
        ;
    assert_true(e[0]->credential && e[0]->generation == 2); /* without a permit */
    assert_int_equal(e[1]->generation, 1);
    free(crl.at);
}

static void pruned_is_replaced(void **state) {
    struct scene *s = *state;
    push_roots(s, 1, &s->root.root, NULL);
    want(s);
    while (serve(s, &s->root).any)
        ;
    struct entry *e = the_entry(s);
    push_roots(s, 2, &s->root.root, &s->next.root);
    assert_non_null(e->credential);
    push_roots(s, 3, &s->next.root, NULL);
    assert_null(e->credential);
    pass(s, 10);
    while (serve(s, &s->next).any)
        ;
    assert_true(e->credential && e->generation == 2);
}

static void a_leaf_of_an_unknown_root(void **state) {
    struct scene *s = *state;
    push_roots(s, 1, &s->root.root, NULL);
    want(s);
    while (serve(s, &s->next).any)
        ;
    assert_null(the_entry(s)->credential); /* the roots that came with it do not count once the CA has told bundles */
    assert_int_equal(s->machine.trust_generation, 1);
}

static void stale_is_told(void **state) {
    struct scene *s = *state;
    struct tls_der crl = list_of(&s->root, NULL, 12, s->now.wall_s - 1);
    struct growing text cleanup(growing_deinit) = GROWING_NULL;
    char why[128];
    push_list(s, 1, &crl);
    pass(s, 0);
    assert_true(s->machine.stale_told);
    report_status(&s->machine, &text);
    struct json *j = json_read((struct str){text.at, text.n}, why);
    assert_non_null(j);
    assert_non_null(memmem(text.at, text.n, "\"stale\":true", 12));
    assert_non_null(memmem(text.at, text.n, "\"number\":12", 11));
    json_free(j);
    free(crl.at);
}

#define UNIT(f) cmocka_unit_test_setup_teardown(f, make, unmake)
int main(void) {
    const struct CMUnitTest tests[] = {
        UNIT(asked_adopted_and_acknowledged),
        UNIT(a_reader_that_does_not_answer),
        UNIT(a_reader_that_is_full),
        UNIT(what_cannot_be_used),
        UNIT(revoked_is_replaced),
        UNIT(revoked_while_its_renewal_waits),
        UNIT(pruned_is_replaced),
        UNIT(a_leaf_of_an_unknown_root),
        UNIT(stale_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
