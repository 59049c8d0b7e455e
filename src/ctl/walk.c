/* SPDX-License-Identifier: GPL-3.0-or-later
 * walk.c - see walk.h
 *
 * The verdict in one line, the question, then every policy in the order of decision with what its rules said, an arrow at
 * the line that decided, and apart from them the policies that were not needed any more. */
#include <stdio.h>

#include "ctl.h"
#include "walk.h"

enum { AT_WIDTH_MAX = 48, RULE_BYTES = 24 };

static struct str text_of(const struct json *o, const char *key) { return json_text(json_get(o, key)); }

static void put_field(const char *name, struct str value) {
    if (!value.n)
        return;
    printf("  %-9s ", name);
    put_text(stdout, value);
    putchar('\n');
}

static void put_question(const struct json *o) {
    int64_t port = 0;
    ignore_result(json_number(json_get(o, "port"), &port)); /* it was asked for: it is there */
    put_field("from", text_of(o, "source").n ? text_of(o, "source") : STR("none (plaintext)"));
    put_field("address", text_of(o, "sourceIp").n ? text_of(o, "sourceIp") : STR("not given"));
    put_field("to", text_of(o, "to"));
    printf("  %-9s %d\n", "port", (int)port);
    put_field("mTLS", text_of(o, "mtls"));
    put_field("in mesh", json_truth(json_get(o, "enrolled"))
                             ? STR("yes")
                             : STR("no: nothing enforces this verdict, the workload is not enrolled"));
}

static bool same_policy(const struct json *a, const struct json *b) {
    return a && str_is(text_of(a, "kind"), text_of(b, "kind")) && str_is(text_of(a, "policy"), text_of(b, "policy"));
}

static void put_policy(const struct json *s, unsigned number) {
    struct str action = text_of(s, "action"), policy = text_of(s, "policy");
    printf("%5u. ", number);
    put_text(stdout, action);
    fputs(action.n ? " " : "", stdout);
    put_text(stdout, text_of(s, "kind"));
    putchar(' ');
    put_text(stdout, policy.n ? policy : STR("(none)"));
    putchar('\n');
}

/* What a step says in a word. PeerAuthentication "matches" when it refuses. */
static const char *word_of(const struct json *s) {
    bool matched = json_truth(json_get(s, "matched"));
    if (str_is(text_of(s, "kind"), STR("PeerAuthentication")))
        return matched ? "refuses" : "passes";
    return matched ? "matches" : "no";
}

static void put_step(const struct json *s, int at_width) {
    int64_t rule;
    char name[RULE_BYTES] = "policy";
    if (json_number(json_get(s, "rule"), &rule))
        snprintf(name, sizeof(name), "rule %d", (int)rule);
    else if (str_is(text_of(s, "kind"), STR("PeerAuthentication")))
        snprintf(name, sizeof(name), "mode");
    struct str at = text_of(s, "at").n ? text_of(s, "at") : STR("-");
    printf("  %s   %-8s ", json_truth(json_get(s, "decides")) ? "=>" : "  ", name);
    put_text(stdout, at);
    printf("%*s  %s: ", at_width > (int)at.n ? at_width - (int)at.n : 0, "", word_of(s));
    put_text(stdout, text_of(s, "why"));
    putchar('\n');
}

static int widest_at(const struct json *walk) {
    size_t width = 1;
    for (size_t i = 0; i < json_count(walk); i++)
        width = max_of(width, text_of(json_at(walk, i), "at").n);
    return (int)min_of(width, (size_t)AT_WIDTH_MAX);
}

static void put_walk(const struct json *o) {
    const struct json *walk = json_get(o, "walk"), *before = NULL;
    unsigned number = 0;
    bool decided = false, told = false;
    int width = widest_at(walk);
    for (size_t i = 0; i < json_count(walk); i++) {
        const struct json *s = json_at(walk, i);
        if (decided && !told)
            printf("\nnot asked any more:\n");
        told = decided;
        if (!same_policy(before, s))
            put_policy(s, ++number);
        put_step(s, width);
        decided = decided || json_truth(json_get(s, "decides"));
        before = s;
    }
    if (decided || !json_count(walk))
        return;
    printf("  =>   %s\n", str_is(text_of(o, "verdict"), STR("allow"))
                              ? "no DENY matches, and no ALLOW policy is there that would have to: allowed"
                              : "no ALLOW rule matches, and one would have to: denied");
}

/* Of the rules that would have allowed it, the one with the fewest parts against it. */
static const struct json *nearest_allow(const struct json *walk, int64_t *ret_missed) {
    const struct json *best = NULL;
    for (size_t i = 0; i < json_count(walk); i++) {
        const struct json *s = json_at(walk, i);
        int64_t missed;
        bool watched = strstr(text_of(s, "why").at ? text_of(s, "why").at : "", "changes nothing)");
        if (watched || !str_is(text_of(s, "action"), STR("ALLOW")) || !json_number(json_get(s, "missed"), &missed))
            continue;
        if (missed > 0 && (!best || missed < *ret_missed)) {
            best = s;
            *ret_missed = missed;
        }
    }
    return best;
}

static void put_nearest(const struct json *o) {
    int64_t missed = 0, rule = 0, parts = 0;
    const struct json *s = nearest_allow(json_get(o, "walk"), &missed);
    printf("\nwhat would let it in:\n  ");
    if (!s) {
        printf("no ALLOW policy here has a rule that could: add one\n");
        return;
    }
    ignore_result(json_number(json_get(s, "rule"), &rule));
    ignore_result(json_number(json_get(s, "parts"), &parts));
    printf("rule %d of ", (int)rule);
    put_text(stdout, text_of(s, "policy"));
    printf(" at ");
    put_text(stdout, text_of(s, "at"));
    if (missed == 1 && parts > 1)
        printf(" is the nearest, all of it fits but one part: ");
    else if (missed == 1)
        printf(" is the nearest: ");
    else
        printf(" is the nearest, %d of its %d parts do not fit; the first: ", (int)missed, (int)parts);
    put_text(stdout, text_of(s, "why"));
    putchar('\n');
}

/* A denial ends with what to look at next. */
static void put_advice(const struct json *o) {
    int64_t rule;
    if (!str_is(text_of(o, "verdict"), STR("deny")))
        return;
    if (!text_of(o, "policy").n) {
        put_nearest(o);
        return;
    }
    printf("\nwhat would let it in:\n  ");
    if (!json_number(json_get(o, "rule"), &rule)) {
        printf("an identity: put the peer into the mesh (label istio.io/dataplane-mode: ambient on its namespace or on itself);\n"
               "  or PERMISSIVE for this port under portLevelMtls of a PeerAuthentication that selects ");
        put_text(stdout, text_of(o, "to"));
    } else {
        printf("no ALLOW outweighs this: change or narrow rule %d of ", (int)rule);
        put_text(stdout, text_of(o, "policy"));
        printf(" at ");
        put_text(stdout, text_of(o, "at"));
    }
    putchar('\n');
}

void walk_print_port_behind(const struct json *answer, const char *before) {
    const struct json *s = json_get(answer, "servicePort");
    int64_t port = 0, ask = 0;
    if (!json_number(json_get(answer, "port"), &port) || !json_number(json_get(s, "ask"), &ask))
        return;
    printf("%s%d is the port of ", before, (int)port);
    put_text(stdout, text_of(s, "kind"));
    putchar(' ');
    put_text(stdout, text_of(s, "service"));
    printf("; ");
    put_text(stdout, text_of(answer, "to"));
    printf(" itself listens on %d, and policies mean that one: ask with --port %d\n", (int)ask, (int)ask);
}

void walk_print(const struct json *answer) {
    fputs(str_is(text_of(answer, "verdict"), STR("allow")) ? "ALLOW  " : "DENY  ", stdout);
    put_text(stdout, text_of(answer, "reason"));
    printf("\n\n");
    put_question(answer);
    walk_print_port_behind(answer, "\nnote: ");
    printf("\nlooked at, in this order:\n");
    put_walk(answer);
    put_advice(answer);
}
