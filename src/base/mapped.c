/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/mapped.c - see mapped.h
 *
 * The kernel's own list of mappings says which of them come from a file, cannot be written now, and hold no page of our own: only
 * those are let go, whole. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <ringwall/base/defs.h>
#include <ringwall/base/mapped.h>

struct mapping {
    uintptr_t from, to; /* 0: none that may be let go */
    bool has_own;       /* some page was written to; unknown is as good as yes */
};

static void let_go(const struct mapping *m) {
    if (m->to && !m->has_own)
        ignore_result(madvise((void *)m->from, m->to - m->from, MADV_DONTNEED)); /* it stays: not an error */
}

void mapped_trim(void) {
    FILE *f = fopen("/proc/self/smaps", "re");
    if (!f)
        return;
    struct mapping m = {0};
    char line[512], rights[8];
    while (fgets(line, sizeof(line), f)) {
        unsigned long from, to, inode, own;
        int n = 0;
        if (sscanf(line, "%lx-%lx %7s %*x %*x:%*x %lu %n", &from, &to, rights, &inode, &n) == 4) {
            let_go(&m);
            bool file = inode != 0 && rights[1] == '-' && rights[3] == 'p' && line[n] == '/';
            m = (struct mapping){.from = from, .to = file ? to : 0, .has_own = true};
        } else if (sscanf(line, "Anonymous: %lu", &own) == 1) {
            m.has_own = own != 0;
        }
    }
    let_go(&m);
    fclose(f);
}
