/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/remembered.c - see remembered.h */
#include "remembered.h"

/* The most recently needed first. All zeros: nobody's place. */
static _Thread_local uint8_t sets[REMEMBERED_SETS][REMEMBERED_WAYS][32];
static _Thread_local uint64_t n_misses;

/* Puts `id` first; those before place `from` step back. */
static void put_first(uint8_t (*set)[32], size_t from, const uint8_t id[32]) {
    memmove(set[1], set[0], from * sizeof(set[0]));
    memcpy(set[0], id, sizeof(set[0]));
}

bool remembered_check(const struct public_key *k, enum signature_kind kind, struct der whole, struct der message,
                      struct der signature) {
    static const uint8_t nobody[32];
    uint8_t id[32];
    if (k->kind == KEY_UNSUPPORTED) /* the same bytes may be a point of another curve */
        return false;
    bool named = digest_sha256(whole, k->bytes, id) && memcmp(id, nobody, sizeof(id)) != 0;
    uint8_t(*set)[32] = sets[named ? id[0] % REMEMBERED_SETS : 0];

    for (size_t i = 0; named && i < REMEMBERED_WAYS; i++)
        if (!memcmp(set[i], id, sizeof(id))) {
            put_first(set, i, id);
            return true;
        }
    n_misses++;
    if (!signature_check(k, kind, message, signature))
        return false;
    if (named)
        put_first(set, REMEMBERED_WAYS - 1, id);
    return true;
}

uint64_t remembered_misses(void) { return n_misses; }
