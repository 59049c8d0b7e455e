/* SPDX-License-Identifier: GPL-3.0-or-later
 * age.c - a certificate that is not renewed in time is spoken of long before it is missed (facts/identity.md 10 #2)
 *
 * At 85 % of its life a renewal has failed for a while, at 95 % somebody has to act, at the end the identity stands without.
 * Each is told once a certificate, with the last reason; the report gives the age at any time. */
#include <inttypes.h>

#include <ringwall/base/log.h>

#include "machine.h"

enum { LATE_PERCENT = 85, VERY_LATE_PERCENT = 95 };

enum age age_of(const struct entry *e, int64_t wall_s) {
    int64_t begin = tls_credential_not_before(e->credential), end = tls_credential_not_after(e->credential);
    if (wall_s >= end)
        return AGE_OVER;
    int64_t passed = (wall_s - begin) * 100, life = end - begin;
    return passed >= life * VERY_LATE_PERCENT ? AGE_VERY_LATE : passed >= life * LATE_PERCENT ? AGE_LATE : AGE_FRESH;
}

const char *age_word(enum age a) {
    static const char *const words[_AGE_MAX] = {"fresh", "late", "very late", "over"};
    return words[a];
}

void age_tell(struct machine *m, struct entry *e, const struct moment *now) {
    enum age a = age_of(e, now->wall_s);
    /* A rotateAt beyond these ages is the user's wish: nothing is late before it. */
    if (a <= e->aged || (a != AGE_OVER && now->wall_s < e->rotate_s))
        return;
    e->aged = (uint8_t)a;
    m->n_aged[a]++;
    struct str who = identity_uri(&e->identity);
    const char *why = e->why[0] ? e->why : "none failed yet";
    int64_t rest = tls_credential_not_after(e->credential) - now->wall_s;
    if (a == AGE_OVER)
        log_error("identity",
                  "the certificate of " STR_FMT " has expired unrenewed: its connections are refused now; last renewal: %s",
                  STR_ARG(who), why);
    else if (a == AGE_VERY_LATE)
        log_error("identity", "the certificate of " STR_FMT " ends in %" PRId64 " s and is not renewed; last renewal: %s",
                  STR_ARG(who), rest, why);
    else
        log_warn("identity", "the certificate of " STR_FMT " ends in %" PRId64 " s and should have been renewed; last renewal: %s",
                 STR_ARG(who), rest, why);
}
