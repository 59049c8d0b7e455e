/* SPDX-License-Identifier: GPL-3.0-or-later
 * Foreign bytes as records to an open session: raw, or sealed with the right key, so that what is inside is judged too. The first
 * byte: bit 0 the role, 1 the suite, 2 wolfCrypt's path. Then steps: a byte, two for a length, and so many bytes. The low two bits
 * of the first: 0 raw, 1 sealed as they are (the last one is their type), 2 sealed as data, 3 a KeyUpdate as it should be; bit 2:
 * as slices of a few bytes; bits 3 and 4: how they are read. A second session, which gets our answers, must understand them all. */
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>
#include <ringwall/tls/key.h>
#include <ringwall/tls/session.h>

#include "channel.h"

enum { POOL_CHUNKS = 64, STEPS_MAX = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct buf_pool *pool;
static uint8_t secrets[2][RECORD_SECRET_MAX];

__attribute__((constructor)) static void start(void) {
    check(tls_library_init() == 0);
    pool = buf_pool_new(POOL_CHUNKS);
    check(pool);
    for (size_t i = 0; i < RECORD_SECRET_MAX; i++) {
        secrets[0][i] = (uint8_t)i;
        secrets[1][i] = (uint8_t)(0xff - i);
    }
}

static struct channel *open_channel(bool is_client, enum record_suite suite, enum gcm_path path, struct bufq *in,
                                    struct bufq *out) {
    struct channel *c = channel_new(is_client, in, out);
    check(c);
    for (int of_client = 0; of_client < 2; of_client++)
        check(channel_secret(c, of_client, secrets[of_client], record_secret_bytes(suite)));
    check(channel_begin(c, suite, path) == 0);
    channel_limit(c, 20);
    return c;
}

/* A record of these bytes, type included; none or too many: a record of one zero. */
static size_t seal(struct record_way *w, const uint8_t *at, size_t n, uint8_t *to) {
    struct iovec pieces[2] = {{.iov_base = (void *)(uintptr_t)at, .iov_len = 0}};
    if (n == 0 || n - 1 > RECORD_PLAIN_MAX) {
        record_seal(w, (enum record_type)0, pieces, 1, 0, to);
        return RECORD_OVERHEAD;
    }
    pieces[0].iov_len = n - 1;
    record_seal(w, (enum record_type)at[n - 1], pieces, 1, n - 1, to);
    return n - 1 + RECORD_OVERHEAD;
}

static void put(struct bufq *in, const uint8_t *at, size_t n, bool sliced) {
    struct bufq other;
    bufq_init(&other, pool);
    if (bufq_append(&other, at, n) != 0)
        return;
    while (sliced && other.n_bytes && bufq_move_n(in, &other, 1 + other.n_bytes % 7))
        ;
    bufq_move(in, &other);
}

/* Until it has nothing more, or what it says for good. */
static int drain(struct channel *c, unsigned how) {
    static uint8_t to[RECORD_INNER_MAX];
    static const size_t caps[] = {sizeof(to), 1, 100};
    for (;;) {
        struct buf_chunk *chunk;
        const uint8_t *at = to;
        size_t n = 0;
        int r = how == 3 ? channel_open_record(c, &chunk, &at, &n) : channel_open(c, to, caps[how], &n);
        if (r) {
            check(r > 0 && r != TLS_REFUSED);
            return r;
        }
        check(n > 0 && n <= RECORD_PLAIN_MAX && (how == 3 || n <= caps[how]));
        uint8_t sum = 0;
        for (size_t i = 0; i < n; i++) /* a sanitizer sees whether they are there */
            sum ^= at[i];
        __asm__ volatile("" : : "r"(sum));
    }
}

struct lab {
    struct bufq in, out, back;
    struct channel *c, *other;
    struct record_way way;
};

static int step(struct lab *l, uint8_t op, const uint8_t *at, size_t n) {
    static uint8_t record[RECORD_PLAIN_MAX + RECORD_OVERHEAD], inner[RECORD_PLAIN_MAX + 1];
    static const uint8_t update[] = {24, 0, 0, 1, 1, RECORD_HANDSHAKE};
    switch (op & 3) {
    case 0:
        put(&l->in, at, n, op & 4);
        break;
    case 1:
        put(&l->in, record, seal(&l->way, at, n, record), op & 4);
        break;
    case 2:
        n = min_of(n, (size_t)RECORD_PLAIN_MAX);
        memcpy(inner, at, n);
        inner[n] = RECORD_DATA;
        put(&l->in, record, seal(&l->way, inner, n + 1, record), op & 4);
        break;
    default:
        put(&l->in, record, seal(&l->way, update, sizeof(update), record), op & 4);
        check(record_way_update(&l->way) == 0);
    }
    int r = drain(l->c, op >> 3 & 3);
    size_t n_taken;
    if (op & 0x20)
        ignore_result(channel_seal(l->c, inner, n, &n_taken)); /* whatever state it is in */
    if (op & 0x40)
        ignore_result(channel_close(l->c)); /* likewise */
    check(l->out.n_bytes < 3 * RECORD_BODY_MAX);
    bufq_move(&l->back, &l->out);
    int theirs = drain(l->other, op >> 3 & 3); /* data, KeyUpdates, then one alert at most */
    check(theirs != TLS_BROKEN || strncmp(channel_error(l->other), "peer's alert", 12) == 0);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct lab l = {0};
    struct bufq unused;
    if (n == 0)
        return 0;
    bool is_client = bytes[0] & 1;
    enum record_suite suite = bytes[0] & 2 ? RECORD_AES_128_GCM_SHA256 : RECORD_AES_256_GCM_SHA384;
    enum gcm_path path = bytes[0] & 4 ? GCM_WOLFCRYPT : gcm_path_best();
    bufq_init(&l.in, pool);
    bufq_init(&l.out, pool);
    bufq_init(&l.back, pool);
    bufq_init(&unused, pool);
    l.c = open_channel(is_client, suite, path, &l.in, &l.out);
    l.other = open_channel(!is_client, suite, gcm_path_best(), &l.back, &unused);
    check(record_way_begin(&l.way, gcm_path_best(), secrets[!is_client], record_secret_bytes(suite)) == 0);
    size_t at = 1;
    bool was_broken = false;
    for (int i = 0; i < STEPS_MAX && at + 3 <= n; i++) {
        size_t n_now = min_of((size_t)bytes[at + 1] << 8 | bytes[at + 2], n - at - 3);
        int r = step(&l, bytes[at], bytes + at + 3, n_now);
        check(!was_broken || r == TLS_BROKEN);
        was_broken = r == TLS_BROKEN;
        at += 3 + n_now;
        if (l.in.n_bytes > 4 * RECORD_BODY_MAX)
            bufq_deinit(&l.in);
    }
    channel_free(l.c);
    channel_free(l.other);
    record_way_end(&l.way);
    bufq_deinit(&l.in);
    bufq_deinit(&l.out);
    bufq_deinit(&l.back);
    bufq_deinit(&unused);
    check(buf_pool_used(pool) == 0);
    return 0;
}
