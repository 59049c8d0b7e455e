/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/pb.c - messages of proto/ca.proto by protobuf-c
 *
 * protobuf-c unpacks into memory of its own that is bounded by PB_UNPACK_MAX, since many small fields cost more than they
 * weigh on the wire; what a reader gets is copied into its arena. A string ends at its first NUL, and must be UTF-8. */
#include <errno.h>
#include <stdlib.h>

#include <ringwall/base/check.h>
#include <ringwall/wire/pb.h>

#include "ca.pb-c.h"
#include "library.h"

enum { PB_UNPACK_MAX = 8 * PB_MESSAGE_MAX };

typedef Ringwall__Ca__CaRequest ca_request_pb;
typedef Ringwall__Ca__CaResponse ca_response_pb;

struct budget {
    size_t left;
    bool no_memory; /* the heap failed, not the message */
};

static void *budget_alloc(void *data, size_t n) {
    struct budget *b = data;
    void *p;

    if (n > b->left)
        return NULL;
    p = malloc(n);
    if (p)
        b->left -= n;
    else
        b->no_memory = true;
    return p;
}

static void budget_free(void *data, void *p) { free(p); }
#define ALLOCATOR_OVER(budget) ((ProtobufCAllocator){budget_alloc, budget_free, &(budget)})

/* A heap copy of the encoded message. */
static int pack(const ProtobufCMessage *m, uint8_t **ret, size_t *ret_n) {
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes;

    check(n <= PB_MESSAGE_MAX);
    bytes = malloc(n ? n : 1);
    if (!bytes)
        return -ENOMEM;
    protobuf_c_message_pack(m, bytes);
    *ret = bytes;
    *ret_n = n;
    return 0;
}

static char *z_of(struct arena *a, struct str s, bool *ok) {
    struct str copy = arena_str(a, s, ok);

    return (char *)(uintptr_t)(copy.at ? copy.at : "");
}

int pb_create_ca_request(const struct ca_request *m, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    bool ok = true;
    ca_request_pb message = RINGWALL__CA__CA_REQUEST__INIT;
    Ringwall__Ca__SignRequest sign = RINGWALL__CA__SIGN_REQUEST__INIT;
    Ringwall__Ca__Caller caller = RINGWALL__CA__CALLER__INIT;
    Ringwall__Ca__IstioCertificateRequest request = RINGWALL__CA__ISTIO_CERTIFICATE_REQUEST__INIT;
    Ringwall__Ca__BundleRequest bundle = RINGWALL__CA__BUNDLE_REQUEST__INIT;

    if (m->kind == CA_MESSAGE_BUNDLE) {
        bundle.id = m->id;
        message.kind_case = RINGWALL__CA__CA_REQUEST__KIND_BUNDLE;
        message.bundle = &bundle;
        return pack(&message.base, ret, ret_n);
    }
    check(m->kind == CA_MESSAGE_SIGN);
    caller.kind = (Ringwall__Ca__Caller__Kind)m->caller;
    caller.node = z_of(&a, m->caller_node, &ok);
    request.csr = z_of(&a, m->csr_pem, &ok);
    request.validity_duration = m->validity_s;
    sign.id = m->id;
    sign.identity = z_of(&a, m->identity, &ok);
    sign.caller = &caller;
    sign.request = &request;
    message.kind_case = RINGWALL__CA__CA_REQUEST__KIND_SIGN;
    message.sign = &sign;
    return ok ? pack(&message.base, ret, ret_n) : -ENOMEM;
}

int pb_create_ca_response(const struct ca_response *m, uint8_t **ret, size_t *ret_n) {
    cleanup(arena_deinit) struct arena a = ARENA_NULL;
    bool ok = true;
    char *chain[PB_ROOTS_MAX];
    ca_response_pb message = RINGWALL__CA__CA_RESPONSE__INIT;
    Ringwall__Ca__SignResponse sign = RINGWALL__CA__SIGN_RESPONSE__INIT;
    Ringwall__Ca__IstioCertificateResponse certificates = RINGWALL__CA__ISTIO_CERTIFICATE_RESPONSE__INIT;
    Ringwall__Ca__BundleResponse bundle = RINGWALL__CA__BUNDLE_RESPONSE__INIT;

    check(m->n_chain <= (m->kind == CA_MESSAGE_BUNDLE ? PB_ROOTS_MAX : PB_CHAIN_MAX));
    for (size_t i = 0; i < m->n_chain; i++)
        chain[i] = z_of(&a, m->chain[i], &ok);
    if (m->kind == CA_MESSAGE_BUNDLE) {
        bundle.id = m->id;
        bundle.roots = chain;
        bundle.n_roots = m->n_chain;
        message.kind_case = RINGWALL__CA__CA_RESPONSE__KIND_BUNDLE;
        message.bundle = &bundle;
        return ok ? pack(&message.base, ret, ret_n) : -ENOMEM;
    }
    check(m->kind == CA_MESSAGE_SIGN);
    certificates.cert_chain = chain;
    certificates.n_cert_chain = m->n_chain;
    sign.id = m->id;
    sign.code = (Ringwall__Ca__SignResponse__Code)m->code;
    sign.message = z_of(&a, m->message, &ok);
    sign.response = m->n_chain ? &certificates : NULL;
    message.kind_case = RINGWALL__CA__CA_RESPONSE__KIND_SIGN;
    message.sign = &sign;
    return ok ? pack(&message.base, ret, ret_n) : -ENOMEM;
}

/* What a consumer collects while it copies. */
struct taking {
    struct arena *arena;
    bool memory; /* false: the arena is at its bound or the heap failed */
    bool sound;  /* false: some string is not text */
};

static struct str take(struct taking *t, const char *z) {
    struct str s = str_of(z);

    if (!str_is_utf8(s))
        t->sound = false;
    return s.n ? arena_str(t->arena, s, &t->memory) : STR_NULL;
}

static int taken(const struct taking *t) { return !t->sound ? PB_MALFORMED : t->memory ? PB_OK : -ENOMEM; }

static int request_of(const ca_request_pb *m, struct taking *t, struct ca_request *ret) {
    const Ringwall__Ca__SignRequest *sign;

    *ret = (struct ca_request){0};
    if (m->kind_case == RINGWALL__CA__CA_REQUEST__KIND_BUNDLE) {
        ret->kind = CA_MESSAGE_BUNDLE;
        ret->id = m->bundle->id;
        return PB_OK;
    }
    if (m->kind_case != RINGWALL__CA__CA_REQUEST__KIND_SIGN || !m->sign->request)
        return PB_MALFORMED;
    sign = m->sign;
    ret->kind = CA_MESSAGE_SIGN;
    ret->id = sign->id;
    if (sign->caller) {
        ret->caller = sign->caller->kind == RINGWALL__CA__CALLER__KIND__NODE ? CA_CALLER_NODE : CA_CALLER_UNSPECIFIED;
        ret->caller_node = take(t, sign->caller->node);
    }
    ret->identity = take(t, sign->identity);
    ret->csr_pem = take(t, sign->request->csr);
    ret->validity_s = sign->request->validity_duration;
    return taken(t);
}

static bool code_known(int code) {
    static const enum ca_code known[] = {CA_OK,       CA_INVALID_ARGUMENT, CA_PERMISSION_DENIED, CA_RESOURCE_EXHAUSTED,
                                         CA_INTERNAL, CA_UNAVAILABLE,      CA_UNAUTHENTICATED};

    for (size_t i = 0; i < array_size(known); i++)
        if ((int)known[i] == code)
            return true;
    return false;
}

static int chain_of(char *const *items, size_t n, size_t max, struct taking *t, struct ca_response *ret) {
    if (n > max)
        return PB_MALFORMED;
    for (size_t i = 0; i < n; i++)
        ret->chain[i] = take(t, items[i]);
    ret->n_chain = n;
    return taken(t);
}

static int response_of(const ca_response_pb *m, struct taking *t, struct ca_response *ret) {
    const Ringwall__Ca__SignResponse *sign;

    *ret = (struct ca_response){0};
    if (m->kind_case == RINGWALL__CA__CA_RESPONSE__KIND_BUNDLE) {
        ret->kind = CA_MESSAGE_BUNDLE;
        ret->id = m->bundle->id;
        return chain_of(m->bundle->roots, m->bundle->n_roots, PB_ROOTS_MAX, t, ret);
    }
    if (m->kind_case != RINGWALL__CA__CA_RESPONSE__KIND_SIGN || !code_known((int)m->sign->code))
        return PB_MALFORMED;
    sign = m->sign;
    ret->kind = CA_MESSAGE_SIGN;
    ret->id = sign->id;
    ret->code = (enum ca_code)sign->code;
    ret->message = take(t, sign->message);
    return sign->response ? chain_of(sign->response->cert_chain, sign->response->n_cert_chain, PB_CHAIN_MAX, t, ret) : taken(t);
}

int pb_consume_ca_request(const uint8_t *bytes, size_t n, struct arena *a, struct ca_request *ret) {
    struct budget budget = {.left = PB_UNPACK_MAX};
    ProtobufCAllocator allocator = ALLOCATOR_OVER(budget);
    struct taking t = {.arena = a, .memory = true, .sound = true};
    struct ca_request request;
    ca_request_pb *m;
    int r;

    if (n > PB_MESSAGE_MAX)
        return PB_MALFORMED;
    m = ringwall__ca__ca_request__unpack(&allocator, n, bytes);
    if (!m)
        return budget.no_memory ? -ENOMEM : PB_MALFORMED;
    r = request_of(m, &t, &request);
    ringwall__ca__ca_request__free_unpacked(m, &allocator);
    if (r == PB_OK)
        *ret = request;
    return r;
}

int pb_consume_ca_response(const uint8_t *bytes, size_t n, struct arena *a, struct ca_response *ret) {
    struct budget budget = {.left = PB_UNPACK_MAX};
    ProtobufCAllocator allocator = ALLOCATOR_OVER(budget);
    struct taking t = {.arena = a, .memory = true, .sound = true};
    struct ca_response response;
    ca_response_pb *m;
    int r;

    if (n > PB_MESSAGE_MAX)
        return PB_MALFORMED;
    m = ringwall__ca__ca_response__unpack(&allocator, n, bytes);
    if (!m)
        return budget.no_memory ? -ENOMEM : PB_MALFORMED;
    r = response_of(m, &t, &response);
    ringwall__ca__ca_response__free_unpacked(m, &allocator);
    if (r == PB_OK)
        *ret = response;
    return r;
}

const char *pb_library_version(void) { return protobuf_c_version(); }
