/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/web_chain.c - is this server the host that we meant to reach?
 *
 * The walk is the one for identities (chain.h); the leaf is judged here. There is no fall-back to the subject's CN, and a
 * name in the certificate which is not plain letters, digits, hyphens and dots matches nothing, so a NUL or a blank in
 * it cannot cut it short. */
#include <ringwall/model/addr.h>
#include <ringwall/tls/web.h>

#include "chain.h"
#include "web.h"

static bool label_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels of 1..63 bytes; underscores are taken, since service names in clusters have them. */
static bool dns_name(struct str name) {
    struct str label;
    if (name.n == 0 || name.n > TLS_HOST_MAX)
        return false;
    while (str_split(&name, '.', &label)) {
        if (label.n == 0 || label.n > 63 || label.at[0] == '-' || label.at[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!label_byte(label.at[i]))
                return false;
    }
    return true;
}

static bool has_dot(struct str s) { return s.n && memchr(s.at, '.', s.n); }

/* RFC 9525 6.3: the star is the whole first label, stands for one label, and has two labels or more behind it. */
static bool dns_matches(struct str presented, struct str host) {
    if (!str_has_prefix(presented, STR("*.")))
        return dns_name(presented) && str_fold_is(presented, host);
    struct str tail = {presented.at + 2, presented.n - 2}, first;
    if (!dns_name(tail) || !has_dot(tail) || !str_split(&host, '.', &first) || first.n == 0 || !host.at)
        return false;
    return str_fold_is(tail, host);
}

struct str web_host_trim(struct str host) {
    if (host.n && host.at[host.n - 1] == '.')
        host.n--;
    return host;
}

bool web_host_address(struct str host, uint8_t ret[16], size_t *ret_n) {
    struct addr a;
    if (!addr_parse(host, &a))
        return false;
    bool v4 = addr_is_v4(&a);
    *ret_n = v4 ? 4 : 16;
    memcpy(ret, a.bytes + (v4 ? 12 : 0), *ret_n);
    return true;
}

bool tls_host_valid(struct str host) {
    uint8_t address[16];
    size_t n;
    return web_host_address(host, address, &n) || dns_name(web_host_trim(host));
}

static bool leaf_names(const struct cert_view *leaf, const struct chain_name *name) {
    struct der names = leaf->x.san;
    struct der_item item;
    while (leaf->x.has_san && names.n && der_next(&names, &item)) {
        struct str value = {(const char *)item.body.at, item.body.n};
        if (item.tag != name->tag)
            continue;
        if (item.tag == DER_CONTEXT(7) ? str_is(value, name->value) : dns_matches(value, name->value))
            return true;
    }
    return false;
}

static enum tls_trust_verdict leaf_ok(const struct cert_view *leaf, const struct chain_name *name) {
    if (leaf->x.is_ca)
        return TLS_TRUST_LEAF_IS_CA;
    if ((leaf->x.has_key_usage && !(leaf->x.key_usage & KEY_USAGE_DIGITAL_SIGNATURE)) || (leaf->x.has_eku && !leaf->x.server_auth))
        return TLS_TRUST_LEAF_USAGE;
    if (leaf->key.kind == KEY_UNSUPPORTED || leaf->x.unknown_critical)
        return TLS_TRUST_UNREADABLE;
    return leaf_names(leaf, name) ? TLS_TRUST_OK : TLS_TRUST_HOST;
}

enum tls_trust_verdict tls_server_verify(const struct tls_bundle *roots, const struct tls_der_list *chain, struct str host,
                                         int64_t now_s) {
    struct walk w = {.bundle = roots, .now_s = now_s};
    uint8_t address[16];
    size_t n;
    w.name = web_host_address(host, address, &n) ? (struct chain_name){DER_CONTEXT(7), {(const char *)address, n}}
                                                 : (struct chain_name){DER_CONTEXT(2), web_host_trim(host)};
    enum tls_trust_verdict v = chain_read(chain, &w);
    if (v == TLS_TRUST_OK)
        v = leaf_ok(&w.certs[0], &w.name);
    return v == TLS_TRUST_OK ? chain_walk(&w) : v;
}
