/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/check.h - assertions that stay on in release builds (DESIGN rule 10)
 *
 * check() guards what only our own code can break. Never use it on bytes from a peer, a file or a BPF map. */
#pragma once

#include <ringwall/base/defs.h>

_Noreturn void check_failed(const char *what, const char *file, int line, const char *function);

#define check(cond) \
    do { \
        if (unlikely(!(cond))) \
            check_failed(#cond, __FILE__, __LINE__, __func__); \
    } while (0)

/* Costly checks: on in debug and sanitizer builds only. */
#ifdef RINGWALL_CHECK_SLOW
#define check_slow(cond) check(cond)
#else
#define check_slow(cond) ((void)0)
#endif

#define unreachable_because(why) check_failed(why, __FILE__, __LINE__, __func__)
