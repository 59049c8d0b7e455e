/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: frames fit the caller's buffer and one TLS record, streams share the connection fairly, windows are obeyed, and
 * nothing spins when nothing can be sent. Method: drains of many sizes; peers that give little window. */
#include "h2_pair.h"

enum { SMALLEST = H2_SEND_FRAME_MAX + 64, SEEN_MAX = 4096 };
static struct seen seen[SEEN_MAX];

static void a_full_frame_fills_the_smallest_buffer(void **state) {
    struct side *c = side_make(false, true), *s = side_new(true);
    uint8_t *bytes = malloc(SMALLEST); /* exact: a sanitizer sees a write past the end */
    size_t full = 0, n;
    struct flow *f = side_connect(c, 2000000, true);
    sides_talk(c, s);
    f = side_connect(c, 200000, true);
    while ((n = h2_drain_bytes(c->h, bytes, SMALLEST)) > 0) {
        assert_true(n <= SMALLEST);
        full += n == H2_SEND_FRAME_MAX + 9;
        assert_int_equal(h2_feed(s->h, bytes, n, SECOND), 0);
    }
    assert_true(full >= 10);
    sides_talk(c, s);
    assert_int_equal(flow_of(s, f->id)->sum_received, f->sum_sent);
    free(bytes);
    side_free(c);
    side_free(s);
}

static void any_buffer_size_gives_the_same_bytes(void **state) {
    for (size_t cap = SMALLEST; cap < 3 * SMALLEST; cap += 997) {
        struct side *c = side_make(false, cap % 2), *s = side_make(true, cap % 3 == 0);
        uint8_t *bytes = malloc(cap);
        size_t n, m;
        for (int i = 0; i < 3; i++)
            assert_non_null(side_connect(c, 300000, true));
        s->reply_bytes = 100000;
        do {
            n = side_drain(c, bytes, cap);
            assert_int_equal(h2_feed(s->h, bytes, n, SECOND), 0);
            m = side_drain(s, bytes, cap);
            assert_int_equal(h2_feed(c->h, bytes, m, SECOND), 0);
        } while (n + m);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(flow_of(s, c->flows[i].id)->sum_received, c->flows[i].sum_sent);
            assert_true(c->flows[i].orderly);
        }
        free(bytes);
        side_free(c);
        side_free(s);
    }
}

static void take_turns(bool as_bytes, size_t frame, size_t rounds) {
    struct side *c = side_make(false, as_bytes), *s = side_new(true);
    int verdict = 0;
    for (int i = 0; i < 8; i++)
        assert_non_null(side_connect(c, 0, false));
    sides_talk(c, s);
    for (int i = 0; i < 8; i++) {
        c->flows[i].to_send = rounds * frame;
        h2_stream_ready(c->h, c->flows[i].id);
        h2_stream_ready(c->h, c->flows[i].id); /* said twice is said once */
    }
    s->n_order = 0;
    while (side_carry(c, s, SIDE_BUFFER, &verdict))
        ;
    assert_int_equal(s->n_order, 8 * rounds);
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < 8; i++)
            for (size_t k = 0; k < i; k++)
                assert_int_not_equal(s->order[8 * round + i], s->order[8 * round + k]);
    side_free(c);
    side_free(s);
}
static void streams_take_turns(void **state) {
    take_turns(true, H2_SEND_FRAME_MAX, 10);
    take_turns(false, SIDE_BUFFER - 9, 3);
}

static void a_frame_in_a_queue_is_as_large_as_the_peer_takes(void **state) {
    static const struct {
        uint32_t accepted, wanted; /* SETTINGS_MAX_FRAME_SIZE */
    } cases[] = {{16384, 16384}, {40000, 40000}, {H2_FRAME_MAX, H2_QUEUE_FRAME_MAX}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raw r = {0};
        struct side *s = side_new(true);
        uint32_t a = cases[i].accepted, largest = 0;
        uint8_t entry[12] = {0, 5, (uint8_t)(a >> 24), (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a, 0, 4, 0, 64, 0, 0};
        raw_add(&r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        raw_frame(&r, F_SETTINGS, 0, 0, entry, sizeof(entry));
        raw_word(&r, F_WINDOW_UPDATE, 0, 4000000);
        raw_connect(&r, 1, 0);
        s->reply_bytes = 300000;
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        while (h2_drain(s->h, &s->out, 200000))
            ;
        size_t n = s->out.n_bytes;
        uint8_t *bytes = malloc(n);
        assert_int_equal(bufq_read(&s->out, bytes, n), n);
        for (size_t at = 0, length; at + 9 <= n; at += 9 + length) {
            length = (size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2];
            largest = bytes[at + 3] == F_DATA && length > largest ? (uint32_t)length : largest;
        }
        assert_int_equal(largest, cases[i].wanted);
        free(bytes);
        free(r.bytes);
        side_free(s);
    }
}

/* All chunks but so many are taken away for a while: nothing is lost, and all goes on when they are back. */
static void a_pool_at_its_bound_delays_and_loses_nothing(void **state) {
    struct buf_chunk *taken[SIDE_CHUNKS];
    for (size_t n_left = 0; n_left < 6; n_left++) {
        struct side *c = side_new(false), *s = side_new(true);
        size_t n_taken = 0;
        int verdict = 0;
        s->reply_bytes = 200000;
        struct flow *f = side_connect(c, 100000, true);
        assert_int_equal(side_carry(c, s, SIDE_BUFFER, &verdict) > 0, true);
        while (buf_pool_used(s->shared.pool) + n_left < SIDE_CHUNKS)
            taken[n_taken++] = buf_chunk_acquire(s->shared.pool);
        s->starved = true; /* its pull may find no room */
        for (int i = 0; i < 3; i++)
            side_carry(s, c, SIDE_BUFFER, &verdict);
        assert_true(n_left > 0 || (f->received == 0 && h2_wants_send(s->h)));
        while (n_taken)
            buf_chunk_unref(taken[--n_taken]);
        s->starved = false;
        for (size_t i = 0; i < s->n_flows; i++)
            h2_stream_ready(s->h, s->flows[i].id);
        sides_talk(c, s);
        assert_int_equal(verdict, 0);
        assert_int_equal(f->received, 200000);
        assert_int_equal(f->sum_received, flow_of(s, f->id)->sum_sent);
        side_free(c);
        side_free(s);
    }
}

static void a_stopped_reader_holds_only_itself(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    int verdict = 0;
    for (int i = 0; i < 9; i++)
        assert_non_null(side_connect(c, 0, false));
    sides_talk(c, s);
    for (int i = 0; i < 9; i++) {
        struct flow *f = &c->flows[i];
        f->to_send = 20000000;
        flow_of(s, f->id)->hold = i < 8;
        h2_stream_ready(c->h, f->id);
    }
    while (side_carry(c, s, SIDE_BUFFER, &verdict) + side_carry(s, c, SIDE_BUFFER, &verdict))
        ;
    for (int i = 0; i < 8; i++)
        assert_int_equal(s->flows[i].received, H2_STREAM_WINDOW);
    assert_int_equal(s->flows[8].received, 20000000);
    assert_false(h2_wants_send(c->h)); /* waits, does not spin */
    assert_int_equal(h2_stream_unsent_window(c->h, c->flows[0].id), 0);
    assert_true(h2_stream_unsent_window(c->h, c->flows[8].id) > 0);
    assert_int_equal(h2_stream_unsent_window(c->h, 999), 0);
    for (int i = 0; i < 8; i++) { /* they read again */
        struct flow *f = &s->flows[i];
        f->hold = false;
        h2_stream_delivered(s->h, f->id, f->held);
    }
    sides_talk(c, s);
    for (int i = 0; i < 9; i++)
        assert_int_equal(s->flows[i].received, 20000000);
    side_free(c);
    side_free(s);
}

static void a_closed_connection_window_stops_all_and_opens_all(void **state) {
    struct raw r = {0};
    struct side *s = side_new(true);
    raw_preface(&r);
    s->reply_bytes = 60000;
    for (uint32_t id = 1; id < 9; id += 2)
        raw_connect(&r, id, 0);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    side_frames(s, seen, SEEN_MAX); /* 65535 bytes may go */
    uint64_t sent = 0;
    for (size_t i = 0; i < s->n_flows; i++)
        sent += s->flows[i].sent;
    assert_int_equal(sent, 65535);
    assert_false(h2_wants_send(s->h));
    raw_word(&r, F_WINDOW_UPDATE, 0, 1000000);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    assert_true(h2_wants_send(s->h));
    side_frames(s, seen, SEEN_MAX);
    for (size_t i = 0; i < s->n_flows; i++)
        assert_true(s->flows[i].sent == 60000 && s->flows[i].end_sent);
    assert_false(h2_wants_send(s->h));
    free(r.bytes);
    side_free(s);
}

static void a_small_window_is_used_to_the_byte(void **state) {
    static const uint8_t tiny[6] = {0, 4, 0, 0, 0, 1}; /* initial window 1 */
    struct raw r = {0};
    struct side *s = side_new(true);
    raw_add(&r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(&r, F_SETTINGS, 0, 0, tiny, sizeof(tiny));
    s->reply_bytes = 10;
    raw_connect(&r, 1, 0);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    side_frames(s, seen, SEEN_MAX);
    for (unsigned i = 1; i < 10; i++) {
        assert_int_equal(s->flows[0].sent, i);
        raw_word(&r, F_WINDOW_UPDATE, 1, 1);
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        size_t n = side_frames(s, seen, SEEN_MAX);
        assert_non_null(seen_find(seen, n, F_DATA, 1));
    }
    assert_true(s->flows[0].end_sent);
    free(r.bytes);
    side_free(s);
}

static void resets_that_we_were_made_to_send_are_a_flood(void **state) {
    struct raw r = {0};
    struct side *s = side_new(true);
    raw_preface(&r);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    int v = 0;
    uint32_t streams = 0;
    for (; v == 0 && streams < 5000; streams++) { /* requests without an authority: each is answered by a reset */
        static const struct line line = {":method", "CONNECT"};
        raw_headers(&r, 1 + 2 * streams, 0, &line, 1);
        v = raw_feed(&r, s, SECOND);
        side_frames(s, seen, SEEN_MAX);
    }
    assert_int_equal(v, H2_FLOOD);
    assert_true(streams <= 2 * H2_RESETS_MAX_PER_S + 2);
    side_frames(s, seen, SEEN_MAX);
    assert_true(h2_finished(s->h));
    free(r.bytes);
    side_free(s);
}

static void flows_that_lived_may_be_reset_at_any_pace(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    for (unsigned i = 0; i < 3000; i++) {
        struct flow *f = side_connect(c, 10, false);
        sides_talk(c, s);
        h2_stream_reset(i % 2 ? s->h : c->h, f->id, H2_CONNECT_ERROR);
        sides_talk(c, s);
        assert_true(f->n_closed == 1 && f->error == H2_CONNECT_ERROR);
        c->n_flows = s->n_flows = 0;
    }
    side_free(c);
    side_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_frame_fills_the_smallest_buffer),
        cmocka_unit_test(any_buffer_size_gives_the_same_bytes),
        cmocka_unit_test(streams_take_turns),
        cmocka_unit_test(a_frame_in_a_queue_is_as_large_as_the_peer_takes),
        cmocka_unit_test(a_pool_at_its_bound_delays_and_loses_nothing),
        cmocka_unit_test(a_stopped_reader_holds_only_itself),
        cmocka_unit_test(a_closed_connection_window_stops_all_and_opens_all),
        cmocka_unit_test(a_small_window_is_used_to_the_byte),
        cmocka_unit_test(resets_that_we_were_made_to_send_are_a_flood),
        cmocka_unit_test(flows_that_lived_may_be_reset_at_any_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
