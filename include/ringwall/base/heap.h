/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/heap.h - the allocator behind malloc, asked to keep little: an arena for each thread that must not wait for others, one
 * for all the rest, and freed memory given back
 *
 * jemalloc where it is linked (the programs), nothing elsewhere (sanitizers, most tests). By itself it gives pages back only
 * while threads allocate; a thread that has become quiet says so here. */
#pragma once

#include <ringwall/base/defs.h>

/* For malloc_conf, which jemalloc reads in the program: threads share an arena unless they ask for one; pages that are free for
 * some seconds go back. */
#define HEAP_CONF "narenas:1,dirty_decay_ms:3000,muzzy_decay_ms:0"

void heap_own_arena(void); /* the calling thread's, from now on; without memory for it the shared one goes on */
/* The calling thread's arena: pages that were free for some seconds; with `all` every free page, the thread's own cache of
 * objects included. Cheap when there is nothing to give. */
void heap_trim(bool all);
