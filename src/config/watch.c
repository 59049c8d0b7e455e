/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/watch.c - see watch.h
 *
 * Directories are watched, not files: a rename into place gives a new inode, and a ..data swap is a rename in the
 * directory above. Watches are kept across sets by their descriptor number, which the kernel gives again for a directory
 * it already watches. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <ringwall/base/err.h>

#include "files.h"
#include "watch.h"

enum { WRITERS_MAX = 64, EVENT_BYTES = 16 * 1024 };
static const uint32_t event_mask = IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                                   IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

struct writer { /* a file that was modified and not closed since */
    int wd;
    char name[NAME_MAX + 1];
};
struct held {
    int wd;
    bool wanted;
};
struct watch {
    int fd;
    struct held *held;
    size_t n_held, cap_held;
    int parent_wd; /* -1: none, or it is one of the whole ones too */
    char parent_name[NAME_MAX + 1];
    struct writer writers[WRITERS_MAX];
    size_t n_writers;
};

int watch_new(struct watch **ret) {
    struct watch *w = calloc(1, sizeof(*w));
    if (!w)
        return err_origin(-ENOMEM);
    w->parent_wd = -1;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        int r = -errno;
        free(w);
        return err_origin(r);
    }
    *ret = w;
    return 0;
}

struct watch *watch_free(struct watch *w) {
    if (!w)
        return NULL;
    fd_close(w->fd);
    free(w->held);
    free(w);
    return NULL;
}

int watch_fd(const struct watch *w) { return w->fd; }
bool watch_is_writing(const struct watch *w) { return w->n_writers > 0; }
void watch_forget_writers(struct watch *w) { w->n_writers = 0; }

/* Where wd stands among the held ones, which are sorted, or would stand. */
static size_t place_of(const struct watch *w, int wd) {
    size_t low = 0, high = w->n_held;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->held[middle].wd < wd)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int hold(struct watch *w, int wd, bool *added) {
    size_t at = place_of(w, wd);
    if (at < w->n_held && w->held[at].wd == wd) {
        w->held[at].wanted = true;
        return 0;
    }
    if (w->n_held == w->cap_held) {
        size_t cap = max_of(w->cap_held * 2, (size_t)16);
        struct held *held = reallocarray(w->held, cap, sizeof(*held));
        if (!held)
            return err_origin(-ENOMEM);
        w->held = held;
        w->cap_held = cap;
    }
    memmove(w->held + at + 1, w->held + at, (w->n_held - at) * sizeof(*w->held));
    w->held[at] = (struct held){wd, true};
    w->n_held++;
    *added = true;
    return 0;
}

static void forget(struct watch *w, int wd) {
    size_t at = place_of(w, wd);
    if (at < w->n_held && w->held[at].wd == wd)
        memmove(w->held + at, w->held + at + 1, (--w->n_held - at) * sizeof(*w->held));
}

static void drop_unwanted(struct watch *w) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_held; i++) {
        if (w->held[i].wanted)
            w->held[n++] = w->held[i];
        else
            ignore_result(inotify_rm_watch(w->fd, w->held[i].wd)); /* the kernel may have dropped it with its directory */
    }
    w->n_held = n;
}

/* The watch of a directory, held. -1: it could not be had. */
static int watch_one(struct watch *w, struct str dir, bool *complete, bool *added, int *ret_wd) {
    cleanup_free char *path = str_dup(dir);
    if (!path)
        return err_origin(-ENOMEM);
    *ret_wd = inotify_add_watch(w->fd, path, event_mask);
    if (*ret_wd >= 0)
        return err_trace(hold(w, *ret_wd, added));
    *complete = false; /* gone meanwhile, or the user's limit of watches */
    return 0;
}

int watch_set(struct watch *w, struct str parent, struct str name, const struct str *dirs, size_t n, bool *ret_complete,
              bool *ret_added) {
    bool complete = true, added = false;
    int r, wd;
    for (size_t i = 0; i < w->n_held; i++)
        w->held[i].wanted = false;
    w->parent_wd = -1;
    if (parent.n) {
        struct text t = TEXT_OVER(w->parent_name);
        r = watch_one(w, parent, &complete, &added, &w->parent_wd);
        if (r)
            return err_trace(r);
        text_add(&t, name);
    }
    for (size_t i = 0; i < n; i++) {
        r = watch_one(w, dirs[i], &complete, &added, &wd);
        if (r)
            return err_trace(r);
        if (wd >= 0 && wd == w->parent_wd)
            w->parent_wd = -1;
    }
    drop_unwanted(w);
    *ret_complete = complete;
    *ret_added = added;
    return 0;
}

static void writer_closed(struct watch *w, const struct inotify_event *e) {
    for (size_t i = w->n_writers; i-- > 0;)
        if (w->writers[i].wd == e->wd && (e->len == 0 || !strcmp(w->writers[i].name, e->name)))
            w->writers[i] = w->writers[--w->n_writers];
}

static void writer_seen(struct watch *w, const struct inotify_event *e) {
    writer_closed(w, e);
    if (e->len == 0 || e->name[0] == '.' || !is_manifest_name(e->name))
        return;
    if (w->n_writers == WRITERS_MAX) /* such a file is read as it is */
        return;
    struct writer *to = &w->writers[w->n_writers++];
    to->wd = e->wd;
    strncpy(to->name, e->name, sizeof(to->name) - 1);
    to->name[sizeof(to->name) - 1] = 0;
}

static bool take_event(struct watch *w, const struct inotify_event *e) {
    if (e->mask & IN_Q_OVERFLOW) {
        w->n_writers = 0;
        return true;
    }
    if (e->wd == w->parent_wd && e->len > 0 && strcmp(e->name, w->parent_name) != 0)
        return false;
    if (e->mask & IN_IGNORED) {
        writer_closed(w, &(struct inotify_event){.wd = e->wd});
        forget(w, e->wd);
        return true;
    }
    if (e->mask & IN_MODIFY)
        writer_seen(w, e);
    else if (e->mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
        writer_closed(w, e);
    return true;
}

/* What is lost (a full queue) counts as a change too. */
bool watch_drain(struct watch *w) {
    _Alignas(struct inotify_event) char events[EVENT_BYTES];
    bool any = false;
    for (;;) {
        ssize_t n = read(w->fd, events, sizeof(events));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return any;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(events + at);
            any |= take_event(w, e);
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
}
