/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/region.h - address space that costs memory only where it was touched; what pool and buf are made of (private) */
#pragma once

#include <stddef.h>

/* Zeroed, page-aligned, an unreadable page behind it. NULL: no address space, or n == 0. */
void *region_map(size_t n);
void region_unmap(void *at, size_t n);
/* Gives the whole pages inside [at, at + n) back; they read as zero afterwards. */
void region_discard(void *at, size_t n);
