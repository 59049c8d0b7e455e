/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/check.c - the last words of a process that found itself wrong
 *
 * Writes with one system call and no lock: any thread, any state of the heap. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ringwall/base/check.h>

_Noreturn void check_failed(const char *what, const char *file, int line, const char *function) {
    char text[512];
    int n = snprintf(text, sizeof(text), "ringwall: check failed: %s (%s:%d, %s)\n", what, file, line, function);
    if (n > 0) {
        size_t n_text = min_of((size_t)n, sizeof(text) - 1);
        text[n_text - 1] = '\n';
        ignore_result(write(STDERR_FILENO, text, n_text)); /* nothing left to do about it */
    }
    abort();
}
