/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/issue.c - certificates made here: leaves, roots and node signing certificates
 *
 * The bytes are written by our own writer, so that the profile is what this file says and nothing else: order of
 * extensions, which of them are critical, and no name that came from a request. */
#include <errno.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>
#include <ringwall/base/rng.h>
#include <ringwall/model/addr.h>

#include "cert_view.h"
#include "csr.h"
#include "key_private.h"

enum { TBS_BYTES_MAX = 8 * 1024, SERIAL_BYTES = 16 };

/* Extension: OID 2.5.29.id around what was written since mark. */
static void wrap_extension(struct der_out *o, uint8_t id, bool critical, size_t mark) {
    uint8_t oid[] = {0x55, 0x1d, id};
    der_wrap(o, DER_OCTET_STRING, mark);
    if (critical)
        der_put_bool(o, true);
    der_put_tagged(o, DER_OID, oid, sizeof(oid));
    der_wrap(o, DER_SEQUENCE, mark);
}

static void put_key_usage(struct der_out *o, unsigned usage) {
    size_t mark = o->n;
    der_put_flags(o, usage);
    wrap_extension(o, 15, true, mark);
}

static void put_eku(struct der_out *o, bool client_too) {
    static const uint8_t server[] = {0x2b, 6, 1, 5, 5, 7, 3, 1}, client[] = {0x2b, 6, 1, 5, 5, 7, 3, 2};
    size_t mark = o->n;
    if (client_too)
        der_put_tagged(o, DER_OID, client, sizeof(client));
    der_put_tagged(o, DER_OID, server, sizeof(server));
    der_wrap(o, DER_SEQUENCE, mark);
    wrap_extension(o, 37, false, mark);
}

static void put_basic(struct der_out *o, bool is_ca, int path_len) {
    size_t mark = o->n;
    if (is_ca && path_len >= 0)
        der_put_small(o, (unsigned)path_len);
    if (is_ca)
        der_put_bool(o, true); /* false is the default, which DER leaves out */
    der_wrap(o, DER_SEQUENCE, mark);
    wrap_extension(o, 19, true, mark);
}

static void put_ski(struct der_out *o, const struct public_key *k) {
    uint8_t id[KEY_ID_BYTES];
    size_t mark = o->n;
    public_key_id(k, id);
    der_put_tagged(o, DER_OCTET_STRING, id, sizeof(id));
    wrap_extension(o, 14, false, mark);
}

static void put_aki(struct der_out *o, const struct cert_view *issuer) {
    size_t mark = o->n;
    if (!issuer->x.ski.n)
        return;
    der_put_tagged(o, DER_CONTEXT(0), issuer->x.ski.at, issuer->x.ski.n);
    der_wrap(o, DER_SEQUENCE, mark);
    wrap_extension(o, 35, false, mark);
}

static void put_attribute(struct der_out *o, uint8_t id, struct str value) {
    uint8_t oid[] = {0x55, 0x04, id};
    size_t mark = o->n;
    if (!value.n)
        return;
    der_put_tagged(o, DER_UTF8_STRING, value.at, value.n);
    der_put_tagged(o, DER_OID, oid, sizeof(oid));
    der_wrap(o, DER_SEQUENCE, mark);
    der_wrap(o, DER_SET, mark);
}

struct tbs {
    struct der subject, issuer; /* Names, tag and length included */
    struct der spki;            /* body */
    int64_t not_before, not_after;
    struct der extensions; /* the list's contents */
};

/* Writes, signs and keeps. */
static int sign_certificate(const struct tls_key *key, const struct tbs *t, struct tls_der *ret) {
    uint8_t tbs[TBS_BYTES_MAX], whole[TBS_BYTES_MAX + SIGNATURE_BYTES_MAX + 64], serial[SERIAL_BYTES],
        signature[SIGNATURE_BYTES_MAX];
    struct der_out o = DER_OUT(tbs), w = DER_OUT(whole);
    size_t mark, n;

    der_put_der(&o, t->extensions);
    der_wrap(&o, DER_SEQUENCE, 0);
    der_wrap(&o, DER_CONTEXT_CONSTRUCTED(3), 0);
    mark = o.n;
    der_put_der(&o, t->spki);
    der_wrap(&o, DER_SEQUENCE, mark);
    der_put_der(&o, t->subject);
    mark = o.n;
    der_put_time(&o, t->not_after);
    der_put_time(&o, t->not_before);
    der_wrap(&o, DER_SEQUENCE, mark);
    der_put_der(&o, t->issuer);
    signature_kind_put(&o, key_signature_kind(key));
    /* Positive, never zero, always 16 bytes of DER: 126 random bits. */
    rng_secret(serial, sizeof(serial));
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40);
    der_put_natural(&o, serial, sizeof(serial));
    mark = o.n;
    der_put_small(&o, 2);
    der_wrap(&o, DER_CONTEXT_CONSTRUCTED(0), mark);
    der_wrap(&o, DER_SEQUENCE, 0);
    if (o.full)
        return err_origin(-EOVERFLOW);

    int r = key_sign(key, der_out_bytes(&o), signature, &n);
    if (r)
        return err_trace(r);
    der_put(&w, signature, n);
    der_put(&w, "\0", 1);
    der_wrap(&w, DER_BIT_STRING, 0);
    signature_kind_put(&w, key_signature_kind(key));
    der_put_der(&w, der_out_bytes(&o));
    der_wrap(&w, DER_SEQUENCE, 0);
    return err_trace(der_out_keep(&w, ret));
}

static int issuer_view(const struct tls_issuer *issuer, struct cert_view *ret) {
    if (!cert_view_read(issuer->cert, issuer->cert_n, ret) || !ret->x.is_ca ||
        !tls_cert_matches_key(issuer->cert, issuer->cert_n, issuer->key))
        return err_origin(-EINVAL);
    return 0;
}

/* `x` holds the list of names; the rest of a leaf is put around it. */
static int issue_leaf(const struct tls_issuer *issuer, const struct tls_csr *csr, struct der_out *x, bool client_too, int64_t now_s,
                      int64_t ttl_s, struct tls_der *ret) {
    uint8_t name[2];
    struct der_out subject = DER_OUT(name);
    struct cert_view i;
    int r = issuer_view(issuer, &i);
    if (r)
        return err_trace(r);
    check(ttl_s > 0);
    if (now_s >= i.not_after)
        return 1;
    /* Written backwards: usage, extended usage, basic constraints, issuer's key, name. */
    wrap_extension(x, 17, true, 0);
    put_aki(x, &i);
    put_basic(x, false, -1);
    put_eku(x, client_too);
    put_key_usage(x, KEY_USAGE_DIGITAL_SIGNATURE | KEY_USAGE_KEY_ENCIPHERMENT);
    der_put_tagged(&subject, DER_SEQUENCE, NULL, 0);
    if (x->full)
        return err_origin(-EOVERFLOW);
    struct tbs t = {.subject = der_out_bytes(&subject),
                    .issuer = i.subject,
                    .spki = {csr->spki, csr->n},
                    .not_before = now_s - TLS_BACKDATE_S,
                    .not_after = ttl_s < i.not_after - now_s ? now_s + ttl_s : i.not_after,
                    .extensions = der_out_bytes(x)};
    return err_trace(sign_certificate(issuer->key, &t, ret));
}

int tls_issue_leaf(const struct tls_issuer *issuer, const struct tls_csr *csr, const struct identity *identity, int64_t now_s,
                   int64_t ttl_s, struct tls_der *ret) {
    uint8_t list[2048];
    struct der_out x = DER_OUT(list);
    check(!identity_is_none(identity));
    san_put(&x, identity);
    return err_trace(issue_leaf(issuer, csr, &x, true, now_s, ttl_s, ret));
}

/* A letter, digit, dash or dot each, at most 253; no wildcard: what this certificate is for, its owner lists. */
static bool dns_name_valid(struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        char c = name.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.'))
            return false;
    }
    return name.n > 0 && name.n <= 253;
}

int tls_issue_server(const struct tls_issuer *issuer, const struct tls_csr *csr, const struct str *names, size_t n_names,
                     int64_t now_s, int64_t ttl_s, struct tls_der *ret) {
    uint8_t list[6 * 1024];
    struct der_out x = DER_OUT(list);
    for (size_t i = n_names; i-- > 0;) {
        struct addr a;
        if (addr_parse(names[i], &a))
            der_put_tagged(&x, DER_CONTEXT(7), addr_is_v4(&a) ? a.bytes + 12 : a.bytes, addr_is_v4(&a) ? 4 : 16);
        else if (dns_name_valid(names[i]))
            der_put_tagged(&x, DER_CONTEXT(2), names[i].at, names[i].n);
        else
            return 1;
    }
    der_wrap(&x, DER_SEQUENCE, 0);
    if (n_names == 0 || x.full)
        return 1;
    return err_trace(issue_leaf(issuer, csr, &x, false, now_s, ttl_s, ret));
}

static int issue_authority(const struct tls_key *signing, const struct cert_view *issuer, const struct tls_key *subject_key,
                           const struct tls_ca_spec *spec, struct tls_der *ret) {
    uint8_t list[512], name[1024];
    struct der_out x = DER_OUT(list), subject = DER_OUT(name);
    put_attribute(&subject, NAME_CN, spec->node);
    put_attribute(&subject, NAME_O, spec->trust_domain);
    der_wrap(&subject, DER_SEQUENCE, 0);
    if (issuer)
        put_aki(&x, issuer);
    put_ski(&x, &subject_key->public);
    put_basic(&x, true, spec->path_len);
    put_key_usage(&x, KEY_USAGE_CERT_SIGN | KEY_USAGE_CRL_SIGN);
    if (x.full || subject.full)
        return err_origin(-EOVERFLOW);
    struct tbs t = {.subject = der_out_bytes(&subject),
                    .issuer = issuer ? issuer->subject : der_out_bytes(&subject),
                    .spki = key_spki(subject_key),
                    .not_before = spec->not_before,
                    .not_after = issuer ? min_of(spec->not_after, issuer->not_after) : spec->not_after,
                    .extensions = der_out_bytes(&x)};
    return err_trace(sign_certificate(signing, &t, ret));
}

int tls_issue_root(const struct tls_key *key, const struct tls_ca_spec *spec, struct tls_der *ret) {
    return err_trace(issue_authority(key, NULL, key, spec, ret));
}

int tls_issue_ca(const struct tls_issuer *issuer, const struct tls_key *subject_key, const struct tls_ca_spec *spec,
                 struct tls_der *ret) {
    struct cert_view i;
    int r = issuer_view(issuer, &i);
    if (r)
        return err_trace(r);
    return err_trace(issue_authority(issuer->key, &i, subject_key, spec, ret));
}
