/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/buf.h - byte queues made of fixed chunks from a bounded per-thread pool
 *
 * A bufq without bytes owns no chunk, so an idle connection costs no buffer. Single owner (one worker). */
#pragma once

#include <ringwall/base/defs.h>

enum { BUF_CHUNK_BYTES = 16 * 1024 + 512 }; /* payload of a chunk: one full TLS record and its overhead fit */

struct buf_pool;
struct buf_chunk;
struct bufq {
    struct buf_pool *pool;
    struct buf_chunk *head, *tail; /* NULL: empty */
    size_t n_bytes;
};

struct buf_pool *buf_pool_new(size_t n_chunks_max); /* address space reserved, pages on first touch; NULL: failed */
struct buf_pool *buf_pool_free(struct buf_pool *p); /* all chunks must be back */
DEFINE_FREEP(struct buf_pool, buf_pool_free)
size_t buf_pool_used(const struct buf_pool *p); /* chunks */
size_t buf_pool_max(const struct buf_pool *p);
void buf_pool_trim(struct buf_pool *p);

void bufq_init(struct bufq *q, struct buf_pool *pool);
void bufq_deinit(struct bufq *q); /* releases all chunks; q stays usable, empty */
/* Space to write at the tail, at least 1 byte. Returns NULL at the pool's bound. The space stays where it is until
 * bufq_commit (0 when nothing came), however much is consumed meanwhile; nothing else may be added to q until then. */
uint8_t *bufq_reserve(struct bufq *q, size_t *ret_n);
/* As bufq_reserve with at least n contiguous bytes (n <= BUF_CHUNK_BYTES). */
uint8_t *bufq_reserve_n(struct bufq *q, size_t n);
void bufq_commit(struct bufq *q, size_t n); /* n <= what reserve gave */
int bufq_append(struct bufq *q, const void *bytes,
                size_t n) must_check;                          /* 0, or 1 when the pool is at its bound: nothing appended */
const uint8_t *bufq_peek(const struct bufq *q, size_t *ret_n); /* contiguous bytes at the head; NULL when empty */
void bufq_consume(struct bufq *q, size_t n);                   /* n <= q->n_bytes */
size_t bufq_read(struct bufq *q, void *to, size_t n);          /* copies and consumes up to n */
void bufq_move(struct bufq *to, struct bufq *from);            /* all of from to the tail of to; same pool; no copy */
/* Fills iov with up to n_max head pieces; returns how many. The bytes stay queued. */
struct iovec;
unsigned bufq_iov(const struct bufq *q, struct iovec *iov, unsigned n_max);
