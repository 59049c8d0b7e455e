/* SPDX-License-Identifier: GPL-3.0-or-later
 * An echo server over room ring against a plain epoll loop, in the same run, over loopback TCP: round trips a second and what
 * a second of the server's own CPU time carries. Both take bytes into a buffer that is theirs for the moment and
 * copy them once to where they wait to be sent, as a proxy's cipher would. Rounds alternate, medians are printed, and the ratio is
 * what counts. One line a measurement: name TAB ring TAB epoll TAB ratio.
 *
 * And before that a relay of streams, each step of what the ring can do on top of the one before, in the same run: what a second of
 * its own CPU time carries, the ratio to the first step, and system calls a MB. And between the two, questions at a steady rate to
 * someone on another processor, with processors that wait awake (base/cpu_latency.h) and that sleep: how long each took, and what
 * it cost both ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/cpu_latency.h>
#include <ringwall/ring/ring.h>
#include <sys/uio.h>

#include "../../src/ring/private.h"
#include "micro.h"

enum {
    ROUNDS = 7,
    ROUND_NS = 300 * 1000 * 1000,
    CONNS_MAX = 256,
    MESSAGE_MAX = 128 * 1024,
    READ_BYTES = 16 * 1024,
    EVENTS_MAX = 256
};

struct server {
    int listen_fd, stop_fd;
    uint64_t cpu_ns;
};
struct echo {
    struct ring_op recv, send;
    struct iovec iov;
    int fd;
    size_t at, n; /* bytes to send back: [at, at + n) */
    uint8_t bytes[2 * MESSAGE_MAX];
};
static struct echo *echoes[CONNS_MAX];
static unsigned n_echoes;

static uint64_t thread_cpu_ns(void) {
    struct timespec t;
    check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Server and load on different processors in every round: who shares one decides more than what is measured. */
static void stay_on(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ignore_result(sched_setaffinity(0, sizeof(set), &set)); /* one processor only: so be it */
}

static struct echo *echo_new(int fd) {
    struct echo *e = calloc(1, sizeof(*e));
    check(e && n_echoes < CONNS_MAX);
    e->fd = fd;
    return echoes[n_echoes++] = e;
}

static uint8_t *echo_space(struct echo *e, size_t n) {
    if (e->at + e->n + n > sizeof(e->bytes)) {
        memmove(e->bytes, e->bytes + e->at, e->n);
        e->at = 0;
    }
    check(e->at + e->n + n <= sizeof(e->bytes));
    return e->bytes + e->at + e->n;
}

static void echo_sent(struct echo *e, size_t n) {
    e->n -= n;
    e->at = e->n ? e->at + n : 0;
}

/* --- over the ring --- */

static struct ring *ring;
static bool stopped;

static void ring_echo(struct echo *e);
static void on_sent(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct echo *e = container_of(op, struct echo, send);
    if (n > 0) {
        echo_sent(e, (size_t)n);
        ring_echo(e);
    }
}
static void ring_echo(struct echo *e) {
    if (!e->n || ring_op_busy(&e->send))
        return;
    e->iov = (struct iovec){e->bytes + e->at, e->n};
    ring_send(ring, &e->send, e->fd, &e->iov, 1, on_sent);
}
static void on_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct echo *e = container_of(op, struct echo, recv);
    if (n <= 0)
        return;
    /* Under a send nothing may move: one message at a time is in flight, so there is room behind it. */
    check(!ring_op_busy(&e->send) || e->at + e->n + (size_t)n <= sizeof(e->bytes));
    memcpy(echo_space(e, (size_t)n), bytes, (size_t)n);
    e->n += (size_t)n;
    ring_echo(e);
}
static void on_accepted(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    if (n < 0)
        return;
    struct echo *e = echo_new(n);
    ring_socket_tune(ring, n);
    ring_recv(ring, &e->recv, n, true, on_received);
}
static void on_stop(struct ring_op *op, int n, const uint8_t *bytes, bool more) { stopped = true; }

static void *run_ring(void *p) {
    struct server *s = p;
    stay_on(0);
    struct ring_options o = {.n_entries = 512, .n_recv_buffers = 256, .recv_buffer_bytes = READ_BYTES};
    char why[256] = "";
    if (ring_new(&o, &ring, why) < 0) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    struct ring_op accept_op = RING_OP_NULL, stop_op = RING_OP_NULL;
    stopped = false;
    ring_accept(ring, &accept_op, s->listen_fd, on_accepted);
    ring_poll_in(ring, &stop_op, s->stop_fd, on_stop);
    uint64_t began = thread_cpu_ns();
    while (!stopped)
        check(ring_turn(ring, NS_PER_S, NULL) == 0);
    s->cpu_ns = thread_cpu_ns() - began;
    ring_cancel(ring, &accept_op);
    ring_cancel(ring, &stop_op);
    for (unsigned i = 0; i < n_echoes; i++) {
        ring_cancel(ring, &echoes[i]->recv);
        ring_cancel(ring, &echoes[i]->send);
    }
    while (ring_in_flight(ring))
        check(ring_turn(ring, NS_PER_S, NULL) == 0);
    ring = ring_free(ring);
    return NULL;
}

/* --- over epoll --- */

static void epoll_add(int epoll, int fd, uint32_t events, void *owner) {
    struct epoll_event e = {.events = events, .data.ptr = owner};
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0);
}

static void epoll_echo(int epoll, struct echo *e, uint32_t events) {
    if (events & EPOLLIN) {
        static uint8_t scratch[READ_BYTES];
        ssize_t n = recv(e->fd, scratch, READ_BYTES, MSG_DONTWAIT);
        if (n > 0) {
            memcpy(echo_space(e, (size_t)n), scratch, (size_t)n);
            e->n += (size_t)n;
        }
        if (n == 0) {
            check(epoll_ctl(epoll, EPOLL_CTL_DEL, e->fd, NULL) == 0);
            return;
        }
    }
    bool waited = events & EPOLLOUT;
    ssize_t n = e->n ? send(e->fd, e->bytes + e->at, e->n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n > 0)
        echo_sent(e, (size_t)n);
    if ((e->n > 0) != waited) {
        struct epoll_event change = {.events = e->n ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = e};
        check(epoll_ctl(epoll, EPOLL_CTL_MOD, e->fd, &change) == 0);
    }
}

static void *run_epoll(void *p) {
    struct server *s = p;
    stay_on(0);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS_MAX];
    check(epoll >= 0);
    epoll_add(epoll, s->listen_fd, EPOLLIN, &s->listen_fd);
    epoll_add(epoll, s->stop_fd, EPOLLIN, &s->stop_fd);
    uint64_t began = thread_cpu_ns();
    for (bool over = false; !over;) {
        int n = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &s->stop_fd) {
                over = true;
            } else if (events[i].data.ptr == &s->listen_fd) {
                int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
                if (fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0)
                    epoll_add(epoll, fd, EPOLLIN, echo_new(fd));
            } else {
                epoll_echo(epoll, events[i].data.ptr, events[i].events);
            }
        }
    }
    s->cpu_ns = thread_cpu_ns() - began;
    close(epoll);
    return NULL;
}

/* --- the load --- */

struct client {
    int fd;
    size_t sent, got;
};

static void client_step(struct client *c, size_t message, uint64_t *n_trips) {
    static uint8_t bytes[MESSAGE_MAX];
    ssize_t n = recv(c->fd, bytes, message - c->got, MSG_DONTWAIT);
    c->got += n > 0 ? (size_t)n : 0;
    if (c->got == message) {
        c->got = c->sent = 0;
        ++*n_trips;
    }
    if (c->sent < message) {
        n = send(c->fd, bytes, message - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        c->sent += n > 0 ? (size_t)n : 0;
    }
}

struct result {
    double trips_per_s, trips_per_cpu_s;
};

static struct result load(int listen_fd, unsigned n_conns, size_t message, struct server *s) {
    static struct client clients[CONNS_MAX];
    struct sockaddr_in at;
    socklen_t n_at = sizeof(at);
    int epoll = epoll_create1(EPOLL_CLOEXEC), on = 1;
    check(epoll >= 0 && getsockname(listen_fd, (struct sockaddr *)&at, &n_at) == 0);
    uint64_t n_trips = 0, began = clock_mono_ns();
    for (unsigned i = 0; i < n_conns; i++) {
        clients[i] = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        check(clients[i].fd >= 0 && connect(clients[i].fd, (struct sockaddr *)&at, n_at) == 0);
        check(setsockopt(clients[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
        epoll_add(epoll, clients[i].fd, EPOLLIN | EPOLLOUT | EPOLLET, &clients[i]);
        client_step(&clients[i], message, &n_trips);
    }
    struct epoll_event events[EVENTS_MAX];
    while (clock_mono_ns() - began < ROUND_NS) {
        int n = epoll_wait(epoll, events, EVENTS_MAX, 100);
        for (int i = 0; i < n; i++)
            client_step(events[i].data.ptr, message, &n_trips);
    }
    double seconds = (double)(clock_mono_ns() - began) / 1e9;
    check(eventfd_write(s->stop_fd, 1) == 0);
    for (unsigned i = 0; i < n_conns; i++)
        close(clients[i].fd);
    close(epoll);
    return (struct result){.trips_per_s = (double)n_trips / seconds, .trips_per_cpu_s = (double)n_trips};
}

static struct result measure(void *(*run)(void *), unsigned n_conns, size_t message) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct server s = {.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                       .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    check(s.listen_fd >= 0 && s.stop_fd >= 0);
    check(bind(s.listen_fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(s.listen_fd, CONNS_MAX) == 0);
    pthread_t t;
    check(pthread_create(&t, NULL, run, &s) == 0);
    struct result r = load(s.listen_fd, n_conns, message, &s);
    pthread_join(t, NULL);
    r.trips_per_cpu_s /= (double)s.cpu_ns / 1e9;
    while (n_echoes) {
        struct echo *e = echoes[--n_echoes];
        close(e->fd);
        free(e);
    }
    close(s.listen_fd);
    close(s.stop_fd);
    return r;
}

static double median(double *v) {
    qsort(v, ROUNDS, sizeof(*v), micro_compare);
    return v[ROUNDS / 2];
}

/* --- a relay, step by step --- */

struct step {
    const char *name;
    enum recv_mode recv;
    bool by_reference, queues, moderated;
};
static const struct step steps[] = {
    {"single_shots", RECV_SINGLE, false, false, false}, {"multishot", RECV_MULTISHOT, false, false, false},
    {"bundles", RECV_BUNDLE, false, false, false},      {"sends_of_16_pieces", RECV_BUNDLE, false, true, false},
    {"by_reference", RECV_BUNDLE, true, true, false},   {"moderated", RECV_BUNDLE, true, true, true},
};

enum { RELAY_HIGH = 1024 * 1024, RELAY_LOW = RELAY_HIGH / 2, RELAYS_MAX = 8 };
struct relay {
    const struct step *step;
    struct ring *ring;
    struct ring_op recv, send;
    struct bufq q;
    struct iovec piece;
    int from, to;
    uint64_t bytes;
    pthread_t source, sink;
};

static void relay_on(struct relay *y);
static void relay_sent(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct relay *y = container_of(op, struct relay, send);
    if (n <= 0)
        return;
    bufq_consume(&y->q, (size_t)n);
    y->bytes += (uint64_t)n;
    relay_on(y);
}
static void relay_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct relay *y = container_of(op, struct relay, recv);
    if (n > 0) {
        struct buf_chunk *c = y->step->by_reference ? ring_received_chunk(y->ring) : NULL;
        check(bufq_append_shared(&y->q, c, bytes, (size_t)n) == 0);
    }
    relay_on(y);
}
static void relay_on(struct relay *y) {
    if (stopped)
        return;
    if (y->q.n_bytes >= RELAY_HIGH)
        ring_cancel(y->ring, &y->recv);
    else if (y->q.n_bytes <= RELAY_LOW && !ring_op_busy(&y->recv))
        ring_recv(y->ring, &y->recv, y->from, true, relay_received);
    if (!y->q.n_bytes || ring_op_busy(&y->send))
        return;
    if (y->step->queues) {
        ring_send_queue(y->ring, &y->send, y->to, &y->q, relay_sent);
    } else {
        y->piece.iov_base = (void *)bufq_peek(&y->q, &y->piece.iov_len);
        ring_send(y->ring, &y->send, y->to, &y->piece, 1, relay_sent);
    }
}

static void *pour(void *p) {
    static const uint8_t bytes[64 * 1024];
    stay_on(1);
    while (send(*(int *)p, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0)
        continue;
    return NULL;
}
static void *drink(void *p) {
    static uint8_t bytes[256 * 1024]; /* nobody looks */
    stay_on(1);
    while (recv(*(int *)p, bytes, sizeof(bytes), 0) > 0)
        continue;
    return NULL;
}

static void tcp_pair(int pair[2]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&at, n) == 0 && listen(listener, 1) == 0);
    check(getsockname(listener, (struct sockaddr *)&at, &n) == 0);
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(pair[0] >= 0 && connect(pair[0], (struct sockaddr *)&at, n) == 0);
    pair[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    check(pair[1] >= 0);
    close(listener);
}

struct relay_result {
    double gb_per_s, gb_per_cpu_s, enters_per_mb;
};

static struct relay_result measure_relay(const struct step *step, unsigned n) {
    static struct relay relays[RELAYS_MAX];
    int ends[RELAYS_MAX][2];
    struct buf_pool *pool = buf_pool_new(8192);
    struct ring_options o = {
        .n_entries = 512, .n_recv_buffers = 256, .recv_buffer_bytes = READ_BYTES, .pool = pool, .moderate = step->moderated};
    struct ring *r = NULL;
    char why[256] = "";
    stay_on(0);
    check(pool && ring_new_from(&o, RING_FLAVOUR_DEFER, step->recv, &r, why) == 0);
    stopped = false;
    for (unsigned i = 0; i < n; i++) {
        int in[2], out[2];
        tcp_pair(in);
        tcp_pair(out);
        ends[i][0] = in[0];
        ends[i][1] = out[0];
        relays[i] = (struct relay){.step = step, .ring = r, .from = in[1], .to = out[1]};
        bufq_init(&relays[i].q, pool);
        check(pthread_create(&relays[i].source, NULL, pour, &ends[i][0]) == 0);
        check(pthread_create(&relays[i].sink, NULL, drink, &ends[i][1]) == 0);
        relay_on(&relays[i]);
    }
    struct ring_stats stats[2];
    uint64_t bytes = 0, began = clock_mono_ns(), cpu = thread_cpu_ns();
    ring_get_stats(r, &stats[0]);
    while (clock_mono_ns() - began < ROUND_NS)
        check(ring_turn(r, NS_PER_S, NULL) == 0);
    cpu = thread_cpu_ns() - cpu;
    double seconds = (double)(clock_mono_ns() - began) / 1e9;
    ring_get_stats(r, &stats[1]);
    stopped = true;
    for (unsigned i = 0; i < n; i++) {
        struct relay *y = &relays[i];
        bytes += y->bytes;
        shutdown(ends[i][0], SHUT_RDWR);
        shutdown(ends[i][1], SHUT_RDWR);
        ring_cancel(r, &y->recv);
        ring_cancel(r, &y->send);
    }
    while (ring_in_flight(r))
        check(ring_turn(r, NS_PER_S, NULL) == 0);
    for (unsigned i = 0; i < n; i++) {
        struct relay *y = &relays[i];
        close(y->from);
        close(y->to);
        pthread_join(y->source, NULL);
        pthread_join(y->sink, NULL);
        close(ends[i][0]);
        close(ends[i][1]);
        bufq_deinit(&y->q);
    }
    ring_free(r);
    buf_pool_free(pool);
    return (struct relay_result){(double)bytes / 1e9 / seconds, (double)bytes / (double)cpu,
                                 (double)(stats[1].enters - stats[0].enters) / ((double)bytes / 1e6)};
}

static void relay_table(unsigned n) {
    double gb[array_size(steps)][ROUNDS], cpu[array_size(steps)][ROUNDS], enters[array_size(steps)][ROUNDS];
    for (unsigned round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < array_size(steps); i++) {
            struct relay_result x = measure_relay(&steps[i], n);
            gb[i][round] = x.gb_per_s;
            cpu[i][round] = x.gb_per_cpu_s;
            enters[i][round] = x.enters_per_mb;
        }
    double first = 0;
    for (size_t i = 0; i < array_size(steps); i++) {
        double c = median(cpu[i]);
        first = i ? first : c;
        printf("relay_%u_streams_%s\t%.2f GB/CPU s\tx%.2f\t%.2f GB/s\t%.1f calls/MB\n", n, steps[i].name, c, c / first,
               median(gb[i]), median(enters[i]));
    }
}

/* --- a question, its answer, a pause --- */

enum { ASK_EACH_NS = 200 * 1000 };
struct asker {
    struct ring *ring;
    struct ring_op recv, send;
    struct ring_timer next;
    struct iovec piece;
    int fd;
    uint64_t asked_ns, n;
    uint64_t took_ns[ROUND_NS / ASK_EACH_NS + 1];
};

static void ask_done(struct ring_op *op, int n, const uint8_t *bytes, bool more) { check(n > 0 || stopped); }
static void ask(struct ring_timer *t) {
    struct asker *a = container_of(t, struct asker, next);
    static char question[1024];
    a->asked_ns = clock_mono_ns();
    a->piece = (struct iovec){question, sizeof(question)};
    ring_send(a->ring, &a->send, a->fd, &a->piece, 1, ask_done);
    ring_timer_start(a->ring, t, a->asked_ns + ASK_EACH_NS, ask);
}
static void ask_answered(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct asker *a = container_of(op, struct asker, recv);
    if (n > 0 && a->n < array_size(a->took_ns))
        a->took_ns[a->n++] = clock_mono_ns() - a->asked_ns;
}
static void *answer(void *p) {
    static uint8_t bytes[1024];
    struct server *s = p;
    uint64_t began = thread_cpu_ns();
    stay_on(1);
    for (ssize_t n; (n = recv(s->listen_fd, bytes, sizeof(bytes), 0)) > 0;)
        if (send(s->listen_fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
            break; /* the asker is gone */
    s->cpu_ns = thread_cpu_ns() - began;
    return NULL;
}

static int compare_ns(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Microseconds: to answer half the questions; of CPU time a question, both ends. */
static void measure_questions(bool awake, double *ret_p50, double *ret_cpu) {
    static struct asker a;
    int pair[2];
    tcp_pair(pair);
    struct ring_options o = {.n_entries = 64, .n_recv_buffers = 16, .recv_buffer_bytes = READ_BYTES};
    cleanup_fd int latency = awake ? cpu_latency_open(CPU_LATENCY_DEVICE) : -1;
    check(!awake || (latency >= 0 && cpu_latency_ask(latency, 0) == 0));
    struct server s = {.listen_fd = pair[0]};
    char why[256] = "";
    pthread_t t;
    a = (struct asker){.fd = pair[1]};
    stay_on(0);
    check(ring_new(&o, &a.ring, why) == 0 && pthread_create(&t, NULL, answer, &s) == 0);
    ring_socket_tune(a.ring, pair[0]);
    ring_socket_tune(a.ring, pair[1]);
    stopped = false;
    ring_recv(a.ring, &a.recv, a.fd, true, ask_answered);
    uint64_t began = clock_mono_ns(), cpu = thread_cpu_ns();
    ask(&a.next);
    while (clock_mono_ns() - began < ROUND_NS)
        check(ring_turn(a.ring, NS_PER_S, NULL) == 0);
    cpu = thread_cpu_ns() - cpu;
    stopped = true;
    ring_timer_stop(a.ring, &a.next);
    shutdown(a.fd, SHUT_RDWR);
    ring_cancel(a.ring, &a.recv);
    while (ring_in_flight(a.ring))
        check(ring_turn(a.ring, NS_PER_S, NULL) == 0);
    pthread_join(t, NULL);
    close(pair[0]);
    close(pair[1]);
    ring_free(a.ring);
    qsort(a.took_ns, a.n, sizeof(a.took_ns[0]), compare_ns);
    check(a.n);
    *ret_p50 = (double)a.took_ns[a.n / 2] / 1e3;
    *ret_cpu = (double)(cpu + s.cpu_ns) / (double)a.n / 1e3;
}

static void questions_table(void) {
    double took[2][ROUNDS], cpu[2][ROUNDS];
    for (unsigned i = 0; i < 2 * ROUNDS; i++)
        measure_questions(i % 2, &took[i % 2][i / 2], &cpu[i % 2][i / 2]);
    for (unsigned i = 0; i < 2; i++)
        printf("questions_5k_%s\tp50 %.1f us\t%.1f us of CPU each, both ends\n", i ? "awake" : "asleep", median(took[i]),
               median(cpu[i]));
}

int main(void) {
    static const struct {
        const char *name;
        unsigned n_conns;
        size_t message;
    } cases[] = {
        {"echo_64_conns_64_bytes", 64, 64},
        {"echo_1_conn_64_bytes", 1, 64},
        {"echo_64_conns_16_KiB", 64, 16 * 1024},
        {"echo_8_conns_128_KiB", 8, 128 * 1024},
    };
    relay_table(1);
    relay_table(8);
    questions_table();
    stay_on(1);
    for (size_t c = 0; c < array_size(cases); c++) {
        double wall[2][ROUNDS], cpu[2][ROUNDS];
        for (unsigned i = 0; i < 2 * ROUNDS; i++) {
            struct result r = measure(i % 2 ? run_epoll : run_ring, cases[c].n_conns, cases[c].message);
            wall[i % 2][i / 2] = r.trips_per_s;
            cpu[i % 2][i / 2] = r.trips_per_cpu_s;
        }
        double a = median(wall[0]), b = median(wall[1]);
        printf("%s_per_s\t%.0f\t%.0f\t%.2f\n", cases[c].name, a, b, a / b);
        a = median(cpu[0]);
        b = median(cpu[1]);
        printf("%s_per_cpu_s\t%.0f\t%.0f\t%.2f\n", cases[c].name, a, b, a / b);
    }
    return 0;
}
