/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: a byte queue gives back exactly the bytes that went in, in order, and holds no chunk it does not need, copied or
 * shared. Method: a numbered byte stream pushed through random operations and checked at the other end; each edge of reserve by
 * hand. */
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/rng.h>

#include "unit.h"

static uint8_t byte_at(uint64_t position) { return (uint8_t)(position * 2654435761U >> 13); }

static void idle_queue_owns_nothing(void **state) {
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(4);
    assert_non_null(p);
    struct bufq q;
    bufq_init(&q, p);
    size_t n;
    assert_null(bufq_peek(&q, &n));
    assert_int_equal(bufq_append(&q, "hello", 5), 0);
    assert_int_equal(buf_pool_used(p), 1);
    assert_int_equal(bufq_append(&q, NULL, 0), 0);
    char out[8];
    assert_int_equal(bufq_read(&q, out, sizeof(out)), 5);
    assert_memory_equal(out, "hello", 5);
    assert_int_equal(buf_pool_used(p), 0);
    assert_int_equal(bufq_read(&q, out, sizeof(out)), 0);
    assert_int_equal(buf_pool_max(p), 4);
    bufq_deinit(&q);
}

static void random_operations_keep_the_stream(void **state) {
    enum { N_CHUNKS = 8, ROUNDS = 20000, SPACE = 3 * BUF_CHUNK_BYTES };
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(N_CHUNKS);
    struct bufq q, other;
    bufq_init(&q, p);
    bufq_init(&other, p);
    static uint8_t bytes[SPACE];
    struct rng rng;
    rng_seed(&rng, 11);
    uint64_t n_in = 0, n_out = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = rng_below(&rng, rng_below(&rng, 4) ? 600 : SPACE) + 1;
        switch (rng_below(&rng, 6)) {
        case 0:
            for (size_t i = 0; i < n; i++)
                bytes[i] = byte_at(n_in + i);
            if (bufq_append(&q, bytes, n) == 0)
                n_in += n;
            else
                assert_true(buf_pool_used(p) + n / BUF_CHUNK_BYTES + 1 > N_CHUNKS);
            break;
        case 1: {
            size_t n_space = n % BUF_CHUNK_BYTES + 1;
            uint8_t *at = rng_below(&rng, 2) ? bufq_reserve(&q, &n_space) : bufq_reserve_n(&q, n_space);
            if (!at)
                break;
            n = rng_below(&rng, n_space + 1);
            if (rng_below(&rng, 2)) { /* the reader goes on while the space is reserved */
                size_t n_read = rng_below(&rng, q.n_bytes + 1);
                n_out += n_read;
                bufq_consume(&q, n_read);
            }
            for (size_t i = 0; i < n; i++)
                at[i] = byte_at(n_in + i);
            bufq_commit(&q, n);
            n_in += n;
            break;
        }
        case 2:
            bufq_move(&other, &q);
            bufq_move(&q, &other);
            break;
        case 3: {
            struct iovec iov[N_CHUNKS];
            unsigned n_iov = bufq_iov(&q, iov, N_CHUNKS);
            uint64_t position = n_out;
            for (unsigned i = 0; i < n_iov; i++) {
                assert_int_equal(*(uint8_t *)iov[i].iov_base, byte_at(position));
                position += iov[i].iov_len;
            }
            assert_int_equal(position - n_out, q.n_bytes);
            break;
        }
        default:
            n = bufq_read(&q, bytes, n);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(bytes[i], byte_at(n_out + i));
            n_out += n;
        }
        assert_int_equal(q.n_bytes, n_in - n_out);
        assert_int_equal(q.n_bytes == 0, buf_pool_used(p) == 0);
        if (rng_below(&rng, 100) == 0)
            buf_pool_trim(p);
    }
    assert_true(n_out > 1000000);
    bufq_deinit(&q);
    assert_int_equal(buf_pool_used(p), 0);
}

static void bound_refuses_whole_appends(void **state) {
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(2);
    static uint8_t bytes[2 * BUF_CHUNK_BYTES + 1];
    struct bufq q;
    bufq_init(&q, p);
    assert_int_equal(bufq_append(&q, bytes, sizeof(bytes)), 1);
    assert_int_equal(q.n_bytes, 0);
    assert_int_equal(bufq_append(&q, bytes, 10), 0);
    assert_int_equal(bufq_append(&q, bytes, sizeof(bytes) - 10), 1);
    assert_int_equal(q.n_bytes, 10);
    assert_int_equal(bufq_append(&q, bytes, sizeof(bytes) - 11), 0);
    size_t n;
    assert_null(bufq_reserve(&q, &n));
    assert_null(bufq_reserve_n(&q, 1));
    assert_int_equal(bufq_append(&q, bytes, 1), 1);
    bufq_consume(&q, 10);
    assert_null(bufq_reserve(&q, &n)); /* the head chunk is still in use */
    bufq_consume(&q, BUF_CHUNK_BYTES);
    assert_non_null(bufq_reserve(&q, &n));
    assert_int_equal(n, BUF_CHUNK_BYTES);
    bufq_commit(&q, 0);
    assert_int_equal(buf_pool_used(p), 1);
    bufq_deinit(&q);
    bufq_deinit(&q);
}

static void reservation_outlives_consumption(void **state) {
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(2);
    struct bufq q;
    bufq_init(&q, p);
    assert_int_equal(bufq_append(&q, "abc", 3), 0);
    size_t n;
    uint8_t *at = bufq_reserve(&q, &n); /* as a receive in the kernel would hold it */
    assert_int_equal(n, BUF_CHUNK_BYTES - 3);
    bufq_consume(&q, 3);
    assert_null(bufq_peek(&q, &n));
    assert_int_equal(buf_pool_used(p), 1);
    memcpy(at, "def", 3);
    bufq_commit(&q, 3);
    char out[3];
    assert_int_equal(bufq_read(&q, out, 3), 3);
    assert_memory_equal(out, "def", 3);
    assert_int_equal(buf_pool_used(p), 0);

    assert_non_null(bufq_reserve(&q, &n));
    bufq_commit(&q, 0); /* nothing came */
    assert_int_equal(buf_pool_used(p), 0);
}

static void contiguous_space(void **state) {
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(3);
    struct bufq q, to;
    bufq_init(&q, p);
    bufq_init(&to, p);
    static uint8_t bytes[BUF_CHUNK_BYTES];
    assert_int_equal(bufq_append(&q, bytes, BUF_CHUNK_BYTES - 10), 0);
    uint8_t *at = bufq_reserve_n(&q, 11);
    assert_non_null(at);
    assert_int_equal(buf_pool_used(p), 2);
    bufq_commit(&q, 0);
    assert_int_equal(buf_pool_used(p), 1);
    assert_non_null(bufq_reserve_n(&q, 11));
    bufq_commit(&q, 11);
    assert_int_equal(q.n_bytes, BUF_CHUNK_BYTES + 1);
    assert_non_null(bufq_reserve_n(&q, BUF_CHUNK_BYTES));
    bufq_move(&to, &q); /* drops the reservation that was not committed */
    assert_int_equal(buf_pool_used(p), 2);
    assert_int_equal(to.n_bytes, BUF_CHUNK_BYTES + 1);
    assert_int_equal(q.n_bytes, 0);
    bufq_deinit(&to);
}

/* Several queues pass one numbered stream on, by slices of every kind; what comes out at the end is what went in. */
static void slices_keep_the_stream(void **state) {
    enum { N_CHUNKS = 16, ROUNDS = 30000, N_QUEUES = 3 };
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(N_CHUNKS);
    struct bufq q[N_QUEUES];
    for (size_t i = 0; i < N_QUEUES; i++)
        bufq_init(&q[i], p);
    static uint8_t bytes[3 * BUF_CHUNK_BYTES];
    struct rng rng;
    rng_seed(&rng, 12);
    uint64_t n_in = 0, n_out = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = rng_below(&rng, rng_below(&rng, 3) ? 40 : BUF_CHUNK_BYTES) + 1;
        switch (rng_below(&rng, 5)) {
        case 0:
            for (size_t i = 0; i < n; i++)
                bytes[i] = byte_at(n_in + i);
            if (bufq_append(&q[0], bytes, n) == 0)
                n_in += n;
            break;
        case 1: { /* a chunk filled elsewhere, given in two parts */
            struct buf_chunk *c = buf_chunk_acquire(p);
            if (!c)
                break;
            uint8_t *at = buf_chunk_bytes(c);
            for (size_t i = 0; i < n; i++)
                at[i] = byte_at(n_in + i);
            size_t n_first = rng_below(&rng, n + 1);
            int full = bufq_append_shared(&q[0], c, at, n_first);
            n_in += full ? 0 : n_first;
            if (!full && bufq_append_shared(&q[0], c, at + n_first, n - n_first) == 0)
                n_in += n - n_first;
            assert_null(buf_chunk_unref(c));
            break;
        }
        case 2:
        case 3: {
            size_t i = rng_below(&rng, N_QUEUES - 1), n_before = q[i].n_bytes;
            size_t n_moved = bufq_move_n(&q[i + 1], &q[i], n);
            assert_true(n_moved <= min_of(n, n_before)); /* fewer when there is no slice left */
            break;
        }
        default:
            n = bufq_read(&q[N_QUEUES - 1], bytes, n);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(bytes[i], byte_at(n_out + i));
            n_out += n;
        }
        size_t n_bytes = 0;
        for (size_t i = 0; i < N_QUEUES; i++)
            n_bytes += q[i].n_bytes;
        assert_int_equal(n_bytes, n_in - n_out);
        assert_int_equal(n_bytes == 0, buf_pool_used(p) == 0);
        if (rng_below(&rng, 100) == 0)
            buf_pool_trim(p);
    }
    assert_true(n_out > 1000000);
    for (size_t i = 0; i < N_QUEUES; i++)
        bufq_deinit(&q[i]);
    assert_int_equal(buf_pool_used(p), 0);
}

static void many_bytes_are_shared_few_are_copied(void **state) {
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(16);
    struct bufq q;
    bufq_init(&q, p);
    struct buf_chunk *c = buf_chunk_acquire(p);
    uint8_t *at = buf_chunk_bytes(c);
    memset(at, 'x', BUF_CHUNK_BYTES);
    size_t n;

    assert_int_equal(bufq_append_shared(&q, c, at, BUF_SHARE_MIN), 0);
    assert_ptr_equal(bufq_peek(&q, &n), at);
    assert_true(buf_chunk_is_shared(c));
    assert_int_equal(buf_pool_used(p), 1);
    assert_int_equal(bufq_append_shared(&q, c, at + BUF_SHARE_MIN, BUF_SHARE_MIN), 0); /* goes on where the last one ended */
    assert_ptr_equal(bufq_peek(&q, &n), at);
    assert_int_equal(n, 2 * BUF_SHARE_MIN);
    bufq_consume(&q, 2 * BUF_SHARE_MIN);
    assert_false(buf_chunk_is_shared(c));

    assert_int_equal(bufq_append_shared(&q, c, at, BUF_SHARE_MIN - 1), 0);
    assert_false(buf_chunk_is_shared(c));
    assert_int_equal(buf_pool_used(p), 2);
    assert_int_equal(bufq_append_shared(&q, NULL, at, BUF_SHARE_MIN), 0);
    assert_false(buf_chunk_is_shared(c));
    bufq_deinit(&q);
    buf_chunk_unref(c);
    assert_int_equal(buf_pool_used(p), 0);
}

static void a_pool_nearly_used_up_is_not_shared(void **state) {
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(16);
    struct bufq q;
    bufq_init(&q, p);
    struct buf_chunk *c[14];
    for (size_t i = 0; i < array_size(c); i++)
        assert_non_null(c[i] = buf_chunk_acquire(p));
    uint8_t *at = buf_chunk_bytes(c[0]);
    memset(at, 'x', BUF_CHUNK_BYTES);
    assert_int_equal(bufq_append_shared(&q, c[0], at, BUF_CHUNK_BYTES), 0);
    assert_false(buf_chunk_is_shared(c[0]));
    assert_int_equal(bufq_append_shared(&q, c[0], at, BUF_CHUNK_BYTES), 0);
    assert_int_equal(bufq_append_shared(&q, c[0], at, BUF_CHUNK_BYTES), 1); /* nothing is left to copy to */
    assert_int_equal(q.n_bytes, 2 * BUF_CHUNK_BYTES);
    assert_null(buf_chunk_acquire(p));
    bufq_deinit(&q);
    for (size_t i = 0; i < array_size(c); i++)
        buf_chunk_unref(c[i]);
}

/* Heads between shared pieces are written one behind the other, not each into a chunk of its own. */
static void heads_share_a_chunk(void **state) {
    enum { N = 20, HEAD = 9 };
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(64);
    struct bufq q;
    bufq_init(&q, p);
    for (size_t i = 0; i < N; i++) {
        struct buf_chunk *c = buf_chunk_acquire(p);
        memset(buf_chunk_bytes(c), (int)i, BUF_SHARE_MIN);
        uint8_t *head = bufq_reserve_n(&q, HEAD);
        assert_non_null(head);
        memset(head, 'h', HEAD);
        bufq_commit(&q, HEAD);
        assert_int_equal(bufq_append_shared(&q, c, buf_chunk_bytes(c), BUF_SHARE_MIN), 0);
        buf_chunk_unref(c);
    }
    assert_int_equal(buf_pool_used(p), N + 1);
    struct iovec iov[2 * N + 1];
    assert_int_equal(bufq_iov(&q, iov, array_size(iov)), 2 * N);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(iov[2 * i].iov_len, HEAD);
        assert_int_equal(*(uint8_t *)iov[2 * i + 1].iov_base, i);
    }
    bufq_consume(&q, N * (HEAD + BUF_SHARE_MIN) - 1);
    assert_int_equal(buf_pool_used(p), 1); /* the chunk of the heads went with the last one */
    bufq_deinit(&q);
}

static void commit_too_much(void *argument) {
    struct bufq *q = argument;
    size_t n;
    assert_non_null(bufq_reserve(q, &n));
    bufq_commit(q, n + 1);
}
static void commit_unreserved(void *q) { bufq_commit(q, 1); }
static void consume_too_much(void *q) { bufq_consume(q, 1); }
static void reserve_too_much(void *q) { bufq_reserve_n(q, BUF_CHUNK_BYTES + 1); }

static void share_what_is_elsewhere(void *q) {
    static const uint8_t bytes[BUF_SHARE_MIN];
    struct buf_chunk *c = buf_chunk_acquire(((struct bufq *)q)->pool);
    ignore_result(bufq_append_shared(q, c, bytes, sizeof(bytes)));
}
static void unref_too_often(void *q) {
    struct buf_chunk *c = buf_chunk_acquire(((struct bufq *)q)->pool);
    buf_chunk_unref(c);
    buf_chunk_unref(c);
}

static void misuse_stops(void **state) {
    static void (*const misuses[])(void *) = {commit_too_much,  commit_unreserved,       consume_too_much,
                                              reserve_too_much, share_what_is_elsewhere, unref_too_often};
    cleanup(buf_pool_freep) struct buf_pool *p = buf_pool_new(3);
    struct bufq q;
    bufq_init(&q, p);
    for (size_t i = 0; i < array_size(misuses); i++)
        assert_true(unit_dies(misuses[i], &q));
    assert_null(buf_pool_new(SIZE_MAX / BUF_CHUNK_BYTES));
}

/* A busy pool keeps what it needs, one that was busy once gives it back at the second look. */
static void unused_chunks_go_back(void **state unused_arg) {
    enum { N = 100 };
    struct buf_pool *p = buf_pool_new(N);
    assert_non_null(p);
    struct buf_chunk *chunks[N];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < N; i++) {
            chunks[i] = buf_chunk_acquire(p);
            assert_non_null(chunks[i]);
            memset(buf_chunk_bytes(chunks[i]), 'x', BUF_CHUNK_BYTES);
        }
        for (unsigned i = 1; i < N; i++)
            buf_chunk_unref(chunks[i]);
        assert_false(buf_pool_trim_unused(p));
        assert_int_equal(buf_chunk_bytes(chunks[0])[BUF_CHUNK_BYTES - 1], 'x');
        if (round < 2)
            buf_chunk_unref(chunks[0]);
    }
    assert_true(buf_pool_trim_unused(p));
    assert_false(buf_pool_trim_unused(p));
    assert_int_equal(buf_chunk_bytes(chunks[0])[BUF_CHUNK_BYTES - 1], 'x'); /* what is used stays */
    struct buf_chunk *again = buf_chunk_acquire(p);
    assert_ptr_equal(again, chunks[1]);
    assert_int_equal(buf_chunk_bytes(again)[BUF_CHUNK_BYTES / 2], 0); /* and the rest went */
    buf_chunk_unref(again);
    buf_chunk_unref(chunks[0]);
    buf_pool_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_queue_owns_nothing),
        cmocka_unit_test(random_operations_keep_the_stream),
        cmocka_unit_test(bound_refuses_whole_appends),
        cmocka_unit_test(reservation_outlives_consumption),
        cmocka_unit_test(contiguous_space),
        cmocka_unit_test(slices_keep_the_stream),
        cmocka_unit_test(many_bytes_are_shared_few_are_copied),
        cmocka_unit_test(a_pool_nearly_used_up_is_not_shared),
        cmocka_unit_test(heads_share_a_chunk),
        cmocka_unit_test(unused_chunks_go_back),
        cmocka_unit_test(misuse_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
