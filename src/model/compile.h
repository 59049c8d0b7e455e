/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/compile.h - between the files that turn a policy's rules into the compiled form */
#pragma once

#include "build.h"

struct text_match text_pattern(struct str s); /* text points into s */
bool text_has_inner_star(struct str s);

bool principal_is_ours(const struct builder *b, struct str td); /* our trust domain, an alias, or the placeholder */
/* Writes up to principal_patterns_max() patterns for one principal; returns how many. */
size_t principal_patterns_max(const struct builder *b);
size_t principal_patterns(struct builder *b, struct str s, struct text_match *out);

enum list_kind {
    LIST_PRINCIPALS,
    LIST_NAMESPACES,
    LIST_ACCOUNTS,
    LIST_SOURCE_IPS,
    LIST_DESTINATION_IPS,
    LIST_PORTS,
    LIST_TRUST_DOMAINS, /* not implemented at this layer */
    LIST_REMOTE_IPS,    /* HTTP */
    LIST_HTTP,
};

/* Checks the strings of a list and says what is wrong with them and what to write instead. False: an error was told. */
bool list_check(struct builder *b, const struct policy_spec *spec, const char *name, enum list_kind kind,
                const struct text_list *l);
/* Values that list_check accepted. */
void list_condition(struct builder *b, const struct policy_spec *spec, enum list_kind kind, const struct text_list *l,
                    struct condition *to);
