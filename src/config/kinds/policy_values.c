/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/policy_values.c - see policy_values.h */
#include <stdio.h>

#include "policy_values.h"

static bool refuse(struct decode *d, const char *name, const struct text_item *item, const char *why) {
    diag_addf(d->diags, DIAG_ERROR, &item->at, STR_FMT ": %s has \"%.*s\": %s", STR_ARG(d->what), name,
              (int)min_of(item->text.n, (size_t)80), item->text.at, why);
    return false;
}

static size_t n_of(struct str s, char c) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.at[i] == c;
    return n;
}

bool policy_check_ip(struct decode *d, const char *name, const struct text_item *item) {
    struct cidr block;
    bool host_bits;
    return cidr_parse(item->text, &block, &host_bits) ||
           refuse(d, name, item, "write an IP address or a block of them, such as 10.0.0.1, 10.0.0.0/8 or fd00::/64");
}

bool policy_check_port(struct decode *d, const char *name, const struct text_item *item) {
    uint64_t port;
    return str_u64(item->text, 65535, &port) || refuse(d, name, item, "write a port number from 0 to 65535");
}

bool policy_check_account(struct decode *d, const char *name, const struct text_item *item) {
    struct str s = item->text;
    size_t n_slashes = n_of(s, '/');
    if (s.n > POLICY_ACCOUNT_BYTES_MAX)
        return refuse(d, name, item, "a service account has at most 320 characters");
    if (n_of(s, '*'))
        return refuse(d, name, item, "service accounts are compared exactly: write the account without \"*\", or use principals");
    if (n_slashes > 1)
        return refuse(d, name, item, "write namespace/account, or the account alone for the policy's own namespace");
    if (s.at[0] == '/' || s.at[s.n - 1] == '/')
        return refuse(d, name, item, "a part is empty: write namespace/account, or the account alone");
    return true;
}

bool policy_check_trust_domain(struct decode *d, const char *name, const struct text_item *item) {
    struct str s = item->text;
    size_t n_stars = n_of(s, '*');
    if (n_of(s, '/'))
        return refuse(d, name, item, "a trust domain has no \"/\": write the domain alone");
    if (n_stars > 1 || (n_stars == 1 && s.at[0] != '*' && s.at[s.n - 1] != '*'))
        return refuse(d, name, item, "only one \"*\" is allowed, first or last");
    return true;
}

/* A path with braces is a template: each part is text without braces and stars, {*} or {**}, and {**} is the last operator. */
bool policy_check_path(struct decode *d, const char *name, const struct text_item *item) {
    struct str rest = item->text, part;
    bool any_rest = false;
    if (!n_of(rest, '{') && !n_of(rest, '}'))
        return true;
    while (str_split(&rest, '/', &part)) {
        bool one = str_is(part, STR("{*}")), many = str_is(part, STR("{**}"));
        if ((one || many) && any_rest)
            return refuse(d, name, item, "in a path template nothing but text may follow {**}");
        if (!one && !many && (n_of(part, '{') || n_of(part, '}') || n_of(part, '*')))
            return refuse(d, name, item, "in a path template a part is plain text, {*} or {**}");
        any_rest |= many;
    }
    return true;
}

enum value_kind { VALUE_TEXT, VALUE_IP, VALUE_PORT, VALUE_ACCOUNT, VALUE_TRUST_DOMAIN };
struct condition_row {
    const char *key; /* ending in '[': a map key follows */
    enum value_kind kind;
    unsigned n_brackets; /* 1: [a], 2: [a] or [a][b] */
    bool not_custom;     /* an identity, which CUSTOM cannot have */
};
static const struct condition_row condition_rows[] = {
    {"source.ip", VALUE_IP, 0, false},
    {"source.namespace", VALUE_TEXT, 0, true},
    {"source.serviceAccount", VALUE_ACCOUNT, 0, true},
    {"source.principal", VALUE_TEXT, 0, true},
    {"source.trustDomain", VALUE_TRUST_DOMAIN, 0, true},
    {"remote.ip", VALUE_IP, 0, false},
    {"request.headers[", VALUE_TEXT, 1, false},
    {"request.auth.principal", VALUE_TEXT, 0, true},
    {"request.auth.audiences", VALUE_TEXT, 0, true},
    {"request.auth.presenter", VALUE_TEXT, 0, true},
    {"request.auth.claims[", VALUE_TEXT, 2, true},
    {"destination.ip", VALUE_IP, 0, false},
    {"destination.port", VALUE_PORT, 0, false},
    {"connection.sni", VALUE_TEXT, 0, false},
};
static const char *const condition_words[] = {
    "source.ip",           "source.namespace", "source.serviceAccount",  "source.principal",       "source.trustDomain",
    "remote.ip",           "request.headers",  "request.auth.principal", "request.auth.audiences", "request.auth.presenter",
    "request.auth.claims", "destination.ip",   "destination.port",       "connection.sni"};
static const struct {
    const char *key, *hint;
} removed_keys[] = {
    {"destination.namespace", "the policy's own namespace says it: put the policy there"},
    {"destination.labels[", "write selector.matchLabels"},
    {"destination.name", "write selector.matchLabels"},
    {"destination.user", "write selector.matchLabels"},
};

/* "[a]" up to "[a][b]...": nothing outside of brackets, nothing empty inside. */
static bool brackets_are_good(struct str s, unsigned n_max) {
    unsigned n = 0;
    while (s.n) {
        const char *end = memchr(s.at, ']', s.n);
        if (s.at[0] != '[' || !end || end == s.at + 1)
            return false;
        size_t n_inner = (size_t)(end - s.at) - 1;
        if (memchr(s.at + 1, '[', n_inner))
            return false;
        s = (struct str){end + 1, s.n - n_inner - 2};
        n++;
    }
    return n >= 1 && (n <= n_max || n_max == 2); /* claims nest as deep as the token does */
}

static const struct condition_row *find_condition(struct decode *d, const struct yaml_node *n, struct str key) {
    static const struct condition_row filter = {"experimental.envoy.filters.", VALUE_TEXT, 1, false};
    for (size_t i = 0; i < array_size(condition_rows); i++) {
        const struct condition_row *row = &condition_rows[i];
        struct str row_key = str_of(row->key);
        if (row->n_brackets == 0 && str_is(key, row_key))
            return row;
        if (row->n_brackets == 0 || !str_has_prefix(key, (struct str){row_key.at, row_key.n - 1}))
            continue;
        if (brackets_are_good((struct str){key.at + row_key.n - 1, key.n - row_key.n + 1}, row->n_brackets))
            return row;
        decode_errorf(d, n, "key is \"%.*s\": write %sname]", (int)min_of(key.n, (size_t)80), key.at, row->key);
        return NULL;
    }
    if (str_has_prefix(key, str_of(filter.key)))
        return &filter;
    for (size_t i = 0; i < array_size(removed_keys); i++)
        if (str_has_prefix(key, str_of(removed_keys[i].key))) {
            decode_errorf(d, n, "key \"%.*s\" is not supported: %s", (int)min_of(key.n, (size_t)80), key.at, removed_keys[i].hint);
            return NULL;
        }
    const char *near = nearest_word(key, condition_words, array_size(condition_words));
    char all[512] = "";
    struct text list = TEXT_OVER(all);
    words_format(&list, condition_words, array_size(condition_words));
    if (near)
        decode_errorf(d, n, "unknown key \"%.*s\" of a condition: did you mean %s?", (int)min_of(key.n, (size_t)80), key.at, near);
    else
        decode_errorf(d, n, "unknown key \"%.*s\" of a condition: write one of %s", (int)min_of(key.n, (size_t)80), key.at, all);
    return NULL;
}

static bool check_condition_values(struct decode *d, enum value_kind kind, const char *name, const struct text_list *list) {
    static bool (*const checks[])(struct decode *, const char *, const struct text_item *) = {
        [VALUE_IP] = policy_check_ip,
        [VALUE_PORT] = policy_check_port,
        [VALUE_ACCOUNT] = policy_check_account,
        [VALUE_TRUST_DOMAIN] = policy_check_trust_domain,
    };
    bool good = true;
    for (size_t i = 0; kind != VALUE_TEXT && i < list->n; i++)
        good &= checks[kind](d, name, &list->items[i]);
    return good;
}

bool policy_decode_condition(struct decode *d, const struct yaml_node *n, enum policy_action action, struct condition_spec *to) {
    static const char *const keys[] = {"key", "values", "notValues"};
    to->at = decode_at(d, n);
    if (!decode_mapping(d, n, "an element of when"))
        return false;
    decode_keys(d, n, "an element of when", keys, array_size(keys));
    const struct yaml_node *key = yaml_get(n, "key");
    if (!key) {
        decode_errorf(d, n, "a condition has no key: write key: source.ip or another");
        return false;
    }
    bool good = decode_str(d, key, "key", &to->key);
    const struct condition_row *row = good ? find_condition(d, key, to->key) : NULL;
    good = row && good;
    bool lists = decode_text_list(d, yaml_get(n, "values"), "values", &to->values);
    lists &= decode_text_list(d, yaml_get(n, "notValues"), "notValues", &to->not_values);
    if (lists && !to->values.present && !to->not_values.present) {
        decode_errorf(d, n, "a condition has neither values nor notValues: write one of them");
        return false;
    }
    if (!good || !lists)
        return false;
    if (action == POLICY_CUSTOM && row->not_custom) {
        decode_errorf(d, key, "key " STR_FMT " is not allowed with action CUSTOM: remove it, or use ALLOW or DENY",
                      STR_ARG(to->key));
        return false;
    }
    good = check_condition_values(d, row->kind, "values", &to->values);
    return check_condition_values(d, row->kind, "notValues", &to->not_values) && good;
}
