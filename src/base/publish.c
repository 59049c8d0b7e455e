/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/publish.c - liburcu's QSBR flavour, seen by this file only
 *
 * The out-of-line library is used: its inline half would put atomics of a foreign style into our objects, and a reader
 * here passes a quiet point once a loop turn, not once a packet. ThreadSanitizer cannot see into the library, so the
 * grace period is told to it by hand: whatever a reader did before a quiet point happened before the writer's return. */
#include <urcu/urcu-qsbr.h>

#include <ringwall/base/check.h>
#include <ringwall/base/publish.h>

#include "sanitize.h"

enum reader_state { READER_NONE, READER_OFFLINE, READER_ONLINE };
static _Thread_local enum reader_state reader_state;
static char grace_period; /* only its address counts: what the sanitizer orders by */

void publish_reader_register(void) {
    check(reader_state == READER_NONE);
    urcu_qsbr_register_thread();
    reader_state = READER_ONLINE;
}

void publish_reader_unregister(void) {
    check(reader_state != READER_NONE);
    sanitize_release(&grace_period);
    urcu_qsbr_unregister_thread();
    reader_state = READER_NONE;
}

void publish_reader_offline(void) {
    check(reader_state == READER_ONLINE);
    sanitize_release(&grace_period);
    urcu_qsbr_thread_offline();
    reader_state = READER_OFFLINE;
}

void publish_reader_online(void) {
    check(reader_state == READER_OFFLINE);
    urcu_qsbr_thread_online();
    reader_state = READER_ONLINE;
}

void publish_quiet(void) {
    check(reader_state == READER_ONLINE);
    sanitize_release(&grace_period);
    urcu_qsbr_quiescent_state();
}

const void *publish_read(const struct publish_slot *slot) {
    check(reader_state == READER_ONLINE);
    return __atomic_load_n(&slot->current, __ATOMIC_ACQUIRE);
}

void *publish_swap(struct publish_slot *slot, void *next) {
    /* An online reader would wait for itself. */
    check(reader_state != READER_ONLINE);
    void *former = __atomic_exchange_n(&slot->current, next, __ATOMIC_ACQ_REL);
    if (former)
        urcu_qsbr_synchronize_rcu();
    sanitize_acquire(&grace_period);
    return former;
}

void *publish_writer_peek(const struct publish_slot *slot) { return __atomic_load_n(&slot->current, __ATOMIC_ACQUIRE); }
