/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/publish_load.c - the two ends of publish_latency.py, and the mesh that it publishes
 *
 *   publish_load server PORT                     echoes what comes
 *   publish_load client ADDRESS PORT RATE        one connection, RATE messages a second; stops at the end of stdin
 *   publish_load mesh DIR N_FILES VARIANT        10,000 policies and workloads, 2,000 services; no file is as in another variant
 *
 * The client's load is open: message i is due at a time fixed beforehand, whatever became of those before it, and its
 * latency counts from that time. So an answer that was late makes all those late that waited behind it, as users would
 * see it. Each answer is a line on stdout: when it was due and how late it came, both in ns, kept until the end. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/tcp.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

#include "manifests.h"

enum { MESSAGE_BYTES = 64, N_MAX = 10 * 1000 * 1000, N_OBJECTS = 10000, N_SERVICES = 2000 };
#define usage() (fprintf(stderr, "usage: publish_load server PORT | client ADDRESS PORT RATE | mesh DIR N_FILES VARIANT\n"), 2)

static void set_nodelay(int fd) { check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) == 0); }

static int serve(uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char bytes[64 * MESSAGE_BYTES];

    check(door >= 0 && setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0);
    check(bind(door, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(door, 16) == 0);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        cleanup_fd int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);
        check(fd >= 0);
        set_nodelay(fd);
        for (ssize_t n; (n = read(fd, bytes, sizeof(bytes))) > 0;)
            check(send(fd, bytes, (size_t)n, MSG_NOSIGNAL) == n);
    }
}

struct load {
    int fd;
    uint64_t began_ns, period_ns;
    size_t n_sent, n_bytes_back;
    uint32_t *late_ns; /* of each answer */
};

static uint64_t due_ns(const struct load *l, size_t i) { return l->began_ns + i * l->period_ns; }

static void send_due(struct load *l) {
    static const char message[MESSAGE_BYTES];
    for (uint64_t now = clock_mono_ns(); l->n_sent < N_MAX && due_ns(l, l->n_sent) <= now; l->n_sent++)
        check(send(l->fd, message, sizeof(message), MSG_NOSIGNAL) == MESSAGE_BYTES);
}

static void read_answers(struct load *l) {
    char bytes[64 * MESSAGE_BYTES];
    ssize_t n = recv(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    check(n > 0 || (n < 0 && errno == EAGAIN));
    uint64_t now = clock_mono_ns();
    size_t i = l->n_bytes_back / MESSAGE_BYTES;
    l->n_bytes_back += n > 0 ? (size_t)n : 0;
    for (; i < l->n_bytes_back / MESSAGE_BYTES; i++)
        l->late_ns[i] = (uint32_t)min_of(now - due_ns(l, i), (uint64_t)UINT32_MAX);
}

static int load(const char *address, uint16_t port, unsigned rate) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct load l = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .period_ns = NS_PER_S / rate};

    l.late_ns = calloc(N_MAX, sizeof(*l.late_ns));
    check(l.late_ns && l.fd >= 0 && inet_pton(AF_INET, address, &to.sin_addr) == 1);
    check(connect(l.fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    set_nodelay(l.fd);
    check(prctl(PR_SET_TIMERSLACK, 1UL) == 0); /* or the timer itself is late */
    l.began_ns = clock_mono_ns();
    for (;;) {
        send_due(&l);
        struct pollfd fds[] = {{.fd = l.fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        uint64_t now = clock_mono_ns(), due = due_ns(&l, l.n_sent), left = due > now ? due - now : 0;
        check(ppoll(fds, array_size(fds), &(struct timespec){.tv_nsec = (long)left}, NULL) >= 0 || errno == EINTR);
        if (fds[0].revents)
            read_answers(&l);
        if (fds[1].revents)
            break;
    }
    for (size_t i = 0; i < l.n_bytes_back / MESSAGE_BYTES; i++)
        printf("%llu %u\n", (unsigned long long)due_ns(&l, i), l.late_ns[i]);
    return 0;
}

static int write_mesh(const char *dir, unsigned n_files, const char *variant) {
    for (unsigned file = 0; file < n_files; file++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/mesh-%03u.yaml", dir, file);
        FILE *f = fopen(path, "we");
        check(f);
        fprintf(f, "# %s\n", variant);
        for (unsigned i = file; i < N_OBJECTS; i += n_files) {
            manifest_pod_minimal(f, i);
            manifest_policy_minimal(f, i);
        }
        for (unsigned i = file; i < N_SERVICES; i += n_files)
            manifest_service_minimal(f, i);
        check(fclose(f) == 0);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "server") && argc == 3)
        return serve((uint16_t)atoi(argv[2]));
    if (!strcmp(what, "client") && argc == 5 && atoi(argv[4]) > 0)
        return load(argv[2], (uint16_t)atoi(argv[3]), (unsigned)atoi(argv[4]));
    if (!strcmp(what, "mesh") && argc == 5 && atoi(argv[3]) > 0)
        return write_mesh(argv[2], (unsigned)atoi(argv[3]), argv[4]);
    return usage();
}
