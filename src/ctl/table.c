/* SPDX-License-Identifier: GPL-3.0-or-later
 * table.c - see table.h */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <libsmartcols.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "table.h"

struct table {
    struct libscols_table *scols;
    struct libscols_line *line;
    size_t n_columns, column;
    bool failed;
};

struct table *table_new(const char *const *columns, size_t n) {
    cleanup(table_freep) struct table *t = calloc(1, sizeof(*t));
    if (!t || !(t->scols = scols_new_table()))
        return NULL;
    t->n_columns = n;
    for (size_t i = 0; i < n; i++)
        if (!scols_table_new_column(t->scols, columns[i], 0, 0))
            return NULL;
    return take_ptr(t);
}

struct table *table_free(struct table *t) {
    if (!t)
        return NULL;
    if (t->scols)
        scols_unref_table(t->scols);
    free(t);
    return NULL;
}

void table_row(struct table *t) {
    t->line = scols_table_new_line(t->scols, NULL);
    t->column = 0;
    t->failed = t->failed || !t->line;
}

void table_put(struct table *t, struct str text) {
    cleanup_free char *z = str_dup(text);
    check(t->column < t->n_columns);
    if (!z || !t->line || scols_line_set_data(t->line, t->column, z) < 0)
        t->failed = true;
    t->column++;
}

void table_putf(struct table *t, const char *fmt, ...) {
    char bytes[1024];
    struct text text = TEXT_OVER(bytes);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&text, fmt, ap);
    va_end(ap);
    table_put(t, text_str(&text));
}

int table_print(struct table *t) {
    if (!t->failed && scols_table_is_empty(t->scols))
        fputs("none\n", stderr); /* silence would look like a failure; stdout has no rows */
    if (t->failed || scols_print_table(t->scols) < 0)
        return err_origin(-ENOMEM);
    return 0;
}
