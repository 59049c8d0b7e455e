/* SPDX-License-Identifier: GPL-3.0-or-later
 * denials.c - what the workers' denials are together: one list by time, one counter by policy and reason
 *
 * Each worker keeps as many denials as the page shows, so the newest of all are among the answers whoever had them. */
#include <inttypes.h>
#include <stdlib.h>

#include "private.h"

/* ---- the list ---- */

/* Times are RFC 3339 with microseconds, all in one form: as text they sort as times. Equal ones keep the workers' order. */
struct dated {
    struct str time;
    size_t at;
    const struct json *node;
};

static int compare_dated(const void *a, const void *b) {
    const struct dated *x = a, *y = b;
    int order = str_compare(x->time, y->time);
    return order ? order : x->at < y->at ? -1 : 1;
}

static void write_newest(struct json_writer *w, const struct json *all, struct dated *rows) {
    size_t n = json_count(all);
    for (size_t i = 0; i < n; i++) {
        const struct json *node = json_at(all, i);
        rows[i] = (struct dated){json_text(json_get(node, "time")), i, node};
    }
    qsort(rows, n, sizeof(*rows), compare_dated);
    for (size_t i = n > DENIALS_SHOWN_MAX ? n - DENIALS_SHOWN_MAX : 0; i < n; i++) {
        cleanup_free char *text = json_dump(rows[i].node);
        if (text)
            json_raw(w, NULL, str_of(text));
        else
            w->to->failed = true;
    }
}

void denials_page(const struct view *v, struct reply *r) {
    struct growing joined cleanup(growing_deinit) = GROWING_NULL;
    char why[128];
    question_join(v->question, NEED_DENIALS, &joined);
    struct json *all = joined.failed ? NULL : json_read((struct str){joined.at, joined.n}, why);
    cleanup_free struct dated *rows = calloc(json_count(all) + 1, sizeof(*rows));
    r->status = 200;
    r->type = "application/json";
    if (all && rows) {
        struct json_writer w;
        json_begin(&w, &r->body, true);
        json_array(&w, NULL);
        write_newest(&w, all, rows);
        json_end(&w);
    } else {
        r->body.failed = true;
    }
    json_free(all);
}

/* ---- the counter ---- */

struct denied_sum {
    struct str policy;
    enum close_reason reason;
    uint64_t n;
};

static int compare_sums(const void *a, const void *b) {
    const struct denied_sum *x = a, *y = b;
    int order = str_compare(x->policy, y->policy);
    return order ? order : (x->reason > y->reason) - (x->reason < y->reason);
}

static const struct stats_denials *table_of(const struct worker_stats *s, bool dry_run) {
    return dry_run ? &s->dry_run : &s->denied;
}

static void add_sample(struct growing *to, const char *name, bool dry_run, struct str policy, enum close_reason reason,
                       uint64_t n) {
    growing_addf(to, "%s{", name);
    metrics_add_label(to, "policy", policy);
    if (dry_run)
        growing_addf(to, ",effect=\"%s\"} %" PRIu64 "\n", reason == CLOSE_NONE ? "allow" : "deny", n);
    else
        growing_addf(to, ",reason=\"%s\"} %" PRIu64 "\n", close_reason_word(reason), n);
}

static size_t collect(const struct admin_options *o, bool dry_run, struct denied_sum *to) {
    size_t n = 0;
    for (unsigned i = 0; i < o->n_workers; i++) {
        const struct stats_denials *d = table_of(&o->stats[i], dry_run);
        size_t n_items = atomic_load_explicit(&d->n_items, memory_order_acquire);
        for (size_t k = 0; k < min_of(n_items, (size_t)STATS_DENIED_MAX); k++) {
            const struct stats_denied *s = &d->items[k];
            to[n++] = (struct denied_sum){{s->policy, s->policy_bytes}, s->reason, counter_get(&s->n)};
        }
    }
    return n;
}

void denied_samples(const struct admin_options *o, const char *name, bool dry_run, struct growing *to) {
    cleanup_free struct denied_sum *sums = calloc((size_t)o->n_workers * STATS_DENIED_MAX + 1, sizeof(*sums));
    if (!sums) {
        to->failed = true;
        return;
    }
    size_t n = collect(o, dry_run, sums);
    qsort(sums, n, sizeof(*sums), compare_sums);
    for (size_t i = 0, next; i < n; i = next) {
        uint64_t total = 0;
        for (next = i; next < n && compare_sums(&sums[i], &sums[next]) == 0; next++)
            total += sums[next].n;
        add_sample(to, name, dry_run, sums[i].policy.n ? sums[i].policy : STR("none"), sums[i].reason, total);
    }
    for (unsigned reason = CLOSE_NONE; reason < _CLOSE_REASON_MAX; reason++) {
        uint64_t total = 0;
        for (unsigned i = 0; i < o->n_workers; i++)
            total += counter_get(&table_of(&o->stats[i], dry_run)->other[reason]);
        if (total)
            add_sample(to, name, dry_run, STR("other"), reason, total);
    }
}
