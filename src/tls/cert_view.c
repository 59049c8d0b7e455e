/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/cert_view.c - see cert_view.h
 *
 * RFC 5280 4.1 and 4.2, for version 3 only. What is repeated that may appear once, what is critical and unknown, what is
 * longer than it says: refused, never repaired. */
#include "cert_view.h"

static bool basic_read(struct der value, struct extensions *x) {
    struct der sequence;
    if (x->has_basic || !der_take(&value, DER_SEQUENCE, &sequence) || value.n)
        return false;
    x->has_basic = true;
    if (der_peek(&sequence, DER_BOOLEAN) && !der_take_bool(&sequence, &x->is_ca))
        return false;
    if (sequence.n) {
        if (!der_take_small(&sequence, 255, &x->path_len) || sequence.n || !x->is_ca)
            return false;
        x->has_path_len = true;
    }
    return true;
}

static bool eku_read(struct der value, struct extensions *x) {
    static const uint8_t server[] = {0x2b, 6, 1, 5, 5, 7, 3, 1}, client[] = {0x2b, 6, 1, 5, 5, 7, 3, 2};
    struct der sequence, oid;
    if (x->has_eku || !der_take(&value, DER_SEQUENCE, &sequence) || value.n || sequence.n == 0)
        return false;
    x->has_eku = true;
    while (sequence.n) {
        if (!der_take(&sequence, DER_OID, &oid))
            return false;
        x->server_auth |= der_is(oid, (struct der){server, sizeof(server)});
        x->client_auth |= der_is(oid, (struct der){client, sizeof(client)});
    }
    return true;
}

static bool aki_read(struct der value, struct extensions *x) {
    struct der sequence;
    struct der_item item;
    if (x->has_aki || !der_take(&value, DER_SEQUENCE, &sequence) || value.n)
        return false;
    x->has_aki = true;
    while (sequence.n) {
        if (!der_next(&sequence, &item))
            return false;
        if (item.tag == DER_CONTEXT(0))
            x->aki = item.body;
    }
    return true;
}

static bool sequence_once(struct der value, bool *has, struct der *ret) {
    if (*has || !der_take(&value, DER_SEQUENCE, ret) || value.n)
        return false;
    *has = true;
    return true;
}

/* Extensions of the arc id-ce, 2.5.29. */
static bool known_extension_read(uint8_t id, struct der value, struct extensions *x, bool *ret_known) {
    *ret_known = true;
    switch (id) {
    case 14:
        if (x->has_ski || !der_take(&value, DER_OCTET_STRING, &x->ski) || value.n)
            return false;
        return x->has_ski = true;
    case 15:
        if (x->has_key_usage || !der_take_flags(&value, &x->key_usage) || value.n)
            return false;
        return x->has_key_usage = true;
    case 17:
        return sequence_once(value, &x->has_san, &x->san);
    case 19:
        return basic_read(value, x);
    case 30:
        return sequence_once(value, &x->has_constraints, &x->constraints);
    case 32: /* certificatePolicies: we ask for no policy, so none can be violated */
        return true;
    case 35:
        return aki_read(value, x);
    case 37:
        return eku_read(value, x);
    default:
        *ret_known = false;
        return true;
    }
}

bool extensions_read(struct der list, struct extensions *ret) {
    struct extensions x = {0};
    while (list.n) {
        struct der extension, oid, value;
        bool critical = false, known = false;
        if (!der_take(&list, DER_SEQUENCE, &extension) || !der_take(&extension, DER_OID, &oid))
            return false;
        if (der_peek(&extension, DER_BOOLEAN) && !der_take_bool(&extension, &critical))
            return false;
        if (!der_take(&extension, DER_OCTET_STRING, &value) || extension.n)
            return false;
        if (oid.n == 3 && oid.at[0] == 0x55 && oid.at[1] == 0x1d && !known_extension_read(oid.at[2], value, &x, &known))
            return false;
        if (critical && !known)
            x.unknown_critical = true;
    }
    *ret = x;
    return true;
}

bool san_uris(struct der san, unsigned *ret_n, struct str *ret_first) {
    struct der_item item;
    struct str first = STR_NULL;
    unsigned n = 0;
    if (san.n == 0)
        return false;
    while (san.n) {
        if (!der_next(&san, &item))
            return false;
        if (item.tag != DER_CONTEXT(6)) /* a DNS or e-mail name that reads like an identity is none */
            continue;
        if (n++ == 0)
            first = (struct str){(const char *)item.body.at, item.body.n};
    }
    *ret_n = n;
    *ret_first = first;
    return true;
}

static bool name_read(struct der *in, struct der *ret) {
    struct der_item item;
    if (!der_take_whole(in, DER_SEQUENCE, &item))
        return false;
    for (struct der rest = item.body; rest.n;) {
        struct der set, attribute, oid;
        struct der_item value;
        if (!der_take(&rest, DER_SET, &set) || set.n == 0)
            return false;
        while (set.n)
            if (!der_take(&set, DER_SEQUENCE, &attribute) || !der_take(&attribute, DER_OID, &oid) ||
                !der_next(&attribute, &value) || attribute.n)
                return false;
    }
    *ret = item.whole;
    return true;
}

static bool tbs_read(struct der tbs, struct cert_view *v, struct der *ret_algorithm) {
    struct der explicit, validity, spki;
    unsigned version;
    if (!der_take(&tbs, DER_CONTEXT_CONSTRUCTED(0), &explicit) || !der_take_small(&explicit, 2, &version) || version != 2 ||
        explicit.n)
        return false;
    if (!der_take_natural(&tbs, &v->serial) || v->serial.n > TLS_SERIAL_MAX || !der_take(&tbs, DER_SEQUENCE, ret_algorithm) ||
        !name_read(&tbs, &v->issuer) || !der_take(&tbs, DER_SEQUENCE, &validity) || !der_take_time(&validity, &v->not_before) ||
        !der_take_time(&validity, &v->not_after) || validity.n || !name_read(&tbs, &v->subject) ||
        !der_take(&tbs, DER_SEQUENCE, &spki) || !public_key_read(spki, &v->key))
        return false;
    struct der ignored;
    if (der_peek(&tbs, DER_CONTEXT(1)) && !der_take(&tbs, DER_CONTEXT(1), &ignored)) /* unique identifiers of the 1990s */
        return false;
    if (der_peek(&tbs, DER_CONTEXT(2)) && !der_take(&tbs, DER_CONTEXT(2), &ignored))
        return false;
    if (!der_peek(&tbs, DER_CONTEXT_CONSTRUCTED(3)))
        return tbs.n == 0;
    struct der list;
    return der_take(&tbs, DER_CONTEXT_CONSTRUCTED(3), &explicit) && tbs.n == 0 && der_take(&explicit, DER_SEQUENCE, &list) &&
           explicit.n == 0 && extensions_read(list, &v->x);
}

bool cert_view_read(const uint8_t *der, size_t n, struct cert_view *ret) {
    struct cert_view v = {0};
    struct der in = {der, n}, body, inner, outer;
    struct der_item whole, tbs;
    if (n > TLS_CERT_BYTES_MAX || !der_take_whole(&in, DER_SEQUENCE, &whole) || in.n)
        return false;
    body = whole.body;
    v.whole = whole.whole;
    if (!der_take_whole(&body, DER_SEQUENCE, &tbs) || !der_take(&body, DER_SEQUENCE, &outer) ||
        !der_take_bits(&body, &v.signature) || body.n)
        return false;
    v.tbs = tbs.whole;
    if (!tbs_read(tbs.body, &v, &inner) || !der_is(inner, outer))
        return false;
    v.signature_kind = signature_kind_read(outer);
    if (v.x.has_san && !san_uris(v.x.san, &v.n_uri, &v.uri))
        return false;
    *ret = v;
    return true;
}

/* Steps through the attributes of a Name that was checked by name_read. */
static bool name_step(struct der *rest, struct der *set, struct der *ret_oid, struct der_item *ret_value) {
    struct der attribute;
    if (!set->n && !der_take(rest, DER_SET, set))
        return false;
    return der_take(set, DER_SEQUENCE, &attribute) && der_take(&attribute, DER_OID, ret_oid) && der_next(&attribute, ret_value);
}

static struct der name_contents(struct der name) {
    struct der contents = {0};
    ignore_result(der_take(&name, DER_SEQUENCE, &contents)); /* stays empty, which reads as a Name without attributes */
    return contents;
}

static bool is_attribute(struct der oid, uint8_t attribute) {
    return oid.n == 3 && oid.at[0] == 0x55 && oid.at[1] == 0x04 && oid.at[2] == attribute;
}

/* Text whose bytes we can take as ASCII or UTF-8. */
static bool value_text(const struct der_item *value, struct str *ret) {
    *ret = (struct str){(const char *)value->body.at, value->body.n};
    if (value->tag != DER_UTF8_STRING && value->tag != DER_PRINTABLE_STRING && value->tag != DER_IA5_STRING)
        return false;
    for (size_t i = 0; i < ret->n; i++)
        if ((uint8_t)ret->at[i] < 0x20 || ret->at[i] == 0x7f)
            return false;
    return str_is_utf8(*ret);
}

bool name_attribute(struct der name, uint8_t attribute, char *to, size_t cap) {
    struct der rest = name_contents(name), set = {0}, oid;
    struct der_item value;
    struct str found = STR_NULL, s;
    to[0] = '\0';
    while (name_step(&rest, &set, &oid, &value)) {
        if (!is_attribute(oid, attribute))
            continue;
        if (found.at || !value_text(&value, &s) || s.n == 0 || s.n >= cap)
            return false;
        found = s;
    }
    if (!found.at)
        return false;
    memcpy(to, found.at, found.n);
    to[found.n] = '\0';
    return true;
}

bool name_has(struct der name, uint8_t attribute) {
    struct der rest = name_contents(name), set = {0}, oid;
    struct der_item value;
    while (name_step(&rest, &set, &oid, &value))
        if (is_attribute(oid, attribute))
            return true;
    return false;
}

void name_format(struct der name, struct text *to) {
    static const struct {
        uint8_t id;
        const char *label;
    } labels[] = {{NAME_CN, "CN"}, {5, "serialNumber"}, {6, "C"}, {7, "L"}, {8, "ST"}, {NAME_O, "O"}, {11, "OU"}};
    struct der rest = name_contents(name), set = {0}, oid;
    struct der_item value;
    struct str s;
    while (name_step(&rest, &set, &oid, &value)) {
        const char *label = "?";
        for (size_t i = 0; i < array_size(labels); i++)
            if (is_attribute(oid, labels[i].id))
                label = labels[i].label;
        text_addf(to, "%s%s=", to->n ? ", " : "", label);
        if (value_text(&value, &s))
            text_add(to, s);
        else
            text_add(to, STR("?"));
    }
}
