/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/channel.h - an open TLS 1.3 session: both directions of records, and what may come between the data (private to the room)
 *
 * The library makes the handshake and gives the traffic secrets; from there on it is not needed (RFC 8446 4.6, 5, 6). Data, alerts
 * that end it, KeyUpdate both ways; session tickets are skipped. Nothing waits, nothing is asked of the clock.
 * Invariants: a record is in `out` whole or not at all. Before a record is taken from `in` it is there whole. Nothing is sealed
 * after an alert of ours. No key seals more than CHANNEL_KEY_RECORDS records.
 * Bounds on a peer: empty records, and messages without data between them, are counted; a few KeyUpdates are answered at once,
 * then one answer stands for all until we have data to send. */
#pragma once

#include <ringwall/base/buf.h>

#include "record.h"

/* RFC 8446 5.5 allows 2^24.5 full records of a key. */
enum { CHANNEL_KEY_RECORDS = 1 << 23 };

struct channel;

struct channel *channel_new(bool is_client, struct bufq *in, struct bufq *out); /* NULL: no memory */
struct channel *channel_free(struct channel *c);                                /* wipes */
DEFINE_FREEP(struct channel, channel_free)

/* As the handshake makes them. false: not a length of ours. */
bool channel_secret(struct channel *c, bool of_client, const uint8_t *secret, size_t n) must_check;
/* 1: the secrets have not all come, or are not the suite's; -ENOMEM. */
int channel_begin(struct channel *c, enum record_suite suite, enum gcm_path path) must_check;

/* As tls/session.h says; TLS_BROKEN is for good. */
int channel_open(struct channel *c, uint8_t *to, size_t cap, size_t *ret_n) must_check;
int channel_open_record(struct channel *c, struct buf_chunk **ret_chunk, const uint8_t **ret_at, size_t *ret_n) must_check;
int channel_seal(struct channel *c, const uint8_t *bytes, size_t n, size_t *ret_taken) must_check;
int channel_seal_queue(struct channel *c, struct bufq *plain, size_t out_max) must_check;
int channel_close(struct channel *c) must_check;
const char *channel_error(const struct channel *c); /* after TLS_BROKEN; NULL: our own doing */

void channel_limit(struct channel *c, uint64_t key_records); /* for tests: KeyUpdates come sooner */
