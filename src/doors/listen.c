/* SPDX-License-Identifier: GPL-3.0-or-later
 * listen.c - the sockets' files: made beside their place and moved there, so that whoever finds one finds it listening
 *
 * A socket that an earlier life left is replaced by the move. One that somebody listens on is not ours to take, and neither
 * is any other kind of file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>

#include "private.h"

enum { LISTEN_BACKLOG = 256 };
static const char new_suffix[] = ".new";

static int make_parent(const char *path, char why[256]) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    cleanup_free char *parent = str_dup((struct str){path, (size_t)(slash - path)});
    if (!parent)
        return err_origin(-ENOMEM);
    int r = io_make_dirs(parent, 0755); /* programs of every user pass through it */
    if (r == 0)
        return 0;
    snprintf(why, 256, "%.160s: the directory cannot be made: %s", parent, strerror(-r));
    return 1;
}

/* 0: the place is free, or a dead socket is there; 1 with why. */
static int judge_place(const struct sockaddr_un *a, char why[256]) {
    struct stat st;
    if (lstat(a->sun_path, &st) < 0) {
        if (errno == ENOENT)
            return 0;
        snprintf(why, 256, "%s: %s", a->sun_path, strerror(errno));
        return 1;
    }
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(why, 256, "%s exists and is no socket: move it away, or name another path", a->sun_path);
        return 1;
    }
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_origin(-errno);
    if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED)
        return 0;
    snprintf(why, 256, "%s: somebody listens there already: stop it, or name another path", a->sun_path);
    return 1;
}

int listen_local(const char *path, int *ret_fd, dev_t *ret_dev, ino_t *ret_ino, char why[256]) {
    struct sockaddr_un place = {.sun_family = AF_UNIX}, beside = {.sun_family = AF_UNIX};
    if (strlen(path) + sizeof(new_suffix) > sizeof(place.sun_path)) {
        snprintf(why, 256, "the socket's path is too long, at most %zu bytes: %.100s...",
                 sizeof(place.sun_path) - sizeof(new_suffix), path);
        return 1;
    }
    memcpy(place.sun_path, path, strlen(path) + 1);
    snprintf(beside.sun_path, sizeof(beside.sun_path), "%.100s%s", path, new_suffix);
    int r = make_parent(path, why);
    if (r == 0)
        r = judge_place(&place, why);
    if (r != 0)
        return err_trace(r);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;
    if (fd < 0)
        return err_origin(-errno);
    if (unlink(beside.sun_path) < 0 && errno != ENOENT) {
        snprintf(why, 256, "%s: cannot be removed: %s", beside.sun_path, strerror(errno));
        return 1;
    }
    if (bind(fd, (const struct sockaddr *)&beside, sizeof(beside)) < 0 || chmod(beside.sun_path, 0666) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0 || lstat(beside.sun_path, &st) < 0 || rename(beside.sun_path, path) < 0) {
        snprintf(why, 256, "%s: cannot listen: %s", path, strerror(errno));
        ignore_result(unlink(beside.sun_path)); /* maybe it was not made */
        return 1;
    }
    *ret_dev = st.st_dev;
    *ret_ino = st.st_ino;
    *ret_fd = take_fd(fd);
    return 0;
}

void listen_remove(const char *path, dev_t dev, ino_t ino) {
    struct stat st;
    if (lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
        ignore_result(unlink(path)); /* another daemon finds it dead, and replaces it */
}
