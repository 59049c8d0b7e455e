/* SPDX-License-Identifier: GPL-3.0-or-later
 * provider_local.c - signs here, with the key of a directory: `builtin` (made at first start, rolled over by schedule) and
 * `files` (Istio's names, put there by somebody else)
 *
 * The directory is followed. A changed set is verified whole and then taken, or refused, and the last good stays:
 * - roots may be added or taken away, not replaced in one step: nobody would have been told of the new ones in time;
 * - a new signing certificate below a root that is not adopted by all readers yet waits: its roots are published at once, and
 *   the certificate in force goes on signing until they have said so (or has come to its end: then nothing is lost).
 * The builtin root follows SPIRE's schedule (facts/identity.md 4.2): the next one is prepared when half of its life or 30
 * days are left, activated at a sixth or 7 days, and the old one pruned when no leaf below it can be valid. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/log.h>
#include <ringwall/tls/hash.h>

#include "files_private.h"
#include "follow.h"
#include "provider.h"

enum { SCHEDULE_LOOK_S = 60, PREPARE_DAYS = 30, ACTIVATE_DAYS = 7, WAIT_WARN_S = 60 };

struct local {
    const struct ca_options *o;
    struct provider_host host;
    struct ca_dir d;             /* in force; its roots and lists are published, which may be newer than its certificate */
    struct ca_dir next;          /* signs once its roots are adopted; cert empty: none */
    struct tls_der_list adopted; /* roots that every reader had at the last acknowledgement */
    struct follow *follow;
    int64_t looked_s;  /* schedule */
    int64_t waits_s;   /* next: since; told */
    int64_t not_after; /* of the signing certificate */
    bool warned;
};

static bool has_next(const struct local *l) { return l->next.cert.n > 0; }

/* With a node's certificate of another node, or of another trust domain, peers will refuse every leaf (DESIGN rule 3). */
static void check_name(const struct local *l, const struct ca_dir *d) {
    struct tls_cert_facts f;
    const struct tls_der *cert = &d->cert.items[0];
    if (tls_cert_read(cert->at, cert->n, &f) != 0)
        return;
    bool node = f.has_path_len && f.path_len == 0 && f.subject_cn[0] && d->chain.n > 0;
    if (node && !str_is(str_of(f.subject_cn), str_of(l->o->node)))
        log_warn("ca",
                 "%s: the signing certificate is of node '%s', but this is node '%s': peers will refuse every certificate it signs",
                 l->o->dir, f.subject_cn, l->o->node);
    if (f.subject_o[0] && !str_is(str_of(f.subject_o), str_of(l->o->trust_domain)))
        log_warn("ca", "%s: the signing certificate is of trust domain '%s', but ours is '%s'", l->o->dir, f.subject_o,
                 l->o->trust_domain);
    if (d->crl_gap[0])
        log_warn("ca", "%s: ca-crl.pem has no list of '%s': Envoy peers refuse all chains of a CA without one", l->o->dir,
                 d->crl_gap);
    if (d->revoked)
        log_error("ca", "%s: the signing certificate is revoked: peers refuse what it signs; issue a new one", l->o->dir);
}

static void take_signer(struct local *l, struct ca_dir *from) {
    struct tls_cert_facts f;
    ca_dir_deinit(&l->d);
    l->d = *from;
    *from = CA_DIR_NULL;
    if (tls_cert_read(l->d.cert.items[0].at, l->d.cert.items[0].n, &f) == 0)
        l->not_after = f.not_after;
    if (l->o->stats)
        counter_set(&l->o->stats->cert_not_after, (uint64_t)l->not_after);
}

static void *local_close(void *state) {
    struct local *l = state;
    if (!l)
        return NULL;
    ca_dir_deinit(&l->d);
    ca_dir_deinit(&l->next);
    tls_der_list_deinit(&l->adopted);
    l->follow = follow_free(l->follow);
    free(l);
    return NULL;
}

static int follow_dir(struct local *l) {
    static const char *const files[] = {CA_FILE_CERT, CA_FILE_KEY, CA_FILE_CHAIN, CA_FILE_ROOT,
                                        CA_FILE_CRL,  "tls.crt",   "tls.key",     "ca.crt"};
    int r = follow_new(&l->follow);
    for (size_t i = 0; r == 0 && i < array_size(files); i++) {
        char path[CA_PATH_MAX];
        r = ca_path(l->o->dir, files[i], path) ? follow_add(l->follow, path) : -ENAMETOOLONG;
    }
    return err_trace(r);
}

static int local_open(const struct ca_options *o, const struct provider_host *host, int64_t now_s, void **ret,
                      char why[CA_WHY_BYTES]) {
    struct local *l = calloc(1, sizeof(*l));
    struct ca_dir d = CA_DIR_NULL;
    if (!l)
        return err_origin(-ENOMEM);
    l->o = o;
    l->host = *host;
    /* The built-in CA makes its root once; a directory that is there but broken is an error, never replaced. */
    int r = 0;
    if (o->kind == CA_KIND_BUILTIN && !ca_file_exists(o->dir, CA_FILE_CERT))
        r = ca_dir_init(o->dir, str_of(o->trust_domain), now_s, why);
    if (r == 0)
        r = ca_dir_load(o->dir, now_s, &d, why);
    if (r == 0)
        r = tls_der_list_copy(&l->adopted, &d.roots);
    if (r == 0) {
        take_signer(l, &d);
        check_name(l, &l->d);
        r = follow_dir(l);
    }
    ca_dir_deinit(&d);
    if (r != 0) {
        local_close(l);
        return r;
    }
    *ret = l;
    return 0;
}

static bool is_subset(const struct tls_der_list *a, const struct tls_der_list *of) {
    for (size_t i = 0; i < a->n; i++)
        if (!der_among(of, &a->items[i]))
            return false;
    return true;
}

static bool list_same(const struct tls_der_list *a, const struct tls_der_list *b) {
    return a->n == b->n && is_subset(a, b) && is_subset(b, a);
}

static const char *name_of(const struct tls_der *cert, char to[SHA256_HEX]) {
    tls_sha256_hex(cert->at, cert->n, to);
    to[16] = '\0';
    return to;
}

static void tell(struct local *l, const char *event, const char *fmt, ...) printf_like(3, 4);
static void tell(struct local *l, const char *event, const char *fmt, ...) {
    char text[CA_WHY_BYTES];
    struct text t = TEXT_OVER(text);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    l->host.event(l->host.context, event, text);
}

static void take_next(struct local *l) {
    char name[SHA256_HEX];
    take_signer(l, &l->next);
    l->waits_s = 0;
    tell(l, "rollover", "signs with the new certificate, below root %s", name_of(&l->d.anchor, name));
}

/* Takes a verified set in; what it publishes is published now. */
static void take(struct local *l, struct ca_dir *fresh, int64_t now_s) {
    bool same_cert = der_same(&fresh->cert.items[0], &l->d.cert.items[0]);
    bool told = !list_same(&fresh->roots, &l->d.roots) || !list_same(&fresh->crls, &l->d.crls);
    bool crls = !list_same(&fresh->crls, &l->d.crls);
    size_t n_roots = fresh->roots.n, n_crls = fresh->crls.n;
    check_name(l, fresh);
    ca_dir_deinit(&l->next);
    if (same_cert || der_among(&l->adopted, &fresh->anchor) || now_s >= l->not_after) {
        take_signer(l, fresh);
        l->waits_s = 0;
    } else {
        /* The old certificate signs on, with the new set's roots and lists around it. */
        struct tls_der_list roots = TLS_DER_LIST_NULL, lists = TLS_DER_LIST_NULL;
        if (tls_der_list_copy(&roots, &fresh->roots) != 0 || tls_der_list_copy(&lists, &fresh->crls) != 0) {
            tls_der_list_deinit(&roots);
            log_error("ca", "%s: no memory to take the new files in", l->o->dir);
            return;
        }
        struct tls_der anchor = {0};
        for (size_t i = 0; i < roots.n; i++)
            if (der_same(&roots.items[i], &l->d.anchor))
                anchor = roots.items[i];
        tls_der_list_deinit(&l->d.roots);
        tls_der_list_deinit(&l->d.crls);
        l->d.roots = roots;
        l->d.crls = lists;
        l->d.anchor = anchor;
        l->next = *fresh;
        *fresh = CA_DIR_NULL;
        l->waits_s = now_s;
    }
    if (told)
        l->host.changed(l->host.context);
    tell(l, "reload", "%s: %zu roots, %zu revocation lists%s", l->o->dir, n_roots, n_crls,
         has_next(l) ? "; the new signing certificate waits until its root is adopted"
         : same_cert ? ""
                     : "; a new signing certificate");
    if (crls)
        tell(l, "revocation", "%s: %zu revocation lists are in force", l->o->dir, n_crls);
}

static void reload(struct local *l, int64_t now_s) {
    struct ca_dir fresh cleanup(ca_dir_deinit) = CA_DIR_NULL;
    char why[CA_WHY_BYTES] = "";
    int r = ca_dir_load(l->o->dir, now_s, &fresh, why);
    if (r == 0 && !is_subset(&fresh.roots, &l->d.roots) && !is_subset(&l->d.roots, &fresh.roots)) {
        ca_say(why,
               "%s/root-cert.pem: replaces roots in one step: first add the new ones and keep the old, and take these out when no "
               "certificate below them is left",
               l->o->dir);
        r = 1;
    }
    if (r == 0) {
        take(l, &fresh, now_s);
        return;
    }
    tell(l, "reload-refused", "%s", r < 0 ? strerror(-r) : why);
}

/* One step of the builtin root's schedule, at most. */
static void keep_schedule(struct local *l, int64_t now_s) {
    struct ca_rollover o;
    struct tls_cert_facts f;
    char why[CA_WHY_BYTES] = "";
    int r = ca_rollover_status(l->o->dir, now_s, &o, why);
    if (r != 0 || tls_cert_read(l->d.cert.items[0].at, l->d.cert.items[0].n, &f) != 0)
        return; /* a reload says what is wrong */
    int64_t life = f.not_after - f.not_before, left = f.not_after - now_s;
    if (o.step == CA_ROLLOVER_NONE && left <= min_of(life / 2, (int64_t)PREPARE_DAYS * CA_DAY_S))
        r = ca_rollover_prepare(l->o->dir, now_s, why);
    else if (o.step == CA_ROLLOVER_PREPARED && left <= min_of(life / 6, (int64_t)ACTIVATE_DAYS * CA_DAY_S))
        r = ca_rollover_activate(l->o->dir, l->o->ttl_max_s, now_s, why);
    else if (o.step == CA_ROLLOVER_ACTIVATED && now_s > o.leaves_end_s && !has_next(l))
        r = ca_rollover_prune(l->o->dir, now_s, why);
    else
        return;
    if (r != 0)
        log_error("ca", "rollover of the root: %s", r < 0 ? strerror(-r) : why);
    else
        reload(l, now_s);
}

static void local_acknowledged(void *state, int64_t now_s) {
    struct local *l = state;
    struct tls_der_list now = TLS_DER_LIST_NULL;
    if (tls_der_list_copy(&now, &l->d.roots) != 0)
        return; /* no memory: the next acknowledgement comes again, or the next change */
    tls_der_list_deinit(&l->adopted);
    l->adopted = now;
    if (has_next(l) && der_among(&l->adopted, &l->next.anchor))
        take_next(l);
    (void)now_s;
}

static unsigned local_poll(const void *state, struct pollfd fds[PROVIDER_POLL_MAX]) {
    const struct local *l = state;
    fds[0] = (struct pollfd){.fd = follow_fd(l->follow), .events = POLLIN};
    return 1;
}

static int local_turn(void *state, const struct pollfd *fds, unsigned n, uint64_t mono_ns, int64_t now_s) {
    (void)fds;
    (void)n;
    struct local *l = state;
    struct follow_set files;
    int wait_ms;
    if (follow_due(l->follow, mono_ns, &files, &wait_ms))
        reload(l, now_s);
    bool due = now_s >= l->looked_s + SCHEDULE_LOOK_S || now_s < l->looked_s; /* a clock may jump */
    if (l->o->kind == CA_KIND_BUILTIN && due) {
        l->looked_s = now_s;
        keep_schedule(l, now_s);
    }
    if (has_next(l) && now_s >= l->not_after)
        take_next(l);
    if (has_next(l) && now_s >= l->waits_s + WAIT_WARN_S) {
        l->waits_s = now_s;
        log_warn("ca", "the new signing certificate still waits: not every reader has adopted its root");
    }
    return wait_ms;
}

static int local_sign(void *state, struct provider_job *job, int64_t now_s, struct provider_answer *ret) {
    struct local *l = state;
    const struct tls_der *cert = &l->d.cert.items[0];
    struct tls_issuer by = {.key = l->d.key, .cert = cert->at, .cert_n = cert->n};
    struct tls_der leaf = {0};
    *ret = (struct provider_answer){.code = CA_OK};
    int r = job->kind == PROVIDER_LEAF ? tls_issue_leaf(&by, job->csr, &job->identity, now_s, job->ttl_s, &leaf)
                                       : tls_issue_server(&by, job->csr, job->names, job->n_names, now_s, job->ttl_s, &leaf);
    const char *why = NULL;
    if (r > 0)
        why = now_s >= l->not_after
                  ? "this CA's signing certificate has expired: issue a new one (ringwallctl ca issue-node --renew)"
                  : "a configured server name cannot be written into a certificate";
    if (r == 0)
        r = tls_der_list_add(&ret->chain, leaf.at, leaf.n);
    for (size_t i = 0; r == 0 && i < l->d.chain.n; i++)
        r = tls_der_list_add(&ret->chain, l->d.chain.items[i].at, l->d.chain.items[i].n);
    free(leaf.at);
    if (r != 0) {
        ret->code = CA_INTERNAL;
        snprintf(ret->why, sizeof(ret->why), "%s", why ? why : "signing failed");
        tls_der_list_deinit(&ret->chain);
    }
    return PROVIDER_NOW;
}

static void local_trust(const void *state, const struct tls_der_list **ret_roots, const struct tls_der_list **ret_crls) {
    const struct local *l = state;
    *ret_roots = &l->d.roots;
    *ret_crls = &l->d.crls;
}

static void put_cert(struct json_writer *w, const struct tls_der *cert) {
    struct tls_cert_facts f;
    char text[RFC3339_BYTES], print[SHA256_HEX];
    if (tls_cert_read(cert->at, cert->n, &f) != 0)
        return;
    json_z(w, "subject", f.subject);
    tls_sha256_hex(cert->at, cert->n, print);
    json_z(w, "sha256", print);
    clock_rfc3339(f.not_after * (int64_t)NS_PER_S, text, false);
    json_z(w, "expirationTime", text);
}

static void local_report(const void *state, struct json_writer *w) {
    const struct local *l = state;
    json_object(w, "signing");
    put_cert(w, &l->d.cert.items[0]);
    json_end(w);
    if (has_next(l)) {
        json_object(w, "waiting");
        put_cert(w, &l->next.cert.items[0]);
        json_end(w);
    }
    json_array(w, "roots");
    for (size_t i = 0; i < l->d.roots.n; i++) {
        json_object(w, NULL);
        put_cert(w, &l->d.roots.items[i]);
        json_bool(w, "adopted", der_among(&l->adopted, &l->d.roots.items[i]));
        json_end(w);
    }
    json_end(w);
    json_u64(w, "revocationLists", l->d.crls.n);
    if (l->d.crl_gap[0])
        json_z(w, "revocationListMissing", l->d.crl_gap);
    json_bool(w, "signingRevoked", l->d.revoked);
}

const struct provider_ops provider_local = {.name = "local",
                                            .open = local_open,
                                            .close = local_close,
                                            .sign = local_sign,
                                            .trust = local_trust,
                                            .acknowledged = local_acknowledged,
                                            .poll = local_poll,
                                            .turn = local_turn,
                                            .report = local_report};
