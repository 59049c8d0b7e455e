/* SPDX-License-Identifier: GPL-3.0-or-later
 * machine.c - when each identity's certificate is asked for, taken, renewed, withdrawn
 *
 * Renewal and expiry go by wall time, which may jump: both are looked at anew every second. Back-off and deadlines go by
 * the monotonic clock. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/tls/issue.h>
#include <ringwall/wire/pb.h>

#include "machine.h"

int machine_init(struct machine *m, const struct identity_options *o) {
    *m = (struct machine){.o = *o, .next_request_id = 1};
    list_init(&m->idle);
    list_init(&m->queue);
    list_init(&m->due);
    list_init(&m->flight);
    list_init(&m->news);
    rng_seed_random(&m->rng);
    int r = trust_init(m);
    return r ? err_trace(r) : err_trace(map_init(&m->entries, 64));
}

static void entry_free(struct machine *m, struct entry *e) {
    if (e->place == ENTRY_FLIGHT)
        m->n_flight--;
    list_unlink(&e->link);
    map_remove(&m->entries, &e->by_identity);
    if (e->credential)
        e->credential = tls_credential_unref(e->credential);
    e->key = tls_key_free(e->key);
    news_forget(m, e);
}

void machine_deinit(struct machine *m) {
    for (;;) {
        size_t cursor = 0;
        struct map_node *n = map_next(&m->entries, &cursor, NULL);
        if (!n)
            break;
        entry_free(m, map_entry(n, struct entry, by_identity));
    }
    news_deinit(m);
    map_deinit(&m->entries);
    trust_deinit(m);
}

static struct entry *entry_find(const struct machine *m, const struct identity *i) {
    struct map_node *n = map_find(&m->entries, i->text, i->n);
    return n ? map_entry(n, struct entry, by_identity) : NULL;
}

static void entry_place(struct machine *m, struct entry *e, int place, bool in_front) {
    if (e->place == ENTRY_FLIGHT && place != ENTRY_FLIGHT)
        m->n_flight--;
    if (e->place != ENTRY_FLIGHT && place == ENTRY_FLIGHT)
        m->n_flight++;
    list_unlink(&e->link);
    struct list *const lists[] = {
        [ENTRY_IDLE] = &m->idle, [ENTRY_QUEUED] = &m->queue, [ENTRY_DUE] = &m->due, [ENTRY_FLIGHT] = &m->flight};
    struct list *to = lists[place];
    if (in_front)
        list_push_front(to, &e->link);
    else
        list_push_back(to, &e->link);
    e->place = place;
}

static void entry_withdraw(struct machine *m, struct entry *e, const char *why, const struct moment *now) {
    if (!e->credential)
        return;
    e->credential = tls_credential_unref(e->credential);
    snprintf(e->why, sizeof(e->why), "%s", why);
    if (e->place == ENTRY_DUE)
        entry_place(m, e, ENTRY_QUEUED, false); /* those that are due stand in the order of their credentials' ends */
    news_put(m, e, now);
}

static struct entry *entry_new(struct machine *m, const struct identity *i) {
    struct entry *e = m->entries.n_nodes < IDENTITIES_MAX ? calloc(1, sizeof(*e)) : NULL;
    if (!e) {
        log_error("identity", "no room for a certificate of " STR_FMT ": at most %d identities a node", STR_ARG(identity_uri(i)),
                  IDENTITIES_MAX);
        return NULL;
    }
    e->identity = *i;
    check(map_insert(&m->entries, &e->by_identity, e->identity.text, e->identity.n) == 0);
    entry_place(m, e, ENTRY_QUEUED, false);
    return e;
}

void machine_set(struct machine *m, const struct identity *items, size_t n, const struct moment *now) {
    size_t cursor = 0;
    struct map_node *node = NULL;
    while ((node = map_next(&m->entries, &cursor, node)))
        map_entry(node, struct entry, by_identity)->kept = false;
    for (size_t i = 0; i < n; i++) {
        struct entry *e = entry_find(m, &items[i]);
        if (!e)
            e = entry_new(m, &items[i]);
        if (e)
            e->kept = true;
    }
    cursor = 0;
    node = map_next(&m->entries, &cursor, NULL);
    while (node) {
        struct entry *e = map_entry(node, struct entry, by_identity);
        node = map_next(&m->entries, &cursor, node);
        if (e->kept)
            continue;
        entry_withdraw(m, e, "no workload of this node has the identity any more", now);
        entry_free(m, e);
    }
}

static bool has_valid(const struct entry *e, int64_t wall_s) {
    return e->credential && wall_s < tls_credential_not_after(e->credential);
}

void machine_want(struct machine *m, const struct identity *i, const struct moment *now) {
    struct entry *e = entry_find(m, i);
    if (!e)
        return; /* not of this node: the worker's own deadline ends the wait */
    if (has_valid(e, now->wall_s)) {
        news_put(m, e, now); /* the worker missed the news */
        return;
    }
    /* Someone waits: to the front, and the back-off is cut, but never below its first step. */
    uint64_t soon = now->mono_ns + BACKOFF_FIRST_MS * NS_PER_MS;
    if (e->place == ENTRY_IDLE && e->try_ns > soon)
        e->try_ns = soon;
    if (e->place == ENTRY_QUEUED)
        entry_place(m, e, ENTRY_QUEUED, true);
}

static uint64_t backoff_ns(struct machine *m, const struct entry *e, int64_t wall_s) {
    uint64_t ms = BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < e->n_failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = min_of(ms, (uint64_t)BACKOFF_MAX_MS);
    ms = ms * 4 / 5 + rng_below(&m->rng, ms * 2 / 5 + 1); /* 20 % either way */
    if (has_valid(e, wall_s)) {
        uint64_t part = (uint64_t)(tls_credential_not_after(e->credential) - wall_s) * 1000 / BACKOFF_PARTS_OF_REST;
        ms = min_of(ms, max_of(part, (uint64_t)BACKOFF_FIRST_MS));
    }
    return ms * NS_PER_MS;
}

static void entry_failed(struct machine *m, struct entry *e, const struct moment *now, struct str why) {
    e->key = tls_key_free(e->key);
    e->n_failures++;
    m->n_failed++;
    snprintf(e->why, sizeof(e->why), STR_FMT, STR_ARG(why));
    e->try_ns = now->mono_ns + backoff_ns(m, e, now->wall_s);
    entry_place(m, e, ENTRY_IDLE, false);
    if ((e->n_failures & (e->n_failures - 1)) == 0) /* the 1st, 2nd, 4th, 8th in a row: a CA that is away fills no log */
        log_warn("identity", "no new certificate for " STR_FMT " (failure %u in a row): %s", STR_ARG(identity_uri(&e->identity)),
                 e->n_failures, e->why);
    if (!has_valid(e, now->wall_s))
        news_put(m, e, now);
}

/* When to renew: rotateAt of the life, less up to 0.05 of it, so that a node's certificates do not all renew at once. */
static int64_t rotation_of(struct machine *m, const struct tls_credential *c) {
    int64_t begin = tls_credential_not_before(c), life = tls_credential_not_after(c) - begin;
    double share = m->o.rotate_at - 0.05 * rng_unit(&m->rng);
    return begin + (int64_t)((double)life * max_of(share, 0.0));
}

static int64_t life_to_ask(struct machine *m, const struct entry *e, const struct moment *now) {
    return e->generation > 0 ? m->o.ttl_s : pace_first_life(&m->pace, &m->rng, now->wall_s, m->o.ttl_s);
}

static int create_request(struct machine *m, struct entry *e, const struct moment *now, uint8_t **ret, size_t *ret_n) {
    struct tls_der csr = {0};
    int r = tls_key_generate(&e->key);
    if (r == 0)
        r = tls_csr_make(e->key, &e->identity, &csr);
    if (r != 0)
        return err_fold(r);
    struct growing pem cleanup(growing_deinit) = GROWING_NULL;
    r = tls_der_to_pem(&csr, "CERTIFICATE REQUEST", &pem);
    free(csr.at);
    if (r != 0 || pem.failed)
        return err_origin(r < 0 ? r : -ENOMEM);
    struct ca_request q = {.kind = CA_MESSAGE_SIGN,
                           .id = e->request_id,
                           .caller = CA_CALLER_NODE,
                           .caller_node = str_of(m->o.node),
                           .identity = identity_uri(&e->identity),
                           .csr_pem = {pem.at, pem.n},
                           .validity_s = life_to_ask(m, e, now)};
    return err_trace(pb_create_ca_request(&q, ret, ret_n));
}

static void entry_ask(struct machine *m, struct entry *e, const struct moment *now) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    e->request_id = m->next_request_id++;
    e->asked_ns = m->asked_ns = now->mono_ns;
    e->key = tls_key_free(e->key);
    int r = create_request(m, e, now, &bytes, &n);
    struct mail_bytes *mail = r == 0 ? mail_bytes_new(bytes, n, m->o.mailbox) : NULL;
    if (!mail) {
        free(bytes);
        entry_failed(m, e, now, STR("the request could not be made"));
        return;
    }
    if (mailbox_post(m->o.ca, &mail->mail) != 0) {
        mail_free(&mail->mail);
        m->away = true;
        entry_failed(m, e, now, STR("the CA takes no more requests now"));
        return;
    }
    entry_place(m, e, ENTRY_FLIGHT, false);
}

static struct entry *in_flight(struct machine *m, uint64_t id) {
    list_for_each (it, &m->flight) {
        struct entry *e = list_entry(it, struct entry, link);
        if (e->request_id == id)
            return e;
    }
    return NULL;
}

static int read_chain(const struct ca_response *p, struct tls_der_list *ret) {
    for (size_t i = 0; i + 1 < p->n_chain; i++) {
        struct tls_der_list one cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
        int r = tls_certs_from_pem(p->chain[i], TLS_CHAIN_MAX, &one);
        for (size_t k = 0; r == 0 && k < one.n; k++)
            r = tls_der_list_add(ret, one.items[k].at, one.items[k].n);
        if (r != 0)
            return r;
    }
    return ret->n > 0 ? 0 : 1;
}

static void entry_answered(struct machine *m, struct entry *e, const struct ca_response *p, const struct moment *now) {
    if (p->code != CA_OK) {
        entry_failed(m, e, now, p->message);
        return;
    }
    struct tls_credential_spec spec = {.identity = &e->identity, .key = e->key, .generation = e->generation + 1};
    struct tls_credential *fresh = NULL;
    const char *why = "the CA's answer cannot be read";
    int r = p->n_chain >= 2 ? read_chain(p, &spec.chain) : 1;
    if (r == 0)
        r = trust_from_answer(m, p->chain[p->n_chain - 1], now);
    spec.trust = m->trust;
    if (r == 0)
        r = tls_credential_new(&spec, now->wall_s, &fresh, &why);
    if (r != 0) {
        tls_der_list_deinit(&spec.chain);
        entry_failed(m, e, now, str_of(r > 0 ? why : "out of memory"));
        return;
    }
    e->key = NULL; /* the credential's now */
    if (e->credential)
        tls_credential_unref(e->credential);
    e->credential = fresh;
    e->generation++;
    e->n_failures = 0;
    e->why[0] = '\0';
    e->try_ns = 0;
    e->rotate_s = rotation_of(m, fresh);
    e->aged = AGE_FRESH;
    m->n_issued++;
    entry_place(m, e, ENTRY_IDLE, false);
    news_put(m, e, now);
}

void machine_recheck(struct machine *m, const struct moment *now) {
    size_t cursor = 0;
    struct map_node *n = NULL;
    while ((n = map_next(&m->entries, &cursor, n))) {
        struct entry *e = map_entry(n, struct entry, by_identity);
        enum tls_trust_verdict v = e->credential ? tls_peer_recheck(tls_credential_self(e->credential), m->trust) : TLS_TRUST_OK;
        if (v == TLS_TRUST_OK)
            continue;
        char why[sizeof(e->why)], serial[2 * TLS_SERIAL_MAX + 1];
        const struct tls_peer *self = tls_credential_self(e->credential);
        snprintf(why, sizeof(why), "our own: %s, serial %s", tls_trust_text(v),
                 tls_serial_text(self->serial, self->serial_n, serial));
        log_warn("identity", STR_FMT ": %s; another is asked for", STR_ARG(identity_uri(&e->identity)), why);
        entry_withdraw(m, e, why, now);
        e->try_ns = now->mono_ns;
    }
}

/* A credential must be renewed when its time has come; a wall clock before its beginning has jumped back: ask anew too. */
static bool needs_request(const struct entry *e, const struct moment *now) {
    if (now->mono_ns < e->try_ns)
        return false;
    if (!e->credential)
        return true;
    return now->wall_s >= e->rotate_s || now->wall_s < tls_credential_not_before(e->credential);
}

/* Is there no time to wait for a permit? */
static bool is_urgent(const struct entry *e, const struct moment *now) {
    if (!e->credential)
        return true;
    int64_t begin = tls_credential_not_before(e->credential), end = tls_credential_not_after(e->credential);
    return now->wall_s < begin || pace_is_urgent(end - now->wall_s, end - begin);
}

/* Among the renewals that wait, by the end of what they have; most come in that order, so the place is near the back. */
static void entry_place_due(struct machine *m, struct entry *e) {
    entry_place(m, e, ENTRY_DUE, false);
    struct list *before = e->link.prev;
    while (before != &m->due &&
           tls_credential_not_after(list_entry(before, struct entry, link)->credential) > tls_credential_not_after(e->credential))
        before = before->prev;
    list_unlink(&e->link);
    list_insert_between(&e->link, before, before->next);
}

static void entry_grow_old(struct machine *m, struct entry *e, const struct moment *now) {
    if (!e->credential)
        return;
    age_tell(m, e, now);
    if (now->wall_s >= tls_credential_not_after(e->credential))
        entry_withdraw(m, e, "the certificate has expired", now);
}

static void entry_late(struct machine *m, struct entry *e, const struct moment *now) {
    m->away = true;
    entry_failed(m, e, now, STR("the CA did not answer in time"));
}

/* The CA answers again: whoever has no valid credential waits no longer. */
static void come_back(struct machine *m, const struct moment *now) {
    m->away = false;
    list_for_each (it, &m->idle) {
        struct entry *e = list_entry(it, struct entry, link);
        if (!e->credential)
            e->try_ns = min_of(e->try_ns, now->mono_ns);
    }
}

void machine_answer(struct machine *m, const uint8_t *bytes, size_t n, const struct moment *now) {
    struct arena arena cleanup(arena_deinit) = ARENA_NULL;
    struct ca_response p = {0};
    if (pb_consume_ca_response(bytes, n, &arena, &p) != 0)
        return; /* its request runs into the deadline */
    if (p.kind == CA_MESSAGE_BUNDLE)
        trust_answered(m, &p, now);
    if (p.kind != CA_MESSAGE_SIGN)
        return;
    if (p.code == CA_UNAVAILABLE)
        m->away = true;
    else if (m->away)
        come_back(m, now);
    struct entry *e = in_flight(m, p.id);
    if (e)
        entry_answered(m, e, &p, now);
}

/* While the CA is away back-offs grow long; that it is back is found out by one request now and then, if someone needs it. */
static void probe(struct machine *m, const struct moment *now) {
    if (!m->away || m->n_flight > 0 || !list_empty(&m->queue) || now->mono_ns < m->asked_ns + PROBE_MS * NS_PER_MS)
        return;
    struct entry *first = NULL;
    list_for_each (it, &m->idle) {
        struct entry *e = list_entry(it, struct entry, link);
        if (!e->credential && (!first || e->try_ns < first->try_ns))
            first = e;
    }
    if (first)
        entry_place(m, first, ENTRY_QUEUED, false);
}

static void tick_flight(struct machine *m, const struct moment *now) {
    list_for_each_safe (it, &m->flight) {
        struct entry *e = list_entry(it, struct entry, link);
        entry_grow_old(m, e, now);
        if (now->mono_ns >= e->asked_ns + ANSWER_TIMEOUT_MS * NS_PER_MS)
            entry_late(m, e, now);
    }
}

static void tick_idle(struct machine *m, const struct moment *now, uint64_t *next_ns) {
    list_for_each_safe (it, &m->idle) {
        struct entry *e = list_entry(it, struct entry, link);
        entry_grow_old(m, e, now);
        if (!needs_request(e, now)) {
            if (e->try_ns > now->mono_ns)
                *next_ns = min_of(*next_ns, e->try_ns);
        } else if (is_urgent(e, now))
            entry_place(m, e, ENTRY_QUEUED, false);
        else
            entry_place_due(m, e);
    }
}

/* Those whose time ran out while they waited need no permit any more: the front of the list, it is in the order of ends. */
static void tick_due(struct machine *m, const struct moment *now) {
    list_for_each_safe (it, &m->due) {
        struct entry *e = list_entry(it, struct entry, link);
        entry_grow_old(m, e, now);
        if (is_urgent(e, now))
            entry_place(m, e, ENTRY_QUEUED, false);
    }
}

/* Many may stand behind those that a silent CA has. Once a second is enough: age goes by the wall's seconds, and each answer has
 * a tick. */
static void tick_queue(struct machine *m, const struct moment *now) {
    if (now->wall_s == m->queue_aged_s)
        return;
    m->queue_aged_s = now->wall_s;
    list_for_each (it, &m->queue)
        entry_grow_old(m, list_entry(it, struct entry, link), now);
}

int machine_tick(struct machine *m, const struct moment *now) {
    uint64_t next_ns = now->mono_ns + NS_PER_S;
    trust_tick(m, now);
    if (news_tick(m, now))
        next_ns = now->mono_ns + NEWS_AGAIN_MS * NS_PER_MS;
    tick_flight(m, now);
    tick_idle(m, now, &next_ns);
    tick_due(m, now);
    tick_queue(m, now);
    probe(m, now);
    uint64_t mean_ns = pace_interval_ns(m->entries.n_nodes, m->o.ttl_s, m->o.rotate_at);
    struct list *it;
    while (m->n_flight < IDENTITY_IN_FLIGHT_MAX && (it = list_first(&m->queue))) {
        pace_charge(&m->pace, now->mono_ns, mean_ns);
        entry_ask(m, list_entry(it, struct entry, link), now);
    }
    while (m->n_flight < IDENTITY_IN_FLIGHT_MAX && (it = list_first(&m->due)) && pace_take(&m->pace, now->mono_ns, mean_ns))
        entry_ask(m, list_entry(it, struct entry, link), now);
    if (!list_empty(&m->due) && m->n_flight < IDENTITY_IN_FLIGHT_MAX)
        next_ns = min_of(next_ns, max_of(pace_ready_ns(&m->pace, mean_ns), now->mono_ns + NS_PER_MS));
    return (int)((next_ns - now->mono_ns + NS_PER_MS - 1) / NS_PER_MS);
}
