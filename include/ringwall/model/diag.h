/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/diag.h - where a thing stands in the user's files, and what is to be said about it */
#pragma once

#include <ringwall/base/str.h>

struct origin {
    struct str file;       /* path as given by the user */
    uint32_t line, column; /* from 1; 0: the file as a whole */
};
enum diag_severity { DIAG_ERROR, DIAG_WARNING };
struct diag {
    enum diag_severity severity;
    char *file; /* owned */
    uint32_t line, column;
    char *text; /* owned: what is wrong, and what to write instead */
};
enum { DIAG_MAX = 1000 }; /* kept; the rest is counted */
struct diag_list {
    struct diag *items;
    size_t n, cap;
    size_t n_errors, n_warnings; /* also those not kept */
};
#define DIAG_LIST_NULL ((struct diag_list){0})
void diag_addf(struct diag_list *l, enum diag_severity severity, const struct origin *at, const char *fmt, ...) printf_like(4, 5);
void diag_sort(struct diag_list *l); /* by file, line, column */
void diag_list_deinit(struct diag_list *l);
/* "file:line:col: error|warning: text" (no newline) */
void diag_format(const struct diag *d, struct growing *to);
