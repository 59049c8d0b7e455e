/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/chain.h - the walk from a leaf to a root, whatever the leaf is named by (private to the room)
 *
 * chain.c judges identities with it, web_chain.c server names. What a leaf itself must say is theirs; signatures, CA
 * flags, path lengths, times and name constraints of everything above it are the walk's. */
#pragma once

#include "bundle.h"

/* What the leaf is trusted to be, as an issuer's name constraints see it. */
struct chain_name {
    uint8_t tag; /* of the GeneralName: URI (6), DNS (2) or IP address (7) */
    struct str value;
};

struct walk {
    struct cert_view certs[TLS_CHAIN_MAX];
    size_t n;
    const struct tls_bundle *bundle;
    struct identity identity; /* a workload's leaf */
    struct chain_name name;   /* of an identity: its trust domain */
    int64_t now_s, not_after;
    const struct cert_view *root; /* where the chain ended */
    size_t n_path;                /* certificates below it */
    bool ends_at_root;            /* the leaf's own issuer is a root */
};

/* Parses the chain. OK, NONE, CHAIN_TOO_LONG or UNREADABLE. */
enum tls_trust_verdict chain_read(const struct tls_der_list *chain, struct walk *w);
enum tls_trust_verdict chain_walk(struct walk *w);
