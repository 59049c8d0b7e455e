/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/istio_ca.c - see wire/istio_ca.h */
#include <ringwall/base/check.h>
#include <ringwall/wire/istio_ca.h>

#include "istio_ca.pb-c.h"
#include "pb_codec.h"

static const struct str key_impersonated = STR("ImpersonatedIdentity"), key_signer = STR("CertSigner");

int istio_ca_create_request(const struct istio_ca_request *m, uint8_t **ret, size_t *ret_n) {
    Ringwall__Istio__CertificateRequest message = RINGWALL__ISTIO__CERTIFICATE_REQUEST__INIT;
    Ringwall__Istio__Struct metadata = RINGWALL__ISTIO__STRUCT__INIT;
    Ringwall__Istio__Entry entries[2] = {RINGWALL__ISTIO__ENTRY__INIT, RINGWALL__ISTIO__ENTRY__INIT}, *pointers[2];
    Ringwall__Istio__Value values[2] = {RINGWALL__ISTIO__VALUE__INIT, RINGWALL__ISTIO__VALUE__INIT};
    const struct str keys[] = {key_impersonated, key_signer}, texts[] = {m->impersonated, m->cert_signer};

    for (size_t i = 0; i < array_size(keys); i++) {
        if (texts[i].n == 0)
            continue;
        values[i].string_value = pb_of(texts[i]);
        entries[i].key = pb_of(keys[i]);
        entries[i].value = &values[i];
        pointers[metadata.n_fields++] = &entries[i];
    }
    metadata.fields = pointers;
    message.csr = pb_of(m->csr_pem);
    message.validity_duration = m->validity_s;
    message.metadata = metadata.n_fields ? &metadata : NULL;
    return pb_pack(&message.base, ret, ret_n);
}

int istio_ca_create_response(const struct istio_ca_response *m, uint8_t **ret, size_t *ret_n) {
    Ringwall__Istio__CertificateResponse message = RINGWALL__ISTIO__CERTIFICATE_RESPONSE__INIT;
    ProtobufCBinaryData chain[PB_CHAIN_MAX];

    check(m->n_chain <= PB_CHAIN_MAX);
    pb_of_list(m->chain, m->n_chain, chain);
    message.cert_chain = chain;
    message.n_cert_chain = m->n_chain;
    return pb_pack(&message.base, ret, ret_n);
}

/* A key that comes twice is nobody's: another reader might take the other one. */
static void take_entry(struct pb_in *in, const Ringwall__Istio__Entry *e, struct istio_ca_request *ret) {
    struct str key = pb_str(e->key);
    struct str *to = str_is(key, key_impersonated) ? &ret->impersonated : str_is(key, key_signer) ? &ret->cert_signer : NULL;

    if (!to)
        return;
    if (to->n || !e->value || e->value->string_value.len == 0)
        in->malformed = true;
    else
        *to = pb_take_text(in, e->value->string_value);
}

int istio_ca_consume_request(const uint8_t *bytes, size_t n, struct arena *a, struct istio_ca_request *ret) {
    struct pb_in in = {.arena = a};
    struct istio_ca_request request = {0};
    const Ringwall__Istio__CertificateRequest *m;
    int r = pb_open(&in, &ringwall__istio__certificate_request__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Istio__CertificateRequest *)in.message;
    request.csr_pem = pb_take_text(&in, m->csr);
    request.validity_s = m->validity_duration;
    for (size_t i = 0; m->metadata && i < m->metadata->n_fields; i++)
        take_entry(&in, m->metadata->fields[i], &request);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = request;
    return r;
}

int istio_ca_consume_response(const uint8_t *bytes, size_t n, struct arena *a, struct istio_ca_response *ret) {
    struct pb_in in = {.arena = a};
    struct istio_ca_response response = {0};
    const Ringwall__Istio__CertificateResponse *m;
    int r = pb_open(&in, &ringwall__istio__certificate_response__descriptor, bytes, n);

    if (r)
        return r;
    m = (const Ringwall__Istio__CertificateResponse *)in.message;
    if (m->n_cert_chain > PB_CHAIN_MAX)
        in.malformed = true;
    for (size_t i = 0; !in.malformed && i < m->n_cert_chain; i++)
        response.chain[response.n_chain++] = pb_take_text(&in, m->cert_chain[i]);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = response;
    return r;
}
