/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: every call of a client ends in exactly one status, whatever the server does; deadlines and cancelling work; memory is
 * bounded and comes back.
 * Method: our own server at the other end for what is well; answers by hand for what is not. */
#include <errno.h>

#include "grpc_pair.h"

static struct rpc *ask(struct grpc_side *c, const char *path, uint64_t timeout_ns) {
    int32_t id = 0;
    assert_int_equal(grpc_client_call(c->client, str_of(path), NULL, 0, timeout_ns, SECOND, &id), 0);
    return rpc_of(c, id);
}

/* A client whose preface is out of the way, for answers by hand. */
static struct grpc_side *client(struct raw *r) {
    static uint8_t sink[SIDE_BUFFER];
    struct grpc_side *c = grpc_side_new(false);
    raw_frame(r, F_SETTINGS, 0, 0, NULL, 0);
    raw_frame(r, F_SETTINGS, ACK, 0, NULL, 0);
    assert_true(grpc_side_drain(c, sink, sizeof(sink)) > 0);
    assert_int_equal(grpc_raw_feed(r, c), 0);
    return c;
}

static void many_calls_at_once(void **state) {
    size_t before = h2_memory_used();
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    static uint8_t big[20000];
    struct rpc *calls[60];
    grpc_talk(c, s, SIDE_BUFFER); /* settings */
    for (size_t i = 0; i < array_size(calls); i++) {
        calls[i] = ask(c, i % 3 ? "/echo" : "/no", 0);
        for (size_t k = 0; k < sizeof(big); k++)
            big[k] = (uint8_t)(k * i);
        assert_int_equal(grpc_client_send(c->client, calls[i]->id, big, i * 300, false), 0);
        assert_int_equal(grpc_client_send(c->client, calls[i]->id, big, sizeof(big), true), 0);
    }
    grpc_talk(c, s, 1000);
    for (size_t i = 0; i < array_size(calls); i++) {
        struct rpc *seen = rpc_of(s, calls[i]->id);
        assert_int_equal(calls[i]->n_finished, 1);
        assert_int_equal(calls[i]->code, i % 3 ? GRPC_OK : GRPC_UNIMPLEMENTED);
        if (i % 3)
            assert_true(calls[i]->n_message == 2 && calls[i]->sum == seen->sum && calls[i]->bytes == i * 300 + sizeof(big));
    }
    grpc_client_ping(c->client);
    grpc_talk(c, s, SIDE_BUFFER);
    assert_int_equal(c->n_pong, 1);
    grpc_side_free(s);
    grpc_side_free(c);
    assert_int_equal(h2_memory_used(), before);
}

static void answers_by_hand_have_their_code(void **state) {
    static const struct {
        struct line lines[5]; /* of the headers */
        bool end;
        struct line trailers[3];
        const char *data; /* one byte for five prefix bytes and this */
        enum grpc_code code;
        const char *text;
    } table[] = {
        {{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "0"}}, true, {{0}}, NULL, GRPC_OK, ""},
        {{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "7"}, {"grpc-message", "no%0A"}},
         true,
         {{0}},
         NULL,
         GRPC_PERMISSION_DENIED,
         "no?"},
        {{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "99"}}, true, {{0}}, NULL, GRPC_UNKNOWN, ""},
        {{{":status", "200"}, {"content-type", "application/grpc"}},
         true,
         {{0}},
         NULL,
         GRPC_INTERNAL,
         "the answer ended without a status"},
        {{{":status", "503"}, {"content-type", "text/html"}},
         false,
         {{0}},
         NULL,
         GRPC_UNAVAILABLE,
         "the peer answered with an HTTP error"},
        {{{":status", "404"}}, true, {{0}}, NULL, GRPC_UNIMPLEMENTED, "the peer answered with an HTTP error"},
        {{{":status", "403"}, {"content-type", "application/grpc"}, {"grpc-status", "16"}},
         true,
         {{0}},
         NULL,
         GRPC_UNAUTHENTICATED,
         ""},
        {{{":status", "200"}, {"content-type", "text/html"}},
         false,
         {{0}},
         NULL,
         GRPC_UNKNOWN,
         "the answer is not gRPC by its content-type"},
        {{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-encoding", "gzip"}},
         false,
         {{0}},
         NULL,
         GRPC_INTERNAL,
         "the answer is compressed, which was not asked for"},
        {{{":status", "200"}, {"content-type", "application/grpc"}}, false, {{"grpc-status", "0"}}, NULL, GRPC_OK, ""},
        {{{":status", "200"}, {"content-type", "application/grpc"}},
         false,
         {{"grpc-status", "3"}, {"grpc-message", "bad"}},
         NULL,
         GRPC_INVALID_ARGUMENT,
         "bad"},
        {{{":status", "200"}, {"content-type", "application/grpc"}},
         false,
         {{"x", "y"}},
         NULL,
         GRPC_INTERNAL,
         "the answer ended without a status"},
        {{{":status", "200"}, {"content-type", "application/grpc"}},
         false,
         {{"grpc-status", "0"}},
         "\0\0\0\0\4abc",
         GRPC_INTERNAL,
         "the last message is cut short"},
        {{{":status", "200"}, {"content-type", "application/grpc"}},
         false,
         {{"grpc-status", "0"}},
         "\1\0\0\0\3abc",
         GRPC_INTERNAL,
         "a message is compressed, or its first byte is neither 0 nor 1"},
        {{{":status", "200"}, {"content-type", "application/grpc"}},
         false,
         {{"grpc-status", "0"}},
         "\0\1\0\0\3abc",
         GRPC_RESOURCE_EXHAUSTED,
         "a message is larger than is taken here"},
        {{{":status", "200"}, {"content-type", "application/grpc"}}, false, {{"grpc-status", "0"}}, "\0\0\0\0\3abc", GRPC_OK, ""},
    };
    for (size_t i = 0; i < array_size(table); i++) {
        struct raw r = {0};
        size_t before = h2_memory_used(), n = 0, n_t = 0;
        struct grpc_side *c = client(&r);
        struct rpc *k = ask(c, "/x", 0);
        static uint8_t sink[SIDE_BUFFER];
        ignore_result(grpc_side_drain(c, sink, sizeof(sink)));
        while (n < 5 && table[i].lines[n].name)
            n++;
        while (n_t < 3 && table[i].trailers[n_t].name)
            n_t++;
        raw_headers(&r, (uint32_t)k->id, table[i].end ? END_STREAM : 0, table[i].lines, n);
        if (table[i].data)
            raw_frame(&r, F_DATA, 0, (uint32_t)k->id, table[i].data, 8);
        if (n_t)
            raw_headers(&r, (uint32_t)k->id, END_STREAM, table[i].trailers, n_t);
        assert_int_equal(grpc_raw_feed(&r, c), 0);
        assert_int_equal(k->n_finished, 1);
        assert_int_equal(k->code, table[i].code);
        assert_string_equal(k->text, table[i].text);
        assert_int_equal(grpc_client_send(c->client, k->id, NULL, 0, true), 1);
        grpc_client_cancel(c->client, k->id);
        while (grpc_side_drain(c, sink, sizeof(sink)))
            ;
        assert_int_equal(k->n_finished, 1);
        free(r.bytes);
        grpc_side_free(c);
        assert_int_equal(h2_memory_used(), before);
    }
}

static void resets_and_goaway_have_their_code(void **state) {
    static const struct {
        uint32_t error;
        enum grpc_code code;
    } table[] = {{H2_NO_ERROR, GRPC_INTERNAL},
                 {H2_REFUSED_STREAM, GRPC_UNAVAILABLE},
                 {H2_CANCEL, GRPC_CANCELLED},
                 {H2_ENHANCE_YOUR_CALM, GRPC_RESOURCE_EXHAUSTED},
                 {H2_INTERNAL_ERROR, GRPC_INTERNAL}};
    static uint8_t sink[SIDE_BUFFER];
    for (size_t i = 0; i < array_size(table); i++) {
        struct raw r = {0};
        struct grpc_side *c = client(&r);
        struct rpc *k = ask(c, "/x", 0);
        ignore_result(grpc_side_drain(c, sink, sizeof(sink)));
        raw_word(&r, F_RST_STREAM, (uint32_t)k->id, table[i].error);
        assert_int_equal(grpc_raw_feed(&r, c), 0);
        assert_true(k->n_finished == 1 && k->code == table[i].code);
        assert_int_equal(grpc_side_drain(c, sink, sizeof(sink)), 0); /* no reset answers a reset */
        free(r.bytes);
        grpc_side_free(c);
    }
    struct raw r = {0};
    struct grpc_side *c = client(&r);
    struct rpc *first = ask(c, "/x", 0), *second = ask(c, "/x", 0);
    ignore_result(grpc_side_drain(c, sink, sizeof(sink)));
    raw_frame(&r, F_GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0", 8);
    assert_int_equal(grpc_raw_feed(&r, c), 0);
    assert_true(c->n_goaway == 1 && first->n_finished == 0 && second->n_finished == 1 && second->code == GRPC_UNAVAILABLE);
    int32_t id;
    assert_int_equal(grpc_client_call(c->client, STR("/x"), NULL, 0, 0, SECOND, &id), 1);
    grpc_client_lost(c->client, STR("connection reset"));
    assert_true(first->n_finished == 1 && first->code == GRPC_UNAVAILABLE);
    assert_string_equal(first->text, "connection reset");
    free(r.bytes);
    grpc_side_free(c);
}

static void a_broken_connection_ends_every_call(void **state) {
    struct raw r = {0};
    struct grpc_side *c = client(&r);
    struct rpc *calls[10];
    for (size_t i = 0; i < array_size(calls); i++)
        calls[i] = ask(c, "/x", 0);
    raw_frame(&r, F_DATA, 0, 0, "x", 1);
    assert_int_equal(grpc_raw_feed(&r, c), GRPC_BROKEN);
    for (size_t i = 0; i < array_size(calls); i++)
        assert_true(calls[i]->n_finished == 1 && calls[i]->code == GRPC_UNAVAILABLE);
    free(r.bytes);
    grpc_side_free(c);
}

static void deadlines_are_kept_and_told(void **state) {
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    struct rpc *k = ask(c, "/quiet", 5 * (uint64_t)SECOND), *other = ask(c, "/quiet", 0);
    grpc_talk(c, s, SIDE_BUFFER);
    grpc_client_tick(c->client, 5 * (uint64_t)SECOND);
    assert_int_equal(k->n_finished, 0);
    grpc_client_tick(c->client, 6 * (uint64_t)SECOND);
    assert_true(k->n_finished == 1 && k->code == GRPC_DEADLINE_EXCEEDED && other->n_finished == 0);
    grpc_talk(c, s, SIDE_BUFFER);
    assert_int_equal(rpc_of(s, k->id)->n_cancelled, 1);
    grpc_side_free(s);
    grpc_side_free(c);
}

static void what_is_sent_is_bounded(void **state) {
    struct grpc_side *c = grpc_side_new(false);
    static uint8_t big[PAIR_SENT_MAX];
    struct rpc *k = ask(c, "/x", 0);
    assert_int_equal(grpc_client_send(c->client, k->id, big, sizeof(big), false), 0);
    assert_int_equal(grpc_client_send(c->client, k->id, big, 1, false), 2);
    struct grpc_metadata bad = {STR("authorization"), STR("Bearer a\nb")};
    int32_t id;
    assert_int_equal(grpc_client_call(c->client, STR("/x"), &bad, 1, 0, SECOND, &id), -EINVAL);
    grpc_client_cancel(c->client, k->id);
    for (unsigned i = 0; i < pair_limits.streams_max + 10; i++)
        ignore_result(grpc_client_call(c->client, STR("/x"), NULL, 0, 0, SECOND, &id));
    assert_int_equal(grpc_client_call(c->client, STR("/x"), NULL, 0, 0, SECOND, &id), 1);
    grpc_side_free(c);
}

/* An owner that ends calls and opens others whenever it is told something. */
struct busy {
    struct grpc_client *c;
    int32_t id;
    unsigned n_finished, n_message;
};
static void busy_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct busy *b = owner;
    b->n_message++;
    grpc_client_cancel(b->c, id);
    assert_int_equal(grpc_client_send(b->c, id, bytes, n, true), 1);
    assert_int_equal(bytes[0], 'm'); /* still there */
}
static void busy_finished(void *owner, int32_t id, enum grpc_code code, struct str message) {
    struct busy *b = owner;
    grpc_client_cancel(b->c, id);
    if (b->n_finished++ == 0)
        assert_int_equal(grpc_client_call(b->c, STR("/echo"), NULL, 0, 0, SECOND, &b->id), 0);
}
static void busy_goaway(void *owner) {}
static const struct grpc_client_callbacks busy_callbacks = {busy_message, busy_finished, busy_goaway, busy_goaway};

static void callbacks_may_end_and_open_calls(void **state) {
    struct grpc_side *s = grpc_side_new(true), *c = grpc_side_new(false);
    struct grpc_client_options o = {.authority = STR("a"), .limits = pair_limits};
    struct busy b = {0};
    c->client = grpc_client_free(c->client);
    assert_int_equal(grpc_client_new(&busy_callbacks, &b, &o, &b.c), 0);
    c->client = b.c;
    assert_int_equal(grpc_client_call(b.c, STR("/no"), NULL, 0, 0, SECOND, &b.id), 0);
    grpc_talk(c, s, 3);
    assert_int_equal(b.n_finished, 1);
    static uint8_t message[3000];
    memset(message, 'm', sizeof(message));
    assert_int_equal(grpc_client_send(b.c, b.id, message, sizeof(message), false), 0);
    assert_int_equal(grpc_client_send(b.c, b.id, message, sizeof(message), true), 0);
    grpc_talk(c, s, 3);
    assert_true(b.n_message == 1 && b.n_finished == 1);
    grpc_side_free(s);
    grpc_side_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_calls_at_once),
        cmocka_unit_test(answers_by_hand_have_their_code),
        cmocka_unit_test(resets_and_goaway_have_their_code),
        cmocka_unit_test(a_broken_connection_ends_every_call),
        cmocka_unit_test(deadlines_are_kept_and_told),
        cmocka_unit_test(what_is_sent_is_bounded),
        cmocka_unit_test(callbacks_may_end_and_open_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
