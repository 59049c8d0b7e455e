/* SPDX-License-Identifier: GPL-3.0-or-later
 * metrics.c - Prometheus text: the mesh's usual names (istio_tcp_*) with few labels, and our own (ringwall_*)
 *
 * The number of series is bounded by the tables that they come from and by METRICS_IDENTITIES_MAX, so a scrape does not
 * grow with the number of peers. "reporter" is source for outbound flows, destination for inbound ones. As is usual for
 * the istio_tcp_* names, "received" is what the client sent and "sent" what the server sent, on both sides. */
#include <inttypes.h>

#include <ringwall/abi/capture.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>
#include <ringwall/model/close_reason.h>

#include "private.h"

enum { METRICS_IDENTITIES_MAX = 1024 };

static const char *const reporters[_STATS_DIRECTION_MAX] = {[STATS_OUTBOUND] = "source", [STATS_INBOUND] = "destination"};

static void family(struct growing *to, const char *name, const char *type, const char *help) {
    growing_addf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct growing *to, const char *name, const char *help, uint64_t value) {
    family(to, name, "gauge", help);
    growing_addf(to, "%s %" PRIu64 "\n", name, value);
}

static void count(struct growing *to, const char *name, const char *help, uint64_t value) {
    family(to, name, "counter", help);
    growing_addf(to, "%s %" PRIu64 "\n", name, value);
}

/* A label's value: backslash, quote and line end are escaped, as the format asks. */
void metrics_add_label(struct growing *to, const char *name, struct str value) {
    growing_addf(to, "%s=\"", name);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.at[i];
        if (c == '\\' || c == '"')
            growing_addf(to, "\\%c", c);
        else if (c == '\n')
            growing_add(to, STR("\\n"));
        else
            growing_add(to, (struct str){&value.at[i], 1});
    }
    growing_add(to, STR("\""));
}

/* One counter summed over all workers; `offset` is its place in struct worker_stats. */
static uint64_t sum(const struct admin_options *o, size_t offset) {
    uint64_t n = 0;
    for (unsigned i = 0; i < o->n_workers; i++)
        n += counter_get((const struct counter *)((const char *)&o->stats[i] + offset));
    return n;
}
#define SUM(o, field) sum((o), offsetof(struct worker_stats, field))

static void opened_family(const struct admin_options *o, struct growing *to) {
    const char *name = "istio_tcp_connections_opened_total";
    family(to, name, "counter", "connections opened");
    for (unsigned d = 0; d < _STATS_DIRECTION_MAX; d++) {
        uint64_t mtls = SUM(o, opened_mtls[d]), all = SUM(o, opened[d]);
        growing_addf(to, "%s{reporter=\"%s\",request_protocol=\"tcp\",connection_security_policy=\"mutual_tls\"} %" PRIu64 "\n",
                     name, reporters[d], mtls);
        /* The two are counted one after the other: a read between them must not wrap. */
        growing_addf(to, "%s{reporter=\"%s\",request_protocol=\"tcp\",connection_security_policy=\"unknown\"} %" PRIu64 "\n", name,
                     reporters[d], all > mtls ? all - mtls : 0);
    }
}

static void closed_family(const struct admin_options *o, const char *name, const char *help, bool only_errors, struct growing *to) {
    family(to, name, "counter", help);
    for (unsigned d = 0; d < _STATS_DIRECTION_MAX; d++)
        for (unsigned reason = CLOSE_NONE + 1; reason < _CLOSE_REASON_MAX; reason++)
            if (!only_errors || close_reason_is_error(reason))
                growing_addf(to, "%s{reporter=\"%s\",reason=\"%s\"} %" PRIu64 "\n", name, reporters[d], close_reason_word(reason),
                             SUM(o, closed[d][reason]));
}

static void denied_family(const struct admin_options *o, struct growing *to) {
    const char *name = "ringwall_policy_denied_total";
    family(to, name, "counter",
           "connections denied by this node's policies, by the policy and why; policy \"other\": too many names");
    denied_samples(o, name, false, to);
    name = "ringwall_policy_dry_run_total";
    family(to, name, "counter",
           "connections that a dry-run policy matched, and what it would have done; policy \"other\": too many names");
    denied_samples(o, name, true, to);
}

static void bytes_families(const struct admin_options *o, struct growing *to) {
    static const char form[] = "%s{reporter=\"source\",request_protocol=\"tcp\"} %" PRIu64 "\n"
                               "%s{reporter=\"destination\",request_protocol=\"tcp\"} %" PRIu64 "\n";
    const char *received = "istio_tcp_received_bytes_total", *sent = "istio_tcp_sent_bytes_total";
    family(to, received, "counter", "bytes from clients to servers");
    growing_addf(to, form, received, SUM(o, bytes_sent[STATS_OUTBOUND]), received, SUM(o, bytes_received[STATS_INBOUND]));
    family(to, sent, "counter", "bytes from servers to clients");
    growing_addf(to, form, sent, SUM(o, bytes_received[STATS_OUTBOUND]), sent, SUM(o, bytes_sent[STATS_INBOUND]));
}

static void worker_family(const struct admin_options *o, const char *name, const char *type, const char *help, size_t offset,
                          struct growing *to) {
    family(to, name, type, help);
    for (unsigned i = 0; i < o->n_workers; i++)
        growing_addf(to, "%s{worker=\"%u\"} %" PRIu64 "\n", name, i,
                     counter_get((const struct counter *)((const char *)&o->stats[i] + offset)));
}

static void worker_families(const struct admin_options *o, struct growing *to) {
#define WORKER_GAUGE(name, help) worker_family(o, "ringwall_worker_" #name, "gauge", help, offsetof(struct worker_stats, name), to);
#define WORKER_COUNTER(name, help) \
    worker_family(o, "ringwall_worker_" #name "_total", "counter", help, offsetof(struct worker_stats, name), to);
    WORKER_GAUGES(WORKER_GAUGE)
    WORKER_COUNTERS(WORKER_COUNTER)
#undef WORKER_GAUGE
#undef WORKER_COUNTER
}

static void doors_families(const struct doors_stats *d, struct growing *to) {
#define DOORS_GAUGE(name, help) gauge(to, "ringwall_doors_" #name, help, counter_get(&d->name));
#define DOORS_COUNTER(name, help) count(to, "ringwall_doors_" #name "_total", help, counter_get(&d->name));
    DOORS_GAUGES(DOORS_GAUGE)
    DOORS_COUNTERS(DOORS_COUNTER)
#undef DOORS_GAUGE
#undef DOORS_COUNTER
}

/* The names are Istio's CA's where it has one, so the table holds them whole. */
static void ca_families(const struct ca_stats *c, struct growing *to) {
#define CA_GAUGE(field, name, help) gauge(to, name, help, counter_get(&c->field));
#define CA_COUNTER(field, name, help) count(to, name, help, counter_get(&c->field));
    CA_GAUGES(CA_GAUGE)
    CA_COUNTERS(CA_COUNTER)
#undef CA_GAUGE
#undef CA_COUNTER
}

static void world_families(const struct world *w, struct growing *to) {
    gauge(to, "ringwall_world_number", "number of the world in force; 0: none yet", w ? world_number(w) : 0);
    gauge(to, "ringwall_workloads", "workloads of the world in force", w ? world_n_workloads(w) : 0);
    gauge(to, "ringwall_services", "services of the world in force", w ? world_n_services(w) : 0);
    gauge(to, "ringwall_authorization_policies", "AuthorizationPolicies of the world in force", w ? world_n_policies(w) : 0);
    gauge(to, "ringwall_peer_authentications", "PeerAuthentications of the world in force", w ? world_n_peer_auths(w) : 0);
    gauge(to, "ringwall_world_bytes", "memory of the world in force", w ? world_bytes(w) : 0);
}

static uint64_t number_of(const struct json *o, const char *key) {
    int64_t n;
    return json_number(json_get(o, key), &n) && n > 0 ? (uint64_t)n : 0;
}

/* Of an answer that did not come there is no sample: a gap is truer than a zero. */
static void config_families(struct str answer, struct growing *to) {
    char why[128];
    struct json *o = answer.n ? json_read(answer, why) : NULL;
    if (!o)
        return;
    gauge(to, "ringwall_config_refused", "1: the newest manifests are refused and an older world is in force",
          json_truth(json_get(o, "refused")));
    gauge(to, "ringwall_config_errors", "errors in the newest manifests", number_of(o, "errorCount"));
    gauge(to, "ringwall_config_warnings", "warnings in the newest manifests", number_of(o, "warningCount"));
    count(to, "ringwall_config_attempts_total", "loads of the mesh directory, refused ones too", number_of(o, "attempts"));
    json_free(o);
}

static void cert_families(struct str answer, struct growing *to) {
    char why[128];
    struct json *entries = answer.n ? json_read(answer, why) : NULL;
    const char *name = "ringwall_certificate_expiration_timestamp_seconds";
    uint64_t available = 0, n = json_count(entries);
    uint64_t late = 0, very_late = 0;
    int64_t earliest = INT64_MAX;
    if (!entries)
        return;
    family(to, name, "gauge", "when an identity's certificate ends, seconds since 1970");
    for (size_t i = 0; i < n; i++) {
        const struct json *e = json_at(entries, i);
        struct str end = json_text(json_get(json_at(json_get(e, "certChain"), 0), "expirationTime"));
        int64_t at;
        if (!clock_parse_rfc3339(end.n ? end.at : "", end.n, &at))
            continue;
        struct str age = json_text(json_get(e, "age"));
        very_late += str_is(age, STR("very late"));
        late += str_is(age, STR("late")) || str_is(age, STR("very late"));
        available++;
        earliest = min_of(earliest, at);
        if (available > METRICS_IDENTITIES_MAX)
            continue;
        growing_addf(to, "%s{", name);
        metrics_add_label(to, "identity", json_text(json_get(e, "identity")));
        growing_addf(to, "} %" PRId64 "\n", at);
    }
    gauge(to, "ringwall_identities", "identities of this node's workloads", n);
    gauge(to, "ringwall_identities_available", "of these, with a valid certificate", available);
    family(to, "ringwall_certificates_unrenewed", "gauge",
           "certificates in use that have passed this share of their life unrenewed");
    growing_addf(
        to, "ringwall_certificates_unrenewed{life=\"85\"} %" PRIu64 "\nringwall_certificates_unrenewed{life=\"95\"} %" PRIu64 "\n",
        late, very_late);
    gauge(to, "ringwall_identities_unavailable", "identities without a valid certificate: not got yet, or over", n - available);
    if (available)
        gauge(to, "ringwall_certificate_earliest_expiration_timestamp_seconds", "when the first certificate ends",
              (uint64_t)earliest);
    json_free(entries);
}

static void capture_families(const struct admin_options *o, struct growing *to) {
    if (!o->capture_counts)
        return;
#define CAPTURE_FAMILY(upper, lower, text) \
    count(to, "ringwall_capture_" #lower "_total", text, o->capture_counts(o->capture_context, CAPTURE_COUNT_##upper));
    CAPTURE_COUNTS(CAPTURE_FAMILY)
#undef CAPTURE_FAMILY
}

static void process_families(const struct view *v, struct growing *to) {
    const struct admin_options *o = v->options;
    char why[128] = "";
    family(to, "ringwall_build_info", "gauge", "1; what runs is in the labels");
    growing_add(to, STR("ringwall_build_info{"));
    metrics_add_label(to, "version", str_of(o->version));
    growing_add(to, STR(","));
    metrics_add_label(to, "node", str_of(o->node));
    growing_add(to, STR("} 1\n"));
    family(to, "istio_build", "gauge", "1; what runs is in the labels");
    growing_add(to, STR("istio_build{component=\"ringwall\","));
    metrics_add_label(to, "tag", str_of(o->version));
    growing_add(to, STR("} 1\n"));
    gauge(to, "ringwall_ready", "1: the daemon serves", o->ready_fn(o->ready_context, why));
    count(to, "ringwall_log_lines_dropped_total", "log lines lost because their reader was too slow", log_dropped());
    family(to, "ringwall_admin_answers_total", "counter", "answers of the admin listeners by status class");
    for (unsigned class = 2; class < 6; class ++)
        growing_addf(to, "ringwall_admin_answers_total{code=\"%uxx\"} %" PRIu64 "\n", class, counter_get(&v->answers[class]));
}

static void mailbox_families(const struct admin_options *o, struct growing *to) {
    const struct {
        const char *name;
        const struct mailbox *box;
    } boxes[] = {{"identity", o->identity}, {"config", o->config}, {"main", o->main}};
    const char *name = "ringwall_mailbox_refused_total";
    family(to, name, "counter", "messages that a full mailbox refused");
    for (size_t i = 0; i < array_size(boxes); i++)
        if (boxes[i].box)
            growing_addf(to, "%s{mailbox=\"%s\"} %" PRIu64 "\n", name, boxes[i].name, mailbox_refused(boxes[i].box));
    for (unsigned i = 0; i < o->n_workers; i++)
        if (o->workers[i])
            growing_addf(to, "%s{mailbox=\"worker %u\"} %" PRIu64 "\n", name, i, mailbox_refused(o->workers[i]));
}

void metrics_page(const struct view *v, struct reply *r) {
    const struct admin_options *o = v->options;
    struct growing *to = &r->body;
    r->status = 200;
    r->type = "text/plain; version=0.0.4; charset=utf-8";
    opened_family(o, to);
    closed_family(o, "istio_tcp_connections_closed_total", "connections ended, by the reason of their end", false, to);
    closed_family(o, "istio_tcp_connections_failed_total", "connections that ended with an error or were refused", true, to);
    denied_family(o, to);
    bytes_families(o, to);
    process_families(v, to);
    world_families(v->world, to);
    config_families(question_one(v->question, NEED_CONFIG), to);
    cert_families(question_one(v->question, NEED_CERTS), to);
    worker_families(o, to);
    mailbox_families(o, to);
    capture_families(o, to);
    if (o->ca_stats)
        ca_families(o->ca_stats, to);
    if (o->doors)
        doors_families(o->doors, to);
}
