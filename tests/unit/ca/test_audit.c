/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the record is a chain: any line that is changed, missing, swapped, repeated or cut off is found and named; a crash is
 * mended and said; the size is bounded without a break in the chain.
 * Method: records are written, then their bytes are spoiled in each way; the verifier's words must name the line. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <ringwall/base/io.h>
#include <ringwall/tls/key.h>

#include "../../../src/ca/audit.h"
#include "unit.h"

static char base[256], path[300], last_path[320];
static const int64_t now = 1900000000;

static int make(void **state) {
    assert_int_equal(tls_library_init(), 0);
    unit_directory(base);
    snprintf(path, sizeof(path), "%s/audit.jsonl", base);
    snprintf(last_path, sizeof(last_path), "%s.last", path);
    return 0;
}

static void clear(void) {
    char command[600];
    snprintf(command, sizeof(command), "rm -f %s*", path);
    assert_int_equal(system(command), 0);
}

static int unmake(void **state) {
    char command[600];
    snprintf(command, sizeof(command), "rm -rf %s", base);
    return system(command);
}

static void add(struct audit *a, const char *identity, unsigned serial) {
    char hex[9];
    snprintf(hex, sizeof(hex), "%08x", serial);
    struct audit_entry e = {.event = "issued",
                            .what = "certificate",
                            .caller = "node",
                            .node = STR("node-1"),
                            .identity = str_of(identity),
                            .serial_hex = hex,
                            .issuer_hex = "ab",
                            .not_before = now,
                            .not_after = now + 60};
    assert_int_equal(audit_add(a, now, &e), 0);
}

/* n lines in a record of their own; the returned text is the file. */
static char *written(unsigned n, size_t *ret_n) {
    struct audit *a;
    char found[AUDIT_WHY_BYTES];
    clear();
    assert_int_equal(audit_open(path, 0, now, &a, found), 0);
    assert_string_equal(found, "");
    for (unsigned i = 1; i <= n; i++) {
        add(a, "spiffe://cluster.local/ns/default/sa/client", i);
        if (i % 3 == 0)
            assert_int_equal(audit_flush(a, true), 0);
    }
    assert_int_equal(audit_flush(a, true), 0);
    assert_int_equal(audit_flush(a, true), 0); /* nothing to do */
    audit_close(a);
    char *text;
    assert_int_equal(io_read_file(path, 1 << 24, &text, ret_n), 0);
    return text;
}

static void put(const char *text, size_t n) { assert_int_equal(io_write_file(path, text, n, 0600), 0); }

static char *line_at(char *text, unsigned number) {
    for (unsigned i = 1; i < number; i++)
        text = strchr(text, '\n') + 1;
    return text;
}

static void expect_found(const char *word) {
    struct audit_report report;
    char why[AUDIT_WHY_BYTES] = "";
    assert_int_equal(audit_verify(path, &report, why), 1);
    if (!strstr(why, word))
        fail_msg("'%s' lacks '%s'", why, word);
}

static void whole(void **state) {
    size_t n;
    struct audit_report report;
    char why[AUDIT_WHY_BYTES];
    free(written(10, &n));
    assert_int_equal(audit_verify(path, &report, why), 0);
    assert_int_equal(report.first, 1);
    assert_int_equal(report.last, 10);
    assert_int_equal(report.n_lines, 10);
    assert_int_equal(report.n_parts, 1);
    assert_false(report.torn);
}

/* Each byte of each line matters. */
static void changed(void **state) {
    size_t n;
    char *text = written(6, &n);
    for (unsigned number = 1; number <= 6; number++) {
        char *line = line_at(text, number), word[40];
        size_t length = strcspn(line, "\n");
        for (size_t i = 0; i < length; i += 7) {
            char before = line[i];
            line[i] = before == 'x' ? 'y' : 'x';
            put(text, n);
            struct audit_report report;
            char why[AUDIT_WHY_BYTES] = "";
            assert_int_equal(audit_verify(path, &report, why), 1);
            line[i] = before;
        }
        /* A date is changed: the line is named by its number and place. */
        char *date = strstr(line, "2030");
        date[3] = '1';
        put(text, n);
        snprintf(word, sizeof(word), ":%u: line %u%s was changed", number, number, number == 6 ? ", the last one," : "");
        expect_found(word);
        date[3] = '0';
    }
    free(text);
}

static void missing_swapped_repeated(void **state) {
    size_t n;
    char *text = written(6, &n), *copy = malloc(2 * n);
    char *third = line_at(text, 3), *fourth = line_at(text, 4), *fifth = line_at(text, 5);
    size_t head = (size_t)(third - text), n3 = (size_t)(fourth - third), n4 = (size_t)(fifth - fourth);
    /* missing */
    memcpy(copy, text, head);
    memcpy(copy + head, fourth, n - head - n3);
    put(copy, n - n3);
    expect_found(":3: missing before this line: 3 to 3");
    /* swapped */
    memcpy(copy, text, n);
    memcpy(copy + head, fourth, n4);
    memcpy(copy + head + n4, third, n3);
    put(copy, n);
    expect_found("lines 3 and 4 are swapped");
    /* repeated */
    memcpy(copy, text, head + n3);
    memcpy(copy + head + n3, third, n - head);
    put(copy, n + n3);
    expect_found(":4: line 3 stands after line 3: repeated");
    /* the end is cut, at a line and within one */
    put(text, (size_t)(fifth - text));
    expect_found("truncated: lines 5 to 6 are missing");
    put(text, n - 10);
    expect_found("truncated: lines 6 to 6 are missing");
    /* the beginning is cut, and no part can have been let go yet */
    put(third, n - head);
    expect_found("lines 1 to 2 are missing at the beginning");
    /* all of it is gone */
    put("", 0);
    expect_found("truncated: lines 1 to 6");
    /* the note of the last line is gone */
    put(text, n);
    assert_int_equal(unlink(last_path), 0);
    expect_found(".last");
    free(copy);
    free(text);
}

static void goes_on(void **state) {
    size_t n;
    struct audit *a;
    struct audit_report report;
    char found[AUDIT_WHY_BYTES], why[AUDIT_WHY_BYTES];
    free(written(4, &n));
    assert_int_equal(audit_open(path, 0, now, &a, found), 0);
    assert_string_equal(found, "");
    struct audit *second = NULL;
    assert_int_equal(audit_open(path, 0, now, &second, NULL), -EWOULDBLOCK); /* two writers would fork the chain */
    add(a, "spiffe://cluster.local/ns/default/sa/client", 5);
    assert_int_equal(audit_flush(a, true), 0);
    audit_close(a);
    assert_int_equal(audit_verify(path, &report, why), 0);
    assert_int_equal(report.last, 5);
}

/* A crash tore the last line: it is taken out, the record says so, and stays whole. */
static void torn(void **state) {
    size_t n;
    struct audit *a;
    struct audit_report report;
    char found[AUDIT_WHY_BYTES], why[AUDIT_WHY_BYTES], *text = written(4, &n);
    for (size_t extra = 1; extra < 200; extra += 66) {
        char *torn_text = malloc(n + extra);
        memcpy(torn_text, text, n);
        memcpy(torn_text + n, text, extra);
        char last[AUDIT_LAST_BYTES + 1];
        char *keep;
        size_t n_keep;
        assert_int_equal(io_read_file(last_path, 4096, &keep, &n_keep), 0);
        put(torn_text, n + extra);
        assert_int_equal(audit_verify(path, &report, why), 0); /* told, not held against it */
        assert_true(report.torn);
        assert_int_equal(audit_open(path, 0, now, &a, found), 0);
        assert_non_null(strstr(found, "crash"));
        audit_close(a);
        assert_int_equal(audit_verify(path, &report, why), 0);
        assert_false(report.torn);
        assert_int_equal(report.last, 5);
        put(text, n);
        assert_int_equal(io_write_file(last_path, keep, n_keep, 0600), 0);
        free(keep);
        free(torn_text);
        (void)last;
    }
    free(text);
}

/* A tail cut while nobody looked: the daemon goes on, and the gap stays visible for ever. */
static void cut_then_continued(void **state) {
    size_t n;
    struct audit *a;
    char found[AUDIT_WHY_BYTES], *text = written(6, &n);
    put(text, (size_t)(line_at(text, 5) - text));
    assert_int_equal(audit_open(path, 0, now, &a, found), 0);
    assert_non_null(strstr(found, "lines 5 to 6 are missing"));
    add(a, "spiffe://cluster.local/ns/default/sa/client", 9);
    assert_int_equal(audit_flush(a, true), 0);
    audit_close(a);
    expect_found("missing before this line: 5 to 6");
    free(text);
}

static bool count(void *context, const struct audit_issue *i) {
    unsigned *n = context;
    assert_true(str_is(i->identity, STR("spiffe://cluster.local/ns/default/sa/client")));
    assert_int_equal(i->not_after, now + 60);
    ++*n;
    return true;
}

static void rotated(void **state) {
    struct audit *a;
    struct audit_report report;
    char why[AUDIT_WHY_BYTES];
    unsigned n_found = 0;
    clear();
    for (unsigned i = 1; i <= 300; i++) {
        if (i % 50 == 1)
            assert_int_equal(audit_open(path, 4096, now, &a, NULL), 0);
        add(a, "spiffe://cluster.local/ns/default/sa/client", i);
        assert_int_equal(audit_flush(a, true), 0);
        if (i % 50 == 0)
            audit_close(a);
    }
    assert_int_equal(audit_verify(path, &report, why), 0);
    assert_int_equal(report.last, 300);
    assert_true(report.first > 1); /* the oldest went */
    assert_int_equal(report.n_parts, AUDIT_PARTS_MAX);
    assert_int_equal(audit_each_issue(path, count, &n_found, why), 0);
    assert_int_equal(n_found, report.n_lines);
    /* A part in the middle that is taken away is a gap. */
    char part[320];
    snprintf(part, sizeof(part), "%s.3", path);
    assert_int_equal(unlink(part), 0);
    expect_found("missing before this line");
    /* A crash came between the renames and the first line of the new part. */
    clear();
    assert_int_equal(audit_open(path, 4096, now, &a, NULL), 0);
    add(a, "spiffe://cluster.local/ns/default/sa/client", 1);
    assert_int_equal(audit_flush(a, true), 0);
    audit_close(a);
    snprintf(part, sizeof(part), "%s.1", path);
    assert_int_equal(rename(path, part), 0);
    assert_int_equal(audit_open(path, 4096, now, &a, why), 0);
    assert_string_equal(why, "");
    add(a, "spiffe://cluster.local/ns/default/sa/client", 2);
    assert_int_equal(audit_flush(a, true), 0);
    audit_close(a);
    assert_int_equal(audit_verify(path, &report, why), 0);
    assert_int_equal(report.last, 2);
}

/* The new part cannot be made, again and again: the parts that are there stay, and the chain goes on once it can. */
static void part_not_made(void **state) {
    struct audit *a;
    struct audit_report before, report;
    char why[AUDIT_WHY_BYTES];
    struct rlimit limit, none;
    unsigned i = 0;
    clear();
    assert_int_equal(audit_open(path, 4096, now, &a, NULL), 0);
    while (i < 40) {
        add(a, "spiffe://cluster.local/ns/default/sa/client", ++i);
        assert_int_equal(audit_flush(a, true), 0);
    }
    assert_int_equal(audit_verify(path, &before, why), 0);
    assert_true(before.n_parts > 2);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3; /* those of the record are open already */
    unsigned n_refused = 0;
    for (unsigned k = 0; n_refused < 2 * AUDIT_PARTS_MAX && k < 1000; k++) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        add(a, "spiffe://cluster.local/ns/default/sa/client", i + 1);
        int r = audit_flush(a, true);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_true(r == 0 || r == -EMFILE);
        i += r == 0;
        n_refused += r != 0;
    }
    assert_int_equal(n_refused, 2 * AUDIT_PARTS_MAX);
    add(a, "spiffe://cluster.local/ns/default/sa/client", ++i);
    assert_int_equal(audit_flush(a, true), 0);
    audit_close(a);
    assert_int_equal(audit_verify(path, &report, why), 0);
    assert_int_equal(report.first, before.first);
    assert_int_equal(report.last, i);
    assert_int_equal(report.n_parts, before.n_parts + 1);
}

/* What could not be written is not in the chain: the next line takes its number. */
static void full_disk(void **state) {
    struct audit *a;
    char hash[65];
    assert_int_equal(audit_open("/dev/full", 0, now, &a, NULL), 0);
    add(a, "spiffe://cluster.local/ns/default/sa/client", 1);
    assert_true(audit_is_dirty(a));
    assert_int_equal(audit_flush(a, true), -ENOSPC);
    assert_false(audit_is_dirty(a));
    assert_int_equal(audit_last(a, hash), 0);
    audit_close(a);
}

/* A refusal needs no disk of its own: its note comes later, so that it is never ahead of the chain. */
static void settled_later(void **state) {
    struct audit *a;
    struct audit_report report;
    char why[AUDIT_WHY_BYTES], *last;
    size_t n;
    clear();
    assert_int_equal(audit_open(path, 0, now, &a, NULL), 0);
    assert_int_equal(audit_verify(path, &report, why), 0); /* nothing yet, and nothing missing */
    add(a, "spiffe://cluster.local/ns/default/sa/client", 1);
    assert_int_equal(audit_flush(a, false), 0);
    assert_int_equal(io_read_file(last_path, 4096, &last, &n), 0);
    assert_int_equal(n, 0);
    free(last);
    assert_int_equal(audit_settle(a), 0);
    assert_int_equal(audit_verify(path, &report, why), 0);
    add(a, "spiffe://cluster.local/ns/default/sa/client", 2);
    assert_int_equal(audit_flush(a, false), 0);
    assert_int_equal(audit_verify(path, &report, why), 0); /* the note is behind: no harm */
    assert_int_equal(report.last, 2);
    audit_close(a);
    put("", 0);
    expect_found("truncated: lines 1 to 2"); /* closing has settled */
}

/* A disk that fills up in the middle of a line, and is emptied: nothing of the failed lines is left. */
static void full_and_free_again(void **state) {
    struct rlimit before, small;
    struct audit *a;
    struct audit_report report;
    char why[AUDIT_WHY_BYTES];
    clear();
    assert_int_equal(audit_open(path, 0, now, &a, NULL), 0);
    for (unsigned i = 1; i <= 3; i++)
        add(a, "spiffe://cluster.local/ns/default/sa/client", i);
    assert_int_equal(audit_flush(a, true), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 1200; /* some bytes into the fourth line */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (unsigned i = 4; i <= 6; i++) {
        add(a, "spiffe://cluster.local/ns/default/sa/client", i);
        add(a, "spiffe://cluster.local/ns/default/sa/client", 100 + i);
        add(a, "spiffe://cluster.local/ns/default/sa/client", 200 + i);
        assert_true(audit_flush(a, true) < 0);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    add(a, "spiffe://cluster.local/ns/default/sa/client", 7);
    assert_int_equal(audit_flush(a, true), 0);
    audit_close(a);
    if (audit_verify(path, &report, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(report.last, 4);
}

/* Bytes of a stranger in a line do not make another line, nor a line too long. */
static void hostile_text(void **state) {
    struct audit *a;
    struct audit_report report;
    char why[AUDIT_WHY_BYTES], *large = malloc(100000);
    memset(large, '"', 100000);
    clear();
    assert_int_equal(audit_open(path, 0, now, &a, NULL), 0);
    struct audit_entry e = {.event = "refused",
                            .caller = "token",
                            .subject = {large, 100000},
                            .peer = {large, 100000},
                            .identity = STR("a\nb\0c\x1b[31m\xff"),
                            .code = "UNAUTHENTICATED",
                            .text = {large, 100000}};
    assert_int_equal(audit_add(a, now, &e), 0);
    assert_int_equal(audit_flush(a, true), 0);
    audit_close(a);
    assert_int_equal(audit_verify(path, &report, why), 0);
    assert_int_equal(report.n_lines, 1);
    free(large);
}

static void foreign(void **state) {
    struct audit *a;
    char found[AUDIT_WHY_BYTES];
    clear();
    put("{\"time\":\"2026\"}\n", 16);
    expect_found(":1: is not a line of this record");
    assert_int_equal(audit_open(path, 0, now, &a, found), 0);
    assert_non_null(strstr(found, "not one of this record"));
    audit_close(a);
    char none[400];
    snprintf(none, sizeof(none), "%s/none", base);
    struct audit_report report;
    assert_int_equal(audit_verify(none, &report, found), 1);
    assert_non_null(strstr(found, "cannot be read"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole),
                                       cmocka_unit_test(changed),
                                       cmocka_unit_test(missing_swapped_repeated),
                                       cmocka_unit_test(goes_on),
                                       cmocka_unit_test(torn),
                                       cmocka_unit_test(cut_then_continued),
                                       cmocka_unit_test(rotated),
                                       cmocka_unit_test(part_not_made),
                                       cmocka_unit_test(full_disk),
                                       cmocka_unit_test(settled_later),
                                       cmocka_unit_test(full_and_free_again),
                                       cmocka_unit_test(hostile_text),
                                       cmocka_unit_test(foreign)};
    return cmocka_run_group_tests(tests, make, unmake);
}
