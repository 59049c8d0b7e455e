/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/grpc_text.h - what stands in the headers of a gRPC call: content type, timeout, status and its message */
#pragma once

#include <ringwall/wire/grpc.h>
#include <ringwall/wire/h2.h>

enum { GRPC_TEXT_WIRE_MAX = 3 * GRPC_TEXT_MAX };

bool grpc_content_type(struct str value); /* application/grpc, +proto, or with parameters */
/* "100m": false when it is none. Over GRPC_TIMEOUT_MAX_S: 0, no deadline; else at least 1. */
bool grpc_timeout_parse(struct str value, uint64_t *ret_ns) must_check;
size_t grpc_timeout_create(uint64_t ns, char to[16]); /* ns > 0 */
/* Percent-encoding of grpc-message; cut at GRPC_TEXT_MAX. What is decoded is printable UTF-8: other bytes become '?'. */
size_t grpc_text_encode(struct str message, char to[GRPC_TEXT_WIRE_MAX]);
size_t grpc_text_decode(struct str wire, char to[GRPC_TEXT_MAX]);
enum grpc_code grpc_code_parse(struct str value);    /* grpc-status; GRPC_UNKNOWN for what is no code */
enum grpc_code grpc_code_of_http(struct str status); /* of an answer without grpc-status */
enum grpc_code grpc_code_of_reset(uint32_t h2_error);
/* The value of the one header of that name; false: there is none, or more than one. */
bool grpc_header_get(const struct h2_header *headers, size_t n, struct str name, struct str *ret);
size_t grpc_header_count(const struct h2_header *headers, size_t n, struct str name);
/* Header lines that are the application's own: no pseudo-header, none of HTTP's or gRPC's machinery. false: over the bound. */
bool grpc_metadata_of(const struct h2_header *headers, size_t n, struct grpc_metadata ret[GRPC_METADATA_MAX], size_t *ret_n);
