/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/cert.c - lists of certificates as bytes and as PEM; the facts of one */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/err.h>

#include "cert_view.h"
#include "key_private.h"
#include "pem.h"

void tls_der_list_deinit(struct tls_der_list *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i].at);
    free(l->items);
    *l = TLS_DER_LIST_NULL;
}

int tls_der_list_add(struct tls_der_list *l, const uint8_t *der, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    struct tls_der *items = copy ? reallocarray(l->items, l->n + 1, sizeof(*items)) : NULL;
    if (!items) {
        free(copy);
        return err_origin(-ENOMEM);
    }
    if (n)
        memcpy(copy, der, n);
    l->items = items;
    l->items[l->n++] = (struct tls_der){.at = copy, .n = n};
    return 0;
}

int tls_der_list_copy(struct tls_der_list *ret, const struct tls_der_list *from) {
    struct tls_der_list l cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    for (size_t i = 0; i < from->n; i++) {
        int r = tls_der_list_add(&l, from->items[i].at, from->items[i].n);
        if (r)
            return err_trace(r);
    }
    *ret = l;
    l = TLS_DER_LIST_NULL;
    return 0;
}

static int add_block(const struct pem_block *b, struct tls_der_list *l) {
    struct cert_view v;
    size_t n, cap = pem_bytes_max(b);
    if (cap > TLS_CERT_BYTES_MAX * 2) /* line ends count as well */
        return 1;
    uint8_t *der cleanup_free = malloc(cap);
    if (!der)
        return err_origin(-ENOMEM);
    if (!pem_decode(b, der, cap, &n) || !cert_view_read(der, n, &v))
        return 1;
    return err_trace(tls_der_list_add(l, der, n));
}

int tls_certs_from_pem(struct str pem, size_t n_max, struct tls_der_list *ret) {
    struct tls_der_list l cleanup(tls_der_list_deinit) = TLS_DER_LIST_NULL;
    struct pem_block block;
    enum pem_verdict v;
    while ((v = pem_next(&pem, &block)) == PEM_BLOCK) {
        if (!str_is(block.label, STR("CERTIFICATE")))
            continue;
        if (l.n == n_max)
            return 1;
        int r = add_block(&block, &l);
        if (r)
            return r < 0 ? err_trace(r) : 1;
    }
    if (v == PEM_MALFORMED || l.n == 0)
        return 1;
    *ret = l;
    l = TLS_DER_LIST_NULL;
    return 0;
}

int tls_certs_to_pem(const struct tls_der_list *l, struct growing *to) {
    static const char label[] = "CERTIFICATE";
    for (size_t i = 0; i < l->n; i++) {
        size_t n, cap = pem_text_max(label, l->items[i].n);
        char *text cleanup_free = malloc(cap);
        if (!text)
            return err_origin(-ENOMEM);
        if (!pem_encode(label, l->items[i].at, l->items[i].n, text, cap, &n))
            return err_origin(-EINVAL);
        growing_add(to, (struct str){text, n});
    }
    return to->failed ? err_origin(-ENOMEM) : 0;
}

/* For logs: what a peer wrote, with every byte that is not plain ASCII replaced. */
static void clean_text(struct str s, char *to, size_t cap) {
    size_t n = min_of(s.n, cap - 1);
    for (size_t i = 0; i < n; i++)
        to[i] = s.at[i] > 0x20 && s.at[i] < 0x7f ? s.at[i] : '?';
    to[n] = '\0';
}

char *tls_serial_text(const uint8_t *serial, size_t n, char *to) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *to++ = hex[serial[i] >> 4];
        *to++ = hex[serial[i] & 15];
    }
    *to = '\0';
    return to - 2 * n;
}

static void facts_from_view(const struct cert_view *v, struct tls_cert_facts *f) {
    struct text subject = TEXT_OVER(f->subject), issuer = TEXT_OVER(f->issuer);
    memcpy(f->serial, v->serial.at, v->serial.n);
    f->serial_n = v->serial.n;
    f->not_before = v->not_before;
    f->not_after = v->not_after;
    f->is_ca = v->x.is_ca;
    f->has_path_len = v->x.has_path_len;
    f->path_len = (uint8_t)v->x.path_len;
    f->has_key_usage = v->x.has_key_usage;
    f->digital_signature = v->x.key_usage & KEY_USAGE_DIGITAL_SIGNATURE;
    f->key_cert_sign = v->x.key_usage & KEY_USAGE_CERT_SIGN;
    f->crl_sign = v->x.key_usage & KEY_USAGE_CRL_SIGN;
    f->has_eku = v->x.has_eku;
    f->server_auth = v->x.server_auth;
    f->client_auth = v->x.client_auth;
    f->n_uri_san = v->n_uri;
    f->uri_is_identity = v->n_uri > 0 && identity_parse(v->uri, &f->identity);
    clean_text(v->uri, f->uri, sizeof(f->uri));
    name_format(v->subject, &subject);
    name_format(v->issuer, &issuer);
    name_attribute(v->subject, NAME_CN, f->subject_cn, sizeof(f->subject_cn));
    name_attribute(v->subject, NAME_O, f->subject_o, sizeof(f->subject_o));
    name_attribute(v->issuer, NAME_CN, f->issuer_cn, sizeof(f->issuer_cn));
    name_attribute(v->issuer, NAME_O, f->issuer_o, sizeof(f->issuer_o));
    clean_text(str_of(public_key_name(&v->key)), f->key_kind, sizeof(f->key_kind));
}

int tls_cert_read(const uint8_t *der, size_t n, struct tls_cert_facts *ret) {
    struct cert_view v;
    if (!cert_view_read(der, n, &v))
        return 1;
    memset(ret, 0, sizeof(*ret));
    facts_from_view(&v, ret);
    return 0;
}

bool tls_cert_signed_by(const uint8_t *cert, size_t n, const uint8_t *issuer, size_t issuer_n) {
    struct cert_view c, i;
    return cert_view_read(cert, n, &c) && cert_view_read(issuer, issuer_n, &i) && i.x.is_ca &&
           signature_check(&i.key, c.signature_kind, c.tbs, c.signature);
}

bool tls_cert_matches_key(const uint8_t *cert, size_t n, const struct tls_key *key) {
    struct cert_view v;
    return cert_view_read(cert, n, &v) && v.key.kind == key->public.kind && der_is(v.key.bytes, key->public.bytes);
}
