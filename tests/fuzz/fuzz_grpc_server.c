/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: bytes of a gRPC client. The first byte chooses whether the handshake is done, and the size of the cuts; what the owner
 * does follows from the stream's id. Each call that is shown must end once, and all memory must come back. */
#include <string.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/grpc.h>
#include <ringwall/wire/h2.h>

enum { IDS = 4096 };
struct fuzz {
    struct grpc_server *s;
    uint8_t open[IDS]; /* 1: shown and not over */
};

static void over(struct fuzz *f, int32_t id) {
    check(f->open[id % IDS]);
    f->open[id % IDS] = 0;
}
static void call(void *o, int32_t id, struct str path, const struct grpc_metadata *m, size_t n) {
    struct fuzz *f = o;
    check(path.n <= GRPC_PATH_MAX && n <= GRPC_METADATA_MAX);
    f->open[id % IDS] = 1;
    if (id % 16 == 1) {
        grpc_server_finish(f->s, id, GRPC_UNIMPLEMENTED, path);
        over(f, id);
    }
}
static void message(void *o, int32_t id, const uint8_t *bytes, size_t n) {
    struct fuzz *f = o;
    int r = grpc_server_send(f->s, id, bytes, n);
    check(f->open[id % IDS] && n <= 65536 && (r == 0 || r == 2));
    if (id % 16 == 3) {
        grpc_server_finish(f->s, id, GRPC_OK, STR("well"));
        over(f, id);
        check(n == 0 || memchr(bytes, bytes[0], n)); /* still to be read */
    }
}
static void half_closed(void *o, int32_t id) {
    struct fuzz *f = o;
    check(f->open[id % IDS]);
    grpc_server_finish(f->s, id, (enum grpc_code)(id % 17), STR_NULL);
    over(f, id);
}
static void cancelled(void *o, int32_t id) { over(o, id); }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const struct grpc_server_callbacks cb = {call, message, half_closed, cancelled};
    static const struct grpc_limits limits = {.message_max = 65536, .streams_max = 20, .sent_max = 65536};
    static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static uint8_t out[GRPC_DRAIN_MIN];
    uint8_t mode = n ? bytes[0] : 0;
    struct fuzz f = {0};
    size_t before = h2_memory_used(), piece = (size_t)1 + (mode >> 2) * (size_t)(mode >> 2);
    int v = grpc_server_new(&cb, &f, &limits, &f.s);

    check(v == 0);
    if (!(mode & 1))
        v = grpc_server_feed(f.s, preface, sizeof(preface) - 1, 1);
    for (size_t at = 1; at < n && v == 0; at += piece) {
        v = grpc_server_feed(f.s, bytes + at, min_of(piece, n - at), at);
        if (mode & 2)
            grpc_server_tick(f.s, at * 1000000000ULL);
        for (unsigned i = 0; i < 50 && grpc_server_drain(f.s, out, sizeof(out)); i++)
            ;
    }
    check(h2_memory_used() < before + 8 * 1024 * 1024);
    f.s = grpc_server_free(f.s);
    check(h2_memory_used() == before);
    return 0;
}
