/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/io.h - whole files, bounded and crash-safe */
#pragma once

#include <ringwall/base/str.h>

/* Reads a regular file (symlinks followed) into a NUL-terminated heap buffer. -EFBIG past n_max, -ENOTSUP when it is
 * not a regular file, else the errno of open or read. */
int io_read_file(const char *path, size_t n_max, char **ret, size_t *ret_n) must_check;
/* Temp file beside it, fsync, rename, fsync of the directory: a crash leaves the old or the new. */
int io_write_file(const char *path, const void *bytes, size_t n, mode_t mode) must_check;
int io_make_dirs(const char *path, mode_t mode) must_check; /* as mkdir -p; an existing directory is fine */
