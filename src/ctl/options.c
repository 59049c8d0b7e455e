/* SPDX-License-Identifier: GPL-3.0-or-later
 * options.c - the command line: one list of options for all commands, so that a name means the same everywhere */
#include <stdarg.h>
#include <stdlib.h>

#include "ctl.h"

struct option_def {
    const char *name;
    char letter;
    const char *argument, *help;
};
static const struct option_def defs[_CTL_OPTION_MAX] = {
#define CTL_OPTION_DEF(upper, n, l, a, h) [CTL_##upper] = {.name = n, .letter = l, .argument = a, .help = h},
    CTL_OPTIONS(CTL_OPTION_DEF)
#undef CTL_OPTION_DEF
};

const char *ctl_option_name(enum ctl_option o) { return defs[o].name; }

void put_text(FILE *to, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.at[i];
        putc(c < 0x20 || c == 0x7f ? '?' : c, to);
    }
}

void complain(const char *fmt, ...) {
    char bytes[2048];
    struct text t = TEXT_OVER(bytes);
    va_list ap;
    va_start(ap, fmt);
    text_addv(&t, fmt, ap);
    va_end(ap);
    while (t.n && t.at[t.n - 1] == '\n') /* the daemon's texts are whole lines */
        t.n--;
    fputs("ringwallctl: ", stderr);
    put_text(stderr, text_str(&t));
    putc('\n', stderr);
}

/* -s and -o are everybody's. */
static bool takes(const struct command *c, enum ctl_option o) {
    return o == CTL_SOCKET || o == CTL_OUTPUT || (c && c->takes & CTL_BIT(o));
}

static enum ctl_option find_letter(const struct command *c, char letter) {
    for (unsigned o = 0; o < _CTL_OPTION_MAX; o++)
        if (takes(c, o) && defs[o].letter == letter)
            return o;
    return _CTL_OPTION_MAX;
}

static enum ctl_option find_name(const struct command *c, struct str name) {
    for (unsigned o = 0; o < _CTL_OPTION_MAX; o++)
        if (takes(c, o) && str_is(name, str_of(defs[o].name)))
            return o;
    return _CTL_OPTION_MAX;
}

static bool unknown_option(const struct command *c, const char *argument) {
    enum { NEAR = 3 };
    struct str name = str_of(argument + strspn(argument, "-"));
    const char *near = NULL;
    size_t best = NEAR;
    for (unsigned o = 0; o < _CTL_OPTION_MAX; o++) {
        size_t d = takes(c, o) ? str_distance(name, str_of(defs[o].name)) : NEAR;
        if (d < best) {
            best = d;
            near = defs[o].name;
        }
    }
    if (near)
        complain("no option %s here; did you mean --%s?", argument, near);
    else if (c)
        complain("no option %s here; see ringwallctl %s --help", argument, c->name);
    else
        complain("no option %s before the command; see ringwallctl --help", argument);
    return false;
}

static bool set_option(struct command_line *line, enum ctl_option o, const char *value) {
    if (!value) {
        complain("--%s needs its %s", defs[o].name, defs[o].argument);
        return false;
    }
    line->options[o] = value;
    return true;
}

/* One argument that begins with a dash; *i moves on when it took the next one as its value. */
static bool parse_option(const struct command *c, int argc, char **argv, int *i, struct command_line *line) {
    const char *a = argv[*i], *value = NULL;
    enum ctl_option o;
    if (a[1] == '-') {
        struct str name = {a + 2, strcspn(a + 2, "=")};
        o = find_name(c, name);
        value = name.at[name.n] == '=' ? name.at + name.n + 1 : NULL;
    } else {
        o = find_letter(c, a[1]);
        value = a[2] ? a + 2 : NULL;
    }
    if (o == _CTL_OPTION_MAX)
        return unknown_option(c, a);
    if (!defs[o].argument) { /* a switch */
        if (value) {
            complain("--%s takes no value", defs[o].name);
            return false;
        }
        return set_option(line, o, "");
    }
    if (!value && *i + 1 < argc)
        value = argv[++*i];
    return set_option(line, o, value);
}

bool options_parse(const struct command *c, int argc, char **argv, struct command_line *ret) {
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        if (!only_words && !strcmp(a, "--")) {
            only_words = true;
        } else if (!only_words && (!strcmp(a, "--help") || !strcmp(a, "-h"))) {
            ret->help = true;
        } else if (!only_words && a[0] == '-' && a[1]) {
            if (!parse_option(c, argc, argv, &i, ret))
                return false;
        } else if (c && ret->n_words < c->n_words && ret->n_words < CTL_WORDS_MAX) {
            ret->words[ret->n_words++] = a;
        } else {
            complain("'%s' is one word too many; see ringwallctl %s --help", a, c ? c->name : "");
            return false;
        }
    }
    return true;
}

bool options_are_valid(const struct command_line *line) {
    const char *form = line->options[CTL_OUTPUT];
    if (!form || !strcmp(form, "json") || !strcmp(form, "table"))
        return true;
    complain("--output %s: write table or json", form);
    return false;
}

bool wants_json(const struct command_line *line) { return line->options[CTL_OUTPUT] && !strcmp(line->options[CTL_OUTPUT], "json"); }

bool options_need(const struct command_line *line, enum ctl_option o) {
    if (line->options[o])
        return true;
    const char *name = line->command->name;
    complain("%s needs --%s %s; see ringwallctl %s --help", name, defs[o].name, defs[o].argument, name);
    return false;
}

void command_help(const struct command *c, FILE *to) {
    fprintf(to, "usage: ringwallctl %s%s%s\n\n%s\n\n", c->name, c->synopsis[0] ? " " : "", c->synopsis, c->text);
    for (unsigned o = 0; o < _CTL_OPTION_MAX; o++) {
        if (!takes(c, o))
            continue;
        char left[40];
        snprintf(left, sizeof(left), "%c%c%s --%s %s", defs[o].letter ? '-' : ' ', defs[o].letter ? defs[o].letter : ' ',
                 defs[o].letter ? "," : " ", defs[o].name, defs[o].argument ? defs[o].argument : "");
        fprintf(to, "  %-28s %s\n", left, defs[o].help);
    }
    fprintf(to, "  -h, --help                   this text\n");
    if (c->example)
        fprintf(to, "\n%s\n", c->example);
}
