/* SPDX-License-Identifier: GPL-3.0-or-later
 * facts.h - the names that a flow's log line shows, copied out of the world when they were known
 *
 * No flow keeps a pointer into a world (DESIGN 3), so names are copied into one small text; what does not fit is cut. */
#pragma once

#include <ringwall/base/str.h>

enum fact {
    FACT_SRC_WORKLOAD,
    FACT_SRC_NAMESPACE,
    FACT_SRC_CLUSTER,
    FACT_DST_SERVICE,
    FACT_DST_WORKLOAD,
    FACT_DST_NAMESPACE,
    FACT_DST_CLUSTER,
    FACT_POLICY, /* "namespace/name" of the object that decided */
    FACT_AT,     /* its "file:line" */
    FACT_DETAIL, /* more about an error */
    _FACT_MAX
};
enum { FACTS_BYTES = 640 };
struct facts {
    struct {
        uint16_t at, n;
    } items[_FACT_MAX];
    uint16_t used;
    char text[FACTS_BYTES];
};
void facts_clear(struct facts *f);
void facts_copy(struct facts *to, const struct facts *from);
void facts_set(struct facts *f, enum fact which, struct str s); /* the newer value counts */
void facts_setf(struct facts *f, enum fact which, const char *fmt, ...) printf_like(3, 4);
struct str facts_get(const struct facts *f, enum fact which); /* empty: not known */
