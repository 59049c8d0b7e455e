/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/heap.h - the allocator behind malloc gives back what it keeps of freed memory
 *
 * jemalloc where it is linked (the programs), nothing elsewhere (sanitizers, tests). It gives pages back only while a thread
 * allocates; a thread that has become quiet says so here. */
#pragma once

#include <ringwall/base/defs.h>

/* The calling thread's arena: pages that were free for some seconds; with `all` every free page, the thread's own cache of
 * objects included. Cheap when there is nothing to give. */
void heap_trim(bool all);
