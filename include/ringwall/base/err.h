/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/err.h - the two-sided error model
 *
 * Negative errno: we or the machine are broken; forwarded unchanged, never matched by callers. Positive: an expected
 * verdict of the one function whose header lists it, handled by its caller, never forwarded. Zero: done.
 * The wrappers cost nothing on success; on failure they print one line each to stderr at debug level (see
 * err_set_trail), so that an unexpected error leaves a trail like a stack trace. */
#pragma once

#include <ringwall/base/defs.h>

int err_report(const char *step, int r, const char *file, int line, const char *function);
void err_set_trail(bool on); /* print trails; off at start */

#define err_origin(r) \
    ({ \
        int r_ = (r); \
        unlikely(r_ < 0) ? err_report("raised", r_, __FILE__, __LINE__, __func__) : r_; \
    })
#define err_trace(r) \
    ({ \
        int r_ = (r); \
        unlikely(r_ < 0) ? err_report("through", r_, __FILE__, __LINE__, __func__) : r_; \
    })
/* A verdict that this caller holds to be impossible becomes -ENOTRECOVERABLE. */
#define err_fold(r) \
    ({ \
        int r_ = (r); \
        unlikely(r_) ? err_report("folded", r_ > 0 ? -131 : r_, __FILE__, __LINE__, __func__) : 0; \
    })
