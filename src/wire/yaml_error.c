/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/yaml_error.c - from a parser's complaint to advice
 *
 * The library says which rule of the grammar failed; the one who wrote the file wants to know what to change. The usual
 * mistakes are recognised on the line itself (tabs, a colon inside a plain value, a value that begins with a mark of the
 * grammar); for the rest its words are passed on. */
#include <stdio.h>

#include "yaml_error.h"

static struct str line_at(struct str text, uint32_t line) {
    const char *end;

    for (uint32_t i = 1; i < line && text.n; i++) {
        end = memchr(text.at, '\n', text.n);
        if (!end)
            return STR_NULL;
        text.n -= (size_t)(end + 1 - text.at);
        text.at = end + 1;
    }
    if (text.n == 0)
        return STR_NULL;
    end = memchr(text.at, '\n', text.n);
    return (struct str){text.at, end ? (size_t)(end - text.at) : text.n};
}

static void tell(struct yaml_error *ret, uint32_t line, uint32_t column, const char *text) {
    ret->line = line;
    ret->column = column;
    snprintf(ret->text, sizeof(ret->text), "%s", text);
}

bool yaml_text_sound(struct str *text, struct yaml_error *ret) {
    struct str rest;
    uint32_t line = 1, column = 1;

    if (str_has_prefix(*text, STR("\xef\xbb\xbf")))
        *text = (struct str){text->at + 3, text->n - 3};
    if (text->n == 0 || str_is_utf8(*text))
        return true;
    for (rest = *text; rest.n;) {
        size_t step = str_utf8_unit(rest);

        if (step == 0 || !str_is_utf8((struct str){rest.at, step}))
            break;
        column = rest.at[0] == '\n' ? 1 : column + 1;
        line += rest.at[0] == '\n';
        rest.at += step;
        rest.n -= step;
    }
    if (rest.n && str_utf8_unit(rest))
        tell(ret, line, column, "control character: remove it, or write it as an escape in double quotes");
    else
        tell(ret, line, column, "not UTF-8: save the file as UTF-8 text");
    return false;
}

/* The column of a tab among the blanks that a line begins with; 0: none. */
static uint32_t tab_in_indent(struct str line) {
    for (size_t i = 0; i < line.n && (line.at[i] == ' ' || line.at[i] == '\t'); i++)
        if (line.at[i] == '\t')
            return (uint32_t)i + 1;
    return 0;
}

/* The column of a second ": " in a line whose value is plain; 0: none. */
static uint32_t colon_in_value(struct str line) {
    size_t colons = 0;

    for (size_t i = 0; i + 1 < line.n; i++) {
        if (line.at[i] == '"' || line.at[i] == '\'' || line.at[i] == '{' || line.at[i] == '[' || line.at[i] == '#')
            return 0;
        if (line.at[i] == ':' && line.at[i + 1] == ' ' && ++colons == 2)
            return (uint32_t)i + 1;
    }
    return 0;
}

void yaml_error_tell(struct str text, const char *message, uint32_t line, uint32_t column, struct yaml_error *ret) {
    uint32_t tab;

    /* A tab is often noticed only on the line behind it. */
    for (uint32_t at = line; at > 0 && at + 1 >= line; at--) {
        tab = tab_in_indent(line_at(text, at));
        if (tab) {
            tell(ret, at, tab, "tab used for indentation: use spaces");
            return;
        }
    }
    if (colon_in_value(line_at(text, line))) {
        tell(ret, line, colon_in_value(line_at(text, line)), "colon inside a plain value: put the value in double quotes");
        return;
    }
    tell(ret, line, column, message);
}
