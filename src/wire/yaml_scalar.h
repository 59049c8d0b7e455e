/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_scalar.h - the text that a quoted value stands for */
#pragma once

#include <ringwall/base/str.h>

/* source: what stands between the quotes. *ret points into source or into scratch (whose old content goes). Returns 0, 1 for
 * an escape that is none, or -ENOMEM. */
int yaml_quoted_text(struct str source, bool double_quoted, struct growing *scratch, struct str *ret) must_check;
