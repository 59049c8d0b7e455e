/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/files.h - which manifest files a directory holds, and which directories must be watched to hear of changes
 *
 * The order is that of the names, so the same tree gives the same list. Nothing is read here but directories. */
#pragma once

#include <time.h>

#include <ringwall/base/arena.h>
#include <ringwall/model/diag.h>

struct file_id { /* equal: the file was not written since */
    uint64_t dev, ino, size;
    struct timespec mtime, ctime;
};
struct found_file {
    struct str path; /* dir/relative, NUL behind */
    struct file_id id;
};
struct found {
    struct arena arena;
    struct found_file *files; /* heap */
    struct str *dirs;         /* heap; entered ones, and those that symlinks lead to */
    struct file_id *dir_ids;  /* heap; theirs, from before they were read: a name that was swapped and swapped back shows */
    size_t n_files, n_dirs, cap_files, cap_dirs;
    uint64_t n_bytes;
    bool has_links; /* symlinks: a change may happen where no watch is */
};
#define FOUND_NULL ((struct found){0})

enum { FILES_ENTRIES_MAX = 1000000 };
/* 0; 1: errors in diags (`found` has what was seen until then); negative errno. */
int files_find(const char *dir, uint64_t bytes_max, struct diag_list *diags, struct found *found) must_check;
bool found_is(const struct found *a, const struct found *b); /* the same files, unchanged, and directories */
bool is_manifest_name(const char *name);                     /* by its ending */
void found_deinit(struct found *f);

struct stat;
struct file_id file_id_of(const struct stat *st);
bool file_id_is(const struct file_id *a, const struct file_id *b);
