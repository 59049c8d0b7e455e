/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/bundle.h - the inside of a bundle, for the chain walk (private to the room) */
#pragma once

#include <stdatomic.h>

#include "cert_view.h"
#include "revoke.h"

struct tls_bundle {
    _Atomic unsigned n_refs;
    char *trust_domain;
    struct tls_der_list roots, crls;
    uint8_t (*anchors)[16];   /* of roots, as tls_peer.anchor */
    struct crl *lists;        /* of crls */
    struct cert_view views[]; /* of roots, parsed once */
};
const struct tls_bundle *bundle_of(const struct tls_trust *trust, struct str trust_domain); /* NULL: none */
