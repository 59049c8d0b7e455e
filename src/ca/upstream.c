/* SPDX-License-Identifier: GPL-3.0-or-later
 * upstream.c - see upstream.h
 *
 * advance() is the one place that moves from state to state; what fails says why through lose(). Invariant: in UP there are a
 * session that trusts the server's certificate and a gRPC client; in the states before, no byte of a request has left. */
#include "upstream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/model/addr.h>

#include "resolve.h"

enum {
    POOL_CHUNKS = 64,
    READS_MAX = 16, /* pieces taken in one turn */
    PLAIN_BYTES = 16 * 1024,
    OUT_BYTES_MAX = 256 * 1024, /* ciphertext that waits for the socket */
};
_Static_assert((int)PLAIN_BYTES >= (int)GRPC_DRAIN_MIN, "gRPC drains into it");

enum state { DOWN, RESOLVING, CONNECTING, SHAKING, UP };

struct upstream {
    struct upstream_options o;
    char host[TLS_HOST_MAX + 2], authority[TLS_HOST_MAX + 16];
    struct tls_bundle *roots;
    struct rng rng;
    enum state state;
    bool wanted;
    bool draining;        /* UP: no new calls, closed with the last one */
    uint64_t deadline_ns; /* of the state, but DOWN and UP */
    uint64_t retry_ns;    /* DOWN: not before */
    unsigned n_failures;
    struct lookup *lookup;
    struct resolved addrs;
    unsigned addr; /* tried now */
    int fd;
    char peer[ENDPOINT_TEXT];
    struct buf_pool *pool;
    struct bufq in, out;
    struct tls_context *context;
    struct tls_session *tls;
    struct grpc_client *grpc;
    unsigned n_calls;
    uint64_t ping_ns; /* when the last one was sent, or the connection came up */
    bool pong_due;
    uint8_t plain[PLAIN_BYTES];
    size_t plain_at, plain_n; /* drained from gRPC, not yet sealed */
};

/* ------------------------------------------------ gRPC's callbacks */

static void call_message(void *owner, int32_t id, const uint8_t *bytes, size_t n) {
    struct upstream *u = owner;
    u->o.callbacks->message(u->o.owner, id, bytes, n);
}
static void call_finished(void *owner, int32_t id, enum grpc_code code, struct str message) {
    struct upstream *u = owner;
    check(u->n_calls > 0);
    u->n_calls--;
    u->o.callbacks->finished(u->o.owner, id, code, message);
}
static void peer_drains(void *owner) {
    struct upstream *u = owner;
    u->draining = true;
}
static void ponged(void *owner) {
    struct upstream *u = owner;
    u->pong_due = false;
}
static const struct grpc_client_callbacks grpc_callbacks = {
    .message = call_message, .finished = call_finished, .goaway = peer_drains, .pong = ponged};

/* ------------------------------------------------ life */

int upstream_new(const struct upstream_options *o, struct upstream **ret) {
    cleanup(upstream_freep) struct upstream *u = calloc(1, sizeof(*u));
    if (!u)
        return err_origin(-ENOMEM);
    u->fd = -1;
    u->o = *o;
    snprintf(u->host, sizeof(u->host), "%s", o->host);
    snprintf(u->authority, sizeof(u->authority), STR_FMT, STR_ARG(o->authority));
    u->roots = tls_bundle_ref(o->roots);
    rng_seed_random(&u->rng);
    u->pool = buf_pool_new(POOL_CHUNKS);
    if (!u->pool)
        return err_origin(-ENOMEM);
    bufq_init(&u->in, u->pool);
    bufq_init(&u->out, u->pool);
    *ret = take_ptr(u);
    return 0;
}

static void close_connection(struct upstream *u) {
    u->lookup = lookup_leave(u->lookup);
    u->grpc = grpc_client_free(u->grpc);
    u->tls = tls_session_free(u->tls);
    u->context = tls_context_unref(u->context);
    u->fd = fd_close(u->fd);
    if (u->pool) {
        bufq_deinit(&u->in);
        bufq_deinit(&u->out);
    }
    u->plain_at = u->plain_n = 0;
    u->n_calls = 0;
    u->peer[0] = '\0';
    u->draining = u->pong_due = false;
    u->state = DOWN;
}

struct upstream *upstream_free(struct upstream *u) {
    if (!u)
        return NULL;
    close_connection(u);
    tls_bundle_unref(u->roots);
    buf_pool_free(u->pool);
    free(u);
    return NULL;
}

/* Half of the pause is drawn, so that nodes which lost the same CA do not come back together. */
static void lose(struct upstream *u, uint64_t now_ns, const char *why) {
    uint64_t ms = UPSTREAM_RETRY_FIRST_MS;
    for (unsigned i = 0; i < u->n_failures && ms < UPSTREAM_RETRY_MAX_MS; i++)
        ms *= 2;
    ms = min_of(ms, (uint64_t)UPSTREAM_RETRY_MAX_MS);
    u->n_failures++;
    u->retry_ns = now_ns + (ms / 2 + rng_below(&u->rng, ms / 2 + 1)) * NS_PER_MS;
    char text[UPSTREAM_WHY_BYTES]; /* `why` may be inside what is closed now */
    snprintf(text, sizeof(text), "%s", why);
    close_connection(u);
    u->wanted = false;
    u->o.callbacks->down(u->o.owner, text);
}

static void printf_like(3, 4) losef(struct upstream *u, uint64_t now_ns, const char *fmt, ...) {
    char why[UPSTREAM_WHY_BYTES];
    struct text t = TEXT_OVER(why);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    lose(u, now_ns, why);
}

static void set_state(struct upstream *u, enum state s, uint64_t now_ns) {
    u->state = s;
    u->deadline_ns = now_ns + UPSTREAM_CONNECT_S * NS_PER_S;
}

void upstream_trust(struct upstream *u, struct tls_bundle *roots) {
    tls_bundle_unref(u->roots);
    u->roots = tls_bundle_ref(roots);
    u->draining = u->state == UP;
    u->retry_ns = 0;
    u->n_failures = 0;
    if (u->state != UP)
        close_connection(u); /* nothing was asked on it yet */
}

void upstream_want(struct upstream *u) { u->wanted = true; }
bool upstream_ready(const struct upstream *u) { return u->state == UP && !u->draining && u->n_calls < UPSTREAM_CALLS_MAX; }
const char *upstream_peer(const struct upstream *u) { return u->peer; }

const char *upstream_state(const struct upstream *u) {
    static const char *const words[] = {
        [DOWN] = "down", [RESOLVING] = "resolving", [CONNECTING] = "connecting", [SHAKING] = "handshaking", [UP] = "up"};
    return u->state == UP && u->draining ? "draining" : words[u->state];
}

int upstream_call(struct upstream *u, struct str path, const struct grpc_metadata *m, size_t n_m, const uint8_t *bytes, size_t n,
                  uint64_t timeout_ns, uint64_t now_ns, int32_t *ret_id) {
    int32_t id;
    if (!upstream_ready(u))
        return 1;
    int r = grpc_client_call(u->grpc, path, m, n_m, timeout_ns, now_ns, &id);
    if (r != 0)
        return r;
    r = grpc_client_send(u->grpc, id, bytes, n, true);
    if (r != 0) {
        grpc_client_cancel(u->grpc, id);
        return r;
    }
    u->n_calls++;
    *ret_id = id;
    return 0;
}

/* ------------------------------------------------ connecting */

static void begin_address(struct upstream *u, uint64_t now_ns);

static void next_address(struct upstream *u, uint64_t now_ns, const char *why) {
    char peer[ENDPOINT_TEXT];
    memcpy(peer, u->peer, sizeof(peer));
    u->fd = fd_close(u->fd);
    if (++u->addr < u->addrs.n)
        begin_address(u, now_ns);
    else
        losef(u, now_ns, "connecting to %s: %s", peer, why);
}

static int open_socket(const struct sockaddr_storage *addr) {
    static const struct {
        int name, value;
    } options[] = {{TCP_NODELAY, 1}, {TCP_KEEPIDLE, 300}, {TCP_KEEPINTVL, 75}, {TCP_KEEPCNT, 9}};
    int on = 1;
    cleanup_fd int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    for (size_t i = 0; i < array_size(options); i++)
        if (setsockopt(fd, IPPROTO_TCP, options[i].name, &options[i].value, sizeof(int)) < 0)
            return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0)
        return -errno;
    return take_fd(fd);
}

static void begin_address(struct upstream *u, uint64_t now_ns) {
    const struct sockaddr_storage *addr = &u->addrs.addrs[u->addr];
    struct endpoint e;
    if (endpoint_from_sockaddr(addr, &e))
        endpoint_format(&e, u->peer);
    set_state(u, CONNECTING, now_ns);
    u->fd = open_socket(addr);
    if (u->fd < 0) {
        int r = u->fd;
        u->fd = -1;
        next_address(u, now_ns, strerror(-r));
    } else if (connect(u->fd, (const struct sockaddr *)addr, u->addrs.lengths[u->addr]) < 0 && errno != EINPROGRESS)
        next_address(u, now_ns, strerror(errno));
}

static void begin(struct upstream *u, uint64_t now_ns) {
    struct endpoint e = {.port = u->o.port};
    if (addr_parse(str_of(u->host), &e.addr)) {
        u->addrs = (struct resolved){.n = 1};
        u->addrs.lengths[0] = endpoint_to_sockaddr(&e, false, &u->addrs.addrs[0]);
        u->addr = 0;
        begin_address(u, now_ns);
        return;
    }
    int r = lookup_start(u->host, u->o.port, &u->lookup);
    if (r != 0) {
        u->lookup = NULL;
        losef(u, now_ns, "looking up %s: %s", u->host, r > 0 ? "earlier look-ups still hang" : strerror(-r));
        return;
    }
    set_state(u, RESOLVING, now_ns);
}

static void resolved(struct upstream *u, uint64_t now_ns) {
    if (!lookup_done(u->lookup, &u->addrs)) {
        if (now_ns >= u->deadline_ns)
            losef(u, now_ns, "looking up %s: the name servers take too long", u->host);
        return;
    }
    u->lookup = lookup_leave(u->lookup);
    u->addr = 0;
    if (u->addrs.n == 0)
        losef(u, now_ns, "looking up %s: %s", u->host, u->addrs.why);
    else
        begin_address(u, now_ns);
}

static void begin_handshake(struct upstream *u, uint64_t now_ns) {
    int r = tls_web_client_new(u->roots, str_of(u->host), &u->context);
    struct tls_session_options o = {.context = u->context, .in = &u->in, .out = &u->out};
    if (r == 0)
        r = tls_session_new(&o, &u->tls);
    if (r == 0)
        set_state(u, SHAKING, now_ns);
    else
        lose(u, now_ns, "no memory for a TLS session");
}

static void connected(struct upstream *u, uint64_t now_ns) {
    struct pollfd p = {.fd = u->fd, .events = POLLOUT};
    int error = 0;
    socklen_t n = sizeof(error);
    if (poll(&p, 1, 0) == 0) {
        if (now_ns >= u->deadline_ns)
            next_address(u, now_ns, "no answer");
        return;
    }
    if (getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    if (error)
        next_address(u, now_ns, strerror(error));
    else
        begin_handshake(u, now_ns);
}

/* ------------------------------------------------ bytes */

/* False: the connection is lost (and said so). *ret_any: something came. */
static bool fill(struct upstream *u, uint64_t now_ns, bool *ret_any) {
    size_t cap;
    uint8_t *at = bufq_reserve(&u->in, &cap);
    *ret_any = false;
    if (!at)
        return true; /* what is there comes first */
    ssize_t n = recv(u->fd, at, cap, 0);
    int error = errno;
    bufq_commit(&u->in, n > 0 ? (size_t)n : 0);
    *ret_any = n > 0;
    if (n > 0 || (n < 0 && (error == EAGAIN || error == EINTR)))
        return true;
    losef(u, now_ns, "%s %s", u->peer, n == 0 ? "closed the connection" : strerror(error));
    return false;
}

/* 0, or the error of the socket. */
static int push(struct upstream *u) {
    const uint8_t *at;
    size_t n;
    while ((at = bufq_peek(&u->out, &n))) {
        ssize_t sent = send(u->fd, at, n, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        bufq_consume(&u->out, (size_t)sent);
    }
    return 0;
}

static bool flush(struct upstream *u, uint64_t now_ns) {
    int error = push(u);
    if (error)
        losef(u, now_ns, "%s: %s", u->peer, strerror(error));
    return !error;
}

static void shake(struct upstream *u, uint64_t now_ns, int64_t now_s) {
    bool any = true;
    int r;
    while ((r = tls_session_handshake(u->tls, now_s)) == TLS_WANT_INPUT && any)
        if (!flush(u, now_ns) || !fill(u, now_ns, &any))
            return;
    if (r == TLS_REFUSED || r == TLS_BROKEN) {
        ignore_result(push(u)); /* our alert; what went wrong before it is the reason to tell */
        losef(u, now_ns, "TLS with %s: %s", u->peer, tls_session_error(u->tls));
        return;
    }
    if (!flush(u, now_ns))
        return;
    if (r != TLS_DONE) {
        if (now_ns >= u->deadline_ns)
            losef(u, now_ns, "TLS with %s: no answer", u->peer);
        return;
    }
    struct grpc_client_options o = {
        .authority = str_of(u->authority),
        .tls = true,
        .limits = {.message_max = u->o.message_max, .streams_max = UPSTREAM_CALLS_MAX, .sent_max = u->o.message_max}};
    if (grpc_client_new(&grpc_callbacks, u, &o, &u->grpc) != 0) {
        lose(u, now_ns, "no memory for a gRPC channel");
        return;
    }
    u->state = UP;
    u->wanted = false; /* who still waits says so again */
    u->n_failures = 0;
    u->ping_ns = now_ns;
    u->o.callbacks->up(u->o.owner);
}

/* What gRPC has to say, sealed and sent as far as the socket takes it. */
static bool speak(struct upstream *u, uint64_t now_ns) {
    for (;;) {
        while (u->plain_at < u->plain_n && u->out.n_bytes < OUT_BYTES_MAX) {
            size_t n = 0;
            int r = tls_session_seal(u->tls, u->plain + u->plain_at, u->plain_n - u->plain_at, &n);
            if (r == TLS_WANT_OUTPUT && n == 0)
                break;
            if (r != TLS_DONE && r != TLS_WANT_OUTPUT) {
                losef(u, now_ns, "TLS with %s: %s", u->peer, tls_session_error(u->tls));
                return false;
            }
            u->plain_at += n;
        }
        if (!flush(u, now_ns))
            return false;
        if (u->plain_at < u->plain_n)
            return true;                   /* the socket is full */
        secret_wipe(u->plain, u->plain_n); /* a token was in it */
        u->plain_at = 0;
        u->plain_n = grpc_client_drain(u->grpc, u->plain, sizeof(u->plain));
        if (u->plain_n == 0)
            return true;
    }
}

static bool listen_to(struct upstream *u, uint64_t now_ns) {
    uint8_t plain[PLAIN_BYTES];
    for (unsigned i = 0; i < READS_MAX; i++) {
        size_t n = 0;
        bool any = false;
        int r = tls_session_open(u->tls, plain, sizeof(plain), &n);
        if (r == TLS_DONE) {
            int fed = grpc_client_feed(u->grpc, plain, n, now_ns);
            if (fed != 0) {
                losef(u, now_ns, "%s: %s", u->peer, fed < 0 ? "no memory" : "HTTP/2 protocol error");
                return false;
            }
            continue;
        }
        if (r == TLS_CLOSED) {
            losef(u, now_ns, "%s closed the connection", u->peer);
            return false;
        }
        if (r == TLS_REFUSED || r == TLS_BROKEN) {
            losef(u, now_ns, "TLS with %s: %s", u->peer, tls_session_error(u->tls));
            return false;
        }
        if (r == TLS_WANT_OUTPUT)
            return true;
        if (!fill(u, now_ns, &any))
            return false;
        if (!any)
            return true;
    }
    return true;
}

static void carry(struct upstream *u, uint64_t now_ns) {
    if (!speak(u, now_ns) || !listen_to(u, now_ns))
        return;
    grpc_client_tick(u->grpc, now_ns);
    if (u->pong_due && now_ns >= u->ping_ns + UPSTREAM_PONG_S * NS_PER_S) {
        losef(u, now_ns, "%s does not answer pings", u->peer);
        return;
    }
    if (!u->pong_due && now_ns >= u->ping_ns + UPSTREAM_PING_S * NS_PER_S) {
        grpc_client_ping(u->grpc);
        u->ping_ns = now_ns;
        u->pong_due = true;
    }
    if (!speak(u, now_ns))
        return;
    if (u->draining && u->n_calls == 0) {
        ignore_result(tls_session_close(u->tls)); /* no room for it: the peer sees the connection close */
        ignore_result(push(u));
        close_connection(u);
    } else if (grpc_client_finished(u->grpc))
        losef(u, now_ns, "%s ended the HTTP/2 connection", u->peer);
}

/* ------------------------------------------------ the thread's side */

unsigned upstream_poll(const struct upstream *u, struct pollfd fds[UPSTREAM_POLL_MAX]) {
    unsigned n = 0;
    if (u->state == RESOLVING)
        fds[n++] = (struct pollfd){.fd = lookup_fd(u->lookup), .events = POLLIN};
    if (u->state == CONNECTING)
        fds[n++] = (struct pollfd){.fd = u->fd, .events = POLLOUT};
    if (u->state >= SHAKING) {
        bool unsent = u->out.n_bytes > 0 || u->plain_at < u->plain_n;
        fds[n++] = (struct pollfd){.fd = u->fd, .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
    }
    return n;
}

static int ms_until(uint64_t at_ns, uint64_t now_ns) {
    return at_ns <= now_ns ? 0 : (int)min_of((at_ns - now_ns) / NS_PER_MS + 1, (uint64_t)1000);
}

static void advance(struct upstream *u, uint64_t now_ns, int64_t now_s) {
    switch (u->state) {
    case DOWN:
        if (u->wanted && now_ns >= u->retry_ns)
            begin(u, now_ns);
        break;
    case RESOLVING:
        resolved(u, now_ns);
        break;
    case CONNECTING:
        connected(u, now_ns);
        break;
    case SHAKING:
        shake(u, now_ns, now_s);
        break;
    case UP:
        carry(u, now_ns);
        break;
    }
}

int upstream_turn(struct upstream *u, uint64_t now_ns, int64_t now_s) {
    enum state before;
    do {
        before = u->state;
        advance(u, now_ns, now_s);
    } while (u->state > before); /* an answer may be here already */
    switch (u->state) {
    case DOWN:
        return u->wanted ? ms_until(u->retry_ns, now_ns) : 1000;
    case UP:
        return 1000;
    default:
        return ms_until(u->deadline_ns, now_ns);
    }
}
