/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/buf.c - see buf.h
 *
 * Payloads lie packed in one region, their headers in another, so an overrun cannot reach a link and trimming drops
 * pages of payload only. A reservation may be outstanding (the kernel writes into it) while bytes before it are
 * consumed: a reserved chunk is never released by bufq_consume. */
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/check.h>

#include "region.h"
#include "sanitize.h"

struct buf_chunk {
    struct buf_chunk *next, *prev; /* in a queue; next alone in the free list */
    uint32_t start, end;           /* bytes [start, end) are queued */
    bool acquired, reserved;
};

struct buf_pool {
    uint8_t *payloads;
    struct buf_chunk *chunks;
    size_t n_max, n_used;
    size_t n_touched; /* chunks [n_touched, n_max) hold no memory */
    struct buf_chunk *first_free;
};

struct buf_pool *buf_pool_new(size_t n_chunks_max) {
    check(n_chunks_max > 0);
    if (n_chunks_max > SIZE_MAX / 4 / BUF_CHUNK_BYTES)
        return NULL;
    cleanup(buf_pool_freep) struct buf_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->n_max = n_chunks_max;
    p->payloads = region_map(n_chunks_max * BUF_CHUNK_BYTES);
    p->chunks = p->payloads ? region_map(n_chunks_max * sizeof(*p->chunks)) : NULL;
    return p->chunks ? take_ptr(p) : NULL;
}

struct buf_pool *buf_pool_free(struct buf_pool *p) {
    if (!p)
        return NULL;
    check(p->n_used == 0);
    if (p->payloads)
        sanitize_unpoison(p->payloads, p->n_touched * BUF_CHUNK_BYTES);
    region_unmap(p->payloads, p->n_max * BUF_CHUNK_BYTES);
    region_unmap(p->chunks, p->n_max * sizeof(*p->chunks));
    free(p);
    return NULL;
}

size_t buf_pool_used(const struct buf_pool *p) { return p->n_used; }
size_t buf_pool_max(const struct buf_pool *p) { return p->n_max; }

static uint8_t *payload(const struct buf_pool *p, const struct buf_chunk *c) {
    return p->payloads + (size_t)(c - p->chunks) * BUF_CHUNK_BYTES;
}

void buf_pool_trim(struct buf_pool *p) {
    while (p->n_touched > 0 && !p->chunks[p->n_touched - 1].acquired) {
        p->n_touched--;
        sanitize_unpoison(payload(p, &p->chunks[p->n_touched]), BUF_CHUNK_BYTES);
    }
    region_discard(payload(p, &p->chunks[p->n_touched]), (p->n_max - p->n_touched) * BUF_CHUNK_BYTES);
    p->first_free = NULL;
    size_t run_end = p->n_touched; /* [i, run_end) are free */
    for (size_t i = p->n_touched; i-- > 0;) {
        struct buf_chunk *c = &p->chunks[i];
        if (c->acquired) {
            region_discard(payload(p, c + 1), (run_end - i - 1) * BUF_CHUNK_BYTES);
            run_end = i;
            continue;
        }
        c->next = p->first_free;
        p->first_free = c;
    }
    region_discard(p->payloads, run_end * BUF_CHUNK_BYTES);
}

static struct buf_chunk *chunk_acquire(struct buf_pool *p) {
    struct buf_chunk *c = p->first_free;
    if (c)
        p->first_free = c->next;
    else if (p->n_touched < p->n_max)
        c = &p->chunks[p->n_touched++];
    else
        return NULL;
    check(!c->acquired);
    *c = (struct buf_chunk){.acquired = true};
    sanitize_unpoison(payload(p, c), BUF_CHUNK_BYTES);
    p->n_used++;
    return c;
}

static void chunk_release(struct buf_pool *p, struct buf_chunk *c) {
    check(c->acquired && p->n_used > 0);
    *c = (struct buf_chunk){.next = p->first_free};
    p->first_free = c;
    sanitize_poison(payload(p, c), BUF_CHUNK_BYTES);
    p->n_used--;
}

void bufq_init(struct bufq *q, struct buf_pool *pool) { *q = (struct bufq){.pool = pool}; }

void bufq_deinit(struct bufq *q) {
    while (q->head) {
        struct buf_chunk *c = q->head;
        q->head = c->next;
        chunk_release(q->pool, c);
    }
    q->tail = NULL;
    q->n_bytes = 0;
}

static void unlink_release(struct bufq *q, struct buf_chunk *c) {
    *(c->prev ? &c->prev->next : &q->head) = c->next;
    *(c->next ? &c->next->prev : &q->tail) = c->prev;
    chunk_release(q->pool, c);
}

/* Ends a reservation; a chunk that holds nothing goes back. */
static void end_reservation(struct bufq *q) {
    if (!q->tail)
        return;
    q->tail->reserved = false;
    if (q->tail->start == q->tail->end)
        unlink_release(q, q->tail);
}

uint8_t *bufq_reserve_n(struct bufq *q, size_t n) {
    check(n > 0 && n <= BUF_CHUNK_BYTES);
    struct buf_chunk *c = q->tail;
    if (c && c->start == c->end)
        c->start = c->end = 0;
    if (!c || BUF_CHUNK_BYTES - c->end < n) {
        struct buf_chunk *fresh = chunk_acquire(q->pool);
        if (!fresh)
            return NULL;
        if (c)
            c->reserved = false; /* this reservation takes the place of an earlier one */
        fresh->prev = c;
        *(c ? &c->next : &q->head) = fresh;
        q->tail = c = fresh;
    }
    c->reserved = true;
    return payload(q->pool, c) + c->end;
}

uint8_t *bufq_reserve(struct bufq *q, size_t *ret_n) {
    uint8_t *at = bufq_reserve_n(q, 1);
    if (at)
        *ret_n = BUF_CHUNK_BYTES - q->tail->end;
    return at;
}

void bufq_commit(struct bufq *q, size_t n) {
    struct buf_chunk *c = q->tail;
    check(n == 0 || (c && c->reserved && n <= BUF_CHUNK_BYTES - c->end));
    if (n) {
        c->end += (uint32_t)n;
        q->n_bytes += n;
    }
    end_reservation(q);
}

int bufq_append(struct bufq *q, const void *bytes, size_t n) {
    size_t n_tail = !q->tail ? 0 : q->tail->start == q->tail->end ? BUF_CHUNK_BYTES : BUF_CHUNK_BYTES - q->tail->end;
    size_t n_missing = n > n_tail ? (n - n_tail + BUF_CHUNK_BYTES - 1) / BUF_CHUNK_BYTES : 0;
    if (n_missing > q->pool->n_max - q->pool->n_used)
        return 1;
    const uint8_t *from = bytes;
    while (n > 0) {
        size_t n_space;
        uint8_t *to = bufq_reserve(q, &n_space);
        check(to);
        size_t n_now = min_of(n, n_space);
        memcpy(to, from, n_now);
        bufq_commit(q, n_now);
        from += n_now;
        n -= n_now;
    }
    return 0;
}

const uint8_t *bufq_peek(const struct bufq *q, size_t *ret_n) {
    if (q->n_bytes == 0)
        return NULL;
    *ret_n = q->head->end - q->head->start;
    return payload(q->pool, q->head) + q->head->start;
}

void bufq_consume(struct bufq *q, size_t n) {
    check(n <= q->n_bytes);
    q->n_bytes -= n;
    while (n > 0) {
        struct buf_chunk *c = q->head;
        size_t n_now = min_of(n, (size_t)(c->end - c->start));
        c->start += (uint32_t)n_now;
        n -= n_now;
        if (c->start == c->end && !c->reserved)
            unlink_release(q, c);
    }
}

size_t bufq_read(struct bufq *q, void *to, size_t n) {
    uint8_t *at = to;
    size_t n_read = 0, n_piece;
    const uint8_t *piece;
    while (n_read < n && (piece = bufq_peek(q, &n_piece))) {
        size_t n_now = min_of(n - n_read, n_piece);
        memcpy(at + n_read, piece, n_now);
        bufq_consume(q, n_now);
        n_read += n_now;
    }
    return n_read;
}

void bufq_move(struct bufq *to, struct bufq *from) {
    check(to != from && to->pool == from->pool);
    end_reservation(to);
    end_reservation(from);
    if (!from->head)
        return;
    from->head->prev = to->tail;
    *(to->tail ? &to->tail->next : &to->head) = from->head;
    to->tail = from->tail;
    to->n_bytes += from->n_bytes;
    bufq_init(from, from->pool);
}

unsigned bufq_iov(const struct bufq *q, struct iovec *iov, unsigned n_max) {
    unsigned n = 0;
    for (const struct buf_chunk *c = q->head; c && n < n_max; c = c->next)
        if (c->end > c->start)
            iov[n++] = (struct iovec){.iov_base = payload(q->pool, c) + c->start, .iov_len = c->end - c->start};
    return n;
}
