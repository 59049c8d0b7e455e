/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/buf.h - byte queues over reference-counted chunks from a bounded per-thread pool
 *
 * A queue is a list of slices, each a piece of a chunk. Bytes are copied into a queue, or join it as a slice of the chunk in
 * which they already lie (a receive buffer, a decrypted record); from queue to queue they move without a copy. A chunk goes back
 * to its pool with the last reference to it.
 * A slice pins its whole chunk. So that a few bytes which nobody takes cannot hold much memory, few bytes are always copied, and so
 * are all when the pool is nearly used up. A queue without bytes owns nothing. Single owner (one worker). */
#pragma once

#include <ringwall/base/defs.h>

enum {
    BUF_CHUNK_BYTES = 16 * 1024 + 512, /* payload of a chunk: one full TLS record and its overhead fit */
    BUF_SHARE_MIN = 4 * 1024, /* fewer bytes are copied rather than shared: a chunk is pinned for a quarter of it at least */
};

struct buf_pool;
struct buf_chunk;
struct buf_slice;
struct bufq {
    struct buf_pool *pool;
    struct buf_slice *head, *tail; /* NULL: empty */
    struct buf_chunk *writing;     /* where copied bytes go next; NULL: a fresh one */
    size_t n_bytes;
};

struct buf_pool *buf_pool_new(size_t n_chunks_max); /* address space reserved, pages on first touch; NULL: failed */
struct buf_pool *buf_pool_free(struct buf_pool *p); /* all chunks must be back */
DEFINE_FREEP(struct buf_pool, buf_pool_free)
size_t buf_pool_used(const struct buf_pool *p); /* chunks */
size_t buf_pool_max(const struct buf_pool *p);
void buf_pool_trim(struct buf_pool *p);
bool buf_pool_trim_unused(struct buf_pool *p); /* as pool_trim_unused */

/* Chunks by themselves, for whoever fills them in other ways: the ring's receive buffers, decrypted records. */
struct buf_chunk *buf_chunk_acquire(struct buf_pool *p); /* with one reference; NULL at the pool's bound */
struct buf_chunk *buf_chunk_ref(struct buf_chunk *c);
struct buf_chunk *buf_chunk_unref(struct buf_chunk *c); /* may be NULL; returns NULL */
uint8_t *buf_chunk_bytes(const struct buf_chunk *c);    /* BUF_CHUNK_BYTES of them */
bool buf_chunk_is_shared(const struct buf_chunk *c);    /* there are more references than one */

void bufq_init(struct bufq *q, struct buf_pool *pool);
void bufq_deinit(struct bufq *q); /* releases all chunks; q stays usable, empty */
/* Space to write at the tail, at least 1 byte. Returns NULL at the pool's bound. The space stays where it is until
 * bufq_commit (0 when nothing came), however much is consumed meanwhile; nothing else may be added to q until then. */
uint8_t *bufq_reserve(struct bufq *q, size_t *ret_n);
/* As bufq_reserve with at least n contiguous bytes (n <= BUF_CHUNK_BYTES). */
uint8_t *bufq_reserve_n(struct bufq *q, size_t n);
void bufq_commit(struct bufq *q, size_t n); /* n <= what reserve gave; cannot fail */
int bufq_append(struct bufq *q, const void *bytes,
                size_t n) must_check; /* 0, or 1 when the pool is at its bound: nothing appended */
/* Bytes that lie in a chunk of q's pool: by reference when that pays, else as bufq_append. chunk NULL: not in a chunk. Whoever
 * writes to the chunk later must leave these bytes alone. */
int bufq_append_shared(struct bufq *q, struct buf_chunk *chunk, const uint8_t *bytes, size_t n) must_check;
const uint8_t *bufq_peek(const struct bufq *q, size_t *ret_n); /* contiguous bytes at the head; NULL when empty */
void bufq_consume(struct bufq *q, size_t n);                   /* n <= q->n_bytes */
size_t bufq_read(struct bufq *q, void *to, size_t n);          /* copies and consumes up to n */
void bufq_move(struct bufq *to, struct bufq *from);            /* all of from to the tail of to; same pool; no copy */
/* The first up to n bytes; returns how many: fewer than there are only at the pool's bound. */
size_t bufq_move_n(struct bufq *to, struct bufq *from, size_t n);
/* Fills iov with up to n_max head pieces; returns how many. The bytes stay queued. */
struct iovec;
unsigned bufq_iov(const struct bufq *q, struct iovec *iov, unsigned n_max);
