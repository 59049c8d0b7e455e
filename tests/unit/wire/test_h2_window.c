/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a stream's window grows for a quick reader that it holds up, and for nobody else; it shrinks again; what peers can make us
 * hold is bounded, whatever they send. Method: a peer of hand-written frames that uses all it is granted, or more, or pads, before
 * readers of several paces; and the numbers alone under random histories. */
#include "../../../src/wire/h2_window.h"

#include "h2_pair.h"

enum { SEEN_MAX = 4096, PIECE = 16384 };
static struct seen seen[SEEN_MAX];
static uint8_t payload[PIECE];

struct sender {
    struct raw r;
    struct side *s;
    uint64_t now_ns, may_send; /* may_send: by what it was granted */
};

/* Takes in what the server says; returns what it granted on stream 1. */
static uint32_t granted(struct sender *p) {
    size_t n = side_frames(p->s, seen, SEEN_MAX);
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += seen[i].type == F_WINDOW_UPDATE && seen[i].id == 1 ? seen[i].word : 0;
    p->may_send += sum;
    return sum;
}

static void sender_init(struct sender *p) {
    *p = (struct sender){.s = side_new(true), .now_ns = SECOND, .may_send = H2_STREAM_WINDOW};
    raw_preface(&p->r);
    raw_connect(&p->r, 1, 0);
    assert_int_equal(raw_feed(&p->r, p->s, p->now_ns), 0);
    granted(p);
    flow_of(p->s, 1)->hold = true;
}

static void sender_deinit(struct sender *p) {
    free(p->r.bytes);
    side_free(p->s);
}

static void send_some(struct sender *p, uint64_t n) {
    assert_true(n <= p->may_send);
    p->may_send -= n;
    for (uint64_t step; n; n -= step) {
        step = n < PIECE ? n : PIECE;
        raw_frame(&p->r, F_DATA, 0, 1, payload, step);
    }
    assert_int_equal(raw_feed(&p->r, p->s, p->now_ns), 0);
}

static void deliver(struct sender *p, uint64_t n) {
    struct flow *f = flow_of(p->s, 1);
    assert_true(n <= f->held);
    f->held -= n;
    h2_stream_delivered(p->s->h, 1, n);
}

/* So many rounds: all that is granted comes, the time passes, all is taken. */
static void rounds(struct sender *p, unsigned n, uint64_t ns) {
    while (n--) {
        send_some(p, p->may_send - 1);
        p->now_ns += ns;
        send_some(p, 1); /* a session learns the time from what comes */
        deliver(p, flow_of(p->s, 1)->held);
        granted(p);
    }
}

static void a_quick_reader_that_is_held_up_gets_more(void **state) {
    struct sender p;
    sender_init(&p);
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW);
    for (size_t want = 2 * H2_STREAM_WINDOW; want <= H2_STREAM_WINDOW_MAX; want *= 2) {
        rounds(&p, H2_WINDOW_TRIALS - 1, SECOND / 100);
        assert_int_equal(h2_stream_window(p.s->h, 1), want / 2);
        rounds(&p, 1, SECOND / 100);
        assert_int_equal(h2_stream_window(p.s->h, 1), want);
        assert_int_equal(p.may_send, want);
        assert_int_equal(p.s->shared.windows, want - H2_STREAM_WINDOW);
    }
    rounds(&p, 2 * H2_WINDOW_TRIALS, SECOND / 100);
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW_MAX);
    assert_int_equal(h2_stream_window(p.s->h, 3), 0);
    sender_deinit(&p);
}

static void a_reader_that_stops_once_the_kernel_is_full_leaves_us_little(void **state) {
    enum {
        KERNELS = 4 * 1024 * 1024
    }; /* tcp_wmem: our own socket's buffer takes that much at once for a reader that takes nothing */
    struct sender p;
    sender_init(&p);
    for (uint64_t taken = 0; taken < KERNELS; taken += h2_stream_window(p.s->h, 1))
        rounds(&p, 1, SECOND / 1000);
    send_some(&p, p.may_send);
    assert_int_equal(granted(&p), 0);
    assert_true(flow_of(p.s, 1)->held <= 512 * 1024); /* a flow whose reader stops costs less than 1 MiB in all */
    sender_deinit(&p);
}

static void a_slow_reader_gets_no_more(void **state) {
    struct sender p;
    sender_init(&p);
    rounds(&p, 20, 2 * (uint64_t)SECOND); /* takes all, but each window lasts long */
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW);
    for (int i = 0; i < 2000; i++) { /* quick enough, and never done with what is there */
        uint64_t all = p.may_send;
        send_some(&p, all);
        p.now_ns += SECOND / 1000;
        deliver(&p, PIECE);
        granted(&p);
        assert_true(flow_of(p.s, 1)->held + p.may_send <= H2_STREAM_WINDOW);
    }
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW);
    sender_deinit(&p);
}

static void a_window_that_holds_nobody_up_stays(void **state) {
    struct sender p;
    sender_init(&p);
    for (int i = 0; i < 2000; i++) { /* the peer never uses all it has */
        send_some(&p, 100000);
        p.now_ns += SECOND / 1000;
        deliver(&p, 100000);
        granted(&p);
    }
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW);
    sender_deinit(&p);
}

static void a_reader_that_becomes_slow_loses_what_it_got(void **state) {
    struct sender p;
    sender_init(&p);
    rounds(&p, 5 * H2_WINDOW_TRIALS, SECOND / 100);
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW_MAX);
    for (int i = 0; i < 4000; i++) {
        send_some(&p, p.may_send);
        assert_true(flow_of(p.s, 1)->held <= H2_STREAM_WINDOW_MAX);
        p.now_ns += SECOND / 1000;
        deliver(&p, flow_of(p.s, 1)->held < PIECE ? flow_of(p.s, 1)->held : PIECE);
        granted(&p);
    }
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW);
    assert_true(flow_of(p.s, 1)->held <= H2_STREAM_WINDOW); /* and holds no more than that */
    assert_int_equal(p.s->shared.windows, 0);
    sender_deinit(&p);
}

static void nothing_grows_while_buffers_run_short(void **state) {
    struct buf_chunk *taken[SIDE_CHUNKS];
    struct sender p;
    size_t n = 0;
    sender_init(&p);
    while (n < SIDE_CHUNKS / 2)
        taken[n++] = buf_chunk_acquire(p.s->shared.pool);
    rounds(&p, 10 * H2_WINDOW_TRIALS, SECOND / 100);
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW);
    while (n > SIDE_CHUNKS / 4)
        buf_chunk_unref(taken[--n]);
    rounds(&p, 3 * H2_WINDOW_TRIALS, SECOND / 100);
    assert_int_equal(h2_stream_window(p.s->h, 1), 8 * H2_STREAM_WINDOW);
    while (n < SIDE_CHUNKS / 8 * 7)
        taken[n++] = buf_chunk_acquire(p.s->shared.pool);
    rounds(&p, 3, SECOND / 100); /* what it was granted comes; then the window is small at once */
    assert_int_equal(h2_stream_window(p.s->h, 1), H2_STREAM_WINDOW);
    assert_int_equal(p.may_send, H2_STREAM_WINDOW);
    while (n)
        buf_chunk_unref(taken[--n]);
    sender_deinit(&p);
}

static void all_windows_together_are_bounded(void **state) {
    struct sender p;
    sender_init(&p);
    p.s->shared.windows_max = 3 * H2_STREAM_WINDOW;
    rounds(&p, 10 * H2_WINDOW_TRIALS, SECOND / 100);
    assert_int_equal(h2_stream_window(p.s->h, 1), 4 * H2_STREAM_WINDOW);
    p.s->shared.windows += H2_STREAM_WINDOW; /* another session's */
    rounds(&p, 10 * H2_WINDOW_TRIALS, SECOND / 100);
    assert_int_equal(h2_stream_window(p.s->h, 1), 4 * H2_STREAM_WINDOW);
    p.s->shared.windows -= H2_STREAM_WINDOW;
    raw_word(&p.r, F_RST_STREAM, 1, H2_CANCEL);
    assert_int_equal(raw_feed(&p.r, p.s, p.now_ns), 0);
    assert_int_equal(p.s->shared.windows, 0); /* given back with the stream */
    sender_deinit(&p);
}

static void a_peer_that_sends_more_than_its_window_is_reset(void **state) {
    for (unsigned grown = 0; grown < 5; grown++) {
        struct sender p;
        sender_init(&p);
        rounds(&p, grown * H2_WINDOW_TRIALS, SECOND / 100);
        size_t window = h2_stream_window(p.s->h, 1);
        assert_int_equal(window, (size_t)H2_STREAM_WINDOW << grown);
        p.may_send += 10 * PIECE;
        send_some(&p, p.may_send);
        assert_true(flow_of(p.s, 1)->held <= window);
        size_t n = side_frames(p.s, seen, SEEN_MAX);
        const struct seen *reset = seen_find(seen, n, F_RST_STREAM, 1);
        assert_true(reset && reset->word == H2_FLOW_CONTROL_ERROR);
        assert_int_equal(flow_of(p.s, 1)->n_closed, 1);
        sender_deinit(&p);
    }
}

/* Padding counts against windows, and nobody reads it. */
static void padding_is_credited_too(void **state) {
    static uint8_t padded[1 + 100 + 255] = {255};
    struct sender p;
    sender_init(&p);
    uint64_t sent = 0;
    for (; sent < 20 * 1024 * 1024; sent += sizeof(padded)) {
        assert_true(p.may_send >= sizeof(padded));
        p.may_send -= sizeof(padded);
        raw_frame(&p.r, F_DATA, PADDED, 1, padded, sizeof(padded));
        p.now_ns += SECOND / 1000;
        assert_int_equal(raw_feed(&p.r, p.s, p.now_ns), 0);
        deliver(&p, flow_of(p.s, 1)->held);
        granted(&p);
    }
    assert_int_equal(flow_of(p.s, 1)->received, sent / sizeof(padded) * 100);
    assert_int_equal(flow_of(p.s, 1)->n_closed, 0);
    sender_deinit(&p);
}

/* A peer may send before it acknowledged our SETTINGS, from the window of a connection without any. */
static void settings_not_yet_acknowledged_change_no_sum(void **state) {
    struct sender p = {.s = side_new(true), .now_ns = SECOND, .may_send = 65535};
    raw_add(&p.r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(&p.r, F_SETTINGS, 0, 0, NULL, 0);
    raw_connect(&p.r, 1, 0);
    assert_int_equal(raw_feed(&p.r, p.s, p.now_ns), 0);
    flow_of(p.s, 1)->hold = true;
    for (int i = 0; i < 60; i++) {
        send_some(&p, 16000 < p.may_send ? 16000 : p.may_send);
        deliver(&p, flow_of(p.s, 1)->held);
        granted(&p);
        assert_true(p.may_send <= H2_STREAM_WINDOW);
    }
    raw_frame(&p.r, F_SETTINGS, ACK, 0, NULL, 0);
    p.may_send += H2_STREAM_WINDOW - 65535;
    for (int i = 0; i < 60; i++) {
        send_some(&p, p.may_send);
        assert_true(flow_of(p.s, 1)->held <= h2_stream_window(p.s->h, 1));
        deliver(&p, flow_of(p.s, 1)->held);
        granted(&p);
    }
    assert_int_equal(flow_of(p.s, 1)->n_closed, 0);
    sender_deinit(&p);
}

static void random_histories_keep_the_bound(void **state) {
    struct h2_shared shared = {.pool = buf_pool_new(64), .windows_max = 6 * 1024 * 1024};
    uint32_t random = 12345;
    for (int history = 0; history < 200; history++) {
        struct h2_window w[3];
        uint64_t now = 1, left[3];
        for (int i = 0; i < 3; i++) {
            h2_window_init(&w[i]);
            left[i] = H2_STREAM_WINDOW;
        }
        for (int step = 0; step < 3000; step++) {
            struct h2_window *x = &w[step % 3];
            uint64_t *may = &left[step % 3];
            random = random * 1664525 + 1013904223;
            size_t n = (random >> 4) % (*may + 1);
            if (random % 3 == 0)
                n = *may;
            now += random % 7 == 0 ? SECOND : 1000;
            assert_false(h2_window_take(x, *may + 1, now));
            assert_true(h2_window_take(x, n, now));
            *may -= n;
            size_t out = x->undelivered ? (random >> 7) % (x->undelivered + 1) : 0;
            h2_window_give(x, random % 2 ? x->undelivered : out, now, &shared);
            *may += (uint32_t)h2_window_credit(x, (int32_t)*may, &shared);
            assert_int_equal(x->granted, *may);
            assert_true(x->undelivered + x->granted <= H2_STREAM_WINDOW + x->counted);
            assert_true(x->size >= H2_STREAM_WINDOW && x->size <= H2_STREAM_WINDOW_MAX);
            assert_true(shared.windows <= shared.windows_max);
            assert_int_equal(shared.windows, w[0].counted + w[1].counted + w[2].counted);
        }
        for (int i = 0; i < 3; i++)
            h2_window_deinit(&w[i], &shared);
        assert_int_equal(shared.windows, 0);
    }
    buf_pool_free(shared.pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quick_reader_that_is_held_up_gets_more),
        cmocka_unit_test(a_reader_that_stops_once_the_kernel_is_full_leaves_us_little),
        cmocka_unit_test(a_slow_reader_gets_no_more),
        cmocka_unit_test(a_window_that_holds_nobody_up_stays),
        cmocka_unit_test(a_reader_that_becomes_slow_loses_what_it_got),
        cmocka_unit_test(nothing_grows_while_buffers_run_short),
        cmocka_unit_test(all_windows_together_are_bounded),
        cmocka_unit_test(a_peer_that_sends_more_than_its_window_is_reset),
        cmocka_unit_test(padding_is_credited_too),
        cmocka_unit_test(settings_not_yet_acknowledged_change_no_sum),
        cmocka_unit_test(random_histories_keep_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
