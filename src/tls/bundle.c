/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/bundle.c - trust anchors: one set for each trust domain, never all in one store (facts/identity.md 4.2) */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/tls/credential.h>

#include "bundle.h"

static struct tls_bundle *bundle_free(struct tls_bundle *b) {
    if (!b)
        return NULL;
    for (size_t i = 0; b->lists && i < b->crls.n; i++)
        crl_deinit(&b->lists[i]);
    free(b->lists);
    free(b->anchors);
    free(b->trust_domain);
    tls_der_list_deinit(&b->roots);
    tls_der_list_deinit(&b->crls);
    free(b);
    return NULL;
}
DEFINE_FREEP(struct tls_bundle, bundle_free)

static int take_roots(struct tls_bundle *b, const struct tls_der_list *roots) {
    int r = tls_der_list_copy(&b->roots, roots);
    if (r)
        return err_trace(r);
    b->anchors = calloc(b->roots.n, sizeof(*b->anchors));
    if (!b->anchors)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < b->roots.n; i++) {
        struct cert_view *v = &b->views[i];
        if (!cert_view_read(b->roots.items[i].at, b->roots.items[i].n, v) || !v->x.is_ca || v->x.unknown_critical ||
            (v->x.has_key_usage && !(v->x.key_usage & KEY_USAGE_CERT_SIGN)))
            return 1;
        anchor_print(v, b->anchors[i]);
    }
    return 0;
}

/* A list under a root's name must be a root's, whatever key identifier it bears: one that another CA of the same name made
 * would stand in the place of the good one and undo its revocations. False: it is such a one, or a forged one. */
static bool root_signed(const struct tls_bundle *b, struct crl *l) {
    bool named = false;
    for (size_t i = 0; i < b->roots.n; i++) {
        named |= der_is(l->view.issuer, b->views[i].subject);
        if (!crl_is_of(l, &b->views[i]) || !crl_signed_by(l, &b->views[i]))
            continue;
        l->issuer_key = print_of(b->views[i].x.ski); /* also of a list that does not say by which key */
        return true;
    }
    return !named;
}

static int take_lists(struct tls_bundle *b, const struct tls_der_list *crls) {
    const char *why;
    if (crls->n > TLS_CRLS_MAX)
        return 1;
    b->lists = calloc(crls->n, sizeof(*b->lists)); /* all of them null for bundle_free, whatever happens on the way */
    if (!b->lists)
        return err_origin(-ENOMEM);
    int r = tls_der_list_copy(&b->crls, crls);
    for (size_t i = 0; r == 0 && i < b->crls.n; i++) {
        r = crl_init(&b->lists[i], &b->crls.items[i], &why);
        if (r == 0 && !root_signed(b, &b->lists[i]))
            r = 1;
    }
    return r;
}

int tls_bundle_new(struct str trust_domain, const struct tls_der_list *roots, const struct tls_der_list *crls,
                   struct tls_bundle **ret) {
    if (!trust_domain_valid(trust_domain) || roots->n == 0 || roots->n > TLS_BUNDLE_MAX)
        return 1;
    cleanup(bundle_freep) struct tls_bundle *b = calloc(1, sizeof(*b) + roots->n * sizeof(b->views[0]));
    if (!b)
        return err_origin(-ENOMEM);
    b->n_refs = 1;
    b->trust_domain = str_dup(trust_domain);
    if (!b->trust_domain)
        return err_origin(-ENOMEM);
    int r = take_roots(b, roots);
    if (r == 0 && crls && crls->n)
        r = take_lists(b, crls);
    if (r)
        return r < 0 ? err_trace(r) : 1;
    *ret = take_ptr(b);
    return 0;
}

struct tls_bundle *tls_bundle_ref(struct tls_bundle *b) {
    check(atomic_fetch_add_explicit(&b->n_refs, 1, memory_order_relaxed) > 0);
    return b;
}

struct tls_bundle *tls_bundle_unref(struct tls_bundle *b) {
    if (b && atomic_fetch_sub_explicit(&b->n_refs, 1, memory_order_acq_rel) == 1)
        bundle_free(b);
    return NULL;
}

struct str tls_bundle_trust_domain(const struct tls_bundle *b) {
    return str_of(b->trust_domain);
}
const struct tls_der_list *tls_bundle_roots(const struct tls_bundle *b) { return &b->roots; }
const struct tls_der_list *tls_bundle_crls(const struct tls_bundle *b) { return &b->crls; }
size_t tls_bundle_n_crls(const struct tls_bundle *b) { return b->crls.n; }
const struct tls_crl_facts *tls_bundle_crl(const struct tls_bundle *b, size_t i) {
    check(i < b->crls.n);
    return &b->lists[i].facts;
}

const struct tls_bundle *bundle_of(const struct tls_trust *trust, struct str trust_domain) {
    for (size_t i = 0; trust && i < trust->n; i++)
        if (str_is(tls_bundle_trust_domain(trust->bundles[i]), trust_domain))
            return trust->bundles[i];
    return NULL;
}

/* The public struct with its count; nobody outside makes one. */
struct counted_trust {
    struct tls_trust trust;
    _Atomic unsigned n_refs;
    struct tls_bundle *bundles[];
};

struct tls_trust *tls_trust_new(struct tls_bundle **bundles, size_t n, uint64_t generation) {
    struct counted_trust *c = calloc(1, sizeof(*c) + n * sizeof(c->bundles[0]));
    if (!c)
        return NULL;
    c->n_refs = 1;
    for (size_t i = 0; i < n; i++)
        c->bundles[i] = tls_bundle_ref(bundles[i]);
    c->trust = (struct tls_trust){.bundles = c->bundles, .n = n, .generation = generation};
    return &c->trust;
}

struct tls_trust *tls_trust_ref(struct tls_trust *t) {
    struct counted_trust *c = container_of(t, struct counted_trust, trust);
    check(atomic_fetch_add_explicit(&c->n_refs, 1, memory_order_relaxed) > 0);
    return t;
}

struct tls_trust *tls_trust_unref(struct tls_trust *t) {
    if (!t)
        return NULL;
    struct counted_trust *c = container_of(t, struct counted_trust, trust);
    if (atomic_fetch_sub_explicit(&c->n_refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < t->n; i++)
            tls_bundle_unref(c->bundles[i]);
        free(c);
    }
    return NULL;
}
