/* SPDX-License-Identifier: GPL-3.0-or-later
 * audit.c - the CA's record, an append-only file of JSON lines */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/wire/json.h>

#include "audit.h"

struct audit {
    int fd;
};

int audit_open(const char *path, struct audit **ret) {
    cleanup_fd int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    struct audit *a = calloc(1, sizeof(*a));
    if (!a)
        return err_origin(-ENOMEM);
    a->fd = take_fd(fd);
    *ret = a;
    return 0;
}

struct audit *audit_close(struct audit *a) {
    if (a)
        fd_close(a->fd);
    free(a);
    return NULL;
}

static void write_time(struct json_writer *w, const char *key, int64_t s) {
    char text[RFC3339_BYTES];
    clock_rfc3339(s * (int64_t)NS_PER_S, text, false);
    json_z(w, key, text);
}

int audit_write(struct audit *a, int64_t now_s, const struct audit_entry *e) {
    struct growing line cleanup(growing_deinit) = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &line, false);
    json_object(&w, NULL);
    write_time(&w, "time", now_s);
    json_z(&w, "event", e->issued ? "issued" : "refused");
    json_str(&w, "caller", e->caller);
    json_str(&w, "identity", e->identity);
    if (e->issued) {
        json_z(&w, "serial", e->serial_hex);
        write_time(&w, "notBefore", e->not_before);
        write_time(&w, "notAfter", e->not_after);
    } else
        json_z(&w, "reason", e->reason);
    json_end(&w);
    growing_add(&line, STR("\n"));
    if (line.failed)
        return err_origin(-ENOMEM);
    /* One write of a short line to an O_APPEND file is whole or an error (a full disk may leave a part: also an error). */
    ssize_t n = write(a->fd, line.at, line.n);
    if (n < 0 || (size_t)n != line.n)
        return n < 0 ? -errno : -ENOSPC;
    return fdatasync(a->fd) < 0 ? -errno : 0;
}
