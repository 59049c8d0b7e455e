/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/log_line.c - see log_line.h */
#include "log_line.h"

#include <stdio.h>

#include <ringwall/base/clock.h>

enum { END_BYTES = 32 }; /* kept for what closes a line: truncated=true, a brace, the newline */

struct line {
    char *at;
    size_t n, limit; /* n <= limit <= LOG_LINE_BYTES */
    enum log_format format;
    bool cut;
};

/* All of it or nothing. */
static bool put(struct line *l, struct str s) {
    if (s.n > l->limit - l->n) {
        l->cut = true;
        return false;
    }
    memcpy(l->at + l->n, s.at, s.n);
    l->n += s.n;
    return true;
}

enum quoting { RAW_WORD, RAW_TEXT, QUOTED }; /* no blanks either; no quotes; between quotes */

/* The escaped form of the character that s begins with: at most 6 bytes; says how many bytes of s it stands for. */
static size_t escape(struct str s, enum log_format format, enum quoting quoting, struct text *out) {
    unsigned char c = (unsigned char)s.at[0];
    size_t n = str_utf8_unit(s);
    bool json = format == LOG_JSON;
    const char *named = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\\' ? "\\\\" : NULL;
    if (named) {
        text_add(out, str_of(named));
    } else if (c == '"' && (json || quoting == QUOTED)) {
        text_add(out, STR("\\\""));
    } else if (n == 0) { /* not UTF-8; JSON can hold characters only */
        if (json)
            text_add(out, STR("\\ufffd"));
        else
            text_addf(out, "\\x%02x", c);
    } else if (c < 0x20 || c == 0x7f || (c == ' ' && quoting == RAW_WORD)) {
        text_addf(out, json ? "\\u%04x" : "\\x%02x", c);
    } else if (n == 2 && c == 0xc2 && (unsigned char)s.at[1] < 0xa0) { /* C1: terminals obey these too */
        text_addf(out, "\\u%04x", (unsigned)(unsigned char)s.at[1]);
    } else {
        text_add(out, (struct str){.at = s.at, .n = n});
    }
    return n ? n : 1;
}

/* Bytes at the head of s that every form takes as they are. */
static size_t plain_run(struct str s) {
    size_t n = 0;
    while (n < s.n && s.at[n] > ' ' && s.at[n] < 0x7f && s.at[n] != '"' && s.at[n] != '\\')
        n++;
    return n;
}

static void put_escaped(struct line *l, struct str s, enum quoting quoting, size_t n_max) {
    size_t n_end = l->n + min_of(n_max, l->limit - l->n);
    while (s.n > 0) {
        char unit[16];
        struct text t = TEXT_OVER(unit);
        size_t n = min_of(plain_run(s), n_end - l->n); /* most values are nothing else */
        if (n)
            put(l, (struct str){.at = s.at, .n = n});
        else
            n = escape(s, l->format, quoting, &t);
        if (t.n > n_end - l->n) {
            l->cut = true;
            return;
        }
        put(l, text_str(&t));
        s.at += n;
        s.n -= n;
    }
}

/* An opened quotation is always closed: its last byte is kept back while the value is written. */
static void put_quoted(struct line *l, struct str s, size_t n_max) {
    if (l->limit - l->n < 2) {
        l->cut = true;
        return;
    }
    put(l, STR("\""));
    l->limit--;
    put_escaped(l, s, QUOTED, n_max);
    l->limit++;
    put(l, STR("\""));
}

static void put_value(struct line *l, const struct log_field *f) {
    char number[24];
    struct text t = TEXT_OVER(number);
    switch (f->kind) {
    case LOG_KIND_STR:
        put_quoted(l, f->s, LOG_VALUE_BYTES);
        return;
    case LOG_KIND_BARE:
        if (l->format == LOG_JSON)
            put_quoted(l, f->s, LOG_VALUE_BYTES);
        else
            put_escaped(l, f->s, RAW_WORD, LOG_VALUE_BYTES);
        return;
    case LOG_KIND_U64:
        text_addf(&t, "%llu", (unsigned long long)f->u);
        break;
    case LOG_KIND_I64:
        text_addf(&t, "%lld", (long long)f->i);
        break;
    }
    put(l, text_str(&t));
}

static bool is_empty(const struct log_field *f) { return (f->kind == LOG_KIND_STR || f->kind == LOG_KIND_BARE) && f->s.n == 0; }

/* A key is never left without its value: the shortest value (20 digits, or a quote) must fit behind it. */
static bool put_key(struct line *l, const char *key, bool first) {
    enum { VALUE_BYTES_MIN = 24 };
    struct str k = str_of(key),
               before = l->format == LOG_JSON ? STR(",\"")
                        : first               ? STR("\t")
                                              : STR(" "),
               after = l->format == LOG_JSON ? STR("\":") : STR("=");
    if (before.n + k.n + after.n + VALUE_BYTES_MIN > l->limit - l->n) {
        l->cut = true;
        return false;
    }
    return put(l, before) && put(l, k) && put(l, after);
}

static void put_head(struct line *l, const struct log_record *r, struct str message) {
    char time[RFC3339_BYTES];
    clock_rfc3339(clock_wall_ns(), time, true);
    struct str level = str_of(log_level_name(r->level)), scope = str_of(r->scope);
    if (l->format == LOG_JSON) {
        put(l, STR("{\"level\":"));
        put_quoted(l, level, LOG_VALUE_BYTES);
        put(l, STR(",\"time\":"));
        put_quoted(l, str_of(time), LOG_VALUE_BYTES);
        put(l, STR(",\"scope\":"));
        put_quoted(l, scope, LOG_VALUE_BYTES);
        put(l, STR(",\"message\":"));
        put_quoted(l, message, LOG_MESSAGE_BYTES);
        return;
    }
    put(l, str_of(time));
    put(l, STR("\t"));
    put(l, level);
    put(l, STR("\t"));
    put_escaped(l, scope, RAW_WORD, LOG_VALUE_BYTES);
    put(l, STR("\t"));
    put_escaped(l, message, RAW_TEXT, LOG_MESSAGE_BYTES);
}

size_t log_line_create(char out[LOG_LINE_BYTES], const struct log_record *r, const char *fmt, va_list ap) {
    struct line l = {.at = out, .limit = LOG_LINE_BYTES - END_BYTES, .format = r->format};
    char message[LOG_MESSAGE_BYTES + 1];
    struct text t = TEXT_OVER(message);
    text_addv(&t, fmt, ap); /* first of all: fmt may hold %m */
    l.cut = t.full;
    put_head(&l, r, text_str(&t));
    bool first = true;
    for (size_t i = 0; i < r->n_fields; i++)
        if (!is_empty(&r->fields[i]) && put_key(&l, r->fields[i].key, first)) {
            put_value(&l, &r->fields[i]);
            first = false;
        }
    l.limit = LOG_LINE_BYTES;
    if (l.cut)
        put(&l, r->format == LOG_JSON ? STR(",\"truncated\":true") : first ? STR("\ttruncated=true") : STR(" truncated=true"));
    put(&l, r->format == LOG_JSON ? STR("}\n") : STR("\n"));
    return l.n;
}
