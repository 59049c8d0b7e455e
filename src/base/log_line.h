/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/log_line.h - one log record to one line of text or JSON (private)
 *
 * Every byte that could end a line, move a cursor or close a quotation is escaped; a line that would be too long is cut
 * between two characters, stays well-formed and says truncated=true. */
#pragma once

#include <stdarg.h>

#include <ringwall/base/log.h>

enum {
    LOG_MESSAGE_BYTES = 1024, /* of a message, escaped */
    LOG_VALUE_BYTES = 512,    /* of one value, escaped: a peer's long name leaves room for the fields after it */
};

struct log_record {
    enum log_level level;
    enum log_format format;
    const char *scope;
    const struct log_field *fields;
    size_t n_fields;
};

/* Returns the bytes written, newline included. */
size_t log_line_create(char out[LOG_LINE_BYTES], const struct log_record *r, const char *fmt, va_list ap);
