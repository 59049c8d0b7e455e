/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/counter.h - counters with one writing thread and any number of readers; no lock, no atomic read-modify-write */
#pragma once

#include <stdatomic.h>

#include <ringwall/base/defs.h>

struct counter {
    _Atomic uint64_t value;
};
static inline uint64_t counter_get(const struct counter *c) { return atomic_load_explicit(&c->value, memory_order_relaxed); }
static inline void counter_add(struct counter *c, uint64_t n) {
    atomic_store_explicit(&c->value, atomic_load_explicit(&c->value, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void counter_sub(struct counter *c, uint64_t n) { counter_add(c, -n); }
static inline void counter_set(struct counter *c, uint64_t n) { atomic_store_explicit(&c->value, n, memory_order_relaxed); }
