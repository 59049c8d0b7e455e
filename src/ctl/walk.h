/* SPDX-License-Identifier: GPL-3.0-or-later
 * walk.h - the answer of `authz check` as text for people, from its JSON */
#pragma once

#include <ringwall/wire/json.h>

void walk_print(const struct json *answer);
/* A line behind `before` when the port asked about is a service's, and the workload's is another; else nothing. */
void walk_print_port_behind(const struct json *answer, const char *before);
