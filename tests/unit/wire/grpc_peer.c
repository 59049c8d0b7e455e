/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/wire/grpc_peer.c - wire/grpc on a Unix socket, for interop_grpc.py to talk to with another implementation of gRPC
 *   grpc_peer serve PATH    serves rw.Test; prints "ready"; ends when its stdin does, printing its counters
 *   grpc_peer call PATH     makes calls, one line of result each */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/wire/grpc.h>

enum { CONNECTIONS_MAX = 32, CALLS_MAX = 256, TICK_MS = 50, IO_BYTES = 64 * 1024 };
static const struct grpc_limits limits = {.message_max = 1024 * 1024, .streams_max = 100, .sent_max = 256 * 1024};

struct connection;
struct one_call { /* of /rw.Test/Stream: what is left to send */
    int32_t id;
    char kind;
    char text[64];
    unsigned left, size;
};
struct connection {
    int fd;
    struct grpc_server *server;
    struct one_call calls[CALLS_MAX];
    uint8_t out[IO_BYTES];
    size_t out_at, out_n;
};
static struct grpc_server_stats total;
static char big[1024 * 1024];

static struct one_call *call_of(struct connection *c, int32_t id) {
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (c->calls[i].id == id)
            return &c->calls[i];
    return NULL;
}

static void on_call(void *owner, int32_t id, struct str path, const struct grpc_metadata *m, size_t n) {
    static const struct {
        struct str path;
        char kind;
    } methods[] = {
        {STR("/rw.Test/Echo"), 'e'}, {STR("/rw.Test/Fail"), 'f'}, {STR("/rw.Test/Stream"), 's'}, {STR("/rw.Test/Hang"), 'h'}};
    struct connection *c = owner;
    struct str code = grpc_metadata_get(m, n, STR("x-code"));
    struct one_call *k = call_of(c, 0);
    for (size_t i = 0; k && i < array_size(methods); i++)
        if (str_is(path, methods[i].path)) {
            *k = (struct one_call){.id = id, .kind = methods[i].kind};
            snprintf(k->text, sizeof(k->text), STR_FMT, STR_ARG(code));
            return;
        }
    grpc_server_finish(c->server, id, k ? GRPC_UNIMPLEMENTED : GRPC_RESOURCE_EXHAUSTED, STR("no such method"));
}

/* As much as the queue takes; the rest when it has drained. */
static void stream_more(struct connection *c, struct one_call *k) {
    while (k->left > 0 && grpc_server_send(c->server, k->id, (const uint8_t *)big, k->size) == 0)
        k->left--;
    if (k->left == 0) {
        grpc_server_finish(c->server, k->id, GRPC_OK, STR_NULL);
        *k = (struct one_call){0};
    }
}

static void on_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct connection *c = owner;
    struct one_call *k = call_of(c, id);
    if (!k)
        return;
    if (k->kind == 'e' && grpc_server_send(c->server, id, bytes, n) != 0) {
        grpc_server_finish(c->server, id, GRPC_RESOURCE_EXHAUSTED, STR("you do not read"));
        *k = (struct one_call){0};
    }
    if (k->kind == 's') {
        char text[64];
        snprintf(text, sizeof(text), "%.*s", (int)min_of(n, (size_t)60), (const char *)bytes);
        if (sscanf(text, "%u %u", &k->left, &k->size) == 2 && k->size <= sizeof(big))
            stream_more(c, k);
    }
}

static void on_half_closed(void *owner, int32_t id) {
    struct connection *c = owner;
    struct one_call *k = call_of(c, id);
    if (!k || k->kind == 'h' || k->kind == 's')
        return;
    if (k->kind == 'f')
        grpc_server_finish(c->server, id, (enum grpc_code)atoi(k->text), STR("100 % wrong: \xc3\xa9\n"));
    else
        grpc_server_finish(c->server, id, GRPC_OK, STR_NULL);
    *k = (struct one_call){0};
}

static void on_cancelled(void *owner, int32_t id) {
    struct one_call *k = call_of(owner, id);
    if (k)
        *k = (struct one_call){0};
}
static const struct grpc_server_callbacks server_callbacks = {on_call, on_message, on_half_closed, on_cancelled};

static int unix_socket(const char *path, bool serve) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    check(fd >= 0);
    if (serve)
        check(bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && listen(fd, 16) == 0);
    else
        check(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

static void connection_free(struct connection **at) {
    struct connection *c = *at;
    const struct grpc_server_stats *s = grpc_server_stats(c->server);
    total.calls += s->calls;
    total.refused_message += s->refused_message;
    total.refused_http += s->refused_http;
    total.refused_encoding += s->refused_encoding;
    total.deadlines += s->deadlines;
    total.resets += s->resets;
    c->server = grpc_server_free(c->server);
    close(c->fd);
    free(c);
    *at = NULL;
}

/* Returns whether the connection goes on. */
static bool connection_turn(struct connection *c, short events) {
    uint8_t in[IO_BYTES];
    if (events & (POLLIN | POLLHUP)) {
        ssize_t n = read(c->fd, in, sizeof(in));
        if (n <= 0 || grpc_server_feed(c->server, in, (size_t)n, clock_mono_ns()) != 0)
            return false;
    }
    grpc_server_tick(c->server, clock_mono_ns());
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (c->calls[i].kind == 's' && c->calls[i].left)
            stream_more(c, &c->calls[i]);
    for (;;) {
        if (c->out_at == c->out_n) {
            c->out_at = 0;
            c->out_n = grpc_server_drain(c->server, c->out, sizeof(c->out));
        }
        if (c->out_n == 0)
            return !grpc_server_finished(c->server);
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        c->out_at += (size_t)n;
    }
}

static int serve(const char *path) {
    struct connection *all[CONNECTIONS_MAX] = {0};
    int listener = unix_socket(path, true);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd polls[CONNECTIONS_MAX + 2] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            polls[i + 2].fd = all[i] ? all[i]->fd : -1;
            polls[i + 2].events = POLLIN | (all[i] && all[i]->out_n ? POLLOUT : 0);
        }
        check(poll(polls, CONNECTIONS_MAX + 2, TICK_MS) >= 0);
        if (polls[0].revents)
            break;
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
            if (all[i] && !connection_turn(all[i], polls[i + 2].revents))
                connection_free(&all[i]);
        for (size_t i = 0; i < CONNECTIONS_MAX && polls[1].revents; i++)
            if (!all[i]) {
                all[i] = calloc(1, sizeof(**all));
                check(all[i]);
                all[i]->fd = accept(listener, NULL, NULL);
                check(all[i]->fd >= 0 && grpc_server_new(&server_callbacks, all[i], &limits, &all[i]->server) == 0);
                break;
            }
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (all[i])
            connection_free(&all[i]);
    printf("calls=%lu http=%lu encoding=%lu message=%lu deadlines=%lu resets=%lu\n", total.calls, total.refused_http,
           total.refused_encoding, total.refused_message, total.deadlines, total.resets);
    return 0;
}

struct asking {
    unsigned n_open, n_message, n_pong;
    size_t bytes;
    struct grpc_client *client;
};
static void on_answer(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct asking *a = owner;
    a->n_message++;
    a->bytes += n;
}
static void on_finished(void *owner, int32_t id, enum grpc_code code, struct str message) {
    struct asking *a = owner;
    a->n_open--;
    printf("%s|" STR_FMT "|%u|%zu\n", grpc_code_text(code), STR_ARG(message), a->n_message, a->bytes);
    a->n_message = 0;
    a->bytes = 0;
}
static void on_goaway(void *owner) {}
static void on_pong(void *owner) { ((struct asking *)owner)->n_pong++; }
static const struct grpc_client_callbacks client_callbacks = {on_answer, on_finished, on_goaway, on_pong};

/* Until nothing is open. Returns whether the connection lives. */
static bool client_run(struct asking *a, int fd) {
    static uint8_t buffer[IO_BYTES];
    while (a->n_open > 0 || a->n_pong == 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        size_t n;
        while ((n = grpc_client_drain(a->client, buffer, sizeof(buffer))) > 0)
            if (send(fd, buffer, n, MSG_NOSIGNAL) != (ssize_t)n) /* blocking; what is sent here is small */
                return false;
        check(poll(&p, 1, TICK_MS) >= 0);
        grpc_client_tick(a->client, clock_mono_ns());
        if (!p.revents)
            continue;
        ssize_t got = read(fd, buffer, sizeof(buffer));
        if (got <= 0 || grpc_client_feed(a->client, buffer, (size_t)got, clock_mono_ns()) != 0)
            return false;
    }
    return true;
}

static int call(const char *path) {
    static const struct {
        const char *path, *token;
        unsigned n_messages, size;
        uint64_t timeout_ns;
    } calls[] = {
        {"/rw.Test/Unary", "secret", 1, 5, 0},        {"/rw.Test/Unary", "wrong", 1, 5, 0},
        {"/rw.Test/Unary", "secret", 1, 900000, 0},   {"/rw.Test/Unary", "secret", 1, 0, 0},
        {"/rw.Test/Count", "secret", 1, 3, 0},        {"/rw.Test/Bidi", "secret", 20, 3000, 0},
        {"/rw.Test/Slow", "secret", 1, 1, 200000000}, {"/rw.Test/Gone", "secret", 1, 1, 0},
        {"/rw.Test/Large", "secret", 1, 1, 0},        {"/rw.Test/Unary", "secret", 1, 7, 5000000000},
    };
    struct asking a = {0};
    struct grpc_client_options o = {.authority = STR("localhost"), .limits = {1024 * 1024, 10, 4 * 1024 * 1024}};
    int fd = unix_socket(path, false);
    check(grpc_client_new(&client_callbacks, &a, &o, &a.client) == 0);
    for (size_t i = 0; i < array_size(calls); i++) {
        struct grpc_metadata m = {STR("authorization"), str_of(calls[i].token)};
        int32_t id;
        int r = grpc_client_call(a.client, str_of(calls[i].path), &m, 1, calls[i].timeout_ns, clock_mono_ns(), &id);
        check(r == 0);
        a.n_open = 1;
        for (unsigned k = 0; k < calls[i].n_messages; k++) {
            memset(big, 'a' + (int)k, calls[i].size);
            r = grpc_client_send(a.client, id, (const uint8_t *)big, calls[i].size, k + 1 == calls[i].n_messages);
            check(r == 0);
        }
        a.n_pong = 0;
        grpc_client_ping(a.client);
        if (!client_run(&a, fd)) {
            puts("connection lost");
            return 1;
        }
    }
    a.client = grpc_client_free(a.client);
    close(fd);
    return 0;
}

int main(int argc, char **argv) {
    memset(big, 'x', sizeof(big));
    if (argc == 3 && !strcmp(argv[1], "serve"))
        return serve(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "call"))
        return call(argv[2]);
    return 2;
}
