/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/files.c - see files.h
 *
 * Directories and files are known by device and inode, so a symlink cycle ends and a file with two names counts once. A
 * name that vanishes between listing and stat is a change in progress; the caller's second look will see it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringwall/base/err.h>
#include <ringwall/base/map.h>
#include <ringwall/config/mesh.h>

#include "files.h"

struct seen { /* a file or directory that was met; in the walk's arena */
    struct map_node node;
    uint64_t key[3];
};
enum seen_as { SEEN_WALKED, SEEN_LINKED }; /* a directory that a symlink leads to is watched, and may still be walked */
struct walk {
    struct found *found;
    struct diag_list *diags;
    struct arena arena; /* of the walk only */
    struct map seen;
    uint64_t bytes_max;
    size_t n_entries;
    struct str last_link_dir; /* where the symlink before led to: mostly where the next one leads */
    bool full;                /* a bound was met and said */
};

struct file_id file_id_of(const struct stat *st) {
    return (struct file_id){st->st_dev, st->st_ino, (uint64_t)st->st_size, st->st_mtim, st->st_ctim};
}

static bool time_is(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool file_id_is(const struct file_id *a, const struct file_id *b) {
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && time_is(&a->mtime, &b->mtime) &&
           time_is(&a->ctime, &b->ctime);
}

static void complain(struct walk *w, struct str path, const char *what) {
    struct origin at = {.file = path};
    diag_addf(w->diags, DIAG_ERROR, &at, "%s", what);
}

/* 0: first time; 1: met before. */
static int meet(struct walk *w, const struct stat *st, enum seen_as as) {
    struct seen *s = arena_alloc(&w->arena, sizeof(*s));
    if (!s)
        return err_origin(-ENOMEM);
    s->key[0] = st->st_dev;
    s->key[1] = st->st_ino;
    s->key[2] = as;
    return map_insert(&w->seen, &s->node, s->key, sizeof(s->key));
}

static int add_dir(struct found *f, struct str path) {
    bool ok = true;
    struct stat st;
    if (f->n_dirs == f->cap_dirs) {
        size_t cap = max_of(f->cap_dirs * 2, (size_t)16);
        struct str *dirs = reallocarray(f->dirs, cap, sizeof(*dirs));
        if (dirs)
            f->dirs = dirs;
        struct file_id *ids = reallocarray(f->dir_ids, cap, sizeof(*ids));
        if (ids)
            f->dir_ids = ids;
        if (!dirs || !ids)
            return err_origin(-ENOMEM);
        f->cap_dirs = cap;
    }
    struct str copy = arena_str(&f->arena, path, &ok);
    if (!ok)
        return err_origin(-ENOMEM);
    f->dir_ids[f->n_dirs] = stat(copy.at, &st) == 0 ? file_id_of(&st) : (struct file_id){0};
    f->dirs[f->n_dirs++] = copy;
    return 0;
}

static int add_file(struct walk *w, struct str path, const struct stat *st) {
    struct found *f = w->found;
    int r = meet(w, st, SEEN_WALKED);
    if (r)
        return r < 0 ? r : 0;
    if (f->n_files == MESH_FILES_MAX) {
        struct origin at = {.file = path};
        diag_addf(w->diags, DIAG_ERROR, &at,
                  "the mesh directory has more than %d manifest files: put several objects into one file", MESH_FILES_MAX);
        w->full = true;
        return 0;
    }
    if ((uint64_t)st->st_size > w->bytes_max || f->n_bytes > w->bytes_max - (uint64_t)st->st_size) {
        struct origin at = {.file = path};
        diag_addf(w->diags, DIAG_ERROR, &at,
                  "with this file the mesh directory has more than limits.meshBytes (%llu bytes): remove files, or raise "
                  "limits.meshBytes in "
                  "the node file",
                  (unsigned long long)w->bytes_max);
        w->full = true;
        return 0;
    }
    f->n_bytes += (uint64_t)st->st_size;
    if (f->n_files == f->cap_files) {
        size_t cap = max_of(f->cap_files * 2, (size_t)64);
        struct found_file *files = reallocarray(f->files, cap, sizeof(*files));
        if (!files)
            return err_origin(-ENOMEM);
        f->files = files;
        f->cap_files = cap;
    }
    bool ok = true;
    struct str copy = arena_str(&f->arena, path, &ok);
    if (!ok)
        return err_origin(-ENOMEM);
    f->files[f->n_files++] = (struct found_file){.path = copy, .id = file_id_of(st)};
    return 0;
}

/* Names where a symlink leads: the directory of its final target, and each directory on the way in which a name is itself
 * a symlink, since swapping that one changes what we read (..data of a mounted ConfigMap, "current" of a release). */
static int note_link(struct walk *w, int dir_fd, struct str dir, const char *name) {
    char target[4096], path[8192], real[4096];
    ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);
    struct stat st;
    int r;
    w->found->has_links = true;
    if (n < 0)
        return 0; /* it is gone: the second look will tell */
    target[n] = 0;
    struct text t = TEXT_OVER(path);
    if (target[0] != '/')
        text_addf(&t, STR_FMT "/", STR_ARG(dir));
    text_addf(&t, "%s", target);
    char *slash = strrchr(path, '/');
    if (t.full || !slash)
        return 0;
    *slash = 0;
    struct str link_dir = {path, (size_t)(slash - path)};
    if (str_is(link_dir, w->last_link_dir))
        return 0;
    bool ok = true;
    w->last_link_dir = arena_str(&w->arena, link_dir, &ok);
    if (!ok)
        return err_origin(-ENOMEM);
    if (realpath(*path ? path : "/", real) && stat(real, &st) == 0) {
        r = meet(w, &st, SEEN_LINKED);
        r = r ? (r < 0 ? r : 0) : add_dir(w->found, str_of(real));
        if (r < 0)
            return r;
    }
    for (char *at = path + strspn(path, "/"); *at;) {
        char *end = at + strcspn(at, "/"), kept = *end;
        *end = 0;
        bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
        if (is_link) {
            struct str parent = at == path ? STR(".") : at == path + 1 ? STR("/") : (struct str){path, (size_t)(at - path) - 1};
            r = add_dir(w->found, parent);
            if (r < 0)
                return r;
        }
        *end = kept;
        at = end + strspn(end, "/");
    }
    return 0;
}

bool is_manifest_name(const char *name) {
    struct str s = str_of(name);
    return str_has_suffix(s, STR(".yaml")) || str_has_suffix(s, STR(".yml")) || str_has_suffix(s, STR(".json"));
}

struct names {
    char **items;
    size_t n, cap;
};
static void names_deinit(struct names *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i]);
    free(l->items);
}
static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int list_names(struct walk *w, DIR *dir, struct str path, struct names *ret) {
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e)
            break;
        if (e->d_name[0] == '.')
            continue;
        if (++w->n_entries > FILES_ENTRIES_MAX) {
            complain(w, path, "the mesh directory has more than 1000000 entries: keep only manifests in it");
            w->full = true;
            return 0;
        }
        if (ret->n == ret->cap) {
            size_t cap = max_of(ret->cap * 2, (size_t)32);
            char **items = reallocarray(ret->items, cap, sizeof(*items));
            if (!items)
                return err_origin(-ENOMEM);
            ret->items = items;
            ret->cap = cap;
        }
        ret->items[ret->n] = strdup(e->d_name);
        if (!ret->items[ret->n])
            return err_origin(-ENOMEM);
        ret->n++;
    }
    if (errno)
        complain(w, path, "the directory cannot be read: see to its medium");
    if (ret->n)
        qsort(ret->items, ret->n, sizeof(*ret->items), compare_names);
    return 0;
}

static int walk_dir(struct walk *w, struct str path, unsigned depth);

static int visit(struct walk *w, int dir_fd, struct str dir, const char *name, unsigned depth) {
    struct stat own, st;
    size_t n_name = strlen(name);
    char *joined = arena_alloc(&w->arena, dir.n + n_name + 2); /* zeroed: the NUL is there */
    if (!joined)
        return err_origin(-ENOMEM);
    memcpy(joined, dir.at, dir.n);
    joined[dir.n] = '/';
    memcpy(joined + dir.n + 1, name, n_name);
    struct str path = {joined, dir.n + 1 + n_name};
    if (fstatat(dir_fd, name, &own, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    st = own;
    if (S_ISLNK(own.st_mode)) {
        int r = note_link(w, dir_fd, dir, name);
        if (r)
            return r;
        if (fstatat(dir_fd, name, &st, 0) < 0) {
            complain(w, path,
                     errno == EACCES ? "the target of this symlink may not be read: give the daemon the right to"
                                     : "this symlink leads nowhere: remove it, or put its target back");
            return 0;
        }
    }
    if (S_ISDIR(st.st_mode)) {
        int r = meet(w, &st, SEEN_WALKED);
        return r ? (r < 0 ? r : 0) : walk_dir(w, path, depth + 1);
    }
    if (!is_manifest_name(name))
        return 0;
    if (!S_ISREG(st.st_mode)) {
        complain(w, path, "this is no regular file: remove it, or give it another name");
        return 0;
    }
    return add_file(w, path, &st);
}

static void dir_close_p(DIR **d) {
    if (*d)
        closedir(*d);
}

static int walk_dir(struct walk *w, struct str path, unsigned depth) {
    cleanup(names_deinit) struct names names = {0};
    if (depth > MESH_DEPTH_MAX) {
        complain(w, path, "directories are nested deeper than 16: put the manifests higher up");
        return 0;
    }
    cleanup(dir_close_p) DIR *dir = opendir(path.at);
    if (!dir && errno == ENOENT && depth > 0)
        return 0; /* gone since it was listed */
    if (!dir && errno == ENOMEM)
        return err_origin(-ENOMEM);
    if (!dir) {
        struct origin at = {.file = path};
        diag_addf(w->diags, DIAG_ERROR, &at, "the directory cannot be opened (%s): %s", strerror(errno),
                  errno == ENOENT    ? "create it, or write another meshDir in the node file"
                  : errno == ENOTDIR ? "name the directory that holds the manifests"
                                     : "give the daemon the right to read it");
        return 0;
    }
    int r = add_dir(w->found, path);
    if (r == 0)
        r = list_names(w, dir, path, &names);
    for (size_t i = 0; r == 0 && i < names.n && !w->full; i++)
        r = visit(w, dirfd(dir), path, names.items[i], depth);
    return r;
}

static void walk_deinit(struct walk *w) {
    map_deinit(&w->seen);
    arena_deinit(&w->arena);
}

int files_find(const char *dir, uint64_t bytes_max, struct diag_list *diags, struct found *found) {
    cleanup(walk_deinit) struct walk w = {.found = found, .diags = diags, .bytes_max = bytes_max};
    size_t n_errors = diags->n_errors;
    struct str path = str_of(dir);
    struct stat st;
    bool ok = true;
    int r = map_init(&w.seen, 64);
    if (r)
        return err_trace(r);
    while (path.n > 1 && path.at[path.n - 1] == '/')
        path.n--;
    path = arena_str(&w.arena, path, &ok);
    if (!ok)
        return err_origin(-ENOMEM);
    if (stat(path.at, &st) == 0) {
        r = meet(&w, &st, SEEN_WALKED);
        if (r < 0)
            return err_trace(r);
    }
    r = walk_dir(&w, path, 0);
    if (r)
        return err_trace(r);
    return diags->n_errors > n_errors;
}

bool found_is(const struct found *a, const struct found *b) {
    if (a->n_files != b->n_files || a->n_dirs != b->n_dirs)
        return false;
    for (size_t i = 0; i < a->n_files; i++)
        if (!file_id_is(&a->files[i].id, &b->files[i].id) || !str_is(a->files[i].path, b->files[i].path))
            return false;
    for (size_t i = 0; i < a->n_dirs; i++)
        if (!str_is(a->dirs[i], b->dirs[i]) || !file_id_is(&a->dir_ids[i], &b->dir_ids[i]))
            return false;
    return true;
}

void found_deinit(struct found *f) {
    free(f->files);
    free(f->dirs);
    free(f->dir_ids);
    arena_deinit(&f->arena);
    *f = FOUND_NULL;
}
