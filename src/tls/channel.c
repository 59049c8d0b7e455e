/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/channel.c - see channel.h
 *
 * A record is decrypted from wherever its pieces lie in `in` to one place: the caller's, when there is room for all of it, else a
 * chunk of `in`'s pool that the channel keeps while records come. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/secret.h>
#include <ringwall/tls/session.h>

#include "channel.h"
#include "session_private.h"

enum {
    MESSAGES_MAX = 32, /* KeyUpdates and tickets without data between them */
    EMPTY_MAX = 32,    /* records without data, in a row */
    TICKET_BYTES_MAX = 32 * 1024,
    REPLY_BACKLOG_MAX = 1024, /* while more waits in `out`, an answer to a KeyUpdate waits for the next data */
};
enum { MESSAGE_SESSION_TICKET = 4, MESSAGE_KEY_UPDATE = 24, MESSAGE_HEAD_BYTES = 4 };
enum { KEY_UPDATE_BYTES = MESSAGE_HEAD_BYTES + 1, KEY_UPDATE_REQUESTED = 1 };
enum { ALERT_BYTES = 2, ALERT_WARNING = 1, ALERT_FATAL = 2 };
/* Alerts of RFC 8446 6. */
enum {
    ALERT_CLOSE_NOTIFY = 0,
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_BAD_RECORD_MAC = 20,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_ILLEGAL_PARAMETER = 47,
    ALERT_DECODE_ERROR = 50,
    ALERT_PROTOCOL_VERSION = 70,
    ALERT_INTERNAL_ERROR = 80,
};

_Static_assert((int)RECORD_PLAIN_MAX + (int)RECORD_OVERHEAD <= (int)BUF_CHUNK_BYTES, "what we seal fits a chunk");
_Static_assert((int)RECORD_BODY_MAX <= (int)BUF_CHUNK_BYTES, "what we open fits a chunk");

/* A handshake message on its way, over as many records as it likes. */
struct message {
    uint8_t n_head, head[MESSAGE_HEAD_BYTES];
    uint8_t last; /* byte of its body */
    uint32_t n_left;
};

struct channel {
    struct record_way ours, theirs; /* what we seal, what we open */
    struct bufq *in, *out;
    uint64_t key_records_max;
    const char *error;
    struct buf_chunk *chunk; /* decrypted; NULL while nothing comes */
    uint32_t chunk_n;        /* bytes of it that are given out or were */
    uint32_t left_n;         /* the last ones, which channel_open has still to hand out */
    bool is_client, broken, sent_close, got_close, answer_owed;
    uint8_t n_messages, n_empty;
    struct message message;
};

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

/* ---- sealing ---- */

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

/* Says why and ends it: nothing goes out after that. */
static int fail(struct channel *c, int alert, const char *error) {
    if (!c->broken && !c->sent_close && c->ours.key.rounds && alert >= 0)
        ignore_result(send_small(c, RECORD_ALERT, (uint8_t[]){ALERT_FATAL, (uint8_t)alert}, ALERT_BYTES)); /* no room: the peer
                                                                                                            sees a close */
    c->broken = true;
    c->error = error;
    c->left_n = 0;
    c->chunk = buf_chunk_unref(c->chunk);
    return TLS_BROKEN;
}

static int fail_by_us(struct channel *c, int r) {
    return fail(c, ALERT_INTERNAL_ERROR, r == -ENOMEM ? "TLS memory limit reached" : "cryptography failed");
}

/* Our next key, told under the one before. TLS_WANT_OUTPUT: no room to tell. */
static int renew_ours(struct channel *c) {
    uint8_t update[KEY_UPDATE_BYTES] = {MESSAGE_KEY_UPDATE, 0, 0, 1, 0};
    if (!send_small(c, RECORD_HANDSHAKE, update, sizeof(update)))
        return TLS_WANT_OUTPUT;
    c->answer_owed = false;
    int r = record_way_update(&c->ours);
    return r ? fail_by_us(c, r) : TLS_DONE;
}

/* One record of data, whose pieces hold n. */
static int send_data(struct channel *c, struct iovec *pieces, unsigned n_pieces, size_t n) {
    if (c->answer_owed || c->ours.n_records >= c->key_records_max) {
        int r = renew_ours(c);
        if (r)
            return r;
    }
    return send_whole(c, RECORD_DATA, pieces, n_pieces, n) ? TLS_DONE : TLS_WANT_OUTPUT;
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

/* How many pieces hold n bytes, the last one cut to fit; n gets what they hold. */
static unsigned cut_pieces(struct iovec *pieces, unsigned n_pieces, size_t *n) {
    size_t left = *n;
    unsigned i = 0;
    for (; i < n_pieces && left; i++) {
        pieces[i].iov_len = min_of(pieces[i].iov_len, left);
        left -= pieces[i].iov_len;
    }
    *n -= left;
    return i;
}

int channel_seal_queue(struct channel *c, struct bufq *plain, size_t out_max) {
    struct iovec pieces[RECORD_PIECES_MAX + 1];
    if (c->broken || c->sent_close)
        return TLS_BROKEN;
    while (plain->n_bytes) {
        if (c->out->n_bytes >= out_max)
            return TLS_WANT_OUTPUT;
        size_t n = min_of(plain->n_bytes, (size_t)RECORD_PLAIN_MAX);
        unsigned n_pieces = cut_pieces(pieces, bufq_iov(plain, pieces, RECORD_PIECES_MAX), &n);
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

/* ---- what is no data ---- */

/* A peer that has closed its ear still gets no answer too many: one is owed at most, and it waits for room. */
static int answer(struct channel *c) {
    if (!c->answer_owed || c->sent_close || c->out->n_bytes > REPLY_BACKLOG_MAX)
        return TLS_DONE;
    int r = renew_ours(c);
    return r == TLS_WANT_OUTPUT ? TLS_DONE : r;
}

static int message_begins(struct channel *c) {
    const uint8_t *head = c->message.head;
    uint32_t n = (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
    bool is_ticket = head[0] == MESSAGE_SESSION_TICKET && c->is_client; /* servers send them unasked */
    if (!is_ticket && head[0] != MESSAGE_KEY_UPDATE)
        return fail(c, ALERT_UNEXPECTED_MESSAGE, "handshake message after the handshake");
    if (is_ticket ? n > TICKET_BYTES_MAX : n != 1)
        return fail(c, ALERT_DECODE_ERROR, is_ticket ? "session ticket is too long" : "malformed KeyUpdate");
    if (c->n_messages++ >= MESSAGES_MAX)
        return fail(c, ALERT_UNEXPECTED_MESSAGE, "too many KeyUpdates or session tickets");
    c->message.n_left = n;
    return TLS_DONE;
}

/* n_behind: bytes that follow in its record. */
static int message_ends(struct channel *c, size_t n_behind) {
    struct message m = c->message;
    c->message = (struct message){0};
    if (m.head[0] != MESSAGE_KEY_UPDATE)
        return TLS_DONE;
    if (m.last > KEY_UPDATE_REQUESTED)
        return fail(c, ALERT_ILLEGAL_PARAMETER, "malformed KeyUpdate");
    if (n_behind)
        return fail(c, ALERT_UNEXPECTED_MESSAGE, "KeyUpdate is not the last of its record");
    int r = record_way_update(&c->theirs);
    if (r)
        return fail_by_us(c, r);
    c->answer_owed |= m.last == KEY_UPDATE_REQUESTED && !c->sent_close;
    return answer(c);
}

static int take_messages(struct channel *c, const uint8_t *at, size_t n) {
    struct message *m = &c->message;
    if (n == 0)
        return fail(c, ALERT_UNEXPECTED_MESSAGE, "empty handshake record");
    int r = TLS_DONE;
    while (n && r == TLS_DONE) {
        if (m->n_head < MESSAGE_HEAD_BYTES) {
            m->head[m->n_head++] = *at++;
            n--;
            if (m->n_head < MESSAGE_HEAD_BYTES)
                continue;
            r = message_begins(c);
        } else {
            size_t n_now = min_of(n, (size_t)m->n_left);
            m->last = at[n_now - 1];
            m->n_left -= (uint32_t)n_now;
            at += n_now;
            n -= n_now;
        }
        if (r == TLS_DONE && m->n_left == 0)
            r = message_ends(c, n);
    }
    return r;
}

static int take_alert(struct channel *c, const uint8_t *at, size_t n) {
    if (n != ALERT_BYTES)
        return fail(c, ALERT_DECODE_ERROR, "malformed alert");
    if (at[1] == ALERT_CLOSE_NOTIFY) {
        c->got_close = true;
        return TLS_CLOSED;
    }
    return fail(c, -1, alert_text(at[1]));
}

/* TLS_DONE with n == 0: there was nothing for the caller in it. */
static int take_inner(struct channel *c, uint8_t type, const uint8_t *at, size_t n) {
    switch (type) {
    case RECORD_DATA:
        if (c->message.n_head)
            return fail(c, ALERT_UNEXPECTED_MESSAGE, "data inside a handshake message");
        if (n)
            c->n_messages = c->n_empty = 0;
        else if (c->n_empty++ >= EMPTY_MAX)
            return fail(c, ALERT_UNEXPECTED_MESSAGE, "too many empty records");
        return TLS_DONE;
    case RECORD_HANDSHAKE:
        return take_messages(c, at, n);
    case RECORD_ALERT:
        return take_alert(c, at, n);
    default:
        return fail(c, ALERT_UNEXPECTED_MESSAGE, type ? "record of an unknown type" : "record without a type");
    }
}

/* ---- opening ---- */

/* A record at the head of `in`: its header, and the pieces in which it lies, as far as there is room for them. */
struct found {
    uint8_t header[RECORD_HEADER_BYTES];
    size_t n_body;
    unsigned n_pieces;
    struct iovec pieces[RECORD_PIECES_MAX];
};

/* n bytes of the pieces, from the skip'th on. */
static void copy_pieces(const struct iovec *pieces, size_t skip, uint8_t *to, size_t n) {
    for (; pieces->iov_len <= skip; pieces++)
        skip -= pieces->iov_len;
    for (; n; pieces++, skip = 0) {
        size_t n_now = min_of(n, pieces->iov_len - skip);
        memcpy(to, (const uint8_t *)pieces->iov_base + skip, n_now);
        to += n_now;
        n -= n_now;
    }
}

/* TLS_DONE: it is there whole. */
static int find_record(struct channel *c, struct found *f) {
    if (c->in->n_bytes < RECORD_HEADER_BYTES)
        return TLS_WANT_INPUT;
    f->n_pieces = bufq_iov(c->in, f->pieces, RECORD_PIECES_MAX); /* none is empty: the header lies in five at most */
    copy_pieces(f->pieces, 0, f->header, RECORD_HEADER_BYTES);
    f->n_body = (size_t)f->header[3] << 8 | f->header[4];
    if (f->header[0] != RECORD_DATA)
        return fail(c, ALERT_UNEXPECTED_MESSAGE, "record in the clear after the handshake");
    if (f->header[1] != 3 || f->header[2] != 3)
        return fail(c, ALERT_PROTOCOL_VERSION, "record of another version");
    if (f->n_body > RECORD_BODY_MAX)
        return fail(c, ALERT_RECORD_OVERFLOW, "record is too long");
    if (f->n_body < GCM_TAG_BYTES)
        return fail(c, ALERT_BAD_RECORD_MAC, "record is too short");
    return c->in->n_bytes < RECORD_HEADER_BYTES + f->n_body ? TLS_WANT_INPUT : TLS_DONE;
}

/* Decrypts all but the tag to `to` and takes the record from `in`. */
static bool open_found(struct channel *c, struct found *f, uint8_t *to, uint8_t *ret_type, size_t *ret_n) {
    uint8_t tag[GCM_TAG_BYTES];
    size_t n_record = RECORD_HEADER_BYTES + f->n_body, n_text = f->n_body - GCM_TAG_BYTES, n = n_record;
    f->n_pieces = cut_pieces(f->pieces, f->n_pieces, &n);
    if (n < n_record) { /* crumbs: joined, then in place */
        bufq_consume(c->in, RECORD_HEADER_BYTES);
        struct iovec all = {.iov_base = to, .iov_len = bufq_read(c->in, to, n_text)};
        bufq_read(c->in, tag, sizeof(tag));
        return record_open(&c->theirs, f->header, &all, 1, tag, to, ret_type, ret_n);
    }
    copy_pieces(f->pieces, RECORD_HEADER_BYTES + n_text, tag, sizeof(tag));
    struct iovec *text = f->pieces;
    size_t n_header = RECORD_HEADER_BYTES;
    for (; text->iov_len <= n_header; text++)
        n_header -= text->iov_len;
    text->iov_base = (uint8_t *)text->iov_base + n_header;
    text->iov_len -= n_header;
    unsigned n_pieces = cut_pieces(text, f->n_pieces - (unsigned)(text - f->pieces), &n_text);
    bool good = record_open(&c->theirs, f->header, text, n_pieces, tag, to, ret_type, ret_n);
    bufq_consume(c->in, n_record);
    return good;
}

/* TLS_DONE: *ret_n bytes of data are at `to`; with 0 go on. */
static int take_record(struct channel *c, struct found *f, uint8_t *to, size_t *ret_n) {
    uint8_t type = 0;
    size_t n = 0;
    if (!open_found(c, f, to, &type, &n))
        return fail(c, ALERT_BAD_RECORD_MAC, "record does not decrypt");
    if (n > RECORD_PLAIN_MAX || f->n_body - GCM_TAG_BYTES > RECORD_INNER_MAX)
        return fail(c, ALERT_RECORD_OVERFLOW, "record is too long");
    int r = take_inner(c, type, to, n);
    *ret_n = r == TLS_DONE && type == RECORD_DATA ? n : 0;
    return r;
}

/* Room for n bytes in our chunk; what nobody holds any more is written over. */
static uint8_t *chunk_room(struct channel *c, size_t n) {
    if (c->chunk && !buf_chunk_is_shared(c->chunk))
        c->chunk_n = 0;
    if (!c->chunk || BUF_CHUNK_BYTES - c->chunk_n < n) {
        struct buf_chunk *fresh = buf_chunk_acquire(c->in->pool);
        if (!fresh)
            return NULL;
        buf_chunk_unref(c->chunk);
        c->chunk = fresh;
        c->chunk_n = 0;
    }
    return buf_chunk_bytes(c->chunk) + c->chunk_n;
}

/* What goes before each look at `in`. */
static int next_record(struct channel *c, struct found *f) {
    if (c->broken || c->got_close)
        return c->broken ? TLS_BROKEN : TLS_CLOSED;
    int r = answer(c);
    if (!r)
        r = find_record(c, f);
    if (r) /* an idle channel keeps no buffer */
        c->chunk = buf_chunk_unref(c->chunk);
    return r;
}

static int into_chunk(struct channel *c, struct found *f, size_t *ret_n) {
    uint8_t *to = chunk_room(c, max_of(f->n_body - GCM_TAG_BYTES, (size_t)1));
    if (!to)
        return TLS_WANT_OUTPUT; /* the pool is used up, by what is in queues like `out` */
    int r = take_record(c, f, to, ret_n);
    if (r == TLS_DONE)
        c->chunk_n += (uint32_t)*ret_n;
    return r;
}

int channel_open_record(struct channel *c, struct buf_chunk **ret_chunk, const uint8_t **ret_at, size_t *ret_n) {
    struct found f;
    size_t n = c->left_n;
    c->left_n = 0;
    while (n == 0) {
        int r = next_record(c, &f);
        if (!r)
            r = into_chunk(c, &f, &n);
        if (r)
            return r;
    }
    *ret_chunk = c->chunk;
    *ret_at = buf_chunk_bytes(c->chunk) + c->chunk_n - n;
    *ret_n = n;
    return TLS_DONE;
}

static size_t hand_out(struct channel *c, uint8_t *to, size_t cap) {
    size_t n = min_of(cap, (size_t)c->left_n);
    memcpy(to, buf_chunk_bytes(c->chunk) + c->chunk_n - c->left_n, n);
    c->left_n -= (uint32_t)n;
    return n;
}

int channel_open(struct channel *c, uint8_t *to, size_t cap, size_t *ret_n) {
    struct found f;
    size_t n = 0;
    while (c->left_n == 0) {
        int r = next_record(c, &f);
        if (!r && f.n_body - GCM_TAG_BYTES <= cap) {
            r = take_record(c, &f, to, &n);
            if (!r && n) {
                *ret_n = n;
                return TLS_DONE;
            }
        } else if (!r) {
            r = into_chunk(c, &f, &n);
            c->left_n = r ? 0 : (uint32_t)n;
        }
        if (r)
            return r;
    }
    *ret_n = hand_out(c, to, cap);
    return TLS_DONE;
}
