/* SPDX-License-Identifier: GPL-3.0-or-later
 * follow.h - have these files changed? By inotify on their folders, and by a look at them every few seconds
 *
 * Folders are watched, not files: a rename into place gives a new inode, and a ..data swap is a rename in the folder. The
 * look every FOLLOW_LOOK_MS finds what no event tells (a folder that was replaced, a network mount, a lost watch). A change
 * is due once nothing more came for FOLLOW_QUIET_MS, and at the latest after FOLLOW_LATE_MS. */
#pragma once

#include <ringwall/base/defs.h>

enum { FOLLOW_QUIET_MS = 100, FOLLOW_LATE_MS = 1000, FOLLOW_LOOK_MS = 5000, FOLLOW_FILES_MAX = 80 };

struct follow;
int follow_new(struct follow **ret) must_check;
struct follow *follow_free(struct follow *f);
/* A file, which may be absent for now; its number is the count of those before. 1: too many. */
int follow_add(struct follow *f, const char *path) must_check;
int follow_fd(const struct follow *f); /* poll for reading */
/* Drains events. True when a change is due: ret_files has bit i set for file i, whose marks were compared; the next call
 * starts afresh. *ret_wait_ms: when to come again. */
struct follow_set {
    uint64_t bits[(FOLLOW_FILES_MAX + 63) / 64];
};
static inline bool follow_has(const struct follow_set *s, size_t i) { return s->bits[i / 64] >> (i % 64) & 1; }
bool follow_due(struct follow *f, uint64_t mono_ns, struct follow_set *ret_files, int *ret_wait_ms);
