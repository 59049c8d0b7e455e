/* SPDX-License-Identifier: GPL-3.0-or-later
 * config/kinds/request_authentication.c - RequestAuthentication has no effect at L4; what its webhook refuses is refused
 *
 * The keys of a rule are Istio's to extend, so an unknown one is passed over here. No URL is ever fetched. */
#include "../kinds.h"

static bool has_bytes(const struct yaml_node *n) { return n && n->kind == YAML_SCALAR && n->scalar.n > 0; }

static bool check_strings(struct decode *d, const struct yaml_node *rule, const char *key) {
    struct text_list ignored;
    return decode_text_list(d, yaml_get(rule, key), key, &ignored);
}

static bool check_header_name(struct str s) {
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = (char)(s.at[i] | 0x20);
        if (!(c >= 'a' && c <= 'z') && !(s.at[i] >= '0' && s.at[i] <= '9') && s.at[i] != '-' && s.at[i] != '_')
            return false;
    }
    return true;
}

/* A list of mappings, each with a `field` that names a header. */
static bool check_headers(struct decode *d, const struct yaml_node *rule, const char *key, const char *field) {
    const struct yaml_node *n = yaml_get(rule, key);
    bool good = true;
    if (!n)
        return true;
    if (!decode_sequence(d, n, key))
        return false;
    yaml_for_each(it, n) {
        const struct yaml_node *name = yaml_get(it, field);
        if (has_bytes(name) && check_header_name(name->scalar))
            continue;
        decode_errorf(d, name ? name : it,
                      "an element of %s has no valid %s: write the name of a header, of letters, digits and \"-\"", key, field);
        good = false;
    }
    return good;
}

static bool check_uri(struct decode *d, const struct yaml_node *n) {
    struct str uri;
    if (!n || !decode_str(d, n, "jwksUri", &uri))
        return !n;
    if ((str_has_prefix(uri, STR("http://")) && uri.n > 7) || (str_has_prefix(uri, STR("https://")) && uri.n > 8))
        return true;
    decode_errorf(d, n, "jwksUri is no address of the web: write https://host/path");
    return false;
}

static bool check_timeout(struct decode *d, const struct yaml_node *n) {
    struct str text;
    if (!n || !decode_str(d, n, "timeout", &text))
        return !n;
    bool digits = text.n > 1 && text.at[0] >= '0' && text.at[0] <= '9', unit = text.n && strchr("smh", text.at[text.n - 1]);
    if (digits && unit)
        return true;
    decode_errorf(d, n, "timeout is no duration: write it as 5s");
    return false;
}

static bool check_jwks(struct decode *d, const struct yaml_node *n) {
    struct str text;
    if (!n || !decode_str(d, n, "jwks", &text))
        return !n;
    while (text.n && strchr(" \t\r\n", text.at[0]))
        text = (struct str){text.at + 1, text.n - 1};
    if (text.n == 0 || text.at[0] != '{' || !memmem(text.at, text.n, "\"keys\"", 6)) {
        decode_errorf(d, n, "jwks is no key set: write JSON as {\"keys\": [...]}");
        return false;
    }
    /* Members of private keys: "d" of RSA and EC, "k" of a symmetric one. The text is never quoted. */
    if (memmem(text.at, text.n, "\"d\"", 3) || memmem(text.at, text.n, "\"k\"", 3))
        decode_warnf(d, n, "jwks has private key material: publish the public half only, and replace the key");
    return true;
}

static bool check_rule(struct decode *d, const struct yaml_node *n) {
    if (!decode_mapping(d, n, "an element of jwtRules"))
        return false;
    bool good = true;
    if (!has_bytes(yaml_get(n, "issuer")) && !has_bytes(yaml_get(n, "jwksUri"))) {
        decode_errorf(d, n, "an element of jwtRules has neither issuer nor jwksUri: write the issuer");
        good = false;
    }
    good &= check_strings(d, n, "audiences");
    good &= check_strings(d, n, "fromParams");
    good &= check_strings(d, n, "fromCookies");
    good &= check_headers(d, n, "fromHeaders", "name");
    good &= check_headers(d, n, "outputClaimToHeaders", "header");
    good &= check_uri(d, yaml_get(n, "jwksUri"));
    good &= check_timeout(d, yaml_get(n, "timeout"));
    good &= check_jwks(d, yaml_get(n, "jwks"));
    return good;
}

const void *decode_request_authentication(struct decode *d, const struct object_meta *m, struct yaml_node *root) {
    struct yaml_node *spec = decode_spec(d, root);
    const struct yaml_node *rules = yaml_get(spec, "jwtRules");
    struct selector selector = {0};
    bool has_refs;
    (void)m;
    if (!spec || !decode_attachment(d, spec, &selector, &has_refs) || !rules || !decode_sequence(d, rules, "jwtRules"))
        return NULL;
    yaml_for_each(it, rules) check_rule(d, it);
    return NULL;
}
