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

/* Does the text begin with a bracket, as JSON does? */
static bool is_flow(struct str text) {
    size_t i = 0;

    while (i < text.n && (text.at[i] == ' ' || text.at[i] == '\n' || text.at[i] == '\r' || text.at[i] == '\t'))
        i++;
    return i < text.n && (text.at[i] == '{' || text.at[i] == '[');
}

/* Beginnings of the library's messages, and what they mean to a writer. Others are passed on as they are. */
static const char *advice_for(const char *message) {
    static const struct {
        const char *begins, *advice;
    } table[] = {
        {"invalid multiline plain key",
         "no \"key: value\" here: put a colon and a space behind the key, or quote text of several lines"},
        {"invalid indentation in mapping", "indentation fits no level above: line the key up with its neighbours"},
        {"flow sequence without a closing", "list is not closed: write ]"},
        {"missing comma in flow sequence", "comma or ] is missing"},
        {"missing comma in flow mapping", "comma or } is missing"},
        {"flow mapping without a closing", "mapping is not closed: write }"},
        {"double-quoted scalar without", "quote is not closed: write \" at the end of the text"},
        {"single-quoted scalar without", "quote is not closed: write ' at the end of the text"},
        {"plain scalar cannot start with", "a plain value cannot begin with this character: put the value in double quotes"},
        {"block sequence on the same line", "list on the line of its key: begin it on a line of its own"},
        {"invalid trailing content after", "text behind the closing quote: put all of the value inside the quotes"},
        {"did not find expected node content", "a value is missing here: write it, or ~ for none"},
        {"invalid escape", "unknown escape in double quotes: write \\\\ for a backslash, or use single quotes"},
    };

    for (size_t i = 0; i < array_size(table); i++)
        if (str_has_prefix(str_of(message), str_of(table[i].begins)))
            return table[i].advice;
    return message;
}

void yaml_error_tell(struct str text, const char *message, uint32_t line, uint32_t column, struct yaml_error *ret) {
    uint32_t tab;

    /* A tab is noticed on its line or on a neighbour's. Between brackets tabs are allowed. */
    for (uint32_t at = max_of(line, (uint32_t)2) - 1; !is_flow(text) && at <= line + 1; at++) {
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
    tell(ret, line, column, advice_for(message));
}
