/* SPDX-License-Identifier: GPL-3.0-or-later
 * audit_verify.c - see ca/audit.h
 *
 * A line that does not fit is judged only once the next one was read: when that one knows the new line, the old one was
 * changed; when it does not, the new one was. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/hash.h>

#include "audit.h"

enum { PATH_BYTES = 4096, PARTS_LOOKED = AUDIT_PARTS_MAX + 1 };

struct place {
    uint64_t seq;
    char hash[65], prev[65];
    char file[PATH_BYTES + 8];
    uint64_t line;
};
struct walk {
    struct audit_report report;
    struct place before, now; /* the last two lines */
    bool doubt;               /* `now` does not follow `before` */
    char *why;
};

static void printf_like(2, 3) say(char *why, const char *fmt, ...) {
    struct text t = {.at = why, .cap = AUDIT_WHY_BYTES};
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
}

static bool follows(const struct place *a, const struct place *b) { return b->seq == a->seq + 1 && !strcmp(b->prev, a->hash); }

#define AT "%s:%llu: "
#define AT_ARG(p) (p).file, (unsigned long long)(p).line
#define LLU(n) (unsigned long long)(n)

/* `now` does not follow `before`; `next` is what stands after it, NULL at the end. Always 1. */
static int judge(struct walk *w, const struct place *next) {
    const struct place *a = &w->before, *b = &w->now;
    if (b->seq == a->seq + 1) {
        bool fits = next && !strcmp(next->prev, b->hash);
        const struct place *guilty = fits || !next ? a : b;
        say(w->why, AT "line %llu was changed: its SHA-256 is not the one that line %llu has on record", AT_ARG(*guilty),
            LLU(guilty->seq), LLU(guilty->seq + 1));
    } else if (next && next->seq < b->seq && next->seq > a->seq)
        say(w->why, AT "lines %llu and %llu are swapped", AT_ARG(*b), LLU(next->seq), LLU(b->seq));
    else if (b->seq > a->seq + 1)
        say(w->why, AT "missing before this line: %llu to %llu", AT_ARG(*b), LLU(a->seq + 1), LLU(b->seq - 1));
    else
        say(w->why, AT "line %llu stands after line %llu: repeated or swapped", AT_ARG(*b), LLU(b->seq), LLU(a->seq));
    return 1;
}

static int take_line(struct walk *w, const char *file, uint64_t number, struct str line) {
    struct place p = {.line = number};
    snprintf(p.file, sizeof(p.file), "%s", file);
    if (audit_line_read(line, &p.seq, p.prev) != 0) {
        say(w->why, AT "is not a line of this record: it was changed", AT_ARG(p));
        return 1;
    }
    tls_sha256_hex(line.at, line.n, p.hash);
    if (w->doubt)
        return judge(w, &p);
    if (w->report.n_lines == 0) {
        w->report.first = p.seq;
        if (p.seq == 1 && strspn(p.prev, "0") != 64) {
            say(w->why, AT "line 1 was changed: nothing stands before it", AT_ARG(p));
            return 1;
        }
    } else
        w->doubt = !follows(&w->now, &p);
    w->before = w->now;
    w->now = p;
    w->report.n_lines++;
    w->report.last = p.seq;
    return 0;
}

typedef int (*line_fn)(void *context, const char *file, uint64_t number, struct str line);

/* f's verdicts end it; 0 when all was read; 2: the last line of the part has no end. Negative errno: reading failed. */
static int each_line(FILE *f, const char *file, line_fn fn, void *context) {
    char *line = NULL;
    size_t cap = 0;
    uint64_t number = 0;
    int r = 0;
    ssize_t n;
    while (r == 0 && (n = getline(&line, &cap, f)) > 0) {
        number++;
        if (line[n - 1] != '\n')
            r = 2;
        else
            r = fn(context, file, number, (struct str){line, (size_t)n - 1});
    }
    if (r == 0 && !feof(f)) /* a directory opens, too: what was not read must not pass as whole */
        r = errno > 0 ? -errno : -EIO;
    free(line);
    return r;
}

/* Oldest part first. */
static int each_part(const char *path, line_fn fn, void *context, size_t *ret_parts, bool *ret_torn, char *why) {
    *ret_parts = 0;
    *ret_torn = false;
    for (unsigned i = PARTS_LOOKED; i-- > 0;) {
        char file[PATH_BYTES + 8];
        snprintf(file, sizeof(file), i ? "%s.%u" : "%s", path, i);
        FILE *f = fopen(file, "re");
        if (!f && errno == ENOENT && i > 0)
            continue;
        if (!f) {
            say(why, "%s: cannot be read: %s", file, strerror(errno));
            return 1;
        }
        int r = each_line(f, file, fn, context);
        fclose(f);
        if (r < 0) {
            say(why, "%s: cannot be read: %s", file, strerror(-r));
            return 1;
        }
        if (r == 2 && i > 0) {
            say(why, "%s: its last line has no end: it was cut", file);
            return 1;
        }
        *ret_torn = r == 2;
        if (r != 0 && r != 2)
            return r;
        ++*ret_parts;
    }
    return 0;
}

static int take(void *context, const char *file, uint64_t number, struct str line) {
    return take_line(context, file, number, line);
}

/* The writer lets the oldest part go only when there are AUDIT_PARTS_MAX; one name less is what a crash amid the renames leaves. */
static int check_first(const struct walk *w, const char *path) {
    if (w->report.n_lines == 0 || w->report.first == 1 || w->report.n_parts >= AUDIT_PARTS_MAX - 1)
        return 0;
    say(w->why, "%s: lines 1 to %llu are missing at the beginning: with %zu files no part was let go yet", path,
        LLU(w->report.first - 1), w->report.n_parts);
    return 1;
}

/* The end against FILE.last. */
static int check_last(struct walk *w, const char *path) {
    char name[PATH_BYTES + 8];
    cleanup_free char *text = NULL;
    size_t n = 0;
    struct audit_link last;
    snprintf(name, sizeof(name), "%s.last", path);
    int r = io_read_file(name, 4096, &text, &n);
    if ((r == -ENOENT || (r == 0 && n == 0)) && w->report.n_lines == 0)
        return 0;
    if (r < 0 || !audit_last_parse((struct str){text, n}, &last)) {
        say(w->why, "%s: is missing or cannot be read: whether lines are missing at the end cannot be told", name);
        return 1;
    }
    if (last.seq > w->report.last) {
        say(w->why, "%s: truncated: lines %llu to %llu are missing at the end", path, LLU(w->report.last + 1), LLU(last.seq));
        return 1;
    }
    /* A crash may have come between the line and its note here: then the note's line is a former one, which the chain covers. */
    if (last.seq == w->report.last && strcmp(last.hash, w->now.hash) != 0) {
        say(w->why, AT "line %llu, the last one, was changed", AT_ARG(w->now), LLU(last.seq));
        return 1;
    }
    return 0;
}

int audit_verify(const char *path, struct audit_report *ret, char why[AUDIT_WHY_BYTES]) {
    struct walk *w = calloc(1, sizeof(*w));
    if (!w)
        return err_origin(-ENOMEM);
    w->why = why;
    int r = each_part(path, take, w, &w->report.n_parts, &w->report.torn, why);
    if (r == 0 && w->doubt)
        r = judge(w, NULL);
    if (r == 0)
        r = check_first(w, path);
    if (r == 0)
        r = check_last(w, path);
    if (r == 0)
        *ret = w->report;
    free(w);
    return r;
}

struct issues {
    audit_issue_fn f;
    void *context;
};

static int take_issue(void *context, const char *file, uint64_t number, struct str line) {
    (void)file;
    (void)number;
    const struct issues *c = context;
    char why[128];
    if (!str_has_prefix(line, STR("{\"seq\":")) || line.n >= AUDIT_LINE_MAX)
        return 0;
    struct json *root = json_read(line, why);
    struct audit_issue i = {.identity = json_text(json_get(root, "identity")),
                            .serial_hex = json_text(json_get(root, "serial")),
                            .issuer = json_text(json_get(root, "issuer"))};
    struct str begin = json_text(json_get(root, "notBefore")), end = json_text(json_get(root, "notAfter"));
    bool more = true;
    if (root && str_is(json_text(json_get(root, "event")), STR("issued")) && i.serial_hex.n &&
        clock_parse_rfc3339(begin.at, begin.n, &i.not_before) && clock_parse_rfc3339(end.at, end.n, &i.not_after))
        more = c->f(c->context, &i);
    if (root)
        json_free(root);
    return more ? 0 : 3;
}

int audit_each_issue(const char *path, audit_issue_fn f, void *context, char why[AUDIT_WHY_BYTES]) {
    struct issues c = {f, context};
    size_t parts;
    bool torn;
    int r = each_part(path, take_issue, &c, &parts, &torn, why);
    return r == 1 || r < 0 ? r : 0;
}
