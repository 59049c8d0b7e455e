/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: two sessions carry tunnels truthfully: every byte, every end, every reset, GOAWAY both ways, limits. Method: a
 * client and a server joined in memory; owners that send and count. */
#include "h2_pair.h"

static void streams_carry_all_bytes_both_ways_and_end(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    s->reply_bytes = 3000001;
    for (int i = 0; i < 5; i++)
        assert_non_null(side_connect(c, 1000000 + (uint64_t)i, true));
    sides_talk(c, s);
    assert_int_equal(s->n_requests, 5);
    assert_string_equal(s->authority, "10.0.0.1:8080");
    for (size_t i = 0; i < 5; i++) {
        struct flow *out = &c->flows[i], *in = flow_of(s, out->id);
        assert_string_equal(out->status, "200");
        assert_int_equal(in->received, 1000000 + i);
        assert_int_equal(in->sum_received, out->sum_sent);
        assert_int_equal(out->received, 3000001);
        assert_int_equal(out->sum_received, in->sum_sent);
        assert_int_equal(in->n_end + out->n_end, 2);
        assert_int_equal(in->n_closed + out->n_closed, 2);
        assert_true(in->orderly && out->orderly);
        assert_int_equal(in->error + out->error, 0);
    }
    assert_int_equal(h2_streams(c->h) + h2_streams(s->h), 0);
    side_free(c);
    side_free(s);
}

static void bytes_may_come_in_any_pieces(void **state) {
    static const size_t pieces[] = {1, 2, 7, 9, 10, 4096};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct side *c = side_new(false), *s = side_new(true);
        int verdict = 0;
        struct flow *f = side_connect(c, 70000, true);
        while (side_carry(c, s, pieces[i], &verdict) + side_carry(s, c, pieces[i], &verdict))
            ;
        assert_int_equal(verdict, 0);
        assert_int_equal(flow_of(s, f->id)->sum_received, f->sum_sent);
        assert_int_equal(flow_of(s, f->id)->received, 70000);
        side_free(c);
        side_free(s);
    }
}

static void each_direction_ends_alone(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *f = side_connect(c, 10, true), *g;
    sides_talk(c, s);
    g = flow_of(s, f->id);
    assert_int_equal(g->n_end, 1);
    assert_int_equal(g->n_closed + f->n_closed, 0);
    assert_int_equal(f->n_end, 0);
    g->to_send = 500000; /* long after the client ended */
    g->end_when_sent = true;
    h2_stream_ready(s->h, g->id);
    sides_talk(c, s);
    assert_int_equal(f->received, 500000);
    assert_int_equal(f->n_end, 1);
    assert_true(f->orderly && g->orderly);
    side_free(c);
    side_free(s);
}

static void an_end_without_bytes_is_told(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *f = side_connect(c, 0, false), *g;
    sides_talk(c, s);
    g = flow_of(s, f->id);
    f->end_when_sent = true;
    h2_stream_ready(c->h, f->id);
    sides_talk(c, s);
    assert_int_equal(g->n_end, 1);
    assert_int_equal(g->received, 0);
    side_free(c);
    side_free(s);
}

static void resets_are_told_with_their_code(void **state) {
    static const uint32_t codes[] = {H2_NO_ERROR, H2_INTERNAL_ERROR, H2_REFUSED_STREAM, H2_CANCEL, H2_CONNECT_ERROR};
    for (size_t i = 0; i < 2 * sizeof(codes) / sizeof(codes[0]); i++) {
        struct side *c = side_new(false), *s = side_new(true), *who = i % 2 ? c : s;
        struct flow *f = side_connect(c, 100000000, false), *g;
        int verdict = 0;
        side_carry(c, s, SIDE_BUFFER, &verdict);
        g = flow_of(s, f->id);
        h2_stream_reset(who->h, f->id, codes[i / 2]);
        h2_stream_reset(who->h, f->id, H2_CANCEL); /* the first one counts */
        sides_talk(c, s);
        assert_int_equal(f->n_closed + g->n_closed, 2);
        assert_int_equal(f->error, codes[i / 2]);
        assert_int_equal(g->error, codes[i / 2]);
        assert_false(f->orderly || g->orderly);
        assert_int_equal(f->n_end + g->n_end, 0);
        h2_stream_delivered(s->h, f->id, 5); /* late credit for a gone stream is nothing */
        h2_stream_ready(c->h, f->id);
        h2_stream_reset(c->h, f->id, H2_CANCEL);
        assert_int_equal(h2_streams(c->h) + h2_streams(s->h), 0);
        side_free(c);
        side_free(s);
    }
}

static void a_request_taken_back_before_it_left_is_closed(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *f = side_connect(c, 10, true);
    h2_stream_reset(c->h, f->id, H2_CANCEL);
    sides_talk(c, s);
    assert_int_equal(f->n_closed, 1);
    assert_int_equal(f->error, H2_CANCEL);
    assert_int_equal(s->n_requests, 0);
    assert_int_equal(h2_streams(c->h), 0);
    side_free(c);
    side_free(s);
}

static void a_refusal_ends_the_stream_for_both(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *f = side_connect(c, 50000, false);
    s->answer = false;
    s->refuse = true;
    sides_talk(c, s);
    assert_string_equal(f->status, "401");
    assert_true(f->headers_end);
    assert_int_equal(f->n_end, 0); /* told with the response */
    assert_int_equal(f->n_closed, 1);
    assert_int_equal(f->error, H2_NO_ERROR);
    assert_int_equal(flow_of(s, f->id)->n_closed, 0); /* the owner has refused: nothing more is told */
    assert_int_equal(h2_streams(c->h) + h2_streams(s->h), 0);
    side_free(c);
    side_free(s);
}

static void an_answer_may_come_late_or_never(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct h2_header ok[] = {{STR(":status"), STR("200")}};
    struct flow *f = side_connect(c, 1000, false), *g, *second;
    s->answer = false;
    sides_talk(c, s);
    g = flow_of(s, f->id);
    assert_int_equal(g->received, 1000); /* sent before the answer: shown without a context */
    assert_int_equal(s->n_null, 1);
    h2_stream_attach(s->h, g->id, g);
    f->to_send += 1000;
    h2_stream_ready(c->h, f->id);
    sides_talk(c, s);
    assert_int_equal(s->n_null, 1);
    assert_int_equal(h2_accept(s->h, g->id, ok, 1, g), 0);
    sides_talk(c, s);
    assert_string_equal(f->status, "200");
    second = side_connect(c, 0, false); /* never answered, but the client goes away */
    sides_talk(c, s);
    h2_stream_reset(c->h, second->id, H2_CANCEL);
    sides_talk(c, s);
    assert_int_equal(flow_of(s, second->id)->n_closed, 1);
    assert_int_equal(h2_accept(s->h, second->id, ok, 1, NULL), 1);
    assert_int_equal(h2_refuse(s->h, second->id, ok, 1), 1);
    assert_int_equal(h2_accept(s->h, 77, ok, 1, NULL), 1);
    side_free(c);
    side_free(s);
}

static void forgotten_streams_are_silent_and_reset(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *f = side_connect(c, 100000000, false), *g;
    int verdict = 0;
    side_carry(c, s, SIDE_BUFFER, &verdict);
    g = flow_of(s, f->id);
    h2_stream_forget(s->h, f->id);
    uint64_t received = g->received;
    sides_talk(c, s);
    assert_int_equal(g->received, received);
    assert_int_equal(g->n_closed, 0);
    assert_int_equal(f->n_closed, 1);
    assert_int_equal(f->error, H2_CANCEL);
    assert_int_equal(h2_streams(s->h), 0);
    side_free(c);
    side_free(s);
}

static void the_limit_of_streams_holds(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    size_t n = 0;
    while (side_connect(c, 0, false))
        n++;
    assert_int_equal(n, 100); /* nothing known of the peer yet */
    sides_talk(c, s);
    assert_int_equal(c->max_streams, H2_STREAMS_MAX);
    while (side_connect(c, 0, false))
        n++;
    assert_int_equal(n, H2_STREAMS_MAX);
    sides_talk(c, s);
    assert_int_equal(s->n_requests, H2_STREAMS_MAX);
    h2_stream_reset(c->h, c->flows[0].id, H2_CANCEL);
    sides_talk(c, s);
    assert_non_null(side_connect(c, 0, false));
    assert_null(side_connect(c, 0, false));
    side_free(c);
    side_free(s);
}

static void a_draining_server_serves_what_was_on_its_way(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *first = side_connect(c, 1000, false), *crossing;
    int verdict = 0;
    sides_talk(c, s);
    assert_false(h2_drain_crossing(s->h));
    h2_goaway(s->h, H2_NO_ERROR);
    assert_true(h2_drain_crossing(s->h));
    crossing = side_connect(c, 2000, false); /* opened before the client hears of it */
    sides_talk(c, s);
    assert_false(h2_drain_crossing(s->h));
    assert_int_equal(c->n_goaway, 2);
    assert_int_equal(c->goaway_last, crossing->id);
    assert_null(side_connect(c, 0, false));
    assert_int_equal(s->n_requests, 2);
    assert_int_equal(flow_of(s, crossing->id)->received, 2000);
    assert_false(h2_finished(s->h) || h2_finished(c->h));
    for (size_t i = 0; i < 2; i++) {
        c->flows[i].end_when_sent = s->flows[i].end_when_sent = true;
        h2_stream_ready(c->h, c->flows[i].id);
        h2_stream_ready(s->h, c->flows[i].id);
    }
    sides_talk(c, s);
    assert_true(first->orderly && crossing->orderly);
    assert_true(h2_finished(s->h) && h2_finished(c->h));
    assert_int_equal(verdict, 0);
    side_free(c);
    side_free(s);
}

static void a_server_that_waits_no_longer_refuses_what_was_on_its_way(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *first = side_connect(c, 1000, false), *crossing;
    int verdict = 0;
    sides_talk(c, s);
    h2_goaway(s->h, H2_NO_ERROR);
    crossing = side_connect(c, 2000, false);
    h2_goaway(s->h, H2_NO_ERROR);
    assert_false(h2_drain_crossing(s->h));
    side_carry(s, c, SIDE_BUFFER, &verdict);
    sides_talk(c, s);
    assert_int_equal(s->n_requests, 1);
    assert_int_equal(c->goaway_last, first->id);
    assert_true(crossing->n_closed == 1 && !crossing->orderly);
    assert_int_equal(crossing->error, H2_REFUSED_STREAM);
    assert_int_equal(first->n_closed, 0);
    side_free(c);
    side_free(s);
}

static void an_ending_side_tells_why(void **state) {
    for (int i = 0; i < 2; i++) {
        struct side *c = side_new(false), *s = side_new(true), *who = i ? c : s, *other = i ? s : c;
        int verdict = 0;
        assert_non_null(side_connect(c, 1000, false));
        sides_talk(c, s);
        h2_goaway(who->h, H2_INTERNAL_ERROR);
        h2_goaway(who->h, H2_NO_ERROR);
        side_carry(who, other, SIDE_BUFFER, &verdict);
        assert_true(h2_finished(who->h));
        assert_int_equal(other->n_goaway, 1);
        assert_int_equal(other->goaway_error, H2_INTERNAL_ERROR);
        assert_null(side_connect(c, 0, false));
        side_free(c);
        side_free(s);
    }
}

static void a_draining_client_opens_nothing(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    struct flow *f = side_connect(c, 100, true);
    s->reply_bytes = 10;
    h2_goaway(c->h, H2_NO_ERROR);
    assert_null(side_connect(c, 0, false));
    sides_talk(c, s);
    assert_true(f->orderly);
    assert_true(h2_finished(c->h) && h2_finished(s->h));
    side_free(c);
    side_free(s);
}

static void pings_come_back(void **state) {
    struct side *c = side_new(false), *s = side_new(true);
    h2_ping(c->h, 0x1122334455667788);
    h2_ping(s->h, 42);
    sides_talk(c, s);
    assert_int_equal(c->n_ping_ack + s->n_ping_ack, 2);
    assert_true(c->ping == 0x1122334455667788 && s->ping == 42);
    side_free(c);
    side_free(s);
}

static void memory_is_counted_and_given_back(void **state) {
    size_t before = h2_memory_used();
    struct side *c = side_new(false), *s = side_new(true);
    for (int i = 0; i < 50; i++)
        assert_non_null(side_connect(c, 5000, i % 2));
    sides_talk(c, s);
    assert_true(h2_memory_used() > before);
    side_free(c); /* with streams open */
    side_free(s);
    assert_int_equal(h2_memory_used(), before);
    assert_null(h2_free(NULL));
}

static void errors_have_names(void **state) {
    assert_string_equal(h2_error_text(H2_CONNECT_ERROR), "CONNECT_ERROR");
    assert_non_null(h2_error_text(12345));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_carry_all_bytes_both_ways_and_end),
        cmocka_unit_test(bytes_may_come_in_any_pieces),
        cmocka_unit_test(each_direction_ends_alone),
        cmocka_unit_test(an_end_without_bytes_is_told),
        cmocka_unit_test(resets_are_told_with_their_code),
        cmocka_unit_test(a_request_taken_back_before_it_left_is_closed),
        cmocka_unit_test(a_refusal_ends_the_stream_for_both),
        cmocka_unit_test(an_answer_may_come_late_or_never),
        cmocka_unit_test(forgotten_streams_are_silent_and_reset),
        cmocka_unit_test(the_limit_of_streams_holds),
        cmocka_unit_test(a_draining_server_serves_what_was_on_its_way),
        cmocka_unit_test(a_server_that_waits_no_longer_refuses_what_was_on_its_way),
        cmocka_unit_test(an_ending_side_tells_why),
        cmocka_unit_test(a_draining_client_opens_nothing),
        cmocka_unit_test(pings_come_back),
        cmocka_unit_test(memory_is_counted_and_given_back),
        cmocka_unit_test(errors_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
