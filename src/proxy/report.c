/* SPDX-License-Identifier: GPL-3.0-or-later
 * report.c - answers to admin's questions as JSON (keys in mail/ask.h); a bounded number of rows, in the worker's own turn */
#include <ringwall/mail/ask.h>
#include <ringwall/wire/json.h>

#include "credentials.h"
#include "flow.h"
#include "history.h"
#include "pod.h"
#include "tunnel.h"
#include "worker.h"

static void put_fact(struct json_writer *j, const char *key, const struct facts *f, enum fact which) {
    struct str s = facts_get(f, which);
    if (s.n)
        json_str(j, key, s);
}

static void put_endpoint(struct json_writer *j, const char *key, const struct endpoint *e) {
    char text[ENDPOINT_TEXT];
    if (e->port || !addr_is_none(&e->addr))
        json_str(j, key, endpoint_format(e, text));
}

static void put_identity(struct json_writer *j, const struct identity *i) {
    if (i && !identity_is_none(i))
        json_str(j, "identity", identity_uri(i));
}

static void report_flow(struct json_writer *j, const struct flow *f) {
    bool outbound = f->kind == FLOW_OUTBOUND;
    const struct leg *l = &f->legs[outbound ? LEG_SERVER : LEG_CLIENT];
    const struct tunnel *t = leg_is_stream(l) ? l->stream.tunnel : NULL;
    const struct identity *own = t ? tunnel_own_identity(t) : NULL, *peer = t ? &t->peer_identity : NULL;
    json_object(j, NULL);
    json_u64(j, "id", f->id);
    json_u64(j, "worker", f->worker->options.index);
    json_z(j, "direction", outbound ? "outbound" : "inbound");
    json_z(j, "protocol", f->mtls ? "HBONE" : "TCP");
    json_z(j, "state", flow_state_word(f->state));
    json_object(j, "src");
    put_endpoint(j, "addr", &f->src);
    put_fact(j, "workload", &f->notes->facts, FACT_SRC_WORKLOAD);
    put_fact(j, "namespace", &f->notes->facts, FACT_SRC_NAMESPACE);
    put_identity(j, outbound ? own : peer);
    json_end(j);
    json_object(j, "dst");
    put_endpoint(j, "addr", f->hop.port ? &f->hop : &f->asked);
    if (f->mtls)
        put_endpoint(j, "hboneAddr", &f->target);
    put_fact(j, "service", &f->notes->facts, FACT_DST_SERVICE);
    put_fact(j, "workload", &f->notes->facts, FACT_DST_WORKLOAD);
    put_fact(j, "namespace", &f->notes->facts, FACT_DST_NAMESPACE);
    put_identity(j, outbound ? peer : own);
    json_end(j);
    json_u64(j, "bytesSent", f->legs[outbound ? LEG_CLIENT : LEG_SERVER].n_read);
    json_u64(j, "bytesReceived", f->legs[outbound ? LEG_SERVER : LEG_CLIENT].n_read);
    json_u64(j, "durationMs", (worker_now(f->worker) - f->began_ns) / NS_PER_MS);
    json_u64(j, "world", f->judged);
    if (t)
        json_u64(j, "tunnel", t->id);
    json_end(j);
}

static void report_flows(struct worker *w, struct json_writer *j) {
    unsigned left = REPORT_ROWS_MAX;
    json_array(j, NULL);
    list_for_each (it, &w->flows_all) {
        const struct flow *f = list_entry(it, struct flow, in_worker);
        if (f->state == FLOW_ENDING)
            continue;
        if (!left--)
            break;
        report_flow(j, f);
    }
    json_end(j);
}

static void report_tunnels(struct worker *w, struct json_writer *j) {
    unsigned left = REPORT_ROWS_MAX;
    json_array(j, NULL);
    list_for_each (it, &w->tunnels_all) {
        const struct tunnel *t = list_entry(it, struct tunnel, in_worker);
        if (!left--)
            break;
        json_object(j, NULL);
        json_u64(j, "id", t->id);
        json_u64(j, "worker", w->options.index);
        json_z(j, "direction", t->server ? "inbound" : "outbound");
        json_z(j, "state", tunnel_state_word(t->state));
        json_bool(j, "retired", t->retired);
        put_endpoint(j, "local", &t->local);
        put_endpoint(j, "peer", &t->peer);
        if (!identity_is_none(&t->peer_identity))
            json_str(j, "peerIdentity", identity_uri(&t->peer_identity));
        if (t->state == TUNNEL_OPEN)
            json_z(j, "suite", tls_session_suite(t->tls));
        json_u64(j, "generation", t->credential_generation);
        json_u64(j, "flows", t->n_legs);
        json_u64(j, "flowsTotal", t->n_flows_total);
        json_u64(j, "bytesSent", t->n_out);
        json_u64(j, "bytesReceived", t->n_in);
        json_u64(j, "ageMs", (worker_now(w) - t->began_ns) / NS_PER_MS);
        json_end(j);
    }
    json_end(j);
}

static void report_denial(struct worker *w, struct json_writer *j, const struct denial *d) {
    char time[RFC3339_BYTES];
    struct str detail = facts_get(&d->facts, FACT_DETAIL);
    clock_rfc3339(d->wall_ns, time, true);
    json_object(j, NULL);
    json_z(j, "time", time);
    json_u64(j, "worker", w->options.index);
    json_u64(j, "world", d->world);
    json_z(j, "direction", d->outbound ? "outbound" : "inbound");
    json_z(j, "protocol", d->mtls ? "HBONE" : "TCP");
    json_object(j, "src");
    put_endpoint(j, "addr", &d->src);
    put_fact(j, "workload", &d->facts, FACT_SRC_WORKLOAD);
    put_fact(j, "namespace", &d->facts, FACT_SRC_NAMESPACE);
    put_identity(j, &d->source);
    json_end(j);
    json_object(j, "dst");
    put_endpoint(j, "addr", &d->dst);
    put_fact(j, "service", &d->facts, FACT_DST_SERVICE);
    put_fact(j, "workload", &d->facts, FACT_DST_WORKLOAD);
    put_fact(j, "namespace", &d->facts, FACT_DST_NAMESPACE);
    json_end(j);
    json_z(j, "reason", close_reason_word(d->reason));
    json_strf(j, "text", "%s%s" STR_FMT "%s", close_reason_text(d->reason), detail.n ? " (" : "", STR_ARG(detail),
              detail.n ? ")" : "");
    put_fact(j, "policy", &d->facts, FACT_POLICY);
    if (d->rule >= 0)
        json_i64(j, "rule", d->rule);
    put_fact(j, "at", &d->facts, FACT_AT);
    if (d->peer_status)
        json_u64(j, "peerStatus", d->peer_status);
    json_end(j);
}

static void report_denials(struct worker *w, struct json_writer *j) {
    json_array(j, NULL);
    for (size_t i = 0; i < history_n_denials(w->history); i++)
        report_denial(w, j, history_denial_at(w->history, i));
    json_end(j);
}

static void report_contact(struct json_writer *j, const struct contact *c) {
    const struct contact_key *k = &c->key;
    char time[RFC3339_BYTES], addr[ADDR_TEXT];
    clock_rfc3339(c->wall_ns, time, true);
    json_object(j, NULL);
    json_z(j, "time", time);
    json_z(j, "direction", k->outbound ? "outbound" : "inbound");
    json_z(j, "protocol", k->mtls ? "HBONE" : "TCP");
    if (k->source_bytes)
        json_str(j, "source", (struct str){k->source, k->source_bytes});
    json_str(j, "sourceIp", addr_format(&k->source_ip, addr));
    if (c->to_bytes)
        json_str(j, "to", (struct str){c->to, c->to_bytes});
    json_str(j, "destinationIp", addr_format(&k->destination_ip, addr));
    json_u64(j, "port", k->port);
    json_bool(j, "allowed", k->allowed);
    json_z(j, "reason", close_reason_word(c->reason));
    json_u64(j, "world", c->world);
    json_u64(j, "count", c->count);
    json_end(j);
}

static void report_contacts(struct worker *w, struct json_writer *j) {
    json_array(j, NULL);
    for (const struct contact *c = NULL; (c = history_next_contact(w->history, c));)
        report_contact(j, c);
    json_end(j);
}

static void report_status(struct worker *w, struct json_writer *j) {
    struct ring_stats ring;
    ring_get_stats(w->ring, &ring);
    json_object(j, NULL);
    json_u64(j, "worker", w->options.index);
    json_u64(j, "world", w->world_number);
    json_z(j, "state", w->draining ? "draining" : "running");
    json_u64(j, "flows", pool_used(w->flows));
    json_u64(j, "flowsMax", pool_max(w->flows));
    json_u64(j, "tunnels", pool_used(w->tunnels));
    json_u64(j, "buffers", buf_pool_used(w->buffers));
    json_u64(j, "buffersMax", buf_pool_max(w->buffers));
    json_u64(j, "pods", w->pods.n_nodes);
    json_u64(j, "inFlight", ring_in_flight(w->ring));
    json_u64(j, "enters", ring.enters);
    json_u64(j, "submitted", ring.submitted);
    json_u64(j, "completed", ring.completed);
    json_u64(j, "buffersShort", ring.buffers_short);
    json_end(j);
}

void report_answer(struct worker *w, const struct mail_ask *ask) {
    struct mail_answer *answer = mail_answer_new(ask->id);
    if (!answer || !ask->reply) {
        mail_free(answer ? &answer->mail : NULL);
        return;
    }
    struct json_writer j;
    json_begin(&j, &answer->json, false);
    switch (ask->what) {
    case ASK_CONNECTIONS:
        report_flows(w, &j);
        break;
    case ASK_TUNNELS:
        report_tunnels(w, &j);
        break;
    case ASK_DENIALS:
        report_denials(w, &j);
        break;
    case ASK_RECENT:
        report_contacts(w, &j);
        break;
    case ASK_STATUS:
    case ASK_CERTS:
    case ASK_CAPTURE:
        report_status(w, &j);
        break;
    }
    if (mailbox_post(ask->reply, &answer->mail)) {
        counter_add(&w->options.stats->mail_lost, 1);
        mail_free(&answer->mail);
    }
}
