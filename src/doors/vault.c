/* SPDX-License-Identifier: GPL-3.0-or-later
 * vault.c - see vault.h */
#include "vault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/tls/crl.h>

/* FNV-1a: fast, the same in every life; it tells contents of our own apart, nobody can profit from a collision. */
static const uint64_t version_seed = 0xcbf29ce484222325;
static uint64_t version_add(uint64_t h, const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ at[i]) * 0x100000001b3;
    return h;
}
static uint64_t version_add_list(uint64_t h, const struct tls_der_list *l) {
    for (size_t i = 0; l && i < l->n; i++)
        h = version_add(h, l->items[i].at, l->items[i].n);
    return h;
}
static uint64_t version_end(uint64_t h) { return h ? h : 1; } /* 0 means none */

int vault_init(struct vault *v, struct str trust_domain) {
    *v = (struct vault){.trust_domain = trust_domain};
    int r = map_init(&v->holders, 64);
    if (r == 0)
        r = map_init(&v->pods, 64);
    return err_trace(r);
}

static void holder_free(struct vault *v, struct holder *h) {
    map_remove(&v->holders, &h->by_identity);
    if (h->credential)
        tls_credential_unref(h->credential);
    free(h);
}

void vault_deinit(struct vault *v) {
    struct map_node *n;
    for (size_t at = 0; v->pods.buckets && (n = map_next(&v->pods, &at, NULL));) {
        struct vault_pod *p = map_entry(n, struct vault_pod, by_id);
        map_remove(&v->pods, n);
        free(p);
    }
    for (size_t at = 0; v->holders.buckets && (n = map_next(&v->holders, &at, NULL));)
        holder_free(v, map_entry(n, struct holder, by_identity));
    map_deinit(&v->pods);
    map_deinit(&v->holders);
    if (v->trust)
        v->trust = tls_trust_unref(v->trust);
    free(v->bundles);
    free(v->jwks);
    *v = (struct vault){0};
}

/* ---- workloads ---- */

static struct holder *holder_find(const struct vault *v, const struct identity *i) {
    struct map_node *n = map_find(&v->holders, i->text, i->n);
    return n ? map_entry(n, struct holder, by_identity) : NULL;
}

static struct holder *holder_get(struct vault *v, const struct identity *i) {
    struct holder *h = holder_find(v, i);
    if (h)
        return h;
    h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->identity = *i;
    list_init(&h->calls);
    check(map_insert(&v->holders, &h->by_identity, h->identity.text, h->identity.n) == 0);
    return h;
}

void vault_holder_settle(struct vault *v, struct holder *h) {
    if (h->n_workloads == 0 && list_empty(&h->calls) && !h->credential)
        holder_free(v, h);
}

struct vault_pod *vault_pod(const struct vault *v, uint32_t id) {
    struct map_node *n = map_find(&v->pods, &id, sizeof(id));
    return n ? map_entry(n, struct vault_pod, by_id) : NULL;
}

struct vault_pod *vault_pod_put(struct vault *v, const struct mail_pod *m) {
    struct holder *h = holder_get(v, &m->identity);
    struct vault_pod *p = vault_pod(v, m->id);
    if (!h)
        return NULL;
    if (!p) {
        p = calloc(1, sizeof(*p));
        if (!p) {
            vault_holder_settle(v, h);
            return NULL;
        }
        p->id = m->id;
        check(map_insert(&v->pods, &p->by_id, &p->id, sizeof(p->id)) == 0);
    }
    struct holder *before = p->holder;
    p->holder = h;
    h->n_workloads++;
    memcpy(p->uid, m->uid, sizeof(p->uid));
    if (before) {
        before->n_workloads--;
        vault_holder_settle(v, before);
    }
    return p;
}

void vault_pod_remove(struct vault *v, struct vault_pod *p) {
    struct holder *h = p->holder;
    map_remove(&v->pods, &p->by_id);
    free(p);
    h->n_workloads--;
    vault_holder_settle(v, h);
}

/* ---- credentials ---- */

struct holder *vault_credential(struct vault *v, const struct mail_credential *m) {
    /* Before its workload's mail it is kept as well: both come from other threads, in any order. */
    struct holder *h = m->credential ? holder_get(v, &m->identity) : holder_find(v, &m->identity);
    if (!h)
        return NULL;
    if (h->credential)
        h->credential = tls_credential_unref(h->credential);
    h->version = 0;
    snprintf(h->why, sizeof(h->why), "%s", m->why);
    if (!m->credential)
        return h;
    h->credential = tls_credential_ref(m->credential);
    const struct tls_der_list *chain = tls_credential_chain(h->credential);
    h->version = version_end(version_add_list(version_seed, chain));
    v->has_intermediate = v->has_intermediate || chain->n > 1;
    return h;
}

/* ---- bundles ---- */

static bool root_has_list(const struct tls_bundle *b, const struct tls_der *root, int64_t now_s) {
    const struct tls_der_list *lists = tls_bundle_crls(b);
    for (size_t i = 0; i < lists->n; i++) {
        const struct tls_crl_facts *f = tls_bundle_crl(b, i);
        if (f->this_update <= now_s && now_s < f->next_update &&
            tls_crl_signed_by(lists->items[i].at, lists->items[i].n, root->at, root->n))
            return true;
    }
    return false;
}

static bool crls_complete(const struct vault *v, const struct tls_bundle *b, int64_t now_s) {
    const struct tls_der_list *roots = tls_bundle_roots(b);
    if (v->has_intermediate || tls_bundle_n_crls(b) == 0)
        return false;
    for (size_t i = 0; i < roots->n; i++)
        if (!root_has_list(b, &roots->items[i], now_s))
            return false;
    return true;
}

bool vault_refresh(struct vault *v, int64_t now_s) {
    bool changed = false;
    for (size_t i = 0; v->trust && i < v->trust->n; i++) {
        struct tls_bundle *b = v->trust->bundles[i];
        struct vault_bundle *to = &v->bundles[i];
        bool crls = crls_complete(v, b, now_s);
        if (to->version && to->crls == crls)
            continue;
        uint64_t h = version_add_list(version_seed, tls_bundle_roots(b));
        *to = (struct vault_bundle){b, version_end(crls ? version_add_list(h, tls_bundle_crls(b)) : h), crls};
        changed = true;
    }
    return changed;
}

int vault_trust(struct vault *v, struct tls_trust *trust, int64_t now_s) {
    struct vault_bundle *bundles = calloc(trust->n + 1, sizeof(*bundles));
    if (!bundles)
        return err_origin(-ENOMEM);
    free(v->bundles);
    v->bundles = bundles;
    struct tls_trust *before = v->trust;
    v->trust = tls_trust_ref(trust);
    if (before)
        tls_trust_unref(before);
    vault_refresh(v, now_s);
    return 0;
}

int vault_jwks(struct vault *v, struct str jwks) {
    char *copy = str_dup(jwks.at ? jwks : STR(""));
    if (!copy)
        return err_origin(-ENOMEM);
    free(v->jwks);
    v->jwks = copy;
    v->jwks_version = version_end(version_add(version_seed, jwks.at, jwks.n));
    return 0;
}

const struct vault_bundle *vault_bundle(const struct vault *v, struct str trust_domain) {
    for (size_t i = 0; v->trust && i < v->trust->n; i++)
        if (str_is(tls_bundle_trust_domain(v->trust->bundles[i]), trust_domain))
            return &v->bundles[i];
    return NULL;
}

uint64_t vault_all_version(const struct vault *v) {
    if (!v->trust || v->trust->n == 0)
        return 0;
    uint64_t h = version_seed;
    for (size_t i = 0; i < v->trust->n; i++) {
        struct str td = tls_bundle_trust_domain(v->trust->bundles[i]);
        h = version_add(h, td.at, td.n);
        h = version_add_list(h, tls_bundle_roots(v->trust->bundles[i]));
    }
    return version_end(h);
}
