/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/thread.h - named threads with signals blocked (main alone takes signals) */
#pragma once

#include <pthread.h>

#include <ringwall/base/defs.h>

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *argument) must_check; /* name: 15 bytes at most */
void thread_join(pthread_t t);
/* The calling thread works in the background from now on: where processors are scarce it has a tenth of what another thread has, in
 * pieces so short that a thread that wakes does not wait for it. It is never starved. A courtesy: false when the kernel refuses. */
bool thread_to_background(void);
