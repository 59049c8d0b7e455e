/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/pb.h - protobuf messages of proto/ca.proto to plain structs and back; protobuf-c stays behind this header
 *
 * Strings of consumed messages point into `arena`. Inputs over PB_MESSAGE_MAX are malformed; the schema has no recursion. */
#pragma once

#include <ringwall/base/arena.h>

enum { PB_MESSAGE_MAX = 1024 * 1024, PB_CHAIN_MAX = 16, PB_ROOTS_MAX = 64 };
enum pb_verdict { PB_OK = 0, PB_MALFORMED = 1 };

enum ca_code {
    CA_OK = 0,
    CA_INVALID_ARGUMENT = 3,
    CA_PERMISSION_DENIED = 7,
    CA_RESOURCE_EXHAUSTED = 8,
    CA_INTERNAL = 13,
    CA_UNAVAILABLE = 14,
    CA_UNAUTHENTICATED = 16
};
enum ca_caller { CA_CALLER_UNSPECIFIED = 0, CA_CALLER_NODE = 1 };
enum ca_message_kind { CA_MESSAGE_SIGN = 1, CA_MESSAGE_BUNDLE = 2 };

struct ca_request {
    enum ca_message_kind kind;
    uint64_t id;
    enum ca_caller caller; /* SIGN only, as the next ones */
    struct str caller_node, identity, csr_pem;
    int64_t validity_s;
};
struct ca_response {
    enum ca_message_kind kind;
    uint64_t id;
    enum ca_code code; /* SIGN only */
    struct str message;
    struct str
        chain[PB_ROOTS_MAX]; /* SIGN: leaf, intermediates, then all roots in the last (PB_CHAIN_MAX); BUNDLE: one root each */
    size_t n_chain;
};
/* create: heap bytes owned by the caller. */
int pb_create_ca_request(const struct ca_request *m, uint8_t **ret, size_t *ret_n) must_check;
int pb_create_ca_response(const struct ca_response *m, uint8_t **ret, size_t *ret_n) must_check;
int pb_consume_ca_request(const uint8_t *bytes, size_t n, struct arena *a, struct ca_request *ret) must_check;
int pb_consume_ca_response(const uint8_t *bytes, size_t n, struct arena *a, struct ca_response *ret) must_check;
