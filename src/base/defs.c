/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/defs.c - the two cleanups that every room uses; neither disturbs errno, so they can run after a failure */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/defs.h>

void free_p(void *pp) {
    void **p = pp;
    free(*p);
    *p = NULL;
}

int fd_close(int fd) {
    if (fd >= 0) {
        int errno_before = errno;
        /* EBADF means that somebody closed a descriptor twice and may have closed another owner's: stop. */
        check(close(fd) == 0 || errno != EBADF);
        errno = errno_before;
    }
    return -1;
}

void fd_close_p(int *fd) { *fd = fd_close(*fd); }
