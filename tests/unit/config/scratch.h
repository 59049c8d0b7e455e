/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/config/scratch.h - a directory of files for one test, gone with it */
#pragma once

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

#include <ringwall/base/io.h>
#include <ringwall/config/mesh.h>

#include "unit.h"

struct scratch {
    char dir[256];
};

static inline void scratch_init(struct scratch *s) { unit_directory(s->dir); }

static inline int scratch_remove(const char *path, const struct stat *st, int type, struct FTW *at) { return remove(path); }
static inline void scratch_deinit(struct scratch *s) {
    assert_int_equal(nftw(s->dir, scratch_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline char *scratch_path(const struct scratch *s, const char *name, char out[512]) {
    snprintf(out, 512, "%s/%s", s->dir, name);
    return out;
}
/* By rename, as users are told to; directories on the way are made. */
static inline void scratch_put(const struct scratch *s, const char *name, const char *text) {
    char path[512], parent[512];
    scratch_path(s, name, path);
    snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(io_make_dirs(parent, 0755), 0);
    assert_int_equal(io_write_file(path, text, strlen(text), 0644), 0);
}
/* In place: truncated, then written. */
static inline void scratch_overwrite(const struct scratch *s, const char *name, const char *text) {
    char path[512];
    FILE *f = fopen(scratch_path(s, name, path), "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}
static inline void scratch_drop(const struct scratch *s, const char *name) {
    char path[512];
    assert_int_equal(remove(scratch_path(s, name, path)), 0);
}
static inline void scratch_link(const struct scratch *s, const char *target, const char *name) {
    char path[512];
    assert_int_equal(symlink(target, scratch_path(s, name, path)), 0);
}

static inline struct mesh_options scratch_options(const struct scratch *s) {
    static const struct world_settings settings = {.node = STR("node-1"),
                                                   .trust_domain = STR("cluster.local"),
                                                   .root_namespace = STR("istio-system"),
                                                   .cluster = STR("Kubernetes"),
                                                   .cluster_domain = STR("cluster.local")};
    return (struct mesh_options){.dir = s->dir, .settings = &settings, .bytes_max = 1 << 20};
}

/* The diagnostics, a line each, with file names as below the directory. */
static inline char *scratch_diags(const struct scratch *s, struct diag_list *l) {
    struct growing g = GROWING_NULL;
    size_t n = strlen(s->dir);
    diag_sort(l);
    growing_add(&g, STR(""));
    for (size_t i = 0; i < l->n; i++) {
        const struct diag *d = &l->items[i];
        const char *file = !strncmp(d->file, s->dir, n) ? d->file + n + (d->file[n] == '/') : d->file;
        growing_addf(&g, "%s:%u:%u: %s: %s\n", file, d->line, d->column, d->severity == DIAG_ERROR ? "error" : "warning", d->text);
    }
    assert_false(g.failed);
    return g.at;
}

#define SCRATCH_POLICY(name, action) \
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " name \
    ", namespace: shop}\nspec:\n  action: " action "\n  rules: [{}]\n"
#define SCRATCH_NAMESPACE "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n"
#define SCRATCH_WORKLOAD(name, address, node) \
    "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: " name \
    ", namespace: shop, annotations: {ringwall.io/node: " node "}}\nspec: {address: " address ", labels: {app: " name "}}\n"
