/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: bytes of an HTTP/2 peer. The first byte chooses the side, whether the handshake is done, and the size of the cuts. */
#include <ringwall/base/check.h>
#include <ringwall/wire/h2.h>

struct fuzz {
    struct h2 *h;
    unsigned pulls;
};
static const struct h2_header lines[] = {
    {{":method", 7}, {"CONNECT", 7}}, {{":authority", 10}, {"a:1", 3}}, {{":status", 7}, {"200", 3}}};

static void request(void *o, int32_t id, const struct h2_header *headers, size_t n, bool end) {
    struct fuzz *f = o;
    if (id % 8 == 1)
        ignore_result(h2_refuse(f->h, id, lines + 2, 1)); /* gone is fine */
    else if (id % 8 != 3)
        ignore_result(h2_accept(f->h, id, lines + 2, 1, f)); /* likewise */
}
static void response(void *o, int32_t id, void *s, const struct h2_header *headers, size_t n, bool end) {}
static void data(void *o, int32_t id, void *s, const uint8_t *bytes, size_t n) {
    struct fuzz *f = o;
    id % 16 == 5   ? h2_stream_reset(f->h, id, H2_CANCEL)
    : id % 16 == 7 ? h2_stream_forget(f->h, id)
                   : h2_stream_delivered(f->h, id, n);
}
static void end(void *o, int32_t id, void *s) { h2_stream_ready(((struct fuzz *)o)->h, id); }
static void closed(void *o, int32_t id, void *s, uint32_t error, bool orderly) {}
static size_t pull_bytes(void *o, int32_t id, void *s, uint8_t *to, size_t cap, bool *ret_end) {
    struct fuzz *f = o;
    *ret_end = ++f->pulls % 7 == 0;
    return memset(to, 0, min_of(cap, (size_t)100)), f->pulls % 3 ? min_of(cap, (size_t)100) : 0;
}
static size_t pull(void *o, int32_t id, void *s, struct bufq *to, size_t cap, bool *ret_end) {
    uint8_t bytes[100];
    size_t n = pull_bytes(o, id, s, bytes, min_of(cap, sizeof(bytes)), ret_end);
    check(bufq_append(to, bytes, n) == 0);
    return n;
}
static void goaway(void *o, uint32_t error, int32_t last) {}
static void ping_ack(void *o, uint64_t payload) {}
static void settings(void *o, uint32_t max) {}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const struct h2_callbacks cb = {.request = request,
                                           .response = response,
                                           .data = data,
                                           .end = end,
                                           .closed = closed,
                                           .pull = pull,
                                           .pull_bytes = pull_bytes,
                                           .goaway = goaway,
                                           .ping_ack = ping_ack,
                                           .settings = settings};
    static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static uint8_t out[2 * H2_SEND_FRAME_MAX];
    uint8_t mode = n ? bytes[0] : 0;
    bool server = mode & 1;
    struct fuzz f = {0};
    size_t before = h2_memory_used(), piece = (size_t)1 + (mode >> 2) * (size_t)(mode >> 2);
    static struct buf_pool *pool;
    if (!pool)
        check((pool = buf_pool_new(4096)));
    struct h2_shared shared = {.pool = pool, .windows_max = 8 * 1024 * 1024};
    struct h2_shared *with = n % 3 ? &shared : NULL; /* the length chooses how it is drained */
    struct bufq q;
    bufq_init(&q, pool);
    int v = server ? h2_server_new(&cb, &f, with, &f.h) : h2_client_new(&cb, &f, with, &f.h);
    int32_t id;

    check(v == 0);
    for (int i = 0; i < 3 && !server; i++)
        check(h2_connect(f.h, lines, 2, &f, &id) == 0);
    if (!(mode & 2))
        v = server ? h2_feed(f.h, preface, sizeof(preface) - 1, 1) : h2_feed(f.h, preface + 24, sizeof(preface) - 25, 1);
    for (size_t at = 1; at < n && v == 0; at += piece) {
        v = h2_feed(f.h, bytes + at, min_of(piece, n - at), at);
        for (unsigned i = 0; i < 50 && (with ? h2_drain(f.h, &q, sizeof(out)) : h2_drain_bytes(f.h, out, sizeof(out))); i++)
            bufq_deinit(&q);
    }
    check(h2_memory_used() < before + 4 * 1024 * 1024);
    f.h = h2_free(f.h);
    check(h2_memory_used() == before);
    bufq_deinit(&q);
    check(buf_pool_used(pool) == 0 && shared.windows == 0);
    return 0;
}
