/* SPDX-License-Identifier: GPL-3.0-or-later
 * Goal: an open session carries data whole and in order, ends as it was told to, and refuses with the right alert what RFC 8446
 * forbids; keys change in time; no peer makes it hold or send more than a little.
 * Method: two channels made from secrets, without a handshake; and one against records made by hand, bad in every way. */
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>
#include <ringwall/base/rng.h>
#include <ringwall/tls/key.h>
#include <ringwall/tls/session.h>

#include "channel.h"
#include "unit.h"

enum { POOL_CHUNKS = 64, TEXT_MAX = 200 * 1024 };

/* A client's channel, and by hand the server that it talks to. */
struct lone {
    struct buf_pool *pool;
    struct bufq in, out;
    struct channel *channel;
    struct record_way way, its; /* what we seal for it, what it sealed for us */
};
static uint8_t secrets[2][RECORD_SECRET_MAX], text[TEXT_MAX], got[TEXT_MAX];

static int group_setup(void **state) {
    for (size_t i = 0; i < TEXT_MAX; i++)
        text[i] = (uint8_t)(i * 131 + i / 251);
    for (size_t i = 0; i < RECORD_SECRET_MAX; i++) {
        secrets[0][i] = (uint8_t)(i * 7 + 1);
        secrets[1][i] = (uint8_t)(i * 5 + 2);
    }
    return tls_library_init();
}

static bool has(int path) { return gcm_path_usable((enum gcm_path)path); }

static struct channel *channel_of(bool is_client, struct bufq *in, struct bufq *out, enum record_suite suite, int path) {
    struct channel *c = channel_new(is_client, in, out);
    assert_non_null(c);
    assert_int_equal(channel_begin(c, suite, (enum gcm_path)path), 1); /* before the secrets came */
    for (int of_client = 0; of_client < 2; of_client++) {
        assert_false(channel_secret(c, of_client, secrets[of_client], RECORD_SECRET_MAX + 1));
        assert_true(channel_secret(c, of_client, secrets[of_client], record_secret_bytes(suite)));
    }
    assert_int_equal(channel_begin(c, suite, (enum gcm_path)path), 0);
    return c;
}

static void lone_init(struct lone *l, bool is_client) {
    *l = (struct lone){.pool = buf_pool_new(POOL_CHUNKS)};
    bufq_init(&l->in, l->pool);
    bufq_init(&l->out, l->pool);
    l->channel = channel_of(is_client, &l->in, &l->out, RECORD_AES_256_GCM_SHA384, (int)gcm_path_best());
    assert_int_equal(record_way_begin(&l->way, GCM_WOLFCRYPT, secrets[!is_client], 48), 0);
    assert_int_equal(record_way_begin(&l->its, GCM_WOLFCRYPT, secrets[is_client], 48), 0);
}

static void lone_deinit(struct lone *l) {
    channel_free(l->channel);
    record_way_end(&l->way);
    record_way_end(&l->its);
    bufq_deinit(&l->in);
    bufq_deinit(&l->out);
    buf_pool_free(l->pool); /* checks that nothing is left */
}

/* A record of these bytes, its type among them, and the header given; NULL: the right one. */
static void feed_inner(struct lone *l, const uint8_t *inner, size_t n, const uint8_t *header) {
    static uint8_t record[RECORD_HEADER_BYTES + 70000];
    size_t n_body = n + GCM_TAG_BYTES;
    uint8_t right[] = {RECORD_DATA, 3, 3, (uint8_t)(n_body >> 8), (uint8_t)n_body}, nonce[GCM_NONCE_BYTES];
    memcpy(record, header ? header : right, RECORD_HEADER_BYTES);
    memcpy(nonce, l->way.iv, sizeof(nonce));
    for (int i = 0; i < 8; i++)
        nonce[11 - i] ^= (uint8_t)(l->way.n_records >> 8 * i);
    l->way.n_records++;
    uint8_t *body = record + RECORD_HEADER_BYTES;
    gcm_seal(&l->way.key, nonce, record, RECORD_HEADER_BYTES, inner, n, body, body + n);
    assert_int_equal(bufq_append(&l->in, record, RECORD_HEADER_BYTES + n_body), 0);
}

static void feed(struct lone *l, uint8_t type, const void *bytes, size_t n) {
    static uint8_t inner[70000];
    memcpy(inner, bytes, n);
    inner[n] = type;
    feed_inner(l, inner, n + 1, NULL);
}

/* What it sent: the type of the next record, 0 if there is none. */
static uint8_t sent(struct lone *l, uint8_t *bytes, size_t *ret_n) {
    static uint8_t record[RECORD_HEADER_BYTES + RECORD_BODY_MAX], inner[RECORD_BODY_MAX];
    uint8_t type = 0;
    if (!bufq_read(&l->out, record, RECORD_HEADER_BYTES))
        return 0;
    size_t n_body = (size_t)record[3] << 8 | record[4], n_text = n_body - GCM_TAG_BYTES;
    assert_int_equal(bufq_read(&l->out, record + RECORD_HEADER_BYTES, n_body), n_body);
    struct iovec piece = {.iov_base = record + RECORD_HEADER_BYTES, .iov_len = n_text};
    assert_true(record_open(&l->its, record, &piece, 1, record + RECORD_HEADER_BYTES + n_text, inner, &type, ret_n));
    memcpy(bytes, inner, *ret_n);
    return type;
}

static void expect_alert(struct lone *l, int alert) {
    uint8_t bytes[RECORD_PLAIN_MAX];
    size_t n;
    if (alert < 0) {
        assert_int_equal(l->out.n_bytes, 0);
        return;
    }
    assert_int_equal(sent(l, bytes, &n), RECORD_ALERT);
    assert_int_equal(n, 2);
    assert_int_equal(bytes[0], 2);
    assert_int_equal(bytes[1], alert);
    assert_int_equal(l->out.n_bytes, 0);
}

/* What was fed breaks it; then it is silent and stays broken. */
static void expect_broken(struct lone *l, int alert, const char *error) {
    struct bufq plain;
    struct buf_chunk *chunk;
    const uint8_t *at;
    size_t n = 77;
    int r;
    while ((r = channel_open(l->channel, got, sizeof(got), &n)) == TLS_DONE)
        ;
    if (r != TLS_BROKEN || strcmp(channel_error(l->channel), error))
        fail_msg("%d, '%s', not '%s'", r, channel_error(l->channel), error);
    expect_alert(l, alert);
    feed(l, RECORD_DATA, "more", 4);
    assert_int_equal(channel_open(l->channel, got, sizeof(got), &n), TLS_BROKEN);
    assert_int_equal(channel_open_record(l->channel, &chunk, &at, &n), TLS_BROKEN);
    assert_int_equal(channel_seal(l->channel, text, 1, &n), TLS_BROKEN);
    bufq_init(&plain, l->pool);
    assert_int_equal(channel_seal_queue(l->channel, &plain, 1), TLS_BROKEN);
    assert_int_equal(channel_close(l->channel), TLS_BROKEN);
    assert_int_equal(l->out.n_bytes, 0);
}

static void expect_text(struct lone *l, const char *expected) {
    size_t n;
    assert_int_equal(channel_open(l->channel, got, sizeof(got), &n), TLS_DONE);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(got, expected, n);
}

/* ---- data between two channels ---- */

struct pair {
    struct buf_pool *pool;
    struct bufq a_in, a_out, b_in, b_out;
    struct channel *a, *b;
};

static void pair_init(struct pair *p, enum record_suite suite, int path_a, int path_b) {
    p->pool = buf_pool_new(POOL_CHUNKS);
    bufq_init(&p->a_in, p->pool);
    bufq_init(&p->a_out, p->pool);
    bufq_init(&p->b_in, p->pool);
    bufq_init(&p->b_out, p->pool);
    p->a = channel_of(true, &p->a_in, &p->a_out, suite, path_a);
    p->b = channel_of(false, &p->b_in, &p->b_out, suite, path_b);
}

static void pair_deinit(struct pair *p) {
    channel_free(p->a);
    channel_free(p->b);
    bufq_deinit(&p->a_in);
    bufq_deinit(&p->a_out);
    bufq_deinit(&p->b_in);
    bufq_deinit(&p->b_out);
    buf_pool_free(p->pool);
}

/* Puts n bytes at `at` into q as the tunnel does: copies of heads, slices of chunks between them. */
static void fill_plain(struct rng *rng, struct bufq *q, const uint8_t *at, size_t n) {
    while (n) {
        size_t n_now = min_of(n, rng_below(rng, 3) ? 1 + rng_below(rng, 40) : 4096 + rng_below(rng, 12000));
        if (n_now < BUF_SHARE_MIN)
            assert_int_equal(bufq_append(q, at, n_now), 0);
        else {
            struct buf_chunk *chunk = buf_chunk_acquire(q->pool);
            assert_non_null(chunk);
            memcpy(buf_chunk_bytes(chunk) + 100, at, n_now);
            assert_int_equal(bufq_append_shared(q, chunk, buf_chunk_bytes(chunk) + 100, n_now), 0);
            buf_chunk_unref(chunk);
        }
        at += n_now;
        n -= n_now;
    }
}

/* Moves ciphertext in random cuts, as slices. */
static void carry_some(struct rng *rng, struct bufq *to, struct bufq *from) {
    while (from->n_bytes && rng_below(rng, 20))
        bufq_move_n(to, from, rng_below(rng, 4) ? 1 + rng_below(rng, 9000) : 1 + rng_below(rng, 7));
}

static size_t open_some(struct rng *rng, struct channel *c, size_t n_got) {
    for (;;) {
        size_t n = 0;
        int r;
        if (rng_below(rng, 2)) {
            struct buf_chunk *chunk;
            const uint8_t *at;
            r = channel_open_record(c, &chunk, &at, &n);
            if (r == TLS_DONE) {
                assert_true(at >= buf_chunk_bytes(chunk) && at + n <= buf_chunk_bytes(chunk) + BUF_CHUNK_BYTES);
                memcpy(got + n_got, at, n);
            }
        } else
            r = channel_open(c, got + n_got, 1 + rng_below(rng, rng_below(rng, 2) ? 20 : 17000), &n);
        if (r == TLS_WANT_INPUT)
            return n_got;
        assert_int_equal(r, TLS_DONE);
        assert_true(n > 0);
        n_got += n;
    }
}

static void carry_random(struct rng *rng, enum record_suite suite, int path_a, int path_b) {
    struct pair p;
    struct bufq plain;
    pair_init(&p, suite, path_a, path_b);
    bufq_init(&plain, p.pool);
    if (rng_below(rng, 2))
        channel_limit(p.a, 1 + rng_below(rng, 5)); /* KeyUpdates on the way */
    for (int round = 0; round < 6; round++) {
        size_t n_text = 1 + rng_below(rng, rng_below(rng, 2) ? 300 : TEXT_MAX - 20000), n_sent = 0, n_got = 0;
        memset(got, 0, n_text);
        while (n_got < n_text) {
            size_t n = 0;
            int r = TLS_DONE;
            if (plain.n_bytes || rng_below(rng, 2)) {
                size_t n_more = min_of(n_text - n_sent, rng_below(rng, 60000));
                fill_plain(rng, &plain, text + n_sent, n_more);
                n_sent += n_more;
                r = channel_seal_queue(p.a, &plain, 1 + rng_below(rng, 70000));
                assert_true(r == (plain.n_bytes ? TLS_WANT_OUTPUT : TLS_DONE));
            } else if (n_sent < n_text) {
                r = channel_seal(p.a, text + n_sent, min_of(n_text - n_sent, rng_below(rng, 40000)), &n);
                assert_true(r == TLS_DONE || r == TLS_WANT_OUTPUT);
                n_sent += n;
            }
            carry_some(rng, &p.b_in, &p.a_out);
            n_got = open_some(rng, p.b, n_got);
        }
        assert_int_equal(n_got, n_text);
        assert_memory_equal(got, text, n_text);
    }
    assert_int_equal(buf_pool_used(p.pool), 0); /* idle: no buffers */
    pair_deinit(&p);
}

static void test_random(void **state) {
    struct rng rng;
    uint64_t seed;
    rng_secret(&seed, sizeof(seed));
    print_message("seed %#llx\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int i = 0; i < 40; i++)
        for (int pair = 0; pair < GCM_PATHS * GCM_PATHS; pair++)
            if (has(pair % GCM_PATHS) && has(pair / GCM_PATHS))
                carry_random(&rng, i % 2 ? RECORD_AES_128_GCM_SHA256 : RECORD_AES_256_GCM_SHA384, pair % GCM_PATHS,
                             pair / GCM_PATHS);
}

/* A record in more pieces than anyone keeps a list of. */
static void test_crumbs(void **state) {
    struct pair p;
    size_t n;
    pair_init(&p, RECORD_AES_256_GCM_SHA384, (int)gcm_path_best(), (int)gcm_path_best());
    for (size_t n_text = 1; n_text < 400; n_text++) {
        struct bufq other;
        bufq_init(&other, p.pool);
        assert_int_equal(channel_seal(p.a, text, n_text, &n), TLS_DONE);
        bufq_move(&other, &p.a_out);
        while (other.n_bytes) { /* every byte its own slice: from two queues in turns */
            assert_int_equal(bufq_move_n(&p.b_in, &other, 1), 1);
            if (p.b_in.n_bytes <= n_text + 21)
                assert_int_equal(channel_open(p.b, got, sizeof(got), &n), TLS_WANT_INPUT);
        }
        assert_int_equal(channel_open(p.b, got, sizeof(got), &n), TLS_DONE);
        assert_int_equal(n, n_text);
        assert_memory_equal(got, text, n);
    }
    pair_deinit(&p);
}

/* Bytes that someone holds a reference of are left alone, the small records before them too; what nobody holds is used again. */
static void test_chunks(void **state) {
    struct pair p;
    struct buf_chunk *chunks[40];
    const uint8_t *at[40];
    size_t n[40], n_taken;
    pair_init(&p, RECORD_AES_128_GCM_SHA256, GCM_WOLFCRYPT, (int)gcm_path_best());
    for (int i = 0; i < 40; i++)
        assert_int_equal(channel_seal(p.a, text + i, i < 30 ? 100 : 6000, &n_taken), TLS_DONE);
    bufq_move(&p.b_in, &p.a_out);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(channel_open_record(p.b, &chunks[i], &at[i], &n[i]), TLS_DONE);
        buf_chunk_ref(chunks[i]);
        assert_int_equal(n[i], i < 30 ? 100 : 6000);
        if (i > 0 && i < 30) {
            assert_ptr_equal(chunks[i], chunks[0]);
            assert_ptr_equal(at[i], at[i - 1] + 100);
        }
    }
    assert_int_equal(channel_open_record(p.b, &chunks[0], &at[0], &n[0]), TLS_WANT_INPUT);
    for (int i = 0; i < 40; i++) {
        assert_memory_equal(at[i], text + i, n[i]);
        buf_chunk_unref(chunks[i]);
    }
    assert_int_equal(buf_pool_used(p.pool), 0);

    for (int i = 0; i < 40; i++)
        assert_int_equal(channel_seal(p.a, text + i, 6000, &n_taken), TLS_DONE);
    bufq_move(&p.b_in, &p.a_out);
    size_t n_used = buf_pool_used(p.pool);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(channel_open_record(p.b, &chunks[i], &at[i], &n[i]), TLS_DONE);
        assert_ptr_equal(at[i], at[0]);
        assert_memory_equal(at[i], text + i, n[i]);
        assert_true(buf_pool_used(p.pool) <= n_used + 1);
    }
    pair_deinit(&p);
}

static void test_no_room(void **state) {
    struct pair p;
    struct bufq hog, plain;
    struct buf_chunk *chunk;
    const uint8_t *at;
    size_t n = 99;
    pair_init(&p, RECORD_AES_256_GCM_SHA384, (int)gcm_path_best(), (int)gcm_path_best());
    bufq_init(&hog, p.pool);
    bufq_init(&plain, p.pool);
    assert_int_equal(channel_seal(p.a, text, 3000, &n), TLS_DONE);
    bufq_move(&p.b_in, &p.a_out);
    assert_int_equal(bufq_append(&plain, text, 30000), 0);
    while (bufq_append(&hog, text, BUF_CHUNK_BYTES) == 0)
        ;
    assert_int_equal(channel_open_record(p.b, &chunk, &at, &n), TLS_WANT_OUTPUT);
    assert_int_equal(channel_open(p.b, got, 100, &n), TLS_WANT_OUTPUT); /* needs a place for the rest */
    assert_int_equal(channel_seal_queue(p.a, &plain, SIZE_MAX), TLS_WANT_OUTPUT);
    assert_int_equal(plain.n_bytes, 30000);
    assert_int_equal(channel_close(p.a), TLS_WANT_OUTPUT);
    assert_int_equal(channel_open(p.b, got, sizeof(got), &n), TLS_DONE); /* straight */
    assert_int_equal(n, 3000);
    bufq_consume(&hog, 4 * BUF_CHUNK_BYTES);
    assert_int_equal(channel_seal_queue(p.a, &plain, 1), TLS_WANT_OUTPUT); /* a record at most above the mark */
    assert_int_equal(p.a_out.n_bytes, RECORD_PLAIN_MAX + RECORD_OVERHEAD);
    assert_int_equal(channel_seal_queue(p.a, &plain, SIZE_MAX), TLS_DONE);
    assert_int_equal(plain.n_bytes, 0);
    bufq_deinit(&hog);
    pair_deinit(&p);
}

/* ---- ends ---- */

static void test_close(void **state) {
    struct lone l;
    uint8_t bytes[RECORD_PLAIN_MAX];
    size_t n;
    for (uint8_t level = 0; level < 4; level++) { /* the level means nothing in TLS 1.3 */
        lone_init(&l, level % 2);
        feed(&l, RECORD_DATA, "last", 4);
        feed(&l, RECORD_ALERT, (uint8_t[]){level, 0}, 2);
        feed(&l, RECORD_DATA, "after", 5); /* is not looked at */
        expect_text(&l, "last");
        for (int i = 0; i < 3; i++)
            assert_int_equal(channel_open(l.channel, got, sizeof(got), &n), TLS_CLOSED);
        /* Our way goes on until we close it too. */
        assert_int_equal(channel_seal(l.channel, text, 10, &n), TLS_DONE);
        assert_int_equal(sent(&l, bytes, &n), RECORD_DATA);
        assert_int_equal(channel_close(l.channel), TLS_DONE);
        assert_int_equal(channel_close(l.channel), TLS_DONE);
        assert_int_equal(channel_seal(l.channel, text, 10, &n), TLS_BROKEN);
        assert_int_equal(sent(&l, bytes, &n), RECORD_ALERT);
        assert_int_equal(n, 2);
        assert_memory_equal(bytes, "\1\0", 2);
        assert_int_equal(l.out.n_bytes, 0);
        lone_deinit(&l);
    }
    /* After our close the peer's data still comes, and nothing of ours goes, whatever it asks for. */
    lone_init(&l, true);
    assert_int_equal(channel_close(l.channel), TLS_DONE);
    bufq_deinit(&l.out);
    feed(&l, RECORD_HANDSHAKE, "\30\0\0\1\1", 5);
    assert_int_equal(record_way_update(&l.way), 0);
    feed(&l, RECORD_DATA, "late", 4);
    expect_text(&l, "late");
    assert_int_equal(l.out.n_bytes, 0);
    feed(&l, RECORD_ALERT, "bad", 3);
    expect_broken(&l, -1, "malformed alert");
    lone_deinit(&l);
}

static void test_alerts(void **state) {
    for (unsigned alert = 1; alert < 256; alert++) {
        struct lone l;
        lone_init(&l, alert % 2);
        feed(&l, RECORD_DATA, "before", 6);
        feed(&l, RECORD_ALERT, (uint8_t[]){alert % 3, (uint8_t)alert}, 2);
        expect_text(&l, "before");
        char text_of[64];
        size_t n;
        assert_int_equal(channel_open(l.channel, got, sizeof(got), &n), TLS_BROKEN);
        snprintf(text_of, sizeof(text_of), "%s", channel_error(l.channel));
        assert_int_equal(strncmp(text_of, "peer's alert: ", 14), 0);
        expect_broken(&l, -1, text_of); /* an alert is not answered */
        lone_deinit(&l);
    }
    for (size_t n = 0; n < 6; n++) {
        struct lone l;
        if (n == 2)
            continue;
        lone_init(&l, true);
        feed(&l, RECORD_ALERT, "\1\0\1\0\1", n);
        expect_broken(&l, 50, "malformed alert");
        lone_deinit(&l);
    }
}

/* A stream that is cut is no end of it, wherever it is cut. */
static void test_cut(void **state) {
    struct lone l;
    uint8_t record[200];
    size_t n;
    lone_init(&l, false);
    feed(&l, RECORD_DATA, "half a record", 13);
    size_t n_record = bufq_read(&l.in, record, sizeof(record));
    for (size_t i = 0; i + 1 < n_record; i++) {
        assert_int_equal(bufq_append(&l.in, record + i, 1), 0);
        assert_int_equal(channel_open(l.channel, got, sizeof(got), &n), TLS_WANT_INPUT);
    }
    lone_deinit(&l);
}

/* ---- records that must not be ---- */

static void test_every_bit(void **state) {
    for (int by_record = 0; by_record < 2; by_record++)
        for (size_t bit = 0;; bit++) {
            struct lone l;
            struct buf_chunk *chunk;
            const uint8_t *at;
            uint8_t record[200];
            size_t n = 0;
            lone_init(&l, bit % 2);
            feed(&l, RECORD_DATA, "a record", 8);
            size_t n_record = bufq_read(&l.in, record, sizeof(record));
            if (bit < n_record * 8) {
                record[bit / 8] ^= (uint8_t)(1 << bit % 8);
                assert_int_equal(bufq_append(&l.in, record, n_record), 0);
                int r = by_record ? channel_open_record(l.channel, &chunk, &at, &n) : channel_open(l.channel, got, sizeof(got), &n);
                size_t n_body = (size_t)record[3] << 8 | record[4];
                assert_int_equal(r, n_body + 5 > n_record && n_body <= RECORD_BODY_MAX ? TLS_WANT_INPUT : TLS_BROKEN);
                assert_int_equal(n, 0);
                if (r == TLS_BROKEN)
                    expect_alert(&l, record[0] != RECORD_DATA           ? 10
                                     : record[1] != 3 || record[2] != 3 ? 70
                                     : n_body > RECORD_BODY_MAX         ? 22
                                                                        : 20);
            }
            lone_deinit(&l);
            if (bit >= n_record * 8)
                break;
        }
}

static void test_headers(void **state) {
    static const struct {
        uint8_t header[5];
        int alert;
        const char *error;
    } rows[] = {
        {{RECORD_CHANGE_CIPHER_SPEC, 3, 3, 0, 1}, 10, "record in the clear after the handshake"},
        {{RECORD_ALERT, 3, 3, 0, 2}, 10, "record in the clear after the handshake"},
        {{RECORD_HANDSHAKE, 3, 3, 0, 5}, 10, "record in the clear after the handshake"},
        {{0, 3, 3, 0, 5}, 10, "record in the clear after the handshake"},
        {{24, 3, 3, 0, 5}, 10, "record in the clear after the handshake"},
        {{RECORD_DATA, 3, 1, 0, 30}, 70, "record of another version"},
        {{RECORD_DATA, 3, 4, 0, 30}, 70, "record of another version"},
        {{RECORD_DATA, 3, 3, 0, 0}, 20, "record is too short"},
        {{RECORD_DATA, 3, 3, 0, 15}, 20, "record is too short"},
        {{RECORD_DATA, 3, 3, 0x41, 0x01}, 22, "record is too long"},
        {{RECORD_DATA, 3, 3, 0xff, 0xff}, 22, "record is too long"},
    };
    for (size_t i = 0; i < array_size(rows); i++) {
        struct lone l;
        lone_init(&l, i % 2);
        assert_int_equal(bufq_append(&l.in, rows[i].header, 5), 0); /* the header is enough */
        expect_broken(&l, rows[i].alert, rows[i].error);
        lone_deinit(&l);
    }
}

static void test_types(void **state) {
    for (unsigned type = 0; type < 256; type++) {
        struct lone l;
        if (type == RECORD_DATA || type == RECORD_HANDSHAKE || type == RECORD_ALERT)
            continue;
        lone_init(&l, type % 2);
        feed(&l, (uint8_t)type, type ? "\1" : "\0", 1);
        expect_broken(&l, 10, type ? "record of an unknown type" : "record without a type");
        lone_deinit(&l);
    }
    struct lone l;
    lone_init(&l, true);
    feed_inner(&l, text, 0, NULL); /* not even a type, though sealed well */
    expect_broken(&l, 10, "record without a type");
    lone_deinit(&l);
}

static void test_sizes_and_padding(void **state) {
    static uint8_t inner[RECORD_BODY_MAX];
    static const struct {
        size_t n, padding;
        bool good;
    } rows[] = {{16384, 0, true},    {16385, 0, false}, {16384, 1, false}, {16384, 239, false}, {16000, 384, true},
                {16000, 385, false}, {1, 16383, true},  {1, 16384, false}, {16623, 0, false},   {100, 1000, true}};
    for (size_t i = 0; i < array_size(rows); i++) {
        struct lone l;
        size_t n = 0;
        lone_init(&l, true);
        memset(inner, 0, sizeof(inner));
        memcpy(inner, text, rows[i].n);
        inner[rows[i].n] = RECORD_DATA;
        feed_inner(&l, inner, rows[i].n + 1 + rows[i].padding, NULL);
        if (rows[i].good) {
            assert_int_equal(channel_open(l.channel, got, sizeof(got), &n), TLS_DONE);
            assert_int_equal(n, rows[i].n);
            assert_memory_equal(got, text, n);
        } else
            expect_broken(&l, 22, "record is too long");
        lone_deinit(&l);
    }
    for (size_t padding = 0; padding < 16380; padding += padding < 600 ? 1 : 397) { /* of nothing but padding, too */
        struct lone l;
        size_t n = 0;
        lone_init(&l, true);
        memset(inner, 0, sizeof(inner));
        inner[padding % 4] = RECORD_DATA;
        feed_inner(&l, inner, padding % 4 + 1 + padding, NULL);
        assert_int_equal(channel_open(l.channel, got, sizeof(got), &n), padding % 4 ? TLS_DONE : TLS_WANT_INPUT);
        assert_int_equal(n, padding % 4);
        lone_deinit(&l);
    }
}

/* ---- bounds on a peer ---- */

static void test_empty_flood(void **state) {
    struct lone l;
    lone_init(&l, false);
    for (int round = 0; round < 5; round++) { /* now and then they are allowed */
        for (int i = 0; i < 30; i++)
            feed(&l, RECORD_DATA, "", 0);
        feed(&l, RECORD_DATA, "text", 4);
        expect_text(&l, "text");
    }
    for (int i = 0; i < 33; i++)
        feed(&l, RECORD_DATA, "", 0);
    expect_broken(&l, 10, "too many empty records");
    lone_deinit(&l);
}

static void feed_update(struct lone *l, uint8_t request) {
    feed(l, RECORD_HANDSHAKE, (uint8_t[]){24, 0, 0, 1, request}, 5);
    assert_int_equal(record_way_update(&l->way), 0);
}

static void test_update_flood(void **state) {
    struct lone l;
    uint8_t bytes[RECORD_PLAIN_MAX];
    size_t n;
    lone_init(&l, true);
    for (int i = 0; i < 32; i++)
        feed_update(&l, 1);
    assert_int_equal(channel_open(l.channel, got, sizeof(got), &n), TLS_WANT_INPUT);
    while (l.out.n_bytes) {
        assert_int_equal(sent(&l, bytes, &n), RECORD_HANDSHAKE);
        assert_int_equal(record_way_update(&l.its), 0);
    }
    feed_update(&l, 0);
    expect_broken(&l, 10, "too many KeyUpdates or session tickets");
    lone_deinit(&l);

    /* With data between them they may go on; one who reads no answers gets one for all. */
    lone_init(&l, true);
    for (int i = 0; i < 3000; i++) {
        feed_update(&l, 1);
        feed(&l, RECORD_DATA, "x", 1);
        expect_text(&l, "x");
    }
    assert_in_range(l.out.n_bytes, 1, 300);
    assert_int_equal(channel_seal(l.channel, text, 5, &n), TLS_DONE);
    unsigned n_answers = 0;
    while (sent(&l, bytes, &n) == RECORD_HANDSHAKE) {
        assert_memory_equal(bytes, "\30\0\0\1\0", 5);
        assert_int_equal(record_way_update(&l.its), 0);
        n_answers++;
    }
    assert_in_range(n_answers, 2, 10);
    assert_int_equal(n, 5);
    lone_deinit(&l);
}

/* ---- handshake messages after the handshake ---- */

static void test_updates(void **state) {
    struct lone l;
    uint8_t bytes[RECORD_PLAIN_MAX];
    size_t n;
    for (int fragmented = 0; fragmented < 2; fragmented++) {
        lone_init(&l, fragmented);
        for (int i = 0; i < 10; i++) {
            uint8_t update[] = {24, 0, 0, 1, i % 2};
            for (int k = 0; fragmented && k < 5; k++)
                feed(&l, RECORD_HANDSHAKE, update + k, 1);
            if (!fragmented)
                feed(&l, RECORD_HANDSHAKE, update, 5);
            assert_int_equal(record_way_update(&l.way), 0);
            feed(&l, RECORD_DATA, "new key", 7);
            expect_text(&l, "new key");
            if (i % 2) { /* answered at once, though there is nothing to say */
                assert_int_equal(sent(&l, bytes, &n), RECORD_HANDSHAKE);
                assert_int_equal(n, 5);
                assert_memory_equal(bytes, "\30\0\0\1\0", 5);
                assert_int_equal(record_way_update(&l.its), 0);
            }
            assert_int_equal(l.out.n_bytes, 0);
            assert_int_equal(channel_seal(l.channel, text, 10, &n), TLS_DONE);
            assert_int_equal(sent(&l, bytes, &n), RECORD_DATA);
        }
        lone_deinit(&l);
    }
    /* Ours come in time, and only then. */
    lone_init(&l, true);
    channel_limit(l.channel, 3);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(channel_seal(l.channel, text, 10, &n), TLS_DONE);
        if (i && i % 3 == 0) {
            assert_int_equal(sent(&l, bytes, &n), RECORD_HANDSHAKE);
            assert_memory_equal(bytes, "\30\0\0\1\0", 5);
            assert_int_equal(record_way_update(&l.its), 0);
        }
        assert_int_equal(sent(&l, bytes, &n), RECORD_DATA);
        assert_int_equal(l.out.n_bytes, 0);
    }
    lone_deinit(&l);
}

static void test_messages(void **state) {
    static const struct {
        const char *bytes;
        size_t n;
        int alert;
        const char *error;
    } rows[] = {
        {"\30\0\0\1\2", 5, 47, "malformed KeyUpdate"},
        {"\30\0\0\0", 4, 50, "malformed KeyUpdate"},
        {"\30\0\0\2\0\0", 6, 50, "malformed KeyUpdate"},
        {"\30\1\0\1\0", 5, 50, "malformed KeyUpdate"},
        {"\30\0\0\1\0\30", 6, 10, "KeyUpdate is not the last of its record"},
        {"\30\0\0\1\0\30\0\0\1\0", 10, 10, "KeyUpdate is not the last of its record"},
        {"", 0, 10, "empty handshake record"},
        {"\0\0\0\0", 4, 10, "handshake message after the handshake"},  /* HelloRequest */
        {"\1\0\0\0", 4, 10, "handshake message after the handshake"},  /* ClientHello */
        {"\15\0\0\0", 4, 10, "handshake message after the handshake"}, /* CertificateRequest: we offered none */
        {"\24\0\0\0", 4, 10, "handshake message after the handshake"}, /* Finished */
    };
    struct lone l;
    for (size_t i = 0; i < array_size(rows); i++)
        for (int is_client = 0; is_client < 2; is_client++) {
            lone_init(&l, is_client);
            feed(&l, RECORD_HANDSHAKE, rows[i].bytes, rows[i].n);
            expect_broken(&l, rows[i].alert, rows[i].error);
            lone_deinit(&l);
        }
    lone_init(&l, true);
    feed(&l, RECORD_HANDSHAKE, "\30\0", 2);
    feed(&l, RECORD_DATA, "between", 7);
    expect_broken(&l, 10, "data inside a handshake message");
    lone_deinit(&l);
}

/* As other servers send them: skipped, two in a record, one over many; a server is sent none. */
static void test_tickets(void **state) {
    static uint8_t ticket[4 + 32 * 1024] = {4, 0, 0x80, 0};
    struct lone l;
    size_t n;
    lone_init(&l, true);
    for (int i = 0; i < 8; i++)
        for (size_t at = 0; at < sizeof(ticket); at += 10000)
            feed(&l, RECORD_HANDSHAKE, ticket + at, min_of(sizeof(ticket) - at, (size_t)10000));
    feed(&l, RECORD_HANDSHAKE, "\4\0\0\3abc\4\0\0\2xy\4\0\0\0", 17);
    feed(&l, RECORD_DATA, "after", 5);
    expect_text(&l, "after");
    feed(&l, RECORD_HANDSHAKE, "\4\0\0\3abc\30\0\0\1\0", 12); /* a KeyUpdate behind it is the last */
    assert_int_equal(record_way_update(&l.way), 0);
    feed(&l, RECORD_DATA, "new key", 7);
    expect_text(&l, "new key");
    for (int i = 0; i < 32; i++)
        feed(&l, RECORD_HANDSHAKE, "\4\0\0\1a", 5);
    assert_int_equal(channel_open(l.channel, got, sizeof(got), &n), TLS_WANT_INPUT);
    feed(&l, RECORD_HANDSHAKE, "\4\0\0\1a", 5);
    expect_broken(&l, 10, "too many KeyUpdates or session tickets");
    lone_deinit(&l);

    lone_init(&l, true);
    feed(&l, RECORD_HANDSHAKE, "\4\0\200\1", 4);
    expect_broken(&l, 50, "session ticket is too long");
    lone_deinit(&l);
    lone_init(&l, false);
    feed(&l, RECORD_HANDSHAKE, "\4\0\0\1a", 5);
    expect_broken(&l, 10, "handshake message after the handshake");
    lone_deinit(&l);
}

static void test_memory(void **state) {
    struct lone l;
    size_t before = tls_memory_used();
    lone_init(&l, true);
    assert_true(tls_memory_used() > before + 2 * sizeof(struct gcm_key));
    lone_deinit(&l);
    assert_int_equal(tls_memory_used(), before);
    tls_memory_limit(0);
    assert_null(channel_new(true, NULL, NULL));
    tls_memory_limit(SIZE_MAX);
    channel_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_crumbs),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_sizes_and_padding),
        cmocka_unit_test(test_empty_flood),
        cmocka_unit_test(test_update_flood),
        cmocka_unit_test(test_updates),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
