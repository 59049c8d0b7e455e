/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/report.c - see report.h
 *
 * A set that is refused again for the same reasons is not logged again: a directory that is looked at every few seconds
 * must not fill a disk. */
#include <ringwall/base/clock.h>
#include <ringwall/base/log.h>
#include <ringwall/wire/json.h>

#include "report.h"

enum { LINES_MAX = 20 }; /* logged of one attempt; all are in the status */

void report_deinit(struct report *r) { diag_list_deinit(&r->diags); }

static bool same_diags(const struct diag_list *a, const struct diag_list *b) {
    if (a->n != b->n || a->n_errors != b->n_errors || a->n_warnings != b->n_warnings)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].line != b->items[i].line || a->items[i].column != b->items[i].column ||
            strcmp(a->items[i].file, b->items[i].file) || strcmp(a->items[i].text, b->items[i].text))
            return false;
    return true;
}

static void log_diags(const struct diag_list *l) {
    size_t n_lines = 0, n_all = l->n_errors + l->n_warnings;
    for (int severity = DIAG_ERROR; severity <= DIAG_WARNING; severity++)
        for (size_t i = 0; i < l->n && n_lines < LINES_MAX; i++) {
            const struct diag *d = &l->items[i];
            struct growing line = GROWING_NULL;
            if ((int)d->severity != severity)
                continue;
            diag_format(d, &line);
            if (line.at && severity == DIAG_ERROR)
                log_error("config", "%s", line.at);
            else if (line.at)
                log_warn("config", "%s", line.at);
            growing_deinit(&line);
            n_lines++;
        }
    if (n_all > n_lines)
        log_warn("config", "%zu more errors and warnings: see ringwallctl status", n_all - n_lines);
}

static void take_diags(struct report *r, struct diag_list *diags) {
    diag_sort(diags);
    if (!same_diags(&r->diags, diags))
        log_diags(diags);
    diag_list_deinit(&r->diags);
    r->diags = *diags;
    *diags = DIAG_LIST_NULL;
}

void report_taken(struct report *r, const struct world *w, size_t n_files, struct diag_list *diags) {
    take_diags(r, diags);
    r->world = world_number(w);
    r->loaded_ns = r->attempt_ns = clock_wall_ns();
    r->n_files = n_files;
    r->n_workloads = world_n_workloads(w);
    r->n_services = world_n_services(w);
    r->n_policies = world_n_policies(w);
    r->n_peer_auths = world_n_peer_auths(w);
    r->refused = false;
    struct log_field fields[] = {KV_U64("world", r->world),           KV_U64("files", n_files),
                                 KV_U64("workloads", r->n_workloads), KV_U64("services", r->n_services),
                                 KV_U64("policies", r->n_policies),   KV_U64("peerAuthentications", r->n_peer_auths)};
    log_write(LOG_PROGRAM, LOG_INFO, "config", fields, array_size(fields), "world published");
}

void report_refused(struct report *r, struct diag_list *diags) {
    bool again = r->refused && same_diags(&r->diags, diags);
    size_t n_errors = diags->n_errors;
    take_diags(r, diags);
    r->attempt_ns = clock_wall_ns();
    r->refused = true;
    if (again)
        return;
    struct log_field fields[] = {KV_U64("errors", n_errors), KV_U64("world", r->world)};
    log_write(LOG_PROGRAM, LOG_ERROR, "config", fields, array_size(fields),
              r->world ? "manifests refused: the last good world stays in force" : "manifests refused: there is no world yet");
}

static void write_time(struct json_writer *w, const char *key, int64_t wall_ns) {
    char text[RFC3339_BYTES];
    if (!wall_ns) {
        json_null(w, key);
        return;
    }
    clock_rfc3339(wall_ns, text, true);
    json_z(w, key, text);
}

void report_json(const struct report *r, struct growing *to) {
    struct json_writer w;
    json_begin(&w, to, false);
    json_object(&w, NULL);
    json_u64(&w, "world", r->world);
    write_time(&w, "loadedAt", r->loaded_ns);
    json_u64(&w, "files", r->n_files);
    json_u64(&w, "workloads", r->n_workloads);
    json_u64(&w, "services", r->n_services);
    json_u64(&w, "policies", r->n_policies);
    json_u64(&w, "peerAuthentications", r->n_peer_auths);
    write_time(&w, "lastAttempt", r->attempt_ns);
    json_u64(&w, "attempts", r->n_attempts);
    json_bool(&w, "refused", r->refused);
    json_u64(&w, "errorCount", r->diags.n_errors);
    json_u64(&w, "warningCount", r->diags.n_warnings);
    json_array(&w, "errors");
    for (size_t i = 0; i < r->diags.n; i++) {
        const struct diag *d = &r->diags.items[i];
        json_object(&w, NULL);
        json_z(&w, "file", d->file);
        json_u64(&w, "line", d->line);
        json_u64(&w, "column", d->column);
        json_z(&w, "severity", d->severity == DIAG_ERROR ? "error" : "warning");
        json_z(&w, "text", d->text);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
}
