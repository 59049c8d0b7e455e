/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/channel.c - see channel.h: its life, and what goes out */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/secret.h>

#include "channel_private.h"

enum { KEY_UPDATE_BYTES = MESSAGE_HEAD_BYTES + 1 };
enum { ALERT_WARNING = 1, ALERT_FATAL = 2 };

_Static_assert((int)RECORD_PLAIN_MAX + (int)RECORD_OVERHEAD <= (int)BUF_CHUNK_BYTES, "what we seal fits a chunk");

struct channel *channel_new(bool is_client, struct bufq *in, struct bufq *out) {
    struct channel *c = wolfSSL_Malloc(sizeof(*c)); /* counted with what the library holds */
    if (c)
        *c = (struct channel){.in = in, .out = out, .is_client = is_client, .key_records_max = CHANNEL_KEY_RECORDS};
    return c;
}

struct channel *channel_free(struct channel *c) {
    if (!c)
        return NULL;
    record_way_end(&c->ours);
    record_way_end(&c->theirs);
    buf_chunk_unref(c->chunk);
    wolfSSL_Free(c);
    return NULL;
}

bool channel_secret(struct channel *c, bool of_client, const uint8_t *secret, size_t n) {
    struct record_way *w = of_client == c->is_client ? &c->ours : &c->theirs;
    if (n == 0 || n > RECORD_SECRET_MAX)
        return false;
    w->secret_n = (uint8_t)n;
    memcpy(w->secret, secret, n);
    return true;
}

static int way_begin(struct record_way *w, enum record_suite suite, enum gcm_path path) {
    uint8_t secret[RECORD_SECRET_MAX];
    size_t n = record_secret_bytes(suite);
    if (n == 0 || w->secret_n != n)
        return 1;
    memcpy(secret, w->secret, n);
    int r = record_way_begin(w, path, secret, n);
    secret_wipe(secret, sizeof(secret));
    return err_trace(r);
}

int channel_begin(struct channel *c, enum record_suite suite, enum gcm_path path) {
    int r = way_begin(&c->ours, suite, path);
    if (!r)
        r = way_begin(&c->theirs, suite, path);
    return err_trace(r);
}

const char *channel_error(const struct channel *c) { return c->error; }
void channel_limit(struct channel *c, uint64_t key_records) { c->key_records_max = key_records; }

/* false: no room, nothing was done. */
static bool send_whole(struct channel *c, enum record_type type, struct iovec *pieces, unsigned n_pieces, size_t n) {
    uint8_t *to = bufq_reserve_n(c->out, n + RECORD_OVERHEAD);
    if (!to)
        return false;
    record_seal(&c->ours, type, pieces, n_pieces, n, to);
    bufq_commit(c->out, n + RECORD_OVERHEAD);
    return true;
}

static bool send_small(struct channel *c, enum record_type type, uint8_t *bytes, size_t n) {
    struct iovec pieces[2] = {{.iov_base = bytes, .iov_len = n}};
    return send_whole(c, type, pieces, 1, n);
}

int channel_fail(struct channel *c, int alert, const char *error) {
    uint8_t bytes[ALERT_BYTES] = {ALERT_FATAL, (uint8_t)alert};
    if (!c->broken && !c->sent_close && c->ours.key.rounds && alert != ALERT_NONE)
        ignore_result(send_small(c, RECORD_ALERT, bytes, sizeof(bytes))); /* no room: the peer sees the connection close instead */
    c->broken = true;
    c->error = error;
    c->left_n = 0;
    c->chunk = buf_chunk_unref(c->chunk);
    return TLS_BROKEN;
}

int channel_fail_by_us(struct channel *c, int r) {
    return channel_fail(c, ALERT_INTERNAL_ERROR, r == -ENOMEM ? "TLS memory limit reached" : "cryptography failed");
}

int channel_renew(struct channel *c) {
    uint8_t update[KEY_UPDATE_BYTES] = {MESSAGE_KEY_UPDATE, 0, 0, 1, 0};
    if (!send_small(c, RECORD_HANDSHAKE, update, sizeof(update)))
        return TLS_WANT_OUTPUT;
    c->answer_owed = false;
    int r = record_way_update(&c->ours);
    return r ? channel_fail_by_us(c, r) : TLS_DONE;
}

/* One record of data, whose pieces hold n. */
static int send_data(struct channel *c, struct iovec *pieces, unsigned n_pieces, size_t n) {
    if (c->answer_owed || c->ours.n_records >= c->key_records_max) {
        int r = channel_renew(c);
        if (r)
            return r;
    }
    if (!send_whole(c, RECORD_DATA, pieces, n_pieces, n))
        return TLS_WANT_OUTPUT;
    c->n_answers = 0;
    return TLS_DONE;
}

int channel_seal(struct channel *c, const uint8_t *bytes, size_t n, size_t *ret_taken) {
    size_t n_taken = 0;
    if (c->broken || c->sent_close)
        return TLS_BROKEN;
    int r = TLS_DONE;
    while (n_taken < n && r == TLS_DONE) {
        size_t n_now = min_of(n - n_taken, (size_t)RECORD_PLAIN_MAX);
        struct iovec pieces[2] = {{.iov_base = (void *)(uintptr_t)(bytes + n_taken), .iov_len = n_now}};
        r = send_data(c, pieces, 1, n_now);
        if (r == TLS_DONE)
            n_taken += n_now;
    }
    if (r != TLS_BROKEN)
        *ret_taken = n_taken;
    return r;
}

unsigned channel_pieces(const struct bufq *q, struct iovec pieces[RECORD_PIECES_MAX], size_t *n) {
    enum { FEW = 4 }; /* mostly enough, and a long queue is not walked for nothing */
    unsigned n_pieces = 0, used = 0;
    size_t left = *n;
    for (unsigned most = FEW; left && n_pieces == used; most = RECORD_PIECES_MAX) {
        n_pieces = bufq_iov(q, pieces, most);
        for (; used < n_pieces && left; used++) {
            pieces[used].iov_len = min_of(pieces[used].iov_len, left);
            left -= pieces[used].iov_len;
        }
        if (most == RECORD_PIECES_MAX || n_pieces < most)
            break;
    }
    *n -= left;
    return used;
}

int channel_seal_queue(struct channel *c, struct bufq *plain, size_t out_max) {
    struct iovec pieces[RECORD_PIECES_MAX + 1];
    if (c->broken || c->sent_close)
        return TLS_BROKEN;
    while (plain->n_bytes) {
        if (c->out->n_bytes >= out_max)
            return TLS_WANT_OUTPUT;
        size_t n = min_of(plain->n_bytes, (size_t)RECORD_PLAIN_MAX);
        unsigned n_pieces = channel_pieces(plain, pieces, &n);
        int r = send_data(c, pieces, n_pieces, n);
        if (r)
            return r;
        bufq_consume(plain, n);
    }
    return TLS_DONE;
}

int channel_close(struct channel *c) {
    if (c->broken)
        return TLS_BROKEN;
    if (c->sent_close)
        return TLS_DONE;
    if (!send_small(c, RECORD_ALERT, (uint8_t[]){ALERT_WARNING, ALERT_CLOSE_NOTIFY}, ALERT_BYTES))
        return TLS_WANT_OUTPUT;
    c->sent_close = true;
    return TLS_DONE;
}
