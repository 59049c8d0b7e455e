/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/grpc_frame.c - see grpc_frame.h */
#include <errno.h>
#include <string.h>

#include <ringwall/base/check.h>

#include "grpc_frame.h"
#include "h2_memory.h"

enum { READER_CAP_MIN = 1024, READER_KEPT_MAX = 16 * 1024 /* a larger buffer goes with its message */ };

void grpc_reader_init(struct grpc_reader *r, uint32_t max) { *r = (struct grpc_reader){.max = max}; }

void grpc_reader_deinit(struct grpc_reader *r) {
    secret_wipe(r->bytes, r->n);
    h2_dealloc(r->bytes);
    *r = (struct grpc_reader){.max = r->max};
}

bool grpc_reader_between(const struct grpc_reader *r) { return r->n_prefix == 0; }

/* What was shown is over: the next prefix begins. */
static void next_message(struct grpc_reader *r) {
    if (r->cap > READER_KEPT_MAX)
        grpc_reader_deinit(r);
    r->n_prefix = 0;
    r->n = 0;
}

static enum grpc_read judge_prefix(struct grpc_reader *r) {
    const uint8_t *p = r->prefix;

    r->length = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (p[0] > 1)
        return GRPC_READ_FLAG;
    if (p[0] == 1)
        return GRPC_READ_COMPRESSED;
    return r->length > r->max ? GRPC_READ_TOO_LARGE : GRPC_READ_MORE;
}

static bool reader_reserve(struct grpc_reader *r, size_t n) {
    size_t cap = min_of(max_of(n, max_of(2 * r->cap, (size_t)READER_CAP_MIN)), (size_t)r->length);
    uint8_t *bytes;

    if (n <= r->cap)
        return true;
    bytes = h2_realloc(r->bytes, cap);
    if (!bytes)
        return false;
    r->bytes = bytes;
    r->cap = cap;
    return true;
}

enum grpc_read grpc_reader_take(struct grpc_reader *r, const uint8_t **bytes, size_t *n, const uint8_t **ret_bytes, size_t *ret_n) {
    size_t step;

    if (r->n_prefix == GRPC_PREFIX_BYTES && r->n == r->length)
        next_message(r); /* the one that was shown */
    step = min_of(*n, (size_t)(GRPC_PREFIX_BYTES - r->n_prefix));
    memcpy(r->prefix + r->n_prefix, *bytes, step);
    r->n_prefix += (uint8_t)step;
    *bytes += step;
    *n -= step;
    if (r->n_prefix < GRPC_PREFIX_BYTES)
        return GRPC_READ_MORE;
    if (step > 0) {
        enum grpc_read verdict = judge_prefix(r);
        if (verdict != GRPC_READ_MORE)
            return verdict;
    }
    step = min_of(*n, (size_t)(r->length - r->n));
    if (step == r->length) { /* whole, in place */
        *ret_bytes = *bytes;
        next_message(r);
    } else if (step > 0) {
        if (!reader_reserve(r, r->n + step))
            return GRPC_READ_NO_MEMORY;
        memcpy(r->bytes + r->n, *bytes, step);
        r->n += step;
        *ret_bytes = r->bytes;
    }
    *bytes += step;
    *n -= step;
    if (r->n_prefix && r->n < r->length)
        return GRPC_READ_MORE;
    *ret_n = r->length;
    return GRPC_READ_MESSAGE;
}

struct block {
    struct list link;
    size_t at, n;         /* of the prefix and the message */
    struct secret secret; /* or the message is in bytes[] */
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t bytes[];
};

void grpc_queue_init(struct grpc_queue *q) {
    list_init(&q->blocks);
    q->n_bytes = 0;
}

static void block_free(struct block *b) {
    list_unlink(&b->link);
    if (b->secret.at)
        secret_deinit(&b->secret);
    else
        secret_wipe(b->bytes, b->n - GRPC_PREFIX_BYTES);
    h2_dealloc(b);
}

void grpc_queue_deinit(struct grpc_queue *q) {
    while (!list_empty(&q->blocks))
        block_free(list_entry(q->blocks.next, struct block, link));
    q->n_bytes = 0;
}

static struct block *block_add(struct grpc_queue *q, size_t n, size_t n_inline) {
    struct block *b;

    check(n <= UINT32_MAX);
    b = h2_alloc(sizeof(*b) + n_inline);
    if (!b)
        return NULL;
    *b = (struct block){.n = GRPC_PREFIX_BYTES + n,
                        .prefix = {0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
    list_push_back(&q->blocks, &b->link);
    q->n_bytes += b->n;
    return b;
}

int grpc_queue_add(struct grpc_queue *q, const uint8_t *bytes, size_t n) {
    struct block *b = block_add(q, n, n);

    if (!b)
        return -ENOMEM;
    if (n)
        memcpy(b->bytes, bytes, n);
    return 0;
}

int grpc_queue_add_secret(struct grpc_queue *q, struct secret *message) {
    struct block *b = block_add(q, message->n, 0);

    if (!b)
        return -ENOMEM;
    b->secret = *message;
    *message = SECRET_NULL;
    return 0;
}

static size_t block_pull(struct block *b, uint8_t *to, size_t cap) {
    size_t done = 0, step;

    if (b->at < GRPC_PREFIX_BYTES) {
        step = min_of(cap, GRPC_PREFIX_BYTES - b->at);
        memcpy(to, b->prefix + b->at, step);
        b->at += step;
        done = step;
    }
    if (b->at >= GRPC_PREFIX_BYTES) {
        const uint8_t *bytes = b->secret.at ? b->secret.at : b->bytes;

        step = min_of(cap - done, b->n - b->at);
        memcpy(to + done, bytes + b->at - GRPC_PREFIX_BYTES, step);
        b->at += step;
        done += step;
    }
    return done;
}

size_t grpc_queue_pull(struct grpc_queue *q, uint8_t *to, size_t cap) {
    size_t done = 0;

    while (done < cap && !list_empty(&q->blocks)) {
        struct block *b = list_entry(q->blocks.next, struct block, link);

        done += block_pull(b, to + done, cap - done);
        if (b->at == b->n)
            block_free(b);
    }
    q->n_bytes -= done;
    return done;
}
