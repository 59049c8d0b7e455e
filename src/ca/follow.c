/* SPDX-License-Identifier: GPL-3.0-or-later
 * follow.c - see follow.h */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/str.h>

#include "follow.h"

static const uint32_t event_mask = IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                                   IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

struct mark {
    dev_t dev;
    ino_t ino;
    off_t n;
    struct timespec changed, status;
};
struct followed {
    char *path;
    struct mark mark;
};
struct follow {
    int fd;
    struct followed files[FOLLOW_FILES_MAX];
    size_t n;
    uint64_t first_ns, last_ns; /* of the events not yet told; 0: none */
    uint64_t look_ns;           /* the next look */
};

static struct mark mark_of(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct mark){0};
    return (struct mark){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool time_same(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool mark_same(const struct mark *a, const struct mark *b) {
    return a->dev == b->dev && a->ino == b->ino && a->n == b->n && time_same(&a->changed, &b->changed) &&
           time_same(&a->status, &b->status);
}

int follow_new(struct follow **ret) {
    struct follow *f = calloc(1, sizeof(*f));
    if (!f)
        return err_origin(-ENOMEM);
    f->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (f->fd < 0) {
        int r = -errno;
        free(f);
        return err_origin(r);
    }
    *ret = f;
    return 0;
}

struct follow *follow_free(struct follow *f) {
    if (!f)
        return NULL;
    fd_close(f->fd);
    for (size_t i = 0; i < f->n; i++)
        free(f->files[i].path);
    free(f);
    return NULL;
}

int follow_fd(const struct follow *f) { return f->fd; }

static void watch_folder_of(struct follow *f, const char *path) {
    cleanup_free char *folder = str_dup(str_of(path));
    char *slash = folder ? strrchr(folder, '/') : NULL;
    if (!folder)
        return;
    if (slash)
        slash[slash == folder] = '\0';
    ignore_result(inotify_add_watch(f->fd, slash ? folder : ".", event_mask)); /* not there, or out of watches: the look finds it */
}

/* The kernel gives the watch it has for a folder that is watched already. */
static void watch(struct follow *f, const char *path) {
    char real[PATH_MAX];
    if (!path[0]) /* none is configured: only its number counts */
        return;
    watch_folder_of(f, path);
    if (realpath(path, real))
        watch_folder_of(f, real);
}

int follow_add(struct follow *f, const char *path) {
    if (f->n == FOLLOW_FILES_MAX)
        return 1;
    char *copy = str_dup(str_of(path));
    if (!copy)
        return err_origin(-ENOMEM);
    f->files[f->n++] = (struct followed){copy, mark_of(copy)};
    watch(f, copy);
    return 0;
}

static bool drain(struct follow *f) {
    _Alignas(struct inotify_event) char events[16 * 1024];
    bool any = false;
    for (;;) {
        ssize_t n = read(f->fd, events, sizeof(events));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return any;
        any = true;
    }
}

static bool look(struct follow *f, struct follow_set *ret) {
    bool any = false;
    *ret = (struct follow_set){0};
    for (size_t i = 0; i < f->n; i++) {
        struct mark now = mark_of(f->files[i].path);
        if (mark_same(&now, &f->files[i].mark))
            continue;
        f->files[i].mark = now;
        ret->bits[i / 64] |= 1ull << (i % 64);
        watch(f, f->files[i].path);
        any = true;
    }
    return any;
}

bool follow_due(struct follow *f, uint64_t mono_ns, struct follow_set *ret_files, int *ret_wait_ms) {
    if (drain(f)) {
        f->last_ns = mono_ns;
        if (!f->first_ns)
            f->first_ns = mono_ns;
    }
    if (!f->look_ns)
        f->look_ns = mono_ns + FOLLOW_LOOK_MS * NS_PER_MS;
    if (f->first_ns) {
        uint64_t due_ns = min_of(f->last_ns + FOLLOW_QUIET_MS * NS_PER_MS, f->first_ns + FOLLOW_LATE_MS * NS_PER_MS);
        if (mono_ns < due_ns) {
            *ret_wait_ms = (int)((due_ns - mono_ns + NS_PER_MS - 1) / NS_PER_MS);
            return false;
        }
    } else if (mono_ns < f->look_ns) {
        *ret_wait_ms = (int)((f->look_ns - mono_ns + NS_PER_MS - 1) / NS_PER_MS);
        return false;
    }
    f->first_ns = f->last_ns = 0;
    f->look_ns = mono_ns + FOLLOW_LOOK_MS * NS_PER_MS;
    *ret_wait_ms = FOLLOW_LOOK_MS;
    return look(f, ret_files);
}
