/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: what a peer sends is shown truthfully or refused; nothing it sends grows our memory. Method: frames written by
 * hand, many of which no honest peer sends. */
#include "h2_pair.h"

enum { SEEN_MAX = 4096 };
static struct seen seen[SEEN_MAX];

/* A server that has got the preface. */
static struct side *server(struct raw *r) {
    struct side *s = side_new(true);
    raw_preface(r);
    assert_int_equal(raw_feed(r, s, SECOND), 0);
    side_frames(s, seen, SEEN_MAX);
    return s;
}

static void our_settings_are_advertised(void **state) {
    static const struct {
        bool server;
        uint16_t id;
        uint32_t value;
    } wanted[] = {
        {true, 3, H2_STREAMS_MAX},    {true, 4, H2_STREAM_WINDOW}, {true, 5, H2_FRAME_MAX}, {true, 6, H2_HEADER_LIST_MAX},
        {false, 4, H2_STREAM_WINDOW}, {false, 5, H2_FRAME_MAX},    {false, 2, 0},           {false, 6, H2_HEADER_LIST_MAX}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        struct side *s = side_new(wanted[i].server);
        uint8_t bytes[SIDE_BUFFER];
        size_t n = side_drain(s, bytes, sizeof(bytes)), at = wanted[i].server ? 0 : 24;
        bool found = false;
        assert_true(n > at + 9 && bytes[at + 3] == F_SETTINGS);
        for (size_t k = at + 9; k < at + 9 + bytes[at + 2]; k += 6)
            found |= (uint16_t)(bytes[k] << 8 | bytes[k + 1]) == wanted[i].id &&
                     ((uint32_t)bytes[k + 2] << 24 | (uint32_t)bytes[k + 3] << 16 | (uint32_t)bytes[k + 4] << 8 | bytes[k + 5]) ==
                         wanted[i].value;
        assert_true(found);
        side_free(s);
    }
    struct side *s = side_new(true);
    size_t n = side_frames(s, seen, SEEN_MAX);
    const struct seen *window = seen_find(seen, n, F_WINDOW_UPDATE, 0);
    assert_true(window && window->word == H2_CONNECTION_WINDOW - 65535);
    side_free(s);
}

static void a_frame_of_a_mebibyte_is_taken(void **state) {
    struct raw r = {0};
    struct side *s = server(&r);
    uint8_t *payload = calloc(1, H2_FRAME_MAX + 1);
    raw_connect(&r, 1, 0);
    raw_feed(&r, s, SECOND);
    flow_of(s, 1)->hold = true;
    /* the largest frame, three quarters of it padding-free window violation: the stream's window is 256 KiB */
    raw_frame(&r, F_DATA, 0, 1, payload, H2_FRAME_MAX);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    assert_true(flow_of(s, 1)->held <= H2_STREAM_WINDOW);
    size_t n = side_frames(s, seen, SEEN_MAX);
    const struct seen *reset = seen_find(seen, n, F_RST_STREAM, 1);
    assert_true(reset && reset->word == H2_FLOW_CONTROL_ERROR);
    assert_int_equal(flow_of(s, 1)->n_closed, 1);
    assert_int_equal(flow_of(s, 1)->error, H2_FLOW_CONTROL_ERROR);
    /* a byte more is no frame of ours */
    raw_frame(&r, F_DATA, 0, 1, payload, H2_FRAME_MAX + 1);
    assert_int_equal(raw_feed(&r, s, SECOND), H2_BROKEN);
    n = side_frames(s, seen, SEEN_MAX);
    assert_non_null(seen_find(seen, n, F_GOAWAY, 0));
    assert_true(h2_finished(s->h));
    free(payload);
    free(r.bytes);
    side_free(s);
}

static void a_window_s_worth_in_one_frame_is_shown_whole(void **state) {
    struct raw r = {0};
    struct side *s = server(&r);
    uint8_t *payload = calloc(1, H2_STREAM_WINDOW);
    raw_connect(&r, 1, 0);
    raw_frame(&r, F_DATA, END_STREAM, 1, payload, H2_STREAM_WINDOW);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    assert_int_equal(flow_of(s, 1)->received, H2_STREAM_WINDOW);
    assert_int_equal(flow_of(s, 1)->n_end, 1);
    free(payload);
    free(r.bytes);
    side_free(s);
}

static void credit_of_the_connection_is_given_on_receipt(void **state) {
    struct raw r = {0};
    struct side *s = server(&r);
    uint8_t payload[16384] = {0};
    uint32_t connection = 0, streams = 0;
    /* 40 stopped readers, each with a full window: 10 MiB unread */
    for (uint32_t id = 1; id < 80; id += 2) {
        raw_connect(&r, id, 0);
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        flow_of(s, (int32_t)id)->hold = true;
        for (int i = 0; i < 16; i++)
            raw_frame(&r, F_DATA, 0, id, payload, sizeof(payload));
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        size_t n = side_frames(s, seen, SEEN_MAX);
        for (size_t i = 0; i < n; i++) {
            connection += seen[i].type == F_WINDOW_UPDATE && seen[i].id == 0 ? seen[i].word : 0;
            streams += seen[i].type == F_WINDOW_UPDATE && seen[i].id != 0;
        }
    }
    assert_true(connection >= H2_CONNECTION_WINDOW / 2);
    assert_int_equal(streams, 0);
    /* delivered: now the stream is credited */
    h2_stream_delivered(s->h, 1, H2_STREAM_WINDOW);
    size_t n = side_frames(s, seen, SEEN_MAX);
    const struct seen *window = seen_find(seen, n, F_WINDOW_UPDATE, 1);
    assert_true(window && window->word >= H2_STREAM_WINDOW); /* taken in one go: more may come next time */
    free(r.bytes);
    side_free(s);
}

static void closed_streams_leak_no_credit(void **state) {
    struct raw r = {0};
    struct side *s = server(&r);
    uint8_t payload[16384] = {0};
    uint64_t sent = 0, credit = H2_CONNECTION_WINDOW;
    /* 64 MiB over streams that are reset with everything unread, and over streams that are gone already */
    for (uint32_t id = 1; sent < 64 * 1024 * 1024; id += 2) {
        raw_connect(&r, id, 0);
        assert_int_equal(raw_feed(&r, s, id * (uint64_t)SECOND), 0);
        flow_of(s, (int32_t)id)->hold = true;
        for (int i = 0; i < 32; i++) {
            if (i == 16)
                raw_word(&r, F_RST_STREAM, id, H2_CANCEL);
            raw_frame(&r, F_DATA, 0, id, payload, sizeof(payload));
            sent += sizeof(payload);
            credit -= sizeof(payload);
        }
        assert_int_equal(raw_feed(&r, s, id * (uint64_t)SECOND), 0);
        size_t n = side_frames(s, seen, SEEN_MAX);
        for (size_t i = 0; i < n; i++)
            credit += seen[i].type == F_WINDOW_UPDATE && seen[i].id == 0 ? seen[i].word : 0;
        assert_int_equal(flow_of(s, (int32_t)id)->n_closed, 1);
        assert_int_equal(flow_of(s, (int32_t)id)->error, H2_CANCEL);
        s->n_flows = 0;
    }
    assert_true(credit >= H2_CONNECTION_WINDOW / 2);
    assert_int_equal(h2_streams(s->h), 0);
    free(r.bytes);
    side_free(s);
}

static void requests_that_are_no_connect_are_shown_or_reset(void **state) {
    static const struct {
        struct line lines[4];
        size_t n;
        bool shown;
    } cases[] = {
        {{{":method", "CONNECT"}, {":authority", "1.2.3.4:5"}}, 2, true},
        {{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "x"}}, 4, true},
        {{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}}, 3, false},
        {{{":method", "CONNECT"}}, 1, false},
        {{{":authority", "1.2.3.4:5"}}, 1, false},
        {{{":method", "CONNECT"}, {":authority", "x:1"}, {":path", "/"}}, 3, false},
        {{{":method", "CONNECT"}, {":authority", "x:1"}, {":scheme", "https"}}, 3, false},
        {{{":method", "CONNECT"}, {":authority", "x:1"}, {":protocol", "websocket"}}, 3, false},
        {{{":method", "CONNECT"}, {":authority", "x:1"}, {":authority", "x:2"}}, 3, false},
        {{{":method", "CONNECT"}, {":authority", "x:1"}, {"Upper", "x"}}, 3, false},
        {{{":method", "CONNECT"}, {":authority", "x:1"}, {"connection", "close"}}, 3, false},
        {{{":method", "CONNECT"}, {":authority", "x:1"}, {":status", "200"}}, 3, false},
        {{{"x-a", "b"}, {":method", "CONNECT"}, {":authority", "x:1"}}, 3, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raw r = {0};
        struct side *s = server(&r);
        raw_headers(&r, 1, 0, cases[i].lines, cases[i].n);
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        size_t n = side_frames(s, seen, SEEN_MAX);
        const struct seen *reset = seen_find(seen, n, F_RST_STREAM, 1);
        assert_int_equal(s->n_requests, cases[i].shown);
        if (!cases[i].shown)
            assert_true(reset && reset->word == H2_PROTOCOL_ERROR);
        raw_connect(&r, 3, 0); /* the session lives on */
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        assert_int_equal(s->n_requests, cases[i].shown + 1);
        free(r.bytes);
        side_free(s);
    }
}

static void http_1_is_refused(void **state) {
    struct raw r = {0};
    struct side *s = side_new(true);
    raw_add(&r, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 37);
    assert_int_equal(raw_feed(&r, s, SECOND), H2_BROKEN);
    assert_int_equal(raw_feed(&r, s, SECOND), H2_BROKEN); /* the verdict is final */
    size_t n = side_frames(s, seen, SEEN_MAX);
    assert_non_null(seen_find(seen, n, F_GOAWAY, 0));
    assert_true(h2_finished(s->h));
    assert_int_equal(s->n_requests, 0);
    free(r.bytes);
    side_free(s);
}

static void large_headers_are_refused_in_bounded_memory(void **state) {
    char *value = malloc(65537);
    memset(value, 'v', 65536);
    value[65536] = 0;
    for (size_t size = 1024; size <= 65536; size *= 2) {
        struct raw r = {0};
        struct side *s = server(&r);
        size_t before = h2_memory_used();
        struct line lines[3] = {{":method", "CONNECT"}, {":authority", "x:1"}, {"x-big", value + 65536 - size}};
        raw_headers(&r, 1, 0, lines, 3);
        int v = raw_feed(&r, s, SECOND);
        assert_int_equal(v, 0);
        size_t n = side_frames(s, seen, SEEN_MAX);
        assert_int_equal(s->n_requests, size < H2_HEADER_LIST_MAX);
        if (size >= H2_HEADER_LIST_MAX)
            assert_int_equal(seen_find(seen, n, F_RST_STREAM, 1)->word, H2_ENHANCE_YOUR_CALM);
        assert_true(h2_memory_used() < before + 200 * 1024);
        raw_connect(&r, 3, 0);
        assert_int_equal(raw_feed(&r, s, SECOND), 0);
        assert_int_equal(s->n_requests, (size < H2_HEADER_LIST_MAX) + 1);
        free(r.bytes);
        side_free(s);
    }
    free(value);
}

static void a_bomb_of_references_is_refused(void **state) {
    struct raw r = {0}, block = {0};
    struct side *s = server(&r);
    char value[4001];
    uint8_t insert = 0x40, reference = 0x80 | 62;
    size_t before = h2_memory_used();
    memset(value, 'x', 4000);
    value[4000] = 0;
    raw_literal(&block, ":method", "CONNECT", 7);
    raw_literal(&block, ":authority", "x:1", 3);
    raw_literal(&block, "b", value, 4000); /* made a line that stays in the table */
    block.bytes[block.n - 4000 - 3 - 3] = insert;
    for (int i = 0; i < 100000; i++)
        raw_add(&block, &reference, 1); /* 400 MB of headers in 100 KB */
    raw_frame(&r, F_HEADERS, END_HEADERS, 1, block.bytes, block.n);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    assert_int_equal(s->n_requests, 0);
    assert_true(h2_memory_used() < before + 64 * 1024);
    size_t n = side_frames(s, seen, SEEN_MAX);
    assert_int_equal(seen_find(seen, n, F_RST_STREAM, 1)->word, H2_ENHANCE_YOUR_CALM);
    free(block.bytes);
    free(r.bytes);
    side_free(s);
}

static void too_many_lines_are_refused(void **state) {
    struct raw r = {0};
    struct side *s = server(&r);
    struct line lines[130] = {{":method", "CONNECT"}, {":authority", "x:1"}};
    for (size_t i = 2; i < 130; i++)
        lines[i] = (struct line){"a", ""};
    raw_headers(&r, 1, 0, lines, 130);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    assert_int_equal(s->n_requests, 0);
    free(r.bytes);
    side_free(s);
}

static void broken_frames_end_the_session_at_once(void **state) {
    static const uint8_t zeros[64] = {0};
    static const struct {
        uint8_t type, flags;
        uint32_t id;
        size_t n;
    } cases[] = {
        {F_DATA, 0, 0, 4},
        {F_DATA, 0, 5, 4},
        {F_HEADERS, END_HEADERS, 0, 4},
        {F_HEADERS, END_HEADERS, 2, 4},
        {F_RST_STREAM, 0, 0, 4},
        {F_RST_STREAM, 0, 1, 3},
        {F_SETTINGS, 0, 0, 5},
        {F_SETTINGS, 0, 1, 0},
        {F_SETTINGS, ACK, 0, 6},
        {F_PUSH_PROMISE, 4, 1, 8},
        {F_PING, 0, 0, 7},
        {F_PING, 0, 1, 8},
        {F_GOAWAY, 0, 1, 8},
        {F_GOAWAY, 0, 0, 7},
        {F_WINDOW_UPDATE, 0, 0, 4},
        {F_WINDOW_UPDATE, 0, 0, 3},
        {F_CONTINUATION, 4, 1, 4},
        {F_HEADERS, END_HEADERS | PADDED, 1, 0},
        {F_DATA, PADDED, 1, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raw r = {0};
        struct side *s = server(&r);
        raw_frame(&r, cases[i].type, cases[i].flags, cases[i].id, zeros, cases[i].n);
        assert_int_equal(raw_feed(&r, s, SECOND), H2_BROKEN);
        size_t n = side_frames(s, seen, SEEN_MAX);
        const struct seen *goaway = seen_find(seen, n, F_GOAWAY, 0);
        assert_true(goaway && goaway->length >= 8);
        assert_true(h2_finished(s->h));
        assert_false(h2_wants_send(s->h));
        free(r.bytes);
        side_free(s);
    }
}

static void too_many_streams_end_the_session(void **state) {
    struct raw r = {0};
    struct side *s = server(&r);
    for (uint32_t i = 0; i < H2_STREAMS_MAX; i++)
        raw_connect(&r, 1 + 2 * i, 0);
    assert_int_equal(raw_feed(&r, s, SECOND), 0);
    assert_int_equal(s->n_requests, H2_STREAMS_MAX);
    raw_connect(&r, 1 + 2 * H2_STREAMS_MAX, 0);
    assert_int_equal(raw_feed(&r, s, SECOND), H2_BROKEN);
    free(r.bytes);
    side_free(s);
}

static void interim_responses_and_trailers_are_not_shown(void **state) {
    static const struct line early = {":status", "103"}, ok = {":status", "200"}, trailer = {"x-checksum", "1"};
    struct raw r = {0};
    struct side *c = side_new(false);
    struct flow *f = side_connect(c, 0, false);
    side_frames(c, seen, SEEN_MAX);
    raw_frame(&r, F_SETTINGS, 0, 0, NULL, 0);
    raw_headers(&r, 1, 0, &early, 1);
    assert_int_equal(raw_feed(&r, c, SECOND), 0);
    assert_int_equal(f->n_headers, 0);
    raw_headers(&r, 1, 0, &ok, 1);
    raw_frame(&r, F_DATA, 0, 1, "abc", 3);
    raw_headers(&r, 1, END_STREAM, &trailer, 1);
    assert_int_equal(raw_feed(&r, c, SECOND), 0);
    assert_int_equal(f->n_headers, 1);
    assert_string_equal(f->status, "200");
    assert_int_equal(f->received, 3);
    assert_int_equal(f->n_end, 1);
    free(r.bytes);
    side_free(c);
}

static void streams_above_goaway_s_last_id_are_refused(void **state) {
    static const uint8_t goaway[8] = {0, 0, 0, 1, 0, 0, 0, 0};
    struct raw r = {0};
    struct side *c = side_new(false);
    struct flow *a = side_connect(c, 0, false), *b = side_connect(c, 0, false);
    side_frames(c, seen, SEEN_MAX);
    struct flow *queued = side_connect(c, 0, false); /* not sent yet */
    raw_frame(&r, F_SETTINGS, 0, 0, NULL, 0);
    raw_frame(&r, F_GOAWAY, 0, 0, goaway, sizeof(goaway));
    assert_int_equal(raw_feed(&r, c, SECOND), 0);
    side_frames(c, seen, SEEN_MAX);
    assert_int_equal(c->n_goaway, 1);
    assert_int_equal(c->goaway_last, 1);
    assert_int_equal(a->n_closed, 0);
    assert_true(b->n_closed == 1 && b->error == H2_REFUSED_STREAM && !b->orderly);
    assert_true(queued->n_closed == 1 && queued->error == H2_REFUSED_STREAM);
    assert_int_equal(h2_streams(c->h), 1);
    free(r.bytes);
    side_free(c);
}

static void a_server_that_pushes_is_broken(void **state) {
    static const uint8_t promise[] = {0, 0, 0, 2, 0x82};
    struct raw r = {0};
    struct side *c = side_new(false);
    assert_non_null(side_connect(c, 0, false));
    side_frames(c, seen, SEEN_MAX);
    raw_frame(&r, F_SETTINGS, 0, 0, NULL, 0);
    raw_frame(&r, F_SETTINGS, ACK, 0, NULL, 0);
    raw_frame(&r, F_PUSH_PROMISE, END_HEADERS, 1, promise, sizeof(promise));
    assert_int_equal(raw_feed(&r, c, SECOND), H2_BROKEN);
    free(r.bytes);
    side_free(c);
}

static void a_reset_after_a_response_is_no_orderly_end(void **state) {
    static const struct line ok = {":status", "200"};
    struct raw r = {0};
    struct side *c = side_new(false);
    struct flow *f = side_connect(c, 0, false);
    side_frames(c, seen, SEEN_MAX);
    raw_frame(&r, F_SETTINGS, 0, 0, NULL, 0);
    raw_headers(&r, 1, 0, &ok, 1);
    raw_frame(&r, F_DATA, 0, 1, "half", 4);
    raw_word(&r, F_RST_STREAM, 1, H2_NO_ERROR);
    assert_int_equal(raw_feed(&r, c, SECOND), 0);
    assert_int_equal(f->received, 4);
    assert_int_equal(f->n_end, 0);
    assert_int_equal(f->n_closed, 1);
    assert_int_equal(f->error, H2_NO_ERROR);
    assert_false(f->orderly);
    free(r.bytes);
    side_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_settings_are_advertised),
        cmocka_unit_test(a_frame_of_a_mebibyte_is_taken),
        cmocka_unit_test(a_window_s_worth_in_one_frame_is_shown_whole),
        cmocka_unit_test(credit_of_the_connection_is_given_on_receipt),
        cmocka_unit_test(closed_streams_leak_no_credit),
        cmocka_unit_test(requests_that_are_no_connect_are_shown_or_reset),
        cmocka_unit_test(http_1_is_refused),
        cmocka_unit_test(large_headers_are_refused_in_bounded_memory),
        cmocka_unit_test(a_bomb_of_references_is_refused),
        cmocka_unit_test(too_many_lines_are_refused),
        cmocka_unit_test(broken_frames_end_the_session_at_once),
        cmocka_unit_test(too_many_streams_end_the_session),
        cmocka_unit_test(interim_responses_and_trailers_are_not_shown),
        cmocka_unit_test(streams_above_goaway_s_last_id_are_refused),
        cmocka_unit_test(a_server_that_pushes_is_broken),
        cmocka_unit_test(a_reset_after_a_response_is_no_orderly_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
