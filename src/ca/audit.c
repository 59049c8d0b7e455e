/* SPDX-License-Identifier: GPL-3.0-or-later
 * audit.c - the CA's record, an append-only chain of JSON lines */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/tls/hash.h>

#include "audit.h"

enum { PATH_BYTES = 4096 };

struct audit {
    int fd, last_fd;
    char path[PATH_BYTES];
    size_t part_bytes;
    uint64_t n_bytes;       /* of the part, as flushed */
    struct audit_link head; /* the last line that is flushed */
    struct audit_link next; /* the last line that is pending; head when none is */
    struct growing pending;
    uint64_t noted;     /* the line in FILE.last; UINT64_MAX: unknown */
    bool note_is_loose; /* FILE.last is written and not flushed */
    bool ragged;        /* bytes of a failed write stand behind n_bytes */
    bool only_stream;   /* no regular file (a device): no FILE.last, no parts */
};

struct audit *audit_close(struct audit *a) {
    if (!a)
        return NULL;
    if (a->last_fd >= 0)
        ignore_result(audit_settle(a)); /* a crash here would do the same */
    fd_close(a->fd);
    fd_close(a->last_fd);
    growing_deinit(&a->pending);
    free(a);
    return NULL;
}

static void write_time(struct json_writer *w, const char *key, int64_t s) {
    char text[RFC3339_BYTES];
    clock_rfc3339(s * (int64_t)NS_PER_S, text, false);
    json_z(w, key, text);
}

static void write_some(struct json_writer *w, const char *key, struct str s) {
    if (s.n)
        json_str(w, key, (struct str){s.at, min_of(s.n, (size_t)AUDIT_TEXT_MAX)});
}

int audit_add(struct audit *a, int64_t now_s, const struct audit_entry *e) {
    struct growing line cleanup(growing_deinit) = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &line, false);
    json_object(&w, NULL);
    json_u64(&w, "seq", a->next.seq + 1);
    json_z(&w, "prev", a->next.hash);
    write_time(&w, "time", now_s);
    json_z(&w, "event", e->event);
    write_some(&w, "what", str_of(e->what));
    if (e->caller) {
        json_object(&w, "caller");
        json_z(&w, "kind", e->caller);
        write_some(&w, "node", e->node);
        write_some(&w, "subject", e->subject);
        write_some(&w, "peer", e->peer);
        json_end(&w);
    }
    write_some(&w, "identity", e->identity);
    if (e->serial_hex) {
        json_z(&w, "serial", e->serial_hex);
        write_some(&w, "issuer", str_of(e->issuer_hex));
    }
    if (e->not_after) {
        write_time(&w, "notBefore", e->not_before);
        write_time(&w, "notAfter", e->not_after);
    }
    write_some(&w, "code", str_of(e->code));
    write_some(&w, e->code ? "reason" : "text", e->text);
    json_end(&w);
    if (line.failed)
        return err_origin(-ENOMEM);
    check(line.n < AUDIT_LINE_MAX && !memchr(line.at, '\n', line.n));
    struct audit_link link = {.seq = a->next.seq + 1};
    tls_sha256_hex(line.at, line.n, link.hash);
    growing_add(&line, STR("\n"));
    size_t before = a->pending.n;
    growing_add(&a->pending, (struct str){line.at, line.n});
    if (line.failed || a->pending.failed) {
        a->pending.n = before;
        a->pending.failed = false;
        return err_origin(-ENOMEM);
    }
    a->next = link;
    return 0;
}

bool audit_is_dirty(const struct audit *a) { return a->pending.n > 0; }

uint64_t audit_last(const struct audit *a, char ret_hash[65]) {
    memcpy(ret_hash, a->head.hash, sizeof(a->head.hash));
    return a->head.seq;
}

static int write_whole(int fd, const char *at, size_t n) {
    while (n > 0) {
        ssize_t w = write(fd, at, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? -errno : -ENOSPC;
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

static int write_last(struct audit *a, const struct audit_link *l) {
    char text[AUDIT_LAST_BYTES + 1];
    if (a->only_stream)
        return 0;
    audit_last_format(l, text);
    ssize_t n = pwrite(a->last_fd, text, AUDIT_LAST_BYTES, 0);
    return n == AUDIT_LAST_BYTES ? 0 : n < 0 ? -errno : -ENOSPC;
}

static void name_part(const struct audit *a, unsigned i, char to[PATH_BYTES + 8]) {
    snprintf(to, PATH_BYTES + 8, i ? "%s.%u" : "%s", a->path, i);
}

/* FILE becomes FILE.1, and so on; the chain goes on in a new one, which is made first: when that fails nothing has moved, and
 * no part is lost however often it is tried. A crash between two renames leaves a gap in the names only, which the reader
 * passes over. */
static int rotate(struct audit *a) {
    char from[PATH_BYTES + 8], to[PATH_BYTES + 8], fresh[PATH_BYTES + 8];
    snprintf(fresh, sizeof(fresh), "%s.new", a->path);
    if (fdatasync(a->fd) < 0)
        return err_origin(-errno);
    cleanup_fd int fd = open(fresh, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_origin(-errno);
    for (unsigned i = AUDIT_PARTS_MAX - 1; i-- > 0;) {
        name_part(a, i, from);
        name_part(a, i + 1, to);
        if (rename(from, to) < 0 && errno != ENOENT)
            return err_origin(-errno);
    }
    if (rename(fresh, a->path) < 0)
        return err_origin(-errno);
    fd_close(a->fd);
    a->fd = take_fd(fd);
    a->n_bytes = 0;
    return 0;
}

/* FILE.last comes second: after a crash it may be behind the chain, which is no harm, but never ahead of it. */
static int note(struct audit *a) {
    if (a->noted == a->head.seq || a->only_stream)
        return 0;
    if (fdatasync(a->fd) < 0)
        return err_origin(-errno);
    int r = write_last(a, &a->head);
    if (r != 0)
        return err_trace(r);
    a->noted = a->head.seq;
    a->note_is_loose = true;
    return 0;
}

int audit_settle(struct audit *a) {
    int r = note(a);
    if (r == 0 && a->note_is_loose && fdatasync(a->last_fd) < 0)
        r = -errno;
    if (r == 0)
        a->note_is_loose = false;
    return err_trace(r);
}

/* What a failed write left behind the last good line goes before anything else is written. */
static int mend(struct audit *a) {
    if (a->ragged && ftruncate(a->fd, (off_t)a->n_bytes) < 0)
        return err_origin(-errno);
    a->ragged = false;
    return 0;
}

int audit_flush(struct audit *a, bool durable) {
    if (!a->pending.n)
        return 0;
    struct audit_link before = a->head;
    int r = mend(a);
    if (r == 0 && a->n_bytes > 0 && a->n_bytes + a->pending.n > a->part_bytes)
        r = rotate(a);
    uint64_t n_before = a->n_bytes;
    if (r == 0) {
        r = write_whole(a->fd, a->pending.at, a->pending.n);
        a->ragged = r != 0 && !a->only_stream;
    }
    if (r == 0) {
        a->n_bytes += a->pending.n;
        a->head = a->next;
        r = durable ? note(a) : 0;
    }
    if (r != 0) { /* all of it is taken back */
        a->ragged |= a->n_bytes != n_before;
        a->n_bytes = n_before;
        a->head = a->next = before;
        a->noted = UINT64_MAX; /* unknown: it is written anew */
    }
    a->pending.n = 0;
    return r;
}

/* The last whole line of the part, and where it ends. The chain's beginning when there is none. */
static int find_end(int fd, uint64_t size, struct audit_link *ret, uint64_t *ret_end) {
    char tail[2 * AUDIT_LINE_MAX];
    size_t n = (size_t)min_of(size, (uint64_t)sizeof(tail));
    ssize_t got = pread(fd, tail, n, (off_t)(size - n));
    if (got < 0)
        return err_origin(-errno);
    size_t end = (size_t)got;
    while (end > 0 && tail[end - 1] != '\n')
        end--;
    *ret_end = size - (uint64_t)got + end;
    if (end == 0 && size > n) { /* far longer than a line of ours: it stays, as evidence */
        *ret_end = size;
        return 1;
    }
    if (end == 0)
        return 2; /* nothing but a torn line */
    size_t begin = end - 1;
    while (begin > 0 && tail[begin - 1] != '\n')
        begin--;
    struct str line = {tail + begin, end - 1 - begin};
    char prev[65];
    if (audit_line_read(line, &ret->seq, prev) != 0)
        return 1;
    tls_sha256_hex(line.at, line.n, ret->hash);
    return 0;
}

/* 0: found; 2: no line in any part. 1: the last line is none of ours. */
static int find_head(struct audit *a, uint64_t *ret_torn) {
    struct stat st;
    *ret_torn = 0;
    if (fstat(a->fd, &st) < 0)
        return err_origin(-errno);
    a->only_stream = !S_ISREG(st.st_mode);
    if (a->only_stream)
        return 2;
    if (flock(a->fd, LOCK_EX | LOCK_NB) < 0) /* two writers would fork the chain */
        return err_origin(-errno);
    uint64_t end = 0, size = (uint64_t)st.st_size;
    int r = size ? find_end(a->fd, size, &a->head, &end) : 2;
    if (r < 0)
        return r;
    *ret_torn = size - end;
    a->n_bytes = end;
    if (*ret_torn && ftruncate(a->fd, (off_t)end) < 0)
        return err_origin(-errno);
    if (r != 2)
        return r;
    /* A crash came after the renames and before the first line: the chain's end is in the part before. */
    char before[PATH_BYTES + 8];
    name_part(a, 1, before);
    cleanup_fd int fd = open(before, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
        return 2;
    return find_end(fd, (uint64_t)st.st_size, &a->head, &end);
}

/* Compares with FILE.last and says in `found` what is wrong; the chain then goes on from the higher of the two. */
static void compare_last(struct audit *a, uint64_t torn, bool foreign, char found[AUDIT_WHY_BYTES]) {
    char text[AUDIT_LAST_BYTES + 1];
    struct audit_link last;
    ssize_t n = pread(a->last_fd, text, sizeof(text), 0);
    struct text t = {.at = found, .cap = AUDIT_WHY_BYTES};
    found[0] = '\0';
    if (torn)
        text_addf(&t, "%llu bytes of a line that a crash tore were removed", (unsigned long long)torn);
    if (foreign)
        text_addf(&t, "%sthe last line is not one of this record", t.n ? "; " : "");
    if (n <= 0 && a->head.seq == 0)
        return;
    const char *also = t.n ? "; " : "";
    if (n < 0 || !audit_last_parse((struct str){text, (size_t)n}, &last)) {
        text_addf(&t, "%s%s.last is missing or unreadable, so a cut tail could not be seen", also, a->path);
        return;
    }
    if (last.seq > a->head.seq) {
        text_addf(&t, "%slines %llu to %llu are missing at the end", also, (unsigned long long)a->head.seq + 1,
                  (unsigned long long)last.seq);
        a->head = last; /* what is missing stays missing for every later check */
    } else if (last.seq == a->head.seq && memcmp(last.hash, a->head.hash, 64) != 0) {
        text_addf(&t, "%sthe last line, %llu, was changed", also, (unsigned long long)last.seq);
        a->head = last;
    }
}

int audit_open(const char *path, size_t part_bytes, int64_t now_s, struct audit **ret, char ret_found[AUDIT_WHY_BYTES]) {
    char last[PATH_BYTES + 8], found[AUDIT_WHY_BYTES] = "";
    struct audit *a = calloc(1, sizeof(*a));
    if (!a)
        return err_origin(-ENOMEM);
    a->last_fd = -1;
    a->part_bytes = part_bytes ? part_bytes : AUDIT_PART_BYTES;
    memset(a->head.hash, '0', 64);
    if (snprintf(a->path, sizeof(a->path), "%s", path) >= (int)sizeof(a->path)) {
        a->fd = -1;
        audit_close(a);
        return err_origin(-ENAMETOOLONG);
    }
    uint64_t torn = 0;
    snprintf(last, sizeof(last), "%s.last", path);
    a->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int r = a->fd < 0 ? -errno : find_head(a, &torn);
    if (r >= 0 && !a->only_stream && (a->last_fd = open(last, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        r = -errno;
    if (r >= 0 && !a->only_stream)
        compare_last(a, torn, r == 1, found);
    a->next = a->head;
    if (r >= 0 && found[0]) {
        struct audit_entry e = {.event = "audit-mended", .text = str_of(found)};
        r = audit_add(a, now_s, &e);
        if (r == 0)
            r = audit_flush(a, true);
    }
    if (r < 0) {
        audit_close(a);
        return err_trace(r);
    }
    if (ret_found)
        snprintf(ret_found, AUDIT_WHY_BYTES, "%s", found);
    *ret = a;
    return 0;
}
