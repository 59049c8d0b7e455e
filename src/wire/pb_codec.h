/* SPDX-License-Identifier: GPL-3.0-or-later
 * wire/pb_codec.h - what every codec over protobuf-c shares: bounded unpacking, copies into an arena, packing
 *
 * protobuf-c unpacks into memory of its own that is bounded by PB_UNPACK_MAX, since many small fields cost more than they
 * weigh on the wire; what a reader gets is copied into its arena. protobuf-c recurses as deep as a schema does: no schema that
 * is read here has a loop. All text is of type bytes in our schemas, so that a NUL is seen. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include <ringwall/base/secret.h>
#include <ringwall/wire/pb.h>

enum { PB_UNPACK_MAX = 4 * PB_MESSAGE_MAX };

struct pb_in { /* one message being consumed */
    struct arena *arena;
    ProtobufCMessage *message; /* after pb_open */
    ProtobufCAllocator allocator;
    size_t left;    /* bytes that unpacking may still take */
    bool no_heap;   /* the heap failed, not the message */
    bool no_memory; /* the arena is at its bound, or the heap failed */
    bool malformed; /* some text is not text, or a list is too long */
};
/* 0 with in->message; PB_MALFORMED; -ENOMEM. in->arena is set by the caller. */
int pb_open(struct pb_in *in, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n) must_check;
int pb_close(struct pb_in *in) must_check; /* frees the message; what became of the copies: 0, PB_MALFORMED, -ENOMEM */

static inline struct str pb_str(ProtobufCBinaryData b) { return (struct str){.at = (const char *)b.data, .n = b.len}; }
struct str pb_take_text(struct pb_in *in, ProtobufCBinaryData b);  /* UTF-8 or malformed */
struct str pb_take_bytes(struct pb_in *in, ProtobufCBinaryData b); /* anything */
/* A list, at most max long; NULL when empty or after a failure, with *ret_n 0. */
const struct str *pb_take_list(struct pb_in *in, const ProtobufCBinaryData *items, size_t n, size_t max, bool text, size_t *ret_n);
void *pb_take_array(struct pb_in *in, size_t item_bytes, size_t n, size_t max); /* zeroed; NULL: empty or failed */

/* protobuf-c's type is not const; packing only reads. */
static inline ProtobufCBinaryData pb_of(struct str s) {
    return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)(uintptr_t)s.at};
}
void pb_of_list(const struct str *items, size_t n, ProtobufCBinaryData *ret);
/* 0; -ENOMEM; -EMSGSIZE: over PB_MESSAGE_MAX. */
int pb_pack(const ProtobufCMessage *m, uint8_t **ret, size_t *ret_n) must_check;
int pb_pack_secret(const ProtobufCMessage *m, struct secret *ret) must_check; /* an empty message: SECRET_NULL */
