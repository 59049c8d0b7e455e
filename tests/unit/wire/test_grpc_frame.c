/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: messages come out of a stream as they went in, wherever it is cut; memory follows what has come, not what is announced;
 * what is queued comes out in order and in any pieces.
 * Method: every cut of short streams; every size of piece; prefixes that lie. */
#include "../../../src/wire/grpc_frame.h"

#include <errno.h>

#include <ringwall/wire/h2.h>

#include "unit.h"

static size_t queue_text(struct grpc_queue *q, const char *const *items, size_t n, uint8_t *to, size_t cap, size_t piece) {
    size_t at = 0, got;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(grpc_queue_add(q, (const uint8_t *)items[i], strlen(items[i])), 0);
    while ((got = grpc_queue_pull(q, to + at, min_of(piece, cap - at))) > 0)
        at += got;
    assert_int_equal(q->n_bytes, 0);
    return at;
}

static void queued_messages_come_out_in_any_pieces(void **state) {
    static const char *const items[] = {"one", "", "three", "f"};
    static const char expected[] = "\0\0\0\0\3one\0\0\0\0\0\0\0\0\0\5three\0\0\0\0\1f";
    for (size_t piece = 1; piece < 32; piece++) {
        struct grpc_queue q;
        uint8_t out[64];
        grpc_queue_init(&q);
        assert_int_equal(queue_text(&q, items, 4, out, sizeof(out), piece), sizeof(expected) - 1);
        assert_memory_equal(out, expected, sizeof(expected) - 1);
        grpc_queue_deinit(&q);
    }
}

static void secrets_move_into_the_queue(void **state) {
    size_t before = h2_memory_used();
    struct grpc_queue q;
    struct secret s = SECRET_NULL, none = SECRET_NULL;
    uint8_t out[5000];
    grpc_queue_init(&q);
    assert_int_equal(secret_new(&s, 4000), 0);
    memset(s.at, 'k', s.n);
    assert_int_equal(grpc_queue_add_secret(&q, &s), 0);
    assert_null(s.at);
    assert_int_equal(grpc_queue_add_secret(&q, &none), 0); /* an empty message */
    assert_int_equal(q.n_bytes, 4010);
    assert_int_equal(grpc_queue_pull(&q, out, sizeof(out)), 4010);
    assert_memory_equal(out, "\0\0\0\x0f\xa0kkk", 8);
    assert_memory_equal(out + 4005, "\0\0\0\0\0", 5);
    assert_int_equal(secret_new(&s, 10), 0);
    assert_int_equal(grpc_queue_add_secret(&q, &s), 0);
    grpc_queue_deinit(&q); /* with one still in it */
    assert_int_equal(h2_memory_used(), before);
}

/* Reads a stream in two pieces; checks the messages. */
static void read_cut(const uint8_t *bytes, size_t n, size_t cut, const char *const *items, size_t n_items) {
    struct grpc_reader r;
    size_t seen = 0;
    grpc_reader_init(&r, 100);
    for (int half = 0; half < 2; half++) {
        size_t left = half ? n - cut : cut;
        uint8_t *copy = malloc(left + 1); /* exact but for one byte that is not given */
        memcpy(copy, bytes + (half ? cut : 0), left);
        const uint8_t *at = copy, *message;
        size_t n_message;
        enum grpc_read v;
        while ((v = grpc_reader_take(&r, &at, &left, &message, &n_message)) == GRPC_READ_MESSAGE) {
            assert_true(seen < n_items);
            assert_int_equal(n_message, strlen(items[seen]));
            assert_memory_equal(message, items[seen], n_message);
            seen++;
        }
        assert_int_equal(v, GRPC_READ_MORE);
        assert_int_equal(left, 0);
        free(copy);
    }
    assert_int_equal(seen, n_items);
    assert_true(grpc_reader_between(&r));
    grpc_reader_deinit(&r);
}

static void messages_come_out_wherever_the_stream_is_cut(void **state) {
    static const char *const items[] = {"a message", "", "x", "", "another one, longer than the first"};
    struct grpc_queue q;
    uint8_t bytes[128];
    size_t before = h2_memory_used();
    grpc_queue_init(&q);
    size_t n = queue_text(&q, items, 5, bytes, sizeof(bytes), sizeof(bytes));
    grpc_queue_deinit(&q);
    for (size_t cut = 0; cut <= n; cut++)
        read_cut(bytes, n, cut, items, 5);
    assert_int_equal(h2_memory_used(), before);
}

static void one_byte_at_a_time(void **state) {
    struct grpc_reader r;
    uint8_t stream[5 + 300] = {0, 0, 0, 1, 44};
    unsigned messages = 0;
    grpc_reader_init(&r, 300);
    for (unsigned round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof(stream); i++) {
            const uint8_t *at = &stream[i], *message = NULL;
            size_t n = 1, n_message = 0;
            enum grpc_read v = grpc_reader_take(&r, &at, &n, &message, &n_message);
            assert_int_equal(v, i + 1 == sizeof(stream) ? GRPC_READ_MESSAGE : GRPC_READ_MORE);
            messages += v == GRPC_READ_MESSAGE && n_message == 300;
        }
    assert_int_equal(messages, 3);
    grpc_reader_deinit(&r);
}

static void wrong_prefixes_are_named(void **state) {
    static const struct {
        uint8_t prefix[5];
        enum grpc_read verdict;
    } wrong[] = {
        {{0, 0, 0, 0, 101}, GRPC_READ_TOO_LARGE},
        {{0, 0xff, 0xff, 0xff, 0xff}, GRPC_READ_TOO_LARGE},
        {{0, 0x80, 0, 0, 0}, GRPC_READ_TOO_LARGE},
        {{1, 0, 0, 0, 4}, GRPC_READ_COMPRESSED},
        {{1, 0xff, 0xff, 0xff, 0xff}, GRPC_READ_COMPRESSED},
        {{2, 0, 0, 0, 0}, GRPC_READ_FLAG},
        {{0xff, 0, 0, 0, 0}, GRPC_READ_FLAG},
        {{0, 0, 0, 0, 100}, GRPC_READ_MORE},
    };
    for (size_t i = 0; i < array_size(wrong); i++)
        for (size_t cut = 0; cut < 5; cut++) {
            struct grpc_reader r;
            const uint8_t *at = wrong[i].prefix, *message;
            size_t before = h2_memory_used(), n = cut, n_message;
            grpc_reader_init(&r, 100);
            assert_int_equal(grpc_reader_take(&r, &at, &n, &message, &n_message), GRPC_READ_MORE);
            n = 5 - cut;
            assert_int_equal(grpc_reader_take(&r, &at, &n, &message, &n_message), wrong[i].verdict);
            assert_int_equal(h2_memory_used(), before); /* nothing is reserved for what is announced */
            grpc_reader_deinit(&r);
        }
}

static void memory_follows_what_has_come(void **state) {
    struct grpc_reader r;
    static uint8_t piece[1000];
    const uint8_t prefix[] = {0, 0x3f, 0xff, 0xff, 0xff}, *at = prefix, *message;
    size_t before = h2_memory_used(), n = 5, n_message;
    grpc_reader_init(&r, 1u << 30);
    assert_int_equal(grpc_reader_take(&r, &at, &n, &message, &n_message), GRPC_READ_MORE);
    for (size_t came = sizeof(piece); came < 1000 * 1000; came += sizeof(piece)) {
        at = piece;
        n = sizeof(piece);
        assert_int_equal(grpc_reader_take(&r, &at, &n, &message, &n_message), GRPC_READ_MORE);
        assert_in_range(h2_memory_used() - before, came, 2 * came + 10000);
    }
    assert_false(grpc_reader_between(&r));
    grpc_reader_deinit(&r);
    assert_int_equal(h2_memory_used(), before);
}

static void a_large_message_s_memory_goes_with_it(void **state) {
    static uint8_t bytes[5 + 100000] = {0, 0, 1, 0x86, 0xa0};
    struct grpc_reader r;
    const uint8_t *at = bytes, *message;
    size_t before = h2_memory_used(), n = 5000, n_message;
    grpc_reader_init(&r, 200000);
    assert_int_equal(grpc_reader_take(&r, &at, &n, &message, &n_message), GRPC_READ_MORE);
    n = sizeof(bytes) - 5000;
    assert_int_equal(grpc_reader_take(&r, &at, &n, &message, &n_message), GRPC_READ_MESSAGE);
    assert_int_equal(n_message, 100000);
    assert_true(h2_memory_used() > before);
    assert_int_equal(grpc_reader_take(&r, &at, &n, &message, &n_message), GRPC_READ_MORE);
    assert_int_equal(h2_memory_used(), before);
    grpc_reader_deinit(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queued_messages_come_out_in_any_pieces),
        cmocka_unit_test(secrets_move_into_the_queue),
        cmocka_unit_test(messages_come_out_wherever_the_stream_is_cut),
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(wrong_prefixes_are_named),
        cmocka_unit_test(memory_follows_what_has_come),
        cmocka_unit_test(a_large_message_s_memory_goes_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
