/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/bundle.h - the inside of a bundle, for the chain walk (private to the room) */
#pragma once

#include <stdatomic.h>

#include "cert_view.h"

struct tls_bundle {
    _Atomic unsigned n_refs;
    char *trust_domain;
    struct tls_der_list roots;
    struct cert_view views[]; /* of roots, parsed once */
};
