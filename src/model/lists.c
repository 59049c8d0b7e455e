/* SPDX-License-Identifier: GPL-3.0-or-later
 * src/model/lists.c - the lists of strings in a policy: what each may hold, what is said about it, what it compiles to
 *
 * Rules of facts/identity.md 5.8 and the list behind it. Errors are what Istio's webhook refuses; warnings are what it
 * accepts though it cannot do what its author thinks. */
#include <ringwall/base/check.h>

#include "compile.h"

enum { ACCOUNTS_MAX = 16, ACCOUNT_BYTES_MAX = 320, PORT_MAX = 65535 };

static bool error_at(struct builder *b, const struct text_item *i, const char *name, const char *what) {
    diag_addf(b->diags, DIAG_ERROR, &i->at, "%s: \"" STR_FMT "\" %s", name, STR_ARG(i->text), what);
    return false;
}

static void warn_at(struct builder *b, const struct text_item *i, const char *name, const char *what) {
    diag_addf(b->diags, DIAG_WARNING, &i->at, "%s: \"" STR_FMT "\" %s", name, STR_ARG(i->text), what);
}

static void warn_unknown_ns(struct builder *b, const struct text_item *i, const char *name, struct str ns) {
    char bytes[512];
    struct text t = TEXT_OVER(bytes);

    if (!build_ns_unknown(b, ns))
        return;
    build_say_ns_unknown(b, ns, &t);
    diag_addf(b->diags, DIAG_WARNING, &i->at, "%s: %s%s", name, bytes,
              bytes[t.n - 1] == '?' ? "" : ", so nobody comes from there; check its name");
}

static void check_principal(struct builder *b, const struct text_item *i, const char *name) {
    static const char prefix[] = "spiffe://";
    struct identity id;
    char uri[IDENTITY_TEXT_MAX + 1];
    struct text t = TEXT_OVER(uri);

    if (str_has_prefix(i->text, STR("spiffe://"))) {
        diag_addf(b->diags, DIAG_WARNING, &i->at,
                  "%s: \"" STR_FMT "\" never matches: principals are written without \"spiffe://\"; write \"" STR_FMT "\"", name,
                  STR_ARG(i->text), STR_ARG(((struct str){i->text.at + sizeof(prefix) - 1, i->text.n - sizeof(prefix) + 1})));
        return;
    }
    if (text_has_inner_star(i->text)) {
        warn_at(b, i, name, "never matches: a star counts only as the first or the last character; write a prefix* or a *suffix");
        return;
    }
    if (text_pattern(i->text).kind != TEXT_EXACT)
        return;
    text_add(&t, STR("spiffe://"));
    text_add(&t, i->text);
    if (t.full || !identity_parse(text_str(&t), &id))
        warn_at(b, i, name, "never matches: write <trust domain>/ns/<namespace>/sa/<service account>, or use a star at one end");
    else if (principal_is_ours(b, identity_td(&id))) /* other domains have files of their own */
        warn_unknown_ns(b, i, name, identity_ns(&id));
}

static void check_namespace(struct builder *b, const struct text_item *i, const char *name) {
    if (text_has_inner_star(i->text))
        warn_at(b, i, name, "never matches: a star counts only as the first or the last character; write a prefix* or a *suffix");
    else if (text_pattern(i->text).kind == TEXT_EXACT)
        warn_unknown_ns(b, i, name, i->text);
}

static struct account_match account_of(const struct policy_spec *spec, struct str s) {
    const char *slash = memchr(s.at, '/', s.n);
    if (!slash)
        return (struct account_match){.ns = spec->ns, .sa = s};
    size_t n = (size_t)(slash - s.at);
    return (struct account_match){.ns = {s.at, n}, .sa = {slash + 1, s.n - n - 1}};
}

static bool check_account(struct builder *b, const struct policy_spec *spec, const struct text_item *i, const char *name) {
    struct account_match a = account_of(spec, i->text);

    if (i->text.n > ACCOUNT_BYTES_MAX)
        return error_at(b, i, name, "is longer than 320 characters");
    if (memchr(i->text.at, '*', i->text.n))
        return error_at(b, i, name, "has a star, which service accounts do not take; name each account, or use principals");
    if (!a.ns.n || !a.sa.n || memchr(a.sa.at, '/', a.sa.n))
        return error_at(
            b, i, name,
            "is not a service account; write <namespace>/<service account>, or <service account> of the policy's own namespace");
    warn_unknown_ns(b, i, name, a.ns);
    return true;
}

static bool check_cidr(struct builder *b, const struct text_item *i, const char *name) {
    char text[ADDR_TEXT];
    struct cidr c;
    bool host_bits;

    if (!cidr_parse(i->text, &c, &host_bits))
        return error_at(b, i, name, "is neither an IP address nor a block; write it like 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32");
    if (host_bits)
        diag_addf(b->diags, DIAG_WARNING, &i->at,
                  "%s: \"" STR_FMT "\" has bits behind its prefix and means " STR_FMT "/%u; write that", name, STR_ARG(i->text),
                  STR_ARG(addr_format(&c.addr, text)), (unsigned)(addr_is_v4(&c.addr) ? c.bits - 96 : c.bits));
    return true;
}

static bool check_trust_domain(struct builder *b, const struct text_item *i, const char *name) {
    struct str s = i->text;
    const char *star = memchr(s.at, '*', s.n);

    if (memchr(s.at, '/', s.n))
        return error_at(b, i, name, "has a slash; write the trust domain alone");
    if (star && (text_has_inner_star(s) || (star != s.at && star != s.at + s.n - 1)))
        return error_at(b, i, name, "may have one star, as its first or last character");
    return true;
}

bool list_check(struct builder *b, const struct policy_spec *spec, const char *name, enum list_kind kind,
                const struct text_list *l) {
    bool good = true;
    uint64_t port;

    if (kind == LIST_ACCOUNTS && l->n > ACCOUNTS_MAX) {
        diag_addf(b->diags, DIAG_ERROR, &l->items[0].at, "%s has %zu values, at most %d are allowed; write a second source", name,
                  l->n, (int)ACCOUNTS_MAX);
        good = false;
    }
    for (size_t n = 0; n < l->n; n++) {
        const struct text_item *i = &l->items[n];
        if (!i->text.n) {
            diag_addf(b->diags, DIAG_ERROR, &i->at, "%s has an empty string; remove it, or write \"*\" for any value", name);
            good = false;
            continue;
        }
        switch (kind) {
        case LIST_PRINCIPALS:
            check_principal(b, i, name);
            break;
        case LIST_NAMESPACES:
            check_namespace(b, i, name);
            break;
        case LIST_ACCOUNTS:
            good &= check_account(b, spec, i, name);
            break;
        case LIST_SOURCE_IPS:
        case LIST_DESTINATION_IPS:
        case LIST_REMOTE_IPS:
            good &= check_cidr(b, i, name);
            break;
        case LIST_PORTS:
            if (!str_u64(i->text, PORT_MAX, &port))
                good = error_at(b, i, name, "is not a port; write a number from 0 to 65535");
            break;
        case LIST_TRUST_DOMAINS:
            good &= check_trust_domain(b, i, name);
            break;
        case LIST_HTTP:
            break;
        }
    }
    return good;
}

static void set_texts(struct builder *b, enum list_kind kind, const struct text_list *l, struct condition *to) {
    size_t each = kind == LIST_PRINCIPALS ? principal_patterns_max(b) : 1, n = 0;
    struct text_match *found = build_scratch(b, sizeof(*found), each * l->n), *texts;

    for (size_t i = 0; found && i < l->n; i++) {
        if (kind == LIST_PRINCIPALS) {
            n += principal_patterns(b, l->items[i].text, found + n);
        } else {
            found[n] = text_pattern(l->items[i].text);
            found[n].text = build_str(b, found[n].text);
            n++;
        }
    }
    texts = build_alloc(b, sizeof(*texts), n);
    if (texts)
        memcpy(texts, found, n * sizeof(*texts));
    to->texts = texts;
    to->n = texts ? (uint32_t)n : 0;
}

static void set_accounts(struct builder *b, const struct policy_spec *spec, const struct text_list *l, struct condition *to) {
    struct account_match *accounts = build_alloc(b, sizeof(*accounts), l->n);

    for (size_t i = 0; accounts && i < l->n; i++) {
        struct account_match a = account_of(spec, l->items[i].text);
        accounts[i] = (struct account_match){.ns = build_str(b, a.ns), .sa = build_str(b, a.sa)};
    }
    to->accounts = accounts;
    to->n = accounts ? (uint32_t)l->n : 0;
}

static void set_cidrs(struct builder *b, const struct text_list *l, struct condition *to) {
    struct cidr *cidrs = build_alloc(b, sizeof(*cidrs), l->n);
    bool host_bits;

    for (size_t i = 0; cidrs && i < l->n; i++)
        check(cidr_parse(l->items[i].text, &cidrs[i], &host_bits)); /* list_check looked at the same bytes */
    to->cidrs = cidrs;
    to->n = cidrs ? (uint32_t)l->n : 0;
}

static void set_ports(struct builder *b, const struct text_list *l, struct condition *to) {
    uint16_t *ports = build_alloc(b, sizeof(*ports), l->n);
    uint64_t port;

    for (size_t i = 0; ports && i < l->n; i++) {
        check(str_u64(l->items[i].text, PORT_MAX, &port)); /* as above */
        ports[i] = (uint16_t)port;
    }
    to->ports = ports;
    to->n = ports ? (uint32_t)l->n : 0;
}

void list_condition(struct builder *b, const struct policy_spec *spec, enum list_kind kind, const struct text_list *l,
                    struct condition *to) {
    switch (kind) {
    case LIST_PRINCIPALS:
    case LIST_NAMESPACES:
        to->field = kind == LIST_PRINCIPALS ? FIELD_PRINCIPAL : FIELD_NAMESPACE;
        set_texts(b, kind, l, to);
        return;
    case LIST_ACCOUNTS:
        to->field = FIELD_SERVICE_ACCOUNT;
        set_accounts(b, spec, l, to);
        return;
    case LIST_SOURCE_IPS:
    case LIST_DESTINATION_IPS:
        to->field = kind == LIST_SOURCE_IPS ? FIELD_SOURCE_IP : FIELD_DESTINATION_IP;
        set_cidrs(b, l, to);
        return;
    case LIST_PORTS:
        to->field = FIELD_DESTINATION_PORT;
        set_ports(b, l, to);
        return;
    case LIST_TRUST_DOMAINS:
    case LIST_REMOTE_IPS:
    case LIST_HTTP:
        break;
    }
    unreachable_because("only what this layer can check becomes a condition");
}
