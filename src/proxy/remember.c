/* SPDX-License-Identifier: GPL-3.0-or-later
 * remember.c - from a flow that ended to history.h: was it denied, was it let in, or is there nothing to say about policy?
 *
 * Denied is what CONNECT answers with 401 (tbl/close_reason.h), here or, for outbound, at the other node. The counter by
 * policy counts only what this node decided: the other node counts its own. */
#include <ringwall/base/clock.h>

#include "access.h"
#include "credentials.h"
#include "history.h"
#include "pod.h"
#include "worker.h"

enum { STATUS_DENIED = 401 };

static bool was_denied(const struct flow *f) {
    return close_reason_status(f->reason) == STATUS_DENIED || f->peer_status == STATUS_DENIED;
}

static void remember_denial(struct flow *f, const struct identity *source, int64_t wall_ns) {
    struct denial *d = history_add_denial(f->worker->history);
    d->wall_ns = wall_ns;
    d->world = f->judged;
    d->src = f->src;
    d->dst = f->target.port ? f->target : f->asked;
    if (source)
        d->source = *source;
    d->facts = f->notes->facts;
    d->reason = f->reason;
    d->rule = f->rule;
    d->peer_status = f->peer_status;
    d->outbound = f->kind == FLOW_OUTBOUND;
    d->mtls = f->mtls;
    if (!d->outbound)
        stats_count_denied(&f->worker->options.stats->denied, facts_get(&f->notes->facts, FACT_POLICY), f->reason);
}

static void remember_contact(struct flow *f, const struct identity *source, bool allowed, int64_t wall_ns) {
    struct contact_key key;
    memset(&key, 0, sizeof(key));
    key.source_ip = f->src.addr;
    key.destination_ip = f->target.addr;
    key.port = f->target.port;
    key.outbound = f->kind == FLOW_OUTBOUND;
    key.allowed = allowed;
    key.mtls = f->mtls;
    bool unsent = key.outbound && !key.mtls; /* a connection like it may need it tomorrow */
    contact_key_set_source(&key, unsent && f->pod->slot ? &f->pod->slot->identity : source);
    struct contact *c = history_add_contact(f->worker->history, &key);
    c->wall_ns = wall_ns;
    c->world = f->judged;
    c->reason = f->reason;
    struct text to = {.at = c->to, .cap = sizeof(c->to)};
    struct str ns = facts_get(&f->notes->facts, FACT_DST_NAMESPACE), name = facts_get(&f->notes->facts, FACT_DST_WORKLOAD);
    c->to[0] = 0;
    if (ns.n && name.n)
        text_addf(&to, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    c->to_bytes = (uint16_t)(to.full ? 0 : to.n); /* half a name is none: the address finds the workload too */
}

void remember_end(struct flow *f) {
    const struct identity *source, *destination;
    bool denied = was_denied(f);
    if (!denied && !f->was_open)
        return;
    int64_t wall_ns = clock_wall_ns();
    flow_identities(f, &source, &destination);
    if (denied)
        remember_denial(f, source, wall_ns);
    if (!denied || f->kind != FLOW_OUTBOUND || f->mtls) /* plaintext that was cut once it was to be a tunnel was never refused */
        remember_contact(f, source, !denied, wall_ns);
}
