/* SPDX-License-Identifier: GPL-3.0-or-later
 * The relay path: an application's bytes through two in-process proxies (capture's listener, HTTP/2, TLS 1.3, HTTP/2, the
 * application's socket) against the same bytes over plain loopback, in the same run. What counts is gigabytes a second of
 * CPU time, all threads and the kernel's share included; the applications' own is measured apart. Rounds alternate, medians
 * are printed. One line a measurement: name TAB GB/s TAB GB a CPU second. Needs root, for a network namespace of its own. */
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/log.h>

#include "lab.h"

#include "micro.h"

enum { ROUNDS = 5, PIECE = 128 * 1024 };
static const size_t round_bytes = (size_t)512 * 1024 * 1024;

static struct lab lab;
static int app_fd;
static uint16_t app_port;

struct result {
    double bytes_per_s, bytes_per_cpu_s, app_cpu_share;
};

static double seconds(clockid_t id) {
    struct timespec t;
    check(clock_gettime(id, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct end {
    int fd;
    double cpu_s;
};

static void *send_all(void *argument) {
    struct end *e = argument;
    static char piece[PIECE];
    for (size_t left = round_bytes; left; left -= PIECE)
        lab_send(e->fd, piece, PIECE);
    shutdown(e->fd, SHUT_WR);
    e->cpu_s = seconds(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void *read_all(void *argument) {
    struct end *e = argument;
    static char piece[PIECE];
    size_t got = 0;
    for (ssize_t n; (n = recv(e->fd, piece, PIECE, 0)) > 0;)
        got += (size_t)n;
    check(got == round_bytes);
    e->cpu_s = seconds(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static int dial_direct(void) {
    struct endpoint to = {.port = app_port};
    struct sockaddr_storage ss;
    check(addr_parse(STR(LAB_SERVER4), &to.addr));
    unsigned n = endpoint_to_sockaddr(&to, false, &ss);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0 && connect(fd, (struct sockaddr *)&ss, n) == 0);
    return fd;
}

static struct result one_round(bool through, bool upload) {
    int c = through ? lab_dial(&lab, false, LAB_SERVER4, app_port) : dial_direct(), s = lab_accept(app_fd);
    struct end from = {.fd = upload ? c : s}, to = {.fd = upload ? s : c};
    pthread_t threads[2];
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    check(pthread_create(&threads[0], NULL, send_all, &from) == 0 && pthread_create(&threads[1], NULL, read_all, &to) == 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    close(c);
    close(s);
    return (struct result){(double)round_bytes / wall, (double)round_bytes / cpu, (from.cpu_s + to.cpu_s) / cpu};
}

static double median_of(const struct result *r, size_t field) {
    double v[ROUNDS];
    for (int i = 0; i < ROUNDS; i++)
        memcpy(&v[i], (const char *)&r[i] + field, sizeof(v[i]));
    qsort(v, ROUNDS, sizeof(v[0]), micro_compare);
    return v[ROUNDS / 2];
}

static void print(const char *name, const struct result *r) {
    printf("%s\t%.2f\t%.2f\t(applications: %.0f %% of the CPU time)\n", name,
           median_of(r, offsetof(struct result, bytes_per_s)) / 1e9, median_of(r, offsetof(struct result, bytes_per_cpu_s)) / 1e9,
           100 * median_of(r, offsetof(struct result, app_cpu_share)));
}

static void round_trips(const char *name, bool through) {
    int c = through ? lab_dial(&lab, false, LAB_SERVER4, app_port) : dial_direct(), s = lab_accept(app_fd);
    uint64_t start = clock_mono_ns(), n = 0;
    char byte = 0;
    for (; clock_mono_ns() - start < NS_PER_S; n++) {
        lab_send(c, &byte, 1);
        check(lab_read(s, &byte, 1) == 1);
        lab_send(s, &byte, 1);
        check(lab_read(c, &byte, 1) == 1);
    }
    printf("%s\t%.1f us\n", name, (double)(clock_mono_ns() - start) / 1e3 / (double)n);
    close(c);
    close(s);
}

int main(void) {
    const struct log_options quiet = {.level = LOG_ERROR, .access_path = "none"};
    if (!lab_enter()) {
        fprintf(stderr, "needs root and network namespaces\n");
        return 77;
    }
    check(log_start(&quiet) == 0);
    lab_init(&lab, 1);
    lab_credential(&lab, LAB_A, "client", NULL, 1);
    lab_credential(&lab, LAB_B, "server", NULL, 1);
    app_fd = lab_listen(LAB_SERVER4, 0, &app_port);
    static struct result direct[ROUNDS], up[ROUNDS], down[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        direct[i] = one_round(false, true);
        up[i] = one_round(true, true);
        down[i] = one_round(true, false);
    }
    printf("what\tGB/s\tGB per CPU second\n");
    print("loopback", direct);
    print("relay up", up);
    print("relay down", down);
    round_trips("loopback round trip", false);
    round_trips("relay round trip", true);
    close(app_fd);
    lab_deinit(&lab);
    log_stop();
    return 0;
}
