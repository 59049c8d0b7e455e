/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/region.c - see region.h
 *
 * Huge pages are refused: one touched byte would cost 2 MiB, and our promise is that what is idle costs nothing. */
#include "region.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ringwall/base/check.h>

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* 0 when n is 0 or the sum does not fit. */
static size_t mapped_bytes(size_t n) {
    size_t page = page_bytes();
    if (n == 0 || n > SIZE_MAX / 2)
        return 0;
    return (n + page - 1) / page * page + page;
}

void *region_map(size_t n) {
    size_t total = mapped_bytes(n), page = page_bytes();
    if (total == 0)
        return NULL;
    uint8_t *at = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (mprotect(at + total - page, page, PROT_NONE) < 0) {
        munmap(at, total);
        return NULL;
    }
    ignore_result(madvise(at, total - page, MADV_NOHUGEPAGE)); /* a kernel without huge pages says EINVAL, and is right */
    return at;
}

void region_unmap(void *at, size_t n) {
    if (at)
        check(munmap(at, mapped_bytes(n)) == 0);
}

void region_discard(void *at, size_t n) {
    uintptr_t page = page_bytes(), from = ((uintptr_t)at + page - 1) / page * page, to = ((uintptr_t)at + n) / page * page;
    if (from < to)
        ignore_result(madvise((void *)from, to - from, MADV_DONTNEED)); /* memory stays used: not an error */
}
