/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/grpc_frame.h - messages in a stream of bytes (one flag byte, four of length, then the message), read and queued
 *
 * Reading: a message that lies whole in what came is shown in place; else it is collected in a buffer that grows with what has
 * come, never to the length announced. Writing: whole messages wait in order; what is freed is wiped. */
#pragma once

#include <ringwall/base/list.h>
#include <ringwall/base/secret.h>

enum { GRPC_PREFIX_BYTES = 5 };

struct grpc_reader {
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t n_prefix;
    uint32_t length; /* of the message being read, once the prefix is whole */
    uint32_t max;
    uint8_t *bytes; /* NULL: nothing collected */
    size_t n, cap;
};
enum grpc_read {
    GRPC_READ_MORE, /* all input taken, no message complete */
    GRPC_READ_MESSAGE,
    GRPC_READ_TOO_LARGE,
    GRPC_READ_COMPRESSED,
    GRPC_READ_FLAG, /* neither plain nor compressed */
    GRPC_READ_NO_MEMORY,
};
void grpc_reader_init(struct grpc_reader *r, uint32_t max);
void grpc_reader_deinit(struct grpc_reader *r);
/* Takes from *bytes, *n. MESSAGE: ret_bytes, ret_n until the next call; call again for the rest. The verdicts after MESSAGE end
 * the stream. */
enum grpc_read grpc_reader_take(struct grpc_reader *r, const uint8_t **bytes, size_t *n, const uint8_t **ret_bytes, size_t *ret_n);
bool grpc_reader_between(const struct grpc_reader *r); /* no message is half read */

struct grpc_queue {
    struct list blocks;
    size_t n_bytes; /* with prefixes, not yet pulled */
};
void grpc_queue_init(struct grpc_queue *q);
void grpc_queue_deinit(struct grpc_queue *q);
int grpc_queue_add(struct grpc_queue *q, const uint8_t *bytes, size_t n) must_check; /* -ENOMEM */
int grpc_queue_add_secret(struct grpc_queue *q, struct secret *message) must_check;  /* takes it on success */
size_t grpc_queue_pull(struct grpc_queue *q, uint8_t *to, size_t cap);
