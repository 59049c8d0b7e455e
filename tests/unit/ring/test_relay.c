/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: the simulated ring and the real one keep the same contract: the relay that the simulation finds no fault with carries real
 * connections too, half-closes and resets included.
 * Method: tests/sim/mini_relay.c over loopback TCP on each flavour of ring; plain blocking threads on both ends. */
#include <pthread.h>

#include <ringwall/base/rng.h>

#include "ring_unit.h"

#include "../../sim/mini_relay.h"

enum { N_FLOWS = 48, BYTES_MAX = 400000 };
enum way { BOTH_END, CLIENT_RESETS, SERVER_RESETS };

struct flow {
    unsigned id;
    enum way way;
    size_t n_there, n_back; /* bytes after the id */
    const struct endpoint *front;
    int server_fd;
    bool client_whole, client_reset, server_whole, server_reset;
    pthread_t client, server;
};
static struct flow flows[N_FLOWS];
static int back_fd;

static uint8_t byte_at(const struct flow *f, bool back, size_t at) { return (uint8_t)(at * 37 + at / 256 + f->id * 11 + back); }

static bool send_all(const struct flow *f, int fd, bool back, size_t n) {
    uint8_t bytes[5000];
    for (size_t at = 0; at < n;) {
        size_t k = min_of(sizeof(bytes), n - at);
        for (size_t i = 0; i < k; i++)
            bytes[i] = byte_at(f, back, at + i);
        for (size_t sent = 0; sent < k;) {
            ssize_t w = send(fd, bytes + sent, k - sent, MSG_NOSIGNAL);
            if (w <= 0)
                return false;
            sent += (size_t)w;
        }
        at += k;
    }
    return true;
}

/* Reads to the end. Says by errno or 0 how it ended, and whether exactly the right bytes came. */
static int read_all(const struct flow *f, int fd, bool back, size_t n, bool *ret_whole) {
    uint8_t bytes[5000];
    size_t at = 0;
    ssize_t k;
    while ((k = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        for (ssize_t i = 0; i < k; i++, at++)
            if (at >= n || bytes[i] != byte_at(f, back, at))
                return EILSEQ;
    *ret_whole = k == 0 && at == n;
    return k < 0 ? errno : 0;
}

static void reset_now(int fd) {
    struct linger now = {.l_onoff = 1};
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0)
        close(fd);
}

static void *client_runs(void *p) {
    struct flow *f = p;
    int fd = dial(f->front);
    uint8_t id = (uint8_t)f->id;
    bool sent = send(fd, &id, 1, MSG_NOSIGNAL) == 1 && send_all(f, fd, false, f->n_there);
    if (f->way == CLIENT_RESETS) {
        reset_now(fd);
        return NULL;
    }
    if (sent)
        shutdown(fd, SHUT_WR);
    int error = read_all(f, fd, true, f->n_back, &f->client_whole);
    f->client_reset = error == ECONNRESET || !sent; /* an error is told once: a send may have heard it */
    close(fd);
    return NULL;
}

static void *server_runs(void *p) {
    struct flow *f = p;
    if (f->way == SERVER_RESETS) {
        send_all(f, f->server_fd, true, f->n_back / 2);
        reset_now(f->server_fd);
        return NULL;
    }
    int error = read_all(f, f->server_fd, false, f->n_there, &f->server_whole);
    f->server_reset = error == ECONNRESET;
    if (!error && send_all(f, f->server_fd, true, f->n_back))
        shutdown(f->server_fd, SHUT_WR);
    close(f->server_fd);
    return NULL;
}

/* Whoever resets before its first byte came through is met by nobody: the id tells which flow a connection is. */
static void *accepts(void *unused) {
    for (int fd; (fd = accept4(back_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        uint8_t id;
        if (recv(fd, &id, 1, 0) != 1 || id >= N_FLOWS) {
            close(fd);
            continue;
        }
        flows[id].server_fd = fd;
        if (pthread_create(&flows[id].server, NULL, server_runs, &flows[id]) != 0)
            close(fd);
    }
    return NULL;
}

static void relay_real_connections(void) {
    struct ring *r = make_ring(64, 16, 4096);
    struct endpoint front, back;
    struct rng rng;
    pthread_t acceptor;
    int front_fd = listen_on(&front);
    rng_seed(&rng, 5);
    back_fd = listen_on(&back);
    assert_int_equal(fcntl(back_fd, F_SETFL, 0), 0);
    memset(flows, 0, sizeof(flows));
    assert_int_equal(pthread_create(&acceptor, NULL, accepts, NULL), 0);
    struct mini *m = mini_new(r, front_fd, &back);
    for (unsigned i = 0; i < N_FLOWS; i++) {
        flows[i] = (struct flow){.id = i,
                                 .way = i % 4 < 2    ? BOTH_END
                                        : i % 4 == 2 ? CLIENT_RESETS
                                                     : SERVER_RESETS,
                                 .front = &front};
        flows[i].n_there = rng_below(&rng, 1 + rng_below(&rng, BYTES_MAX));
        flows[i].n_back = rng_below(&rng, 1 + rng_below(&rng, BYTES_MAX));
        assert_int_equal(pthread_create(&flows[i].client, NULL, client_runs, &flows[i]), 0);
    }
    turn_until(r, mini_stats(m).n_ended_orderly + mini_stats(m).n_ended_broken == N_FLOWS);
    mini_stop(m);
    turn_until(r, mini_stopped(m));
    for (unsigned i = 0; i < N_FLOWS; i++)
        pthread_join(flows[i].client, NULL);
    shutdown(back_fd, SHUT_RDWR); /* ends the acceptor */
    pthread_join(acceptor, NULL);
    for (unsigned i = 0; i < N_FLOWS; i++) {
        struct flow *f = &flows[i];
        if (f->server)
            pthread_join(f->server, NULL);
        if (f->way == BOTH_END && !(f->client_whole && f->server_whole))
            fail_msg("%s: flow %u is not whole", flavour_now->name, i);
        if (f->way == SERVER_RESETS && !f->client_reset)
            fail_msg("%s: flow %u: the client heard no reset", flavour_now->name, i);
        if (f->way == CLIENT_RESETS && f->server_fd && !f->server_reset)
            fail_msg("%s: flow %u: the server heard no reset", flavour_now->name, i);
    }
    assert_int_equal(mini_stats(m).n_ended_orderly, N_FLOWS / 2);
    assert_null(mini_free(m));
    close(front_fd);
    close(back_fd);
    finish(r);
}
static void test_the_relay_of_the_simulation_on_real_sockets(void **state) { on_each_flavour(relay_real_connections); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_relay_of_the_simulation_on_real_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
