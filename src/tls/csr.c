/* SPDX-License-Identifier: GPL-3.0-or-later
 * tls/csr.c - certificate requests, PKCS#10: ours are made, others' give us a public key and nothing else (DESIGN rule 4)
 *
 * A name inside a foreign request decides nothing; still one that asks for another identity than its sender may have is
 * refused, so that a confused client learns it at once (facts/identity.md 9.2 #7). */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "cert_view.h"
#include "csr.h"
#include "key_private.h"
#include "pem.h"

enum { CSR_BYTES_MAX = 16 * 1024 };
static const uint8_t oid_extension_request[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e};
static const uint8_t oid_san[] = {0x55, 0x1d, 0x11};

void san_put(struct der_out *o, const struct identity *identity) {
    size_t mark = o->n;
    struct str uri = identity_uri(identity);
    der_put_tagged(o, DER_CONTEXT(6), uri.at, uri.n);
    der_wrap(o, DER_SEQUENCE, mark);
}

int der_out_keep(const struct der_out *o, struct tls_der *ret) {
    if (o->full)
        return err_origin(-EOVERFLOW);
    struct der made = der_out_bytes(o);
    uint8_t *copy = malloc(made.n);
    if (!copy)
        return err_origin(-ENOMEM);
    memcpy(copy, made.at, made.n);
    *ret = (struct tls_der){.at = copy, .n = made.n};
    return 0;
}

/* attributes [0]: extensionRequest { subjectAltName, critical, one URI } */
static void put_attributes(struct der_out *o, const struct identity *identity) {
    size_t mark = o->n;
    san_put(o, identity);
    der_wrap(o, DER_OCTET_STRING, mark);
    der_put_bool(o, true); /* critical, since the subject is empty */
    der_put_tagged(o, DER_OID, oid_san, sizeof(oid_san));
    der_wrap(o, DER_SEQUENCE, mark);
    der_wrap(o, DER_SEQUENCE, mark); /* Extensions */
    der_wrap(o, DER_SET, mark);
    der_put_tagged(o, DER_OID, oid_extension_request, sizeof(oid_extension_request));
    der_wrap(o, DER_SEQUENCE, mark);
    der_wrap(o, DER_CONTEXT_CONSTRUCTED(0), mark);
}

int tls_csr_make(const struct tls_key *key, const struct identity *identity, struct tls_der *ret) {
    uint8_t info[4096], whole[4096 + SIGNATURE_BYTES_MAX + 64], signature[SIGNATURE_BYTES_MAX];
    struct der_out i = DER_OUT(info), o = DER_OUT(whole);
    size_t n, mark;
    if (identity) {
        check(!identity_is_none(identity));
        put_attributes(&i, identity);
    } else
        der_put_tagged(&i, DER_CONTEXT_CONSTRUCTED(0), NULL, 0); /* attributes are not optional (RFC 2986 4.1) */
    mark = i.n;
    der_put_der(&i, key_spki(key));
    der_wrap(&i, DER_SEQUENCE, mark);
    der_put_tagged(&i, DER_SEQUENCE, NULL, 0); /* subject */
    der_put_small(&i, 0);
    der_wrap(&i, DER_SEQUENCE, 0);
    if (i.full)
        return err_origin(-EOVERFLOW);
    int r = key_sign(key, der_out_bytes(&i), signature, &n);
    if (r)
        return err_trace(r);
    der_put(&o, signature, n);
    der_put(&o, "\0", 1);
    der_wrap(&o, DER_BIT_STRING, 0);
    signature_kind_put(&o, key_signature_kind(key));
    der_put_der(&o, der_out_bytes(&i));
    der_wrap(&o, DER_SEQUENCE, 0);
    return err_trace(der_out_keep(&o, ret));
}

/* TLS_CSR_OK, _MALFORMED or _SAN. Attributes other than extensionRequest are skipped. */
static enum tls_csr_verdict attributes_read(struct der attributes, const struct identity *expected) {
    bool seen = false;
    while (attributes.n) {
        struct der attribute, oid, set, list;
        struct extensions x;
        unsigned n_uri;
        struct str uri;
        if (!der_take(&attributes, DER_SEQUENCE, &attribute) || !der_take(&attribute, DER_OID, &oid) ||
            !der_take(&attribute, DER_SET, &set) || attribute.n)
            return TLS_CSR_MALFORMED;
        if (!der_is(oid, (struct der){oid_extension_request, sizeof(oid_extension_request)}))
            continue;
        if (seen || !der_take(&set, DER_SEQUENCE, &list) || set.n || !extensions_read(list, &x))
            return TLS_CSR_MALFORMED;
        seen = true;
        if (!x.has_san)
            continue;
        struct der names = x.san;
        struct der_item first;
        if (!san_uris(x.san, &n_uri, &uri))
            return TLS_CSR_MALFORMED;
        /* One name in all, and it is the expected URI, byte for byte. */
        if (!expected)
            continue;
        if (n_uri != 1 || !der_next(&names, &first) || names.n || !str_is(uri, identity_uri(expected)))
            return TLS_CSR_SAN;
    }
    return TLS_CSR_OK;
}

int tls_csr_read(const uint8_t *der, size_t n, const struct identity *expected, struct tls_csr **ret) {
    struct der in = {der, n}, body, rest, algorithm, signature, subject, spki, attributes = {0};
    struct der_item info;
    struct public_key key;
    unsigned version;
    if (n > CSR_BYTES_MAX || !der_take(&in, DER_SEQUENCE, &body) || in.n || !der_take_whole(&body, DER_SEQUENCE, &info) ||
        !der_take(&body, DER_SEQUENCE, &algorithm) || !der_take_bits(&body, &signature) || body.n)
        return TLS_CSR_MALFORMED;
    rest = info.body;
    if (!der_take_small(&rest, 0, &version) || !der_take(&rest, DER_SEQUENCE, &subject) || !der_take(&rest, DER_SEQUENCE, &spki) ||
        !public_key_read(spki, &key))
        return TLS_CSR_MALFORMED;
    if (rest.n && (!der_take(&rest, DER_CONTEXT_CONSTRUCTED(0), &attributes) || rest.n))
        return TLS_CSR_MALFORMED;
    if (key.kind == KEY_UNSUPPORTED || !public_key_valid(&key))
        return TLS_CSR_KEY;
    if (!signature_check(&key, signature_kind_read(algorithm), info.whole, signature))
        return TLS_CSR_SIGNATURE;
    enum tls_csr_verdict v = attributes_read(attributes, expected);
    if (v != TLS_CSR_OK)
        return v;
    struct tls_csr *c = malloc(sizeof(*c) + spki.n);
    if (!c)
        return err_origin(-ENOMEM);
    c->n = spki.n;
    memcpy(c->spki, spki.at, spki.n);
    *ret = c;
    return TLS_CSR_OK;
}

bool tls_csr_matches(const struct tls_csr *c, const uint8_t *cert, size_t n) {
    struct cert_view v;
    struct public_key key;
    return cert_view_read(cert, n, &v) && public_key_read((struct der){c->spki, c->n}, &key) && key.kind != KEY_UNSUPPORTED &&
           key.kind == v.key.kind && der_is(key.bytes, v.key.bytes);
}

struct tls_csr *tls_csr_free(struct tls_csr *c) {
    free(c);
    return NULL;
}

int tls_der_to_pem(const struct tls_der *der, const char *label, struct growing *to) {
    size_t n = 0, cap = pem_text_max(label, der->n);
    cleanup_free char *text = malloc(cap);
    if (!text)
        return err_origin(-ENOMEM);
    if (!pem_encode(label, der->at, der->n, text, cap, &n))
        return err_origin(-EINVAL);
    growing_add(to, (struct str){text, n});
    return to->failed ? err_origin(-ENOMEM) : 0;
}

int tls_pem_to_der(struct str pem, const char *label, struct tls_der *ret) {
    struct pem_block block;
    do
        if (pem.n > 2 * CSR_BYTES_MAX || pem_next(&pem, &block) != PEM_BLOCK)
            return 1;
    while (!str_is(block.label, str_of(label)));
    size_t n, cap = pem_bytes_max(&block);
    uint8_t *at cleanup_free = malloc(cap);
    if (!at)
        return err_origin(-ENOMEM);
    if (!pem_decode(&block, at, cap, &n))
        return 1;
    *ret = (struct tls_der){.at = take_ptr(at), .n = n};
    return 0;
}
