/* SPDX-License-Identifier: GPL-3.0-or-later
 * model/identity.c - parse and make identities; there is no second parser of them in the program
 *
 * The scheme is compared without case and kept in lower case; all else is compared and kept as bytes. */
#include <ringwall/base/check.h>
#include <ringwall/model/identity.h>

enum { TRUST_DOMAIN_MAX = 255 };
enum { SCHEME_BYTES = sizeof("spiffe://") - 1 };

static bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
static bool is_mark(char c) { return c == '.' || c == '_' || c == '-'; }

bool trust_domain_valid(struct str td) {
    if (td.n == 0 || td.n > TRUST_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < td.n; i++)
        if (!is_lower_or_digit(td.at[i]) && !is_mark(td.at[i]))
            return false;
    return true;
}

static bool segment_valid(struct str s) {
    if (s.n == 0 || s.n > IDENTITY_TEXT_MAX || str_is(s, STR(".")) || str_is(s, STR("..")))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        if (!is_lower_or_digit(c) && !is_mark(c) && !(c >= 'A' && c <= 'Z'))
            return false;
    }
    return true;
}

static void append(struct identity *to, struct str s, uint16_t *ret_at, uint16_t *ret_n) {
    if (ret_at) {
        *ret_at = to->n;
        *ret_n = (uint16_t)s.n;
    }
    memcpy(to->text + to->n, s.at, s.n);
    to->n = (uint16_t)(to->n + s.n);
}

bool identity_make(struct str trust_domain, struct str ns, struct str sa, struct identity *ret) {
    static const size_t fixed = SCHEME_BYTES + 4 + 4; /* "/ns/" and "/sa/" */
    struct identity made = IDENTITY_NULL;             /* all bytes defined: identities are copied and compared whole */

    if (!trust_domain_valid(trust_domain) || !segment_valid(ns) || !segment_valid(sa))
        return false;
    if (fixed + trust_domain.n + ns.n + sa.n > IDENTITY_TEXT_MAX)
        return false;
    append(&made, STR("spiffe://"), NULL, NULL);
    append(&made, trust_domain, &made.td_at, &made.td_n);
    append(&made, STR("/ns/"), NULL, NULL);
    append(&made, ns, &made.ns_at, &made.ns_n);
    append(&made, STR("/sa/"), NULL, NULL);
    append(&made, sa, &made.sa_at, &made.sa_n);
    *ret = made;
    return true;
}

bool identity_parse(struct str uri, struct identity *ret) {
    struct str rest, part[5];
    size_t n = 0;

    if (uri.n > IDENTITY_TEXT_MAX || uri.n < SCHEME_BYTES || !str_fold_is((struct str){uri.at, SCHEME_BYTES}, STR("spiffe://")))
        return false;
    rest = (struct str){uri.at + SCHEME_BYTES, uri.n - SCHEME_BYTES};
    for (;;) {
        const char *slash = rest.n ? memchr(rest.at, '/', rest.n) : NULL;
        if (n == array_size(part))
            return false;
        part[n++] = (struct str){rest.at, slash ? (size_t)(slash - rest.at) : rest.n};
        if (!slash)
            break;
        rest = (struct str){slash + 1, rest.n - (size_t)(slash + 1 - rest.at)};
    }
    if (n != array_size(part) || !str_is(part[1], STR("ns")) || !str_is(part[3], STR("sa")))
        return false;
    return identity_make(part[0], part[2], part[4], ret);
}

struct str identity_principal(const struct identity *i) {
    if (identity_is_none(i))
        return STR_NULL;
    check(i->n > SCHEME_BYTES);
    return (struct str){i->text + SCHEME_BYTES, (size_t)i->n - SCHEME_BYTES};
}

bool identity_is(const struct identity *a, const struct identity *b) { return a->n == b->n && !memcmp(a->text, b->text, a->n); }
