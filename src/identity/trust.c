/* SPDX-License-Identifier: GPL-3.0-or-later
 * trust.c - whom this node trusts: one generation of bundles, told to every reader, adopted by every reader
 *
 * Invariant: a reader hears of a credential only after it was told the trust that the credential was verified by; both go
 * through the same mailbox, so it reads them in that order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/mail/trust.h>

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
    for (size_t i = 0; i < m->o.n_workers; i++)
        ignore_result(trust_tell(m, i, now)); /* a full mailbox is tried again with the next tick */
}

static bool has_bundle(const struct machine *m, struct str trust_domain) {
    for (size_t i = 0; i < m->o.n_bundles; i++)
        if (str_is(tls_bundle_trust_domain(m->o.bundles[i]), trust_domain))
            return true;
    return false;
}

/* Our own roots under the names that have no bundle of their own: our trust domain, always, and its aliases. */
static int add_own(const struct machine *m, const struct tls_der_list *roots, struct tls_bundle **to, size_t *n) {
    int r = tls_bundle_new(m->o.trust_domain, roots, NULL, &to[*n]);
    *n += r == 0;
    for (size_t i = 0; r == 0 && i < m->o.n_aliases; i++) {
        if (has_bundle(m, m->o.aliases[i]) || str_is(m->o.aliases[i], m->o.trust_domain))
            continue;
        r = tls_bundle_new(m->o.aliases[i], roots, NULL, &to[*n]);
        *n += r == 0;
    }
    return r;
}

static int make_trust(struct machine *m, struct str roots_pem, struct tls_trust **ret) {
    struct tls_der_list roots cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    cleanup_free struct tls_bundle **all = calloc(m->o.n_bundles + 1 + m->o.n_aliases, sizeof(struct tls_bundle *));
    size_t n = 0;
    if (!all)
        return err_origin(-ENOMEM);
    int r = tls_certs_from_pem(roots_pem, TLS_BUNDLE_MAX, &roots);
    if (r == 0)
        r = add_own(m, &roots, all, &n);
    size_t n_own = n;
    for (size_t i = 0; i < m->o.n_bundles; i++)
        if (!str_is(tls_bundle_trust_domain(m->o.bundles[i]), m->o.trust_domain))
            all[n++] = m->o.bundles[i];
    struct tls_trust *trust = r == 0 ? tls_trust_new(all, n, ++m->trust_generation) : NULL;
    for (size_t i = 0; i < n_own; i++)
        tls_bundle_unref(all[i]); /* the trust has its own references */
    if (r != 0)
        return r;
    *ret = trust;
    return trust ? 0 : err_origin(-ENOMEM);
}

int trust_from_answer(struct machine *m, struct str roots_pem, const struct moment *now) {
    if (m->trust && m->roots_pem && str_is(str_of(m->roots_pem), roots_pem))
        return 0;
    cleanup(tls_trust_unrefp) struct tls_trust *trust = NULL;
    int r = make_trust(m, roots_pem, &trust);
    if (r != 0)
        return r;
    free(m->roots_pem);
    m->roots_pem = str_dup(roots_pem);
    trust_put(m, trust, now);
    return 0;
}

void trust_adopted(struct machine *m, const struct mail_trust *mail) {
    if (mail->reader < m->o.n_workers)
        m->readers[mail->reader].adopted = max_of(m->readers[mail->reader].adopted, mail->trust->generation);
}

void trust_tick(struct machine *m, const struct moment *now) {
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
