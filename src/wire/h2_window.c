/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/h2_window.c - windows that follow the rate at which a stream is read
 *
 * After each window's worth of delivered bytes a stream is judged: was the window what held it up? So it is when the peer had used
 * all of it, while the reader had taken all we had, all within a second. Round trips need no measuring: a window that covers them
 * is not used up. After H2_WINDOW_TRIALS such windows it doubles, not at the first: any reader is quick until the kernel's buffers
 * in front of it are full, and one that stops then would leave us all that it was granted by that haste (a send buffer has 4 MiB).
 * It halves when the reader left much lying all the time, or took longer than that second.
 * Credit that a peer has cannot be taken back; after shrinking, none is given until what is out fits the smaller window. */
#include "h2_window.h"

#include <ringwall/base/check.h>
#include <ringwall/base/clock.h>

enum { USED_UP = 16 * 1024 /* a peer that holds back until a whole frame fits stops before zero */ };
#define QUICK_NS (1 * NS_PER_S)

void h2_window_init(struct h2_window *w) {
    *w = (struct h2_window){.size = H2_STREAM_WINDOW, .granted = H2_STREAM_WINDOW, .least = UINT32_MAX};
}

void h2_window_deinit(struct h2_window *w, struct h2_shared *shared) {
    check(w->counted == 0 || (shared && w->counted <= shared->windows));
    if (shared)
        shared->windows -= w->counted;
    w->counted = 0;
}

static void count(struct h2_window *w, struct h2_shared *shared) {
    uint32_t out = max_of(w->size, w->undelivered + w->granted) - (uint32_t)H2_STREAM_WINDOW;
    if (out == w->counted)
        return;
    shared->windows = shared->windows - w->counted + out;
    w->counted = out;
}

bool h2_window_take(struct h2_window *w, size_t n, uint64_t now_ns) {
    if (n > w->granted)
        return false;
    if (w->since_ns == 0)
        w->since_ns = now_ns;
    w->granted -= (uint32_t)n;
    w->undelivered += (uint32_t)n;
    w->held_up = w->held_up || w->granted < USED_UP;
    return true;
}

static bool may_double(const struct h2_window *w, const struct h2_shared *shared) {
    uint32_t more = w->counted < 2 * w->size - H2_STREAM_WINDOW ? 2 * w->size - H2_STREAM_WINDOW - w->counted : 0;
    return shared && w->size < H2_STREAM_WINDOW_MAX && buf_pool_used(shared->pool) < buf_pool_max(shared->pool) / 2 &&
           shared->windows <= shared->windows_max && more <= shared->windows_max - shared->windows;
}

static void judge(struct h2_window *w, uint64_t now_ns, const struct h2_shared *shared) {
    bool quick = now_ns - w->since_ns <= QUICK_NS;
    if (quick && w->held_up && w->least == 0) {
        if (++w->n_held_up >= H2_WINDOW_TRIALS && may_double(w, shared)) {
            w->size *= 2;
            w->n_held_up = 0;
        }
    } else if (!quick || w->least >= w->size / 4) {
        w->size = max_of(w->size / 2, (uint32_t)H2_STREAM_WINDOW);
        w->n_held_up = 0;
    }
    w->since_ns = now_ns;
    w->delivered = 0;
    w->least = UINT32_MAX;
    w->held_up = false;
}

void h2_window_give(struct h2_window *w, size_t n, uint64_t now_ns, struct h2_shared *shared) {
    check(n <= w->undelivered);
    w->undelivered -= (uint32_t)n;
    w->delivered += (uint32_t)n;
    w->least = min_of(w->least, w->undelivered);
    if (shared && buf_pool_used(shared->pool) > buf_pool_max(shared->pool) / 4 * 3)
        w->size = H2_STREAM_WINDOW;
    if (w->delivered >= w->size)
        judge(w, now_ns, shared);
    if (shared)
        count(w, shared);
}

int32_t h2_window_credit(struct h2_window *w, int32_t left, struct h2_shared *shared) {
    uint32_t out = w->undelivered + (uint32_t)max_of(left, 0);
    if (out > w->size || w->size - out < w->size / 2)
        return 0;
    w->granted = w->size - w->undelivered;
    if (shared)
        count(w, shared);
    return (int32_t)(w->size - out);
}
