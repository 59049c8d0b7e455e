/* SPDX-License-Identifier: GPL-3.0-or-later
 * audit.h - the CA's record, written: one JSON line for each certificate, refusal and event, on disk before the answer goes
 *
 * Lines are collected and flushed together, so that one flush of the disk serves all requests of a turn. A flush that
 * fails takes all of its lines back: what they allowed is then refused. Each line carries its number and the SHA-256 of the line
 * before; FILE.last holds those of the last one, so that a cut tail is seen. A part is at most AUDIT_PART_BYTES, then FILE becomes
 * FILE.1 and the chain goes on in a new FILE; the oldest of AUDIT_PARTS_MAX goes. */
#pragma once

#include <ringwall/ca/audit.h>
#include <ringwall/model/identity.h>
#include <ringwall/wire/json.h>

enum { AUDIT_PART_BYTES = 64 * 1024 * 1024, AUDIT_LINE_MAX = 16 * 1024, AUDIT_TEXT_MAX = 1024 };

struct audit;
struct audit_entry {
    const char *event;              /* "issued", "refused", "start", "reload", ... */
    const char *what;               /* "certificate", "server", "jwt"; NULL: an event of the CA itself */
    const char *caller;             /* "node", "token", "certificate"; NULL: left out, as the next ones when empty */
    struct str node, subject, peer; /* who asked: a node's name, a token's sub or a certificate's identity, its address */
    struct str identity;
    const char *serial_hex, *issuer_hex; /* issued: serial; SHA-256 of the signing certificate */
    int64_t not_before, not_after;       /* issued */
    const char *code;                    /* refused: gRPC's name */
    struct str text;                     /* reason or what happened */
};
/* part_bytes 0: AUDIT_PART_BYTES. A file that a crash has torn, or that was cut, is mended: a line says so. ret_found (may be NULL)
 * is a text for the log when that happened, else empty. */
int audit_open(const char *path, size_t part_bytes, int64_t now_s, struct audit **ret, char ret_found[AUDIT_WHY_BYTES]) must_check;
struct audit *audit_close(struct audit *a); /* settles; what was not flushed is lost */
int audit_add(struct audit *a, int64_t now_s, const struct audit_entry *e) must_check;
/* durable: the disk has it before the return; else FILE.last is left for audit_settle, for it must never be ahead of FILE. After a
 * failure nothing that was added since the last flush is on record. */
int audit_flush(struct audit *a, bool durable) must_check;
/* Makes durable what was flushed without being so, and the note of the last line: about once a second. */
int audit_settle(struct audit *a) must_check;
bool audit_is_dirty(const struct audit *a);
uint64_t audit_last(const struct audit *a, char ret_hash[65]); /* of what was flushed */

/* audit_line.c: the bytes of the chain */
struct audit_link {
    uint64_t seq;
    char hash[65]; /* of the line seq, without its line end */
};
/* 0, or 1: not a line of ours. */
int audit_line_read(struct str line, uint64_t *ret_seq, char ret_prev[65]) must_check;
enum { AUDIT_LAST_BYTES = 96 };
void audit_last_format(const struct audit_link *l, char ret[AUDIT_LAST_BYTES + 1]);
bool audit_last_parse(struct str text, struct audit_link *ret);
