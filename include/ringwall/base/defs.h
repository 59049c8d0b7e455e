/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/defs.h - attributes and the ownership macros that every room uses
 *
 * An owning local is declared with a cleanup attribute and a null value; ownership leaves it only through take_ptr or
 * take_fd, so a function can be checked without reading its callees. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define cleanup(f) __attribute__((cleanup(f), unused)) /* unused: an owner that is never read is fine */
#define unused_arg __attribute__((unused))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define array_size(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
/* Names made of a number that no other expansion has, so that these may be nested. */
#define defs_paste_(a, b) a##b
#define defs_pick_(a, op, b, c) defs_pick_in_(a, op, b, defs_paste_(pick_a_, c), defs_paste_(pick_b_, c))
#define defs_pick_in_(a, op, b, x, y) \
    ({ \
        __auto_type x = (a); \
        __auto_type y = (b); \
        x op y ? x : y; \
    })
#define min_of(a, b) defs_pick_(a, <, b, __COUNTER__)
#define max_of(a, b) defs_pick_(a, >, b, __COUNTER__)

/* Spells out that a must_check result does not matter here; the comment beside it says why. */
#define ignore_result(x) \
    ({ \
        __auto_type ignored_ = (x); \
        (void)ignored_; \
    })

#define take_ptr(p) \
    ({ \
        __auto_type taken_ = (p); \
        (p) = NULL; \
        taken_; \
    })
#define take_fd(fd) \
    ({ \
        int taken_ = (fd); \
        (fd) = -1; \
        taken_; \
    })

/* For any `struct type *x_free(struct type *)`: defines x_freep for the cleanup attribute. */
#define DEFINE_FREEP(type, free_fn) \
    static inline void free_fn##p(type **p) { \
        if (*p) \
            *p = free_fn(*p); \
    }

void free_p(void *pp);    /* cleanup: free(*pp) */
void fd_close_p(int *fd); /* cleanup: closes a descriptor >= 0, keeps errno */
#define cleanup_free cleanup(free_p)
#define cleanup_fd cleanup(fd_close_p)

int fd_close(int fd); /* closes when >= 0; always returns -1, keeps errno */
