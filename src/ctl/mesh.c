/* SPDX-License-Identifier: GPL-3.0-or-later
 * mesh.c - see mesh.h; and `ringwallctl lint` */
#include <string.h>

#include <ringwall/config/node_config.h>
#include <ringwall/wire/json.h>

#include "ctl.h"
#include "mesh.h"

static int read_with(const struct mesh_options *o, struct diag_list *diags, struct world **ret) {
    cleanup(mesh_loader_freep) struct mesh_loader *loader = NULL;
    int r = mesh_loader_new(o, &loader);
    return r ? r : mesh_load(loader, 1, diags, ret);
}

int mesh_read_as(const struct mesh_options *o, struct diag_list *diags, struct world **ret) {
    int r = read_with(o, diags, ret);
    if (r < 0)
        complain("%s: %s", o->dir, strerror(-r));
    diag_sort(diags);
    return r;
}

static int read_with_defaults(const char *dir, struct diag_list *diags, struct world **ret) {
    struct world_settings settings = {.trust_domain = STR("cluster.local"),
                                      .root_namespace = STR("istio-system"),
                                      .cluster = STR("Kubernetes"),
                                      .cluster_domain = STR("cluster.local")};
    struct mesh_options o = {.dir = dir, .settings = &settings, .enrol = MESH_ENROL_LABEL, .bytes_max = MESH_BYTES_DEFAULT};
    return read_with(&o, diags, ret);
}

static int read_with_node_file(const char *dir, const char *node_file, struct diag_list *diags, struct world **ret) {
    cleanup(node_config_freep) struct node_config *c = NULL;
    int r = node_config_load(node_file, diags, &c);
    if (r)
        return r;
    struct mesh_options o = {.dir = dir,
                             .settings = &c->world,
                             .enrol = c->capture.enrol == ENROL_ALL    ? MESH_ENROL_ALL
                                      : c->capture.enrol == ENROL_NONE ? MESH_ENROL_NONE
                                                                       : MESH_ENROL_LABEL,
                             .bytes_max = c->limits.mesh_bytes};
    return read_with(&o, diags, ret);
}

int mesh_read(const char *dir, const char *node_file, struct diag_list *diags, struct world **ret) {
    int r = node_file ? read_with_node_file(dir, node_file, diags, ret) : read_with_defaults(dir, diags, ret);
    if (r < 0)
        complain("%s: %s", dir, strerror(-r));
    diag_sort(diags);
    return r;
}

void print_diags(const struct diag_list *diags, FILE *to) {
    for (size_t i = 0; i < diags->n; i++) {
        struct growing line cleanup(growing_deinit) = GROWING_NULL;
        diag_format(&diags->items[i], &line);
        put_text(to, (struct str){line.at, line.n});
        putc('\n', to);
    }
    size_t n = diags->n_errors + diags->n_warnings;
    if (n > diags->n)
        complain("%zu more errors and warnings are not shown", n - diags->n);
}

static bool print_diags_json(const struct diag_list *diags) {
    struct growing g cleanup(growing_deinit) = GROWING_NULL;
    struct json_writer w;
    json_begin(&w, &g, true);
    json_array(&w, NULL);
    for (size_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->items[i];
        json_object(&w, NULL);
        json_z(&w, "file", d->file);
        json_u64(&w, "line", d->line);
        json_u64(&w, "column", d->column);
        json_z(&w, "severity", d->severity == DIAG_ERROR ? "error" : "warning");
        json_z(&w, "text", d->text);
        json_end(&w);
    }
    json_end(&w);
    if (!g.failed)
        fputs(g.at, stdout);
    return !g.failed;
}

int lint_command(const struct command_line *l) {
    if (l->n_words == 0) {
        complain("lint needs the mesh directory; see ringwallctl lint --help");
        return EXIT_USAGE;
    }
    cleanup(diag_list_deinit) struct diag_list diags = DIAG_LIST_NULL;
    cleanup(world_freep) struct world *w = NULL;
    int r = mesh_read(l->words[0], l->options[CTL_CONFIG], &diags, &w);
    if (wants_json(l))
        return print_diags_json(&diags) && r == 0 ? EXIT_DONE : EXIT_FAILED;
    print_diags(&diags, stdout);
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}
