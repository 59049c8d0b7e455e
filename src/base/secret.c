/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/secret.c - see secret.h
 *
 * Small secrets (a P-256 key in any of its forms) share pages, sixteen to a page, so a thousand identities stay inside
 * a usual RLIMIT_MEMLOCK; larger ones have pages of their own. A page whose last secret is gone is unmapped. Locking is
 * best effort; being left out of core files and of forked children is not. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/list.h>
#include <ringwall/base/secret.h>

enum { SLOT_BYTES = 256, SLAB_BYTES = 4096, SLAB_SLOTS = SLAB_BYTES / SLOT_BYTES };
static const unsigned SLAB_FULL = (1U << SLAB_SLOTS) - 1;

struct slab {
    struct list all;
    uint8_t *at;
    unsigned taken; /* bit i: slot i holds a secret */
};

static pthread_mutex_t slabs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list slabs = LIST_INIT(slabs);

void secret_wipe(void *bytes, size_t n) {
    if (n)
        explicit_bzero(bytes, n);
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

static uint8_t *pages_map(size_t n) {
    n = pages_bytes(n);
    void *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (madvise(at, n, MADV_DONTDUMP) < 0 || madvise(at, n, MADV_DONTFORK) < 0) {
        munmap(at, n);
        return NULL;
    }
    ignore_result(mlock(at, n)); /* not allowed: the key may be swapped, which the README says */
    return at;
}

static void pages_unmap(uint8_t *at, size_t n) { check(munmap(at, pages_bytes(n)) == 0); }

static struct slab *slab_with_space(void) {
    list_for_each (it, &slabs) {
        struct slab *s = list_entry(it, struct slab, all);
        if (s->taken != SLAB_FULL)
            return s;
    }
    struct slab *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->at = pages_map(SLAB_BYTES);
    if (!s->at) {
        free(s);
        return NULL;
    }
    list_push_front(&slabs, &s->all);
    return s;
}

static uint8_t *slot_acquire(void) {
    uint8_t *at = NULL;
    pthread_mutex_lock(&slabs_lock);
    struct slab *s = slab_with_space();
    if (s) {
        unsigned i = (unsigned)__builtin_ctz(~s->taken);
        s->taken |= 1U << i;
        at = s->at + i * SLOT_BYTES;
    }
    pthread_mutex_unlock(&slabs_lock);
    return at;
}

static void slot_release(uint8_t *at) {
    bool found = false;
    pthread_mutex_lock(&slabs_lock);
    list_for_each_safe (it, &slabs) {
        struct slab *s = list_entry(it, struct slab, all);
        if (at < s->at || at >= s->at + SLAB_BYTES)
            continue;
        unsigned bit = 1U << ((size_t)(at - s->at) / SLOT_BYTES);
        check(s->taken & bit);
        s->taken &= ~bit;
        if (!s->taken) {
            list_unlink(&s->all);
            pages_unmap(s->at, SLAB_BYTES);
            free(s);
        }
        found = true;
        break;
    }
    pthread_mutex_unlock(&slabs_lock);
    check(found);
}

int secret_new(struct secret *ret, size_t n) {
    uint8_t *at = n <= SLOT_BYTES ? slot_acquire() : n < SIZE_MAX / 2 ? pages_map(n) : NULL;
    if (!at)
        return err_origin(-ENOMEM);
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
    secret_wipe(s->at, s->n);
    if (s->n <= SLOT_BYTES)
        slot_release(s->at);
    else
        pages_unmap(s->at, s->n);
    *s = SECRET_NULL;
}
