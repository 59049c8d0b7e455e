/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/thread.h - named threads with signals blocked (main alone takes signals) */
#pragma once

#include <pthread.h>

#include <ringwall/base/defs.h>

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *argument) must_check; /* name: 15 bytes at most */
void thread_join(pthread_t t);

/* A thread whose work can wait a little, while others' cannot: where processors are scarce it gets the smallest share, in pieces so
 * short that a thread that wakes does not wait for it. It is not starved: when the work hardly goes on the thread becomes an
 * ordinary one until the next begin. Where the kernel would not let it come back (no CAP_SYS_NICE) its share is a tenth
 * of an ordinary thread's instead, for good. All are called by the thread itself. */
struct thread_background {
    bool can_return, behind;
    int nice; /* an ordinary thread's */
    uint64_t began_ns, began_cpu_ns;
};
void thread_background_init(struct thread_background *b);
void thread_background_begin(struct thread_background *b); /* a piece of work */
void thread_background_look(struct thread_background *b);  /* now and then within it */
