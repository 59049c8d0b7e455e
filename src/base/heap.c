/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/heap.c - see heap.h. The one call of jemalloc that is needed is a weak symbol: a program without it has nothing to do.
 * No failure matters here: what stays as it was is only memory. */
#include <stdio.h>

#include <ringwall/base/heap.h>

int mallctl(const char *name, void *old, size_t *old_n, void *new, size_t new_n) __attribute__((weak));

void heap_own_arena(void) {
    unsigned arena;
    size_t n = sizeof(arena);
    if (mallctl && mallctl("arenas.create", &arena, &n, NULL, 0) == 0)
        mallctl("thread.arena", NULL, NULL, &arena, sizeof(arena));
}

void heap_trim(bool all) {
    unsigned arena;
    size_t n = sizeof(arena);
    if (!mallctl || mallctl("thread.arena", &arena, &n, NULL, 0) != 0)
        return;
    if (all)
        mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    char name[40];
    snprintf(name, sizeof(name), "arena.%u.%s", arena, all ? "purge" : "decay");
    mallctl(name, NULL, NULL, NULL, 0);
}
