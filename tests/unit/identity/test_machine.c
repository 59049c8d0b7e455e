/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every identity has a valid credential before it is missed, and never an expired one, whatever the CA and the clock do.
 * Method: the machine under a clock that the test moves, with a CA that the test plays (the real signer's answers, refusals,
 * silence, nonsense); what the workers are told is read from a mailbox. */
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/trust.h>
#include <ringwall/tls/issue.h>
#include <ringwall/wire/json.h>
#include <ringwall/wire/pb.h>

#include "../../../src/identity/machine.h"
#include "unit.h"

enum { TTL_S = 1000 };

struct scene {
    struct machine machine;
    struct mailbox *ca, *worker, *own;
    struct moment now;
    /* the CA that the test plays */
    struct tls_key *root_key;
    struct tls_der root;
};
static const char *const name = "spiffe://cluster.local/ns/default/sa/one";

static struct identity identity_of(const char *uri) {
    struct identity i;
    assert_true(identity_parse(str_of(uri), &i));
    return i;
}

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->ca = mailbox_new("ca", 64);
    s->worker = mailbox_new("worker", 64);
    s->own = mailbox_new("own", 64);
    s->now = (struct moment){.mono_ns = 1000 * NS_PER_S, .wall_s = clock_wall_s()};
    struct tls_ca_spec spec = {.trust_domain = STR("cluster.local"),
                               .path_len = -1,
                               .not_before = s->now.wall_s - 1000000,
                               .not_after = s->now.wall_s + 10000000};
    assert_int_equal(tls_key_generate(&s->root_key), 0);
    assert_int_equal(tls_issue_root(s->root_key, &spec, &s->root), 0);
    static struct mailbox *workers[1];
    workers[0] = s->worker;
    struct identity_options o = {.mailbox = s->own,
                                 .ca = s->ca,
                                 .workers = workers,
                                 .n_workers = 1,
                                 .node = "node-1",
                                 .ttl_s = TTL_S,
                                 .rotate_at = 0.8,
                                 .trust_domain = STR("cluster.local")};
    assert_int_equal(machine_init(&s->machine, &o), 0);
    *state = s;
    return 0;
}

static int unmake(void **state) {
    struct scene *s = *state;
    machine_deinit(&s->machine);
    mailbox_unref(s->ca);
    mailbox_unref(s->worker);
    mailbox_unref(s->own);
    tls_key_free(s->root_key);
    free(s->root.at);
    free(s);
    return 0;
}

static void pass(struct scene *s, uint64_t ms) {
    s->now.mono_ns += ms * NS_PER_MS;
    s->now.wall_s += (int64_t)(ms / 1000);
    (void)machine_tick(&s->machine, &s->now);
}

/* The next request for a certificate in the CA's mailbox; NULL when there is none. Questions for bundles stay unanswered. */
static struct mail_bytes *next_request(struct scene *s, struct arena *a, struct ca_request *q) {
    struct mail *m;
    while ((m = mailbox_take(s->ca))) {
        struct mail_bytes *b = container_of(m, struct mail_bytes, mail);
        assert_int_equal(pb_consume_ca_request(b->bytes, b->n, a, q), 0);
        if (q->kind == CA_MESSAGE_SIGN)
            return b;
        mail_free(m);
    }
    return NULL;
}

static void deliver(struct scene *s, const struct ca_response *p) {
    uint8_t *bytes;
    size_t n;
    assert_int_equal(pb_create_ca_response(p, &bytes, &n), 0);
    machine_answer(&s->machine, bytes, n, &s->now);
    free(bytes);
}

static void deliver_refusal(struct scene *s, uint64_t id) {
    struct ca_response p = {.kind = CA_MESSAGE_SIGN, .id = id, .code = CA_PERMISSION_DENIED, .message = STR("not yours")};
    deliver(s, &p);
}

/* Signs the request as `uri`. */
static void deliver_certificate(struct scene *s, const struct ca_request *q, const char *uri) {
    struct tls_der der, leaf;
    struct tls_csr *csr;
    struct identity asked, says = identity_of(uri);
    assert_true(identity_parse(q->identity, &asked));
    assert_int_equal(tls_pem_to_der(q->csr_pem, "CERTIFICATE REQUEST", &der), 0);
    assert_int_equal(tls_csr_read(der.at, der.n, &asked, &csr), 0);
    struct tls_issuer by = {.key = s->root_key, .cert = s->root.at, .cert_n = s->root.n};
    assert_int_equal(tls_issue_leaf(&by, csr, &says, s->now.wall_s, q->validity_s, &leaf), 0);
    struct growing leaf_pem = GROWING_NULL, root_pem = GROWING_NULL;
    assert_int_equal(tls_der_to_pem(&leaf, "CERTIFICATE", &leaf_pem), 0);
    assert_int_equal(tls_der_to_pem(&s->root, "CERTIFICATE", &root_pem), 0);
    struct ca_response p = {
        .kind = CA_MESSAGE_SIGN, .id = q->id, .chain = {{leaf_pem.at, leaf_pem.n}, {root_pem.at, root_pem.n}}, .n_chain = 2};
    deliver(s, &p);
    growing_deinit(&leaf_pem);
    growing_deinit(&root_pem);
    tls_csr_free(csr);
    free(der.at);
    free(leaf.at);
}

static void want_set(struct scene *s, const char *uri) {
    struct identity i = identity_of(uri);
    machine_set(&s->machine, &i, 1, &s->now);
    (void)machine_tick(&s->machine, &s->now);
}

/* Answers one request with a certificate; says whether there was one. */
static bool serve_one(struct scene *s) {
    struct arena a = ARENA_NULL;
    struct ca_request q;
    struct mail_bytes *m = next_request(s, &a, &q);
    if (m) {
        deliver_certificate(s, &q, name);
        mail_free(&m->mail);
    }
    arena_deinit(&a);
    return m != NULL;
}

/* The worker's next mail about a credential; trust that comes before it is adopted, and the machine hears of that. */
static struct mail *take_credential(struct scene *s) {
    struct mail *m;
    while ((m = mailbox_take(s->worker)) && m->type == &mail_trust_type) {
        trust_adopted(&s->machine, container_of(m, struct mail_trust, mail));
        mail_free(m);
    }
    return m;
}

/* What the worker is told next: a generation, 0 for "none", -1 for no news. */
static int64_t news(struct scene *s) {
    struct mail *m = take_credential(s);
    if (!m)
        return -1;
    struct mail_credential *c = container_of(m, struct mail_credential, mail);
    int64_t generation = c->credential ? (int64_t)tls_credential_generation(c->credential) : 0;
    assert_true(c->credential || c->why[0]);
    mail_free(m);
    return generation;
}

static void prefetched(void **state) {
    struct scene *s = *state;
    want_set(s, name);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 1);
    assert_int_equal(news(s), -1);
    assert_false(serve_one(s));
}

/* An alias of the trust domain has our roots, unless it has a bundle of its own. */
static void aliases_have_our_roots(void **state) {
    static const struct str aliases[] = {{"old.mesh", 8}, {"older.mesh", 10}};
    struct scene *s = *state;
    struct tls_ca_spec spec = {
        .trust_domain = aliases[1], .path_len = -1, .not_before = s->now.wall_s - 1000000, .not_after = s->now.wall_s + 10000000};
    struct tls_der_list theirs cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    cleanup(tls_key_freep) struct tls_key *key = NULL;
    struct tls_bundle *bundle = NULL;
    struct tls_der root;
    assert_int_equal(tls_key_generate(&key), 0);
    assert_int_equal(tls_issue_root(key, &spec, &root), 0);
    assert_int_equal(tls_der_list_add(&theirs, root.at, root.n), 0);
    assert_int_equal(tls_bundle_new(aliases[1], &theirs, NULL, &bundle), 0);
    s->machine.o.aliases = aliases;
    s->machine.o.n_aliases = array_size(aliases);
    s->machine.o.bundles = &bundle;
    s->machine.o.n_bundles = 1;
    want_set(s, name);
    assert_true(serve_one(s));
    struct mail *m = mailbox_take(s->worker);
    assert_true(m && m->type == &mail_trust_type);
    const struct tls_trust *trust = container_of(m, struct mail_trust, mail)->trust;
    static const char *const domains[] = {"cluster.local", "older.mesh", "old.mesh"};
    assert_int_equal(trust->n, array_size(domains));
    for (size_t i = 0; i < trust->n; i++) {
        const struct tls_der *is = &tls_bundle_roots(trust->bundles[i])->items[0], *wanted = i == 1 ? &root : &s->root;
        assert_true(str_is(tls_bundle_trust_domain(trust->bundles[i]), str_of(domains[i])));
        assert_true(is->n == wanted->n && !memcmp(is->at, wanted->at, is->n));
    }
    mail_free(m);
    s->machine.o.n_bundles = s->machine.o.n_aliases = 0;
    tls_bundle_unref(bundle);
    free(root.at);
}

static void renewed_at_its_time(void **state) {
    struct scene *s = *state;
    want_set(s, name);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 1);
    /* life = TTL + 120 s of backdating; renewal lies in 0.75 to 0.8 of it */
    int64_t begin = s->now.wall_s - TLS_BACKDATE_S, life = TTL_S + TLS_BACKDATE_S;
    while (!serve_one(s))
        pass(s, 1000);
    int64_t at = s->now.wall_s - begin;
    assert_true(at >= life * 75 / 100 - 1 && at <= life * 80 / 100 + 1);
    assert_int_equal(news(s), 2);
}

static void kept_while_the_ca_refuses_then_withdrawn(void **state) {
    struct scene *s = *state;
    struct arena a = ARENA_NULL;
    struct ca_request q;
    want_set(s, name);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 1);
    unsigned n_tries = 0;
    int64_t end = s->now.wall_s + TTL_S;
    while (s->now.wall_s < end - 1) {
        pass(s, 1000);
        struct mail_bytes *m = next_request(s, &a, &q);
        if (!m)
            continue;
        n_tries++;
        deliver_refusal(s, q.id);
        mail_free(&m->mail);
        assert_int_equal(news(s), -1); /* the valid one stays */
    }
    assert_in_range(n_tries, 4, 120);
    pass(s, 2000);
    assert_int_equal(news(s), 0); /* expired: withdrawn, with a reason */
    while (!serve_one(s))
        pass(s, 1000);
    int64_t told;
    while ((told = news(s)) == 0)
        ;
    assert_int_equal(told, 2);
    arena_deinit(&a);
}

static void backs_off(void **state) {
    struct scene *s = *state;
    struct arena a = ARENA_NULL;
    struct ca_request q;
    uint64_t last = 0, gap = 0;
    want_set(s, name);
    for (unsigned i = 0; i < 12; i++) {
        struct mail_bytes *m;
        while (!(m = next_request(s, &a, &q)))
            pass(s, 100);
        if (last) {
            uint64_t now_gap = (s->now.mono_ns - last) / NS_PER_MS;
            assert_true(now_gap + 100 >= gap * 5 / 4 || now_gap > BACKOFF_MAX_MS * 3 / 4);
            gap = now_gap;
        }
        last = s->now.mono_ns;
        deliver_refusal(s, q.id);
        mail_free(&m->mail);
        assert_int_equal(news(s), 0);
    }
    assert_in_range(gap, BACKOFF_MAX_MS * 3 / 4, BACKOFF_MAX_MS * 5 / 4);
    /* Somebody waits: the back-off is cut to its first step. */
    struct identity i = identity_of(name);
    machine_want(&s->machine, &i, &s->now);
    pass(s, BACKOFF_FIRST_MS + 1);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 1);
    arena_deinit(&a);
}

static void silence_is_a_failure(void **state) {
    struct scene *s = *state;
    struct arena a = ARENA_NULL;
    struct ca_request q;
    want_set(s, name);
    struct mail_bytes *m = next_request(s, &a, &q);
    assert_non_null(m);
    pass(s, ANSWER_TIMEOUT_MS - 1);
    assert_int_equal(news(s), -1);
    pass(s, 2);
    assert_int_equal(news(s), 0);
    deliver_certificate(s, &q, name); /* too late: not taken */
    assert_int_equal(news(s), -1);
    mail_free(&m->mail);
    arena_deinit(&a);
}

static void wrong_certificates_are_refused(void **state) {
    struct scene *s = *state;
    struct arena a = ARENA_NULL;
    struct ca_request q;
    want_set(s, name);
    struct mail_bytes *m = next_request(s, &a, &q);
    deliver_certificate(s, &q, "spiffe://cluster.local/ns/default/sa/other");
    assert_int_equal(news(s), 0);
    mail_free(&m->mail);
    machine_answer(&s->machine, (const uint8_t *)"\xff\xff", 2, &s->now);
    assert_int_equal(news(s), -1);
    pass(s, 1000);
    m = next_request(s, &a, &q);
    struct ca_response p = {.kind = CA_MESSAGE_SIGN, .id = q.id, .chain = {STR("no PEM"), STR("neither")}, .n_chain = 2};
    deliver(s, &p);
    assert_int_equal(news(s), 0);
    mail_free(&m->mail);
    arena_deinit(&a);
}

static void clock_jumps(void **state) {
    struct scene *s = *state;
    want_set(s, name);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 1);
    s->now.wall_s += 100000; /* forwards: expired at once */
    pass(s, 1000);
    assert_int_equal(news(s), 0);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 2);
    s->now.wall_s -= 200000; /* backwards: not valid yet, so a new one is fetched */
    pass(s, 1000);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 3);
}

static void forgotten(void **state) {
    struct scene *s = *state;
    want_set(s, name);
    assert_true(serve_one(s));
    assert_int_equal(news(s), 1);
    machine_set(&s->machine, NULL, 0, &s->now);
    assert_int_equal(news(s), 0);
    assert_int_equal(s->machine.entries.n_nodes, 0);
    struct identity i = identity_of(name);
    machine_want(&s->machine, &i, &s->now); /* not of this node: nothing is asked */
    pass(s, 2000);
    assert_false(serve_one(s));
}

static void bounded_in_flight(void **state) {
    struct scene *s = *state;
    enum { N = 20 };
    struct identity all[N];
    for (unsigned i = 0; i < N; i++) {
        char uri[80];
        snprintf(uri, sizeof(uri), "spiffe://cluster.local/ns/default/sa/many-%u", i);
        all[i] = identity_of(uri);
    }
    machine_set(&s->machine, all, N, &s->now);
    machine_want(&s->machine, &all[N - 1], &s->now); /* urgent: goes first */
    (void)machine_tick(&s->machine, &s->now);
    assert_int_equal(s->machine.n_flight, IDENTITY_IN_FLIGHT_MAX);
    struct arena a = ARENA_NULL;
    struct ca_request q;
    struct mail_bytes *m = next_request(s, &a, &q);
    assert_true(str_is(q.identity, identity_uri(&all[N - 1])));
    mail_free(&m->mail);
    for (unsigned i = 1; i < IDENTITY_IN_FLIGHT_MAX; i++)
        mail_free(mailbox_take(s->ca));
    assert_null(mailbox_take(s->ca));
    deliver_refusal(s, q.id);
    (void)machine_tick(&s->machine, &s->now);
    assert_int_equal(s->machine.n_flight, IDENTITY_IN_FLIGHT_MAX);
    arena_deinit(&a);
}

static void reports(void **state) {
    struct scene *s = *state;
    want_set(s, name);
    struct growing text = GROWING_NULL;
    report_certs(&s->machine, &text);
    assert_non_null(strstr(text.at, "Initializing"));
    growing_deinit(&text);
    text = GROWING_NULL;
    assert_true(serve_one(s));
    report_certs(&s->machine, &text);
    char why[128];
    struct json *json = json_read((struct str){text.at, text.n}, why);
    assert_non_null(json);
    const struct json *first = json_at(json, 0);
    assert_true(str_is(json_text(json_get(first, "identity")), str_of(name)));
    assert_true(str_is(json_text(json_get(first, "state")), STR("Available")));
    assert_int_equal(json_count(json_get(first, "certChain")), 1);
    assert_int_equal(json_count(json_get(first, "rootCerts")), 1);
    assert_null(strstr(text.at, "PRIVATE"));
    json_free(json);
    growing_deinit(&text);
    text = GROWING_NULL;
    report_status(&s->machine, &text);
    assert_non_null(strstr(text.at, "\"available\":1"));
    growing_deinit(&text);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make, unmake)
    const struct CMUnitTest tests[] = {CASE(prefetched),
                                       CASE(aliases_have_our_roots),
                                       CASE(renewed_at_its_time),
                                       CASE(kept_while_the_ca_refuses_then_withdrawn),
                                       CASE(backs_off),
                                       CASE(silence_is_a_failure),
                                       CASE(wrong_certificates_are_refused),
                                       CASE(clock_jumps),
                                       CASE(forgotten),
                                       CASE(bounded_in_flight),
                                       CASE(reports)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
