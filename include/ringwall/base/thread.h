/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/thread.h - named threads with signals blocked (main alone takes signals) */
#pragma once

#include <pthread.h>

#include <ringwall/base/defs.h>

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *argument) must_check; /* name: 15 bytes at most */
void thread_join(pthread_t t);
