/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/secret.c - see secret.h
 *
 * Blocks lie in one range of addresses that is reserved at the first use, left out of core files and of forked children as a
 * whole, and made accessible and locked chunk by chunk. So whether an address is a secret's is one comparison, which a foreign
 * library's free() needs. A chunk holds blocks of one size: a key as DER, a message with one, a key in a library's working form
 * (elliptic curve; RSA). Ten thousand P-256 keys take 2.5 MiB. Larger secrets have pages of their own.
 * A chunk with nothing in it is given back, unless it is the last with space of its size. Locking is best effort; being left out
 * is not.
 * Where addresses are limited (RLIMIT_AS) the range is a part of them, and smaller still until the kernel gives it.
 * A forked child has none of its parent's secrets, and may have its own.
 * Invariant: what is not taken is zero. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/list.h>
#include <ringwall/base/secret.h>

#include "sanitize.h"

enum {
    CHUNK_BYTES = 32 * 1024,
    CHUNKS_MAX = 32 * 1024, /* a gigabyte of addresses */
    CHUNKS_MIN = 32,        /* a megabyte: some four thousand keys */
    PART_OF_LIMIT = 8,      /* of RLIMIT_AS: addresses that others need too */
};
_Static_assert((size_t)CHUNKS_MAX *CHUNK_BYTES == SECRET_RANGE_MAX, "what the header says");
static const size_t sizes[] = {256, 1024, 4224, SECRET_BLOCK_MAX};
enum { N_SIZES = array_size(sizes), WORD_BITS = 64, WORDS = CHUNK_BYTES / 256 / WORD_BITS };

struct chunk {
    struct list all; /* in `spacious` of its size, in `unused`, or, when full, in none */
    unsigned size, n_taken;
    uint64_t taken[WORDS]; /* bit i: block i is somebody's */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *_Atomic range;  /* NULL: not reserved yet */
static _Atomic size_t n_chunks; /* that the range has room for; written before it */
static struct chunk chunks[CHUNKS_MAX];
static unsigned n_touched; /* chunks that were ever used */
static struct list unused = LIST_INIT(unused);
static struct list spacious[N_SIZES] = {LIST_INIT(spacious[0]), LIST_INIT(spacious[1]), LIST_INIT(spacious[2]),
                                        LIST_INIT(spacious[3])};

void secret_wipe(void *bytes, size_t n) {
    if (n)
        explicit_bzero(bytes, n);
}

/* The address sanitizer must not put the block elsewhere. */
__attribute__((noinline, no_sanitize("address"))) void secret_wipe_stack(size_t n) {
    check(n <= SECRET_STACK_MAX);
    explicit_bzero(__builtin_alloca(n), n);
}

bool secret_equal(const void *a, const void *b, size_t n) {
    const volatile uint8_t *left = a, *right = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < n; i++)
        difference |= left[i] ^ right[i];
    return difference == 0;
}

static size_t pages_bytes(size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

/* Left out of core files and of children. */
static uint8_t *pages_map(size_t n, int access) {
    n = pages_bytes(n);
    void *at = mmap(NULL, n, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (madvise(at, n, MADV_DONTDUMP) < 0 || madvise(at, n, MADV_DONTFORK) < 0) {
        munmap(at, n);
        return NULL;
    }
    return at;
}

static void pages_lock(uint8_t *at, size_t n) {
    ignore_result(mlock(at, pages_bytes(n))); /* not allowed: the key may be swapped, which the README says */
}

static void pages_unmap(uint8_t *at, size_t n) { check(munmap(at, pages_bytes(n)) == 0); }

static uint8_t *chunk_bytes(const struct chunk *c) { return range + (size_t)(c - chunks) * CHUNK_BYTES; }
static unsigned chunk_blocks(const struct chunk *c) { return (unsigned)(CHUNK_BYTES / sizes[c->size]); }

/* A child has none of it, and begins anew. */
static void forget_all(void) {
    sanitize_unpoison(range, n_touched * CHUNK_BYTES);
    memset(chunks, 0, n_touched * sizeof(chunks[0]));
    n_touched = 0;
    list_init(&unused);
    for (size_t i = 0; i < N_SIZES; i++)
        list_init(&spacious[i]);
    range = NULL;
    pthread_mutex_init(&lock, NULL); /* whoever held it is not here */
}

static size_t chunks_wanted(void) {
    struct rlimit addresses;
    if (getrlimit(RLIMIT_AS, &addresses) < 0 || addresses.rlim_cur == RLIM_INFINITY)
        return CHUNKS_MAX;
    rlim_t part = addresses.rlim_cur / PART_OF_LIMIT / CHUNK_BYTES;
    return part > CHUNKS_MAX ? CHUNKS_MAX : max_of((size_t)part, (size_t)CHUNKS_MIN);
}

static bool range_reserve(void) {
    static bool told;
    if (!told)
        told = pthread_atfork(NULL, NULL, forget_all) == 0;
    for (size_t n = told && !range ? chunks_wanted() : 0; n >= CHUNKS_MIN && !range; n /= 2) {
        n_chunks = n;
        range = pages_map(n * CHUNK_BYTES, PROT_NONE);
    }
    return range;
}

static struct chunk *chunk_begin(unsigned size) {
    bool again = !list_empty(&unused);
    if (!range_reserve() || (!again && n_touched == n_chunks))
        return NULL;
    struct chunk *c = again ? list_entry(list_first(&unused), struct chunk, all) : &chunks[n_touched];
    if (mprotect(chunk_bytes(c), CHUNK_BYTES, PROT_READ | PROT_WRITE) < 0)
        return NULL;
    pages_lock(chunk_bytes(c), CHUNK_BYTES);
    sanitize_poison(chunk_bytes(c), CHUNK_BYTES);
    if (again)
        list_unlink(&c->all);
    else
        n_touched++;
    c->size = size;
    list_push_front(&spacious[size], &c->all);
    return c;
}

static void chunk_end(struct chunk *c) {
    uint8_t *at = chunk_bytes(c);
    list_unlink(&c->all);
    list_push_front(&unused, &c->all);
    /* It is wiped: should the kernel want to keep it, so be it. */
    if (munlock(at, CHUNK_BYTES) == 0 && madvise(at, CHUNK_BYTES, MADV_DONTNEED) == 0)
        ignore_result(mprotect(at, CHUNK_BYTES, PROT_NONE));
}

static void *block_take(unsigned size) {
    struct chunk *c = list_empty(&spacious[size]) ? chunk_begin(size) : list_entry(list_first(&spacious[size]), struct chunk, all);
    if (!c)
        return NULL;
    unsigned w = 0;
    while (c->taken[w] == UINT64_MAX)
        w++;
    unsigned i = w * WORD_BITS + (unsigned)__builtin_ctzll(~c->taken[w]);
    c->taken[w] |= UINT64_C(1) << i % WORD_BITS;
    if (++c->n_taken == chunk_blocks(c))
        list_unlink(&c->all);
    uint8_t *at = chunk_bytes(c) + i * sizes[size];
    sanitize_unpoison(at, sizes[size]);
    return at;
}

static void block_give(struct chunk *c, unsigned i) {
    uint64_t bit = UINT64_C(1) << i % WORD_BITS;
    check(c->taken[i / WORD_BITS] & bit);
    c->taken[i / WORD_BITS] &= ~bit;
    if (c->n_taken-- == chunk_blocks(c))
        list_push_front(&spacious[c->size], &c->all);
    if (c->n_taken == 0 && c->all.next != c->all.prev) /* it is not the only one */
        chunk_end(c);
}

void *secret_take(size_t n) {
    unsigned size = 0;
    while (size < N_SIZES && sizes[size] < n)
        size++;
    if (size == N_SIZES)
        return NULL;
    pthread_mutex_lock(&lock);
    void *at = block_take(size);
    pthread_mutex_unlock(&lock);
    return at;
}

bool secret_holds(const void *at) {
    uint8_t *first = atomic_load_explicit(&range, memory_order_acquire); /* n_chunks is of it */
    return first && (uintptr_t)at - (uintptr_t)first < n_chunks * CHUNK_BYTES;
}

size_t secret_range(void) {
    pthread_mutex_lock(&lock);
    size_t n = range_reserve() ? n_chunks * CHUNK_BYTES : 0;
    pthread_mutex_unlock(&lock);
    return n;
}

static struct chunk *chunk_of(const void *at) {
    check(secret_holds(at));
    return &chunks[(size_t)((const uint8_t *)at - range) / CHUNK_BYTES];
}

size_t secret_room(const void *at) { return sizes[chunk_of(at)->size]; }

void secret_give(void *at) {
    struct chunk *c = chunk_of(at);
    size_t n = sizes[c->size], from = (size_t)((uint8_t *)at - chunk_bytes(c));
    check(from % n == 0);
    secret_wipe(at, n);
    sanitize_poison(at, n);
    pthread_mutex_lock(&lock);
    block_give(c, (unsigned)(from / n));
    pthread_mutex_unlock(&lock);
}

int secret_new(struct secret *ret, size_t n) {
    uint8_t *at = NULL;
    if (n <= SECRET_BLOCK_MAX)
        at = secret_take(n);
    else if (n < SIZE_MAX / 2)
        at = pages_map(n, PROT_READ | PROT_WRITE);
    if (!at)
        return err_origin(-ENOMEM);
    if (n > SECRET_BLOCK_MAX)
        pages_lock(at, n);
    *ret = (struct secret){.at = at, .n = n};
    return 0;
}

int secret_copy(struct secret *ret, const void *bytes, size_t n) {
    struct secret s;
    int r = secret_new(&s, n);
    if (r)
        return err_trace(r);
    if (n)
        memcpy(s.at, bytes, n);
    *ret = s;
    return 0;
}

void secret_deinit(struct secret *s) {
    if (!s->at)
        return;
    if (s->n <= SECRET_BLOCK_MAX)
        secret_give(s->at);
    else {
        secret_wipe(s->at, s->n);
        pages_unmap(s->at, s->n);
    }
    *s = SECRET_NULL;
}
