/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/lint.h - warnings that need objects which the world does not keep: ServiceAccounts */
#pragma once

#include <ringwall/model/spec.h>

enum lint_account {
    LINT_THERE,
    LINT_UNKNOWN,    /* the files say nothing of that namespace */
    LINT_NOT_LISTED, /* its accounts are in the files, this one is not */
    LINT_NOT_RUN,    /* they are not, but workloads are, and none of them has it */
};
/* Is there an account of this namespace and name? When not: *ret_near is one that is there and nearly the same, or empty. */
typedef enum lint_account (*lint_account_fn)(void *context, struct str ns, struct str name, struct str *ret_near);
/* Warns of accounts that a policy names in full and that are nowhere. */
void lint_accounts(const struct policy_spec *p, const struct world_settings *settings, lint_account_fn look, void *context,
                   struct diag_list *diags);
