/* SPDX-License-Identifier: GPL-3.0-or-later
 * dry_run.c - what policies that change nothing would have done to a connection: counted by policy, told in the log
 *
 * The verdict is passed in and stays as it is. Lines are limited, the counters are not. */
#include <ringwall/base/log.h>

#include "history.h"
#include "ways.h"
#include "worker.h"

enum { DRY_RUN_LINES_PER_S = 20 };

struct dry_hit {
    struct flow *f;
    const struct verdict *real;
};

static bool denies(const struct authz_watched *h) { return h->action == POLICY_DENY || h->action == POLICY_CUSTOM; }

static const char *would_have(const struct authz_watched *h, const struct verdict *real) {
    if (!h->dry_run || h->action == POLICY_AUDIT)
        return "takes note";
    if (denies(h))
        return real->allow ? "would have denied" : "would have denied, as was done";
    return real->allow ? "would have allowed, as was done" : "would have allowed";
}

static void dry_run_hit(void *context, const struct authz_watched *h) {
    static _Thread_local struct log_limit limit;
    struct dry_hit *d = context;
    char src[ENDPOINT_TEXT], dst[ENDPOINT_TEXT], name[STATS_POLICY_BYTES + 1], at[300];
    struct text policy = TEXT_OVER(name), place = TEXT_OVER(at);
    text_addf(&policy, STR_FMT "/" STR_FMT, STR_ARG(h->ns), STR_ARG(h->name));
    if (h->dry_run)
        stats_count_denied(&d->f->worker->options.stats->dry_run, text_str(&policy), denies(h) ? CLOSE_POLICY_DENIED : CLOSE_NONE);
    if (!log_limit_allows(&limit, DRY_RUN_LINES_PER_S))
        return;
    if (h->at.file.n)
        text_addf(&place, STR_FMT ":%u", STR_ARG(h->at.file), (unsigned)h->at.line);
    const struct log_field fields[] = {
        KV_STR("policy", text_str(&policy)),
        KV_I64("rule", h->rule),
        KV_STR("at", text_str(&place)),
        KV_Z("effect", would_have(h, d->real)),
        KV_BARE("src.addr", endpoint_format(&d->f->src, src)),
        KV_BARE("dst.addr", endpoint_format(&d->f->target, dst)),
    };
    log_write(LOG_PROGRAM, LOG_INFO, "policy", fields, array_size(fields), h->dry_run ? "dry-run" : "audit");
}

void dry_run_watch(struct flow *f, const struct authz_query *q, const struct verdict *real) {
    struct dry_hit d = {.f = f, .real = real};
    bool would_allow;
    ignore_result(authz_dry_run(q, real, dry_run_hit, &d, &would_allow)); /* each hit is told by itself */
}
