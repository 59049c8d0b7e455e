/* SPDX-License-Identifier: GPL-3.0-or-later
 * access.c - one line a flow: ztunnel's fields in ztunnel's order, then the reason's word, who decided it and where, who
 * ended first, and how long the way to the destination took */
#include "access.h"

#include <stdio.h>

#include <ringwall/base/log.h>

#include "pod.h"
#include "worker.h"

enum { FIELDS_MAX = 32, QUIET_LINES_PER_S = 50 };

struct line {
    struct log_field fields[FIELDS_MAX];
    size_t n;
    char src[ENDPOINT_TEXT], dst[ENDPOINT_TEXT], hbone[ENDPOINT_TEXT], duration[24], connect[24], error[192];
};

static void line_str(struct line *l, const char *key, struct str s) {
    if (s.n)
        l->fields[l->n++] = KV_STR(key, s);
}
static void line_bare(struct line *l, const char *key, struct str s) {
    if (s.n)
        l->fields[l->n++] = KV_BARE(key, s);
}

static struct str ms_text(char out[24], uint64_t ns) {
    int n = snprintf(out, 24, "%llums", (unsigned long long)(ns / NS_PER_MS));
    return (struct str){out, (size_t)n};
}

static struct str endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT]) {
    return addr_is_none(&e->addr) && e->port == 0 ? STR_NULL : endpoint_format(e, out);
}

void flow_identities(const struct flow *f, const struct identity **ret_src, const struct identity **ret_dst) {
    const struct leg *l = &f->legs[f->kind == FLOW_OUTBOUND ? LEG_SERVER : LEG_CLIENT];
    const struct tunnel *t = leg_is_stream(l) ? l->stream.tunnel : NULL;
    *ret_src = *ret_dst = NULL;
    if (!t)
        return;
    const struct identity *own = tunnel_own_identity(t);
    const struct identity *peer = identity_is_none(&t->peer_identity) ? NULL : &t->peer_identity;
    *ret_src = f->kind == FLOW_OUTBOUND ? own : peer;
    *ret_dst = f->kind == FLOW_OUTBOUND ? peer : own;
}

static struct str identity_text(const struct identity *i) { return i ? identity_uri(i) : STR_NULL; }

static void line_parties(struct line *l, const struct flow *f) {
    const struct identity *src, *dst;
    flow_identities(f, &src, &dst);
    line_bare(l, "src.addr", endpoint_text(&f->src, l->src));
    line_str(l, "src.workload", facts_get(&f->notes->facts, FACT_SRC_WORKLOAD));
    line_str(l, "src.namespace", facts_get(&f->notes->facts, FACT_SRC_NAMESPACE));
    line_str(l, "src.identity", identity_text(src));
    line_str(l, "src.cluster", facts_get(&f->notes->facts, FACT_SRC_CLUSTER));
    line_bare(l, "dst.addr", endpoint_text(f->hop.port || f->mtls ? &f->hop : &f->asked, l->dst));
    if (f->mtls)
        line_bare(l, "dst.hbone_addr", endpoint_text(&f->target, l->hbone));
    line_str(l, "dst.service", facts_get(&f->notes->facts, FACT_DST_SERVICE));
    line_str(l, "dst.workload", facts_get(&f->notes->facts, FACT_DST_WORKLOAD));
    line_str(l, "dst.namespace", facts_get(&f->notes->facts, FACT_DST_NAMESPACE));
    line_str(l, "dst.identity", identity_text(dst));
    line_str(l, "dst.cluster", facts_get(&f->notes->facts, FACT_DST_CLUSTER));
    line_str(l, "direction", f->kind == FLOW_OUTBOUND ? STR("outbound") : STR("inbound"));
}

static void line_numbers(struct line *l, const struct flow *f) {
    uint64_t now = worker_now(f->worker);
    bool outbound = f->kind == FLOW_OUTBOUND;
    l->fields[l->n++] = KV_U64("bytes_sent", f->legs[outbound ? LEG_CLIENT : LEG_SERVER].n_read);
    l->fields[l->n++] = KV_U64("bytes_recv", f->legs[outbound ? LEG_SERVER : LEG_CLIENT].n_read);
    line_bare(l, "duration", ms_text(l->duration, now - f->began_ns));
}

static void line_reason(struct line *l, const struct flow *f) {
    struct str detail = facts_get(&f->notes->facts, FACT_DETAIL);
    if (close_reason_is_error(f->reason)) {
        int n = snprintf(l->error, sizeof(l->error), "%s%s" STR_FMT "%s", close_reason_text(f->reason), detail.n ? " (" : "",
                         STR_ARG(detail), detail.n ? ")" : "");
        line_str(l, "error", (struct str){l->error, min_of((size_t)n, sizeof(l->error) - 1)});
    }
    line_bare(l, "reason", str_of(close_reason_word(f->reason)));
    line_str(l, "policy", facts_get(&f->notes->facts, FACT_POLICY));
    if (f->rule >= 0)
        l->fields[l->n++] = KV_I64("rule", f->rule);
    line_str(l, "at", facts_get(&f->notes->facts, FACT_AT));
    line_bare(l, "closed_by", str_of(closed_by_word(f->closed_by)));
    if (f->was_open)
        line_bare(l, "connect", ms_text(l->connect, f->open_ns - f->began_ns));
    line_bare(l, "trace_id", str_of(f->trace_id));
}

void access_opened(struct flow *f) {
    if (log_get_level() < LOG_DEBUG)
        return;
    struct line l;
    l.n = 0;
    line_parties(&l, f);
    log_write(LOG_ACCESS, LOG_DEBUG, "access", l.fields, l.n, "connection opened");
}

void access_closed(struct flow *f) {
    struct line l;
    l.n = 0;
    line_parties(&l, f);
    line_numbers(&l, f);
    line_reason(&l, f);
    bool error = close_reason_is_error(f->reason);
    log_write(LOG_ACCESS, error ? (f->was_open ? LOG_ERROR : LOG_WARN) : LOG_INFO, "access", l.fields, l.n,
              f->was_open ? "connection complete" : "connection failed");
}

/* Whoever can reach a port can cause these, so they are limited; counters tell the rest. */
static bool quiet_line_allowed(void) {
    static _Thread_local struct log_limit limit;
    return log_limit_allows(&limit, QUIET_LINES_PER_S);
}

void access_handshake_failed(const struct tunnel *t) {
    if (!quiet_line_allowed())
        return;
    struct line l;
    l.n = 0;
    line_bare(&l, "src.addr", endpoint_text(&t->peer, l.src));
    line_bare(&l, "dst.addr", endpoint_text(&t->local, l.dst));
    line_str(&l, "direction", STR("inbound"));
    snprintf(l.error, sizeof(l.error), "%s%s%s%s", close_reason_text(t->reason), t->why[0] ? " (" : "", t->why,
             t->why[0] ? ")" : "");
    line_str(&l, "error", str_of(l.error));
    line_bare(&l, "reason", str_of(close_reason_word(t->reason)));
    log_write(LOG_ACCESS, LOG_WARN, "access", l.fields, l.n, "connection failed");
}

void access_turned_away(struct worker *w, enum stats_direction d, const struct endpoint *src, enum close_reason why) {
    counter_add(&w->options.stats->closed[d][why], 1);
    if (!quiet_line_allowed())
        return;
    struct line l;
    l.n = 0;
    line_bare(&l, "src.addr", endpoint_text(src, l.src));
    line_str(&l, "direction", d == STATS_OUTBOUND ? STR("outbound") : STR("inbound"));
    line_str(&l, "error", str_of(close_reason_text(why)));
    line_bare(&l, "reason", str_of(close_reason_word(why)));
    log_write(LOG_ACCESS, LOG_WARN, "access", l.fields, l.n, "connection failed");
}
