/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/mesh.h - the mesh directory to a world: manifests parsed, validated, built; no thread, used by the daemon and by
 * ringwallctl
 *
 * Files: *.yaml, *.yml, *.json below the directory, dot names not entered, symlinks followed, one object of a mounted
 * ConfigMap once. A parsed file is kept and parsed again only when its identity (inode, size, mtime) changed. */
#pragma once

#include <ringwall/model/world.h>

enum { MESH_FILES_MAX = 100000, MESH_DEPTH_MAX = 16 };
struct mesh_loader;
struct mesh_options {
    const char *dir;                       /* diagnostics name files as dir/... */
    const struct world_settings *settings; /* copied */
    enum { MESH_ENROL_LABEL, MESH_ENROL_ALL, MESH_ENROL_NONE } enrol;
    uint64_t bytes_max; /* limits.meshBytes */
};
int mesh_loader_new(const struct mesh_options *o, struct mesh_loader **ret) must_check;
struct mesh_loader *mesh_loader_free(struct mesh_loader *l);
DEFINE_FREEP(struct mesh_loader, mesh_loader_free)
/* Reads what changed and builds a world. 0; 1: errors in diags, no world; negative errno. diags also gets warnings. */
int mesh_load(struct mesh_loader *l, uint64_t number, struct diag_list *diags, struct world **ret) must_check;
