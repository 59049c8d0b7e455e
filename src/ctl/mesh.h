/* SPDX-License-Identifier: GPL-3.0-or-later
 * mesh.h - a mesh directory read with no daemon, by the daemon's own loader */
#pragma once

#include <stdio.h>

#include <ringwall/config/mesh.h>

enum { MESH_BYTES_DEFAULT = 512 * 1024 * 1024 };

/* node_file NULL: the defaults of DESIGN 6; nothing below /etc is read. 0; 1: errors, in diags; negative errno, told. */
int mesh_read(const char *dir, const char *node_file, struct diag_list *diags, struct world **ret) must_check;
int mesh_read_as(const struct mesh_options *o, struct diag_list *diags, struct world **ret) must_check; /* the same */
void print_diags(const struct diag_list *diags, FILE *to); /* a line each; how many were not kept goes to stderr */
