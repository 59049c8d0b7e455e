/* SPDX-License-Identifier: GPL-3.0-or-later
 * ring/timer.c - a binary heap of timers that are embedded in their owners; see timer.h */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ringwall/base/check.h>

#include "timer.h"

static const size_t heap_bytes = ((size_t)TIMERS_MAX + 1) * sizeof(struct timer_slot);

int timer_heap_init(struct timer_heap *h) {
    void *at = mmap(NULL, heap_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return -ENOMEM;
    *h = (struct timer_heap){.slots = at};
    return 0;
}

void timer_heap_deinit(struct timer_heap *h) {
    if (h->slots)
        munmap(h->slots, heap_bytes);
    *h = TIMER_HEAP_NULL;
}

static bool before(const struct timer_slot *a, const struct timer_slot *b) {
    return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->turn < b->turn);
}

static void put(struct timer_heap *h, size_t at, struct timer_slot slot) {
    h->slots[at] = slot;
    slot.timer->place = at;
}

static void sift_up(struct timer_heap *h, size_t at, struct timer_slot slot) {
    for (; at > 1 && before(&slot, &h->slots[at / 2]); at /= 2)
        put(h, at, h->slots[at / 2]);
    put(h, at, slot);
}

static void sift_down(struct timer_heap *h, size_t at, struct timer_slot slot) {
    for (size_t child; (child = at * 2) <= h->n; at = child) {
        if (child < h->n && before(&h->slots[child + 1], &h->slots[child]))
            child++;
        if (!before(&h->slots[child], &slot))
            break;
        put(h, at, h->slots[child]);
    }
    put(h, at, slot);
}

static void settle(struct timer_heap *h, size_t at, struct timer_slot slot) {
    if (at > 1 && before(&slot, &h->slots[at / 2]))
        sift_up(h, at, slot);
    else
        sift_down(h, at, slot);
}

void timer_heap_start(struct timer_heap *h, struct ring_timer *t, uint64_t due_ns, void (*fired)(struct ring_timer *t)) {
    check(fired);
    struct timer_slot slot = {.due_ns = due_ns, .turn = h->n_armed++, .timer = t};
    t->due_ns = due_ns;
    t->fired = fired;
    if (t->place) {
        check(t->place <= h->n && h->slots[t->place].timer == t);
        settle(h, t->place, slot);
        return;
    }
    check(h->n < TIMERS_MAX);
    h->n_high = max_of(h->n_high, ++h->n);
    sift_up(h, h->n, slot);
}

/* Once a crowd of timers is gone, so are its pages: at most one call for many timers that were armed and stopped. */
static void shrink(struct timer_heap *h) {
    if (h->n_high < TIMERS_FEW || h->n > h->n_high / 4)
        return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = (h->n + h->n / 2 + 1) * sizeof(struct timer_slot);
    from = (from + page - 1) / page * page;
    size_t to = (h->n_high + 1) * sizeof(struct timer_slot);
    if (from < to)
        ignore_result(madvise((char *)h->slots + from, to - from, MADV_DONTNEED)); /* memory stays used: not an error */
    h->n_high = from / sizeof(struct timer_slot);
}

void timer_heap_stop(struct timer_heap *h, struct ring_timer *t) {
    if (!t->place)
        return;
    size_t at = t->place;
    check(at <= h->n && h->slots[at].timer == t);
    t->place = 0;
    struct timer_slot last = h->slots[h->n--];
    if (last.timer != t)
        settle(h, at, last);
    shrink(h);
}

bool timer_heap_next(const struct timer_heap *h, uint64_t *ret_due_ns) {
    if (!h->n)
        return false;
    *ret_due_ns = h->slots[1].due_ns;
    return true;
}

void timer_heap_expire(struct timer_heap *h, uint64_t now_ns) {
    for (size_t left = h->n; left && h->n && h->slots[1].due_ns <= now_ns; left--) {
        struct ring_timer *t = h->slots[1].timer;
        timer_heap_stop(h, t);
        t->fired(t); /* may free t, start or stop any timer */
    }
}
