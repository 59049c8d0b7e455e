/* SPDX-License-Identifier: GPL-3.0-or-later
 * client.c - the near end: connections, the plan of when something is due, and what is measured
 *
 * Open loop: the k-th request is due at begin + k / rate, whatever became of the ones before, and its latency counts from
 * then; so a stall is felt by all requests that should have gone out meanwhile (no coordinated omission). A request is
 * sent at once even when answers are outstanding on its connection. Closed loop (rate 0): a connection's next request is
 * due when its last was answered. What begins before the warm-up is over is not counted. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

#include "load.h"

enum { OUTSTANDING_MAX = 4096 }; /* requests of one connection; one that is due beyond is counted as dropped */

struct client;
struct conn {
    struct client *c;
    struct ring_op connect, recv, send, close;
    int fd;
    unsigned index;
    bool open, ending;
    struct load_head head;
    size_t head_left;
    struct iovec iov[2]; /* what is being sent */
    uint64_t to_send;    /* bytes beyond the head */
    uint64_t received;   /* of the answer that is under way */
    uint64_t bytes;      /* received; for SINK sent, for BOTH both: within the measured time */
    uint64_t *due;       /* when the outstanding requests were due, a ring */
    unsigned first, n_due;
};

struct client {
    const struct load_client *o;
    struct ring *ring;
    struct conn *conns;
    unsigned n_open, n_idle_next;
    unsigned *free_conns, n_free; /* LOAD_CONNECT: those that are not in use */
    uint64_t begin_ns, measure_ns, end_ns;
    uint64_t n_planned, done, dropped, failed;
    uint64_t all_bytes, all_done; /* whenever: what CPU time is shared out over */
    bool draining;
    struct hist latency;
};

static void turn(struct conn *k);
static void start(struct conn *k, uint64_t due_ns);

static bool counts(const struct client *c, uint64_t due_ns) { return due_ns >= c->measure_ns && due_ns < c->end_ns; }

static void on_closed(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct conn *k = container_of(op, struct conn, close);
    struct client *c = k->c;
    (void)n, (void)bytes, (void)more;
    k->ending = false;
    k->fd = -1;
    if (c->o->kind != LOAD_CONNECT)
        return;
    c->free_conns[c->n_free++] = k->index;
    if (c->o->rate == 0 && !c->draining)
        start(&c->conns[c->free_conns[--c->n_free]], clock_mono_ns());
}

static void end(struct conn *k, bool failed) {
    if (k->fd < 0)
        return;
    if (!k->ending) {
        k->ending = true;
        k->c->failed += failed && !k->c->draining;
        if (k->open)
            k->c->n_open--;
        k->open = false;
        ring_cancel(k->c->ring, &k->recv);
        ring_cancel(k->c->ring, &k->send);
        ring_cancel(k->c->ring, &k->connect);
    }
    if (!ring_op_busy(&k->recv) && !ring_op_busy(&k->send) && !ring_op_busy(&k->connect) && !ring_op_busy(&k->close))
        ring_close(k->c->ring, &k->close, k->fd, on_closed);
}

static void answered(struct conn *k) {
    struct client *c = k->c;
    uint64_t due = k->due[k->first];
    k->first = (k->first + 1) % OUTSTANDING_MAX;
    k->n_due--;
    c->all_done++;
    if (counts(c, due)) {
        hist_add(&c->latency, clock_mono_ns() - due);
        c->done++;
    }
}

/* One more request on this connection. */
static void ask(struct conn *k, uint64_t due_ns) {
    struct client *c = k->c;
    if (k->n_due == OUTSTANDING_MAX) {
        c->dropped += counts(c, due_ns);
        return;
    }
    k->due[(k->first + k->n_due++) % OUTSTANDING_MAX] = due_ns;
    k->to_send += k->head.size;
    turn(k);
}

static void take(struct conn *k, size_t n) {
    struct client *c = k->c;
    const struct load_client *o = c->o;
    if (o->kind == LOAD_SOURCE || o->kind == LOAD_BOTH) {
        uint64_t now = clock_mono_ns();
        k->bytes += counts(c, now) ? n : 0;
        c->all_bytes += n;
        return;
    }
    k->received += n;
    while (k->n_due > 0 && k->received >= k->head.size) {
        k->received -= k->head.size;
        answered(k);
        if (o->kind == LOAD_REQUEST && o->rate == 0 && !o->idle && !c->draining)
            ask(k, clock_mono_ns());
    }
}

static void on_received(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct conn *k = container_of(op, struct conn, recv);
    (void)bytes;
    if (n > 0 && !k->ending)
        take(k, (size_t)n);
    if (n <= 0 || k->ending) {
        if (!more) /* for LOAD_CONNECT the server's end is the right one, once it has answered */
            end(k, k->c->o->kind != LOAD_CONNECT || k->n_due > 0);
        return;
    }
    if (!more)
        ring_recv(k->c->ring, &k->recv, k->fd, true, on_received);
}

static void on_sent(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct conn *k = container_of(op, struct conn, send);
    (void)bytes, (void)more;
    if (n <= 0 || k->ending) {
        end(k, true);
        return;
    }
    size_t of_head = min_of((size_t)n, k->head_left), rest = (size_t)n - of_head;
    k->head_left -= of_head;
    if (k->to_send != UINT64_MAX)
        k->to_send -= rest;
    if (k->c->o->kind == LOAD_SINK || k->c->o->kind == LOAD_BOTH) {
        k->bytes += counts(k->c, clock_mono_ns()) ? rest : 0;
        k->c->all_bytes += rest;
    }
    turn(k);
}

static void turn(struct conn *k) {
    if (!k->open || k->ending || ring_op_busy(&k->send) || (k->head_left == 0 && k->to_send == 0))
        return;
    unsigned n = 0;
    if (k->head_left > 0)
        k->iov[n++] = (struct iovec){(uint8_t *)&k->head + sizeof(k->head) - k->head_left, k->head_left};
    if (k->to_send > 0)
        k->iov[n++] = (struct iovec){load_bytes, (size_t)min_of(k->to_send, (uint64_t)LOAD_CHUNK)};
    ring_send(k->c->ring, &k->send, k->fd, k->iov, n, on_sent);
}

static void on_connected(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct conn *k = container_of(op, struct conn, connect);
    (void)bytes, (void)more;
    if (n < 0 || k->ending) {
        end(k, true);
        return;
    }
    k->open = true;
    k->c->n_open++;
    ring_socket_tune(k->c->ring, k->fd);
    if (k->index >= k->c->o->slow)
        ring_recv(k->c->ring, &k->recv, k->fd, true, on_received);
    turn(k);
}

/* Opens a connection; for those kinds that ask, with a request that is due at due_ns. */
static void start(struct conn *k, uint64_t due_ns) {
    struct client *c = k->c;
    const struct load_client *o = c->o;
    const struct endpoint *to = &o->to[c->n_planned++ % o->n_to];
    struct ring_socket_spec spec = {.netns_fd = -1, .v6 = !addr_is_v4(&to->addr)};
    memcpy(k->head.magic, LOAD_MAGIC, sizeof(k->head.magic));
    k->head.kind = o->kind;
    k->head.size = o->kind == LOAD_CONNECT ? 1 : o->size;
    k->head_left = sizeof(k->head);
    k->to_send = o->kind == LOAD_SINK || o->kind == LOAD_BOTH ? UINT64_MAX : 0;
    k->received = 0;
    k->first = 0;
    k->n_due = 0;
    if (ring_socket(c->ring, &spec, &k->fd) < 0) {
        fprintf(stderr, "no socket: %s\n", strerror(errno));
        exit(1);
    }
    if (o->kind == LOAD_CONNECT || (o->kind == LOAD_REQUEST && (o->rate == 0 || o->idle)))
        ask(k, due_ns);
    ring_connect(c->ring, &k->connect, k->fd, to, false, on_connected);
}

/* Everything that is due by now. Returns when the next thing is. */
static uint64_t plan(struct client *c, uint64_t now, uint64_t *n_sent) {
    const struct load_client *o = c->o;
    for (;;) {
        uint64_t due = c->begin_ns + (uint64_t)((double)*n_sent * 1e9 / o->rate);
        if (due > now || due >= c->end_ns)
            return due;
        (*n_sent)++;
        if (o->kind == LOAD_REQUEST)
            ask(&c->conns[*n_sent % o->conns], due);
        else if (c->n_free > 0)
            start(&c->conns[c->free_conns[--c->n_free]], due);
        else
            c->dropped += counts(c, due);
    }
}

static void report(const struct client *c) {
    double s = (double)(c->end_ns - c->measure_ns) / 1e9;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < c->o->conns; i++)
        bytes += c->conns[i].bytes;
    printf("{\"seconds\":%.3f,\"open\":%u,\"done\":%llu,\"dropped\":%llu,\"failed\":%llu,\"bytes\":%llu,\"per_conn\":[", s,
           c->n_open, (unsigned long long)c->done, (unsigned long long)c->dropped, (unsigned long long)c->failed,
           (unsigned long long)bytes);
    for (unsigned i = 0; i < min_of(c->o->conns, 64u); i++)
        printf("%s%llu", i ? "," : "", (unsigned long long)c->conns[i].bytes);
    printf("],\"all_bytes\":%llu,\"all_done\":%llu,", (unsigned long long)c->all_bytes, (unsigned long long)c->all_done);
    load_print_latency(&c->latency);
    printf("}\n");
    fflush(stdout);
}

static bool stdin_ended;
static void on_stdin(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    char byte;
    (void)op, (void)n, (void)bytes, (void)more;
    stdin_ended = read(STDIN_FILENO, &byte, 1) <= 0;
}

static int go(struct client *c, uint64_t until_ns) {
    uint64_t now = clock_mono_ns();
    return ring_turn(c->ring, until_ns > now ? until_ns - now : 0, NULL) < 0 ? 1 : 0;
}

/* Opens all, asks once on each, says so, and holds them until stdin ends. A few at a time: listeners' queues are finite. */
static int hold(struct client *c) {
    enum { AT_ONCE = 64 };
    struct ring_op input = RING_OP_NULL;
    uint64_t give_up = clock_mono_ns() + 60 * NS_PER_S;
    c->measure_ns = 0;
    c->end_ns = UINT64_MAX;
    while (c->done + c->failed < c->o->conns) {
        while (c->n_idle_next < c->o->conns && c->n_idle_next < c->done + c->failed + AT_ONCE)
            start(&c->conns[c->n_idle_next++], clock_mono_ns());
        if (go(c, clock_mono_ns() + NS_PER_S / 10) != 0 || clock_mono_ns() > give_up) {
            fprintf(stderr, "only %llu of %u connections were made\n", (unsigned long long)c->done, c->o->conns);
            return 1;
        }
    }
    c->measure_ns = c->begin_ns;
    c->end_ns = clock_mono_ns();
    report(c);
    ring_poll_in(c->ring, &input, STDIN_FILENO, on_stdin);
    while (!stdin_ended)
        if (go(c, clock_mono_ns() + NS_PER_S) != 0)
            return 1;
    return 0;
}

static int measure(struct client *c) {
    const struct load_client *o = c->o;
    uint64_t n_sent = 0;
    if (o->kind != LOAD_CONNECT)
        for (unsigned i = 0; i < o->conns; i++)
            start(&c->conns[i], c->begin_ns);
    else if (o->rate == 0)
        while (c->n_free > 0)
            start(&c->conns[c->free_conns[--c->n_free]], c->begin_ns);
    for (;;) {
        uint64_t now = clock_mono_ns();
        if (now >= c->end_ns)
            break;
        uint64_t next = o->rate > 0 ? plan(c, now, &n_sent) : c->end_ns;
        if (go(c, min_of(next, c->end_ns)) != 0)
            return 1;
    }
    /* Answers to what was due before the end are waited for, for a second: the slow ones are the ones that matter. */
    c->draining = true;
    uint64_t give_up = c->end_ns + NS_PER_S;
    for (uint64_t left = 1; left > 0 && clock_mono_ns() < give_up;) {
        left = 0;
        for (unsigned i = 0; i < o->conns; i++)
            left += c->conns[i].n_due;
        if (left > 0 && go(c, clock_mono_ns() + NS_PER_S / 100) != 0)
            return 1;
    }
    for (unsigned i = 0; i < o->conns; i++) /* never answered: as late as we looked */
        for (; c->conns[i].n_due > 0; c->conns[i].n_due--, c->conns[i].first = (c->conns[i].first + 1) % OUTSTANDING_MAX)
            if (counts(c, c->conns[i].due[c->conns[i].first])) {
                hist_add(&c->latency, clock_mono_ns() - c->conns[i].due[c->conns[i].first]);
                c->failed++;
            }
    report(c);
    return 0;
}

int load_run(const struct load_client *o) {
    struct client *c = calloc(1, sizeof(*c));
    check(c);
    c->o = o;
    c->ring = load_ring();
    c->conns = calloc(o->conns, sizeof(*c->conns));
    c->free_conns = calloc(o->conns, sizeof(*c->free_conns));
    check(c->conns && c->free_conns);
    for (unsigned i = 0; i < o->conns; i++) {
        struct conn *k = &c->conns[i];
        k->c = c;
        k->fd = -1;
        k->index = i;
        k->due = calloc(o->idle || o->kind == LOAD_CONNECT ? 1 : OUTSTANDING_MAX, sizeof(*k->due));
        check(k->due);
        c->free_conns[c->n_free++] = i;
    }
    c->begin_ns = clock_mono_ns();
    c->measure_ns = c->begin_ns + (uint64_t)(o->warmup_s * 1e9);
    c->end_ns = c->measure_ns + (uint64_t)(o->seconds * 1e9);
    return o->idle ? hold(c) : measure(c); /* connections end with the process */
}
