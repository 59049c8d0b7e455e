/* SPDX-License-Identifier: GPL-3.0-or-later
 * tests/unit/config/manifest_file.h - manifests under data/, and what their "#! line:column: severity: text" lines expect */
#pragma once

#include <dirent.h>
#include <string.h>

#include <ringwall/base/io.h>

#include "manifest.h"
#include "unit.h"

static inline const char *data_dir(void) {
    const char *dir = getenv("CONFIG_DATA");
    assert_non_null(dir);
    return dir;
}

/* The diagnostics of a list, a line each, without the file's name. */
static inline char *diags_text(struct diag_list *l) {
    struct growing g = GROWING_NULL;
    diag_sort(l);
    growing_add(&g, STR(""));
    for (size_t i = 0; i < l->n; i++)
        growing_addf(&g, "%u:%u: %s: %s\n", l->items[i].line, l->items[i].column,
                     l->items[i].severity == DIAG_ERROR ? "error" : "warning", l->items[i].text);
    assert_false(g.failed);
    return g.at;
}

static inline char *expected_text(const char *text) {
    struct growing g = GROWING_NULL;
    growing_add(&g, STR(""));
    for (const char *at = text; (at = strstr(at, "#! ")); at++) {
        size_t n = strcspn(at + 3, "\n");
        if (at > text && at[-1] != '\n')
            continue;
        growing_addf(&g, "%.*s\n", (int)n, at + 3);
    }
    assert_false(g.failed);
    return g.at;
}

/* Parses every file of data/<kind> and compares; returns how many there were. */
static inline size_t check_data(const char *kind) {
    cleanup_free char *dir = NULL;
    size_t n_files = 0, n_failed = 0;
    assert_true(asprintf(&dir, "%s/%s", data_dir(), kind) > 0);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        cleanup_free char *path = NULL, *text = NULL;
        size_t n;
        if (e->d_name[0] == '.')
            continue;
        assert_true(asprintf(&path, "%s/%s", dir, e->d_name) > 0);
        assert_int_equal(io_read_file(path, 1 << 20, &text, &n), 0);
        struct manifest m = MANIFEST_NULL;
        assert_int_equal(manifest_parse(&m, str_of(e->d_name), (struct str){text, n}, STR("cluster.local")), 0);
        cleanup_free char *seen = diags_text(&m.diags), *expected = expected_text(text);
        if (strcmp(seen, expected)) {
            n_failed++;
            fprintf(stderr, "%s: expected\n%s\nseen\n%s\n", e->d_name, expected, seen);
        }
        manifest_deinit(&m);
        n_files++;
    }
    closedir(d);
    assert_int_equal(n_failed, 0);
    return n_files;
}
