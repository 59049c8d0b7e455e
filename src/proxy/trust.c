/* SPDX-License-Identifier: GPL-3.0-or-later
 * trust.c - whom this worker trusts: new handshakes use it at once, open tunnels are judged again, some each turn
 *
 * tunnels_all is ordered by the trust that judged each tunnel, oldest first, as judge.c does it with flows: a judged one goes
 * to the back, so a pass needs no cursor. Handshakes under way are judged when they end (tunnel_opened).
 * A tunnel is cut when a certificate of either end is revoked, or the peer's root is trusted no more. When it is our own
 * root that went, our credential is asked for anew and the tunnel drains: what the peer thinks of it, the peer decides. */
#include <stdio.h>

#include <ringwall/base/check.h>

#include "credentials.h"
#include "tunnel.h"
#include "worker.h"

enum close_reason trust_judge(const struct worker *w, const struct tls_session *s, bool *ret_ours, enum tls_trust_verdict *ret) {
    const struct tls_peer *peer = tls_session_peer(s), *self = tls_credential_self(tls_session_credential(s));
    enum tls_trust_verdict v = tls_peer_recheck(self, w->trust);
    *ret_ours = v == TLS_TRUST_REVOKED || v == TLS_TRUST_ISSUER_REVOKED;
    *ret = *ret_ours ? v : tls_peer_recheck(peer, w->trust);
    switch (*ret) {
    case TLS_TRUST_OK:
        return CLOSE_NONE;
    case TLS_TRUST_REVOKED:
    case TLS_TRUST_ISSUER_REVOKED:
        return CLOSE_CERT_REVOKED;
    default:
        return CLOSE_TRUST_CHANGED;
    }
}

void trust_explain(const struct tls_session *s, bool ours, enum tls_trust_verdict v, char to[TRUST_WHY_BYTES]) {
    const struct tls_peer *of = ours ? tls_credential_self(tls_session_credential(s)) : tls_session_peer(s);
    char serial[2 * TLS_SERIAL_MAX + 1];
    snprintf(to, TRUST_WHY_BYTES, "%s: %s, serial %s", ours ? "our own" : "the peer's", tls_trust_text(v),
             tls_serial_text(of->serial, of->serial_n, serial));
}

static void trust_judge_tunnel(struct tunnel *t) {
    struct worker *w = t->worker;
    enum tls_trust_verdict v;
    bool ours;
    t->trust_judged = w->trust->generation;
    if (t->state != TUNNEL_OPEN)
        return;
    enum close_reason r = trust_judge(w, t->tls, &ours, &v);
    if (r == CLOSE_NONE) {
        if (tls_peer_recheck(tls_credential_self(tls_session_credential(t->tls)), w->trust) != TLS_TRUST_OK)
            tunnel_retire(t);
        return;
    }
    char why[TRUST_WHY_BYTES];
    trust_explain(t->tls, ours, v, why);
    tunnel_end(t, r, why);
}

void trust_step(struct worker *w) {
    for (unsigned i = 0; w->trust_judging && i < TUNNELS_JUDGED_PER_TURN; i++) {
        struct list *n = list_first(&w->tunnels_all);
        struct tunnel *t = n ? list_entry(n, struct tunnel, in_worker) : NULL;
        if (!t || t->trust_judged == w->trust->generation) {
            w->trust_judging = false;
            return;
        }
        list_unlink(n);
        list_push_back(&w->tunnels_all, n);
        trust_judge_tunnel(t);
    }
}

void trust_arrived(struct worker *w, struct tls_trust *trust) {
    if (w->trust && trust->generation <= w->trust->generation)
        return;
    tls_trust_unref(w->trust);
    w->trust = tls_trust_ref(trust);
    w->trust_judging = true;
    credentials_recheck(w);
}
