/* SPDX-License-Identifier: GPL-3.0-or-later
 * trust.c - whom this worker trusts: new handshakes use it at once */
#include <ringwall/tls/credential.h>

#include "worker.h"

void trust_arrived(struct worker *w, struct tls_trust *trust) {
    tls_trust_unref(w->trust);
    w->trust = tls_trust_ref(trust);
}
