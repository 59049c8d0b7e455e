/* SPDX-License-Identifier: GPL-3.0-or-later
 * show.h - what the commands that show the daemon's JSON share */
#pragma once

#include "client.h"
#include "ctl.h"

enum { SHOW_COLUMNS_MAX = 16 };
enum column_kind { COLUMN_TEXT, COLUMN_BOOL };
struct column {
    const char *name;
    const char *path; /* "dst.addr"; "a|b": the first that has a value */
    enum column_kind kind;
};
bool show_ask(const struct command_line *l, const char *target,
              struct answer *ret) must_check;     /* any status but 200 is told: false */
int show_json(const struct answer *a) must_check; /* the body as it came */
struct json *show_read(const struct answer *a);   /* NULL: told */
const struct json *show_at(const struct json *o, const char *path);
int show_rows(const struct json *rows, const struct column *columns, size_t n) must_check; /* an exit code */
