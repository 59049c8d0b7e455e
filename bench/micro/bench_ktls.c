/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/bench_ktls.c - would it pay to let the kernel make and open the records (kTLS), in either direction?
 *
 * First what there is: TCP_ULP, TLS_TX and TLS_RX of TLS 1.3 with AES-256-GCM, by software or a device; one line and no more where
 * there is none. Then whether what we need of it holds: the same bytes after it took over in mid-stream, close_notify both ways,
 * KeyUpdates both ways. Then the speed, in rounds in which all ways take turns: our channel (sealed from a queue, one sendmsg;
 * recv, opened from the queue) and the kernel's (plain sendmsg, recvmsg with the record's type), over loopback TCP, each with the
 * other's as its peer, so that one end changes at a time. Last a verdict for each direction.
 * A direction in which the bytes are not right, or KeyUpdates do not work, would not pay whatever its speed.
 * CPU time is that of the end's thread. What the kernel's own threads do is not in it, and on loopback the end that sends may do
 * some of the other's work: so both ends' sum must not rise either. Loopback says nothing of a network card that does records. */
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/secret.h>

#include "channel_private.h"
#include "micro.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

enum {
    ROUNDS = 11,
    ROUND_NS = 100 * 1000 * 1000,
    PIECES_MAX = 4, /* chunks of an end's own, sent by one call */
    CHUNKS = 64,
    MIXED_SENDS = 200,
    EARLIER = 3, /* records of ours before the kernel takes over */
    FEW_BYTES = 100,
    HALF_MS = 200,   /* then it has arrived, and nobody was woken */
    PATIENCE_S = 20, /* a call that takes longer has failed */
};

/* Less CPU by a tenth at full records, without being worse by more than a twentieth anywhere: else it is not worth a second way. */
#define PAYS_CPU 0.90
#define WORSE_CPU 1.05
#define WORSE_RATE 0.95

/* One end of a stream that goes one way. */
struct end {
    int fd;
    bool by_kernel;
    struct buf_pool *pool; /* an end is a thread's */
    struct bufq in, out, plain;
    struct channel *channel; /* has the secrets also where the kernel makes the records */
    struct buf_chunk *source[PIECES_MAX];
    uint64_t position; /* in the stream; what byte_at says should be there */
};
struct line {
    struct end from, to;
};

static uint8_t byte_at(uint64_t position) { return (uint8_t)((uint32_t)position * 2654435761U >> 24); }

/* ---- ends ---- */

static void sockets_open(int *ret_from, int *ret_to) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    socklen_t n = sizeof(at);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0 && from >= 0 && bind(listener, (struct sockaddr *)&at, n) == 0 && listen(listener, 1) == 0);
    check(getsockname(listener, (struct sockaddr *)&at, &n) == 0 && connect(from, (struct sockaddr *)&at, n) == 0);
    int to = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    check(to >= 0 && setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    check(setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    check(setsockopt(from, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0);
    close(listener);
    *ret_from = from;
    *ret_to = to;
}

static void end_open(struct end *e, bool is_client, const uint8_t secrets[2][RECORD_SECRET_MAX]) {
    *e = (struct end){.fd = e->fd, .pool = buf_pool_new(CHUNKS)};
    check(e->pool);
    bufq_init(&e->in, e->pool);
    bufq_init(&e->out, e->pool);
    bufq_init(&e->plain, e->pool);
    e->channel = channel_new(is_client, &e->in, &e->out);
    check(e->channel && channel_secret(e->channel, false, secrets[0], RECORD_SECRET_MAX));
    check(channel_secret(e->channel, true, secrets[1], RECORD_SECRET_MAX));
    check(channel_begin(e->channel, RECORD_AES_256_GCM_SHA384, gcm_path_best()) == 0);
    for (unsigned i = 0; i < PIECES_MAX; i++) {
        e->source[i] = buf_chunk_acquire(e->pool);
        check(e->source[i]);
        memset(buf_chunk_bytes(e->source[i]), (int)i, BUF_CHUNK_BYTES);
    }
}

static void end_close(struct end *e) {
    for (unsigned i = 0; i < PIECES_MAX; i++)
        buf_chunk_unref(e->source[i]);
    channel_free(e->channel);
    bufq_deinit(&e->in);
    bufq_deinit(&e->out);
    bufq_deinit(&e->plain);
    buf_pool_free(e->pool);
    if (e->fd >= 0)
        close(e->fd);
}

static void line_open(struct line *l) {
    uint8_t secrets[2][RECORD_SECRET_MAX];
    check(getrandom(secrets, sizeof(secrets), 0) == sizeof(secrets));
    sockets_open(&l->from.fd, &l->to.fd);
    end_open(&l->from, true, secrets);
    end_open(&l->to, false, secrets);
    secret_wipe(secrets, sizeof(secrets));
}

static void line_close(struct line *l) {
    end_close(&l->from);
    end_close(&l->to);
}

/* ---- the kernel's records ---- */

static int kernel_asked(int fd) { return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) ? -errno : 0; }

/* Records from number w->n_records on are the kernel's. */
static int kernel_keyed(int fd, int direction, const struct record_way *w) {
    struct tls12_crypto_info_aes_gcm_256 to = {.info = {TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_256}};
    static const uint8_t protocol[] = {'t', 'l', 's', '1', '3', ' '}, label[] = {'k', 'e', 'y'};
    uint64_t number = __builtin_bswap64(w->n_records);
    check(wc_Tls13_HKDF_Expand_Label(to.key, sizeof(to.key), w->secret, w->secret_n, protocol, sizeof(protocol), label,
                                     sizeof(label), NULL, 0, WC_SHA384) == 0);
    memcpy(to.salt, w->iv, sizeof(to.salt));
    memcpy(to.iv, w->iv + sizeof(to.salt), sizeof(to.iv));
    memcpy(to.rec_seq, &number, sizeof(to.rec_seq));
    int r = setsockopt(fd, SOL_TLS, direction, &to, sizeof(to)) ? -errno : 0;
    secret_wipe(&to, sizeof(to));
    return r;
}

static int kernel_takes(struct end *e, int direction) {
    int one = 1, r = kernel_asked(e->fd);
    if (!r)
        r = kernel_keyed(e->fd, direction, direction == TLS_TX ? &e->channel->ours : &e->channel->theirs);
    if (!r && direction == TLS_RX) /* nobody here pads: opened straight to where they are wanted, where the kernel can */
        ignore_result(setsockopt(e->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &one, sizeof(one))); /* else with a copy more */
    e->by_kernel = !r;
    return r;
}

static int line_taken(struct line *l, bool tx, bool rx) {
    int r = tx ? kernel_takes(&l->from, TLS_TX) : 0;
    return !r && rx ? kernel_takes(&l->to, TLS_RX) : r;
}

/* ---- sending ---- */

static void source_fill(struct end *e, size_t n, unsigned n_pieces) {
    for (unsigned i = 0; i < n_pieces; i++)
        for (size_t at = 0; at < n; at++)
            buf_chunk_bytes(e->source[i])[at] = byte_at(e->position++);
}

static int pieces_send(int fd, struct iovec *pieces, size_t n_pieces) {
    while (n_pieces) {
        struct msghdr m = {.msg_iov = pieces, .msg_iovlen = n_pieces};
        ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (n < 0)
            return -errno;
        for (; n_pieces && (size_t)n >= pieces->iov_len; pieces++, n_pieces--)
            n -= (ssize_t)pieces->iov_len;
        if (n) {
            pieces->iov_base = (uint8_t *)pieces->iov_base + n;
            pieces->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int sealed_send(struct end *e) {
    enum { PIECES_A_CALL = 16 };
    struct iovec pieces[PIECES_A_CALL];
    while (e->out.n_bytes) {
        size_t n = 0;
        unsigned n_pieces = bufq_iov(&e->out, pieces, PIECES_A_CALL);
        for (unsigned i = 0; i < n_pieces; i++)
            n += pieces[i].iov_len;
        int r = pieces_send(e->fd, pieces, n_pieces);
        if (r)
            return r;
        bufq_consume(&e->out, n);
    }
    return 0;
}

/* The first n bytes of so many sources, by one call. */
static int end_send(struct end *e, size_t n, unsigned n_pieces) {
    if (e->by_kernel) {
        struct iovec pieces[PIECES_MAX];
        for (unsigned i = 0; i < n_pieces; i++)
            pieces[i] = (struct iovec){.iov_base = buf_chunk_bytes(e->source[i]), .iov_len = n};
        return pieces_send(e->fd, pieces, n_pieces);
    }
    for (unsigned i = 0; i < n_pieces; i++)
        check(bufq_append_shared(&e->plain, e->source[i], buf_chunk_bytes(e->source[i]), n) == 0);
    check(channel_seal_queue(e->channel, &e->plain, SIZE_MAX) == TLS_DONE);
    return sealed_send(e);
}

static int few_send(struct end *e) {
    source_fill(e, FEW_BYTES, 1);
    return end_send(e, FEW_BYTES, 1);
}

/* A record of another type than data. */
static int control_send(struct end *e, enum record_type type, const uint8_t *bytes, size_t n) {
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(1)];
    } control = {.head = {.cmsg_len = CMSG_LEN(1), .cmsg_level = SOL_TLS, .cmsg_type = TLS_SET_RECORD_TYPE}};
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    *CMSG_DATA(&control.head) = (uint8_t)type;
    return sendmsg(e->fd, &m, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -errno;
}

/* ---- receiving ---- */

enum got { GOT_DATA, GOT_CONTROL, GOT_END, GOT_ERROR, GOT_WRONG };
struct received {
    enum got got;
    int error;                 /* errno */
    uint8_t type, message[16]; /* of GOT_CONTROL; ours gives no message */
    size_t n;                  /* of data: may be 0, part of a record; of the message */
};

static bool bytes_expected(struct end *e, const uint8_t *at, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (at[i] != byte_at(e->position++))
            return false;
    return true;
}

static struct received kernel_receive(struct end *e, size_t most, bool compare) {
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(1)];
    } control;
    struct buf_chunk *chunk = buf_chunk_acquire(e->pool);
    check(chunk);
    struct iovec piece = {.iov_base = buf_chunk_bytes(chunk), .iov_len = most};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(e->fd, &m, 0);
    struct received got = {.got = n < 0 ? GOT_ERROR : n == 0 ? GOT_END : GOT_DATA, .error = errno, .type = RECORD_DATA};
    if (n > 0) {
        const struct cmsghdr *head = CMSG_FIRSTHDR(&m);
        if (head && head->cmsg_level == SOL_TLS && head->cmsg_type == TLS_GET_RECORD_TYPE)
            got.type = *CMSG_DATA(head);
        got.n = (size_t)n;
        if (got.type != RECORD_DATA) {
            got.got = GOT_CONTROL;
            memcpy(got.message, piece.iov_base, min_of(got.n, sizeof(got.message)));
        } else if (compare && !bytes_expected(e, piece.iov_base, got.n)) {
            got.got = GOT_WRONG;
        }
    }
    buf_chunk_unref(chunk);
    return got;
}

static struct received our_receive(struct end *e, bool compare) {
    struct received got = {.got = GOT_DATA};
    struct buf_chunk *chunk = buf_chunk_acquire(e->pool), *opened;
    const uint8_t *at;
    check(chunk);
    ssize_t n_got = recv(e->fd, buf_chunk_bytes(chunk), BUF_CHUNK_BYTES, 0);
    int error = errno, r = TLS_DONE;
    if (n_got > 0)
        check(bufq_append_shared(&e->in, chunk, buf_chunk_bytes(chunk), (size_t)n_got) == 0);
    buf_chunk_unref(chunk);
    if (n_got <= 0)
        return (struct received){.got = n_got ? GOT_ERROR : GOT_END, .error = error};
    for (size_t n; (r = channel_open_record(e->channel, &opened, &at, &n)) == TLS_DONE; got.n += n)
        if (compare && !bytes_expected(e, at, n))
            got.got = GOT_WRONG;
    if (r == TLS_CLOSED)
        got = (struct received){.got = GOT_CONTROL, .type = RECORD_ALERT};
    return r == TLS_BROKEN ? (struct received){.got = GOT_ERROR, .error = EBADMSG} : got;
}

/* As much as one call gives; the kernel's way at most so much. */
static struct received end_receive(struct end *e, size_t most, bool compare) {
    return e->by_kernel ? kernel_receive(e, most, compare) : our_receive(e, compare);
}

static struct received few_receive(struct end *e) {
    struct received got = {.got = GOT_DATA};
    for (size_t n = 0; got.got == GOT_DATA && n < FEW_BYTES; n += got.n)
        got = end_receive(e, RECORD_PLAIN_MAX, true);
    return got;
}

/* ---- what must hold ---- */

static const char *text_of(struct received got) {
    switch (got.got) {
    case GOT_DATA:
        return "data came";
    case GOT_CONTROL:
        return "a control record came";
    case GOT_END:
        return "end of stream";
    case GOT_ERROR:
        return strerror(got.error);
    case GOT_WRONG:
        return "other bytes came";
    }
    return "?";
}

/* A flaw of NULL: it holds. */
static bool say(const char *what, const char *flaw) {
    printf("%s\t%s%s\n", what, flaw ? "NO: " : "holds", flaw ? flaw : "");
    return !flaw;
}

static void *send_mixed(void *at) {
    struct end *e = at;
    int r = 0;
    for (unsigned i = 0; i < MIXED_SENDS && !r; i++) {
        size_t n = 1 + i * 7919U % RECORD_PLAIN_MAX;
        unsigned n_pieces = 1 + i % PIECES_MAX;
        source_fill(e, n, n_pieces);
        r = end_send(e, n, n_pieces);
    }
    shutdown(e->fd, SHUT_WR);
    return NULL;
}

/* Some records of ours first; then the kernel goes on where they end. */
static const char *bytes_flaw(bool tx, bool rx) {
    struct line l;
    struct received got = {.got = GOT_DATA};
    line_open(&l);
    for (unsigned i = 0; i < EARLIER; i++) {
        check(few_send(&l.from) == 0);
        check(few_receive(&l.to).got == GOT_DATA && l.to.in.n_bytes == 0);
    }
    int r = line_taken(&l, tx, rx);
    const char *flaw = r ? strerror(-r) : NULL;
    if (!flaw) {
        pthread_t sender;
        check(pthread_create(&sender, NULL, send_mixed, &l.from) == 0);
        for (unsigned i = 0; got.got == GOT_DATA; i++)
            got = end_receive(&l.to, 1 + i * 4099U % RECORD_PLAIN_MAX, true);
        shutdown(l.to.fd, SHUT_RDWR); /* after a flaw nobody reads */
        check(pthread_join(sender, NULL) == 0);
        if (got.got != GOT_END || l.from.position != l.to.position)
            flaw = got.got == GOT_END ? "bytes are missing" : text_of(got);
    }
    line_close(&l);
    return flaw;
}

static const char *close_flaw(bool tx) {
    struct line l;
    line_open(&l);
    int r = line_taken(&l, tx, !tx);
    if (!r && tx) {
        r = control_send(&l.from, RECORD_ALERT, (uint8_t[]){1, ALERT_CLOSE_NOTIFY}, ALERT_BYTES);
    } else if (!r) {
        check(channel_close(l.from.channel) == TLS_DONE);
        r = sealed_send(&l.from);
    }
    const char *flaw = r ? strerror(-r) : NULL;
    if (!flaw) {
        struct received got = end_receive(&l.to, RECORD_PLAIN_MAX, true);
        if (got.got != GOT_CONTROL || got.type != RECORD_ALERT || (!tx && (got.n != 2 || got.message[1] != ALERT_CLOSE_NOTIFY)))
            flaw = text_of(got);
    }
    line_close(&l);
    return flaw;
}

/* Half a record does not wake who polls, and the rest brings all of it. */
static const char *half_flaw(void) {
    struct line l;
    line_open(&l);
    int r = line_taken(&l, false, true);
    source_fill(&l.from, FEW_BYTES, 1);
    check(bufq_append_shared(&l.from.plain, l.from.source[0], buf_chunk_bytes(l.from.source[0]), FEW_BYTES) == 0);
    check(channel_seal_queue(l.from.channel, &l.from.plain, SIZE_MAX) == TLS_DONE);
    if (!r) {
        size_t n;
        const uint8_t *at = bufq_peek(&l.from.out, &n);
        r = send(l.from.fd, at, n / 2, MSG_NOSIGNAL) < 0 ? -errno : 0;
        bufq_consume(&l.from.out, n / 2);
    }
    const char *flaw = r ? strerror(-r) : NULL;
    if (!flaw) {
        struct pollfd readable = {.fd = l.to.fd, .events = POLLIN};
        bool early = poll(&readable, 1, HALF_MS) > 0;
        check(sealed_send(&l.from) == 0);
        struct received got = few_receive(&l.to);
        flaw = got.got != GOT_DATA ? text_of(got) : early ? "readable too early" : NULL;
    }
    line_close(&l);
    return flaw;
}

/* A receive that has no room for the record's type, as those of a ring's shared buffers. */
static const char *plain_receive_flaw(void) {
    struct line l;
    uint8_t bytes[16];
    line_open(&l);
    int r = line_taken(&l, false, true);
    const char *flaw = r ? strerror(-r) : NULL;
    if (!flaw) {
        check(channel_close(l.from.channel) == TLS_DONE && sealed_send(&l.from) == 0);
        flaw = recv(l.to.fd, bytes, sizeof(bytes), 0) < 0 ? strerror(errno) : NULL;
    }
    line_close(&l);
    return flaw;
}

static int update_from_kernel(struct line *l) {
    int r = control_send(&l->from, RECORD_HANDSHAKE, (uint8_t[]){MESSAGE_KEY_UPDATE, 0, 0, 1, 0}, MESSAGE_HEAD_BYTES + 1);
    if (r)
        return r;
    check(record_way_update(&l->from.channel->ours) == 0);
    return kernel_keyed(l->from.fd, TLS_TX, &l->from.channel->ours);
}

static int update_to_kernel(struct line *l) {
    check(channel_renew(l->from.channel) == TLS_DONE);
    int r = sealed_send(&l->from);
    if (r)
        return r;
    struct received got = end_receive(&l->to, RECORD_PLAIN_MAX, true);
    if (got.got != GOT_CONTROL || got.type != RECORD_HANDSHAKE || got.message[0] != MESSAGE_KEY_UPDATE)
        return got.got == GOT_ERROR ? -got.error : -EPROTO;
    check(record_way_update(&l->to.channel->theirs) == 0);
    return kernel_keyed(l->to.fd, TLS_RX, &l->to.channel->theirs);
}

static const char *update_flaw(bool tx) {
    struct line l;
    line_open(&l);
    int r = line_taken(&l, tx, !tx);
    if (!r)
        r = few_send(&l.from);
    const char *flaw = r ? strerror(-r) : NULL;
    struct received got = {.got = GOT_DATA};
    if (!flaw)
        got = few_receive(&l.to);
    if (!flaw && got.got == GOT_DATA) {
        r = tx ? update_from_kernel(&l) : update_to_kernel(&l);
        if (!r)
            r = few_send(&l.from);
        flaw = r ? strerror(-r) : NULL;
        if (!flaw)
            got = few_receive(&l.to);
    }
    if (!flaw && got.got != GOT_DATA)
        flaw = text_of(got);
    line_close(&l);
    return flaw;
}

/* ---- speed ---- */

enum way { OURS, KERNEL_TX, KERNEL_RX, KERNEL_BOTH, _WAYS };
static const char *const way_names[_WAYS] = {"ours to ours", "kernel to ours", "ours to kernel", "kernel to kernel"};
enum what { RATE, CPU_FROM, CPU_TO, CPU_BOTH, _WHATS };
struct stream {
    struct line line;
    size_t record;
    uint64_t n_bytes; /* that arrived */
    double cpu_to_s;
};

static double thread_cpu_s(void) {
    struct timespec t;
    check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / NS_PER_S;
}

static void *stream_receive(void *at) {
    struct stream *s = at;
    double start_s = thread_cpu_s();
    for (struct received got = {.got = GOT_DATA}; got.got == GOT_DATA; s->n_bytes += got.n) {
        got = end_receive(&s->line.to, RECORD_PLAIN_MAX, false);
        check(got.got == GOT_DATA || got.got == GOT_END);
    }
    s->cpu_to_s = thread_cpu_s() - start_s;
    return NULL;
}

static void stream_measure(enum way way, size_t record, double ret[_WHATS]) {
    struct stream s = {.record = record};
    unsigned n_pieces = record < RECORD_PLAIN_MAX ? 1 : PIECES_MAX; /* messages go when they come, a stream by many records */
    uint64_t n_sent = 0;
    pthread_t receiver;
    line_open(&s.line);
    check(line_taken(&s.line, way == KERNEL_TX || way == KERNEL_BOTH, way == KERNEL_RX || way == KERNEL_BOTH) == 0);
    check(pthread_create(&receiver, NULL, stream_receive, &s) == 0);
    double cpu_s = thread_cpu_s();
    uint64_t start_ns = clock_mono_ns();
    for (; clock_mono_ns() - start_ns < ROUND_NS; n_sent += record * n_pieces)
        check(end_send(&s.line.from, record, n_pieces) == 0);
    shutdown(s.line.from.fd, SHUT_WR);
    cpu_s = thread_cpu_s() - cpu_s;
    check(pthread_join(receiver, NULL) == 0);
    double gb = (double)s.n_bytes / 1e9;
    check(s.n_bytes == n_sent);
    ret[RATE] = gb / ((double)(clock_mono_ns() - start_ns) / NS_PER_S);
    ret[CPU_FROM] = cpu_s / gb;
    ret[CPU_TO] = s.cpu_to_s / gb;
    ret[CPU_BOTH] = ret[CPU_FROM] + ret[CPU_TO];
    line_close(&s.line);
}

/* Medians, and of the ratios to our way in the same round. */
static void speeds(size_t record, const bool possible[_WAYS], double ret_ratio[_WAYS][_WHATS]) {
    static double all[_WAYS][_WHATS][ROUNDS], ratios[ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        for (int way = 0; way < _WAYS; way++) {
            double now[_WHATS] = {0};
            if (possible[way])
                stream_measure((enum way)way, record, now);
            for (int what = 0; what < _WHATS; what++)
                all[way][what][round] = now[what];
        }
    for (int way = 0; way < _WAYS; way++)
        for (int what = 0; what < _WHATS; what++) {
            for (int round = 0; round < ROUNDS; round++)
                ratios[round] = all[way][what][round] / all[OURS][what][round];
            ret_ratio[way][what] = micro_median(ratios, ROUNDS);
        }
    printf("%zu bytes a record\tGB/s\tratio\tCPU s/GB, sender\tratio\treceiver\tratio\tboth\tratio\n", record);
    for (int way = 0; way < _WAYS; way++) {
        if (!possible[way])
            continue;
        printf("  %s", way_names[way]);
        for (int what = 0; what < _WHATS; what++)
            qsort(all[way][what], ROUNDS, sizeof(all[way][what][0]), micro_compare); /* all ratios were made */
        for (int what = 0; what < _WHATS; what++)
            printf("\t%.3f\t%.2f", all[way][what][ROUNDS / 2], ret_ratio[way][what]);
        printf("\n");
    }
}

/* ---- what there is ---- */

/* A line of /proc/net/tls_stat; -1: no such. */
static long stat_of(const char *name) {
    char line[128], *end;
    long value = -1;
    FILE *f = fopen("/proc/net/tls_stat", "re");
    for (; f && value < 0 && fgets(line, sizeof(line), f);)
        if (strncmp(line, name, strlen(name)) == 0 && strchr(" \t", line[strlen(name)]))
            value = strtol(line + strlen(name), &end, 10);
    if (f)
        fclose(f);
    return value;
}

static bool direction_probe(int direction) {
    const char *by_software = direction == TLS_TX ? "TlsCurrTxSw" : "TlsCurrRxSw",
               *by_device = direction == TLS_TX ? "TlsCurrTxDevice" : "TlsCurrRxDevice";
    struct line l;
    line_open(&l);
    long software = stat_of(by_software), device = stat_of(by_device);
    int r = kernel_takes(direction == TLS_TX ? &l.from : &l.to, direction);
    const char *by = stat_of(by_device) > device       ? "by a device"
                     : stat_of(by_software) > software ? "by software"
                                                       : "who does it cannot be told";
    printf("%s, TLS 1.3, AES-256-GCM\t%s%s\n", direction == TLS_TX ? "TLS_TX" : "TLS_RX", r ? "NO: " : "there, ",
           r ? strerror(-r) : by);
    line_close(&l);
    return !r;
}

static void verdict(const char *direction, bool good, bool updates, enum way way, enum what own, double ratio[2][_WAYS][_WHATS]) {
    const double *small = ratio[0][way], *full = ratio[1][way];
    bool quicker = good && full[own] <= PAYS_CPU && full[CPU_BOTH] <= 1 && small[own] <= WORSE_CPU &&
                   small[CPU_BOTH] <= WORSE_CPU && full[RATE] >= WORSE_RATE && small[RATE] >= WORSE_RATE;
    printf("%s\t%s: ", direction, quicker && updates ? "would pay" : "would not");
    if (!good)
        printf("it is not there, or not right\n");
    else
        printf("CPU of that end %.2f at full records, %.2f at 1 KiB; rate %.2f and %.2f%s\n", full[own], small[own], full[RATE],
               small[RATE], updates ? "" : "; and a KeyUpdate would end the connection");
}

int main(void) {
    static const size_t sizes[2] = {1024, RECORD_PLAIN_MAX};
    static double ratio[2][_WAYS][_WHATS];
    struct utsname kernel;
    struct line l;
    check(uname(&kernel) == 0);
    line_open(&l);
    int r = kernel_asked(l.from.fd);
    line_close(&l);
    if (r) {
        printf("kTLS\tnot on this kernel (Linux %s, TCP_ULP \"tls\": %s): nothing to measure\n", kernel.release, strerror(-r));
        return 0;
    }
    printf("kTLS\tthere (Linux %s)\n", kernel.release);
    bool tx = direction_probe(TLS_TX), rx = direction_probe(TLS_RX), tx_updates = false, rx_updates = false;
    if (tx) {
        tx = say("the kernel goes on with our records, we open: same bytes", bytes_flaw(true, false));
        tx &= say("close_notify of the kernel's end ends our channel in order", close_flaw(true));
        tx_updates = say("KeyUpdate sent, TLS_TX with the next key", update_flaw(true));
    }
    if (rx) {
        rx = say("we seal, the kernel takes over after some, read in odd parts: same bytes", bytes_flaw(false, true));
        rx &= say("close_notify comes with its type", close_flaw(false));
        ignore_result(say("half a record wakes nobody, the rest brings all", half_flaw()));
        ignore_result(say("a receive that does not ask for the type gets over close_notify", plain_receive_flaw()));
        rx_updates = say("KeyUpdate received, TLS_RX with the next key", update_flaw(false));
    }
    bool both = tx && rx && say("the kernel at both ends: same bytes", bytes_flaw(true, true));
    fflush(stdout);
    if (tx || rx)
        for (size_t i = 0; i < array_size(sizes); i++) {
            speeds(sizes[i], (const bool[_WAYS]){true, tx, rx, both}, ratio[i]);
            fflush(stdout);
        }
    verdict("sending by the kernel", tx, tx_updates, KERNEL_TX, CPU_FROM, ratio);
    verdict("receiving by the kernel", rx, rx_updates, KERNEL_RX, CPU_TO, ratio);
    return 0;
}
