/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/remembered.h - good signatures that this thread has seen (private to the room)
 *
 * That a key signed some bytes stays true for ever: nothing else of a certificate is remembered, so times, usages, names,
 * revocation and whose root counts are judged anew for every peer, by the bundles of that moment. A signature is known by the
 * SHA-256 of all that went into it, so neither a byte of the certificate nor the key may differ. Bad ones are not remembered.
 * Bounded: REMEMBERED_MAX a thread; the one of its set that was not needed for longest makes room. */
#pragma once

#include "crypto.h"

enum { REMEMBERED_WAYS = 16, REMEMBERED_SETS = 64, REMEMBERED_MAX = REMEMBERED_WAYS * REMEMBERED_SETS };

/* signature_check of `message`. `whole` contains message and signature, and names the kind: a certificate. */
bool remembered_check(const struct public_key *k, enum signature_kind kind, struct der whole, struct der message,
                      struct der signature);

/* How many signatures this thread had to check because it did not remember them. */
uint64_t remembered_misses(void);
