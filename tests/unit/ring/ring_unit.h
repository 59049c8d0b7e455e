/* SPDX-License-Identifier: GPL-3.0-or-later
 * Shared by the tests of the ring room: every test runs on each flavour of ring that a kernel may allow, and checks at the end
 * that no op is in flight and no descriptor is left. */
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "unit.h"

#include "../../../src/ring/private.h"

enum { WAIT_S = 20 }; /* far above what any step takes: only a hang reaches it */

struct flavour {
    const char *name;
    enum ring_flavour setup;
    enum recv_mode recv;
};
static const struct flavour flavours[] = {
    {"newest", RING_FLAVOUR_DEFER, RECV_BUNDLE},
    {"no bundles", RING_FLAVOUR_DEFER, RECV_MULTISHOT},
    {"coop", RING_FLAVOUR_COOP, RECV_MULTISHOT},
    {"single shot", RING_FLAVOUR_COOP, RECV_SINGLE},
};
static const struct flavour *flavour_now = &flavours[0];

static inline unsigned count_fds(void) {
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    unsigned n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static inline struct ring *make_ring(unsigned n_entries, unsigned n_buffers, unsigned buffer_bytes) {
    struct ring_options o = {
        .n_entries = n_entries, .n_recv_buffers = n_buffers, .recv_buffer_bytes = buffer_bytes, .moderate = true};
    struct ring *r = NULL;
    char why[256] = "";
    int k = ring_new_from(&o, flavour_now->setup, flavour_now->recv, &r, why);
    if (k < 0)
        fail_msg("%s", why);
    return r;
}

#define turn_until(r, cond) \
    do { \
        uint64_t give_up_ns_ = clock_mono_ns() + WAIT_S * NS_PER_S; \
        while (!(cond)) { \
            assert_int_equal(ring_turn((r), NS_PER_S, NULL), 0); \
            if (clock_mono_ns() > give_up_ns_) \
                fail_msg("%s: waited in vain for %s", flavour_now->name, #cond); \
        } \
    } while (0)

/* An op that remembers what its callbacks said. */
struct heard {
    struct ring_op op;
    unsigned n_calls, n_last;
    int n;     /* of the latest callback */
    bool more; /* likewise */
    uint8_t *got;
    size_t n_got, got_max;
};
static inline void hear(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct heard *h = container_of(op, struct heard, op);
    h->n_calls++;
    h->n_last += !more;
    h->n = n;
    h->more = more;
    assert_int_equal(ring_op_busy(op), more);
    if (bytes) {
        assert_true(n > 0);
        if (h->got) {
            assert_true(h->n_got + (size_t)n <= h->got_max);
            memcpy(h->got + h->n_got, bytes, (size_t)n);
        }
        h->n_got += (size_t)n;
    }
}

static inline int listen_on(struct endpoint *ret) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    struct sockaddr_storage ss = {0};
    memcpy(&ss, &a, sizeof(a));
    assert_true(endpoint_from_sockaddr(&ss, ret));
    return fd;
}

static inline int dial(const struct endpoint *to) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage ss;
    unsigned n = endpoint_to_sockaddr(to, false, &ss);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, n), 0);
    return fd;
}

static inline void make_pair(int pair[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
}

static inline void finish(struct ring *r) {
    assert_int_equal(ring_in_flight(r), 0);
    assert_null(ring_free(r));
}

/* Runs `test` on each flavour and looks for descriptors that it left. */
static inline void on_each_flavour(void (*test)(void)) {
    for (size_t i = 0; i < array_size(flavours); i++) {
        flavour_now = &flavours[i];
        unsigned before = count_fds();
        test();
        if (count_fds() != before)
            fail_msg("%s: %u descriptors before, %u after", flavour_now->name, before, count_fds());
    }
}
