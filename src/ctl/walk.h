/* SPDX-License-Identifier: GPL-3.0-or-later
 * walk.h - the answer of `authz check` as text for people, from its JSON */
#pragma once

#include <ringwall/wire/json.h>

void walk_print(const struct json *answer);
