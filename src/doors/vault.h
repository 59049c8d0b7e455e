/* SPDX-License-Identifier: GPL-3.0-or-later
 * vault.h - what the doors may give out, and to whom: workloads of this node, their credentials, bundles, the JWT keys
 *
 * Every content has a version that follows from its bytes: the same content has the same version in every life of the
 * daemon, so a client that comes back is not sent what it has. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/map.h>
#include <ringwall/mail/credential.h>
#include <ringwall/mail/pod.h>

/* An identity that workloads here have, or that somebody waits for. */
struct holder {
    struct map_node by_identity;
    struct identity identity;
    struct tls_credential *credential; /* NULL: none now */
    uint64_t version;                  /* of the credential; 0: none */
    char why[128];                     /* why there is none */
    struct list calls;                 /* of struct call, by its link `in_holder` */
    size_t n_workloads;
};
struct rate { /* so many a second, counted in windows of one */
    uint64_t window_ns;
    unsigned n;
};
static inline bool rate_allows(struct rate *r, uint64_t now_ns, unsigned n_per_s) {
    if (now_ns - r->window_ns >= 1000000000) {
        r->window_ns = now_ns;
        r->n = 0;
    }
    return ++r->n <= n_per_s;
}
struct vault_pod { /* an enrolled workload */
    struct map_node by_id;
    uint32_t id;
    char uid[POD_UID_MAX];
    struct holder *holder;
    size_t n_connections;
    struct rate calls;
};
struct vault_bundle {          /* of one trust domain */
    struct tls_bundle *bundle; /* the trust's */
    uint64_t version;          /* of its roots, and of its lists when they are sent */
    bool crls;                 /* its lists are fit for Envoy */
};
struct vault {
    struct map holders, pods;
    struct vault_bundle *bundles; /* one for each of the trust's */
    struct tls_trust *trust;      /* NULL: not known yet */
    struct str trust_domain;      /* our own */
    char *jwks;                   /* owned; NULL: not known yet; "": none are signed here */
    uint64_t jwks_version;
    bool has_intermediate; /* some credential's chain has more than the leaf: then CRLs cannot be seen to be complete */
};

int vault_init(struct vault *v, struct str trust_domain) must_check;
void vault_deinit(struct vault *v);
struct vault_pod *vault_pod(const struct vault *v, uint32_t id);            /* NULL: unknown */
struct vault_pod *vault_pod_put(struct vault *v, const struct mail_pod *m); /* new, or updated; NULL: no memory */
void vault_pod_remove(struct vault *v, struct vault_pod *p);
/* NULL: nobody here has that identity, or no memory. */
struct holder *vault_credential(struct vault *v, const struct mail_credential *m);
/* Frees it when neither a workload, nor a call, nor a credential is left. */
void vault_holder_settle(struct vault *v, struct holder *h);
int vault_trust(struct vault *v, struct tls_trust *trust, int64_t now_s) must_check;     /* takes a reference */
int vault_jwks(struct vault *v, struct str jwks) must_check;                             /* a copy */
const struct vault_bundle *vault_bundle(const struct vault *v, struct str trust_domain); /* NULL: none */
uint64_t vault_all_version(const struct vault *v);                                       /* of all bundles together; 0: none */
/* Takes the time for the lists: Envoy refuses every chain of which one issuer has no list, or an old one. So lists are for it
 * only when every root has a list in force and no issuer but the roots is known. True: something changed. */
bool vault_refresh(struct vault *v, int64_t now_s);
