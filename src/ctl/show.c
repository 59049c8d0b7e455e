/* SPDX-License-Identifier: GPL-3.0-or-later
 * show.c - the daemon's lists as tables: workloads, services, policies, certs, connections, denials
 *
 * A table is a list of columns, each with the path of its value in a row's object. -o json passes the daemon's own
 * array through. */
#include <errno.h>

#include "client.h"
#include "ctl.h"
#include "show.h"
#include "table.h"

bool show_ask(const struct command_line *l, const char *target, struct answer *ret) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    if (!client_ask(l->options[CTL_SOCKET], "GET", target, &a))
        return false;
    if (a.status != 200) {
        complain("%s: %u " STR_FMT, target, a.status, STR_ARG(a.body));
        return false;
    }
    *ret = a;
    a = ANSWER_NULL;
    return true;
}

int show_json(const struct answer *a) {
    fwrite(a->body.at, 1, a->body.n, stdout);
    if (a->body.n && a->body.at[a->body.n - 1] != '\n')
        putchar('\n');
    return EXIT_DONE;
}

const struct json *show_at(const struct json *o, const char *path) {
    struct str rest = str_of(path), word;
    while (o && str_split(&rest, '.', &word)) {
        char key[64];
        struct text t = TEXT_OVER(key);
        text_add(&t, word);
        o = json_get(o, key);
    }
    return o;
}

/* A value as it stands in a cell: text, number, yes or no, a list with commas. */
static void add_value(struct text *to, const struct json *v) {
    int64_t number;
    if (json_number(v, &number)) {
        text_addf(to, "%lld", (long long)number);
    } else if (json_count(v)) {
        for (size_t i = 0; i < json_count(v); i++) {
            text_add(to, i ? STR(",") : STR_NULL);
            add_value(to, json_at(v, i));
        }
    } else {
        text_add(to, json_text(v));
    }
}

static void put_cell(struct table *t, const struct json *row, const struct column *c) {
    char bytes[1024];
    struct text text = TEXT_OVER(bytes);
    struct str rest = str_of(c->path), path;
    const struct json *v = NULL;
    /* "a|b": the first that is there. */
    while (!v && str_split(&rest, '|', &path)) {
        char one[128];
        struct text p = TEXT_OVER(one);
        text_add(&p, path);
        v = show_at(row, one);
        if (v && !json_text(v).n && !json_count(v) && c->kind == COLUMN_TEXT && !json_number(v, &(int64_t){0}))
            v = NULL;
    }
    if (c->kind == COLUMN_BOOL)
        text_add(&text, json_truth(v) ? STR("yes") : STR("no"));
    else
        add_value(&text, v);
    table_put(t, text_str(&text));
}

int show_rows(const struct json *rows, const struct column *columns, size_t n) {
    const char *names[SHOW_COLUMNS_MAX];
    for (size_t i = 0; i < n; i++)
        names[i] = columns[i].name;
    cleanup(table_freep) struct table *t = table_new(names, n);
    if (!t)
        return EXIT_FAILED;
    for (size_t r = 0; r < json_count(rows); r++) {
        table_row(t);
        for (size_t i = 0; i < n; i++)
            put_cell(t, json_at(rows, r), &columns[i]);
    }
    return table_print(t) == 0 ? EXIT_DONE : EXIT_FAILED;
}

struct json *show_read(const struct answer *a) {
    char why[128];
    struct json *o = json_read(a->body, why);
    if (!o)
        complain("the daemon's answer cannot be read: %s", why);
    return o;
}

static int show(const struct command_line *l, const char *target, const struct column *columns, size_t n) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    if (!show_ask(l, target, &a))
        return EXIT_FAILED;
    if (wants_json(l))
        return show_json(&a);
    struct json *rows = show_read(&a);
    if (!rows)
        return EXIT_FAILED;
    int code = show_rows(rows, columns, n);
    json_free(rows);
    return code;
}

int workloads_command(const struct command_line *l) {
    static const struct column columns[] = {
        {"NAMESPACE", "namespace"}, {"NAME", "name"},         {"ADDRESS", "workloadIps"},
        {"NODE", "node"},           {"PROTOCOL", "protocol"}, {"MTLS", "mtlsMode"},
        {"STATUS", "status"},       {"IDENTITY", "identity"}, {"WAYPOINT", "waypoint.destination"},
    };
    return show(l, "/workloads", columns, array_size(columns));
}

int services_command(const struct command_line *l) {
    static const struct column columns[] = {
        {"NAMESPACE", "namespace"},    {"NAME", "name"},
        {"HOSTNAME", "hostname"},      {"VIP", "vips"},
        {"PORTS", "portList"},         {"READY", "readyEndpoints"},
        {"ENDPOINTS", "allEndpoints"}, {"WAYPOINT", "waypoint.destination"},
    };
    return show(l, "/services", columns, array_size(columns));
}

int policies_command(const struct command_line *l) {
    static const struct column columns[] = {
        {"KIND", "kind"},           {"NAMESPACE", "namespace"}, {"NAME", "name"},
        {"ACTION", "action|mode"},  {"SCOPE", "scope"},         {"RULES", "ruleCount|portCount"},
        {"WORKLOADS", "workloads"}, {"NOTE", "note"},           {"AT", "at"},
    };
    return show(l, "/policies", columns, array_size(columns));
}

int connections_command(const struct command_line *l) {
    static const struct column columns[] = {
        {"DIRECTION", "direction"},
        {"PROTOCOL", "protocol"},
        {"SOURCE", "src.addr"},
        {"SOURCE IDENTITY", "src.identity"},
        {"DESTINATION", "dst.hboneAddr|dst.addr"},
        {"DESTINATION IDENTITY", "dst.identity"},
        {"STATE", "state"},
        {"SENT", "bytesSent"},
        {"RECEIVED", "bytesReceived"},
        {"MS", "durationMs"},
    };
    return show(l, "/connections", columns, array_size(columns));
}

int denials_command(const struct command_line *l) {
    static const struct column columns[] = {
        {"TIME", "time"},
        {"DIRECTION", "direction"},
        {"SOURCE", "src.addr"},
        {"SOURCE IDENTITY", "src.identity"},
        {"DESTINATION", "dst.addr"},
        {"WORKLOAD", "dst.workload"},
        {"REASON", "reason"},
        {"POLICY", "policy"},
        {"RULE", "rule"},
        {"AT", "at"},
        {"TEXT", "text"},
    };
    return show(l, "/denials", columns, array_size(columns));
}

/* One row a certificate, as istioctl ztunnel-config certificate shows them. */
static void put_certificates(struct table *t, const struct json *entry, const char *list) {
    const struct json *certs = json_get(entry, list);
    for (size_t i = 0; i < json_count(certs); i++) {
        const struct json *c = json_at(certs, i);
        table_row(t);
        table_put(t, json_text(json_get(entry, "identity")));
        table_put(t, json_text(json_get(c, "type")));
        table_put(t, json_text(json_get(entry, "state")));
        table_put(t, json_text(json_get(c, "serialNumber")));
        table_put(t, json_text(json_get(c, "expirationTime")));
        table_put(t, json_text(json_get(c, "validFrom")));
        table_put(t, i == 0 && !strcmp(list, "certChain") ? json_text(json_get(entry, "nextRotation")) : STR_NULL);
        table_put(t, i == 0 && !strcmp(list, "certChain") ? json_text(json_get(entry, "lastError")) : STR_NULL);
    }
}

static int print_certs(const struct json *entries) {
    static const char *const columns[] = {"CERTIFICATE NAME", "TYPE",       "STATUS",        "SERIAL NUMBER",
                                          "NOT AFTER",        "NOT BEFORE", "NEXT ROTATION", "LAST ERROR"};
    cleanup(table_freep) struct table *t = table_new(columns, array_size(columns));
    for (size_t i = 0; t && i < json_count(entries); i++) {
        const struct json *e = json_at(entries, i);
        if (json_count(json_get(e, "certChain")) == 0) {
            table_row(t);
            table_put(t, json_text(json_get(e, "identity")));
            table_put(t, STR("Leaf"));
            table_put(t, json_text(json_get(e, "state")));
        }
        put_certificates(t, e, "certChain");
        put_certificates(t, e, "rootCerts");
    }
    return t && table_print(t) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int certs_command(const struct command_line *l) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    if (!show_ask(l, "/certs", &a))
        return EXIT_FAILED;
    if (wants_json(l))
        return show_json(&a);
    struct json *entries = show_read(&a);
    if (!entries)
        return EXIT_FAILED;
    int code = print_certs(entries);
    json_free(entries);
    return code;
}
