/* SPDX-License-Identifier: GPL-3.0-or-later
 * detach.c - removes everything that capture pinned or set, with or without a daemon
 *
 * The one way that opens the node again, and only a human asks for it. Goes on after a failure and reports the first. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/err.h>

#include "private.h"

struct sweep {
    int first; /* failure */
    char *why;
};

static void note(struct sweep *s, int r, const char *what, const char *path) {
    if (r >= 0 || s->first < 0)
        return;
    s->first = r;
    why_set(s->why, "cannot %s %s: %s", what, path, strerror(-r));
}

static int link_remove(const char *dir, const char *name, void *context) {
    char path[CAPTURE_PATH_BYTES];
    int r = pin_path(path, "%s/%s", dir, name);
    note(context, r < 0 ? r : kernel_detach_link(path), "detach", name);
    return 0;
}

static int pod_remove(const char *dir, const char *name, void *context) {
    link_remove(dir, name, context);
    uint64_t ino;
    cleanup_fd int fd = -1;
    if (!str_u64(str_of(name), UINT64_MAX, &ino) || netns_find(ino, &fd) != 0)
        return 0; /* the namespace is gone, and its rules with it */
    cleanup_visit struct netns_visit v = NETNS_VISIT_NULL;
    int r = netns_enter(fd, &v);
    note(context, r < 0 ? r : rtnetlink_remove(), "remove rules and routes of network namespace", name);
    return 0;
}

static int file_remove(const char *dir, const char *name, void *context) {
    char path[CAPTURE_PATH_BYTES];
    int r = pin_path(path, "%s/%s", dir, name);
    if (r == 0 && remove(path) < 0 && errno != ENOENT)
        r = -errno;
    note(context, r, "remove", name);
    return 0;
}

static void folder_empty(struct sweep *s, const char *dir, const char *name,
                         int (*f)(const char *dir, const char *name, void *context)) {
    char path[CAPTURE_PATH_BYTES];
    int r = pin_path(path, "%s/%s", dir, name);
    if (r == 0)
        r = pin_each(path, f, s);
    note(s, r, "read", name);
}

int capture_detach_all(const char *bpffs, const char *node, char why[CAPTURE_WHY_BYTES]) {
    char dir[CAPTURE_PATH_BYTES];
    why[0] = '\0';
    int r = pin_node_dir(bpffs, node, dir, why);
    if (r < 0)
        return err_trace(r);
    struct stat st;
    if (stat(dir, &st) < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return err_origin(-errno);
        why_set(why, "nothing to remove: there is no %s", dir);
        return CAPTURE_NOTHING;
    }
    if (!pin_is_bpffs(dir)) {
        why_set(why, "%s is no bpffs: capture.bpffs names another place than the daemon used", dir);
        return err_origin(-EINVAL);
    }
    struct sweep s = {.why = why};
    folder_empty(&s, dir, "links", link_remove);
    folder_empty(&s, dir, "pods", pod_remove);
    folder_empty(&s, dir, "maps", file_remove);
    r = pin_each(dir, file_remove, &s);
    note(&s, r, "read", dir);
    if (s.first == 0 && rmdir(dir) < 0)
        note(&s, -errno, "remove", dir);
    return err_origin(s.first);
}
