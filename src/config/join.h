/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/join.h - the objects of all files together: what only the whole set can say, and the input of world_build */
#pragma once

#include <ringwall/config/mesh.h>

#include "manifest.h"

/* Errors (an object given twice) and warnings go to diags. 0; 1: errors; -ENOMEM. The manifests stay as they are. */
int join_build(const struct manifest *const *manifests, size_t n, const struct mesh_options *o, uint64_t number,
               struct diag_list *diags, struct world **ret) must_check;
