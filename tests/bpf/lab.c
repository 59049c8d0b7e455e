/* SPDX-License-Identifier: GPL-3.0-or-later
 * lab.c - see lab.h */
#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringwall/base/check.h>

struct lab lab;

int lab_sh(const char *fmt, ...) {
    char command[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    return system(command);
}

int lab_sh_in(int pod, const char *fmt, ...) {
    char command[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    return lab_sh("nsenter --net=%s sh -ec '%s'", lab.netns[pod], command);
}

static bool write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    fd_close(fd);
    return ok;
}

bool lab_move(const char *dir) {
    char path[512];
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    return write_file(path, "0");
}

static bool cgroup2_mount(char *to, size_t n) {
    FILE *f = fopen("/proc/self/mounts", "re");
    char line[1024], at[100], type[64];
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f))
        found = sscanf(line, "%*s %99s %63s", at, type) == 2 && !strcmp(type, "cgroup2");
    if (f)
        fclose(f);
    if (found)
        snprintf(to, n, "%s", at);
    return found;
}

static bool home_cgroup(const char *mount) {
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[512];
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f))
        found = !strncmp(line, "0::", 3);
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = '\0';
    if (found)
        snprintf(lab.home_cgroup, sizeof(lab.home_cgroup), "%.99s%.190s", mount, line + 3);
    return found;
}

static bool make_cgroups(void) {
    char mount[100];
    if (!cgroup2_mount(mount, sizeof(mount)) || !home_cgroup(mount))
        return false;
    /* What runs before this one left when they were killed; those that live hold theirs. */
    lab_sh("for d in %s/rw-capture-*; do kill -0 ${d##*-} 2>/dev/null || find $d -depth -type d -exec rmdir {} + 2>/dev/null; done",
           mount);
    snprintf(lab.root, sizeof(lab.root), "%s/rw-capture-%d", mount, getpid());
    snprintf(lab.daemon, sizeof(lab.daemon), "%s/daemon", lab.root);
    snprintf(lab.kubelet, sizeof(lab.kubelet), "%s/kubelet", lab.root);
    snprintf(lab.other, sizeof(lab.other), "%s/other", lab.root);
    bool ok =
        mkdir(lab.root, 0755) == 0 && mkdir(lab.daemon, 0755) == 0 && mkdir(lab.kubelet, 0755) == 0 && mkdir(lab.other, 0755) == 0;
    for (int i = 1; ok && i <= LAB_PODS; i++) {
        snprintf(lab.pod[i], sizeof(lab.pod[i]), "%s/pod%d", lab.root, i);
        snprintf(lab.inner[i], sizeof(lab.inner[i]), "%s/container/main", lab.pod[i]);
        ok = lab_sh("mkdir -p %s", lab.inner[i]) == 0;
    }
    return ok;
}

static bool make_pod(int i) {
    int ready[2];
    if (pipe(ready) < 0)
        return false;
    lab.holder[i] = fork();
    if (lab.holder[i] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bool ok = unshare(CLONE_NEWNET) == 0;
        ok = write(ready[1], ok ? "y" : "n", 1) == 1 && ok;
        while (ok)
            pause();
        _exit(1);
    }
    close(ready[1]);
    char yes = 'n';
    ssize_t n = read(ready[0], &yes, 1);
    close(ready[0]);
    snprintf(lab.netns[i], sizeof(lab.netns[i]), "/proc/%d/ns/net", lab.holder[i]);
    if (n != 1 || yes != 'y')
        return false;
    return lab_sh("ip link add rw-cap%d type veth peer name eth0 netns %d && ip addr add 10.77.%d.1/24 dev rw-cap%d && "
                  "ip -6 addr add fd77:%d::1/64 dev rw-cap%d nodad && ip link set rw-cap%d up",
                  i, lab.holder[i], i, i, i, i, i) == 0 &&
           lab_sh_in(i,
                     "ip link set lo up; ip addr add 10.77.%d.2/24 dev eth0; ip -6 addr add fd77:%d::2/64 dev eth0 nodad; ip link "
                     "set eth0 up; "
                     "ip route add default via 10.77.%d.1; ip -6 route add default via fd77:%d::1",
                     i, i, i, i) == 0;
}

int lab_open(void **state unused_arg) {
    if (geteuid() != 0) {
        puts("skipped: these tests load eBPF programs and make namespaces, they need root");
        exit(77);
    }
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !make_cgroups()) {
        printf("skipped: cannot make namespaces and cgroups (%s): CAP_SYS_ADMIN and a writable cgroup v2 are needed\n",
               strerror(errno));
        lab_close(NULL);
        exit(77);
    }
    snprintf(lab.bpffs, sizeof(lab.bpffs), "/sys/fs/bpf/rw-capture-%d", getpid());
    snprintf(lab.netns[0], sizeof(lab.netns[0]), "/proc/%d/ns/net", getpid());
    bool ok = lab_move(lab.daemon) && lab_sh("ip link set lo up") == 0 && write_file("/proc/sys/net/ipv4/ip_forward", "1") &&
              write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    for (int i = 1; ok && i <= LAB_PODS; i++)
        ok = make_pod(i);
    if (!ok)
        lab_close(NULL);
    return ok ? 0 : -1;
}

int lab_close(void **state unused_arg) {
    lab_kill_actors();
    for (int i = 1; i <= LAB_PODS; i++) {
        if (lab.holder[i] <= 0)
            continue;
        kill(lab.holder[i], SIGKILL);
        waitpid(lab.holder[i], NULL, 0);
    }
    if (lab.home_cgroup[0] && !lab_move(lab.home_cgroup))
        perror("cannot return to the cgroup we came from");
    return lab.root[0] && lab_sh("find %s -depth -type d -exec rmdir {} +", lab.root) != 0 ? -1 : 0;
}

/* --- addresses ------------------------------------------------------------------------------------------------------ */

static socklen_t address(int family, const char *text, uint16_t port, struct sockaddr_storage *ret) {
    *ret = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
    if (family == AF_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
        v6->sin6_port = htons(port);
        check(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
        return sizeof(*v6);
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    v4->sin_port = htons(port);
    check(inet_pton(AF_INET, text, &v4->sin_addr) == 1);
    return sizeof(*v4);
}

struct endpoint lab_endpoint(const struct sockaddr_storage *ss) {
    struct endpoint e = {0};
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)ss;
        memcpy(e.addr.bytes, &v6->sin6_addr, 16);
        e.port = ntohs(v6->sin6_port);
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)ss;
        e.addr.bytes[10] = e.addr.bytes[11] = 0xff;
        memcpy(e.addr.bytes + 12, &v4->sin_addr, 4);
        e.port = ntohs(v4->sin_port);
    }
    return e;
}

bool lab_is(const struct sockaddr_storage *ss, const char *text, int port) {
    struct sockaddr_storage want;
    address(strchr(text, ':') ? AF_INET6 : AF_INET, text, 0, &want);
    struct endpoint a = lab_endpoint(ss), b = lab_endpoint(&want);
    char is[INET6_ADDRSTRLEN];
    bool same = !memcmp(&a.addr, &b.addr, sizeof(a.addr)) && (port < 0 || a.port == port);
    if (!same)
        printf("expected %s port %d, got %s port %u\n", text, port, inet_ntop(AF_INET6, a.addr.bytes, is, sizeof(is)), a.port);
    return same;
}

static pid_t actors[64]; /* those that live */

static void note_actor(pid_t now, pid_t before) {
    for (size_t i = 0; i < array_size(actors); i++)
        if (actors[i] == before) {
            actors[i] = now;
            return;
        }
}

void lab_kill_actors(void) {
    for (size_t i = 0; i < array_size(actors); i++) {
        if (!actors[i])
            continue;
        kill(actors[i], SIGKILL);
        waitpid(actors[i], NULL, 0);
        actors[i] = 0;
    }
}

/* --- programs --------------------------------------------------------------------------------------------------------- */

static void names(int fd, struct report *r) {
    socklen_t n = sizeof(r->local), m = sizeof(r->peer);
    getsockname(fd, (struct sockaddr *)&r->local, &n);
    getpeername(fd, (struct sockaddr *)&r->peer, &m);
}

static int finish_nonblocking(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int e = ETIMEDOUT;
    socklen_t n = sizeof(e);
    if (poll(&p, 1, LAB_WAIT_MS) == 1)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
    return e;
}

static int dial(const struct act *a, int *ret_fd) {
    struct timeval wait = {.tv_sec = LAB_WAIT_MS / 1000};
    struct sockaddr_storage to, from;
    int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | (a->nonblocking ? SOCK_NONBLOCK : 0), a->protocol), on = 1;
    *ret_fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, a->device, (socklen_t)strlen(a->device)) < 0)
        return errno;
    if (a->bind_to) {
        socklen_t n = address(a->family, a->bind_to, a->bind_port, &from);
        if (bind(fd, (struct sockaddr *)&from, n) < 0)
            return errno;
    }
    socklen_t n = address(a->family, a->address, a->port, &to);
    if (a->fastopen)
        return sendto(fd, a->say, strlen(a->say), MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&to, n) < 0 ? errno : 0;
    if (connect(fd, (struct sockaddr *)&to, n) == 0)
        return 0;
    return errno == EINPROGRESS && a->nonblocking ? finish_nonblocking(fd) : errno;
}

static int talk(int fd, const struct act *a, struct report *r) {
    if (!a->say)
        return 0;
    if (!a->fastopen && send(fd, a->say, strlen(a->say), MSG_NOSIGNAL) < 0)
        return errno;
    ssize_t n = recv(fd, r->said, sizeof(r->said) - 1, 0);
    return n < 0 ? errno : 0;
}

static int serve(const struct act *a, struct report *r, int tell, int *ret_fd) {
    struct sockaddr_storage at;
    int on = 1, fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t n = address(a->family, a->address, a->port, &at);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 16) < 0)
        return errno;
    if (write(tell, "l", 1) != 1)
        return EPIPE;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, LAB_WAIT_MS) != 1)
        return ETIMEDOUT;
    int c = accept(fd, NULL, NULL);
    close(fd);
    *ret_fd = c;
    names(c, r);
    ssize_t got = recv(c, r->said, sizeof(r->said) - 1, 0);
    if (got < 0)
        return errno;
    char answer[80];
    snprintf(answer, sizeof(answer), "app:%s", r->said);
    return send(c, answer, strlen(answer), MSG_NOSIGNAL) < 0 ? errno : 0;
}

static _Noreturn void play(const char *cgroup, int pod, const struct act *a, int rx, int tx) {
    struct report r = {0};
    int fd = -1;
    char go;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int ns = open(lab.netns[pod], O_RDONLY | O_CLOEXEC);
    if (!lab_move(cgroup) || ns < 0 || setns(ns, CLONE_NEWNET) < 0)
        r.error = errno;
    for (int i = 0; r.error == 0 && i < a->again; i++) {
        r.error = dial(a, &fd);
        close(fd);
    }
    if (r.error == 0) {
        r.error = a->listen ? serve(a, &r, tx, &fd) : dial(a, &fd);
        if (!a->listen && r.error == 0) {
            r.error = talk(fd, a, &r);
            names(fd, &r);
        }
    }
    if (write(tx, &r, sizeof(r)) != sizeof(r) || read(rx, &go, 1) < 0)
        _exit(1);
    _exit(0);
}

/* Out of the way of descriptors 3 and 4. */
static void high_pipe(int to[2]) {
    int low[2];
    check(pipe2(low, O_CLOEXEC) == 0);
    for (int i = 0; i < 2; i++) {
        to[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 16);
        close(low[i]);
        check(to[i] >= 0);
    }
}

struct actor lab_start(const char *cgroup, int pod, const struct act *a) {
    int down[2], up[2];
    high_pipe(down);
    high_pipe(up);
    fflush(NULL);
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        /* Nothing of the daemon's but the two pipe ends, else its listeners would outlive it here. */
        check(dup2(down[0], 3) == 3 && dup2(up[1], 4) == 4 && close_range(5, ~0U, 0) == 0);
        play(cgroup, pod, a, 3, 4);
    }
    close(down[0]);
    close(up[1]);
    note_actor(pid, 0);
    struct actor actor = {.pid = pid, .rx = up[0], .tx = down[1]};
    char listening = 0;
    if (a->listen && read(actor.rx, &listening, 1) < 1)
        fprintf(stderr, "a program could not listen\n");
    return actor;
}

struct report lab_wait_report(struct actor *a) {
    struct report r = {.error = EPIPE};
    struct pollfd p = {.fd = a->rx, .events = POLLIN};
    if (poll(&p, 1, 4 * LAB_WAIT_MS) != 1 || read(a->rx, &r, sizeof(r)) != sizeof(r))
        r.error = EPIPE;
    return r;
}

void lab_leave(struct actor *a) {
    a->tx = fd_close(a->tx);
    waitpid(a->pid, NULL, 0);
    note_actor(0, a->pid);
    a->rx = fd_close(a->rx);
}

struct report lab_do(const char *cgroup, int pod, const struct act *a) {
    struct actor actor = lab_start(cgroup, pod, a);
    struct report r = lab_wait_report(&actor);
    lab_leave(&actor);
    return r;
}

int lab_accept(int listener, struct sockaddr_storage *ret_local, struct sockaddr_storage *ret_peer) {
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, LAB_WAIT_MS) != 1)
        return -1;
    socklen_t n = sizeof(*ret_peer), m = sizeof(*ret_local);
    int fd = accept4(listener, (struct sockaddr *)ret_peer, &n, SOCK_CLOEXEC);
    if (fd >= 0)
        getsockname(fd, (struct sockaddr *)ret_local, &m);
    return fd;
}
