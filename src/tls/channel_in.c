/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/channel_in.c - see channel.h: what comes in
 *
 * A record is decrypted from wherever its pieces lie in `in` to one place: the caller's, when there is room for all of it, else a
 * chunk of `in`'s pool that the channel keeps while records come. */
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/check.h>

#include "channel_private.h"
#include "session_private.h"

enum {
    MESSAGES_MAX = 32, /* KeyUpdates and tickets without data between them */
    EMPTY_MAX = 32,    /* records without data, in a row */
    TICKET_BYTES_MAX = 32 * 1024,
    ANSWERS_MAX = 8, /* to KeyUpdates, without data of ours between them: a peer may count them as we do */
};
enum { KEY_UPDATE_REQUESTED = 1 };

_Static_assert((int)RECORD_BODY_MAX <= (int)BUF_CHUNK_BYTES, "what we open fits a chunk");

/* ---- what is no data ---- */

/* One answer stands for all that were asked for, and it may wait for our next data (RFC 8446 4.6.3). */
static int answer(struct channel *c) {
    if (!c->answer_owed || c->sent_close || c->n_answers >= ANSWERS_MAX)
        return TLS_DONE;
    int r = channel_renew(c);
    if (r == TLS_DONE)
        c->n_answers++;
    return r == TLS_WANT_OUTPUT ? TLS_DONE : r;
}

static int message_begins(struct channel *c) {
    const uint8_t *head = c->message.head;
    uint32_t n = (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
    bool is_ticket = head[0] == MESSAGE_SESSION_TICKET && c->is_client; /* servers send them unasked */
    if (!is_ticket && head[0] != MESSAGE_KEY_UPDATE)
        return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, "handshake message after the handshake");
    if (is_ticket ? n > TICKET_BYTES_MAX : n != 1)
        return channel_fail(c, ALERT_DECODE_ERROR, is_ticket ? "session ticket is too long" : "malformed KeyUpdate");
    if (c->n_messages++ >= MESSAGES_MAX)
        return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, "too many KeyUpdates or session tickets");
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
        return channel_fail(c, ALERT_ILLEGAL_PARAMETER, "malformed KeyUpdate");
    if (n_behind)
        return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, "KeyUpdate is not the last of its record");
    int r = record_way_update(&c->theirs);
    if (r)
        return channel_fail_by_us(c, r);
    c->answer_owed |= m.last == KEY_UPDATE_REQUESTED && !c->sent_close;
    return answer(c);
}

static int take_messages(struct channel *c, const uint8_t *at, size_t n) {
    struct message *m = &c->message;
    if (n == 0)
        return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, "empty handshake record");
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
        return channel_fail(c, ALERT_DECODE_ERROR, "malformed alert");
    if (at[1] == ALERT_CLOSE_NOTIFY) {
        c->got_close = true;
        return TLS_CLOSED;
    }
    return channel_fail(c, ALERT_NONE, alert_text(at[1]));
}

/* TLS_DONE with n == 0: there was nothing for the caller in it. */
static int take_inner(struct channel *c, uint8_t type, const uint8_t *at, size_t n) {
    switch (type) {
    case RECORD_DATA:
        if (c->message.n_head)
            return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, "data inside a handshake message");
        if (n)
            c->n_messages = c->n_empty = 0;
        else if (c->n_empty++ >= EMPTY_MAX)
            return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, "too many empty records");
        return TLS_DONE;
    case RECORD_HANDSHAKE:
        return take_messages(c, at, n);
    case RECORD_ALERT:
        return take_alert(c, at, n);
    default:
        return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, type ? "record of an unknown type" : "record without a type");
    }
}

/* ---- opening ---- */

/* A record at the head of `in`. */
struct found {
    uint8_t header[RECORD_HEADER_BYTES];
    size_t n_body;
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
    struct iovec pieces[RECORD_PIECES_MAX];
    size_t n = RECORD_HEADER_BYTES;
    if (c->in->n_bytes < n)
        return TLS_WANT_INPUT;
    channel_pieces(c->in, pieces, &n);
    copy_pieces(pieces, 0, f->header, n);
    f->n_body = (size_t)f->header[3] << 8 | f->header[4];
    if (f->header[0] != RECORD_DATA)
        return channel_fail(c, ALERT_UNEXPECTED_MESSAGE, "record in the clear after the handshake");
    if (f->header[1] != 3 || f->header[2] != 3)
        return channel_fail(c, ALERT_PROTOCOL_VERSION, "record of another version");
    if (f->n_body > RECORD_BODY_MAX)
        return channel_fail(c, ALERT_RECORD_OVERFLOW, "record is too long");
    if (f->n_body < GCM_TAG_BYTES)
        return channel_fail(c, ALERT_BAD_RECORD_MAC, "record is too short");
    return c->in->n_bytes < n + f->n_body ? TLS_WANT_INPUT : TLS_DONE;
}

/* Decrypts all but the tag to `to` and takes the record from `in`. */
static bool open_found(struct channel *c, const struct found *f, uint8_t *to, uint8_t *ret_type, size_t *ret_n) {
    struct iovec pieces[RECORD_PIECES_MAX];
    uint8_t tag[GCM_TAG_BYTES];
    size_t n_text = f->n_body - GCM_TAG_BYTES, n_record = RECORD_HEADER_BYTES + f->n_body, n = n_record;
    unsigned n_pieces = channel_pieces(c->in, pieces, &n), i = 0;
    if (n < n_record) { /* crumbs: joined, then in place */
        bufq_consume(c->in, RECORD_HEADER_BYTES);
        pieces[0] = (struct iovec){.iov_base = to, .iov_len = bufq_read(c->in, to, n_text)};
        bufq_read(c->in, tag, sizeof(tag));
        return record_open(&c->theirs, f->header, pieces, 1, tag, to, ret_type, ret_n);
    }
    copy_pieces(pieces, RECORD_HEADER_BYTES + n_text, tag, sizeof(tag));
    size_t n_header = RECORD_HEADER_BYTES, n_tag = sizeof(tag);
    for (; pieces[i].iov_len <= n_header; i++)
        n_header -= pieces[i].iov_len;
    pieces[i].iov_base = (uint8_t *)pieces[i].iov_base + n_header;
    pieces[i].iov_len -= n_header;
    for (; pieces[n_pieces - 1].iov_len <= n_tag && n_pieces - 1 > i; n_pieces--)
        n_tag -= pieces[n_pieces - 1].iov_len;
    pieces[n_pieces - 1].iov_len -= n_tag;
    bool good = record_open(&c->theirs, f->header, pieces + i, n_pieces - i, tag, to, ret_type, ret_n);
    bufq_consume(c->in, n_record);
    return good;
}

/* TLS_DONE: *ret_n bytes of data are at `to`; with 0 go on. */
static int take_record(struct channel *c, struct found *f, uint8_t *to, size_t *ret_n) {
    uint8_t type = 0;
    size_t n = 0;
    if (!open_found(c, f, to, &type, &n))
        return channel_fail(c, ALERT_BAD_RECORD_MAC, "record does not decrypt");
    if (n > RECORD_PLAIN_MAX || f->n_body - GCM_TAG_BYTES > RECORD_INNER_MAX)
        return channel_fail(c, ALERT_RECORD_OVERFLOW, "record is too long");
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
