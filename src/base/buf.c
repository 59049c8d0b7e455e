/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/buf.c - see buf.h
 *
 * Payloads lie packed in one region, chunks' and slices' own fields in two others, so an overrun cannot reach a link and
 * trimming drops pages of payload only. Invariants of a queue:
 * - `writing` holds a reference of its own, and its bytes from `fill` on are nobody's. It is let go when it is full, and when no
 *   slice of any queue is in it, so that an empty queue owns nothing.
 * - no slice is empty, but the last one of a reserved queue: commit finds its slice there and cannot fail. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <ringwall/base/buf.h>
#include <ringwall/base/check.h>

#include "region.h"
#include "sanitize.h"

enum {
    TRIM_BYTES_MIN = 64 * 1024,
    SLICES_PER_CHUNK = 8
}; /* pieces of a full chunk are shared four at most; the rest is for heads between them */

struct buf_chunk {
    struct buf_chunk *next_free;
    struct buf_pool *pool;
    uint32_t n_refs; /* 0: free */
    uint32_t fill;   /* of the queue that writes to it: where it goes on */
    bool reserved;   /* the space behind that is in someone's hands */
};
struct buf_slice {
    struct buf_slice *next, *prev; /* in a queue; next alone in the free list */
    struct buf_chunk *chunk;
    uint32_t start, n;
};

struct buf_pool {
    uint8_t *payloads;
    struct buf_chunk *chunks;
    struct buf_slice *slices;
    size_t n_max, n_used;
    size_t n_touched;          /* chunks [n_touched, n_max) hold no memory */
    size_t n_resident, n_peak; /* for buf_pool_trim_unused, as in pool.c */
    struct buf_chunk *first_free;
    size_t n_slices_used, n_slices_touched;
    struct buf_slice *first_free_slice;
};

static size_t slices_max(const struct buf_pool *p) { return p->n_max * SLICES_PER_CHUNK; }

struct buf_pool *buf_pool_new(size_t n_chunks_max) {
    check(n_chunks_max > 0);
    if (n_chunks_max > SIZE_MAX / 4 / BUF_CHUNK_BYTES)
        return NULL;
    cleanup(buf_pool_freep) struct buf_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->n_max = n_chunks_max;
    p->payloads = region_map(n_chunks_max * BUF_CHUNK_BYTES);
    if (p->payloads)
        ignore_result(madvise(p->payloads, n_chunks_max * BUF_CHUNK_BYTES, MADV_DONTDUMP)); /* what applications say */
    p->chunks = p->payloads ? region_map(n_chunks_max * sizeof(*p->chunks)) : NULL;
    p->slices = p->chunks ? region_map(slices_max(p) * sizeof(*p->slices)) : NULL;
    return p->slices ? take_ptr(p) : NULL;
}

struct buf_pool *buf_pool_free(struct buf_pool *p) {
    if (!p)
        return NULL;
    check(p->n_used == 0 && p->n_slices_used == 0);
    if (p->payloads)
        sanitize_unpoison(p->payloads, p->n_touched * BUF_CHUNK_BYTES);
    region_unmap(p->payloads, p->n_max * BUF_CHUNK_BYTES);
    region_unmap(p->chunks, p->n_max * sizeof(*p->chunks));
    region_unmap(p->slices, slices_max(p) * sizeof(*p->slices));
    free(p);
    return NULL;
}

size_t buf_pool_used(const struct buf_pool *p) { return p->n_used; }
size_t buf_pool_max(const struct buf_pool *p) { return p->n_max; }

static uint8_t *payload(const struct buf_pool *p, const struct buf_chunk *c) {
    return p->payloads + (size_t)(c - p->chunks) * BUF_CHUNK_BYTES;
}

static void trim_slices(struct buf_pool *p) {
    if (p->n_slices_used)
        return;
    region_discard(p->slices, p->n_slices_touched * sizeof(*p->slices));
    p->first_free_slice = NULL;
    p->n_slices_touched = 0;
}

void buf_pool_trim(struct buf_pool *p) {
    trim_slices(p);
    while (p->n_touched > 0 && !p->chunks[p->n_touched - 1].n_refs) {
        p->n_touched--;
        sanitize_unpoison(payload(p, &p->chunks[p->n_touched]), BUF_CHUNK_BYTES);
    }
    region_discard(payload(p, &p->chunks[p->n_touched]), (p->n_max - p->n_touched) * BUF_CHUNK_BYTES);
    region_discard(&p->chunks[p->n_touched], (p->n_max - p->n_touched) * sizeof(*p->chunks));
    p->first_free = NULL;
    size_t run_end = p->n_touched; /* [i, run_end) are free */
    for (size_t i = p->n_touched; i-- > 0;) {
        struct buf_chunk *c = &p->chunks[i];
        if (c->n_refs) {
            region_discard(payload(p, c + 1), (run_end - i - 1) * BUF_CHUNK_BYTES);
            run_end = i;
            continue;
        }
        c->next_free = p->first_free;
        p->first_free = c;
    }
    region_discard(p->payloads, run_end * BUF_CHUNK_BYTES);
    p->n_resident = p->n_used;
}

bool buf_pool_trim_unused(struct buf_pool *p) {
    p->n_resident = max_of(p->n_resident, p->n_peak);
    size_t n_unused = p->n_resident - p->n_peak;
    p->n_peak = p->n_used;
    if (n_unused < p->n_resident / 4 || n_unused * BUF_CHUNK_BYTES < TRIM_BYTES_MIN)
        return false;
    buf_pool_trim(p);
    return true;
}

/* ---- chunks ---- */

struct buf_chunk *buf_chunk_acquire(struct buf_pool *p) {
    struct buf_chunk *c = p->first_free;
    if (c)
        p->first_free = c->next_free;
    else if (p->n_touched < p->n_max)
        c = &p->chunks[p->n_touched++];
    else
        return NULL;
    check(!c->n_refs);
    *c = (struct buf_chunk){.pool = p, .n_refs = 1};
    sanitize_unpoison(payload(p, c), BUF_CHUNK_BYTES);
    p->n_peak = max_of(p->n_peak, ++p->n_used);
    return c;
}

struct buf_chunk *buf_chunk_ref(struct buf_chunk *c) {
    check(c->n_refs);
    c->n_refs++;
    return c;
}

struct buf_chunk *buf_chunk_unref(struct buf_chunk *c) {
    if (!c)
        return NULL;
    struct buf_pool *p = c->pool;
    check(c->n_refs && p->n_used > 0);
    if (--c->n_refs)
        return NULL;
    c->next_free = p->first_free;
    p->first_free = c;
    sanitize_poison(payload(p, c), BUF_CHUNK_BYTES);
    p->n_used--;
    return NULL;
}

uint8_t *buf_chunk_bytes(const struct buf_chunk *c) { return payload(c->pool, c); }
bool buf_chunk_is_shared(const struct buf_chunk *c) { return c->n_refs > 1; }

/* ---- slices ---- */

static bool slices_left(const struct buf_pool *p, size_t n) { return slices_max(p) - p->n_slices_used >= n; }

/* With a reference to c; must be there (slices_left). */
static struct buf_slice *slice_acquire(struct buf_pool *p, struct buf_chunk *c, uint32_t start, uint32_t n) {
    struct buf_slice *s = p->first_free_slice;
    if (s)
        p->first_free_slice = s->next;
    else
        s = &p->slices[p->n_slices_touched++];
    p->n_slices_used++;
    *s = (struct buf_slice){.chunk = buf_chunk_ref(c), .start = start, .n = n};
    return s;
}

static void slice_release(struct buf_pool *p, struct buf_slice *s) {
    s->chunk = buf_chunk_unref(s->chunk);
    s->next = p->first_free_slice;
    p->first_free_slice = s;
    p->n_slices_used--;
}

static bool continues(const struct buf_slice *s, const struct buf_chunk *c, uint32_t start) {
    return s && s->chunk == c && s->start + s->n == start;
}

static void link_last(struct bufq *q, struct buf_slice *s) {
    s->next = NULL;
    s->prev = q->tail;
    *(q->tail ? &q->tail->next : &q->head) = s;
    q->tail = s;
}

static void unlink_slice(struct bufq *q, struct buf_slice *s) {
    *(s->prev ? &s->prev->next : &q->head) = s->next;
    *(s->next ? &s->next->prev : &q->tail) = s->prev;
}

/* ---- queues ---- */

static bool reserved(const struct bufq *q) { return q->writing && q->writing->reserved; }

void bufq_init(struct bufq *q, struct buf_pool *pool) { *q = (struct bufq){.pool = pool}; }

/* Lets go of a chunk that no slice is in any more. */
static void settle(struct bufq *q) {
    if (q->writing && !q->writing->reserved && (!buf_chunk_is_shared(q->writing) || !q->head))
        q->writing = buf_chunk_unref(q->writing);
}

void bufq_deinit(struct bufq *q) {
    while (q->head) {
        struct buf_slice *s = q->head;
        q->head = s->next;
        slice_release(q->pool, s);
    }
    buf_chunk_unref(q->writing);
    bufq_init(q, q->pool);
}

static void end_reservation(struct bufq *q) {
    if (!reserved(q))
        return;
    q->writing->reserved = false;
    struct buf_slice *s = q->tail;
    if (s && s->n == 0) {
        unlink_slice(q, s);
        slice_release(q->pool, s);
    }
    settle(q);
}

/* A chunk to write n bytes to, in `writing`. */
static bool find_space(struct bufq *q, size_t n) {
    if (q->writing && !buf_chunk_is_shared(q->writing))
        q->writing->fill = 0;
    if (q->writing && BUF_CHUNK_BYTES - q->writing->fill >= n)
        return true;
    struct buf_chunk *fresh = buf_chunk_acquire(q->pool);
    if (!fresh)
        return false;
    buf_chunk_unref(q->writing);
    q->writing = fresh;
    return true;
}

uint8_t *bufq_reserve_n(struct bufq *q, size_t n) {
    check(n > 0 && n <= BUF_CHUNK_BYTES);
    end_reservation(q); /* this one takes the place of an earlier one */
    if (!slices_left(q->pool, 1) || !find_space(q, n))
        return NULL;
    struct buf_chunk *c = q->writing;
    if (!continues(q->tail, c, c->fill))
        link_last(q, slice_acquire(q->pool, c, c->fill, 0));
    c->reserved = true;
    return payload(q->pool, c) + c->fill;
}

uint8_t *bufq_reserve(struct bufq *q, size_t *ret_n) {
    uint8_t *at = bufq_reserve_n(q, 1);
    if (at)
        *ret_n = BUF_CHUNK_BYTES - q->writing->fill;
    return at;
}

void bufq_commit(struct bufq *q, size_t n) {
    check(n == 0 || (reserved(q) && n <= BUF_CHUNK_BYTES - q->writing->fill));
    if (n) {
        q->tail->n += (uint32_t)n;
        q->writing->fill += (uint32_t)n;
        q->n_bytes += n;
        if (q->writing->fill == BUF_CHUNK_BYTES) {
            q->writing->reserved = false;
            q->writing = buf_chunk_unref(q->writing);
        }
    }
    end_reservation(q);
}

int bufq_append(struct bufq *q, const void *bytes, size_t n) {
    end_reservation(q);
    size_t n_here = !q->writing ? 0 : buf_chunk_is_shared(q->writing) ? BUF_CHUNK_BYTES - q->writing->fill : BUF_CHUNK_BYTES;
    size_t n_missing = n > n_here ? (n - n_here + BUF_CHUNK_BYTES - 1) / BUF_CHUNK_BYTES : 0;
    if (n_missing > q->pool->n_max - q->pool->n_used || !slices_left(q->pool, n_missing + 1))
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

/* An eighth of the pool is left for those who must copy, and for the ring's receive buffers. */
static bool may_share(const struct buf_pool *p) { return p->n_max - p->n_used > p->n_max / 8 && slices_left(p, p->n_max / 8 + 1); }

int bufq_append_shared(struct bufq *q, struct buf_chunk *chunk, const uint8_t *bytes, size_t n) {
    if (!chunk || n < BUF_SHARE_MIN || !may_share(q->pool))
        return bufq_append(q, bytes, n);
    const uint8_t *base = payload(q->pool, chunk);
    check(chunk->pool == q->pool && bytes >= base && n <= (size_t)(base + BUF_CHUNK_BYTES - bytes));
    end_reservation(q);
    uint32_t start = (uint32_t)(bytes - base);
    if (continues(q->tail, chunk, start))
        q->tail->n += (uint32_t)n;
    else
        link_last(q, slice_acquire(q->pool, chunk, start, (uint32_t)n));
    q->n_bytes += n;
    return 0;
}

const uint8_t *bufq_peek(const struct bufq *q, size_t *ret_n) {
    if (q->n_bytes == 0)
        return NULL;
    *ret_n = q->head->n;
    return payload(q->pool, q->head->chunk) + q->head->start;
}

void bufq_consume(struct bufq *q, size_t n) {
    check(n <= q->n_bytes);
    q->n_bytes -= n;
    while (n > 0) {
        struct buf_slice *s = q->head;
        uint32_t n_now = (uint32_t)min_of(n, (size_t)s->n);
        s->start += n_now;
        s->n -= n_now;
        n -= n_now;
        if (s->n == 0 && !(s == q->tail && reserved(q))) {
            unlink_slice(q, s);
            slice_release(q->pool, s);
        }
    }
    settle(q);
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
    if (from->writing) {
        buf_chunk_unref(to->writing);
        to->writing = from->writing; /* goes on behind the bytes that came along */
    }
    bufq_init(from, from->pool);
}

/* The first n bytes of from's first slice, n <= its own. False: that needs a slice more, and there is none. */
static bool move_piece(struct bufq *to, struct bufq *from, uint32_t n) {
    struct buf_slice *s = from->head;
    if (continues(to->tail, s->chunk, s->start)) {
        to->tail->n += n;
    } else if (n == s->n) {
        unlink_slice(from, s);
        link_last(to, s);
        return true;
    } else if (slices_left(to->pool, 1)) {
        link_last(to, slice_acquire(to->pool, s->chunk, s->start, n));
    } else {
        return false;
    }
    s->start += n;
    s->n -= n;
    if (s->n == 0) {
        unlink_slice(from, s);
        slice_release(from->pool, s);
    }
    return true;
}

size_t bufq_move_n(struct bufq *to, struct bufq *from, size_t n) {
    check(to != from && to->pool == from->pool);
    if (n >= from->n_bytes) {
        n = from->n_bytes;
        bufq_move(to, from);
        return n;
    }
    end_reservation(to);
    end_reservation(from);
    size_t n_moved = 0;
    while (n_moved < n) {
        uint32_t n_now = (uint32_t)min_of(n - n_moved, (size_t)from->head->n);
        if (!move_piece(to, from, n_now))
            break;
        n_moved += n_now;
    }
    from->n_bytes -= n_moved;
    to->n_bytes += n_moved;
    return n_moved;
}

unsigned bufq_iov(const struct bufq *q, struct iovec *iov, unsigned n_max) {
    unsigned n = 0;
    for (const struct buf_slice *s = q->head; s && n < n_max; s = s->next)
        if (s->n)
            iov[n++] = (struct iovec){.iov_base = payload(q->pool, s->chunk) + s->start, .iov_len = s->n};
    return n;
}
