/* SPDX-License-Identifier: GPL-3.0-or-later
 * trust.c - whom this node trusts: one generation of bundles, told to every reader, adopted by every reader
 *
 * The CA is asked once, with a watch, and tells every change; until its first answer the roots that come with certificates
 * serve. What cannot be used changes nothing: the last good bundle of that trust domain stays in force.
 * Invariant: a reader hears of a credential only after it was told the trust that the credential was verified by; both go
 * through the same mailbox, so it reads them in that order. The CA hears that a generation is adopted only when every
 * reader has said so: a new root signs nothing before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/bytes.h>
#include <ringwall/mail/trust.h>
#include <ringwall/tls/crl.h>
#include <ringwall/wire/pb.h>

#include "machine.h"

int trust_init(struct machine *m) {
    m->readers = calloc(m->o.n_workers ? m->o.n_workers : 1, sizeof(*m->readers));
    return m->readers ? 0 : err_origin(-ENOMEM);
}

void trust_deinit(struct machine *m) {
    m->trust = tls_trust_unref(m->trust);
    free(m->roots_pem);
    free(m->readers);
    m->roots_pem = NULL;
    m->readers = NULL;
}

/* ---- to the readers ---- */

bool trust_tell(struct machine *m, size_t reader, const struct moment *now) {
    struct reader *r = &m->readers[reader];
    if (!m->trust)
        return false;
    if (r->told == m->trust->generation)
        return true;
    struct mail_trust *mail = mail_trust_new(m->trust, (unsigned)reader, m->o.mailbox);
    if (!mail || mailbox_post(m->o.workers[reader], &mail->mail) != 0) { /* tried again with the next tick */
        if (mail)
            mail_free(&mail->mail);
        return false;
    }
    r->told = m->trust->generation;
    r->told_ns = now->mono_ns;
    r->late = false;
    return true;
}

static void trust_put(struct machine *m, struct tls_trust *trust, const struct moment *now) {
    tls_trust_unref(m->trust);
    m->trust = tls_trust_ref(trust);
    m->stale_told = false;
    for (size_t i = 0; i < m->o.n_workers; i++)
        ignore_result(trust_tell(m, i, now)); /* a full mailbox is tried again with the next tick */
    machine_recheck(m, now);
}

/* ---- a generation, from what the CA said ---- */

struct making { /* of one generation */
    struct tls_bundle **items;
    size_t n, cap;
};

static void making_deinit(struct making *k) {
    for (size_t i = 0; i < k->n; i++)
        tls_bundle_unref(k->items[i]);
    free(k->items);
    *k = (struct making){0};
}

static int making_init(struct making *k, size_t cap) {
    *k = (struct making){.items = calloc(cap, sizeof(struct tls_bundle *)), .cap = cap};
    return k->items ? 0 : err_origin(-ENOMEM);
}

static bool making_has(const struct making *k, struct str trust_domain) {
    for (size_t i = 0; i < k->n; i++)
        if (str_is(tls_bundle_trust_domain(k->items[i]), trust_domain))
            return true;
    return false;
}

static int making_add(struct making *k, struct str trust_domain, const struct tls_der_list *roots,
                      const struct tls_der_list *crls) {
    int r = tls_bundle_new(trust_domain, roots, crls, &k->items[k->n]);
    k->n += r == 0;
    return r;
}

/* The options' bundles, and our own under the aliases, for names that have none yet; then the whole is put in force. */
static int making_finish(struct machine *m, struct making *k, const struct moment *now) {
    const struct tls_bundle *own = k->items[0];
    int r = 0;
    for (size_t i = 0; i < m->o.n_bundles; i++)
        if (!making_has(k, tls_bundle_trust_domain(m->o.bundles[i])))
            k->items[k->n++] = tls_bundle_ref(m->o.bundles[i]);
    for (size_t i = 0; r == 0 && i < m->o.n_aliases; i++)
        if (!making_has(k, m->o.aliases[i]))
            r = making_add(k, m->o.aliases[i], tls_bundle_roots(own), tls_bundle_crls(own));
    cleanup(tls_trust_unrefp) struct tls_trust *trust = r == 0 ? tls_trust_new(k->items, k->n, m->trust_generation + 1) : NULL;
    if (r == 0 && !trust)
        r = err_origin(-ENOMEM);
    if (r != 0)
        return r;
    m->trust_generation++;
    trust_put(m, trust, now);
    return 0;
}

int trust_from_answer(struct machine *m, struct str roots_pem, const struct moment *now) {
    struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct making k cleanup(making_deinit) = {0};
    if (m->from_ca || (m->trust && m->roots_pem && str_is(str_of(m->roots_pem), roots_pem)))
        return 0;
    int r = making_init(&k, 1 + m->o.n_bundles + m->o.n_aliases);
    if (r == 0)
        r = tls_certs_from_pem(roots_pem, TLS_BUNDLE_MAX, &roots);
    if (r == 0)
        r = making_add(&k, m->o.trust_domain, &roots, NULL);
    if (r == 0)
        r = making_finish(m, &k, now);
    if (r != 0)
        return r;
    free(m->roots_pem);
    m->roots_pem = str_dup(roots_pem);
    return 0;
}

static int list_of(const struct str *items, size_t n, struct tls_der_list *ret) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = tls_der_list_add(ret, (const uint8_t *)items[i].at, items[i].n);
    return err_trace(r);
}

/* Why it cannot be used, for people: the lists are what goes wrong most. */
static const char *what_is_wrong(const struct ca_bundle *b) {
    struct tls_crl_facts facts;
    const char *why = NULL;
    for (size_t i = 0; i < b->n_crls; i++)
        if (tls_crl_read((const uint8_t *)b->crls[i].at, b->crls[i].n, &facts, &why) != 0)
            return why;
    return b->n_crls > 0 ? "a root is no CA's certificate, or a revocation list is not signed by the root whose name it bears"
                         : "a root is no CA's certificate";
}

static void refused(struct machine *m, struct str trust_domain, const char *why) {
    m->n_refused++;
    snprintf(m->trust_why, sizeof(m->trust_why), "the bundle of " STR_FMT ": %s", STR_ARG(trust_domain), why);
    log_error("identity", "%s; the last good one stays in force", m->trust_why);
}

/* The trust domain's bundle in force, once more. */
static void keep_last(const struct machine *m, struct making *k, struct str trust_domain) {
    for (size_t i = 0; m->trust && i < m->trust->n; i++)
        if (str_is(tls_bundle_trust_domain(m->trust->bundles[i]), trust_domain))
            k->items[k->n++] = tls_bundle_ref(m->trust->bundles[i]);
}

/* 0; 1: our own trust domain's cannot be used. */
static int add_answered(struct machine *m, struct making *k, const struct ca_bundle *b) {
    struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL,
                              crls cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    if (making_has(k, b->trust_domain))
        return 0;
    int r = list_of(b->roots, b->n_roots, &roots);
    if (r == 0)
        r = list_of(b->crls, b->n_crls, &crls);
    if (r == 0)
        r = making_add(k, b->trust_domain, &roots, &crls);
    if (r > 0)
        refused(m, b->trust_domain, what_is_wrong(b));
    if (r > 0 && k->n > 0) { /* a foreign one's flaw holds nobody else back */
        keep_last(m, k, b->trust_domain);
        return 0;
    }
    return r;
}

void trust_answered(struct machine *m, const struct ca_response *p, const struct moment *now) {
    struct making k cleanup(making_deinit) = {0};
    if (p->code != CA_OK || (m->from_ca && p->generation <= m->ca_generation))
        return;
    int r = making_init(&k, p->n_bundles + m->o.n_bundles + m->o.n_aliases + 1);
    if (r == 0 && (p->n_bundles == 0 || !str_is(p->bundles[0].trust_domain, m->o.trust_domain))) {
        refused(m, m->o.trust_domain, "the CA's answer does not hold it");
        r = 1;
    }
    if (r == 0 && p->bundles[0].n_roots == 0)
        return; /* another CA signs, and its first answer tells its roots */
    uint64_t n_refused = m->n_refused;
    for (size_t i = 0; r == 0 && i < p->n_bundles; i++)
        r = add_answered(m, &k, &p->bundles[i]);
    if (r == 0)
        r = making_finish(m, &k, now);
    if (r < 0)
        refused(m, m->o.trust_domain, "out of memory");
    if (r != 0)
        return;
    m->from_ca = true;
    m->ca_generation = p->generation;
    if (n_refused == m->n_refused)
        m->trust_why[0] = '\0';
}

/* ---- to the CA ---- */

static bool bundle_ask(struct machine *m, uint64_t acknowledged) {
    struct ca_request q = {.kind = CA_MESSAGE_BUNDLE,
                           .id = m->next_request_id++,
                           .caller = CA_CALLER_NODE,
                           .caller_node = str_of(m->o.node),
                           .watch = acknowledged == 0, /* an acknowledgement asks nothing */
                           .acknowledged = acknowledged};
    uint8_t *bytes = NULL;
    size_t n = 0;
    struct mail_bytes *mail = pb_create_ca_request(&q, &bytes, &n) == 0 ? mail_bytes_new(bytes, n, m->o.mailbox) : NULL;
    if (!mail) {
        free(bytes);
        return false;
    }
    bool posted = mailbox_post(m->o.ca, &mail->mail) == 0;
    if (!posted)
        mail_free(&mail->mail);
    return posted;
}

bool trust_all_adopted(const struct machine *m) {
    for (size_t i = 0; i < m->o.n_workers; i++)
        if (!m->trust || m->readers[i].adopted < m->trust->generation)
            return false;
    return m->trust != NULL;
}

static void acknowledge(struct machine *m) {
    if (m->from_ca && m->ca_acknowledged < m->ca_generation && trust_all_adopted(m) && bundle_ask(m, m->ca_generation))
        m->ca_acknowledged = m->ca_generation;
}

void trust_adopted(struct machine *m, const struct mail_trust *mail) {
    if (mail->reader >= m->o.n_workers)
        return;
    struct reader *r = &m->readers[mail->reader];
    r->adopted = max_of(r->adopted, mail->trust->generation);
    acknowledge(m);
}

/* ---- time ---- */

static void tell_stale(struct machine *m, int64_t wall_s) {
    for (size_t i = 0; !m->stale_told && m->trust && i < m->trust->n; i++)
        for (size_t k = 0; k < tls_bundle_n_crls(m->trust->bundles[i]); k++) {
            const struct tls_crl_facts *l = tls_bundle_crl(m->trust->bundles[i], k);
            if (!l->next_update || wall_s <= l->next_update)
                continue;
            m->stale_told = true; /* of this generation */
            log_warn("identity",
                     "the revocation list of %s is past its next update: what it lists stays revoked, newer revocations "
                     "are missing",
                     l->issuer);
        }
}

static void tell_late(struct machine *m, const struct moment *now) {
    for (size_t i = 0; m->trust && i < m->o.n_workers; i++) {
        struct reader *r = &m->readers[i];
        if (!trust_tell(m, i, now) || r->adopted == m->trust->generation || r->late ||
            now->mono_ns < r->told_ns + TRUST_ADOPT_TIMEOUT_MS * NS_PER_MS)
            continue;
        r->late = true;
        m->n_late++;
        log_warn("identity", "reader %zu has not adopted generation %llu of the trust bundles yet", i,
                 (unsigned long long)m->trust->generation);
    }
}

void trust_tick(struct machine *m, const struct moment *now) {
    if (!m->from_ca && now->mono_ns >= m->bundle_try_ns && bundle_ask(m, 0))
        m->bundle_try_ns = now->mono_ns + BUNDLE_ASK_MS * NS_PER_MS;
    tell_late(m, now);
    tell_stale(m, now->wall_s);
    acknowledge(m); /* the CA's mailbox may have been full */
}
