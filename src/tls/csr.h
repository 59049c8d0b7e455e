/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/csr.h - the inside of a checked request: nothing but its key (private to the room) */
#pragma once

#include <ringwall/tls/issue.h>

#include "crypto.h"

struct tls_csr {
    size_t n;
    uint8_t spki[]; /* body of the SubjectPublicKeyInfo */
};

/* GeneralNames with the one URI. */
void san_put(struct der_out *o, const struct identity *identity);
int der_out_keep(const struct der_out *o, struct tls_der *ret) must_check;
