/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: few buffers for many sockets lose no byte, starve no socket, and never make the ring spin.
 * Method: far more senders than buffers, a flood beside quiet sockets, cancellation of starved receives; counted turns. */
#include <ringwall/base/rng.h>

#include "ring_unit.h"

enum { N_SOCKETS = 120, N_BUFFERS = 4, BUFFER_BYTES = 256, N_EACH = 6000 };

static struct heard in[N_SOCKETS];
static int pairs[N_SOCKETS][2];
static uint8_t pattern[N_EACH], got[N_SOCKETS][N_EACH];

static void open_all(struct ring *r, bool multishot) {
    memset(in, 0, sizeof(in));
    for (unsigned i = 0; i < N_SOCKETS; i++) {
        make_pair(pairs[i]);
        in[i].got = got[i];
        in[i].got_max = N_EACH;
        ring_recv(r, &in[i].op, pairs[i][0], multishot, hear);
    }
}

static void close_all(struct ring *r) {
    for (unsigned i = 0; i < N_SOCKETS; i++)
        ring_cancel(r, &in[i].op);
    for (unsigned i = 0; i < N_SOCKETS; i++) {
        turn_until(r, !ring_op_busy(&in[i].op));
        assert_int_equal(in[i].n_last, 1);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}

static void share_few_buffers(void) {
    struct ring *r = make_ring(64, N_BUFFERS, BUFFER_BYTES);
    open_all(r, true);
    for (unsigned i = 0; i < N_EACH; i++)
        pattern[i] = (uint8_t)(i * 31 + i / 256);
    for (unsigned i = 0; i < N_SOCKETS; i++)
        assert_int_equal(write(pairs[i][1], pattern, N_EACH), N_EACH);
    for (unsigned i = 0; i < N_SOCKETS; i++) {
        turn_until(r, in[i].n_got == N_EACH);
        assert_memory_equal(got[i], pattern, N_EACH);
    }
    struct ring_stats s;
    ring_get_stats(r, &s);
    assert_true(s.buffers_short > 0);
    /* Bounded work: each buffer handed over pays for at most a few retries. */
    assert_in_range(s.submitted, N_SOCKETS, 20 * N_SOCKETS * (N_EACH / BUFFER_BYTES + 1));
    close_all(r);
    finish(r);
}
static void test_few_buffers_carry_everything(void **state) { on_each_flavour(share_few_buffers); }

static void wait_without_spinning(void) {
    /* Receives that find no buffer and no data: after they were fed the ring must sleep in the kernel. */
    struct ring *r = make_ring(64, N_BUFFERS, BUFFER_BYTES);
    open_all(r, true);
    for (unsigned i = 0; i < N_SOCKETS; i++)
        assert_int_equal(write(pairs[i][1], pattern, 700), 700);
    for (unsigned i = 0; i < N_SOCKETS; i++)
        turn_until(r, in[i].n_got == 700);
    turn_until(r, list_empty(&r->starved));
    struct ring_stats before, after;
    ring_get_stats(r, &before);
    uint64_t until = clock_mono_ns() + 30 * NS_PER_MS;
    while (clock_mono_ns() < until)
        assert_int_equal(ring_turn(r, 10 * NS_PER_MS, NULL), 0);
    ring_get_stats(r, &after);
    assert_in_range(after.enters - before.enters, 1, 200);
    /* One that starves although every buffer is there (a kernel bug) is tried again once a millisecond, no more often. */
    ring_get_stats(r, &before);
    uint64_t start = clock_mono_ns(), n_tries = 0;
    ring_cancel(r, &in[0].op);
    turn_until(r, !ring_op_busy(&in[0].op));
    struct heard stuck = {0};
    ring_recv(r, &stuck.op, pairs[0][0], true, hear);
    assert_int_equal(ring_turn(r, 0, NULL), 0);
    for (; clock_mono_ns() < start + 30 * NS_PER_MS; n_tries++) {
        ring_cancel(r, &stuck.op);
        turn_until(r, !ring_op_busy(&stuck.op));
        /* what the ring does when the kernel says so, without the kernel */
        stuck.op = (struct ring_op){.magic = OP_MAGIC, .kind = RING_RECV, .multishot = true, .done = hear, .fd = pairs[0][0]};
        r->n_busy++;
        stuck.op.own.n_returned = r->buffers.returned_count;
        recv_starve(r, &stuck.op, true);
        assert_int_equal(op_place(&stuck.op), OP_STARVED);
        while (op_place(&stuck.op) != OP_IN_KERNEL)
            assert_int_equal(ring_turn(r, r->starved_retry_ns > clock_mono_ns() ? NS_PER_S : 0, NULL), 0);
    }
    assert_in_range(n_tries, 1, (clock_mono_ns() - start) / RING_STARVED_NS + 2);
    ring_cancel(r, &stuck.op);
    turn_until(r, !ring_op_busy(&stuck.op));
    close_all(r);
    finish(r);
}
static void test_the_ring_sleeps_when_nothing_can_be_done(void **state) { on_each_flavour(wait_without_spinning); }

struct flood {
    struct heard h;
    uint64_t bytes;
};
static void drink(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct flood *f = container_of(container_of(op, struct heard, op), struct flood, h);
    f->h.n_last += !more;
    f->bytes += (uint64_t)max_of(n, 0);
}

static void quiet_beside_loud(void) {
    /* A socket that always has data must not keep another's few bytes waiting for more than a few turns. */
    struct ring *r = make_ring(64, 16, 4096);
    static uint8_t much[64 * 1024];
    int loud[2], quiet[2];
    make_pair(loud);
    make_pair(quiet);
    struct flood f = {0};
    struct heard q = {0};
    ring_recv(r, &f.h.op, loud[0], true, drink);
    ring_recv(r, &q.op, quiet[0], true, hear);
    for (unsigned i = 0; i < 200; i++) {
        while (write(loud[1], much, sizeof(much)) > 0)
            continue;
        size_t before = q.n_got;
        assert_int_equal(write(quiet[1], "q", 1), 1);
        unsigned n_turns = 0;
        for (; q.n_got == before; n_turns++) {
            while (write(loud[1], much, sizeof(much)) > 0)
                continue;
            assert_int_equal(ring_turn(r, NS_PER_S, NULL), 0);
        }
        assert_in_range(n_turns, 0, 50);
    }
    assert_true(f.bytes > 4096); /* the flood flows too */
    ring_cancel(r, &f.h.op);
    ring_cancel(r, &q.op);
    turn_until(r, f.h.n_last && q.n_last);
    close(loud[0]);
    close(loud[1]);
    close(quiet[0]);
    close(quiet[1]);
    finish(r);
}
static void test_a_flood_does_not_starve_a_quiet_socket(void **state) { on_each_flavour(quiet_beside_loud); }

enum { N_LOUD = 12, LOUD_TURNS = 1500 };
static void pour_in(int (*loud)[2]) {
    static const uint8_t much[64 * 1024];
    for (unsigned i = 0; i < N_LOUD; i++)
        while (write(loud[i][1], much, sizeof(much)) > 0)
            continue;
}

static void quiet_beside_many(void) {
    /* Many sockets that always have data: each gets as much as another, not a buffer at a time where the kernel has bundles, and
     * a quiet one is heard though all buffers are wanted. */
    struct ring *r = make_ring(64, 16, 4096);
    static struct flood f[N_LOUD];
    int loud[N_LOUD][2], pair[2];
    memset(f, 0, sizeof(f));
    make_pair(pair);
    struct heard q = {0};
    ring_recv(r, &q.op, pair[0], true, hear);
    for (unsigned i = 0; i < N_LOUD; i++) {
        make_pair(loud[i]);
        ring_recv(r, &f[i].h.op, loud[i][0], true, drink);
    }
    unsigned n_waited = 0, n_longest = 0;
    size_t n_asked = 0;
    for (unsigned turn = 0; turn < LOUD_TURNS; turn++) {
        pour_in(loud);
        n_waited = q.n_got == n_asked ? 0 : n_waited + 1;
        n_longest = max_of(n_longest, n_waited);
        if (q.n_got == n_asked && turn % 3 == 0) {
            assert_int_equal(write(pair[1], "q", 1), 1);
            n_asked++;
        }
        assert_int_equal(ring_turn(r, NS_PER_S, NULL), 0);
    }
    uint64_t least = UINT64_MAX, most = 0, all = 0;
    for (unsigned i = 0; i < N_LOUD; i++) {
        least = min_of(least, f[i].bytes);
        most = max_of(most, f[i].bytes);
        all += f[i].bytes;
    }
    struct ring_stats s;
    ring_get_stats(r, &s);
    print_message("%s: %.2f..%.2f MB a socket, %.1f buffers an entry, the quiet one waited for %u turns\n", flavour_now->name,
                  (double)least / 1e6, (double)most / 1e6, (double)all / 4096 / (double)s.submitted, n_longest);
    assert_true(least > (r->recv_mode == RECV_BUNDLE ? most / 2 : most / 100)); /* without bundles: each is heard, no more */
    assert_in_range(n_longest, 0, 6);
    if (r->recv_mode == RECV_BUNDLE)
        assert_true(all / 4096 > 4 * s.submitted);
    ring_cancel(r, &q.op);
    turn_until(r, q.n_last);
    for (unsigned i = 0; i < N_LOUD; i++) {
        ring_cancel(r, &f[i].h.op);
        turn_until(r, f[i].h.n_last);
        close(loud[i][0]);
        close(loud[i][1]);
    }
    close(pair[0]);
    close(pair[1]);
    finish(r);
}
static void test_many_with_much_to_say_take_turns(void **state) { on_each_flavour(quiet_beside_many); }

static void cancel_the_starved(void) {
    struct ring *r = make_ring(64, N_BUFFERS, BUFFER_BYTES);
    struct rng rng;
    rng_seed(&rng, 7);
    open_all(r, true);
    for (unsigned i = 0; i < N_SOCKETS; i++)
        assert_int_equal(write(pairs[i][1], pattern, N_EACH), N_EACH);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ring_turn(r, 0, NULL), 0);
    if (flavour_now->recv != RECV_SINGLE)
        assert_false(list_empty(&r->starved));
    for (unsigned i = 0; i < N_SOCKETS; i++)
        if (rng_below(&rng, 2))
            ring_cancel(r, &in[i].op);
    close_all(r);
    for (unsigned i = 0; i < N_SOCKETS; i++)
        assert_memory_equal(got[i], pattern, in[i].n_got);
    finish(r);
}
static void test_a_starved_receive_can_be_cancelled(void **state) { on_each_flavour(cancel_the_starved); }

static void all_get(struct ring *r, size_t n) {
    for (unsigned i = 0; i < N_SOCKETS; i++)
        in[i].n_got = 0;
    for (unsigned i = 0; i < N_SOCKETS; i++)
        assert_int_equal(write(pairs[i][1], pattern, n), n);
    for (unsigned i = 0; i < N_SOCKETS; i++) {
        turn_until(r, in[i].n_got == n);
        assert_memory_equal(got[i], pattern, n);
    }
}

static void light_and_dim(void) {
    enum { N = 128 };
    struct ring *r = make_ring(64, N, BUFFER_BYTES);
    assert_int_equal(r->buffers.n_lit, RING_BUFFERS_LIT);
    open_all(r, true);
    for (unsigned i = 0; r->buffers.n_lit == RING_BUFFERS_LIT && i < 100; i++) /* many short messages at once: more */
        all_get(r, 8);
    assert_in_range(r->buffers.n_lit, RING_BUFFERS_LIT + 1, N);
    assert_int_equal(r->buffers.n - r->buffers.n_dark, r->buffers.n_lit);
    for (unsigned i = 0; r->buffers.n_lit > RING_BUFFERS_LIT && i < 100; i++) /* a single one: fewer, after a while */
        for (unsigned k = 0; k < 2; k++) {
            r->buffers.look_ns = r->now_ns;
            in[0].n_got = 0;
            assert_int_equal(write(pairs[0][1], "x", 1), 1);
            turn_until(r, in[0].n_got == 1);
        }
    assert_int_equal(r->buffers.n_lit, RING_BUFFERS_LIT);
    if (flavour_now->setup == RING_FLAVOUR_DEFER) /* the kernel's surplus was taken back */
        assert_int_equal(r->buffers.n - r->buffers.n_dark, RING_BUFFERS_LIT);
    for (unsigned i = 0; r->buffers.n_lit == RING_BUFFERS_LIT && i < 100; i++)
        all_get(r, 8);
    assert_true(r->buffers.n_lit > RING_BUFFERS_LIT);
    for (unsigned i = 0; r->buffers.n_lit > RING_BUFFERS_LIT && i < 100; i++) { /* bulk: fewer at once */
        r->buffers.look_ns = r->now_ns;
        all_get(r, N_EACH);
    }
    assert_int_equal(r->buffers.n_lit, RING_BUFFERS_LIT);
    assert_int_equal(r->buffers.n - r->buffers.n_dark, RING_BUFFERS_LIT); /* the surplus went dark as it came back */
    close_all(r);
    finish(r);
}
static void test_buffers_are_lit_when_they_are_needed(void **state) { on_each_flavour(light_and_dim); }

/* --- buffers of a pool --- */

struct keeper {
    struct ring_op op;
    struct ring *ring;
    struct bufq q;
    unsigned n_shared, n_last;
    bool keep;
    size_t n_got;
};
static void keep(struct ring_op *op, int n, const uint8_t *bytes, bool more) {
    struct keeper *k = container_of(op, struct keeper, op);
    struct buf_chunk *c = ring_received_chunk(k->ring);
    k->n_last += !more;
    assert_int_equal(c != NULL, bytes != NULL);
    if (!bytes)
        return;
    assert_in_range(bytes - buf_chunk_bytes(c), 0, BUF_CHUNK_BYTES - n);
    for (int i = 0; i < n; i++)
        assert_int_equal(bytes[i], pattern[(k->n_got + (size_t)i) % N_EACH]);
    k->n_got += (size_t)n;
    if (k->keep) {
        size_t used = buf_pool_used(k->q.pool);
        assert_int_equal(bufq_append_shared(&k->q, c, bytes, (size_t)n), 0);
        k->n_shared += buf_chunk_is_shared(c) && buf_pool_used(k->q.pool) == used;
    }
}

static struct ring *ring_on(struct buf_pool *pool, unsigned n_buffers) {
    struct ring_options o = {.n_entries = 64, .n_recv_buffers = n_buffers, .recv_buffer_bytes = BUF_CHUNK_BYTES, .pool = pool};
    struct ring *r = NULL;
    char why[256] = "";
    if (ring_new_from(&o, flavour_now->setup, flavour_now->recv, &r, why) < 0)
        fail_msg("%s", why);
    return r;
}

static void expect_whole(struct bufq *q, size_t *at) {
    const uint8_t *piece;
    for (size_t n; (piece = bufq_peek(q, &n)); bufq_consume(q, n))
        for (size_t i = 0; i < n; i++, ++*at)
            assert_int_equal(piece[i], pattern[*at % N_EACH]);
}

static void send_pattern(int fd, size_t *at, size_t n) {
    for (size_t left = n; left;) {
        ssize_t k = write(fd, pattern + *at % N_EACH, min_of(left, N_EACH - *at % N_EACH));
        if (k <= 0)
            break;
        *at += (size_t)k;
        left -= (size_t)k;
    }
}

static void keep_chunks(void) {
    cleanup(buf_pool_freep) struct buf_pool *pool = buf_pool_new(256);
    struct ring *r = ring_on(pool, 64);
    struct keeper k = {.ring = r, .keep = true};
    int pair[2];
    size_t sent = 0, checked = 0;
    make_pair(pair);
    for (unsigned i = 0; i < N_EACH; i++)
        pattern[i] = (uint8_t)(i * 31 + i / 256);
    bufq_init(&k.q, pool);
    assert_int_equal(buf_pool_used(pool), r->buffers.n_lit);
    ring_recv(r, &k.op, pair[0], true, keep);
    for (unsigned i = 0; i < 30; i++) { /* each time many buffers' worth stay with us for a while */
        size_t until = sent + 400 * 1000;
        while (sent < until) {
            send_pattern(pair[1], &sent, until - sent);
            assert_int_equal(ring_turn(r, NS_PER_S, NULL), 0);
        }
        turn_until(r, k.n_got == sent);
        assert_null(ring_received_chunk(r));
        expect_whole(&k.q, &checked);
    }
    assert_int_equal(checked, sent);
    assert_true(k.n_shared > 100); /* by reference, no copy */
    k.keep = false;
    size_t before = k.n_got;
    for (unsigned i = 0; i < 100; i++) { /* who keeps none costs none */
        send_pattern(pair[1], &sent, 100);
        turn_until(r, k.n_got == sent);
        assert_in_range(buf_pool_used(pool), 1, r->buffers.n_lit_max);
    }
    assert_int_equal(k.n_got, before + 100 * 100);
    ring_cancel(r, &k.op);
    turn_until(r, k.n_last);
    close(pair[0]);
    close(pair[1]);
    finish(r);
    assert_int_equal(buf_pool_used(pool), 0);
}
static void test_who_keeps_a_chunk_keeps_the_buffer(void **state) { on_each_flavour(keep_chunks); }

static void run_out_of_chunks(void) {
    /* Somebody holds all chunks but those of the ring, and of those keeps each that gets bytes: receives wait, without
     * a spin, and go on once there are chunks again. */
    enum { N_CHUNKS = 64 };
    cleanup(buf_pool_freep) struct buf_pool *pool = buf_pool_new(N_CHUNKS);
    struct ring *r = ring_on(pool, 16);
    struct keeper k = {.ring = r};
    struct buf_chunk *held[N_CHUNKS];
    unsigned n_held = 0;
    int pair[2];
    size_t sent = 0;
    make_pair(pair);
    bufq_init(&k.q, pool);
    assert_int_equal(r->buffers.n_lit, N_CHUNKS / RING_POOL_PART);
    for (struct buf_chunk *c; (c = buf_chunk_acquire(pool));)
        held[n_held++] = c;
    assert_int_equal(n_held, N_CHUNKS - N_CHUNKS / RING_POOL_PART);
    ring_recv(r, &k.op, pair[0], true, keep);
    for (unsigned round = 0; round < 20; round++) {
        size_t had = k.n_got;
        send_pattern(pair[1], &sent, 40000);
        turn_until(r, k.n_got == sent);
        assert_int_equal(k.n_got, had + 40000);
    }
    /* Now the ring's own chunks are taken too. */
    struct buf_chunk *lit[16];
    unsigned n_lit = 0;
    for (unsigned id = 0; id < 16; id++)
        if (r->buffers.chunks[id])
            lit[n_lit++] = buf_chunk_ref(r->buffers.chunks[id]);
    assert_int_equal(n_lit, N_CHUNKS / RING_POOL_PART);
    size_t had = k.n_got;
    send_pattern(pair[1], &sent, 200 * 1000);
    struct ring_stats before, after;
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(ring_turn(r, NS_PER_MS, NULL), 0);
    assert_in_range(k.n_got - had, 1, n_lit * BUF_CHUNK_BYTES);
    assert_int_equal(r->buffers.n_dark, 16); /* each had bytes once, was kept, and none took its place */
    ring_get_stats(r, &before);
    uint64_t until = clock_mono_ns() + 30 * NS_PER_MS;
    while (clock_mono_ns() < until)
        assert_int_equal(ring_turn(r, 10 * NS_PER_MS, NULL), 0);
    ring_get_stats(r, &after);
    assert_in_range(after.enters - before.enters, 1, 200);
    buf_chunk_unref(held[--n_held]); /* one chunk is enough to go on */
    turn_until(r, k.n_got == sent);
    while (n_held)
        buf_chunk_unref(held[--n_held]);
    while (n_lit)
        buf_chunk_unref(lit[--n_lit]);
    ring_cancel(r, &k.op);
    turn_until(r, k.n_last);
    close(pair[0]);
    close(pair[1]);
    finish(r);
    assert_int_equal(buf_pool_used(pool), 0);
}
static void test_without_chunks_receives_wait(void **state) { on_each_flavour(run_out_of_chunks); }

static void test_the_probe_finds_what_this_kernel_can(void **state) {
    flavour_now = &flavours[0];
    struct ring *r = make_ring(8, N_BUFFERS, BUFFER_BYTES);
    assert_in_range(r->recv_mode, RECV_BUNDLE, RECV_SINGLE);
    print_message("receive mode here: %s\n", r->recv_mode == RECV_BUNDLE      ? "multishot and bundles"
                                             : r->recv_mode == RECV_MULTISHOT ? "multishot"
                                                                              : "single shot");
    finish(r);
    flavour_now = &flavours[array_size(flavours) - 1];
    r = make_ring(8, N_BUFFERS, BUFFER_BYTES);
    assert_int_equal(r->recv_mode, RECV_SINGLE);
    finish(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_buffers_carry_everything),
        cmocka_unit_test(test_the_ring_sleeps_when_nothing_can_be_done),
        cmocka_unit_test(test_a_flood_does_not_starve_a_quiet_socket),
        cmocka_unit_test(test_many_with_much_to_say_take_turns),
        cmocka_unit_test(test_a_starved_receive_can_be_cancelled),
        cmocka_unit_test(test_buffers_are_lit_when_they_are_needed),
        cmocka_unit_test(test_who_keeps_a_chunk_keeps_the_buffer),
        cmocka_unit_test(test_without_chunks_receives_wait),
        cmocka_unit_test(test_the_probe_finds_what_this_kernel_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
