/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/principal.c - text patterns of policies, and principals that name our own trust domain
 *
 * "x" exact, "x*" prefix, "*x" suffix, "*" present; a star elsewhere is a plain character, which no identity holds.
 * A principal of our trust domain, of an alias or of the placeholder cluster.local stands for all of ours; so after the
 * compiler there is nothing left to know about aliases (facts/identity.md 1.9). */
#include "compile.h"

static struct str rest_of(struct str s, size_t from) { return (struct str){s.at + from, s.n - from}; }

struct text_match text_pattern(struct str s) {
    if (s.n == 1 && s.at[0] == '*')
        return (struct text_match){.kind = TEXT_PRESENT};
    if (s.n && s.at[0] == '*')
        return (struct text_match){.kind = TEXT_SUFFIX, .text = rest_of(s, 1)};
    if (s.n && s.at[s.n - 1] == '*')
        return (struct text_match){.kind = TEXT_PREFIX, .text = {s.at, s.n - 1}};
    return (struct text_match){.kind = TEXT_EXACT, .text = s};
}

bool text_has_inner_star(struct str s) {
    struct text_match m = text_pattern(s);
    return m.text.n && memchr(m.text.at, '*', m.text.n);
}

static struct text_match kept(struct builder *b, struct text_match m) {
    m.text = build_str(b, m.text);
    return m;
}

static size_t n_domains(const struct builder *b) { return 1 + b->world->settings.n_trust_domain_aliases; }
static struct str domain_at(const struct builder *b, size_t i) {
    return i ? b->world->settings.trust_domain_aliases[i - 1] : b->world->settings.trust_domain;
}

bool principal_is_ours(const struct builder *b, struct str td) {
    if (str_is(td, STR("cluster.local"))) /* "the local one", whatever its name is */
        return true;
    for (size_t i = 0; i < n_domains(b); i++)
        if (str_is(td, domain_at(b, i)))
            return true;
    return false;
}

static struct text_match with_domain(struct builder *b, enum text_kind kind, struct str td, struct str path) {
    bool ok = true;
    struct str text = arena_strf(&b->scratch, &ok, STR_FMT STR_FMT, STR_ARG(td), STR_ARG(path));

    b->failed |= !ok;
    return (struct text_match){.kind = kind, .text = build_str(b, text)};
}

/* "*local/ns/...": as it is for those of our domains that end so, spelled out for the others. */
static size_t expand_suffix(struct builder *b, struct text_match m, struct str path, struct text_match *out) {
    struct str ending = {m.text.at, m.text.n - path.n};
    bool any = false;
    size_t n = 0;

    out[n++] = kept(b, m);
    for (size_t i = 0; i < n_domains(b); i++)
        any |= str_has_suffix(domain_at(b, i), ending);
    for (size_t i = 0; any && i < n_domains(b); i++)
        if (!str_has_suffix(domain_at(b, i), ending))
            out[n++] = with_domain(b, TEXT_EXACT, domain_at(b, i), path);
    return n;
}

size_t principal_patterns_max(const struct builder *b) { return n_domains(b) + 1; }

size_t principal_patterns(struct builder *b, struct str s, struct text_match *out) {
    struct text_match m = text_pattern(s);
    const char *slash = m.text.n ? memchr(m.text.at, '/', m.text.n) : NULL;
    size_t n = 0;

    if (m.kind == TEXT_PRESENT || !slash || slash == m.text.at) {
        out[0] = kept(b, m);
        return 1;
    }
    struct str td = {m.text.at, (size_t)(slash - m.text.at)}, path = rest_of(m.text, td.n);
    if (m.kind == TEXT_SUFFIX)
        return expand_suffix(b, m, path, out);
    if (!principal_is_ours(b, td)) {
        out[0] = kept(b, m);
        return 1;
    }
    for (size_t i = 0; i < n_domains(b); i++)
        out[n++] = with_domain(b, m.kind, domain_at(b, i), path);
    return n;
}
