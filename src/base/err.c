/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/err.c - the trail of an unexpected error, one line a function that it passes through
 *
 * Written straight to stderr: base does not log. errno stays as it was. */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

static_assert(ENOTRECOVERABLE == 131, "err_fold spells this number, so that err.h needs no errno.h");

static atomic_bool trail_on;

void err_set_trail(bool on) { atomic_store_explicit(&trail_on, on, memory_order_relaxed); }

int err_report(const char *step, int r, const char *file, int line, const char *function) {
    if (!atomic_load_explicit(&trail_on, memory_order_relaxed))
        return r;
    int errno_before = errno;
    const char *name = strerrorname_np(-r), *description = strerrordesc_np(-r);
    char text[512];
    int n = snprintf(text, sizeof(text), "ringwall: error %s: %s (%s) at %s:%d in %s\n", step, name ? name : "?",
                     description ? description : "unknown", file, line, function);
    if (n > 0)
        ignore_result(write(STDERR_FILENO, text, min_of((size_t)n, sizeof(text) - 1))); /* a trail is a courtesy */
    errno = errno_before;
    return r;
}
