/* SPDX-License-Identifier: GPL-3.0-or-later
 * ca/audit.h - the CA's record, read: is it whole, and which certificates did it give to an identity; used by ringwallctl
 *
 * FILE is the newest part; older ones are FILE.1, FILE.2 ... (the higher the older). Each line holds its number and the
 * SHA-256 of the line before; FILE.last holds number and hash of the last line. So a changed, missing, swapped or
 * truncated line is found. What it cannot show: a forger who may write all these files can make the whole chain anew;
 * against that the daemon's log tells number and hash at each start, for a collector elsewhere. */
#pragma once

#include <ringwall/base/str.h>

enum { AUDIT_PARTS_MAX = 8, AUDIT_WHY_BYTES = 512 };

struct audit_report {
    uint64_t first, last; /* numbers of the lines that are there; 0: none */
    size_t n_lines, n_parts;
    bool torn; /* the last line is not ended: a crash; the daemon mends it at its next start */
};
/* 0: whole. 1: not, `why` says which line of which file and how; also when a file cannot be read. Negative errno: no memory. */
int audit_verify(const char *path, struct audit_report *ret, char why[AUDIT_WHY_BYTES]) must_check;

/* Each certificate on record, oldest first; stops when f returns false. Lines that cannot be read are passed over. */
struct audit_issue {
    struct str identity, serial_hex, issuer; /* issuer: SHA-256 of the signing certificate, hex */
    int64_t not_before, not_after;
};
typedef bool (*audit_issue_fn)(void *context, const struct audit_issue *i);
int audit_each_issue(const char *path, audit_issue_fn f, void *context, char why[AUDIT_WHY_BYTES]) must_check;
