/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/secret.h - memory for key bytes: own pages, MADV_DONTDUMP and DONTFORK, locked when allowed, wiped on free */
#pragma once

#include <ringwall/base/defs.h>

struct secret {
    uint8_t *at; /* NULL in SECRET_NULL */
    size_t n;
};
#define SECRET_NULL ((struct secret){0})

int secret_new(struct secret *ret, size_t n) must_check; /* zeroed; -ENOMEM */
int secret_copy(struct secret *ret, const void *bytes, size_t n) must_check;
void secret_deinit(struct secret *s);                      /* wipes */
void secret_wipe(void *bytes, size_t n);                   /* not optimised away */
bool secret_equal(const void *a, const void *b, size_t n); /* constant time */
