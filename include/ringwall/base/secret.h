/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/secret.h - memory for key bytes: own pages, MADV_DONTDUMP and DONTFORK, locked when allowed, wiped on free */
#pragma once

#include <ringwall/base/defs.h>

struct secret {
    uint8_t *at; /* NULL in SECRET_NULL */
    size_t n;
};
#define SECRET_NULL ((struct secret){0})
enum { SECRET_STACK_MAX = 64 * 1024, SECRET_BLOCK_MAX = 8384, SECRET_RANGE_MAX = 1024 * 1024 * 1024 };

int secret_new(struct secret *ret, size_t n) must_check; /* zeroed; -ENOMEM */
int secret_copy(struct secret *ret, const void *bytes, size_t n) must_check;
void secret_deinit(struct secret *s);    /* wipes */
void secret_wipe(void *bytes, size_t n); /* not optimised away */
void secret_wipe_stack(size_t n);        /* what calls that have returned left, n bytes deep, below the caller's frame */
bool secret_equal(const void *a, const void *b, size_t n); /* constant time */

/* The same memory, in blocks, for a foreign library's allocator. */
void *secret_take(size_t n);        /* zeroed, aligned to 64; NULL: no memory, or n > SECRET_BLOCK_MAX */
void secret_give(void *at);         /* wipes */
bool secret_holds(const void *at);  /* does it point into such a block? Else at is the caller's to know about */
size_t secret_room(const void *at); /* of a block, at least what was asked for */
/* How many bytes of addresses the blocks may take in all: SECRET_RANGE_MAX, less where RLIMIT_AS leaves less, 0: none. */
size_t secret_range(void);
