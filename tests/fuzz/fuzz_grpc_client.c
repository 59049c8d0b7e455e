/* SPDX-License-Identifier: GPL-3.0-or-later
 * Entry: bytes of a gRPC server. The first byte chooses whether the handshake is done, and the size of the cuts. Five calls are
 * open; each must end at most once, and all memory must come back. */
#include <ringwall/base/check.h>
#include <ringwall/wire/grpc.h>
#include <ringwall/wire/h2.h>

enum { CALLS = 5 };
struct fuzz {
    struct grpc_client *c;
    int over[2 * CALLS + 2];
};

static void message(void *o, int32_t id, const uint8_t *bytes, size_t n) {
    struct fuzz *f = o;
    check(id <= 2 * CALLS && !f->over[id] && n <= 65536);
    if (id == 3) {
        grpc_client_cancel(f->c, id);
        f->over[id] = 1;
    } else if (id == 5) {
        ignore_result(grpc_client_send(f->c, id, bytes, n, false)); /* gone or full is fine */
    }
}
static void finished(void *o, int32_t id, enum grpc_code code, struct str text) {
    struct fuzz *f = o;
    check(id <= 2 * CALLS && !f->over[id] && (unsigned)code < _GRPC_CODE_MAX && str_is_utf8(text));
    f->over[id] = 1;
}
static void goaway(void *o) {}
static void pong(void *o) {}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const struct grpc_client_callbacks cb = {message, finished, goaway, pong};
    static const struct grpc_client_options options = {.authority = {"a", 1},
                                                       .limits = {.message_max = 65536, .streams_max = CALLS, .sent_max = 65536}};
    static const uint8_t settings[] = "\0\0\0\4\0\0\0\0\0";
    static uint8_t out[GRPC_DRAIN_MIN];
    uint8_t mode = n ? bytes[0] : 0;
    struct fuzz f = {0};
    size_t before = h2_memory_used(), piece = (size_t)1 + (mode >> 2) * (size_t)(mode >> 2);
    int v = grpc_client_new(&cb, &f, &options, &f.c);

    check(v == 0);
    for (int i = 0; i < CALLS; i++) {
        int32_t id;
        check(grpc_client_call(f.c, STR("/a/b"), NULL, 0, i == 4 ? 1 : 0, 0, &id) == 0);
        check(grpc_client_send(f.c, id, (const uint8_t *)"question", 8, i % 2) == 0);
    }
    if (!(mode & 1))
        v = grpc_client_feed(f.c, settings, sizeof(settings) - 1, 1);
    for (size_t at = 1; at < n && v == 0; at += piece) {
        for (unsigned i = 0; i < 50 && grpc_client_drain(f.c, out, sizeof(out)); i++)
            ;
        v = grpc_client_feed(f.c, bytes + at, min_of(piece, n - at), at);
        if (mode & 2)
            grpc_client_tick(f.c, at * 1000000000ULL);
    }
    check(h2_memory_used() < before + 8 * 1024 * 1024);
    f.c = grpc_client_free(f.c);
    check(h2_memory_used() == before);
    return 0;
}
