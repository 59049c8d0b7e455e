/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: calls are answered by gRPC's rules; every wrong request has its code and is counted; whatever a peer does, memory is
 * bounded and comes back, and the owner hears the end of each call once. Method: our own client at the other end, cut at every
 * size; frames by hand for what it would never send. */
#include "grpc_pair.h"

static struct grpc_side *server(struct raw *r) {
    struct grpc_side *s = grpc_side_new(true);
    raw_preface(r);
    assert_int_equal(grpc_raw_feed(r, s), 0);
    return s;
}

/* All that the server wants to send. */
static void drained(struct grpc_side *s, struct raw *all) {
    uint8_t bytes[SIDE_BUFFER];
    size_t n;
    while ((n = grpc_side_drain(s, bytes, sizeof(bytes))) > 0)
        raw_add(all, bytes, n);
}

static struct rpc *ask(struct grpc_side *c, const char *path) {
    int32_t id = 0;
    assert_int_equal(grpc_client_call(c->client, str_of(path), NULL, 0, 0, SECOND, &id), 0);
    return rpc_of(c, id);
}

static void calls_are_answered_in_any_pieces(void **state) {
    static const size_t pieces[] = {1, 2, 3, 5, 7, 64, 1000, SIDE_BUFFER};
    for (size_t i = 0; i < array_size(pieces); i++) {
        size_t before = h2_memory_used();
        struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
        struct grpc_metadata m[] = {{STR("authorization"), STR("Bearer abc")}, {STR("x-bin"), STR("AAEC")}};
        int32_t id;
        assert_int_equal(grpc_client_call(c->client, STR("/echo"), m, 2, 0, SECOND, &id), 0);
        assert_int_equal(grpc_client_send(c->client, id, (const uint8_t *)"hello", 5, false), 0);
        assert_int_equal(grpc_client_send(c->client, id, (const uint8_t *)"", 0, false), 0);
        assert_int_equal(grpc_client_send(c->client, id, (const uint8_t *)"bye", 3, true), 0);
        assert_int_equal(grpc_client_send(c->client, id, (const uint8_t *)"no", 2, true), 1); /* it was the last */
        grpc_talk(c, s, pieces[i]);
        struct rpc *asked = rpc_of(c, id), *seen = rpc_of(s, id);
        assert_string_equal(seen->path, "/echo");
        assert_string_equal(seen->token, "Bearer abc");
        assert_true(seen->n_metadata == 2 && seen->n_call == 1 && seen->n_half_closed == 1 && seen->n_cancelled == 0);
        assert_true(seen->n_message == 3 && asked->n_message == 3 && asked->sum == seen->sum);
        assert_true(asked->n_finished == 1 && asked->code == GRPC_OK && asked->text[0] == '\0');
        assert_int_equal(grpc_server_calls(s->server), 0);
        assert_int_equal(grpc_server_stats(s->server)->calls, 1);
        grpc_side_free(s);
        grpc_side_free(c);
        assert_int_equal(h2_memory_used(), before);
    }
}

static void an_unknown_path_is_unimplemented(void **state) {
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    struct rpc *k = ask(c, "/nothing");
    char path[GRPC_PATH_MAX + 2] = "/";
    memset(path + 1, 'a', sizeof(path) - 2);
    struct rpc *longest = ask(c, path);
    grpc_talk(c, s, SIDE_BUFFER);
    assert_true(k->n_finished == 1 && k->code == GRPC_UNIMPLEMENTED);
    assert_string_equal(k->text, "no such method: 100 %, \xc3\xa9?");
    assert_true(longest->n_finished == 1 && longest->code == GRPC_UNIMPLEMENTED);
    assert_int_equal(grpc_server_stats(s->server)->refused_path, 1);
    assert_int_equal(s->n_calls, 1); /* the long one was not shown */
    assert_int_equal(grpc_server_calls(s->server), 0);
    assert_int_equal(grpc_server_send(s->server, k->id, NULL, 0), 1);
    grpc_server_finish(s->server, k->id, GRPC_OK, STR_NULL); /* twice is nothing */
    grpc_side_free(s);
    grpc_side_free(c);
}

static void requests_out_of_order_are_refused(void **state) {
    static const struct {
        struct line lines[2];
        size_t n;
        size_t counter;
    } wrong[] = {
        {{{":method", "GET"}}, 1, offsetof(struct grpc_server_stats, refused_http)},
        {{{"content-type", "text/html"}}, 1, offsetof(struct grpc_server_stats, refused_http)},
        {{{"content-type", "application/grpc+json"}}, 1, offsetof(struct grpc_server_stats, refused_http)},
        {{{"content-type", ""}}, 1, offsetof(struct grpc_server_stats, refused_http)},
        {{{"te", ""}}, 1, offsetof(struct grpc_server_stats, refused_http)},
        {{{"grpc-encoding", "gzip"}}, 1, offsetof(struct grpc_server_stats, refused_encoding)},
        {{{"grpc-timeout", "1x"}}, 1, offsetof(struct grpc_server_stats, refused_timeout)},
        {{{"grpc-timeout", "-1S"}}, 1, offsetof(struct grpc_server_stats, refused_timeout)},
    };
    for (size_t i = 0; i < array_size(wrong); i++) {
        struct raw r = {0}, out = {0};
        struct grpc_side *s = server(&r);
        raw_call(&r, 1, 0, "/echo", wrong[i].lines, wrong[i].n);
        raw_call(&r, 3, 0, "/echo", NULL, 0);
        assert_int_equal(grpc_raw_feed(&r, s), 0);
        drained(s, &out);
        const uint8_t *stats = (const uint8_t *)grpc_server_stats(s->server);
        uint64_t count;
        memcpy(&count, stats + wrong[i].counter, sizeof(count));
        assert_int_equal(count, 1);
        assert_int_equal(s->n_calls, 1); /* the good one */
        assert_int_equal(s->calls[0].id, 3);
        assert_int_equal(grpc_server_calls(s->server), 1);
        free(r.bytes);
        free(out.bytes);
        grpc_side_free(s);
    }
}

static void identity_encoding_and_others_are_taken(void **state) {
    static const struct line lines[] = {{"grpc-encoding", "identity"},
                                        {"content-type", "application/grpc+proto"},
                                        {"grpc-accept-encoding", "gzip,deflate"},
                                        {"user-agent", "x"}};
    struct raw r = {0};
    struct grpc_side *s = server(&r);
    raw_call(&r, 1, END_STREAM, "/quiet", lines, array_size(lines));
    assert_int_equal(grpc_raw_feed(&r, s), 0);
    assert_true(s->n_calls == 1 && s->calls[0].n_half_closed == 1 && s->calls[0].n_metadata == 1);
    grpc_server_finish(s->server, 1, GRPC_OK, STR_NULL);
    free(r.bytes);
    grpc_side_free(s);
}

/* What the client sees when its request is followed by these bytes of DATA, by hand. */
static void broken_messages_end_the_call(void **state) {
    static const struct {
        uint8_t bytes[8];
        size_t n;
        bool end;
        size_t counter;
    } wrong[] = {
        {{0, 0xff, 0xff, 0xff, 0xff}, 5, false, offsetof(struct grpc_server_stats, refused_message)},
        {{0, 0, 1, 0, 1}, 5, false, offsetof(struct grpc_server_stats, refused_message)},
        {{1, 0, 0, 0, 1, 'x'}, 6, false, offsetof(struct grpc_server_stats, refused_encoding)},
        {{9, 0, 0, 0, 1, 'x'}, 6, false, offsetof(struct grpc_server_stats, refused_framing)},
        {{0, 0, 0}, 3, true, offsetof(struct grpc_server_stats, refused_framing)},
        {{0, 0, 0, 0, 4, 'x'}, 6, true, offsetof(struct grpc_server_stats, refused_framing)},
    };
    for (size_t i = 0; i < array_size(wrong); i++) {
        struct raw r = {0}, out = {0};
        struct grpc_side *s = server(&r);
        raw_call(&r, 1, 0, "/echo", NULL, 0);
        raw_frame(&r, F_DATA, wrong[i].end ? END_STREAM : 0, 1, wrong[i].bytes, wrong[i].n);
        assert_int_equal(grpc_raw_feed(&r, s), 0);
        const uint8_t *stats = (const uint8_t *)grpc_server_stats(s->server);
        uint64_t count;
        memcpy(&count, stats + wrong[i].counter, sizeof(count));
        assert_int_equal(count, 1);
        assert_true(s->calls[0].n_cancelled == 1 && s->calls[0].n_message == 0 && s->calls[0].n_half_closed == 0);
        if (!wrong[i].end)
            raw_frame(&r, F_DATA, 0, 1, "\0\0\0\0\1y", 6); /* what follows is not looked at */
        assert_int_equal(grpc_raw_feed(&r, s), 0);
        assert_int_equal(s->calls[0].n_message, 0);
        drained(s, &out);
        assert_true(out.n > 0);
        assert_int_equal(grpc_server_calls(s->server), 0);
        free(r.bytes);
        free(out.bytes);
        grpc_side_free(s);
    }
}

static void a_call_may_end_inside_its_own_message(void **state) {
    for (int opened = 0; opened < 2; opened++) {
        size_t before = h2_memory_used();
        struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
        s->finish_in_message = opened ? 2 : 1;
        struct rpc *k = ask(c, "/echo");
        static uint8_t big[5000];
        for (int i = 0; i < 5; i++)
            assert_int_equal(grpc_client_send(c->client, k->id, big, sizeof(big), false), 0);
        grpc_talk(c, s, 900); /* messages are collected, not shown in place */
        assert_true(k->n_finished == 1 && k->code == GRPC_ABORTED && k->n_message == (unsigned)opened);
        assert_string_equal(k->text, "enough");
        assert_int_equal(rpc_of(s, k->id)->n_cancelled, 0);
        assert_int_equal(grpc_server_calls(s->server), 0);
        assert_int_equal(grpc_client_send(c->client, k->id, big, 1, false), 1);
        grpc_side_free(s);
        grpc_side_free(c);
        assert_int_equal(h2_memory_used(), before);
    }
}

static void a_peer_that_does_not_read_is_bounded(void **state) {
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    static uint8_t big[PAIR_MESSAGE_MAX];
    struct rpc *k = ask(c, "/quiet");
    size_t queued = 0;
    int r;
    grpc_talk(c, s, SIDE_BUFFER);
    /* Fill its windows and then the queue. */
    for (unsigned i = 0; i < 100 && (r = grpc_server_send(s->server, k->id, big, sizeof(big))) == 0; i++) {
        queued = grpc_server_queued(s->server, k->id);
        static uint8_t sink[SIDE_BUFFER];
        while (grpc_side_drain(s, sink, sizeof(sink)))
            ;
    }
    assert_int_equal(r, 2);
    assert_in_range(queued, 1, PAIR_SENT_MAX);
    size_t held = h2_memory_used();
    for (int i = 0; i < 100; i++)
        assert_int_equal(grpc_server_send(s->server, k->id, big, sizeof(big)), 2);
    assert_int_equal(h2_memory_used(), held);
    /* Finished behind the queue, never read: it is reset after its time. */
    grpc_server_finish(s->server, k->id, GRPC_OK, STR_NULL);
    assert_int_equal(grpc_server_calls(s->server), 1);
    grpc_server_tick(s->server, 1 * (uint64_t)SECOND);
    grpc_server_tick(s->server, 30 * (uint64_t)SECOND);
    assert_int_equal(grpc_server_stats(s->server)->stalled, 0);
    grpc_server_tick(s->server, 31 * (uint64_t)SECOND);
    grpc_server_tick(s->server, 99 * (uint64_t)SECOND);
    assert_int_equal(grpc_server_stats(s->server)->stalled, 1);
    static uint8_t sink[SIDE_BUFFER];
    while (grpc_side_drain(s, sink, sizeof(sink)))
        ;
    assert_int_equal(grpc_server_calls(s->server), 0);
    assert_int_equal(rpc_of(s, k->id)->n_cancelled, 0); /* it was finished */
    grpc_side_free(s);
    grpc_side_free(c);
}

static void a_large_first_message_is_taken(void **state) {
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    struct rpc *k = ask(c, "/quiet");
    struct secret m = SECRET_NULL;
    grpc_talk(c, s, SIDE_BUFFER);
    assert_int_equal(secret_new(&m, PAIR_SENT_MAX + 1), 0);
    assert_int_equal(grpc_server_send_secret(s->server, k->id, &m), 0);
    assert_null(m.at);
    assert_int_equal(secret_new(&m, 1), 0);
    assert_int_equal(grpc_server_send_secret(s->server, k->id, &m), 2);
    assert_non_null(m.at); /* still ours */
    secret_deinit(&m);
    grpc_side_free(s); /* with the key still queued */
    grpc_side_free(c);
}

static void every_way_to_go_is_told_once(void **state) {
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    struct rpc *gone = ask(c, "/quiet"), *late = ask(c, "/quiet"), *slow;
    int32_t id;
    assert_int_equal(grpc_client_call(c->client, STR("/quiet"), NULL, 0, 3 * (uint64_t)SECOND, SECOND, &id), 0);
    slow = rpc_of(c, id);
    grpc_talk(c, s, SIDE_BUFFER);
    grpc_client_cancel(c->client, gone->id);
    grpc_client_cancel(c->client, gone->id);
    grpc_talk(c, s, SIDE_BUFFER);
    assert_true(rpc_of(s, gone->id)->n_cancelled == 1 && gone->n_finished == 0);
    assert_int_equal(grpc_server_stats(s->server)->resets, 1);
    grpc_server_tick(s->server, 3 * (uint64_t)SECOND);
    assert_int_equal(rpc_of(s, slow->id)->n_cancelled, 0);
    grpc_server_tick(s->server, 4 * (uint64_t)SECOND);
    grpc_server_tick(s->server, 4 * (uint64_t)SECOND);
    assert_int_equal(rpc_of(s, slow->id)->n_cancelled, 1);
    assert_int_equal(grpc_server_stats(s->server)->deadlines, 1);
    grpc_talk(s, c, SIDE_BUFFER);
    assert_true(slow->n_finished == 1 && slow->code == GRPC_DEADLINE_EXCEEDED);
    assert_true(rpc_of(s, late->id)->n_cancelled == 0 && grpc_server_calls(s->server) == 1);
    grpc_side_free(s);
    grpc_side_free(c);
}

static void calls_over_the_bound_are_unavailable(void **state) {
    struct grpc_side *s = grpc_side_new(true);
    struct raw r = {0};
    raw_preface(&r);
    for (uint32_t i = 0; i < 160; i++)
        raw_call(&r, 2 * i + 1, 0, "/quiet", NULL, 0);
    assert_int_equal(grpc_raw_feed(&r, s), 0);
    assert_int_equal(grpc_server_calls(s->server), 150);
    assert_int_equal(grpc_server_stats(s->server)->refused_streams, 10);
    free(r.bytes);
    grpc_side_free(s);
}

static void too_many_header_lines_are_refused(void **state) {
    struct raw r = {0};
    struct grpc_side *s = server(&r);
    struct line lines[80] = {{":method", "POST"}, {":scheme", "http"}, {":path", "/echo"},
                             {":authority", "a"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
    for (size_t i = 6; i < array_size(lines); i++)
        lines[i] = (struct line){"x", "y"};
    raw_headers(&r, 1, 0, lines, 6 + GRPC_METADATA_MAX + 1);
    raw_headers(&r, 3, 0, lines, 6 + GRPC_METADATA_MAX);
    assert_int_equal(grpc_raw_feed(&r, s), 0);
    assert_true(s->n_calls == 1 && s->calls[0].id == 3);
    free(r.bytes);
    grpc_side_free(s);
}

static void floods_end_the_session(void **state) {
    struct raw r = {0};
    struct grpc_side *s = server(&r);
    int v = 0;
    for (uint32_t i = 0; v == 0 && i < 5000; i++) { /* rapid reset */
        raw_call(&r, 2 * i + 1, 0, "/quiet", NULL, 0);
        raw_word(&r, F_RST_STREAM, 2 * i + 1, H2_CANCEL);
        s->n_calls = 0;
        v = grpc_raw_feed(&r, s);
    }
    assert_int_equal(v, GRPC_FLOOD);
    assert_int_equal(grpc_server_calls(s->server), 0);
    struct raw out = {0};
    drained(s, &out);
    assert_true(grpc_server_finished(s->server));
    free(out.bytes);
    free(r.bytes);
    grpc_side_free(s);
}

static void other_protocols_are_broken(void **state) {
    static const uint8_t http1[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct grpc_side *s = grpc_side_new(true);
    assert_int_equal(grpc_side_feed(s, http1, sizeof(http1) - 1, SECOND), GRPC_BROKEN);
    assert_int_equal(grpc_side_feed(s, http1, 1, SECOND), GRPC_BROKEN);
    grpc_side_free(s);
}

static void a_graceful_end(void **state) {
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    struct rpc *k = ask(c, "/echo");
    grpc_talk(c, s, SIDE_BUFFER);
    grpc_server_goaway(s->server);
    grpc_talk(s, c, SIDE_BUFFER);
    assert_true(c->n_goaway > 0);
    int32_t id;
    assert_int_equal(grpc_client_call(c->client, STR("/echo"), NULL, 0, 0, SECOND, &id), 1);
    assert_int_equal(grpc_client_send(c->client, k->id, (const uint8_t *)"x", 1, true), 0);
    grpc_talk(c, s, SIDE_BUFFER);
    assert_true(k->n_finished == 1 && k->code == GRPC_OK && k->n_message == 1);
    assert_true(grpc_server_finished(s->server));
    grpc_side_free(s);
    grpc_side_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_answered_in_any_pieces),     cmocka_unit_test(an_unknown_path_is_unimplemented),
        cmocka_unit_test(requests_out_of_order_are_refused),    cmocka_unit_test(identity_encoding_and_others_are_taken),
        cmocka_unit_test(broken_messages_end_the_call),         cmocka_unit_test(a_call_may_end_inside_its_own_message),
        cmocka_unit_test(a_peer_that_does_not_read_is_bounded), cmocka_unit_test(a_large_first_message_is_taken),
        cmocka_unit_test(every_way_to_go_is_told_once),         cmocka_unit_test(calls_over_the_bound_are_unavailable),
        cmocka_unit_test(too_many_header_lines_are_refused),    cmocka_unit_test(floods_end_the_session),
        cmocka_unit_test(other_protocols_are_broken),           cmocka_unit_test(a_graceful_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
