/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/credential.c - see tls/credential.h */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "credential_private.h"

struct tls_credential {
    _Atomic unsigned n_refs;
    struct identity identity;
    struct tls_key *key;
    struct tls_der_list chain;
    uint64_t generation;
    struct tls_peer self; /* what a peer will see */
};

static struct tls_credential *credential_free(struct tls_credential *c) {
    tls_key_free(c->key);
    tls_der_list_deinit(&c->chain);
    free(c);
    return NULL;
}

int credential_assemble(struct tls_credential_spec *spec, const struct tls_peer *self, struct tls_credential **ret) {
    struct tls_credential *c = calloc(1, sizeof(*c));
    if (!c)
        return err_origin(-ENOMEM);
    c->n_refs = 1;
    c->identity = *spec->identity;
    c->key = take_ptr(spec->key);
    c->chain = spec->chain;
    spec->chain = TLS_DER_LIST_NULL;
    c->generation = spec->generation;
    c->self = *self;
    *ret = c;
    return 0;
}

int tls_credential_new(struct tls_credential_spec *spec, int64_t now_s, struct tls_credential **ret, const char **ret_why) {
    struct tls_peer self;
    enum tls_trust_verdict v = tls_chain_verify(spec->trust, &spec->chain, TLS_ROLE_SERVER, now_s, NULL, NULL, &self);
    const char *why = NULL;
    if (v != TLS_TRUST_OK)
        why = tls_trust_text(v);
    else if (!identity_is(&self.identity, spec->identity))
        why = "certificate is another identity's";
    else if (!tls_cert_matches_key(spec->chain.items[0].at, spec->chain.items[0].n, spec->key))
        why = "certificate does not belong to the private key";
    if (why) {
        *ret_why = why;
        return 1;
    }
    return err_trace(credential_assemble(spec, &self, ret));
}

struct tls_credential *tls_credential_ref(struct tls_credential *c) {
    check(atomic_fetch_add_explicit(&c->n_refs, 1, memory_order_relaxed) > 0);
    return c;
}

struct tls_credential *tls_credential_unref(struct tls_credential *c) {
    if (c && atomic_fetch_sub_explicit(&c->n_refs, 1, memory_order_acq_rel) == 1)
        credential_free(c);
    return NULL;
}

const struct identity *tls_credential_identity(const struct tls_credential *c) { return &c->identity; }
const struct tls_der_list *tls_credential_chain(const struct tls_credential *c) { return &c->chain; }
const struct tls_peer *tls_credential_self(const struct tls_credential *c) { return &c->self; }
uint64_t tls_credential_generation(const struct tls_credential *c) { return c->generation; }
int64_t tls_credential_not_before(const struct tls_credential *c) { return c->self.leaf_not_before; }
int64_t tls_credential_not_after(const struct tls_credential *c) { return c->self.chain_not_after; }
const struct tls_key *tls_credential_key(const struct tls_credential *c) { return c->key; }
