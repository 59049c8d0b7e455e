/* SPDX-License-Identifier: GPL-3.0-or-later
 * explain.c - `authz check` and `authn tls-check`: the verdict, what decided it, and the walk that led there
 *
 * Offline or from the daemon the answer is the same JSON (wire/explain.h); the text is made from it. */
#include <ringwall/wire/explain.h>

#include "client.h"
#include "ctl.h"
#include "mesh.h"
#include "walk.h"

struct question {
    struct identity source; /* none: plaintext */
    struct addr source_ip;
    struct str to;
    uint16_t port; /* 0: not given */
};

static bool parse_port(const struct command_line *l, uint16_t *ret) {
    uint64_t port;
    if (!l->options[CTL_PORT])
        return true;
    if (!str_u64(str_of(l->options[CTL_PORT]), UINT16_MAX, &port) || port == 0) {
        complain("--port %s: write a number from 1 to 65535", l->options[CTL_PORT]);
        return false;
    }
    *ret = (uint16_t)port;
    return true;
}

static bool parse_question(const struct command_line *l, struct question *ret) {
    const char *source = l->options[CTL_SOURCE], *ip = l->options[CTL_SOURCE_IP];
    ret->to = str_of(l->options[CTL_TO]);
    if (source && strcmp(source, "none") && !identity_parse(str_of(source), &ret->source)) {
        complain("--source %s: write spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, or none for plaintext", source);
        return false;
    }
    if (ip && !addr_parse(str_of(ip), &ret->source_ip)) {
        complain("--source-ip %s: write an IPv4 or IPv6 address", ip);
        return false;
    }
    return parse_port(l, &ret->port);
}

static const struct workload *find(const struct world *w, struct str to, struct addr *ret_addr) {
    const struct workload *found = explain_find(w, to, ret_addr);
    if (found)
        return found;
    char near[512];
    struct text t = TEXT_OVER(near);
    if (explain_nearest(w, to, &t))
        complain("--to " STR_FMT ": no such workload; did you mean %s?", STR_ARG(to), near);
    else
        complain("--to " STR_FMT ": no such workload: write namespace/name or one of its addresses", STR_ARG(to));
    return NULL;
}

/* An exit code; EXIT_DONE: the answer is in `to`. */
static int ask_mesh(const struct command_line *l, const struct question *q, bool authz, struct growing *to) {
    cleanup(diag_list_deinit) struct diag_list diags = DIAG_LIST_NULL;
    cleanup(world_freep) struct world *w = NULL;
    if (mesh_read(l->options[CTL_MESH], l->options[CTL_CONFIG], &diags, &w)) {
        print_diags(&diags, stderr);
        return EXIT_FAILED;
    }
    struct authz_query query = {.source = &q->source, .source_ip = q->source_ip, .port = q->port};
    query.to = find(w, q->to, &query.destination_ip);
    if (!query.to)
        return EXIT_USAGE;
    struct json_writer writer;
    struct verdict v;
    json_begin(&writer, to, true);
    if (authz)
        explain_authz(&writer, w, &query, &v);
    else
        explain_tls(&writer, w, query.to, q->port);
    return EXIT_DONE;
}

static int ask_daemon(const struct command_line *l, bool authz, struct growing *to) {
    struct growing target cleanup(growing_deinit) = GROWING_NULL;
    struct answer a cleanup(answer_deinit) = ANSWER_NULL;
    static const struct {
        enum ctl_option option;
        const char *key;
    } keys[] = {{CTL_SOURCE, "source"}, {CTL_SOURCE_IP, "sourceIp"}, {CTL_TO, "to"}, {CTL_PORT, "port"}};
    growing_addf(&target, authz ? "/authz" : "/tls");
    for (size_t i = 0; i < array_size(keys); i++)
        if (l->options[keys[i].option])
            client_add_query(&target, keys[i].key, l->options[keys[i].option]);
    if (target.failed || !client_ask(l->options[CTL_SOCKET], "GET", target.at, &a))
        return EXIT_FAILED;
    if (a.status != 200) {
        complain(STR_FMT, STR_ARG(a.body));
        return a.status == 404 || a.status == 400 ? EXIT_USAGE : EXIT_FAILED;
    }
    growing_add(to, a.body);
    return EXIT_DONE;
}

static int ask(const struct command_line *l, bool authz, struct growing *to) {
    struct question q = {0};
    if (!parse_question(l, &q))
        return EXIT_USAGE;
    if (!l->options[CTL_MESH] && l->options[CTL_CONFIG])
        complain("-c is for --mesh; the daemon has its own node file");
    int code = l->options[CTL_MESH] ? ask_mesh(l, &q, authz, to) : ask_daemon(l, authz, to);
    if (code == EXIT_DONE && to->failed) {
        complain("out of memory");
        return EXIT_FAILED;
    }
    return code;
}

static struct str text_of(const struct json *o, const char *key) { return json_text(json_get(o, key)); }

/* What a mode means to a peer that is not in the mesh. */
static const char *meaning(struct str mode) {
    if (str_is(mode, STR("STRICT")))
        return "plaintext is refused";
    if (str_is(mode, STR("DISABLE")))
        return "peers send plaintext, no tunnel is offered";
    return "tunnels and plaintext are both accepted";
}

static void print_port_modes(const struct json *ports) {
    for (size_t i = 0; i < json_count(ports); i++) {
        const struct json *p = json_at(ports, i);
        int64_t port = 0;
        ignore_result(json_number(json_get(p, "port"), &port)); /* ours: it is there */
        printf("  except port %d, %.*s at ", (int)port, STR_ARG(text_of(p, "mode")));
        put_text(stdout, text_of(p, "at"));
        printf(": %s\n", meaning(text_of(p, "mode")));
    }
}

static void print_tls(const struct json *o) {
    put_text(stdout, text_of(o, "mode"));
    if (text_of(o, "policy").n) {
        fputs(" by PeerAuthentication ", stdout);
        put_text(stdout, text_of(o, "policy"));
        fputs(" at ", stdout);
        put_text(stdout, text_of(o, "at"));
    } else {
        fputs(" (the default: no PeerAuthentication sets it)", stdout);
    }
    printf("\n  %s\n", meaning(text_of(o, "mode")));
    print_port_modes(json_get(o, "ports"));
    walk_print_port_behind(o, "  note: ");
    if (!json_truth(json_get(o, "enrolled")))
        printf("  not enrolled: nothing enforces this, and peers send plaintext to it\n");
}

/* Prints the answer in the form asked for. The exit code of an answer that reads as it should, else EXIT_FAILED. */
static int print_answer(const struct command_line *l, const struct growing *answer, bool authz) {
    char why[128];
    struct json *o = json_read((struct str){answer->at, answer->n}, why);
    if (!o) {
        complain("the answer cannot be read: %s", why);
        return EXIT_FAILED;
    }
    int code = EXIT_DONE;
    /* A daemon of before does not say whether it matters. */
    if (authz && !l->options[CTL_SOURCE_IP] &&
        (json_truth(json_get(o, "asksSourceIp")) || json_kind(json_get(o, "asksSourceIp")) == JSON_IS_ABSENT))
        complain("no --source-ip: every IP condition fails in ALLOW and holds in DENY");
    if (authz && !str_is(text_of(o, "verdict"), STR("allow")))
        code = EXIT_DENIED;
    if (wants_json(l))
        fwrite(answer->at, 1, answer->n, stdout);
    else if (authz)
        walk_print(o);
    else
        print_tls(o);
    json_free(o);
    return code;
}

static int explain(const struct command_line *l, bool authz) {
    struct growing answer cleanup(growing_deinit) = GROWING_NULL;
    int code = ask(l, authz, &answer);
    return code == EXIT_DONE ? print_answer(l, &answer, authz) : code;
}

int authz_check_command(const struct command_line *l) {
    if (!options_need(l, CTL_SOURCE) || !options_need(l, CTL_TO) || !options_need(l, CTL_PORT))
        return EXIT_USAGE;
    return explain(l, true);
}

/* Exit 0 or 2 when judged offline: a mesh that is not valid has no mode to tell. */
int tls_check_command(const struct command_line *l) {
    if (!options_need(l, CTL_TO))
        return EXIT_USAGE;
    int code = explain(l, false);
    return code == EXIT_FAILED && l->options[CTL_MESH] ? EXIT_USAGE : code;
}
