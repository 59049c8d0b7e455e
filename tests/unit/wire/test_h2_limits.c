/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: each known flood ends the session soon, in bounded memory, and honest traffic never does. Method: floods written
 * by hand into a server; the reader of frame headers alone, fed in every cut. */
#include "../../../src/wire/h2_limits.h"

#include "h2_pair.h"

enum { SEEN_MAX = 64, TOO_MANY = 100000 };

/* Feeds the same bytes until a verdict, or `rounds` times. The peer never reads. */
static int flood(struct side *s, const struct raw *what, unsigned rounds, uint64_t step_ns, unsigned *ret_rounds) {
    uint64_t now = SECOND;
    int v = 0;
    unsigned i;
    for (i = 0; v == 0 && i < rounds; i++, now += step_ns)
        v = h2_feed(s->h, what->bytes, what->n, now);
    *ret_rounds = i;
    return v;
}

static struct side *server(void) {
    struct raw r = {0};
    struct side *s = side_new(true);
    raw_preface(&r);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    free(r.bytes);
    return s;
}

static void control_floods_end_the_session(void **state) {
    static const uint8_t zeros[16] = {0}, priority[5] = {0, 0, 0, 0, 16};
    static const struct {
        uint8_t type, flags;
        uint32_t id;
        const uint8_t *payload;
        size_t n;
    } cases[] = {
        {F_PING, 0, 0, zeros, 8}, {F_PING, ACK, 0, zeros, 8},    {F_SETTINGS, 0, 0, zeros, 0}, {F_PRIORITY, 0, 3, priority, 5},
        {F_DATA, 0, 1, zeros, 0}, {F_DATA, PADDED, 1, zeros, 1}, {0xfa, 0, 0, zeros, 0},       {0xfa, 0, 1, zeros, 16},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raw r = {0};
        struct side *s = server();
        unsigned rounds;
        size_t before = h2_memory_used();
        raw_connect(&r, 1, 0);
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        raw_frame(&r, cases[i].type, cases[i].flags, cases[i].id, cases[i].payload, cases[i].n);
        assert_int_equal(flood(s, &r, TOO_MANY, 0, &rounds), H2_FLOOD);
        assert_true(rounds > H2_CONTROL_MAX_PER_S && rounds <= 2 * H2_CONTROL_MAX_PER_S + 8);
        assert_true(h2_memory_used() < before + 1024 * 1024);
        struct seen seen[SEEN_MAX];
        side_frames(s, seen, SEEN_MAX);
        assert_true(h2_finished(s->h));
        side_free(s);
        /* at a pace that is allowed, it goes on for ever; the peer reads */
        s = server();
        uint64_t now = SECOND;
        raw_connect(&r, 1, 0);
        struct raw one = {0};
        raw_frame(&one, cases[i].type, cases[i].flags, cases[i].id, cases[i].payload, cases[i].n);
        r.n = 0;
        raw_connect(&r, 1, 0);
        assert_int_equal(raw_feed(&r, s, now), 0);
        for (unsigned k = 0; k < 20 * H2_CONTROL_MAX_PER_S; k++, now += SECOND / H2_CONTROL_MAX_PER_S + 1) {
            assert_int_equal(h2_feed(s->h, one.bytes, one.n, now), 0);
            side_frames(s, seen, SEEN_MAX);
        }
        free(one.bytes);
        free(r.bytes);
        side_free(s);
    }
}

static void dribbled_windows_are_a_flood_and_honest_ones_are_not(void **state) {
    static const uint32_t steps[] = {1, 63, 64, 1000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct raw r = {0};
        struct side *s = server();
        unsigned rounds;
        raw_word(&r, F_WINDOW_UPDATE, 0, steps[i]);
        assert_int_equal(flood(s, &r, 20000, 0, &rounds), steps[i] < H2_WINDOW_TINY ? H2_FLOOD : 0);
        free(r.bytes);
        side_free(s);
    }
}

static void rapid_resets_end_the_session(void **state) {
    struct side *s = server();
    struct raw r = {0};
    int v = 0;
    uint32_t i = 0;
    s->answer = false;
    for (; v == 0 && i < TOO_MANY; i++) {
        raw_connect(&r, 1 + 2 * i, 0);
        raw_word(&r, F_RST_STREAM, 1 + 2 * i, H2_CANCEL);
        v = raw_feed(&r, s, SECOND);
        s->n_flows = 0;
    }
    assert_int_equal(v, H2_FLOOD);
    assert_true(i <= 2 * H2_RESETS_MAX_PER_S + 1);
    side_free(s);
    /* the same number over time is a busy day */
    s = server();
    s->answer = false;
    for (i = 0; i < 3000; i++) {
        raw_connect(&r, 1 + 2 * i, 0);
        raw_word(&r, F_RST_STREAM, 1 + 2 * i, H2_CANCEL);
        assert_int_equal(raw_feed(&r, s, SECOND + (uint64_t)i * (SECOND / H2_RESETS_MAX_PER_S)), 0);
        s->n_flows = 0;
        struct seen seen[SEEN_MAX];
        side_frames(s, seen, SEEN_MAX);
    }
    assert_int_equal(h2_streams(s->h), 0);
    free(r.bytes);
    side_free(s);
}

static void endless_header_blocks_end_the_session(void **state) {
    static const size_t sizes[] = {0, 1, 1000, 16384, 65536};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct raw r = {0}, block = {0};
        struct side *s = server();
        size_t before = h2_memory_used();
        uint8_t *filler = malloc(70000);
        int v = 0;
        unsigned frames = 0;
        memset(filler, 0x82, 70000); /* :method GET again and again */
        raw_literal(&block, ":method", "CONNECT", 7);
        raw_frame(&r, F_HEADERS, 0, 1, block.bytes, block.n);
        for (; v == 0 && frames < 1000; frames++) {
            v = raw_feed(&r, s, SECOND);
            raw_frame(&r, F_CONTINUATION, 0, 1, filler, sizes[i]);
        }
        assert_true(v == H2_FLOOD || v == H2_BROKEN);
        assert_true(frames <= H2_CONTINUATIONS_MAX + 2);
        assert_true(h2_memory_used() < before + 512 * 1024);
        assert_int_equal(s->n_requests, 0);
        free(filler);
        free(block.bytes);
        free(r.bytes);
        side_free(s);
    }
}

/* Header blocks that say nothing: 1xx without end, and blocks for a stream that we gave up. */
static void idle_header_blocks_are_a_flood(void **state) {
    static const struct line early[] = {{":status", "103"}, {"x", "y"}}, late[] = {{":status", "200"}};
    for (unsigned given_up = 0; given_up < 2; given_up++) {
        struct raw r = {0};
        struct side *s = side_new(false);
        struct seen seen[SEEN_MAX];
        unsigned rounds;
        raw_frame(&r, F_SETTINGS, 0, 0, NULL, 0);
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        int32_t id = side_connect(s, 0, false)->id;
        side_frames(s, seen, SEEN_MAX);
        if (given_up) {
            h2_stream_forget(s->h, id);
            side_frames(s, seen, SEEN_MAX);
        }
        raw_headers(&r, (uint32_t)id, 0, given_up ? late : early, given_up ? 1 : 2);
        assert_int_equal(flood(s, &r, TOO_MANY, 0, &rounds), H2_FLOOD);
        assert_true(rounds > H2_CONTROL_MAX_PER_S && rounds <= 2 * H2_CONTROL_MAX_PER_S + 8);
        free(r.bytes);
        side_free(s);
    }
}

/* However many requests are given up, and answered all the same: that is nobody's flood. */
static void late_answers_are_no_flood(void **state) {
    static const struct line late[] = {{":status", "200"}};
    struct raw r = {0};
    struct side *s = side_new(false);
    struct seen seen[SEEN_MAX];
    raw_frame(&r, F_SETTINGS, 0, 0, NULL, 0);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    for (unsigned i = 0; i < 5 * H2_CONTROL_MAX_PER_S; i++) {
        s->n_flows = 0;
        int32_t id = side_connect(s, 0, false)->id;
        side_frames(s, seen, SEEN_MAX);
        h2_stream_forget(s->h, id);
        side_frames(s, seen, SEEN_MAX);
        raw_headers(&r, (uint32_t)id, 0, late, 1);
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
    }
    free(r.bytes);
    side_free(s);
}

static void replies_to_a_peer_that_does_not_read_are_bounded(void **state) {
    static const uint8_t zeros[8] = {0};
    struct raw r = {0};
    struct side *s = server();
    unsigned rounds;
    raw_frame(&r, F_PING, 0, 0, zeros, 8);
    size_t before = h2_memory_used();
    /* slow enough for the rate, but nothing is ever drained */
    assert_int_equal(flood(s, &r, TOO_MANY, SECOND / 100, &rounds), H2_FLOOD);
    assert_true(rounds <= H2_CONTROL_BACKLOG_MAX + 4 * H2_STREAMS_MAX + 2);
    assert_true(h2_memory_used() < before + 1024 * 1024);
    free(r.bytes);
    side_free(s);
}

static void the_reader_counts_the_same_in_every_cut(void **state) {
    static const uint8_t payload[300] = {0};
    struct raw r = {0};
    raw_preface(&r);
    for (unsigned i = 0; i < 2 * H2_CONTROL_MAX_PER_S - 50; i++) { /* mixed with frames that cost nothing */
        raw_frame(&r, F_DATA, 0, 1, payload, i % 300 + 1);
        raw_frame(&r, F_DATA, END_STREAM, 1, NULL, 0);
        raw_word(&r, F_WINDOW_UPDATE, 1, 70000);
        raw_word(&r, F_WINDOW_UPDATE, 1, 2);
    }
    size_t sound = r.n;
    for (unsigned i = 0; i < 60; i++)
        raw_frame(&r, F_PING, 0, 0, payload, 8);
    for (size_t cut = 1; cut < 4000; cut = cut * 2 + 1) {
        struct h2_limits l;
        bool ok = true;
        size_t at = 0;
        h2_limits_init(&l, true);
        for (; ok && at < r.n; at += cut)
            ok = h2_limits_feed(&l, r.bytes + at, r.n - at < cut ? r.n - at : cut, SECOND);
        assert_false(ok);
        assert_true(at > sound);
    }
    free(r.bytes);
}

static void answers_to_what_we_sent_are_no_flood(void **state) {
    static const uint8_t ping[] = {0, 0, 8, F_PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    struct h2_limits l;
    unsigned n = 0;
    h2_limits_init(&l, false);
    for (unsigned sent = 0; sent < 10000; sent++) { /* all in the same moment */
        h2_limits_earn(&l);
        for (unsigned i = 0; i < H2_EARNED_A_FRAME; i++)
            assert_true(h2_limits_feed(&l, ping, sizeof(ping), SECOND));
    }
    for (unsigned sent = 0; sent < 10000; sent++) /* what was not answered does not add up without end */
        h2_limits_earn(&l);
    while (h2_limits_feed(&l, ping, sizeof(ping), SECOND))
        n++;
    assert_in_range(n, H2_EARNED_MAX + 2 * H2_CONTROL_MAX_PER_S - 1, H2_EARNED_MAX + 2 * H2_CONTROL_MAX_PER_S + 1);
}

static void a_rate_allows_a_burst_of_two_seconds_and_then_its_pace(void **state) {
    struct h2_rate rate = {0};
    uint64_t now = 5 * (uint64_t)SECOND;
    unsigned taken = 0;
    while (h2_rate_take(&rate, now, 100))
        taken++;
    assert_int_equal(taken, 200);
    for (unsigned i = 0; i < 1000; i++) {
        now += SECOND / 100;
        assert_true(h2_rate_take(&rate, now, 100));
        assert_false(h2_rate_take(&rate, now, 100));
    }
    now += 10 * (uint64_t)SECOND; /* rest is not saved up beyond the burst */
    for (taken = 0; h2_rate_take(&rate, now, 100); taken++)
        ;
    assert_int_equal(taken, 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_floods_end_the_session),
        cmocka_unit_test(idle_header_blocks_are_a_flood),
        cmocka_unit_test(late_answers_are_no_flood),
        cmocka_unit_test(dribbled_windows_are_a_flood_and_honest_ones_are_not),
        cmocka_unit_test(answers_to_what_we_sent_are_no_flood),
        cmocka_unit_test(rapid_resets_end_the_session),
        cmocka_unit_test(endless_header_blocks_end_the_session),
        cmocka_unit_test(replies_to_a_peer_that_does_not_read_are_bounded),
        cmocka_unit_test(the_reader_counts_the_same_in_every_cut),
        cmocka_unit_test(a_rate_allows_a_burst_of_two_seconds_and_then_its_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
