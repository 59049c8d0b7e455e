/* SPDX-License-Identifier: GPL-3.0-or-later
 * status.c - `status` and `capture`: how the node is, what is wrong and what to do about it */
#include <ringwall/abi/capture.h>

#include "show.h"

static int64_t number_at(const struct json *o, const char *path) {
    int64_t n = 0;
    return json_number(show_at(o, path), &n) ? n : 0;
}

static void put_line(const char *name, struct str value) {
    printf("%-13s ", name);
    put_text(stdout, value);
    putchar('\n');
}

static void print_captured(const struct json *o) {
    const struct json *pods = show_at(o, "capture.pods");
    size_t captured = 0;
    for (size_t i = 0; i < json_count(pods); i++)
        captured += json_truth(json_get(json_at(pods, i), "captured"));
    struct str mode = json_text(show_at(o, "capture.mode"));
    printf("%-13s %zu of %zu workloads of this node" STR_FMT "\n", "captured", captured, json_count(pods),
           STR_ARG(str_is(mode, STR("none")) ? STR(" (capture.mode is none)") : STR_NULL));
    for (size_t i = 0; i < json_count(pods); i++) {
        const struct json *p = json_at(pods, i);
        if (json_truth(json_get(p, "captured")))
            continue;
        printf("  not captured: ");
        put_text(stdout, json_text(json_get(p, "namespace")));
        putchar('/');
        put_text(stdout, json_text(json_get(p, "name")));
        fputs(": ", stdout);
        put_text(stdout, json_text(json_get(p, "why")));
        putchar('\n');
    }
}

static void print_diags(const struct json *errors) {
    for (size_t i = 0; i < json_count(errors); i++) {
        const struct json *e = json_at(errors, i);
        put_text(stdout, json_text(json_get(e, "file")));
        printf(":%lld:%lld: ", (long long)number_at(e, "line"), (long long)number_at(e, "column"));
        put_text(stdout, json_text(json_get(e, "severity")));
        fputs(": ", stdout);
        put_text(stdout, json_text(json_get(e, "text")));
        putchar('\n');
    }
}

static void print_config(const struct json *o) {
    int64_t n_errors = number_at(o, "config.errorCount"), n_warnings = number_at(o, "config.warningCount");
    if (number_at(o, "world"))
        printf("%-13s %lld, loaded " STR_FMT ": %lld workloads, %lld services, %lld policies, %lld peer authentications\n", "world",
               (long long)number_at(o, "world"), STR_ARG(json_text(show_at(o, "config.loadedAt"))),
               (long long)number_at(o, "config.workloads"), (long long)number_at(o, "config.services"),
               (long long)number_at(o, "config.policies"), (long long)number_at(o, "config.peerAuthentications"));
    else
        printf("%-13s none yet: nothing is carried for workloads of the mesh\n", "world");
    if (json_truth(show_at(o, "config.refused")))
        printf("%-13s the newest manifests are refused, " STR_FMT ":\n", "config",
               STR_ARG(number_at(o, "world") ? STR("the last good world stays in force") : STR("there is no world yet")));
    else if (n_errors || n_warnings)
        printf("%-13s %lld errors, %lld warnings:\n", "config", (long long)n_errors, (long long)n_warnings);
    print_diags(show_at(o, "config.errors"));
}

/* What the CA refused and what it lacks; nothing where all is well. */
static void print_ca(const struct json *o) {
    static const char *const wrong[] = {"ca.lastError", "ca.tokenKeysError", "ca.error"};
    for (size_t i = 0; i < array_size(wrong); i++) {
        struct str text = json_text(show_at(o, wrong[i]));
        if (!text.n)
            continue;
        put_line("ca", text);
        break; /* the first of them is the newest, and names its file */
    }
    if (json_truth(show_at(o, "ca.signingRevoked")))
        put_line(
            "ca",
            STR("the signing certificate is revoked: peers refuse what it signs; renew it with ringwallctl ca issue-node --renew"));
}

static void print_status(const struct json *o) {
    int64_t flows = 0, tunnels = 0;
    const struct json *workers = json_get(o, "workers");
    for (size_t i = 0; i < json_count(workers); i++) {
        flows += number_at(json_at(workers, i), "flowsOpen");
        tunnels += number_at(json_at(workers, i), "tunnelsOpen");
    }
    put_line("node", json_text(json_get(o, "node")));
    put_line("version", json_text(json_get(o, "version")));
    if (json_truth(json_get(o, "ready")))
        put_line("ready", STR("yes"));
    else {
        printf("%-13s no: ", "ready");
        put_text(stdout, json_text(json_get(o, "why")));
        putchar('\n');
    }
    print_captured(o);
    printf("%-13s %lld of %lld identities have one\n", "certificates", (long long)number_at(o, "identity.available"),
           (long long)number_at(o, "identity.identities"));
    print_ca(o);
    printf("%-13s %lld open, in %lld tunnels, on %zu workers\n", "connections", (long long)flows, (long long)tunnels,
           json_count(workers));
    print_config(o);
}

int status_command(const struct command_line *l) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    if (!show_ask(l, "/status", &a))
        return EXIT_FAILED;
    if (wants_json(l))
        return show_json(&a);
    struct json *o = show_read(&a);
    if (!o)
        return EXIT_FAILED;
    print_status(o);
    json_free(o);
    return EXIT_DONE;
}

static int print_capture(const struct json *o) {
    static const struct column columns[] = {
        {"NAMESPACE", "namespace"},
        {"NAME", "name"},
        {"CAPTURED", "captured", COLUMN_BOOL},
        {"IDENTITY", "identity"},
        {"NETNS", "netns"},
        {"CGROUP", "cgroup"},
        {"WHY", "why"},
    };
    put_line("mode", json_text(json_get(o, "mode")));
    printf("%-13s %lld connections between connect and close\n\n", "kept", (long long)number_at(o, "originalDestinations"));
    int code = show_rows(json_get(o, "pods"), columns, array_size(columns));
    const struct json *counters = json_get(o, "counters");
    if (!counters)
        return code;
    putchar('\n');
#define PRINT_COUNT(upper, lower, text) printf("%12lld  " text "\n", (long long)number_at(counters, #lower));
    CAPTURE_COUNTS(PRINT_COUNT)
#undef PRINT_COUNT
    return code;
}

int capture_command(const struct command_line *l) {
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    if (!show_ask(l, "/capture", &a))
        return EXIT_FAILED;
    if (wants_json(l))
        return show_json(&a);
    struct json *o = show_read(&a);
    if (!o)
        return EXIT_FAILED;
    int code = print_capture(o);
    json_free(o);
    return code;
}
