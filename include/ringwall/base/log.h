/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/log.h - lines to stderr (program log) and to the access log, written by one thread that nobody waits for
 *
 * A caller formats its line into a bounded slot and goes on; when the writer cannot keep up (its reader stopped, the
 * disk is full) lines are dropped and counted, the data plane never blocks. Rooms base, model, wire, tls and ring do
 * not log. No secret is ever an argument.
 * Text form, as ztunnel's (facts/ztunnel.md 9.1): time TAB level TAB scope TAB message TAB key=value ...
 * Fields: log_kv pairs; strings are quoted and escaped, so a peer's bytes cannot forge a line. */
#pragma once

#include <ringwall/base/str.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, _LOG_LEVEL_MAX };
enum log_format { LOG_TEXT, LOG_JSON };
enum log_stream { LOG_PROGRAM, LOG_ACCESS, _LOG_STREAM_MAX };
enum { LOG_LINE_BYTES = 2048, LOG_QUEUE_LINES = 10000 };

enum log_kind { LOG_KIND_STR, LOG_KIND_BARE, LOG_KIND_U64, LOG_KIND_I64 };
struct log_field {
    const char *key;
    enum log_kind kind;
    struct str s; /* STR: quoted; BARE: written as it is (addresses, "13ms") */
    uint64_t u;
    int64_t i;
};
#define KV_STR(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .s = (v)})
#define KV_Z(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_STR, .s = str_of(v)})
#define KV_BARE(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_BARE, .s = (v)})
#define KV_U64(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_U64, .u = (v)})
#define KV_I64(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_I64, .i = (v)})

struct log_options {
    enum log_level level;
    enum log_format format;
    const char *access_path; /* "stdout", "stderr", "none" or a file path (appended) */
};

int log_start(const struct log_options *o) must_check; /* before it, lines go straight to stderr */
void log_stop(void);                                   /* writes what is queued (at most 1 s), joins the thread */
void log_set_level(enum log_level level);              /* any thread */
enum log_level log_get_level(void);
/* Any thread: the access log's path is opened anew before the next line, after it was renamed (log rotation). When that
 * fails the old file stays in use. */
void log_reopen(void);
bool log_level_parse(struct str s, enum log_level *ret);
const char *log_level_name(enum log_level level);
uint64_t log_dropped(void); /* lines lost since start */

/* A field with an empty value is left out. */
void log_write(enum log_stream stream, enum log_level level, const char *scope, const struct log_field *fields, size_t n_fields,
               const char *fmt, ...) printf_like(6, 7);

#define log_error(scope, ...) log_write(LOG_PROGRAM, LOG_ERROR, scope, NULL, 0, __VA_ARGS__)
#define log_warn(scope, ...) log_write(LOG_PROGRAM, LOG_WARN, scope, NULL, 0, __VA_ARGS__)
#define log_info(scope, ...) log_write(LOG_PROGRAM, LOG_INFO, scope, NULL, 0, __VA_ARGS__)
#define log_debug(scope, ...) \
    do { \
        if (log_get_level() >= LOG_DEBUG) \
            log_write(LOG_PROGRAM, LOG_DEBUG, scope, NULL, 0, __VA_ARGS__); \
    } while (0)

/* Allows n lines a second; says true when the caller may write. `state` is static at the call site, one thread. */
struct log_limit {
    uint64_t window_ns;
    unsigned n;
    unsigned n_suppressed; /* since the last allowed line */
};
bool log_limit_allows(struct log_limit *state, unsigned n_per_s);
