/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/loader.h - the two halves of mesh_load, for the thread that wants to act between them */
#pragma once

#include <ringwall/config/mesh.h>

/* Called during a refresh with the directories that matter, before the files are read for good: who watches them from
 * here on misses nothing. */
typedef int (*mesh_dirs_fn)(void *context, const struct str *dirs, size_t n, bool has_links);
/* Called when the files were read: true says that nothing changed since the refresh began, for certain; else the loader
 * lists the directory a second time and compares. */
typedef bool (*mesh_quiet_fn)(void *context);
/* Called after each file that was parsed. */
typedef void (*mesh_pace_fn)(void *context);
void mesh_loader_watch(struct mesh_loader *l, mesh_dirs_fn dirs, mesh_quiet_fn quiet, mesh_pace_fn pace, void *context);

/* Brings the parsed files up to date. 0; 1: errors in diags that lie in no file's text (a directory, a symlink, a bound);
 * negative errno. *ret_changed: some file came, went or changed. */
int mesh_refresh(struct mesh_loader *l, struct diag_list *diags, bool *ret_changed) must_check;
/* A world of what was read last. 0; 1: errors in diags; negative errno. */
int mesh_build(struct mesh_loader *l, uint64_t number, struct diag_list *diags, struct world **ret) must_check;
size_t mesh_n_files(const struct mesh_loader *l);
size_t mesh_n_parsed(const struct mesh_loader *l); /* files parsed since the loader was made */
