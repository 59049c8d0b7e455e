/* SPDX-License-Identifier: GPL-3.0-or-later
 * table.h - columns on a terminal, through libsmartcols; control bytes in cells are escaped by it */
#pragma once

#include <ringwall/base/str.h>

struct table;
struct table *table_new(const char *const *columns, size_t n); /* NULL: no memory */
struct table *table_free(struct table *t);
DEFINE_FREEP(struct table, table_free)
void table_row(struct table *t);                  /* the next row; its cells are then put from left to right */
void table_put(struct table *t, struct str text); /* an empty text leaves the cell empty */
void table_putf(struct table *t, const char *fmt, ...) printf_like(2, 3);
int table_print(struct table *t) must_check; /* to stdout; no row: nothing. -ENOMEM when a cell was lost */
