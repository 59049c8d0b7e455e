/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/mesh.c - see config/mesh.h and loader.h
 *
 * A load sees one state of the directory or none: after all files were read, the directory is listed again (unless a
 * watcher vouches that nothing happened), and when anything differs from the first listing the reading begins anew (READ_TRIES_MAX
 * times). So a swap of ..data in the middle never gives half of the old and half of the new. A file is parsed again only when its
 * bytes changed. Its time stamps decide whether it is read again; a stamp that is as young as the reading proves nothing, since a
 * second write may leave the same one, and such a file is read again and compared by hash. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/clock.h>
#include <ringwall/base/err.h>
#include <ringwall/base/map.h>
#include <ringwall/base/rng.h>
#include <ringwall/config/mesh.h>

#include "files.h"
#include "join.h"
#include "loader.h"

enum { READ_TRIES_MAX = 5, STAMP_GRAIN_MS = 100 };
static const uint64_t bytes_max_default = 512ull << 20;

struct cached {
    struct map_node node; /* by path */
    char *path;
    struct file_id id;
    uint64_t hash;
    bool racy;     /* read within the grain of its time stamp */
    uint64_t turn; /* of the refresh that saw it last */
    struct manifest manifest;
};
struct mesh_loader {
    struct arena arena;
    struct mesh_options options;
    struct world_settings settings;
    struct map files;
    uint64_t turn;
    uint64_t hash_seed[2];
    const struct manifest **manifests; /* in the order of the names; of the last good refresh */
    size_t n_manifests, n_parsed;
    mesh_dirs_fn watch; /* NULL: nobody watches */
    mesh_quiet_fn quiet;
    mesh_pace_fn pace;
    void *watch_context;
};

static void copy_settings(struct mesh_loader *l, const struct world_settings *from, bool *ok) {
    struct world_settings *to = &l->settings;
    to->node = arena_str(&l->arena, from->node, ok);
    to->trust_domain = arena_str(&l->arena, from->trust_domain, ok);
    to->root_namespace = arena_str(&l->arena, from->root_namespace, ok);
    to->cluster = arena_str(&l->arena, from->cluster, ok);
    to->cluster_domain = arena_str(&l->arena, from->cluster_domain, ok);
    to->network = arena_str(&l->arena, from->network, ok);
    to->trust_domain_aliases = arena_array(&l->arena, struct str, from->n_trust_domain_aliases);
    *ok &= to->trust_domain_aliases != NULL;
    for (size_t i = 0; *ok && i < from->n_trust_domain_aliases; i++)
        to->trust_domain_aliases[i] = arena_str(&l->arena, from->trust_domain_aliases[i], ok);
    to->n_trust_domain_aliases = *ok ? from->n_trust_domain_aliases : 0;
}

int mesh_loader_new(const struct mesh_options *o, struct mesh_loader **ret) {
    cleanup(mesh_loader_freep) struct mesh_loader *l = calloc(1, sizeof(*l));
    bool ok = true;
    if (!l)
        return err_origin(-ENOMEM);
    copy_settings(l, o->settings, &ok);
    l->options = *o;
    l->options.dir = arena_str(&l->arena, str_of(o->dir), &ok).at;
    l->options.settings = &l->settings;
    if (l->options.bytes_max == 0)
        l->options.bytes_max = bytes_max_default;
    if (!ok || map_init(&l->files, 64))
        return err_origin(-ENOMEM);
    rng_secret(l->hash_seed, sizeof(l->hash_seed));
    *ret = take_ptr(l);
    return 0;
}

static struct cached *cached_free(struct cached *c) {
    if (!c)
        return NULL;
    manifest_deinit(&c->manifest);
    free(c->path);
    free(c);
    return NULL;
}
DEFINE_FREEP(struct cached, cached_free)

struct mesh_loader *mesh_loader_free(struct mesh_loader *l) {
    if (!l)
        return NULL;
    size_t cursor = 0;
    for (struct map_node *n = NULL; (n = map_next(&l->files, &cursor, NULL));) {
        map_remove(&l->files, n);
        cached_free(map_entry(n, struct cached, node));
    }
    map_deinit(&l->files);
    free(l->manifests);
    arena_deinit(&l->arena);
    free(l);
    return NULL;
}

void mesh_loader_watch(struct mesh_loader *l, mesh_dirs_fn dirs, mesh_quiet_fn quiet, mesh_pace_fn pace, void *context) {
    l->watch = dirs;
    l->quiet = quiet;
    l->pace = pace;
    l->watch_context = context;
}
size_t mesh_n_files(const struct mesh_loader *l) { return l->n_manifests; }
size_t mesh_n_parsed(const struct mesh_loader *l) { return l->n_parsed; }

/* Whole file as it was when it was listed. 0; 1: it changed since; 2: it cannot be read, said; negative errno. */
static int read_whole(const struct found_file *f, struct diag_list *diags, char **ret) {
    cleanup_fd int fd = open(f->path.at, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENOTDIR))
        return 1;
    if (fd < 0 && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
        return err_origin(-errno);
    if (fd < 0) {
        struct origin at = {.file = f->path};
        diag_addf(diags, DIAG_ERROR, &at, "the file cannot be opened (%s): give the daemon the right to read it", strerror(errno));
        return 2;
    }
    if (fstat(fd, &st) < 0)
        return err_origin(-errno);
    struct file_id id = file_id_of(&st);
    if (!S_ISREG(st.st_mode) || !file_id_is(&id, &f->id))
        return 1;
    cleanup_free char *text = malloc((size_t)f->id.size + 2);
    size_t n = 0;
    if (!text)
        return err_origin(-ENOMEM);
    while (n <= f->id.size) { /* one byte more than there should be shows that it grew */
        ssize_t got = read(fd, text + n, (size_t)f->id.size + 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            struct origin at = {.file = f->path};
            diag_addf(diags, DIAG_ERROR, &at, "the file cannot be read (%s): see to its medium", strerror(errno));
            return 2;
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    if (fstat(fd, &st) < 0)
        return err_origin(-errno);
    id = file_id_of(&st);
    if (n != f->id.size || !file_id_is(&id, &f->id))
        return 1;
    text[n] = 0;
    *ret = take_ptr(text);
    return 0;
}

static bool is_racy(const struct file_id *id, int64_t read_ns) {
    int64_t stamp = (int64_t)id->ctime.tv_sec * (int64_t)NS_PER_S + id->ctime.tv_nsec;
    return stamp + STAMP_GRAIN_MS * (int64_t)NS_PER_MS > read_ns;
}

static struct cached *find_cached(struct mesh_loader *l, struct str path) {
    struct map_node *n = map_find(&l->files, path.at, path.n);
    return n ? map_entry(n, struct cached, node) : NULL;
}

static int parse(struct mesh_loader *l, const struct found_file *f, const char *text, uint64_t hash, struct cached **ret) {
    cleanup(cached_freep) struct cached *c = calloc(1, sizeof(*c));
    if (!c)
        return err_origin(-ENOMEM);
    c->path = str_dup(f->path);
    c->hash = hash;
    if (!c->path)
        return err_origin(-ENOMEM);
    l->n_parsed++;
    int r = manifest_parse(&c->manifest, f->path, (struct str){text, (size_t)f->id.size}, l->settings.cluster_domain);
    if (r)
        return err_trace(r);
    *ret = take_ptr(c);
    return 0;
}

/* 0; 1: it changes while we look; 2: said; negative errno. */
static int take_file(struct mesh_loader *l, const struct found_file *f, struct diag_list *diags, bool *changed) {
    struct cached *c = find_cached(l, f->path), *fresh = NULL;
    cleanup_free char *text = NULL;
    int64_t now = clock_wall_ns();
    if (c && !c->racy && file_id_is(&c->id, &f->id)) {
        c->turn = l->turn;
        return 0;
    }
    int r = read_whole(f, diags, &text);
    if (r)
        return r;
    uint64_t hash = hash_bytes(l->hash_seed, text, (size_t)f->id.size);
    if (!c || c->hash != hash || c->id.size != f->id.size) {
        r = parse(l, f, text, hash, &fresh);
        if (r)
            return err_trace(r);
        if (c) {
            map_remove(&l->files, &c->node);
            cached_free(c);
        }
        c = fresh;
        ignore_result(map_insert(&l->files, &c->node, c->path, f->path.n)); /* an equal one was just removed */
        *changed = true;
        if (l->pace)
            l->pace(l->watch_context);
    }
    c->id = f->id;
    c->racy = is_racy(&f->id, now);
    c->turn = l->turn;
    return 0;
}

/* One look at the directory. 0; 1: it changes while we look; 2: errors said; negative errno. */
static int look(struct mesh_loader *l, struct diag_list *diags, struct found *found, bool *changed) {
    cleanup(found_deinit) struct found again = FOUND_NULL;
    cleanup(diag_list_deinit) struct diag_list again_diags = DIAG_LIST_NULL;
    bool said = false;
    int r = files_find(l->options.dir, l->options.bytes_max, diags, found);
    if (r < 0)
        return err_trace(r);
    said = r > 0;
    if (l->watch) {
        r = l->watch(l->watch_context, found->dirs, found->n_dirs, found->has_links);
        if (r < 0)
            return err_trace(r);
    }
    for (size_t i = 0; i < found->n_files; i++) {
        r = take_file(l, &found->files[i], diags, changed);
        if (r < 0)
            return err_trace(r);
        if (r == 1)
            return 1;
        said |= r == 2;
    }
    if (l->quiet && l->quiet(l->watch_context))
        return said ? 2 : 0;
    r = files_find(l->options.dir, l->options.bytes_max, &again_diags, &again);
    if (r < 0)
        return err_trace(r);
    if (!found_is(found, &again) || (diags->n_errors > 0) < (again_diags.n_errors > 0))
        return 1;
    return said ? 2 : 0;
}

/* Lets go of files that no look since `turn` has seen. */
static bool purge(struct mesh_loader *l, uint64_t turn) {
    bool any = false;
    size_t cursor = 0;
    struct map_node *n = map_next(&l->files, &cursor, NULL);
    while (n) {
        struct cached *c = map_entry(n, struct cached, node);
        n = map_next(&l->files, &cursor, n);
        if (c->turn >= turn)
            continue;
        map_remove(&l->files, &c->node);
        cached_free(c);
        any = true;
    }
    return any;
}

static int keep(struct mesh_loader *l, const struct found *found) {
    const struct manifest **manifests = reallocarray(NULL, max_of(found->n_files, (size_t)1), sizeof(*manifests));
    if (!manifests)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < found->n_files; i++)
        manifests[i] = &find_cached(l, found->files[i].path)->manifest;
    free(l->manifests);
    l->manifests = manifests;
    l->n_manifests = found->n_files;
    return 0;
}

static void move_diags(struct diag_list *to, const struct diag_list *from) {
    for (size_t i = 0; i < from->n; i++) {
        const struct diag *d = &from->items[i];
        struct origin at = {str_of(d->file), d->line, d->column};
        diag_addf(to, d->severity, &at, "%s", d->text);
    }
}

int mesh_refresh(struct mesh_loader *l, struct diag_list *diags, bool *ret_changed) {
    uint64_t first_turn = l->turn + 1;
    bool changed = false;
    l->n_manifests = 0; /* what they point to may go */
    for (unsigned i = 0; i < READ_TRIES_MAX; i++) {
        cleanup(found_deinit) struct found found = FOUND_NULL;
        cleanup(diag_list_deinit) struct diag_list own = DIAG_LIST_NULL;
        l->turn++;
        int r = look(l, &own, &found, &changed);
        if (r < 0)
            return err_trace(r);
        if (r == 1)
            continue;
        if (r == 2) {
            move_diags(diags, &own);
            purge(l, first_turn);
            *ret_changed = true;
            return 1;
        }
        r = keep(l, &found);
        if (r)
            return err_trace(r);
        changed |= purge(l, l->turn);
        *ret_changed = changed;
        return 0;
    }
    purge(l, first_turn);
    struct origin at = {.file = str_of(l->options.dir)};
    diag_addf(diags, DIAG_ERROR, &at, "the directory keeps changing while it is read: put files in place by renaming them");
    *ret_changed = true;
    return 1;
}

int mesh_build(struct mesh_loader *l, uint64_t number, struct diag_list *diags, struct world **ret) {
    size_t n_errors = diags->n_errors;
    /* Errors first: the list is bounded, and a thousand warnings must not hide what refused the set. */
    for (int severity = DIAG_ERROR; severity <= DIAG_WARNING; severity++)
        for (size_t i = 0; i < l->n_manifests; i++) {
            const struct diag_list *from = &l->manifests[i]->diags;
            for (size_t k = 0; k < from->n; k++) {
                const struct diag *d = &from->items[k];
                struct origin at = {str_of(d->file), d->line, d->column};
                if ((int)d->severity == severity)
                    diag_addf(diags, d->severity, &at, "%s", d->text);
            }
            if (severity == DIAG_ERROR && from->n_errors > 0)
                n_errors = SIZE_MAX;
        }
    if (n_errors == SIZE_MAX)
        return 1;
    return err_trace(join_build(l->manifests, l->n_manifests, &l->options, number, diags, ret));
}

int mesh_load(struct mesh_loader *l, uint64_t number, struct diag_list *diags, struct world **ret) {
    bool changed;
    int r = mesh_refresh(l, diags, &changed);
    if (r == 0)
        r = mesh_build(l, number, diags, ret);
    diag_sort(diags);
    return err_trace(r);
}
