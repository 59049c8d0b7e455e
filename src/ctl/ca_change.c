/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca_change.c - certificates and roots that go: revocation, rollover, publication to nodes; and the record of it all */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/ca/audit.h>
#include <ringwall/ca/ca.h>
#include <ringwall/wire/json.h>

#include "ca.h"
#include "ctl.h"

enum { PATH_BYTES = 4096 };

/* "90s", "24h", "7d" */
static bool parse_time(const char *text, int64_t *ret_s) {
    static const struct {
        char unit;
        int64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    struct str s = str_of(text);
    uint64_t n = 0;
    for (size_t i = 0; s.n > 1 && i < array_size(units); i++)
        if (s.at[s.n - 1] == units[i].unit && str_u64((struct str){s.at, s.n - 1}, 100000, &n)) {
            *ret_s = (int64_t)n * units[i].s;
            return *ret_s > 0 && *ret_s <= CA_TTL_MAX_S;
        }
    return false;
}

int ca_publish_command(const struct command_line *l) {
    if (!options_need(l, CTL_DIR) || !options_need(l, CTL_OUT))
        return EXIT_USAGE;
    if (!ca_begin())
        return EXIT_FAILED;
    char why[CA_WHY_BYTES] = "";
    int r = ca_dir_publish(l->options[CTL_DIR], l->options[CTL_OUT], clock_wall_s(), why);
    if (r == 0 && wants_json(l)) {
        struct ca_answer a;
        ca_answer_begin(&a);
        json_z(&a.json, "dir", l->options[CTL_OUT]);
        json_z(&a.json, "from", l->options[CTL_DIR]);
        r = ca_answer_print(&a);
    } else if (r == 0)
        printf("%s: has the roots and revocation lists of %s\n", l->options[CTL_OUT], l->options[CTL_DIR]);
    return ca_end(r, why);
}

static const char *const step_names[] = {
    [CA_ROLLOVER_NONE] = "none", [CA_ROLLOVER_PREPARED] = "prepared", [CA_ROLLOVER_ACTIVATED] = "activated"};
static const char *const step_texts[] = {
    [CA_ROLLOVER_NONE] = "no rollover is under way",
    [CA_ROLLOVER_PREPARED] = "the next root is published; when every node and peer trusts it: ringwallctl ca rollover activate",
    [CA_ROLLOVER_ACTIVATED] = "the new root signs; renew each node's certificate, later: ringwallctl ca rollover prune"};

static void rfc3339(int64_t s, char to[RFC3339_BYTES]) { clock_rfc3339(s * (int64_t)NS_PER_S, to, false); }

static int print_status(const struct ca_rollover *o, bool as_json) {
    char since[RFC3339_BYTES], end[RFC3339_BYTES];
    rfc3339(o->since_s, since);
    rfc3339(o->leaves_end_s, end);
    if (!as_json) {
        printf("step: %s\n%s\nsigning root: SHA-256 %s\n", step_names[o->step], step_texts[o->step], o->signing);
        if (o->next[0])
            printf("next root: SHA-256 %s\n", o->next);
        if (o->since_s)
            printf("since: %s\n", since);
        if (o->step == CA_ROLLOVER_ACTIVATED)
            printf("certificates below the old root may be valid until: %s\n", end);
        return 0;
    }
    struct ca_answer a;
    ca_answer_begin(&a);
    json_z(&a.json, "step", step_names[o->step]);
    json_z(&a.json, "signing", o->signing);
    if (o->next[0])
        json_z(&a.json, "next", o->next);
    if (o->since_s)
        json_z(&a.json, "since", since);
    if (o->step == CA_ROLLOVER_ACTIVATED)
        json_z(&a.json, "oldLeavesEnd", end);
    return ca_answer_print(&a);
}

/* step: what to do first; -1: only look. */
static int rollover(const struct command_line *l, int step) {
    int64_t leaf_ttl_s = CA_TTL_MAX_S, now = clock_wall_s();
    if (!options_need(l, CTL_DIR))
        return EXIT_USAGE;
    if (l->options[CTL_LEAF_TTL] && !parse_time(l->options[CTL_LEAF_TTL], &leaf_ttl_s)) {
        complain("--leaf-ttl %s: write a time such as 24h, up to 90d", l->options[CTL_LEAF_TTL]);
        return EXIT_USAGE;
    }
    if (!ca_begin())
        return EXIT_FAILED;
    const char *dir = l->options[CTL_DIR];
    char why[CA_WHY_BYTES] = "";
    struct ca_rollover o;
    int r = 0;
    if (step == CA_ROLLOVER_PREPARED)
        r = ca_rollover_prepare(dir, now, why);
    else if (step == CA_ROLLOVER_ACTIVATED)
        r = ca_rollover_activate(dir, leaf_ttl_s, now, why);
    else if (step == CA_ROLLOVER_NONE)
        r = ca_rollover_prune(dir, now, why);
    if (r == 0)
        r = ca_rollover_status(dir, now, &o, why);
    if (r == 0)
        r = print_status(&o, wants_json(l));
    return ca_end(r, why);
}

int ca_rollover_status_command(const struct command_line *l) { return rollover(l, -1); }
int ca_rollover_prepare_command(const struct command_line *l) { return rollover(l, CA_ROLLOVER_PREPARED); }
int ca_rollover_activate_command(const struct command_line *l) { return rollover(l, CA_ROLLOVER_ACTIVATED); }
int ca_rollover_prune_command(const struct command_line *l) { return rollover(l, CA_ROLLOVER_NONE); }

struct found {
    struct str identity;
    int64_t now;
    struct str *serials;
    size_t n, n_over;
    bool failed;
};

static bool add_serial(void *context, const struct audit_issue *i) {
    struct found *f = context;
    if (!str_is(i->identity, f->identity))
        return true;
    if (i->not_after <= f->now) {
        f->n_over++;
        return true;
    }
    for (size_t k = 0; k < f->n; k++)
        if (str_is(f->serials[k], i->serial_hex))
            return true;
    char *copy = str_dup(i->serial_hex);
    struct str *serials = copy ? reallocarray(f->serials, f->n + 1, sizeof(*serials)) : NULL;
    f->failed = !serials;
    if (!serials) {
        free(copy);
        return false;
    }
    f->serials = serials;
    f->serials[f->n++] = str_of(copy);
    return true;
}

static void found_deinit(struct found *f) {
    for (size_t i = 0; i < f->n; i++)
        free((char *)f->serials[i].at);
    free(f->serials);
}

/* The directory's own record, that of the daemon whose stateDir it stands in, and the one that is named. */
static int look_up(const char *dir, const char *audit, struct found *f, char why[CA_WHY_BYTES]) {
    char own[PATH_BYTES], beside[PATH_BYTES];
    if (snprintf(own, sizeof(own), "%s/ca-audit.jsonl", dir) >= PATH_BYTES ||
        snprintf(beside, sizeof(beside), "%s/../ca-audit.jsonl", dir) >= PATH_BYTES)
        return -ENAMETOOLONG;
    const char *const paths[] = {audit, own, beside};
    size_t n_looked = 0;
    for (size_t i = 0; i < array_size(paths); i++) {
        if (!paths[i] || (paths[i] != audit && access(paths[i], F_OK) != 0))
            continue;
        n_looked++;
        int r = audit_each_issue(paths[i], add_serial, f, why);
        if (r != 0)
            return r;
    }
    if (f->failed)
        return -ENOMEM;
    if (f->n > 0)
        return 0;
    struct text t = {.at = why, .cap = CA_WHY_BYTES};
    if (n_looked == 0)
        text_addf(&t, "%s: has no record (ca-audit.jsonl) to look in: name one with --audit, or the serial with --serial", dir);
    else
        text_addf(&t, "no certificate of '" STR_FMT "' on record that is not over yet (%zu are over)", STR_ARG(f->identity),
                  f->n_over);
    return 1;
}

static int say_revoked(const struct command_line *l, size_t n, size_t n_listed) {
    const char *dir = l->options[CTL_DIR];
    if (!wants_json(l)) {
        printf("%s/ca-crl.pem: %zu revoked now, %zu in all\n", dir, n, n_listed);
        return 0;
    }
    struct ca_answer a;
    ca_answer_begin(&a);
    json_strf(&a.json, "file", "%s/ca-crl.pem", dir);
    json_u64(&a.json, "revokedNow", n);
    json_u64(&a.json, "revoked", n_listed);
    return ca_answer_print(&a);
}

int ca_revoke_command(const struct command_line *l) {
    const char *serial = l->options[CTL_SERIAL], *identity = l->options[CTL_IDENTITY], *node = l->options[CTL_NODE];
    if (!options_need(l, CTL_DIR))
        return EXIT_USAGE;
    if (!!serial + !!identity + !!node != 1) {
        complain("ca revoke needs one of --serial HEX, --identity ID and --node NAME; see ringwallctl ca revoke --help");
        return EXIT_USAGE;
    }
    if (!ca_begin())
        return EXIT_FAILED;
    struct found f cleanup(found_deinit) = {.now = clock_wall_s()};
    struct str one = str_of(serial);
    char why[CA_WHY_BYTES] = "", name[80] = "";
    struct text t = TEXT_OVER(name);
    text_addf(&t, "node/%s", node ? node : "");
    f.identity = identity ? str_of(identity) : text_str(&t);
    int r = serial ? 0 : look_up(l->options[CTL_DIR], l->options[CTL_AUDIT], &f, why);
    size_t n = serial ? 1 : f.n, n_listed = 0;
    if (r == 0)
        r = ca_dir_revoke(l->options[CTL_DIR], serial ? &one : f.serials, n, f.now, &n_listed, why);
    if (r == 0)
        r = say_revoked(l, n, n_listed);
    return ca_end(r, why);
}

int ca_audit_verify_command(const struct command_line *l) {
    if (l->n_words != 1) {
        complain("ca audit verify needs a FILE; see ringwallctl ca audit verify --help");
        return EXIT_USAGE;
    }
    if (!ca_begin())
        return EXIT_FAILED;
    struct audit_report report;
    char why[AUDIT_WHY_BYTES] = "";
    int r = audit_verify(l->words[0], &report, why);
    if (r == 0 && wants_json(l))
        printf("{\"whole\":true,\"first\":%llu,\"last\":%llu,\"lines\":%zu,\"parts\":%zu,\"torn\":%s}\n",
               (unsigned long long)report.first, (unsigned long long)report.last, report.n_lines, report.n_parts,
               report.torn ? "true" : "false");
    else if (r == 0)
        printf("%s: whole: lines %llu to %llu in %zu file%s%s\n", l->words[0], (unsigned long long)report.first,
               (unsigned long long)report.last, report.n_parts, report.n_parts == 1 ? "" : "s",
               report.torn ? "; a crash tore the last line, which the daemon mends" : "");
    return ca_end(r, why);
}
