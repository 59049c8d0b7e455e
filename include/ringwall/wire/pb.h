/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/pb.h - protobuf messages of proto/ca.proto to plain structs and back; protobuf-c stays behind this header
 *
 * Strings and arrays of consumed messages point into `arena`. Text is UTF-8 without NUL and control bytes other than tab and line
 * ends. Inputs over PB_MESSAGE_MAX are malformed; the schema has no recursion. */
#pragma once

#include <ringwall/base/arena.h>

enum {
    PB_MESSAGE_MAX = 4 * 1024 * 1024,
    PB_CHAIN_MAX = 16,    /* certificates of an answer; the last element holds all roots */
    PB_BUNDLES_MAX = 64,  /* trust domains */
    PB_ROOTS_MAX = 64,    /* of one trust domain */
    PB_CRLS_MAX = 64,     /* of one trust domain */
    PB_AUDIENCE_MAX = 16, /* of one JWT-SVID */
};
enum pb_verdict { PB_OK = 0, PB_MALFORMED = 1 };

enum ca_code { /* gRPC's numbers; any of 0..16 may come from another CA */
               CA_OK = 0,
               CA_UNKNOWN = 2,
               CA_INVALID_ARGUMENT = 3,
               CA_DEADLINE_EXCEEDED = 4,
               CA_NOT_FOUND = 5,
               CA_PERMISSION_DENIED = 7,
               CA_RESOURCE_EXHAUSTED = 8,
               CA_FAILED_PRECONDITION = 9,
               CA_UNIMPLEMENTED = 12,
               CA_INTERNAL = 13,
               CA_UNAVAILABLE = 14,
               CA_UNAUTHENTICATED = 16,
               _CA_CODE_MAX
};
enum ca_caller {
    CA_CALLER_UNSPECIFIED = 0, /* also whatever kind is unknown to us */
    CA_CALLER_NODE = 1,        /* the identity thread of this daemon, or a room of it */
    CA_CALLER_TOKEN = 2,       /* from outside the process, with a JWT */
    CA_CALLER_CERTIFICATE = 3, /* from outside, by a client certificate that the door verified */
};
enum ca_message_kind { CA_MESSAGE_SIGN = 1, CA_MESSAGE_BUNDLE = 2, CA_MESSAGE_JWT = 3, CA_MESSAGE_SERVER = 4 };

struct ca_request {
    enum ca_message_kind kind;
    uint64_t id; /* echoed in the response */
    enum ca_caller caller;
    struct str caller_node;               /* NODE */
    struct str caller_token;              /* TOKEN: what was presented; the CA judges it */
    struct str caller_identity;           /* CERTIFICATE */
    struct str caller_peer;               /* address, for the audit */
    struct str identity;                  /* SIGN (empty: the caller's own), JWT */
    struct str csr_pem;                   /* SIGN, SERVER */
    int64_t validity_s;                   /* SIGN, JWT; <= 0: the CA's default */
    bool watch;                           /* BUNDLE: answered now and again at every change, to the same reply mailbox */
    uint64_t acknowledged;                /* BUNDLE: generation that all of the asker's readers have adopted; 0: none */
    struct str audience[PB_AUDIENCE_MAX]; /* JWT */
    size_t n_audience;
};
struct ca_bundle { /* one trust domain; DER, one certificate or list each */
    struct str trust_domain;
    const struct str *roots;
    size_t n_roots;
    const struct str *crls;
    size_t n_crls;
};
struct ca_response {
    enum ca_message_kind kind;
    uint64_t id;
    enum ca_code code;
    struct str message;             /* for the asker's log; no secret */
    struct str chain[PB_CHAIN_MAX]; /* SIGN, SERVER; PEM: leaf, intermediates, then all roots in the last */
    size_t n_chain;
    uint64_t generation;             /* BUNDLE: grows with each change */
    const struct ca_bundle *bundles; /* BUNDLE: all trust domains, our own first */
    size_t n_bundles;
    struct str jwks;  /* BUNDLE: public keys of JWT-SVIDs, JSON; may be empty */
    struct str token; /* JWT */
    int64_t expires_s;
};
/* create: heap bytes owned by the caller. -EMSGSIZE: over PB_MESSAGE_MAX. */
int pb_create_ca_request(const struct ca_request *m, uint8_t **ret, size_t *ret_n) must_check;
int pb_create_ca_response(const struct ca_response *m, uint8_t **ret, size_t *ret_n) must_check;
/* PB_OK, PB_MALFORMED; -ENOMEM also for an arena at its bound. */
int pb_consume_ca_request(const uint8_t *bytes, size_t n, struct arena *a, struct ca_request *ret) must_check;
int pb_consume_ca_response(const uint8_t *bytes, size_t n, struct arena *a, struct ca_response *ret) must_check;
