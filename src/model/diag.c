/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/diag.c - collect errors and warnings about the user's files
 *
 * A diagnostic that cannot be kept (bound, memory) is still counted, so a set with an error is never taken for clean. */
#include <stdio.h>
#include <stdlib.h>

#include <ringwall/model/diag.h>

static bool make_room(struct diag_list *l) {
    if (l->n < l->cap)
        return true;
    size_t cap = l->cap ? min_of(l->cap * 2, (size_t)DIAG_MAX) : 16;
    struct diag *items = cap > l->n ? realloc(l->items, cap * sizeof(*items)) : NULL;
    if (!items)
        return false;
    l->items = items;
    l->cap = cap;
    return true;
}

void diag_addf(struct diag_list *l, enum diag_severity severity, const struct origin *at, const char *fmt, ...) {
    cleanup_free char *file = NULL, *text = NULL;
    va_list ap;
    int n;

    if (severity == DIAG_ERROR)
        l->n_errors++;
    else
        l->n_warnings++;
    if (!make_room(l))
        return;
    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        text = NULL; /* undefined after a failure */
        return;
    }
    file = str_dup(at ? at->file : STR_NULL);
    if (!file)
        return;
    l->items[l->n++] = (struct diag){.severity = severity,
                                     .file = take_ptr(file),
                                     .line = at ? at->line : 0,
                                     .column = at ? at->column : 0,
                                     .text = take_ptr(text)};
}

static int compare(const void *x, const void *y) {
    const struct diag *a = x, *b = y;
    int r = strcmp(a->file, b->file);

    if (!r)
        r = (a->line > b->line) - (a->line < b->line);
    if (!r)
        r = (a->column > b->column) - (a->column < b->column);
    if (!r)
        r = (int)a->severity - (int)b->severity;
    return r ? r : strcmp(a->text, b->text); /* the same files give the same list, whatever qsort does with equals */
}

void diag_sort(struct diag_list *l) {
    if (l->n > 1)
        qsort(l->items, l->n, sizeof(*l->items), compare);
}

void diag_list_deinit(struct diag_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        free(l->items[i].file);
        free(l->items[i].text);
    }
    free(l->items);
    *l = DIAG_LIST_NULL;
}

/* The user's own bytes are quoted in texts and file names: one diagnostic stays one line. */
static void add_printable(struct growing *to, const char *z) {
    for (; *z; z++) {
        char c = (unsigned char)*z < 0x20 || *z == 0x7f ? '?' : *z;
        growing_add(to, (struct str){&c, 1});
    }
}

void diag_format(const struct diag *d, struct growing *to) {
    add_printable(to, d->file);
    growing_addf(to, ":%u:%u: %s: ", d->line ? d->line : 1, d->column ? d->column : 1,
                 d->severity == DIAG_ERROR ? "error" : "warning");
    add_printable(to, d->text);
}
