/* SPDX-License-Identifier: GPL-3.0-or-later
 * netns.c - network namespaces: open, visit, recognise
 *
 * setns moves one thread. A visit is as short as the calls that need it, and a thread that cannot come home must not go
 * on: its next socket would be made in a pod. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "private.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int netns_ino(int fd, uint64_t *ret) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_origin(-errno);
    *ret = st.st_ino;
    return 0;
}

int netns_open(const char *path, int *ret_fd, uint64_t *ret_ino) {
    /* O_NONBLOCK: the path comes from a file and may name a FIFO. */
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
        return 1;
    int r = netns_ino(fd, ret_ino);
    if (r < 0)
        return err_trace(r);
    *ret_fd = take_fd(fd);
    return 0;
}

int netns_enter(int fd, struct netns_visit *ret) {
    cleanup_fd int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0 || setns(fd, CLONE_NEWNET) < 0)
        return err_origin(-errno);
    ret->home = take_fd(home);
    return 0;
}

void netns_leave(struct netns_visit *v) {
    if (v->home < 0)
        return;
    int e = errno;
    if (setns(v->home, CLONE_NEWNET) < 0)
        unreachable_because("a thread could not return to its network namespace");
    v->home = fd_close(v->home);
    errno = e;
}

int netns_cookie(int socket_fd, uint64_t *ret) {
    socklen_t n = sizeof(*ret);
    if (getsockopt(socket_fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &n) < 0)
        return err_origin(-errno);
    return *ret != 0 ? 0 : err_origin(-ENOTSUP);
}

int capture_netns_socket(int netns_fd, int family, int *ret_fd) {
    cleanup_visit struct netns_visit v = NETNS_VISIT_NULL;
    int r = netns_enter(netns_fd, &v);
    if (r < 0)
        return err_trace(r);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_origin(-errno);
    *ret_fd = fd;
    return 0;
}

static bool is_it(const char *path, uint64_t ino, int *ret_fd) {
    cleanup_fd int fd = -1;
    uint64_t got = 0;
    if (netns_open(path, &fd, &got) != 0 || got != ino)
        return false;
    *ret_fd = take_fd(fd);
    return true;
}

/* Named namespaces are bind mounts of nsfs: " net:[4026532281] /run/netns/x " */
static bool find_mounted(uint64_t ino, int *ret_fd) {
    char wanted[64];
    snprintf(wanted, sizeof(wanted), " net:[%llu] ", (unsigned long long)ino);
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return false;
    cleanup_free char *line = NULL;
    size_t cap = 0;
    bool found = false;
    while (!found && getline(&line, &cap, f) > 0) {
        char *at = strstr(line, wanted);
        if (!at)
            continue;
        at += strlen(wanted);
        at[strcspn(at, " ")] = '\0';
        found = is_it(at, ino, ret_fd);
    }
    fclose(f);
    return found;
}

int netns_find(uint64_t ino, int *ret_fd) {
    if (find_mounted(ino, ret_fd))
        return 0;
    DIR *d = opendir("/proc");
    if (!d)
        return err_origin(-errno);
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(d));) {
        char path[64];
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || strlen(e->d_name) > 10)
            continue;
        snprintf(path, sizeof(path), "/proc/%.10s/ns/net", e->d_name);
        found = is_it(path, ino, ret_fd);
    }
    closedir(d);
    return found ? 0 : 1;
}
