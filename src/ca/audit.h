/* SPDX-License-Identifier: GPL-3.0-or-later
 * audit.h - one JSON line for each certificate issued and each request refused, appended and flushed before the answer goes
 *
 * A line that cannot be written refuses the request: what the CA signs is on record. */
#pragma once

#include <ringwall/base/str.h>
#include <ringwall/model/identity.h>

struct audit;
struct audit_entry {
    bool issued;
    struct str caller, identity;
    const char *serial_hex; /* issued */
    int64_t not_before, not_after;
    const char *reason; /* refused */
};
int audit_open(const char *path, struct audit **ret) must_check;
struct audit *audit_close(struct audit *a);
int audit_write(struct audit *a, int64_t now_s, const struct audit_entry *e) must_check;
