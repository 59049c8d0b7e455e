/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca.c - offline CA work: make a root, issue a node's signing certificate, look at a directory
 *
 * The rollover of a root and revocation are in ca_change.c, judging a chain in ca_verify.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ringwall/base/clock.h>
#include <ringwall/ca/files.h>
#include <ringwall/wire/json.h>

#include <ringwall/tls/crl.h>

#include "ca.h"
#include "ctl.h"
#include "table.h"

bool ca_begin(void) {
    int r = tls_library_init();
    if (r < 0)
        complain("the TLS library does not start: %s", strerror(-r));
    return r == 0;
}

int ca_end(int r, const char *why) {
    tls_library_cleanup();
    if (r == 0)
        return EXIT_DONE;
    if (r > 0 || why[0])
        complain("%s", why);
    else
        complain("%s", strerror(-r));
    return EXIT_FAILED;
}

void ca_answer_begin(struct ca_answer *a) {
    a->to = GROWING_NULL;
    json_begin(&a->json, &a->to, true);
    json_object(&a->json, NULL);
}

int ca_answer_print(struct ca_answer *a) {
    json_end(&a->json);
    int r = a->to.failed ? -ENOMEM : 0;
    if (r == 0)
        fputs(a->to.at, stdout);
    growing_deinit(&a->to);
    return r;
}

static int say_init(const struct command_line *l, const char *dir, const char *td) {
    if (!wants_json(l)) {
        printf("%s: a root CA for trust domain %s, valid for %d years\n"
               "keep %s/ca-key.pem offline; make a signing certificate for each node with:\n"
               "  ringwallctl ca issue-node --dir %s --node NAME --out DIR\n",
               dir, td, CA_ROOT_YEARS, dir, dir);
        return 0;
    }
    struct ca_answer a;
    ca_answer_begin(&a);
    json_z(&a.json, "dir", dir);
    json_z(&a.json, "trustDomain", td);
    return ca_answer_print(&a);
}

int ca_init_command(const struct command_line *l) {
    if (!options_need(l, CTL_DIR))
        return EXIT_USAGE;
    if (!ca_begin())
        return EXIT_FAILED;
    const char *dir = l->options[CTL_DIR], *td = l->options[CTL_TRUST_DOMAIN] ? l->options[CTL_TRUST_DOMAIN] : "cluster.local";
    char why[CA_WHY_BYTES] = "";
    int r = ca_dir_init(dir, str_of(td), clock_wall_s(), why);
    return ca_end(r == 0 ? say_init(l, dir, td) : r, why);
}

static int say_issued(const struct command_line *l, const char *node, const char *out) {
    /* The daemon starts elsewhere: a relative path would mean another place to it. */
    cleanup_free char *whole = realpath(out, NULL);
    if (!wants_json(l)) {
        printf("%s: signing certificate of node %s, valid for at most %d days; in its node file:\n"
               "  node: %s\n"
               "  ca: {provider: files, dir: %s}\n",
               out, node, CA_NODE_DAYS, node, whole ? whole : out);
        return 0;
    }
    struct ca_answer a;
    ca_answer_begin(&a);
    json_z(&a.json, "node", node);
    json_z(&a.json, "dir", whole ? whole : out);
    return ca_answer_print(&a);
}

int ca_issue_node_command(const struct command_line *l) {
    if (!options_need(l, CTL_DIR) || !options_need(l, CTL_NODE) || !options_need(l, CTL_OUT))
        return EXIT_USAGE;
    if (!ca_begin())
        return EXIT_FAILED;
    char why[CA_WHY_BYTES] = "";
    const char *node = l->options[CTL_NODE], *out = l->options[CTL_OUT];
    int r = ca_dir_issue_node(l->options[CTL_DIR], str_of(node), out, l->options[CTL_RENEW] != NULL, clock_wall_s(), why);
    return ca_end(r == 0 ? say_issued(l, node, out) : r, why);
}

struct shown {
    const char *role;
    struct tls_cert_facts facts;
    char serial[2 * TLS_SERIAL_MAX + 1], from[RFC3339_BYTES], until[RFC3339_BYTES];
};

static bool read_shown(const char *role, const struct tls_der *der, struct shown *ret) {
    ret->role = role;
    if (tls_cert_read(der->at, der->n, &ret->facts) != 0)
        return false;
    ret->serial[0] = '\0';
    for (size_t i = 0; i < ret->facts.serial_n; i++)
        snprintf(ret->serial + 2 * i, 3, "%02x", ret->facts.serial[i]);
    clock_rfc3339(ret->facts.not_before * (int64_t)NS_PER_S, ret->from, false);
    clock_rfc3339(ret->facts.not_after * (int64_t)NS_PER_S, ret->until, false);
    return true;
}

typedef void (*shown_fn)(void *context, const struct shown *s);

static void each_shown(const struct ca_dir *d, shown_fn f, void *context) {
    struct shown s;
    const struct {
        const char *role;
        const struct tls_der_list *list;
        size_t from;
    } parts[] = {{"signing", &d->cert, 0}, {"intermediate", &d->chain, 1}, {"root", &d->roots, 0}};
    for (size_t p = 0; p < array_size(parts); p++)
        for (size_t i = parts[p].from; i < parts[p].list->n; i++)
            if (read_shown(parts[p].role, &parts[p].list->items[i], &s))
                f(context, &s);
}

static void add_row(void *context, const struct shown *s) {
    struct table *t = context;
    table_row(t);
    table_put(t, str_of(s->role));
    table_put(t, str_of(s->facts.subject));
    table_put(t, str_of(s->facts.issuer));
    table_put(t, str_of(s->facts.key_kind));
    table_put(t, str_of(s->serial));
    table_put(t, str_of(s->until));
    table_put(t, str_of(s->from));
}

static void add_json(void *context, const struct shown *s) {
    struct json_writer *w = context;
    json_object(w, NULL);
    json_z(w, "role", s->role);
    json_z(w, "subject", s->facts.subject);
    json_z(w, "issuer", s->facts.issuer);
    json_z(w, "key", s->facts.key_kind);
    json_z(w, "serialNumber", s->serial);
    json_z(w, "validFrom", s->from);
    json_z(w, "expirationTime", s->until);
    json_end(w);
}

struct shown_list {
    struct tls_crl_facts facts;
    char from[RFC3339_BYTES], until[RFC3339_BYTES];
};

static bool read_list(const struct tls_der *crl, struct shown_list *ret) {
    const char *why;
    if (tls_crl_read(crl->at, crl->n, &ret->facts, &why) != 0)
        return false;
    clock_rfc3339(ret->facts.this_update * (int64_t)NS_PER_S, ret->from, false);
    clock_rfc3339(ret->facts.next_update * (int64_t)NS_PER_S, ret->until, false);
    return true;
}

static void lists_json(const struct ca_dir *d, struct json_writer *w) {
    struct shown_list s;
    for (size_t i = 0; i < d->crls.n; i++)
        if (read_list(&d->crls.items[i], &s)) {
            json_object(w, NULL);
            json_z(w, "role", "revocation list");
            json_z(w, "issuer", s.facts.issuer);
            json_u64(w, "number", s.facts.number);
            json_u64(w, "revoked", s.facts.n_revoked);
            json_z(w, "validFrom", s.from);
            json_z(w, "expirationTime", s.until);
            json_end(w);
        }
}

static void lists_rows(const struct ca_dir *d, struct table *t) {
    struct shown_list s;
    for (size_t i = 0; i < d->crls.n; i++)
        if (read_list(&d->crls.items[i], &s)) {
            table_row(t);
            table_put(t, STR("revocation list"));
            table_putf(t, "%zu revoked", s.facts.n_revoked);
            table_put(t, str_of(s.facts.issuer));
            table_put(t, STR_NULL);
            table_putf(t, "number %llu", (unsigned long long)s.facts.number);
            table_put(t, str_of(s.until));
            table_put(t, str_of(s.from));
        }
}

static int show(const struct ca_dir *d, bool as_json) {
    if (as_json) {
        struct growing g cleanup(growing_deinit) = GROWING_NULL;
        struct json_writer w;
        json_begin(&w, &g, true);
        json_array(&w, NULL);
        each_shown(d, add_json, &w);
        lists_json(d, &w);
        json_end(&w);
        if (g.failed)
            return -ENOMEM;
        fputs(g.at, stdout);
        return 0;
    }
    static const char *const columns[] = {"ROLE", "SUBJECT", "ISSUER", "KEY", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"};
    cleanup(table_freep) struct table *t = table_new(columns, array_size(columns));
    if (!t)
        return -ENOMEM;
    each_shown(d, add_row, t);
    lists_rows(d, t);
    return table_print(t);
}

int ca_show_command(const struct command_line *l) {
    if (!options_need(l, CTL_DIR))
        return EXIT_USAGE;
    if (!ca_begin())
        return EXIT_FAILED;
    struct ca_dir d = CA_DIR_NULL;
    char why[CA_WHY_BYTES] = "";
    int r = ca_dir_load(l->options[CTL_DIR], clock_wall_s(), &d, why);
    if (r == 0)
        r = show(&d, wants_json(l));
    if (r == 0 && d.revoked)
        complain("the signing certificate is revoked: peers refuse what it signs");
    if (r == 0 && d.crl_gap[0])
        complain("ca-crl.pem has no list of '%s': Envoy refuses all chains of a CA without one", d.crl_gap);
    ca_dir_deinit(&d);
    return ca_end(r, why);
}
