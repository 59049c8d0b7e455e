/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/io.c - see io.h
 *
 * Buffers may hold keys, so one that is given up (grown out of, or on failure) is wiped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/io.h>
#include <ringwall/base/secret.h>

struct wiped {
    char *at;
    size_t cap;
};

static void wiped_free(struct wiped *w) {
    if (w->at)
        secret_wipe(w->at, w->cap);
    free(w->at);
    *w = (struct wiped){0};
}

static int wiped_grow(struct wiped *w, size_t n_used, size_t cap) {
    cleanup(wiped_free) struct wiped larger = {.at = malloc(cap), .cap = cap};
    if (!larger.at)
        return err_origin(-ENOMEM);
    if (n_used)
        memcpy(larger.at, w->at, n_used);
    struct wiped smaller = *w;
    *w = larger;
    larger = smaller;
    return 0;
}

int io_read_file(const char *path, size_t n_max, char **ret, size_t *ret_n) {
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_origin(-errno);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_origin(-errno);
    if (!S_ISREG(st.st_mode))
        return err_origin(-ENOTSUP);
    if (n_max > SIZE_MAX / 4)
        n_max = SIZE_MAX / 4;
    if (st.st_size > 0 && (uint64_t)st.st_size > n_max)
        return err_origin(-EFBIG);

    /* The size is a hint only (0 in /proc, and a file may grow while it is read); one byte more shows the end. */
    enum { READ_BYTES_MIN = 4096 };
    cleanup(wiped_free) struct wiped w = {0};
    size_t n = 0;
    int r = wiped_grow(&w, 0, max_of((size_t)st.st_size, (size_t)READ_BYTES_MIN) + 2);
    if (r)
        return err_trace(r);
    for (;;) {
        if (w.cap - n < 2) {
            r = wiped_grow(&w, n, w.cap * 2);
            if (r)
                return err_trace(r);
        }
        ssize_t n_now = read(fd, w.at + n, w.cap - n - 1);
        if (n_now < 0 && errno == EINTR)
            continue;
        if (n_now < 0)
            return err_origin(-errno);
        if (n_now == 0)
            break;
        n += (size_t)n_now;
        if (n > n_max)
            return err_origin(-EFBIG);
    }
    w.at[n] = 0;
    *ret = take_ptr(w.at);
    *ret_n = n;
    return 0;
}

static int write_all(int fd, const void *bytes, size_t n) {
    const char *at = bytes;
    while (n > 0) {
        ssize_t n_now = write(fd, at, n);
        if (n_now < 0 && errno == EINTR)
            continue;
        if (n_now < 0)
            return err_origin(-errno);
        at += n_now;
        n -= (size_t)n_now;
    }
    return 0;
}

static int sync_directory(const char *directory) {
    cleanup_fd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return err_origin(-errno);
    return 0;
}

/* cleanup: a temporary file that was not renamed goes away, keeping errno. */
static void unlink_free(char **path) {
    int errno_before = errno;
    if (*path)
        ignore_result(unlink(*path)); /* the error that brought us here counts more */
    free_p(path);
    errno = errno_before;
}

int io_write_file(const char *path, const void *bytes, size_t n, mode_t mode) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    if (!*base)
        return err_origin(-EISDIR);
    cleanup_free char *directory = !slash ? strdup(".") : slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    cleanup_free char *pattern = NULL;
    /* Hidden, so that nobody who lists the directory takes it for a file of the user's. */
    if (!directory || asprintf(&pattern, "%s/.%s.XXXXXX", directory, base) < 0) {
        pattern = NULL;
        return err_origin(-ENOMEM);
    }
    cleanup_fd int fd = mkostemp(pattern, O_CLOEXEC);
    if (fd < 0)
        return err_origin(-errno);
    cleanup(unlink_free) char *temporary = take_ptr(pattern);
    int r = write_all(fd, bytes, n);
    if (r)
        return err_trace(r);
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return err_origin(-errno);
    if (rename(temporary, path) < 0)
        return err_origin(-errno);
    free(take_ptr(temporary));
    return err_trace(sync_directory(directory));
}

int io_make_dirs(const char *path, mode_t mode) {
    cleanup_free char *copy = strdup(path);
    if (!copy)
        return err_origin(-ENOMEM);
    for (char *at = copy; *at;) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char after = *at;
        *at = 0;
        if (*copy && mkdir(copy, mode) < 0 && errno != EEXIST)
            return err_origin(-errno);
        *at = after;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return err_origin(-errno);
    return S_ISDIR(st.st_mode) ? 0 : err_origin(-ENOTDIR);
}
