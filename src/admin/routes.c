/* SPDX-License-Identifier: GPL-3.0-or-later
 * routes.c - every path, where it is served and what it needs to know; and the pages that are too small for a file */
#include <ringwall/base/log.h>
#include <ringwall/wire/explain.h>

#include "private.h"

void reply_text(struct reply *r, unsigned status, const char *fmt, ...) {
    char bytes[1024];
    struct text t = TEXT_OVER(bytes);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    r->status = status;
    r->type = "text/plain; charset=utf-8";
    growing_add(&r->body, text_str(&t));
    growing_add(&r->body, STR("\n"));
}

static void ready_page(const struct view *v, struct reply *r) {
    char why[128] = "";
    if (v->options->ready_fn(v->options->ready_context, why))
        reply_text(r, 200, "ready");
    else
        reply_text(r, 503, "not ready: %s", why);
}

static void answer_page(const struct view *v, struct reply *r, enum need need, const char *who) {
    struct str answer = question_one(v->question, need);
    if (!answer.n) {
        reply_text(r, 503, "the %s thread did not answer in %d ms", who, ADMIN_ASK_TIMEOUT_MS);
        return;
    }
    r->status = 200;
    r->type = "application/json";
    growing_add(&r->body, answer);
}

static void certs_page(const struct view *v, struct reply *r) { answer_page(v, r, NEED_CERTS, "identity"); }
static void capture_page(const struct view *v, struct reply *r) { answer_page(v, r, NEED_CAPTURE, "main"); }

static void join_page(const struct view *v, struct reply *r, enum need need) {
    r->status = 200;
    r->type = "application/json";
    question_join(v->question, need, &r->body);
}

static void connections_page(const struct view *v, struct reply *r) { join_page(v, r, NEED_CONNECTIONS); }
static void recent_page(const struct view *v, struct reply *r) { join_page(v, r, NEED_RECENT); }
static void tunnels_page(const struct view *v, struct reply *r) { join_page(v, r, NEED_TUNNELS); }

/* The workload and port of a question; false: `r` says what is wrong with them. */
static bool find_target(const struct view *v, struct authz_query *q, bool port_needed, struct reply *r) {
    struct str to = query_get(v->query, "to", NULL), port = query_get(v->query, "port", NULL);
    uint64_t number = 0;
    if (!v->world) {
        reply_text(r, 503, "no valid configuration yet");
        return false;
    }
    if ((port.n || port_needed) && (!str_u64(port, UINT16_MAX, &number) || number == 0)) {
        reply_text(r, 400, "port: a number from 1 to 65535 is needed");
        return false;
    }
    q->port = (uint16_t)number;
    q->to = explain_find(v->world, to, &q->destination_ip);
    if (q->to)
        return true;
    char bytes[512];
    struct text near = TEXT_OVER(bytes);
    if (to.n == 0)
        reply_text(r, 400, "to: namespace/name or an address of the workload is needed");
    else if (explain_nearest(v->world, to, &near))
        reply_text(r, 404, "to " STR_FMT ": no such workload; did you mean %s?", STR_ARG(to), bytes);
    else
        reply_text(r, 404, "to " STR_FMT ": no such workload: write namespace/name or one of its addresses", STR_ARG(to));
    return false;
}

static void authz_page(const struct view *v, struct reply *r) {
    struct authz_query q = {0};
    struct identity source = IDENTITY_NULL;
    struct str from = query_get(v->query, "source", NULL), ip = query_get(v->query, "sourceIp", NULL);
    if (!str_is(from, STR("none")) && !identity_parse(from, &source)) {
        reply_text(r, 400, "source: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT is needed, or none");
        return;
    }
    if (ip.n && !addr_parse(ip, &q.source_ip)) {
        reply_text(r, 400, "sourceIp: no IPv4 or IPv6 address");
        return;
    }
    if (!find_target(v, &q, true, r))
        return;
    struct json_writer w;
    struct verdict verdict;
    q.source = &source;
    r->status = 200;
    r->type = "application/json";
    json_begin(&w, &r->body, true);
    explain_authz(&w, v->world, &q, &verdict);
}

/* One of the pairs: "source,sourceIp,address,namespace/name,port"; the address is looked for first, then the name, which may be
 * empty. False: what it says is no question. */
static bool read_pair(const struct view *v, struct str pair, struct authz_query *q, struct identity *source) {
    struct str parts[5];
    struct addr ignored;
    uint64_t port;
    size_t n = 0;
    while (n < array_size(parts) && str_split(&pair, ',', &parts[n]))
        n++;
    *q = (struct authz_query){.source = source};
    *source = IDENTITY_NULL;
    if (n < array_size(parts) || pair.n || (!str_is(parts[0], STR("none")) && !identity_parse(parts[0], source)) ||
        !addr_parse(parts[1], &q->source_ip) || !addr_parse(parts[2], &q->destination_ip) ||
        !str_u64(parts[4], UINT16_MAX, &port) || port == 0)
        return false;
    q->port = (uint16_t)port;
    q->to = explain_find(v->world, parts[2], &ignored);
    if (!q->to && parts[3].n)
        q->to = explain_find(v->world, parts[3], &ignored);
    return true;
}

/* Many questions in one, for `policy diff`: their verdicts in order, null where no such workload is known. */
static void pairs_page(const struct view *v, struct reply *r) {
    struct str rest = query_get(v->query, "pairs", NULL), pair;
    struct json_writer w;
    struct verdict verdict;
    if (!v->world) {
        reply_text(r, 503, "no valid configuration yet");
        return;
    }
    json_begin(&w, &r->body, false);
    json_array(&w, NULL);
    while (str_split(&rest, ';', &pair)) {
        struct authz_query q;
        struct identity source;
        if (!read_pair(v, pair, &q, &source)) {
            r->body.n = 0;
            reply_text(r, 400, "pairs: source,sourceIp,address,namespace/name,port and ; between two of them");
            return;
        }
        if (q.to)
            explain_authz(&w, v->world, &q, &verdict);
        else
            json_null(&w, NULL);
    }
    json_end(&w);
    r->status = 200;
    r->type = "application/json";
}

static void tls_page(const struct view *v, struct reply *r) {
    struct authz_query q = {0};
    struct json_writer w;
    if (!find_target(v, &q, false, r))
        return;
    r->status = 200;
    r->type = "application/json";
    json_begin(&w, &r->body, true);
    explain_tls(&w, v->world, q.to, q.port);
}

static void logging_page(const struct view *v, struct reply *r) {
    bool reset, given;
    enum log_level level = log_get_level();
    struct str asked = query_get(v->query, "level", &given);
    query_get(v->query, "reset", &reset);
    if (reset)
        level = v->first_level;
    if (given && !log_level_parse(asked, &level)) {
        reply_text(r, 400, "level: write error, warn, info or debug");
        return;
    }
    if (level != log_get_level()) {
        log_info("admin", "log level set to %s", log_level_name(level));
        log_set_level(level);
    }
    reply_text(r, 200, "log level is %s", log_level_name(level));
}

static void quit_page(const struct view *v, struct reply *r) {
    struct mail_quit *m = mail_quit_new();
    if (!m || mailbox_post(v->options->main, &m->mail) != 0) {
        if (m)
            mail_free(&m->mail);
        reply_text(r, 503, "the main thread does not take messages now: send SIGTERM to the daemon");
        return;
    }
    log_info("admin", "asked to drain and end");
    reply_text(r, 200, "draining: open connections may finish until drainTimeout, then the daemon ends");
}

enum {
    LOOK = DOOR_BIT(DOOR_UNIX) | DOOR_BIT(DOOR_ADDRESS),
    SCRAPE = LOOK | DOOR_BIT(DOOR_METRICS),
    PROBE = LOOK | DOOR_BIT(DOOR_READY)
};
static const struct route routes[] = {
    {"/", LOOK, .make = page_html},
    {"/page.js", LOOK, .make = page_script},
    {"/page.css", LOOK, .make = page_style},
    {"/status", LOOK, .needs = NEED_BIT(NEED_CONFIG) | NEED_BIT(NEED_IDENTITY) | NEED_BIT(NEED_CA) | NEED_BIT(NEED_CAPTURE),
     .make = dump_status},
    {"/workloads", LOOK, .make = dump_workloads},
    {"/services", LOOK, .make = dump_services},
    {"/policies", LOOK, .make = dump_policies},
    {"/certs", LOOK, .needs = NEED_BIT(NEED_CERTS), .make = certs_page},
    {"/connections", LOOK, .needs = NEED_BIT(NEED_CONNECTIONS), .make = connections_page},
    {"/denials", LOOK, .needs = NEED_BIT(NEED_DENIALS), .make = denials_page},
    {"/recent", LOOK, .needs = NEED_BIT(NEED_RECENT), .make = recent_page},
    {"/tunnels", LOOK, .needs = NEED_BIT(NEED_TUNNELS), .make = tunnels_page},
    {"/capture", LOOK, .needs = NEED_BIT(NEED_CAPTURE), .make = capture_page},
    {"/authz", LOOK, .make = authz_page},
    {"/authz/pairs", LOOK, .make = pairs_page},
    {"/tls", LOOK, .make = tls_page},
    {"/config_dump", LOOK,
     .needs = NEED_BIT(NEED_CERTS) | NEED_BIT(NEED_CONNECTIONS) | NEED_BIT(NEED_CAPTURE) | NEED_BIT(NEED_CONFIG), .make = dump_all},
    {"/debug/authenticationz", LOOK, .make = dump_authentication},
    {"/debug/authorizationz", LOOK, .make = dump_authorization},
    {"/debug/configz", LOOK, .needs = NEED_BIT(NEED_CONFIG), .make = dump_config},
    {"/metrics", SCRAPE, .needs = NEED_BIT(NEED_CONFIG) | NEED_BIT(NEED_CERTS), .make = metrics_page},
    {"/stats/prometheus", SCRAPE, .needs = NEED_BIT(NEED_CONFIG) | NEED_BIT(NEED_CERTS), .make = metrics_page},
    {"/healthz/ready", PROBE, .make = ready_page},
    {"/logging", LOOK, .post = true, .make = logging_page},
    {"/quitquitquit", LOOK, .post = true, .make = quit_page},
};

const struct route *route_find(struct str path, enum door door) {
    for (size_t i = 0; i < array_size(routes); i++)
        if ((routes[i].doors & DOOR_BIT(door)) && str_is(path, str_of(routes[i].path)))
            return &routes[i];
    return NULL;
}

void route_list(enum door door, struct growing *to) {
    for (size_t i = 0; i < array_size(routes); i++)
        if (routes[i].doors & DOOR_BIT(door))
            growing_addf(to, "%s%s\n", routes[i].path, routes[i].post ? " (POST, on the Unix socket only)" : "");
}
