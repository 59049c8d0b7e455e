/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/pb.c - messages of proto/ca.proto by protobuf-c
 *
 * To create, the plain struct's strings are pointed at, never copied before they are packed. */
#include <errno.h>

#include <ringwall/base/check.h>

#include "ca.pb-c.h"
#include "pb_codec.h"

typedef Ringwall__Ca__CaRequest ca_request_pb;
typedef Ringwall__Ca__CaResponse ca_response_pb;

int pb_create_ca_request(const struct ca_request *m, uint8_t **ret, size_t *ret_n) {
    ProtobufCBinaryData audience[PB_AUDIENCE_MAX];
    ca_request_pb message = RINGWALL__CA__CA_REQUEST__INIT;
    Ringwall__Ca__SignRequest sign = RINGWALL__CA__SIGN_REQUEST__INIT;
    Ringwall__Ca__BundleRequest bundle = RINGWALL__CA__BUNDLE_REQUEST__INIT;
    Ringwall__Ca__JwtRequest jwt = RINGWALL__CA__JWT_REQUEST__INIT;
    Ringwall__Ca__ServerRequest server = RINGWALL__CA__SERVER_REQUEST__INIT;
    Ringwall__Ca__Caller caller = RINGWALL__CA__CALLER__INIT;
    Ringwall__Istio__CertificateRequest request = RINGWALL__ISTIO__CERTIFICATE_REQUEST__INIT;

    caller.kind = (Ringwall__Ca__Caller__Kind)m->caller;
    caller.node = pb_of(m->caller_node);
    caller.token = pb_of(m->caller_token);
    caller.identity = pb_of(m->caller_identity);
    caller.peer = pb_of(m->caller_peer);
    sign.id = bundle.id = jwt.id = server.id = m->id;
    sign.caller = bundle.caller = jwt.caller = server.caller = &caller;
    message.kind_case = (Ringwall__Ca__CaRequest__KindCase)m->kind;
    switch (m->kind) {
    case CA_MESSAGE_SIGN:
        request.csr = pb_of(m->csr_pem);
        request.validity_duration = m->validity_s;
        sign.identity = pb_of(m->identity);
        sign.request = &request;
        message.sign = &sign;
        break;
    case CA_MESSAGE_BUNDLE:
        bundle.watch = m->watch;
        bundle.acknowledged = m->acknowledged;
        message.bundle = &bundle;
        break;
    case CA_MESSAGE_JWT:
        check(m->n_audience <= PB_AUDIENCE_MAX);
        pb_of_list(m->audience, m->n_audience, audience);
        jwt.identity = pb_of(m->identity);
        jwt.audience = audience;
        jwt.n_audience = m->n_audience;
        jwt.validity = m->validity_s;
        message.jwt = &jwt;
        break;
    case CA_MESSAGE_SERVER:
        server.csr = pb_of(m->csr_pem);
        message.server = &server;
        break;
    default:
        unreachable_because("a request is of one of four kinds");
    }
    return pb_pack(&message.base, ret, ret_n);
}

/* What a bundle message points to while it is packed. */
struct bundle_parts {
    Ringwall__Ca__Bundle bundles[PB_BUNDLES_MAX], *pointers[PB_BUNDLES_MAX];
    ProtobufCBinaryData roots[PB_BUNDLES_MAX][PB_ROOTS_MAX], crls[PB_BUNDLES_MAX][PB_CRLS_MAX];
};

static int fill_bundles(const struct ca_response *m, struct arena *a, Ringwall__Ca__BundleResponse *to) {
    struct bundle_parts *parts;

    check(m->n_bundles <= PB_BUNDLES_MAX);
    to->generation = m->generation;
    to->jwks = pb_of(m->jwks);
    to->code = (Ringwall__Ca__Code)m->code;
    to->message = pb_of(m->message);
    if (m->n_bundles == 0)
        return 0;
    parts = arena_alloc(a, sizeof(*parts));
    if (!parts)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_bundles; i++) {
        const struct ca_bundle *from = &m->bundles[i];
        Ringwall__Ca__Bundle *b = &parts->bundles[i];

        check(from->n_roots <= PB_ROOTS_MAX && from->n_crls <= PB_CRLS_MAX);
        ringwall__ca__bundle__init(b);
        b->trust_domain = pb_of(from->trust_domain);
        pb_of_list(from->roots, from->n_roots, parts->roots[i]);
        pb_of_list(from->crls, from->n_crls, parts->crls[i]);
        b->roots = parts->roots[i];
        b->n_roots = from->n_roots;
        b->crls = parts->crls[i];
        b->n_crls = from->n_crls;
        parts->pointers[i] = b;
    }
    to->bundles = parts->pointers;
    to->n_bundles = m->n_bundles;
    return 0;
}

int pb_create_ca_response(const struct ca_response *m, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    ProtobufCBinaryData chain[PB_CHAIN_MAX];
    ca_response_pb message = RINGWALL__CA__CA_RESPONSE__INIT;
    Ringwall__Ca__SignResponse sign = RINGWALL__CA__SIGN_RESPONSE__INIT;
    Ringwall__Ca__BundleResponse bundle = RINGWALL__CA__BUNDLE_RESPONSE__INIT;
    Ringwall__Ca__JwtResponse jwt = RINGWALL__CA__JWT_RESPONSE__INIT;
    Ringwall__Istio__CertificateResponse certificates = RINGWALL__ISTIO__CERTIFICATE_RESPONSE__INIT;
    int r;

    sign.id = bundle.id = jwt.id = m->id;
    message.kind_case = (Ringwall__Ca__CaResponse__KindCase)m->kind;
    switch (m->kind) {
    case CA_MESSAGE_SIGN:
    case CA_MESSAGE_SERVER:
        check(m->n_chain <= PB_CHAIN_MAX);
        pb_of_list(m->chain, m->n_chain, chain);
        certificates.cert_chain = chain;
        certificates.n_cert_chain = m->n_chain;
        sign.code = (Ringwall__Ca__Code)m->code;
        sign.message = pb_of(m->message);
        sign.response = m->n_chain ? &certificates : NULL;
        if (m->kind == CA_MESSAGE_SIGN)
            message.sign = &sign;
        else
            message.server = &sign;
        break;
    case CA_MESSAGE_BUNDLE:
        r = fill_bundles(m, &a, &bundle);
        if (r)
            return r;
        message.bundle = &bundle;
        break;
    case CA_MESSAGE_JWT:
        jwt.code = (Ringwall__Ca__Code)m->code;
        jwt.message = pb_of(m->message);
        jwt.token = pb_of(m->token);
        jwt.expires = m->expires_s;
        message.jwt = &jwt;
        break;
    default:
        unreachable_because("a response is of one of four kinds");
    }
    return pb_pack(&message.base, ret, ret_n);
}

static void take_caller(struct pb_in *in, const Ringwall__Ca__Caller *c, struct ca_request *ret) {
    if (!c)
        return;
    ret->caller =
        (int)c->kind >= CA_CALLER_NODE && (int)c->kind <= CA_CALLER_CERTIFICATE ? (enum ca_caller)c->kind : CA_CALLER_UNSPECIFIED;
    ret->caller_node = pb_take_text(in, c->node);
    ret->caller_token = pb_take_text(in, c->token);
    ret->caller_identity = pb_take_text(in, c->identity);
    ret->caller_peer = pb_take_text(in, c->peer);
}

static void take_jwt_request(struct pb_in *in, const Ringwall__Ca__JwtRequest *m, struct ca_request *ret) {
    ret->id = m->id;
    ret->identity = pb_take_text(in, m->identity);
    ret->validity_s = m->validity;
    if (m->n_audience > PB_AUDIENCE_MAX) {
        in->malformed = true;
        return;
    }
    for (size_t i = 0; i < m->n_audience; i++)
        ret->audience[i] = pb_take_text(in, m->audience[i]);
    ret->n_audience = m->n_audience;
    take_caller(in, m->caller, ret);
}

static void take_request(struct pb_in *in, const ca_request_pb *m, struct ca_request *ret) {
    ret->kind = (enum ca_message_kind)m->kind_case;
    switch (ret->kind) {
    case CA_MESSAGE_SIGN:
        if (!m->sign->request) {
            in->malformed = true;
            return;
        }
        ret->id = m->sign->id;
        ret->identity = pb_take_text(in, m->sign->identity);
        ret->csr_pem = pb_take_text(in, m->sign->request->csr);
        ret->validity_s = m->sign->request->validity_duration;
        take_caller(in, m->sign->caller, ret);
        break;
    case CA_MESSAGE_BUNDLE:
        ret->id = m->bundle->id;
        ret->watch = m->bundle->watch;
        ret->acknowledged = m->bundle->acknowledged;
        take_caller(in, m->bundle->caller, ret);
        break;
    case CA_MESSAGE_JWT:
        take_jwt_request(in, m->jwt, ret);
        break;
    case CA_MESSAGE_SERVER:
        ret->id = m->server->id;
        ret->csr_pem = pb_take_text(in, m->server->csr);
        take_caller(in, m->server->caller, ret);
        break;
    default:
        in->malformed = true;
        break;
    }
}

static enum ca_code take_code(struct pb_in *in, Ringwall__Ca__Code code) {
    if ((int)code >= 0 && (int)code < _CA_CODE_MAX)
        return (enum ca_code)code;
    in->malformed = true;
    return CA_UNKNOWN;
}

static void take_signed(struct pb_in *in, const Ringwall__Ca__SignResponse *m, struct ca_response *ret) {
    ret->id = m->id;
    ret->code = take_code(in, m->code);
    ret->message = pb_take_text(in, m->message);
    if (!m->response)
        return;
    if (m->response->n_cert_chain > PB_CHAIN_MAX) {
        in->malformed = true;
        return;
    }
    for (size_t i = 0; i < m->response->n_cert_chain; i++)
        ret->chain[i] = pb_take_text(in, m->response->cert_chain[i]);
    ret->n_chain = m->response->n_cert_chain;
}

static void take_bundles(struct pb_in *in, const Ringwall__Ca__BundleResponse *m, struct ca_response *ret) {
    struct ca_bundle *bundles = pb_take_array(in, sizeof(*bundles), m->n_bundles, PB_BUNDLES_MAX);

    ret->id = m->id;
    ret->code = take_code(in, m->code);
    ret->message = pb_take_text(in, m->message);
    ret->generation = m->generation;
    ret->jwks = pb_take_text(in, m->jwks);
    for (size_t i = 0; bundles && i < m->n_bundles; i++) {
        const Ringwall__Ca__Bundle *from = m->bundles[i];

        bundles[i].trust_domain = pb_take_text(in, from->trust_domain);
        bundles[i].roots = pb_take_list(in, from->roots, from->n_roots, PB_ROOTS_MAX, false, &bundles[i].n_roots);
        bundles[i].crls = pb_take_list(in, from->crls, from->n_crls, PB_CRLS_MAX, false, &bundles[i].n_crls);
    }
    ret->bundles = bundles;
    ret->n_bundles = bundles ? m->n_bundles : 0;
}

static void take_response(struct pb_in *in, const ca_response_pb *m, struct ca_response *ret) {
    ret->kind = (enum ca_message_kind)m->kind_case;
    switch (ret->kind) {
    case CA_MESSAGE_SIGN:
        take_signed(in, m->sign, ret);
        break;
    case CA_MESSAGE_SERVER:
        take_signed(in, m->server, ret);
        break;
    case CA_MESSAGE_BUNDLE:
        take_bundles(in, m->bundle, ret);
        break;
    case CA_MESSAGE_JWT:
        ret->id = m->jwt->id;
        ret->code = take_code(in, m->jwt->code);
        ret->message = pb_take_text(in, m->jwt->message);
        ret->token = pb_take_text(in, m->jwt->token);
        ret->expires_s = m->jwt->expires;
        break;
    default:
        in->malformed = true;
        break;
    }
}

int pb_consume_ca_request(const uint8_t *bytes, size_t n, struct arena *a, struct ca_request *ret) {
    struct pb_in in = {.arena = a};
    struct ca_request request = {0};
    int r = pb_open(&in, &ringwall__ca__ca_request__descriptor, bytes, n);

    if (r)
        return r;
    take_request(&in, (const ca_request_pb *)in.message, &request);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = request;
    return r;
}

int pb_consume_ca_response(const uint8_t *bytes, size_t n, struct arena *a, struct ca_response *ret) {
    struct pb_in in = {.arena = a};
    struct ca_response response = {0};
    int r = pb_open(&in, &ringwall__ca__ca_response__descriptor, bytes, n);

    if (r)
        return r;
    take_response(&in, (const ca_response_pb *)in.message, &response);
    r = pb_close(&in);
    if (r == PB_OK)
        *ret = response;
    return r;
}
