/* SPDX-License-Identifier: GPL-3.0-or-later
 * pin.c - the folder below the bpffs: <bpffs>/<node>/{maps,links,pods/<netns inode>}
 *
 * What is pinned outlives the process, which is what makes capture fail closed. The kernel forbids dots in names below
 * a bpffs, host names have them: a dot becomes '+', which no node name may hold. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/io.h>

#include "private.h"

static bool node_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

int pin_path(char to[CAPTURE_PATH_BYTES], const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(to, CAPTURE_PATH_BYTES, fmt, ap);
    va_end(ap);
    return n < 0 || n >= CAPTURE_PATH_BYTES ? err_origin(-ENAMETOOLONG) : 0;
}

int pin_node_dir(const char *bpffs, const char *node, char ret[CAPTURE_PATH_BYTES], char why[CAPTURE_WHY_BYTES]) {
    size_t n = node ? strlen(node) : 0;
    bool good = n > 0 && n <= NAME_MAX && bpffs && bpffs[0] == '/';
    for (size_t i = 0; i < n; i++)
        good = good && node_char(node[i]);
    if (!good) {
        why_set(why, "cannot name the pin folder: `node` must be 1 to %d of A-Za-z0-9._- and `capture.bpffs` an absolute path",
                NAME_MAX);
        return err_origin(-EINVAL);
    }
    char folder[NAME_MAX + 1];
    for (size_t i = 0; i <= n; i++)
        folder[i] = node[i] == '.' ? '+' : node[i];
    return pin_path(ret, "%s/%s", bpffs, folder);
}

bool pin_is_bpffs(const char *path) {
    struct statfs s;
    return statfs(path, &s) == 0 && s.f_type == BPF_FS_MAGIC;
}

static int mount_bpffs(const char *path, char why[CAPTURE_WHY_BYTES]) {
    if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0)
        return 0;
    int r = -errno;
    why_set(why, "cannot mount a bpffs on %s: %s; mount one there (`mount -t bpf bpf %s`) or set capture.bpffs", path, strerror(-r),
            path);
    return err_origin(r);
}

/* On a host without systemd nothing mounts the usual place: it is an empty directory of sysfs, in which none can be made. */
static int usual_place(const char *bpffs, char why[CAPTURE_WHY_BYTES]) {
    static const char place[] = "/sys/fs/bpf";
    if (strncmp(bpffs, place, sizeof(place) - 1) != 0 || pin_is_bpffs(place) || access(place, F_OK) != 0)
        return 0;
    return mount_bpffs(place, why);
}

int pin_prepare(const char *bpffs, const char *dir, char why[CAPTURE_WHY_BYTES]) {
    int r = usual_place(bpffs, why);
    if (r < 0)
        return err_trace(r);
    r = io_make_dirs(bpffs, 0700);
    if (r < 0) {
        why_set(why, "cannot make %s: %s; set capture.bpffs to a directory that root can write", bpffs, strerror(-r));
        return err_trace(r);
    }
    if (!pin_is_bpffs(bpffs)) {
        r = mount_bpffs(bpffs, why);
        if (r < 0)
            return err_trace(r);
    }
    static const char *const folders[] = {"", "/maps", "/links", "/pods"};
    for (size_t i = 0; i < array_size(folders); i++) {
        char path[CAPTURE_PATH_BYTES];
        r = pin_path(path, "%s%s", dir, folders[i]);
        if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
            r = -errno;
        if (r < 0) {
            why_set(why, "cannot make the pin folder %s%s: %s", dir, folders[i], strerror(-r));
            return err_origin(r);
        }
    }
    return 0;
}

int pin_lock(const char *dir, int *ret_fd, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        if (r == -EWOULDBLOCK)
            why_set(why, "another ringwall captures as this node (%s is locked): stop it, or give each its own `node` name", dir);
        else
            why_set(why, "cannot lock %s: %s", dir, strerror(-r));
        return err_origin(r);
    }
    *ret_fd = take_fd(fd);
    return 0;
}

static void dir_close_p(DIR **d) {
    if (*d)
        closedir(*d);
}

int pin_each(const char *dir, int (*f)(const char *dir, const char *name, void *context), void *context) {
    cleanup(dir_close_p) DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : err_origin(-errno);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        int r = f(dir, e->d_name, context);
        if (r != 0)
            return r;
    }
    return 0;
}
