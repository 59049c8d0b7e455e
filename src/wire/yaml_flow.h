/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_flow.h - lists and mappings in brackets, which libfyaml holds whole, many times their size, before it tells of
 * them: long ones are read here when they are JSON, and found before the library gets them when they are not */
#pragma once

#include "yaml_tree.h"

/* Is the first thing of the text a bracket? */
bool yaml_is_flow(struct str text);
/* Reads one JSON list or mapping into a tree that was begun. 0, 1: it is no JSON, or the tree refused something; -ENOMEM. */
int yaml_json_read(struct tree *t, struct str text) must_check;
/* Does a flow collection inside block YAML go on for more than n_max bytes? *ret: where it begins. Quotes and block
 * scalars are judged by their look, so only collections that no line behind them ends are counted. */
bool yaml_flow_is_long(struct str text, size_t n_max, struct place *ret);
