/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/lint.h - warnings that need objects which the world does not keep: ServiceAccounts */
#pragma once

#include <ringwall/model/spec.h>

/* Does an account of this namespace and name stand in the files? *ret_known: the files list the accounts of that namespace. */
typedef bool (*lint_account_fn)(void *context, struct str ns, struct str name, bool *ret_known);
/* Warns of accounts that a policy names in full and that are nowhere. */
void lint_accounts(const struct policy_spec *p, const struct world_settings *settings, lint_account_fn exists, void *context,
                   struct diag_list *diags);
