/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/policy_values.h - the values inside rules of an AuthorizationPolicy, checked as Istio's webhook does */
#pragma once

#include "../decode.h"

enum { POLICY_ACCOUNTS_MAX = 16, POLICY_ACCOUNT_BYTES_MAX = 320 };

/* Each: `name` is the key of the list; false: an error was said at the item. */
bool policy_check_ip(struct decode *d, const char *name, const struct text_item *item);
bool policy_check_port(struct decode *d, const char *name, const struct text_item *item);
bool policy_check_account(struct decode *d, const char *name, const struct text_item *item);
bool policy_check_trust_domain(struct decode *d, const char *name, const struct text_item *item);
bool policy_check_path(struct decode *d, const char *name, const struct text_item *item);
/* One element of `when`. */
bool policy_decode_condition(struct decode *d, const struct yaml_node *n, enum policy_action action, struct condition_spec *to);
