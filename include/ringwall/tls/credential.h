/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/credential.h - private key + certificate chain for one identity; immutable, shared by reference count
 *
 * Made by the identity thread, used by workers. The last reference wipes the key, whichever thread drops it. */
#pragma once

#include <ringwall/tls/cert.h>

struct tls_credential;
struct tls_credential_spec {
    const struct identity *identity;
    struct tls_key *key;       /* taken on success */
    struct tls_der_list chain; /* leaf first, without the root; taken on success */
    struct tls_trust *trust;   /* that it is verified against now; borrowed, not kept: sessions use the worker's */
    uint64_t generation;       /* grows by one with each credential of this identity */
};
/* Verifies: leaf's one URI is the identity, key matches, chain verifies against the bundle of its own trust domain.
 * 0, or 1: refused, with the reason in ret_why (static text). */
int tls_credential_new(struct tls_credential_spec *spec, int64_t now_s, struct tls_credential **ret,
                       const char **ret_why) must_check;
struct tls_credential *tls_credential_ref(struct tls_credential *c);
struct tls_credential *tls_credential_unref(struct tls_credential *c);
DEFINE_FREEP(struct tls_credential, tls_credential_unref)
const struct identity *tls_credential_identity(const struct tls_credential *c);
const struct tls_der_list *tls_credential_chain(const struct tls_credential *c);
/* For contexts, and for the doors that give a workload its own key. */
const struct tls_key *tls_credential_key(const struct tls_credential *c);
const struct tls_peer *tls_credential_self(const struct tls_credential *c); /* what a peer sees; for tls_peer_recheck */
uint64_t tls_credential_generation(const struct tls_credential *c);
int64_t tls_credential_not_before(const struct tls_credential *c);
int64_t tls_credential_not_after(const struct tls_credential *c); /* the earliest end of leaf and chain */

/* Bundles, reference counted beside the struct of tls/cert.h. */
struct tls_trust *tls_trust_new(struct tls_bundle **bundles, size_t n,
                                uint64_t generation); /* takes a reference of each; NULL: no memory */
struct tls_trust *tls_trust_ref(struct tls_trust *t);
struct tls_trust *tls_trust_unref(struct tls_trust *t);
DEFINE_FREEP(struct tls_trust, tls_trust_unref)
