/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a root is rolled over step by step; each step is whole after a crash at any rename; the old root goes only when nothing
 * below it can be valid; revocation lists go along. Method: directories on disk with a clock of our own; a crash is files put back
 * as they stood between two renames. openssl judges the certificates and the lists. */
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/io.h>
#include <ringwall/ca/audit.h>
#include <ringwall/tls/crl.h>

#include "../../../src/ca/files_private.h"
#include "unit.h"

enum { DAY = 86400, LEAF = 24 * 3600 };
static char base[256], why[CA_WHY_BYTES];
static int64_t now;

static char *in(const char *name) {
    static char paths[4][400];
    static unsigned turn;
    char *to = paths[turn++ % 4];
    snprintf(to, 400, "%s/%s", base, name);
    return to;
}

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    unit_directory(base);
    now = (int64_t)time(NULL) - 3600; /* openssl goes by the real clock, and our steps are to lie before it */
    assert_int_equal(ca_dir_init(in("root"), STR("cluster.local"), now, why), 0);
    assert_int_equal(ca_dir_issue_node(in("root"), STR("node-1"), in("node-1"), false, now, why), 0);
    assert_int_equal(ca_dir_issue_node(in("root"), STR("node-2"), in("node-2"), false, now, why), 0);
    return 0;
}

static int unmake(void **state) {
    char command[600];
    snprintf(command, sizeof(command), "rm -rf %s", base);
    return system(command);
}

static void shell(const char *fmt, ...) printf_like(1, 2);
static void shell(const char *fmt, ...) {
    char command[2000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static struct ca_rollover status(int64_t at) {
    struct ca_rollover o;
    if (ca_rollover_status(in("root"), at, &o, why) != 0)
        fail_msg("%s", why);
    return o;
}

static void expect_refused(int r, const char *word) {
    assert_int_equal(r, 1);
    if (!strstr(why, word))
        fail_msg("'%s' lacks '%s'", why, word);
}

static size_t n_roots(const char *name) {
    struct ca_dir d;
    if (ca_dir_load(in(name), now + 1000, &d, why) != 0)
        fail_msg("%s", why);
    size_t n = d.roots.n;
    ca_dir_deinit(&d);
    return n;
}

/* In order; each test goes on where the one before ended. */
static void prepared(void **state) {
    assert_int_equal(status(now).step, CA_ROLLOVER_NONE);
    expect_refused(ca_rollover_activate(in("root"), LEAF, now, why), "prepare");
    expect_refused(ca_rollover_prune(in("root"), now, why), "prepare");
    expect_refused(ca_rollover_prepare(in("node-1"), now, why), "no root");
    assert_int_equal(ca_rollover_prepare(in("root"), now, why), 0);
    struct ca_rollover o = status(now);
    assert_int_equal(o.step, CA_ROLLOVER_PREPARED);
    assert_int_equal(o.since_s, now);
    assert_int_equal(strlen(o.next), 64);
    assert_string_not_equal(o.next, o.signing);
    assert_int_equal(n_roots("root"), 2);
    expect_refused(ca_rollover_prepare(in("root"), now, why), "activate");
    shell("[ $(stat -c %%a %s/next-key.pem) = 600 ]", in("root"));
    /* Published to the nodes: they keep their certificates. */
    assert_int_equal(ca_dir_publish(in("root"), in("node-1"), now, why), 0);
    assert_int_equal(ca_dir_publish(in("root"), in("node-2"), now, why), 0);
    assert_int_equal(n_roots("node-1"), 2);
}

/* The directory as it stands after each rename of an activation loads, with the old or the new certificate and its key. */
static void crash_at_any_rename(void **state) {
    static const char *const order[] = {CA_FILE_OLD_CERT,  CA_FILE_OLD_KEY, CA_FILE_ROLLOVER, CA_FILE_NEXT_KEY,
                                        CA_FILE_NEXT_CERT, CA_FILE_CHAIN,   CA_FILE_KEY,      CA_FILE_CERT};
    shell("cp -a %s %s", in("root"), in("after"));
    assert_int_equal(ca_rollover_activate(in("after"), LEAF, now, why), 0);
    struct ca_dir old, new;
    assert_int_equal(ca_dir_load(in("root"), now, &old, why), 0);
    assert_int_equal(ca_dir_load(in("after"), now, &new, why), 0);
    shell("cp -a %s %s", in("root"), in("crash"));
    for (size_t i = 0; i < array_size(order); i++) {
        struct ca_dir d;
        bool is_next = strncmp(order[i], "next", 4) == 0; /* as prepared: the same bytes */
        if (!is_next)
            shell("cp -a %s/%s %s/%s", in("after"), order[i], in("crash"), order[i]);
        if (ca_dir_load(in("crash"), now, &d, why) != 0)
            fail_msg("after %s: %s", order[i], why);
        bool is_old = der_same(&d.cert.items[0], &old.cert.items[0]);
        assert_true(is_old || der_same(&d.cert.items[0], &new.cert.items[0]));
        assert_true(tls_cert_matches_key(d.cert.items[0].at, d.cert.items[0].n, d.key));
        ca_dir_deinit(&d);
        struct ca_rollover o;
        assert_int_equal(ca_rollover_status(in("crash"), now, &o, why), 0);
        assert_int_equal(o.step, is_old ? CA_ROLLOVER_PREPARED : CA_ROLLOVER_ACTIVATED);
        /* Whoever comes next can go on from here. */
        shell("cp -a %s %s", in("crash"), in("next"));
        if (is_old)
            assert_int_equal(ca_rollover_activate(in("next"), LEAF, now, why), 0);
        expect_refused(ca_rollover_prune(in("next"), now, why), "may be valid until");
        shell("rm -r %s", in("next"));
        /* Or takes a certificate back; or, where the step counts as done, ends this rollover and begins another. */
        shell("cp -a %s %s", in("crash"), in("next"));
        size_t n_revoked;
        if (ca_dir_revoke(in("next"), (struct str[]){STR("1234")}, 1, now, &n_revoked, why) != 0)
            fail_msg("after %s: %s", order[i], why);
        if (!is_old) {
            assert_int_equal(ca_rollover_prune(in("next"), now + 100 * DAY, why), 0);
            assert_int_equal(ca_rollover_prepare(in("next"), now + 100 * DAY, why), 0);
            if (ca_dir_load(in("next"), now + 100 * DAY, &d, why) != 0)
                fail_msg("after %s, a rollover later: %s", order[i], why);
            ca_dir_deinit(&d);
        }
        shell("rm -r %s", in("next"));
    }
    ca_dir_deinit(&old);
    ca_dir_deinit(&new);
    shell("rm -r %s %s", in("crash"), in("after"));
}

/* A killed writer's temporary files hold keys: the next one who changes the directory takes them away, and nothing else. Issuing
 * at once from one directory, each is served. */
static void left_by_others(void **state) {
    size_t n_revoked;
    shell("cp -a %s %s", in("root"), in("left"));
    shell("cd %s; touch .ca-key.pem.Ab12cD .next-key.pem.zzzzzz .rollover.json.000000 .ca-key.pem.mine .other.pem.Ab12cD",
          in("left"));
    assert_int_equal(ca_dir_revoke(in("left"), (struct str[]){STR("1234")}, 1, now, &n_revoked, why), 0);
    shell("cd %s; [ \"$(ls -d .[a-z]* | tr '\\n' ' ')\" = '.ca-key.pem.mine .other.pem.Ab12cD ' ]", in("left"));
    pid_t pids[8];
    for (size_t i = 0; i < array_size(pids); i++)
        if ((pids[i] = fork()) == 0) {
            char name[16];
            snprintf(name, sizeof(name), "many-%zu", i);
            _exit(ca_dir_issue_node(in("left"), str_of(name), in(name), false, now, why));
        }
    for (size_t i = 0; i < array_size(pids); i++) {
        int how;
        assert_int_equal(waitpid(pids[i], &how, 0), pids[i]);
        assert_int_equal(how, 0);
    }
    shell("rm -r %s %s/many-*", in("left"), base);
}

static void activated(void **state) {
    struct ca_rollover before = status(now);
    shell("cp %s/ca-cert.pem %s", in("root"), in("old-root.pem"));
    assert_int_equal(ca_rollover_activate(in("root"), LEAF, now + 100, why), 0);
    struct ca_rollover o = status(now + 100);
    assert_int_equal(o.step, CA_ROLLOVER_ACTIVATED);
    assert_string_equal(o.signing, before.next);
    assert_int_equal(n_roots("root"), 2);
    /* Two nodes are below the old root for 90 days, so it stays as long. */
    assert_true(o.leaves_end_s > now + 80 * DAY);
    expect_refused(ca_rollover_prune(in("root"), now + 2 * DAY, why), "issue-node --renew");
    expect_refused(ca_dir_issue_node(in("root"), STR("node-2"), in("node-1"), true, now + 200, why), "it is of 'node-1'");
    assert_int_equal(ca_dir_issue_node(in("root"), STR("node-1"), in("node-1"), true, now + 200, why), 0);
    assert_true(status(now + 200).leaves_end_s > now + 80 * DAY); /* node-2 is left */
    assert_int_equal(ca_dir_issue_node(in("root"), STR("node-2"), in("node-2"), true, now + 300, why), 0);
    assert_int_equal(status(now + 300).leaves_end_s, now + 300 + LEAF);
    assert_int_equal(n_roots("node-2"), 2);
    /* With both roots, which have one name, the key identifier leads to the right one. */
    shell("openssl verify -x509_strict -CAfile %s/root-cert.pem %s/ca-cert.pem >/dev/null", in("node-2"), in("node-2"));
    shell("! openssl verify -x509_strict -CAfile %s %s/ca-cert.pem >/dev/null 2>&1", in("old-root.pem"), in("node-2"));
}

static void revoked_under_both(void **state) {
    size_t n = 0;
    struct str serials[] = {STR("00:C0:FF:EE"), STR("1234")};
    assert_int_equal(ca_dir_revoke(in("root"), serials, 2, now + 400, &n, why), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ca_dir_revoke(in("root"), serials, 1, now + 500, &n, why), 0);
    assert_int_equal(n, 2); /* once is enough */
    struct ca_dir d;
    assert_int_equal(ca_dir_load(in("root"), now + 500, &d, why), 0);
    assert_int_equal(d.crls.n, 2);
    assert_string_equal(d.crl_gap, "");
    ca_dir_deinit(&d);
    shell("openssl crl -in %s/ca-crl.pem -CAfile %s/ca-cert.pem -noout -verify 2>&1 | grep -q 'verify OK'", in("root"), in("root"));
    shell("openssl crl -in %s/ca-crl.pem -noout -text | grep -q 'Serial Number: C0FFEE'", in("root"));
    shell("openssl crl -in %s/ca-crl.pem -noout -text | grep -A1 'CRL Number' | grep -q 2", in("root"));
    static const char *const bad[] = {"", "xyz", "0", "00", "-1", "112233445566778899aabbccddeeff001122334455"};
    for (size_t i = 0; i < array_size(bad); i++) {
        struct str one = str_of(bad[i]);
        expect_refused(ca_dir_revoke(in("root"), &one, 1, now + 500, &n, why), "no serial number");
    }
}

static void pruned(void **state) {
    expect_refused(ca_rollover_prune(in("root"), now + 300 + LEAF, why), "may be valid until");
    assert_int_equal(ca_rollover_prune(in("root"), now + 301 + LEAF, why), 0);
    assert_int_equal(status(now + 302 + LEAF).step, CA_ROLLOVER_NONE);
    assert_int_equal(n_roots("root"), 1);
    shell("! ls %s | grep -E 'old|next|rollover'", in("root"));
    struct ca_dir d;
    assert_int_equal(ca_dir_load(in("root"), now + 1000, &d, why), 0);
    assert_int_equal(d.crls.n, 1); /* the old root's list went with it */
    ca_dir_deinit(&d);
    assert_int_equal(ca_dir_publish(in("root"), in("node-1"), now + 1000, why), 0);
    assert_int_equal(n_roots("node-1"), 1);
    struct audit_report report;
    char path[500];
    snprintf(path, sizeof(path), "%s/%s", in("root"), CA_FILE_AUDIT);
    if (audit_verify(path, &report, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(report.n_lines, 2 + 1 + 1 + 2 + 3 + 1);
}

/* A node whose certificate was not renewed is not left without its root. */
static void not_published_too_early(void **state) {
    assert_int_equal(ca_dir_init(in("late"), STR("cluster.local"), now, why), 0);
    assert_int_equal(ca_dir_issue_node(in("late"), STR("node-1"), in("late-1"), false, now, why), 0);
    assert_int_equal(ca_rollover_prepare(in("late"), now, why), 0);
    assert_int_equal(ca_rollover_activate(in("late"), LEAF, now, why), 0);
    assert_int_equal(ca_rollover_prune(in("late"), now + 91 * DAY, why), 0);
    expect_refused(ca_dir_publish(in("late"), in("late-1"), now, why), "renew it first");
}

static void partial_and_broken_lists(void **state) {
    size_t n;
    struct str serial = STR("abcd");
    struct ca_dir d;
    assert_int_equal(ca_dir_init(in("crl"), STR("cluster.local"), now, why), 0);
    assert_int_equal(ca_dir_issue_node(in("crl"), STR("node-1"), in("crl-1"), false, now, why), 0);
    assert_int_equal(ca_dir_revoke(in("crl"), &serial, 1, now, &n, why), 0);
    assert_int_equal(ca_dir_publish(in("crl"), in("crl-1"), now, why), 0);
    assert_int_equal(ca_dir_load(in("crl-1"), now, &d, why), 0);
    assert_non_null(strstr(d.crl_gap, "node-1")); /* told, and in force */
    assert_int_equal(d.crls.n, 1);
    assert_false(d.revoked);
    struct tls_cert_facts f;
    char own[2 * TLS_SERIAL_MAX + 1];
    assert_int_equal(tls_cert_read(d.cert.items[0].at, d.cert.items[0].n, &f), 0);
    for (size_t i = 0; i < f.serial_n; i++)
        snprintf(own + 2 * i, 3, "%02x", f.serial[i]);
    ca_dir_deinit(&d);
    serial = str_of(own);
    assert_int_equal(ca_dir_revoke(in("crl"), &serial, 1, now, &n, why), 0);
    assert_int_equal(ca_dir_publish(in("crl"), in("crl-1"), now, why), 0);
    assert_int_equal(ca_dir_load(in("crl-1"), now, &d, why), 0);
    assert_true(d.revoked);
    ca_dir_deinit(&d);
    shell("sed -i '3s/./!/' %s/ca-crl.pem", in("crl-1"));
    assert_int_equal(ca_dir_load(in("crl-1"), now, &d, why), 1);
    assert_non_null(strstr(why, "ca-crl.pem"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(prepared),
                                       cmocka_unit_test(crash_at_any_rename),
                                       cmocka_unit_test(left_by_others),
                                       cmocka_unit_test(activated),
                                       cmocka_unit_test(revoked_under_both),
                                       cmocka_unit_test(pruned),
                                       cmocka_unit_test(not_published_too_early),
                                       cmocka_unit_test(partial_and_broken_lists)};
    return cmocka_run_group_tests(tests, make, unmake);
}
