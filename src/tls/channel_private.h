/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/channel_private.h - what both directions of a channel share: channel.c seals, channel_in.c opens */
#pragma once

#include <sys/uio.h>

#include <ringwall/tls/session.h>

#include "channel.h"

/* Alerts of RFC 8446 6. */
enum {
    ALERT_NONE = -1,
    ALERT_CLOSE_NOTIFY = 0,
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_BAD_RECORD_MAC = 20,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_ILLEGAL_PARAMETER = 47,
    ALERT_DECODE_ERROR = 50,
    ALERT_PROTOCOL_VERSION = 70,
    ALERT_INTERNAL_ERROR = 80,
};

enum { ALERT_BYTES = 2 };
enum { MESSAGE_SESSION_TICKET = 4, MESSAGE_KEY_UPDATE = 24, MESSAGE_HEAD_BYTES = 4 };

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
    uint8_t n_messages, n_empty, n_answers;
    struct message message;
};

/* Says why and ends it: nothing goes out after that. TLS_BROKEN. */
int channel_fail(struct channel *c, int alert, const char *error);
int channel_fail_by_us(struct channel *c, int r);
/* Our next key, told under the one before. TLS_WANT_OUTPUT: no room to tell. */
int channel_renew(struct channel *c) must_check;
/* The first *n bytes of q as they lie; *n gets fewer where these lie in more than RECORD_PIECES_MAX pieces. */
unsigned channel_pieces(const struct bufq *q, struct iovec pieces[RECORD_PIECES_MAX], size_t *n);
