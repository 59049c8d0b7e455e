/* SPDX-License-Identifier: GPL-3.0-or-later
 * What it would bring to hand an application's bytes past TCP (sk_msg into the peer's queue, as `capture.acceleration` was meant
 * to), what it costs to be in such a map at all, and what then no longer holds that holds for TCP. bench/README.md says what was
 * made of it.
 *
 * Four ways in the same run, in turns: plain loopback; in the map but by TCP, without and with a verdict program; redirected. All
 * is done in a network namespace of this process's own; needs root. First the promises, a line each: what, TAB plain, TAB
 * redirected. Then the speed: what, TAB a column for each way. Every stream has at most IN_FLIGHT bytes between its ends, kept by
 * the program itself: the kernel does not (first line), and what it queues then is the whole machine's TCP memory. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/defs.h>

#include "micro.h"
#include "sockmap.skel.h"

enum {
    ROUNDS = 9,
    ROUND_NS = 100 * 1000 * 1000,
    MESSAGE_MAX = 128 * 1024,
    IN_FLIGHT = 1024 * 1024,
    STOPPED_MAX = 64 * 1024 * 1024, /* enough to see that nothing stops the writer; far below what would hurt the machine */
    WAIT_MS = 300,
};

enum way { PLAIN, BY_TCP, BY_TCP_VERDICT, REDIRECTED, _WAYS };
static const char *const way_names[_WAYS] = {"plain", "in the map, by TCP", "the same, verdict program", "redirected"};

static struct sockmap_bpf *programs;
static int listener;
static struct sockaddr_in listens;
static uint8_t bytes[MESSAGE_MAX];

struct pair {
    int a, b;
};

static uint16_t port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *)) {
    struct sockaddr_in s;
    socklen_t n = sizeof(s);
    check(name(fd, (struct sockaddr *)&s, &n) == 0);
    return ntohs(s.sin_port);
}

static void put(int fd) {
    uint32_t key = (uint32_t)port_of(fd, getsockname) << 16 | port_of(fd, getpeername);
    uint64_t value = (uint64_t)fd;
    check(bpf_map_update_elem(bpf_map__fd(programs->maps.ends), &key, &value, BPF_ANY) == 0);
}

/* A map's programs are given to a socket when it goes in. */
static void verdict_set(bool on) {
    int map = bpf_map__fd(programs->maps.ends), program = bpf_program__fd(programs->progs.sockmap_verdict);
    if (on)
        check(bpf_prog_attach(program, map, BPF_SK_SKB_STREAM_VERDICT, 0) == 0);
    else
        ignore_result(bpf_prog_detach2(program, map, BPF_SK_SKB_STREAM_VERDICT)); /* none there is fine */
}

static struct pair pair_open(enum way way) {
    struct pair p = {.a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    int one = 1;
    check(p.a >= 0 && connect(p.a, (struct sockaddr *)&listens, sizeof(listens)) == 0);
    p.b = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    check(p.b >= 0);
    check(setsockopt(p.a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    check(setsockopt(p.b, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    programs->bss->redirect = way == REDIRECTED;
    if (way != PLAIN) {
        verdict_set(way != BY_TCP);
        put(p.a);
        put(p.b);
    }
    return p;
}

static void pair_close(struct pair *p) {
    fd_close(p->a);
    fd_close(p->b);
}

/* --- promises ------------------------------------------------------------------------------------------------------ */

static bool ready(int fd, short what) {
    struct pollfd p = {.fd = fd, .events = what};
    return poll(&p, 1, WAIT_MS) == 1;
}

static void answer(char *to, size_t n, const char *fmt, ...) printf_like(3, 4);
static void answer(char *to, size_t n, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(to, n, fmt, ap);
    va_end(ap);
}

static void stopped_reader(struct pair *p, char *to, size_t n) {
    check(fcntl(p->a, F_SETFL, O_NONBLOCK) == 0);
    size_t taken = 0;
    ssize_t r = 0;
    while (taken < STOPPED_MAX && (r = send(p->a, bytes, 65536, MSG_NOSIGNAL)) > 0)
        taken += (size_t)r;
    if (r > 0)
        answer(to, n, "NOT stopped after %zu MiB", taken >> 20);
    else
        answer(to, n, "%s after %.1f MiB", errno == EAGAIN ? "stopped" : strerror(errno), (double)taken / (1 << 20));
}

static void splice_reader(struct pair *p, char *to, size_t n) {
    int pipe_fds[2];
    check(pipe2(pipe_fds, O_CLOEXEC) == 0 && send(p->a, bytes, 1000, MSG_NOSIGNAL) == 1000);
    check(fcntl(p->b, F_SETFL, O_NONBLOCK) == 0); /* else it would sleep for ever */
    bool readable = ready(p->b, POLLIN);
    ssize_t r = splice(p->b, NULL, pipe_fds[1], NULL, 65536, SPLICE_F_NONBLOCK);
    if (r == 1000)
        answer(to, n, "gets all");
    else
        answer(to, n, "gets NOTHING (%s)%s", r < 0 ? strerror(errno) : "0", readable ? ", though poll says readable" : "");
    fd_close(pipe_fds[0]);
    fd_close(pipe_fds[1]);
}

static void zerocopy_writer(struct pair *p, char *to, size_t n) {
    int one = 1;
    check(setsockopt(p->a, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) == 0);
    check(send(p->a, bytes, 65536, MSG_NOSIGNAL | MSG_ZEROCOPY) == 65536);
    for (size_t got = 0; got < 65536 && ready(p->b, POLLIN);) {
        ssize_t r = recv(p->b, bytes, sizeof(bytes), 0);
        check(r > 0);
        got += (size_t)r;
    }
    answer(to, n, ready(p->a, 0) ? "completed" : "NOT completed in %d ms", WAIT_MS); /* POLLERR is always asked for */
}

static void unread_close(struct pair *p, char *to, size_t n) {
    check(send(p->a, bytes, 1000, MSG_NOSIGNAL) == 1000 && ready(p->b, POLLIN) && recv(p->b, bytes, 10, 0) == 10);
    p->b = fd_close(p->b);
    char one;
    ssize_t r = ready(p->a, POLLIN) ? recv(p->a, &one, 1, 0) : 1;
    answer(to, n, "%s", r == 0 ? "END OF STREAM at the writer" : r < 0 ? strerror(errno) : "nothing at the writer");
}

static void urgent(struct pair *p, char *to, size_t n) {
    char got;
    check(send(p->a, "a", 1, MSG_NOSIGNAL) == 1 && send(p->a, "!", 1, MSG_NOSIGNAL | MSG_OOB) == 1);
    answer(to, n, "%s", ready(p->b, POLLPRI) && recv(p->b, &got, 1, MSG_OOB) == 1 && got == '!' ? "told apart" : "NOT told apart");
}

static void unread_count(struct pair *p, char *to, size_t n) {
    int unread = -1;
    check(send(p->a, bytes, 1000, MSG_NOSIGNAL) == 1000 && ready(p->b, POLLIN) && ioctl(p->b, FIONREAD, &unread) == 0);
    answer(to, n, "%d of 1000", unread);
}

static size_t drain(int fd, char *why, size_t n) {
    size_t got = 0;
    ssize_t r = 1;
    while (r > 0 && ready(fd, POLLIN) && (r = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        got += (size_t)r;
    answer(why, n, "%s", r == 0 ? "end of stream" : r < 0 ? strerror(errno) : "no end");
    return got;
}

static void half_close(struct pair *p, char *to, size_t n) {
    char a[64], b[64];
    check(send(p->a, bytes, 1000, MSG_NOSIGNAL) == 1000 && send(p->b, bytes, 100000, MSG_NOSIGNAL) == 100000);
    check(shutdown(p->a, SHUT_WR) == 0 && send(p->b, bytes, 100000, MSG_NOSIGNAL) == 100000 && shutdown(p->b, SHUT_WR) == 0);
    size_t back = drain(p->a, a, sizeof(a)), forth = drain(p->b, b, sizeof(b));
    answer(to, n, "%zu of 1000 + %s, %zu of 200000 + %s", forth, b, back, a);
}

static void before_reset(struct pair *p, char *to, size_t n) {
    char why[64];
    struct linger none = {.l_onoff = 1};
    check(send(p->a, bytes, 50000, MSG_NOSIGNAL) == 50000 && setsockopt(p->a, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) == 0);
    p->a = fd_close(p->a);
    size_t got = drain(p->b, why, sizeof(why));
    answer(to, n, "%zu of 50000 + %s", got, why);
}

/* Of a socket that is in no map there is nothing to take out. */
static void taken_out(struct pair *p, char *to, size_t n) {
    char why[64];
    uint32_t key = (uint32_t)port_of(p->b, getsockname) << 16 | port_of(p->b, getpeername);
    check(send(p->a, bytes, 50000, MSG_NOSIGNAL) == 50000 && ready(p->b, POLLIN));
    bool was_in = bpf_map_delete_elem(bpf_map__fd(programs->maps.ends), &key) == 0;
    check(shutdown(p->a, SHUT_WR) == 0);
    size_t got = drain(p->b, why, sizeof(why));
    answer(to, n, "%s%zu of 50000 + %s", was_in ? "" : "(not in) ", got, why);
}

static void promises(void) {
    static const struct {
        const char *what;
        void (*f)(struct pair *, char *, size_t);
    } rows[] = {
        {"a reader that does not read", stopped_reader},
        {"a reader by splice", splice_reader},
        {"a writer by MSG_ZEROCOPY", zerocopy_writer},
        {"closed with bytes unread", unread_close},
        {"urgent byte", urgent},
        {"FIONREAD", unread_count},
        {"half-close", half_close},
        {"bytes before a reset", before_reset},
        {"taken out of the map, bytes queued", taken_out},
    };
    printf("promise\tplain\tredirected\n");
    for (size_t i = 0; i < array_size(rows); i++) {
        printf("%s", rows[i].what);
        for (enum way way = PLAIN; way < _WAYS; way += REDIRECTED - PLAIN) {
            char said[128] = "";
            struct pair p = pair_open(way);
            rows[i].f(&p, said, sizeof(said));
            pair_close(&p);
            printf("\t%s", said);
        }
        printf("\n");
    }
}

/* --- speed --------------------------------------------------------------------------------------------------------- */

struct run {
    struct pair p;
    size_t message;
    _Atomic uint64_t sent, received;
    _Atomic bool stop;
    unsigned n_lost; /* waits that ended without a wake-up though there was something */
};

static void take(struct run *r, int fd, size_t n) {
    for (size_t got = 0; got < n;) {
        if (!ready(fd, POLLIN))
            r->n_lost++;
        ssize_t here = recv(fd, bytes, n - got, MSG_DONTWAIT);
        check(here > 0 || (here < 0 && errno == EAGAIN));
        got += here > 0 ? (size_t)here : 0;
    }
}

static void give(int fd, size_t n) {
    static uint8_t message[MESSAGE_MAX];
    for (size_t at = 0; at < n;) {
        ssize_t here = send(fd, message, n - at, MSG_NOSIGNAL);
        check(here > 0);
        at += (size_t)here;
    }
}

static void *echo(void *argument) {
    struct run *r = argument;
    uint8_t message[MESSAGE_MAX];
    for (ssize_t n; (n = recv(r->p.b, message, r->message, 0)) > 0;)
        give(r->p.b, (size_t)n);
    return NULL;
}

static void *sink(void *argument) {
    struct run *r = argument;
    uint8_t message[MESSAGE_MAX];
    for (ssize_t n; (n = recv(r->p.b, message, sizeof(message), 0)) > 0;)
        atomic_fetch_add(&r->received, (uint64_t)n);
    return NULL;
}

/* us a round trip */
static double round_trips(enum way way, size_t message, unsigned *ret_lost) {
    struct run r = {.p = pair_open(way), .message = message};
    pthread_t t;
    check(pthread_create(&t, NULL, echo, &r) == 0);
    uint64_t start = clock_mono_ns(), now = start, n = 0;
    for (; now - start < ROUND_NS; now = clock_mono_ns(), n++) {
        give(r.p.a, message);
        take(&r, r.p.a, message);
    }
    check(shutdown(r.p.a, SHUT_WR) == 0 && pthread_join(t, NULL) == 0);
    pair_close(&r.p);
    *ret_lost += r.n_lost;
    return (double)(now - start) / 1000 / (double)n;
}

/* Gbit/s */
static double stream(enum way way, size_t message, unsigned *ret_lost) {
    struct run r = {.p = pair_open(way), .message = message};
    pthread_t t;
    check(pthread_create(&t, NULL, sink, &r) == 0);
    uint64_t start = clock_mono_ns(), now = start;
    for (; now - start < ROUND_NS; now = clock_mono_ns()) {
        while (r.sent - atomic_load(&r.received) > IN_FLIGHT)
            sched_yield();
        give(r.p.a, message);
        r.sent += message;
    }
    check(shutdown(r.p.a, SHUT_WR) == 0 && pthread_join(t, NULL) == 0);
    check(r.received == r.sent);
    pair_close(&r.p);
    (void)ret_lost;
    return (double)r.sent * 8 / (double)(now - start);
}

static void speed(const char *what, size_t message, double (*f)(enum way, size_t, unsigned *)) {
    double rounds[_WAYS][ROUNDS];
    unsigned n_lost = 0;
    for (int i = 0; i < ROUNDS; i++)
        for (enum way way = PLAIN; way < _WAYS; way++)
            rounds[way][i] = f(way, message, &n_lost);
    printf("%s, %zu B", what, message);
    for (enum way way = PLAIN; way < _WAYS; way++)
        printf("\t%.3g", micro_median(rounds[way], ROUNDS));
    printf(n_lost ? "\t(%u wake-ups were lost)\n" : "\n", n_lost);
}

static void network(void) {
    check(unshare(CLONE_NEWNET) == 0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    check(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0);
    fd_close(fd);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    listens = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(listens);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&listens, n) == 0 && listen(listener, 16) == 0);
    check(getsockname(listener, (struct sockaddr *)&listens, &n) == 0);
}

int main(void) {
    if (geteuid() != 0) {
        fprintf(stderr, "bench_sockmap: needs root\n");
        return 77;
    }
    network();
    programs = sockmap_bpf__open_and_load();
    check(programs);
    check(bpf_prog_attach(bpf_program__fd(programs->progs.sockmap_message), bpf_map__fd(programs->maps.ends), BPF_SK_MSG_VERDICT,
                          0) == 0);
    promises();
    printf("\nspeed");
    for (enum way way = PLAIN; way < _WAYS; way++)
        printf("\t%s", way_names[way]);
    printf("\n");
    static const size_t small[] = {64, 1024, 16384}, large[] = {64, 1024, 16384, 131072};
    for (size_t i = 0; i < array_size(small); i++)
        speed("round trip us", small[i], round_trips);
    for (size_t i = 0; i < array_size(large); i++)
        speed("stream Gbit/s", large[i], stream);
    check(programs->bss->n_redirected > 0);
    sockmap_bpf__destroy(programs);
    fd_close(listener);
    return 0;
}
